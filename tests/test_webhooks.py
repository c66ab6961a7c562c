"""Standard Webhooks, both ways, against the package of those who wrote the scheme; and everything that does not fit."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bridge.webhooks import TOLERANCE_SECONDS, BadSignature, key, sign, verify

NOW = 1_790_000_000
ID, BODY = "msg_1", b'{"type": "transfer.confirmed", "data": {"note": "\xc3\xbc \xe2\x82\xac"}}'


def secret(count: int = 32, fill: int = 7) -> str:
    """A secret of so many bytes."""
    return "whsec_" + base64.b64encode(bytes([fill]) * count).decode()


OURS, OTHER = secret(), secret(fill=8)


def by_hand(shared: str, message_id: str, timestamp: int | str, body: bytes) -> str:
    """The scheme from its text, with code of the test's own."""
    made = hmac.new(base64.b64decode(shared[6:]), digestmod=hashlib.sha256)
    made.update(message_id.encode() + b"." + str(timestamp).encode() + b"." + body)
    return "v1," + base64.b64encode(made.digest()).decode()


SIGNED = by_hand(OURS, ID, NOW, BODY)


def accepts(**changes: Any) -> bool:
    """Whether a good message is accepted after these changes; only BadSignature may be raised."""
    message: dict[str, Any] = {
        "secrets": (OURS,), "message_id": ID, "timestamp_text": str(NOW), "signatures_header": SIGNED,
        "body": BODY, "now_seconds": NOW, **changes,
    }  # fmt: skip
    try:
        verify(**message)
    except BadSignature:
        return False
    return True


# --- against the oracle ----------------------------------------------------------------------------------


@given(st.binary(min_size=24, max_size=64), st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True), st.text())
def test_the_oracle_accepts_what_we_sign(raw, message_id, content):
    """C-65: the package of the scheme's authors verifies our signatures, whatever is in the body, and not another's."""
    shared, body, now = "whsec_" + base64.b64encode(raw).decode(), content.encode(), int(time.time())
    made = sign(shared, message_id, now, body)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(now), "webhook-signature": made}

    Webhook(shared).verify(body, headers, json_parse=False)

    with pytest.raises(WebhookVerificationError):
        Webhook(shared).verify(body + b" ", headers, json_parse=False)


@given(st.binary(min_size=24, max_size=64), st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True), st.text())
def test_we_accept_what_the_oracle_signs(raw, message_id, content):
    """C-65: what the package signs is verified here, and byte for byte what we would have signed."""
    shared, body = "whsec_" + base64.b64encode(raw).decode(), content.encode()
    made = Webhook(shared).sign(message_id, datetime.fromtimestamp(NOW, UTC), content)

    verify([shared], message_id, str(NOW), made, body, NOW)

    assert made == sign(shared, message_id, NOW, body) == by_hand(shared, message_id, NOW, body)
    with pytest.raises(BadSignature):
        verify([shared], message_id, str(NOW), made, body + b" ", NOW)


def test_a_secret_is_exchanged_without_a_gap():
    """C-65: while one secret replaces another, the sender signs with both and the receiver holds both, in any mix."""
    new, now = OTHER, int(time.time())
    both = f"{sign(OURS, ID, now, BODY)} {sign(new, ID, now, BODY)}"
    for header in (sign(OURS, ID, now, BODY), sign(new, ID, now, BODY), both):
        verify((OURS, new), ID, str(now), header, BODY, now)
    for held in (OURS, new):
        verify((held,), ID, str(now), both, BODY, now)
        Webhook(held).verify(BODY, {"webhook-id": ID, "webhook-timestamp": str(now), "webhook-signature": both})
    with pytest.raises(BadSignature):
        verify((OURS, new), ID, str(now), sign(secret(fill=9), ID, now, BODY), BODY, now)


# --- what fits, and what does not ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        SIGNED,
        f"v1,AAAA {SIGNED}",
        f"{SIGNED} v1,AAAA",
        f"v1a,ZWQyNTUxOQ== v2,x {SIGNED} v0,",
        f"{SIGNED} {SIGNED}",
        f"nonsense  {SIGNED} ",
        f"v1 {SIGNED} v1,",
        f"v1,\u00fc\udc80 {SIGNED}",
    ],
)
def test_one_signature_that_fits_is_enough(header):
    """C-65: other versions, other secrets' signatures and rubbish beside a signature that fits are passed over."""
    assert accepts(signatures_header=header)


