"""The desk on a fresh database of each kind: an operator with one person of each role, another operator with an admin
who must see nothing, and a browser for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import text

from bridge import db, keys
from bridge.app import create_app
from bridge.models.desk import Role
from bridge.runtime import Runtime
from bridge.sections import DeskSection, WebSection
from tests.desk import crew
from tests.desk.crew import Browser
from tests.harness import OPERATOR, Hands, composed, configured

STRANGER = "stranger"
"""Charlie, who has the highest role at another operator."""


@dataclass
class Desk:
    """A bridge with people, and the browsers in which they sit: by role, and STRANGER."""

    runtime: Runtime
    app: Flask
    hands: Hands
    operator: int
    other: int
    people: dict[str, crew.Person] = field(default_factory=dict)

    def sitting(self, who: str) -> Browser:
        """A new browser in which this person has just come in."""
        token, _ = crew.seat(self.runtime, crew.person(self.runtime, self.people[who].id))
        return Browser(self.app).sit(token)

    @property
    def nobody(self) -> Browser:
        """A browser in which nobody sits."""
        return Browser(self.app)

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with db.reading(self.runtime.engine) as connection:
            return [dict(row) for row in connection.execute(text(statement), values).mappings()]

    def contents(self, queries: Mapping[str, str], **values: Any) -> dict[str, list[str]]:
        """What several queries return, in no order, read in one transaction; each is given what it names."""
        with db.reading(self.runtime.engine) as connection:
            return {
                name: sorted(map(repr, connection.execute(
                    text(query), {each: told for each, told in values.items() if f":{each}" in query}
                )))
                for name, query in queries.items()
            }  # fmt: skip

    def write(self, statement: str, **values: Any) -> None:
        with db.writing(self.runtime.engine) as connection:
            connection.execute(text(statement), values)

    def notes(self, kind: str) -> list[dict[str, Any]]:
        """The notes of a kind, oldest first."""
        return self.rows("SELECT * FROM access_note WHERE kind = :kind ORDER BY id", kind=kind)


def desk_config(url: str, **settings: Any) -> Any:
    """A configuration with a desk."""
    web = WebSection(**settings.pop("web", {}))
    told = {"secret": crew.SECRET, "steward": OPERATOR, **settings}
    return configured(url).model_copy(update={"desk": DeskSection(**told), "web": web})


class Compiled(BytecodeCache):
    """What the pages' templates were compiled to: the same for every app of a run."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()


def furnished(url: str, **settings: Any) -> Desk:
    """A desk with its people on the migrated database at `url`."""
    hands = Hands()
    runtime = composed(desk_config(url, **settings), hands)
    operator, other = keys.add_operator(runtime, OPERATOR), keys.add_operator(runtime, "charlie")
    app = create_app(runtime)
    app.jinja_env.bytecode_cache = COMPILED
    desk = Desk(runtime, app, hands, operator, other)
    for role in Role:
        desk.people[role.value] = crew.hire(runtime, operator, role, f"{role}-ann")
    desk.people[STRANGER] = crew.hire(runtime, other, Role.ADMIN, "charlie")
    return desk


@pytest.fixture
def desk(migrated_url: str) -> Iterator[Desk]:
    """The desk, on both databases, on a clock that the test turns."""
    made = furnished(migrated_url)
    yield made
    made.runtime.engine.dispose()


@pytest.fixture
def build_desk(migrated_url: str) -> Iterator[Any]:
    """Builds a desk with other settings."""
    built: list[Desk] = []

    def builder(**settings: Any) -> Desk:
        built.append(furnished(migrated_url, **settings))
        return built[-1]

    yield builder
    for made in built:
        made.runtime.engine.dispose()


