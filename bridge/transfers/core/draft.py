"""A draft of one transaction: the moves that evidence calls for, made on values first.

Only when the whole draft is made does `advance` write it, behind one conditional update; a draft that
lost the race is thrown away and made again from what is there now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import WALLET, Descriptor, Direction, Side
from bridge.transfers.core import contract, fold
from bridge.transfers.core.facts import Attempt, Leg, Transfer
from statemachines import LegFacts, LegState, TransferState, leg_machine, transfer_machine

NOT_STORED = 0
"""The id of evidence that the draft itself found and that is written with it."""


@dataclass(frozen=True)
class Move:
    """One row of history to be: subject moved from `source` to `target` by `trigger`, on `proof`."""

    subject: str
    trigger: str
    source: str | None
    target: str
    reason: str
    proof: Evidence | None = None


@dataclass
class Draft:
    """The transfer as it will be, and what has to be written to get there."""

    transfer: Transfer
    moves: list[Move] = field(default_factory=list)
    found: list[Evidence] = field(default_factory=list)
    changed_legs: set[int] = field(default_factory=set)
    new_legs: set[int] = field(default_factory=set)
    attempt: Attempt | None = None
    reason: tuple[str, str] | None = None
    finding: fold.Finding = field(default_factory=lambda: fold.Finding(fold.Verdict.OPEN))

    def put(self, leg: Leg) -> None:
        """Replace a leg of the transfer, or add a new one."""
        legs = {existing.ordinal: existing for existing in self.transfer.legs} | {leg.ordinal: leg}
        self.transfer = replace(self.transfer, legs=tuple(legs[ordinal] for ordinal in sorted(legs)))
        self.changed_legs.add(leg.ordinal)

    def move_leg(self, leg: Leg, trigger: str, facts: LegFacts, reason: str, proof: Evidence | None = None) -> Leg:
        """Move a leg by its machine; raises MoveRefused where the table has no such edge."""
        target = LegState(leg_machine.after(leg.state, trigger, facts))
        self.moves.append(Move(f"leg {leg.ordinal}", trigger, leg.state.value, target.value, reason, proof))
        moved = replace(leg, state=target)
        self.put(moved)
        return moved

    def find(self, source: Source, reply: Reply, now: int, leg: Leg) -> Evidence:
        """Evidence that needs no wire: what the contract or the embedded wallet itself proves."""
        piece = Evidence(NOT_STORED, leg.ordinal, source, reply, now)
        self.found.append(piece)
        self.put(replace(leg, evidence=(*leg.evidence, piece)))
        return piece


def settle(draft: Draft, descriptor: Descriptor, now: int, *, may_conclude: bool) -> None:
    """Move legs and transfer to where the evidence puts them.

    `may_conclude`: only the holder of the lease draws conclusions from silence and from spent patience.
    """
    _learn_reservation(draft)
    draft.finding = fold.find(draft.transfer, descriptor)
    if may_conclude and draft.finding.verdict is fold.Verdict.OPEN:
        concluded = contract.conclude(draft.transfer, descriptor, now)
        if concluded is not None:
            draft.find(Source.CONTRACT, concluded, now, draft.transfer.outside)
            draft.finding = fold.find(draft.transfer, descriptor)
    if draft.finding.verdict is fold.Verdict.REFUSED and draft.transfer.outside.may_be_on_the_wire(now):
        draft.finding = fold.Finding(fold.Verdict.OPEN)  # rule 3: never reverse under a request in flight
    _move_outside_leg(draft)
    spent = may_conclude and contract.patience_spent(draft.transfer, descriptor, now)
    facts = fold.facts_of(draft.transfer, draft.finding, patience_spent=spent)
    trigger = fold.trigger_for(draft.transfer.state, facts)
    if trigger is None:
        return
    before = draft.transfer.state
    after = TransferState(transfer_machine.after(before, trigger, facts))
    draft.reason = _reason(draft, trigger)
    draft.moves.append(Move("transfer", trigger, before.value, after.value, draft.reason[0], draft.finding.proof))
    draft.transfer = replace(draft.transfer, state=after, settled_at=now, reason_code=draft.reason[0] or None)
    if trigger == "confirm" and draft.transfer.direction is Direction.OUT:
        apply_wallet(draft, draft.transfer.inside, now)
    if trigger == "reverse":
        _give_back(draft, now)


def send(draft: Draft, step: Step, now: int, wire_until: int) -> Attempt:
    """Commit one more money request as sent; it may leave only after the draft is written."""
    leg = draft.transfer.outside
    trigger = "resend" if leg.state is LegState.SENT else "send"
    facts = LegFacts(intent_committed=True, resend_allowed=trigger == "resend")
    attempt = Attempt(len(leg.attempts) + 1, step, now, wire_until)
    moved = draft.move_leg(leg, trigger, facts, f"{step.value}, attempt {attempt.number}")
    draft.put(replace(moved, step=step, attempts=(*leg.attempts, attempt)))
    draft.attempt = attempt
    return attempt


def _learn_reservation(draft: Draft) -> None:
    leg = draft.transfer.outside
    prepared = fold.reservation(draft.transfer)
    if prepared is None or leg.provider_reference is not None:
        return
    leg = replace(leg, provider_reference=prepared.reply.provider_reference)
    draft.put(leg)
    if leg.state is LegState.SENT and leg.step is Step.PREPARE:
        draft.move_leg(leg, "reserve", LegFacts(prepared=True), "the provider holds the prepared half", prepared)


def _move_outside_leg(draft: Draft) -> None:
    proof = draft.finding.proof
    leg = draft.transfer.outside
    if draft.finding.verdict in (fold.Verdict.OPEN, fold.Verdict.MISMATCHED) or proof is None:
        last = leg.evidence[-1] if leg.evidence else None
        if last is not None and last.reply.answer is Answer.UNKNOWN and leg.unknown_since is None:
            draft.put(replace(leg, unknown_since=last.at))
        return
    frozen = draft.transfer.state is TransferState.ORPHANED and leg.state in (LegState.APPLIED, LegState.REFUSED)
    if draft.finding.verdict is fold.Verdict.CONTRADICTED and frozen:
        return  # loud once; whatever is told after it is for people to weigh
    happened = proof.reply.answer is Answer.APPLIED
    target, trigger = (LegState.APPLIED, "apply") if happened else (LegState.REFUSED, "refuse")
    leg = replace(leg, unknown_since=None)
    if leg.state is not target:
        facts = LegFacts(applied_proved=happened, refused_proved=not happened)
        draft.move_leg(leg, trigger, facts, f"{proof.source.value}: {proof.reply.answer.value}", proof)


def apply_wallet(draft: Draft, leg: Leg, now: int) -> None:
    """The embedded wallet: its leg is applied in the same transaction, and that is its proof."""
    leg = draft.move_leg(leg, "send", LegFacts(intent_committed=True), "embedded wallet")
    reply = Reply(Answer.APPLIED, amount=draft.transfer.amount, currency=draft.transfer.currency)
    proof = draft.find(Source.WALLET, replace(reply, player=draft.transfer.player, side=leg.side.value), now, leg)
    leg = next(existing for existing in draft.transfer.legs if existing.ordinal == leg.ordinal)
    draft.move_leg(leg, "apply", LegFacts(applied_proved=True), "embedded wallet", proof)


def _give_back(draft: Draft, now: int) -> None:
    """In: an undo leg gives the wallet its money back. Out: the wallet's leg was never begun."""
    inside = draft.transfer.inside
    if inside.state is LegState.PLANNED:
        draft.move_leg(inside, "refuse", LegFacts(refused_proved=True), "the source kept the amount")
        return
    undo = Leg(
        len(draft.transfer.legs) + 1, WALLET, Side.CREDIT, LegState.PLANNED, inside.amount, undoes=inside.ordinal
    )
    draft.new_legs.add(undo.ordinal)
    draft.put(undo)
    apply_wallet(draft, undo, now)


def _reason(draft: Draft, trigger: str) -> tuple[str, str]:
    """(code, sentence) for people: why the transfer ended or was orphaned; empty when it was confirmed."""
    leg, proof = draft.transfer.outside, draft.finding.proof
    wished = draft.transfer.cancel_requested_at is not None
    if trigger == "confirm":
        return "", ""
    if trigger == "orphan":
        word = {fold.Verdict.CONTRADICTED: "contradiction", fold.Verdict.MISMATCHED: "mismatch"}
        unproved = "reference_conflict" if fold.collided(leg) else "unproved"
        return word.get(draft.finding.verdict, unproved), contract.explain(draft.transfer)
    assert proof is not None
    if proof.source is Source.CONTRACT and proof.reply.code == "never_left":
        return "provider_unreachable", proof.reply.detail
    if wished:
        return "cancelled", proof.reply.detail or "taken back before it was applied"
    if proof.source is Source.CONTRACT:
        unavailable = proof.reply.code == "never_sent"
        return "provider_unavailable" if unavailable else "not_completed", proof.reply.detail
    if proof.reply.answer is Answer.NOT_APPLIED:
        return "provider_refused", proof.reply.code
    return "provider_cancelled", proof.reply.code or "the provider cancelled the transfer"
