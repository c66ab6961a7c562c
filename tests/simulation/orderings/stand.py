"""What the searched bridge stands on: a real database in memory, a clock and ids that are part of a state, and a
provider's port that says what the search has chosen.

The transactions of the bridge are savepoints inside one transaction that never ends: so the database can be brought
back to its beginning in microseconds, with every trigger and constraint of the real schema in place.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from bridge import cashier, keys, lineage, players
from bridge.app import compose
from bridge.config import Config, GenericSection, QTechSection
from bridge.db import migrate
from bridge.evidence import Reply, Step
from bridge.ports import SECOND, Descriptor, Effect, Window
from bridge.runtime import Runtime
from bridge.sections import DatabaseSection, EngineSection
from bridge.transfers.begin import Wish
from tests.harness import in_its_time

OPERATOR, PROVIDER, PLAYER, EUR = "op", "sim", "ann", "EUR"
DEPOSIT, AMOUNT = "1000.00", 1000
"""What the wallet holds at the beginning, and what a transfer moves, in minor units."""

BEGINS = 1_800_000_000 * SECOND
"""The instant of every beginning, microseconds; the monotonic clock stands at MONOTONIC then."""
MONOTONIC = 1000.0

REQUEST_SECRET = "whsec_cmVxdWVzdHM6IGJyaWRnZSB0byBwcm92aWRlciAwMDE="
CALLBACK_SECRET = "whsec_Y2FsbGJhY2tzOiBwcm92aWRlciB0byBicmlkZ2UgMDE="
PEER = "203.0.113.7"
TRANSFER_ID = f"tr_{'0' * 31}1"


class NestedTransactions(sqlite3.Connection):
    """A connection whose transactions are savepoints inside one that stays open."""

    _working = False

    def begin_work(self) -> None:
        """The bridge's BEGIN."""
        self.execute("SAVEPOINT work")
        self._working = True

    def commit(self) -> None:
        """The bridge's COMMIT."""
        if self._working:
            self._working = False
            self.execute("RELEASE work")

    def rollback(self) -> None:
        """The bridge's ROLLBACK."""
        if self._working:
            self._working = False
            self.execute("ROLLBACK TO work")
            self.execute("RELEASE work")


class Hands:
    """A clock that only the search moves; wall and monotonic time go together."""

    def __init__(self) -> None:
        self.wall = BEGINS

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return MONOTONIC + (self.wall - BEGINS) / SECOND

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"the transfer service slept for {seconds} s")


def wall_of(monotonic: float) -> int:
    """The instant at which the monotonic clock shows this."""
    return BEGINS + round((monotonic - MONOTONIC) * SECOND)


def monotonic_of(wall: int) -> float:
    """What the monotonic clock shows at an instant."""
    return MONOTONIC + (wall - BEGINS) / SECOND


class FixedIds:
    """There is one transfer, and so one of each id; a second transfer would be number 2."""

    def __init__(self) -> None:
        self.number = 1

    def new(self, prefix: str) -> str:
        return f"{prefix}_{self.number:032d}"

    def secret(self) -> str:
        return "secret"


class Mouthpiece:
    """A provider's port: the descriptor and the reading of callbacks are the real adapter's, the answer to a request
    is the one that was laid into `says`, and it is `answered_at` (microseconds) when the worker has it."""

    def __init__(self, adapter: Any, clock: Hands) -> None:
        self.name: str = adapter.name
        self.descriptor: Descriptor = adapter.descriptor
        self.refuses, self.heard = adapter.refuses, adapter.heard
        self.says: Reply | None = None
        self.answered_at = 0
        self._clock = clock

    def money(self, step: Step, effect: Effect, window: Window) -> Reply:  # noqa: ARG002 - the port
        """The answer to a money request."""
        return self._answer()

    def look_up(self, effect: Effect, window: Window) -> Reply:  # noqa: ARG002 - the port
        """The answer to a question."""
        return self._answer()

    def _answer(self) -> Reply:
        assert self.says is not None
        self._clock.wall = self.answered_at
        return self.says


@dataclass(frozen=True)
class Stand:
    """One bridge on one database in memory."""

    connection: NestedTransactions
    clock: Hands
    ids: FixedIds
    port: Mouthpiece
    runtime: Runtime
    operator: int
    wish: Wish


def configuration(protocol: str) -> Config:
    """The defaults of the product, before one provider that speaks `protocol`."""
    whose: dict[str, Any] = {"operator": OPERATOR, "base_url": "http://127.0.0.1:9", "currencies": (EUR,)}
    whose |= {"breaker_least": 10_000}  # the breaker counts over many transfers; here is one
    section: QTechSection | GenericSection
    if protocol == "generic":
        section = GenericSection(
            protocol="generic",
            request_secret=REQUEST_SECRET,
            callback_secrets=(CALLBACK_SECRET,),
            callback_networks=(f"{PEER}/32",),
            **whose,
        )
    else:
        section = QTechSection(protocol="qtech", username="bridge", password="a password", **whose)
    database = DatabaseSection(url="sqlite:////never/opened.db")  # the engine is another one, in memory
    return Config(database=database, engine=EngineSection(), providers={PROVIDER: section})


def schema() -> bytes:
    """A migrated, empty SQLite database as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bridge.db")
        migrate(f"sqlite:///{file}")
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA journal_mode=DELETE")
        content = connection.serialize()
        connection.close()
    return content


def _engine(connection: NestedTransactions) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)

    @event.listens_for(engine, "begin")
    def _begin(_begun: object) -> None:
        connection.begin_work()

    return engine


@contextmanager
def stand(protocol: str, direction: str, database: bytes) -> Iterator[Stand]:
    """A bridge with an operator and a player with money; everything after this is undone at each step."""
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=NestedTransactions, cached_statements=512)
    connection.deserialize(database)
    for pragma in ("foreign_keys=ON", "recursive_triggers=ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    clock, ids = Hands(), FixedIds()
    composed = compose(configuration(protocol), clock)
    composed.engine.dispose()
    told, looks = structlog.get_config(), lineage.check
    lineage.check = lambda _runtime: False  # what happened is undone here at each step, as by a restore, and is none
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False)
    port = Mouthpiece(composed.providers[PROVIDER], clock)
    runtime = replace(composed, engine=_engine(connection), providers={PROVIDER: port}, ids=ids, worker="w")
    runtime = in_its_time(runtime, clock.now)
    operator = keys.add_operator(runtime, OPERATOR)
    players.register(runtime, operator, PLAYER, [EUR])
    cashier.move(runtime, operator, "deposit", "cash", cashier.CashWish(PLAYER, DEPOSIT, EUR))
    connection.execute("SAVEPOINT beginning")
    wish = Wish(PLAYER, PROVIDER, direction, f"{AMOUNT // 100}.{AMOUNT % 100:02d}", EUR)
    try:
        yield Stand(connection, clock, ids, port, runtime, operator, wish)
    finally:
        lineage.check = looks
        structlog.configure(**told)
        connection.close()
