"""Decisions of people: for each direction and place of an orphan, each decision's postings typed out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from bridge import db, decisions_page
from bridge.errors import Declined, Invalid, Stale
from bridge.evidence import Answer
from bridge.ports import Direction
from bridge.transfers.advance import advance
from bridge.transfers.core.decisions import MEANINGFUL, Kind, Place
from bridge.verify import verify
from tests.deciding import Decision, decide
from tests.harness import Bench, Hands, together
from tests.transfers.scripted_one import HALF, LOST, ONE_PHASE, REFUSES, SILENT, ScriptedOne

WALLET, GAME, CUSTODY, HOUSE = "wallet:ann", "game:sim:ann", "custody:sim", "house:sim"

# direction, place, decision → (debit, credit, cents) from design §7, and the state after it. 10.00; split 6.00 / 4.00;
# both: a part of 5.00 had arrived.
TYPED: dict[tuple[str, str, str], tuple[list[tuple[str, str, int]], str]] = {
    ("in", "custody", "confirm"): ([(CUSTODY, GAME, 1000)], "confirmed"),
    ("in", "custody", "reverse"): ([(CUSTODY, WALLET, 1000)], "reversed"),
    ("in", "custody", "split"): ([(CUSTODY, GAME, 600), (CUSTODY, WALLET, 400)], "confirmed"),
    ("in", "house", "confirm"): ([(WALLET, HOUSE, 1000)], "confirmed"),
    ("in", "house", "reverse"): ([(GAME, HOUSE, 1000)], "reversed"),
    ("in", "house", "split"): ([(GAME, HOUSE, 400), (WALLET, HOUSE, 600)], "confirmed"),
    ("in", "house", "write_off"): ([], "confirmed"),
    ("in", "house", "claw_back"): ([(GAME, HOUSE, 1000)], "reversed"),
    ("in", "both", "confirm"): ([(CUSTODY, GAME, 500), (WALLET, HOUSE, 500)], "confirmed"),
    ("in", "both", "reverse"): ([(CUSTODY, HOUSE, 500), (GAME, WALLET, 500)], "reversed"),
    ("in", "both", "split"): ([(CUSTODY, GAME, 100), (CUSTODY, HOUSE, 400), (WALLET, HOUSE, 100)], "confirmed"),
    ("in", "both", "write_off"): ([(CUSTODY, GAME, 500)], "confirmed"),
    ("out", "custody", "confirm"): ([(CUSTODY, WALLET, 1000)], "confirmed"),
    ("out", "custody", "reverse"): ([(CUSTODY, GAME, 1000)], "reversed"),
    ("out", "custody", "split"): ([(CUSTODY, GAME, 400), (CUSTODY, WALLET, 600)], "confirmed"),
    ("out", "house", "confirm"): ([(GAME, HOUSE, 1000)], "confirmed"),
    ("out", "house", "reverse"): ([(WALLET, HOUSE, 1000)], "reversed"),
    ("out", "house", "split"): ([(GAME, HOUSE, 600), (WALLET, HOUSE, 400)], "confirmed"),
    ("out", "house", "write_off"): ([], "confirmed"),
    ("out", "house", "claw_back"): ([(GAME, HOUSE, 1000)], "confirmed"),
    ("out", "both", "confirm"): ([(CUSTODY, HOUSE, 500), (GAME, WALLET, 500)], "confirmed"),
    ("out", "both", "reverse"): ([(CUSTODY, GAME, 500), (WALLET, HOUSE, 500)], "reversed"),
    ("out", "both", "split"): ([(CUSTODY, HOUSE, 500), (GAME, WALLET, 100)], "confirmed"),
    ("out", "both", "write_off"): ([(CUSTODY, GAME, 500)], "confirmed"),
}
ORPHANS = [(direction, place) for direction in ("in", "out") for place in ("custody", "house", "both")]
STANDS = {"custody": (1000, 0), "house": (0, -1000), "both": (500, -500)}
"""Place → cents in custody, cents with the house."""


def orphan(lone: Bench, one: ScriptedOne, hands: Hands, direction: str, place: str) -> str:
    """An orphan as it comes about: all answers lost, or told otherwise after the wallet was given it."""
    if place == "custody":
        one.script, one.asked = [LOST], [SILENT] * 60
    elif place == "both":
        one.descriptor, one.script = replace(ONE_PHASE, partial=True), [HALF]
    elif direction == "in":
        one.script = [REFUSES]
    transfer_id = lone.run(direction)
    reference = str(lone.get(transfer_id).outside.reference)
    if place != "custody":
        told = one.callback(reference)
        word = "applied" if direction == "in" and place == "house" else "cancelled"
        other = replace(told.reply, answer=Answer(word), sequence=None, amount=1000, requested=None)
        advance(lone.runtime, transfer_id, None, replace(told, reply=other))
    for _ in range(12):
        if lone.row(transfer_id)["state"] == "orphaned":
            break
        hands.turn(120)
        lone.resolve_due()
    assert lone.row(transfer_id)["state"] == "orphaned"
    assert (lone.account(CUSTODY), lone.account(HOUSE)) == STANDS[place]
    return transfer_id


def decision(lone: Bench, transfer_id: str, kind: str, **changes: Any) -> Decision:
    """A decision by two people about the transfer as it stands."""
    parts = {"arrived": 600, "returned": 400} if kind == "split" else {}
    given = {"maker": "mia", "checker": "carl", "reason": "the provider's staff say so", **parts, **changes}
    return Decision(Kind(kind), version=given.pop("version", lone.row(transfer_id)["version"]), **given)


def posted(lone: Bench, transfer_id: str, after: int) -> list[tuple[str, str, int]]:
    """What was posted behind a version, sorted."""
    query = "SELECT debit, credit, amount FROM posting WHERE transfer_id = :id AND version > :v"
    return sorted((row["debit"], row["credit"], row["amount"]) for row in lone.rows(query, id=transfer_id, v=after))


@pytest.mark.parametrize(("direction", "place", "kind"), TYPED)
def test_each_decision_posts_what_is_typed_here(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, place: str, kind: str
) -> None:
    """I-01 I-03 I-11 C-07 C-08 Exactly these postings, this end, and a case that two people closed (or that proof
    settled, where a claw-back was ordered)."""
    transfer_id = orphan(lone, one, hands, direction, place)
    one.asked.clear()
    version = lone.row(transfer_id)["version"]
    after = decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    if kind == "claw_back":
        assert after.state.value == "orphaned"
        assert posted(lone, transfer_id, version) == []
        for _ in range(3):
            hands.turn(1)
            lone.resolve_due()
        back = lone.get(transfer_id).take_backs
        assert [one.executed[str(leg.reference)] for leg in back] == [1]
    postings, end = TYPED[direction, place, kind]
    row = lone.row(transfer_id)
    assert (row["state"], posted(lone, transfer_id, version)) == (end, postings)
    assert row["reason_code"] == ({"reversed": "clawed_back"}.get(end) if kind == "claw_back" else "decided")
    part = 500 if (direction, place, kind) == ("out", "both", "write_off") else None
    assert row["arrived"] == (600 if kind == "split" else part)
    assert lone.rows("SELECT state FROM orphan_case")[0]["state"] == "closed"
    lone.audit()
    assert [f for f in verify(lone.runtime) if not all(r.get("inbox_id", 0) is None for r in f.rows)] == []


@pytest.mark.parametrize(("direction", "place"), ORPHANS)
def test_what_makes_no_sense_is_refused_and_nothing_is_stored(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, place: str
) -> None:
    """I-54 I-11 Kinds that mean nothing there, halves that are no whole, parts of what is no split."""
    transfer_id = orphan(lone, one, hands, direction, place)
    senseless = [kind for kind in Kind if (direction, place, kind.value) not in TYPED]
    wrong = [(decision(lone, transfer_id, kind.value), "kind") for kind in senseless]
    wrong += [
        (decision(lone, transfer_id, "split", arrived=601), "arrived"),
        (decision(lone, transfer_id, "split", arrived=1000, returned=0), "arrived"),
        (decision(lone, transfer_id, "reverse", arrived=1), "arrived"),
    ]
    before = lone.row(transfer_id)
    for refused, field in wrong:
        with pytest.raises(Invalid) as trouble:
            decide(lone.runtime, lone.operator, transfer_id, refused)
        assert field in trouble.value.fields
    assert lone.row(transfer_id) == before
    assert lone.rows("SELECT * FROM decision") == []


@pytest.mark.parametrize(
    ("direction", "kind"), [("in", "confirm"), ("in", "split"), ("out", "reverse"), ("out", "split")]
)
def test_a_spent_wallet_is_not_taken_from(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str, kind: str
) -> None:
    """I-05 What the wallet would have to give back is not there: refused, nothing stored, still to be decided."""
    transfer_id = orphan(lone, one, hands, direction, "house")
    lone.cash("withdrawal", "ann", f"{lone.wallet() // 100}.00")
    before = lone.row(transfer_id)
    with pytest.raises(Declined, match="does not hold"):
        decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    assert (lone.row(transfer_id), lone.rows("SELECT * FROM decision")) == (before, [])
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "write_off"))
    assert lone.row(transfer_id)["state"] == "confirmed"
    lone.audit()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_what_was_known_counts_no_more_and_a_new_fact_does(
    lone: Bench, one: ScriptedOne, hands: Hands, direction: str
) -> None:
    """I-16 A repetition changes nothing; another verdict than that source gave orphans it again."""
    transfer_id = orphan(lone, one, hands, direction, "house")
    reference = str(lone.get(transfer_id).outside.reference)
    known = [e for e in lone.get(transfer_id).outside.evidence if e.source.value == "callback"][-1]
    kind, end = ("reverse", "reversed") if direction == "in" else ("confirm", "confirmed")  # against what is known
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    fact = one.callback(reference)
    advance(lone.runtime, transfer_id, None, replace(fact, reply=known.reply))
    assert lone.row(transfer_id)["state"] == end
    advance(lone.runtime, transfer_id, None, replace(fact, reply=replace(known.reply, sequence=7)))
    assert lone.row(transfer_id)["state"] == "orphaned"
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, kind))
    assert lone.row(transfer_id)["state"] == end
    lone.audit()


def test_many_decide_at_once(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-28 C-77 Eight desks decide the same orphan at one instant: one decision, one effect, the others are stale."""
    transfer_id = orphan(lone, one, hands, "in", "custody")
    made = [decision(lone, transfer_id, "confirm" if n % 2 else "reverse", maker=f"m{n}") for n in range(8)]
    results = together(8, lambda n: decide(lone.runtime, lone.operator, transfer_id, made[n]))
    assert sum(isinstance(result, Stale) for result in results) == 7, results
    assert len(lone.rows("SELECT id FROM decision")) == 1
    lone.audit()


