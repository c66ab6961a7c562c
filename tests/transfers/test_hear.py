"""What is done about callbacks: evidence once, for the transfer that the signer was asked about, in any order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from bridge import inbox
from bridge.runtime import Ids, SystemClock
from bridge.transfers import hear
from bridge.transfers.advance import Claim, advance
from bridge.verify import verify
from tests import callbacks
from tests.callbacks import RIVAL, UNKNOWN_REFERENCE, Office, balance, transfer
from tests.harness import PLAYER, PROVIDER, Hands, together
from tests.providers import ScriptedServer, hang_up, http

ENDED = {"confirmed": (99_000, 1_000), "reversed": (100_000, 0)}
"""Wallet and game account after 10.00 in, by the end of the transfer."""


@pytest.fixture
def hands() -> Hands:
    """The clock of the office."""
    return Hands()


@pytest.fixture
def office(migrated_url: str, hands: Hands) -> Iterator[Office]:
    """A bridge that hears two providers, on a clock that stands still; nothing is ever sent."""
    with callbacks.office(migrated_url, clock=hands) as made:
        yield made


def stands(office: Office, transfer_id: str, state: str) -> None:
    """The transfer is there, its money with it, and nothing in the books is wrong."""
    assert office.get(transfer_id).state == state
    if state in ENDED:
        assert (office.wallet(), office.game()) == ENDED[state]
    office.audit()
    assert verify(office.runtime) == []


def told_about(reference: str, direction: str) -> Callable[..., dict[str, Any]]:
    """What is told about a transfer of this direction."""
    return lambda *what, **changes: transfer(reference, *what, direction=direction, **changes)


# --- one message, one piece of evidence -------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize(("status", "end"), [("confirmed", "confirmed"), ("cancelled", "reversed")])
def test_a_callback_is_proof(office, direction, status, end):
    """C-61, I-12: a signed verdict about exactly what was intended ends the transfer; the message is its evidence."""
    transfer_id, reference = office.planned(direction)
    office.told(f"transfer.{status}", told_about(reference, direction)(status))
    assert office.get(transfer_id).state == "pending"
    assert office.work() == {"taken": 1, "acted": 1, "set_aside": 0}

    assert office.get(transfer_id).state == end
    (piece,), (message,) = office.evidence(), office.rows("SELECT * FROM inbox")
    assert (piece["inbox_id"], piece["digest"], piece["at"]) == (
        message["id"],
        message["digest"],
        message["received_at"],
    )
    (task,) = office.rows("SELECT * FROM inbox_task")
    assert (task["state"], task["transfer_id"], task["wake_at"]) == ("done", transfer_id, None)
    sign = {"confirmed": 1, "reversed": 0}[end] * (1 if direction == "in" else -1)
    assert (office.wallet(), office.game()) == (100_000 - 1_000 * sign, 1_000 * sign)
    office.audit()
    assert verify(office.runtime) == []


def test_acting_again_changes_nothing(office):
    """I-41: one after the other or eight at once, whoever acts on a message that was acted on does nothing."""
    transfer_id, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference))
    (inbox_id,) = inbox.due(office.runtime, 9)
    assert together(8, lambda _: hear.act(office.runtime, inbox_id)) == [None] * 8
    before = office.contents()
    hear.act(office.runtime, inbox_id)
    assert office.contents() == before
    assert len(office.evidence()) == 1
    stands(office, transfer_id, "confirmed")


def test_the_same_told_under_two_ids_is_told_twice_and_moves_once(office):
    """C-64: two messages with the same content are two pieces of evidence, and one move."""
    transfer_id, reference = office.planned()
    for name in ("evt_1", "evt_2", "evt_3"):
        office.told("transfer.confirmed", transfer(reference), id_=name)
    office.work()
    assert len(office.evidence()) == 3
    assert office.count("posting", f"transfer_id = '{transfer_id}'") == 2  # wallet → transit → game
    stands(office, transfer_id, "confirmed")


def test_a_message_that_does_not_exist_is_nothing_to_act_on(office):
    """I-41: a number that no message has is passed by."""
    before = office.contents()
    hear.act(office.runtime, 77)
    assert office.contents() == before


# --- too early --------------------------------------------------------------------------------------------


class Chosen(Ids):
    """Ids of which the next transfer's is known beforehand, as a provider would know it from another copy of ours."""

    following = "tr_019a8f3e2c417d3ab0c5d6e7f8091a2b"

    def new(self, prefix: str) -> str:
        return self.following if prefix == "tr" else super().new(prefix)


