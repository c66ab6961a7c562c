"""One key in a batch, in every operation and in two tenants: one wish each, and never another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge import keys
from bridge.app import compose, create_app
from bridge.runtime import Runtime
from tests.api.conftest import Caller, House
from tests.harness import PROVIDER, together

KEY = "same"


def batch(house: House, path: str, *bodies: Any) -> list[Any]:
    """These requests at one instant, all under one key and each with a connection of its own; their answers."""
    callers = [house.call_as(house.ann.secret) for _ in bodies]
    answers = together(len(bodies), lambda n: callers[n].post(path, bodies[n], key=KEY, Prefer="wait=6"))
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    return answers


def test_one_key_twice_in_a_batch_is_one_transfer(house: House) -> None:
    """C-53, I-20: a batch that holds the same request twice makes one transfer, and both get its answer."""
    answers = batch(house, "/v1/transfers", house.wish(), house.wish())
    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert [house.effects(answers[0].json), house.provider.owns(house.player)] == [1, 2500]
    house.audit()


def test_two_bodies_under_one_key_in_a_batch(house: House) -> None:
    """C-53, I-22: of two requests under one key that differ, one is carried out and the other is told so; which one
    is nobody's promise."""
    answers = batch(house, "/v1/transfers", house.wish(amount="25.00"), house.wish(amount="30.00"))
    kept, other = sorted(answers, key=lambda answer: answer.status_code)
    assert (kept.status_code, other.status_code, other.json["code"]) == (201, 422, "idempotency_key_reused")
    assert [error["field"] for error in other.json["errors"]] == ["amount"]
    assert other.json["transfer_id"] == kept.json["id"]
    assert house.provider.owns(house.player) == int(kept.json["amount"].replace(".", ""))
    house.audit()


def test_one_recall_twice_in_a_batch_sweeps_once(build_house: Callable[..., House]) -> None:
    """C-53, I-20: the same recall twice at one instant, and once more after it: one sweep, from which all answer."""
    house = build_house(currencies=("EUR",))
    assert house.transfer("first", "in", "40.00").json["state"] == "confirmed"
    path = f"/v1/players/{house.player}/recall"
    answers = [*batch(house, path, None, None), house.ann.post(path, key=KEY, Prefer="wait=6")]
    assert {answer.status_code for answer in answers} == {200}, [answer.data for answer in answers]
    assert len({swept(answer)["id"] for answer in answers}) == 1
    outward = house.rows("SELECT amount, state FROM transfer WHERE direction = 'out'")
    assert outward == [{"amount": 4000, "state": "confirmed"}]
    assert (house.provider.owns(house.player), house.funds("wallet")) == (0, "1000.00")
    house.audit()


def test_one_key_in_every_operation(build_house: Callable[..., House]) -> None:
    """C-53: a transfer, a recall, a cancel, a deposit and a withdrawal under one key are five wishes; each repetition
    gets the answer of its own operation, and the key of a sweep inside of a recall is nobody's to use."""
    house = build_house(currencies=("EUR",))
    player = f"/v1/players/{house.player}"
    moved = house.transfer(KEY, "in", "40.00").json
    asked = {
        "transfer": lambda: house.transfer(KEY, "in", "40.00"),
        "recall": lambda: house.ann.post(f"{player}/recall", key=KEY, Prefer="wait=6"),
        "cancel": lambda: house.ann.post(f"/v1/transfers/{moved['id']}/cancel", key=KEY),
        "deposit": lambda: house.cash("deposits", "7.00", KEY),
        "withdrawal": lambda: house.cash("withdrawals", "2.00", KEY),
    }
    first = {name: ask() for name, ask in asked.items()}
    told = {name: answer.status_code for name, answer in first.items()}
    assert told == {"transfer": 201, "recall": 200, "cancel": 409, "deposit": 201, "withdrawal": 201}
    assert swept(first["recall"])["id"] != moved["id"]
    before = house.contents()
    for name, ask in asked.items():
        again = ask()
        assert (again.status_code, again.data) == (first[name].status_code, first[name].data), name
    assert house.contents() == before
    assert house.funds("wallet") == "1005.00"
    inner = house.rows("SELECT idempotency_key FROM transfer WHERE direction = 'out'")[0]["idempotency_key"]
    assert house.transfer(inner, "in", "1.00").status_code == 400
    house.audit()


def test_one_key_in_two_tenants(house: House) -> None:
    """C-53, I-55: under one key two operators begin a transfer and a recall each; neither is answered with, refused
    for, or told of the other's."""
    theirs = tenant(house, "charlie", "theirs")
    wish = {"player_id": "zoe", "provider": "theirs", "direction": "in", "amount": "11.00", "currency": "EUR"}
    assert theirs.ask("PUT", "/v1/players/zoe", {"currencies": ["EUR"]}).status_code == 201
    assert theirs.post("/v1/players/zoe/deposits", {"amount": "50.00", "currency": "EUR"}, key=KEY).status_code == 201
    mine, other = house.transfer(KEY, "in", "25.00"), theirs.post("/v1/transfers", wish, key=KEY)
    assert (mine.status_code, other.status_code) == (201, 201)
    assert (mine.json["player_id"], other.json["player_id"]) == (house.player, "zoe")
    home, away = (caller.post(f"/v1/players/{name}/recall", key=KEY, Prefer="wait=6") for caller, name in
                  ((house.ann, house.player), (theirs, "zoe")))  # fmt: skip
    assert [swept(home)["amount"], swept(away)["amount"]] == ["25.00", "11.00"]
    assert theirs.get(f"/v1/transfers/{mine.json['id']}").status_code == 404
    assert theirs.post("/v1/transfers", wish, key=KEY).data == other.data
    assert house.transfer(KEY, "in", "25.00").data == mine.data
    house.audit()


def swept(answer: Any) -> Any:
    """The one transfer of a recall that found something to move."""
    (transfer,) = [sweep["transfer"] for sweep in answer.json["sweeps"] if sweep["transfer"] is not None]
    assert (transfer["direction"], transfer["state"]) == ("out", "confirmed")
    return transfer


def tenant(house: House, operator: str, provider: str) -> Caller:
    """A caller of another operator, with a provider of its own behind the same address, on the same database."""
    config = house.runtime.config
    own = config.providers[PROVIDER].model_copy(update={"operator": operator})
    runtime: Runtime = compose(config.model_copy(update={"providers": {**config.providers, provider: own}}))
    secret = keys.create(runtime, operator, ["transfers", "read"], "tenant")[1]
    return Caller(create_app(runtime).test_client(), secret)
