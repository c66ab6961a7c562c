"""The command line: each command one thing, in words; what is expected to go wrong is one sentence and exit
code 2, never a traceback. Only click is imported here: the help has to be there at once."""

from __future__ import annotations

from typing import Any

import click

from bridge.cli import (
    alerts,
    audit,
    database,
    gates,
    inbox,
    pages,
    people,
    providers,
    proving,
    run,
    tenants,
    transfers,
)


class Sentence(click.ClickException):
    """Expected trouble: one sentence on standard error."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """The sentence alone."""
        click.echo(self.message, file=file, err=True)


class Commands(click.Group):
    """The one place where an error that a command may meet becomes a sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as trouble:
            sentence = _expected(trouble)
            if sentence is None:
                raise
            raise Sentence(sentence) from trouble


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """The transfer-wallet bridge. Configured by bridge.toml (or what BRIDGE_CONFIG names) and BRIDGE_… variables."""


for command in (
    run.serve,
    run.up,
    run.demo,
    database.migrate,
    database.verify,
    database.doctor,
    audit.audit,
    providers.providers,
    gates.restored,
    gates.withdrawn,
    inbox.inbox,
    alerts.alerts,
    transfers.transfers,
    tenants.operators,
    tenants.keys,
    people.people,
    pages.diagrams,
    pages.configuration,
    proving.simulate,
):
    main.add_command(command)


def _expected(trouble: Exception) -> str | None:
    """The sentence for an error that is nobody's bug, None for any other."""
    from bridge import db, doctor, errors

    match trouble:
        case doctor.CannotStart():
            return str(trouble)
        case errors.Refusal():
            named = "; ".join(f"{field} {why}" for field, why in trouble.fields.items())
            return f"{trouble.detail.rstrip('.')}: {named}." if named else trouble.detail
        case _ if isinstance(trouble, db.TROUBLE):
            return doctor.database_sentence(trouble)
        case _:
            return None
