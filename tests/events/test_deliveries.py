"""Deliveries, against a server that answers by a script: until it is taken, over days, signed, and to nowhere else."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from standardwebhooks import Webhook

from bridge import db, deliveries, endpoints, events, keys, lineage, replays, webhooks
from bridge.deliveries import Lease
from bridge.errors import Conflict, Invalid, NotFound
from bridge.ports import SECOND
from jobs import deliver, outbox, resolve
from tests.harness import Bench, Hands, together
from tests.providers import ScriptedServer, http, silence

OK = http(204)
HOUR, DAY = 3600, 86_400
WAITS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)


def tick(casino: Bench) -> dict[str, int]:
    """What the two jobs do at their next tick."""
    now, stop = casino.runtime.clock.now(), Event()
    return {**outbox.run_once(casino.runtime, now, 1000, stop), **deliver.run_once(casino.runtime, now, 1000, stop)}


def registered(casino: Bench, receiver: ScriptedServer, path: str = "/events") -> tuple[str, str]:
    """(id, secret) of an endpoint at the receiver."""
    row, secret = endpoints.register(casino.runtime, casino.operator, receiver.url + path, "test")
    return row["id"], secret


def states(casino: Bench) -> list[str]:
    """Of all deliveries, in the order of their events."""
    return [row["state"] for row in casino.rows("SELECT state FROM delivery ORDER BY sequence, endpoint_id")]


def endpoint(casino: Bench, endpoint_id: str) -> Any:
    """Its row."""
    return casino.rows("SELECT * FROM webhook_endpoint WHERE id = :id", id=endpoint_id)[0]


def next_wait(casino: Bench, hands: Hands) -> float:
    """Seconds until the one delivery that waits is due."""
    (row,) = casino.rows("SELECT wake_at FROM delivery WHERE state = 'waiting'")
    return float(row["wake_at"] - hands.now()) / SECOND


def test_an_event_is_delivered_signed(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """I-43 Standard Webhooks: what the reference implementation signs, and what our own verification accepts."""
    _, secret = registered(casino, receiver)
    receiver.answers = [OK]
    casino.run("in", "12.50")
    assert tick(casino) == {"numbered": 1, "taken": 1, "delivered": 1, "failed": 0}
    (request,) = receiver.received
    assert (request.method, request.target) == ("POST", "/events")
    assert request.headers["content-type"] == "application/json"
    (event,) = events.page(casino.runtime, casino.operator, 0, 10)
    assert request.body == event["body"].encode()
    message_id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert message_id == event["id"]
    assert int(timestamp) == hands.now() // SECOND
    at = datetime.fromtimestamp(int(timestamp), UTC)
    assert request.headers["webhook-signature"] == Webhook(secret).sign(message_id, at, request.body.decode())
    webhooks.verify([secret], message_id, timestamp, request.headers["webhook-signature"], request.body, int(timestamp))
    assert states(casino) == ["delivered"]
    assert tick(casino)["taken"] == 0


@pytest.mark.parametrize(("ahead", "fails"), [(HOUR, False), (9 * DAY, True)])
def test_what_was_planned_by_a_clock_that_was_ahead_is_sent(
    casino: Bench, receiver: ScriptedServer, hands: Hands, ahead: int, *, fails: bool
) -> None:
    """I-31 The database's clock was ahead with it: of a process that died with an event in hand, or after a failure."""
    registered(casino, receiver)
    receiver.answers = [http(500), OK]
    casino.run("in", "1.00")
    hands.turn(ahead)
    if fails:
        assert tick(casino)["failed"] == 1
    else:
        outbox.run_once(casino.runtime, hands.now(), 10, Event())
        (to,) = deliveries.ready(casino.runtime)
        assert len(deliveries.take(casino.runtime, to, 1)) == 1
        receiver.answers = [OK]
    hands.turn(-ahead)
    assert tick(casino)["taken"] == 0
    resolve.run_once(casino.runtime, hands.now(), 10, Event())
    assert tick(casino)["delivered"] == 1


