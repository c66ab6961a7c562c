"""The providers: what each promises, what the bridge makes of it, whether its door is open, what it says lately."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection, Table, select

from bridge import db, gauges, models
from bridge.errors import NotFound
from bridge.runtime import Runtime
from bridge.transfers.core.contract import describe
from bridge.views import balances, losses, words
from bridge.views.amounts import providers_of
from bridge.views.balances import Compare, Differs
from bridge.views.doors import Door, doors
from bridge.views.losses import Loss

_breaker: Table = models.metadata.tables["breaker"]


@dataclass(frozen=True)
class Broken:
    """An open breaker: since when, and when the provider is asked again whether it answers (microseconds)."""

    since: int
    probe_at: int


@dataclass(frozen=True)
class Said:
    """How often a provider gave an answer within the last `gauges.ANSWERS_SECONDS`, and to what: a `call`, a `lookup`,
    or unasked, by `callback`."""

    source: str
    answer: str
    times: int


@dataclass(frozen=True)
class Page:
    """One provider as of the instant `at`. `address`: without its path, which may be a secret; `promises`, `contract`,
    `limits`: (what, how) in words; `differing`: the oldest of so many; `tells_unasked`: whether its protocol tells us
    anything by itself, balances among it."""

    at: int
    name: str
    protocol: str
    address: str
    promises: tuple[tuple[str, str], ...]
    contract: tuple[tuple[str, str], ...]
    limits: tuple[tuple[str, str], ...]
    door: Door
    broken: Broken | None
    said: tuple[Said, ...]
    differing: tuple[Differs, ...]
    how_many_differ: int
    compared: Compare
    tells_unasked: bool
    losses: tuple[Loss, ...]


@dataclass(frozen=True)
class Line:
    """One provider in the list of all."""

    name: str
    protocol: str
    door: Door
    answers: int
    unknown: int


def listed(runtime: Runtime, operator_id: int) -> list[Line]:
    """The operator's providers by name; `answers`: how many they gave lately, `unknown`: how many of no use."""
    with db.reading(runtime.engine) as connection:
        mine = providers_of(connection, runtime, operator_id)
        said = _said(connection, runtime)
        unresolved = gauges.unresolved(connection, operator_id)
        return [
            Line(
                door.provider,
                runtime.policy(door.provider).protocol,
                door,
                sum(each.times for each in said.get(door.provider, ())),
                sum(each.times for each in said.get(door.provider, ()) if each.answer == "unknown"),
            )
            for door in doors(connection, runtime, mine, unresolved)
        ]


def page(runtime: Runtime, operator_id: int, name: str) -> Page:
    """One provider of the operator; raises NotFound, also for another operator's."""
    now = runtime.clock.now()
    with db.reading(runtime.engine) as connection:
        if name not in providers_of(connection, runtime, operator_id):
            raise NotFound("There is no such provider.")
        policy, promised = runtime.policy(name), runtime.providers[name].descriptor
        (door,) = doors(connection, runtime, [name], gauges.unresolved(connection, operator_id))
        return Page(
            at=now,
            name=name,
            protocol=policy.protocol,
            address="{0.scheme}://{0.netloc}".format(urlsplit(policy.base_url)),
            promises=tuple(words.promises(promised)),
            contract=tuple(describe(promised).items()),
            limits=tuple(words.limits(policy, promised)),
            door=door,
            broken=_broken(connection, name),
            said=tuple(_said(connection, runtime).get(name, ())),
            differing=tuple(balances.differing(connection, operator_id, name)),
            how_many_differ=balances.how_many_differ(connection, operator_id, name),
            compared=balances.compared(connection, operator_id, name),
            tells_unasked=promised.pushes,
            losses=tuple(each for each in losses.taken(connection, operator_id) if each.provider == name),
        )


def _broken(connection: Connection, name: str) -> Broken | None:
    query = select(_breaker.c.counted_from, _breaker.c.probe_at).where(_breaker.c.provider == name, _breaker.c.open)
    row = connection.execute(query).first()
    return None if row is None else Broken(*row)


def _said(connection: Connection, runtime: Runtime) -> Mapping[str, list[Said]]:
    counted: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for provider, source, answer, times in gauges.answers(connection, runtime):
        counted[provider][source, answer] += times
    return {
        provider: [Said(source, answer, times) for (source, answer), times in sorted(said.items())]
        for provider, said in counted.items()
    }
