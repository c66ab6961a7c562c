"""Shared set-up of the tests of the heart: a runtime with short times, the simulator as a child process, an
operator with a player who has money, a clock that tests turn, and an audit of the books.

The audit is written from design §7 with code of its own: it asks nothing of the ledger that it judges.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from bridge import cashier, clocks, db, keys, ledger, players, stroke
from bridge.app import compose
from bridge.config import Config, GenericSection, QTechSection
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.sections import AlertsSection, DatabaseSection, DeskSection, EngineSection, EventsSection
from bridge.transfers import resolve
from bridge.transfers.begin import Begun, Wish, begin
from bridge.transfers.core.facts import Transfer
from bridge.transfers.drive import drive
from bridge.transfers.rows import load

ROOT = Path(__file__).resolve().parents[1]
OPERATOR, PROVIDER, PLAYER, EUR = "op", "sim", "ann", "EUR"

SHORT_TIMES: dict[str, Any] = {
    "expiry_seconds": 3,
    "expiry_margin_seconds": 0.2,
    "complete_reserve_seconds": 0.5,
    "prepare_seconds": 2,
    "complete_seconds": 2,
    "lookup_seconds": 2,
    "patience_seconds": 8,
    "lane_policy": "allow",
    "breaker_least": 10_000,
}
"""A provider whose prepared transfers die after three seconds, and an operator in as much of a hurry; a machine that
stands still for a second is no fault."""

UNHURRIED: dict[str, Any] = {"lane_policy": "allow", "breaker_least": 10_000}
"""What every bench has: transfers side by side, and a breaker that stays out of the way."""

SECRET = "whsec_cmVxdWVzdHM6IGJyaWRnZSB0byBwcm92aWRlciAwMDE="
"""Of the requests to a provider of the generic contract, as in docs/provider-contract.md §6."""

EVENTS: dict[str, Any] = {"secret": "for tests alone, and long enough", "allowed_networks": ("127.0.0.0/8",)}
"""Events may be sent to servers of the test."""

ENGINE_TIMES: dict[str, Any] = {"lease_slack_seconds": 1.5, "poll_seconds": (0, 0.2, 0.3, 0.5, 1)}


class Hands:
    """A clock that only tests move. Wall and monotonic time move together unless the wall is set."""

    def __init__(self, at: int = 1_800_000_000 * SECOND) -> None:
        self.wall, self.mono = at, 1000.0
        self.right = at  # what the clock of the database shows

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def sleep(self, seconds: float) -> None:
        self.turn(seconds)

    def turn(self, seconds: float) -> None:
        """Time passes."""
        self.wall += round(seconds * SECOND)
        self.right += round(seconds * SECOND)
        self.mono += seconds

    def set_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock by so many seconds; monotonic time knows nothing of it."""
        self.wall += round(seconds * SECOND)

    def set_both(self, seconds: float) -> None:
        """The same, of a machine on which the database runs too."""
        self.set_wall(seconds)
        self.right = self.wall


