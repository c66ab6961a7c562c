"""The network between our processes and the providers: sockets on which bytes take time, come twice, late, or never.

Everything above the socket is the bridge's own: requests, urllib3, http.client, and the gate and deadlines of
`bridge/outbound.py`. What a provider wants on the wire (a reset, silence, drops of bytes) is done as its own server
does it (`bridge/simulator/server.py`).
"""

from __future__ import annotations

import io
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from bridge.simulator.messages import Delivery, Request
from tests.simulation.chance import Stream
from tests.simulation.spoken import MONEY, Asked, first_line
from tests.simulation.world import SECOND, TIMED_OUT, Killed, Node, Strand, World

LATE_REQUEST_SECONDS = (0.5, 5, 12, 25, 40)
LATE_ANSWER_SECONDS = (0.5, 3, 9, 15, 30)
DRIP_SECONDS = (0.01, 0.2, 1)
PIECES_OF_A_DRIP = 40
LATENCY_SECONDS = (0.001, 0.004, 0.03, 0.2)
EDGE_DOWN_SECONDS = (20, 120, 600, 1800)
TOGETHER_WITH_A_LOSS = 60
CUT_OFF_SECONDS = (60, 150, 240, 400)

END, RESET = object(), object()
"""What can come on a connection beside bytes: its end in good order, or a reset."""


class Peer(Protocol):
    """Whoever answers behind the wire."""

    node: Node
    starts: int

    def answer(self, request: Request) -> Delivery:
        """What a request leads to; called in a strand of the peer's own node."""


