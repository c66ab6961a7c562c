"""The configuration: `bridge.toml`, overridden by `BRIDGE_…` variables; read once, typed, loud.

An unknown key is refused by name. `docs/configuration.md` is generated from the descriptions here.
Environment: `BRIDGE_DATABASE__URL=…`, `BRIDGE_PROVIDERS__ACME__PASSWORD=…` (two underscores go one level down).
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bridge import webhooks
from bridge.money import ISO_4217_EXPONENTS
from bridge.ports import WALLET, LanePolicy

CONFIG_VARIABLE = "BRIDGE_CONFIG"
"""Names the TOML file; default `bridge.toml` in the working folder, which may be absent."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Wait = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{2,9}$")]
EXECUTED_WITHIN_SECONDS = 60
"""What a provider of our own contract has received it executes within this time, or never (contract §2, promise 4)."""


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """An IPv4 caller is compared as one: a network of mapped addresses is kept as what it means."""
    if isinstance(network, IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
        return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


MAPPED_BITS = 96
Network = Annotated[IPv4Network | IPv6Network, AfterValidator(_unmapped)]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class Section(BaseModel):
    """A table of the file; a misspelt key is an error, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSection(Section):
    """Where the rows live."""

    url: str = Field(
        "sqlite:///bridge.db", description="SQLite file or PostgreSQL address; always the primary, never a replica."
    )
    pool_size: int = Field(16, ge=1, description="Connections per process (PostgreSQL).")
    busy_seconds: Seconds = Field(30, description="How long a SQLite writer waits for another one.")
    mark_file: Path | None = Field(
        None,
        description="A file on another disk than the database's, by which one that was set back is noticed; "
        "SQLite without it: beside the database, `.mark` behind its name.",
    )


class WebSection(Section):
    """The HTTP door of the bridge."""

    host: str = Field("127.0.0.1", description="Address that `up` and `doctor` use.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the API; 0 lets the system choose one.")
    proxy_hops: int = Field(
        0,
        ge=0,
        le=5,
        description="Proxies before the bridge: the caller is so many `X-Forwarded-For` from the right. "
        "They must drop header names with an underscore.",
    )
    threads: int = Field(32, ge=1, description="Threads per web process: two to four times the slow calls allowed.")
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


class ProviderSection(Section):
    """What only the operator knows of a game provider, whatever protocol it speaks."""

    operator: str = Field(
        min_length=1,
        description="The operator whose account at the provider this is: nobody else's players may use it.",
    )
    protocol: str
    base_url: str = Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$", description="Where it answers.")
    currencies: tuple[CurrencyCode, ...] = Field(min_length=1, description="Currencies that may move.")
    patience_seconds: Seconds = Field(900, description="After this an unproved transfer is orphaned; polling goes on.")
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

    @property
    def account(self) -> str:
        """What tells two accounts at one address apart."""
        return self.operator

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
    final_after_seconds: Seconds = Field(10, description="When a look-up's refusal counts, after the last request.")
    final_times: int = Field(2, ge=1, description="How often it must be seen for that.")
    settle_seconds: Wait = Field(10, description="After a kick, until the balance is read.")

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
        accounts = [(each.base_url.rstrip("/"), each.account) for each in self.providers.values()]
        shared = next((account for account in accounts if accounts.count(account) > 1), None)
        if shared is not None:
            raise ValueError(f"providers: {shared[1]} at {shared[0]} is named twice: its players would share balances")
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
