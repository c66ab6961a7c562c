"""Who may ask QTech: access tokens that die when they lie idle."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.simulator.messages import Answer, Request
from bridge.simulator.qtech.errors import failure


@dataclass
class Tokens:
    """Access tokens that die when they lie idle; they live in memory and a restart ends them all."""

    username: str
    password: str
    idle_ms: int
    clock: Callable[[], int]
    _used: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self, query: dict[str, str]) -> Answer:
        """Answer a token request by its query parameters."""
        if query.get("grant_type") != "password" or query.get("response_type") != "token":
            return failure("VALIDATION_ERROR", "grant_type must be password and response_type token.")
        if not query.get("username") or not query.get("password"):
            return failure("VALIDATION_ERROR", "username and password are required.")
        given = f"{query['username']}\0{query['password']}".encode()
        if not secrets.compare_digest(given, f"{self.username}\0{self.password}".encode()):
            return failure("LOGIN_FAILED", "The username or the password is wrong.")
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._used[token] = self.clock()
        return Answer(200, {"access_token": token, "expires_in": self.idle_ms})

    def use(self, request: Request) -> bool:
        """True for a living token, whose idle time then starts again."""
        token, now = _bearer(request), self.clock()
        with self._lock:
            used = self._used.get(token)
            if used is None or now - used > self.idle_ms * 1000:
                self._used.pop(token, None)
                return False
            self._used[token] = now
            return True

    def forget(self, request: Request) -> None:
        """End the token that this request carries."""
        with self._lock:
            self._used.pop(_bearer(request), None)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
