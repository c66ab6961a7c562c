"""The victims: real web and jobs processes that strike themselves at a counted point.

A parent that has imported everything forks each victim, so that a victim costs a fraction of a second; what a
victim runs after the fork is the product's own entry: `wsgi:app` behind a server, or `python -m jobs`.
Orders come as JSON lines on standard input; when that ends, all victims end.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import alembic.script  # noqa: F401 - imported before the fork
import apscheduler.schedulers.background  # noqa: F401 - as above
import psycopg  # noqa: F401 - as above
from werkzeug.serving import make_server

import bridge
import jobs
from tests.chaos.points import Count, instrument

ENTRIES = ("__main__", "migrations", "simulator")  # what does something by being imported, or is another program


def main() -> None:
    """Carry out orders: `begin` forks a victim, `ended` tells its exit status (negative: the signal) or null."""
    for package in (bridge, jobs):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not any(entry in module.name.split(".") for entry in ENTRIES):
                import_module(module.name)
    living: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "begin":
            pid = _fork(order)
            living.add(pid)
            answer: dict[str, Any] = {"pid": pid}
        else:
            status = _ended(order["pid"])
            if status is not None:
                living.discard(order["pid"])
            answer = {"status": status}
        print(json.dumps(answer), flush=True)
    for pid in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ended(pid: int) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _be_victim(order)
    finally:
        os._exit(1)


def _be_victim(order: dict[str, Any]) -> None:
    folder = Path(order["folder"])
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["environment"])
    strike = signal.Signals[order["strike"]]
    instrument(Count(order["label"], order["occurrence"], strike, folder / "points").reach)
    if order["kind"] == "jobs":
        sys.argv = ["jobs"]
        runpy.run_module("jobs", run_name="__main__", alter_sys=True)
    else:
        _serve(folder / "port")


def _serve(told: Path) -> None:
    from wsgi import app

    server = make_server("127.0.0.1", 0, app, threaded=True)
    told.with_suffix(".new").write_text(str(server.server_port), encoding="utf-8")
    told.with_suffix(".new").rename(told)
    server.serve_forever()


if __name__ == "__main__":
    main()
