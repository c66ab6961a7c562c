"""Bad input gets a problem that names the field; nothing is stored and nothing moves, on either database.

The rows are typed out in `bad_inputs`; after each one every row of every table is compared with before.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bridge.models.transfers import Transfer
from tests.api import bad_inputs
from tests.harness import PROVIDER


@contextmanager
def nothing_happens(house: Any) -> Iterator[None]:
    """No row anywhere is new, gone or changed, and the provider heard nothing."""
    rows, wire = house.contents(), house.provider.lines(".wire")
    yield
    assert house.contents() == rows
    assert house.provider.lines(".wire") == wire


def is_problem(answer: Any, status: int, code: str, fields: list[str]) -> None:
    """The answer is a problem document of this status and code that names exactly these fields."""
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.data
    problem = answer.json
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert [error["field"] for error in problem.get("errors", [])] == sorted(fields), problem
    assert problem["type"] == f"/docs/problems#{code}"
    assert problem["retry"] in ("never", "new_key")
    assert problem["title"]
    assert problem["detail"]


def with_text(house: Any, name: str, text: str) -> bytes:
    """A right transfer's body in which one field is this JSON text."""
    parts = {key: json.dumps(value) for key, value in house.wish().items()} | {name: text}
    return ("{" + ",".join(f'"{key}":{value}' for key, value in parts.items()) + "}").encode()


@pytest.mark.parametrize("target", ["transfers", "deposits", "withdrawals"])
def test_amounts(house, subtests, target):
    """I-08: an amount that is no plain, positive, exact decimal in a JSON string is refused before any hold."""
    for text, (status, code), field in bad_inputs.AMOUNTS:
        with subtests.test(amount=text), nothing_happens(house):
            if target == "transfers":
                answer = house.ann.post("/v1/transfers", with_text(house, "amount", text), key="k")
            else:
                body = f'{{"amount":{text},"currency":"EUR"}}'.encode()
                answer = house.ann.post(f"/v1/players/{house.player}/{target}", body, key="k")
            is_problem(answer, status, code, [field] if field else [])


def test_a_json_number_is_refused_in_so_many_words(house):
    """Design §8: an amount as a JSON number is refused, and the sentence says that it must be a string."""
    answer = house.ann.post("/v1/transfers", with_text(house, "amount", "25.00"), key="k")
    assert "JSON string" in answer.json["errors"][0]["detail"]
    assert "JSON numbers are refused" in answer.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("currency", "bad", "good"), [("JPY", "5.0", "5"), ("KWD", "1.2345", "1.234"), ("EUR", "1.234", "1.23")]
)
def test_decimals_are_those_of_the_currency(house, currency, bad, good):
    """I-08: a currency takes as many decimals as ISO 4217 gives it and not one more."""
    with nothing_happens(house):
        is_problem(house.cash("deposits", bad, "k", currency), 422, "invalid", ["amount"])
        moved = house.ann.post("/v1/transfers", house.wish(amount=bad, currency=currency), key="k")
        is_problem(moved, 422, "invalid", ["amount"])
    answer = house.cash("deposits", good, "k", currency)
    assert (answer.status_code, answer.json["amount"]) == (201, good)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("currency", bad_inputs.CURRENCIES),
        ("player_id", bad_inputs.PLAYERS),
        ("provider", bad_inputs.PROVIDERS),
        ("direction", bad_inputs.DIRECTIONS),
    ],
)
def test_unknown_names(house, subtests, name, texts):
    """I-09: an unknown currency, player, provider or direction is refused by its field, before any hold."""
    for text in texts:
        with subtests.test(text=text), nothing_happens(house):
            answer = house.ann.post("/v1/transfers", with_text(house, name, text), key="k")
            is_problem(answer, 422, "invalid", [name])


def test_a_player_id_in_other_letters_is_another_player(house):
    """I-55: ids are compared byte by byte; a twin in capitals is nobody."""
    with nothing_happens(house):
        answer = house.ann.post("/v1/transfers", house.wish(player_id=house.player.upper()), key="k")
        is_problem(answer, 422, "invalid", ["player_id"])


def test_every_wrong_field_is_named_at_once(house):
    """Issue 2: the problem names the fields, all of them, so that one correction is enough."""
    with nothing_happens(house):
        wrong = house.wish(amount="0", player_id="nobody", provider="other")
        answer = house.ann.post("/v1/transfers", wrong, key="k")
        is_problem(answer, 422, "invalid", ["amount", "player_id", "provider"])


@pytest.mark.parametrize("route", ["/v1/transfers", "deposits", "withdrawals", "cancel"])
def test_no_key_no_money(house, subtests, route):
    """I-26: a money POST without a usable Idempotency-Key → 400, whatever else it says."""
    queued = house.transfer("queued", Prefer="respond-async").json["id"]
    targets: dict[str, tuple[str, Any]] = {
        "/v1/transfers": ("/v1/transfers", house.wish()),
        "deposits": (f"/v1/players/{house.player}/deposits", {"amount": "1.00", "currency": "EUR"}),
        "withdrawals": (f"/v1/players/{house.player}/withdrawals", {"amount": "1.00", "currency": "EUR"}),
        "cancel": (f"/v1/transfers/{queued}/cancel", None),
    }
    path, body = targets[route]
    for name, key in bad_inputs.KEYS:
        with subtests.test(key=name), nothing_happens(house):
            is_problem(house.ann.post(path, body, key=key), 400, "idempotency_key_missing", ["Idempotency-Key"])


