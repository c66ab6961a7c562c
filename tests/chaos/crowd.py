"""The same key, many times at one instant: rounds through several web processes, judged by the ledger file.

Run as a program this is one client process: threads that each hold a connection open and wait, together with
the threads of the other client processes, for the instant at which all of them send. Orders are JSON lines.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.chaos.client import ConnectionDied, Door, spoken

if TYPE_CHECKING:
    from tests.chaos.station import Station, Wish

PROJECT = Path(__file__).parents[2]
CLIENT_PROCESSES = 3
LEAD_SECONDS = 0.15  # from the order to the instant: every thread of every process is waiting by then
ANSWER_SECONDS = 60.0


@dataclass
class Rounds:
    """What the rounds found."""

    rounds: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def add(self, other: Rounds) -> None:
        """Take over what another crowd found."""
        self.rounds += other.rounds
        self.doubled += other.doubled
        self.wrong += other.wrong
        self.answers += other.answers


class Crowd:
    """Client processes that together repeat one request many times at one instant."""

    def __init__(self, addresses: Sequence[str], secret: str, size: int) -> None:
        shares = [size // CLIENT_PROCESSES + (each < size % CLIENT_PROCESSES) for each in range(CLIENT_PROCESSES)]
        self._clients = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.crowd", secret, str(share), *addresses],
                cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for share in shares
        ]  # fmt: skip

    def rush(self, wish: Wish) -> list[tuple[int, str | None, str | None]]:
        """(status, transfer id, code) of every answer; status 0 where the connection died."""
        order = {"at": time.monotonic() + LEAD_SECONDS, "key": wish.key, "body": wish.body}
        for client in self._clients:
            assert client.stdin is not None
            print(json.dumps(order), file=client.stdin, flush=True)
        answers: list[tuple[int, str | None, str | None]] = []
        for client in self._clients:
            assert client.stdout is not None
            answers += [tuple(answer) for answer in json.loads(client.stdout.readline())]
        return answers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for client in self._clients:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.close()
            client.wait(ANSWER_SECONDS)
            client.stdout.close()


def run(station: Station, rounds: int, size: int, say: Callable[[str], None]) -> Rounds:
    """`rounds` times one key `size` times in parallel through two web processes; in and out by turns."""
    found = Rounds()
    with ExitStack() as stack:
        webs = [stack.enter_context(station.web()) for _ in range(2)]
        stack.enter_context(station.jobs())
        crowd = stack.enter_context(Crowd([web.address for web in webs], station.secret, size))
        door = Door(webs[0].address, station.secret)
        for number in range(1, rounds + 1):
            wish = station.wish("in" if number % 2 else "out")
            began = time.monotonic()
            answers = crowd.rush(wish)
            took = time.monotonic() - began - LEAD_SECONDS
            statuses = Counter(f"{status} {code}" if code else str(status) for status, _, code in answers)
            found.wrong += _wrong_round(station, door, wish, answers, size)
            found.answers += statuses
            said = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
            say(f"{station.name} round {number}/{rounds}: {said} in {took:.1f} s")
    found.rounds = rounds
    found.wrong += station.wrong()
    found.doubled = _doubled(station)
    return found


def _wrong_round(
    station: Station, door: Door, wish: Wish, answers: Sequence[tuple[int, str | None, str | None]], size: int
) -> list[str]:
    """Every answer is 201, 202 or 409 in_flight, all of them about one transfer, which becomes final."""
    where = f"{station.name} {wish.key}"
    odd = [
        answer for answer in answers
        if answer[1] is None or not (answer[0] in (201, 202) or answer[::2] == (409, "in_flight"))
    ]  # fmt: skip
    ids = {transfer_id for _, transfer_id, _ in answers if transfer_id is not None}
    wrong = [f"{where}: {len(odd)} odd answers, such as {odd[0]}"] if odd else []
    if len(answers) != size:
        wrong.append(f"{where}: {len(answers)} answers to {size} requests")
    if len(ids) != 1:
        return [*wrong, f"{where}: the answers are about {len(ids)} transfers"]
    state = station.final(door, ids.pop())
    return wrong if state == "confirmed" else [*wrong, f"{where}: ended {state}"]


def _doubled(station: Station) -> int:
    """Players (one a round) for whom there is not exactly one effect in the ledger file, or one transfer."""
    moved = Counter(effect.player for each in station.simulators.values() for effect in each.effects())
    begun = Counter(record.player for record in station.ours().records)
    return sum(1 for player in {*moved, *begun} if (moved[player], begun[player]) != (1, 1))


# --- one client process -------------------------------------------------------------------------------


def main() -> None:
    """`crowd SECRET SIZE ADDRESS…`: for each order on standard input, a list of answers on standard output."""
    secret, size, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    lines = [
        http.client.HTTPConnection(addresses[each % len(addresses)], timeout=ANSWER_SECONDS) for each in range(size)
    ]
    for text in sys.stdin:
        order = json.loads(text)
        answers: list[tuple[int, str | None, str | None]] = [(0, None, None)] * size
        threads = [
            threading.Thread(target=_one, args=(line, secret, order, answers, place))
            for place, line in enumerate(lines)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(json.dumps(answers), flush=True)


def _one(
    line: http.client.HTTPConnection, secret: str, order: Mapping[str, Any], answers: list[Any], place: int
) -> None:
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": order["key"]}
    time.sleep(max(0.0, order["at"] - time.monotonic()))
    try:
        reply = spoken(line, "POST", "/v1/transfers", order["body"], headers)
    except ConnectionDied as gone:
        line.close()
        answers[place] = (0, None, str(gone))
        return
    answers[place] = (reply.status, reply.transfer_id, reply.body.get("code"))


if __name__ == "__main__":
    main()