class Network:
    """Who is reached under which name. `sent(provider, name)`: a money request leaves, about what its provider knows by
    that name. `left(provider, request)`: any request leaves; `answered(provider, what was asked, answer)`: the answer
    to it was read to its last byte."""

    def __init__(
        self,
        world: World,
        sent: Callable[[str, str], None],
        left: Callable[[str, Request], Asked | None],
        answered: Callable[[str, Asked, Delivery], None],
    ) -> None:
        self.world, self.peers, self._sent = world, dict[str, Peer](), sent
        self._left, self._answered_to = left, answered
        self.exchanges = 0
        self._edges = dict[str, tuple[int, Delivery]]()
        self._cut_until, self._lost = dict[str, int](), set[tuple[str, str]]()
        self._outside = Node(world, "network")
        self._outside.mortal = False

    def dial(self, host: str, _port: int, remaining: Callable[[], float]) -> socket.socket:
        """A connection to a peer, as `bridge.runtime.dial`."""
        world, dice = self.world, self._dice()
        world.sleep(min(remaining(), dice.choice(LATENCY_SECONDS)))
        world.passing()
        if world.faulty and dice.strikes("name_unknown", world.swarm.rate("name_unknown")):
            world.struck("name_unknown", host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        refused = world.faulty and dice.strikes("connection_refused", world.swarm.rate("connection_refused"))
        if refused:
            world.struck("connection_refused", host)
        if refused or self.peers[host].node.dead:
            raise ConnectionRefusedError("Connection refused")
        remaining()
        return Wire(self, self.peers[host])  # type: ignore[return-value]

    def _dice(self) -> Stream:
        assert self.world.current is not None
        return self.world.current.dice

    def carry(self, wire: Wire, sent: bytes) -> None:
        """Bring a whole request to its peer, and back what it says, unless the network has it otherwise."""
        world, dice, rate = self.world, self._dice(), self.world.swarm.rate
        assert world.current is not None
        name = f"{world.current.name} > {wire.peer.node.name} {dice.getrandbits(32):08x}"
        self.exchanges += 1
        request = request_of(sent)
        wire.asked = self._left(wire.peer.node.name, request)
        if wire.asked is not None and wire.asked.operation in MONEY:
            self._sent(wire.peer.node.name, wire.asked.name)
        if world.faulty and self._is_cut_off(wire.peer.node.name, wire.asked):
            return
        self._perhaps_edge_down(wire.peer.node.name, 1)
        if world.faulty and dice.strikes("request_lost", rate("request_lost")):
            world.struck("request_lost", name)
            return
        late = dice.choice(LATE_REQUEST_SECONDS)
        delay = dice.choice(LATENCY_SECONDS)
        if world.faulty and dice.strikes("request_delayed", rate("request_delayed")):
            world.struck("request_delayed", f"{name}, {late:g} s")
            delay = late
        world.after(delay, self._arrive, wire, sent, name)
        if world.faulty and dice.strikes("request_twice", rate("request_twice")):
            world.struck("request_twice", name)
            world.after(delay + late, self._arrive, Echo(self, wire.peer), sent, f"{name} again")

    def _is_cut_off(self, peer: str, asked: Asked | None) -> bool:
        """The road is cut when a money request is on it, and later, once, when that is repeated: only so does a repeat
        come after look-ups would count, were they counted from the first request."""
        world, dice = self.world, self._dice()
        if world.now < self._cut_until.get(peer, 0):
            return True
        if asked is None or asked.operation not in MONEY:
            return False
        if (peer, asked.name) in self._lost:
            self._lost.remove((peer, asked.name))
            return True
        if dice.strikes("cut_off", world.swarm.rate("cut_off")):
            seconds = dice.choice(CUT_OFF_SECONDS)
            world.struck("cut_off", f"{peer} for {seconds} s")
            self._cut_until[peer] = world.now + seconds * SECOND
            self._lost.add((peer, asked.name))
            return True
        return False

    def _arrive(self, wire: Wire, sent: bytes, name: str) -> None:
        page = self._page_of_the_edge(wire.peer.node.name)
        if page is not None:
            self.world.spawn(self._outside, f"{name} turned away", lambda: self._write(wire, page))
            return
        if wire.peer.node.dead or wire.is_stale:
            wire.receive(RESET)
            return
        self.world.spawn(wire.peer.node, name, lambda: self._answered(wire, sent, name))

    def _perhaps_edge_down(self, peer: str, times: float) -> None:
        """It goes down out of nothing, and, so many times more often, together with an answer that is lost."""
        world, dice = self.world, self._dice()
        seconds, page = dice.choice(EDGE_DOWN_SECONDS), dice.choice(PAGES)
        if world.faulty and dice.strikes("edge_down", times * world.swarm.rate("edge_down")):
            self._edges[peer] = world.now + seconds * SECOND, page
            world.struck("edge_down", f"{peer}, {page.status} for {seconds} s")

    def _page_of_the_edge(self, peer: str) -> Delivery | None:
        """What a proxy, a firewall or a page for maintenance says in the provider's place, which is asked nothing."""
        until, page = self._edges.get(peer, (0, None))
        return page if self.world.faulty and self.world.now < until else None

    def _answered(self, wire: Wire, sent: bytes, name: str) -> None:
        """In a strand of the peer: whatever kills it leaves the client with a dead connection."""
        try:
            delivery = wire.peer.answer(request_of(sent))
        except Killed:
            wire.receive(RESET)
            raise
        self.world.spawn(self._outside, f"{name} back", lambda: self._back(wire, delivery))

    def _back(self, wire: Wire, delivery: Delivery) -> None:
        world, dice, rate = self.world, self._dice(), self.world.swarm.rate
        name = wire.peer.node.name
        world.sleep(dice.choice(LATENCY_SECONDS) + (0 if delivery.cut == "hang" else delivery.delay))
        late = dice.choice(LATE_ANSWER_SECONDS)
        if isinstance(wire, Echo):
            return
        if world.faulty:
            if dice.strikes("response_lost", rate("response_lost")):
                world.struck("response_lost", name)
                self._perhaps_edge_down(name, TOGETHER_WITH_A_LOSS)
                return
            if dice.strikes("response_delayed", rate("response_delayed")):
                world.struck("response_delayed", f"{name}, {late:g} s")
                world.sleep(late)
            delivery = self._spoilt(delivery, dice, name)
        self._write(wire, delivery)

    def _spoilt(self, delivery: Delivery, dice: Stream, name: str) -> Delivery:
        world, rate = self.world, self.world.swarm.rate
        if delivery.cut:
            return delivery
        if dice.strikes("response_reset", rate("response_reset")):
            world.struck("response_reset", name)
            return delivery.but(cut="reset")
        if dice.strikes("response_cut", rate("response_cut")):
            world.struck("response_cut", name)
            return delivery.but(cut="half")
        if dice.strikes("response_dripping", rate("response_dripping")):
            world.struck("response_dripping", name)
            return delivery.but(drip=dice.choice(DRIP_SECONDS))
        if dice.strikes("response_garbled", rate("response_garbled")):
            world.struck("response_garbled", name)
            return garbled(delivery, dice)
        return delivery

    def _write(self, wire: Wire, delivery: Delivery) -> None:
        """As the provider's own server puts it on the socket."""
        if delivery.cut == "hang":
            self.world.sleep(delivery.delay)
        if delivery.cut in ("", "half"):
            head = head_of(delivery, self.world.now)
            body = delivery.body[: len(delivery.body) // 2] if delivery.cut else delivery.body
            if wire.asked is not None and not delivery.cut:
                wire.expect(len(head + body), partial(self._answered_to, wire.peer.node.name, wire.asked, delivery))
            if delivery.drip:
                self._drip(wire, head + body, delivery.drip)
            else:
                wire.receive(head + body)
        if delivery.cut:
            wire.receive(RESET if delivery.cut in ("reset", "half") else END)

    def _drip(self, wire: Wire, content: bytes, seconds: float) -> None:
        """So slowly that a pause between two reads never outlasts a client's patience, only the whole does. In fewer
        pieces than bytes, each later by as much: what the client sees of time is the same."""
        size = max(1, len(content) // PIECES_OF_A_DRIP)
        for place in range(0, len(content), size):
            wire.receive(content[place : place + size])
            self.world.sleep(seconds * size)


class Wire(io.RawIOBase):
    """A client's end of one connection; what a socket is to `bridge/outbound.py`."""

    def __init__(self, network: Network, peer: Peer) -> None:
        self.network, self.peer, self._since = network, peer, peer.starts
        self.asked: Asked | None = None
        self._come: deque[bytes | object] = deque()
        self._seconds: float | None = None
        self._reader: Strand | None = None
        self._unread, self._when_read = 0, lambda: None

    @property
    def is_stale(self) -> bool:
        """Whether the peer was started again since it was connected to."""
        return self.peer.starts != self._since

    # --- as a socket ----------------------------------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        """How long a read may wait for its first byte."""
        self._seconds = seconds

    def setsockopt(self, *_options: Any) -> None:
        """Nothing here waits for full packets."""

    def fileno(self) -> int:
        """Ready to be read where the other side has hung up, as urllib3 asks before it uses a connection again."""
        return HUNG_UP if self.is_stale or self._come else QUIET

    def makefile(self, *_modes: Any, **_options: Any) -> Wire:
        """The connection as a raw stream; http.client closes one and opens another."""
        return self

    def sendall(self, content: bytes) -> None:
        """The request leaves, whole, at this instant; the clock was looked at right before."""
        self.network.world.leaving()
        self.network.carry(self, bytes(content))
        self.network.world.passing()

    def close(self) -> None:
        """Whether it is used again is decided above; what still comes is lost with it."""

    def readinto(self, buffer: Any) -> int:
        """The next bytes; raises TimeoutError, or OSError where the connection was reset."""
        world = self.network.world
        if not self._come:
            self._reader = world.current
            came = world.park(self._seconds)
            self._reader = None
            world.passing()
            if came is TIMED_OUT and not self._come:
                raise TimeoutError("timed out")
        piece = self._come[0]
        if piece is RESET:
            raise ConnectionResetError("Connection reset by peer")
        if piece is END:
            return 0
        assert isinstance(piece, bytes)
        count = min(len(buffer), len(piece))
        buffer[:count] = piece[:count]
        self._come.popleft()
        if count < len(piece):
            self._come.appendleft(piece[count:])
        if self._unread:
            self._unread -= count
            if not self._unread:
                self._when_read()
        return count

    # --- from the other side --------------------------------------------------------------------------

    def expect(self, size: int, when_read: Callable[[], None]) -> None:
        """An answer of so many bytes is coming: whoever reads the last of them has heard it, and nobody else."""
        self._unread, self._when_read = size, when_read

    def receive(self, piece: bytes | object) -> None:
        """Something arrives."""
        self._come.append(piece)
        if self._reader is not None:
            self.network.world.wake(self._reader, None)


class Echo(Wire):
    """The connection of a request that the network has brought a second time: nobody reads it."""

    def receive(self, piece: bytes | object) -> None:
        """Nobody is there."""


def _pipe(*, closed: bool) -> int:
    reading, writing = os.pipe()
    if closed:
        os.close(writing)
    return reading


QUIET, HUNG_UP = _pipe(closed=False), _pipe(closed=True)


def request_of(sent: bytes) -> Request:
    """The bytes of a request, read as the provider's server reads them."""
    head, _, body = sent.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _version = first.split(" ")
    url = urlsplit(target)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, url.path, dict(parse_qsl(url.query, keep_blank_values=True)), headers, body)


def head_of(delivery: Delivery, now: int) -> bytes:
    """Status line and headers of an answer."""
    headers: Mapping[str, str] = {"Date": formatdate(now // SECOND, usegmt=True), **delivery.headers}
    lines = [first_line(delivery)]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(delivery.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


HTML = {"Content-Type": "text/html"}
PAGE = b"<!doctype html><title>Not available</title>"
PAGES = (Delivery(404, b"", {}), *(Delivery(status, PAGE, HTML) for status in (200, 403, 404, 500, 502, 503)))
"""What stands before a provider may say in its place; none of it says anything about money."""


def garbled(delivery: Delivery, dice: Stream) -> Delivery:
    """What a proxy on the way makes of an answer."""
    kinds = (
        delivery.but(body=delivery.body[: len(delivery.body) * 2 // 3]),
        delivery.but(body=b""),
        Delivery(200, PAGE, HTML),
        Delivery(dice.choice((500, 502, 503, 504)), PAGE, HTML),
        Delivery(429, b"", {"Retry-After": "1"}),
    )
    return dice.choice(kinds)
