"""The configuration: `bridge.toml`, overridden by `BRIDGE_…` variables; read once, typed, loud.

An unknown key is refused by name. `docs/configuration.md` is generated from the descriptions here.
Environment: `BRIDGE_DATABASE__URL=…`, `BRIDGE_PROVIDERS__ACME__PASSWORD=…` (two underscores go one level down).
"""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bridge import webhooks
from bridge.money import ISO_4217_EXPONENTS
from bridge.ports import WALLET, LanePolicy
from bridge.sections import (
    AlertsSection,
    AuditSection,
    CurrencyCode,
    DatabaseSection,
    DeskSection,
    EngineSection,
    EventsSection,
    MetricsSection,
    Network,
    Seconds,
    Section,
    TracesSection,
    Wait,
    WebSection,
)

CONFIG_VARIABLE = "BRIDGE_CONFIG"
"""Names the TOML file; default `bridge.toml` in the working folder, which may be absent."""

ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
EXECUTED_WITHIN_SECONDS = 60
"""What a provider of our own contract has received it executes within this time, or never (contract §2, promise 4)."""

LONGEST_PATIENCE_SECONDS = 86_400
"""A day in which nobody looks at what is not proved. What is further from a transfer's begin than this, `bridge verify`
takes for changed, whatever was configured when it was begun."""


_PORTS = {"http": 80, "https": 443}


