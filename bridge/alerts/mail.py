"""E-mail, and the only home of smtplib: one letter, under one deadline, over TLS that is verified.

A mail server's name is the configuration's, so it may be anywhere; what it answers is bounded like any other answer.
"""

from __future__ import annotations

import io
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as LINES_END_IN_CRLF
from email.utils import formatdate
from typing import Any

from bridge import log
from bridge.bounds import CALL, BoundedReads, Broken, Call
from bridge.ports import SECOND, Window
from bridge.runtime import Runtime, dial
from bridge.sections import AlertsSection, Security

OUR_NAME = "bridge.invalid"
"""What we call ourselves to a mail server, and in the ids of letters: no name of this machine leaves it."""

_log = log.get("alerts")

READY = 220
"""With this a mail server greets who may go on."""


REFUSED = "the mail server refused it to "
"""Before those who did not get a letter that others have, each with the server's code: what is noted of a letter is
told to people, and says to whom it has still to go."""

TEMPORARY, FOR_GOOD = range(400, 500), range(500, 600)
"""With these codes a server refuses for a moment (a first letter from somebody it does not know, a full disk), and so
that nothing is gained by another try."""

UNREADABLE = 451
"""Noted of an answer that is neither: a server that is in trouble now."""


@dataclass(frozen=True)
class Letter:
    """One letter; `number` makes its Message-ID, the same whenever it is sent."""

    number: str
    subject: str
    text: str


@dataclass(frozen=True)
class Came:
    """What came of a letter: whether anybody has it, for whoever has it must not get it again; what was wrong, in a few
    words without any secret, or nothing; and whether it has still to go to some of those whom it was refused to."""

    taken: bool
    failure: str = ""
    waits: bool = False


def send(runtime: Runtime, letter: Letter, noted: str = "") -> Came:
    """Send one letter to everybody who is to get it, once; where some have it by what was noted of the last try, to
    those alone whom it was refused to for a moment. Raises nothing for a network's or a server's trouble."""
    settings, began = runtime.config.alerts, runtime.clock.monotonic()
    before = _refused(noted)
    to = [each for each in settings.email_to if before.get(each) in TEMPORARY or REFUSED not in noted]
    if not to:
        return Came(taken=True, failure=noted, waits=True)  # for those whom another process may know
    end = began + settings.answer_seconds
    token = CALL.set(Call(Window(end, end), runtime.clock, dial))
    try:
        refused = _sent(settings, message(settings, letter, runtime.clock.now()), to)
        return _came({each: code for each, code in before.items() if each not in to} | refused, before)
    except Broken as broken:
        failure = broken.failure
    except smtplib.SMTPResponseException as refused:
        failure = f"the mail server answered {refused.smtp_code}"
    except smtplib.SMTPRecipientsRefused as refusal:
        if REFUSED in noted:
            return _came(before | _codes(refusal.recipients), before)
        failure = "the mail server takes none of email_to"
    except (smtplib.SMTPException, OSError, ValueError) as trouble:
        failure = type(trouble).__name__
    finally:
        CALL.reset(token)
    return Came(taken=False, failure=failure)


def beside(failure: str, noted: str) -> str:
    """What was wrong with this try, and whom the letter was refused to before it, if some have it by what was noted."""
    return failure if REFUSED in failure or REFUSED not in noted else f"{failure}; {noted[noted.index(REFUSED) :]}"


def message(settings: AlertsSection, letter: Letter, now: int) -> EmailMessage:
    """The letter as it goes over the wire. Raises ValueError where something would end a header."""
    made = EmailMessage(policy=LINES_END_IN_CRLF)
    made["From"] = settings.email_from
    made["To"] = ", ".join(settings.email_to)
    made["Subject"] = letter.subject
    made["Date"] = formatdate(now / SECOND)
    made["Message-ID"] = f"<{letter.number}@{OUR_NAME}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(letter.text)
    return made


def _sent(settings: AlertsSection, made: EmailMessage, to: Sequence[str]) -> dict[str, int]:
    """Whom the server did not take it for, with its codes."""
    with _connected(settings) as server:
        if settings.smtp_user is not None:
            server.login(settings.smtp_user, settings.password())
        return _codes(server.send_message(made, settings.email_from, list(to)))


def _codes(refused: Mapping[str, Any]) -> dict[str, int]:
    codes = {address: answer[0] for address, answer in refused.items()}
    return {each: code if code in TEMPORARY or code in FOR_GOOD else UNREADABLE for each, code in codes.items()}


def _came(refused: Mapping[str, int], before: Mapping[str, int]) -> Came:
    """Of a letter that somebody has."""
    if not refused:
        return Came(taken=True)
    if refused != before:
        _log.error("letter refused to some", refused=dict(refused))
    told = ", ".join(f"{address} ({code})" for address, code in refused.items())
    return Came(taken=True, failure=REFUSED + told, waits=any(code in TEMPORARY for code in refused.values()))


def is_for(address: str) -> str:
    """What stands in the note of a letter that was refused to an address for a moment."""
    return f" {address} ({TEMPORARY.start // 100}"


def _refused(noted: str) -> dict[str, int]:
    """Whom a letter was refused to by what was noted of it; also those of whom another process alone knows."""
    return {address: int(code) for address, code in re.findall(r"(\S+) \((\d{3})\)", noted.partition(REFUSED)[2])}


@contextmanager
def _connected(settings: AlertsSection) -> Iterator[smtplib.SMTP]:
    """A server that has been greeted, over TLS where that is wanted: without it nothing is said to it."""
    trusted = ssl.create_default_context()
    host = str(settings.smtp_host)
    server = _Bounded(trusted if settings.smtp_security is Security.TLS else None)
    try:
        code, _said = server.connect(host, settings.smtp_port)
        if code != READY:
            raise smtplib.SMTPConnectError(code, "")
        if settings.smtp_security is Security.STARTTLS:
            server.turn_to_tls(trusted)
        yield server
        with suppress(smtplib.SMTPException, OSError, Broken):
            server.quit()  # the letter has been taken: how they part does not matter
    finally:
        server.close()


class _Bounded(smtplib.SMTP):
    """The library's client, of which every wait is bounded by what is left of the call, and every answer by its size:
    its own timeout begins anew with each byte."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__(local_hostname=OUR_NAME)

    def _get_socket(self, host: str, port: int, _timeout: float) -> socket.socket:
        call = CALL.get()
        try:
            wire = call.dial(host, port, call.remaining)
        except socket.gaierror as unknown:
            raise Broken("dns", unknown) from unknown
        except OSError as trouble:
            raise Broken("connect", trouble) from trouble
        self._host = host
        if self._tls is None:
            return wire
        try:
            return self._tls.wrap_socket(wire, server_hostname=host)
        except BaseException:
            wire.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """As the library's; read under the call's bounds."""
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(BoundedReads(self.sock))
        return super().getreply()

    def send(self, s: Any) -> None:
        """As the library's; sent under the call's deadline."""
        if self.sock is not None:
            self.sock.settimeout(CALL.get().remaining())
        super().send(s)

    def turn_to_tls(self, trusted: ssl.SSLContext) -> None:
        """Raises where the server does not offer it: nothing more is said in the clear then."""
        self.ehlo_or_helo_if_needed()
        if self.sock is not None:
            self.sock.settimeout(CALL.get().remaining())
        self.starttls(context=trusted)
