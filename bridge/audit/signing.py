"""The keys under heads: Ed25519. The private one is a file that the database's owner should not be able to read."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from bridge.audit.canon import digest
from bridge.config import Config
from bridge.errors import Conflict, Unavailable
from bridge.runtime import Ids

KEY_BYTES = 32
NAME_DIGITS = 16


@dataclass(frozen=True)
class Signer:
    """The private key of this process."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> str:
        """The public key in base64, as `audit.public_keys` holds it."""
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode()

    @property
    def name(self) -> str:
        """By which a line names it."""
        return key_name(self.public)

    def sign(self, content: bytes) -> str:
        """The signature in base64."""
        return base64.b64encode(self.private.sign(content)).decode()


def key_name(public: str) -> str:
    """The name of a public key: the beginning of its hash."""
    return digest(base64.b64decode(public))[:NAME_DIGITS]


def make(ids: Ids, file: Path) -> Signer:
    """A new private key in a new file that its owner alone can read. Raises Conflict if there is a file already."""
    private = Ed25519PrivateKey.from_private_bytes(ids.noise(KEY_BYTES))
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    try:
        os.link(part, file)  # refuses to replace another key, also one that was made at the same instant
    except FileExistsError as there:
        raise Conflict(f"{file} is there already.") from there
    finally:
        part.unlink()
    return Signer(private)


def signer(config: Config) -> Signer | None:
    """The private key that is configured, None where none is. Raises Unavailable for a file that holds none."""
    file = config.audit.key_file
    if file is None:
        return None
    try:
        private = load_pem_private_key(file.read_bytes(), password=None)
    except FileNotFoundError as missing:
        raise Unavailable(f"There is no {file}: `python -m bridge audit key` makes it.") from missing
    except (OSError, ValueError, TypeError) as wrong:
        raise Unavailable(f"{file} holds no private key that can be read.") from wrong
    if not isinstance(private, Ed25519PrivateKey):
        raise Unavailable(f"{file} holds no Ed25519 key.")
    return Signer(private)


def accepted(config: Config) -> Mapping[str, str]:
    """Public keys by name: those that are configured, and that of the private one, if it can be read here."""
    publics = list(config.audit.public_keys)
    try:
        own = signer(config)
    except Unavailable:
        own = None
    return {key_name(public): public for public in [*publics, *([own.public] if own else [])]}


def is_signed(public: str, signature: str, content: bytes) -> bool:
    """Whether a signature is of this content and key."""
    try:
        raw = base64.b64decode(signature, validate=True)
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public)).verify(raw, content)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