class ProviderSection(Section):
    """What only the operator knows of a game provider, whatever protocol it speaks."""

    operator: str = Field(
        min_length=1,
        description="The operator whose account at the provider this is: nobody else's players may use it.",
    )
    protocol: str
    base_url: str = Field(
        pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
        description="Where it answers. Its path is neither logged, nor kept with messages, nor shown at the desk.",
    )
    currencies: tuple[CurrencyCode, ...] = Field(min_length=1, description="Currencies that may move.")
    patience_seconds: Seconds = Field(
        900, description="After this an unproved transfer is orphaned; polling goes on. At most a day (86400)."
    )
    lane_policy: LanePolicy = Field(
        LanePolicy.BLOCK, description="What a new transfer in may do beside an unresolved one of the same player."
    )
    exposure_caps: dict[CurrencyCode, str] = Field(
        default_factory=dict,
        description='Most value of transfers in that may be unresolved at once, per currency: `{EUR = "5000.00"}`.',
    )
    lookup_seconds: Seconds = Field(5, description="Total deadline of a look-up or a balance read.")
    breaker_window_seconds: Seconds = Field(60, description="The breaker counts unknown answers over this time.")
    breaker_least: int = Field(10, ge=2, description="It never opens on fewer answers than this.")
    breaker_share: float = Field(0.5, gt=0, le=1, description="It opens when this share of them is unknown.")
    breaker_probe_seconds: Seconds = Field(10, description="An open breaker reads a balance this often.")

    @field_validator("patience_seconds")
    @classmethod
    def _ends_within_a_day(cls, value: float) -> float:
        if value > LONGEST_PATIENCE_SECONDS:
            raise ValueError(
                f"patience_seconds must be at most {LONGEST_PATIENCE_SECONDS}, a day: "
                "until it is spent nobody is told of what is not proved"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _names_a_port(cls, value: str) -> str:
        _ = urlsplit(value).port  # raises where it is none
        return value

    @property
    def place(self) -> tuple[str, str]:
        """(address, path) of `base_url`, each place written in one way only. The path may be a secret."""
        parts = urlsplit(self.base_url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}", parts.path.rstrip("/")

    @property
    def account(self) -> str:
        """The name of our account there, where it has one."""
        return ""

    @property
    def credential(self) -> str | bytes:
        """What tells two accounts at one place apart; it may be a secret."""
        return self.account

    @property
    def longest_call_seconds(self) -> float:
        """The longest deadline of one request."""
        return self.lookup_seconds

    def read_secrets(self) -> None:
        """Read every secret once; raises OSError or ValueError."""

    @model_validator(mode="after")
    def _caps_name_its_currencies(self) -> Self:
        """A cap on a currency that does not move there is a typing error."""
        for currency in self.exposure_caps:
            if currency not in self.currencies:
                raise ValueError(f"exposure_caps: {currency} is not one of its currencies")
        return self


class QTechSection(ProviderSection):
    """A game provider that speaks QTech's transfer wallet (two phases)."""

    protocol: Literal["qtech"] = Field(description="The wire protocol it speaks.")
    username: str = Field(min_length=1, description="Name for its token call.")
    password: SecretStr | None = Field(None, description="Password for its token call.")
    password_file: Path | None = Field(None, description="A file that holds the password, instead of it.")
    expiry_seconds: Seconds = Field(10, description="After this the provider cancels what was prepared only.")
    expiry_margin_seconds: Seconds = Field(2, description="Added to the expiry before anything is concluded from it.")
    complete_reserve_seconds: Seconds = Field(3, description="A complete is not sent with less than this left.")
    prepare_seconds: Seconds = Field(4, description="Total deadline of a prepare, token included.")
    complete_seconds: Seconds = Field(4, description="Total deadline of a complete or a cancel.")

    @property
    def account(self) -> str:
        """Its user name there."""
        return self.username

    @property
    def longest_call_seconds(self) -> float:
        """The longest deadline of one request."""
        return max(self.prepare_seconds, self.complete_seconds, self.lookup_seconds)

    def read_secrets(self) -> None:
        """Read the password once; raises OSError or ValueError."""
        self.secret()

    @model_validator(mode="after")
    def _safe_together(self) -> Self:
        """Refuse combinations under which the timeout contract would promise too much."""
        if (self.password is None) == (self.password_file is None):
            raise ValueError("give either password or password_file")
        if self.prepare_seconds + self.complete_reserve_seconds > self.expiry_seconds:
            raise ValueError(
                "prepare_seconds + complete_reserve_seconds must fit into expiry_seconds: "
                "else a prepared transfer can never be completed in time"
            )
        if self.patience_seconds <= 2 * self.expiry_seconds + self.expiry_margin_seconds:
            raise ValueError(
                "patience_seconds must be longer than twice expiry_seconds plus expiry_margin_seconds: "
                "else every slow answer becomes an orphan"
            )
        return self

    def secret(self) -> str:
        """The password, from the key or from its file."""
        if self.password is not None:
            return self.password.get_secret_value()
        assert self.password_file is not None
        return self.password_file.read_text(encoding="utf-8").strip()


class GenericSection(ProviderSection):
    """A game provider that follows our own contract, docs/provider-contract.md (one phase)."""

    protocol: Literal["generic"] = Field(description="The wire protocol it speaks.")
    request_secret: SecretStr | None = Field(None, description="`whsec_…`, with which our requests are signed.")
    request_secret_file: Path | None = Field(None, description="A file that holds it, instead of it.")
    callback_secrets: tuple[SecretStr, ...] = Field(
        (), max_length=4, description="`whsec_…`, each accepted under a callback; two while one replaces the other."
    )
    callback_secrets_file: Path | None = Field(None, description="A file that holds them, one a line, instead of them.")
    callback_networks: tuple[Network, ...] = Field(
        (), description="Addresses from which callbacks are taken, such as `203.0.113.0/24`; none: from nowhere."
    )
    transfer_seconds: Seconds = Field(10, description="Total deadline of a transfer or a cancel.")
    partial: bool = Field(False, description="Whether it may move less than the whole, as agreed with it.")
    absent_after_seconds: Seconds = Field(
        120, description="When `not_found` counts as absent, after the last request; the contract says 60."
    )
    absent_times: int = Field(2, ge=2, description="How often `not_found` must be seen for that.")
    absent_apart_seconds: Seconds = Field(20, description="How far apart those answers must be.")
    final_after_seconds: Seconds = Field(
        10, description="When a look-up's refusal counts, after the last request has ended."
    )
    final_times: int = Field(2, ge=1, description="How often it must be seen for that.")
    settle_seconds: Wait = Field(10, description="After a kick, until the balance is read.")

    @property
    def credential(self) -> str | bytes:
        """The secret of requests, by which alone a provider knows whose they are; one that cannot be read, by where it
        stands."""
        try:
            secret = self.signing_secret()
        except (OSError, ValueError):
            return str(self.request_secret_file)
        try:
            return webhooks.key(secret)
        except ValueError:
            return secret

    @property
    def longest_call_seconds(self) -> float:
        """The longest deadline of one request."""
        return max(self.transfer_seconds, self.lookup_seconds)

    def read_secrets(self) -> None:
        """Read the secrets once; raises OSError, or ValueError for one that is none."""
        keys = [webhooks.key(secret) for secret in (self.signing_secret(), *self.accepted_secrets())]
        if keys[0] in keys[1:]:
            raise ValueError("the secret of requests is one of callbacks too: the contract wants two, one each way")

    @model_validator(mode="after")
    def _safe_together(self) -> Self:
        """Refuse what the contract could not keep, and secrets that are none."""
        if (self.request_secret is None) == (self.request_secret_file is None):
            raise ValueError("give either request_secret or request_secret_file")
        if self.callback_secrets and self.callback_secrets_file is not None:
            raise ValueError("give either callback_secrets or callback_secrets_file")
        if self.patience_seconds <= self.transfer_seconds + self.absent_after_seconds:
            raise ValueError(
                "patience_seconds must be longer than transfer_seconds plus absent_after_seconds: "
                "else every lost request becomes an orphan"
            )
        if self.absent_after_seconds < EXECUTED_WITHIN_SECONDS and not self._is_on_this_machine:
            raise ValueError(
                f"absent_after_seconds must be at least {EXECUTED_WITHIN_SECONDS}: the contract gives a provider so "
                "long to execute what it has received (less is for a simulator at a loopback address)"
            )
        return self

    @property
    def _is_on_this_machine(self) -> bool:
        return (urlsplit(self.base_url).hostname or "") in ("127.0.0.1", "::1", "localhost")

    def signing_secret(self) -> str:
        """The secret of our requests, `whsec_…`."""
        if self.request_secret is not None:
            return self.request_secret.get_secret_value()
        assert self.request_secret_file is not None
        return self.request_secret_file.read_text(encoding="utf-8").strip()

    def accepted_secrets(self) -> tuple[str, ...]:
        """The secrets of the provider's callbacks; none: every callback is refused."""
        if self.callback_secrets_file is None:
            return tuple(secret.get_secret_value() for secret in self.callback_secrets)
        return tuple(self.callback_secrets_file.read_text(encoding="utf-8").split())


AnyProvider = Annotated[QTechSection | GenericSection, Field(discriminator="protocol")]


class Config(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="BRIDGE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    database: DatabaseSection = DatabaseSection()
    web: WebSection = WebSection()
    engine: EngineSection = EngineSection()
    events: EventsSection = EventsSection()
    metrics: MetricsSection = MetricsSection()
    desk: DeskSection = DeskSection()
    audit: AuditSection = AuditSection()
    traces: TracesSection = TracesSection()
    alerts: AlertsSection = AlertsSection()
    currencies: dict[CurrencyCode, Annotated[int, Field(ge=0, le=9)]] = Field(
        default_factory=dict, description="Decimals of currencies beside ISO 4217, for instance BTC = 8."
    )
    providers: dict[ProviderName, AnyProvider] = Field(
        default_factory=dict, description="The game providers, by the name used in the API."
    )

    @model_validator(mode="after")
    def _names_mean_one_thing(self) -> Self:
        """ISO 4217 says how many decimals its currencies have; `wallet` is the operator's side of a transfer."""
        known = sorted(set(self.currencies) & set(ISO_4217_EXPONENTS))
        if known:
            raise ValueError(f"currencies.{known[0]}: its decimals are fixed by ISO 4217")
        for (one, this), (other, that) in combinations(self.providers.items(), 2):
            if this.place == that.place and this.credential == that.credential:
                told = f"the account of {one} and {other} at {this.place[0]} is named twice"
                raise ValueError(f"providers: {told}: its players would share balances")
        if WALLET in self.providers:
            raise ValueError(f"providers.{WALLET}: this name is taken by the operator's wallet")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What wins over what: arguments, then the environment, then the file; nothing else is read."""
        del dotenv_settings, file_secret_settings  # the library hands them over by name
        file = Path(os.environ.get(CONFIG_VARIABLE, "bridge.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)
