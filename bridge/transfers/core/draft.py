"""A draft of one transaction: the moves that evidence calls for, made on values first.

Only when the whole draft is made does `advance` write it, behind one conditional update; a draft that
lost the race is thrown away and made again from what is there now.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import WALLET, Descriptor, Side
from bridge.transfers.core import contract, fold, reasons, sweep
from bridge.transfers.core.decisions import Kind, left_to_take
from bridge.transfers.core.facts import Attempt, Leg, Transfer, replace
from bridge.transfers.core.hindsight import happened
from bridge.transfers.core.proof import Finding, Verdict, judge, reservation
from bridge.transfers.core.steps import TryAgain
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
    finding: Finding = field(default_factory=lambda: Finding(Verdict.OPEN))

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


def settle(
    draft: Draft, descriptor: Descriptor, now: int, *, may_conclude: bool, wallet_holds: int | None = None
) -> None:
    """Move legs and transfer to where the evidence puts them.

    `may_conclude`: only the holder of the lease draws conclusions from silence and from spent patience.
    `wallet_holds`: what the player's wallet has now (minor units); None where nothing may be taken from it.
    """
    _learn_reservation(draft)
    _carry_out_order(draft, descriptor)
    draft.finding = fold.find(draft.transfer, descriptor)
    _count_every_try(draft, descriptor)
    withdrawn = contract.is_withdrawn(draft.transfer, draft.finding)
    if may_conclude and (withdrawn or draft.finding.is_open):
        concluded = contract.conclude(draft.transfer, descriptor, now, withdrawn=withdrawn)
        if concluded is not None:
            draft.find(Source.CONTRACT, concluded, now, draft.transfer.driven)
            draft.finding = fold.find(draft.transfer, descriptor)
    if draft.finding.verdict is Verdict.REFUSED and draft.transfer.may_be_on_the_wire(now):
        draft.finding = Finding(Verdict.OPEN)  # rule 3: never reverse under a request in flight
    _move_outside_leg(draft)
    _move_take_backs(draft, descriptor, now)
    if sweep.goes_on(draft.transfer, descriptor, draft.finding, now):
        return
    spent = may_conclude and contract.patience_spent(draft.transfer, descriptor, now)
    _move_transfer(draft, descriptor, now, patience_spent=spent, wallet_holds=wallet_holds)


def _move_transfer(
    draft: Draft, descriptor: Descriptor, now: int, *, patience_spent: bool, wallet_holds: int | None
) -> None:
    """Along one edge; along two where the provider took back what had been confirmed: confirmed → orphaned →
    reversed, both in this one transaction."""
    while True:
        facts = fold.facts_of(draft.transfer, draft.finding, patience_spent=patience_spent)
        trigger = fold.trigger_for(draft.transfer.state, facts)
        if trigger is None:
            return
        owed = 0 if trigger == "orphan" else fold.wallet_owed(draft.transfer, draft.finding)
        if owed < 0 and not _may_take(draft, -owed, wallet_holds):
            return
        before = draft.transfer.state
        after = TransferState(transfer_machine.after(before, trigger, facts))
        draft.reason = reasons.reason(draft.transfer, draft.finding, descriptor, trigger)
        draft.moves.append(Move("transfer", trigger, before.value, after.value, draft.reason[0], draft.finding.proof))
        partial = draft.finding if trigger == "confirm" else Finding(Verdict.OPEN)
        draft.transfer = replace(
            draft.transfer,
            state=after,
            settled_at=now,
            reason_code=draft.reason[0] or None,
            arrived=partial.arrived,
            written_off=partial.written_off,
        )
        if trigger != "orphan":
            _settle_wallet(draft, owed, now)
        elif not draft.finding.taken_back:
            return


def _may_take(draft: Draft, amount: int, wallet_holds: int | None) -> bool:
    """Whether the wallet may be taken from: by the provider's own later word or by people, and only what is there.

    Found spent once, it is for people: a later deposit is not taken without a word.
    """
    proved = draft.finding.taken_back or draft.transfer.decision is not None
    if proved and wallet_holds is not None and wallet_holds >= amount:
        return draft.transfer.decision is not None or draft.transfer.reason_code != reasons.WALLET_SPENT
    if proved and draft.moves:
        draft.reason = (reasons.WALLET_SPENT, f"the wallet does not hold the {amount} minor units to give back")
        draft.transfer = replace(draft.transfer, reason_code=reasons.WALLET_SPENT)
    return False


def try_again(draft: Draft, step: TryAgain) -> None:
    """A sweep's next try: a new leg under a new reference, for what is there now."""
    transfer = draft.transfer
    tried = replace(
        transfer.outside,
        ordinal=len(transfer.legs) + 1,
        state=LegState.PLANNED,
        amount=step.amount,
        step=None,
        reference=reference(transfer.id, len(transfer.legs) + 1),
        provider_reference=None,
        unknown_since=None,
        attempts=(),
        evidence=(),
    )
    draft.transfer = replace(transfer, amount=step.amount, dust=step.dust)
    draft.new_legs.add(tried.ordinal)
    draft.put(tried)
    draft.put(replace(transfer.inside, amount=step.amount))
    draft.moves.append(Move(f"leg {tried.ordinal}", "plan", None, tried.state.value, "another try"))


