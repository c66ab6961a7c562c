"""What clients may send: every path segment, parameter, header and body, strict, unknown names refused.

A field's description completes the sentence "must be …": it is the document and the refusal in one.
Amounts stay text here; `bridge.money` alone says what an amount is.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from bridge.errors import NotFound
from bridge.transfers.stories import PAGE_AT_MOST

PLAYER_ID = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,33}$"
TRANSFER_ID = r"^tr_[0-9a-f]{32}$"
ENDPOINT_ID = r"^we_[0-9a-f]{32}$"
EVENT_ID = r"^evt_[0-9a-f]{32}$"
LABEL = r"^[^\x00-\x1f\x7f]{0,100}$"
AMOUNT = r"^(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?$"
VISIBLE_ASCII = r"^[!-~]{1,255}$"

PlayerId = Annotated[
    str, Field(pattern=PLAYER_ID, description="1 to 34 letters, digits, '_', '.' or '-'", examples=["p-1001"])
]
Provider = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="the name of a configured provider", examples=["simulator"]),
]
Currency = Annotated[
    str,
    Field(pattern=r"^[A-Z][A-Z0-9]{2,9}$", description="a currency code in capitals, such as EUR", examples=["EUR"]),
]
Amount = Annotated[
    str,
    Field(
        description='a decimal number in a JSON string, such as "25.00"; JSON numbers are refused',
        examples=["25.00"],
        json_schema_extra={"pattern": AMOUNT},
    ),
]


AmountOrMax = Annotated[
    str,
    Field(
        description='a decimal number in a JSON string, such as "25.00", or "max"; JSON numbers are refused',
        examples=["25.00"],
        json_schema_extra={"pattern": f"^max$|{AMOUNT}"},
    ),
]


def _plain_number(text: object) -> object:
    """Digits alone: what int() also takes (blanks, signs, underscores) is no number here."""
    if not isinstance(text, str):
        return text
    if re.fullmatch(r"[0-9]{1,16}", text, re.ASCII) is None:
        raise ValueError("not digits")
    return int(text)


class Strict(BaseModel):
    """No conversion, no unknown name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Body(Strict):
    """A JSON object."""

    may_be_empty: ClassVar[bool] = False


class PlayerPath(Strict):
    """A player of the calling operator."""

    player_id: PlayerId


class TransferPath(Strict):
    """A transfer of the calling operator."""

    transfer_id: str = Field(description="the id of a transfer", json_schema_extra={"pattern": TRANSFER_ID})

    @field_validator("transfer_id")
    @classmethod
    def _could_be_one(cls, text: str) -> str:
        """What cannot be an id is unknown, in the same words as an id that nobody has."""
        if re.fullmatch(TRANSFER_ID, text, re.ASCII) is None:
            raise NotFound("There is no such transfer.")
        return text


class NoQuery(Strict):
    """No query parameter at all."""


class FundsQuery(Strict):
    """As of when."""

    as_of: str = Field(
        "",
        description="an instant of the past with its offset, RFC 3339, such as 2026-01-31T12:00:00Z; default: now; "
        "by the clocks of the processes that posted, each within two seconds of the database's",
        json_schema_extra={"format": "date-time"},
    )


class TransferQuery(Strict):
    """Whether to ask the provider first."""

    refresh: Literal["true", "false"] = Field("false", description='"true" (ask the provider now) or "false"')


class PageQuery(Strict):
    """Which transfers, and how many at once."""

    state: Literal["pending", "confirmed", "reversed", "orphaned"] | SkipJsonSchema[None] = Field(
        None, description="pending, confirmed, reversed or orphaned"
    )
    provider: Provider | SkipJsonSchema[None] = None
    player_id: PlayerId | SkipJsonSchema[None] = None
    cursor: str | SkipJsonSchema[None] = Field(None, pattern=TRANSFER_ID, description="the cursor of the page before")
    limit: Annotated[int, BeforeValidator(_plain_number)] = Field(
        50, ge=1, le=PAGE_AT_MOST, description=f"a whole number from 1 to {PAGE_AT_MOST}"
    )


class KeyHeader(BaseModel):
    """Without a key no money moves (I-26)."""

    idempotency_key: str = Field(
        alias="Idempotency-Key",
        pattern=VISIBLE_ASCII,
        description="1 to 255 visible ASCII characters; one key, one effect, for ever",
    )