def test_the_database_wants_two_people(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """I-54 I-07 Maker and checker differ by a CHECK, and a decision once made is never changed."""
    transfer_id = orphan(lone, one, hands, "in", "custody")
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "reverse"))
    for statement in (
        "INSERT INTO decision SELECT 'x', transfer_id, kind, arrived, returned, maker, maker, 'r', 9, 9 FROM decision",
        "UPDATE decision SET reason = 'another'",
        "DELETE FROM decision",
    ):
        with pytest.raises(Exception) as refused, db.writing(lone.runtime.engine) as connection:
            connection.execute(text(statement))
        assert isinstance(refused.value, IntegrityError) or "append only" in str(refused.value)


def test_the_page_says_what_is_typed_here() -> None:
    """Design §7: docs/decisions-of-people.md is generated, and its postings are those of this file."""
    written = Path(__file__).resolve().parents[2] / "docs" / "decisions-of-people.md"
    assert written.read_text(encoding="utf-8") == decisions_page.render(), "run `python -m bridge diagrams`"
    names = {"game:acme:ann": GAME, "custody:acme": CUSTODY, "house:acme": HOUSE, "wallet:ann": WALLET}
    assert {(d.value, p.value, k.value) for (d, p), kinds in MEANINGFUL.items() for k in kinds} == set(TYPED)
    for (direction, place, kind), (postings, _) in TYPED.items():
        made = decisions_page.postings(Direction(direction), Place(place), Kind(kind))
        assert sorted((names[debit], names[credit], cents // 10) for debit, credit, cents in made) == postings
