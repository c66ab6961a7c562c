"""The chains of seals: one for each operator, one for what belongs to none, and one for the runs.

A run says which places of which table were looked at, and lists the hash of every seal that it led to; so the head of
the chain of runs stands for everything. Nothing is ever changed; two who add at once are put in order by a lock, and
were they not, the same number twice is refused by the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, func, insert, select

from bridge import db, models
from bridge.audit.canon import FIRST, Bundle, Place, digest, place_text, written
from bridge.audit.sealed import FORMAT

_seal: Table = models.metadata.tables["seal"]
_mark: Table = models.metadata.tables["seal_mark"]

RUNS, NOBODYS = -1, 0
"""The chain of runs, and that of what belongs to no operator; every other chain is an operator's."""

TURN = {"source": "", "scope": 0}
"""The row that is held by whoever adds seals."""

Head = tuple[int, str]
"""The number of a chain's last seal, and its hash; (0, FIRST) of a chain that has none."""

NONE_YET: Head = (0, FIRST)
SealRow = Row[Any]


@dataclass(frozen=True)
class Run:
    """What is to be sealed together: rows of one table between two places, by chain. `late`: they were not there when
    these places were looked at."""

    source: str
    scope: int
    after: Place
    upto: Place
    bundles: Mapping[int, Bundle]
    late: bool = False

    @property
    def entries(self) -> int:
        """How many rows."""
        return sum(bundle.entries for bundle in self.bundles.values())


def name_of(chain: int) -> str:
    """A chain in words."""
    return {RUNS: "the runs", NOBODYS: "no operator"}.get(chain, f"operator {chain}")


def hash_of(seal: Any) -> str:
    """The hash of a seal, from everything else that stands in it."""
    return digest(written([
        seal.format, seal.chain, seal.number, seal.run, seal.source, seal.scope, bool(seal.late), seal.after, seal.upto,
        seal.entries, digest(seal.content), seal.digest, seal.previous, seal.at,
    ]))  # fmt: skip


# --- adding -------------------------------------------------------------------------------------------


def take_turn(connection: Connection) -> None:
    """Keep others from adding seals until the transaction ends."""
    db.insert_if_absent(connection, _mark, {**TURN, "again": 0})
    mine = and_(*(_mark.c[name] == value for name, value in TURN.items()))
    connection.execute(select(_mark.c.source).where(mine).with_for_update())


def append(connection: Connection, run: Run, at: int) -> int:
    """Add a run and its seals behind the heads; the run's number. The caller has the turn (`take_turn`), and has seen
    that nobody has sealed these rows meanwhile."""
    number, previous = head(connection, RUNS)
    number += 1
    shared = {
        "run": number,
        "source": run.source,
        "scope": run.scope,
        "late": run.late,
        "after": place_text(run.after),
        "upto": place_text(run.upto),
        "at": at,
        "format": FORMAT,
    }
    seals = []
    for chain, bundle in sorted(run.bundles.items()):
        last, before = head(connection, chain)
        content = {"entries": bundle.entries, "content": bundle.content, "digest": bundle.digest}
        seals.append(_hashed({"chain": chain, "number": last + 1, "previous": before, **shared, **content}))
    listed = written([[seal["chain"], seal["entries"], seal["hash"]] for seal in seals]).decode()
    told = {"entries": run.entries, "content": listed, "digest": digest(listed)}
    seals.append(_hashed({"chain": RUNS, "number": number, "previous": previous, **shared, **told}))
    connection.execute(insert(_seal), seals)
    return number


@dataclass(frozen=True)
class _Unhashed:
    """A seal that is being made, by the names that a row of the table has."""

    of: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.of[name]


def _hashed(seal: dict[str, Any]) -> dict[str, Any]:
    return {**seal, "hash": hash_of(_Unhashed(seal))}


# --- reading ------------------------------------------------------------------------------------------


def head(connection: Connection, chain: int) -> Head:
    """The last seal of a chain."""
    of_chain = select(_seal.c.number, _seal.c.hash).where(_seal.c.chain == chain)
    found = connection.execute(of_chain.order_by(_seal.c.number.desc()).limit(1)).first()
    return NONE_YET if found is None else (found.number, found.hash)


def heads(connection: Connection) -> dict[int, Head]:
    """The last seal of each chain."""
    last = select(_seal.c.chain, func.max(_seal.c.number).label("number")).group_by(_seal.c.chain).subquery()
    both = and_(_seal.c.chain == last.c.chain, _seal.c.number == last.c.number)
    found = connection.execute(select(_seal.c.chain, _seal.c.number, _seal.c.hash).join(last, both))
    return {row.chain: (row.number, row.hash) for row in found}


def at_number(connection: Connection, chain: int, number: int) -> SealRow | None:
    """One seal."""
    return connection.execute(select(_seal).where(_seal.c.chain == chain, _seal.c.number == number)).first()


def last_run(connection: Connection, source: str, scope: int) -> SealRow | None:
    """The last run of a table, those of late rows left out: up to its end everything was looked at."""
    return connection.execute(_runs(source, scope).order_by(_seal.c.number.desc()).limit(1)).first()


def runs(connection: Connection, source: str, scope: int, behind: int, limit: int) -> Sequence[SealRow]:
    """The next runs of a table behind a number, those of late rows left out."""
    following = _runs(source, scope).where(_seal.c.number > behind)
    return connection.execute(following.order_by(_seal.c.number).limit(limit)).all()


def late_runs(connection: Connection, source: str, scope: int) -> Sequence[SealRow]:
    """The runs of rows of a table that came too late."""
    return connection.execute(_runs(source, scope, late=True).order_by(_seal.c.number)).all()


def of_runs(connection: Connection, numbers: Sequence[int]) -> Sequence[SealRow]:
    """All seals of some runs, the runs themselves left out, in the order of runs and chains."""
    wanted = select(_seal).where(_seal.c.run.in_(numbers), _seal.c.chain != RUNS)
    return connection.execute(wanted.order_by(_seal.c.run, _seal.c.chain, _seal.c.number)).all()


def links(connection: Connection, chain: int, behind: int, limit: int) -> Sequence[Any]:
    """The next seals of a chain behind a number, without what is in them."""
    listed = select(_seal.c.number, _seal.c.run, _seal.c.previous, _seal.c.hash)
    following = listed.where(_seal.c.chain == chain, _seal.c.number > behind)
    return connection.execute(following.order_by(_seal.c.number).limit(limit)).all()


def changed_since(connection: Connection, run: int) -> Iterator[int]:
    """The chains that have seals of later runs than this one."""
    later = select(_seal.c.chain).where(_seal.c.run > run, _seal.c.chain != RUNS).distinct()
    yield from connection.execute(later.order_by(_seal.c.chain)).scalars()


def looked_at(connection: Connection) -> list[tuple[str, int]]:
    """(table, scope) of every run that there is."""
    of_runs = select(_seal.c.source, _seal.c.scope).where(_seal.c.chain == RUNS).distinct()
    return [(row.source, row.scope) for row in connection.execute(of_runs.order_by(_seal.c.source, _seal.c.scope))]


def _runs(source: str, scope: int, *, late: bool = False) -> Any:
    mine = (_seal.c.chain == RUNS, _seal.c.source == source, _seal.c.scope == scope, _seal.c.late.is_(late))
    return select(_seal).where(*mine)
