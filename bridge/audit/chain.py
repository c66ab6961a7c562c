"""The chains of seals: one for each operator, one for what belongs to none, and one for the runs.

A run says which places of which table were looked at, and lists the hash of every seal that it led to; so the head of
the chain of runs stands for everything. Nothing is ever changed; two who add at once are put in order by a lock, and
were they not, the same number twice is refused by the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, Select, Table, and_, bindparam, func, insert, select

from bridge import db, models
from bridge.audit.canon import FIRST, Bundle, Place, Unreadable, digest, place_text, written
from bridge.audit.sealed import FORMAT, Source

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


# Built once: building a statement costs more than running it.


def _runs(*, late: bool = False) -> Select[Any]:
    of_table = (_seal.c.source == bindparam("source"), _seal.c.scope == bindparam("scope"))
    return select(_seal).where(_seal.c.chain == RUNS, *of_table, _seal.c.late.is_(late))


_OF_CHAIN = _seal.c.chain == bindparam("chain")
_BEHIND = _seal.c.number > bindparam("behind")
_MOST: BindParameter[int] = bindparam("most")
_NEWEST = select(func.max(_seal.c.number).label("number"), _seal.c.chain).group_by(_seal.c.chain).subquery()

_TURN = select(_mark.c.source).where(*(_mark.c[name] == value for name, value in TURN.items())).with_for_update()
_APPEND = insert(_seal)
_HEAD = select(_seal.c.number, _seal.c.hash).where(_OF_CHAIN).order_by(_seal.c.number.desc()).limit(1)
_HEADS = select(_seal.c.chain, _seal.c.number, _seal.c.hash).join(
    _NEWEST, and_(_seal.c.chain == _NEWEST.c.chain, _seal.c.number == _NEWEST.c.number)
)
_AT_NUMBER = select(_seal).where(_OF_CHAIN, _seal.c.number == bindparam("number"))
_LAST_RUN = _runs().order_by(_seal.c.number.desc()).limit(1)
_RUNS_BEHIND = _runs().where(_BEHIND).order_by(_seal.c.number).limit(_MOST)
_LAST_BEFORE = _runs().with_only_columns(func.max(_seal.c.number)).where(_seal.c.at < bindparam("instant"))
_LATE_RUNS = _runs(late=True).order_by(_seal.c.number)
_OF_RUNS = (
    select(_seal)
    .where(_seal.c.run.in_(bindparam("numbers", expanding=True)), _seal.c.chain != RUNS)
    .order_by(_seal.c.run, _seal.c.chain, _seal.c.number)
)
_LINKS = (
    select(_seal.c.number, _seal.c.run, _seal.c.previous, _seal.c.hash)
    .where(_OF_CHAIN, _BEHIND)
    .order_by(_seal.c.number)
    .limit(_MOST)
)
_CHANGED = (
    select(_seal.c.chain)
    .where(_seal.c.run > bindparam("run"), _seal.c.chain != RUNS)
    .distinct()
    .order_by(_seal.c.chain)
)
_LOOKED_AT = (
    select(_seal.c.source, _seal.c.scope)
    .where(_seal.c.chain == RUNS)
    .distinct()
    .order_by(_seal.c.source, _seal.c.scope)
)


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
    connection.execute(_TURN)


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
    connection.execute(_APPEND, seals)
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
    found = connection.execute(_HEAD, {"chain": chain}).first()
    return NONE_YET if found is None else (found.number, found.hash)


def heads(connection: Connection) -> dict[int, Head]:
    """The last seal of each chain."""
    return {row.chain: (row.number, row.hash) for row in connection.execute(_HEADS)}


def at_number(connection: Connection, chain: int, number: int) -> SealRow | None:
    """One seal."""
    return connection.execute(_AT_NUMBER, {"chain": chain, "number": number}).first()


def last_run(connection: Connection, source: str, scope: int) -> SealRow | None:
    """The last run of a table, those of late rows left out: up to its end everything was looked at."""
    return connection.execute(_LAST_RUN, {"source": source, "scope": scope}).first()


def sealed_upto(connection: Connection, source: Source, scope: int) -> Place:
    """Up to where everything of a table was looked at. Raises Unreadable where its last run does not say."""
    run = last_run(connection, source.name, scope)
    if run is None:
        return []
    try:
        return source.read_place(run.upto)
    except Unreadable:
        return span(source, run, of_runs(connection, [run.number]))[1]


def span(source: Source, run: SealRow, seals: Sequence[SealRow]) -> tuple[Place, Place]:
    """The places behind and up to which a run looked: by itself, or, where they cannot be read, by one of its seals,
    which say the same. Raises Unreadable."""
    for seal in (run, *seals):
        with suppress(Unreadable):
            return source.read_place(seal.after), source.read_place(seal.upto)
    raise Unreadable(f"run {run.number} of {run.source} does not say where it looked, and none of its seals does")


def runs(connection: Connection, source: str, scope: int, behind: int, limit: int) -> Sequence[SealRow]:
    """The next runs of a table behind a number, those of late rows left out."""
    which = {"source": source, "scope": scope, "behind": behind, "most": limit}
    return connection.execute(_RUNS_BEHIND, which).all()


def last_before(connection: Connection, source: str, scope: int, instant: int) -> int:
    """The number of the last run of a table that was made before an instant (microseconds), 0 where none was."""
    which = {"source": source, "scope": scope, "instant": instant}
    return int(connection.execute(_LAST_BEFORE, which).scalar() or 0)


def late_runs(connection: Connection, source: str, scope: int) -> Sequence[SealRow]:
    """The runs of rows of a table that came too late."""
    return connection.execute(_LATE_RUNS, {"source": source, "scope": scope}).all()


def of_runs(connection: Connection, numbers: Sequence[int]) -> Sequence[SealRow]:
    """All seals of some runs, the runs themselves left out, in the order of runs and chains."""
    return connection.execute(_OF_RUNS, {"numbers": list(numbers)}).all()


def links(connection: Connection, chain: int, behind: int, limit: int) -> Sequence[Any]:
    """The next seals of a chain behind a number, without what is in them."""
    return connection.execute(_LINKS, {"chain": chain, "behind": behind, "most": limit}).all()


def changed_since(connection: Connection, run: int) -> Iterator[int]:
    """The chains that have seals of later runs than this one."""
    yield from connection.execute(_CHANGED, {"run": run}).scalars()


def looked_at(connection: Connection) -> list[tuple[str, int]]:
    """(table, scope) of every run that there is."""
    return [(row.source, row.scope) for row in connection.execute(_LOOKED_AT)]
