"""`diagrams`, `configuration`: write the pages of docs/ that are generated from the source."""

from __future__ import annotations

from pathlib import Path

import click

DOCS = Path(__file__).resolve().parents[2] / "docs"


@click.command()
def diagrams() -> None:
    """Write docs/state-machines.md and docs/decisions-of-people.md from the tables that decide."""
    from bridge import decisions_page
    from bridge.diagrams import render

    _write("state-machines.md", render())
    _write("decisions-of-people.md", decisions_page.render())


@click.command()
def configuration() -> None:
    """Write docs/configuration.md from the fields of the configuration."""
    from bridge.settings_page import render

    _write("configuration.md", render())


def _write(name: str, page: str) -> None:
    (DOCS / name).write_text(page, encoding="utf-8")
    click.echo(f"{DOCS / name} is written.")
