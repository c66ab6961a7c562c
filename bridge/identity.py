"""Identity: who a provider's name stands for, kept at its first use.

What is open at a provider, watched there or held there is with the one that it was sent to. Whoever is configured with
another one under the same name sends nothing to it, concludes nothing about it and begins nothing at it, until people
accept it (`bridge/desk/switches.py`). Where nothing is open, watched or held, the new one is simply kept.

Every process goes by its own configuration and asks the database: of two that differ, as while they are restarted one
after another, the one goes on whose provider it is. What a begin and a claim ask here they ask in the statement that
writes, or behind it in its transaction: it waits for whoever has locked the table of transfers; so nobody begins
anything under an identity that is changed at that moment.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    bindparam,
    exists,
    func,
    select,
    text,
    tuple_,
    update,
)

from bridge import db, log, models
from bridge.config import ProviderSection
from bridge.errors import Conflict, NotFound, Unavailable
from bridge.ledger import game
from bridge.runtime import Runtime

_identity: Table = models.metadata.tables["provider_identity"]
_transfer: Table = models.metadata.tables["transfer"]
_account: Table = models.metadata.tables["account"]
_history: Table = models.metadata.tables["history"]
_ACCEPTED = ("accepted_at", "accepted_behind", "accepted_by", "reason")

_log = log.get("identity")

MOVED = "provider_moved"
"""The code of a refusal, because a provider is another one here than the one kept."""

MOVED_WAIT_SECONDS = 60
"""When a client may ask again whose provider is another than the one that it was: people take at least that long."""

# In the words of the index over what is unresolved.
_OPEN = text("transfer.state IN ('pending', 'orphaned')")


@dataclass(frozen=True)
class Identity:
    """Who a provider is, without what is exchanged as a matter of routine: no secret, no password. Of the path, which
    may be a secret, only the digest."""

    protocol: str
    operator: str
    address: str
    path: str
    account: str

    @property
    def written(self) -> str:
        """As it is kept, and compared."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def words(self) -> str:
        """For people."""
        account = f", account {self.account}" if self.account else ""
        path = f", path {self.path}" if self.path else ""
        return f"{self.protocol} at {self.address}{path}{account}, for operator {self.operator}"

    def may_become(self, other: Identity) -> bool:
        """Whether people may say that another one has taken its place while it holds something: what was told in one
        protocol is not judged by another, and one operator's money is not another's."""
        return (self.protocol, self.operator) == (other.protocol, other.operator)


@lru_cache(maxsize=256)
def _made(protocol: str, operator: str, place: tuple[str, str], account: str) -> tuple[Identity, str]:
    path = hashlib.sha256(place[1].encode()).hexdigest()[:16] if place[1] else ""
    identity = Identity(protocol, operator, place[0], path, account)
    return identity, identity.written


def configured(policy: ProviderSection) -> Identity:
    """Who a provider is by this process's configuration."""
    return _made(policy.protocol, policy.operator, policy.place, policy.account)[0]


def written(policy: ProviderSection) -> str:
    """The same, as it is kept."""
    return _made(policy.protocol, policy.operator, policy.place, policy.account)[1]


def _read(kept: str) -> Identity:
    return Identity(**json.loads(kept))


# --- asked ----------------------------------------------------------------------------------------------


def elsewhere(provider: ColumnElement[Any]) -> ColumnElement[bool]:
    """A condition of a statement: the provider that this column names is another one here than the one kept; with
    :func:`by_configuration` among its values."""
    pair = tuple_(_identity.c.provider, _identity.c.identity)
    return exists().where(
        _identity.c.provider == provider,
        _identity.c.provider.in_(bindparam("configured", expanding=True)),
        pair.not_in(bindparam("identities", expanding=True)),
    )


def by_configuration(runtime: Runtime) -> dict[str, Any]:
    """What :func:`elsewhere` compares with."""
    here = {name: written(policy) for name, policy in runtime.config.providers.items()}
    return {"configured": list(here), "identities": list(here.items())}


def others(connection: Connection, runtime: Runtime) -> dict[str, Identity]:
    """The providers that are others here than the ones kept, with those."""
    kept = connection.execute(select(_identity.c.provider, _identity.c.identity)).all()
    mine = runtime.config.providers
    return {name: _read(told) for name, told in kept if name in mine and told != written(mine[name])}


def moved(connection: Connection, runtime: Runtime) -> dict[str, str]:
    """Of those the ones with which something is open, watched or held, each with a sentence for people."""
    found = {}
    for name, was in sorted(others(connection, runtime).items()):
        held = _held(connection, name)
        if held:
            here = configured(runtime.policy(name))
            found[name] = f"{name} is {here.words} here, and was {was.words}, where {held}"
    return found


def require(connection: Connection, runtime: Runtime, provider: str) -> None:
    """Raise Unavailable where a provider is another one here than the one kept: the same key may try again."""
    if provider in others(connection, runtime):
        raise Unavailable(
            f"{provider} is configured as another provider than the one that it was: people have to accept that.",
            code=MOVED,
            after_seconds=MOVED_WAIT_SECONDS,
        )