DIGEST = SIGNED.removeprefix("v1,")
LAST = DIGEST[42]  # the last character before the padding: its two lowest bits are not part of the digest
WRONG_HEADERS = {
    "missing": "",
    "blank": " ",
    "only the version": "v1,",
    "without the version": DIGEST,
    "another version": f"v2,{DIGEST}",
    "version in capitals": f"V1,{DIGEST}",
    "asymmetric": f"v1a,{DIGEST}",
    "another separator": f"v1={DIGEST}",
    "two commas": f"v1,,{DIGEST}",
    "separated by a comma": f"v1,AAAA,{SIGNED}",
    "separated by a tab": f"v1,AAAA\t{SIGNED}",
    "a line feed at its end": f"{SIGNED}\n",
    "blank inside": f"v1, {DIGEST}",
    "without padding": SIGNED.rstrip("="),
    "more padding": SIGNED + "=",
    "spare bits set": f"v1,{DIGEST[:42]}{chr(ord(LAST) + 1)}=",
    "cut": SIGNED[:-5],
    "longer": SIGNED + "AAAA",
    "hexadecimal": "v1," + base64.b64decode(DIGEST).hex(),
    "not base64": "v1,!!!!",
    "not ASCII": "v1,\u00e4\u00f6\u00fc",
    "half a character": "v1,\udcff",
    "another script": "v1,\uff41",
    "a NUL": f"v1,\x00{DIGEST}",
    "endless": "v1," + "A" * 100_000,
    "many": "v1,AAAA " * 10_000,
}


@pytest.mark.parametrize("header", WRONG_HEADERS.values(), ids=WRONG_HEADERS.keys())
def test_a_header_that_holds_no_signature_of_ours_is_refused(header):
    """I-42, C-65: whatever stands in the header, the answer is the same one exception."""
    assert not accepts(signatures_header=header)


@pytest.mark.parametrize("message_id", ["", " ", "msg.1", "msg 1", "msg_1\n", "\u00fc", "\udcff", "m" * 129, "a\x00b"])
def test_a_malformed_id_is_refused_however_it_is_signed(message_id):
    """I-42, C-65: an id with a full stop could move the border between id and timestamp; none such is taken."""
    signature = by_hand(OURS, message_id, NOW, BODY) if message_id.isascii() else SIGNED
    assert not accepts(message_id=message_id, signatures_header=signature)


@pytest.mark.parametrize(
    "stamp",
    ["", " ", "now", f"{NOW}.0", f"+{NOW}", f"0{NOW}", f" {NOW}", f"{NOW}\n", f"{NOW:x}", "1.79e9", f"-{NOW}", "NaN",
     "Infinity", "1_790_000_000", "\u0661\u0667\u0669" + "\u0660" * 7, "\uff11", "9" * 5000, "\udcff"],
)  # fmt: skip
def test_a_malformed_timestamp_is_refused_however_it_is_signed(stamp):
    """I-42, C-65: only plain seconds in ASCII digits are a timestamp."""
    signature = by_hand(OURS, ID, stamp, BODY) if stamp.isascii() else SIGNED
    assert not accepts(timestamp_text=stamp, signatures_header=signature)


@pytest.mark.parametrize(
    ("apart", "accepted"),
    [(0, True), (1, True), (299, True), (300, True), (301, False), (600, False), (86_400, False), (NOW, False)],
)
def test_a_timestamp_counts_for_five_minutes(apart, accepted):
    """C-65: 300 s before and behind our clock, no second more, although the signature is right."""
    assert TOLERANCE_SECONDS == 300
    for sent in (NOW - apart, NOW + apart):
        assert accepts(timestamp_text=str(sent), signatures_header=by_hand(OURS, ID, sent, BODY)) is accepted


@pytest.mark.parametrize(
    "changes",
    [
        {"body": BODY.replace(b": ", b":")},
        {"body": BODY.replace(b"\xc3\xbc", b"\\u00fc")},
        {"body": BODY + b"\n"},
        {"body": b""},
        {"body": BODY.decode().encode("utf-16")},
        {"message_id": "msg_2"},
        {"timestamp_text": str(NOW + 1)},
        {"secrets": (OTHER,)},
        {"secrets": ()},
        {"message_id": "msg", "body": b"_1." + BODY},
    ],
)
def test_nothing_that_is_signed_can_be_changed(changes):
    """I-42, C-65: body re-serialised or touched, another id, time or secret, or no secret at all: refused."""
    assert accepts()
    assert not accepts(**changes)


@given(st.text(), st.text(), st.text(), st.binary())
def test_whatever_comes_there_is_one_exception(message_id, stamp, header, body):
    """I-42: no text in any of the headers makes it raise anything else."""
    with pytest.raises(BadSignature):
        verify((OURS,), message_id, stamp, header, body, NOW)


# --- secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [24, 25, 26, 32, 63, 64])
def test_a_secret_is_24_to_64_bytes(count):
    """C-65: with its padding or without, a key is what was encoded."""
    raw = os.urandom(count)
    text = "whsec_" + base64.b64encode(raw).decode()
    assert key(text) == key(text.rstrip("=")) == raw


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", secret(23), secret(65), secret()[6:], "WHSEC_" + secret()[6:], secret() + "\n", " " + secret(),
     secret().replace("B", "-"), "whsec_" + "\u00fc" * 32, "whsec_" + "!" * 44, "whsec_whsec_" + secret()[6:],
     "whsk_" + secret()[6:]],
)  # fmt: skip
def test_what_is_no_secret_is_named_without_showing_it(text):
    """C-65: a secret of another form, or of too few bytes or too many, is refused without being quoted."""
    for use in (lambda: key(text), lambda: sign(text, ID, NOW, BODY), lambda: accepts(secrets=(OURS, text))):
        with pytest.raises(ValueError, match=r"^a secret is whsec_ and the base64 of 24 to 64 bytes$"):
            use()
