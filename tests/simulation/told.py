"""What was told, to others and to the bridge: it has to be in the database, and to stay as it was told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tests.simulation.ledgers import minor
from tests.simulation.world import Strand

Ask = Callable[..., list[tuple[Any, ...]]]
"""A query of the bridge's database, with its values."""

_BOOKED = "SELECT 1 FROM cash_movement WHERE id = ?"
_HAS_BEEN = "SELECT 1 FROM history WHERE transfer_id = ? AND subject = 'transfer' AND target = ?"
_AMOUNTS = "SELECT state, amount, arrived FROM transfer WHERE id = ?"
_WHOSE = "SELECT 1 FROM transfer WHERE (id, player_id, provider, direction, currency) = (?, ?, ?, ?, ?)"
_KEPT = "SELECT 1 FROM idempotency_key WHERE key = ? AND status = ?"
_ACCEPTED = "SELECT 1 FROM inbox WHERE provider = ? AND message_id = ?"
_EVIDENCE = "SELECT transfer_id, answer, at FROM evidence"
_WITHOUT_EFFECT = """SELECT id, transfer_id FROM decision WHERE NOT EXISTS (SELECT 1 FROM evidence
    WHERE evidence.transfer_id = decision.transfer_id AND evidence.source = 'person'
    AND evidence.at = decision.decided_at)"""
_WITHOUT_RECORD = """SELECT id, transfer_id FROM evidence WHERE source = 'person' AND NOT EXISTS (SELECT 1 FROM decision
    WHERE decision.transfer_id = evidence.transfer_id AND evidence.at = decision.decided_at)"""


class Told:
    """Judges words. `answers`: the final answer under each key."""

    def __init__(self, ask: Ask, fail: Callable[[str, str], None]) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self._ask, self._fail = ask, fail
        self._heard: list[tuple[Strand, str, str, int]] = []

    def require(self, query: str, *values: Any, facts: str) -> None:
        """I7: what somebody was told is in the database."""
        if not self._ask(query, *values):
            self._fail("I7", f"{facts}, and it is stored nowhere")

    def answered(self, key: str, status: int, body: bytes) -> None:
        """I9: the first final answer under a key is every later one. I7: it is kept, and what it tells of is there."""
        first = self.answers.setdefault(key, (status, body))
        if first != (status, body):
            self._fail("I9", f"key {key} was answered {first[0]} {first[1]!r}, and then {status} {body!r}")
        self.require(_KEPT, key, status, facts=f"key {key} was answered {status}")
        made = json.loads(body).get("id", "")
        if made.startswith("cm_"):
            self.require(_BOOKED, made, facts=f"key {key} was answered with {made}")

    def shown(self, view: Mapping[str, Any]) -> None:
        """I7: a transfer is, or has been, what a client was shown of it, and is about as much."""
        transfer, state, currency = view["id"], view["state"], view["currency"]
        self.require(_HAS_BEEN, transfer, state, facts=f"{transfer} was shown as {state}")
        whose = [view[name] for name in ("player_id", "provider", "direction", "currency")]
        self.require(_WHOSE, transfer, *whose, facts=f"{transfer} was shown as {' '.join(whose)}")
        told = {name: None if view[name] is None else minor(view[name], currency) for name in ("amount", "arrived")}
        for now, amount, arrived in self._ask(_AMOUNTS, transfer):
            truly = {"amount": amount, "arrived": amount if now == "confirmed" and arrived is None else arrived}
            if now == state and view["requested"] != "max" and told != truly:
                self._fail("I7", f"{transfer} was shown with {told}, and is {truly}")

    def accepted(self, provider: str, message: str) -> None:
        """I7: a provider was told that its message has arrived; it will not send it again."""
        self.require(_ACCEPTED, provider, message, facts=f"{message} of {provider} was accepted")

    def heard(self, strand: Strand, event: Mapping[str, Any]) -> None:
        """A process has been given an answer; from now on it must not be forgotten."""
        self._heard.append((strand, event["transfer"], str(event["answer"]), event["as_of"]))

    def tripped(self, strand: Strand) -> None:
        """The database failed under what this strand was at: what it was told last may be lost with it."""
        for place in reversed(range(len(self._heard))):
            if self._heard[place][0] is strand:
                del self._heard[place]
                return

    def check(self) -> None:
        """Rule 6 of design §3: what a living process was told is stored, also by one whose lease was stale; and what
        people have decided has been carried out."""
        stored = Counter(self._ask(_EVIDENCE))
        for strand, transfer, answer, at in self._heard:
            if strand.ended and not strand.killed and not stored[transfer, answer, at]:
                self._fail("I7", f"{strand.name} was told {answer} about {transfer}, and it is stored nowhere")
        for decision, transfer in self._ask(_WITHOUT_EFFECT):
            self._fail("I7", f"{decision} about {transfer} is on record, and nobody has carried it out")
        for evidence, transfer in self._ask(_WITHOUT_RECORD):
            self._fail("I7", f"a decision about {transfer} was carried out (evidence {evidence}), and is not on record")
