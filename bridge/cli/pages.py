"""`diagrams`, `configuration`: write the pages of docs/ that are generated from the source."""

from __future__ import annotations

from pathlib import Path

import click

DOCS = Path(__file__).resolve().parents[2] / "docs"


@click.command()
def diagrams() -> None:
    """Write docs/state-machines.md from the tables in statemachines/."""
    from bridge.diagrams import render

    _write("state-machines.md", render())


@click.command()
def configuration() -> None:
    """Write docs/configuration.md from the fields of the configuration."""
    from bridge.settings_page import render

    _write("configuration.md", render())


def _write(name: str, page: str) -> None:
    (DOCS / name).write_text(page, encoding="utf-8")
    click.echo(f"{DOCS / name} is written.")
