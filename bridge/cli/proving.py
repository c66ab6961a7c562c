"""`simulate`: the real bridge under simulated time and bad luck. It is part of the tests, and started as a child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def simulate(options: tuple[str, ...]) -> None:
    """Years of bad luck in minutes: --minutes N, --seeds N, --seed N --trace, --planted, --orderings.

    Needs the whole repository with its development requirements; `simulate --help` says all options.
    """
    if not (ROOT / "tests" / "simulation").is_dir():
        raise click.ClickException("The simulation is part of the repository's tests, and they are not here.")
    try:
        ended = subprocess.run([sys.executable, "-m", "tests.simulation", *options], cwd=ROOT, check=False)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(ended.returncode)
