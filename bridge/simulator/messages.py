"""What stands in a message: JSON with exact numbers, amounts at their currency's scale, times, deliveries.

Nothing here knows the protocol; it only makes sure that an amount is never a binary float, neither read
nor written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from http import HTTPStatus
from typing import Any

MICROS = 1_000_000
CHINA = timezone(timedelta(hours=8))
LARGEST_MAGNITUDE = 18  # digits before the point that the books can hold; more than any player owns
FIAT_PLACES, CRYPTO_PLACES = (
    2,
    8,
)  # the protocol's limits on an amount's decimals (protocols.md §1.1, Prepare)
LARGEST_FIAT_EXPONENT = 3  # ISO 4217 has none above 3 in common use: a finer currency is a virtual one


class Unreadable(ValueError):
    """The text is not JSON, or not JSON that means one thing."""


@dataclass(frozen=True)
class Request:
    """One request as it came off the socket; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    fault: str = ""  # why the body could not be taken; then it is empty


@dataclass(frozen=True)
class Answer:
    """What the provider truly has to say: an HTTP status and a JSON value (None: no body)."""

    status: int
    content: Any = None
    media: str = "application/json;charset=UTF-8"

    @property
    def done(self) -> bool:
        """Whether it tells a success."""
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    def to_bytes(self) -> bytes:
        """The body in UTF-8."""
        return b"" if self.content is None else encode(self.content).encode()


@dataclass(frozen=True)
class Delivery:
    """What happens on the socket, which need not be what is true.

    `cut` is how the answer is lost: "" not at all, "reset" before it, "close" before it (in good order),
    "half" in the middle of the body, "hang" silence for `delay` seconds. `drip` is the pause in seconds
    between single bytes of `part` ("headers", "body" or "both").
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: str = ""
    drip: float = 0.0
    part: str = "both"

    @classmethod
    def of(cls, answer: Answer) -> Delivery:
        """The truth, sent in good order."""
        headers = {} if answer.content is None else {"Content-Type": answer.media}
        return cls(answer.status, answer.to_bytes(), headers)

    def but(self, **changes: Any) -> Delivery:
        """The same delivery with some of its fields replaced."""
        return replace(self, **changes)


class Currencies:
    """The currencies the provider keeps, and how many decimals each of them has."""

    def __init__(self, exponents: Mapping[str, int]) -> None:
        self.exponents = dict(exponents)

    @classmethod
    def parse(cls, text: str) -> Currencies:
        """Read `EUR:2,JPY:0`; raises ValueError with one sentence."""
        exponents: dict[str, int] = {}
        for item in text.split(","):
            code, _, places = item.strip().partition(":")
            if not (code.isalnum() and code.isascii() and places.isdecimal() and int(places) <= CRYPTO_PLACES):
                raise ValueError(f"{item!r} is not a currency with its decimals, such as EUR:2")
            exponents[code] = int(places)
        return cls(exponents)

    def __contains__(self, currency: object) -> bool:
        return currency in self.exponents

    @property
    def first(self) -> str:
        """The currency that a player without any account is answered in."""
        return next(iter(self.exponents))

    def places(self, currency: str) -> int:
        """How many decimals a transfer may have: two for fiat, eight for crypto, never finer than kept."""
        exponent = self.exponents[currency]
        return min(exponent, FIAT_PLACES if exponent <= LARGEST_FIAT_EXPONENT else CRYPTO_PLACES)

    def minor(self, amount: Decimal, currency: str, places: int | None = None) -> int:
        """The amount in minor units, exactly; raises ValueError if finer than `places` or out of range."""
        if not amount.is_finite() or (amount and amount.adjusted() >= LARGEST_MAGNITUDE):
            raise ValueError("the amount is out of range")
        exponent = self.exponents[currency]
        allowed = exponent if places is None else places
        whole = _shifted(amount, allowed)
        if whole is None:
            raise ValueError(f"{currency} takes at most {allowed} decimals here")
        return int(whole * 10 ** (exponent - allowed))

    def number(self, minor: int, currency: str) -> Decimal:
        """Minor units as a decimal with all the currency's places."""
        digits = tuple(int(digit) for digit in str(abs(minor)))
        return Decimal((int(minor < 0), digits, -self.exponents[currency]))

    def text(self, minor: int, currency: str) -> str:
        """Minor units as a decimal string, never in scientific notation."""
        return format(self.number(minor, currency), "f")


def _shifted(amount: Decimal, places: int) -> int | None:
    """The amount × 10^places where that is whole, else None; by integers, so that no context can round it."""
    sign, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int):
        return None
    whole: int = int("".join(str(digit) for digit in digits))
    if whole == 0:
        return 0
    power = exponent + places
    if power < 0:
        whole, rest = divmod(whole, 10**-power)
        if rest:
            return None
    else:
        whole *= 10**power
    return -whole if sign else whole


def encode(value: Any) -> str:
    """JSON in which a Decimal is a number with exactly its digits; the standard encoder knows only floats."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{encode(item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(encode(item) for item in value) + "]"
    return json.dumps(value)


def decode(body: bytes) -> Any:
    """JSON with every number as a Decimal; raises Unreadable for broken text, NaN, or a name given twice."""
    try:
        return json.loads(
            body,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_names,
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise Unreadable(str(error)) from error


def _refuse_constant(name: str) -> None:
    raise Unreadable(f"{name} is not a number")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise Unreadable("a name stands twice in one object")
    return names


def china_time(instant: int) -> str:
    """Microseconds since 1970 as China Standard Time without a zone, the protocol's way (§1.1, Formats)."""
    return datetime.fromtimestamp(instant // MICROS, UTC).astimezone(CHINA).strftime("%Y-%m-%dT%H:%M:%S")


def unix_text(instant: int) -> str:
    """Microseconds since 1970 as seconds with six places, the ledger file's way."""
    return f"{instant // MICROS}.{instant % MICROS:06d}"


def unix_instant(text: str) -> int:
    """The inverse of `unix_text`; raises ValueError."""
    seconds, _, micros = text.partition(".")
    if len(micros) != len(str(MICROS)) - 1:
        raise ValueError(f"{text!r} is not a time with six places")
    return int(seconds) * MICROS + int(micros)
