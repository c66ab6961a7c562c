"""`operators` and `keys`: who may use this bridge."""

from __future__ import annotations

import click

from bridge.cli.shown import instant, opened, table


@click.group()
def operators() -> None:
    """The operators (tenants) of this bridge."""


@operators.command("add")
@click.argument("name")
def add(name: str) -> None:
    """Add an operator."""
    from bridge import keys

    number = keys.add_operator(opened(), name)
    click.echo(f"Operator {name} is added (number {number}).")


@operators.command("list")
def listed() -> None:
    """All operators, oldest first."""
    from bridge import keys

    rows = keys.operators(opened())
    table(("number", "name", "added"), [(row["id"], row["name"], instant(row["created_at"])) for row in rows])


@click.group()
def keys() -> None:
    """API keys of an operator: shown once, kept as a digest."""


@keys.command("create")
@click.argument("operator")
@click.option("--scope", "scopes", multiple=True, required=True, help="read, transfers or admin; may be repeated.")
@click.option("--label", default="", help="What the key is for.")
def create(operator: str, scopes: tuple[str, ...], label: str) -> None:
    """Make a key for OPERATOR and show its secret, this once."""
    from bridge import keys as stored

    key_id, secret = stored.create(opened(), operator, scopes, label)
    click.echo(f"key     {key_id}\nsecret  {secret}\nThe secret is not kept and cannot be shown again.")


@keys.command("list")
@click.argument("operator")
def listed_keys(operator: str) -> None:
    """The keys of OPERATOR, without their secrets."""
    from bridge import keys as stored

    rows = stored.listed(opened(), operator)
    table(
        ("key", "scopes", "label", "made", "revoked"),
        [
            (row["id"], row["scopes"], row["label"], instant(row["created_at"]), instant(row["revoked_at"]))
            for row in rows
        ],
    )


@keys.command("revoke")
@click.argument("key")
def revoke(key: str) -> None:
    """Refuse KEY (its id, not its secret) from now on."""
    from bridge import keys as stored

    stored.revoke(opened(), key)
    click.echo(f"Key {key} is revoked.")
