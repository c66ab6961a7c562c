"""A real browser before the running bridge: `bridge up`'s own processes, simulators that lie, Chromium over localhost.

`DESK_SHOTS=folder make test-browser` keeps a picture of every page, wide and narrow, by day and by night.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from bridge import keys
from bridge.desk import people
from bridge.runtime import Runtime
from bridge.up import OPERATOR, QTECH, Stack, _operator, _welcome
from tests.browser import liar
from tests.callbacks import KEY, letter

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SHOTS = os.environ.get("DESK_SHOTS")
WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
PASSWORD = "a long walk by the river"
STEP_SECONDS = 30
PATIENCE_MILLISECONDS = 20_000
WRONG_AMOUNT = 19
"""The case of the simulator's table in which it moves another amount than it was asked for: an orphan at once."""


@dataclass
class Colleague:
    """Somebody who has joined: login, and the seed of their one-time codes."""

    login: str
    seed: str
    used: int = 0

    def code(self) -> str:
        """A code that was not used yet: of this step, or of the next, which is taken too; waited for where neither is
        left."""
        while (step := max(int(time.time()) // STEP_SECONDS, self.used + 1)) > int(time.time()) // STEP_SECONDS + 1:
            time.sleep(0.5)
        self.used = step
        return pyotp.TOTP(self.seed).at(step * STEP_SECONDS)


@dataclass
class House:
    """Everything that runs, and who works at the desk."""

    stack: Stack
    runtime: Runtime
    operator: int
    key: str
    liar: liar.Liar
    staff: dict[str, Colleague] = field(default_factory=dict)

    @property
    def desk(self) -> str:
        """Where browsers come in: passkeys and secure cookies want a name."""
        return f"http://localhost:{self.stack.port}/ops"

    def link(self, login: str, role: str) -> str:
        """The address by which somebody new joins."""
        by = people.by_command("they begin today")
        _, token = people.add(self.runtime, by, self.operator, login=login, name=login.title(), role=role)
        return f"{self.desk}/link/{token}"

    def call(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """The operator's API."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.stack.address + path, content, headers, method=method)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own child
            return json.loads(answer.read())

    def lie(self, case: int, **how: Any) -> None:
        """What the simulated provider does wrong next."""
        control = self.stack.told[QTECH.name]["control"]
        body = json.dumps({"case": case, **how}).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{control}/faults", body, kind)  # noqa: S310 - our own child
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - as above

    def hear(self, content: Any) -> None:
        """A callback of the provider that lies by contract."""
        sent = letter("transfer.cancelled", content, time.time_ns() // 1000, id_=f"evt_{time.time_ns()}", key=KEY)
        address = f"{self.stack.address}/v1/providers/{liar.BY_CONTRACT}/callbacks"
        request = urllib.request.Request(address, sent.body, sent.headers)  # noqa: S310 - our own child
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - as above

    def orphan(self, key: str, amount: str = "25.00") -> Any:
        """A transfer about which the provider tells another amount."""
        self.lie(WRONG_AMOUNT, on="complete", params={"variant": "thousandfold"})
        wish = {"player_id": "ann", "provider": QTECH.name, "direction": "in", "amount": amount, "currency": "EUR"}
        made = self.call("POST", "/v1/transfers", wish, key)
        assert made["state"] == "orphaned", made
        return made


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The bridge as `bridge up` starts it."""
    kept = dict(os.environ)
    other = liar.Liar()
    tables = {f"providers.{QTECH.name}": {"lane_policy": "allow"}, **other.tables}
    with other, Stack(tmp_path_factory.mktemp("house"), 0, tables=tables) as stack:
        runtime = stack.runtime()
        _welcome(runtime)
        secret = keys.create(runtime, OPERATOR, [keys.Scope.ADMIN], "browser")[1]
        yield House(stack, runtime, _operator(runtime), secret, other)
        runtime.engine.dispose()
        other.shutdown()
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's own browser; without one a test fails with what to install."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("There is no Chromium: install Debian's chromium (apt-get install chromium).", pytrace=False)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Window:
    """A browser of one person's own. What its pages complain of is collected: it must be nothing."""

    def __init__(self, browser: Browser, house: House, size: ViewportSize = WIDE) -> None:
        self.house = house
        # Without motion: what fades from one colour to another has none that could be judged.
        self.context: BrowserContext = browser.new_context(viewport=size, reduced_motion="reduce")
        self.context.set_default_timeout(PATIENCE_MILLISECONDS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        # That the server refuses something is told by the browser too; which is what some tests are about.
        if message.type == "error" and "the server responded with a status" not in message.text:
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.house.desk, "data:")):
            self.complaints.append(f"asked elsewhere: {request.url}")

    def open(self, path: str = "") -> Page:
        """A page of the desk."""
        self.page.goto(self.house.desk + path)
        return self.page

    def join(self, login: str, role: str) -> Colleague:
        """Join by a link, as somebody new does."""
        self.page.goto(self.house.link(login, role))
        return self.fill_in(login)

    def fill_in(self, login: str) -> Colleague:
        """What the page asks that a link to join leads to."""
        seed = "".join((self.page.locator(".desk-secret").inner_text()).split())
        colleague = Colleague(login, seed)
        self.page.get_by_label("Code that the authenticator shows now").fill(colleague.code())
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_label("The same again").fill(PASSWORD)
        self.page.get_by_role("button", name="Join").click()
        self.page.get_by_text("recovery code").first.wait_for()
        self.house.staff[login] = colleague
        return colleague

    def come_in(self, login: str) -> None:
        """Come in by password and code."""
        self.open("/gate")
        self.page.get_by_label("Login").fill(login)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_label("Code").fill(self.house.staff[login].code())
        self.page.get_by_role("button", name="Come in", exact=True).click()
        self.page.get_by_role("link", name="Orphans").first.wait_for()

    def shoot(self, name: str) -> None:
        """Keep a picture, where somebody wants to look."""
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


Windows = Callable[..., Window]


@pytest.fixture
def window(chromium: Browser, house: House) -> Iterator[Windows]:
    """Opens windows; whose pages complained of anything fails the test that opened it."""
    opened: list[Window] = []

    def make(login: str = "", role: str = "viewer", size: ViewportSize = WIDE) -> Window:
        made = Window(chromium, house, size)
        opened.append(made)
        if login and login in house.staff:
            made.come_in(login)
        elif login:
            made.join(login, role)
        return made

    yield make
    complaints = [complaint for each in opened for complaint in each.complaints]
    for each in opened:
        each.context.close()
    assert complaints == []
