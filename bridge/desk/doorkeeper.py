"""The doorkeeper: who knocks too often waits, by address, by login and all together, whatever the answers were.

A bucket is one row: the instant at which it will be full again. A knock moves that by `every` seconds, and is refused
where that would be more than `burst` knocks from now. One conditional statement: as many as come at once, as many pass
as may, in all processes together. What no knock could have moved so far was written by a clock that was ahead: it tells
nothing, and the bucket counts as full; else all would wait until that clock's tomorrow, and nobody could end it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network

from sqlalchemy import Connection, Table, case, delete, select, update

from bridge import addresses, db, keys, models
from bridge.errors import Refusal, Retry
from bridge.ports import SECOND
from bridge.runtime import Runtime

_bucket: Table = models.metadata.tables["doorkeeper"]


@dataclass(frozen=True)
class Pace:
    """So many knocks at once, and one more every so many seconds."""

    burst: int
    every_seconds: int


BY_ADDRESS = Pace(30, 10)
"""An office behind one address comes in within a minute in the morning; a sprayer has six tries a minute."""

BY_LOGIN = Pace(10, 20)
"""Three wrong tries lock anyway; this bounds what is computed for one login. A link, a passkey and a
recovery code go past it: who has one is not kept out by whoever knocks under their name."""

BY_GATE = Pace(120, 1)
"""All who come by password, from everywhere, in all processes together: so much is computed for strangers and no more,
however many addresses they have. A link and a passkey go past it, so that a flood does not keep everybody out."""

BY_REFUSED_PASSKEYS = Pace(120, 1)
"""All passkeys together that were not taken and whose refusal is to be noted: notes stay for ever. One that is good
never comes to it, so nobody is kept out."""

KEPT_SECONDS, SWEPT = 3600, 200
"""A bucket that has been full for so long is forgotten; so many at a time."""

APART_SECONDS = 60
"""Clocks of processes differ by less than that, and a knock waits less for its turn after it has read its own."""

NEW = -1
"""What is said of a bucket that was not there."""

IPV6_PREFIX = 64
"""Whoever has one IPv6 address has as many as they like below it."""


class TooManyTries(Refusal):
    """Too many tries from here, or for this login: wait."""

    status, code, retry = 429, "too_many_tries", Retry.AFTER


def knock(runtime: Runtime, address: str, login: str | None = None, *, at_gate: bool = False) -> None:
    """Count one try by its address, then by its login, then, `at_gate`, by that of all together. Raises TooManyTries,
    with the seconds to wait, at the first that has nothing left: a refused try counts no further. Of whom their address
    refuses nothing is written at all: that would be theirs to fill, and to have others wait for."""
    now = runtime.clock.now()
    wanted = [(f"address {_place(address)}", BY_ADDRESS)]
    if login is not None:
        wanted.append((f"login {keys.digest(login)}", BY_LOGIN))
    if at_gate:
        wanted.append(("the gate", BY_GATE))
    with db.reading(runtime.engine) as connection:
        _require(_wait(connection, *wanted[0], now))
    _count(runtime, wanted, now)


def count_refused_passkey(runtime: Runtime) -> None:
    """Count a passkey that was not taken, from wherever. Raises TooManyTries where it is not to be noted any more."""
    _count(runtime, [("refused passkeys", BY_REFUSED_PASSKEYS)], runtime.clock.now())


def _count(runtime: Runtime, wanted: Sequence[tuple[str, Pace]], now: int) -> None:
    """Take from buckets, always in the same order, until one is empty. Raises TooManyTries."""
    taken: list[int] = []
    with db.writing(runtime.engine) as connection:
        for key, pace in wanted:
            taken.append(_take(connection, key, pace, now))
            if taken[-1] > 0:
                break
    if NEW in taken:
        _sweep(runtime, now)
    _require(taken[-1])


def _require(wait: int) -> None:
    if wait > 0:
        raise TooManyTries(after_seconds=wait // SECOND + 1)


def _take(connection: Connection, key: str, pace: Pace, now: int) -> int:
    """Take from a bucket: 0, NEW from one that was not there, or the microseconds until there is something in it."""
    every = pace.every_seconds * SECOND
    while not db.insert_if_absent(connection, _bucket, {"key": key, "full_at": now + every}):
        from_then = case((_bucket.c.full_at.between(now, _latest(pace, now)), _bucket.c.full_at), else_=now)
        room = (_bucket.c.key == key, from_then <= now + (pace.burst - 1) * every)
        if connection.execute(update(_bucket).where(*room).values(full_at=from_then + every)).rowcount == 1:
            return 0
        wait = _wait(connection, key, pace, now)
        if wait > 0:  # else it has just been swept: it is made anew
            return wait
    return NEW


def _wait(connection: Connection, key: str, pace: Pace, now: int) -> int:
    """The microseconds until there is something in a bucket; 0 where there is, or where there is no such bucket."""
    full_at = connection.execute(select(_bucket.c.full_at).where(_bucket.c.key == key)).scalar()
    if full_at is None or full_at > _latest(pace, now):
        return 0
    return max(0, int(full_at) - now - (pace.burst - 1) * pace.every_seconds * SECOND)


def _latest(pace: Pace, now: int) -> int:
    """The latest instant at which a bucket can be full again, empty as it may be."""
    return now + (pace.burst * pace.every_seconds + APART_SECONDS) * SECOND


def _sweep(runtime: Runtime, now: int) -> None:
    """Forget old buckets, in a transaction that waits for nobody: whoever is at one of them keeps it."""
    old = select(_bucket.c.key).where(_bucket.c.full_at < now - KEPT_SECONDS * SECOND).order_by(_bucket.c.full_at)
    with db.writing(runtime.engine) as connection:
        keys_of = connection.execute(old.limit(SWEPT).with_for_update(skip_locked=True)).scalars().all()
        connection.execute(delete(_bucket).where(_bucket.c.key.in_(keys_of)))


def _place(address: str) -> str:
    """What counts as one caller."""
    found = addresses.literal(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network(f"{found}/{IPV6_PREFIX}", strict=False))
    return address if found is None else str(getattr(found, "ipv4_mapped", None) or found)
