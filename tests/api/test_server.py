"""The door as it is really opened: `wsgi:app` behind granian, in a process of its own, on a real socket."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import keys
from bridge.app import compose
from bridge.up import QTECH
from tests.api.conftest import TIMES
from tests.harness import OPERATOR, ROOT, configured

SETTINGS = """
[database]
url = "{url}"
[web]
wait_seconds = 6
[engine]
lease_slack_seconds = 2
[providers.{name}]
operator = "{operator}"
protocol = "qtech"
base_url = "{address}"
username = "demo"
password = "demo"
currencies = ["EUR"]
expiry_seconds = {expiry_seconds}
expiry_margin_seconds = 0.2
complete_reserve_seconds = {complete_reserve_seconds}
prepare_seconds = {prepare_seconds}
complete_seconds = {complete_seconds}
lookup_seconds = {lookup_seconds}
patience_seconds = {patience_seconds}
"""


FORKS = """
import os, wsgi
assert wsgi.runtime.engine.pool.checkedin() == 0, "a connection was left open"
WHO = {"postgresql": "SELECT pg_backend_pid()", "sqlite": "SELECT 1"}[wsgi.runtime.engine.dialect.name]
def session():
    with wsgi.runtime.engine.connect() as connection:
        return connection.exec_driver_sql(WHO).scalar(), connection.connection.driver_connection
number, line = session()
assert wsgi.runtime.engine.pool.checkedin() == 1
child = os.fork()
if child == 0:
    os._exit(wsgi.runtime.engine.pool.checkedin() or session()[1] is line)
assert os.waitpid(child, 0)[1] == 0, "the child has its parent's connection"
assert session() == (number, line), "the child has closed its parent's connection"
"""


class Served:
    """A running server and the key of an operator."""

    def __init__(self, port: int, secret: str) -> None:
        self.port, self.secret = port, secret

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None, **options: Any) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {"Authorization": f"Bearer {self.secret}", **(headers or {})}
            connection.request(method, path, body, sent, **options)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.fixture
def served(migrated_url, provider, tmp_path) -> Iterator[Served]:
    """Granian with one worker on a migrated database of each kind, the simulator behind it."""
    file = tmp_path / "bridge.toml"
    times = {name: value for name, value in TIMES.items() if name.endswith("_seconds")}
    file.write_text(
        SETTINGS.format(url=migrated_url, name=QTECH.name, operator=OPERATOR, address=provider.address, **times)
    )
    runtime = compose(configured(migrated_url))
    keys.add_operator(runtime, OPERATOR)
    secret = keys.create(runtime, OPERATOR, ["read", "transfers"], "server")[1]
    runtime.engine.dispose()
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--blocking-threads", "8", "--no-ws"]
    options += ["--workers-kill-timeout", "5"]
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "granian", *options, "wsgi:app"],
        cwd=ROOT, env={**os.environ, "BRIDGE_CONFIG": str(file)}, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        server = Served(port, secret)
        _until_it_answers(server, process, tmp_path / "server.log")
        yield server
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _until_it_answers(server: Served, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 40
    while True:
        try:
            assert server.ask("GET", "/healthz") == (200, {"status": "ok"})
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)


def examples() -> list[list[str]]:
    """The curl commands of docs/api.md, as words."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    lines = block[1].replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("curl")]


def test_the_examples_of_the_documentation_run(served):
    """Style §10, rule 20: what docs/api.md shows is sent as it stands, to a provider named as `make up` names its own,
    and every answer is a success."""
    seen = []
    for words in examples():
        method, headers, body, path = "GET", {}, None, ""
        rest = iter(words[1:])
        for word in rest:
            match word:
                case "-X":
                    method = next(rest)
                case "-H":
                    name, value = next(rest).split(": ", 1)
                    headers[name] = value.replace("$KEY", served.secret)
                case "-d":
                    body = next(rest)
                case _:
                    path = word.removeprefix("$URL")
        # The simulator is shared by a run's tests, and the example's player may have met it before.
        status, answer = served.ask(method, path, body, headers)
        seen.append(status)
        assert status < 300, answer
    assert seen == [201, 201, 201, 200]
    assert answer["funds"][0]["at_providers"] == {QTECH.name: "25.00"}


def test_what_only_a_socket_can_send(served, subtests):
    """Issue 2, security §3.3: the limit of 65536 bytes holds for a body whose length is never announced; odd
    requests get an answer below 500, and the server lives on."""
    good = b'{"player_id":"p","provider":"simulator","direction":"in","amount":"0","currency":"EUR"}'
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    for size, expected in ((65_536, (422, "invalid")), (65_537, (413, "body_too_large"))):
        with subtests.test(chunked=size):
            body = good + b" " * (size - len(good))
            chunks = (body[at : at + 8192] for at in range(0, size, 8192))
            status, problem = served.ask("POST", "/v1/transfers", chunks, headers, encode_chunked=True)
            assert (status, problem["code"]) == expected
    secret, close = f"Authorization: Bearer {served.secret}\r\n", "Connection: close\r\n\r\n"
    for name, request in {
        "no host": f"GET /v1/transfers HTTP/1.1\r\n{secret}\r\n",
        "absolute form": f"GET http://other/v1/transfers HTTP/1.1\r\nHost: x\r\n{secret}{close}",
        "large header": f"GET /v1/transfers HTTP/1.1\r\nHost: x\r\n{secret}X: {'a' * 65_536}\r\n{close}",
        "other method": f"GET /v1/transfers HTTP/1.1\r\nHost: x\r\n{secret}X-HTTP-Method-Override: DELETE\r\n{close}",
    }.items():
        with subtests.test(request=name), socket.create_connection(("127.0.0.1", served.port), timeout=5) as wire:
            wire.sendall(request.encode())
            wire.shutdown(socket.SHUT_WR)
            first = wire.makefile("rb").readline().split()
            assert not first or int(first[1]) < 500, first
        assert served.ask("GET", "/healthz")[0] == 200


def test_an_unmigrated_database_is_refused_at_the_door(database_url, tmp_path):
    """Issue 2, point 10: an unmigrated database gives one sentence on standard error and exit code 2."""
    empty = tmp_path / "bridge.toml"
    empty.write_text(f'[database]\nurl = "{database_url}"\n')
    ended = subprocess.run(
        [sys.executable, "-c", "import wsgi"], cwd=ROOT, env={**os.environ, "BRIDGE_CONFIG": str(empty)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "The database is empty: run `python -m bridge migrate` first.\n"


def test_processes_that_are_forked_share_no_connection(migrated_url, tmp_path):
    """C-38: a server that loads the application and then forks its workers."""
    file = tmp_path / "bridge.toml"
    file.write_text(f'[database]\nurl = "{migrated_url}"\n')
    environment = {**os.environ, "BRIDGE_CONFIG": str(file)}
    run = subprocess.run(
        [sys.executable, "-c", FORKS], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
