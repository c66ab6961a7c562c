"""Providers that write what they like into every text of their own: one follows docs/provider-contract.md, the other
answers as QTech does, whose texts are free."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.callbacks import KEY, REQUESTS, secret

BY_CONTRACT, BY_MANUAL = "liar", "fibber"
AT = "2026-06-01T18:00:00Z"


class Liar(ThreadingHTTPServer):
    """Both providers. `payload` stands in each text that a protocol leaves to the provider, in members that it does
    not know, and in their names."""

    daemon_threads = True
    payload = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[Any] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """Theirs in the configuration."""
        at = f"http://127.0.0.1:{self.server_port}"
        both = {"operator": "demo", "currencies": ("EUR",), "lane_policy": "allow"}
        signed = {"request_secret": secret(REQUESTS), "callback_secrets": (secret(KEY),)}
        return {
            f"providers.{BY_CONTRACT}": {
                **both, **signed, "protocol": "generic", "base_url": f"{at}/contract",
                "callback_networks": ("127.0.0.1/32",),
            },
            f"providers.{BY_MANUAL}": {
                **both, "protocol": "qtech", "base_url": f"{at}/manual", "username": "demo", "password": "demo",
            },
        }  # fmt: skip

    def transfer(self, asked: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """By contract: another amount than was asked for, which makes an orphan at once."""
        facts = {"provider_id": self.payload, "status": "confirmed", "sequence": 1, "time": AT}
        told = {**asked, **facts, "amount": "99.00", "balance": "99.00", **self._beside()}
        return {**told, **changes}

    def prepared(self, asked: dict[str, Any]) -> dict[str, Any]:
        """By the manual: prepared, and for somebody else."""
        facts = {"id": self.payload, "playerId": self.payload, "status": "PENDING", "initiated": self.payload}
        return {**asked, **facts, **self._beside()}

    def _beside(self) -> dict[str, Any]:
        return {"note": self.payload, self.payload: {"type": self.payload}}

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Transfers are answered, everything else is an error whose texts are the payload."""
        if path.endswith("/auth/token"):
            return 200, {"access_token": "a-token", "expires_in": 3_600_000}
        asked = json.loads(body or b"{}")
        self.asked.append(asked)
        if path.endswith("/fund-transfers"):
            return 201, self.prepared(asked)
        if asked.get("type") == "transfer.create":
            return 200, self.transfer(asked["data"])
        return 400, {"code": "cannot_say" if "data" in asked else self.payload, "message": self.payload}


class Answering(BaseHTTPRequestHandler):
    """One answer."""

    server: Liar

    def do_POST(self) -> None:
        """Read the request, answer what the liar says."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, told = self.server.answer(self.path.partition("?")[0], body)
        answer = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        """Likewise."""
        self.do_POST()

    def do_PUT(self) -> None:
        """Likewise."""
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Nothing to the screen."""
