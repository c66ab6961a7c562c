"""`providers`: what each provider promises, what the engine makes of it, and whether it answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from bridge.cli import gates
from bridge.cli.shown import opened, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config import ProviderSection
    from bridge.ports import Descriptor

SECONDS_A_DAY = 86_400


@click.group(invoke_without_command=True)
@click.pass_context
def providers(context: click.Context) -> None:
    """The game providers: protocol, timeout contract, limits."""
    if context.invoked_subcommand is None:
        context.invoke(listed)


providers.add_command(gates.pause)
providers.add_command(gates.resume)


@providers.command("list")
def listed() -> None:
    """Each provider with its timeout contract in words, its limits, and whether transfers in are closed."""
    from bridge.transfers.core.contract import describe

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
        limits = [*_limits(policy, promised), *gates.standing(runtime, name)]
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


def _limits(policy: ProviderSection, promised: Descriptor) -> Iterator[tuple[str, str]]:
    """What bounds a transfer there, in seconds and decimals."""
    from bridge.config import GenericSection

    yield "currencies, decimals on the wire", ", ".join(f"{code} {n}" for code, n in promised.places.items())
    yield "longest player id", str(promised.longest_player_id)
    yield (
        f"{'transfer, cancel' if promised.phases == 1 else 'prepare, complete'}, look-up deadline",
        " s, ".join(
            f"{seconds:g}"
            for seconds in (promised.money_deadline, promised.complete_deadline, promised.lookup_deadline)
        )
        + " s",
    )
    if promised.expiry is not None:
        yield "expiry of what is prepared", f"{promised.expiry:g} s + {promised.expiry_margin:g} s margin"
    if promised.lookup_retention is not None:
        yield "a transfer can be looked up for", f"{promised.lookup_retention / SECONDS_A_DAY:g} days"
    if promised.in_game:
        yield "after a kick, until the balance is read", f"{promised.settle_delay:g} s"
    if promised.partial:
        yield "a part of the whole", "may move, where the answer says so"
    if isinstance(policy, GenericSection):
        yield "callbacks are taken from", ", ".join(map(str, policy.callback_networks)) or "nowhere"
    yield "patience, then orphaned", f"{policy.patience_seconds:g} s"
    yield "beside an unresolved transfer in", policy.lane_policy.value
    yield (
        "breaker opens at",
        (
            f"{policy.breaker_share:.0%} unknown of at least {policy.breaker_least} answers "
            f"in {policy.breaker_window_seconds:g} s"
        ),
    )
