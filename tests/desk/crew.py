"""People at the desk for tests: one of each role, their factors, and browsers in which they sit.

Passwords are hashed once in a run: what is tested is who may, not how slow a guess is (tests/desk/test_passwords.py).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyotp
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert
from werkzeug.test import TestResponse

from bridge import db, models
from bridge.desk import codes, entering, keyring, people, rows, sittings
from bridge.desk.rows import Person
from bridge.desk.sittings import Sitting
from bridge.models.desk import PersonState, Role
from bridge.ports import SECOND
from bridge.runtime import Runtime

PASSWORD = "nine blue otters sing"
SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
ADDRESS = "127.0.0.1"
WHY = "she has asked for it on the telephone"
SECRET = "of the desk, for tests alone, and long enough"

_person = models.metadata.tables["person"]


@cache
def _hash_of(password: str) -> str:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(password)


def hire(runtime: Runtime, operator_id: int, role: Role, login: str, **columns: Any) -> Person:
    """An active person with PASSWORD and SEED, vouched for by the command line."""
    person_id, now = f"person-{login}", runtime.clock.now()
    sealed = keyring.seal(runtime, keyring.SEEDS, person_id, SEED)
    row = {"id": person_id, "operator_id": operator_id, "login": login, "name": login.title(), "role": role.value,
           "state": PersonState.ACTIVE.value, "password_hash": _hash_of(PASSWORD), "seed": sealed, "failures": 0,
           "epoch": 0, "created_at": now, "changed_at": now, **columns}  # fmt: skip
    with db.writing(runtime.engine) as connection:
        connection.execute(insert(_person).values(**row))
    return person(runtime, person_id)


def person(runtime: Runtime, person_id: str) -> Person:
    """The person as it is in the rows."""
    with db.reading(runtime.engine) as connection:
        found = connection.execute(_person.select().where(_person.c.id == person_id)).mappings().one()
    return rows.person_of(found)


def seat(runtime: Runtime, who: Person) -> tuple[str, Sitting]:
    """(the cookie's secret, the sitting) of a person who has just come in."""
    with db.writing(runtime.engine) as connection:
        token = sittings.begin(connection, runtime, who.id, who.epoch, ADDRESS)
    found = sittings.find(runtime, token, ADDRESS, moved=True)
    assert found is not None
    return token, found


def vouch(runtime: Runtime, actor: people.Actor, operator_id: int, person_id: str) -> None:
    """Stand for somebody as they are now."""
    with db.reading(runtime.engine) as connection:
        seen = people.mark(rows.one(connection, operator_id, person_id))
    people.vouch(runtime, actor, operator_id, person_id, seen)


def unlock(runtime: Runtime, who: Person) -> None:
    """Come in again by password and recovery code, as a locked person does."""
    with db.writing(runtime.engine) as connection:
        recovery = codes.new_recovery_codes(connection, runtime, who.id)[0]
    entering.by_password(runtime, login=who.login, password=PASSWORD, code=recovery, address=ADDRESS)


def code(runtime: Runtime, seed: str = SEED, *, steps: int = 0) -> str:
    """The one-time code of now, or of so many steps later."""
    return pyotp.TOTP(seed).generate_otp(runtime.clock.now() // SECOND // 30 + steps)


@dataclass
class Browser:
    """A browser at http://localhost, with its cookies; forms are sent with the token of a page."""

    app: Flask
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    def sit(self, token: str) -> Browser:
        """Have the cookie of a sitting."""
        self.client.set_cookie("__Host-desk", token, domain="localhost", path="/", secure=True)
        return self

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=_named(headers))

    def post(self, path: str, *, token: str | None = None, on: str = "/ops/account", headers: Any = None,
             **fields: Any) -> TestResponse:  # fmt: skip
        """Send a form; without `token`, with the one of the page at `on`."""
        told = self.token(on) if token is None else token
        return self.client.post(path, data={"form_token": told, **fields}, headers=headers or {})

    def token(self, on: str = "/ops/account") -> str:
        """The token of the forms on a page."""
        return token_of(self.get(on))

    @property
    def cookie(self) -> str | None:
        """The secret of the sitting, as the browser has it."""
        kept = self.client.get_cookie("__Host-desk", domain="localhost", path="/")
        return None if kept is None else kept.value


def token_of(page: TestResponse) -> str:
    """The token of the forms on a page."""
    found = re.search(r'name="form_token" value="([^"]*)"', page.text)
    assert found is not None, page.text
    return html.unescape(found[1])


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
