"""What is let into the inbox, what is refused at its door, and that its door tells nobody anything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from bridge import db, inbox
from bridge.errors import AddressNotAllowed, Invalid, MessageIdReused, Refusal, Unavailable, Unsigned
from bridge.transfers.rows import load
from tests import callbacks
from tests.callbacks import (
    FAR,
    KEY,
    NEAR,
    NEXT_KEY,
    OLD,
    REQUESTS,
    RIVAL,
    RIVAL_KEY,
    UNKNOWN_REFERENCE,
    Letter,
    Office,
    balance,
    secret,
    signed,
    transfer,
)
from tests.harness import PROVIDER, Hands, together

MONTH = 30 * 86_400


@pytest.fixture
def hands() -> Hands:
    """The clock of the office."""
    return Hands()


@pytest.fixture
def office(migrated_url: str, hands: Hands) -> Iterator[Office]:
    """A bridge that hears two providers, on a clock that stands still."""
    with callbacks.office(migrated_url, clock=hands) as made:
        yield made


def refusal(office: Office, sent: Letter, kind: type[Refusal], **where: Any) -> Refusal:
    """The message is refused so, and no row of any table is new, gone or changed."""
    before = office.contents()
    with pytest.raises(kind) as raised:
        office.hear(sent, **where)
    assert type(raised.value) is kind
    assert office.contents() == before
    return raised.value


# --- what is stored ---------------------------------------------------------------------------------------


def test_a_message_is_stored_as_it_came(office, hands):
    """I-40: the row holds the body byte by byte, where it came from and when, and what is to be done about it."""
    sent = office.letter("transfer.confirmed", transfer(UNKNOWN_REFERENCE))
    office.hear(sent)
    (row,) = office.rows("SELECT * FROM inbox")
    (task,) = office.rows("SELECT * FROM inbox_task")
    assert row["body"].encode() == sent.body
    assert (row["provider"], row["message_id"], row["kind"]) == (PROVIDER, "evt_1", "transfer.confirmed")
    assert (row["reference"], row["peer"]) == (UNKNOWN_REFERENCE, NEAR)
    assert (row["sent_at"], row["received_at"]) == (hands.now(), hands.now())
    assert (task["inbox_id"], task["state"], task["reference"]) == (row["id"], "waiting", UNKNOWN_REFERENCE)
    assert (task["wake_at"], task["handled_at"]) == (hands.now(), None)


@pytest.mark.parametrize("kind", ["round.settled", "transfer.pending", "transfer.refused", "Transfer.Confirmed", "?"])
def test_a_kind_that_says_nothing_is_kept_and_passed_over(office, kind):
    """C-63: what is told under another kind, also that something is pending, is accepted, and nothing is done."""
    office.told(kind, transfer(UNKNOWN_REFERENCE, "pending"))
    assert office.tasks() == [("passed_over", inbox.SAYS_NOTHING)]
    assert office.work() == {"taken": 0, "acted": 0, "set_aside": 0}


# --- repetitions ------------------------------------------------------------------------------------------


def test_fifty_deliveries_at_once_are_one_message(office):
    """I-41, C-64: fifty threads deliver one message; there is one row, one thing to do, and all are told the same."""
    sent = office.letter("transfer.confirmed", transfer(office.planned()[1]))
    assert together(50, lambda _: office.hear(sent)) == [None] * 50
    assert (office.count("inbox"), office.count("inbox_task")) == (1, 1)
    office.work()
    assert len(office.evidence()) == 1


def test_a_repetition_is_nothing_new_for_ever(office, hands):
    """I-41, C-67: the same message, told again in seconds, days and after four months, with a new timestamp and
    signature, is accepted and changes no row."""
    transfer_id, reference = office.planned()
    data = transfer(reference)
    office.told("transfer.confirmed", data)
    office.work()
    assert office.get(transfer_id).state == "confirmed"
    before = office.contents()
    for seconds in (3, 60, 86_400, 3 * 86_400, 4 * MONTH):
        hands.turn(seconds)
        office.told("transfer.confirmed", data)
        assert office.work()["taken"] == 0
    assert office.contents() == before


def test_a_repetition_is_accepted_also_where_it_could_not_be_read_any_more(office, migrated_url):
    """I-41: what was accepted once is accepted for ever, whatever the configuration has become since."""
    odd = transfer(UNKNOWN_REFERENCE, requested="5.00")  # passed over, until parts are agreed on
    office.told("transfer.confirmed", odd)
    later = office.with_config(callbacks.configured(migrated_url, partial=True))
    refusal(later, later.letter("transfer.confirmed", odd, id_="evt_2"), Invalid)
    later.told("transfer.confirmed", odd)
    assert later.count("inbox") == 1
    later.runtime.engine.dispose()


def test_another_body_under_the_same_id_is_refused_and_reported(office):
    """C-64: the second body is not taken, whatever it is; somebody is told, and the first one counts."""
    _, reference = office.planned()
    office.told("transfer.confirmed", transfer(reference))
    kept = office.contents("security_event")
    others = [
        office.letter("transfer.confirmed", transfer(reference, amount="9.00")),
        office.letter("transfer.cancelled", transfer(reference, "cancelled", 3)),
        signed(b"no JSON at all", "evt_1", office.runtime.clock.now() // 1_000_000, KEY),
    ]
    for other in others:
        with pytest.raises(MessageIdReused):
            office.hear(other)
    assert office.contents("security_event") == kept
    told = office.rows("SELECT * FROM security_event ORDER BY id")
    assert [(row["kind"], row["provider"], row["detail"]) for row in told] == [
        ("message_id_reused", PROVIDER, "evt_1")
    ] * 3
    assert len({row["digest"] for row in told}) == 3
    for other in others:  # sent again, as by one that waits for a 2xx: reported once
        with pytest.raises(MessageIdReused):
            office.hear(other)
    assert office.rows("SELECT COUNT(*) AS n FROM security_event")[0]["n"] == 3


def test_two_bodies_at_once_under_one_id(office):
    """C-64: of many bodies that arrive under one id at the same instant one is taken; the others are refused."""
    sent = [office.letter("transfer.confirmed", transfer(UNKNOWN_REFERENCE, sequence=n + 1)) for n in range(16)]
    answers = together(16, lambda number: office.hear(sent[number]))
    assert [type(answer) for answer in answers if answer is not None] == [MessageIdReused] * 15
    assert (office.count("inbox"), office.count("inbox_task"), office.count("security_event")) == (1, 1, 15)


def test_ids_belong_to_their_provider(office):
    """C-64, I-55: two providers may use the same id; neither takes it from the other."""
    office.told("transfer.confirmed", transfer(UNKNOWN_REFERENCE))
    office.told("balance.reported", balance("1.00"), provider=RIVAL)
    assert office.count("inbox") == 2
    assert office.count("security_event") == 0


def test_receiving_waits_for_no_transfer(office):
    """C-67: a message is stored and answered while a worker holds the very transfer that it is about."""
    transfer_id, reference = office.planned()
    engine = office.runtime.engine
    locks = engine.dialect.name == "postgresql"  # SQLite has one writer; there, a reader that does not end
    with (db.writing if locks else db.reading)(engine) as held:
        assert load(held, transfer_id, to_move=locks) is not None
        sent = office.letter("transfer.confirmed", transfer(reference))
        started = time.monotonic()
        assert together(1, lambda _: office.hear(sent)) == [None]
        assert time.monotonic() - started < 2
    assert office.work()["acted"] == 1


# --- who may speak ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        (NEAR, True),
        ("203.0.113.0", True),
        ("203.0.113.255", True),
        ("::ffff:203.0.113.7", True),
        ("2001:db8::1", True),
        ("203.0.112.255", False),
        ("203.0.114.0", False),
        ("::ffff:198.51.100.7", False),
        ("2001:db9::1", False),
        (FAR, False),
        ("", False),
        ("unknown", False),
        ("203.0.113.7:443", False),
        ("203.0.113.07", False),
        ("203.0.113.0/24", False),
        ("203.0.113.7, 203.0.113.8", False),
    ],
)
def test_only_allowed_addresses_are_heard(office, peer, allowed):
    """I-42: an address is inside one of the networks or it is not; what is no address is not."""
    sent = office.letter("balance.reported", balance("0.00"))
    if allowed:
        office.hear(sent, peer=peer)
        assert office.count("inbox") == 1
    else:
        refusal(office, sent, AddressNotAllowed, peer=peer)


def test_without_networks_nobody_is_heard(office, migrated_url):
    """I-42: no network means from nowhere, not from everywhere."""
    closed = office.with_config(callbacks.configured(migrated_url, callback_networks=()))
    refusal(closed, closed.letter("balance.reported", balance("0.00")), AddressNotAllowed)
    closed.runtime.engine.dispose()


def test_a_stranger_learns_nothing(office):
    """I-42, C-68: a wrong address, a provider that is not there and one that never calls back are refused in the same
    words, whether the message is signed, and whether what it names is known, or not; and no row changes."""
    known, unknown = transfer(office.planned()[1]), transfer(UNKNOWN_REFERENCE)
    told = set()
    for data in (known, unknown):
        for key in (KEY, RIVAL_KEY):
            sent = office.letter("transfer.confirmed", data, key=key)
            for where in (
                {"peer": FAR},
                {"provider": "nobody"},
                {"provider": OLD},
                {"provider": ""},
                {"provider": "nobody", "peer": FAR},
                {"provider": "x" * 5000},
            ):
                refused = refusal(office, sent, AddressNotAllowed, **where)
                told.add((refused.status, refused.code, refused.detail, str(refused.fields)))
    assert len(told) == 1


FORGED: dict[str, Callable[[Letter], Letter]] = {
    "no id": lambda sent: replace(sent, id=""),
    "another id": lambda sent: replace(sent, id="evt_2"),
    "no timestamp": lambda sent: replace(sent, timestamp=""),
    "another timestamp": lambda sent: replace(sent, timestamp=str(int(sent.timestamp) + 1)),
    "a timestamp that is none": lambda sent: replace(sent, timestamp="now"),
    "no signature": lambda sent: replace(sent, signature=""),
    "half a signature": lambda sent: replace(sent, signature=sent.signature[:20]),
    "another version": lambda sent: replace(sent, signature=sent.signature.replace("v1,", "v2,")),
    "not ASCII": lambda sent: replace(sent, signature="v1,\xe9"),
    "another body": lambda sent: replace(sent, body=sent.body.replace(b"10.00", b"99.00")),
    "no body": lambda sent: replace(sent, body=b""),
    "JSON written anew": lambda sent: replace(sent, body=json.dumps(json.loads(sent.body), indent=1).encode()),
    "JSON without blanks": lambda sent: replace(
        sent, body=json.dumps(json.loads(sent.body), separators=(",", ":")).encode()
    ),
    "one more blank": lambda sent: replace(sent, body=sent.body + b" "),
    "the rival's key": lambda sent: signed(sent.body, sent.id, int(sent.timestamp), RIVAL_KEY),
    "the key of our requests": lambda sent: signed(sent.body, sent.id, int(sent.timestamp), REQUESTS),
    "an empty key": lambda sent: signed(sent.body, sent.id, int(sent.timestamp), b""),
    "ten minutes ago": lambda sent: signed(sent.body, sent.id, int(sent.timestamp) - 600, KEY),
    "in ten minutes": lambda sent: signed(sent.body, sent.id, int(sent.timestamp) + 600, KEY),
    "301 seconds ago": lambda sent: signed(sent.body, sent.id, int(sent.timestamp) - 301, KEY),
    "in 301 seconds": lambda sent: signed(sent.body, sent.id, int(sent.timestamp) + 301, KEY),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_what_is_not_signed_now_is_refused(office, forge):
    """I-42, C-65: whatever is wrong with the signature, its time or the bytes, the answer is one and the same, about
    a known transfer and an unknown one; and no row changes."""
    told = set()
    for reference in (office.planned()[1], UNKNOWN_REFERENCE):
        refused = refusal(office, forge(office.letter("transfer.confirmed", transfer(reference))), Unsigned)
        told.add((refused.status, refused.code, refused.detail, str(refused.fields), refused.after_seconds))
    assert told == {(401, "bad_signature", (Unsigned.__doc__ or "").strip(), "{}", None)}


@pytest.mark.parametrize("seconds", [-300, -10, 0, 10, 300])
def test_a_clock_may_be_five_minutes_off(office, seconds):
    """C-65: within 300 seconds, before or behind, a message is taken."""
    at = office.runtime.clock.now() + seconds * 1_000_000
    office.hear(callbacks.letter("balance.reported", balance("0.00"), at))
    assert office.count("inbox") == 1


def test_a_message_replayed_by_somebody_else_is_refused_when_it_is_old(office, hands):
    """C-65: what was overheard and is sent again as it was after a day is refused, seen before or not."""
    seen, unseen = (office.letter("balance.reported", balance("0.00"), id_=name) for name in ("evt_1", "evt_2"))
    office.hear(seen)
    hands.turn(86_400)
    for old in (seen, unseen):
        refusal(office, old, Unsigned)


ODD_BODIES = {
    "escapes": '{"type": "balance.reported", "data": {"player": "\\u0061nn", "currency": "EUR", "amount": "0.00",'
    ' "time": "2026-09-21T14:13:20Z"}}',
    "other letters": '{"type": "balance.reported", "data": {"player": "ann", "currency": "EUR", "amount": "0.00",'
    ' "time": "2026-09-21T14:13:20Z", "note": "Zoë 🎰"}}',
    "numbers": '{"type": "balance.reported", "data": {"player": "ann", "currency": "EUR", "amount": "0.00",'
    ' "time": "2026-09-21T14:13:20Z", "rate": 1.10, "big": 1e400, "long": 12345678901234567890.10}, "n": -0.0}',
    "blanks": '\r\n\t{ "data" :{"time":"2026-09-21T14:13:20Z","amount":"0.00","currency":"EUR","player":"ann"}\n,'
    '"type":"balance.reported"}  \n',
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
def test_the_bytes_are_signed_and_kept(office, body):
    """C-65: escapes, other alphabets, odd numbers and blanks are part of what is signed and of what is stored."""
    sent = signed(body.encode(), "evt_1", office.runtime.clock.now() // 1_000_000, KEY)
    office.hear(sent)
    assert office.rows("SELECT body FROM inbox")[0]["body"] == body
    assert office.work() == {"taken": 1, "acted": 1, "set_aside": 0}


def test_two_secrets_while_one_replaces_the_other(office, migrated_url, tmp_path):
    """C-65: while both are held either is enough, also beside one that is not known; a secret that was taken out of
    the file is refused from then on, without a restart."""
    held = tmp_path / "callbacks"
    held.write_text(f"{secret(KEY)}\n{secret(NEXT_KEY)}\n")
    settings = {"callback_secrets": (), "callback_secrets_file": held}
    rotating = office.with_config(callbacks.configured(migrated_url, **settings))
    now, body = rotating.runtime.clock.now() // 1_000_000, b'{"type": "other", "data": {}}'
    for number, signing in enumerate([(KEY,), (NEXT_KEY,), (KEY, NEXT_KEY), (RIVAL_KEY, NEXT_KEY)]):
        rotating.hear(signed(body, f"evt_{number}", now, *signing))
    held.write_text(secret(NEXT_KEY))
    refusal(rotating, signed(body, "evt_5", now, KEY), Unsigned)
    rotating.hear(signed(body, "evt_6", now, NEXT_KEY))
    assert rotating.count("inbox") == 5
    rotating.runtime.engine.dispose()


def test_without_secrets_nothing_is_signed(office, migrated_url):
    """I-42: a provider without a callback secret is refused whatever it signs with."""
    mute = office.with_config(callbacks.configured(migrated_url, callback_secrets=()))
    refusal(mute, mute.letter("balance.reported", balance("0.00")), Unsigned)
    mute.runtime.engine.dispose()


def test_secrets_that_cannot_be_read_are_not_the_senders_fault(office, migrated_url, tmp_path):
    """C-67: where our own secrets are gone or broken the sender is asked to come again, not told that it is wrong."""
    settings = {"callback_secrets": (), "callback_secrets_file": tmp_path / "gone"}
    broken = office.with_config(callbacks.configured(migrated_url, **settings))
    sent = broken.letter("balance.reported", balance("0.00"))
    assert refusal(broken, sent, Unavailable).after_seconds == 5
    (tmp_path / "gone").write_text("whsec_short")
    assert refusal(broken, sent, Unavailable).after_seconds == 5
    (tmp_path / "gone").write_text(secret(KEY))
    broken.hear(sent)
    broken.runtime.engine.dispose()


def test_known_and_unknown_cost_the_same(office):
    """I-42, C-68: receiving asks the database the same questions whether the transfer is known, unknown, ended or
    another operator's, so that not even the time tells."""
    pending, ended = office.planned()[1], office.planned()[1]
    office.told("transfer.confirmed", transfer(ended))
    office.work()
    asked: list[str] = []
    event.listen(office.runtime.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    seen = []
    for number, reference in enumerate((pending, ended, UNKNOWN_REFERENCE)):
        for provider in (PROVIDER, RIVAL):
            asked.clear()
            office.told("transfer.confirmed", transfer(reference), id_=f"e{number}", provider=provider)
            seen.append(tuple(asked))
    assert len(set(seen)) == 1
    assert not any("transfer" in statement.replace("transfer_id", "") or "leg" in statement for statement in seen[0])


# --- what may be said -------------------------------------------------------------------------------------


def envelope(**members: Any) -> bytes:
    """A right message, but for these members."""
    return json.dumps({"type": "balance.reported", "data": balance("0.00"), **members}).encode()


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "body"),
    "no JSON": (b"{", "body"),
    "not UTF-8": (b'{"type": "\xff", "data": {}}', "body"),
    "UTF-16": ('{"type": "x", "data": {}}'.encode("utf-16"), "body"),
    "a byte order mark": (b"\xef\xbb\xbf" + envelope(), "body"),
    "a list": (b"[]", "body"),
    "a text": (b'"x"', "body"),
    "two objects": (envelope() + envelope(), "body"),
    "NaN": (b'{"type": "x", "data": {"n": NaN}}', "body"),
    "Infinity": (b'{"type": "x", "data": {"n": -Infinity}}', "body"),
    "a number beyond all bounds": (b'{"type": "x", "data": {"n": ' + b"9" * 5000 + b"}}", "body"),
    "nested beyond all bounds": (b'{"type": "x", "data": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "body"),
    "a name twice": (b'{"type": "x", "type": "x", "data": {}}', "body"),
    "a name twice inside": (b'{"type": "x", "data": {"a": [{"b": 1, "b": 1}]}}', "body"),
    "no type": (b'{"data": {}}', "type"),
    "a number as type": (envelope(type=7), "type"),
    "an empty type": (envelope(type=""), "type"),
    "a zero byte in the type": (envelope(type="balance\0reported"), "type"),
    "half a surrogate in the type": (b'{"type": "\\ud800", "data": {}}', "type"),
    "a long type": (envelope(type="x" * 65), "type"),
    "no data": (b'{"type": "balance.reported"}', "data"),
    "a list as data": (envelope(data=[]), "data"),
    "null as data": (envelope(data=None), "data"),
    "no player": (envelope(data={"currency": "EUR", "amount": "0.00", "time": "2026-09-21T14:13:20Z"}), "data.player"),
    "an amount as a number": (envelope(data={**balance("0.00"), "amount": 0}), "data.amount"),
    "too few decimals": (envelope(data=balance("0.0")), "data.amount"),
    "a currency that is not known": (envelope(data=balance("0.00", currency="QQQ")), "data.currency"),
    "another status than its kind": (
        json.dumps({"type": "transfer.confirmed", "data": transfer(UNKNOWN_REFERENCE, "pending")}).encode(),
        "data.status",
    ),
    "a status of the other kind": (
        json.dumps({"type": "transfer.cancelled", "data": transfer(UNKNOWN_REFERENCE, "confirmed")}).encode(),
        "data.status",
    ),
    "a reference that is none": (
        json.dumps({"type": "transfer.confirmed", "data": transfer("' OR 1=1")}).encode(),
        "data.id",
    ),
}


@pytest.mark.parametrize(("body", "field"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_named_and_not_stored(office, body, field):
    """C-63, C-65: rightly signed and wrongly made: the member is named, its value is not repeated, no row changes."""
    sent = signed(body, "evt_1", office.runtime.clock.now() // 1_000_000, KEY)
    refused = refusal(office, sent, Invalid)
    assert (refused.status, list(refused.fields)) == (422, [field])
    office.told("balance.reported", balance("0.00"))  # the id is free still
    assert office.count("inbox") == 1
