"""The breaker of a provider: opens on the share of unknown answers, not on errors alone.

Counted from stored evidence by whoever has just stored an unknown answer, so there is no row that every
transfer updates, and every process sees the same breaker. Open, it refuses transfers *in* before they
begin and queues those *out*; it closes when a balance could be read: half-open never probes with money.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, RowMapping, Table, bindparam, case, func, select, update

from bridge import db, models
from bridge.config import ProviderSection
from bridge.evidence import Answer, Source
from bridge.ports import SECOND

_breaker: Table = models.metadata.tables["breaker"]
_evidence: Table = models.metadata.tables["evidence"]

_ROW = select(_breaker).where(_breaker.c.provider == bindparam("provider"))
_ANSWERS = select(func.count(), func.sum(case((_evidence.c.answer == Answer.UNKNOWN.value, 1), else_=0))).where(
    _evidence.c.provider == bindparam("provider"),
    _evidence.c.source == Source.CALL.value,
    _evidence.c.at >= bindparam("since"),
)


def open_until(connection: Connection, provider: str, now: int) -> int:
    """While the breaker is open: when it may be looked at again, never before `now`; else 0.

    It stays open past its probe time until a probe succeeded: it is never tried out with money.
    """
    row = _row(connection, provider)
    return max(int(row["probe_at"]), now + SECOND) if row is not None and row["open"] else 0


def note_unknown(connection: Connection, provider: str, policy: ProviderSection, now: int) -> None:
    """Open the breaker if too many of the provider's recent money answers were unknown."""
    row = _row(connection, provider)
    if row is not None and row["open"]:
        return
    since = max(now - int(policy.breaker_window_seconds * SECOND), row["counted_from"] if row is not None else 0)
    answers, unknowns = connection.execute(_ANSWERS, {"provider": provider, "since": since}).one()
    if answers < policy.breaker_least or int(unknowns or 0) < policy.breaker_share * answers:
        return
    opened = {"open": True, "counted_from": now, "probe_at": now + int(policy.breaker_probe_seconds * SECOND)}
    if row is None:
        db.insert_if_absent(connection, _breaker, {"provider": provider, "version": 1, **opened})
    else:
        _change(connection, provider, row["version"], opened)


def claim_probe(engine: Engine, provider: str, policy: ProviderSection, now: int) -> bool:
    """Whether this worker may probe now: one of many gets it, until the next time."""
    with db.writing(engine) as connection:
        row = _row(connection, provider)
        probe_at = now + int(policy.breaker_probe_seconds * SECOND)
        # A probe planned further away than that was planned by a clock that was wrong: it is due.
        furthest = now + 2 * int(policy.breaker_probe_seconds * SECOND)
        if row is None or not row["open"] or now < row["probe_at"] <= furthest:
            return False
        later = {"probe_at": probe_at}
        return _change(connection, provider, row["version"], later)


def close(engine: Engine, provider: str, now: int) -> None:
    """The provider answered a question again; unknown answers are counted from here."""
    with db.writing(engine) as connection:
        connection.execute(
            update(_breaker)
            .where(_breaker.c.provider == provider)
            .values(open=False, counted_from=now, version=_breaker.c.version + 1)
        )


def _row(connection: Connection, provider: str) -> RowMapping | None:
    return connection.execute(_ROW, {"provider": provider}).mappings().first()


def _change(connection: Connection, provider: str, version: int, values: Mapping[str, object]) -> bool:
    statement = update(_breaker).where(_breaker.c.provider == provider, _breaker.c.version == version)
    return connection.execute(statement.values(version=version + 1, **values)).rowcount == 1
