"""`audit`: the seals over what is written for ever, their mirror, and what an inspection of both finds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from bridge.cli.gates import actor
from bridge.cli.shown import counted, instant, opened, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.audit.findings import Report
    from bridge.runtime import Runtime


@click.group()
def audit() -> None:
    """Seals over what is written for ever: how they stand, whether they hold, where they are mirrored."""


@audit.command("status")
def status() -> None:
    """What is sealed, what waits, and how the mirror stands."""
    from bridge import checks, db
    from bridge.audit import standing

    runtime = opened()
    table(("", "what", "found"), [*_sealed(runtime), *_mirror(runtime)])
    with db.reading(runtime.engine) as connection:
        wrong = [standing.trouble(connection, runtime), *(told for _, told in checks.concerns(connection, runtime))]
        late = checks.overdue(connection, runtime, checks.INSPECT)
    if late is not None and not late.early:
        wrong.append(late.sentence)
    if any(wrong):
        click.echo(f"Wrong: {'; '.join(filter(None, wrong))}.")
        sys.exit(1)


@audit.command("verify")
def verify() -> None:
    """Recompute everything that was sealed; one line for each finding, exit code 1 if there is one."""
    if not inspected(opened()):
        sys.exit(1)


@audit.command("begin")
def begin() -> None:
    """Begin the mirror: its first signed line. Done once, when its file and the key have been set."""
    from bridge.audit import mirror

    runtime = opened()
    mirror.begin(runtime, actor())
    click.echo(f"The mirror {runtime.config.audit.mirror_file} has begun.")


@audit.command("accept")
@click.option("--reason", required=True, help="Kept in the mirror, signed, for whoever asks later.")
def accept(reason: str) -> None:
    """Say that what the database holds now counts, after a restore or a finding that was looked at."""
    from bridge.audit import mirror

    line = mirror.accept(opened(), reason, actor())
    click.echo(f"Accepted in line {line.number} of the mirror.")
    click.echo(f"It was otherwise: {line.told['was']}." if line.told["was"] else "It went on from the last line.")


@audit.command("key")
@click.option("--replace", is_flag=True, help="Make another one; the one before is kept beside it.")
def key(replace: bool) -> None:
    """Make the private key that `audit.key_file` names, or tell the public key of the one that is there."""
    from bridge.audit import signing
    from bridge.doctor import configuration
    from bridge.errors import Declined
    from bridge.runtime import Ids

    config = configuration()
    file = config.audit.key_file
    if file is None:
        raise Declined("Set audit.key_file to where the private key is to be.")
    if replace and file.exists():
        before = signing.signer(config)
        assert before is not None
        file.rename(file.with_name(f"{file.name}.{before.name}"))
        click.echo(f"Add the public key of before to audit.public_keys, or its lines are refused: {before.public}")
    found = signing.signer(config) if file.exists() else signing.make(Ids(), file)
    assert found is not None
    click.echo(f"public key {found.public}  (named {found.name} in the mirror)")


def inspected(runtime: Runtime) -> bool:
    """Inspect, tell, and keep the outcome as the job does; whether nothing was found."""
    from bridge.audit import rounds
    from bridge.audit.inspection import inspect

    slot = rounds.take(runtime, runtime.clock.now(), again=True)
    try:
        report = inspect(runtime)
    except BaseException as trouble:  # also where somebody has had enough of waiting
        if slot is not None:
            rounds.break_off(runtime, slot, trouble)
        raise
    if slot is None or not rounds.end(runtime, slot, rounds.outcome_of(report)):
        report.remarks.append("not kept for `/readyz`: another process inspects, or the mirror cannot be read here")
    for finding in report.findings:
        click.echo(str(finding))
    if report.count > len(report.findings):
        click.echo(f"… and {counted(report.count - len(report.findings), 'more finding')}")
    for remark in report.remarks:
        click.echo(f"note: {remark}")
    click.echo(_summary(report))
    return not report.count


def _summary(report: Report) -> str:
    outcome = counted(report.count, "finding") if report.count else "Nothing was changed"
    told = f"{outcome}: {counted(report.entries, 'row')} under {counted(report.seals, 'seal')}"
    return f"{told}, {report.unsealed} not sealed yet."


def _sealed(runtime: Runtime) -> Iterator[tuple[str, str, str]]:
    from bridge import db
    from bridge.audit import chain, standing

    with db.reading(runtime.engine) as connection:
        heads, waiting = chain.heads(connection), list(standing.waiting(connection, runtime))
    for name, (number, hashed) in sorted(heads.items()):
        yield "ok", chain.name_of(name), f"{number} seals, head {hashed}"
    for each in waiting:
        found = f"{each.rows} rows not sealed yet, the oldest of {instant(each.oldest)}"
        yield "bad" if each.late else "ok", each.source.name, found
    if not waiting:
        yield "ok", "waiting", "every row is sealed"


def _mirror(runtime: Runtime) -> Iterator[tuple[str, str, str]]:
    from bridge import db
    from bridge.audit import memory, mirror, signing
    from bridge.errors import Unavailable

    audit = runtime.config.audit
    unseen = "what is cut off at the end, or written anew as a whole, cannot be seen"
    if audit.key_file is None or audit.mirror_file is None:
        missing = "audit.key_file" if audit.key_file is None else "audit.mirror_file"
        yield "note", "mirror", f"not set up ({missing}): {unseen}"
        return
    try:
        signer = signing.signer(runtime.config)
    except Unavailable as wrong:
        yield "bad", "key", wrong.detail
        return
    assert signer is not None
    yield "ok", "key", f"{signer.name}, {len(signing.accepted(runtime.config))} accepted"
    if not mirror.has_begun(runtime):
        yield "note", "mirror", f"not begun (`audit begin`): {unseen}"
    with db.reading(runtime.engine) as connection:
        remembered = memory.remembered(connection)
    for name, known in remembered.items():
        line = f"{name}: line {known.number} of {instant(known.at)}"
        if known.ended:
            yield "note", "mirror", f"{line}, another one was begun in its place"
            continue
        yield ("bad", "mirror", f"{line}, refused since: {known.refused}") if known.refused else ("ok", "mirror", line)
