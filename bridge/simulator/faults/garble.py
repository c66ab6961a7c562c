"""Bodies that are not what the protocol promises: broken, foreign, too large, or well formed and wrong."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from http import HTTPStatus
from random import Random
from typing import Any

from bridge.simulator.messages import Answer, Delivery, encode

JSON, HTML = "application/json;charset=UTF-8", "text/html;charset=UTF-8"
CDN_STATUS = 521  # a proxy's own: the server behind it is down
GZIP = 31  # zlib's window bits for a gzip header around the stream
MEGABYTE = 1 << 20
DEFAULT_MEGABYTES = 16  # far above any honest answer, small enough to be sent over loopback in an instant
HAIR = Decimal("0.000001")  # what a binary float of 100 may lack: 99.999999


def html_page(status: int, title: str = "Service maintenance") -> Delivery:
    """A page for people where a machine expected JSON."""
    page = f"<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Delivery(status, page.encode(), {"Content-Type": HTML})


def _text(content: Any) -> Delivery:
    return Delivery(HTTPStatus.OK, encode(content).encode(), {"Content-Type": JSON})


def _truncated(content: dict[str, Any]) -> Delivery:
    whole = _text(content)
    return whole.but(body=whole.body[: len(whole.body) * 2 // 3])


def _marked(content: dict[str, Any]) -> Delivery:
    whole = _text(content)
    return whole.but(body=b"\xef\xbb\xbf" + whole.body)


def _amounts(content: dict[str, Any]) -> dict[str, Decimal | str]:
    """The amounts of a body: JSON numbers in one protocol, decimal text in the other."""
    named = {name: content[name] for name in ("amount", "balance") if isinstance(content.get(name), str)}
    return named | {name: value for name, value in content.items() if isinstance(value, Decimal)}


def _strings(content: dict[str, Any]) -> Delivery:
    """Numbers as text, and text as numbers."""
    amounts = _amounts(content).items()
    other = {name: Decimal(value) if isinstance(value, str) else format(value, "f") for name, value in amounts}
    return _text(content | other)


def _float(content: dict[str, Any]) -> Delivery:
    less = {name: Decimal(value) - HAIR for name, value in _amounts(content).items()}
    same = {name: format(value, "f") if isinstance(content[name], str) else value for name, value in less.items()}
    return _text(content | same)


def _big(content: dict[str, Any], megabytes: int) -> Delivery:
    whole = _text(content)
    return whole.but(body=b" " * (megabytes * MEGABYTE) + whole.body)


def _bomb(content: dict[str, Any], megabytes: int) -> Delivery:
    packer, start = _packed_blanks(megabytes)
    packer = packer.copy()
    whole = _text(content)
    headers = {**whole.headers, "Content-Encoding": "gzip"}
    return whole.but(body=start + packer.compress(whole.body) + packer.flush(), headers=headers)


@lru_cache(maxsize=4)
def _packed_blanks(megabytes: int) -> tuple[Any, bytes]:
    """A gzip compressor that has swallowed so many megabytes of blanks, and the few bytes it made of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, GZIP)
    start = b"".join(packer.compress(b" " * MEGABYTE) for _ in range(megabytes))
    return packer, start


PAGES = {
    "html": html_page(HTTPStatus.OK),
    "cdn521": html_page(CDN_STATUS, "Web server is down"),
    "empty": Delivery(HTTPStatus.OK, b"", {"Content-Type": JSON}),
    "zero": _text({"code": 0, "message": "success"}),
    "zero_text": _text({"code": "0", "message": "success"}),
}
SPOILT: dict[str, Callable[[dict[str, Any]], Delivery]] = {
    "truncated": _truncated,
    "bom": _marked,
    "strings": _strings,
    "float": _float,
}
SWOLLEN: dict[str, Callable[[dict[str, Any], int], Delivery]] = {"bomb": _bomb, "big": _big}
BODIES = (*PAGES, *SPOILT, *SWOLLEN)


def garbled(answer: Answer, params: Mapping[str, Any], chance: Random) -> Delivery:
    """The answer's body spoilt in the way that params.body names, or one by seed."""
    chosen = chance.choice(BODIES)
    body = params.get("body", chosen)
    content = answer.content if isinstance(answer.content, dict) else {}
    if body in PAGES:
        delivery = PAGES[body]
    elif body in SPOILT:
        delivery = SPOILT[body](content)
    else:
        delivery = SWOLLEN[body](content, int(params.get("megabytes", DEFAULT_MEGABYTES)))
    if delivery.status != HTTPStatus.OK:
        return delivery
    same = {**delivery.headers, "Content-Type": answer.media} if body != "html" else delivery.headers
    return delivery.but(status=answer.status, headers=same)


AMOUNTS = ("thousandfold", "thousandth", "whole", "tens")


def other_amount(amount: Decimal, variant: str | None, chance: Random) -> Decimal:
    """The amount as a provider with the wrong scale would tell it; always another amount."""
    scaled = {
        "thousandfold": amount.scaleb(3),
        "thousandth": amount.scaleb(-3),
        "whole": amount // 1,
        "tens": (amount // 10) * 10,
    }
    wrong = {name: value for name, value in scaled.items() if value != amount}
    chosen = chance.choice(tuple(wrong))
    return wrong.get(variant or chosen, wrong["thousandfold"])
