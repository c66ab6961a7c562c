"""Somebody who works at the desk: added by the command line, come in by a link with a password and a one-time code."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pyotp

from benchmarks.contestants.bridge import OPERATOR
from benchmarks.desk.browser import Browser, NotShown
from benchmarks.desk.ground import DeskBridge, Tell

LOGIN, ROLE = "looker", "viewer"
LINK = re.compile(r"/ops/link/\S+")
SEED = re.compile(r"desk-secret[^>]*>([A-Z2-7 ]+)<")
OFFERED = re.compile(r'name="offered" value="([^"]+)"')


@contextmanager
def come_in(bridge: DeskBridge, tell: Tell) -> Iterator[Browser]:
    """A browser in which this person sits; it is closed afterwards."""
    tell("letting somebody in")
    told = bridge.command("people", "add", LOGIN, "--operator", OPERATOR, "--role", ROLE)
    browser = Browser(bridge.port)
    try:
        page = browser.page(_found(LINK, told))
        password, seed = secrets.token_urlsafe(16), _found(SEED, page.text).replace(" ", "")
        browser.send(
            page, page.path, offered=_found(OFFERED, page.text), code=pyotp.TOTP(seed).now(), password=password,
            again=password,
        )  # fmt: skip
        yield browser
    finally:
        browser.close()


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    if match is None:
        raise NotShown(f"{pattern.pattern} is not in {text[:500]}")
    return match.group(match.lastindex or 0)
