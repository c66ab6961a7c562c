"""`people`: who works at the desk. The first admin is made here; nobody has a password that another one knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bridge.cli.shown import instant, opened, operator_id, table

if TYPE_CHECKING:
    from bridge.runtime import Runtime


_reason = click.option(
    "--reason", required=True, help="Kept for ever, beside the user of this machine who typed it: why this is done."
)


@click.group()
def people() -> None:
    """The people at the desk of this bridge (`/ops`)."""


@people.command("add")
@click.argument("login")
@click.option("--operator", required=True, help="Whose desk it is.")
@click.option("--role", default="admin", show_default=True, help="viewer, operator, approver or admin.")
@click.option("--name", default="", help="What they are called; default: the login.")
@_reason
def add(login: str, operator: str, role: str, name: str, reason: str) -> None:
    """Add somebody, and show the link by which they join, this once."""
    from bridge.desk import keyring
    from bridge.desk import people as desk

    runtime = opened()
    keyring.require(runtime)
    whose = operator_id(runtime, operator)
    token = desk.add(runtime, desk.by_command(reason), whose, login=login, name=name or login, role=role)[1]
    _show_link(runtime, token)


@people.command("list")
@click.option("--operator", default=None, help="Only the people of this one.")
def listed(operator: str | None) -> None:
    """Everybody, and whether they are locked, or nobody has vouched for them."""
    from bridge import keys
    from bridge.desk import people as desk
    from bridge.desk import rows

    runtime = opened()
    named = {row["name"]: row["id"] for row in keys.operators(runtime)}
    asked = list(named) if operator is None else [operator]
    found = [(name, row) for name in asked for row in desk.listed(runtime, operator_id(runtime, name))]
    table(
        ("login", "operator", "name", "role", "state", "locked", "vouched", "added"),
        [
            (row["login"], name, row["name"], row["role"], row["state"], instant(row["locked_at"]),
             "yes" if rows.is_vouched(row) else "no", instant(row["created_at"]))
            for name, row in found
        ],
    )  # fmt: skip


@people.command("link")
@click.argument("login")
@click.option("--kind", type=click.Choice(["join", "reset", "unlock"]), required=True, help="What it lets them do.")
@_reason
def link(login: str, kind: str, reason: str) -> None:
    """Make a link for LOGIN and show it, this once; those before are worth nothing any more."""
    from bridge.desk import keyring
    from bridge.desk import people as desk
    from bridge.models.desk import InvitationKind

    runtime = opened()
    keyring.require(runtime)
    row = desk.found(runtime, login)
    by = desk.by_command(reason)
    _show_link(runtime, desk.link(runtime, by, row["operator_id"], row["id"], InvitationKind(kind)))


@people.command("vouch")
@click.argument("login")
@_reason
def vouch(login: str, reason: str) -> None:
    """Stand for LOGIN, whom one admin alone has let in: from now on they may what their role says."""
    from bridge.desk import people as desk

    runtime = opened()
    row = desk.found(runtime, login)
    desk.vouch(runtime, desk.by_command(reason), row["operator_id"], row["id"], desk.mark(row))
    click.echo(f"{row['login']} may what the role {row['role']} may.")


@people.command("role")
@click.argument("login")
@click.argument("role")
@_reason
def role(login: str, role: str, reason: str) -> None:
    """Give LOGIN another role; their sittings end. Whom an admin has let in needs a voucher for it."""
    from bridge.desk import people as desk
    from bridge.desk import rows

    runtime = opened()
    row = desk.found(runtime, login)
    desk.give_role(runtime, desk.by_command(reason), row["operator_id"], row["id"], role)
    click.echo(f"{row['login']} has the role {role}.")
    if not rows.is_vouched(desk.found(runtime, login)):
        vouch = f"`python -m bridge people vouch {row['login']} --reason WHY`"
        click.echo(f"Nobody has vouched for {row['login']}: {vouch}, if it is they who sit there.")


@people.command("disable")
@click.argument("login")
@_reason
def disable(login: str, reason: str) -> None:
    """Let LOGIN in no more; their sittings and links end."""
    from bridge.desk import people as desk

    runtime = opened()
    row = desk.found(runtime, login)
    desk.disable(runtime, desk.by_command(reason), row["operator_id"], row["id"])
    click.echo(f"{row['login']} is disabled.")


@people.command("enable")
@click.argument("login")
@_reason
def enable(login: str, reason: str) -> None:
    """Let LOGIN in again, by what proved them before."""
    from bridge.desk import people as desk

    runtime = opened()
    row = desk.found(runtime, login)
    desk.enable(runtime, desk.by_command(reason), row["operator_id"], row["id"])
    click.echo(f"{row['login']} is enabled.")


def _show_link(runtime: Runtime, token: str) -> None:
    desk = runtime.config.desk
    begins = desk.address or f"http://localhost:{runtime.config.web.port}"
    click.echo(f"{begins}/ops/link/{token}")
    click.echo(f"It can be used once, within {desk.invitation_hours:g} hours, and cannot be shown again.")