def reference(transfer_id: str, ordinal: int) -> str:
    """Derived and stored before it is sent: the same transfer and leg, the same reference, for ever."""
    return f"{transfer_id.removeprefix('tr_')}{ordinal}"


def send(draft: Draft, step: Step, now: int, wire_until: int) -> Attempt:
    """Commit one more money request as sent; it may leave only after the draft is written."""
    leg = draft.transfer.driven
    trigger = "resend" if leg.state is LegState.SENT else "send"
    facts = LegFacts(intent_committed=True, resend_allowed=trigger == "resend")
    attempt = Attempt(len(leg.attempts) + 1, step, now, wire_until)
    # By this number in the history's reason a request is found where it is sealed (bridge/audit/sealed.py).
    moved = draft.move_leg(leg, trigger, facts, f"{step.value}, attempt {attempt.number}")
    draft.put(replace(moved, step=step, attempts=(*leg.attempts, attempt)))
    draft.attempt = attempt
    return attempt


def _learn_reservation(draft: Draft) -> None:
    leg = draft.transfer.driven
    prepared = reservation(draft.transfer)
    if prepared is None or leg.provider_reference is not None:
        return
    leg = replace(leg, provider_reference=prepared.reply.provider_reference)
    draft.put(leg)
    if leg.state is LegState.SENT and leg.step is Step.PREPARE:
        draft.move_leg(leg, "reserve", LegFacts(prepared=True), "the provider holds the prepared half", prepared)


def _carry_out_order(draft: Draft, descriptor: Descriptor) -> None:
    """People have decided to take the amount out of the game: that is a leg of its own, sent like any other. Of a
    transfer in that came in part only that part is taken, and nothing that was taken before."""
    transfer = draft.transfer
    ordered = [piece for piece in transfer.decisions if piece.reply.code == Kind.CLAW_BACK]
    if len(ordered) <= len(transfer.take_backs):
        return
    ordinal = len(transfer.legs) + 1
    leg = Leg(
        ordinal,
        transfer.provider,
        Side.DEBIT,
        LegState.PLANNED,
        left_to_take(transfer, descriptor),
        undoes=transfer.outside.ordinal,
        reference=reference(transfer.id, ordinal),
    )
    draft.new_legs.add(ordinal)
    draft.put(leg)
    draft.moves.append(Move(f"leg {ordinal}", "plan", None, leg.state.value, "to be taken back", ordered[-1]))


def _count_every_try(draft: Draft, descriptor: Descriptor) -> None:
    """Where an earlier try of a sweep was told as executed after all, its amount is in doubt too, and what people
    decide about the transfer has to cover all of it."""
    transfer = draft.transfer
    if len(transfer.tries) == 1 or draft.finding.verdict is not Verdict.CONTRADICTED:
        return
    told = sum(leg.amount for leg in happened(transfer, descriptor))
    amount = max(told or transfer.amount, transfer.given)
    if amount != transfer.amount:
        draft.transfer = replace(transfer, amount=amount)
        draft.moves.append(Move("amount", "count", str(transfer.amount), str(amount), "an earlier try happened too"))


