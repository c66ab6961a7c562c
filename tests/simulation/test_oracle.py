"""The oracle's own rules where no story shows that they can fail."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bridge import db, models
from bridge.sections import DatabaseSection
from tests.simulation.ledgers import ProviderLedgers
from tests.simulation.oracle import Oracle

_POSTED = """INSERT INTO posting
    (operator_id, player_id, cash_movement_id, version, debit, credit, amount, currency, at)
    VALUES (1, 'ann', 'cm_1', 1, 'cashier', 'wallet:ann', 500, 'EUR', 0)"""
_KEPT = """INSERT INTO account (operator_id, account, player_id, currency, balance, version)
    VALUES (1, ?, '', 'EUR', ?, 1)"""


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    """One that looks at an empty database."""
    engine = db.connect(DatabaseSection(url=f"sqlite:///{tmp_path}/bridge.db"))
    models.metadata.create_all(engine)
    engine.dispose()
    world: Any = SimpleNamespace(trace=lambda *_told: None, halted=False)
    return Oracle(world, tmp_path / "bridge.db", ProviderLedgers())


@pytest.mark.parametrize(
    ("kept", "named"),
    [([("wallet:ann", 500)], []), ([("wallet:ann", 500), ("game:beta:bob", 70)], ["I1"])],
    ids=["as posted", "a balance from nowhere"],
)
def test_what_is_kept_and_what_is_posted_elsewhere_sum_to_zero(
    oracle: Oracle, tmp_path: Path, kept: list[tuple[str, int]], named: list[str]
) -> None:
    """I1: money that no posting made is noticed, also at an account that no posting names."""
    with sqlite3.connect(tmp_path / "bridge.db") as connection:
        connection.execute(_POSTED)
        connection.executemany(_KEPT, kept)
    oracle.committed()
    assert [violation.invariant for violation in oracle.violations] == named


def test_what_was_executed_over_and_over_is_all_believed_to_be_a_lie() -> None:
    """A provider that executes each repetition moves more than twice what was asked for; of another nothing is
    excused."""
    ledgers = ProviderLedgers()
    line = {"kind": "completed", "type": "CREDIT", "player": "ann", "currency": "EUR", "reference": "r", "id": "w"}
    for now in range(4):
        ledgers.wrote("beta", {**line, "amount": "2.50"}, now)
    leg = {"holder": "beta", "reference": "r", "amount": 250}
    row = {"provider": "beta", "legs": [leg]}
    assert ledgers.lied_about(row) == 0
    ledgers.lied("beta", "r", "executed again")
    assert ledgers.lied_about(row) == 1000
    assert ledgers.lied_about({**row, "legs": [{**leg, "reference": "other"}]}) == 0
