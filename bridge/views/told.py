"""What a piece of evidence says, in words for people, and what it says that is not as it was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bridge.evidence import Answer, Evidence, Reply
from bridge.money import Currencies
from bridge.transfers.core.facts import Leg, Transfer
from bridge.views import redaction
from bridge.views.amounts import written

SAID = {
    Answer.APPLIED: "executed",
    Answer.RESERVED: "prepared, nothing moved yet",
    Answer.NOT_APPLIED: "refused",
    Answer.CANCELLED: "cancelled",
    Answer.IN_PROGRESS: "still working on it",
    Answer.NOT_FOUND: "not found",
    Answer.NOT_SENT: "nothing was sent",
    Answer.UNKNOWN: "no usable answer",
}
"""What an answer says."""


def said(piece: Evidence) -> str:
    """The answer, with the provider's own code for it."""
    code = redaction.text(piece.reply.code or "")
    return SAID[piece.reply.answer] + (f" ({code})" if code else "")


def in_full(transfer: Transfer, leg: Leg, piece: Evidence, currencies: Currencies) -> str:
    """The answer with what decides whether it can be believed: what was told otherwise than it was meant, in money,
    and, of a refusal, what the player had there."""
    reply = piece.reply
    parts = [said(piece), *otherwise(transfer, leg, reply, currencies)]
    if reply.answer is Answer.NOT_APPLIED and reply.balance is not None:
        parts.append(f"balance there {written(currencies, reply.balance, reply.currency or transfer.currency)}")
    return ", ".join(parts)


def otherwise(transfer: Transfer, leg: Leg, reply: Reply, currencies: Currencies) -> Iterator[str]:
    """Whatever a reply tells of a leg that is not as it was meant: "told 1 000.00 EUR where 10.00 EUR was meant"."""
    meant = written(currencies, leg.amount, transfer.currency)
    if reply.amount is not None and (reply.amount, reply.currency or transfer.currency) != (
        leg.amount, transfer.currency
    ):  # fmt: skip
        yield f"told {written(currencies, reply.amount, _currency(transfer, reply))} where {meant} was meant"
    elif reply.currency not in (None, transfer.currency):
        yield f"told in {_currency(transfer, reply)} where {transfer.currency} was meant"
    for told, intended, word in (
        (reply.player, transfer.player, "player"),
        (reply.side, leg.side.value, "side"),
        (reply.reference, leg.reference, "reference"),
    ):
        if told is not None and told != intended:
            yield f"told {word} {redaction.text(told)} where {intended} was meant"


_UNITS = re.compile(r"told ([0-9]+) minor units where ([0-9]+) were meant|([0-9]+) minor units", re.ASCII)
_DIFFERS = re.compile(r"told .+? where .+? was meant", re.DOTALL)


def in_money(reason: str, currencies: Currencies, currency: str, told_in: Mapping[int, str]) -> str:
    """The sentence that is kept about an orphan, in which the core, that knows no decimals, counts minor units: with
    amounts as people read them. `told_in`: the currency of what was told, where that is another than `currency`."""

    def spelled(found: re.Match[str]) -> str:
        if found[3] is not None:
            return written(currencies, int(found[3]), currency)
        told, meant = int(found[1]), int(found[2])
        other = redaction.text(told_in.get(told, currency))
        return f"told {written(currencies, told, other)} where {written(currencies, meant, currency)} was meant"

    return _UNITS.sub(spelled, reason)


def difference(reason: str) -> str:
    """Of such a sentence, in money, what was told otherwise than it was meant; empty where nothing was."""
    found = _DIFFERS.search(reason)
    return found[0] if found else ""


def _currency(transfer: Transfer, reply: Reply) -> str:
    return redaction.text(reply.currency or transfer.currency)
