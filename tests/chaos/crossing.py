"""Everybody at the same rows: transfers, sweeps, recalls, cancels, cash, callbacks, resolvers and people about the same
few players, through two web and two jobs processes (C-33). Nobody may meet a deadlock, nor an error of ours.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus

from bridge.errors import Declined, Invalid, Stale
from bridge.transfers.core.decisions import Kind
from tests.chaos.books import Record, unheard
from tests.chaos.client import ConnectionDied, Door, Reply
from tests.chaos.letters import tell
from tests.chaos.settings import CURRENCY, SIGNED, Contract
from tests.chaos.station import MAX, Station
from tests.deciding import Decision, decide

Say = Callable[[str], None]

CONTRACT = Contract(money=5, cap="1000000.00")
EXPIRIES = {"slow": 10.0}
PLAYERS, CLIENTS = 6, 8
SETTLE_SECONDS = 90.0
BUSY = ("exposure_cap", "balance_unknown")  # 503s that tell a client to come again
REFUSED_AT_THE_DOOR = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
TALE = "SELECT id FROM transfer WHERE state = :state AND provider = :provider ORDER BY updated_at DESC LIMIT 20"
OPEN = """SELECT (SELECT COUNT(*) FROM transfer WHERE state IN ('pending', 'orphaned')),
    (SELECT COUNT(*) FROM inbox_task WHERE wake_at IS NOT NULL)"""


@dataclass
class Crossing:
    """What was asked, and what went wrong."""

    answers: Counter[str] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    deadlocks: int = 0
    wrong: list[str] = field(default_factory=list)


class Client:
    """One client of the platform, with a generator of its own; what it asks for is decided by chance."""

    def __init__(self, number: int, doors: list[Door], players: list[str], found: Crossing) -> None:
        self._chance, self._number, self._asked = random.Random(number), number, 0
        self._doors, self._players, self._found = doors, players, found
        self._mine: list[str] = []

    def work(self, until: float) -> None:
        """One request after the other until that instant (monotonic seconds)."""
        asks = [self._transfer] * 12 + [self._cash] * 4 + [self._recall, self._cancel, self._refresh] * 2
        while time.monotonic() < until:
            self._asked += 1
            self._note(self._chance.choice(asks))

    def _note(self, ask: Callable[[], Reply]) -> None:
        try:
            reply = ask()
        except ConnectionDied as died:
            self._found.wrong.append(f"{ask.__name__}: {died}")
            return
        code = str(reply.body.get("code", ""))
        self._found.answers[f"{reply.status} {code}".strip()] += 1
        busy = reply.status == HTTPStatus.SERVICE_UNAVAILABLE and code in BUSY
        if reply.status >= HTTPStatus.BAD_REQUEST and reply.status not in REFUSED_AT_THE_DOOR and not busy:
            self._found.wrong.append(f"{ask.__name__} was answered {reply}")
        if reply.transfer_id is not None and reply.transfer_id.startswith("tr_"):
            self._mine = [*self._mine[-20:], reply.transfer_id]

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None, **headers: str) -> Reply:
        key = {"Idempotency_Key": f"crossing-{self._number}-{self._asked}"} if method == "POST" else {}
        return self._chance.choice(self._doors).ask(method, path, body, **key, **headers)

    def _transfer(self) -> Reply:
        direction, player = self._chance.choice(("in", "in", "out", "out", MAX)), self._chance.choice(self._players)
        amount = MAX if direction == MAX else f"{self._chance.randint(1, 9)}.{self._chance.randint(10, 99)}"
        body = {"player_id": player, "provider": self._chance.choice((SIGNED, "slow")), "currency": CURRENCY,
                "direction": "out" if direction == MAX else direction, "amount": amount}  # fmt: skip
        prefer = {"Prefer": "respond-async"} if self._chance.random() < 0.3 else {"Prefer": "wait=2"}
        return self._ask("POST", "/v1/transfers", body, **prefer)

    def _cash(self) -> Reply:
        kind, player = self._chance.choice(("deposits", "withdrawals")), self._chance.choice(self._players)
        return self._ask("POST", f"/v1/players/{player}/{kind}", {"amount": "3.00", "currency": CURRENCY})

    def _recall(self) -> Reply:
        return self._ask("POST", f"/v1/players/{self._chance.choice(self._players)}/recall", Prefer="wait=2")

    def _cancel(self) -> Reply:
        return (
            self._ask("POST", f"/v1/transfers/{self._chance.choice(self._mine)}/cancel") if self._mine else self._cash()
        )

    def _refresh(self) -> Reply:
        mine = self._chance.choice(self._mine) if self._mine else None
        return self._cash() if mine is None else self._ask("GET", f"/v1/transfers/{mine}?refresh=true")


class People:
    """A provider that contradicts itself, and people who decide about what becomes of that; it was executed."""

    def __init__(self, station: Station, door: Door, found: Crossing) -> None:
        self._station, self._door, self._found = station, door, found
        self._contradicted: set[str] = set()

    def work(self, until: float) -> None:
        """Contradict and decide until that instant."""
        while time.monotonic() < until:
            self.contradict()
            self.decide_all()
            time.sleep(0.1)

    def contradict(self) -> None:
        """One confirmed transfer more is said to be cancelled too, under the same count."""
        confirmed = (str(row[0]) for row in self._station.rows(TALE, state="confirmed", provider=SIGNED))
        fresh = next((each for each in confirmed if each not in self._contradicted), None)
        if fresh is None:
            return
        self._contradicted.add(fresh)
        tell(self._door, self._record(fresh), "cancelled", 1)

    def decide_all(self) -> None:
        """Two people decide about each orphan that there is now: it was executed."""
        for (transfer_id,) in self._station.rows(TALE, state="orphaned", provider=SIGNED):
            ((version,),) = self._station.rows("SELECT version FROM transfer WHERE id = :id", id=transfer_id)
            decision = Decision(Kind.CONFIRM, "mia", "carl", "the provider's list has it", version)
            try:
                decide(self._station.runtime, self._station.operator, str(transfer_id), decision)
                self._found.decided["carried out"] += 1
            except (Stale, Invalid, Declined) as refused:
                self._found.decided[type(refused).__name__] += 1

    def _record(self, transfer_id: str) -> Record:
        return next(record for record in self._station.ours().records if record.id == transfer_id)


def run(station: Station, seconds: float, say: Say) -> Crossing:
    """Load for so many seconds, then everything is brought to its end and judged."""
    found, players = Crossing(), [station.player() for _ in range(PLAYERS)]
    with ExitStack() as stack:
        doors = [Door(stack.enter_context(station.web()).address, station.secret) for _ in range(2)]
        for _ in range(2):
            stack.enter_context(station.jobs())
        station.simulators[SIGNED].order("/callbacks", url=f"http://{doors[0].address}/v1/providers/{SIGNED}/callbacks")
        people = People(station, doors[1], found)
        _load(doors, players, people, found, seconds)
        _settle(station, people, found)
        diary = station.simulators[SIGNED].diary("callbacks")
        sent = {line["id"] for line in diary}  # beside it, the people have told things in the provider's name
        found.wrong += unheard(diary, [each for each in station.heard() if each.message in sent])
    found.wrong += station.wrong() + _said_in_logs(station)
    if station.runtime.engine.dialect.name == "postgresql":
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        found.deadlocks = int(station.rows(counted)[0][0])
    found.states += Counter(record.state for record in station.ours().records)
    made = sum(found.states.values())
    say(f"{station.name}: {sum(found.answers.values())} requests in {seconds:.0f} s made {made} transfers, "
        f"{made / seconds:.0f} a second; {found.deadlocks} deadlocks, {len(found.wrong)} wrong")  # fmt: skip
    return found


def _load(doors: list[Door], players: list[str], people: People, found: Crossing, seconds: float) -> None:
    until = time.monotonic() + seconds
    clients = [Client(number, doors, players, found) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        decided = pool.submit(people.work, until)
        for done in [pool.submit(each.work, until) for each in clients]:
            done.result()
        decided.result()


def _settle(station: Station, people: People, found: Crossing) -> None:
    end = time.monotonic() + SETTLE_SECONDS
    while any(left := station.rows(OPEN)[0]) and time.monotonic() < end:
        people.decide_all()
        time.sleep(0.2)
    if any(left):
        found.wrong.append(f"{station.name}: open after {SETTLE_SECONDS:.0f} s: {left[0]} transfers, {left[1]} letters")


def _said_in_logs(station: Station) -> list[str]:
    """Errors of ours that no client has seen: one of each log."""
    wrong = []
    for log in sorted(station.folder.glob("*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"level":"error"' in line or "deadlock" in line.lower():
                wrong.append(f"{log.name}: {line[:600]}")
                break
    return wrong
