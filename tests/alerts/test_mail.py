"""E-mail over a real socket: TLS that is verified, logins, refusals, and a deadline that a dripping server keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.alerts import mail
from bridge.alerts.mail import Letter
from bridge.runtime import SystemClock
from bridge.sections import AlertsSection
from tests.letterbox import Letterbox, certificate

TO = ("one@casino.example", "two@casino.example")
LETTER = Letter("an_1", "[bridge] subject", "text: ü\n.a line that begins with a dot\n")


def settings(box: Letterbox, **changes: Any) -> AlertsSection:
    """Settings of a mail server at this port."""
    plain = {"email_to": TO, "email_from": "bridge@casino.example", "smtp_host": "localhost", "smtp_port": box.port,
             "smtp_security": "none", "answer_seconds": 2}  # fmt: skip
    return AlertsSection(**{**plain, **changes})


def sent(box: Letterbox, letter: Letter = LETTER, **changes: Any) -> str:
    """Send one; why it was not taken."""
    runtime: Any = SimpleNamespace(config=SimpleNamespace(alerts=settings(box, **changes)), clock=SystemClock())
    came = mail.send(runtime, letter)
    assert came.taken or came.failure
    return came.failure


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A certificate of this machine's name that this machine trusts."""
    files = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    return files


def test_a_letter_to_two() -> None:
    """The text arrives byte for byte, to everybody."""
    with Letterbox() as box:
        assert sent(box) == ""
    (got,) = box.got
    assert got.to == list(TO)
    assert got.letter.get_content().replace("\r\n", "\n") == LETTER.text


@pytest.mark.parametrize("at_once", [True, False], ids=["tls", "starttls"])
def test_tls_that_is_verified(trusted: tuple[Path, Path], *, at_once: bool) -> None:
    """Under either kind of TLS, with a login."""
    with Letterbox(trusted, tls_at_once=at_once, wants_login=("me", "pass word")) as box:
        security = "tls" if at_once else "starttls"
        me = {"smtp_security": security, "smtp_user": "me"}
        assert sent(box, **me, smtp_password="pass word") == ""
        assert sent(box, **me, smtp_password="wrong") == "the mail server answered 535"
    (got,) = box.got
    assert (got.encrypted, got.user) == (True, "me")


@pytest.mark.parametrize("at_once", [True, False], ids=["tls", "starttls"])
def test_a_certificate_that_nobody_trusts_is_refused(tmp_path: Path, *, at_once: bool) -> None:
    """Nothing is sent to a server that cannot prove its name."""
    with Letterbox(certificate(tmp_path), tls_at_once=at_once) as box:
        assert sent(box, smtp_security="tls" if at_once else "starttls") == "SSLCertVerificationError"
    assert box.got == []


def test_another_servers_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusted, but for another name."""
    files = certificate(tmp_path, "other.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with Letterbox(files) as box:
        assert sent(box, smtp_security="starttls") == "SSLCertVerificationError"
    assert box.got == []


def test_no_tls_is_no_letter(trusted: tuple[Path, Path]) -> None:
    """A server, or whoever stands before it, that hides STARTTLS gets nothing in the clear."""
    with Letterbox(trusted, offers_starttls=False) as box:
        told = sent(box, smtp_security="starttls", smtp_user="me", smtp_password="x")
    assert told == "SMTPNotSupportedError"
    assert box.got == []


def test_a_server_that_drips_is_left_at_the_deadline() -> None:
    """Its bytes come one by one, each within the library's own timeout: the whole has a deadline."""
    clock = SystemClock()
    began = clock.monotonic()
    with Letterbox(drips=True) as box:
        assert sent(box, answer_seconds=0.5) == "deadline"
    assert clock.monotonic() - began < 2


def test_a_server_that_says_nothing_after_the_text() -> None:
    """It may have kept it: it is not taken until it says so, and is sent again under the same id."""
    with Letterbox(dies_after_data=True) as box:
        assert sent(box, answer_seconds=0.5) == "SMTPServerDisconnected"
        assert sent(box, answer_seconds=0.5) == "SMTPServerDisconnected"
    assert {got.letter["Message-ID"] for got in box.got} == {"<an_1@bridge.invalid>"}


@pytest.mark.parametrize(
    ("manners", "told"),
    [
        ({"greeting": b"554 go away\r\n"}, "the mail server answered 554"),
        ({"greeting": b"not smtp\r\n"}, "the mail server answered -1"),
        ({"after_data": b"552 too much\r\n"}, "the mail server answered 552"),
        ({"refuses": TO}, "the mail server takes none of email_to"),
        ({"refuses": TO[:1]}, "the mail server refused it to one@casino.example (550)"),
        ({"wants_login": ("me", "x")}, "the mail server answered 530"),
    ],
)
def test_what_a_server_refuses_is_told(manners: dict[str, Any], told: str) -> None:
    """In a few words, by its code alone: what it says may hold anything."""
    with Letterbox(**manners) as box:
        assert sent(box) == told


def test_nobody_there() -> None:
    """No server, and no such name."""
    with Letterbox() as box:
        pass
    assert sent(box) == "connect"
    assert sent(box, smtp_host="nowhere.invalid", smtp_security="tls") == "dns"


def test_a_subject_with_a_line_end_is_no_letter() -> None:
    """The wording lets none through; if it did, nothing would leave."""
    with Letterbox() as box:
        assert sent(box, Letter("an_2", "one\r\nBcc: x@y.example", "text")) == "ValueError"
        assert box.connections == 0


WHOLE = {"email_to": TO, "email_from": "bridge@casino.example", "smtp_host": "mail.example"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"webhook_url": "https://x.example/"}, "belong together"),
        ({"webhook_secret": "whsec_YWxlcnRzIHRvIHBlb3BsZTogZm9yIHRlc3RzIDAwMDE="}, "belong together"),
        ({"webhook_url": "https://x.example/", "webhook_secret": "short"}, "a secret is whsec_"),
        ({"webhook_url": "https://u:p@x.example/", "webhook_secret": "whsec_"}, "webhook_url"),
        ({"email_to": TO}, "email_to, email_from and smtp_host belong together"),
        ({**WHOLE, "smtp_user": "me"}, "smtp_user and smtp_password"),
        ({**WHOLE, "smtp_security": "none"}, "on this machine"),
        ({**WHOLE, "email_to": ("a@b\r\nBcc: c@d",)}, "email_to"),
        ({**WHOLE, "email_from": "Name <a@b.example>"}, "email_from"),
        ({**WHOLE, "smtp_host": "mail.example\r\n"}, "smtp_host"),
        ({**WHOLE, "smtp_user": "me", "smtp_password": "x", "smtp_password_file": "f"}, "give either"),
    ],
)
def test_what_lacks_a_part_is_refused(given: dict[str, Any], sentence: str) -> None:
    """Design §8: a combination that would tell nobody is refused by name."""
    with pytest.raises(ValidationError, match=sentence):
        AlertsSection(**given)
