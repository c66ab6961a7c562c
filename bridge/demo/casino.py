"""The casino of a demo: players who move money over the operator API and play at the provider, side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Event, Lock, Thread
from typing import Any

from bridge.demo.plan import Gambler, Move, written
from bridge.outbound import Outbound
from bridge.ports import Window
from bridge.runtime import Clock

CALL_SECONDS = 40.0
ASK_AGAIN_SECONDS = 0.5
PURSE = 10**11
"""Minor units that every player brings: more than all transfers together."""


class Refused(RuntimeError):
    """An interface answered what a demo cannot go on with; the text is one sentence."""


@dataclass
class Tally:
    """How far everybody has come; the threads write, the display reads."""

    lock: Lock = field(default_factory=Lock)
    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """One more transfer has been asked for."""
        with self.lock:
            self.begun += 1

    def end(self, state: str) -> None:
        """One more transfer is no longer pending."""
        with self.lock:
            self.ended[state] += 1


class Casino:
    """The operator's platform: speaks the API with a key, and plays through the simulator's control port."""

    def __init__(self, address: str, secret: str, control: str, provider: str, clock: Clock) -> None:
        self._api = Outbound(address, clock=clock, pool=64)
        self._control = Outbound(control, clock=clock, pool=64)
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._provider, self._clock = provider, clock
        self.tally, self.over = Tally(), Event()

    def play(self, gamblers: list[Gambler]) -> list[Thread]:
        """Start every player in a thread; all end with their moves, or soon after `over` is set."""
        threads = [Thread(target=self._live, args=(gambler,), daemon=True) for gambler in gamblers]
        for thread in threads:
            thread.start()
        return threads

    def _live(self, gambler: Gambler) -> None:
        try:
            self._enter(gambler)
            for move in gambler.moves:
                if self.over.is_set():
                    return
                self._move(gambler, move)
        except Refused as sentence:
            with self.tally.lock:
                self.tally.trouble.append(str(sentence))

    def _enter(self, gambler: Gambler) -> None:
        name, currency = gambler.name, gambler.currency
        self._ask("PUT", f"/v1/players/{name}", {"currencies": [currency]})
        purse = {"amount": written(PURSE, currency), "currency": currency}
        self._ask("POST", f"/v1/players/{name}/deposits", purse, f"purse-{name}")

    def _move(self, gambler: Gambler, move: Move) -> None:
        if move.play:
            bet = {"player": gambler.name, "currency": gambler.currency}
            self._tell("/play", {**bet, "amount": written(move.play, gambler.currency)}, refusable=True)
        if move.fault is not None:
            kind = move.fault
            fault = {"case": kind.case, "on": kind.on, "player": gambler.name, "times": kind.times}
            self._tell("/faults", {**fault, "params": dict(kind.params)})
        wish = {
            "player_id": gambler.name,
            "provider": self._provider,
            "direction": move.direction,
            "amount": written(move.amount, gambler.currency),
            "currency": gambler.currency,
        }
        self.tally.begin()
        transfer = self._ask("POST", "/v1/transfers", wish, f"move-{move.number}")
        while transfer["state"] == "pending" and not self.over.is_set():
            self._clock.sleep(ASK_AGAIN_SECONDS)
            transfer = self._ask("GET", f"/v1/transfers/{transfer['id']}", None)
        self.tally.end(transfer["state"])

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, key: str | None = None) -> Any:
        """One request to the API, repeated with the same key while the answer is lost or says "later"."""
        headers = self._headers if key is None else {**self._headers, "Idempotency-Key": key}
        text = None if body is None else json.dumps(body)
        while True:
            answer = self._api.send(method, path, window=self._window(), headers=headers, json=text)
            if answer.status is not None and answer.status < HTTPStatus.BAD_REQUEST:
                return json.loads(answer.body)
            later = answer.status in (None, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE)
            if not later or self.over.is_set():
                said = answer.body.decode(errors="replace") or answer.failure
                raise Refused(f"{method} {path} was answered {answer.status}: {said}")
            self._clock.sleep(ASK_AGAIN_SECONDS)

    def _tell(self, path: str, body: Mapping[str, Any], *, refusable: bool = False) -> None:
        """One request to the simulator's control port; a loss that the player cannot pay may be refused."""
        answer = self._control.send("POST", path, window=self._window(), headers={}, json=json.dumps(body))
        done = answer.status is not None and answer.status < HTTPStatus.BAD_REQUEST
        if not done and not (refusable and answer.status == HTTPStatus.CONFLICT):
            raise Refused(f"the simulator answered {path} with {answer.status}: {answer.body.decode(errors='replace')}")

    def _window(self) -> Window:
        end = self._clock.monotonic() + CALL_SECONDS
        return Window(not_after=end, deadline=end)
