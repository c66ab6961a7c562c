"""The provider's own books: what was asked, and what was executed, of every transfer, by its id.

They decide what a contestant has lost or doubled; no contestant can write into them but by asking.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

Answer = tuple[int, dict[str, Any]]
"""An HTTP status and a body."""

MEMBERS = ("player", "direction", "amount", "currency")


@dataclass(slots=True)
class Entry:
    """One transfer: its members as first asked for, how often it was asked for, and how often executed."""

    members: tuple[str, ...]
    number: int
    time: str
    asked: int = 1
    executed: int = 1
    status: str = "confirmed"


class Books:
    """One account's books. Safe only in one thread."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._balances: dict[tuple[str, str], int] = {}

    def answer(self, kind: str, content: dict[str, Any]) -> Answer:
        """What the contract says to one message; 404 for a kind that this provider does not need."""
        answers = {
            "transfer.create": self._create,
            "transfer.look_up": self._look_up,
            "transfer.cancel": self._cancel,
            "player.balance": self._balance,
        }
        try:
            return answers[kind](content) if kind in answers else (404, {"code": "unknown_type"})
        except KeyError as missing:
            return 422, {"code": "malformed", "message": f"{missing} is missing"}

    def told(self) -> list[list[Any]]:
        """Every transfer: [id, amount, asked, executed]."""
        return [[name, each.members[2], each.asked, each.executed] for name, each in self._entries.items()]

    def _create(self, content: dict[str, Any]) -> Answer:
        members = tuple(content[name] for name in MEMBERS)
        entry = self._entries.get(content["id"])
        if entry is not None:
            entry.asked += 1
            return (409, {"code": "id_reused"}) if entry.members != members else self._shown(content["id"], entry)
        entry = self._entries[content["id"]] = Entry(members, len(self._entries) + 1, _now())
        self._move(members)
        return self._shown(content["id"], entry)

    def _look_up(self, content: dict[str, Any]) -> Answer:
        entry = self._entries.get(content["id"])
        if entry is None:
            return 200, {"id": content["id"], "status": "not_found"}
        return self._shown(content["id"], entry)

    def _cancel(self, content: dict[str, Any]) -> Answer:
        members = tuple(content[name] for name in MEMBERS)
        entry = self._entries.get(content["id"])
        if entry is None:
            number = len(self._entries) + 1
            entry = Entry(members, number, _now(), asked=0, executed=0, status="cancelled")
            self._entries[content["id"]] = entry
        return self._shown(content["id"], entry)

    def _balance(self, content: dict[str, Any]) -> Answer:
        player, currency = content["player"], content["currency"]
        cents = self._balances.get((player, currency), 0)
        return 200, {"player": player, "currency": currency, "amount": _decimal(cents), "time": _now()}

    def _move(self, members: tuple[str, ...]) -> None:
        player, direction, amount, currency = members
        cents = int(amount.replace(".", "")) * (1 if direction == "in" else -1)
        self._balances[player, currency] = self._balances.get((player, currency), 0) + cents

    def _shown(self, name: str, entry: Entry) -> Answer:
        members = dict(zip(MEMBERS, entry.members, strict=True))
        return 200, {
            "id": name,
            **members,
            "provider_id": f"W-{entry.number}",
            "status": entry.status,
            "sequence": 1,
            "time": entry.time,
        }


def _decimal(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
