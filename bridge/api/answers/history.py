"""One transfer's whole story as it is shown: moves, requests and evidence on one time axis.

What only concerns our own machinery (which worker, under which lease) stays inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bridge.api.answers.views import Decimals, Instant, instant
from bridge.money import Currencies


@dataclass(frozen=True)
class Move:
    """The transfer, a leg or its case went from one state to another; `evidence_id` names the proof."""

    kind: Literal["move"]
    at: Instant
    subject: str
    trigger: str
    source: str | None
    target: str
    reason: str
    evidence_id: int | None


@dataclass(frozen=True)
class Request:
    """A money request was committed as sent; nothing of it is on the wire after `wire_until`."""

    kind: Literal["request"]
    at: Instant
    leg: int
    attempt: int
    step: str
    wire_until: Instant


@dataclass(frozen=True)
class Evidence:
    """One answer about one leg, as translated; `digest` is the SHA-256 of the raw message."""

    kind: Literal["evidence"]
    at: Instant
    id: int
    leg: int
    source: str
    step: str | None
    attempt: int
    answer: str
    code: str
    detail: str
    amount: Decimals | None
    currency: str | None
    player: str | None
    reference: str | None
    provider_reference: str | None
    provider_time: str | None
    sequence: int | None
    balance: Decimals | None
    digest: str


@dataclass(frozen=True)
class Story:
    """Everything that happened to a transfer, oldest first."""

    transfer_id: str
    entries: list[Move | Request | Evidence]


def story(transfer_id: str, entries: list[dict[str, Any]], currency: str, currencies: Currencies) -> Story:
    """The story of a transfer whose amounts are in `currency`."""
    shown: list[Move | Request | Evidence] = []
    for entry in entries:
        match entry["kind"]:
            case "move":
                shown.append(_move(entry))
            case "request":
                shown.append(_request(entry))
            case _:
                shown.append(_evidence(entry, currency, currencies))
    return Story(transfer_id, shown)


def _move(entry: Mapping[str, Any]) -> Move:
    names = ("subject", "trigger", "source", "target", "reason", "evidence_id")
    return Move("move", instant(entry["at"]), **{name: entry[name] for name in names})


def _request(entry: Mapping[str, Any]) -> Request:
    return Request(
        kind="request",
        at=instant(entry["at"]),
        leg=entry["ordinal"],
        attempt=entry["attempt"],
        step=entry["step"],
        wire_until=instant(entry["wire_until"]),
    )


def _evidence(entry: Mapping[str, Any], currency: str, currencies: Currencies) -> Evidence:
    names = (
        "id", "source", "step", "attempt", "answer", "code", "detail", "currency", "player", "reference",
        "provider_reference", "provider_time", "sequence", "digest",
    )  # fmt: skip

    def text(minor: int | None) -> str | None:
        return None if minor is None else currencies.format(minor, entry["currency"] or currency)

    return Evidence(
        kind="evidence",
        at=instant(entry["at"]),
        leg=entry["ordinal"],
        amount=text(entry["amount"]),
        balance=text(entry["balance"]),
        **{name: entry[name] for name in names},
    )
