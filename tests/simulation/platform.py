"""The operator's platform in the world: clients that want transfers, insist on their keys, and do not always wait."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from random import Random
from typing import Any

from tests.simulation.chance import Chance, Decision
from tests.simulation.node import Bridge, Response
from tests.simulation.oracle import Oracle
from tests.simulation.settings import PLAYERS, PROTOCOLS, WALLETS
from tests.simulation.swarm import DEEDS
from tests.simulation.world import SECOND, Outside, World

TRANSFERS = range(18, 22)
LEAST_TRANSFERS, LEAST_STEPS = 20, 100
"""Of a story in which less has come about by its last hours, the clients want a little more; the last time when the
world has healed, for a web process whose clock is off begins nothing."""

SITTINGS = range(4, 7)
LATE_HOUR = 47.5
LAST_WISH_HOURS, MORE_AT_HOURS = 43, (43.5, 44, 44.5, 45, 45.3, 45.6, 46.05)
TRIES_AT_MOST = 8
ASKS_AGAIN = 0.2
"""How often a client that has its answer sends the request once more."""

CLIENT_WAITS_SECONDS = 30
FINAL_ANSWERS = {
    (201, None), (422, "insufficient_funds"), (422, "nothing_to_move"), (422, "wallet_full"),
    (200, None), (409, "already_final"),
}  # fmt: skip
"""Status and code of what is kept with its key for ever: of transfers and cash, then of cancels."""

KEY_IS_TAKEN = {(422, "idempotency_key_reused"), (409, "in_flight")}
"""What another body under a key is told; beside that, of a clock or a database, only what was so."""

CLOCK_OFF, OUT_OF_ORDER = (503, "clock_off"), {(503, "database_unavailable"), (500, "internal")}
DATABASE_FAULTS = ("commit_failed", "commit_unknown", "statement_failed")

AMOUNTS = {
    "EUR": ("1.00", "2.50", "5.00", "10.00", "0.03", "4.00", "20.00", "700.00"),
    "JPY": ("100", "250", "7", "40", "90000"),
}


@dataclass(frozen=True)
class Wish:
    """One request of a client: when (seconds after the beginning), what, under which key."""

    number: int
    at: float
    path: str
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"wish-{self.number}"


def wishes(seed: int) -> list[Wish]:
    """What the clients of one seed want: a few sittings of busy minutes, spread over two days."""
    dice = Random(f"{seed}/plan")
    sittings = sorted(dice.uniform(0, LAST_WISH_HOURS * 3600) for _ in range(dice.choice(SITTINGS)))
    guests = {sitting: dice.sample(PLAYERS, dice.choice((1, 2, 3))) for sitting in sittings}
    planned = []
    for _ in range(dice.choice(TRANSFERS)):
        sitting = dice.choice(sittings)
        planned.append((sitting + dice.expovariate(1 / 240), "/v1/transfers", _transfer(dice, guests[sitting])))
    for _ in range(dice.choice((1, 2, 3))):
        player = dice.choice(PLAYERS)
        currency = dice.choice(WALLETS[player])
        kind, amount = dice.choice(("deposits", "withdrawals")), dice.choice(AMOUNTS[currency])
        path = f"/v1/players/{player}/{kind}"
        planned.append((dice.choice(sittings) + dice.uniform(0, 600), path, {"amount": amount, "currency": currency}))
    planned += [
        (dice.choice(sittings) + 900, f"/v1/players/{dice.choice(PLAYERS)}/recall", {})
        for _ in range(dice.choice((0, 1, 1, 2)))
    ]
    planned.sort(key=lambda each: each[0])
    return [Wish(number, at, path, body) for number, (at, path, body) in enumerate(planned, 1)]


def _transfer(dice: Random, guests: Sequence[str]) -> dict[str, Any]:
    player = dice.choice(guests)
    currency = dice.choice(WALLETS[player])
    direction = dice.choice(("in", "in", "out"))
    amount = "max" if direction == "out" and dice.random() < 0.2 else dice.choice(AMOUNTS[currency])
    where = {"player_id": player, "provider": dice.choice(tuple(PROTOCOLS))}
    return {**where, "direction": direction, "amount": amount, "currency": currency}


class Platform:
    """All clients of one story."""

    def __init__(
        self, world: World, chance: Chance, webs: Sequence[Bridge], judged: tuple[Oracle, Callable[[], int]], key: str
    ) -> None:
        self.world, self.webs = world, webs
        self.oracle, self._steps = judged
        self.transfers: dict[str, str] = {}
        self._wishes: dict[str, Wish] = {}
        self._headers = {"Authorization": f"Bearer {key}"}
        self._outside = Outside(world, "platform")
        for wish in wishes(chance.seed):
            if chance.take(Decision("wish", str(wish.number), 0)):
                world.at(world.begins + int(wish.at * SECOND), self._begin, wish)
        for hours in MORE_AT_HOURS:
            world.at(world.begins + int(hours * 3600 * SECOND), self._want_more, hours)
        world.at(world.begins + int(LATE_HOUR * 3600 * SECOND), self._ask_about_what_changed)

    def _want_more(self, hours: float) -> None:
        dice = self.world.chance.stream(f"more at {hours}")
        missing = max(LEAST_TRANSFERS - self.oracle.begun, min(LEAST_STEPS - self._steps(), 2))
        for player in dice.sample(PLAYERS, max(0, min(missing, len(PLAYERS)))):
            where = {"player_id": player, "provider": dice.choice(tuple(PROTOCOLS))}
            body = {**where, "direction": dice.choice(("in", "out")), "amount": "1.00", "currency": "EUR"}
            wish = Wish(int(hours * 1000) + PLAYERS.index(player), hours * 3600, "/v1/transfers", body)
            if self.world.chance.take(Decision("wish", str(wish.number), 0)):
                self._begin(wish)

    def _ask_about_what_changed(self) -> None:
        """I9: what has become something else since it was answered is answered as it was."""
        for key, (status, body) in list(self.oracle.told.answers.items()):
            if status == HTTPStatus.CREATED and key in self.transfers and self._has_changed(key, body):
                self._spawn(f"client asks again for {key}", partial(self._post, self._wishes[key], {}))

    def _has_changed(self, key: str, body: bytes) -> bool:
        now = self.oracle.ask("SELECT state FROM transfer WHERE id = ?", self.transfers[key])
        return [(json.loads(body)["state"],)] != now

    def _begin(self, wish: Wish) -> None:
        dice, rate = self.world.chance.stream(f"plan of client {wish.number}"), self.world.swarm.rate
        self._wishes[wish.key] = wish
        self.oracle.wanted.may_come(wish.key, wish.path, wish.body, self.world.now)
        is_cancelled = wish.path == "/v1/transfers" and dice.strikes("cancelled", rate("cancelled"))
        if is_cancelled:
            self.world.after(dice.choice((0.02, 0.05, 0.1, 0.5, 3, 12, 60, 400)), self._cancel, wish)
        self._spawn(f"client {wish.number}", lambda: self._insist(wish, hurried=is_cancelled))
        if dice.strikes("double_click", rate("double_click")):
            self.world.struck("double_click", wish.key)
            self._spawn(f"client {wish.number} twice", lambda: self._insist(wish, hurried=is_cancelled))
        if dice.strikes("key_reused", rate("key_reused")):
            self.world.after(dice.choice((0.05, 30, 4000)), self._reuse, wish)

    def _spawn(self, name: str, work: Callable[[], Any]) -> None:
        self.world.spawn(self._outside, name, work)

    def _insist(self, wish: Wish, *, hurried: bool) -> None:
        """Send the request until there is an end of it; whoever is going to cancel does not wait for that."""
        world = self.world
        assert world.current is not None
        dice = world.current.dice
        headers = {}
        if hurried:
            headers["Prefer"] = "respond-async"
        elif dice.strikes("impatient", world.swarm.rate("impatient")):
            world.struck("impatient", wish.key)
            headers["Prefer"] = dice.choice(("respond-async", "wait=0", "wait=2"))
        for attempt in range(TRIES_AT_MOST):
            answer = self._post(wish, headers)
            if answer is not None and answer.status in (200, 201, 202):
                self._learn(wish, answer)
                if answer.status != 202 or dice.random() < 0.5:
                    break
            if answer is not None and answer.status in (400, 404, 422):
                break
            world.sleep(min(600, dice.choice((0.3, 1, 5)) * 2**attempt))
        if dice.random() < ASKS_AGAIN:
            world.sleep(dice.choice((1, 100, 20_000)))
            self._post(wish, {})

    def _learn(self, wish: Wish, answer: Response) -> None:
        self.oracle.wanted.was_taken(wish.key, wish.path, wish.body)
        if wish.path == "/v1/transfers":
            self.transfers[wish.key] = json.loads(answer.body)["id"]
            if answer.status == 202:
                self._ask(self.transfers[wish.key])

    def _ask(self, transfer_id: str) -> None:
        dice = self.world.chance.stream(f"asks about {transfer_id} {self.world.now}")
        for _ in range(dice.choice((0, 1, 3))):
            self.world.sleep(dice.choice((0.4, 2, 20, 90)))
            query = dice.choice(("", "?refresh=true"))
            self._exchange("GET", f"/v1/transfers/{transfer_id}{query}", self._headers, b"")

    def _post(self, wish: Wish, more: dict[str, str]) -> Response | None:
        headers = {**self._headers, "Idempotency-Key": wish.key, "Content-Type": "application/json", **more}
        return self._exchange("POST", wish.path, headers, json.dumps(wish.body).encode(), key=wish.key)

    def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes, key: str = ""
    ) -> Response | None:
        """Over a network of its own; what was answered, None where nothing came."""
        world = self.world
        assert world.current is not None
        dice, rate = world.current.dice, world.swarm.rate
        web = dice.choice(self.webs)
        if world.faulty and dice.strikes("client_request_lost", rate("client_request_lost")):
            world.struck("client_request_lost", f"{method} {target} {key}")
            return None
        if web.dead:
            return None
        answer = web.serve(method, target, headers, body, seconds=CLIENT_WAITS_SECONDS)
        world.trace("client", f"{method} {target} {key} -> {'nothing' if answer is None else answer.status}")
        if answer is not None:
            self._judge(key, answer)
        if world.faulty and dice.strikes("client_answer_lost", rate("client_answer_lost")):
            world.struck("client_answer_lost", f"{method} {target} {key}")
            return None
        return answer

    def _judge(self, key: str, answer: Response) -> None:
        """At the door: what was told, whether it reached the client or not."""
        body = json.loads(answer.body)
        if body.get("code") in DEEDS:
            self.world.swarm.counts[body["code"]] += 1
        if str(body.get("id", "")).startswith("tr_") and not answer.headers.get("Idempotent-Replayed"):
            self.oracle.told.shown(body)
            if key in self._wishes:
                self.oracle.wanted.check_view(key, body)
        if "sweeps" in body:
            self._judge_recall(key, answer, body)
        if key and (answer.status, body.get("code")) in FINAL_ANSWERS:
            self.oracle.told.answered(key, answer.status, answer.body)

    def _judge_recall(self, key: str, answer: Response, body: dict[str, Any]) -> None:
        player = self._wishes[key].path.split("/")[3]
        self.oracle.wanted.check_recall(key, player, answer.status, body)
        for sweep in body["sweeps"]:
            if sweep["transfer"] is not None and not answer.headers.get("Idempotent-Replayed"):
                self.oracle.told.shown(sweep["transfer"])

    def _reuse(self, wish: Wish) -> None:
        """Another body under a key that is in use: refused, whatever became of the first."""
        other = replace(wish, body={**wish.body, "amount": "3.00" if wish.body.get("currency") == "EUR" else "11"})
        if other.body != wish.body and "amount" in wish.body:
            self.world.struck("key_reused", wish.key)
            self._spawn(f"client {wish.number} reuses", lambda: self._other_body(wish, other))

    def _other_body(self, wish: Wish, other: Wish) -> None:
        headers = {**self._headers, "Idempotency-Key": wish.key, "Content-Type": "application/json"}
        self.oracle.wanted.may_come(other.key, other.path, other.body)
        taken = wish.key in self.oracle.told.answers or wish.key in self.transfers
        failed, off = self._failures(), any(web.skew for web in self.webs)
        answer = self._exchange("POST", other.path, headers, json.dumps(other.body).encode())
        if answer is None or not taken:
            return
        told = answer.status, json.loads(answer.body).get("code")
        excused = (told == CLOCK_OFF and off) or (told in OUT_OF_ORDER and self._failures() > failed)
        if told not in KEY_IS_TAKEN and not excused:
            self.oracle.fail("I9", f"key {wish.key} with another body was answered {answer.status} {answer.body!r}")

    def _failures(self) -> int:
        """How often the database has failed."""
        return sum(self.world.swarm.counts[kind] for kind in DATABASE_FAULTS)

    def _cancel(self, wish: Wish) -> None:
        transfer_id = self.transfers.get(wish.key)
        if transfer_id is None:
            return
        self.world.struck("cancelled", transfer_id)
        self._spawn(f"client {wish.number} cancels", lambda: self._wish_to_cancel(wish, transfer_id))

    def _wish_to_cancel(self, wish: Wish, transfer_id: str) -> None:
        world, path = self.world, f"/v1/transfers/{transfer_id}/cancel"
        assert world.current is not None
        dice, key = world.current.dice, f"cancel-{wish.number}"
        headers = {**self._headers, "Idempotency-Key": key, "Content-Type": "application/json"}
        for _ in range(dice.choice((1, 1, 2, 3))):
            answer = self._exchange("POST", path, headers, b"", key=key)
            if answer is not None and answer.status == HTTPStatus.ACCEPTED:
                query = "SELECT 1 FROM transfer WHERE id = ? AND cancel_requested_at IS NOT NULL"
                self.oracle.told.require(query, transfer_id, facts=f"a cancel of {transfer_id} was accepted")
            world.sleep(dice.choice((1, 60, 4000)))
