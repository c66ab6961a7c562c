"""The load generator as the process that it is, against a small server of the test's own."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.children import Child, python
from benchmarks.wire.order import BROKEN, CONFIRMED, Door, Order

ONE_ANSWER_SECONDS = 0.2


@pytest.fixture
def server():
    """Answers after ONE_ANSWER_SECONDS, and keeps every body and key."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            httpd.heard.append((self.headers["Idempotency-Key"], json.loads(body)))
            if len(httpd.heard) >= httpd.last:
                self.close_connection = True
                return
            time.sleep(ONE_ANSWER_SECONDS)
            answer = b'{"state":"confirmed"}'
            self.send_response(201)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.heard, httpd.last = [], 10**9
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def run(server, tmp_path, **more):
    """What the generator tells at its end, and in which order it told where it was."""
    order = Order(door=Door("127.0.0.1", server.server_port, "/t"), run="r", first=7, warm_seconds=0, players=5, **more)
    child = Child("load", [python(peers=False), "-m", "benchmarks.wire.clients"], tmp_path, pipes=True)
    child.start()
    print(json.dumps(order.as_json()), file=child.process.stdin, flush=True)
    try:
        assert [child.line(), child.line()] == [{"at": "begin"}, {"at": "end"}]
        return child.line()
    finally:
        child.stop()


def test_a_closed_loop_asks_again_when_it_was_answered(server, tmp_path):
    """Every transfer has a key and a number of its own, and none was answered faster than the server is."""
    told = run(server, tmp_path, connections=2, seconds=1, numbered=True)
    keys = [key for key, _ in server.heard]
    assert sorted(keys, key=lambda key: int(key[2:])) == [f"r-{7 + n}" for n in range(len(keys))]
    assert told["next"] == 7 + len(keys)
    assert {body["amount"] for _, body in server.heard} == {f"0.{7 + n:02}" for n in range(len(keys))}
    assert all(re.fullmatch(r"p[0-4]", body["player_id"]) for _, body in server.heard)
    assert min(told["micros"]) >= ONE_ANSWER_SECONDS * 1e6
    assert set(told["told"].values()) == {CONFIRMED}


def test_an_open_loop_counts_from_the_instant_that_was_due(server, tmp_path):
    """One connection answers five a second; twenty a second are due: the queue is part of everybody's time."""
    told = run(server, tmp_path, connections=1, seconds=1, rate=20)
    assert max(told["micros"]) > 5 * ONE_ANSWER_SECONDS * 1e6
    assert sum(told["answers"].values()) <= 20


def test_what_is_never_answered_improves_no_percentile(server, tmp_path):
    """The third request is not answered and its connection dies: broken, with the time that it took."""
    server.last = 3
    told = run(server, tmp_path, connections=1, seconds=0.8, rate=5)
    assert told["answers"][BROKEN] >= 1
    assert len(told["micros"]) == sum(told["answers"].values())


def test_a_client_whose_connection_died_was_told_nothing(server, tmp_path):
    """The third request is not answered: one client, three transfers, the last one broken, and nobody asks again."""
    server.last = 3
    told = run(server, tmp_path, connections=1, seconds=30, numbered=True)
    assert told["told"] == {"7": CONFIRMED, "8": CONFIRMED, "9": BROKEN}
