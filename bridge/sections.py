"""The sections of the configuration that are not about a game provider, and what all sections share."""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from bridge import webhooks

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Wait = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{2,9}$")]


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """An IPv4 caller is compared as one: a network of mapped addresses is kept as what it means."""
    if isinstance(network, IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
        return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


MAPPED_BITS = 96
LEAST_SECRET = 32
"""Characters of a secret from which others are derived."""

ON_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
MailAddress = Annotated[str, StringConstraints(pattern=r"^[!#-'*+./0-9=?A-Z^_`a-z{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}$")]
"""Plain ASCII: nothing in it can end a header."""

Network = Annotated[IPv4Network | IPv6Network, AfterValidator(_unmapped)]


class Section(BaseModel):
    """A table of the file; a misspelt key is an error, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSection(Section):
    """Where the rows live."""

    url: str = Field(
        "sqlite:///bridge.db", description="SQLite file or PostgreSQL address; always the primary, never a replica."
    )
    pool_size: int = Field(
        16,
        ge=1,
        description="Connections per process (PostgreSQL). With fewer than `engine.resolve_threads` and "
        "`events.deliver_threads` together, as by default, the jobs wait for each other where the database is slow: "
        "`doctor` notes it.",
    )
    busy_seconds: Seconds = Field(30, description="How long a SQLite writer waits for another one.")
    mark_file: Path | None = Field(
        None,
        description="A file on another disk than the database's, by which one that was set back is noticed; "
        "SQLite without it: beside the database, `.mark` behind its name.",
    )


class WebSection(Section):
    """The HTTP door of the bridge."""

    host: str = Field(
        "127.0.0.1",
        description="Address on which `serve` listens. The default can be reached from this machine alone: behind a "
        "balancer on another one it has to be another.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port of the API; 0 lets the system choose one.")
    proxy_hops: int = Field(
        0,
        ge=0,
        le=5,
        description="Proxies before the bridge: the caller is so many `X-Forwarded-For` from the right. "
        "They must drop header names with an underscore.",
    )
    threads: int = Field(
        32,
        ge=1,
        description="How many requests one web process answers at once; each that waits for a provider holds one.",
    )
    wait_seconds: float = Field(
        15, ge=0, le=60, description="How long a transfer request waits for the end unless `Prefer: wait=N` says less."
    )


class EngineSection(Section):
    """Driving and resolving."""

    lease_slack_seconds: Seconds = Field(
        5,
        description="Added to the longest call of a step: the life of a lease. A paused worker has this long to send.",
    )
    resolve_every_seconds: Seconds = Field(1, description="How often the resolver looks for due transfers.")
    resolve_threads: int = Field(8, ge=1, description="Transfers that one resolver drives side by side.")
    verify_every_seconds: Seconds = Field(300, description="How often every invariant is asked of the database.")
    poll_seconds: tuple[Wait, ...] = Field(
        (0, 2, 3, 5, 10, 20, 40, 80, 160, 300, 300, 900, 3600),
        min_length=1,
        description="Waits between look-ups of an unproved transfer; the last one repeats for ever.",
    )
    aftercare_seconds: tuple[Wait, ...] = Field(
        (60, 600, 3600, 86400),
        description="When a transfer reversed without the provider's refusal is looked up again.",
    )

    @model_validator(mode="after")
    def _polls_end_slowly(self) -> Self:
        """The last wait repeats for ever: a short one would be a storm of questions."""
        if self.poll_seconds[-1] <= 0:
            raise ValueError("the last of poll_seconds must be greater than zero: it repeats for ever")
        return self


def _require_one(secret: SecretStr | None, file: Path | None, name: str = "secret") -> None:
    if secret is not None and file is not None:
        raise ValueError(f"give either {name} or {name}_file")
    if secret is not None and len(secret.get_secret_value()) < LEAST_SECRET:
        raise ValueError(f"{name} must have at least {LEAST_SECRET} characters")


def _read_secret(name: str, secret: SecretStr | None, file: Path | None) -> str | None:
    if file is None:
        return None if secret is None else secret.get_secret_value()
    found = file.read_text(encoding="utf-8").strip()
    if len(found) < LEAST_SECRET:
        raise ValueError(f"{name}_file holds fewer than {LEAST_SECRET} characters")
    return found


def _read_nothing_twice(secret: SecretStr | None, file: Path | None, name: str) -> None:
    if secret is not None and file is not None:
        raise ValueError(f"give either {name} or {name}_file")


def _plain(secret: SecretStr | None, file: Path | None) -> str:
    if secret is not None:
        return secret.get_secret_value()
    assert file is not None
    return file.read_text(encoding="utf-8").strip()


class MetricsSection(Section):
    """Figures for Prometheus, at `/metrics`."""

    token: SecretStr | None = Field(
        None, description="At least 32 characters by chance: whoever sends it as bearer token is shown the figures."
    )
    token_file: Path | None = Field(None, description="A file that holds it, instead of it.")

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        _require_one(self.token, self.token_file, "token")
        return self

    def expected(self) -> str | None:
        """The token, None where there is none: the figures are shown to nobody then. Raises OSError, ValueError."""
        return _read_secret("metrics.token", self.token, self.token_file)


class TracesSection(Section):
    """Traces by OpenTelemetry; they need requirements-traces.txt."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+/[^\s?#]*$",
        description="Where spans are sent by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; without it "
        "there are no traces.",
    )
    sample: float = Field(1, ge=0, le=1, description="The share of traces that is kept; a transfer's whole or not.")


