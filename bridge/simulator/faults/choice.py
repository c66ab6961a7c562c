"""Which request meets which fault: by script, then by rate and seed; alike in every run of one seed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from bridge.simulator.faults.cases import ACCEPT, CALLBACK, FAULT, Table
from bridge.simulator.messages import MICROS
from bridge.simulator.provider import Call

# what a script may say beyond the case's own defaults, and the JSON type of each
PARAMS: dict[str, tuple[type, ...]] = {
    "delay": (int, float),
    "settle": (int, float),
    "drip": (int, float),
    "part": (str,),
    "how": (str,),
    "variant": (str,),
    "body": (str,),
    "status": (int,),
    "commit": (bool,),
    "never": (bool,),
    "lose": (bool,),
    "amount": (str,),
    "retry_after": (int,),
    "megabytes": (int,),
}
WORDS = {"part": ("headers", "body", "both"), "how": ("reset", "close", "half", "hang")}
STATUSES = range(200, 600)
LONGEST_DELAY = 86_400  # seconds
MOMENTS = {ACCEPT: (2, 14, 40), CALLBACK: (53,)}  # what is no operation, and the cases that know it
AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,8})?")
FOR_EVER = 1_000_000_000.0  # seconds; some thirty years


class BadFault(ValueError):
    """A scripted fault, rate or weight is not one; the text is one sentence."""


@dataclass
class Script:
    """One scripted fault: strikes the next `times` requests that fit."""

    case: int
    on: tuple[str, ...]
    reference: str = ""
    player: str = ""
    times: int = 1
    params: dict[str, Any] = field(default_factory=dict)
    only: str = ""
    rows: bool = False

    def fits(self, call: Call) -> bool:
        """Whether the request is one that this fault is meant for."""
        asked = call.operation in self.on or ("any" in self.on and call.operation != CALLBACK)
        named = self.reference in ("", call.reference) and self.player in ("", call.player)
        return self.times > 0 and asked and (named or self.rows) and self.only in ("", call.type)

    def listed(self) -> dict[str, Any]:
        """The fault as it was asked for, with what is left of `times`."""
        named = {"reference": self.reference, "player": self.player}
        return {"case": self.case, "on": list(self.on), **named, "times": self.times, "params": self.params}


@dataclass
class Window:
    """The time in which a fault that has struck goes on: for a transfer, a player, or everybody ("").

    `until` None means that the `seconds` count from the first request that falls under it.
    """

    case: int
    on: tuple[str, ...]
    params: dict[str, Any]
    seconds: float
    until: int | None = None
    transfer_id: str = ""
    reference: str = ""
    player: str = ""
    only: str = ""

    def fits(self, call: Call) -> bool:
        """Whether the request falls under it, its time aside."""
        return (
            call.operation in self.on
            and self.transfer_id in ("", call.transfer_id)
            and self.reference in ("", call.reference)
            and self.player in ("", call.player)
            and self.only in ("", call.type)
        )


@dataclass
class Strike:
    """One fault for one request. `chance` is seeded, so that open choices come out alike in every run."""

    case: int
    params: dict[str, Any]
    chance: Random
    script: Script | None = None
    window: Window | None = None


def read_script(spec: object, table: Table) -> Script:
    """A fault as the control port or the script file gives it; raises BadFault."""
    if not isinstance(spec, dict) or set(spec) - {"case", "on", "reference", "player", "times", "params"}:
        raise BadFault("a fault is an object of case, on, reference, player, times, params")
    number, times, params = spec.get("case"), spec.get("times", 1), spec.get("params", {})
    case = table.by_number.get(number) if type(number) is int else None
    if case is None or case.kind != FAULT:
        raise BadFault(f"case {number!r} is not a fault that can be scripted")
    if type(times) is not int or times < 1:
        raise BadFault("times must be a whole number from 1")
    on = _read_on(spec.get("on", list(case.on)), case.number, table)
    names = [spec.get(name) or "" for name in ("reference", "player")]
    if not all(isinstance(name, str) for name in names):
        raise BadFault("reference and player must be strings")
    read = read_params(case.number, params, table)
    only = "" if read.get("variant") == "both" else case.only
    return Script(case.number, on, names[0], names[1], times, read, only, case.rows)


def _read_on(wanted: object, case: int, table: Table) -> tuple[str, ...]:
    more = tuple(name for name, cases in MOMENTS.items() if case in cases)
    allowed = more if more == (CALLBACK,) else (*table.operations, "any", *more)
    on = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(on, list) or not on or any(name not in allowed for name in on):
        raise BadFault(f"on must be among {', '.join(allowed)}")
    return tuple(on)


def read_params(number: int, params: object, table: Table) -> dict[str, Any]:
    """Check the parameters' names, types and words; raises BadFault."""
    if not isinstance(params, dict):
        raise BadFault("params must be an object")
    case = table.by_number[number]
    for name, value in params.items():
        if type(value) not in PARAMS.get(name, ()):
            raise BadFault(f"params.{name} is not known, or not of its type")
        words = {"variant": case.variants, "body": case.bodies, **WORDS}.get(name)
        if words is not None and value not in words:
            raise BadFault(f"params.{name} of case {number} must be one of: {', '.join(words) or 'nothing'}")
        if name == "amount" and not AMOUNT.fullmatch(value):
            raise BadFault("params.amount must be a decimal number in text")
        if isinstance(value, (int, float)) and not 0 <= value <= LONGEST_DELAY:
            raise BadFault(f"params.{name} must be from 0 to {LONGEST_DELAY}")
        if name == "status" and value not in STATUSES:
            raise BadFault("params.status must be an HTTP status from 200 to 599")
    return params


