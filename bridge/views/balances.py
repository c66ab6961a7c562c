"""What is known of a provider's balances: which differ from ours, when one was last compared, what was passed over.

A balance is compared when the provider tells it unasked, and when all are read after a restore; at no other time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, func, literal, select

from bridge import breaks, models
from bridge.breaks import Compared
from bridge.transfers.hear import PASSED_OVER_AS_BUSY

_break: Table = models.metadata.tables["balance_break"]
_run: Table = models.metadata.tables["job_run"]
_task: Table = models.metadata.tables["inbox_task"]

BREAKS_AT_MOST = 50
MESSAGES_AT_MOST = 20_000
"""So many of the newest messages of all providers are looked through for balances: no index leads to them."""

_HEARD = (f"balance {Compared.EQUAL.value}", f"balance {Compared.DIFFERS.value}")
_SWEPT = (Compared.EQUAL.value, Compared.DIFFERS.value)


@dataclass(frozen=True)
class Differs:
    """A player's balance that the provider tells otherwise than we have it, in minor units."""

    player: str
    currency: str
    ours: int
    theirs: int
    told_by: str
    since: int


@dataclass(frozen=True)
class Compare:
    """When (microseconds) a balance of the provider was last compared with ours, None where no such moment is found;
    how many were passed over because money was moving there: of those it told lately (`told_busy`), and when all were
    read last, at `swept_at` (`swept_busy`). `looked_through`: it may have told a later one before so many of the newest
    messages; None where it cannot have."""

    at: int | None = None
    told_busy: int = 0
    swept_at: int | None = None
    swept_busy: int = 0
    looked_through: int | None = None


def differing(connection: Connection, operator_id: int, provider: str) -> list[Differs]:
    """The balances that are told otherwise, the oldest of them first, and no more than BREAKS_AT_MOST."""
    columns = ("player_id", "currency", "ours", "theirs", "told_by", "opened_at")
    query = select(*(_break.c[column] for column in columns)).where(*_open(operator_id, provider))
    return [Differs(*row) for row in connection.execute(query.order_by(_break.c.opened_at).limit(BREAKS_AT_MOST))]


def how_many_differ(connection: Connection, operator_id: int, provider: str) -> int:
    """All of them."""
    query = select(func.count()).select_from(_break).where(*_open(operator_id, provider))
    return int(connection.execute(query).scalar_one())


def compared(connection: Connection, operator_id: int, provider: str) -> Compare:
    """What the rows that are kept say of the comparisons of an operator's provider."""
    heard_at, told_busy, looked_through = _heard(connection, provider)
    compared_at, swept_at, swept_busy = _swept(connection, provider)
    mine = (_break.c.operator_id == operator_id, _break.c.provider == provider)
    query = select(func.max(_break.c.opened_at), func.max(_break.c.closed_at)).where(*mine)
    instants = [*connection.execute(query).one(), heard_at, compared_at]
    at = max((int(each) for each in instants if each is not None), default=None)
    return Compare(at, told_busy, swept_at, swept_busy, looked_through)


def _open(operator_id: int, provider: str) -> tuple[ColumnElement[bool], ...]:
    return _break.c.operator_id == operator_id, _break.c.provider == provider, _break.c.closed_at.is_(None)


def _heard(connection: Connection, provider: str) -> tuple[int | None, int, int | None]:
    """(when a balance that was told unasked was last compared, how many were passed over as busy), of the newest
    messages; of how many, if one may stand before them."""
    newest = connection.execute(select(func.max(_task.c.inbox_id))).scalar() or 0
    mine = (_task.c.inbox_id > newest - MESSAGES_AT_MOST, _task.c.provider == provider)
    done = select(func.max(_task.c.handled_at)).where(*mine, _task.c.state == "done", _task.c.reason.in_(_HEARD))
    busy = select(func.count()).where(*mine, _task.c.state == "passed_over", _task.c.reason == PASSED_OVER_AS_BUSY)
    at = connection.execute(done).scalar()
    whole = at is not None or newest <= MESSAGES_AT_MOST
    return at, int(connection.execute(busy).scalar_one()), None if whole else MESSAGES_AT_MOST


def _swept(connection: Connection, provider: str) -> tuple[int | None, int | None, int]:
    """(when any of its balances was compared as all were read, when all were last read, how many were passed over as
    busy then), as the job `sweep` leaves it in its runs. The database leaves out those that say nothing: while another
    provider cannot be read there is one every few seconds."""
    said, about = literal("; ") + _run.c.outcome, f"; {provider}: "
    is_read = and_(said.contains(about, autoescape=True), ~said.contains(f"{about}not read", autoescape=True))
    runs = select(_run.c.finished_at, said).where(_run.c.job == breaks.SWEEP, is_read).order_by(_run.c.slot.desc())
    swept_at, busy = None, 0
    with connection.execute(runs, execution_options={"yield_per": 100}) as newest:
        for at, outcome in newest:
            told = outcome.partition(about)[2].partition(";")[0]
            words = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", told)}
            if swept_at is None:
                swept_at, busy = at, words.get(Compared.BUSY.value, 0)
            if any(words.get(each) for each in _SWEPT):
                return at, swept_at, busy
    return None, swept_at, busy
