"""One person's browser: a kept-open connection and the cookies that the desk gave it. Nothing is drawn."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin

from benchmarks.children import HOST

NAME = "localhost"
"""As whom the desk lets plain HTTP in."""

PATIENCE_SECONDS = 60.0
TOKEN = re.compile(r'name="form_token" value="([^"]+)"')
FURTHEST = 5
"""So many redirections are followed."""


class NotShown(Exception):
    """The desk answered otherwise than with the page that was asked for."""


@dataclass(frozen=True)
class Answer:
    """What came, and how long it took until the last byte of it was there."""

    status: int
    path: str
    text: str
    micros: int


class Browser:
    """Asks one thing at a time."""

    def __init__(self, port: int) -> None:
        self._address = f"http://{NAME}:{port}"
        self._wire = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_SECONDS)
        self._cookies: dict[str, str] = {}

    def close(self) -> None:
        """Hang up."""
        self._wire.close()

    def page(self, path: str) -> Answer:
        """A page by its address. Raises NotShown for any status but 200."""
        answer = self._ask("GET", path)
        if answer.status != http.client.OK:
            raise NotShown(f"{path}: {answer.status} {answer.text[:500]}")
        return answer

    def send(self, page: Answer, path: str, **fields: str) -> Answer:
        """Fill in the form of a page and follow where it leads. Raises NotShown where there is no form, or no page
        behind it."""
        token = TOKEN.search(page.text)
        if token is None:
            raise NotShown(f"{page.path}: no form is on it")
        answer = self._ask("POST", path, urlencode({**fields, "form_token": token.group(1)}))
        for _ in range(FURTHEST):
            if answer.status != http.client.SEE_OTHER:
                break
            answer = self._ask("GET", answer.text)
        if answer.status != http.client.OK:
            raise NotShown(f"{path}: {answer.status} {answer.text[:500]}")
        return answer

    def _ask(self, method: str, path: str, body: str | None = None) -> Answer:
        headers = {"Host": self._address.removeprefix("http://"), "Accept": "text/html", "Origin": self._address}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        begun = time.perf_counter_ns()
        self._wire.request(method, path, body, headers)
        response = self._wire.getresponse()
        content = response.read()
        micros = (time.perf_counter_ns() - begun) // 1000
        for told in response.headers.get_all("Set-Cookie") or ():
            name, _, value = told.partition(";")[0].partition("=")
            self._cookies[name.strip()] = value.strip()
        text = content.decode(errors="replace")
        if response.status == http.client.SEE_OTHER:
            text = urljoin(path, response.headers["Location"].removeprefix(self._address))
        return Answer(response.status, path, text, micros)