def in_its_time(runtime: Runtime, right: Callable[[], int]) -> Runtime:
    """The same, with a database whose own clock is turned as well."""

    @event.listens_for(runtime.engine, "before_cursor_execute", retval=True)
    def asked(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> tuple[str, Any]:
        return (f"SELECT {right()}" if statement in clocks.DATABASE_CLOCK.values() else statement), values

    return runtime


@dataclass
class Bench:
    """One bridge process on one database, with its operator and a player with money."""

    runtime: Runtime
    operator: int
    made: int = field(default=0)

    def wish(self, direction: str = "in", amount: str = "10.00", player: str = PLAYER) -> Wish:
        return Wish(player, PROVIDER, direction, amount, EUR)

    def begin(self, direction: str = "in", amount: str = "10.00", *, player: str = PLAYER, **options: Any) -> Begun:
        """Begin under a key of its own, unless `key` names one."""
        self.made += 1
        key = options.pop("key", f"key-{self.made}")
        return begin(self.runtime, self.operator, key, self.wish(direction, amount, player), **options)

    def run(self, direction: str = "in", amount: str = "10.00", *, player: str = PLAYER, **options: Any) -> str:
        """Begin and drive as the API does, asking for `ask` seconds at most; the transfer's id."""
        ask = options.pop("ask", 0.0)
        begun = self.begin(direction, amount, player=player, **options)
        assert begun.outcome is not None, begun
        assert begun.transfer_id is not None
        drive(self.runtime, begun.outcome, ask_until=self.runtime.clock.monotonic() + ask)
        return begun.transfer_id

    def get(self, transfer_id: str) -> Transfer:
        with db.reading(self.runtime.engine) as connection:
            found = load(connection, transfer_id)
        assert found is not None
        return found

    def row(self, transfer_id: str) -> Mapping[str, Any]:
        return self.rows("SELECT * FROM transfer WHERE id = :id", id=transfer_id)[0]

    def rows(self, query: str, **values: Any) -> Sequence[Mapping[str, Any]]:
        with db.reading(self.runtime.engine) as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def resolve_due(self, limit: int = 50) -> int:
        """One pass of the resolver; how many transfers were due."""
        claims = resolve.claim_due(self.runtime, limit)
        for claim in claims:
            resolve.resolve(self.runtime, claim)
        return len(claims)

    def resolve_until_still(self, seconds: float = 12, *, states: tuple[str, ...] = ("pending",)) -> None:
        """Resolve in real time until no transfer is in one of `states`."""
        end = time.monotonic() + seconds
        while any(row["state"] in states for row in self.rows("SELECT state FROM transfer")):
            self.resolve_due()
            assert time.monotonic() < end, self.rows("SELECT id, state, wake_at FROM transfer")
            time.sleep(0.05)

    def wallet(self, player: str = PLAYER) -> int:
        return self.account(ledger.wallet(player))

    def game(self, player: str = PLAYER) -> int:
        return self.account(ledger.game(PROVIDER, player))

    def account(self, name: str) -> int:
        with db.reading(self.runtime.engine) as connection:
            return ledger.balance(connection, self.operator, name, EUR)

    def player(self, name: str, money: str = "100.00") -> str:
        """A new player with money in the wallet."""
        players.register(self.runtime, self.operator, name, [EUR])
        self.deposit(name, money)
        return name

    def deposit(self, player: str, amount: str) -> None:
        self.cash("deposit", player, amount)

    def cash(self, kind: str, player: str, amount: str) -> Any:
        self.made += 1
        wish = cashier.CashWish(player, amount, EUR)
        return cashier.move(self.runtime, self.operator, kind, f"cash-{self.made}", wish)[1]

    def another(self, **changes: Any) -> Bench:
        """A second worker on the same database: another name, its own engine and adapters."""
        other = composed(self.runtime.config, self.runtime.clock)
        return Bench(replace(other, worker=f"other-{id(other)}", **changes), self.operator, made=10_000 + self.made)

    def audit(self) -> None:
        """Every invariant of money that SQL can see; fails with all that is wrong."""
        wrong = audit(self.runtime)
        assert not wrong, "\n".join(wrong)


def configured(url: str, base_url: str = "http://127.0.0.1:9", *, protocol: str = "qtech", **settings: Any) -> Config:
    """A configuration with one provider; `engine_…` settings go to the engine, `events_…` to events, `desk_…` to the
    desk, `alerts_…` to alerts, the rest to the provider."""
    engine = {**ENGINE_TIMES, **_taken(settings, "engine_")}
    told, people = {**EVENTS, **_taken(settings, "events_")}, _taken(settings, "desk_")
    alerts = _taken(settings, "alerts_")
    whose: dict[str, Any] = {"operator": OPERATOR, "base_url": base_url, "currencies": (EUR,)}
    section: QTechSection | GenericSection
    if protocol == "generic":
        section = GenericSection(protocol="generic", request_secret=SECRET, **{**whose, **UNHURRIED, **settings})
    else:
        login = {"username": "demo", "password": "demo"}
        section = QTechSection(protocol="qtech", **{**whose, **login, **SHORT_TIMES, **settings})
    return Config(
        database=DatabaseSection(url=url, busy_seconds=30),
        engine=EngineSection(**engine),
        events=EventsSection(**told),
        desk=DeskSection(**people),
        alerts=AlertsSection(**alerts),
        providers={PROVIDER: section},
    )


def _taken(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The settings with this prefix, without it; they are taken out."""
    return {name.removeprefix(prefix): settings.pop(name) for name in list(settings) if name.startswith(prefix)}


@contextmanager
def bench(
    url: str, base_url: str = "http://127.0.0.1:9", *, clock: Any = None, provider: Any = None, **settings: Any
) -> Iterator[Bench]:
    """A bridge on the migrated database at `url`; `provider` stands in for the adapter where a test scripts it."""
    runtime = composed(configured(url, base_url, **settings), clock)
    if provider is not None:
        runtime = replace(runtime, providers={PROVIDER: provider})
    operator = keys.add_operator(runtime, OPERATOR)
    made = Bench(runtime, operator)
    made.player(PLAYER, "1000.00")
    try:
        yield made
    finally:
        runtime.engine.dispose()


def composed(config: Config, clock: Any) -> Runtime:
    """A bridge with this clock; the database's goes with it where tests turn it."""
    runtime = compose(config, clock)
    return in_its_time(runtime, lambda: clock.right) if isinstance(clock, Hands) else runtime


def together(workers: int, work: Callable[[int], Any]) -> list[Any]:
    """`work(n)` in so many threads that start at the same instant; results, or the exceptions raised."""
    gate, results = threading.Barrier(workers), [None] * workers

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = work(number)
        except Exception as raised:  # noqa: BLE001 - the test looks at it
            results[number] = raised  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    return results


@contextmanager
def strokes_seen(before: Callable[[str], None]) -> Iterator[None]:
    """Strokes go past SQLAlchemy and its events: `before` is told the text of each before it is struck, and may raise
    instead."""
    strike = stroke.Stroke.strike

    def seen(self: stroke.Stroke, line: Any, values: Any) -> Any:
        before(self.text)
        return strike(self, line, values)

    # Strokes are made at the first use and kept: what all of them do is changed for a while.
    stroke.Stroke.strike = seen  # type: ignore[method-assign]
    try:
        yield
    finally:
        stroke.Stroke.strike = strike  # type: ignore[method-assign]


# --- the simulator ------------------------------------------------------------------------------------


class Simulator:
    """The provider that lies: a child process with its own ledger file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.file = folder / "provider.ledger"
        command = [sys.executable, "-m", "bridge.simulator", "--ledger", str(self.file), "--expiry", "3", *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.address: str = ready["address"]
        self._control: str = ready["control"].removeprefix("http://")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def control(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(self._control, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, content
            return json.loads(content) if content else None
        finally:
            connection.close()

    def script(self, case: int, **fault: Any) -> None:
        self.control("POST", "/faults", {"case": case, **fault})

    def play(self, player: str, amount: str) -> None:
        self.control("POST", "/play", {"player": player, "currency": EUR, "amount": amount})

    def lines(self, suffix: str = "") -> list[dict[str, Any]]:
        path = self.file.with_name(self.file.name + suffix)
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def owns(self, player: str) -> int:
        """What a player has by transfers, in cents, by the ledger file alone."""
        total = 0
        for line in self.lines():
            if line["kind"] == "completed" and line["player"] == player:
                total += cents(line["amount"]) * (1 if line["type"] == "CREDIT" else -1)
        return total

    def effects(self, reference: str | None) -> int:
        """How often a reference really moved money."""
        return sum(1 for line in self.lines() if line["kind"] == "completed" and line["reference"] == reference)

    def wire(self, player: str, *operations: str) -> list[dict[str, Any]]:
        """The requests that reached the provider for a player, looked up by its transfers' ids."""
        mine = {line["id"] for line in self.lines() if line.get("player") == player and "id" in line}
        return [
            line
            for line in self.lines(".wire")
            if (line.get("player") == player or line.get("id") in mine) and line["operation"] in operations
        ]


@contextmanager
def simulator(folder: Path, *options: str) -> Iterator[Simulator]:
    """A simulator with its books in `folder`, ended with the block."""
    started = Simulator(folder, *options)
    try:
        yield started
    finally:
        started.stop()


def cents(amount: str) -> int:
    """A decimal amount of the ledger file in cents, exactly."""
    exact = Decimal(amount) * 100
    assert exact == int(exact), amount
    return int(exact)


# --- the audit ----------------------------------------------------------------------------------------


def audit(runtime: Runtime) -> list[str]:
    """What is wrong with the books, in sentences; empty when I-01 to I-06 and I-17 hold."""
    with db.reading(runtime.engine) as connection:
        tables = {
            name: [dict(row) for row in connection.execute(text(f"SELECT * FROM {name}")).mappings()]
            for name in ("posting", "account", "transfer", "leg", "orphan_case")
        }
    postings = sorted(tables["posting"], key=lambda row: row["id"])
    legs: dict[str, list[Any]] = defaultdict(list)
    for leg in sorted(tables["leg"], key=lambda row: row["ordinal"]):
        legs[leg["transfer_id"]].append(leg)
    wrong = _accounts_wrong(postings, tables["account"])
    for transfer in tables["transfer"]:
        mine = [row for row in postings if row["transfer_id"] == transfer["id"]]
        wrong += _transfer_wrong(transfer, legs[transfer["id"]], mine)
        cases = [row for row in tables["orphan_case"] if row["transfer_id"] == transfer["id"]]
        if transfer["state"] == "orphaned" and not any(row["state"] != "closed" for row in cases):
            wrong.append(f"I-17 {transfer['id']} is orphaned without an open case")
    return wrong


def _accounts_wrong(postings: list[Any], accounts: list[Any]) -> list[str]:
    """I-01, I-05, I-06: cached balances against the fold of the postings, and the count of versions."""
    derived: dict[Any, int] = defaultdict(int)
    versions: dict[Any, list[int]] = defaultdict(list)
    wrong = []
    for row in postings:
        for side, sign in (("debit", -1), ("credit", 1)):
            account = (row["operator_id"], row[side], row["currency"])
            derived[account] += sign * row["amount"]
            if row[f"{side}_version"] is not None:
                versions[account].append(row[f"{side}_version"])
            if account[1].startswith("wallet:") and derived[account] < 0:
                wrong.append(f"I-05 {account} was {derived[account]} after posting {row['id']}")
    cached = {(row["operator_id"], row["account"], row["currency"]): row for row in accounts}
    for account, row in cached.items():
        if row["balance"] != derived[account]:
            wrong.append(f"I-06 {account} is cached as {row['balance']}, its postings say {derived[account]}")
        if sorted(versions[account]) != list(range(1, row["version"] + 1)):
            wrong.append(f"I-06 {account} has version {row['version']} and postings {sorted(versions[account])}")
    wrong += [
        f"I-06 {account} has postings and no cached balance"
        for account in derived
        if account[1].startswith(("wallet:", "game:")) and account not in cached
    ]
    for operator, currency in {(o, c) for o, _, c in derived}:
        shared = sum(
            v for (o, a, c), v in derived.items() if (o, c) == (operator, currency) and (o, a, c) not in cached
        )
        kept = sum(row["balance"] for (o, _, c), row in cached.items() if (o, c) == (operator, currency))
        if shared + kept:
            wrong.append(f"I-01 operator {operator} {currency}: balances sum to {shared + kept}")
    return wrong


def _transfer_wrong(transfer: Any, legs: list[Any], postings: list[Any]) -> list[str]:
    """I-02, I-03, I-04, I-09, I-17 of one transfer."""
    posted: dict[str, int] = defaultdict(int)
    wrong = []
    for row in postings:
        posted[row["debit"]] -= row["amount"]
        posted[row["credit"]] += row["amount"]
        if (row["currency"], row["player_id"]) != (transfer["currency"], transfer["player_id"]):
            wrong.append(f"I-09 posting {row['id']} is not in the currency of its transfer")
    here, there = f"wallet:{transfer['player_id']}", f"game:{transfer['provider']}:{transfer['player_id']}"
    source, target = (here, there) if transfer["direction"] == "in" else (there, here)
    columns = (source, "transit", f"custody:{transfer['provider']}", target, f"house:{transfer['provider']}")
    expected = dict(zip(columns, sums_allowed(transfer, legs), strict=True))
    if any(posted[account] != expected.get(account, 0) for account in {*posted, *columns}):
        wrong.append(
            f"I-03 {transfer['id']} {transfer['direction']} {transfer['state']} posted {dict(posted)}, not {expected}"
        )
    if posted[here] != wallet_net(legs):
        wrong.append(f"I-03 {transfer['id']} posted {posted[here]} to the wallet, its legs say {wallet_net(legs)}")
    wrong += _legs_wrong(transfer, legs)
    if posted["transit"] and transfer["state"] != "pending":
        wrong.append(f"I-04 {transfer['id']} is {transfer['state']} with {posted['transit']} in transit")
    if posted[target] > -posted[source] - posted[columns[-1]]:
        wrong.append(f"I-02 {transfer['id']} credits more than it debits")
    if transfer["state"] in ("pending", "orphaned") and transfer["wake_at"] is None:
        wrong.append(f"I-17 {transfer['id']} is {transfer['state']} and nobody will look at it")
    return wrong


def wallet_net(legs: list[Any]) -> int:
    """What the applied legs at the wallet have done to it, in minor units."""
    done = [leg for leg in legs if leg["holder"] == "wallet" and leg["state"] == "applied"]
    return sum(leg["amount"] if leg["side"] == "credit" else -leg["amount"] for leg in done)


def sums_allowed(transfer: Any, legs: list[Any]) -> tuple[int, ...]:
    """What design §7 lets a transfer have posted to source, transit, custody, destination and house, in minor
    units, by its state and its legs."""
    whole, inward = transfer["amount"], transfer["direction"] == "in"
    wallet = next(leg for leg in legs if leg["holder"] == "wallet" and leg["undoes"] is None)
    tries = [leg for leg in legs if leg["holder"] != "wallet" and leg["undoes"] is None]
    match transfer["state"]:
        case "reversed":
            return (0, 0, 0, 0, 0)
        case "pending":
            moved = (wallet if inward else tries[-1])["state"] == "applied"
            return (-whole, whole, 0, 0, 0) if moved else (0, 0, 0, 0, 0)
        case "confirmed":
            arrived = whole if transfer["arrived"] is None else transfer["arrived"]
            lost = transfer["written_off"] or 0
            return (lost - arrived, 0, 0, arrived, -lost)
    # Becoming orphaned never touches a wallet: what it was given (back) by then, the house bears; the rest is nobody's.
    given = wallet_net(legs) + (whole if inward else 0)
    return (given - whole, 0, whole - given, given, -given)


def _legs_wrong(transfer: Any, legs: list[Any]) -> list[str]:
    """What the legs of one transfer cannot be, whatever was posted (design §4, §6)."""
    state, arrived = transfer["state"], transfer["arrived"]
    outside = [leg for leg in legs if leg["holder"] != "wallet"]
    tries = [leg for leg in outside if leg["undoes"] is None]
    taken_back = any(leg["undoes"] is not None and leg["state"] == "applied" for leg in outside)
    wrong = []
    if len(tries) > 3 or (len(tries) > 1 and not transfer["sweep"]):
        wrong.append(f"{len(tries)} tries")
    people = transfer["reason_code"] == "decided"  # who may have weighed what no rule can
    happened = [leg["amount"] for leg in tries if leg["state"] != "refused"]
    if state != "orphaned" and not people and any(leg["state"] != "refused" for leg in tries[:-1]):
        wrong.append("another try beside one that was not refused")
    if state != "orphaned" and people and sum(happened) > transfer["amount"]:
        wrong.append(f"tries of {happened}, decided about as {transfer['amount']}")
    in_part = people and arrived is not None
    if taken_back and not in_part and state == ("confirmed" if transfer["direction"] == "in" else "reversed"):
        wrong.append("taken out of the game, and ended as if it had stayed there")
    if state != "confirmed" and (arrived is not None or transfer["written_off"]):
        wrong.append(f"an end in part ({arrived}, {transfer['written_off']}) that is none")
    if arrived is not None and not 0 < arrived < transfer["amount"]:
        wrong.append(f"{arrived} of {transfer['amount']} arrived")
    if state == "reversed" and wallet_net(legs):
        wrong.append(f"the wallet's legs make {wallet_net(legs)}")
    if len({leg["reference"] for leg in outside}) < len(outside):
        wrong.append("one reference for two legs")
    return [f"I-02 {transfer['id']} {state}: {what}" for what in wrong]
