"""A provider built from the text of docs/provider-contract.md alone, in another style than ours: wsgiref, a dict for a
ledger, HMAC by hand. The real bridge moves real money to it and back, and both ledgers agree at the end.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from bridge import keys
from bridge.app import compose
from bridge.config import Config, GenericSection
from bridge.evidence import Answer, Step
from bridge.ports import Effect, Side, Window
from bridge.sections import DatabaseSection, EngineSection
from bridge.transfers.cancel import cancel
from tests.harness import ENGINE_TIMES, EUR, OPERATOR, PLAYER, PROVIDER, Bench, together

KEY = b"invented by those who built this"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Provider:
    """The provider's side. `faults` befall the next creates: lost (executed, no answer), dropped, held (pending)."""

    def __init__(self) -> None:
        self.money: dict[str, Decimal] = defaultdict(Decimal)
        self.asked: dict[str, Any] = {}
        self.now: dict[str, dict[str, Any]] = {}
        self.original: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, bytes]] = []
        self.faults: list[str] = []
        self.playing: set[str] = set()
        self.blind = 0  # so many look-ups do not see what is there
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        name, stamp = environ["HTTP_WEBHOOK_ID"], environ["HTTP_WEBHOOK_TIMESTAMP"]
        code = hmac.new(KEY, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
        fits = any(
            hmac.compare_digest(base64.b64decode(one[3:]), code)
            for one in environ["HTTP_WEBHOOK_SIGNATURE"].split()
            if one[:3] == "v1,"
        )
        if not fits or abs(time.time() - int(stamp)) > 300:
            status, answer = 401, {"code": "signature"}
        else:
            message = json.loads(body)
            with self.lock:
                self.seen.append((message["type"], body))
                status, answer = getattr(self, message["type"].replace(".", "_"))(**message["data"])
        start(f"{status} Told", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def transfer_create(self, **data: Any) -> tuple[int, Any]:
        fault, number = (self.faults.pop(0) if self.faults else ""), data["id"]
        if fault == "dropped":
            return 502, {}
        if number in self.asked:
            if self.asked[number] != data:
                return 409, {"code": "id_reused"}
            return 200, self.original.get(number, self.now[number])
        self.asked[number] = data
        if fault == "held":
            return 200, self.tell(number, "pending")
        told = self.execute(number)
        return (502, {}) if fault == "lost" else (200, told)

    def execute(self, number: str) -> dict[str, Any]:
        """Move the money of a transfer that was asked for, or refuse it."""
        data = self.asked[number]
        change = Decimal(data["amount"]) * (1 if data["direction"] == "in" else -1)
        if data["player"] in self.playing:
            return self.tell(number, "refused", code="player_in_game")
        if self.money[data["player"]] + change < 0:
            return self.tell(number, "refused", code="insufficient_funds")
        self.money[data["player"]] += change
        return self.tell(number, "confirmed", balance=f"{self.money[data['player']]:.2f}")

    def tell(self, number: str, status: str, **more: Any) -> dict[str, Any]:
        """Give a transfer its next status; the first that is not pending is the original answer for ever."""
        sequence = self.now[number]["sequence"] + 1 if number in self.now else 1
        told = {**self.asked[number], "provider_id": f"no. {len(self.asked)}", "status": status}
        told |= {"sequence": sequence, "time": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), **more}
        self.now[number] = told
        if status != "pending":
            self.original.setdefault(number, told)
        return told

    def transfer_look_up(self, id: str) -> tuple[int, Any]:  # noqa: A002 - the contract's word
        if self.blind or id not in self.now:
            self.blind = max(0, self.blind - 1)
            return 200, {"id": id, "status": "not_found"}
        return 200, self.now[id]

    def transfer_cancel(self, **data: Any) -> tuple[int, Any]:
        number = data["id"]
        self.asked.setdefault(number, data)
        if number not in self.now or self.now[number]["status"] == "pending":
            self.tell(number, "cancelled")
        return 200, self.now[number]

    def player_balance(self, player: str, currency: str) -> tuple[int, Any]:
        told = {"player": player, "currency": currency, "amount": f"{self.money[player]:.2f}"}
        return 200, {**told, "time": "2026-01-01T00:00:00Z"}

    def player_kick(self, player: str) -> tuple[int, Any]:
        self.playing.discard(player)
        return 200, {"player": player, "in_game": False}

    def sent(self, kind: str) -> list[bytes]:
        """The bodies of one kind that arrived."""
        return [body for name, body in self.seen if name == kind]


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *said: Any) -> None:
        """No line for each request."""