def _move_outside_leg(draft: Draft) -> None:
    proof = draft.finding.proof
    leg = draft.transfer.outside
    if proof is not None and any(proof.ordinal == back.ordinal for back in draft.transfer.take_backs):
        return  # what came of a take-back says nothing of the leg that it undoes
    if draft.finding.is_open or draft.finding.verdict is Verdict.MISMATCHED or proof is None:
        last = leg.evidence[-1] if leg.evidence else None
        if last is not None and last.reply.answer is Answer.UNKNOWN and leg.unknown_since is None:
            draft.put(replace(leg, unknown_since=last.at))
        return
    if any(tried.ordinal == proof.ordinal for tried in draft.transfer.tries) and proof.source is not Source.PERSON:
        leg = draft.transfer.leg(proof.ordinal)  # of a sweep, an earlier try may have happened after all
    decision = draft.transfer.decision
    if decision is not None and decision.reply.code in (Kind.WRITE_OFF, Kind.CLAW_BACK):
        return  # what is borne, or taken out by another leg, leaves open what became of this one
    frozen = draft.transfer.state is TransferState.ORPHANED and leg.state in (LegState.APPLIED, LegState.REFUSED)
    if draft.finding.verdict is Verdict.CONTRADICTED and frozen:
        return  # loud once; whatever is told after it is for people to weigh
    _move_by_proof(draft, leg, draft.finding)


def _move_take_backs(draft: Draft, descriptor: Descriptor, now: int) -> None:
    for leg in draft.transfer.take_backs:
        found = judge(draft.transfer, leg, descriptor)
        on_the_wire = found.verdict is Verdict.REFUSED and leg.may_be_on_the_wire(now)
        if found.verdict in (Verdict.APPLIED, Verdict.REFUSED) and not on_the_wire:
            _move_by_proof(draft, leg, found)


def _move_by_proof(draft: Draft, leg: Leg, found: Finding) -> None:
    """Move a leg at the provider to what its proof says."""
    proof = found.proof
    assert proof is not None
    happened = found.verdict is Verdict.APPLIED
    if found.verdict is Verdict.CONTRADICTED:
        happened = proof.reply.answer is Answer.APPLIED
    target, trigger = (LegState.APPLIED, "apply") if happened else (LegState.REFUSED, "refuse")
    told = proof.reply.provider_reference
    leg = replace(leg, unknown_since=None, provider_reference=leg.provider_reference or told)
    if leg.state is target:
        return
    if leg.state is LegState.PLANNED and happened:
        # Told as done before we ever asked: committed as sent first, as the table wants it.
        leg = draft.move_leg(leg, "send", LegFacts(intent_committed=True), "told before it was asked for", proof)
    facts = LegFacts(applied_proved=happened, refused_proved=not happened)
    draft.move_leg(leg, trigger, facts, f"{proof.source.value}: {proof.reply.answer.value}", proof)


def apply_wallet(draft: Draft, leg: Leg, now: int) -> None:
    """The embedded wallet: its leg is applied in the same transaction, and that is its proof."""
    leg = draft.move_leg(leg, "send", LegFacts(intent_committed=True), "embedded wallet")
    reply = Reply(Answer.APPLIED, amount=leg.amount, currency=draft.transfer.currency)
    proof = draft.find(Source.WALLET, replace(reply, player=draft.transfer.player, side=leg.side.value), now, leg)
    draft.move_leg(draft.transfer.leg(leg.ordinal), "apply", LegFacts(applied_proved=True), "embedded wallet", proof)


def _settle_wallet(draft: Draft, owed: int, now: int) -> None:
    """Give the wallet what is owed to it, or take (below zero) what it owes: by the planned leg where there is
    one, else by a leg of its own."""
    inside = draft.transfer.inside
    if inside.state is LegState.PLANNED and owed == 0:
        draft.move_leg(inside, "refuse", LegFacts(refused_proved=True), "the source kept the amount")
    elif inside.state is LegState.PLANNED:
        apply_wallet(draft, replace(inside, amount=owed), now)
    elif owed:
        side = Side.CREDIT if owed > 0 else Side.DEBIT
        undoes = inside.ordinal if side is not inside.side else None
        leg = Leg(len(draft.transfer.legs) + 1, WALLET, side, LegState.PLANNED, abs(owed), undoes=undoes)
        draft.new_legs.add(leg.ordinal)
        draft.put(leg)
        apply_wallet(draft, leg, now)
