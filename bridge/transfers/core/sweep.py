"""A sweep: "all that is there" comes out of a game. What is there moves while somebody plays, so a clean refusal
leads to another try, under a new reference, with what is there then; at most three.

In game → kick → settle delay → read the balance → try. A refusal that is not about the balance ends it.
"""

from __future__ import annotations

from bridge.evidence import Evidence, Source
from bridge.ports import SECOND, Descriptor
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict
from bridge.transfers.core.steps import Kick, Measure, NextStep, Rest, Schedule, TryAgain, paced
from statemachines import TransferState

TRIES_AT_MOST = 3
KICKED, BALANCE = "kicked", "balance"
"""The codes of the asides that an answered kick and an answered balance read leave behind."""


def goes_on(transfer: Transfer, descriptor: Descriptor, finding: Finding, now: int) -> bool:
    """Whether a refusal of the newest try leads to another one."""
    if not transfer.sweep or transfer.state is not TransferState.PENDING or finding.verdict is not Verdict.REFUSED:
        return False
    assert finding.proof is not None
    ended = len(transfer.tries) >= TRIES_AT_MOST or transfer.cancel_requested_at is not None
    if (
        ended
        or now >= transfer.orphan_at
        or finding.proof.reply.code not in descriptor.insufficient | descriptor.in_game
    ):
        return False
    told = transfer.outside.asides(BALANCE, _standing_still(transfer, descriptor, finding.proof))
    return not told or bool(told[-1].reply.amount)


def next_try(
    transfer: Transfer, descriptor: Descriptor, schedule: Schedule, finding: Finding, now: int
) -> NextStep | None:
    """What has to be done for another try, or None where the refusal is the end."""
    if not goes_on(transfer, descriptor, finding, now):
        return None
    assert finding.proof is not None
    leg, refused_at = transfer.outside, finding.proof.at
    if finding.proof.reply.code in descriptor.in_game and not leg.asides(KICKED, refused_at):
        return _when_due(Kick(), leg, refused_at, schedule, now)
    since = _standing_still(transfer, descriptor, finding.proof)
    if now < since:
        return Rest(since)
    told = leg.asides(BALANCE, since)
    if not told:
        return _when_due(Measure(), leg, since, schedule, now)
    amount, balance = told[-1].reply.amount or 0, told[-1].reply.balance or 0
    return TryAgain(amount, balance - amount)


def _standing_still(transfer: Transfer, descriptor: Descriptor, refusal: Evidence) -> int:
    """From when on a balance counts: after the refusal, or after the settle delay of a kick that it led to."""
    if refusal.reply.code not in descriptor.in_game:
        return refusal.at
    kicked = transfer.outside.asides(KICKED, refusal.at)
    return kicked[0].at + int(descriptor.settle_delay * SECOND) if kicked else refusal.at


def reason(transfer: Transfer, finding: Finding, descriptor: Descriptor) -> str | None:
    """Why a sweep ended without a transfer, where it was about the balance; a code for clients."""
    if not transfer.sweep or finding.proof is None:
        return None
    code, leg = finding.proof.reply.code, transfer.outside
    if code not in descriptor.insufficient | descriptor.in_game:
        return None
    told = leg.asides(BALANCE, finding.proof.at)
    if told and not told[-1].reply.amount:
        return "nothing_to_move"
    return "player_in_game" if code in descriptor.in_game else "balance_moving"


def _when_due(step: Kick | Measure, leg: Leg, since: int, schedule: Schedule, now: int) -> NextStep:
    """At once, and after a failure at the pace of look-ups."""
    failed = [piece.at for piece in leg.evidence if piece.source is Source.ASIDE and piece.at >= since]
    due = paced(since, failed, schedule, now)
    return step if due <= now else Rest(due)
