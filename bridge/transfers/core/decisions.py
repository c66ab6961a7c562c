"""What two people may decide about an orphan, and what their decision proves (design §5).

A decision is proof, labelled as such for ever. It settles everything that its makers had seen, up to a
watermark; of what is told later only a *new fact* counts: a verdict or an amount that this source had not given
before. The table says for each place where the money may stand which decisions make sense there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

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
    WRITE_OFF = "write_off"  # both sides keep what they have; the house bears the loss
    CLAW_BACK = "claw_back"  # the game has too much: take it out at the provider, by a request of its own


class Place(StrEnum):
    """Where the amount of an orphan stands."""

    CUSTODY = "custody"  # nobody has it for certain
    HOUSE = "house"  # the wallet was given it, and the game has or may have it too
    BOTH = "both"  # after an end in part: the wallet was given a part (house), of the rest nobody has it (custody)


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
    (Direction.IN, Place.BOTH): {
        Kind.CONFIRM: "the game has all of it: custody → game, and the wallet gives its part back: wallet → house",
        Kind.REVERSE: "none of it is in the game: custody → wallet, game → house",
        Kind.SPLIT: "so much arrived, and the wallet has, or is given, the rest",
        Kind.WRITE_OFF: "the game has all of it, the wallet keeps its part: custody → game, the house bears the part",
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
    (Direction.OUT, Place.BOTH): {
        Kind.CONFIRM: "all of it left the game: custody → wallet, game → house",
        Kind.REVERSE: "the game has all of it: custody → game, and the wallet gives its part back: wallet → house",
        Kind.SPLIT: "so much arrived, and the game has the rest",
        Kind.WRITE_OFF: "the game has all of it, the wallet keeps its part: custody → game, the house bears the part",
    },
}
"""Direction and place → decision → what it says and posts. What is not here is refused."""


def place(transfer: Transfer) -> Place:
    """Where an orphan's amount stands."""
    if transfer.given == transfer.amount:
        return Place.HOUSE
    return Place.BOTH if transfer.given > 0 else Place.CUSTODY


def written_off(transfer: Transfer, proof: Evidence | None = None) -> Finding:
    """Both keep what they have: the wallet what it was given, which the house bears, and the game the whole."""
    part = transfer.given if transfer.direction is Direction.OUT and transfer.given != transfer.amount else None
    return Finding(Verdict.APPLIED, proof, arrived=part, written_off=transfer.given)


def refusal(
    transfer: Transfer, descriptor: Descriptor, kind: Kind, arrived: int, returned: int, now: int
) -> tuple[str, str] | None:
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
    if any(_is_under_way(transfer, leg, descriptor) for leg in transfer.take_backs):
        return "transfer_id", "is being taken out of the game at the provider: wait for its end"
    return None


def _is_under_way(transfer: Transfer, leg: Leg, descriptor: Descriptor) -> bool:
    """Whether something may still come of a take-back by itself: what the provider contradicts itself about, or
    did otherwise than ordered, is at its end for us."""
    open_still = leg.state not in (LegState.APPLIED, LegState.REFUSED)
    return open_still and judge(transfer, leg, descriptor).verdict is Verdict.OPEN


def decided(transfer: Transfer, decision: Evidence, descriptor: Descriptor) -> Finding:
    """What is proved about a transfer that people have decided about: what they decided, until a leg is told to
    be otherwise than they had seen."""
    kind = Kind(decision.reply.code)
    ordered = _ordered(transfer) if kind is Kind.CLAW_BACK else None
    stands = _by_decision(transfer, kind, decision)
    for leg in (*transfer.tries, *transfer.take_backs):
        if leg is ordered:
            continue
        news = judge(transfer, leg, descriptor, _new_facts(leg.evidence, decision))
        if news.verdict is Verdict.OPEN:
            continue
        newest = leg is transfer.outside
        premise = _premise(transfer, stands) if newest else _as_seen(transfer, leg, decision, descriptor)
        if (news.verdict, news.arrived) != (premise.verdict, premise.arrived):
            return Finding(Verdict.CONTRADICTED, news.proof)
    return _taken_back(transfer, ordered, decision, descriptor) if kind is Kind.CLAW_BACK else stands