def names(connection: Connection) -> set[str]:
    """All providers that there ever were here: by the identities kept, and by transfers of before those were."""
    kept = set(connection.execute(select(_identity.c.provider)).scalars())
    return kept | set(connection.execute(select(_transfer.c.provider).distinct()).scalars())


def accepted_at(connection: Connection) -> Mapping[str, int]:
    """When people last accepted another one under a provider's name."""
    query = select(_identity.c.provider, _identity.c.accepted_at).where(_identity.c.accepted_at.is_not(None))
    return {row.provider: row.accepted_at for row in connection.execute(query)}


def last_acceptance(connection: Connection, provider: str) -> tuple[int, int] | None:
    """When (microseconds) people last accepted another one under this name, and the newest row of history then, or one
    that will never be where nobody knows; None: never."""
    query = select(_identity.c.accepted_at, _identity.c.accepted_behind)
    row = connection.execute(query.where(_identity.c.provider == provider)).first()
    if row is None or row.accepted_at is None:
        return None
    return row.accepted_at, sys.maxsize if row.accepted_behind is None else row.accepted_behind


# --- kept -----------------------------------------------------------------------------------------------


def keep(runtime: Runtime, *providers: str) -> None:
    """Keep who these providers are here, all of them where none is named, unless another one is kept that still has
    something open, watched or held."""
    mine = runtime.config.providers
    for name in [each for each in providers or mine if each in mine]:
        with db.reading(runtime.engine) as connection:
            stays = _stays(connection, name, written(mine[name]), _kept(connection, name))
        if not stays:  # asked again there, where every transfer is stopped for it
            _keep(runtime, name)


def _keep(runtime: Runtime, name: str) -> None:
    here, now = configured(runtime.policy(name)), runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        _stop_transfers(connection)
        row = _kept(connection, name)
        if _stays(connection, name, here.written, row):
            return
        values = {"identity": here.written, "kept_at": now, **dict.fromkeys(_ACCEPTED)}
        if row is None:
            db.insert_if_absent(connection, _identity, {"provider": name, **values})
        else:
            connection.execute(update(_identity).where(_identity.c.provider == name).values(**values))
    was = None if row is None else _read(row["identity"]).words
    _log.warning("provider kept", provider=name, identity=here.words, was=was)


@dataclass(frozen=True)
class Change:
    """What people have accepted; `held`: what was open, watched or held with the one before, in words."""

    was: Identity
    now: Identity
    held: str


def accept(connection: Connection, runtime: Runtime, provider: str, reason: str, actor: str, now: int) -> Change:
    """Keep who a provider is here, whatever is with the one before, in the caller's transaction, which has to close it
    and to mark what is open there. Nobody begins or moves a transfer before its end.

    Raises NotFound; Conflict where it is no other one, and where nothing but the old one can end what is there.
    """
    if provider not in runtime.config.providers:
        raise NotFound(f"There is no provider {provider!r} in the configuration.")
    _stop_transfers(connection)
    row, here = _kept(connection, provider), configured(runtime.policy(provider))
    if row is None:
        raise Conflict(f"Who {provider} is was never kept: jobs and web keep it when they start, as configured then.")
    if row["identity"] == here.written:
        raise Conflict(f"{provider} is the one that it was: there is nothing to accept.")
    was, held = _read(row["identity"]), _held(connection, provider)
    if held and not was.may_become(here):
        raise Conflict(
            f"{provider} was {was.words}, and {held} there. Another protocol or operator cannot take that over: "
            "configure it as it was, bring all of it to its end and home, and then change it."
        )
    newest = connection.execute(select(func.coalesce(func.max(_history.c.id), 0))).scalar_one()
    accepted = dict(zip(_ACCEPTED, (now, newest, actor, reason), strict=True))
    values = {"identity": here.written, "kept_at": now, **accepted}
    connection.execute(update(_identity).where(_identity.c.provider == provider).values(**values))
    return Change(was, here, held)


def _kept(connection: Connection, provider: str) -> RowMapping | None:
    return connection.execute(select(_identity).where(_identity.c.provider == provider)).mappings().first()


def _stays(connection: Connection, provider: str, here: str, kept: RowMapping | None) -> bool:
    """Whether nobody is to be kept instead of whoever is: it is the same one, or something is with it."""
    return kept is not None and (kept["identity"] == here or bool(_held(connection, provider)))


def _held(connection: Connection, provider: str) -> str:
    """What is open, watched or held there, in words; nothing if nothing is."""
    mine = select(_transfer.c.id).where(_transfer.c.provider == provider).limit(1)
    if connection.execute(mine.where(_OPEN)).first() is not None:
        return "a transfer is open"
    if connection.execute(mine.where(_transfer.c.wake_at.is_not(None))).first() is not None:
        return "a transfer is watched"
    there = _account.c.account.startswith(game(provider, ""), autoescape=True)
    holding = select(_account.c.account).where(there, _account.c.balance != 0).limit(1)
    if connection.execute(holding).first() is not None:
        return "players hold money"
    return ""


def _stop_transfers(connection: Connection) -> None:
    """Until this transaction ends nobody begins or moves a transfer; whoever holds one has ended, and waits for nothing
    of ours. SQLite's writer is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE transfer IN EXCLUSIVE MODE")
