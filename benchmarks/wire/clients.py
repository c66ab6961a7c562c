"""`python -m benchmarks.wire.clients`: the load, in a process of its own.

Reads one Order as JSON from standard input; prints `{"at": "begin"}` when the warm-up is over, `{"at": "end"}` when
the measured time is, and then what was measured. In an open loop a transfer's time runs from the instant at which it
was due, so that a contestant that falls behind pays for the queue it causes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import deque
from typing import Any

from benchmarks.wire.order import BROKEN, CONFIRMED, REFUSED, Order

HEAD_END = b"\r\n\r\n"
CHUNKS_END = b"0\r\n\r\n"
PATIENCE_SECONDS = 20.0
"""A client hangs up on an answer that takes longer; the same at the end of the run."""


class Connection(asyncio.Protocol):
    """One kept-open connection that asks one thing at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.asked_at = 0.0
        self.dead = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it to write to."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits is told."""
        self.dead = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed"))

    def data_received(self, data: bytes) -> None:
        """Hand over the answer once it is whole."""
        self._buffer += data
        end = self._buffer.find(HEAD_END)
        if end < 0 or self._waiting is None or self._waiting.done():
            return
        head, body = self._buffer[:end].lower(), self._buffer[end + len(HEAD_END) :]
        length = head.find(b"content-length:")
        if length >= 0:
            line = head[length + 15 : length + 40].split(b"\r\n", 1)[0]
            if len(body) < int(line):
                return
        elif b"chunked" in head and not body.endswith(CHUNKS_END):
            return
        self._buffer = b""
        self._waiting.set_result((int(head[9:12]), body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; raises OSError when the connection dies first."""
        assert self._transport is not None
        if self.dead:
            raise ConnectionResetError("closed")
        self._waiting, self.asked_at = asyncio.get_running_loop().create_future(), time.perf_counter()
        self._transport.write(request)
        return await self._waiting

    def hang_up_late(self, now: float) -> None:
        """Close the connection if its answer is overdue."""
        waits = self._waiting is not None and not self._waiting.done()
        if waits and now - self.asked_at > PATIENCE_SECONDS and self._transport is not None:
            self._transport.close()


class Load:
    """One order, carried out."""

    def __init__(self, order: Order) -> None:
        self._order, self._next = order, order.first
        more = "".join(f"{name}: {value}\r\n" for name, value in order.door.headers.items())
        self._head = (
            f"POST {order.door.path} HTTP/1.1\r\nHost: {order.door.host}:{order.door.port}\r\n"
            f"Content-Type: application/json\r\n{more}"
        )
        self._micros: list[int] = []
        self._told: dict[int, str] = {}
        self._answers: dict[str, int] = {}
        self._odd = ""
        self._connections: list[Connection] = []
        self._over = asyncio.Event()
        self.begin = self.end = 0.0

    async def run(self) -> dict[str, Any]:
        """Warm up, measure, and tell."""
        order = self._order
        self.begin = time.perf_counter() + order.warm_seconds
        self.end = self.begin + order.seconds
        marks = [asyncio.create_task(self._mark(each, at)) for each, at in (("begin", self.begin), ("end", self.end))]
        watch = asyncio.create_task(self._watch())
        await (self._closed() if order.rate is None else self._open(order.rate))
        if self._told and all(each.dead for each in self._connections):
            self._over.set()  # nobody is left to ask: the server was killed
        await asyncio.gather(*marks)
        watch.cancel()
        told = {str(number): what for number, what in self._told.items()} if order.numbered else {}
        return {"micros": self._micros, "answers": self._answers, "next": self._next, "told": told, "odd": self._odd}

    async def _closed(self) -> None:
        async def client() -> None:
            connection = await self._connect()
            while time.perf_counter() < self.end:
                if not await self._transfer(connection, time.perf_counter()):
                    if self._order.numbered:
                        return  # the server was killed, and no client comes again: the rest is the system's affair
                    connection = await self._connect()

        await asyncio.gather(*(client() for _ in range(self._order.connections)))

    async def _mark(self, name: str, instant: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), max(0.0, instant - time.perf_counter()))
        print(json.dumps({"at": name}), flush=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1)
            for each in self._connections:
                each.hang_up_late(time.perf_counter())

    async def _open(self, rate: float) -> None:
        """Arrivals at even distances, taken up by whichever connection is free."""
        due: deque[float] = deque()
        arrived, over = asyncio.Condition(), False

        async def client() -> None:
            connection = await self._connect()
            while True:
                async with arrived:
                    await arrived.wait_for(lambda: bool(due) or over)
                    if not due:
                        return
                    instant = due.popleft()
                if not await self._transfer(connection, instant):
                    connection = await self._connect()

        clients = [asyncio.create_task(client()) for _ in range(self._order.connections)]
        instant = time.perf_counter()
        while instant < self.end:
            await asyncio.sleep(max(0.0, instant - time.perf_counter()))
            async with arrived:
                due.append(instant)
                arrived.notify()
            instant += 1 / rate
        async with arrived:
            over = True
            arrived.notify_all()
        await asyncio.wait(clients, timeout=PATIENCE_SECONDS)
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for instant in due:
            self._never_answered(instant)

    async def _connect(self) -> Connection:
        door = self._order.door
        _, connection = await asyncio.get_running_loop().create_connection(Connection, door.host, door.port)
        self._connections.append(connection)
        return connection

    async def _transfer(self, connection: Connection, instant: float) -> bool:
        """One transfer, due at `instant`; false when the connection died under it."""
        number, self._next = self._next, self._next + 1
        self._told[number] = BROKEN
        try:
            status, body = await connection.ask(self._request(number))
        except OSError:
            self._never_answered(instant)
            return False
        except asyncio.CancelledError:
            self._never_answered(instant)
            raise
        done = time.perf_counter()
        good = status in (200, 201) and b"confirmed" in body
        self._told[number] = CONFIRMED if good else REFUSED
        if not good:
            self._odd = self._odd or f"{status} {body[:300].decode(errors='replace')}"
        # A closed loop counts what ended in the measured time, an open one what was due in it.
        if self.begin <= (done if self._order.rate is None else instant) < self.end:
            self._count(self._told[number])
            if good:
                self._micros.append(int((done - instant) * 1e6))
        return True

    def _never_answered(self, instant: float) -> None:
        """It counts as broken; in an open loop also as having taken at least until now: it must improve nothing."""
        now = time.perf_counter()
        if self._order.rate is None:
            if self._order.numbered or now >= self.begin:
                self._count(BROKEN)
        elif self.begin <= instant < self.end:
            self._count(BROKEN)
            self._micros.append(int((now - instant) * 1e6))

    def _request(self, number: int) -> bytes:
        order = self._order
        amount = f"{number // 100}.{number % 100:02}" if order.numbered else "1.00"
        body = (
            f'{{"player_id":"p{number % order.players}","provider":"stub","direction":"in",'
            f'"amount":"{amount}","currency":"EUR"}}'
        )
        name = f"{order.run}-{number}"
        # The second one is for a door that keeps the first to itself.
        keys = f"Idempotency-Key: {name}\r\nX-Request-Id: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
        return (self._head + keys + body).encode()

    def _count(self, what: str) -> None:
        self._answers[what] = self._answers.get(what, 0) + 1


def main() -> None:
    """Read the order, run it, print what was measured."""
    order = Order.read(json.loads(sys.stdin.readline()))
    with contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(asyncio.run(Load(order).run())), flush=True)


if __name__ == "__main__":
    main()
