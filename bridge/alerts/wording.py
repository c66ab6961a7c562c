"""Wording: what a notice says, as a webhook's JSON and as a letter. Made once, when it is stored; sent as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from bridge.alerts.conditions import Kind
from bridge.models.alerts import Phase
from bridge.money import Currencies

LONGEST_SUBJECT = 150
PAGES: dict[str, str] = {
    Kind.ORPHANS: "orphans", Kind.CAP_HIT: "providers", Kind.BREAKER: "providers", Kind.SET_BACK: "providers",
    Kind.MOVED: "providers",
    Kind.SILENT: "jobs", Kind.CHECK: "jobs", Kind.JOB: "jobs", Kind.HANGS: "jobs",
    Kind.PENDING: "overview", Kind.LOCKED: "audit?kind=lock",
}  # fmt: skip
"""Where on the desk to look: pages that everybody there may see."""

_HEADS = {Phase.BEGUN: "", Phase.MORE: "", Phase.AGAIN: "Still: ", Phase.OVER: "Over: "}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    """One notice before it is written: `operator` by name, "" for all; instants in microseconds."""

    alert_id: str
    kind: str
    phase: Phase
    operator: str
    sentence: str
    began_at: int
    at: int
    more: Mapping[str, Any]
    desk: str | None


def one_line(words: str, longest: int = 500) -> str:
    """Text of which nothing ends a line, or turns it around: what cannot be printed becomes a blank."""
    return "".join(each if each.isprintable() else " " for each in words).strip()[:longest]


def subject(said: Said) -> str:
    """The line by which people see what it is about."""
    whose = f" ({said.operator})" if said.operator else ""
    return one_line(f"[bridge] {_HEADS[said.phase]}{said.sentence}{whose}", LONGEST_SUBJECT)


def as_json(said: Said) -> str:
    """What is posted to the webhook."""
    data = {
        "id": said.alert_id,
        "kind": said.kind,
        "operator": said.operator or None,
        "sentence": one_line(said.sentence),
        "since": instant(said.began_at),
        "link": _link(said),
        **said.more,
    }
    body = {"type": f"alert.{said.phase.value}", "timestamp": instant(said.at), "data": data}
    return orjson.dumps(body).decode()


def as_letter(said: Said) -> str:
    """The text of the e-mail."""
    lines = [one_line(f"{_HEADS[said.phase]}{said.sentence}"), ""]
    if said.operator:
        lines.append(f"Operator: {one_line(said.operator)}")
    lines.append(f"Since: {instant(said.began_at)}")
    for name, value in said.more.items():
        told = ", ".join(str(each) for each in value) if isinstance(value, list) else _flat(value)
        lines.append(f"{name.replace('_', ' ').capitalize()}: {one_line(told)}")
    link = _link(said)
    lines += [f"Desk: {link}"] if link else []
    lines += ["", f"Alert {said.alert_id}, {said.kind}, told at {instant(said.at)}."]
    return "\n".join(lines) + "\n"


def of_orphans(
    number: int, units: Mapping[str, int], currencies: Currencies, transfers: Sequence[str], *, new: bool
) -> tuple[str, dict[str, Any]]:
    """(the sentence, what is told beside it) about so many orphans: value by currency, and some of their ids."""
    trusted = (currency for currency in units if currency not in currencies.distrusted)
    value = {currency: currencies.format(units[currency], currency) for currency in trusted}
    told = ", ".join(currencies.spelled(amount, currency) for currency, amount in units.items())
    word = f"{'new ' if new else ''}orphaned transfer{'' if number == 1 else 's'}"
    more: dict[str, Any] = {"count": number, "value": value}
    return f"{number} {word}: {told}.", {**more, **({"transfers": list(transfers)} if transfers else {})}


def instant(microseconds: int) -> str:
    """RFC 3339, UTC."""
    at = _EPOCH + timedelta(microseconds=microseconds)
    return at.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def _link(said: Said) -> str | None:
    return None if said.desk is None else f"{said.desk.rstrip('/')}/{PAGES.get(said.kind, '')}".rstrip("/")


def _flat(value: Any) -> str:
    return ", ".join(f"{amount} {name}" for name, amount in value.items()) if isinstance(value, dict) else str(value)