def test_bodies(house, subtests):
    """Security §3.1 row 11: one strict reading of JSON; what two parsers could read differently is refused."""
    for row in bad_inputs.RAW:
        with subtests.test(body=row.name), nothing_happens(house):
            is_problem(house.ann.post("/v1/transfers", row.body, key="k"), row.status, row.code, row.fields)


@pytest.mark.parametrize("size", [65_536, 65_537, 300_000])
def test_a_chunked_body_has_the_same_limit(house, size):
    """Issue 2: a body over 64 kB is refused also when nothing announces its length; at 65536 bytes it is read."""
    good = json.dumps(house.wish(amount="0")).encode()
    sent = {"Authorization": f"Bearer {house.ann.secret}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    answer = house.ann.client.post(
        "/v1/transfers",
        input_stream=io.BytesIO(good + b" " * (size - len(good))),
        headers=sent,
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    expected = (422, "invalid", ["amount"]) if size == 65_536 else (413, "body_too_large", [])
    is_problem(answer, *expected)


def test_content_types(house, subtests):
    """Issue 2: a wrong content type → 415; UTF-8 may be said, anything else may not."""
    body = json.dumps(house.wish()).encode()
    for content_type in bad_inputs.TYPES:
        with subtests.test(content_type=content_type), nothing_happens(house):
            answer = house.ann.post("/v1/transfers", body, key="k", Content_Type=content_type)
            is_problem(answer, 415, "unsupported_media_type", [])
    with nothing_happens(house):
        answer = house.ann.post("/v1/transfers", body, key="k", Content_Encoding="gzip")
        is_problem(answer, 415, "unsupported_media_type", [])
    for number, content_type in enumerate(("application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"')):
        assert house.ann.post("/v1/transfers", body, key=f"k-{number}", Content_Type=content_type).status_code == 201


def test_query_parameters(house, subtests):
    """Design §8: an unknown, repeated or impossible query parameter is refused by name."""
    for path, fields in bad_inputs.QUERIES:
        with subtests.test(path=path), nothing_happens(house):
            is_problem(house.ann.get(path.format(player=house.player)), 422, "invalid", fields)
    with nothing_happens(house):
        is_problem(house.ann.post("/v1/transfers?dry_run=true", house.wish(), key="k"), 422, "invalid", ["dry_run"])


def test_paths_and_methods(house, subtests):
    """Security §3.3: odd paths and methods get a problem, no redirect and no row."""
    for method, path, status, code, fields in bad_inputs.PATHS:
        with subtests.test(path=f"{method} {path}"), nothing_happens(house):
            is_problem(house.ann.ask(method, path, {"currencies": ["EUR"]}), status, code, fields)


def test_player_bodies(house, subtests):
    """Design §8: a player is made of known currencies and nothing else."""
    for body, fields in bad_inputs.PLAYER_BODIES:
        with subtests.test(body=str(body)[:60]), nothing_happens(house):
            is_problem(house.ann.ask("PUT", "/v1/players/new", body), 422, "invalid", fields)


def test_no_column_can_be_set_from_outside(house, subtests):
    """Security §3.1 row 14: every column of the transfer, offered in the body, is refused by name."""
    mine = set(house.wish())
    columns = sorted(set(Transfer.model_fields) - mine)
    assert len(columns) > 10
    for column in columns:
        with subtests.test(column=column), nothing_happens(house):
            answer = house.ann.post("/v1/transfers", house.wish(**{column: "confirmed"}), key="k")
            is_problem(answer, 422, "invalid", [column])


def test_another_operators_provider_is_unknown(house):
    """I-55: a provider belongs to one operator; for another it is as unknown as one that is not there."""
    house.charlie.ask("PUT", f"/v1/players/{house.player}", {"currencies": ["EUR"]})
    with nothing_happens(house):
        theirs = house.charlie.post("/v1/transfers", house.wish(), key="k")
        unknown = house.charlie.post("/v1/transfers", house.wish(provider="other"), key="k")
        is_problem(theirs, 422, "invalid", ["provider"])
        assert theirs.data == unknown.data
    assert house.wish()["provider"] == PROVIDER


def test_a_problem_never_repeats_what_was_sent(house):
    """Security §3.1 row 20: a value that was sent is not told back, so nothing leaks into logs or pages."""
    for name in ("amount", "currency", "player_id", "provider", "direction"):
        answer = house.ann.post("/v1/transfers", house.wish(**{name: "<script>canary</script>"}), key="k")
        assert answer.status_code == 422
        assert b"canary" not in answer.data
