"""The control port: play, script faults, set the rate, ask what is true. The protocol's port is pure."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from bridge.simulator.books import Refused
from bridge.simulator.faults.choice import BadFault, read_params, read_rate, read_script, read_weights
from bridge.simulator.messages import Answer, Delivery, Request
from bridge.simulator.stage import Stage

LONGEST_PLAYER = 34  # of every protocol

Route = Callable[[dict[str, Any]], Answer]


class Control:
    """Answers of the control port. `acts` are POSTs that only this protocol's provider knows, by path."""

    def __init__(self, stage: Stage, acts: Mapping[str, Route]) -> None:
        self._stage, self._acts = stage, acts
        self._books = stage.provider.books
        self._told: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", "/play"): self._play,
            ("POST", "/faults"): self._script,
            ("POST", "/rate"): self._rate,
            ("GET", "/transfers"): self._transfers,
        }
        self._asked: dict[tuple[str, str], Callable[[], Answer]] = {
            ("DELETE", "/faults"): self._clear,
            ("GET", "/faults"): self._counts,
            ("GET", "/health"): self._health,
        }

    def answer(self, request: Request) -> Delivery:
        """Route one request; a mistake gets 400 and one sentence."""
        try:
            if request.fault:
                raise BadFault(request.fault)
            if request.method == "GET" and request.path.startswith("/players/"):
                return Delivery.of(self._player(unquote(request.path.removeprefix("/players/"))))
            route = (request.method, request.path)
            if route in self._told:
                return Delivery.of(self._told[route](request))
            if route in self._asked:
                return Delivery.of(self._asked[route]())
            if request.method == "POST" and request.path in self._acts:
                return Delivery.of(self._acts[request.path](_object(request)))
            return Delivery.of(_wrong(HTTPStatus.NOT_FOUND, f"there is no {request.path} here"))
        except BadFault as mistake:
            return Delivery.of(_wrong(HTTPStatus.BAD_REQUEST, str(mistake)))
        except Refused as refusal:
            return Delivery.of(_wrong(HTTPStatus.CONFLICT, str(refusal)))

    def _play(self, request: Request) -> Answer:
        """A win ("2.00") or a loss ("-1.50") at the provider; 409 where it would go below zero available."""
        wanted = _object(request)
        player, currency, text = (wanted.get(name) for name in ("player", "currency", "amount"))
        if not (isinstance(player, str) and 1 <= len(player) <= LONGEST_PLAYER and isinstance(text, str)):
            raise BadFault("player and amount must be strings")
        if not isinstance(currency, str) or currency not in self._books.currencies:
            raise BadFault("the currency is not kept here")
        try:
            amount = self._books.currencies.minor(Decimal(text), currency)
            owned = self._books.play(player, currency, amount)
        except (ValueError, InvalidOperation) as error:
            raise BadFault(f"amount: {error or 'not a number'}") from error
        return Answer(200, {"balance": self._books.currencies.text(owned, currency)})

    def _script(self, request: Request) -> Answer:
        fault = read_script(_object(request), self._stage.choice.table)
        self._stage.choice.script(fault)
        return Answer(201, fault.listed())

    def _clear(self) -> Answer:
        self._stage.choice.clear()
        return Answer(204)

    def _counts(self) -> Answer:
        told = {str(case): count for case, count in sorted(self._stage.faults.counts.items())}
        seen = {str(case): count for case, count in sorted(self._stage.faults.observed.items())}
        return Answer(200, {"counts": told, "observed": seen, "scripted": _plain(self._stage.choice.scripted())})

    def _rate(self, request: Request) -> Answer:
        wanted = _object(request)
        if set(wanted) - {"rate", "cases", "params"}:
            raise BadFault("a rate is an object of rate, cases, params")
        table = self._stage.choice.table
        rate, weights = read_rate(wanted.get("rate")), read_weights(wanted.get("cases"), table)
        defaults = {}
        params = wanted.get("params", {})
        if not isinstance(params, dict):
            raise BadFault("params must be an object by case number")
        for number, values in params.items():
            if not number.isdecimal() or int(number) not in table.by_number:
                raise BadFault(f"{number!r} is not a case number")
            defaults[int(number)] = read_params(int(number), values, table)
        self._stage.choice.set_rate(rate, weights, defaults)
        return Answer(200, {"rate": str(rate), "cases": {str(number): weight for number, weight in weights.items()}})

    def _player(self, player: str) -> Answer:
        texts = self._books.currencies.text
        balances = {
            currency: {
                "owned": texts(account.owned, currency),
                "reserved": texts(account.reserved, currency),
                "available": texts(account.available, currency),
            }
            for _, currency, account in self._books.accounts(player)
        }
        return Answer(200, {"player": player, "balances": balances})

    def _transfers(self, request: Request) -> Answer:
        reference = request.query.get("reference")
        if not reference:
            raise BadFault("reference is required")
        found = self._stage.provider.told(reference)
        return Answer(200, {"transfers": [found] if found else []})

    def _health(self) -> Answer:
        return Answer(200, {"status": "ok", "pid": os.getpid(), "seed": self._stage.choice.seed})


def _wrong(status: int, sentence: str) -> Answer:
    return Answer(status, {"error": sentence})


def _object(request: Request) -> dict[str, Any]:
    try:
        content = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise BadFault(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadFault("the body must be a JSON object")
    return content


def _plain(value: Any) -> Any:
    """Floats in a fault's params as the exact decimals they were written as."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return Decimal(repr(value)) if isinstance(value, float) else value
