"""Answers that arrive and are wrong: slow, garbled, another amount, somebody else's."""

from __future__ import annotations

import gzip
import json
import threading
import time
from decimal import Decimal

import pytest


def test_16_slow_success(hasty):
    """C-05, case 16: executed at once, answered just inside the limit."""
    hasty.script(16)
    transfer_id, before = hasty.prepared("r"), time.monotonic()
    watcher = threading.Thread(target=hasty.until, args=("r", "completed", 0.6))
    watcher.start()
    assert hasty.finish(transfer_id)[0] == 200
    assert 0.9 < time.monotonic() - before < 2
    watcher.join()
    assert hasty.kinds("r") == ["prepared", "completed"]


@pytest.mark.parametrize("part", ["headers", "body", "both"])
def test_16_dripping_answer(honest, part):
    """C-06, case 16: single bytes, each within any read timeout, the whole beyond any patience."""
    honest.script(16, params={"drip": 0.002, "part": part})
    transfer_id, before = honest.prepared("r"), time.monotonic()
    status, answer = honest.finish(transfer_id)
    assert (status, answer["status"]) == (200, "COMPLETED")
    assert time.monotonic() - before > 0.2
    assert honest.kinds("r") == ["prepared", "completed"]


def garbage(simulator, body, **params):
    """The raw answer of a complete with a garbled body."""
    simulator.script(17, params={"body": body, **params})
    transfer_id = simulator.prepared("r")
    raw = simulator.send("PUT", f"/v1/fund-transfers/{transfer_id}/status", '{"status": "COMPLETED"}')
    assert simulator.kinds("r") == ["prepared", "completed"]
    assert simulator.shown() == [(17, "complete")]
    return raw


def test_17_bodies_that_are_not_json(honest):
    """C-06, case 17: truncated, HTML and empty bodies under a 200; the money moved."""
    status, content, _ = garbage(honest, "truncated")
    assert status == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(content)
    assert garbage_again(honest, "html").startswith(b"<!doctype html>")
    assert garbage_again(honest, "empty") == b""
    assert garbage_again(honest, "bom").startswith(b"\xef\xbb\xbf{")


def garbage_again(simulator, body):
    """The raw body of a garbled look-up."""
    simulator.script(17, on="lookup", params={"body": body})
    transfer_id = simulator.lines()[0]["id"]
    return simulator.send("GET", f"/v1/fund-transfers/{transfer_id}")[1]


def test_17_a_page_of_the_cdn(honest):
    """C-06, case 17: the proxy's own status and page."""
    status, content, headers = garbage(honest, "cdn521")
    assert (status, headers["content-type"]) == (521, "text/html;charset=UTF-8")
    assert b"Web server is down" in content


def test_17_bodies_that_are_json_and_wrong(honest):
    """C-13, case 17: envelopes with 0 and "0", amounts as text, and an amount that a float has gnawed at."""
    assert json.loads(garbage(honest, "zero")[1]) == {"code": 0, "message": "success"}
    assert json.loads(garbage_again(honest, "zero_text")) == {"code": "0", "message": "success"}
    assert json.loads(garbage_again(honest, "strings"))["amount"] == "25.00"
    assert b'"amount":24.999999,' in garbage_again(honest, "float")


def test_17_a_small_answer_that_swells(honest):
    """C-06, case 17: a gzip bomb: few bytes on the wire, megabytes behind them."""
    _, content, headers = garbage(honest, "bomb", megabytes=8)
    assert headers["content-encoding"] == "gzip"
    assert len(content) < 20_000
    whole = gzip.decompress(content)
    assert len(whole) > 8 << 20
    assert json.loads(whole)["status"] == "COMPLETED"


def test_17_an_answer_that_is_too_large(honest):
    """C-06, case 17: megabytes of blanks before the truth."""
    _, content, _ = garbage(honest, "big", megabytes=3)
    assert len(content) > 3 << 20


@pytest.mark.parametrize("commit", [True, False])
def test_18_server_errors_say_nothing(honest, commit):
    """C-12, case 18: the same error with and without the effect; only the ledger file knows."""
    for status, begins in ((500, b'{"code"'), (502, b"<!doctype"), (503, b'{"code"'), (504, b"<!doctype")):
        reference = f"r{status}"
        honest.script(18, on="complete", params={"status": status, "commit": commit})
        path = f"/v1/fund-transfers/{honest.prepared(reference)}/status"
        answered, content, _ = honest.send("PUT", path, '{"status": "COMPLETED"}')
        assert (answered, content[: len(begins)]) == (status, begins)
        assert honest.kinds(reference) == (["prepared", "completed"] if commit else ["prepared"])
    assert honest.shown() == [(18, "complete")] * 4


OTHER_AMOUNTS = [
    # params, what is told for 37.55
    ({"variant": "thousandfold"}, "37550"),
    ({"variant": "thousandth"}, "0.03755"),
    ({"variant": "whole"}, "37"),
    ({"variant": "tens"}, "30"),
    ({"amount": "1.00"}, "1.00"),
]


@pytest.mark.parametrize("on", ["prepare", "complete"])
def test_19_success_with_another_amount(honest, on):
    """C-09, case 19: a success that names another amount than was asked; the books hold what was asked."""
    for number, (params, told) in enumerate(OTHER_AMOUNTS):
        honest.script(19, on=on, params=params)
        answer = honest.prepare(f"r{number}", amount="37.55")[1]
        if on == "complete":
            answer = honest.finish(answer["id"])[1]
        assert Decimal(answer["amount"]) == Decimal(told)
    assert {line["amount"] for line in honest.lines()} == {"37.55"}
    assert honest.shown() == [(19, on)] * 5


def test_20_success_for_another_player_or_an_older_transfer(honest):
    """C-09, C-16, case 20: a body about somebody else, and one about an older transfer of the same player."""
    honest.funded("of bob", player="bob")
    older = honest.funded("older")
    honest.script(20, params={"variant": "player"})
    assert honest.finish(honest.prepared("r1"))[1]["playerId"] == "bob"
    honest.script(20, params={"variant": "older"}, reference="r2")
    first = honest.finish(honest.prepared("r2"))[1]
    assert first["referenceId"] == "r1"
    assert first["id"] != older
    assert honest.kinds("r1") == honest.kinds("r2") == ["prepared", "completed"]
    assert {line["player"] for line in honest.lines() if line["reference"] in ("r1", "r2")} == {"ann"}
