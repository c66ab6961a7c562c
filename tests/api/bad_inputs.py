"""The table of bad input, typed out: what is sent, and the status, code and field that must come back.

Amounts, currencies, players, providers and directions are JSON texts put into an otherwise right body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REFUSED, UNREADABLE = (422, "invalid"), (400, "json_broken")

AMOUNTS: list[tuple[str, tuple[int, str], str | None]] = [
    # JSON numbers are refused, whatever their value
    ("25", REFUSED, "amount"),
    ("25.00", REFUSED, "amount"),
    ("0.30000000000000004", REFUSED, "amount"),
    ("-1", REFUSED, "amount"),
    ("0", REFUSED, "amount"),
    ("1e3", REFUSED, "amount"),
    ("9007199254740993", REFUSED, "amount"),
    ("9223372036854775808", REFUSED, "amount"),
    ("1234567890123456789012345678901234567890", REFUSED, "amount"),
    ("1e309", UNREADABLE, None),
    ("NaN", UNREADABLE, None),
    ("Infinity", UNREADABLE, None),
    ("-Infinity", UNREADABLE, None),
    # other JSON
    ("true", REFUSED, "amount"),
    ("null", REFUSED, "amount"),
    ("[]", REFUSED, "amount"),
    ('["25.00"]', REFUSED, "amount"),
    ('{"value": "25.00"}', REFUSED, "amount"),
    # zero, negative, signed
    ('"0"', REFUSED, "amount"),
    ('"0.00"', REFUSED, "amount"),
    ('"-0"', REFUSED, "amount"),
    ('"-1.00"', REFUSED, "amount"),
    ('"+5"', REFUSED, "amount"),
    # more decimals than the euro has
    ('"25.001"', REFUSED, "amount"),
    ('"25.000"', REFUSED, "amount"),
    ('"0.001"', REFUSED, "amount"),
    # huge
    ('"10000000000000.01"', REFUSED, "amount"),
    ('"92233720368547758.07"', REFUSED, "amount"),
    ('"9223372036854775807"', REFUSED, "amount"),
    ('"18446744073709551616"', REFUSED, "amount"),
    ('"9999999999999999999999999999999999999999"', REFUSED, "amount"),
    # no plain number
    ('""', REFUSED, "amount"),
    ('"max"', REFUSED, "amount"),
    ('"NaN"', REFUSED, "amount"),
    ('"Infinity"', REFUSED, "amount"),
    ('"1e3"', REFUSED, "amount"),
    ('"1e-9"', REFUSED, "amount"),
    ('"1e309"', REFUSED, "amount"),
    ('"0x10"', REFUSED, "amount"),
    ('"1_000"', REFUSED, "amount"),
    ('"1,000"', REFUSED, "amount"),
    ('"1.000,00"', REFUSED, "amount"),
    ('"25,00"', REFUSED, "amount"),
    ('".5"', REFUSED, "amount"),
    ('"5."', REFUSED, "amount"),
    ('"007"', REFUSED, "amount"),
    ('" 5 "', REFUSED, "amount"),
    ('"5 "', REFUSED, "amount"),
    ('"25.00\\n"', REFUSED, "amount"),
    ('"25.00\\u0000"', REFUSED, "amount"),
    ('"\uff12\uff15.\uff10\uff10"', REFUSED, "amount"),  # full-width digits
    ('"\u0663"', REFUSED, "amount"),  # an Arabic three
    ('"25.00 EUR"', REFUSED, "amount"),
    ('"$25"', REFUSED, "amount"),
]

CURRENCIES: list[str] = [
    '"eur"', '"Eur"', '"EUR\u200b"', '"EUR "', '"XXX"', '"DEM"', '"BTC"', '"840"', '"\u20ac"', '""', "null", "978",
    '["EUR"]', '"EUR\\u0000"', '"USD"',
]  # fmt: skip

PLAYERS: list[str] = [
    '"nobody"', '""', "null", "7", '"a b"', '"../admin"', '"p\\u0000"', '"\u00e9"', '"e\u0301"', '"\U0001f3b0"',
    '"\u202eabc"', f'"{"a" * 35}"', f'"{"a" * 5000}"', "\"'; DROP TABLE posting;--\"", '"{{7*7}}"', '"${7*7}"',
]  # fmt: skip

PROVIDERS: list[str] = ['"other"', '"SIM"', '"sim "', '""', "null", "1", '"sim\\u0000"', '"wallet"', '["sim"]']

DIRECTIONS: list[str] = ['"IN"', '"in "', '"both"', '""', "null", "1", "true", '["in"]']

KEYS: list[tuple[str, str | None]] = [
    ("missing", None),
    ("empty", ""),
    ("blank", " "),
    ("with a blank", "a b"),
    ("with a tab", "a\tb"),
    ("not ASCII", "schl\u00fcssel"),
    ("too long", "k" * 256),
]

TYPES: list[str] = [
    "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "application/xml", "application/problem+json", "application/json; charset=utf-16",
    "application/json; charset=latin-1", "json",
]  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """A body that is no right JSON object; `{}` in it stands for nothing, it is sent as it is."""

    name: str
    body: bytes
    status: int
    code: str
    fields: list[str] = field(default_factory=list)


GOOD = b'{"player_id":"p","provider":"sim","direction":"in","amount":"1.00","currency":"EUR"}'

RAW: list[Raw] = [
    Raw("empty", b"", 400, "json_broken"),
    Raw("cut", b'{"amount":"1.0', 400, "json_broken"),
    Raw("trailing comma", b'{"amount":"1.00",}', 400, "json_broken"),
    Raw("bare name", b'{amount:"1.00"}', 400, "json_broken"),
    Raw("single quotes", b"{'amount':'1.00'}", 400, "json_broken"),
    Raw("comment", b"/* hello */" + GOOD, 400, "json_broken"),
    Raw("two documents", GOOD + GOOD, 400, "json_broken"),
    Raw("one document a line", GOOD + b"\n" + GOOD, 400, "json_broken"),
    Raw("text behind", GOOD + b" x", 400, "json_broken"),
    Raw("byte order mark", b"\xef\xbb\xbf" + GOOD, 400, "json_broken"),
    Raw("UTF-16", GOOD.decode().encode("utf-16"), 400, "json_broken"),
    Raw("UTF-16 without a mark", GOOD.decode().encode("utf-16-le"), 400, "json_broken"),
    Raw("UTF-32", GOOD.decode().encode("utf-32"), 400, "json_broken"),
    Raw("not UTF-8", b'{"amount":"\xff"}', 400, "json_broken"),
    Raw("overlong UTF-8", b'{"amount":"\xc0\xb1"}', 400, "json_broken"),
    Raw("surrogate in UTF-8", b'{"amount":"\xed\xa0\x80"}', 400, "json_broken"),
    Raw("lone surrogate", b'{"amount":"\\ud800"}', 400, "json_broken"),
    Raw("lone surrogate in a name", b'{"\\udfff":"1.00"}', 400, "json_broken"),
    Raw("control character", b'{"amount":"1\x0000"}', 400, "json_broken"),
    Raw("NUL", b"\x00", 400, "json_broken"),
    Raw("null", b"null", 400, "json_broken"),
    Raw("list", b"[]", 400, "json_broken"),
    Raw("list of one", b"[" + GOOD + b"]", 400, "json_broken"),
    Raw("text", b'"amount"', 400, "json_broken"),
    Raw("number", b"1", 400, "json_broken"),
    Raw("form", b"amount=1.00&currency=EUR", 400, "json_broken"),
    Raw("depth bomb", b'{"a":' * 10_000, 400, "json_broken"),
    Raw("closed depth bomb", b"[" * 10_000 + b"]" * 10_000, 400, "json_broken"),
    Raw("900 deep", b'{"a":' * 900 + b"1" + b"}" * 900, 400, "json_too_deep"),
    Raw("21 deep", b'{"a":' * 21 + b"1" + b"}" * 21, 400, "json_too_deep"),
    Raw("20 deep", b'{"a":' * 20 + b"1" + b"}" * 20, 422, "invalid",
        ["a", "amount", "currency", "direction", "player_id", "provider"]),
    Raw("a name twice", GOOD[:-1] + b',"amount":"2.00"}', 400, "json_duplicate_name", ["amount"]),
    Raw("a name twice, the same value", GOOD[:-1] + b',"amount":"1.00"}', 400, "json_duplicate_name", ["amount"]),
    Raw("a name twice, once escaped", GOOD[:-1] + b',"\\u0061mount":"2.00"}', 400, "json_duplicate_name", ["amount"]),
    Raw("a name twice inside", b'{"amount":{"value":1,"value":2}}', 400, "json_duplicate_name", ["value"]),
    Raw("a long name twice", b'{"%b":1,"%b":2}' % (b"n" * 9000, b"n" * 9000), 400, "json_duplicate_name", ["n" * 64]),
    Raw("nothing", b"{}", 422, "invalid", ["amount", "currency", "direction", "player_id", "provider"]),
    Raw("unknown name", GOOD[:-1] + b',"bonus":true}', 422, "invalid", ["bonus"]),
    Raw("name in capitals", GOOD.replace(b'"amount"', b'"Amount"'), 422, "invalid", ["Amount", "amount"]),
    Raw("65537 bytes", GOOD + b" " * (65_537 - len(GOOD)), 413, "body_too_large"),
    Raw("100000 names", b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}", 413, "body_too_large"),
    Raw("ten megabytes", b"x" * 10_000_000, 413, "body_too_large"),
]  # fmt: skip

QUERIES: list[tuple[str, list[str]]] = [
    ("/v1/transfers?stat=pending", ["stat"]),
    ("/v1/transfers?state=PENDING", ["state"]),
    ("/v1/transfers?state=", ["state"]),
    ("/v1/transfers?limit=0", ["limit"]),
    ("/v1/transfers?limit=201", ["limit"]),
    ("/v1/transfers?limit=-1", ["limit"]),
    ("/v1/transfers?limit=%2B5", ["limit"]),
    ("/v1/transfers?limit=5.0", ["limit"]),
    ("/v1/transfers?limit=1_0", ["limit"]),
    ("/v1/transfers?limit=%D9%A3", ["limit"]),
    ("/v1/transfers?limit=1&limit=2", ["limit"]),
    ("/v1/transfers?limit=99999999999999999999", ["limit"]),
    ("/v1/transfers?cursor=tr_1", ["cursor"]),
    ("/v1/transfers?cursor=%27%20OR%201=1", ["cursor"]),
    ("/v1/transfers?player_id=%00", ["player_id"]),
    ("/v1/transfers?provider=%00", ["provider"]),
    ("/v1/transfers?operator_id=2", ["operator_id"]),
    ("/v1/players/{player}/funds?as_of=now", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=2026-01-31", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=2026-01-31T12:00:00", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=2026-02-30T12:00:00Z", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=2026-01-31T23:59:60Z", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=2026-01-31T12:00:00%2B25:00", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=2026-01-31T12:00:00+01:00", ["as_of"]),  # the plus is a blank in a query
    ("/v1/players/{player}/funds?as_of=1969-12-31T23:59:59Z", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=0001-01-01T00:00:00Z", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=9999-12-31T23:59:59-14:00", ["as_of"]),
    ("/v1/players/{player}/funds?as_of=1767225600", ["as_of"]),
    ("/v1/players/{player}/funds?at=2026-01-31T12:00:00Z", ["at"]),
]

PATHS: list[tuple[str, str, int, str, list[str]]] = [
    ("PUT", f"/v1/players/{'a' * 35}", 422, "invalid", ["player_id"]),
    ("PUT", "/v1/players/a%20b", 422, "invalid", ["player_id"]),
    ("PUT", "/v1/players/a%00b", 422, "invalid", ["player_id"]),
    ("PUT", "/v1/players/%C3%A9", 422, "invalid", ["player_id"]),
    ("PUT", "/v1/players/%F0%9F%8E%B0", 422, "invalid", ["player_id"]),
    ("PUT", "/v1/players/a;b", 422, "invalid", ["player_id"]),
    ("PUT", "/v1/players/a%0A", 422, "invalid", ["player_id"]),
    ("PUT", "/v1/players/a%2Fb", 404, "not_found", []),
    ("PUT", "/v1/players/", 404, "not_found", []),
    ("GET", "/v1/players/nobody/funds", 404, "not_found", []),
    ("GET", "/v1/transfers/tr_1", 404, "not_found", []),
    ("GET", f"/v1/transfers/tr_{'0' * 32}", 404, "not_found", []),
    ("GET", f"/v1/transfers/tr_{'0' * 32}%0A", 404, "not_found", []),
    ("GET", f"/v1/transfers/TR_{'0' * 32}", 404, "not_found", []),
    ("GET", "/v1/transfers/%00", 404, "not_found", []),
    ("GET", "/v1/transfers/..%2F..%2Fetc", 404, "not_found", []),
    ("GET", "/v1//transfers", 404, "not_found", []),
    ("GET", "/v1/transfers/", 404, "not_found", []),
    ("GET", "/v2/transfers", 404, "not_found", []),
    ("DELETE", "/v1/transfers", 405, "method_not_allowed", []),
    ("PATCH", "/v1/players/p", 405, "method_not_allowed", []),
    ("TRACE", "/v1/transfers", 405, "method_not_allowed", []),
]

PLAYER_BODIES: list[tuple[Any, list[str]]] = [
    ({}, ["currencies"]),
    ({"currencies": []}, ["currencies"]),
    ({"currencies": "EUR"}, ["currencies"]),
    ({"currencies": None}, ["currencies"]),
    ({"currencies": ["eur"]}, ["currencies"]),
    ({"currencies": ["EUR", "XXX"]}, ["currencies"]),
    ({"currencies": ["EUR", 978]}, ["currencies"]),
    ({"currencies": ["EUR", None]}, ["currencies"]),
    ({"currencies": [["EUR"]]}, ["currencies"]),
    ({"currencies": ["EUR"] * 201}, ["currencies"]),
    ({"currencies": ["EUR"], "balance": "5.00"}, ["balance"]),
    ({"currencies": ["EUR"], "operator_id": 2}, ["operator_id"]),
]
