"""THE door through which money moves. API, job, and later callback, feed and person all end here.

One transaction: store the evidence, fold all of it, and, only if the row is still as it was read, write
the move with its postings, history and case, and commit the next request as sent. Row count 0 means that
somebody was faster: read again, fold again. Evidence is stored even from a worker whose lease is stale;
such a worker moves a transfer by proof, but concludes nothing from silence and sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from sqlalchemy import Connection

from bridge import breaker, clocks, db, denominations, inbox, ledger, log, traces
from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import SECOND, Descriptor, Effect, Window
from bridge.runtime import Moment, Runtime
from bridge.transfers import forgotten, rows
from bridge.transfers.core import contract, steps
from bridge.transfers.core.draft import NOT_STORED, Draft, send, settle, try_again
from bridge.transfers.core.facts import NEVER, Leg, Transfer, replace
from bridge.transfers.core.hindsight import is_news
from bridge.transfers.core.proof import Finding, Verdict
from bridge.transfers.write import write
from statemachines import TransferState

_log = log.get("transfers")
ROUNDS_AT_MOST = 20
"""Each lost round means that another worker's move was committed; a transfer has far fewer moves."""

FIRST_EPOCH = 1
"""Of the lease under which a transfer is begun: while the row carries it, nobody else has ever driven it."""

FAILURES_FORGOTTEN_BELOW = 5
"""An error of our own that comes back this often is put before people, and then stays on the record."""


@dataclass(frozen=True)
class Claim:
    """The right to drive one transfer: valid while the row still carries this lease epoch."""

    transfer_id: str
    epoch: int


@dataclass(frozen=True)
class Fact:
    """One answer from outside, true as of `at` (microseconds, UTC): when it came, or, of a look-up, when it was asked.

    `ordinal`: the leg that it is about, 0 for the one that is driven. `message`: the inbox's number of a
    callback, which is evidence once. `watermark`: what the people who decided had seen.
    """

    reply: Reply
    source: Source
    at: int
    step: Step | None = None
    attempt: int = 0
    ordinal: int = 0
    message: int | None = None
    watermark: int | None = None


class Question(StrEnum):
    """What is asked of a provider beside its money requests."""

    LOOK_UP = "look_up"
    KICK = "kick"
    BALANCE = "balance"


@dataclass(frozen=True)
class Order:
    """One request to put on the wire, already committed: a money `step`, or a question."""

    claim: Claim
    provider: str
    ordinal: int
    effect: Effect
    window: Window
    step: Step | None = None
    attempt: int = 0
    question: Question = Question.LOOK_UP


@dataclass(frozen=True)
class Outcome:
    """Where the transfer stands after the commit, and what its driver has to do on the wire now."""

    transfer: Transfer
    order: Order | None = None
    answer: str = ""  # what the client is told of the end, where that was committed with it


class Asking(StrEnum):
    """Whether a caller puts look-ups on the wire."""

    DUE = "due"  # those that are due
    NOW = "now"  # one now, even if none is due: somebody wants to know
    NO = "no"  # none: they are left to the resolver


class UnknownTransfer(LookupError):
    """There is no transfer with this id."""


@traces.spanned("advance")
def advance(
    runtime: Runtime, transfer_id: str, claim: Claim | None, fact: Fact | None = None, *, asking: Asking = Asking.DUE
) -> Outcome:
    """Bring a transfer to where the evidence puts it, in one transaction of its own.

    `claim` is the caller's lease, if it has one; `asking` says whether look-ups are this caller's business.
    Raises UnknownTransfer; an error of the database means that nothing was written.
    """
    with db.writing(runtime.engine) as connection:
        before, outcome = within(connection, runtime, transfer_id, claim, fact, asking)
    tell(before, outcome.transfer)
    return outcome


