"""`providers pause`, `resume` and `accept`, `withdrawals`, `restored`: what people do to what is closed, and how that
stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bridge.cli.shown import instant, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.runtime import Runtime


@click.command("pause")
@click.argument("name")
@click.option("--reason", required=True, help="Kept with the switch, for whoever finds it closed.")
@click.option("--direction", type=click.Choice(["in", "out"]), default="in", show_default=True)
def pause(name: str, reason: str, direction: str) -> None:
    """Begin no more transfers into NAME; transfers out, and all that is under way, go on."""
    from bridge import gates
    from bridge.errors import Declined

    if direction == "out":
        raise Declined("Transfers out are never closed: money may always come home.")
    gates.pause(opened(), name, reason, actor())
    click.echo(f"Transfers into {name} are closed; transfers out, and all that is under way, go on.")


@click.command("resume")
@click.argument("name")
def resume(name: str) -> None:
    """Let transfers into NAME begin again, whatever had closed it."""
    from bridge import breaks, gates

    runtime = opened()
    was = gates.resume(runtime, name, actor())
    click.echo(f"Transfers into {name} may begin again. They were closed since {instant(was.closed_at)} by")
    click.echo(f"{was.actor} ({was.cause}): {was.reason}")
    differing = sum(1 for each in breaks.open_ones(runtime) if each["provider"] == name)
    if differing:
        click.echo(f"Balances there that still differ from ours: {differing} (`python -m bridge inbox breaks`).")


@click.command("accept")
@click.argument("name")
@click.option("--reason", required=True, help="Kept for ever, beside the user of this machine who typed it.")
def accept(name: str, reason: str) -> None:
    """Say that NAME stands for the provider that is configured now, and not for the one that it was."""
    from bridge.desk import switches

    change, marked = switches.accept(opened(), name, reason, actor())
    click.echo(f"{name} was {change.was.words}.")
    click.echo(f"It is {change.now.words}.")
    if not change.held:
        click.echo("Nothing was open or held there.")
        return
    click.echo(f"Transfers into it are closed until every balance there was compared. Marked transfers: {marked}.")
    click.echo("What was sent before is looked up, and neither sent again nor given back while nothing is found.")


@click.command("restored")
@click.option("--reason", default="a person says that a backup was restored", show_default=True)
@click.option("--since", help="Where processes have worked on it already: when it was put in place, RFC 3339. "
              "A refusal that was told later proves nothing. Without it: a minute ago.")  # fmt: skip
def restored(reason: str, since: str | None) -> None:
    """Say that a backup was restored: transfers in and withdrawals close, and nothing is concluded from silence."""
    from bridge import withdrawals
    from bridge.api.intake import instants
    from bridge.desk import switches

    runtime = opened()
    at = None if since is None else instants.past(since, "since", runtime.clock.now())
    done = switches.say_restored(runtime, reason, actor(), at)
    names = ", ".join(done.closed) or "no provider"
    click.echo(f"Closed for transfers in: {names}. Transfers that were not final: {done.marked}.")
    click.echo("The jobs compare every balance and open what agrees; `providers resume` opens by hand.")
    click.echo(f"Withdrawals stay closed until a person opens them: {withdrawals.HOW_TO_OPEN}.")


@click.group("withdrawals", invoke_without_command=True)
@click.pass_context
def withdrawn(context: click.Context) -> None:
    """Whether money can be withdrawn: a restored database closes withdrawals until a person opens them."""
    from bridge import db, withdrawals

    if context.invoked_subcommand is not None:
        return
    with db.reading(opened().engine) as connection:
        found = withdrawals.closed(connection)
    if found is None:
        click.echo("Withdrawals are open.")
    else:
        click.echo(f"Withdrawals are closed since {instant(found.closed_at)} by {found.actor}: {found.reason}")
        click.echo(f"To open them: {withdrawals.HOW_TO_OPEN}.")


@withdrawn.command("open")
@click.option("--reason", required=True, help="What was compared; each operator's audit log keeps it.")
def open_withdrawals(reason: str) -> None:
    """Let money be withdrawn again, after the platform's payouts since the backup were compared with ours."""
    from bridge.desk import switches

    was = switches.open_withdrawals(opened(), reason)
    click.echo(f"Withdrawals are open. They were closed since {instant(was.closed_at)} by {was.actor}: {was.reason}")


def standing(runtime: Runtime, name: str) -> Iterator[tuple[str, str]]:
    """How the gates of a provider stand, in rows for its table."""
    from bridge import db, doctor, gates

    trouble = doctor.database_trouble(runtime)
    if trouble:
        yield "transfers in", f"not known: {trouble}"
        return
    with db.reading(runtime.engine) as connection:
        found = gates.closed(connection, name)
        currencies = runtime.policy(name).exposure_caps
        used = {currency: gates.exposure(connection, name, currency) for currency in currencies}
    for each in found:
        yield "transfers in", f"closed since {instant(each.closed_at)} by {each.actor} ({each.cause}): {each.reason}"
    if not found:
        yield "transfers in", "open"
    for currency, cap in currencies.items():
        yield f"unresolved {currency}", f"{runtime.currencies.format(used[currency], currency)} of at most {cap}"


def actor() -> str:
    """Who typed the command, as this machine knows them."""
    from bridge.runtime import user_name

    return user_name()
