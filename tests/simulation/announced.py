"""What operators are told by events (I-43 of correctness.md, `docs/events.md`): one for each move of a transfer,
counted from 1 without a gap, and about what was so when it moved, by its postings and its history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.simulation.ledgers import minor
from tests.simulation.meant import is_inward
from tests.simulation.told import Ask
from tests.simulation.world import SECOND

_MOVES = """SELECT transfer_id, version, target, at FROM history WHERE subject = 'transfer' AND source <> target
    ORDER BY id"""
_EVENTS = "SELECT operator_id, sequence, id, kind, transfer_id, version, body FROM event ORDER BY operator_id, sequence"
_WAITING = "SELECT transfer_id, version, state FROM outbox"
_REASONS = "SELECT id, reason_code, reason_detail FROM transfer"
_REACHED = """SELECT COALESCE(SUM(CASE WHEN credit = ?1 THEN amount ELSE -amount END), 0) FROM posting
    WHERE transfer_id = ?2 AND version <= ?3 AND ?1 IN (debit, credit)"""

Move = tuple[str, int]
"""A transfer, and the version of it that a move made."""


class Announced:
    """Judges the events of a story, once it has ended."""

    def __init__(self, ask: Ask, fail: Callable[[str, str], None]) -> None:
        self._ask, self._fail = ask, fail

    def check(self, transfers: Mapping[str, Mapping[str, Any]]) -> None:
        """Every move is told, in its order, as it was; nothing else is."""
        moves = {(transfer, version): (target, at) for transfer, version, target, at in self._ask(_MOVES)}
        waiting = {(transfer, version) for transfer, version, _ in self._ask(_WAITING)}
        told: dict[Move, Mapping[str, Any]] = {}
        last: dict[Any, int] = {}
        for operator, sequence, event, kind, transfer, version, body in self._ask(_EVENTS):
            content = json.loads(body)
            numbered = content["sequence"], content["id"], content["type"]
            if sequence != last.get(operator, 0) + 1 or numbered != (sequence, event, kind):
                self._fail("I-43", f"event {sequence} {kind} comes behind {last.get(operator, 0)}, as {numbered}")
            last[operator] = sequence
            told[transfer, version] = content
        if told.keys() | waiting != moves.keys() or told.keys() & waiting:
            differing = sorted((told.keys() | waiting) ^ moves.keys())
            self._fail("I-43", f"what has moved is not what is told, or to be told: {differing[:3]}")
            return
        self._check_orders(told)
        for move, content in told.items():
            self._check_event(transfers[move[0]], move, content, moves[move])
        self._check_reasons(told, waiting)

    def _check_orders(self, told: Mapping[Move, Mapping[str, Any]]) -> None:
        newest: dict[str, int] = {}
        for transfer, version in told:  # in the order of their numbers
            if version < newest.get(transfer, 0):
                self._fail("I-43", f"move {version} of {transfer} is told behind move {newest[transfer]}")
            newest[transfer] = version

    def _check_event(
        self, row: Mapping[str, Any], move: Move, content: Mapping[str, Any], moved: tuple[str, int]
    ) -> None:
        """Who, where, how much, how much of it arrived, and when."""
        transfer, version = move
        state, at = moved
        data, currency = content["data"], row["currency"]
        destination = (
            f"game:{row['provider']}:{row['player_id']}" if is_inward(row) else f"wallet:{row['player_id']}"
        )
        arrived = self._ask(_REACHED, destination, transfer, version)[0][0] if state == "confirmed" else None
        meant = {
            "transfer_id": transfer, "version": version, "state": state, "arrived": arrived,
            **{name: row[name] for name in ("direction", "player_id", "provider", "currency")},
        }  # fmt: skip
        as_told = {name: data[name] for name in meant}
        as_told["arrived"] = None if data["arrived"] is None else minor(data["arrived"], currency)
        instant = datetime.fromisoformat(content["timestamp"])
        if as_told != meant or content["type"] != f"transfer.{state}" or instant != _instant(at):
            self._fail("I-43", f"{transfer} is told as {content['type']} {as_told}, and was {meant}")
        tries = {leg["amount"] for leg in row["legs"] if leg["undoes"] is None} if row["sweep"] else {row["amount"]}
        if minor(data["amount"], currency) not in tries:
            self._fail("I-43", f"{transfer} is told to be about {data['amount']}, and is about {sorted(tries)}")

    def _check_reasons(self, told: Mapping[Move, Mapping[str, Any]], waiting: set[Move]) -> None:
        """The last that is told of a transfer, and all of it, gives the reason that the transfer has."""
        newest = {transfer: (version, content["data"]["reason"]) for (transfer, version), content in told.items()}
        late = {transfer for transfer, _ in waiting}
        for transfer, code, detail in self._ask(_REASONS):
            reason = None if code is None else {"code": code, "detail": detail or ""}
            if transfer in newest and transfer not in late and newest[transfer][1] != reason:
                self._fail("I-43", f"{transfer} is told with the reason {newest[transfer][1]}, and has {reason}")


def _instant(at: int) -> datetime:
    seconds, rest = divmod(at, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
