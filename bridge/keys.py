"""Operators and their API keys: shown once, kept as a digest, scoped, revoked for ever.

A key is 256 random bits, so its SHA-256 cannot be guessed back; a slow password hash would add nothing
but time to every request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, Table, bindparam, insert, select, update

from bridge import db, models
from bridge.errors import Conflict, Invalid, NotFound
from bridge.runtime import Runtime

_operator: Table = models.metadata.tables["operator"]
_key: Table = models.metadata.tables["api_key"]

_CALLER = (
    select(_key.c.id, _key.c.operator_id, _key.c.scopes, _operator.c.name)
    .join(_operator, _operator.c.id == _key.c.operator_id)
    .where(_key.c.digest == bindparam("digest"), _key.c.revoked_at.is_(None))
)

KEY_PREFIX = "bk_"
"""So that a key in a log or a repository is recognised for what it is."""


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"  # see players, funds, transfers
    TRANSFERS = "transfers"  # move money: transfers, cancels, cashier, players
    ADMIN = "admin"  # everything, including what the other scopes may


@dataclass(frozen=True)
class Caller:
    """Who is calling: an operator by one of its keys. `digest`: of the key, by which it is found again."""

    operator_id: int
    operator: str
    key_id: str
    scopes: frozenset[Scope]
    digest: str = ""

    @property
    def written(self) -> str:
        """The scopes as they stand in the key's row."""
        return " ".join(sorted(self.scopes))

    def may(self, scope: Scope) -> bool:
        """Whether the key carries a scope; admin carries all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def add_operator(runtime: Runtime, name: str) -> int:
    """Add a tenant; its id. Raises Conflict when the name is taken."""
    with db.writing(runtime.engine) as connection:
        if _operator_id(connection, name) is not None:
            raise Conflict(f"There is an operator {name!r} already.")
        row = {"name": name, "created_at": runtime.clock.now()}
        return int(connection.execute(insert(_operator).values(**row).returning(_operator.c.id)).scalar_one())


def operators(runtime: Runtime) -> Sequence[RowMapping]:
    """All tenants, oldest first."""
    with db.reading(runtime.engine) as connection:
        return connection.execute(select(_operator).order_by(_operator.c.id)).mappings().all()


def create(runtime: Runtime, operator: str, scopes: Sequence[str], label: str) -> tuple[str, str]:
    """(key id, secret): the secret is never to be had again. Raises NotFound, Invalid."""
    try:
        granted = sorted({Scope(scope) for scope in scopes})
    except ValueError:
        known = ", ".join(scope.value for scope in Scope)
        raise Invalid(fields={"scopes": f"must be some of {known}"}) from None
    if not granted:
        raise Invalid(fields={"scopes": "must name at least one scope"})
    secret, key_id = KEY_PREFIX + runtime.ids.secret(), runtime.ids.new("key")
    with db.writing(runtime.engine) as connection:
        row = {
            "id": key_id,
            "operator_id": _known_operator(connection, operator),
            "label": label,
            "digest": digest(secret),
            "scopes": " ".join(granted),
            "created_at": runtime.clock.now(),
        }
        connection.execute(insert(_key).values(**row))
    return key_id, secret


def listed(runtime: Runtime, operator: str) -> Sequence[RowMapping]:
    """An operator's keys without their secrets, oldest first. Raises NotFound."""
    with db.reading(runtime.engine) as connection:
        query = select(_key).where(_key.c.operator_id == _known_operator(connection, operator)).order_by(_key.c.id)
        return connection.execute(query).mappings().all()


def revoke(runtime: Runtime, key_id: str) -> None:
    """Refuse the key to every request that comes after this commit; one that was let in before goes on. Raises
    NotFound; revoking again changes nothing."""
    with db.writing(runtime.engine) as connection:
        found = connection.execute(select(_key.c.id).where(_key.c.id == key_id)).scalar()
        if found is None:
            raise NotFound("There is no such key.")
        still_valid = (_key.c.id == key_id, _key.c.revoked_at.is_(None))
        connection.execute(update(_key).where(*still_valid).values(revoked_at=runtime.clock.now()))


def caller(runtime: Runtime, secret: str) -> Caller | None:
    """Who holds this secret; None if nobody does, or not any more. Found by digest, so no secret is compared."""
    found_by = digest(secret)
    with db.reading(runtime.engine) as connection:
        row = connection.execute(_CALLER, {"digest": found_by}).first()
    if row is None:
        return None
    scopes = frozenset(Scope(scope) for scope in row.scopes.split())
    return Caller(row.operator_id, row.name, row.id, scopes, found_by)


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _operator_id(connection: Connection, name: str) -> int | None:
    return connection.execute(select(_operator.c.id).where(_operator.c.name == name)).scalar()


def _known_operator(connection: Connection, name: str) -> int:
    found = _operator_id(connection, name)
    if found is None:
        raise NotFound(f"There is no operator {name!r}.")
    return found
