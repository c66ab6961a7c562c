"""Who may do what: keys, scopes, tenants. There is always a Charlie who must see nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import event

from bridge import db, endpoints, events, keys
from bridge.api.intake.admission import DOOR
from bridge.app import create_app
from bridge.keys import Scope
from bridge.watch import WATCH, Watch
from tests.api.conftest import build
from tests.harness import OPERATOR
from tests.transfers.test_clock import SetClock

NEEDED = {
    ("PUT", "/v1/players/<player_id>"): "transfers",
    ("GET", "/v1/players/<player_id>/funds"): "read",
    ("POST", "/v1/players/<player_id>/deposits"): "transfers",
    ("POST", "/v1/players/<player_id>/withdrawals"): "transfers",
    ("POST", "/v1/transfers"): "transfers",
    ("GET", "/v1/transfers"): "read",
    ("GET", "/v1/transfers/<transfer_id>"): "read",
    ("GET", "/v1/transfers/<transfer_id>/history"): "read",
    ("POST", "/v1/transfers/<transfer_id>/cancel"): "transfers",
    ("POST", "/v1/players/<player_id>/recall"): "transfers",
    ("POST", "/v1/webhook-endpoints"): "admin",
    ("GET", "/v1/webhook-endpoints"): "admin",
    ("DELETE", "/v1/webhook-endpoints/<endpoint_id>"): "admin",
    ("POST", "/v1/webhook-endpoints/<endpoint_id>/rotate-secret"): "admin",
    ("POST", "/v1/webhook-endpoints/<endpoint_id>/enable"): "admin",
    ("POST", "/v1/webhook-endpoints/<endpoint_id>/replay"): "admin",
    ("GET", "/v1/webhook-endpoints/<endpoint_id>/deliveries"): "read",
    ("GET", "/v1/events"): "read",
    ("POST", "/v1/events/<event_id>/replay"): "admin",
}
"""Every route under /v1 and the scope that opens it, typed out; a new route fails the test until it stands here."""

NOBODY = "0" * 32
"""The end of an id that nothing has."""

WITHOUT_KEY = {("POST", "/v1/providers/<provider>/callbacks")}
"""Opened by an address and a signature: test_callbacks."""


def routes(house: Any) -> set[tuple[str, str]]:
    """(method, rule) of everything under /v1."""
    rules = create_app(house.runtime).url_map.iter_rules()
    return {(m, rule.rule) for rule in rules if rule.rule.startswith("/v1") for m in rule.methods - {"HEAD", "OPTIONS"}}


def body_for(house: Any, rule: str) -> Any:
    """A right body for a route."""
    if rule == "/v1/transfers":
        return house.wish()
    if rule.endswith(("deposits", "withdrawals")):
        return {"amount": "1.00", "currency": "EUR"}
    if rule == "/v1/webhook-endpoints":
        return {"url": "https://casino.example/events"}
    if rule == "/v1/webhook-endpoints/<endpoint_id>/replay":
        return {"first": 1, "last": 1}
    return {"currencies": ["EUR"]} if rule == "/v1/players/<player_id>" else None


def call(house: Any, caller: Any, method: str, rule: str, key: str, **ids: str) -> Any:
    """A right request to a route."""
    path = rule
    for name, value in {"player_id": house.player, **ids}.items():
        path = path.replace(f"<{name}>", value)
    return caller.ask(method, path, None if method in ("GET", "DELETE") else body_for(house, rule), key=key)


def made(house: Any, key: str) -> dict[str, str]:
    """A transfer that waits, an endpoint and an event of Ann's operator: their ids."""
    operator = house.rows("SELECT id FROM operator WHERE name = :name", name=OPERATOR)[0]["id"]
    endpoint, _ = endpoints.register(house.runtime, operator, "https://casino.example/events", key)
    with db.writing(house.runtime.engine) as connection:
        events.emit(connection, house.runtime, operator, events.Draft("test", {}, 0))
    return {
        "transfer_id": house.transfer(key, amount="1.00", Prefer="respond-async").json["id"],
        "endpoint_id": endpoint["id"],
        "event_id": events.page(house.runtime, operator, 0, 1)[0]["id"],
    }


def test_every_route_has_its_scope(house, subtests):
    """Security §3.1 row 14: scope × route, every cell: a key does what its scope says, and gets 403 for the rest."""
    assert routes(house) == NEEDED.keys() | WITHOUT_KEY
    for scope in ("read", "transfers", "admin"):
        _, secret = keys.create(house.runtime, OPERATOR, [scope], scope)
        caller = house.call_as(secret)
        for method, rule in sorted(NEEDED):
            with subtests.test(scope=scope, route=f"{method} {rule}"):
                house.write("UPDATE webhook_endpoint SET state = 'deleted'")  # there is an end to their number
                ids = made(house, f"q-{scope}-{method}-{rule}")
                before = house.contents()
                answer = call(house, caller, method, rule, f"{scope}-{method}-{rule}", **ids)
                if scope in (NEEDED[method, rule], "admin"):
                    assert answer.status_code < 300, answer.data
                else:
                    assert (answer.status_code, answer.json["code"]) == (403, "scope_missing")
                    assert house.contents() == before