@pytest.mark.parametrize(("status", "end"), [("confirmed", "confirmed"), ("cancelled", "reversed")])
def test_told_before_there_is_a_transfer(office, hands, status, end):
    """C-61: a message about a transfer whose row is not there yet is kept, looked at again with growing pauses, and
    acted on when the transfer has appeared."""
    office.told(f"transfer.{status}", transfer(UNKNOWN_REFERENCE, status))
    pauses = []
    for _ in range(16):
        office.work()
        (task,) = office.rows("SELECT * FROM inbox_task")
        assert (task["state"], task["reason"]) == ("parked", inbox.NO_TRANSFER)
        pauses.append((task["wake_at"] - hands.now()) / 1_000_000)
        hands.turn(pauses[-1])
    assert pauses[:5] == [1, 1, 2, 4, 8]
    assert pauses[-2:] == [3600, 3600]

    office.runtime = replace(office.runtime, ids=Chosen())
    transfer_id, reference = office.planned()
    assert reference == UNKNOWN_REFERENCE
    office.work()
    stands(office, transfer_id, end)


def test_a_cancel_before_its_original_is_applied_with_it(office):
    """C-61: what waits for a reference is acted on when its transfer begins: the tombstone reverses it, and not a byte
    of it is sent; what waits for other references, or was told by another provider, is not touched."""
    office.told("transfer.cancelled", transfer(UNKNOWN_REFERENCE, "cancelled"))
    office.work()
    office.told("transfer.cancelled", transfer(UNKNOWN_REFERENCE, "cancelled"), provider=RIVAL)
    office.told("transfer.cancelled", transfer("another", "cancelled"), id_="evt_2")
    office.runtime = replace(office.runtime, ids=Chosen())

    transfer_id = office.run("in")

    assert office.reference(transfer_id) == UNKNOWN_REFERENCE
    assert office.count("attempt") == 0
    assert [state for state, _ in office.tasks()] == ["done", "waiting", "waiting"]
    stands(office, transfer_id, "reversed")


def test_a_message_that_the_begin_did_not_see(office, hands, monkeypatch):
    """C-61: where message and transfer are committed in the same instant, and neither saw the other, the job acts on
    the message when it is due again."""
    office.told("transfer.confirmed", transfer(UNKNOWN_REFERENCE))
    office.work()
    office.runtime = replace(office.runtime, ids=Chosen())
    monkeypatch.setattr("bridge.transfers.begin._is_spoken_of", lambda *_: False)
    transfer_id, _ = office.planned()
    assert office.get(transfer_id).state == "pending"
    hands.turn(1)
    assert office.work() == {"taken": 1, "acted": 1, "set_aside": 0}
    stands(office, transfer_id, "confirmed")


def test_what_was_told_is_found_by_its_reference(office, hands):
    """C-61: whether the job has looked at a message already makes no difference: what nobody has acted on yet is acted
    on, once, in the order in which it was told."""
    transfer_id, reference = office.planned()
    for number, (status, sequence) in enumerate([("confirmed", 1), ("cancelled", 2)]):
        office.told(f"transfer.{status}", transfer(reference, status, sequence), id_=f"evt_{number}")
        hands.turn(1)
    assert hear.act_on_parked(office.runtime, PROVIDER, reference) == 2
    assert [piece["inbox_id"] for piece in office.evidence()] == [
        row["id"] for row in office.rows("SELECT id FROM inbox ORDER BY id")
    ]
    assert hear.act_on_parked(office.runtime, PROVIDER, reference) == 0
    assert office.work()["taken"] == 0
    stands(office, transfer_id, "reversed")


def answering(server: ScriptedServer, told: Callable[[str, dict[str, Any]], dict[str, Any] | None]) -> str:
    """The address of a provider that answers each message with `told(type, data)`, or hangs up."""

    def answer(wire: Any) -> bool:
        message = json.loads(server.received[-1].body)
        said = told(message["type"], message["data"])
        return (hang_up if said is None else http(200, json.dumps(said)))(wire)

    server.routes["/"] = answer
    return server.url + "/"


@pytest.mark.parametrize("answered", [True, False], ids=["then answered", "then nothing"])
def test_told_before_the_answer_to_our_own_request(migrated_url, answered):
    """C-61, C-01: the callback comes and is acted on while our request is still on the wire, before we know the
    provider's id; then the answer comes, or never does. The money moves once."""
    with ScriptedServer() as server:

        def told(kind: str, data: dict[str, Any]) -> dict[str, Any] | None:
            assert kind == "transfer.create"
            made.told("transfer.confirmed", transfer(data["id"], sequence=1))
            assert made.work()["acted"] == 1
            return transfer(data["id"], sequence=1) if answered else None

        with callbacks.office(migrated_url, answering(server, told), clock=SystemClock()) as made:
            transfer_id = made.run("in")
            assert len(server.received) == 1
            assert len(made.evidence()) == 1
            stands(made, transfer_id, "confirmed")