class TransferHeader(KeyHeader):
    """The key, and how long to wait."""

    prefer: str = Field(
        "",
        alias="Prefer",
        description="RFC 7240: `wait=N` (whole seconds) or `respond-async`; anything else is passed over",
        examples=["wait=5"],
    )


class CallbackPath(Strict):
    """The provider that calls back, by its configured name."""

    provider: str = Field(
        description="the name of a configured provider", json_schema_extra={"pattern": r"^[a-z][a-z0-9_]{0,31}$"}
    )


class CallbackHeader(BaseModel):
    """Standard Webhooks: what a message is called, when it was sent, and who signed it. One that lacks any of it is
    refused as unsigned, like one whose signature does not fit."""

    model_config = ConfigDict(json_schema_extra={"required": ["webhook-id", "webhook-timestamp", "webhook-signature"]})

    id: str = Field(
        "",
        alias="webhook-id",
        description="the message; the same when the same message is sent again",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,128}$"},
    )
    timestamp: str = Field(
        "", alias="webhook-timestamp", description="seconds since 1970 when it was sent, at most 300 s from now"
    )
    signature: str = Field(
        "", alias="webhook-signature", description="one or more of `v1,` and base64, separated by spaces"
    )


class PlayerBody(Body):
    """The currencies in which the player has a wallet."""

    currencies: list[Currency] = Field(min_length=1, max_length=200, description="a list of 1 to 200 currency codes")


class CashBody(Body):
    """Money that enters or leaves the casino."""

    amount: Amount
    currency: Currency


class TransferBody(Body):
    """One movement between the player's wallet and a provider."""

    player_id: PlayerId
    provider: Provider
    direction: Literal["in", "out"] = Field(description='"in" (wallet to game) or "out" (game to wallet)')
    amount: AmountOrMax
    currency: Currency


class EmptyBody(Body):
    """Nothing, or an empty object."""

    may_be_empty: ClassVar[bool] = True


class EndpointPath(Strict):
    """A webhook endpoint of the calling operator."""

    endpoint_id: str = Field(description="the id of a webhook endpoint", json_schema_extra={"pattern": ENDPOINT_ID})

    @field_validator("endpoint_id")
    @classmethod
    def _could_be_one(cls, text: str) -> str:
        if re.fullmatch(ENDPOINT_ID, text, re.ASCII) is None:
            raise NotFound("There is no such endpoint.")
        return text


class EventPath(Strict):
    """An event of the calling operator."""

    event_id: str = Field(description="the id of an event", json_schema_extra={"pattern": EVENT_ID})

    @field_validator("event_id")
    @classmethod
    def _could_be_one(cls, text: str) -> str:
        if re.fullmatch(EVENT_ID, text, re.ASCII) is None:
            raise NotFound("There is no such event.")
        return text


class EventQuery(Strict):
    """Which events, and how many at once."""

    after: Annotated[int, BeforeValidator(_plain_number)] = Field(
        0, ge=0, description="a whole number: events behind this one of the sequence"
    )
    after_id: str | SkipJsonSchema[None] = Field(
        None, pattern=EVENT_ID, description="the id of that event, by which a restored backup is noticed"
    )
    limit: Annotated[int, BeforeValidator(_plain_number)] = Field(
        50, ge=1, le=PAGE_AT_MOST, description=f"a whole number from 1 to {PAGE_AT_MOST}"
    )


class DeliveryQuery(Strict):
    """Which deliveries, and how many at once."""

    state: Literal["waiting", "delivered", "given_up", "dropped"] | SkipJsonSchema[None] = Field(
        None, description="waiting, delivered, given_up or dropped"
    )
    before: Annotated[int, BeforeValidator(_plain_number)] | SkipJsonSchema[None] = Field(
        None, ge=1, description="a whole number: deliveries of events before this one of the sequence"
    )
    limit: Annotated[int, BeforeValidator(_plain_number)] = Field(
        50, ge=1, le=PAGE_AT_MOST, description=f"a whole number from 1 to {PAGE_AT_MOST}"
    )


class EndpointBody(Body):
    """Where events are to be sent."""

    url: str = Field(
        min_length=1, max_length=2048, description="an address that begins with https://, without credentials",
        examples=["https://casino.example/bridge-events"],
    )  # fmt: skip
    label: str = Field("", pattern=LABEL, description="a text of at most 100 characters, none of them a control one")


class ReplayBody(Body):
    """Which events are to be sent again."""

    first: int = Field(ge=1, le=2**53, description="a whole number: the first event of the sequence")
    last: int = Field(ge=1, le=2**53, description="a whole number: the last event of the sequence, itself included")
