"""What a decision of people proves, and what is told after it (design §5).

A decision is proof, labelled as such for ever. It settles everything that its makers had seen, up to a watermark.
Of what is told later only a *new fact* counts: a final word that this source had not given before and that the
provider counts no earlier than what was seen. Where it says otherwise than people had decided, the transfer is orphaned
again. That moves no money, so a single word is enough, where a machine that concludes alone would wait for its
repetition; and only what may be believed makes a word an old one, for a wrong doubt costs people a look, and a true
word that nobody hears costs the amount.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from bridge.evidence import Evidence, Source
from bridge.ports import Descriptor, Direction
from bridge.transfers.core.decisions import Kind, Place, came_in, place, written_off
from bridge.transfers.core.facts import Leg, Transfer
from bridge.transfers.core.proof import Finding, Verdict, counted, executions, judge, tells_against

HAPPENED = (Verdict.APPLIED, Verdict.CONTRADICTED)


def decided(transfer: Transfer, decision: Evidence, descriptor: Descriptor) -> Finding:
    """What is proved about a transfer that people have decided about: what they decided, until a leg is told to
    be otherwise than they had seen."""
    kind = Kind(decision.reply.code)
    ordered = _ordered(transfer) if kind is Kind.CLAW_BACK else None
    for leg in (*transfer.tries, *transfer.take_backs):
        if leg is ordered:
            continue
        contrary = _contrary(transfer, leg, kind, decision, descriptor)
        if contrary is not None:
            return Finding(Verdict.CONTRADICTED, contrary)
    if kind is Kind.CLAW_BACK:
        return _taken_back(transfer, ordered, decision, descriptor)
    return _by_decision(transfer, kind, decision, descriptor)


def happened(transfer: Transfer, descriptor: Descriptor, upto: int | None = None) -> tuple[Leg, ...]:
    """The tries that count as executed: the newest unless it was refused, an earlier one if it was told after all.
    `upto`: by the evidence up to that id."""
    *earlier, newest = transfer.tries
    told = [leg for leg in earlier if judge(transfer, leg, descriptor, _until(leg, upto)).verdict in HAPPENED]
    if judge(transfer, newest, descriptor, _until(newest, upto)).verdict is not Verdict.REFUSED:
        told.append(newest)
    return tuple(told)


def is_news(piece: Evidence, earlier: tuple[Evidence, ...]) -> bool:
    """Whether a source says what it had not said before."""
    return said(piece) not in {said(other) for other in earlier}


def _contrary(transfer: Transfer, leg: Leg, kind: Kind, decision: Evidence, descriptor: Descriptor) -> Evidence | None:
    """A new fact about a leg that says otherwise than people had decided, if there is one."""
    new = _new_facts(transfer, leg, decision, descriptor)
    if not new:
        return None
    premise, found = _premise(transfer, leg, kind, decision, descriptor), judge(transfer, leg, descriptor, new)
    if not found.is_open and (found.verdict, found.arrived) != (premise.verdict, premise.arrived):
        return found.proof
    again = [
        piece for piece in executions(transfer, leg, descriptor, new) if _is_another(transfer, leg, piece, descriptor)
    ]
    if found.is_open and premise.verdict is Verdict.APPLIED:
        again += _doubts(transfer, leg, descriptor, new)
    return again[-1] if again else None


def _doubts(
    transfer: Transfer, leg: Leg, descriptor: Descriptor, pieces: tuple[Evidence, ...]
) -> Iterator[Evidence]:
    """What says that the effect is not there, though not enough for a machine: one look-up; and behind a restored
    backup, where not every refusal is believed, whoever says so."""
    outside = (Source.CALL, Source.CALLBACK, Source.LOOKUP)
    sources = outside if transfer.is_rewound else (Source.LOOKUP,)
    for piece in pieces:
        if piece.source in sources and tells_against(transfer, leg, descriptor, piece):
            yield piece


def _is_another(transfer: Transfer, leg: Leg, piece: Evidence, descriptor: Descriptor) -> bool:
    """Whether it tells of an execution under another id of the provider's than one that was told before."""
    before = executions(transfer, leg, descriptor, tuple(each for each in leg.evidence if each.id < piece.id))
    ids = {each.reply.provider_reference for each in before} - {None}
    return bool(ids) and piece.reply.provider_reference not in ids