def test_a_cancel_told_while_the_request_is_on_the_wire_reverses_nothing_yet(migrated_url):
    """C-61, C-07: a refusal is not believed under a request in flight; when the answer says confirmed, later by the
    provider's own count, the transfer is not reversed."""
    states = []
    with ScriptedServer() as server:

        def told(_kind: str, data: dict[str, Any]) -> dict[str, Any]:
            made.told("transfer.cancelled", transfer(data["id"], "cancelled", 1))
            assert made.work()["acted"] == 1
            states.extend(row["state"] for row in made.rows("SELECT state FROM transfer"))
            return transfer(data["id"], sequence=2)

        with callbacks.office(migrated_url, answering(server, told), clock=SystemClock()) as made:
            transfer_id = made.run("in")
            assert states == ["pending"]
            stands(made, transfer_id, "orphaned")


# --- in any order -----------------------------------------------------------------------------------------

STORY = [
    ("transfer.confirmed", "confirmed", 1),
    ("transfer.cancelled", "cancelled", 2),
    ("transfer.confirmed", "confirmed", 1),
    ("transfer.cancelled", "cancelled", 2),
]


@pytest.mark.parametrize("order", sorted(set(permutations(range(4)))), ids=lambda order: "".join(map(str, order)))
def test_a_take_back_ends_reversed_in_whatever_order_it_is_told(office, hands, order):
    """C-62, I-15: confirmed and then taken back, each told twice, half an hour apart, in each of the orders: by the
    provider's own count the take-back is the later one, and the player has the money."""
    transfer_id, reference = office.planned()
    for place in order:
        kind, status, sequence = STORY[place]
        office.told(kind, transfer(reference, status, sequence), id_=f"evt_{place}")
        office.work()
        office.audit()
        hands.turn(1800)
    assert len(office.evidence()) == 4
    stands(office, transfer_id, "reversed")


def test_half_a_story_then_the_other(office, hands):
    """C-62: an older verdict that arrives half an hour after the newer one changes nothing any more."""
    transfer_id, reference = office.planned()
    office.told("transfer.cancelled", transfer(reference, "cancelled", 2))
    office.work()
    stands(office, transfer_id, "reversed")
    hands.turn(1800)
    office.told("transfer.confirmed", transfer(reference, sequence=1), id_="evt_2")
    office.work()
    stands(office, transfer_id, "reversed")
    assert office.count("orphan_case", "state <> 'closed'") == 0


def test_a_first_try_that_is_cancelled_after_the_second_succeeded(migrated_url):
    """C-62: `cancelled` about the first try of a sweep comes after the confirmation of the second: it is about its own
    try alone, and the money stays where it is."""
    held = iter(["25.00", "20.00"])
    with ScriptedServer() as server:

        def told(kind: str, data: dict[str, Any]) -> dict[str, Any]:
            if kind == "player.balance":
                return balance(next(held))
            refused = data["amount"] == "25.00"
            said = {**data, "provider_id": data["id"], "sequence": 1, "time": "2026-09-21T14:13:20Z"}
            return {
                **said,
                **({"status": "refused", "code": "insufficient_funds"} if refused else {"status": "confirmed"}),
            }

        with callbacks.office(migrated_url, answering(server, told), clock=SystemClock()) as made:
            transfer_id = made.run("out", "max", ask=5)
            first, second = made.get(transfer_id).tries
            assert (made.get(transfer_id).state, made.wallet()) == ("confirmed", 102_000)
            late = {"direction": "out", "amount": "25.00", "balance": "20.00"}
            made.told("transfer.cancelled", transfer(first.reference, "cancelled", **late))
            late |= {"amount": "20.00", "provider_id": second.reference}
            made.told("transfer.confirmed", transfer(second.reference, **late), id_="evt_2")
            assert made.work()["acted"] == 2
            assert [piece["ordinal"] for piece in made.evidence()] == [first.ordinal, second.ordinal]
            assert (made.get(transfer_id).state, made.wallet()) == ("confirmed", 102_000)


