"""`providers`: what each provider promises, what the engine makes of it, and whether it answers."""

from __future__ import annotations

import sys

import click

from bridge.cli import gates
from bridge.cli.shown import opened, table


@click.group(invoke_without_command=True)
@click.pass_context
def providers(context: click.Context) -> None:
    """The game providers: protocol, timeout contract, limits."""
    if context.invoked_subcommand is None:
        context.invoke(listed)


providers.add_command(gates.pause)
providers.add_command(gates.resume)
providers.add_command(gates.accept)


@providers.command("list")
def listed() -> None:
    """Each provider with its timeout contract in words, its limits, and whether transfers in are closed."""
    from bridge.transfers.core.contract import describe
    from bridge.views import words

    runtime = opened(migrated=False)
    if not runtime.providers:
        click.echo("No provider is configured: add a [providers.NAME] table to bridge.toml.")
    for name, provider in runtime.providers.items():
        policy, promised = runtime.policy(name), provider.descriptor
        click.echo(f"{name}: {promised.protocol} at {policy.base_url}, for operator {policy.operator}")
        click.echo(f"  evidence: {promised.evidence_tag}")
        table(
            ("  situation", "what the engine does"),
            [(f"  {situation}", deed) for situation, deed in describe(promised).items()],
        )
        limits = [*words.limits(policy, promised), *gates.standing(runtime, name)]
        table(("  limit", ""), [(f"  {limit}", value) for limit, value in limits])


@providers.command("check")
@click.argument("name")
@click.option("--player", default="bridge-check", show_default=True, help="Whose balance is asked for.")
def check(name: str, player: str) -> None:
    """Read one balance at NAME, as a transfer would ask for it; no money moves. Exit code 1 if that does not work."""
    from bridge.errors import NotFound
    from bridge.ports import Balance, Window

    runtime = opened(migrated=False)
    if name not in runtime.providers:
        raise NotFound(f"There is no provider {name!r} in the configuration.")
    provider, currency = runtime.providers[name], runtime.policy(name).currencies[0]
    end = runtime.clock.monotonic() + provider.descriptor.lookup_deadline
    answer = provider.balance(player, currency, Window(not_after=end, deadline=end))
    if isinstance(answer, Balance):
        held = runtime.currencies.format(answer.amount, answer.currency)
        click.echo(f"{name} answers: {answer.player} holds {held} {answer.currency} there.")
        return
    click.echo(f"{name} does not answer as it should: {answer.code} {answer.detail}".rstrip() + ".", err=True)
    sys.exit(1)
