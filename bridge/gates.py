"""The gates before a transfer *in*: a switch that people or a restored backup have closed, and a cap on the value
that may be unresolved at a provider. Money that comes home, and whatever is under way, passes no gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, text, update

from bridge import db, log, models
from bridge.config import Config
from bridge.errors import Invalid, NotFound, Stale, Unavailable
from bridge.money import AmountRefused, Currencies
from bridge.ports import SECOND, Direction
from bridge.reasons import stated
from bridge.runtime import Runtime

_switch: Table = models.metadata.tables["switch"]
_exposure: Table = models.metadata.tables["exposure"]
_transfer: Table = models.metadata.tables["transfer"]
_cap_hit: Table = models.metadata.tables["cap_hit"]

_log = log.get("gates")

PAUSED = "paused"
"""The cause of a switch that a person closed: only a person opens it."""

RESTORED = "restored"
"""The cause of a switch that was closed because the database had been set back: the sweep may open it."""

CLOSED_WAIT_SECONDS = 60
"""When a client may ask again that met a closed switch: people, or a sweep, take at least that long."""

CAP_HIT = "exposure_cap"
"""The code of a refusal for the cap, and what people are told of under that name."""

HIT_NOTED_SECONDS = 10
"""A cap that is hit again and again is noted this often."""

CAP_WAIT_AT_MOST = 60
"""Seconds that a client is told to wait for unresolved value to become less."""

# Typed out: neither database uses a partial index where the states are parameters of the statement.
_UNRESOLVED_IN = text("transfer.direction = 'in' AND transfer.state IN ('pending', 'orphaned')")


@dataclass(frozen=True)
class Closed:
    """A provider into which nothing is sent, since when (microseconds), by whom and why. `restored_at`: when a restore
    closed it, be it beside people; None where what it holds need not be compared for that (any more)."""

    provider: str
    cause: str
    reason: str
    actor: str
    closed_at: int
    restored_at: int | None = None


def admit(connection: Connection, runtime: Runtime, provider: str, currency: str, amount: int, now: int) -> None:
    """Let a transfer in of `amount` minor units begin, or raise Unavailable: the same key may try again.

    Called inside Begin's transaction, before it posts. Where a cap is set, all Begins of that provider and currency
    wait here for each other until they commit, so that no two of them see the same room (I-57). An amount that no
    waiting would bring under the cap is Invalid. A Begin that is past this when somebody closes the switch still
    commits; every later one sees it closed.
    """
    cap = cap_of(runtime, provider, currency)
    if cap is not None and amount > cap:
        most = runtime.currencies.format(cap, currency)
        raise Invalid(fields={"amount": f"exceeds {most}, all that may be unresolved at {provider} at once"})
    _refuse_if_closed(connection, provider)
    if cap is None:
        return
    _lock_exposure(connection, provider, currency)
    used, next_look = _unresolved(connection, provider, currency)
    if used + amount > cap:
        most, held = (runtime.currencies.format(each, currency) for each in (cap, used))
        raise Unavailable(
            f"Of {most} {currency} that may be unresolved at {provider}, {held} are: this transfer does not fit.",
            code="exposure_cap",
            after_seconds=min(max(1, (next_look - now) // SECOND + 1), CAP_WAIT_AT_MOST),
        )


def _refuse_if_closed(connection: Connection, provider: str) -> None:
    match [each.cause for each in closed(connection, provider)]:
        case [cause] if cause == RESTORED:
            raise Unavailable(
                f"Transfers into {provider} wait until what it holds is compared with our books.",
                code="provider_restored",
                after_seconds=CLOSED_WAIT_SECONDS,
            )
        case [_]:
            raise Unavailable(
                f"Transfers into {provider} are paused.", code="provider_paused", after_seconds=CLOSED_WAIT_SECONDS
            )


# --- the cap ------------------------------------------------------------------------------------------


def cap_of(runtime: Runtime, provider: str, currency: str) -> int | None:
    """The most that may be unresolved there at once, in minor units; None for no bound."""
    told = runtime.policy(provider).exposure_caps.get(currency)
    return None if told is None else runtime.currencies.parse(told, currency)


def cap_known(runtime: Runtime, provider: str, currency: str) -> int | None:
    """The same, to be told; None also where amounts of that currency mean something else here than in the books."""
    return None if currency in runtime.currencies.distrusted else cap_of(runtime, provider, currency)


def check_caps(config: Config, currencies: Currencies) -> None:
    """Raise AmountRefused, naming the key, unless each configured cap is an exact amount of its currency."""
    for name, policy in config.providers.items():
        for currency, told in policy.exposure_caps.items():
            try:
                currencies.parse(told, currency)
            except AmountRefused as wrong:
                raise AmountRefused(f"providers.{name}.exposure_caps.{currency} {wrong}") from None


def exposure(connection: Connection, provider: str, currency: str) -> int:
    """The value of transfers in that is unresolved at a provider, in minor units."""
    return _unresolved(connection, provider, currency)[0]


def _lock_exposure(connection: Connection, provider: str, currency: str) -> None:
    """Hold (provider, currency) until the transaction ends; its row is made by the first who comes."""
    which = {"provider": provider, "currency": currency}
    row = select(_exposure).filter_by(**which).with_for_update()
    if connection.execute(row).first() is None and not db.insert_if_absent(connection, _exposure, which):
        connection.execute(row)


def _unresolved(connection: Connection, provider: str, currency: str) -> tuple[int, int]:
    """(the sum of unresolved transfers in, minor units; when the first of them is looked at, microseconds)."""
    query = select(func.coalesce(func.sum(_transfer.c.amount), 0), func.coalesce(func.min(_transfer.c.wake_at), 0))
    mine = query.where(_transfer.c.provider == provider, _transfer.c.currency == currency, _UNRESOLVED_IN)
    total, first = connection.execute(mine).one()
    return int(total), int(first)


@contextmanager
def hits_noted(runtime: Runtime, provider: str, currency: str) -> Iterator[None]:
    """Around a transaction that :func:`admit` may refuse for the cap: once it is rolled back, the refusal is noted, for
    people to be told. What is wrong with that changes no answer."""
    try:
        yield
    except Unavailable as refused:
        if refused.code == CAP_HIT:
            _note_hit(runtime, provider, currency)
        raise


def _note_hit(runtime: Runtime, provider: str, currency: str) -> None:
    """Where it was noted a moment ago nothing is written: refusals come in crowds."""
    which, now = {"provider": provider, "currency": currency}, runtime.clock.now()
    try:
        with db.reading(runtime.engine) as connection:
            noted = connection.execute(select(_cap_hit.c.hit_at).filter_by(**which)).scalar()
        if noted is not None and 0 <= now - noted < HIT_NOTED_SECONDS * SECOND:
            return
        with db.writing(runtime.engine) as connection:
            insert = db.inserting(connection, _cap_hit)
            later = {"hit_at": insert.excluded.hit_at}
            noting = insert.on_conflict_do_update(index_elements=["provider", "currency"], set_=later)
            connection.execute(noting, {**which, "hit_at": now})
    except Exception:  # noqa: BLE001 - whatever it is: the client is told what it has to know
        _log.exception("refusal not noted", provider=provider, currency=currency)


# --- the switch ---------------------------------------------------------------------------------------


def closed(connection: Connection, provider: str | None = None) -> Sequence[Closed]:
    """What is closed for transfers in, or whether one provider is: one entry or none."""
    query = select(*(_switch.c[each.name] for each in fields(Closed)))
    if provider is not None:
        query = query.where(_switch.c.provider == provider)
    return [Closed(*row) for row in connection.execute(query.order_by(_switch.c.provider))]


def pause(runtime: Runtime, provider: str, reason: str, actor: str) -> None:
    """Close a configured provider for transfers in until a person opens it, whatever had closed it before, for a
    reason that can be read later (else Invalid). What a restore had closed is compared all the same.

    Raises NotFound.
    """
    with db.writing(runtime.engine) as connection:
        pause_in(connection, runtime, provider, reason, actor)
    _log.warning("provider paused", provider=provider, reason=reason, actor=actor)


def pause_in(connection: Connection, runtime: Runtime, provider: str, reason: str, actor: str) -> None:
    """As `pause`, in the caller's transaction."""
    if provider not in runtime.config.providers:
        raise NotFound(f"There is no provider {provider!r} in the configuration.")
    _close(connection, [provider], PAUSED, stated(reason), actor, runtime.clock.now())


