"""Sweep: compares what a provider holds with our books where a restore has closed it, and opens it if all agrees.
One that people have closed as well is compared like the others, and stays theirs to open.

1. Where no provider is closed by a restore, nothing is done. Else one process gets the slot, and works alone.
2. The provider's list of balances is read page by page, in each of its currencies, and each is compared with ours;
   whom we think to hold something and the list does not name, holds nothing there.
3. If every balance agrees, every lane is quiet and no transfer there is unresolved, the switch opens itself.
   Otherwise it stays closed: differences are open breaks, for people. What could not be read is read next time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from threading import Event

from bridge import breaks, db, gates, identity, ledger, log, models
from bridge.breaks import Compared
from bridge.clocks import APART_AT_MOST
from bridge.ports import SECOND, Balance, BalancePage, Window
from bridge.runtime import Runtime
from statemachines import TransferState

JOB = "sweep"
EVERY_SECONDS = 10

LONGEST_SECONDS = 300
"""A run that has not ended after this long died; until then no other one begins beside it."""

_account, _transfer, _runs = (models.metadata.tables[name] for name in ("account", "transfer", "job_run"))
_log = log.get("jobs")


class NotRead(Exception):
    """The provider's balances could not be read to their end: nothing follows from them."""


def run_once(runtime: Runtime, now: int, limit: int, stop: Event) -> dict[str, int]:
    """Sweep each provider that a restore has closed, reading at most `limit` pages of each currency.

    Counts: swept, compared, differing, opened.
    """
    counts = {"swept": 0, "compared": 0, "differing": 0, "opened": 0}
    with db.reading(runtime.engine) as connection:
        closed = [each for each in gates.closed(connection) if each.restored_at is not None]
        others = identity.others(connection, runtime)
    waiting = [each for each in closed if each.provider in runtime.providers and each.provider not in others]
    # Who does not know what the amounts of a currency mean compares nothing, and leaves the turn to who does.
    if not waiting or runtime.currencies.distrusted or stop.is_set() or not _claimed(runtime, now):
        return counts
    outcomes = []
    for each in waiting:
        found = _sweep_alone(runtime, each, limit, stop)
        outcomes.append(f"{each.provider}: {_told(found)}")
        if found is not None:
            counts["swept"] += 1
            counts["compared"] += found.total()
            counts["differing"] += _differing(found)
            counts["opened"] += _opened(runtime, each, found)
    _finish(runtime, now, "; ".join(outcomes))
    return counts


def _sweep_alone(runtime: Runtime, switch: gates.Closed, limit: int, stop: Event) -> Counter[Compared] | None:
    """What the comparisons of one provider came to; None where its list was not read. Its trouble, or ours with it,
    keeps no other from being swept."""
    try:
        return _sweep(runtime, switch.provider, limit, stop)
    except NotRead as trouble:
        _log.warning("sweep not finished", provider=switch.provider, why=str(trouble))
    except Exception:  # noqa: BLE001 - the provider stays closed, the next run tries again
        _log.exception("sweep failed", provider=switch.provider)
    return None


def _sweep(runtime: Runtime, provider: str, limit: int, stop: Event) -> Counter[Compared]:
    with db.reading(runtime.engine) as connection:
        operator = breaks.operator_of(connection, runtime, provider)
    if operator is None:
        raise NotRead(f"its operator {runtime.policy(provider).operator} is not in the database")
    found: Counter[Compared] = Counter()
    for currency in runtime.policy(provider).currencies:
        began, named = runtime.clock.now(), set()
        for told_at, balances in _pages(runtime, provider, currency, limit, stop):
            found += _compare(runtime, operator, provider, balances, told_at)
            named |= {each.player for each in balances}
        unnamed = [Balance(each, currency, 0) for each in _expected(runtime, operator, provider, currency) - named]
        found += _compare(runtime, operator, provider, unnamed, began)
    return found