def read_weights(cases: object, table: Table) -> dict[int, int]:
    """`1:3,3:5,13` or {"1": 3} as weights by case number; nothing is every fault alike. Raises BadFault."""
    if cases in (None, "", {}):
        return {case.number: 1 for case in table.faults}
    items = cases.items() if isinstance(cases, Mapping) else _split(cases)
    weights: dict[int, int] = {}
    for number, weight in items:
        case = table.by_number.get(int(number)) if str(number).isdecimal() else None
        if case is None or case.kind != FAULT or not str(weight).isdecimal() or int(weight) < 1:
            raise BadFault(f"{number}:{weight} is not a fault's number and a weight from 1")
        weights[case.number] = int(weight)
    return weights


def _split(cases: object) -> list[tuple[str, str]]:
    if not isinstance(cases, str):
        raise BadFault("cases must be text such as 1:3,13 or an object")
    pairs = [item.strip().partition(":") for item in cases.split(",")]
    return [(number, weight if mark else "1") for number, mark, weight in pairs]


def read_rate(rate: object) -> Decimal:
    """A share from 0 to 1, exactly as it is written; raises BadFault."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float, str, Decimal)):
        raise BadFault("rate must be a number from 0 to 1")
    try:
        share = Decimal(str(rate))
    except ArithmeticError:
        raise BadFault("rate must be a number from 0 to 1") from None
    if not share.is_finite() or not 0 <= share <= 1:
        raise BadFault("rate must be a number from 0 to 1")
    return share


@dataclass(frozen=True)
class Plan:
    """What a transfer's reference is fated to meet."""

    case: int
    on: tuple[str, ...]


class Choice:
    """The three sources in their order: windows already open and scripts, then rate."""

    def __init__(self, table: Table, seed: int, clock: Callable[[], int]) -> None:
        self.table, self.seed, self._clock, self._lock = table, seed, clock, threading.Lock()
        self._scripts: list[Script] = []
        self._windows: list[Window] = []
        self._rate, self._weights = Decimal(0), read_weights(None, table)
        self._defaults: dict[int, dict[str, Any]] = {}

    def script(self, fault: Script) -> None:
        """Add one scripted fault behind those already there."""
        with self._lock:
            self._scripts.append(fault)

    def clear(self) -> None:
        """Forget every scripted fault and every window still open; the rate stays."""
        with self._lock:
            self._scripts.clear()
            self._windows.clear()

    def set_rate(self, rate: Decimal, weights: dict[int, int], defaults: dict[int, dict[str, Any]]) -> None:
        """From now on: this share of transfers, these weights, these params for cases that come by rate."""
        with self._lock:
            self._rate, self._weights, self._defaults = rate, weights, defaults

    def scripted(self) -> list[dict[str, Any]]:
        """The scripted faults that are still to come."""
        with self._lock:
            return [fault.listed() for fault in self._scripts if fault.times > 0]

    def open_window(self, window: Window) -> None:
        """Let a fault go on after its first strike."""
        with self._lock:
            self._windows.append(window)

    def at_accept(self) -> Strike | None:
        """A scripted fault for the next connection, before its first byte is read."""
        with self._lock:
            for fault in self._scripts:
                if fault.times > 0 and ACCEPT in fault.on:
                    fault.times -= 1
                    return Strike(fault.case, fault.params, Random(self.seed), fault)
        return None

    def take(self, call: Call, attempt: int, about: tuple[str, str]) -> Strike | None:
        """The fault for this request, if any; `about` is the (reference, type) that decides the rate."""
        with self._lock:
            chance = Random(f"{self.seed}/{about[0]}/{call.operation}/{attempt}")
            now = self._clock()
            self._windows = [window for window in self._windows if window.until is None or window.until > now]
            for window in self._windows:
                if window.fits(call):
                    if window.until is None:
                        window.until = now + int(window.seconds * MICROS)
                    return Strike(window.case, window.params, chance, window=window)
            for fault in self._scripts:
                if fault.fits(call):
                    fault.times -= 1
                    return Strike(fault.case, fault.params, chance, fault)
            plan = self._planned(*about)
            if plan is None or call.operation not in plan.on:
                return None
            most = self.table.by_number[plan.case].requests
            if most and attempt > most:
                return None
            return Strike(plan.case, self._defaults.get(plan.case, {}), chance)

    def give_back(self, strike: Strike) -> None:
        """The fault could not be shown on this request: a scripted one waits for the next."""
        with self._lock:
            if strike.script is not None:
                strike.script.times += 1

    def fated(self, reference: str, type_: str) -> int | None:
        """The case that the rate holds for this transfer: a function of seed and reference alone."""
        with self._lock:
            plan = self._planned(reference, type_)
            return plan.case if plan else None

    def _planned(self, reference: str, type_: str) -> Plan | None:
        if not reference or not self._rate:
            return None
        chance = Random(f"{self.seed}/{reference}")
        if chance.random() >= self._rate:
            return None
        cases = self.table.by_number
        fitting = {number: weight for number, weight in self._weights.items() if cases[number].only in ("", type_)}
        if not fitting:
            return None
        case = cases[chance.choices(list(fitting), list(fitting.values()))[0]]
        return Plan(case.number, (chance.choice(case.on),) if case.pick else case.on)
