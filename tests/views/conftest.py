"""A bridge before a one-phase provider that lies on request; no time passes unless the test turns the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from bridge import db, models
from tests.harness import Bench, Hands, bench
from tests.transfers.conftest import ONE_TIMES
from tests.transfers.scripted_one import ONE_PHASE, ScriptedOne


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def one(hands: Hands) -> ScriptedOne:
    """The provider, in two currencies."""
    return ScriptedOne(hands, replace(ONE_PHASE, places={"EUR": 2, "USD": 2}))


@pytest.fixture
def lone(migrated_url: str, hands: Hands, one: ScriptedOne) -> Iterator[Bench]:
    """The bridge."""
    with bench(migrated_url, clock=hands, provider=one, **{**ONE_TIMES, "currencies": ("EUR", "USD")}) as made:
        yield made


def put(lone: Bench, table: str, **row: Any) -> None:
    """Write a row that another part of the bridge would have written."""
    with db.writing(lone.runtime.engine) as connection:
        connection.execute(insert(models.metadata.tables[table]).values(**row))


def person(lone: Bench, name: str, operator: int | None = None) -> str:
    """Somebody at the desk; the id."""
    put(
        lone, "person", id=f"pe_{name}", operator_id=operator or lone.operator, login=name, name=name.title(),
        role="operator", state="invited", failures=0, epoch=0, created_at=1, changed_at=1,
    )  # fmt: skip
    return f"pe_{name}"


def proposal(lone: Bench, transfer_id: str, maker: str, **changes: Any) -> str:
    """A proposal as the desk would write it; the id."""
    row = {
        "id": f"pr_{transfer_id}_{maker}", "operator_id": lone.operator, "transfer_id": transfer_id, "kind": "confirm",
        "arrived": 0, "returned": 0, "reason": "their staff say so", "maker_id": maker, "needs": 1, "version": 1,
        "seen": "x", "postings": "[]", "created_at": lone.runtime.clock.now(),
        "expires_at": lone.runtime.clock.now() + 10**9, "state": "open",
    }  # fmt: skip
    put(lone, "proposal", **{**row, **changes})
    return str(row["id"])