class Security(StrEnum):
    """How a mail server is spoken to."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class AlertsSection(Section):
    """What is wrong, told to people: by a signed webhook, by e-mail, by both or by none."""

    webhook_url: str | None = Field(
        None, pattern=r"^https?://[^\s/?#@]+(/[^\s#]*)?$", description="Where alerts are posted to."
    )
    webhook_secret: SecretStr | None = Field(None, description="`whsec_…`, with which they are signed.")
    webhook_secret_file: Path | None = Field(None, description="A file that holds it, instead of it.")
    allowed_networks: tuple[Network, ...] = Field(
        (), description="Addresses that `webhook_url` may lead to although they are not public; only there `http://`."
    )
    email_to: tuple[MailAddress, ...] = Field((), max_length=20, description="Who gets alerts by e-mail.")
    email_from: MailAddress | None = Field(None, description="Whom they are from.")
    smtp_host: str | None = Field(None, pattern=r"^[A-Za-z0-9.:_-]{1,253}$", description="The mail server.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    smtp_security: Security = Field(Security.STARTTLS, description="`none` only to a loopback address.")
    smtp_user: str | None = Field(None, min_length=1, description="Name to log in with; without it nobody logs in.")
    smtp_password: SecretStr | None = Field(None, description="Password to log in with.")
    smtp_password_file: Path | None = Field(None, description="A file that holds it, instead of it.")
    answer_seconds: Seconds = Field(15, description="Total deadline of one message, by either way.")
    desk_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="Where people reach the desk, such as `https://bridge.example/ops`: messages then link to it.",
    )
    again_hours: Annotated[float, Field(ge=0.1, le=168)] = Field(
        4, description="What is still wrong is told again after so many hours."
    )
    orphans_grouped_seconds: Wait = Field(60, description="New orphans of an operator within it are one message.")
    silent_seconds: Annotated[float, Field(ge=15, allow_inf_nan=False)] = Field(
        60, description="After this without a sign of life from any process of jobs, web processes tell."
    )
    failing_seconds: Wait = Field(300, description="A job that fails for so long is told.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """A way that lacks a part is a typing error, not silence."""
        _read_nothing_twice(self.webhook_secret, self.webhook_secret_file, "webhook_secret")
        _read_nothing_twice(self.smtp_password, self.smtp_password_file, "smtp_password")
        signs = self.webhook_secret is not None or self.webhook_secret_file is not None
        if (self.webhook_url is None) == signs:
            raise ValueError("webhook_url and webhook_secret (or webhook_secret_file) belong together")
        if self.webhook_secret is not None:
            webhooks.key(self.webhook_secret.get_secret_value())
        mail = (bool(self.email_to), self.email_from is not None, self.smtp_host is not None)
        if any(mail) and not all(mail):
            raise ValueError("email_to, email_from and smtp_host belong together")
        logs_in = self.smtp_password is not None or self.smtp_password_file is not None
        if (self.smtp_user is not None) != logs_in:
            raise ValueError("smtp_user and smtp_password (or smtp_password_file) belong together")
        if self.smtp_security is Security.NONE and self.smtp_host not in (None, *ON_THIS_MACHINE):
            raise ValueError("smtp_security none is for a mail server on this machine: 127.0.0.1, ::1 or localhost")
        return self

    def signing_secret(self) -> str:
        """`whsec_…`, read anew each time; raises OSError, ValueError."""
        found = _plain(self.webhook_secret, self.webhook_secret_file)
        webhooks.key(found)
        return found

    def password(self) -> str:
        """Of the mail server; raises OSError, ValueError."""
        return _plain(self.smtp_password, self.smtp_password_file)


class EventsSection(Section):
    """Events to operators, by signed webhooks."""

    secret: SecretStr | None = Field(
        None, description="At least 32 characters by chance; the secrets of all endpoints are derived from it."
    )
    secret_file: Path | None = Field(None, description="A file that holds it, instead of it.")
    allowed_networks: tuple[Network, ...] = Field(
        (),
        description="Addresses that every operator may have events sent to although they are not public, on every "
        "port, such as `10.1.0.0/16`; only there `http://` is taken too.",
    )
    deliver_every_seconds: Seconds = Field(1, description="How often events are numbered, and what is due is sent.")
    deliver_threads: int = Field(
        32,
        ge=1,
        description="Deliveries that one process sends side by side; of one operator at most a quarter. On SQLite at "
        "most 4, whatever is set.",
    )
    answer_seconds: Seconds = Field(15, description="Total deadline of one delivery.")
    retry_seconds: tuple[Wait, ...] = Field(
        (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
        min_length=1,
        description="Waits between the tries of a delivery, each a fifth more or less; after the last it is given up.",
    )
    overlap_seconds: Wait = Field(86_400, description="After a secret was exchanged, the one before it signs so long.")
    disable_after_seconds: Seconds = Field(
        432_000, description="An endpoint at which nothing has arrived for so long is disabled."
    )

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        _require_one(self.secret, self.secret_file)
        return self

    def master(self) -> str | None:
        """What endpoints' secrets are derived from, None where there is nothing; raises OSError, ValueError."""
        return _read_secret("events.secret", self.secret, self.secret_file)


