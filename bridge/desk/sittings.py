"""Sittings: one person at one browser, and whether that person still may do what is asked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, select

from bridge import models
from bridge.desk.people import Person
from bridge.errors import Forbidden
from bridge.models.desk import PersonState, Role
from bridge.runtime import Runtime

_person: Table = models.metadata.tables["person"]


class Refused(Forbidden):
    """You may not do that, or not any more."""

    code = "not_allowed"


@dataclass(frozen=True)
class Sitting:
    """One person at one browser; `proved_at`: when both factors were shown last, microseconds."""

    digest: str
    person: Person
    proved_at: int
    address: str


def still(connection: Connection, runtime: Runtime, sitting: Sitting, *roles: Role) -> Person:
    """The person as of now, whose row is held until the transaction ends. Raises Refused unless still active, not
    locked, of the same epoch, and in one of `roles`."""
    query = select(_person).where(_person.c.id == sitting.person.id).with_for_update(key_share=True)
    row = connection.execute(query).mappings().first()
    if row is None or row["state"] != PersonState.ACTIVE or row["locked_at"] is not None:
        raise Refused
    if sitting.proved_at > runtime.clock.now():
        raise Refused("The clock has been set back since both factors were shown: show them again.")
    if row["epoch"] != sitting.person.epoch or row["role"] not in roles:
        raise Refused
    if roles == (Role.APPROVER,) and row["made_by"] is not None and row["vouched_by"] is None:
        raise Refused("A second admin has to vouch for you before you approve.")
    return Person(row["id"], row["operator_id"], row["login"], row["name"], Role(row["role"]), row["epoch"])
