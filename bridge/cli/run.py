"""`serve`: the web processes. `up` and `demo`: everything on this machine, as child processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default=Path(".bridge-up"), show_default=True,
    help="Where everything is written; nothing is written elsewhere.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one.")
def up(folder: Path, port: int) -> None:
    """Bridge, jobs and two simulated providers, until Ctrl-C; prints addresses, a key and a curl line to try."""
    from bridge.up import run

    sys.exit(run(folder, port))


LAST_CALLS_SECONDS = 15
"""What a request in hand may need beyond its wait: a prepare, a complete and a look-up, each to its deadline."""


@click.command()
def serve() -> None:
    """The web processes alone, on the configured host and port; jobs run beside them (`python -m jobs`)."""
    from bridge import doctor

    config = doctor.configuration()
    doctor.bridge(config).engine.dispose()
    web = config.web
    port = doctor.free_port(web.host, web.port)
    program = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", web.host, "--port", str(port)]
    # A worker that dies is replaced; without that the server ends with it.
    program += ["--blocking-threads", str(web.threads), "--respawn-failed-workers"]
    # A worker that misses the signal while it still imports is killed, and does not keep the port.
    program += ["--workers-kill-timeout", str(int(config.web.wait_seconds) + LAST_CALLS_SECONDS), "wsgi:app"]
    os.execv(sys.executable, program)  # noqa: S606 - our own interpreter, by list


@click.command()
@click.option("--seed", type=int, default=None, help="Decides who moves what when, and which fault it meets.")
@click.option("--transfers", type=click.IntRange(40, 5000), default=500, show_default=True)
@click.option("--players", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the files here.")
def demo(seed: int | None, transfers: int, players: int, folder: Path | None) -> None:
    """Move money against two providers that lie, then account for every cent; exit code 0 only if it is."""
    from bridge.demo import run

    sys.exit(run(seed, transfers, players, folder))
