"""The operator's own server, to which events are sent: a real one on loopback, which takes nothing whose signature
does not hold by the package of Standard Webhooks."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

PATIENCE_SECONDS = 30


class Receiver(ThreadingHTTPServer):
    """Keeps what came and is signed right (`told`), and counts what is not (`forged`). `secret` is known once the
    endpoint is registered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.secret, self.told, self.forged = "", list[dict[str, Any]](), 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where events are sent."""
        return f"http://127.0.0.1:{self.server_port}/events"

    def wait(self, kind: str, transfer_id: str) -> dict[str, Any]:
        """The event of this kind about a transfer; fails where it does not come."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for event in list(self.told):
                if (event["type"], event["data"].get("transfer_id")) == (kind, transfer_id):
                    return event
            time.sleep(0.1)
        came = [(event["type"], event["data"].get("transfer_id")) for event in self.told]
        raise AssertionError(f"no {kind} of {transfer_id} came, but {came}, and {self.forged} that nobody signed")


class Taking(BaseHTTPRequestHandler):
    """One delivery."""

    server: Receiver

    def do_POST(self) -> None:
        """Take it, if it is signed."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            Webhook(self.server.secret).verify(body, dict(self.headers.items()))
        except WebhookVerificationError:
            self.server.forged += 1
            self.send_response(400)
        else:
            self.server.told.append(json.loads(body))
            self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing to the screen."""
