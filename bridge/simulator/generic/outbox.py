"""Callbacks on their way (contract §3): a queue beside the protocol, sent again until they are taken."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from bridge.simulator.generic import signature
from bridge.simulator.generic.protocol import MEDIA
from bridge.simulator.journal import GIVEN_UP, NO_ANSWER, TAKEN, CallbackDiary
from bridge.simulator.server import Gate

ANSWER_SECONDS = 5.0  # an answer is waited for so long
SENDERS = 4
GLANCE = 0.1  # seconds between two looks whether to stop
LONGEST_PAUSE = 720  # × the first pause: an hour where that is 5 s
PATIENCE = 51_840  # × the first pause: three days where that is 5 s
ROUND_PAUSE = 0.01  # seconds between the rounds of a storm


@dataclass(frozen=True)
class Letter:
    """One message as it is sent. What is honest stands in the defaults.

    `signed`: the bytes that the signature is over (None: the body). `signed_id`: the id that it is over.
    `keys`: what it is signed with (None: the right ones). `age`: seconds by which its timestamp is old.
    `copies`: so many at the same instant. `rounds`: so many times without a pause, whatever is answered.
    `insist`: send again until it is taken. `then`: the letter that goes out after this one.
    """

    id: str
    type: str
    reference: str
    body: bytes
    signed: bytes | None = None
    signed_id: str = ""
    keys: tuple[bytes, ...] | None = None
    version: str = "v1"
    age: int = 0
    copies: int = 1
    rounds: int = 1
    insist: bool = True
    then: Letter | None = None


@dataclass(order=True)
class _Due:
    at: float
    number: int
    letter: Letter = field(compare=False)
    attempt: int = field(compare=False, default=1)
    began: float = field(compare=False, default=0.0)


class Outbox:
    """Letters by the instant at which they are due. Nothing here ever waits for the protocol, nor it for this."""

    def __init__(
        self, keys: Sequence[bytes], pause: float, clock: Callable[[], int], diary: CallbackDiary, gate: Gate
    ) -> None:
        """`pause` in seconds until the first repetition; `clock` tells seconds since 1970, for timestamps."""
        self.url: str | None = None
        self._keys, self._pause, self._clock, self._diary, self._gate = tuple(keys), pause, clock, diary, gate
        self._queue: list[_Due] = []
        self._numbers = itertools.count()
        self._turn = threading.Condition()

    def start(self) -> None:
        """Let the senders work until the gate closes."""
        for _ in range(SENDERS):
            threading.Thread(target=self._work, daemon=True).start()

    def put(self, letter: Letter, delay: float = 0.0) -> None:
        """Send a letter, soon or after some seconds."""
        self._push(_Due(time.monotonic() + delay, next(self._numbers), letter))

    def drop(self) -> None:
        """Send nothing to anybody any more; what was waiting is forgotten."""
        with self._turn:
            self.url = None
            self._queue.clear()

    def _push(self, due: _Due) -> None:
        with self._turn:
            heapq.heappush(self._queue, due)
            self._turn.notify()

    def _work(self) -> None:
        while not self._gate.stopping.is_set():
            due = self._next()
            if due is not None:
                self._deliver(due)

    def _next(self) -> _Due | None:
        with self._turn:
            wait = self._queue[0].at - time.monotonic() if self._queue else GLANCE
            if wait > 0:
                self._turn.wait(min(wait, GLANCE))
                return None
            return heapq.heappop(self._queue)

    def _deliver(self, due: _Due) -> None:
        letter, began = due.letter, due.began or time.monotonic()
        statuses = self.send(letter, due.attempt)
        if letter.then is not None and due.attempt == 1:
            self.put(letter.then)
        if not letter.insist or self.url is None or any(status in TAKEN for status in statuses):
            return
        pause = self._pause * min(2 ** (due.attempt - 1), LONGEST_PAUSE)
        if time.monotonic() - began > self._pause * PATIENCE:
            self._diary.write(letter.id, letter.type, letter.reference, due.attempt, GIVEN_UP)
        else:
            again = time.monotonic() + pause
            self._push(_Due(again, next(self._numbers), letter, due.attempt + letter.rounds, began))

    def send(self, letter: Letter, attempt: int = 1) -> list[int | str]:
        """All copies and rounds of a letter, now; what was answered to each: an HTTP status, or "no answer"."""
        statuses: list[int | str] = []
        for number in range(letter.rounds):
            if number and self._gate.pause(ROUND_PAUSE):
                break
            statuses += self._together(letter, attempt + number)
        return statuses

    def _together(self, letter: Letter, attempt: int) -> list[int | str]:
        if letter.copies == 1:
            return [self._once(letter, attempt)]
        statuses: list[int | str] = []
        line = threading.Barrier(letter.copies)

        def run() -> None:
            line.wait()
            statuses.append(self._once(letter, attempt))

        threads = [threading.Thread(target=run, daemon=True) for _ in range(letter.copies)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    def _once(self, letter: Letter, attempt: int) -> int | str:
        status = self._post(letter)
        self._diary.write(letter.id, letter.type, letter.reference, attempt, status)
        return status

    def _post(self, letter: Letter) -> int | str:
        if self.url is None:
            return NO_ANSWER
        url = urlsplit(self.url)
        connection = HTTPConnection(url.hostname or "", url.port or 80, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", url.path or "/", letter.body, self._headers(letter))
            return connection.getresponse().status
        except (OSError, HTTPException):
            return NO_ANSWER
        finally:
            connection.close()

    def _headers(self, letter: Letter) -> dict[str, str]:
        timestamp, keys = str(self._clock() - letter.age), self._keys if letter.keys is None else letter.keys
        signed = letter.body if letter.signed is None else letter.signed
        codes = [signature.code(key, letter.signed_id or letter.id, timestamp, signed) for key in keys]
        return {
            "Content-Type": MEDIA,
            "webhook-id": letter.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(letter.version + each.removeprefix("v1") for each in codes),
        }
