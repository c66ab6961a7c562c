"""What of a message is shown: only what is known to be harmless."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.evidence import LONGEST_MESSAGE
from bridge.views import redaction

ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff"), max_size=40)  # halves of surrogate pairs too
NAMES = st.sampled_from(sorted(redaction.SHOWN)) | ANY_TEXT
BODIES = st.recursive(
    ANY_TEXT | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
)


def test_unknown_members_are_masked_with_all_below_them() -> None:
    """Their names too, for anything may stand in a name; that they are there is told, and how many. A known name under
    an unknown one is unknown too; lists are looked into."""
    body = {
        "data": {"id": "r1", "x": {"id": "hidden", "amount": 1}, "Ann Smith +49 30 1": ["hidden"], "z": True},
        "amount": ["1", 2], "id": {"passport X1": 3},
    }  # fmt: skip
    told = json.loads(redaction.shown(json.dumps(body)))
    mask = redaction.MASK
    assert told == {"data": {"id": "r1", f"{mask} × 3": mask}, "amount": ["1", 2], "id": {mask: mask}}


@pytest.mark.parametrize("body", ['"Ann Smith"', "4930123456", '["Ann Smith", ["Ann"]]', '{"data": "Ann Smith"}'])
def test_what_stands_under_no_name_is_masked(body: str) -> None:
    """A message is an object, and so is its `data`: what stands there instead is of no name that is known."""
    told = redaction.shown(body)
    assert redaction.MASK in told
    assert "Ann" not in told
    assert "4930" not in told


def test_a_name_that_stands_twice_is_shown_twice() -> None:
    """Such a message says nothing to the bridge; whoever judges it has to see both."""
    told = redaction.shown('{"status": "confirmed", "status": "refused"}')
    assert told == '{\n  "status": "confirmed",\n  "status": "refused"\n}'


@pytest.mark.parametrize("write", [redaction.shown, redaction.exchanged, redaction.text])
@given(words=ANY_TEXT, body=BODIES)
def test_whatever_is_shown_can_be_sent_to_a_browser(write: Callable[[str], str], words: str, body: Any) -> None:
    """Half of a surrogate pair is written as JSON has it; no page breaks at it, in a value or in a name."""
    for told in (words, json.dumps(body), f"HTTP/1.1 200 {words}\n{json.dumps(body)}"):
        write(told).encode()


def test_what_cannot_be_seen_is_written_as_an_escape() -> None:
    """So that nothing turns the order of what is read; as JSON has it, so that the text stays the same."""
    told = redaction.shown('{"message": "\\ud800 \\u202econfirmed 💶 ü"}')
    assert told == '{\n  "message": "\\ud800 \\u202econfirmed 💶 ü"\n}'


def test_a_text_that_is_too_long_is_masked() -> None:
    """Nobody's message is so long, and no number; of a first line there is what came before, whole words alone."""
    long, short = "x" * (redaction.LONGEST_TEXT + 1), "x" * redaction.LONGEST_TEXT
    assert json.loads(redaction.shown(json.dumps({"message": long, "code": short}))) == {
        "message": redaction.MASK, "code": short
    }  # fmt: skip
    assert redaction.MASK in redaction.shown(f'{{"amount": {"9" * len(long)}}}')
    assert redaction.exchanged(f"HTTP/1.1 200 Said {long}") == f"HTTP/1.1 200 Said {redaction.MASK}"


@pytest.mark.parametrize("number", ["25.00", "1e400", "-0", "123456789012345678901234567890", "0.1"])
def test_numbers_are_shown_as_they_came(number: str) -> None:
    """No float has been made of them."""
    assert f'"amount": {number}' in redaction.shown(f'{{"amount": {number}}}')


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_cmVxdWVzdHM6IGJyaWRnZQ==", "v1,RbxCE6bctJHRpv6Ws/uMr4dpnC8g1iPJqa+T5TaU0MQ=",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_", "Bearer abcdefghijk", "ann@example.com", "4111111111111111",
        "4111-1111-1111-1111", "password=hunter2", 'token: "0af3"', "api_key = k-1", "SECRET=abc",
    ],
)  # fmt: skip
def test_secrets_in_texts_are_masked(secret: str) -> None:
    """Also where they stand in a member that is shown."""
    assert redaction.text(f"told {secret} here") == f"told {redaction.MASK} here"
    assert secret not in redaction.shown(json.dumps({"id": f"({secret})"}))


def test_a_cards_number_is_masked_as_a_number_too() -> None:
    """Whether a provider writes it as a text or as a number; what counts something is shown whatever its digits are."""
    told = redaction.shown('{"data": {"reference": 4111111111111111, "id": 7, "amount": 4111111111111111}}')
    assert f'"reference": "{redaction.MASK}"' in told
    assert '"id": 7' in told
    assert '"amount": 4111111111111111' in told


@pytest.mark.parametrize("kept", ["019a8f3e2c417d3ab0c5d6e7f8091a2b2", "W-48151623", "1790000000", "20270115080000123"])
def test_references_are_kept(kept: str) -> None:
    """Our references and the provider's are no cards' numbers."""
    assert redaction.text(kept) == kept


@pytest.mark.parametrize("body", ["", "no json", "[" * 5000, "{" * 2000 + "}" * 2000, "x" * 30_000, '"\\ud800"'])
def test_what_is_no_message_is_not_shown(body: str) -> None:
    """Nor does it break the page."""
    assert "x" * 100 not in redaction.shown(body)


def test_deep_messages_end_somewhere() -> None:
    """What is nested deeper than anything the contract knows is masked."""
    body: object = "deep"
    for _ in range(60):
        body = {"data": body}
    told = redaction.shown(json.dumps(body))
    assert redaction.MASK in told
    assert "deep" not in told


def test_a_message_of_the_wire_is_its_first_line_and_a_masked_body() -> None:
    """What QTech names is shown, and what nobody names is not; a body that is no JSON is not shown, its status is."""
    body = json.dumps({"id": "q-7", "playerId": "ann", "amount": 25.0, "sessionKey": "s3cr3t", "code": "X_Y"})
    first, _, told = redaction.exchanged(f"HTTP/1.1 200 OK\n{body}").partition("\n")
    assert first == "HTTP/1.1 200 OK"
    assert json.loads(told) == {
        "id": "q-7", "playerId": "ann", "amount": 25.0, "code": "X_Y", redaction.MASK: redaction.MASK
    }  # fmt: skip
    assert redaction.exchanged("HTTP/1.1 502 Bad\n<html>s3cr3t") == "HTTP/1.1 502 Bad\n(not a message in JSON)"
    assert redaction.exchanged("GET /v1/fund-transfers/q-7\n") == "GET /v1/fund-transfers/q-7"
    assert redaction.exchanged("GET /x?Bearer abcdefghijk\n") == f"GET /x?{redaction.MASK}"
    assert redaction.exchanged("") == ""


def test_of_a_message_that_was_cut_nothing_but_its_first_line_is_shown() -> None:
    """It is no JSON any more, so nothing in it could be masked; and that it was cut is said."""
    told = redaction.exchanged("HTTP/1.1 200 OK\n" + '{"id": "s3cr3t' + "x" * LONGEST_MESSAGE)
    assert told == "HTTP/1.1 200 OK\n(only the beginning is kept, and is not shown: it cannot be masked)"