def resume(runtime: Runtime, provider: str, actor: str) -> Closed:
    """Open a provider for transfers in, by a person; what had closed it. Raises NotFound when nothing had;
    Stale where somebody closes or opens it at the same time."""
    with db.writing(runtime.engine) as connection:
        was = resume_in(connection, provider)
    _log.warning("provider resumed", provider=provider, was=was.cause, reason=was.reason, actor=actor)
    return was


def resume_in(connection: Connection, provider: str) -> Closed:
    """As `resume`, in the caller's transaction."""
    for was in closed(connection, provider):
        if _open(connection, was):
            return was
        raise Stale(f"Somebody has just closed or opened {provider!r}: look again.")
    raise NotFound(f"Transfers into {provider!r} are not closed.")


def _open(connection: Connection, seen: Closed) -> bool:
    """Open a provider; false if its switch is not the one that was seen any more."""
    return connection.execute(delete(_switch).where(*_same(seen))).rowcount == 1


def _same(seen: Closed) -> tuple[ColumnElement[bool], ...]:
    return tuple(_switch.c[name] == getattr(seen, name) for name in ("provider", "cause", "closed_at"))


def close_restored(connection: Connection, providers: Iterable[str], reason: str, actor: str, now: int) -> None:
    """Close providers because the database was set back, or because another one was accepted under a name. One that a
    person has paused is compared like the others, but stays a person's to open; its reason then tells both."""
    _close(connection, providers, RESTORED, reason, actor, now)


def found_right(connection: Connection, seen: Closed) -> bool:
    """Note that a sweep found what a provider holds to be right: what a restore alone has closed opens, what people
    have closed as well stays theirs. False, and nothing is noted, if its switch is not the one that was seen any more.
    """
    if seen.cause == RESTORED:
        return _open(connection, seen)
    return connection.execute(update(_switch).where(*_same(seen)).values(restored_at=None)).rowcount == 1


def _close(connection: Connection, providers: Iterable[str], cause: str, reason: str, actor: str, now: int) -> None:
    for provider in sorted(providers):
        which = {"provider": provider, "direction": Direction.IN.value}
        row = {"cause": cause, "reason": reason, "actor": actor, "closed_at": now}
        if cause == RESTORED:
            row["restored_at"] = now
        while not db.insert_if_absent(connection, _switch, {**which, **row}):
            before = connection.execute(select(_switch).filter_by(**which).with_for_update()).mappings().first()
            if before is None:
                continue  # somebody has opened it since: it has to be closed anew
            if before["cause"] != cause:
                row |= {"cause": PAUSED, "reason": f"{reason} (closed before: {before['reason']})"}
            connection.execute(update(_switch).filter_by(**which).values(**row))
            break
