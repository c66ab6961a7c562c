"""`inbox`: what providers told us unasked and what became of it; what no honest one sends; balances that differ."""

from __future__ import annotations

import click

from bridge.cli.shown import instant, opened, table

LIMIT = click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)


@click.group(invoke_without_command=True)
@click.pass_context
def inbox(context: click.Context) -> None:
    """Callbacks of providers, and what became of them."""
    if context.invoked_subcommand is None:
        context.invoke(listed)


@inbox.command("list")
@click.option("--state", type=click.Choice(("waiting", "parked", "done", "passed_over")), help="Only these.")
@click.option("--provider", help="Only this provider's.")
@LIMIT
def listed(limit: int, **filters: str | None) -> None:
    """Messages, newest first."""
    from bridge import inbox as service

    given = {name: value for name, value in filters.items() if value is not None}
    table(
        ("message", "provider", "kind", "reference", "received", "state", "transfer", "reason", "failures", "due"),
        [
            (
                row["message_id"],
                row["provider"],
                row["kind"],
                row["reference"],
                instant(row["received_at"]),
                row["state"],
                row["transfer_id"],
                row["reason"],
                row["failures"] or "",
                instant(row["wake_at"]),
            )
            for row in service.page(opened(), given, limit)
        ],
    )


@inbox.command("events")
@LIMIT
def events(limit: int) -> None:
    """What no honest, working provider sends, newest first."""
    from bridge import inbox as service

    table(
        ("at", "what", "provider", "from", "message", "digest of its body"),
        [
            (instant(row["at"]), row["kind"], row["provider"], row["peer"], row["detail"], row["digest"])
            for row in service.events(opened(), limit)
        ],
    )


@inbox.command("breaks")
def breaks() -> None:
    """Balances that a provider told on a quiet lane and that are not ours, oldest first; they close by themselves."""
    from bridge.breaks import open_ones

    runtime = opened()
    table(
        ("since", "provider", "player", "ours", "theirs", "", "told by"),
        [
            (
                instant(row["opened_at"]),
                row["provider"],
                row["player_id"],
                *(runtime.currencies.format(row[side], row["currency"]) for side in ("ours", "theirs")),
                row["currency"],
                row["told_by"],
            )
            for row in open_ones(runtime)
        ],
    )
