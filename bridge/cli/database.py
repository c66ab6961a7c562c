"""`migrate`, `verify`, `doctor`: the database and the machine under it."""

from __future__ import annotations

import sys

import click

from bridge.cli.shown import opened, table


@click.command()
def migrate() -> None:
    """Bring the database to this version's schema; again changes nothing."""
    from bridge import db
    from bridge.doctor import configuration

    db.migrate(configuration().database.url)
    click.echo(f"The database has schema {db.schema_version()}.")


@click.command()
def verify() -> None:
    """Ask the database every invariant; exit code 1 if one does not hold."""
    from bridge.verify import CHECKS, verify

    findings = verify(opened())
    for finding in findings:
        click.echo(f"{finding.invariant}  does not hold in {finding.count} rows: {finding.sentence}")
        for row in finding.rows:
            click.echo("      " + ", ".join(f"{name}={value}" for name, value in row.items()))
    if findings:
        sys.exit(1)
    click.echo(f"All {len(CHECKS)} checks hold: {', '.join(sorted(set(CHECKS)))}.")


@click.command()
def doctor() -> None:
    """Say what is missing or unsafe on this machine; exit code 1 if something is."""
    from bridge.doctor import examine

    complaints = examine(opened(migrated=False))
    table(("", "what", "found"), [(each.mark, each.subject, each.sentence) for each in complaints])
    if any(each.mark == "bad" for each in complaints):
        sys.exit(1)