@pytest.fixture
def provider() -> Provider:
    """The provider, with nobody's money."""
    return Provider()


@pytest.fixture
def address(provider: Provider) -> Iterator[str]:
    """Where it answers."""
    with make_server("127.0.0.1", 0, provider, Threads, Quiet) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"http://127.0.0.1:{server.server_port}/transfers"
        server.shutdown()


TIMES: dict[str, Any] = {
    "transfer_seconds": 1, "lookup_seconds": 1, "patience_seconds": 8, "absent_after_seconds": 1,
    "absent_apart_seconds": 0.2, "final_after_seconds": 0.2, "settle_seconds": 0.2, "breaker_least": 10_000,
}  # fmt: skip


def section(address: str, secret: str = SECRET, **times: float) -> GenericSection:
    """The configuration of this provider; `times` instead of TIMES."""
    return GenericSection(
        operator=OPERATOR, protocol="generic", base_url=address, currencies=(EUR,), request_secret=secret,
        lane_policy="allow", **(TIMES | times),
    )  # fmt: skip


@pytest.fixture
def desk(migrated_url: str, address: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bridge before it, and a player with 1000.00 in the wallet; a test may name other times."""
    runtime = compose(
        Config(
            database=DatabaseSection(url=migrated_url, busy_seconds=30),
            engine=EngineSection(**ENGINE_TIMES),
            providers={PROVIDER: section(address, **getattr(request, "param", {}))},
        )
    )
    made = Bench(runtime, keys.add_operator(runtime, OPERATOR))
    made.player(PLAYER, "1000.00")
    yield made
    runtime.engine.dispose()


def ended(desk: Bench, provider: Provider, transfer_id: str) -> str:
    """Drive everything to its end; the state. Nothing is lost or doubled, and both ledgers say the same."""
    desk.resolve_until_still()
    desk.audit()
    there = int(provider.money[PLAYER] * 100)
    assert (desk.wallet() + desk.game(), desk.game()) == (100_000, there)
    return str(desk.get(transfer_id).state)


# --- through the whole bridge ----------------------------------------------------------------------------


def test_in_and_out_are_one_request_each(desk, provider):
    """I-01, I-25: 25.00 in and 10.00 out again, each by one request, confirmed at once, in both ledgers."""
    inward = desk.run("in", "25.00")
    assert (desk.get(inward).state, provider.money[PLAYER]) == ("confirmed", Decimal("25.00"))
    outward = desk.run("out", "10.00")
    assert ended(desk, provider, outward) == "confirmed"
    assert provider.money[PLAYER] == Decimal("15.00")
    assert [kind for kind, _ in provider.seen] == ["transfer.create"] * 2
    assert desk.get(inward).outside.provider_reference == "no. 1"


@pytest.mark.parametrize("direction", ["in", "out"])
def test_an_answer_that_is_lost_is_looked_up(desk, provider, direction):
    """C-01: executed, and the answer never came: one look-up confirms it; it is not sent again."""
    desk.run("in", "30.00")
    provider.faults = ["lost"]
    assert ended(desk, provider, desk.run(direction, "10.00", ask=2)) == "confirmed"
    assert provider.money[PLAYER] == Decimal("40.00" if direction == "in" else "20.00")
    assert len(provider.sent("transfer.create")) == 2
    assert len(provider.sent("transfer.look_up")) == 1


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_request_that_is_lost_is_sent_again_as_it_was(desk, provider, direction):
    """I-25: never received, and so said: the same id with the same bytes is sent again, and executed once."""
    desk.run("in", "30.00")
    provider.faults = ["dropped"]
    assert ended(desk, provider, desk.run(direction, "10.00", ask=2)) == "confirmed"
    assert provider.money[PLAYER] == Decimal("40.00" if direction == "in" else "20.00")
    _, first, second = provider.sent("transfer.create")
    assert first == second


def test_a_look_up_that_does_not_see_it_yet_doubles_nothing(desk, provider):
    """C-15: executed, then "not found": sent again, the provider replays its original answer, and moves nothing."""
    provider.faults, provider.blind = ["lost"], 1
    assert ended(desk, provider, desk.run("in", "10.00", ask=2)) == "confirmed"
    assert provider.money[PLAYER] == Decimal("10.00")
    assert len(provider.sent("transfer.create")) == 2


def test_what_is_pending_is_asked_about_until_it_has_ended(desk, provider):
    """C-15: pending is no end; what is executed later is confirmed by a look-up, without another request."""
    provider.faults = ["held"]
    transfer_id = desk.run("in", "10.00", ask=0.3)
    assert desk.get(transfer_id).state == "pending"
    (number,) = provider.asked
    provider.execute(number)
    assert ended(desk, provider, transfer_id) == "confirmed"
    assert len(provider.sent("transfer.create")) == 1


def test_what_never_arrives_comes_back(desk, provider):
    """I-13: dropped every time, and "not found" for long enough, repeatedly: the wallet has its money again."""
    provider.faults = ["dropped"] * 9
    transfer_id = desk.run("in", "10.00", ask=0.3)
    assert ended(desk, provider, transfer_id) == "reversed"
    assert (desk.wallet(), provider.money[PLAYER]) == (100_000, 0)
    assert len(provider.sent("transfer.create")) <= 3


def test_a_refusal_gives_the_money_back_at_once(desk, provider):
    """I-13: a player in a game is refused, in and out; nothing moves and nothing is asked."""
    desk.run("in", "30.00")
    provider.playing = {PLAYER}
    for direction in ("in", "out"):
        transfer_id = desk.run(direction, "10.00")
        assert ended(desk, provider, transfer_id) == "reversed"
        assert desk.get(transfer_id).outside.evidence[-1].reply.code == "player_in_game"
    assert provider.sent("transfer.look_up") == []


def test_more_than_is_there_is_refused_whole(desk, provider):
    """C-11: `insufficient_funds` to the first request reverses it; nothing of it moves."""
    desk.run("in", "5.00")
    assert ended(desk, provider, desk.run("out", "5.01")) == "reversed"
    assert provider.money[PLAYER] == Decimal("5.00")


def test_all_that_is_there_comes_out_of_a_game(desk, provider):
    """C-11: refused for the game, kicked, waited, read again: what is there then comes home, under another id."""
    desk.run("in", "30.00")
    provider.money[PLAYER], provider.playing = Decimal("41.50"), {PLAYER}
    begun = desk.begin("out", "max")
    assert begun.transfer_id is not None
    desk.resolve_until_still()
    transfer = desk.get(begun.transfer_id)
    assert (transfer.state, transfer.amount, provider.money[PLAYER]) == ("confirmed", 4150, 0)
    assert desk.wallet() == 101_150
    desk.audit()
    assert len(provider.sent("player.kick")) == 1
    assert len({json.loads(body)["data"]["id"] for body in provider.sent("transfer.create")}) == 3


@pytest.mark.parametrize("fault", ["dropped", "held"])
def test_a_cancel_ends_what_was_not_executed_for_ever(desk, provider, fault):
    """C-56, I-13: cancelled before it was executed, known there or not: reversed; a late create moves nothing."""
    provider.faults = [fault]
    begun = desk.run("in", "10.00", ask=-1)
    provider.faults = ["dropped"] * 3
    cancel(desk.runtime, desk.operator, begun)
    assert ended(desk, provider, begun) == "reversed"
    provider.faults = []
    late = json.loads(provider.sent("transfer.create")[0])["data"]
    _, answer = provider.transfer_create(**late)
    assert (answer["status"], provider.money[PLAYER]) == ("cancelled", 0)


def test_a_cancel_that_is_too_late_confirms(desk, provider):
    """C-29: a cancel never undoes what was executed: it answers confirmed, and so it is."""
    provider.faults = ["lost"]
    transfer_id = desk.run("in", "10.00", ask=-1)
    cancel(desk.runtime, desk.operator, transfer_id)
    assert ended(desk, provider, transfer_id) == "confirmed"
    assert provider.money[PLAYER] == Decimal("10.00")


@pytest.mark.parametrize("desk", [{"patience_seconds": 60, "absent_after_seconds": 40}], indirect=True, ids=["patient"])
def test_many_at_once_are_each_executed_once(desk, provider):
    """C-28: eight threads, some answers lost, some requests lost: every cent is where both ledgers say. On a machine
    that is too slow for them all, what did not leave in time has not left at all."""
    provider.faults = ["", "lost", "dropped", "held", "lost", "", "dropped", ""]
    made = together(8, lambda number: desk.run("in", f"{number + 1}.00", ask=1, key=f"t{number}"))
    with provider.lock:
        for number in [number for number, told in provider.now.items() if told["status"] == "pending"]:
            provider.execute(number)
    states = {transfer_id: ended(desk, provider, transfer_id) for transfer_id in made}
    rows = [desk.row(transfer_id) for transfer_id in made]
    arrived = [row["amount"] for row in rows if states[row["id"]] == "confirmed"]
    assert {row["reason_code"] for row in rows if states[row["id"]] != "confirmed"} <= {"provider_unreachable"}
    assert len(arrived) > 1
    assert provider.money[PLAYER] == Decimal(sum(arrived)) / 100


# --- the adapter alone -----------------------------------------------------------------------------------

EFFECT = Effect("text-1", None, Side.CREDIT, PLAYER, 2500, EUR)


def test_the_adapter_and_the_text_understand_each_other(desk, provider):
    """I-20, I-25: replay, another amount under the same id, a cancel too late, a tombstone, by its own rules."""
    adapter = desk.runtime.providers[PROVIDER]
    end = desk.runtime.clock.monotonic() + 10
    window = Window(end, end)
    assert adapter.look_up(EFFECT, window).answer is Answer.NOT_FOUND
    first, again = (adapter.money(Step.TRANSFER, EFFECT, window) for _ in range(2))
    assert (first.answer, first.amount, first.balance, first.sequence) == (Answer.APPLIED, 2500, 2500, 1)
    assert first == again == adapter.money(Step.VOID, EFFECT, window)
    other = Effect("text-1", None, Side.CREDIT, PLAYER, 2600, EUR)
    reused = adapter.money(Step.TRANSFER, other, window)
    assert (reused.answer, reused.code) == (Answer.IN_PROGRESS, "id_reused")
    unknown = Effect("text-2", None, Side.DEBIT, PLAYER, 100, EUR)
    for step in (Step.VOID, Step.TRANSFER):
        assert adapter.money(step, unknown, window).answer is Answer.CANCELLED
    assert adapter.look_up(unknown, window).answer is Answer.CANCELLED
    assert adapter.balance(PLAYER, EUR, window).amount == 2500
    assert adapter.kick(PLAYER, window).code == "kicked"
    assert provider.money[PLAYER] == Decimal("25.00")


def test_another_secret_moves_nothing(migrated_url, address, provider):
    """I-42: signed with another secret, everything is refused before it is read, and refused is not believed."""
    wrong = "whsec_" + base64.b64encode(KEY[::-1]).decode()
    config = Config(database=DatabaseSection(url=migrated_url), providers={PROVIDER: section(address, wrong)})
    adapter = compose(config).providers[PROVIDER]
    end = time.clock_gettime(time.CLOCK_BOOTTIME) + 10
    reply = adapter.money(Step.TRANSFER, EFFECT, Window(end, end))
    assert (reply.answer, reply.code, provider.seen) == (Answer.UNKNOWN, "signature", [])