CHANGED = {
    "another operator's": "UPDATE api_key SET operator_id = (SELECT id FROM operator WHERE name = 'charlie')",
    "without the scope": "UPDATE api_key SET scopes = 'read'",
    "with other scopes": "UPDATE api_key SET scopes = 'admin'",
}


@pytest.mark.parametrize("changed", CHANGED)
def test_a_remembered_key_works_for_nobody_else(house, changed):
    """I-42's rule for keys: what is begun is begun for the caller who was found, or for nobody."""
    key_id, secret = keys.create(house.runtime, OPERATOR, ["transfers"], "mine")
    caller = house.call_as(secret)
    assert caller.post("/v1/transfers", house.wish(), key="before").status_code == 201
    house.write(f"{CHANGED[changed]} WHERE id = :id", id=key_id)
    before = house.contents()
    refused = caller.post("/v1/transfers", house.wish(), key="after")
    told = (403, "scope_missing") if changed == "without the scope" else (401, "unauthorized")
    assert (refused.status_code, refused.json["code"]) == told
    assert house.contents() == before


BAD_KEYS: list[str | None] = [
    None, "", "Bearer", "Bearer ", "Bearer bk_unknown", "bearer x", "Basic b3A6cHc=", "bk_bare", "Bearer a b",
    "Bearer \u00e9", "Bearer " + "a" * 5000, "Bearer bk_x, Bearer bk_y", "Token bk_x",
]  # fmt: skip


def test_there_is_one_answer_to_every_bad_key(house):
    """I-42's rule for keys: unknown, malformed and revoked get the same 401, bytes and headers, on every route."""
    key_id, revoked = keys.create(house.runtime, OPERATOR, ["admin"], "old")
    assert house.call_as(revoked).get("/v1/transfers").status_code == 200
    keys.revoke(house.runtime, key_id)
    before, client = house.contents(), create_app(house.runtime).test_client()
    answers = set()
    for header in (*BAD_KEYS, f"Bearer {revoked}"):
        headers = {} if header is None else {"Authorization": header}
        for path in ("/v1/transfers", f"/v1/players/{house.player}/funds", f"/v1/transfers/tr_{'0' * 32}"):
            answer = client.get(path, headers=headers)
            answers.add((answer.status_code, answer.data, answer.headers["WWW-Authenticate"]))
    assert {(status, said) for status, _, said in answers} == {(401, 'Bearer realm="bridge"')}
    assert len(answers) == 1
    assert house.contents() == before


def test_charlie_sees_nothing(house, subtests):
    """I-55: on every route another operator's transfer or player is answered exactly as one that is not there."""
    mine = made(house, "k-1")
    nobody = {"transfer_id": f"tr_{'0' * 32}", "endpoint_id": f"we_{'0' * 32}", "event_id": f"evt_{'0' * 32}"}
    before = house.contents()
    for method, rule in sorted(NEEDED):
        if "<" not in rule or method == "PUT":
            continue
        with subtests.test(route=f"{method} {rule}"):
            theirs = call(house, house.charlie, method, rule, "c", **mine)
            unknown = call(house, house.charlie, method, rule.replace("<player_id>", "nobody"), "c", **nobody)
            assert theirs.status_code in (404, 422)
            assert (theirs.status_code, theirs.data) == (unknown.status_code, unknown.data)
            assert not re.search(OPERATOR.encode() + rb"\b|1000\.00|25\.00", theirs.data)
    assert house.charlie.get("/v1/transfers").json == {"transfers": [], "cursor": None}
    assert house.charlie.get(f"/v1/transfers?cursor={mine['transfer_id']}").json == {"transfers": [], "cursor": None}
    assert house.charlie.get(f"/v1/transfers/{mine['transfer_id']}?refresh=true").status_code == 404
    assert house.charlie.get("/v1/events").json == {"events": [], "after": None}
    assert house.contents() == before


def test_the_same_player_of_two_operators_are_two_people(house):
    """I-55: an id is the operator's own; two operators' equal ids share no cent and no key."""
    made = house.charlie.ask("PUT", f"/v1/players/{house.player}", {"currencies": ["EUR"]})
    assert made.status_code == 201
    theirs = house.charlie.get(f"/v1/players/{house.player}/funds").json
    assert [one["total"] for one in theirs["funds"]] == ["0.00"]
    assert house.funds("total") == "1000.00"


@pytest.mark.parametrize("path", ["/v1/transfers", "/healthz", "/docs", "/openapi.json", "/nope"])
def test_every_answer_is_sealed(house, path):
    """Security §3.1 row 26: no sniffing, no framing, nothing loaded from elsewhere; /v1 is kept by no cache."""
    answer = house.ann.get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert policy.startswith("default-src 'self'" if path == "/docs" else "default-src 'none'")
    assert "http" not in policy
    assert (answer.headers.get("Cache-Control") == "no-store") is path.startswith("/v1")


