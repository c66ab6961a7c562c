"""One person as rights are judged, and how rows of people are read and held."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select, update

from bridge import models
from bridge.errors import NotFound
from bridge.models.desk import Role

LOGIN = re.compile(r"[a-z0-9][a-z0-9._@+-]{2,63}")
"""What a login looks like."""

person_table: Table = models.metadata.tables["person"]

PROPOSERS = (Role.OPERATOR, Role.APPROVER)
"""Who proposes, has providers asked again, turns their switches and, of the steward's people, looks after jobs."""

UNVOUCHED = {Role.APPROVER: Role.OPERATOR, Role.ADMIN: Role.VIEWER}
"""What a role counts for as long as nobody but the admin who gave it has looked at its holder: one admin alone must not
be both pairs of eyes, nor make a second admin who then vouches."""


@dataclass(frozen=True)
class Person:
    """Somebody at the desk of one operator. `role` is what they may do now; `granted` what was given to them."""

    id: str
    operator_id: int
    login: str
    name: str
    role: Role
    epoch: int
    granted: Role = Role.VIEWER
    vouched: bool = True


def is_vouched(row: Mapping[Any, Any]) -> bool:
    """Whether somebody else than one admin stands for this person: another admin, or the command line."""
    return row["made_by"] is None or row["vouched_by"] is not None


def unvouched(by: str | None) -> dict[str, Any]:
    """Columns of a person whom somebody (an id) has just made, let in anew or given a role; None, the command line,
    needs nobody else."""
    return {"made_by": by, "vouched_by": None, "vouched_at": None}


def person_of(row: RowMapping) -> Person:
    """A row as rights are judged."""
    granted, vouched = Role(row["role"]), is_vouched(row)
    role = granted if vouched else UNVOUCHED.get(granted, granted)
    whole = {"login": row["login"], "name": row["name"], "epoch": row["epoch"]}
    return Person(row["id"], row["operator_id"], role=role, granted=granted, vouched=vouched, **whole)


def held(connection: Connection, ids: Collection[str]) -> dict[str, RowMapping]:
    """These people's rows, kept from others until the transaction ends; locked in one order, so that two who act on
    each other wait instead of standing still."""
    query = select(person_table).where(person_table.c.id.in_(sorted(ids))).order_by(person_table.c.id)
    rows = connection.execute(query.with_for_update(key_share=True)).mappings().all()
    return {row["id"]: row for row in rows}


def by_login(connection: Connection, login: str) -> RowMapping | None:
    """The row of whoever has this login."""
    return connection.execute(select(person_table).where(person_table.c.login == login)).mappings().first()


def by_id(connection: Connection, person_id: str) -> RowMapping:
    """The row of a person who is there."""
    return connection.execute(select(person_table).where(person_table.c.id == person_id)).mappings().one()


def one(connection: Connection, operator_id: int, person_id: str) -> RowMapping:
    """A person of this operator. Raises NotFound, also for another operator's."""
    mine = (person_table.c.operator_id == operator_id, person_table.c.id == person_id)
    row = connection.execute(select(person_table).where(*mine)).mappings().first()
    if row is None:
        raise NotFound("There is no such person.")
    return row


def change(connection: Connection, person_id: str, now: int, **values: Any) -> None:
    """Write columns of a person whose row the caller holds."""
    connection.execute(update(person_table).where(person_table.c.id == person_id).values(changed_at=now, **values))
