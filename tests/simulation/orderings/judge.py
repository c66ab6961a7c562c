"""What must hold after every commit and after everything that the provider does: rules of the design, in other words
than the bridge's. Of the bridge only rows are read; what is true at the provider is read from the provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.simulation.orderings.rows import (
    ACCOUNT,
    ATTEMPT,
    CASE,
    EVIDENCE,
    INBOX,
    LEG,
    POSTING,
    TASK,
    TRANSFER,
    Rows,
    Shelf,
)  # fmt: skip
from tests.simulation.orderings.stand import AMOUNT, DEPOSIT, PLAYER, PROVIDER
from tests.simulation.orderings.wire import Request

WALLET, GAME = f"wallet:{PLAYER}", f"game:{PROVIDER}:{PLAYER}"
CUSTODY, HOUSE, TRANSIT = f"custody:{PROVIDER}", f"house:{PROVIDER}", "transit"
OPEN, FINAL = ("pending", "orphaned"), ("confirmed", "reversed")

TRANSFER_EDGES = {
    (None, "pending"), ("pending", "confirmed"), ("pending", "reversed"), ("pending", "orphaned"),
    ("orphaned", "confirmed"), ("orphaned", "reversed"), ("confirmed", "orphaned"), ("reversed", "orphaned"),
}  # fmt: skip
LEG_EDGES = {
    ("planned", "sent"), ("sent", "reserved"), ("reserved", "sent"), ("sent", "sent"), ("sent", "applied"),
    ("reserved", "applied"), ("planned", "refused"), ("sent", "refused"), ("reserved", "refused"),
    ("refused", "applied"), ("applied", "refused"),
}  # fmt: skip
SENDS_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Books:
    """What the rows of one state say, as the rules below read them."""

    state: str | None
    reason: str | None = None
    inward: bool = True
    wake_at: int | None = None
    leased: bool = False
    wished: bool = False
    legs: tuple[dict[str, Any], ...] = ()
    attempts: tuple[dict[str, Any], ...] = ()
    evidence: tuple[tuple[Any, ...], ...] = ()
    """(leg, source, step, attempt, answer, code, sequence, instant, message)"""
    letters: dict[str, str] | None = None
    """Callback -> what became of it."""
    waiting: tuple[int, ...] = ()
    """When each callback came in that nobody has acted on yet."""
    case: str | None = None
    orphan_at: int | None = None
    settled_at: int | None = None

    @classmethod
    def read(cls, rows: Rows, shelf: Shelf) -> Books:
        """Read them."""
        if not rows[TRANSFER]:
            return cls(None)
        transfer = shelf.named(TRANSFER, rows[TRANSFER][0])
        tasks = {task["inbox_id"]: task["state"] for task in _named(shelf, rows, TASK)}
        names = ("ordinal", "source", "step", "attempt", "answer", "code", "sequence", "at", "inbox_id")
        messages = _named(shelf, rows, INBOX)
        cases = [each["state"] for each in _named(shelf, rows, CASE)]
        return cls(
            state=transfer["state"],
            reason=transfer["reason_code"],
            inward=transfer["direction"] == "in",
            wake_at=transfer["wake_at"],
            leased=transfer["lease_owner"] is not None,
            wished=transfer["cancel_requested_at"] is not None,
            legs=tuple(_named(shelf, rows, LEG)),
            attempts=tuple(_named(shelf, rows, ATTEMPT)),
            evidence=tuple(
                shelf.shared(tuple(piece[name] for name in names)) for piece in _named(shelf, rows, EVIDENCE)
            ),
            letters={each["message_id"]: tasks[each["id"]] for each in messages},
            waiting=tuple(
                each["received_at"] for each in messages if tasks[each["id"]] in ("waiting", "parked")
            ),
            case=cases[0] if cases else None,
            orphan_at=transfer["orphan_at"],
            settled_at=transfer["settled_at"],
        )

    @property
    def outside(self) -> dict[str, Any]:
        """The leg at the provider."""
        return next(leg for leg in self.legs if leg["holder"] == PROVIDER)

    def may_not_have_acted(self, sequence: int) -> bool:
        """Whether a take-back need not have moved it yet: nobody has told of it, or a money request was unanswered
        (nothing is reversed while one may be on the wire) and somebody will look when it no longer can be."""
        if not any(piece[4] == "cancelled" and piece[6] == sequence for piece in self.evidence):
            return True
        answered = {piece[3] for piece in self.evidence if piece[1] == "call"}
        return self.wake_at is not None and any(each["attempt"] not in answered for each in self.attempts)


def _named(shelf: Shelf, rows: Rows, table: int) -> Iterable[dict[str, Any]]:
    return [shelf.named(table, row) for row in rows[table]]


class Judge:
    """Says what is wrong, in sentences that begin with the name of the rule."""

    def __init__(self) -> None:
        self.checks = 0

    # --- after a commit ---------------------------------------------------------------------------------------

    def commit(
        self, before: Books, after: Books, rows: Rows, shelf: Shelf, call: tuple[Any, ...], now: int
    ) -> list[str]:
        """The rules of one commit, from the rows alone."""
        self.checks += 1
        if after.state is None:
            return [] if before.state is None else ["intent: the transfer is gone"]
        posted, wrong = self._postings(rows, shelf)
        wrong += self._moves(before, after, shelf)
        wrong += self._evidence(before, after, call)
        wrong += self._position(after, posted)
        if after.state in OPEN and after.wake_at is None:
            wrong.append(f"watch: {after.state}, and nobody will ever look at it")
        if after.state == "orphaned" and after.case in (None, "closed"):
            wrong.append(f"watch: orphaned, and its case is {after.case or 'none'}")
        if after.state in FINAL and after.case not in (None, "closed"):
            wrong.append(f"watch: {after.state}, and its case is {after.case}")
        if call[0] == "claim" and not (after.leased and after.wake_at is not None and after.wake_at > now):
            wrong.append("fence: claimed without a lease")
        if call[0] == "again" and before != after:
            wrong.append("again: the same key, or the same callback, had another effect")
        return wrong

    def _postings(self, rows: Rows, shelf: Shelf) -> tuple[Counter[str], list[str]]:
        """Double entry, and what is kept beside it; how often the wallet was moved."""
        posted: Counter[str] = Counter()
        taken, given, wrong = 0, 0, []
        for posting in _named(shelf, rows, POSTING):
            posted[posting["debit"]] -= posting["amount"]
            posted[posting["credit"]] += posting["amount"]
            taken += posting["debit"] == WALLET
            given += posting["credit"] == WALLET
            if posting["amount"] <= 0:
                wrong.append(f"ledger: a posting of {posting['amount']}")
        kept = {each["account"]: each["balance"] for each in _named(shelf, rows, ACCOUNT)}
        deposit = int(DEPOSIT.replace(".", ""))
        expected = {WALLET: deposit + posted[WALLET], GAME: posted[GAME]}
        wrong += [
            f"ledger: {account} is kept as {kept.get(account, 0)}, its postings say {units}"
            for account, units in expected.items()
            if kept.get(account, 0) != units
        ]
        if sum(posted.values()):
            wrong.append(f"ledger: the postings sum to {sum(posted.values())}")
        if max(taken, given) > 1:
            wrong.append(f"once: the wallet was taken from {taken} times, and given to {given} times")
        return posted, wrong

    def _moves(self, before: Books, after: Books, shelf: Shelf) -> list[str]:
        """Only along the edges of design §4, each from where the last one ended."""
        wrong, state, legs = [], before.state, {f"leg {leg['ordinal']}": leg["state"] for leg in before.legs}
        for subject, trigger, source, target in shelf.history():
            if subject == "transfer":
                wish = trigger == "wish_cancel" and source == target
                if source != state or not (wish or (source, target) in TRANSFER_EDGES):
                    wrong.append(f"edges: the transfer moved {source} -> {target}, and was {state}")
                state = target
            elif subject in legs or subject.startswith("leg "):
                known = legs.get(subject, "planned")
                if source is not None and (source != known or (source, target) not in LEG_EDGES):
                    wrong.append(f"edges: {subject} moved {source} -> {target}, and was {known}")
                legs[subject] = target
        if state != after.state:
            wrong.append(f"edges: it is {after.state}, and its history ends with {state}")
        wrong += [
            f"edges: leg {leg['ordinal']} is {leg['state']} against its history"
            for leg in after.legs
            if legs.get(f"leg {leg['ordinal']}", "planned") != leg["state"]
        ]
        return wrong

    def _evidence(self, before: Books, after: Books, call: tuple[Any, ...]) -> list[str]:
        """What was told is stored, once, and stays as it was."""
        wrong, new = [], after.evidence[len(before.evidence) :]
        if after.evidence[: len(before.evidence)] != before.evidence:
            wrong.append("evidence: what was stored has changed")
        told = [piece for piece in new if piece[1] in ("call", "lookup", "callback")]
        if call[0] == "bring":
            _, request, reply, _, _ = call
            source = "call" if request.moves_money else "lookup"
            if [(piece[1], piece[4], piece[6]) for piece in told] != [(source, reply.answer.value, reply.sequence)]:
                wrong.append(f"evidence: told {reply.answer.value}, and stored {told}")
        elif call[0] == "act":
            open_before = (before.letters or {}).get(call[1]) not in ("done", "passed_over")
            if len(told) != open_before:
                wrong.append(f"evidence: callback {call[1]} became {len(told)} pieces of evidence")
        elif told:
            wrong.append(f"evidence: nobody told anything, and {told} is stored")
        return wrong

    def _position(self, after: Books, posted: Counter[str]) -> list[str]:
        """Design §7: what it has posted is the row that its state and facts select."""
        here, there = (WALLET, GAME) if after.inward else (GAME, WALLET)
        inside = next(leg for leg in after.legs if leg["holder"] == "wallet" and leg["undoes"] is None)
        source = inside if after.inward else after.outside
        net = sum(
            leg["amount"] * (1 if leg["side"] == "credit" else -1)
            for leg in after.legs
            if leg["holder"] == "wallet" and leg["state"] == "applied"
        )
        given = net + (AMOUNT if after.inward else 0)
        match after.state:
            case "reversed":
                meant = {}
            case "confirmed":
                meant = {here: -AMOUNT, there: AMOUNT}
            case "pending":
                meant = {here: -AMOUNT, TRANSIT: AMOUNT} if source["state"] == "applied" else {}
            case _:
                meant = {here: given - AMOUNT, CUSTODY: AMOUNT - given, there: given, HOUSE: -given}
        meant = {account: units for account, units in meant.items() if units}
        found = {account: units for account, units in posted.items() if units}
        wrong = [] if found == meant else [f"position: {after.state} has posted {found}, not {meant}"]
        if found.get(WALLET, 0) != net:
            wrong.append(f"position: the wallet has {found.get(WALLET, 0)} of it by postings, and {net} by its legs")
        return wrong

    def order(self, after: Books, request: Request, call: tuple[Any, ...]) -> list[str]:
        """What is handed to a worker to send was committed before, under its own lease, and may be sent at all."""
        wrong = []
        if call[0] in ("go", "bring") and not call[-1]:
            wrong.append(f"fence: a worker without the lease was given a {request.step} to send")
        if request.not_after > (after.wake_at or 0) or request.not_after > request.deadline:
            wrong.append(f"fence: a {request.step} may leave after the end of its lease")
        if not request.moves_money:
            return wrong
        committed = [(each["ordinal"], each["attempt"], each["step"]) for each in after.attempts]
        if (request.ordinal, request.attempt, request.step) not in committed:
            wrong.append(f"intent: {request.step} {request.attempt} leaves without a committed attempt")
        if after.state in FINAL or after.outside["state"] not in ("sent", "reserved"):
            wrong.append(f"once: {request.step} leaves for a {after.state} transfer, leg {after.outside['state']}")
        if request.amount != AMOUNT or request.reference != after.outside["reference"]:
            wrong.append(f"intent: {request.step} of {request.amount} under {request.reference}")
        if len(after.attempts) > SENDS_AT_MOST:
            wrong.append(f"once: {len(after.attempts)} money requests for one transfer")
        return wrong

    # --- against the truth --------------------------------------------------------------------------------------

    def state(self, books: Books, truth: Any, hands: Iterable[Request | None], now: int) -> list[str]:
        """The rules that know the provider: what has ended is what its own ledger says."""
        wrong = []
        if truth.executed > 1:
            wrong.append(f"once: the provider has executed it {truth.executed} times")
        if truth.executed and not books.attempts:
            wrong.append("intent: an effect without a committed attempt")
        unheard = truth.undone and books.may_not_have_acted(truth.undone)
        if books.state == "confirmed" and truth.net != 1 and not unheard:
            wrong.append(f"truth: confirmed, and the provider's ledger says {truth.net}")
        if books.state == "reversed" and truth.net:
            wrong.append("truth: reversed, and the effect is in the provider's ledger")
        if books.state == "reversed":
            wrong += [
                f"fence: reversed, and a {request.step} may still leave"
                for request in hands
                if request is not None and request.moves_money and now < request.closes
            ]
        if books.state == "orphaned" and books.reason in ("contradiction", "mismatch", "reference_conflict"):
            wrong.append(f"honest: orphaned for {books.reason}, and the provider told nothing but the truth")
        return wrong