class DeskSection(Section):
    """The pages at `/ops`, and the people who use them."""

    secret: SecretStr | None = Field(
        None,
        description="At least 32 characters by chance; seeds of one-time codes are encrypted with it. Exchange it and "
        "everybody has to enrol anew. Without it `/ops` answers 503.",
    )
    secret_file: Path | None = Field(None, description="A file that holds it, instead of it.")
    address: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+$",
        description="Where browsers reach the bridge, such as `https://bridge.example.com`: links begin with it, and "
        "forms from elsewhere are refused. Without it: whatever name the browser asked for.",
    )
    steward: str | None = Field(
        None,
        description="The operator whose operators and approvers run and pause jobs, and whose people see what checks "
        "found, and which process fails at what; without it nobody does.",
    )
    idle_minutes: Seconds = Field(15, description="A person who does nothing for so long is asked to come in again.")
    absolute_hours: Seconds = Field(8, description="And so is everybody after this time.")
    prove_minutes: Seconds = Field(
        5, description="Before a money action, a code or passkey must have been shown within this time."
    )
    invitation_hours: Seconds = Field(24, description="How long a link lets somebody in, once.")
    expiry_hours: Seconds = Field(24, description="How long a proposal waits for approval.")
    two_checkers_above: dict[CurrencyCode, str] = Field(
        default_factory=dict, description='Amounts above it need two approvals, per currency: `{EUR = "5000.00"}`.'
    )
    reference_rates: dict[CurrencyCode, str] = Field(
        default_factory=dict,
        description='What one unit is worth, to sort orphans across currencies: `{EUR = "1", JPY = "0.006"}`.',
    )

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        _require_one(self.secret, self.secret_file)
        return self

    def master(self) -> str | None:
        """What the desk's keys are derived from, None where there is nothing; raises OSError, ValueError."""
        return _read_secret("desk.secret", self.secret, self.secret_file)


KEY_BYTES = 32


def _public_key(text: str) -> str:
    """A public key in base64 is 32 bytes; what is none would be found out too late."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ValueError("must be a public key as `python -m bridge audit key` prints it")
    return text


class AuditSection(Section):
    """Seals over what is written for ever, and their mirror."""

    delay_seconds: Wait = Field(30, description="A row is sealed so long after it was first seen.")
    seal_every_seconds: Seconds = Field(10, description="How often rows are sealed.")
    mirror_file: Path | None = Field(
        None,
        description="The file to which signed heads are added: where the database's owner cannot write. "
        "Without it, what is cut off or written anew as a whole cannot be seen.",
    )
    mirror_seconds: Seconds = Field(60, description="How often heads are mirrored, where they have moved.")
    key_file: Path | None = Field(
        None, description="The private key that signs heads, made by `python -m bridge audit key`."
    )
    public_keys: tuple[Annotated[str, AfterValidator(_public_key)], ...] = Field(
        (), description="Public keys whose lines of the mirror are accepted, beside that of `key_file`."
    )
    inspect_hours: Seconds = Field(24, description="How often, in hours, everything is inspected.")
