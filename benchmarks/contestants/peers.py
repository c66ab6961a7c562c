"""The peers, each started as its own documentation has it, on its default settings but for durability and width."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.children import HOST, PEERS, START_SECONDS, Child, DidNotStart, free_port, python
from benchmarks.contestants.base import DONE, UNDONE, Contestant, Ground, numbers
from benchmarks.contestants.floor import granian, plain, rows

DBOS_WORDS = {"SUCCESS": DONE, "ERROR": UNDONE, "CANCELLED": UNDONE, "MAX_RECOVERY_ATTEMPTS_EXCEEDED": UNDONE}


class _Peer(Contestant):
    """With a database of its own, and the environment that all apps read."""

    def prepare(self) -> None:
        """A new database."""
        self._url = plain(self.ground.fresh(self.name))

    @property
    def settings(self) -> dict[str, str]:
        """What apps/__init__.py tells."""
        return {"BENCH_DATABASE": self._url, "BENCH_PROVIDER": self.provider, "BENCH_FOLDER": str(self.folder),
                "BENCH_THREADS": str(self.ground.threads)}  # fmt: skip


class Dbos(_Peer):
    """DBOS Transact, inside of the web processes."""

    def programs(self) -> Iterator[tuple[Child, int | None]]:
        """One."""
        command = granian(self.ground, self.port, "benchmarks.apps.dbos_transfers:app")
        yield Child("dbos", command, self.folder, self.settings), self.port

    def said(self, run: str) -> Mapping[int, str]:
        """The status of its workflows."""
        table = "dbos.workflow_status" if self.ground.on_postgresql else "workflow_status"
        return numbers(rows(self._url, f"SELECT workflow_uuid, status FROM {table}"), run, DBOS_WORDS)  # noqa: S608 - theirs, named here


class Procrastinate(_Peer):
    """A web process that defers, and a worker that does the jobs."""

    def prepare(self) -> None:
        """A new database with its schema, and the trigger by which the door hears of ends."""
        super().prepare()
        schema = [python(peers=True), "-m", "procrastinate", "--app", "benchmarks.apps.procrastinate_tasks.jobs",
                  "schema", "--apply"]  # fmt: skip
        trigger = "from benchmarks.apps.procrastinate_door import prepare; prepare()"
        for number, command in enumerate((schema, [python(peers=True), "-c", trigger])):
            child = Child(f"schema-{number}", command, self.folder, self.settings)
            child.start()
            assert child.process is not None
            if child.process.wait():
                raise DidNotStart(command, child.said())

    def programs(self) -> Iterator[tuple[Child, int | None]]:
        """The worker, then the door."""
        worker = [python(peers=True), "-m", "procrastinate", "--app", "benchmarks.apps.procrastinate_tasks.jobs",
                  "worker", "--concurrency", str(self.ground.workers * self.ground.threads)]  # fmt: skip
        yield Child("worker", worker, self.folder, self.settings), None
        door = granian(self.ground, self.port, "benchmarks.apps.procrastinate_door:app")
        yield Child("door", door, self.folder, self.settings), self.port

    def said(self, run: str) -> Mapping[int, str]:
        """The status of its jobs."""
        query = "SELECT args->'content'->>'id', status::text FROM procrastinate_jobs WHERE task_name = 'transfer'"
        words = {"succeeded": DONE, "failed": UNDONE, "cancelled": UNDONE, "aborted": UNDONE}
        return numbers(rows(self._url, query), run, words)


class Restate(Contestant):
    """Its server with its own database, and a service of the Python SDK that it calls."""

    path = "/transfers/move"

    def __init__(self, name: str, ground: Ground, folder: Path) -> None:
        super().__init__(name, ground, folder)
        self._service, self._admin, self._inner = free_port(), free_port(), free_port()

    @property
    def roots(self) -> tuple[int, ...]:
        """Its own processes: it does not use PostgreSQL."""
        return tuple(child.pid for child in self.children)

    def programs(self) -> Iterator[tuple[Child, int | None]]:
        """The service, then the server."""
        hypercorn = [python(peers=True), "-m", "hypercorn", "--workers", str(self.ground.workers), "--bind",
                     f"{HOST}:{self._service}", "benchmarks.apps.restate_service:app"]  # fmt: skip
        settings = {"BENCH_PROVIDER": self.provider, "BENCH_THREADS": str(self.ground.threads)}
        yield Child("service", hypercorn, self.folder, settings), self._service
        config = self.folder / "restate.toml"
        config.write_text(self._config(), encoding="utf-8")
        found = sorted((PEERS / "npm" / "node_modules" / "@restatedev").glob("restate-server-*/bin/restate-server"))
        program = str(found[0] if found else PEERS / "npm" / "node_modules" / ".bin" / "restate-server")
        yield Child("server", [program, "--no-logo", "--config-file", str(config)], self.folder), self.port

    def ready(self) -> None:
        """Make the service known to the server, which answers when it has formed its cluster of one."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self._tell("/deployments", {"uri": f"http://{HOST}:{self._service}", "force": True})
            except OSError as refused:
                if time.monotonic() > end:
                    server = self.children[-1]
                    raise DidNotStart(server.command, f"{refused}\n{server.said()}") from refused
                time.sleep(0.2)
            else:
                return

    def said(self, run: str) -> Mapping[int, str]:
        """The status of its invocations, which it keeps for a day."""
        query = "SELECT idempotency_key, status, completion_result FROM sys_invocation"
        found = self._tell("/query", {"query": query})["rows"]
        states = {str(row["idempotency_key"]): f"{row['status']} {row.get('completion_result')}" for row in found}
        return numbers(states, run, {"completed success": DONE, "completed failure": UNDONE})

    def _tell(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(
            f"http://{HOST}:{self._admin}{path}", json.dumps(content).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own child
            told: dict[str, Any] = json.loads(answer.read())
            return told

    def _config(self) -> str:
        return "\n".join(
            [
                f'base-dir = "{self.folder / "restate-data"}"', 'cluster-name = "bench"', 'node-name = "bench"',
                "disable-telemetry = true", 'listen-mode = "tcp"', f'bind-address = "{HOST}:{self._inner}"',
                f'advertised-address = "http://{HOST}:{self._inner}/"', "[admin]",
                f'bind-address = "{HOST}:{self._admin}"', "[ingress]", f'bind-address = "{HOST}:{self.port}"', "",
            ]
        )  # fmt: skip


def installed() -> str:
    """What is in .venv-bench, one `name==version` a line; empty where there is nothing."""
    try:
        said = subprocess.run([python(peers=True), "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout
