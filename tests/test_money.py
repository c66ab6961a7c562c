"""Money is exact or refused: from text, to text, and from a provider's number."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.config import Config, QTechSection
from bridge.money import ISO_4217_EXPONENTS, MAX_MINOR_UNITS, AmountRefused, Currencies, UnknownCurrency, plain
from bridge.sections import EngineSection

MONEY = Currencies({"BTC": 8, "USDT": 6, "ETH": 9})

# text, currency, minor units; typed out.
EXACT = [
    ("25.00", "EUR", 2500), ("25", "EUR", 2500), ("25.5", "EUR", 2550), ("0.01", "EUR", 1), ("0.10", "EUR", 10),
    ("1", "JPY", 1), ("100", "JPY", 100), ("1.234", "KWD", 1234), ("0.001", "KWD", 1), ("1.2345", "CLF", 12345),
    ("0.00000001", "BTC", 1), ("1.000001", "USDT", 1_000_001), ("0.000000001", "ETH", 1),
    ("10000000000000.00", "EUR", 10**15), ("1000000000000000", "JPY", 10**15), ("10000000.00000000", "BTC", 10**15),
]  # fmt: skip

REFUSED = [
    ("0", "EUR"), ("0.00", "EUR"), ("-1", "EUR"), ("-0.01", "EUR"), ("+1", "EUR"), ("1.005", "EUR"), ("1.000", "EUR"),
    ("0.1", "JPY"), ("1.0", "JPY"), ("1.0001", "KWD"), ("10000000000000.01", "EUR"), ("1000000000000001", "JPY"),
    ("1e3", "EUR"), ("1E3", "EUR"), ("NaN", "EUR"), ("nan", "EUR"), ("Infinity", "EUR"), ("inf", "EUR"), ("", "EUR"),
    (" 1", "EUR"), ("1 ", "EUR"), ("1\n", "EUR"), ("1,00", "EUR"), ("1.", "EUR"), (".5", "EUR"), ("01", "EUR"),
     ("00.01", "EUR"),
    ("1_000", "EUR"), ("1 000", "EUR"), ("0x10", "EUR"), ("\uff11\uff12", "EUR"), ("\u0661\u0662", "EUR"),
     ("1.\uff15", "EUR"), ("1\u0660", "EUR"),
    ("\u00b2", "EUR"), ("9" * 19, "EUR"), ("9" * 40, "EUR"), ("9" * 5000, "EUR"), ("0." + "0" * 19, "BTC"), ("1/2",
     "EUR"), ("\u22121", "EUR"), ("1\x00", "EUR"),
]  # fmt: skip


@pytest.mark.parametrize(("amount", "currency", "minor"), EXACT)
def test_amount_is_exact(amount: str, currency: str, minor: int) -> None:
    """I-08 A decimal text that the currency holds becomes exactly its minor units, and comes back with all its
    decimals."""
    assert MONEY.parse(amount, currency) == minor
    assert type(MONEY.parse(amount, currency)) is int
    assert Decimal(MONEY.format(minor, currency)) == Decimal(amount)
    assert MONEY.parse(MONEY.format(minor, currency), currency) == minor


@pytest.mark.parametrize(("amount", "currency"), REFUSED)
def test_amount_is_refused(amount: str, currency: str) -> None:
    """I-08 What is no plain positive amount of the currency is refused, never rounded, never guessed."""
    with pytest.raises(AmountRefused):
        MONEY.parse(amount, currency)


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XXX", "BT", "\uff25UR", "EUR "])
def test_unknown_currency(currency: str) -> None:
    """I-09 A currency that nobody declared has no decimals to guess."""
    for ask in (MONEY.exponent, lambda code: MONEY.parse("1", code), lambda code: MONEY.format(1, code)):
        with pytest.raises(UnknownCurrency):
            ask(currency)


def test_exponents_of_iso_4217() -> None:
    """I-08 C-72 Currencies without cents and with mills have their ISO 4217 exponents, each code once."""
    typed = {
        "EUR": 2,
        "USD": 2,
        "JPY": 0,
        "KRW": 0,
        "VND": 0,
        "CLP": 0,
        "ISK": 0,
        "KWD": 3,
        "BHD": 3,
        "TND": 3,
        "CLF": 4,
        "UYW": 4,
        "IDR": 2,
    }
    assert {code: ISO_4217_EXPONENTS[code] for code in typed} == typed
    assert set(ISO_4217_EXPONENTS.values()) == {0, 2, 3, 4}
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in ISO_4217_EXPONENTS)


@given(st.integers(1, MAX_MINOR_UNITS), st.sampled_from(["EUR", "JPY", "KWD", "CLF", "BTC", "USDT", "ETH"]))
def test_round_trip(minor: int, currency: str) -> None:
    """I-08 Every amount that may move survives text unchanged, and equals its decimal value exactly."""
    told = MONEY.format(minor, currency)
    assert MONEY.parse(told, currency) == minor
    assert Decimal(told) * 10 ** MONEY.exponent(currency) == minor
    assert MONEY.exact(Decimal(told), currency) == minor


@given(st.text(max_size=12))
def test_no_text_is_misread(amount: str) -> None:
    """I-08 Whatever the text, it is refused or means exactly what it says."""
    try:
        minor = MONEY.parse(amount, "EUR")
    except AmountRefused:
        return
    assert amount.isascii()
    assert Decimal(amount) * 100 == minor > 0


@pytest.mark.parametrize(
    ("number", "currency", "minor"),
    [
        ("25.00", "EUR", 2500), ("25", "EUR", 2500), ("25.000", "EUR", 2500), ("2.5E+1", "EUR", 2500), ("0", "EUR", 0),
        ("-1.5", "EUR", -150), ("99.999999", "EUR", None), ("0.001", "EUR", None), ("NaN", "EUR", None),
        ("Infinity", "EUR", None), ("-Infinity", "EUR", None), ("sNaN", "EUR", None), ("1E+400", "EUR", None),
        ("1E-400", "EUR", None), ("1.5", "JPY", None), ("1.0", "JPY", 1), ("0.00000001", "BTC", 1),
        ("1000000000000000000", "EUR", 10**20), ("1000000000000000001", "EUR", None),
    ],
)  # fmt: skip
def test_provider_number_is_exact_or_none(number: str, currency: str, minor: int | None) -> None:
    """I-08 C-72 A provider's number is a whole number of minor units or it is nothing; a float's 99.999999 is
    nothing."""
    assert MONEY.exact(Decimal(number), currency) == minor


@pytest.mark.parametrize(
    ("minor", "told"), [(-150, "-1.50"), (0, "0.00"), (5, "0.05"), (-5, "-0.05"), (10**17, "1000000000000000.00")]
)
def test_balances_are_told_with_all_decimals(minor: int, told: str) -> None:
    """I-08 A balance is told with its sign and all its decimals."""
    assert MONEY.format(minor, "EUR") == told


def test_reported_balance_may_be_zero_or_huge() -> None:
    """I-08 What others report may be zero or above any movement, and is still exact or refused."""
    assert MONEY.parse_exact("0", "EUR") == 0
    assert MONEY.parse_exact("9999999999999999999.99", "EUR") == 10**21 - 1
    with pytest.raises(AmountRefused):
        MONEY.parse_exact("0.001", "EUR")


@given(st.integers(-(10**18), 10**18), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_what_is_spelled_for_people_is_plain_for_programs(minor: int, currency: str) -> None:
    """Inside a sentence too, which stays as it is otherwise."""
    known = Currencies()
    told = f"wallet:7 {known.spelled(minor, currency)}, 007 − 8"
    assert plain(told) == f"wallet:7 {known.format(minor, currency)} {currency}, 007 − 8"


@pytest.mark.parametrize("code", ["EUR", "JPY", "KWD"])
def test_iso_currency_is_not_redefined(code: str) -> None:
    """I-08 C-72 The decimals of an ISO 4217 currency are not the configuration's to choose."""
    with pytest.raises(ValidationError, match="fixed by ISO 4217"):
        Config(currencies={code: 4})


def test_no_provider_is_called_wallet() -> None:
    """I-03 The holder `wallet` is the operator's side of every transfer, so no provider has this name."""
    section = QTechSection(
        operator="op", protocol="qtech", base_url="http://127.0.0.1:9", username="u", password="p", currencies=("EUR",)
    )
    with pytest.raises(ValidationError, match="taken"):
        Config(providers={"wallet": section})


@pytest.mark.parametrize("polls", [(), (0,), (1, 0), (-1, 5), (float("nan"), 5), (1, float("inf"))])
def test_polls_that_would_storm_are_refused(polls: tuple[float, ...]) -> None:
    """I-31 The last wait between look-ups repeats for ever: it is above zero, and each is a real one."""
    with pytest.raises(ValidationError):
        EngineSection(poll_seconds=polls)