def test_who_comes_later_gets_what_comes_later(casino: Bench, receiver: ScriptedServer) -> None:
    """An endpoint gets every event that is numbered while it is enabled, and none before."""
    casino.run("in", "1.00")
    tick(casino)
    registered(casino, receiver)
    receiver.answers = [OK, OK]
    casino.run("in", "2.00")
    casino.run("in", "3.00")
    tick(casino)
    assert sorted(json.loads(request.body)["sequence"] for request in receiver.received) == [2, 3]


def test_a_failed_delivery_comes_again_for_days(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """C-69 Waits that grow over more than three days, a fifth more or less; then it is given up, not forgotten."""
    endpoint_id, _ = registered(casino, receiver)
    receiver.answers = [http(500) for _ in range(len(WAITS) + 1)]
    casino.run("in")
    tick(casino)
    waited = []
    for wait in WAITS:
        assert states(casino) == ["waiting"]
        found = next_wait(casino, hands)
        assert wait * 0.8 <= found <= wait * 1.2
        waited.append(found / wait)
        hands.turn(found - 1)
        assert tick(casino)["taken"] == 0
        hands.turn(400)  # the endpoint is left alone for five minutes at most
        assert tick(casino)["failed"] == 1
    assert states(casino) == ["given_up"]
    assert len(set(waited)) == len(WAITS)
    assert sum(WAITS) > 3 * DAY
    (shown,) = replays.page(casino.runtime, casino.operator, endpoint_id, None, None, 10)
    assert [each["status"] for each in shown["log"]] == [500] * (len(WAITS) + 1)
    receiver.answers = [OK]
    assert replays.replay(casino.runtime, casino.operator, endpoint_id, 1, 1) == 1
    hands.turn(400)
    tick(casino)
    assert states(casino) == ["delivered"]


@pytest.mark.parametrize(("told", "least"), [("120", 120), ("99999999", DAY), ("soon", 0), ("-5", 0)])
def test_retry_after_is_heeded(
    casino: Bench, receiver: ScriptedServer, hands: Hands, told: str, least: int
) -> None:
    """C-69 429 with Retry-After: not before, but within a day."""
    registered(casino, receiver)
    receiver.answers = [http(429, b"", "", f"Retry-After: {told}")]
    casino.run("in")
    tick(casino)
    assert max(least, 4) <= next_wait(casino, hands) <= max(least, 6)


def test_who_is_gone_is_disabled_with_notice(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """C-69 410: nothing is sent there any more, what waits is dropped, and the others are told."""
    gone, _ = registered(casino, receiver, "/gone")
    registered(casino, receiver, "/here")
    receiver.routes = {"/gone": http(410), "/here": OK}
    casino.run("in")
    tick(casino)
    assert (endpoint(casino, gone)["state"], endpoint(casino, gone)["reason"]) == ("disabled", "it answered 410 Gone")
    casino.run("in")
    tick(casino)
    assert len(receiver.requests("/gone")) == 1
    kinds = [json.loads(request.body)["type"] for request in receiver.requests("/here")]
    assert sorted(kinds) == ["endpoint.disabled", "transfer.confirmed", "transfer.confirmed"]
    notice = next(json.loads(r.body) for r in receiver.requests("/here") if b"endpoint.disabled" in r.body)
    assert notice["data"] == {"endpoint_id": gone, "label": "test", "reason": "it answered 410 Gone"}
    assert [row["sequence"] for row in events.page(casino.runtime, casino.operator, 0, 10)] == [1, 2, 3]
    endpoints.enable(casino.runtime, casino.operator, gone)
    receiver.routes["/gone"] = OK
    assert replays.replay(casino.runtime, casino.operator, gone, 1, 3) == 3
    hands.turn(1)
    tick(casino)
    assert len(receiver.requests("/gone")) == 4


def test_a_dead_endpoint_is_disabled_after_days(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """Where nothing has arrived for five days, nothing more is tried, and its operator's events say so."""
    endpoint_id, _ = registered(casino, receiver)
    receiver.routes = {"/events": http(500)}
    for _ in range(5 * 24 + 1):
        casino.run("in", "0.01")
        tick(casino)
        hands.turn(HOUR)
    tick(casino)
    assert endpoint(casino, endpoint_id)["state"] == "disabled"
    assert endpoint(casino, endpoint_id)["reason"] == "nothing has arrived there for 5 days"
    assert "waiting" not in states(casino)
    last = events.page(casino.runtime, casino.operator, 0, 1000)[-1]
    assert last["kind"] == "endpoint.disabled"


def test_a_failing_endpoint_is_tried_with_one_at_a_time(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """What waits behind a failing delivery keeps its tries; one that arrives frees the others."""
    registered(casino, receiver)
    receiver.routes = {"/events": http(503)}
    for _ in range(20):
        casino.run("in", "1.00")
    tick(casino)
    at_once = len(receiver.received)
    assert at_once <= casino.runtime.config.events.deliver_threads
    for _ in range(6):
        hands.turn(300)
        assert tick(casino)["taken"] == 1
    receiver.routes = {"/events": OK}
    hands.turn(300)
    tick(casino)
    hands.turn(DAY)
    tick(casino)
    assert states(casino) == ["delivered"] * 20
    delivered = [json.loads(r.body)["sequence"] for r in receiver.received[at_once + 6 :]]
    assert sorted(delivered) == list(range(1, 21))


def test_one_event_that_is_refused_holds_up_no_other(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """A receiver that chokes on one event gets all others meanwhile."""
    alone = casino.runtime.config.events.model_copy(update={"deliver_threads": 1})
    object.__setattr__(casino.runtime.config, "events", alone)
    registered(casino, receiver)

    def chokes_on_the_first(wire: socket.socket) -> bool:
        bad = json.loads(receiver.received[-1].body)["sequence"] == 1
        return (http(500) if bad else OK)(wire)

    receiver.routes = {"/events": chokes_on_the_first}
    for _ in range(10):
        casino.run("in", "1.00")
    for _ in range(10):
        tick(casino)
        hands.turn(10)
    assert sorted(states(casino)) == ["delivered"] * 9 + ["waiting"]


def test_no_redirect_is_followed(casino: Bench, receiver: ScriptedServer) -> None:
    """C-69 3xx is a failure; what it points to hears nothing."""
    registered(casino, receiver)
    with ScriptedServer(OK) as elsewhere:
        receiver.answers = [http(302, b"", "", f"Location: {elsewhere.url}/events")]
        casino.run("in")
        assert tick(casino)["failed"] == 1
        assert elsewhere.connections == 0


def test_a_silent_endpoint_is_cut(casino: Bench, receiver: ScriptedServer) -> None:
    """C-69 One deadline over the whole exchange, and the delivery comes again."""
    endpoint_id, _ = registered(casino, receiver)
    receiver.answers = [silence]
    casino.run("in")
    assert tick(casino)["failed"] == 1
    (shown,) = replays.page(casino.runtime, casino.operator, endpoint_id, "waiting", None, 10)
    assert [(each["status"], each["failure"]) for each in shown["log"]] == [(None, "deadline")]


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to these addresses, question by question; the questions."""
    asked: list[str] = []
    real, left = socket.getaddrinfo, list(answers)

    def resolve(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if not str(host).endswith(".example"):
            return real(host, port, *rest, **options)
        asked.append(str(host))
        found = left.pop(0) if len(left) > 1 else left[0]
        return [one for address in found for one in real(address, port, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


INNER = ["169.254.169.254", "127.0.0.1", "10.0.0.7", "192.168.1.1", "::1", "::ffff:127.0.0.1", "fd00::1",
         "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0", "100.64.0.1", "224.0.0.1"]  # fmt: skip # noqa: S104 - judged, not bound


@pytest.mark.parametrize("inner", INNER)
def test_no_name_leads_inside(casino: Bench, monkeypatch: pytest.MonkeyPatch, inner: str) -> None:
    """C-69 A name that has, also, an address that is not public is not called at all."""
    runtime = casino.runtime
    closed = runtime.config.events.model_copy(update={"allowed_networks": ()})
    object.__setattr__(runtime.config, "events", closed)
    row, _ = endpoints.register(runtime, casino.operator, "https://casino.example/events", "")
    asked = resolving(monkeypatch, ["8.8.8.8", inner])
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _self, place: connected.append(place))
    with db.writing(runtime.engine) as connection:
        events.emit(connection, runtime, casino.operator, events.Draft("test", {}, 0))
    (to,) = deliveries.ready(runtime)
    (lease,) = deliveries.take(runtime, to, 10)
    assert deliveries.deliver(runtime, lease) is False
    assert asked == ["casino.example"]
    assert [place for place in connected if not str(place).startswith("/")] == []
    (shown,) = replays.page(runtime, casino.operator, row["id"], None, None, 10)
    assert shown["log"][0]["failure"] == "not_allowed"


def test_a_name_is_resolved_once(casino: Bench, receiver: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-69 DNS rebinding: what was judged is what is called, whatever the name means a moment later."""
    port = receiver.port
    row, _ = endpoints.register(casino.runtime, casino.operator, f"http://casino.example:{port}/events", "")
    asked = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    receiver.answers = [OK]
    casino.run("in")
    assert tick(casino)["delivered"] == 1
    assert asked == ["casino.example"]
    assert receiver.received[0].headers["host"] == f"casino.example:{port}"
    assert endpoint(casino, row["id"])["failures"] == 0


def test_without_tls_only_to_what_is_named(casino: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address without TLS is called in the networks of the configuration alone, however public it is."""
    row, _ = endpoints.register(casino.runtime, casino.operator, "http://casino.example/events", "")
    resolving(monkeypatch, ["8.8.8.8"])
    casino.run("in")
    assert tick(casino)["failed"] == 1
    (shown,) = replays.page(casino.runtime, casino.operator, row["id"], None, None, 10)
    assert shown["log"][0]["failure"] == "not_allowed"


def test_both_secrets_sign_while_one_replaces_the_other(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """Whoever still has the old secret accepts what is sent for a day, and so does whoever has the new one."""
    endpoint_id, old = registered(casino, receiver)
    _, new = endpoints.rotate(casino.runtime, casino.operator, endpoint_id)
    assert old != new
    with pytest.raises(Conflict) as lately:  # a third one would end the first too early
        endpoints.rotate(casino.runtime, casino.operator, endpoint_id)
    assert lately.value.after_seconds is not None
    receiver.routes = {"/events": OK}
    for _ in range(2):
        casino.run("in", "1.00")
        tick(casino)
        hands.turn(DAY)

    def accepts(secret: str, number: int) -> bool:
        sent = receiver.received[number].headers
        told = (sent["webhook-id"], sent["webhook-timestamp"], sent["webhook-signature"])
        try:
            webhooks.verify([secret], *told, receiver.received[number].body, int(told[1]))
        except webhooks.BadSignature:
            return False
        return True

    assert [accepts(old, 0), accepts(new, 0), accepts(old, 1), accepts(new, 1)] == [True, True, False, True]


def due(casino: Bench, most: int = 10) -> list[Lease]:
    """What one process takes of all that is due."""
    return [lease for to in deliveries.ready(casino.runtime) for lease in deliveries.take(casino.runtime, to, most)]


def test_a_worker_that_died_leaves_its_delivery(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """C-45 After its lease another worker sends it, and what the dead one would have noted moves nothing."""
    registered(casino, receiver)
    casino.run("in")
    events.number(casino.runtime, casino.operator, 10)
    (first,) = due(casino)
    assert due(casino.another()) == []
    hands.turn(casino.runtime.config.events.answer_seconds + deliveries.LEASE_SLACK_SECONDS)
    (second,) = due(casino.another())
    assert second == Lease(first.delivery_id, first.epoch + 1, first.to)
    receiver.answers = [OK]
    assert deliveries.deliver(casino.runtime, first) is False
    assert receiver.received == []
    assert deliveries.deliver(casino.runtime, second) is True
    assert states(casino) == ["delivered"]


def test_what_outlasts_its_lease_counts_against_the_endpoint(
    casino: Bench, receiver: ScriptedServer, hands: Hands
) -> None:
    """A request that is answered when another worker has the delivery moves nothing of it; who stalls is failing."""
    endpoint_id, _ = registered(casino, receiver)
    casino.run("in")
    events.number(casino.runtime, casino.operator, 10)
    (first,) = due(casino)
    # Another worker's clock: were this one turned, the request would be given up before the other has the delivery.
    over = casino.runtime.config.events.answer_seconds + deliveries.LEASE_SLACK_SECONDS
    later = casino.another(clock=Hands(hands.now() + int(over * SECOND)))

    def stalls(wire: socket.socket) -> bool:
        assert len(due(later)) == 1
        return http(500)(wire)

    receiver.answers = [stalls]
    assert deliveries.deliver(casino.runtime, first) is False
    assert states(casino) == ["waiting"]
    assert casino.rows("SELECT tries FROM delivery")[0]["tries"] == 0
    assert endpoint(casino, endpoint_id)["failures"] == 1
    assert len(casino.rows("SELECT * FROM delivery_try")) == 1


def test_no_delivery_is_taken_twice(casino: Bench, receiver: ScriptedServer) -> None:
    """C-38 Several processes share the work at the same instant."""
    registered(casino, receiver)
    for _ in range(12):
        casino.run("in", "1.00")
    events.number(casino.runtime, casino.operator, 100)
    found = together(4, lambda _: due(casino.another(), 5))
    taken = [lease.delivery_id for leases in found for lease in leases]
    assert len(taken) == len(set(taken))
    assert len(taken) + len(due(casino, 100)) == 12


def test_nobody_has_all_threads(casino: Bench, receiver: ScriptedServer) -> None:
    """An operator whose servers answer slowly delays himself: of all threads he has a quarter."""
    hands = casino.runtime.config.events.deliver_threads
    if casino.runtime.engine.dialect.name == "sqlite":
        hands = min(hands, deliver.ON_SQLITE)
    slow = [registered(casino, receiver, f"/slow/{number}")[0] for number in range(3)]
    other = keys.add_operator(casino.runtime, "rivals")
    endpoints.register(casino.runtime, other, f"{receiver.url}/theirs", "")
    for operator, number in ((casino.operator, hands), (other, 1)):
        for _ in range(number):
            with db.writing(casino.runtime.engine) as connection:
                events.emit(connection, casino.runtime, operator, events.Draft("test", {}, 0))
    served = threading.Event()
    at_once: list[int] = []

    def until_the_other_is_served(wire: socket.socket) -> bool:
        at_once.append(len(receiver.received))
        served.wait(5)
        return OK(wire)

    def at_last(wire: socket.socket) -> bool:
        served.set()
        return OK(wire)

    receiver.routes = {f"/slow/{number}": until_the_other_is_served for number in range(len(slow))}
    receiver.routes["/theirs"] = at_last
    deliver.run_once(casino.runtime, casino.runtime.clock.now(), 1000, threading.Event())
    assert served.is_set()
    place = [request.path for request in receiver.received].index("/theirs")
    assert place <= hands // deliver.SHARES
    assert set(states(casino)) == {"delivered"}


def test_an_error_of_ours_is_no_failure_of_the_endpoint(
    casino: Bench, receiver: ScriptedServer, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delivery comes again and uses up its tries, so that one that never works is given up in the end."""
    endpoint_id, _ = registered(casino, receiver)
    receiver.routes = {"/events": OK}

    def broken(*_: Any) -> None:
        raise RuntimeError("ours")

    casino.run("in")
    with monkeypatch.context() as broken_one:
        broken_one.setattr(webhooks, "sign", broken)
        for wait in (0, *WAITS):
            hands.turn(wait * 1.2 + 1)
            assert tick(casino)["failed"] == 1
    assert states(casino) == ["given_up"]
    assert endpoint(casino, endpoint_id)["failures"] == 0
    assert receiver.received == []


def test_without_its_secret_nothing_is_taken(casino: Bench, receiver: ScriptedServer) -> None:
    """A secret's file that is away costs no delivery a try."""
    registered(casino, receiver)
    casino.run("in")
    receiver.answers = [OK]
    there = casino.runtime.config.events
    away = there.model_copy(update={"secret": None, "secret_file": Path("/nowhere/secret")})
    object.__setattr__(casino.runtime.config, "events", away)
    assert tick(casino) == {"numbered": 1, "taken": 0, "delivered": 0, "failed": 0}
    object.__setattr__(casino.runtime.config, "events", there)
    assert tick(casino)["delivered"] == 1


def test_an_old_failure_is_another_story(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """Where there was nothing to send for weeks, one more failure does not end an endpoint."""
    endpoint_id, _ = registered(casino, receiver)
    receiver.routes = {"/events": http(500)}
    casino.run("in", "1.00")
    for wait in (0, *WAITS):
        hands.turn(max(wait * 1.2 + 1, 400))
        tick(casino)
    assert states(casino) == ["given_up"]
    hands.turn(20 * DAY)
    casino.run("in", "1.00")
    tick(casino)
    assert endpoint(casino, endpoint_id)["state"] == "enabled"
    assert states(casino) == ["given_up", "waiting"]


def test_a_deleted_endpoint_gets_nothing_more(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """C-38 While others number and delete at once, nothing is left waiting for one that is not there."""
    ids = [registered(casino, receiver, f"/{number}")[0] for number in range(4)]
    for _ in range(8):
        casino.run("in", "1.00")

    def number_or_delete(place: int) -> None:
        if place < len(ids):
            endpoints.delete(casino.another().runtime, casino.operator, ids[place])
        else:
            events.number(casino.another().runtime, casino.operator, 2)

    together(8, number_or_delete)
    while events.number(casino.runtime, casino.operator, 100):
        pass
    assert "waiting" not in states(casino)


def test_replay_is_of_a_range(casino: Bench, receiver: ScriptedServer) -> None:
    """Bad ranges are named; another operator's endpoint is none."""
    endpoint_id, _ = registered(casino, receiver)
    with pytest.raises(Invalid) as wrong:
        replays.replay(casino.runtime, casino.operator, endpoint_id, 5, 4)
    assert "last" in wrong.value.fields
    with pytest.raises(Invalid):
        replays.replay(casino.runtime, casino.operator, endpoint_id, 1, replays.REPLAYED_AT_ONCE + 1)
    with pytest.raises(NotFound):
        replays.replay(casino.runtime, keys.add_operator(casino.runtime, "rivals"), endpoint_id, 1, 1)
    assert replays.replay(casino.runtime, casino.operator, endpoint_id, 1, 100) == 0
    receiver.answers = [http(410)]
    casino.run("in")
    tick(casino)
    with pytest.raises(Conflict, match="enable it first"):
        replays.replay(casino.runtime, casino.operator, endpoint_id, 1, 1)


def test_what_is_replayed_counts_anew(casino: Bench, receiver: ScriptedServer, hands: Hands) -> None:
    """A replay of what waits, of what arrived and of what was never on its way: each is sent once more."""
    casino.run("in", "1.00")
    tick(casino)
    endpoint_id, _ = registered(casino, receiver)
    receiver.answers = [OK, http(500), OK, OK, OK]
    for _ in range(2):
        casino.run("in", "1.00")
        tick(casino)
    assert states(casino) == ["delivered", "waiting"]
    assert replays.replay(casino.runtime, casino.operator, endpoint_id, 1, 3) == 3
    for _ in range(4):
        hands.turn(400)
        tick(casino)
    assert states(casino) == ["delivered"] * 3
    assert [json.loads(request.body)["sequence"] for request in receiver.received].count(2) == 2


def test_a_run_ends_though_there_is_always_more(
    casino: Bench, receiver: ScriptedServer, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-30 The next tick looks at the clock again: nobody works on with one that was set meanwhile."""
    registered(casino, receiver)
    receiver.routes = {"/events": OK}
    real, sent = deliveries.deliver, list[int]()

    def slowly(*given: Any) -> bool:
        sent.append(hands.now())
        casino.run("in", "0.10")
        events.number(casino.runtime, casino.operator, 10)
        hands.turn(10)
        return real(*given)

    monkeypatch.setattr(deliveries, "deliver", slowly)
    casino.run("in", "0.10")
    events.number(casino.runtime, casino.operator, 10)
    deliver.run_once(casino.runtime, hands.now(), 100, Event())
    assert len(sent) <= 5


def test_a_restore_is_told_before_an_endpoint_is_disabled(
    casino: Bench, receiver: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-58 `endpoint.disabled` is an event too: what is told of the backup's end is its end."""
    registered(casino, receiver)
    casino.run("in")
    events.number(casino.runtime, casino.operator, 10)
    receiver.answers = [http(410)]
    order: list[str] = []
    monkeypatch.setattr(lineage, "check", lambda _: order.append("looked"))
    real = endpoints.give_up
    monkeypatch.setattr(endpoints, "give_up", lambda *given: order.append("disabled") or real(*given))
    deliver.run_once(casino.runtime, casino.runtime.clock.now(), 100, Event())
    assert order[:2] == ["looked", "disabled"]
