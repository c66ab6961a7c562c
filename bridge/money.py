"""Money: integers in minor units with their currency, exact or refused. Never a float, never a rounding.

Exponents 0, 2, 3 and 4 come from ISO 4217; other currencies are declared in the configuration (BTC 8,
USDT 6, ETH 9, that is gwei, so that 64 bits hold any balance).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal

MAX_MINOR_UNITS = 10**15
"""The largest amount of one movement, in minor units."""

MAX_WALLET = 10**16
"""The largest balance to which cash may be paid in, in minor units: far enough below 64 bits that no sum
over accounts comes near the edge."""

THOUSANDS = "\u202f"
"""Between thousands as people read them: no comma, which means something else elsewhere, and no end of a line."""

_PLAIN = re.compile(r"(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,18}))?", re.ASCII)

_SPELLED = re.compile(rf"(?<=[0-9]){THOUSANDS}(?=[0-9]{{3}})|−(?=[0-9])")
"""What is in amounts for people alone: between their thousands, and their minus."""

_TWO_DECIMALS = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ
GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD
MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON
RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
""".split()
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND".split()
_FOUR_DECIMALS = "CLF UYW".split()

ISO_4217_EXPONENTS: Mapping[str, int] = {
    **dict.fromkeys(_TWO_DECIMALS, 2),
    **dict.fromkeys(_NO_DECIMALS, 0),
    **dict.fromkeys(_THREE_DECIMALS, 3),
    **dict.fromkeys(_FOUR_DECIMALS, 4),
}
"""Minor-unit exponents of the active ISO 4217 codes."""


class AmountRefused(ValueError):
    """The text is not an amount that this currency can hold exactly."""


class UnknownCurrency(ValueError):
    """The code is neither an active ISO 4217 code nor declared in the configuration."""


def plain(sentence: str) -> str:
    """A sentence with its amounts as programs read them: "−12 345.67 EUR", spelled for people, is "-12345.67 EUR"."""
    return _SPELLED.sub(lambda found: "-" if found[0] == "−" else "", sentence)


class Currencies:
    """The registry of currencies: ISO 4217 plus what the configuration declares."""

    def __init__(self, extra: Mapping[str, int] | None = None) -> None:
        self._exponents = {**ISO_4217_EXPONENTS, **(extra or {})}
        self._distrusted: Mapping[str, Callable[[], UnknownCurrency]] = {}

    @property
    def exponents(self) -> Mapping[str, int]:
        """Every currency that is known, with its decimals."""
        return self._exponents

    @property
    def distrusted(self) -> frozenset[str]:
        """The currencies whose amounts are neither read nor written here."""
        return frozenset(self._distrusted)

    def distrust(self, currency: str, refusal: Callable[[], UnknownCurrency]) -> None:
        """From now on neither read nor write an amount of `currency`, but raise what `refusal` makes: there are amounts
        of it that mean something else than they would here."""
        self._distrusted = {**self._distrusted, currency: refusal}

    def trust(self, currency: str) -> None:
        """Take that back."""
        if currency in self._distrusted:
            self._distrusted = {name: kept for name, kept in self._distrusted.items() if name != currency}

    def exponent(self, currency: str) -> int:
        """The number of decimals of `currency`; raises UnknownCurrency, also where it is distrusted."""
        refusal = self._distrusted.get(currency)
        if refusal is not None:
            raise refusal()
        try:
            return self._exponents[currency]
        except KeyError:
            raise UnknownCurrency(f"{currency!r} is not a known currency") from None

    def parse(self, text: str, currency: str) -> int:
        """The positive amount `text` ("25.00") in minor units; raises AmountRefused, UnknownCurrency.

        Plain ASCII decimals only: no sign, exponent, blank, separator or other script's digits.
        """
        minor = self.parse_exact(text, currency)
        if minor == 0:
            raise AmountRefused("must be greater than zero")
        if minor > MAX_MINOR_UNITS:
            raise AmountRefused(f"must not exceed {self.format(MAX_MINOR_UNITS, currency)}")
        return minor

    def parse_exact(self, text: str, currency: str) -> int:
        """Like :meth:`parse`, but zero and any size are allowed."""
        exponent = self.exponent(currency)
        match = _PLAIN.fullmatch(text)
        if match is None:
            raise AmountRefused('must be a plain decimal number in a string, such as "25.00"')
        whole, fraction = match[1], match[2] or ""
        if len(fraction) > exponent:
            raise AmountRefused(f"has more than the {exponent} decimals of {currency}")
        scale: int = 10**exponent
        return int(whole) * scale + int(fraction.ljust(exponent, "0") or "0")

    def format(self, minor: int, currency: str) -> str:
        """`minor` units as a decimal string with all the currency's decimals, "-1.50" if negative."""
        exponent = self.exponent(currency)
        sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(exponent + 1, "0")
        return sign + (digits if exponent == 0 else f"{digits[:-exponent]}.{digits[-exponent:]}")

    def spelled(self, minor: int, currency: str) -> str:
        """An amount as people read it, in every sentence and on every page: thousands apart, its currency behind it,
        such as "12 345.67 EUR"; in minor units where the currency is distrusted. Raises UnknownCurrency."""
        if currency in self._distrusted:
            return f"{minor} minor units of {currency}"
        whole, point, rest = self.format(abs(minor), currency).partition(".")
        grouped = f"{int(whole):,}".replace(",", THOUSANDS)
        return f"{'−' if minor < 0 else ''}{grouped}{point}{rest} {currency}"

    def exact(self, number: Decimal, currency: str) -> int | None:
        """A provider's number in minor units, or None when it is not a whole number of them."""
        if not number.is_finite() or abs(number) > Decimal(10) ** 18:
            return None
        sign, digits, power = number.as_tuple()
        assert isinstance(power, int)  # finite
        shift = power + self.exponent(currency)
        value = int("".join(map(str, digits)))
        scale: int = 10 ** abs(shift)
        # By integers, not by decimal arithmetic, whose context would round what has more than 28 digits.
        minor, left = (value * scale, 0) if shift >= 0 else divmod(value, scale)
        return None if left else (-minor if sign else minor)