def test_what_is_not_final_says_nothing_after_what_is(office):
    """C-63: a message that something is pending, under whatever kind, leaves an ended transfer as it is."""
    transfer_id, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference))
    office.work()
    before = office.contents("inbox", "inbox_task")
    office.told("transfer.pending", transfer(reference, "pending", 3), id_="evt_2")
    office.told("transfer.progress", transfer(reference, "pending", 4), id_="evt_3")
    office.work()
    assert office.contents("inbox", "inbox_task") == before
    assert [state for state, _ in office.tasks()] == ["done", "passed_over", "passed_over"]
    stands(office, transfer_id, "confirmed")


def test_opposite_verdicts_without_an_order_are_loud(office):
    """I-16: two signed verdicts that the provider counts alike cannot both be true: people decide."""
    transfer_id, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference, sequence=1))
    office.told("transfer.cancelled", transfer(reference, "cancelled", 1), id_="evt_2")
    office.work()
    assert office.row(transfer_id)["reason_code"] == "contradiction"
    stands(office, transfer_id, "orphaned")


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "9.00"},
        {"currency": "JPY", "amount": "1000", "balance": "1"},
        {"player": "bob"},
        {"direction": "out"},
    ],
)
def test_a_right_signature_under_wrong_facts_is_loud(office, wrong):
    """C-09: what is confirmed is not what was intended: it is never taken for it."""
    transfer_id, reference = office.planned()
    office.told("transfer.confirmed", {**transfer(reference), **wrong})
    office.work()
    assert office.row(transfer_id)["reason_code"] == "mismatch"
    stands(office, transfer_id, "orphaned")


# --- whose transfer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["confirmed", "cancelled"])
def test_another_providers_transfer_is_not_touched(office, hands, status):
    """C-68, I-55: the rival, rightly signed, names our provider's reference, known or guessed: it is parked, for ever,
    and no row but its own changes; what our provider then says counts as if nothing had been said."""
    transfer_id, reference = office.planned()
    own = ("inbox", "inbox_task")
    before = office.contents(*own)
    for number, guess in enumerate((reference, reference.upper(), reference[:-1] + "1", UNKNOWN_REFERENCE)):
        office.told(f"transfer.{status}", transfer(guess, status), provider=RIVAL, id_=f"evt_{number}")
    for _ in range(5):
        office.work()
        hands.turn(3600)
    assert office.contents(*own) == before
    assert office.tasks() == [("parked", inbox.NO_TRANSFER)] * 4
    assert hear.act_on_parked(office.runtime, PROVIDER, reference) == 0

    office.told("transfer.confirmed", transfer(reference))
    office.work()
    stands(office, transfer_id, "confirmed")


# --- beside others ----------------------------------------------------------------------------------------


def test_a_callback_and_the_resolver_at_once(office):
    """I-41, I-30: eight threads act on eight messages about one transfer while others hold and lose its lease: one end,
    each message evidence once."""
    transfer_id, reference = office.planned()
    for number in range(8):
        office.told("transfer.confirmed", transfer(reference), id_=f"evt_{number}")
    numbers = inbox.due(office.runtime, 8)

    def work(number: int) -> None:
        if number < 8:
            hear.act(office.runtime, numbers[number])
        else:
            advance(office.runtime, transfer_id, Claim(transfer_id, number))

    assert together(12, work) == [None] * 12
    assert len(office.evidence()) == 8
    assert office.count("posting", f"transfer_id = '{transfer_id}'") == 2
    stands(office, transfer_id, "confirmed")


def test_evidence_and_message_are_settled_together(office, hands, monkeypatch):
    """I-14, C-66: where the transaction fails, neither the evidence nor the message's end is kept; it comes again."""
    transfer_id, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference))
    fails = lambda *_args, **_more: 1 / 0  # noqa: E731 - a disk that is full at this very moment
    with monkeypatch.context() as broken:
        broken.setattr("bridge.transfers.advance.write", fails)
        assert office.work() == {"taken": 1, "acted": 0, "set_aside": 1}
    assert office.evidence() == []
    assert office.tasks() == [("waiting", "failed: ZeroDivisionError")]
    hands.turn(2)
    assert office.work() == {"taken": 1, "acted": 1, "set_aside": 0}
    assert office.tasks() == [("done", "")]
    stands(office, transfer_id, "confirmed")


# --- balances ---------------------------------------------------------------------------------------------


def confirmed(office: Office, hands: Hands) -> str:
    """10.00 came into the game, and then nothing moved for two minutes."""
    transfer_id, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference), id_="confirmed")
    office.work()
    hands.turn(120)
    return transfer_id


