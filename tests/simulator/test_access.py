"""Who may ask, where, and for how long: tokens, paths, retention, connections (protocols.md §1.1)."""

from __future__ import annotations

import http.client
import json
import time

import pytest

TOKENS = [
    ("grant_type=password&response_type=token&username=demo&password=wrong", 401, "LOGIN_FAILED"),
    ("grant_type=password&response_type=token&username=x&password=demo", 401, "LOGIN_FAILED"),
    ("grant_type=password&response_type=token&username=demo", 422, "VALIDATION_ERROR"),
    ("grant_type=code&response_type=token&username=demo&password=demo", 422, "VALIDATION_ERROR"),
    ("grant_type=password&username=demo&password=demo", 422, "VALIDATION_ERROR"),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_is_given_for_the_right_query_only(honest, method):
    """C-14: who may ask is decided before anything else; the errors are the protocol's."""
    for query, status, code in TOKENS:
        answered, answer = honest.call(method, f"/v1/auth/token?{query}")
        assert (answered, answer["code"]) == (status, code), query
    good = "grant_type=password&response_type=token&username=demo&password=demo"
    status, answer = honest.call(method, f"/v1/auth/token?{good}")
    assert (status, answer["expires_in"]) == (200, 21_600_000)
    honest.token = answer["access_token"]
    assert honest.prepare("r")[0] == 201


def test_without_a_living_token_nothing_is_done(start):
    """C-14, case 8: no token, a wrong, a revoked, an idle one: 401 INVALID_TOKEN; use keeps it alive."""
    simulator = start("--token-idle-ms", "700")
    good = simulator.token
    for token in ("", "wrong"):
        simulator.token = token
        assert simulator.prepare("r")[1]["code"] == "INVALID_TOKEN"
    simulator.token = good
    for _ in range(3):
        time.sleep(0.4)
        assert simulator.balance() == 0
    time.sleep(0.9)
    assert simulator.look_up("x")[1]["code"] == "INVALID_TOKEN"
    simulator.log_in()
    assert simulator.call("DELETE", "/v1/auth/token") == (204, None)
    status, answer = simulator.prepare("r")
    assert (status, answer["code"]) == (401, "INVALID_TOKEN")
    assert simulator.lines() == []


def test_what_is_not_there_is_said_so(honest):
    """C-16: a path or method outside the protocol is an error in the protocol's envelope."""
    assert honest.call("GET", "/v2/anything")[1]["code"] == "NOT_FOUND"
    assert honest.call("DELETE", "/v1/fund-transfers/x")[1]["code"] == "METHOD_NOT_ALLOWED"


def test_a_final_transfer_is_forgotten_after_its_retention(start):
    """C-15: past the retention a look-up says 404 for what did happen, and proves nothing."""
    simulator = start("--retention", "0.5")
    transfer_id = simulator.funded("r")
    assert simulator.look_up(transfer_id)[0] == 200
    time.sleep(0.6)
    assert simulator.look_up(transfer_id)[1]["code"] == "TRANSFER_NOT_FOUND"
    assert simulator.kinds("r") == ["prepared", "completed"]
    assert simulator.prepare("r")[0] == 409


def test_connections_are_kept_alive(honest):
    """C-03: several requests on one connection, as a pooling client sends them."""
    connection = http.client.HTTPConnection(honest.address, timeout=5)
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/v1/wallet/ext", headers={"Authorization": f"Bearer {honest.token}"})
        answer = connection.getresponse()
        assert json.loads(answer.read()) == {"items": [], "links": []}
        sockets.add(connection.sock.getsockname())
    connection.close()
    assert len(sockets) == 1