def within(
    connection: Connection,
    runtime: Runtime,
    transfer_id: str,
    claim: Claim | None,
    fact: Fact | None,
    asking: Asking = Asking.DUE,
) -> tuple[TransferState, Outcome]:
    """As :func:`advance`, in the caller's transaction; also the state that the transfer had before."""
    stored = False
    for _ in range(ROUNDS_AT_MOST):
        seen = rows.load(connection, transfer_id, to_move=True)
        if seen is None:
            raise UnknownTransfer(transfer_id)
        denominations.require(connection, runtime, seen.currency)
        if fact is not None and not stored:
            forgets = fact.ordinal not in (0, *(leg.ordinal for leg in seen.legs))
            told = _store_fact(connection, runtime, seen, claim, _beside(seen, fact) if forgets else fact)
            if told is None or forgets:
                return seen.state, Outcome(told or seen)
            seen, stored = told, True
        outcome = _one_round(connection, runtime, seen, claim, fact, asking)
        if outcome is not None:
            return seen.state, outcome
    raise RuntimeError(f"{transfer_id} changed {ROUNDS_AT_MOST} times under one transaction")


def tell(before: TransferState | None, transfer: Transfer) -> None:
    """Log a move, after its commit: what is told has happened."""
    if before is not transfer.state:
        reason = transfer.reason_code or ""
        _log.info("transfer moved", transfer=transfer.id, source=before, target=transfer.state, reason=reason)
        traces.tell(**{"from": before or "", "to": transfer.state, "reason": reason})


class Questions(Protocol):
    """What a decision may have to know beside the transfer; asked only where it matters."""

    def queued_until(self, seen: Transfer, now: int) -> int:
        """Before when nothing new may be sent, because the provider's breaker is open; 0: at once."""

    def wallet_holds(self, seen: Transfer) -> int:
        """What may be taken from the wallet at most, and nobody takes it before the decision is written."""


