"""Somebody who works at the desk: invited, and come in by the link with a password and a one-time code."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pyotp

from benchmarks.desk.browser import Browser, NotShown
from benchmarks.desk.ground import DeskBridge, Tell
from bridge.desk import people
from bridge.models.desk import Role

LOGIN = "looker"
SEED = re.compile(r"desk-secret[^>]*>([A-Z2-7 ]+)<")
OFFERED = re.compile(r'name="offered" value="([^"]+)"')


@contextmanager
def come_in(bridge: DeskBridge, tell: Tell) -> Iterator[Browser]:
    """A browser in which this person sits; it is closed afterwards."""
    tell("letting somebody in")
    browser = Browser(bridge.port)
    try:
        page = browser.page(f"/ops/link/{_invited(bridge)}")
        password, seed = secrets.token_urlsafe(16), _found(SEED, page.text).replace(" ", "")
        browser.send(
            page, page.path, offered=_found(OFFERED, page.text), code=pyotp.TOTP(seed).now(), password=password,
            again=password,
        )  # fmt: skip
        yield browser
    finally:
        browser.close()


def _invited(bridge: DeskBridge) -> str:
    runtime = bridge.runtime()
    try:
        by, operator = people.by_command("to be measured with"), bridge.operator_id(runtime)
        return people.add(runtime, by, operator, login=LOGIN, name=LOGIN, role=Role.VIEWER)[1]
    finally:
        runtime.engine.dispose()


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    if match is None:
        raise NotShown(f"{pattern.pattern} is not in {text[:500]}")
    return match.group(match.lastindex or 0)
