"""The shares of CPU time: every file is somebody's, and what the interpreter does is its caller's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import shares


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("/x/site-packages/sqlalchemy/engine/base.py", "SQLAlchemy and the driver"),
        ("/x/bridge/stroke.py", "SQLAlchemy and the driver"),
        ("/x/bridge/api/transfers.py", "web framework and validation"),
        ("/x/bridge/outbound.py", "HTTP client and signing"),
        ("/x/bridge/transfers/advance.py", "state, evidence and ledger"),
        ("/x/statemachines/engine.py", "state, evidence and ledger"),
        ("/x/python3.11/json/decoder.py", shares.REST),
    ],
)
def test_a_file_belongs_to_one_part(file: str, part: str) -> None:
    """A path is given to the first part that knows a piece of it."""
    assert shares.part_of(file) == part


def test_what_the_interpreter_does_is_its_callers() -> None:
    """A builtin's own time is shared out by who called it, and nothing is lost."""
    ledger, driver = ("/x/bridge/ledger.py", 1, "post"), ("/x/psycopg/cursor.py", 2, "execute")
    stats = SimpleNamespace(
        stats={
            ledger: (1, 1, 0.5, 2.0, {}),
            driver: (1, 1, 0.25, 1.0, {}),
            ("~", 0, "<len>"): (3, 3, 0.75, 0.75, {ledger: (1, 1, 0.5, 0.5), driver: (2, 2, 0.25, 0.25)}),
        }
    )
    found = shares.shares(stats)
    assert found == {"state, evidence and ledger": 1.0, "SQLAlchemy and the driver": 0.5}
