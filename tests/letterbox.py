"""A mail server on loopback that keeps what it gets: real SMTP over a real socket, with TLS where that is asked for,
and with the manners that mail servers sometimes have."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Got:
    """One letter as it came: the envelope, the bytes, whether TLS carried it, and who had logged in."""

    sender: str
    to: list[str]
    raw: bytes
    encrypted: bool
    user: str | None

    @property
    def letter(self) -> EmailMessage:
        made = message_from_bytes(self.raw, policy=policy.SMTP)
        assert isinstance(made, EmailMessage)
        return made


@dataclass
class Manners:
    """How it behaves."""

    offers_starttls: bool = True
    tls_at_once: bool = False
    wants_login: tuple[str, str] | None = None
    greeting: bytes = b"220 letterbox ESMTP\r\n"
    after_data: bytes = b"250 kept\r\n"
    refuses: tuple[str, ...] = ()
    not_yet: tuple[str, ...] = ()  # refuses these for a moment
    mumbles: tuple[str, ...] = ()  # answers of these what is no SMTP
    drips: bool = False  # answers the greeting's rest byte by byte, for ever
    dies_after_data: bool = False  # keeps the letter, and says nothing


class Letterbox:
    """Listens on a port of its own; `got` are the letters."""

    def __init__(self, certificate: tuple[Path, Path] | None = None, **manners: Any) -> None:
        self.manners, self.got, self.connections = Manners(**manners), list[Got](), 0
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._door.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        with suppress(OSError, ValueError), wire:
            encrypted = self.manners.tls_at_once
            if encrypted:
                assert self._context is not None
                wire = self._context.wrap_socket(wire, server_side=True)
            if self.manners.drips:
                wire.sendall(b"220-")
                while not self._ended.is_set():
                    wire.sendall(b"x")
                    time.sleep(0.05)
            wire.sendall(self.manners.greeting)
            _Talk(self, wire, encrypted).go_on()


@dataclass
class _Talk:
    box: Letterbox
    wire: Any
    encrypted: bool
    user: str | None = None
    sender: str = ""
    to: list[str] = field(default_factory=list)

    def go_on(self) -> None:
        lines = self.wire.makefile("rb")
        while line := lines.readline():
            verb, _, rest = line.strip().decode().partition(" ")
            match verb.upper():
                case "EHLO":
                    self._hello()
                case "STARTTLS":
                    self.wire.sendall(b"220 go ahead\r\n")
                    assert self.box._context is not None
                    self.wire = self.box._context.wrap_socket(self.wire, server_side=True)
                    self.encrypted, lines = True, self.wire.makefile("rb")
                case "AUTH":
                    self._login(rest)
                case "MAIL":
                    self._mail(rest)
                case "RCPT":
                    self._recipient(rest)
                case "DATA":
                    if not self._data(lines):
                        return
                case "QUIT":
                    self.wire.sendall(b"221 bye\r\n")
                    return
                case _:
                    self.wire.sendall(b"250 as you like\r\n")

    def _hello(self) -> None:
        offers = ["letterbox"]
        offers += ["STARTTLS"] if self.box.manners.offers_starttls and not self.encrypted and self.box._context else []
        offers += ["AUTH PLAIN"] if self.box.manners.wants_login else []
        told = "".join(f"250{'-' if each != offers[-1] else ' '}{each}\r\n" for each in offers)
        self.wire.sendall(told.encode())

    def _login(self, rest: str) -> None:
        _, user, password = base64.b64decode(rest.split(" ")[1]).decode().split("\0")
        right = (user, password) == self.box.manners.wants_login
        self.user = user if right else None
        self.wire.sendall(b"235 welcome\r\n" if right else b"535 no\r\n")

    def _mail(self, rest: str) -> None:
        if self.box.manners.wants_login and self.user is None:
            self.wire.sendall(b"530 log in first\r\n")
            return
        self.sender = rest.partition("<")[2].partition(">")[0]
        self.wire.sendall(b"250 fine\r\n")

    def _recipient(self, rest: str) -> None:
        whom = rest.partition("<")[2].partition(">")[0]
        if whom in self.box.manners.refuses:
            self.wire.sendall(b"550 nobody of that name\r\n")
            return
        if whom in self.box.manners.mumbles:
            self.wire.sendall(b"who?\r\n")
            return
        if whom in self.box.manners.not_yet:
            self.wire.sendall(b"450 come again later\r\n")
            return
        self.to.append(whom)
        self.wire.sendall(b"250 fine\r\n")

    def _data(self, lines: Any) -> bool:
        self.wire.sendall(b"354 go on\r\n")
        content = b""
        while (line := lines.readline()) not in (b".\r\n", b""):
            content += line.removeprefix(b".")
        if self.box.manners.after_data.startswith(b"250") or self.box.manners.dies_after_data:
            self.box.got.append(Got(self.sender, self.to, content, self.encrypted, self.user))
        if self.box.manners.dies_after_data:
            return False
        self.wire.sendall(self.box.manners.after_data)
        return True


def certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """(certificate, key) of a server of this name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host == "localhost":
        names.append(x509.IPAddress(ip_address("127.0.0.1")))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{host}.pem", folder / f"{host}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return files