def test_a_balance_that_differs_opens_a_break_and_moves_nothing(office, hands):
    """I-53, C-61: a told balance above or below ours is a break with both numbers; no account, no evidence and no
    transfer changes; the same again is the same break, others are another, and an equal one closes it."""
    confirmed(office, hands)
    books = office.contents("inbox", "inbox_task", "balance_break")
    stories = []
    for number, amount in enumerate(["12.50", "12.50", "0.00", "-3.00", "10.00", "10.00"]):
        office.told("balance.reported", balance(amount), id_=f"evt_{number}")
        office.work()
        found = office.rows("SELECT ours, theirs, told_by, closed_at FROM balance_break ORDER BY opened_at, id")
        stories.append((len(found), [(row["ours"], row["theirs"]) for row in found if row["closed_at"] is None]))
        hands.turn(1)
    assert stories == [
        (1, [(1000, 1250)]), (1, [(1000, 1250)]), (2, [(1000, 0)]), (3, [(1000, -300)]), (3, []), (3, []),
    ]  # fmt: skip
    assert office.contents("inbox", "inbox_task", "balance_break") == books
    assert {row["told_by"] for row in office.rows("SELECT told_by FROM balance_break")} == {"callback"}
    assert [reason for _, reason in office.tasks()[1:]] == ["balance differs"] * 4 + ["balance equal"] * 2
    office.audit()


def test_a_balance_on_a_busy_lane_says_nothing(office, hands):
    """I-53: while a transfer of the player there is open, and for a minute after the last move, told balances are
    passed over; those of a lane where nothing moves count."""
    transfer_id, reference = office.planned()
    office.told("balance.reported", balance("99.00"), id_="open")
    office.work()
    office.told("transfer.confirmed", transfer(reference), id_="confirmed")
    office.work()
    hands.turn(59)
    office.told("balance.reported", balance("99.00"), id_="fresh")
    office.work()
    assert office.count("balance_break") == 0
    assert [state for state, _ in office.tasks()] == ["passed_over", "done", "passed_over"]
    hands.turn(2)
    office.told("balance.reported", balance("99.00"), id_="quiet")
    office.told("balance.reported", balance("5.00"), id_="elsewhere", provider=RIVAL)
    office.work()
    found = office.rows("SELECT provider, ours, theirs FROM balance_break ORDER BY ours")
    assert [tuple(row.values()) for row in found] == [(RIVAL, 0, 500), (PROVIDER, 1000, 9900)]
    stands(office, transfer_id, "confirmed")


def test_a_balance_is_compared_with_what_was_when_it_was_told(office, hands):
    """C-62: a balance that we were told before a transfer, and that is looked at after it, is no break."""
    confirmed(office, hands)
    office.told("balance.reported", balance("10.00"))
    hands.turn(1)
    _, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference, balance="20.00"), id_="evt_2")
    numbers = inbox.due(office.runtime, 2)
    for inbox_id in reversed(numbers):
        hear.act(office.runtime, inbox_id)
    assert office.game() == 2000
    assert office.count("balance_break") == 0
    assert office.tasks()[1][0] == "passed_over"


def test_balances_that_are_looked_at_in_the_wrong_order(office, hands):
    """C-62: what was told first does not open again what a later balance has closed."""
    confirmed(office, hands)
    for number, amount in enumerate(["12.50", "11.00", "10.00"]):
        office.told("balance.reported", balance(amount), id_=f"evt_{number}")
        hands.turn(1)
    first, second, third = inbox.due(office.runtime, 3)
    for inbox_id in (first, third, second):
        hear.act(office.runtime, inbox_id)
    assert office.count("balance_break", "closed_at IS NULL") == 0
    assert [reason for _, reason in office.tasks()[1:]] == [
        "balance differs", "a balance that was told later has been compared", "balance equal",
    ]  # fmt: skip


def test_a_balance_of_one_who_is_nobodys_player(office):
    """I-55: a balance of a player that the operator has not is passed over; another operator's player of the same name
    is another one."""
    office.told("balance.reported", balance("7.00", player="stranger"), id_="evt_1")
    office.told("balance.reported", balance("0.00", player="stranger"), id_="evt_2")
    office.told("balance.reported", balance("7.00", player=PLAYER), id_="evt_3", provider=RIVAL)
    office.work()
    assert [state for state, _ in office.tasks()] == ["passed_over", "done", "done"]
    (found,) = office.rows("SELECT o.name FROM balance_break b JOIN operator o ON o.id = b.operator_id")
    assert found["name"] == "rivals"
