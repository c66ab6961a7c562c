"""The doorkeeper: who knocks too often waits, by address, by login and all together, whatever the answers were.

A bucket is one row: the instant at which it will be full again. A knock moves that by `every` seconds, and is refused
where that would be more than `burst` knocks from now. It holds the row meanwhile: as many as come at once, as many pass
as may, in all processes together. All count by the database's clock: two of their own, minutes apart, would undo each
other's count. What no knock could have moved so far was written when that clock was ahead; the bucket is empty then,
and no emptier: else all would wait until that clock's tomorrow, and nobody could end it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network

from sqlalchemy import Connection, Table, delete, select, update

from bridge import addresses, clocks, db, keys, models
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
    wanted = [(f"address {_place(address)}", BY_ADDRESS)]
    if login is not None:
        wanted.append((f"login {keys.digest(login)}", BY_LOGIN))
    if at_gate:
        wanted.append(("the gate", BY_GATE))
    with db.reading(runtime.engine) as connection:
        _require(_refusal(connection, *wanted[0]))
    _count(runtime, wanted)


def count_refused_passkey(runtime: Runtime) -> None:
    """Count a passkey that was not taken, from wherever. Raises TooManyTries where it is not to be noted any more."""
    _count(runtime, [("refused passkeys", BY_REFUSED_PASSKEYS)])


def _count(runtime: Runtime, wanted: Sequence[tuple[str, Pace]]) -> None:
    """Take from buckets, always in the same order, until one is empty. Raises TooManyTries."""
    taken: list[int] = []
    with db.writing(runtime.engine) as connection:
        for key, pace in wanted:
            taken.append(_take(connection, key, pace))
            if taken[-1] > 0:
                break
    if NEW in taken:
        _sweep(runtime)
    _require(taken[-1])


def _require(wait: int) -> None:
    if wait > 0:
        raise TooManyTries(after_seconds=wait // SECOND + 1)


def _take(connection: Connection, key: str, pace: Pace) -> int:
    """Take from a bucket: 0, NEW from one that was not there, or the microseconds until there is something in it."""
    mine, every = _bucket.c.key == key, pace.every_seconds * SECOND
    while True:
        kept = connection.execute(select(_bucket.c.full_at).where(mine).with_for_update()).scalar()
        now = clocks.of_database(connection)  # read while the row is held: whoever waited for it does not go back
        if kept is not None:
            full_at = min(max(kept, now), now + pace.burst * every)
            wait = _wait(full_at, pace, now)
            after = full_at if wait else full_at + every
            if after != kept:
                connection.execute(update(_bucket).where(mine).values(full_at=after))
            return wait
        if db.insert_if_absent(connection, _bucket, {"key": key, "full_at": now + every}):
            return NEW


def _refusal(connection: Connection, key: str, pace: Pace) -> int:
    """The microseconds until there is something in a bucket; 0 where there is, where there is no such bucket, and where
    what it says is to be mended."""
    kept = connection.execute(select(_bucket.c.full_at).where(_bucket.c.key == key)).scalar()
    if kept is None:
        return 0
    now = clocks.of_database(connection)
    return 0 if kept > now + pace.burst * pace.every_seconds * SECOND else _wait(kept, pace, now)


def _wait(full_at: int, pace: Pace, now: int) -> int:
    return max(0, full_at - now - (pace.burst - 1) * pace.every_seconds * SECOND)


def _sweep(runtime: Runtime) -> None:
    """Forget old buckets, in a transaction that waits for nobody: whoever is at one of them keeps it."""
    with db.writing(runtime.engine) as connection:
        long_ago = clocks.of_database(connection) - KEPT_SECONDS * SECOND
        old = select(_bucket.c.key).where(_bucket.c.full_at < long_ago).order_by(_bucket.c.full_at)
        keys_of = connection.execute(old.limit(SWEPT).with_for_update(skip_locked=True)).scalars().all()
        connection.execute(delete(_bucket).where(_bucket.c.key.in_(keys_of)))


def _place(address: str) -> str:
    """What counts as one caller."""
    found = addresses.literal(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network(f"{found}/{IPV6_PREFIX}", strict=False))
    return address if found is None else str(getattr(found, "ipv4_mapped", None) or found)