def _premise(transfer: Transfer, leg: Leg, kind: Kind, decision: Evidence, descriptor: Descriptor) -> Finding:
    """What the decision says of one leg at the provider.

    Of what is written off or clawed back, the game has it. Of several tries, those count that had been told as
    executed; which of them a split was about, it does not say. Of a take-back nothing was decided: what was seen of it.
    """
    if leg.undoes is not None:
        return judge(transfer, leg, descriptor, _until(leg, decision.watermark))
    if kind in (Kind.WRITE_OFF, Kind.CLAW_BACK):
        if transfer.direction is Direction.OUT:
            return Finding(Verdict.REFUSED, decision)
        came = came_in(transfer, descriptor, decision.watermark) if place(transfer) is Place.HOUSE else None
        return Finding(Verdict.APPLIED, decision, arrived=came)
    if kind is Kind.REVERSE or len(transfer.tries) == 1:
        return _by_decision(transfer, kind, decision, descriptor)
    if kind is Kind.SPLIT:
        return judge(transfer, leg, descriptor, _until(leg, decision.watermark))
    if leg not in happened(transfer, descriptor, decision.watermark):
        return Finding(Verdict.REFUSED, decision)
    return _by_decision(transfer, Kind.CONFIRM, decision, descriptor)


def _by_decision(transfer: Transfer, kind: Kind, decision: Evidence, descriptor: Descriptor) -> Finding:
    """What the decision says of the transfer; an order says nothing of it yet."""
    match kind:
        case Kind.REVERSE:
            return Finding(Verdict.REFUSED, decision)
        case Kind.SPLIT:
            return Finding(Verdict.APPLIED, decision, arrived=decision.reply.amount)
        case Kind.WRITE_OFF:
            return written_off(transfer, descriptor, decision)
        case Kind.CLAW_BACK:
            return Finding(Verdict.OPEN, decision)
        case Kind.CONFIRM:
            return Finding(Verdict.APPLIED, decision)
        case _ as unreachable:
            assert_never(unreachable)


def _ordered(transfer: Transfer) -> Leg | None:
    """The leg by which the newest claw-back is carried out, once it is planned."""
    orders = sum(piece.reply.code == Kind.CLAW_BACK for piece in transfer.decisions)
    return transfer.ordered[-1] if len(transfer.ordered) == orders else None


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


def _new_facts(transfer: Transfer, leg: Leg, decision: Evidence, descriptor: Descriptor) -> tuple[Evidence, ...]:
    """What was told after the watermark, had not been told by the same source before it, and is not counted as older
    than what was seen."""
    assert decision.watermark is not None
    seen = _until(leg, decision.watermark)
    words = counted(transfer, leg, descriptor, seen)
    later = (piece for piece in leg.evidence if piece.id > decision.watermark and piece.id != decision.id)
    return tuple(piece for piece in later if is_news(piece, seen) and not _is_older(piece, words))


def _is_older(piece: Evidence, words: tuple[Evidence, ...]) -> bool:
    """Whether it was late: the provider counts one of these words after it, and about the same execution, for each id
    that it gave to one has a count of its own. What is looked up is never late: it says what is so now, and a provider
    that counts backwards there contradicts itself."""
    if piece.source is Source.LOOKUP:
        return False
    count, named = piece.reply.sequence, piece.reply.provider_reference
    counts = (word.reply.sequence or 0 for word in words if word.reply.provider_reference == named)
    return count is not None and any(later > count for later in counts)


def said(piece: Evidence) -> tuple[object, ...]:
    """What a source says: repeated, it is no news. By the provider's own count a later word is another one, also where
    it says what an earlier one said."""
    reply = piece.reply
    whose = (reply.player, reply.side, reply.reference, reply.provider_reference)
    return piece.source, reply.answer, reply.sequence, reply.amount, reply.currency, *whose


def _until(leg: Leg, last: int | None) -> tuple[Evidence, ...]:
    return leg.evidence if last is None else tuple(piece for piece in leg.evidence if piece.id <= last)
