"""What clients asked for: whatever the bridge has begun is somebody's wish, for whom and about as much as they said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from tests.simulation.ledgers import ProviderLedgers, minor
from tests.simulation.settings import ENOUGH, FIRST, PROTOCOLS, WALLETS, paid_in
from tests.simulation.told import Ask

TRANSFERS = "/v1/transfers"
READ_BEFORE_SECONDS = 1300
"""So long a process may stand still, twice, between reading a balance and writing down what it will sweep."""

_ON_ITS_WAY = """SELECT id FROM transfer WHERE (player_id, provider, direction, state) = (?, ?, 'in', 'pending')"""
_BEGUN = "SELECT id FROM transfer WHERE idempotency_key = ?"
_CASH = "SELECT id, player_id, kind, amount, currency, idempotency_key FROM cash_movement ORDER BY id"


class Wanted:
    """Judges what is begun by what was asked for. A key may reach the bridge first with either of two bodies."""

    def __init__(self, ask: Ask, fail: Callable[[str, str], None], ledgers: ProviderLedgers) -> None:
        self._ask, self._fail, self._ledgers = ask, fail, ledgers
        self._asked: dict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
        self._taken: set[str] = set()
        self._measured: set[tuple[str, int]] = set()
        self._asked_at: dict[str, int] = {}
        self._begun_at: dict[str, int] = {}
        for times in (FIRST, ENOUGH - FIRST):
            for key, player, currency, amount in paid_in(times):
                self.may_come(key, f"/v1/players/{player}/deposits", {"amount": amount, "currency": currency})

    def may_come(self, key: str, path: str, body: Mapping[str, Any], now: int = 0) -> None:
        """A request with this key and body is on its way, and may be the first that arrives."""
        self._asked_at.setdefault(key, now)
        if key not in self._taken:
            self._asked[key].append((path, body))

    def was_taken(self, key: str, path: str, body: Mapping[str, Any]) -> None:
        """The bridge has said yes to this one: no other body under the key may have an effect any more."""
        self._taken.add(key)
        self._asked[key] = [(path, body)]

    def check_transfer(self, row: Mapping[str, Any], now: int) -> None:
        """I5: a transfer is for the player, at the provider, in the currency and about the amount that were asked for;
        a sweep about all that was there."""
        key = row["idempotency_key"]
        self._begun_at.setdefault(row["id"], now)
        if not any(_is_meant(row, path, body) for path, body in self._asked[_origin(key)]):
            told = {name: row[name] for name in ("player_id", "provider", "direction", "amount", "currency", "sweep")}
            self._fail("I5", f"{row['id']} is {told} under {key}, and asked for was {self._asked[_origin(key)]}")
        if row["sweep"] and (row["id"], row["amount"]) not in self._measured:
            self._measured.add((row["id"], row["amount"]))
            lane, since = (row["provider"], row["player_id"], row["currency"]), now - READ_BEFORE_SECONDS * 1_000_000
            held = self._ledgers.held_since(lane, since)
            if row["amount"] not in held or row["dust"]:  # both providers keep all decimals: nothing need stay behind
                told = f"{row['amount']} and leaves {row['dust'] or 0}"
                self._fail("I5", f"{row['id']} sweeps {told}, and what was there was {sorted(held)}")

    def check_recall(self, key: str, player: str, status: int, view: Mapping[str, Any]) -> None:
        """I7: everything home. A recall names each provider in each currency of the player, says of each what is so,
        and has ended (200) when all that it began has, and nothing is left to be read."""
        told = sorted((sweep["provider"], sweep["currency"]) for sweep in view["sweeps"])
        meant = sorted((provider, currency) for provider in PROTOCOLS for currency in WALLETS[player])
        if told != meant or view["player_id"] != player:
            self._fail("I7", f"recall {key} of {player} names {told}, and {player} may have money at {meant}")
        going_on = [
            sweep for sweep in view["sweeps"]
            if sweep["found"] == "unread" or (sweep["transfer"] or {}).get("state") == "pending"
        ]  # fmt: skip
        if (status == HTTPStatus.OK) is bool(going_on):
            self._fail("I7", f"recall {key} was answered {status}, and going on are {going_on}")
        for sweep in view["sweeps"]:
            self._check_sweep(key, player, sweep)

    def _check_sweep(self, key: str, player: str, sweep: Mapping[str, Any]) -> None:
        """Nothing is there only where nothing was; what is swept is a transfer of this recall; and what was on its way
        before, and still is, is waited for."""
        provider, currency, found, since = sweep["provider"], sweep["currency"], sweep["found"], self._asked_at[key]
        where = f"recall {key} of {player} found {found} at {provider} in {currency}"
        on_its_way = self._ask(_ON_ITS_WAY, player, provider)
        if found != "unread" and any(self._begun_at[transfer] < since for (transfer,) in on_its_way):
            self._fail("I7", f"{where}, and {on_its_way} was and is on its way to it")
        held = self._ledgers.held_since((provider, player, currency), since)
        if found == "nothing" and min(held) > 0:
            self._fail("I7", f"{where}, and what was there was {sorted(held)}")
        transfer = (sweep["transfer"] or {}).get("id")
        begun = self._ask(_BEGUN, f"recall {key} {provider} {currency}")
        if (transfer is not None) != (found == "swept") or (transfer is not None and begun != [(transfer,)]):
            self._fail("I7", f"{where} with {transfer}, and began {begun}")

    def check_cash(self) -> None:
        """I5: a deposit or withdrawal is as it was asked for, and one a key."""
        seen = set()
        for movement, player, kind, amount, currency, key in self._ask(_CASH):
            path = f"/v1/players/{player}/{kind}s"
            asked = [body for where, body in self._asked[key] if where == path and body["currency"] == currency]
            if key in seen or not any(minor(body["amount"], currency) == amount for body in asked):
                self._fail("I5", f"{movement} is a {kind} of {amount} {currency} for {player} under {key}, which asked "
                                 f"for {self._asked[key]}")  # fmt: skip
            seen.add(key)

    def check_view(self, key: str, view: Mapping[str, Any]) -> None:
        """I7: what a client is shown in answer to a request is what the request said."""
        told = {name: view[name] for name in ("player_id", "provider", "direction", "currency")}
        for _, body in self._asked.get(key, ()):
            same = body["amount"] == view["requested"] or (
                "max" not in (body["amount"], view["requested"])
                and minor(body["amount"], body["currency"]) == minor(view["requested"], view["currency"])
            )
            if same and told == {name: body[name] for name in told}:
                return
        self._fail("I7", f"{view['id']} was shown as {told} {view['requested']} under {key}: not what was asked for")


def _origin(key: str) -> str:
    """The key of the request that a transfer comes from: a recall begins several, each under a key of its own."""
    return key.split(" ")[1] if key.startswith("recall ") else key


def _is_meant(row: Mapping[str, Any], path: str, body: Mapping[str, Any]) -> bool:
    key = row["idempotency_key"]
    if key.startswith("recall "):
        told = [row["provider"], row["currency"]]
        return (
            path == f"/v1/players/{row['player_id']}/recall"
            and (row["direction"], bool(row["sweep"]), key.split(" ")[2:]) == ("out", True, told)
        )  # fmt: skip
    if path != TRANSFERS or any(row[name] != body[name] for name in ("player_id", "provider", "direction", "currency")):
        return False
    if body["amount"] == "max":
        return bool(row["sweep"])
    return not row["sweep"] and minor(body["amount"], body["currency"]) == row["amount"]
