"""Lies that every protocol tells alike: one function a case, from the request and the truth to the wire.

A lie returns a Delivery, or None when this request cannot show it; then the truth is told. It is only
ever on the wire: where it executes something it does so in the books, and the ledger file says what
really happened.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from bridge.simulator.faults.garble import garbled, html_page
from bridge.simulator.faults.scene import Scene
from bridge.simulator.messages import Delivery

AnyScene = Scene[Any]


def executed_and_lost(scene: AnyScene) -> Delivery | None:
    """Done, and the answer does not arrive."""
    answer = scene.success()
    return scene.lost(answer) if answer else None


def never_arrived(scene: AnyScene) -> Delivery:
    """Not done, and no answer."""
    return scene.lost()


def slow_answer(scene: AnyScene) -> Delivery | None:
    """Done at once, answered late, or byte by byte."""
    answer = scene.success()
    if not answer:
        return None
    delay = scene.param("delay", 0.0) if scene.param("drip", 0) else scene.delay()
    return scene.told(answer).but(delay=float(delay))


def garbled_body(scene: AnyScene) -> Delivery | None:
    """Done, and the body is not what the protocol promises."""
    answer = scene.success()
    if not answer:
        return None
    delivery = garbled(answer, scene.strike.params, scene.strike.chance)
    return delivery.but(delay=scene.delay(), drip=float(scene.param("drip", 0)), part=scene.param("part", "both"))


def server_error(scene: AnyScene) -> Delivery | None:
    """An error of the server, which says nothing about what was done."""
    status = scene.one_of("status", (500, 502, 503, 504))
    if scene.one_of("commit", (True, False)) and not scene.success():
        return None
    if scene.param("body", "html" if status in (502, 504) else "json") == "html":
        return html_page(status).but(delay=scene.delay())
    told = scene.trouble("unavailable" if status == HTTPStatus.SERVICE_UNAVAILABLE else "internal")
    return told.but(status=status, delay=scene.delay())


def maintenance(scene: AnyScene) -> Delivery:
    """Closed for a while, politely or by the page of a proxy."""
    scene.go_on_everywhere(scene.delay())
    if scene.one_of("body", ("json", "html")) == "html":
        return html_page(scene.param("status", 503))
    return scene.trouble("maintenance")


def not_allowed(scene: AnyScene) -> Delivery:
    """The address is not on the list; or a redirect that a client must not follow with money."""
    variant = scene.one_of("variant", ("body", "drop"))
    if variant == "drop":
        return scene.lost()
    if variant == "redirect":
        return Delivery(scene.param("status", 307), b"", {"Location": scene.call.request.path})
    return scene.trouble("not_allowed")


def too_many(scene: AnyScene) -> Delivery:
    """Not now."""
    return too_many_for_now(scene).but(delay=scene.delay())


def too_many_for_now(scene: AnyScene) -> Delivery:
    """429, and when to come again, or not."""
    seconds = scene.one_of("retry_after", (0, 1))
    delivery = scene.trouble("too_many")
    return delivery.but(headers={**delivery.headers, "Retry-After": str(seconds)}) if seconds else delivery
