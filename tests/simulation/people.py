"""People in the world: operations that decide about orphans by what the provider's books say, and switch providers off;
players who bet; and whoever sets a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from sqlalchemy.exc import DBAPIError

from bridge import gates
from bridge.clocks import APART_AT_MOST
from bridge.errors import NotFound
from bridge.simulator.books import Refused
from bridge.simulator.generic.books import GenericBooks
from bridge.transfers.core.decisions import Kind
from tests.simulation.desk import Desk
from tests.simulation.ledgers import ProviderLedgers, references
from tests.simulation.meant import given
from tests.simulation.node import Bridge
from tests.simulation.oracle import Oracle
from tests.simulation.platform import wishes
from tests.simulation.provider import Provider
from tests.simulation.settings import CURRENCIES, GENERIC, PLAYERS
from tests.simulation.world import SECOND, World

HOUR = 3600
LOOKS_AT_HOURS = (3, 8, 20, 30, 40, 45)
SKEW_SECONDS = (-300.0, -3.0, -1.0, 0.7, 1.5, 60.0, 300.0)
JUMP_SECONDS = (-3600.0, -40.0, -1.8, 1.2, 20.0, 3600.0)
MILD_SECONDS = APART_AT_MOST / SECOND
"""So far a clock may be off without a word from `/readyz`. One that is further off makes others take a lease too early:
what ends then is true all the same, but it may be another end."""

SWITCHED_BACK_SECONDS = (60, HOUR, 4 * HOUR)
REGRETS, REGRETTED_HOURS = 0.5, (0.1, 3.0)
PROVIDER_SKEW_SECONDS = (-200.0, -20.0, 5.0, 200.0)


class People:
    """Everybody who is neither a client nor a machine."""

    def __init__(
        self, world: World, bridges: Sequence[Bridge], providers: Sequence[Provider], oracle: Oracle, operator: int
    ) -> None:
        self.world, self.providers, self.oracle, self.operator = world, providers, oracle, operator
        self.bridges = bridges
        self._webs = [bridge for bridge in bridges if bridge.name.startswith("web")]
        self._desk = Desk(world, oracle, operator, decision_for, self._regret)
        self._desk.webs = self._webs
        dice = world.chance.stream("people")
        self._busy = dice.choice((0.0, 0.6, 0.9))
        for hour in LOOKS_AT_HOURS:
            world.after(hour * HOUR + dice.uniform(0, HOUR), self._look_at_orphans, hour)
        self._plan_clocks(world.chance.stream("clocks"))
        self._plan_switches(world.chance.stream("switches"))
        self._plan_bets(world.chance.stream("bets"))
        self._plan_regrets(world.chance.stream("regrets"))

    # --- orphans --------------------------------------------------------------------------------------

    def _look_at_orphans(self, hour: int) -> None:
        web = next((web for web in self._webs if not web.dead), None)
        if web is None or not self._busy:
            return
        dice = self.world.chance.stream(f"people at {hour}")
        for row in self.oracle.transfers():
            since = self.world.now - self.oracle.orphaned_at(row["id"])
            if row["state"] == "orphaned" and since > HOUR * SECOND and dice.random() < self._busy:
                name = f"people decide {row['id']} {hour}"
                decided = partial(self._decide, web, row, name, generous=dice.random() < 0.5)
                self.world.spawn(web, name, decided)

    def _decide(self, web: Bridge, row: dict[str, Any], name: str, *, generous: bool) -> None:
        """As the provider's own books say, which is whom honest people would ask. A claw-back is for what the wallet
        was given whole."""
        kind, parts = decision_for(row, self.oracle.ledgers)
        takes = not generous and given(row) == row["amount"] and row["id"] not in self._desk.not_to_take
        if kind is Kind.WRITE_OFF and takes:
            kind = Kind.CLAW_BACK
        self._desk.decide(web, row, kind, parts, name)

    def _regret(self, row: dict[str, Any], kind: Kind) -> None:
        """The people of a provider may take back what has arrived there, after it was decided that it has."""
        provider = next(each for each in self.providers if each.name == row["provider"])
        dice = self.world.chance.stream(f"{row['id']} is regretted")
        at = self.world.now + int(dice.uniform(*REGRETTED_HOURS) * HOUR * SECOND)
        if kind in (Kind.CONFIRM, Kind.WRITE_OFF) and dice.random() < REGRETS and at < self.world.faults_until:
            self.world.at(at, self._take_back, provider, row)

    def _plan_regrets(self, dice: Random) -> None:
        """They may take back what nobody doubted, too."""
        if not self.world.swarm.mild and dice.random() < REGRETS:
            self.world.after(dice.uniform(2, 44) * HOUR, self._regret_any, dice)

    def _regret_any(self, dice: Random) -> None:
        rows = [row for row in self.oracle.transfers() if (row["state"], row["provider"]) == ("confirmed", GENERIC)]
        if rows:
            self._take_back(next(each for each in self.providers if each.name == GENERIC), dice.choice(rows))

    def _take_back(self, provider: Provider, row: dict[str, Any]) -> None:
        if provider.node.dead or not isinstance(provider.books, GenericBooks):
            return
        for reference in references(row):
            with suppress(Refused):
                provider.books.take_back(reference)
                self.world.swarm.counts["regretted"] += 1
                self.world.trace("people", f"{provider.name} takes back {reference}")

    # --- clocks, switches, bets -------------------------------------------------------------------------

    def _plan_clocks(self, dice: Any) -> None:
        rate = self.world.swarm.rate
        for bridge in self.bridges:
            if dice.strikes("clock_skew", rate("clock_skew")):
                seconds = dice.choice(self._allowed(SKEW_SECONDS))
                self.world.after(dice.uniform(0, 40 * HOUR), self._off, bridge, "clock_skew", seconds)
            if dice.strikes("clock_jump", rate("clock_jump")):
                seconds = dice.choice(self._allowed(JUMP_SECONDS))
                self.world.after(dice.uniform(0, 44 * HOUR), self._off, bridge, "clock_jump", seconds)
        for provider in self.providers:
            if dice.strikes("provider_clock", rate("provider_clock")):
                self._set(provider, "provider_clock", dice.choice(PROVIDER_SKEW_SECONDS))

    def _allowed(self, seconds: tuple[float, ...]) -> list[float]:
        return [each for each in seconds if not self.world.swarm.mild or abs(each) <= MILD_SECONDS]

    def _set(self, whose: Bridge | Provider, kind: str, seconds: float) -> None:
        self.world.struck(kind, f"{whose.name} by {seconds:+g} s")
        node = whose.node if isinstance(whose, Provider) else whose
        node.set_clock(seconds)

    def _off(self, bridge: Bridge, kind: str, seconds: float) -> None:
        """A clock is off, and some time later somebody sets it right."""
        self._set(bridge, kind, seconds)
        self.world.after(2 * HOUR, self._right, bridge)

    @staticmethod
    def _right(bridge: Bridge) -> None:
        bridge.set_right()

    def _plan_switches(self, dice: Any) -> None:
        for provider in self.providers:
            if dice.strikes("switched_off", self.world.swarm.rate("switched_off")):
                at = self._busy_instant(dice, provider.name)
                self.world.after(at, self._switch, provider.name, True)
                self.world.after(at + dice.choice(SWITCHED_BACK_SECONDS), self._switch, provider.name, False)

    def _busy_instant(self, dice: Random, provider: str) -> float:
        """When somebody is about to move money into a provider, if anybody ever is."""
        asked = [wish.at for wish in wishes(self.world.chance.seed) if wish.body.get("provider") == provider]
        return dice.choice(asked or [20 * HOUR]) + dice.choice((0.0001, 0.001, 0.01))

    def _switch(self, provider: str, off: bool) -> None:
        web = next((web for web in self._webs if not web.dead), None)
        if web is None:
            return
        if off:
            self.world.struck("switched_off", provider)
        act: Callable[[], object] = (
            (lambda: gates.pause(web.runtime, provider, "a look at it", "maria"))
            if off
            else (lambda: gates.resume(web.runtime, provider, "maria"))
        )

        def switch() -> None:
            since = self.world.now
            try:
                act()
            except (NotFound, DBAPIError):
                return
            except Exception as error:  # noqa: BLE001 - people go on behind whatever they are shown
                self.oracle.page_failed(error)
                return
            if self.world.now - since < SWITCHED_BACK_SECONDS[0] * SECOND:
                query = f"SELECT 1 WHERE {'' if off else 'NOT '}EXISTS (SELECT 1 FROM switch WHERE provider = ?)"
                told = f"people were told that {provider} is {'closed' if off else 'open'}"
                self.oracle.told.require(query, provider, facts=told)

        self.world.spawn(web, f"people switch {provider} {off} {self.world.now}", switch)

    def _plan_bets(self, dice: Any) -> None:
        for _ in range(40):
            if dice.strikes("bet_in_between", 5 * self.world.swarm.rate("bet_in_between")):
                provider, player = dice.choice(self.providers), dice.choice(PLAYERS)
                currency = dice.choice(tuple(CURRENCIES))
                self.world.after(dice.uniform(0, 45 * HOUR), self._bet, provider, player, currency, dice)

    def _bet(self, provider: Provider, player: str, currency: str, dice: Random) -> None:
        if provider.node.dead:
            return
        with suppress(Refused):
            provider.books.play(player, currency, dice.choice((-120, -5, 3, 777)))
            self.world.struck("bet_in_between", f"{player} at {provider.name}")


def decision_for(row: dict[str, Any], ledgers: ProviderLedgers) -> tuple[Kind, dict[str, int]]:
    """What is right about an orphan, by the provider's books: its kind, and a split's parts."""
    amount, net = row["amount"], abs(ledgers.net(row))
    if 0 < net < amount:
        return Kind.SPLIT, {"arrived": net, "returned": amount - net}
    arrived = net > 0
    if given(row) > 0 and arrived is (row["direction"] == "in"):
        return Kind.WRITE_OFF, {}
    return (Kind.CONFIRM if arrived else Kind.REVERSE), {}
