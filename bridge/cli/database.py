"""`migrate`, `verify`, `doctor`: the database and the machine under it."""

from __future__ import annotations

import sys

import click

from bridge.cli.shown import opened, table


@click.command()
def migrate() -> None:
    """Bring the database to this version's schema; again changes nothing."""
    from bridge import db
    from bridge.doctor import CannotStart, configuration

    try:
        db.migrate(configuration().database.url)
    except db.NotMigrated as wrong:
        raise CannotStart(str(wrong)) from wrong
    click.echo(f"The database has schema {db.schema_version()}.")


@click.command()
@click.option("--quick", is_flag=True, help="Without recomputing what was sealed (`audit verify`).")
def verify(quick: bool) -> None:
    """Ask the database every invariant, and recompute what was sealed; exit code 1 if one does not hold."""
    from bridge.cli.audit import inspected
    from bridge.verify import CHECKS, verify

    runtime = opened()
    findings = verify(runtime)
    for finding in findings:
        click.echo(f"{finding.invariant}  does not hold in {finding.count} rows: {finding.sentence}")
        for row in finding.rows:
            click.echo("      " + ", ".join(f"{name}={value}" for name, value in row.items()))
    if not findings:
        click.echo(f"All {len(CHECKS)} checks hold: {', '.join(sorted(set(CHECKS)))}.")
    unchanged = quick or inspected(runtime)
    if findings or not unchanged:
        sys.exit(1)


@click.command()
def doctor() -> None:
    """Say what is missing or unsafe on this machine; exit code 1 if something is."""
    from bridge.doctor import examine

    complaints = examine(opened(migrated=False))
    table(("", "what", "found"), [(each.mark, each.subject, each.sentence) for each in complaints])
    if any(each.mark == "bad" for each in complaints):
        sys.exit(1)
