"""Events over HTTP: an endpoint's life, the sequence, deliveries, replays; and what is refused."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from bridge import keys
from jobs import deliver, outbox
from tests.harness import OPERATOR
from tests.providers import ScriptedServer, http


@pytest.fixture
def chief(house: Any) -> Any:
    """A key of Ann's operator that may do everything."""
    return house.call_as(keys.create(house.runtime, OPERATOR, ["admin"], "chief")[1])


def tick(house: Any) -> None:
    """What the two jobs do at their next tick."""
    now, stop = house.runtime.clock.now(), Event()
    outbox.run_once(house.runtime, now, 100, stop)
    deliver.run_once(house.runtime, now, 100, stop)


def test_an_endpoint_gets_what_the_sequence_holds(house: Any, chief: Any) -> None:
    """I-43 What is delivered, listed and replayed is one and the same text."""
    with ScriptedServer() as receiver:
        receiver.routes = {"/events": http(200, "{}")}
        made = chief.post("/v1/webhook-endpoints", {"url": f"{receiver.url}/events", "label": "casino"})
        assert made.status_code == 201
        shown, secret = made.json["endpoint"], made.json["secret"]
        assert secret.startswith("whsec_")
        assert (shown["state"], shown["label"], shown["failing_since"]) == ("enabled", "casino", None)
        assert chief.get("/v1/webhook-endpoints").json == {"endpoints": [shown]}

        transfer = house.transfer("k-1").json
        tick(house)
        page = chief.get("/v1/events").json
        (event,) = page["events"]
        assert page["after"] is None
        assert (event["sequence"], event["type"]) == (1, f"transfer.{transfer['state']}")
        assert event["data"]["transfer_id"] == transfer["id"]
        assert [request.body.decode() for request in receiver.received] == [
            house.rows("SELECT body FROM event")[0]["body"]
        ]
        path = f"/v1/webhook-endpoints/{shown['id']}"
        (delivery,) = chief.get(f"{path}/deliveries").json["deliveries"]
        assert (delivery["sequence"], delivery["state"], delivery["next_at"]) == (1, "delivered", None)
        assert [each["status"] for each in delivery["tries"]] == [200]

        assert chief.post(f"/v1/events/{event['id']}/replay").json == {"deliveries": 1}
        tick(house)
        assert chief.post(f"{path}/replay", {"first": 1, "last": 9}).json == {"deliveries": 1}
        tick(house)
        assert len({request.body for request in receiver.received}) == 1
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
        assert len(receiver.received) == 3

        rotated = chief.post(f"{path}/rotate-secret")
        assert rotated.status_code == 200
        assert rotated.json["secret"] != secret
        assert chief.post(f"{path}/enable").json["state"] == "enabled"
        assert chief.ask("DELETE", path).json == {"id": shown["id"], "dropped": 0}
        assert chief.get("/v1/webhook-endpoints").json == {"endpoints": []}
        assert chief.get(f"{path}/deliveries").status_code == 404


def test_the_sequence_is_paged(house: Any, chief: Any) -> None:
    """Whoever missed events reads on behind the last number known."""
    for number in range(5):
        house.transfer(f"k-{number}", amount="1.00")
    tick(house)
    first = chief.get("/v1/events?limit=3").json
    assert ([event["sequence"] for event in first["events"]], first["after"]) == ([1, 2, 3], 3)
    rest = chief.get("/v1/events?limit=3&after=3").json
    assert ([event["sequence"] for event in rest["events"]], rest["after"]) == ([4, 5], None)


BAD: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/v1/webhook-endpoints", {"url": "http://10.0.0.1/"}, 422, "url"),
    ("POST", "/v1/webhook-endpoints", {"url": 7}, 422, "url"),
    ("POST", "/v1/webhook-endpoints", {"url": "https://casino.example/", "state": "enabled"}, 422, "state"),
    ("POST", "/v1/webhook-endpoints", {"url": "https://casino.example/", "label": "x" * 101}, 422, "label"),
    ("POST", "/v1/webhook-endpoints", {}, 422, "url"),
    ("POST", "/v1/webhook-endpoints", {"url": "https://casino.example/", "label": "a\u0000b"}, 422, "label"),
    ("GET", "/v1/events?after=-1", None, 422, "after"),
    ("GET", "/v1/events?after=1&after_id=evt_1", None, 422, "after_id"),
    ("GET", "/v1/events?after=9999999999999", None, 409, "after"),
    ("GET", "/v1/events?after=one", None, 422, "after"),
    ("GET", "/v1/events?limit=0", None, 422, "limit"),
    ("POST", f"/v1/webhook-endpoints/we_{'0' * 32}/replay", {"first": 0, "last": 1}, 422, "first"),
    ("POST", f"/v1/webhook-endpoints/we_{'0' * 32}/replay", {"first": 2, "last": 1}, 422, "last"),
    ("POST", f"/v1/webhook-endpoints/we_{'0' * 32}/replay", {"first": 1, "last": 1}, 404, ""),
    ("POST", "/v1/webhook-endpoints/we_1/enable", None, 404, ""),
    ("POST", "/v1/events/evt_1/replay", None, 404, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "field"), BAD)
def test_bad_input_is_named(
    house: Any, chief: Any, method: str, path: str, body: Any, status: int, field: str
) -> None:
    """Each is refused with the field that is wrong, and nothing is stored."""
    before = house.contents()
    answer = chief.ask(method, path, body)
    assert answer.status_code == status
    assert [each["field"] for each in answer.json.get("errors", [])] == ([field] if field else [])
    assert house.contents() == before


def test_who_numbers_late_makes_it_unready(house: Any) -> None:
    """I-31 Design §8: `/readyz` is red while the outbox is late."""
    house.transfer("k-1")
    client = house.ann.client
    assert "events" not in [each["check"] for each in client.get("/readyz").json["wrong"]]
    house.write("UPDATE outbox SET at = at - 61000000")
    assert "events" in [each["check"] for each in client.get("/readyz").json["wrong"]]
    tick(house)
    assert "events" not in [each["check"] for each in client.get("/readyz").json["wrong"]]
