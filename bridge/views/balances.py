"""What is known of a provider's balances: which differ from ours, when one was last compared, what was passed over.

A balance is compared when the provider tells it unasked, and when all are read after a restore; at no other time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, select

from bridge import breaks, models
from bridge.breaks import Compared
from bridge.transfers.hear import PASSED_OVER_AS_BUSY

_break: Table = models.metadata.tables["balance_break"]
_run: Table = models.metadata.tables["job_run"]
_task: Table = models.metadata.tables["inbox_task"]

BREAKS_AT_MOST, SWEEPS_AT_MOST = 50, 100
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
    """When (microseconds) a balance of the provider was last compared with ours, None where no such moment is kept;
    how many were passed over because money was moving there: of those it told lately (`told_busy`), and when all were
    read last, at `swept_at` (`swept_busy`)."""

    at: int | None = None
    told_busy: int = 0
    swept_at: int | None = None
    swept_busy: int = 0


def differing(connection: Connection, operator_id: int, provider: str) -> list[Differs]:
    """The balances that are told otherwise, the oldest first."""
    columns = ("player_id", "currency", "ours", "theirs", "told_by", "opened_at")
    mine = (_break.c.operator_id == operator_id, _break.c.provider == provider, _break.c.closed_at.is_(None))
    query = select(*(_break.c[column] for column in columns)).where(*mine)
    return [Differs(*row) for row in connection.execute(query.order_by(_break.c.opened_at).limit(BREAKS_AT_MOST))]


def compared(connection: Connection, operator_id: int, provider: str) -> Compare:
    """What the rows that are kept say of the comparisons of an operator's provider."""
    heard_at, told_busy = _heard(connection, provider)
    swept_at, swept = _swept(connection, provider)
    mine = (_break.c.operator_id == operator_id, _break.c.provider == provider)
    query = select(func.max(_break.c.opened_at), func.max(_break.c.closed_at)).where(*mine)
    instants = [*connection.execute(query).one(), heard_at]
    instants += [swept_at] if any(swept.get(each) for each in _SWEPT) else []
    at = max((int(each) for each in instants if each is not None), default=None)
    return Compare(at, told_busy, swept_at, swept.get(Compared.BUSY.value, 0))


def _heard(connection: Connection, provider: str) -> tuple[int | None, int]:
    """(when a balance that was told unasked was last compared, how many were passed over as busy), of the newest
    messages."""
    newest = connection.execute(select(func.max(_task.c.inbox_id))).scalar() or 0
    mine = (_task.c.inbox_id > newest - MESSAGES_AT_MOST, _task.c.provider == provider)
    done = select(func.max(_task.c.handled_at)).where(*mine, _task.c.state == "done", _task.c.reason.in_(_HEARD))
    busy = select(func.count()).where(*mine, _task.c.state == "passed_over", _task.c.reason == PASSED_OVER_AS_BUSY)
    return connection.execute(done).scalar(), int(connection.execute(busy).scalar_one())


def _swept(connection: Connection, provider: str) -> tuple[int | None, dict[str, int]]:
    """(when all its balances were last read, what came of them by word), as the job `sweep` leaves it in its run."""
    runs = select(_run.c.finished_at, _run.c.outcome).where(_run.c.job == breaks.SWEEP, _run.c.outcome.is_not(None))
    about = re.compile(rf"(?:^|; ){re.escape(provider)}: ([^;]*)")
    for at, outcome in connection.execute(runs.order_by(_run.c.slot.desc()).limit(SWEEPS_AT_MOST)):
        told = about.search(outcome)
        if told is not None and told[1] != "not read":
            return at, {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", told[1])}
    return None, {}
