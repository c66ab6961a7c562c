"""`transfers`: what moved, what is open, and one transfer's whole story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bridge.cli.shown import instant, opened, operator_id, printable, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.runtime import Runtime
    from bridge.transfers.rows import Story

STATES = ("pending", "confirmed", "reversed", "orphaned")


@click.group()
def transfers() -> None:
    """Transfers and their stories."""


@transfers.command("list")
@click.option("--operator", help="Only this operator's, by name.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--provider", help="Only those with this provider.")
@click.option("--player", "player_id", help="Only this player's.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="Continue behind this transfer.")
def listed(operator: str | None, limit: int, cursor: str | None, **filters: str | None) -> None:
    """Transfers, newest first."""
    from bridge.transfers import stories

    runtime = opened()
    tenant = None if operator is None else operator_id(runtime, operator)
    wanted = {name: value for name, value in filters.items() if value is not None}
    page = stories.page(runtime, tenant, wanted, cursor, limit)
    table(
        ("transfer", "state", "direction", "player", "provider", "amount", "", "begun", "reason"),
        [_line(runtime, story) for story in page.stories],
    )
    if page.cursor is not None:
        click.echo(f"more: --cursor {page.cursor}")


@transfers.command("show")
@click.argument("transfer")
@click.option("--operator", help="Only if it is this operator's, by name.")
def show(transfer: str, operator: str | None) -> None:
    """The whole story of one transfer: legs, requests, evidence, moves, case."""
    from bridge.errors import NotFound
    from bridge.transfers import stories

    runtime = opened()
    tenant = None if operator is None else operator_id(runtime, operator)
    found = stories.page(runtime, tenant, {"id": transfer}, None, 1).stories
    if not found:
        raise NotFound(f"There is no transfer {transfer!r}.")
    story, row = found[0], found[0].row
    amount = runtime.currencies.format(row["amount"], row["currency"])
    click.echo(f"{row['id']}  {row['state']}  {row['direction']} {amount} {row['currency']}")
    click.echo(f"player {row['player_id']}, provider {row['provider']}, key {row['idempotency_key']}")
    click.echo(f"begun {instant(row['created_at'])}, orphaned if unproved at {instant(row['orphan_at'])}")
    if row["reason_code"]:
        click.echo(f"reason {row['reason_code']}: {row['reason_detail'] or ''}")
    if row["wake_at"] is not None:
        click.echo(f"looked at again {instant(row['wake_at'])}")
    case = stories.case_of(runtime, transfer)
    if case is not None:
        click.echo(f"case {case['id']} {case['state']} since {instant(case['opened_at'])}: {case['reason']}")
    legs = [
        (
            leg.ordinal,
            leg.holder,
            leg.side,
            runtime.currencies.format(leg.amount, row["currency"]),
            leg.state,
            "" if leg.undoes is None else leg.undoes,
            leg.reference,
            leg.provider_reference,
        )
        for leg in story.legs
    ]
    table(("leg", "holder", "side", "amount", "state", "undoes", "reference", "their reference"), legs)
    told = stories.history(runtime, None, transfer)
    table(("at", "", "what"), [(instant(entry["at"]), entry["kind"], _told(entry)) for entry in told])


@transfers.command("messages")
@click.argument("transfer")
@click.option("--operator", help="Only if it is this operator's, by name.")
def messages(transfer: str, operator: str | None) -> None:
    """What was said on the wire about one transfer, unmasked: for whoever has the database anyway."""
    from bridge.transfers import stories

    runtime = opened()
    tenant = None if operator is None else operator_id(runtime, operator)
    for said in stories.messages(runtime, tenant, transfer):
        which = f"evidence {said['id']}, leg {said['ordinal']}, {said['source']}"
        click.echo(f"{instant(said['at'])}  {which}, digest {said['digest']}")
        for way in ("sent", "received"):
            for line in (said[way] or "").splitlines():
                click.echo(f"  {way:<8}  {printable(line)}")


def _line(runtime: Runtime, story: Story) -> tuple[object, ...]:
    row = story.row
    return (
        row["id"],
        row["state"],
        row["direction"],
        row["player_id"],
        row["provider"],
        runtime.currencies.format(row["amount"], row["currency"]),
        row["currency"],
        instant(row["created_at"]),
        row["reason_code"],
    )


def _told(entry: dict[str, Any]) -> str:
    """One entry of the history in words."""
    return " ".join(part for part in _parts(entry) if part)


def _parts(entry: dict[str, Any]) -> Iterator[str]:
    match entry["kind"]:
        case "move":
            yield f"{entry['subject']}: {entry['trigger']}"
            yield f"{entry['source'] or '·'} → {entry['target']}"
            yield f"({entry['reason']})" if entry["reason"] else ""
        case "request":
            yield f"leg {entry['ordinal']}: {entry['step']}, attempt {entry['attempt']}, by {entry['lease_owner']}"
        case "evidence":
            yield f"leg {entry['ordinal']}: {entry['source']} {entry['step'] or ''}".rstrip()
            yield f"says {entry['answer']} {entry['code']}".rstrip()
            yield f"({entry['detail']})" if entry["detail"] else ""
            yield f"digest {entry['digest'][:12]}" if entry["digest"] else ""
