"""The three machines, cell by cell. Every expected move is typed out here, by hand, from the design.

Nothing in this file is computed from EDGES: a row that is lost, added or turned round turns a test red.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from enum import StrEnum
from itertools import product
from pathlib import Path

import pytest

from bridge import diagrams
from statemachines import (
    MACHINES,
    CaseFacts,
    CaseState,
    GuardRefused,
    LegFacts,
    LegState,
    MoveRefused,
    NoSuchMove,
    TransferFacts,
    TransferState,
    case_machine,
    leg_machine,
    transfer_machine,
)

NO = None  # no such move
HELD = "held"  # the table has the move, and these facts do not carry it

# The last two columns are triggers that no machine knows: a misspelt one, and the back door that
# `transitions` opens unless it is told not to.
TRANSFER = {
    #             confirm      reverse     orphan      confirmed  to_confirmed
    "pending":   ("confirmed", "reversed", "orphaned", NO,        NO),
    "confirmed": (NO,          NO,         "orphaned", NO,        NO),
    "reversed":  (NO,          NO,         "orphaned", NO,        NO),
    "orphaned":  ("confirmed", "reversed", NO,         NO,        NO),
}  # fmt: skip
TRANSFER_TRIGGERS = ("confirm", "reverse", "orphan", "confirmed", "to_confirmed")

LEG = {
    #            send    reserve     resend  apply      refuse     cancel  to_applied
    "planned":  ("sent", NO,         NO,     NO,        "refused", NO,     NO),
    "sent":     (NO,     "reserved", "sent", "applied", "refused", NO,     NO),
    "reserved": ("sent", NO,         NO,     "applied", "refused", NO,     NO),
    "applied":  (NO,     NO,         NO,     NO,        "refused", NO,     NO),
    "refused":  (NO,     NO,         NO,     "applied", NO,        NO,     NO),
}  # fmt: skip
LEG_TRIGGERS = ("send", "reserve", "resend", "apply", "refuse", "cancel", "to_applied")

CASE = {
    #            propose     return  order   approve   settle    reopen  close  to_closed
    "open":     ("proposed", NO,     NO,     NO,       "closed", NO,     NO,    NO),
    "proposed": (NO,         "open", "open", "closed", "closed", NO,     NO,    NO),
    "closed":   (NO,         NO,     NO,     NO,       NO,       "open", NO,    NO),
}  # fmt: skip
CASE_TRIGGERS = ("propose", "return", "order", "approve", "settle", "reopen", "close", "to_closed")

GRIDS = {
    "transfer": (transfer_machine, TransferFacts, TRANSFER, TRANSFER_TRIGGERS),
    "leg": (leg_machine, LegFacts, LEG, LEG_TRIGGERS),
    "case": (case_machine, CaseFacts, CASE, CASE_TRIGGERS),
}
CELLS = [
    pytest.param(name, state, trigger, expected, id=f"{name}-{state}-{trigger}")
    for name, (_, _, grid, triggers) in GRIDS.items()
    for state, row in grid.items()
    for trigger, expected in zip(triggers, row, strict=True)
]

# Each edge with facts that carry it and facts that do not: machine, state, trigger, to, carrying, refused.
GUARDS = [
    ("transfer", "pending", "confirm", "confirmed",
     ["arrival_proved", "arrival_proved patience_spent"],
     ["", "patience_spent", "return_proved", "contradiction", "arrival_proved contradiction",
      "arrival_proved return_proved"]),
    ("transfer", "pending", "reverse", "reversed",
     ["return_proved", "return_proved patience_spent"],
     ["", "patience_spent", "arrival_proved", "contradiction", "return_proved contradiction",
      "return_proved arrival_proved"]),
    ("transfer", "pending", "orphan", "orphaned",
     ["patience_spent", "contradiction", "arrival_proved contradiction", "patience_spent contradiction"],
     ["", "arrival_proved", "return_proved", "arrival_proved patience_spent", "return_proved patience_spent"]),
    ("transfer", "orphaned", "confirm", "confirmed",
     ["arrival_proved", "arrival_proved patience_spent"],
     ["", "patience_spent", "return_proved", "contradiction", "arrival_proved contradiction",
      "arrival_proved return_proved"]),
    ("transfer", "orphaned", "reverse", "reversed",
     ["return_proved", "return_proved patience_spent"],
     ["", "patience_spent", "arrival_proved", "contradiction", "return_proved contradiction",
      "return_proved arrival_proved"]),
    ("transfer", "confirmed", "orphan", "orphaned",
     ["contradiction", "contradiction return_proved", "contradiction arrival_proved"],
     ["", "patience_spent", "arrival_proved", "arrival_proved patience_spent"]),
    ("transfer", "reversed", "orphan", "orphaned",
     ["contradiction", "contradiction arrival_proved", "contradiction return_proved"],
     ["", "patience_spent", "return_proved", "return_proved patience_spent"]),
    ("leg", "planned", "send", "sent",
     ["intent_committed"], ["", "prepared", "resend_allowed", "applied_proved", "refused_proved"]),
    ("leg", "sent", "reserve", "reserved",
     ["prepared"], ["", "intent_committed", "resend_allowed", "applied_proved", "refused_proved"]),
    ("leg", "reserved", "send", "sent",
     ["intent_committed", "intent_committed prepared"], ["", "prepared", "resend_allowed", "refused_proved"]),
    ("leg", "sent", "resend", "sent",
     ["resend_allowed intent_committed"], ["", "resend_allowed", "intent_committed", "prepared"]),
    ("leg", "sent", "apply", "applied",
     ["applied_proved"],
     ["", "intent_committed", "prepared", "resend_allowed", "refused_proved", "applied_proved refused_proved"]),
    ("leg", "reserved", "apply", "applied",
     ["applied_proved"],
     ["", "intent_committed", "prepared", "resend_allowed", "refused_proved", "applied_proved refused_proved"]),
    ("leg", "planned", "refuse", "refused",
     ["refused_proved"],
     ["", "intent_committed", "prepared", "resend_allowed", "applied_proved", "applied_proved refused_proved"]),
    ("leg", "sent", "refuse", "refused",
     ["refused_proved"],
     ["", "intent_committed", "prepared", "resend_allowed", "applied_proved", "applied_proved refused_proved"]),
    ("leg", "reserved", "refuse", "refused",
     ["refused_proved"],
     ["", "intent_committed", "prepared", "resend_allowed", "applied_proved", "applied_proved refused_proved"]),
    ("leg", "refused", "apply", "applied",
     ["applied_proved"],
     ["", "intent_committed", "prepared", "resend_allowed", "refused_proved", "applied_proved refused_proved"]),
    ("leg", "applied", "refuse", "refused",
     ["refused_proved"],
     ["", "intent_committed", "prepared", "resend_allowed", "applied_proved", "applied_proved refused_proved"]),
    ("case", "open", "propose", "proposed",
     ["has_proposal"], ["", "second_person", "rejected", "transfer_changed", "proved", "contradicted"]),
    ("case", "proposed", "return", "open",
     ["has_proposal rejected", "has_proposal transfer_changed", "has_proposal rejected transfer_changed",
      "has_proposal lapsed", "has_proposal lapsed second_person"],
     ["", "has_proposal", "rejected", "lapsed", "transfer_changed", "has_proposal second_person", "proved"]),
    ("case", "proposed", "order", "open",
     ["has_proposal second_person"],
     ["", "has_proposal", "second_person", "proved", "has_proposal second_person rejected",
      "has_proposal second_person lapsed", "has_proposal second_person transfer_changed"]),
    ("case", "proposed", "approve", "closed",
     ["has_proposal second_person"],
     ["", "has_proposal", "second_person", "proved", "has_proposal second_person rejected",
      "has_proposal second_person lapsed", "has_proposal second_person transfer_changed"]),
    ("case", "open", "settle", "closed",
     ["proved"], ["", "has_proposal", "second_person", "has_proposal second_person", "contradicted"]),
    ("case", "proposed", "settle", "closed",
     ["proved", "proved has_proposal"], ["", "has_proposal", "has_proposal second_person", "contradicted"]),
    ("case", "closed", "reopen", "open",
     ["contradicted"], ["", "has_proposal", "rejected", "transfer_changed", "proved"]),
]  # fmt: skip
CARRIED = [
    pytest.param(name, state, trigger, to, names, id=f"{name}-{state}-{trigger}-{names or 'nothing'}")
    for name, state, trigger, to, carrying, _ in GUARDS
    for names in carrying
]
REFUSED = [
    pytest.param(name, state, trigger, names, id=f"{name}-{state}-{trigger}-{names or 'nothing'}")
    for name, state, trigger, _, _, refused in GUARDS
    for names in refused
]


def every_combination(facts: type) -> list[object]:
    """All 2^n values of a class of n boolean facts."""
    names = [field.name for field in fields(facts)]
    return [facts(**dict(zip(names, row, strict=True))) for row in product((False, True), repeat=len(names))]


def those(facts: type, names: str) -> object:
    """The facts named, and no other."""
    return facts(**dict.fromkeys(names.split(), True))


def answer(name: str, state: str, trigger: str, facts: object) -> str | None:
    """What the machine says, in the words of this file: the next state, HELD, or NO."""
    try:
        return GRIDS[name][0].after(state, trigger, facts).value
    except GuardRefused:
        return HELD
    except NoSuchMove:
        return NO


@pytest.mark.parametrize(("name", "state", "trigger", "expected"), CELLS)
def test_each_cell_leads_where_the_design_says_or_nowhere(name, state, trigger, expected):
    """I-10, I-11: whatever the facts, a cell leads to its one next state, or is no move at all."""
    facts = every_combination(GRIDS[name][1])
    answers = {answer(name, state, trigger, each) for each in facts}
    assert answers == ({NO} if expected is NO else {expected, HELD})


@pytest.mark.parametrize(
    ("states", "grid"),
    [(TransferState, TRANSFER), (LegState, LEG), (CaseState, CASE)],
    ids=["transfer", "leg", "case"],
)
def test_every_state_has_its_row_in_the_typed_grid(states, grid):
    """I-11: no state exists that the typed grids above do not know."""
    assert [state.value for state in states] == list(grid)


def test_the_machines_know_no_trigger_and_no_edge_that_is_not_typed_here():
    """I-11: the edges of the three tables are exactly the typed cells, seven, eleven and six of them."""
    rows = {
        name: [(edge.source.value, edge.trigger, edge.target.value) for edge in machine.edges]
        for name, (machine, *_) in GRIDS.items()
    }
    typed = {
        name: {
            (state, trigger, to)
            for state, row in grid.items()
            for trigger, to in zip(triggers, row, strict=True)
            if to is not NO
        }
        for name, (_, _, grid, triggers) in GRIDS.items()
    }
    assert {name: set(edges) for name, edges in rows.items()} == typed
    assert {name: len(edges) for name, edges in rows.items()} == {"transfer": 7, "leg": 11, "case": 7}
    assert tuple(machine for machine, *_ in GRIDS.values()) == MACHINES


def test_every_typed_edge_has_its_guard_typed_once():
    """I-11: no edge is without a row that says which facts carry it."""
    guarded = [(name, state, trigger, to) for name, state, trigger, to, _, _ in GUARDS]
    allowed = [(*cell.values[:3], cell.values[3]) for cell in CELLS if cell.values[3] is not NO]
    assert sorted(guarded) == sorted(allowed)


@pytest.mark.parametrize(("name", "state", "trigger", "to", "names"), CARRIED)
def test_an_edge_is_taken_on_the_facts_that_carry_it(name, state, trigger, to, names):
    """I-11: the facts that the design names for an edge carry it, to that one state of its own kind."""
    machine, facts, *_ = GRIDS[name]
    reached = machine.after(state, trigger, those(facts, names))
    assert (reached, type(reached)) == (to, machine.states)


@pytest.mark.parametrize(("name", "state", "trigger", "names"), REFUSED)
def test_an_edge_is_refused_loudly_on_any_other_fact(name, state, trigger, names):
    """I-11: a guard that says no raises GuardRefused, with a sentence; it never answers in silence."""
    machine, facts, *_ = GRIDS[name]
    with pytest.raises(GuardRefused, match=f"'{trigger}' from '{state}' is refused: only when "):
        machine.after(state, trigger, those(facts, names))


def transfer_in_words(state: str, trigger: str, facts: TransferFacts) -> str | None:
    """Design §4, the transfer, read aloud a second time and without its table."""
    undisputed = not facts.contradiction
    match trigger, state:
        case "confirm", "pending" | "orphaned":
            only_the_destination_has_it = facts.arrival_proved and not facts.return_proved
            return "confirmed" if only_the_destination_has_it and undisputed else HELD
        case "reverse", "pending" | "orphaned":
            # An arrival that stands is never reversed away: both sides would then have the amount.
            only_the_source_has_it = facts.return_proved and not facts.arrival_proved
            return "reversed" if only_the_source_has_it and undisputed else HELD
        case "orphan", "pending":
            proved = facts.arrival_proved or facts.return_proved
            given_up = facts.patience_spent and not proved  # what is proved is never given up
            return "orphaned" if given_up or facts.contradiction else HELD
        case "orphan", "confirmed" | "reversed":
            return "orphaned" if facts.contradiction else HELD  # time alone never shakes a proved end
    return NO


def leg_in_words(state: str, trigger: str, facts: LegFacts) -> str | None:
    """Design §4, the leg, read aloud a second time and without its table."""
    match trigger, state:
        case "send", "planned" | "reserved":
            return "sent" if facts.intent_committed else HELD
        case "resend", "sent":
            return "sent" if facts.intent_committed and facts.resend_allowed else HELD
        case "reserve", "sent":
            return "reserved" if facts.prepared else HELD
        case "apply", "sent" | "reserved" | "refused":
            return "applied" if facts.applied_proved and not facts.refused_proved else HELD
        case "refuse", "planned" | "sent" | "reserved" | "applied":
            return "refused" if facts.refused_proved and not facts.applied_proved else HELD
    return NO


def case_in_words(state: str, trigger: str, facts: CaseFacts) -> str | None:
    """Design §4, the case, read aloud a second time and without its table."""
    stale_or_rejected = facts.transfer_changed or facts.rejected or facts.lapsed
    two_people = facts.has_proposal and facts.second_person
    match trigger, state:
        case "propose", "open":
            return "proposed" if facts.has_proposal else HELD
        case "return", "proposed":
            return "open" if facts.has_proposal and stale_or_rejected else HELD
        case "order", "proposed":
            return "open" if two_people and not stale_or_rejected else HELD
        case "approve", "proposed":
            return "closed" if two_people and not stale_or_rejected else HELD
        case "settle", "open" | "proposed":
            return "closed" if facts.proved else HELD
        case "reopen", "closed":
            return "open" if facts.contradicted else HELD
    return NO


@pytest.mark.parametrize(
    ("name", "in_words", "combinations"),
    [("transfer", transfer_in_words, 16), ("leg", leg_in_words, 32), ("case", case_in_words, 128)],
    ids=["transfer", "leg", "case"],
)
def test_every_combination_of_facts_moves_as_the_words_say(name, in_words, combinations):
    """I-10, I-11: in every cell, all 2^n combinations of facts move exactly as design §4 says."""
    _, facts, grid, triggers = GRIDS[name]
    every = every_combination(facts)
    assert len(every) == combinations
    wrong = [
        (state, trigger, each)
        for state, trigger, each in product(grid, triggers, every)
        if answer(name, state, trigger, each) != in_words(state, trigger, each)
    ]
    assert wrong == []


def test_nothing_but_proof_moves_a_transfer_except_into_orphaned():
    """I-11: spent patience alone only orphans a pending transfer; nothing else moves without proof."""
    moved = {
        (state, trigger, each.patience_spent): to
        for state, trigger, each in product(TRANSFER, TRANSFER_TRIGGERS, every_combination(TransferFacts))
        if not (each.arrival_proved or each.return_proved or each.contradiction)
        and (to := answer("transfer", state, trigger, each)) not in (NO, HELD)
    }
    assert moved == {("pending", "orphan", True): "orphaned"}


def test_no_facts_carry_confirm_and_reverse_at_once():
    """I-10: from no state can the same facts both confirm and reverse a transfer."""
    both = [
        (state, each)
        for state, each in product(TRANSFER, every_combination(TransferFacts))
        if answer("transfer", state, "confirm", each) == "confirmed"
        and answer("transfer", state, "reverse", each) == "reversed"
    ]
    assert both == []


def test_a_contradiction_leads_to_orphaned_and_nowhere_else():
    """I-11: whatever else is proved, contradicting proofs confirm nothing and reverse nothing."""
    disputed = [each for each in every_combination(TransferFacts) if each.contradiction]
    reached = {
        state: {answer("transfer", state, *asked) for asked in product(TRANSFER_TRIGGERS, disputed)}
        for state in TRANSFER
    }
    assert reached == {
        "pending": {"orphaned", HELD, NO},
        "confirmed": {"orphaned", NO},
        "reversed": {"orphaned", NO},
        "orphaned": {HELD, NO},
    }


def test_a_refused_leg_is_never_sent_again():
    """I-11: no facts at all lead from a refused leg back to the wire; a new try is a new leg."""
    to_the_wire = product(("send", "resend", "reserve"), every_combination(LegFacts))
    tried = {answer("leg", "refused", *asked) for asked in to_the_wire}
    assert tried == {NO}


def test_nobody_closes_a_case_alone():
    """I-11: without a second person and without proof, no facts close a case."""
    closed = [
        (state, trigger, each)
        for state, trigger, each in product(CASE, CASE_TRIGGERS, every_combination(CaseFacts))
        if not (each.second_person or each.proved) and answer("case", state, trigger, each) == "closed"
    ]
    assert closed == []


@pytest.mark.parametrize("trigger", ["", "Confirm", "confirm ", "to_reversed", "may_confirm", "trigger"])
@pytest.mark.parametrize("name", GRIDS)
def test_an_unknown_trigger_is_refused_by_name(name, trigger):
    """I-11: what is not a trigger of the table is no move, with a sentence that says so."""
    machine, facts, grid, _ = GRIDS[name]
    for state in grid:
        with pytest.raises(NoSuchMove, match="there is no such trigger") as refused:
            machine.after(state, trigger, facts())
        told = refused.value
        assert (told.machine, told.state, told.trigger) == (name, state, trigger)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("state", ["", "Pending", "unknown", "initial"])
def test_a_state_that_no_machine_has_is_an_error_of_the_caller(name, state):
    """I-10: a row that holds a word which is no state of its machine is moved nowhere."""
    machine, facts, _, triggers = GRIDS[name]
    with pytest.raises(ValueError, match="is not a valid"):
        machine.after(state, triggers[0], facts())


def test_a_refusal_is_one_of_two_kinds_and_both_are_a_refused_move():
    """I-10: a caller that catches MoveRefused has caught every way in which a table says no."""
    assert issubclass(NoSuchMove, MoveRefused)
    assert issubclass(GuardRefused, MoveRefused)
    assert not issubclass(GuardRefused, NoSuchMove)


@pytest.mark.parametrize("name", GRIDS)
def test_one_machine_serves_eight_threads(name):
    """I-10: a machine keeps nothing between two questions, so threads that share it get the typed answers."""
    _, facts, grid, triggers = GRIDS[name]
    questions = list(product(grid, triggers, every_combination(facts)))
    alone = [answer(name, *question) for question in questions]
    start = threading.Barrier(8)

    def ask(turn: int) -> list[str | None]:
        cut = turn * len(questions) // 8  # each thread begins elsewhere, so that they meet in other cells
        start.wait()
        answers = [answer(name, *question) for question in questions[cut:] + questions[:cut]]
        return answers[len(questions) - cut :] + answers[: len(questions) - cut]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [alone] * 8


def test_the_page_of_state_machines_is_not_stale():
    """I-11: docs/state-machines.md is what `python -m bridge diagrams` writes from today's tables."""
    page = Path(__file__).parents[1] / "docs" / "state-machines.md"
    assert page.read_text(encoding="utf-8") == diagrams.render()


def test_the_page_draws_every_edge_and_says_what_every_state_means():
    """I-11: the page holds an arrow per edge with its guard, and a sentence per state."""
    page = diagrams.render()
    arrows = [line.strip() for line in page.splitlines() if " --> " in line and "[*]" not in line]
    assert len(arrows) == 7 + 11 + 7
    assert "pending --> confirmed: confirm [arrival is proved]" in arrows
    assert "reserved --> sent: send [intent is committed]" in arrows
    assert "proposed --> closed: approve [another person approves]" in arrows
    assert "| `reserved` | prepared at a two-phase provider; moves nothing " in page
    explained = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 3]
    assert [line.split("`")[1] for line in explained] == [*TRANSFER, *LEG, *CASE]


def test_a_state_without_a_meaning_is_named():
    """I-11: a state that is added without a comment cannot slip onto the page in silence."""

    class Door(StrEnum):
        OPEN = "open"  # one may pass
        SHUT = "shut"

    with pytest.raises(LookupError, match="Door: no comment says what SHUT means"):
        diagrams.meanings(Door)
