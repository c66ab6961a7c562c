"""`python -m benchmarks.wire.provider`: the provider that every contestant asks; prints its address as JSON.

It keeps docs/provider-contract.md as far as clean transfers need it, executes what it receives at once, and answers
after a delay that can be changed while it runs. One address an account: `/bridge`, `/floor`, …; each has books of its
own. `--secret NAME=whsec_…` checks the signature of that account's messages.

    POST /NAME           a message of the contract
    GET  /NAME/books     [[id, amount, asked, executed], …]
    POST /delay          seconds, as JSON
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
from collections import defaultdict
from typing import Any

from benchmarks.wire.books import Books

HEAD_END = b"\r\n\r\n"


class Provider:
    """All accounts, and the delay before every answer, in seconds."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self.delay = 0.0
        self._keys = {name: base64.b64decode(secret.removeprefix("whsec_")) for name, secret in secrets.items()}
        self._books: defaultdict[str, Books] = defaultdict(Books)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, float]:
        """Status, body, and the seconds to wait before they are told."""
        account, _, rest = path.strip("/").partition("/")
        if account == "delay":
            self.delay = float(json.loads(body))
            return 200, self.delay, 0
        if method == "GET":
            return 200, self._books[account].told() if rest == "books" else [], 0
        if account in self._keys and not _signed(self._keys[account], headers, body):
            return 401, {"code": "bad_signature"}, 0
        message = json.loads(body)
        return *self._books[account].answer(message["type"], message["data"]), self.delay


def _signed(key: bytes, headers: dict[str, str], body: bytes) -> bool:
    """Whether any of the signatures fits (contract §1); its age is not looked at, for nobody attacks a benchmark."""
    named = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode()
    right = "v1," + base64.b64encode(hmac.digest(key, named + body, hashlib.sha256)).decode()
    return any(hmac.compare_digest(right, each) for each in headers.get("webhook-signature", "").split())


class Wire(asyncio.Protocol):
    """One kept-open connection, HTTP/1.1 with Content-Length, one request at a time."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it to write to."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._buffer += data
        while (end := self._buffer.find(HEAD_END)) >= 0:
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = end + len(HEAD_END) + int(headers.get("content-length", "0"))
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + len(HEAD_END) : whole], self._buffer[whole:]
            method, path, _ = first.split(" ", 2)
            try:
                status, content, delay = self._provider.answer(method, path, headers, body)
            except (ValueError, KeyError, TypeError) as wrong:
                status, content, delay = 422, {"code": "malformed", "message": str(wrong)[:200]}, 0
            self._write(status, json.dumps(content).encode(), delay)

    def _write(self, status: int, body: bytes, delay: float) -> None:
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if delay:
            asyncio.get_running_loop().call_later(delay, self._transport.write, head.encode() + body)
        else:
            self._transport.write(head.encode() + body)


async def serve(provider: Provider) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Wire(provider), "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"address": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="the provider of the benchmarks")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME=whsec_…")
    given = parser.parse_args()
    asyncio.run(serve(Provider(dict(each.split("=", 1) for each in given.secret))))


if __name__ == "__main__":
    main()