class _Asked:
    """The questions, asked of the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def queued_until(self, seen: Transfer, now: int) -> int:
        return breaker.open_until(self._connection, seen.provider, now)

    def wallet_holds(self, seen: Transfer) -> int:
        return ledger.lock_wallet(self._connection, seen.operator_id, seen.provider, seen.player, seen.currency)


@dataclass(frozen=True)
class Decided:
    """What one round comes to: the draft, the order that goes with it, and what changes in the transfer's own row;
    with nothing to change there, nothing is written."""

    draft: Draft
    order: Order | None
    columns: dict[str, Any]
    holding: bool


def _one_round(
    connection: Connection,
    runtime: Runtime,
    seen: Transfer,
    claim: Claim | None,
    fact: Fact | None,
    asking: Asking,
) -> Outcome | None:
    moment = runtime.moment()
    if seen.unordered:
        legs = [leg.ordinal for leg in seen.unordered]
        _log.error("take-back that nobody ordered: nothing is sent for it", transfer=seen.id, legs=legs)
    for held in (False, True):
        known = forgotten.marked(connection, seen, moment.now, held=held)
        decided = decide(_Asked(connection), runtime, known, claim, fact, asking, moment)
        if not decided.draft.moves or seen.state in contract.UNRESOLVED:
            break  # else it was final, and is judged again when nobody can notice a restore beside us
    if not decided.columns:
        return Outcome(decided.draft.transfer)
    epoch, columns = seen.lease_epoch if decided.holding else None, decided.columns
    if decided.draft.moves and known is not seen:
        columns = {**columns, **forgotten.marks(known)}
    if not rows.update_transfer(connection, seen, columns, lease_epoch=epoch):
        return None
    return Outcome(write(connection, runtime, decided.draft, seen.state, moment.now), decided.order)


def decide(
    asked: Questions,
    runtime: Runtime,
    seen: Transfer,
    claim: Claim | None,
    fact: Fact | None,
    asking: Asking,
    moment: Moment,
) -> Decided:
    """Where the evidence puts a transfer, and what its driver does next: on values, nothing is written."""
    descriptor, now = runtime.providers[seen.provider].descriptor, moment.now
    if clocks.has_stepped(runtime, moment):
        seen = replace(seen, quiet_from=NEVER)  # until that is noted, and counted from, nothing is old
    holding = claim is not None and claim.epoch == seen.lease_epoch
    draft = Draft(seen)
    settle(draft, descriptor, now, may_conclude=holding, wallet_holds=_wallet_holds(asked, seen))
    queued_until = asked.queued_until(seen, now) if _is_planned(draft.transfer) else 0
    step = contract.next_step(draft.transfer, descriptor, schedule_of(runtime), draft.finding, now, queued_until)
    if asking is Asking.NOW and draft.transfer.state in contract.UNRESOLVED:
        step = contract.sooner(step, draft.transfer.driven, descriptor, now)
    if holding and isinstance(step, steps.TryAgain):
        try_again(draft, step)
        queued_until = asked.queued_until(seen, now)
        nothing = Finding(Verdict.OPEN)
        step = contract.next_step(draft.transfer, descriptor, schedule_of(runtime), nothing, now, queued_until)
    order, schedule = None, rest(step, now)
    if holding and isinstance(step, steps.OnTheWire) and (isinstance(step, steps.Send) or asking is not Asking.NO):
        assert claim is not None
        order, schedule = order_for(runtime, draft, claim, step, moment)
    changed = bool(draft.moves or draft.changed_legs or draft.found or draft.reason)
    if not holding:
        # Whoever holds the lease keeps it; where nobody does, the resolver plans anew from what changed, and from what
        # was told under a request that may be on the wire, which counts only when it cannot be.
        anew = changed or draft.transfer.may_be_on_the_wire(now)
        schedule = {"wake_at": now} if anew and seen.lease_owner is None else {}
    version = seen.version + 1 if changed or _is_news(seen, fact) else seen.version
    if not changed and not schedule and version == seen.version:
        return Decided(draft, None, {}, holding)
    draft.transfer = replace(draft.transfer, version=version)
    if holding and 0 < seen.failures < FAILURES_FORGOTTEN_BELOW:
        schedule["failures"] = 0  # it went well again before it became a case
    columns = {**_columns(draft, now, changed=changed), **schedule, "version": version}
    return Decided(draft, order, columns, holding)


def _beside(seen: Transfer, fact: Fact) -> Fact:
    """What was told of a leg that a restored backup has forgotten proves nothing of another one: it is kept beside the
    newest try, for people, and nothing follows from it."""
    told = f"leg {fact.ordinal}, forgotten: {fact.reply.code or fact.reply.answer}"
    _log.error("answer about what was forgotten", transfer=seen.id, answer=told)
    where = {"ordinal": seen.outside.ordinal, "source": Source.ASIDE, "step": None, "attempt": 0}
    return replace(fact, reply=replace(fact.reply, code=told), **where)


def _store_fact(
    connection: Connection, runtime: Runtime, seen: Transfer, claim: Claim | None, fact: Fact
) -> Transfer | None:
    """Store what was told, whatever becomes of the move; the transfer as seen, with it. None for a callback
    that has been evidence before."""
    if fact.message is not None and not inbox.settle(connection, fact.message, seen.id, runtime.clock.now()):
        return None
    piece, epoch = piece_of(seen, fact), claim.epoch if claim is not None else 0
    number = rows.insert_evidence(
        connection, seen, piece, worker=runtime.worker, lease_epoch=epoch, message=fact.message
    )
    if fact.source is Source.CALL and fact.reply.answer is Answer.UNKNOWN:
        breaker.note_unknown(connection, seen.provider, runtime.policy(seen.provider), fact.at)
    return informed(seen, replace(piece, id=number))


def piece_of(seen: Transfer, fact: Fact, number: int = NOT_STORED) -> Evidence:
    """What was told, as evidence about its leg."""
    leg = seen.leg(fact.ordinal) if fact.ordinal else seen.driven
    return Evidence(number, leg.ordinal, fact.source, fact.reply, fact.at, fact.step, fact.attempt, fact.watermark)


def informed(seen: Transfer, piece: Evidence) -> Transfer:
    """The transfer as seen, with one piece of evidence more."""
    told = replace(seen.leg(piece.ordinal), evidence=(*seen.leg(piece.ordinal).evidence, piece))
    return replace(seen, legs=tuple(told if leg.ordinal == piece.ordinal else leg for leg in seen.legs))


def _is_news(seen: Transfer, fact: Fact | None) -> bool:
    """Whether what was told makes another version of the transfer. The slow questions about an orphan, answered as
    ever, do not: people who decide about what they have seen would be refused as stale for nothing."""
    if fact is None or fact.source not in (Source.LOOKUP, Source.ASIDE):
        return fact is not None
    leg = seen.leg(fact.ordinal) if fact.ordinal else seen.driven
    *earlier, told = leg.evidence
    return is_news(told, tuple(earlier))


def _wallet_holds(asked: Questions, seen: Transfer) -> int | None:
    """What may be taken from the wallet at most; asked only where it was given something."""
    if seen.given <= 0 or seen.state not in (TransferState.CONFIRMED, TransferState.ORPHANED):
        return None
    return asked.wallet_holds(seen)


def order_for(
    runtime: Runtime, draft: Draft, claim: Claim, step: steps.OnTheWire, moment: Moment
) -> tuple[Order, dict[str, Any]]:
    """Commit the request and the lease under which it may leave; the window on the monotonic clock ends
    before the lease does, so that a worker paused past it finds the gate shut."""
    now, mono = moment
    seconds = _deadline(runtime.providers[draft.transfer.provider].descriptor, step)
    lease_end = now + int(runtime.lease_seconds(seconds) * SECOND)
    not_after, deadline = mono + runtime.config.engine.lease_slack_seconds, mono + seconds
    attempt = 0
    if isinstance(step, steps.Send):
        if step.before is not None:
            not_after = min(not_after, mono + (step.before - now) / SECOND)
        attempt = send(draft, step.step, now, lease_end).number
    about = step.ordinal if isinstance(step, steps.Ask) else 0
    leg = draft.transfer.leg(about) if about else draft.transfer.driven
    order = Order(
        claim=claim,
        provider=draft.transfer.provider,
        ordinal=leg.ordinal,
        effect=effect_of(draft.transfer, leg),
        window=Window(not_after=min(not_after, deadline), deadline=deadline),
        step=step.step if isinstance(step, steps.Send) else None,
        attempt=attempt,
        question=_QUESTIONS.get(type(step), Question.LOOK_UP),
    )
    return order, {"wake_at": lease_end, "lease_owner": runtime.worker}


def effect_of(transfer: Transfer, leg: Leg | None = None) -> Effect:
    """The outside effect of a leg, of the driven one unless another is named, exactly as committed."""
    leg = leg or transfer.driven
    assert leg.reference is not None
    return Effect(leg.reference, leg.provider_reference, leg.side, transfer.player, leg.amount, transfer.currency)


_QUESTIONS = {steps.Kick: Question.KICK, steps.Measure: Question.BALANCE}


def _columns(draft: Draft, now: int, *, changed: bool) -> dict[str, Any]:
    transfer = draft.transfer
    columns: dict[str, Any] = {"state": transfer.state.value, "amount": transfer.amount, "dust": transfer.dust}
    columns |= {"arrived": transfer.arrived, "written_off": transfer.written_off}
    if changed:
        columns["updated_at"] = now
    if draft.reason is not None:
        code, detail = draft.reason
        columns |= {"reason_code": code or None, "reason_detail": detail or None, "settled_at": now}
    return columns


def rest(step: steps.NextStep, now: int) -> dict[str, Any]:
    """The row's next wake-up when nobody keeps driving it; no lease is left behind."""
    match step:
        case steps.Rest(until):
            wake_at: int | None = until
        case steps.Done():
            wake_at = None
        case _:
            wake_at = now
    return {"wake_at": wake_at, "lease_owner": None}


def schedule_of(runtime: Runtime) -> steps.Schedule:
    """The operator's times."""
    engine = runtime.config.engine
    return steps.Schedule(engine.poll_seconds, engine.aftercare_seconds)


def _deadline(descriptor: Descriptor, step: steps.OnTheWire) -> float:
    if not isinstance(step, steps.Send):
        return descriptor.lookup_deadline
    first = step.step in (Step.PREPARE, Step.TRANSFER)
    return descriptor.money_deadline if first else descriptor.complete_deadline


def _is_planned(transfer: Transfer) -> bool:
    return not transfer.driven.attempts
