"""`alerts`: what is wrong and what people were told of it; and whether they can be told at all."""

from __future__ import annotations

import sys

import click

from bridge.cli.shown import instant, opened, table


@click.group(invoke_without_command=True)
@click.pass_context
def alerts(context: click.Context) -> None:
    """What is wrong, what people were told, and a test of the ways to them."""
    if context.invoked_subcommand is None:
        context.invoke(listed)


@alerts.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def listed(limit: int) -> None:
    """Alerts, what lasts first, then the newest; and which of their messages were taken."""
    from bridge import db
    from bridge.alerts import episodes

    with db.reading(opened().engine) as connection:
        rows = episodes.listed(connection, limit)
        sent = episodes.notices(connection, [row["id"] for row in rows])
    told: dict[str, list[str]] = {}
    for notice in sent:
        failure = f" ({notice['failure']})" if notice["failure"] else ""
        told.setdefault(notice["alert_id"], []).append(
            f"{notice['phase']} by {notice['sink']}: {notice['state']}{failure}"
        )  # fmt: skip
    table(
        ("alert", "what", "operator", "since", "over", "sentence", "told"),
        [
            (
                row["id"],
                row["kind"],
                row["operator"] or "all",
                instant(row["began_at"]),
                instant(row["ended_at"]),
                row["sentence"],
                "; ".join(told.get(row["id"], ["nobody: no way is configured"])),
            )
            for row in rows
        ],
    )


@alerts.command("test")
def test() -> None:
    """Send a test each way that is configured, and say what came of it; exit code 1 if any was not taken."""
    from bridge.alerts import episodes, sending

    runtime = opened(migrated=False)
    sinks = episodes.sinks(runtime)
    if not sinks:
        click.echo("No way is configured: set alerts.webhook_url or alerts.email_to, and what belongs to it.", err=True)
        sys.exit(1)
    failed = False
    for sink in sinks:
        failure = sending.test(runtime, sink)
        click.echo(f"{sink.value}: not taken: {failure}" if failure else f"{sink.value}: taken", err=bool(failure))
        failed = failed or bool(failure)
    if failed:
        sys.exit(1)