def test_head_and_options_move_nothing(house):
    """RFC 9110: HEAD is GET without its body, OPTIONS tells the methods; neither needs or does more than that."""
    before = house.contents()
    head, get = (house.ann.ask(method, "/v1/transfers") for method in ("HEAD", "GET"))
    assert (head.status_code, head.data, head.content_type) == (200, b"", get.content_type)
    options = house.ann.ask("OPTIONS", "/v1/transfers")
    assert set(options.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    refused = house.ann.ask("DELETE", "/v1/transfers")
    assert (refused.status_code, set(refused.headers["Allow"].split(", "))) == (405, {"GET", "HEAD", "OPTIONS", "POST"})
    assert house.contents() == before


def test_a_key_that_was_found_revoked_is_remembered_no_more(house):
    """A revoked key costs a look-up once: what was remembered of it is gone, and so is its way past the first door."""
    key_id, secret = keys.create(house.runtime, OPERATOR, ["transfers"], "mine")
    caller = house.call_as(secret)
    assert caller.post("/v1/transfers", house.wish(), key="before").status_code == 201
    door = caller.client.application.extensions[DOOR]
    assert door.remembers(f"Bearer {secret}", Scope.TRANSFERS) is not None
    keys.revoke(house.runtime, key_id)
    assert caller.post("/v1/transfers", house.wish(), key="after").status_code == 401
    assert door.remembers(f"Bearer {secret}", Scope.TRANSFERS) is None


@pytest.mark.parametrize("seconds", [140, -140, 2.5])
def test_a_process_whose_clock_is_off_moves_nothing(migrated_url, provider, seconds):
    """I-34 I-30 Nothing is begun, cancelled, asked or paid under leases that others think over; reading goes on."""
    clock = SetClock(0)
    house = build(migrated_url, provider, clock=clock)
    waiting = house.transfer("q-1", Prefer="respond-async").json["id"]
    clock.seconds = seconds
    house.callers["ann"] = house.call_as(house.ann.secret)  # a process that has not asked yet
    before = house.contents()
    refused = [
        house.transfer("k-1"),
        house.transfer("k-2", "out"),
        house.cash("deposits", "1.00", "d-1"),
        house.cash("withdrawals", "1.00", "w-1"),
        house.ann.post(f"/v1/transfers/{waiting}/cancel", key="c-1"),
        house.ann.post(f"/v1/players/{house.player}/recall", key="r-1"),
        house.ann.get(f"/v1/transfers/{waiting}?refresh=true"),
    ]
    told = {(answer.status_code, answer.json["code"], answer.json["retry"]) for answer in refused}
    assert told == {(503, "clock_off", "after")}
    assert house.contents() == before
    assert house.ann.get(f"/v1/transfers/{waiting}").status_code == 200
    clock.seconds = 0
    house.callers["ann"] = house.call_as(house.ann.secret)
    assert house.transfer("k-1").status_code == 201
    house.runtime.engine.dispose()


def test_a_process_that_was_left_running_by_a_migration_does_nothing(house, subtests):
    """It would read and write another version's rows by its own rules: no route does, whatever it is for; and it goes
    on if the version is its own again."""
    transfer = house.transfer("t-1").json["id"]
    found = house.rows("SELECT version_num FROM alembic_version")[0]["version_num"]
    secret = keys.create(house.runtime, OPERATOR, [scope.value for scope in Scope], "all")[1]
    house.write("UPDATE alembic_version SET version_num = '9999'")
    caller = house.call_as(secret)
    before = house.contents()
    parts = {"player_id": house.player, "transfer_id": transfer, "endpoint_id": f"we_{NOBODY}"}
    parts["event_id"] = f"evt_{NOBODY}"
    bodies = {"/v1/transfers": house.wish(), "/v1/webhook-endpoints": {"url": "https://example.com/"}}
    for method, rule in NEEDED:
        with subtests.test(route=f"{method} {rule}"):
            path = re.sub(r"<(\w+)>", lambda part: parts[part[1]], rule)
            body = bodies.get(rule)
            if rule.endswith(("deposits", "withdrawals")):
                body = {"amount": "1.00", "currency": "EUR"}
            if method == "PUT":
                body = {"currencies": ["EUR"]}
            if rule.endswith("replay") and "events" not in rule:
                body = {"first": 1, "last": 1}
            query = "?after=0" if rule == "/v1/events" else ""
            answer = caller.ask(method, path + query, body, key="k-9" if method == "POST" else None)
            assert (answer.status_code, answer.json["code"], answer.json["retry"]) == (503, "schema_changed", "after")
    assert house.contents() == before
    house.write("UPDATE alembic_version SET version_num = :found", found=found)
    caller.client.application.extensions[WATCH]._next = 0
    assert caller.post("/v1/transfers", house.wish(), key="k-9").status_code == 201


def test_a_clock_is_asked_for_seldom(house):
    """I-34 A clock that was set is noticed within seconds, and costs no request anything."""
    watch = Watch()
    assert watch.found(house.runtime) is None
    asked = []
    event.listen(house.runtime.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert watch.found(house.runtime) is None
    assert asked == []
    watch._next -= Watch.EVERY_SECONDS
    assert watch.found(house.runtime) is None
    assert len(asked) == 3  # the schema, the clock, the decimals of currencies
