"""What two people may decide about an orphan (design §5): the table says for each place where the money may stand
which decisions make sense there. What a decision proves from then on is said in :mod:`hindsight`.
"""

from __future__ import annotations

from enum import StrEnum

from bridge.evidence import Evidence
from bridge.ports import Descriptor, Direction
from bridge.transfers.core.facts import ORDER, Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict, executions, judge
from statemachines import LegState, TransferState


class Kind(StrEnum):
    """What is decided. The comment says what it asserts or orders."""

    CONFIRM = "confirm"  # the destination has it, and the source has not
    REVERSE = "reverse"  # the source has it, and the destination has not
    SPLIT = "split"  # a part of it arrived, the rest is back; the two are the whole
    WRITE_OFF = "write_off"  # both sides keep what they have; the house bears the loss
    CLAW_BACK = ORDER  # the game has too much: take it out at the provider, by a request of its own


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


def written_off(transfer: Transfer, descriptor: Descriptor | None = None, proof: Evidence | None = None) -> Finding:
    """Both keep what they have: the wallet what it was given, which the house bears, and the game the whole, or, where
    the wallet was given all of a transfer in, what the provider says came."""
    if transfer.direction is Direction.OUT:
        part = None if transfer.given == transfer.amount else transfer.given
        return Finding(Verdict.APPLIED, proof, arrived=part, written_off=transfer.given)
    came = came_in(transfer, descriptor) if descriptor is not None and place(transfer) is Place.HOUSE else None
    return Finding(Verdict.APPLIED, proof, arrived=came, written_off=came or transfer.given)


def came_in(transfer: Transfer, descriptor: Descriptor, upto: int | None = None) -> int | None:
    """Of a transfer in that came in part, that part (minor units); None where all of it came, or none was told of."""
    told = told_to_have_moved(transfer, transfer.outside, descriptor, upto)
    return None if told == transfer.amount else told


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
    if is_being_taken(transfer, descriptor, now):
        return "transfer_id", "is being taken out of the game at the provider: wait for its end"
    return _refusal_to_take(transfer, descriptor) if kind is Kind.CLAW_BACK else None


def permitted(transfer: Transfer, descriptor: Descriptor, now: int) -> frozenset[Kind]:
    """What may be decided about this transfer now; of splits, whether there is any."""
    parts = {Kind.SPLIT: (1, transfer.amount - 1)}
    return frozenset(
        kind for kind in Kind if refusal(transfer, descriptor, kind, *parts.get(kind, (0, 0)), now) is None
    )


def is_being_taken(transfer: Transfer, descriptor: Descriptor, now: int) -> bool:
    """Whether something may still come by itself of what people ordered to be taken out of the game."""
    return any(_is_under_way(transfer, leg, descriptor, now) for leg in transfer.ordered)


def _refusal_to_take(transfer: Transfer, descriptor: Descriptor) -> tuple[str, str] | None:
    if transfer.unordered:
        return "kind", "would carry out a take-back that nobody had ordered: `bridge verify` names it"
    if left_to_take(transfer, descriptor) <= 0:
        return "kind", "would take twice: what came into the game was taken out of it, or may have been"
    if not transfer.bears_a_take_back:
        return "kind", "might take twice: whether it was taken back before is not known any more, here or there"
    return None


def _is_under_way(transfer: Transfer, leg: Leg, descriptor: Descriptor, now: int) -> bool:
    """Whether that take-back is not at its end. What the provider contradicts itself about, or did otherwise than
    ordered, is at its end for us; so is what it has not proved in all its time."""
    if leg.state in (LegState.APPLIED, LegState.REFUSED) or not judge(transfer, leg, descriptor).is_open:
        return False
    if not leg.attempts:
        return transfer.rewound_at is None  # else it was perhaps sent, in what a restored backup has forgotten
    return now < leg.quiet_since(leg.attempts[-1]) + transfer.orphan_at - transfer.created_at


def left_to_take(transfer: Transfer, descriptor: Descriptor) -> int:
    """How much (minor units) of the amount can still be taken out of the game: what came, or was given and has not
    left, less what has or may have been taken already. More would be other money of the player's."""
    taken = sum(_perhaps_taken(transfer, leg, descriptor) for leg in transfer.take_backs)
    if transfer.direction is Direction.IN:
        return (came_in(transfer, descriptor) or transfer.amount) - taken
    left = [leg for leg in transfer.tries if judge(transfer, leg, descriptor).verdict is Verdict.APPLIED]
    return transfer.amount - sum(told_to_have_moved(transfer, leg, descriptor) or 0 for leg in left) - taken


def _perhaps_taken(transfer: Transfer, leg: Leg, descriptor: Descriptor) -> int:
    found = judge(transfer, leg, descriptor)
    never_sent = not leg.attempts and not leg.evidence and transfer.rewound_at is None
    if found.verdict is Verdict.REFUSED or never_sent:
        return 0
    return told_to_have_moved(transfer, leg, descriptor) or leg.amount


def told_to_have_moved(transfer: Transfer, leg: Leg, descriptor: Descriptor, upto: int | None = None) -> int | None:
    """The least (minor units) that the provider says this leg has moved; None where it says of no effect.
    `upto`: by the evidence up to that id."""
    pieces = tuple(piece for piece in leg.evidence if upto is None or piece.id <= upto)
    amounts = [piece.reply.amount for piece in executions(transfer, leg, descriptor, pieces)]
    return min((amount for amount in amounts if amount is not None), default=None)