def _pages(
    runtime: Runtime, provider: str, currency: str, limit: int, stop: Event
) -> Iterator[tuple[int, tuple[Balance, ...]]]:
    """(when it was asked for, microseconds; the balances of one page), to the end of the list. Raises NotRead."""
    adapter, cursor = runtime.providers[provider], None
    for _ in range(limit):
        if stop.is_set():
            raise NotRead("this process stops")
        told_at, end = runtime.clock.now(), runtime.clock.monotonic() + adapter.descriptor.lookup_deadline
        page = adapter.balances(currency, Window(not_after=end, deadline=end), cursor)
        if not isinstance(page, BalancePage):
            raise NotRead(f"its balances in {currency} cannot be read: {page.code} {page.detail}".rstrip())
        yield told_at, page.balances
        cursor = page.cursor
        if cursor is None:
            return
    raise NotRead(f"its list of balances in {currency} has more than {limit} pages")


def _compare(
    runtime: Runtime, operator: int, provider: str, balances: Iterable[Balance], told_at: int
) -> Counter[Compared]:
    """Compare balances that were told at one instant; no request is on the wire meanwhile."""
    found: Counter[Compared] = Counter()
    with db.writing(runtime.engine) as connection:
        for each in balances:
            outcome = breaks.compare(
                connection, runtime, operator, provider, each.player, each.currency, each.amount, breaks.SWEEP, told_at
            )
            found[outcome] += 1
            if outcome is Compared.NOBODY:
                _log.error("balance of nobody we know", provider=provider, player=each.player, theirs=each.amount)
    return found


def _expected(runtime: Runtime, operator: int, provider: str, currency: str) -> set[str]:
    """The players whom a list that does not name them speaks of: those of whom we think that they hold something
    there, and those with an open break, which the absence may close."""
    there = _account.c.account.startswith(ledger.game(provider, ""), autoescape=True)
    mine = _account.c.operator_id == operator, _account.c.currency == currency, _account.c.balance != 0
    with db.reading(runtime.engine) as connection:
        holders = {row.player_id for row in connection.execute(_account.select().where(*mine, there))}
    here = [row for row in breaks.open_ones(runtime) if (row["provider"], row["currency"]) == (provider, currency)]
    return holders | {row["player_id"] for row in here}


def _opened(runtime: Runtime, switch: gates.Closed, found: Counter[Compared]) -> bool:
    """Note it if everything agreed and nothing is unresolved there; whether the switch that was seen opened by that."""
    if found.total() != found[Compared.EQUAL]:
        return False
    unresolved = _transfer.c.state.in_((TransferState.PENDING.value, TransferState.ORPHANED.value))
    with db.writing(runtime.engine) as connection:
        mine = _transfer.select().where(_transfer.c.provider == switch.provider, unresolved).limit(1)
        if connection.execute(mine).first() is not None or not gates.found_right(connection, switch):
            return False
    opened = switch.cause == gates.RESTORED
    news = "provider opened" if opened else "provider found right, and still paused"
    _log.warning(news, provider=switch.provider, compared=found.total(), was=switch.reason)
    return opened


def _differing(found: Counter[Compared]) -> int:
    return found[Compared.DIFFERS] + found[Compared.NOBODY]


def _told(found: Counter[Compared] | None) -> str:
    """The outcome of one provider, for the run's row."""
    if found is None:
        return "not read"
    return ", ".join(f"{count} {compared.value}" for compared, count in sorted(found.items())) or "nothing there"


# --- one process at a time ----------------------------------------------------------------------------


def _claimed(runtime: Runtime, now: int) -> bool:
    """Whether this process gets the slot of `now`, and no other one is still at it."""
    slot = now // (EVERY_SECONDS * SECOND)
    row = {"job": JOB, "slot": slot, "worker": runtime.worker, "started_at": now}
    # One that began at a time to come has died under a clock that was ahead.
    lately = _runs.c.started_at.between(now - LONGEST_SECONDS * SECOND, now + APART_AT_MOST)
    at_it = _runs.c.job == JOB, _runs.c.finished_at.is_(None), lately
    with db.writing(runtime.engine) as connection:
        if connection.execute(_runs.select().where(*at_it).limit(1)).first() is not None:
            return False
        return db.insert_if_absent(connection, _runs, row)


def _finish(runtime: Runtime, now: int, outcome: str) -> None:
    mine = _runs.c.job == JOB, _runs.c.slot == now // (EVERY_SECONDS * SECOND)
    with db.writing(runtime.engine) as connection:
        connection.execute(_runs.update().where(*mine).values(finished_at=runtime.clock.now(), outcome=outcome))
