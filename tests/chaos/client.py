"""The operator's platform, in small: one HTTP request and its JSON answer, or the death of the connection.

Standard library only: a crowd of client processes imports this and must start at once.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ConnectionDied(Exception):
    """The server went before it answered."""


@dataclass(frozen=True)
class Reply:
    """A status and the JSON body; `transfer_id` from a transfer as well as from a problem."""

    status: int
    body: Mapping[str, Any]

    @property
    def transfer_id(self) -> str | None:
        """The transfer that the answer is about."""
        told = self.body.get("id") or self.body.get("transfer_id")
        return told if isinstance(told, str) else None

    @property
    def state(self) -> str | None:
        """The state of the transfer, where the answer is one."""
        return self.body.get("state")


class Door:
    """One address, and the headers that every request to it carries; one connection a request."""

    def __init__(self, address: str, secret: str | None = None, *, seconds: float = 60.0) -> None:
        self.address, self._seconds = address, seconds
        self._headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> Reply:
        """One request, never repeated; header names are written with underscores. Raises ConnectionDied."""
        connection = http.client.HTTPConnection(self.address, timeout=self._seconds)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            return spoken(connection, method, path, body, {**self._headers, **named})
        finally:
            connection.close()


def spoken(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> Reply:
    """One exchange on an open (or to be opened) connection. Raises ConnectionDied."""
    kind = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {**headers, **kind})
        answer = connection.getresponse()
        text = answer.read()
    except (http.client.HTTPException, OSError) as gone:
        raise ConnectionDied(f"{type(gone).__name__}: {gone}") from gone
    return Reply(answer.status, json.loads(text) if text else {})


def answered(address: str, path: str) -> bool:
    """Whether something serves at an address by now."""
    try:
        return Door(address, seconds=5).ask("GET", path).status == http.HTTPStatus.OK
    except ConnectionDied:
        return False