def _ordered(transfer: Transfer) -> Leg | None:
    """The leg by which the newest claw-back is carried out, once it is planned."""
    orders = sum(piece.reply.code == Kind.CLAW_BACK for piece in transfer.decisions)
    return transfer.take_backs[-1] if len(transfer.take_backs) == orders else None


def _as_seen(transfer: Transfer, leg: Leg, decision: Evidence, descriptor: Descriptor) -> Finding:
    """What was proved about a leg when the decision was made."""
    assert decision.watermark is not None
    return judge(transfer, leg, descriptor, tuple(piece for piece in leg.evidence if piece.id <= decision.watermark))


def _premise(transfer: Transfer, stands: Finding) -> Finding:
    """What a decision says of the leg at the provider. Of what is written off or clawed back, the game has it."""
    assert stands.proof is not None
    if stands.proof.reply.code not in (Kind.WRITE_OFF, Kind.CLAW_BACK):
        return stands
    return Finding(Verdict.APPLIED if transfer.direction is Direction.IN else Verdict.REFUSED, stands.proof)


def _by_decision(transfer: Transfer, kind: Kind, decision: Evidence) -> Finding:
    """What the decision says of the transfer; an order says nothing of it yet."""
    match kind:
        case Kind.REVERSE:
            return Finding(Verdict.REFUSED, decision)
        case Kind.SPLIT:
            return Finding(Verdict.APPLIED, decision, arrived=decision.reply.amount)
        case Kind.WRITE_OFF:
            return written_off(transfer, decision)
        case Kind.CLAW_BACK:
            return Finding(Verdict.OPEN, decision)
        case Kind.CONFIRM:
            return Finding(Verdict.APPLIED, decision)
        case _ as unreachable:
            assert_never(unreachable)


def _taken_back(transfer: Transfer, ordered: Leg | None, decision: Evidence, descriptor: Descriptor) -> Finding:
    """Ordered to be taken out of the game: that request's own proof decides, and nothing does before it.

    Once it is out of the game, a transfer in has returned and a transfer out has arrived. Refused it is for people
    again; so it is when it was carried out and undone afterwards, or otherwise than ordered.
    """
    found = Finding(Verdict.OPEN) if ordered is None else judge(transfer, ordered, descriptor)
    out_of_the_game = Verdict.APPLIED if transfer.direction is Direction.OUT else Verdict.REFUSED
    match found.verdict:
        case Verdict.APPLIED if found.arrived is None:
            return Finding(out_of_the_game, found.proof)
        case Verdict.OPEN:
            return Finding(Verdict.OPEN, decision)
        case Verdict.REFUSED if not found.taken_back:
            return Finding(Verdict.OPEN, decision)
        case _:
            return Finding(Verdict.CONTRADICTED, found.proof)


def _new_facts(pieces: tuple[Evidence, ...], decision: Evidence) -> tuple[Evidence, ...]:
    """What was told after the watermark and had not been told by the same source before it."""
    assert decision.watermark is not None
    seen = tuple(piece for piece in pieces if piece.id <= decision.watermark)
    later = (piece for piece in pieces if piece.id > decision.watermark and piece.id != decision.id)
    return tuple(piece for piece in later if is_news(piece, seen))


def is_news(piece: Evidence, earlier: tuple[Evidence, ...]) -> bool:
    """Whether a source says what it had not said before."""
    return _said(piece) not in {_said(other) for other in earlier}


def _said(piece: Evidence) -> tuple[object, ...]:
    """By the provider's own count a later word is another one, also where it says what an earlier one said."""
    reply = piece.reply
    return piece.source, reply.answer, reply.sequence, reply.amount, reply.currency, reply.player, reply.side
