"""The casino of a demo: players who move money over the operator API and play at the providers, side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Event, Lock, Thread
from typing import Any

from bridge.demo.kinds import ANOTHER_BODY, TAKE_BACK, Kind
from bridge.demo.plan import Gambler, Move, written
from bridge.outbound import Outbound
from bridge.ports import Window
from bridge.runtime import Clock

CALL_SECONDS = 40.0
ASK_AGAIN_SECONDS = 0.5
PURSE = 10**11
"""Minor units that every player brings: more than all transfers together."""

MOST_RECALLS = 6
"""So often a player is called home: what a leftover fault keeps away from one recall comes with the next, and who is
in a game leaves it meanwhile."""

OLD = "2000-01-01T00:00:0{number}Z"
"""Times that make a callback another one and decide nothing (docs/provider-contract.md, §1)."""


class Refused(RuntimeError):
    """An interface answered what a demo cannot go on with; the text is one sentence."""


@dataclass
class Tally:
    """How far everybody has come; the threads write, the display reads. `sweeps`: transfer → state in which a
    recall left it; `home`: whose recall found nothing left to move."""

    lock: Lock = field(default_factory=Lock)
    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    sweeps: dict[str, str] = field(default_factory=dict)
    home: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """One more transfer has been asked for."""
        with self.lock:
            self.begun += 1

    def end(self, state: str) -> None:
        """One more transfer has come to its end."""
        with self.lock:
            self.ended[state] += 1

    def note(self, sentence: str) -> None:
        """Something went as it should not."""
        with self.lock:
            self.trouble.append(sentence)


class Casino:
    """The operator's platform: speaks the API with a key, and plays through the simulators' control ports, which
    are given by the provider's name."""

    def __init__(self, address: str, secret: str, controls: Mapping[str, str], clock: Clock) -> None:
        self._api = Outbound(address, clock=clock, pool=64)
        self._controls = {name: Outbound(control, clock=clock, pool=64) for name, control in controls.items()}
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._clock = clock
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
            if gambler.recalled:
                self._call_home(gambler)
        except Refused as sentence:
            self.tally.note(str(sentence))

    def _enter(self, gambler: Gambler) -> None:
        name, currency = gambler.name, gambler.currency
        self._ask("PUT", f"/v1/players/{name}", {"currencies": [currency]})
        purse = {"amount": written(PURSE, currency), "currency": currency}
        self._ask("POST", f"/v1/players/{name}/deposits", purse, f"purse-{name}")

    def _move(self, gambler: Gambler, move: Move) -> None:
        if move.play:
            bet = {"player": gambler.name, "currency": gambler.currency}
            self._tell(move, "/play", {**bet, "amount": written(move.play, gambler.currency)}, HTTPStatus.CONFLICT)
        if move.fault is not None:
            self._announce(gambler, move, move.fault)
        wish = {
            "player_id": gambler.name,
            "provider": move.provider,
            "direction": move.direction,
            "amount": "max" if move.everything else written(move.amount, gambler.currency),
            "currency": gambler.currency,
        }
        self.tally.begin()
        transfer = self._ask("POST", "/v1/transfers", wish, f"move-{move.number}")
        transfer = self._until(transfer, lambda state: state != "pending")
        if move.fault is not None:
            transfer = self._see_through(move, move.fault, transfer)
        self.tally.end(transfer["state"])

    def _announce(self, gambler: Gambler, move: Move, kind: Kind) -> None:
        """Script the faults that the player's next transfer is to meet."""
        if kind.on:
            fault = {"case": kind.case, "on": kind.on, "player": gambler.name, "times": kind.times}
            self._tell(move, "/faults", {**fault, "params": dict(kind.params)})
        if kind.callback is not None:
            fault = {"case": 53, "on": "callback", "player": gambler.name, "params": dict(kind.callback)}
            self._tell(move, "/faults", fault)

    def _see_through(self, move: Move, kind: Kind, transfer: Any) -> Any:
        """What is still to come after the first end: what the provider does unasked, where that leads, and money
        that it moves late."""
        if kind.act and transfer["state"] == "confirmed":
            reference = [leg["reference"] for leg in transfer["legs"] if leg["holder"] == move.provider][-1]
            if kind.act == TAKE_BACK:
                self._tell(move, "/act", {"act": TAKE_BACK, "id": reference})
            if kind.act == ANOTHER_BODY:
                self._tell_otherwise(move, reference)
        if kind.becomes:
            transfer = self._until(transfer, lambda state: state == kind.becomes)
            if transfer["state"] != kind.becomes:
                self.tally.note(f"{transfer['id']} is {transfer['state']}, not {kind.becomes}: {kind.title}")
        if kind.lasts:
            self._clock.sleep(kind.lasts)
        return transfer

    def _tell_otherwise(self, move: Move, reference: str) -> None:
        """Send the callback's id with two other bodies: whichever of the three came first (the true one has a moment
        for that), the bridge took that one and refuses the others."""
        self._clock.sleep(ASK_AGAIN_SECONDS)
        bodies = [{"reference": reference, "changes": {"time": OLD.format(number=each)}} for each in (1, 2)]
        statuses = [status for body in bodies for status in self._tell(move, "/callback", body)["statuses"]]
        if HTTPStatus.CONFLICT not in statuses:
            self.tally.note(f"a callback with another body was answered {statuses}")

    def _call_home(self, gambler: Gambler) -> None:
        """Recall the player until there is nothing left to move."""
        for number in range(MOST_RECALLS):
            sweeps = self._recall(gambler, f"recall-{gambler.name}-{number}")
            with self.tally.lock:
                self.tally.sweeps |= {each["transfer"]["id"]: each["transfer"]["state"] for each in sweeps}
            if all(each["transfer"]["state"] == "confirmed" for each in sweeps):
                with self.tally.lock:
                    self.tally.home.append(gambler.name)
                return
            self._clock.sleep(ASK_AGAIN_SECONDS)

    def _recall(self, gambler: Gambler, key: str) -> list[Any]:
        """The sweeps of one recall that began a transfer, once all have ended."""
        while True:
            sweeps = self._ask("POST", f"/v1/players/{gambler.name}/recall", {}, key)["sweeps"]
            begun = [each for each in sweeps if each["found"] == "swept"]
            unread = any(each["found"] == "unread" for each in sweeps)
            if not unread and all(each["transfer"]["state"] != "pending" for each in begun):
                return begun
            if self.over.is_set():
                raise Refused(f"the recall of {gambler.name} has not ended")
            self._clock.sleep(ASK_AGAIN_SECONDS)

    def _until(self, transfer: Any, done: Callable[[str], bool]) -> Any:
        """Ask for a transfer until its state is right, or everything is over."""
        while not done(transfer["state"]) and not self.over.is_set():
            self._clock.sleep(ASK_AGAIN_SECONDS)
            transfer = self._ask("GET", f"/v1/transfers/{transfer['id']}", None)
        return transfer

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

    def _tell(self, move: Move, path: str, body: Mapping[str, Any], refusable: int | None = None) -> Any:
        """One request to the control port of the move's provider; it may be refused with one status: a loss that the
        player cannot pay."""
        control = self._controls[move.provider]
        answer = control.send("POST", path, window=self._window(), headers={}, json=json.dumps(body))
        done = answer.status is not None and answer.status < HTTPStatus.BAD_REQUEST
        if not done and answer.status != refusable:
            said = answer.body.decode(errors="replace")
            raise Refused(f"{move.provider}'s simulator answered {path} with {answer.status}: {said}")
        return json.loads(answer.body)

    def _window(self) -> Window:
        end = self._clock.monotonic() + CALL_SECONDS
        return Window(not_after=end, deadline=end)
