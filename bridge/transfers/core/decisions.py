"""What two people may decide about an orphan, and what their decision proves (design §5).

A decision is proof, labelled as such for ever. It settles everything that its makers had seen, up to a
watermark; of what is told later only a *new fact* counts: a verdict or an amount that this source had not given
before. The table says for each place where the money may stand which decisions make sense there.
"""

from __future__ import annotations

from enum import StrEnum

from bridge.evidence import Evidence
from bridge.ports import Descriptor, Direction
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict, judge
from statemachines import LegState, TransferState


class Kind(StrEnum):
    """What is decided. The comment says what it asserts or orders."""

    CONFIRM = "confirm"  # the destination has it, and the source has not
    REVERSE = "reverse"  # the source has it, and the destination has not
    SPLIT = "split"  # a part of it arrived, the rest is back; the two are the whole
    WRITE_OFF = "write_off"  # both sides have it and keep it; the house bears the loss
    CLAW_BACK = "claw_back"  # the game has too much: take it out at the provider, by a request of its own


class Place(StrEnum):
    """Where the amount of an orphan stands."""

    CUSTODY = "custody"  # nobody has it for certain
    HOUSE = "house"  # the wallet was given it, and the game has or may have it too


MEANINGFUL: dict[tuple[Direction, Place], dict[Kind, str]] = {
    (Direction.IN, Place.CUSTODY): {
        Kind.CONFIRM: "the game has it: custody → game",
        Kind.REVERSE: "it never reached the game: custody → wallet",
        Kind.SPLIT: "custody → game what arrived, custody → wallet what did not",
    },
    (Direction.IN, Place.HOUSE): {
        Kind.CONFIRM: "the game keeps it, the wallet gives its second one back: wallet → house",
        Kind.REVERSE: "the provider has taken it out of the game: game → house",
        Kind.SPLIT: "wallet → house what arrived, game → house what did not",
        Kind.WRITE_OFF: "both keep it: nothing is posted, the loss stays on the house",
        Kind.CLAW_BACK: "taken out of the game at the provider; once it is proved: game → house",
    },
    (Direction.OUT, Place.CUSTODY): {
        Kind.CONFIRM: "it left the game: custody → wallet",
        Kind.REVERSE: "it is still in the game: custody → game",
        Kind.SPLIT: "custody → wallet what arrived, custody → game what did not",
    },
    (Direction.OUT, Place.HOUSE): {
        Kind.CONFIRM: "it did leave the game: game → house",
        Kind.REVERSE: "the game has it, the wallet gives it back: wallet → house",
        Kind.SPLIT: "game → house what arrived, wallet → house what did not",
        Kind.WRITE_OFF: "both keep it: nothing is posted, the loss stays on the house",
        Kind.CLAW_BACK: "taken out of the game at the provider; once it is proved: game → house",
    },
}
"""Direction and place → decision → what it says and posts. What is not here is refused."""


def place(transfer: Transfer) -> Place:
    """Where an orphan's amount stands: with the house only if the wallet was given all of it.

    After an end in part it stands in both: then it is in doubt, and neither to be written off nor clawed back whole.
    """
    return Place.HOUSE if transfer.given == transfer.amount else Place.CUSTODY


def refusal(transfer: Transfer, kind: Kind, arrived: int, returned: int, now: int) -> tuple[str, str] | None:
    """(field, why) a decision cannot be made about this transfer now, or None. Amounts in minor units."""
    if transfer.state is not TransferState.ORPHANED:
        return "transfer_id", f"is {transfer.state.value}: people decide about orphans only"
    meaningful = MEANINGFUL[transfer.direction, place(transfer)]
    if kind not in meaningful:
        return "kind", f"means nothing while the amount stands in {place(transfer).value}: {', '.join(meaningful)} do"
    if kind is Kind.SPLIT:
        if arrived <= 0 or returned <= 0:
            return "arrived", "and returned must both be more than nothing; else confirm or reverse"
        if arrived + returned != transfer.amount:
            return "arrived", "and returned must be the whole amount together"
    if transfer.may_be_on_the_wire(now):
        return "transfer_id", "has a request on its way: wait for its end"
    if any(leg.state not in (LegState.APPLIED, LegState.REFUSED) for leg in transfer.take_backs):
        return "transfer_id", "is being taken out of the game at the provider: wait for its end"
    return None


def decided(transfer: Transfer, decision: Evidence, descriptor: Descriptor) -> Finding:
    """What is proved about a transfer that people have decided about."""
    kind = Kind(decision.reply.code)
    ordered = transfer.take_backs[-1:] if kind is Kind.CLAW_BACK else ()
    for leg in transfer.take_backs:
        # An earlier order to take it back had been refused when this was decided; that it was carried out
        # after all is a new fact, whatever was decided since.
        found = judge(transfer, leg, descriptor)
        if leg not in ordered and found.verdict is not Verdict.REFUSED:
            return Finding(Verdict.CONTRADICTED, found.proof)
    if kind is Kind.CLAW_BACK:
        return _taken_back(transfer, ordered, decision, descriptor)
    stands = _by_decision(transfer, kind, decision)
    news = [judge(transfer, leg, descriptor, _new_facts(leg.evidence, decision)) for leg in transfer.tries]
    told = [finding for finding in news if finding.verdict is not Verdict.OPEN]
    other = next((finding for finding in told if finding.verdict is not stands.verdict or stands.arrived), None)
    return stands if other is None else Finding(Verdict.CONTRADICTED, other.proof)


def _by_decision(transfer: Transfer, kind: Kind, decision: Evidence) -> Finding:
    match kind:
        case Kind.REVERSE:
            return Finding(Verdict.REFUSED, decision)
        case Kind.SPLIT:
            return Finding(Verdict.APPLIED, decision, arrived=decision.reply.amount)
        case Kind.WRITE_OFF:
            return Finding(Verdict.APPLIED, decision, written_off=transfer.amount)
        case _:
            return Finding(Verdict.APPLIED, decision)


def _taken_back(transfer: Transfer, ordered: tuple[Leg, ...], decision: Evidence, descriptor: Descriptor) -> Finding:
    """Ordered to be taken out of the game: that request's own proof decides, and nothing does before it.

    Once it is out of the game, a transfer in has returned and a transfer out has arrived.
    """
    found = judge(transfer, ordered[-1], descriptor) if ordered else Finding(Verdict.OPEN)
    if found.verdict is not Verdict.APPLIED or found.arrived is not None:
        return Finding(Verdict.OPEN, decision)
    out = transfer.direction is Direction.OUT
    return Finding(Verdict.APPLIED if out else Verdict.REFUSED, found.proof)


def _new_facts(pieces: tuple[Evidence, ...], decision: Evidence) -> tuple[Evidence, ...]:
    """What was told after the watermark and had not been told by the same source before it."""
    assert decision.watermark is not None
    seen = {_said(piece) for piece in pieces if piece.id <= decision.watermark}
    later = (piece for piece in pieces if piece.id > decision.watermark and piece.id != decision.id)
    return tuple(piece for piece in later if _said(piece) not in seen)


def _said(piece: Evidence) -> tuple[object, ...]:
    reply = piece.reply
    return piece.source, reply.answer, reply.amount, reply.currency, reply.player, reply.side
