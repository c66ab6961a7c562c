"""Switches that people turn, of providers at the desk and of withdrawals at the command line, and who a provider's name
stands for, accepted there: what is changed and the note of who changed it in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, ScalarSelect, Table, case, func, literal, select, update

from bridge import breaks, db, gates, identity, keys, lineage, log, models, players, reasons, withdrawals
from bridge.desk import accesses, sittings
from bridge.desk.rows import PROPOSERS, Person
from bridge.desk.sittings import Sitting
from bridge.errors import NotFound, Stale
from bridge.evidence import Source
from bridge.models.desk import Outcome
from bridge.runtime import Runtime, user_name

_transfer: Table = models.metadata.tables["transfer"]
_attempt: Table = models.metadata.tables["attempt"]
_evidence: Table = models.metadata.tables["evidence"]
_log = log.get("desk")


def pause(runtime: Runtime, sitting: Sitting, provider: str, reason: str) -> None:
    """Close a provider of the person's operator for transfers in, whatever had closed it before; transfers out, and all
    that is under way, go on. Raises Unauthorized, Forbidden, NotFound, Invalid naming the reason."""
    reason = reasons.stated(reason)
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting, *PROPOSERS)
        _require_own(connection, runtime, person, provider)
        before = gates.closed(connection, provider)
        gates.pause_in(connection, runtime, provider, reason, person.login)
        accesses.note(
            connection, runtime, kind="pause provider", outcome=Outcome.DONE, person=person, subject=provider,
            reason=reason, before=_words(before), after="closed for transfers in", address=sitting.address,
        )  # fmt: skip
    _log.warning("provider paused", provider=provider, person=person.id)


def mark(closed: gates.Closed) -> str:
    """What a page shows of a switch, in short: a form that opens it brings it back."""
    return f"{closed.cause} {closed.closed_at}"


def resume(runtime: Runtime, sitting: Sitting, provider: str, reason: str, seen: str) -> None:
    """Open a provider for transfers in, closed as it was shown (`seen`, its mark). Raises as `pause`; NotFound too
    where nothing had closed it, Stale where something else has meanwhile: nobody opens what they did not see."""
    reason = reasons.stated(reason)
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting, *PROPOSERS)
        _require_own(connection, runtime, person, provider)
        was = gates.resume_in(connection, provider)
        if mark(was) != seen:
            raise Stale(f"It was closed otherwise meanwhile: {_words([was])}")
        accesses.note(
            connection, runtime, kind="resume provider", outcome=Outcome.DONE, person=person, subject=provider,
            reason=reason, before=_words([was]), after="open for transfers in", address=sitting.address,
        )  # fmt: skip
    _log.warning("provider resumed", provider=provider, person=person.id, was=was.cause)


def accept(runtime: Runtime, provider: str, reason: str, login: str) -> tuple[identity.Change, int]:
    """Whoever may run commands on the machine says that a provider's name stands for the one that is configured now.

    Where the one before still had something, transfers in are closed until every balance was compared; what is open is
    not driven any more by whoever had it in hand, and is marked (how many): nothing is concluded from silence, of ours
    or of the new one, and what was sent is not sent again. Raises as `identity.accept`, Invalid naming the reason.
    """
    reason = reasons.stated(reason)
    lineage.check(runtime)  # what was forgotten has to be known as such before
    with db.writing(runtime.engine) as connection:
        lineage.stand_alone(connection)
        now, marked = runtime.clock.now(), 0
        change = identity.accept(connection, runtime, provider, reason, login, now)
        if change.held:
            why = f"another provider was accepted under this name: {reason}"
            gates.close_restored(connection, [provider], why, login, now)
            fenced = {"lease_epoch": _transfer.c.lease_epoch + 1, "lease_owner": None}
            mine = update(_transfer).where(_transfer.c.provider == provider, lineage.NOT_FINAL)
            marks = {**lineage.marks(now), "moved_at": _moved_at(now)}
            marked = connection.execute(mine.values({**marks, **fenced})).rowcount
        accesses.note(
            connection, runtime, kind="accept provider", outcome=Outcome.DONE, login=login,
            operator_id=breaks.operator_of(connection, runtime, provider), subject=provider, reason=reason,
            before=f"{change.was.words}; {change.held or 'nothing is open or held there'}", after=change.now.words,
            address=accesses.COMMAND_LINE,
        )  # fmt: skip
    _log.warning("provider accepted", provider=provider, was=change.was.words, now=change.now.words, marked=marked)
    return change, marked


def _moved_at(now: int) -> ColumnElement[int]:
    """Now, or behind all that was sent or ordered before and behind a restore seen before, whatever a clock said."""
    sent, ordered = _last(_attempt.c.sent_at), _last(_evidence.c.at, _evidence.c.source == Source.PERSON.value)
    latest: ColumnElement[int] = literal(now)
    for known in (_transfer.c.first_rewound_at + 1, sent, ordered):
        latest = case((known > latest, known), else_=latest)
    return latest


def _last(column: Column[Any], *which: ColumnElement[bool]) -> ScalarSelect[Any]:
    mine = column.table.c.transfer_id == _transfer.c.id
    return select(func.max(column)).where(mine, *which).scalar_subquery()


def say_restored(runtime: Runtime, reason: str, login: str, since: int | None) -> lineage.Done:
    """Whoever may run commands on the machine says that a backup was restored (`since` then, microseconds), whether or
    not that was noticed. It is noted for each operator, for the money is everybody's. Raises Invalid naming the
    reason."""
    reason = reasons.stated(reason)
    operators = [row["id"] for row in keys.operators(runtime)]

    def note(connection: Connection, done: lineage.Done) -> None:
        closed = f"closed for transfers in: {', '.join(done.closed) or 'nothing'}; and for withdrawals"
        for operator in operators:
            accesses.note(
                connection, runtime, kind="say restored", outcome=Outcome.DONE, operator_id=operator, login=login,
                reason=reason, after=f"{closed}; marked transfers: {done.marked}", address=accesses.COMMAND_LINE,
            )  # fmt: skip

    return lineage.restored(runtime, reason, login, since, note)


def open_withdrawals(runtime: Runtime, reason: str) -> withdrawals.Closed:
    """Open withdrawals, by whoever types it at the machine; what had closed them. It is noted for each operator, for
    the money is everybody's. Raises NotFound where they are open, Invalid naming the reason."""
    reason, user = reasons.stated(reason), user_name()
    operators = [row["id"] for row in keys.operators(runtime)]
    with db.writing(runtime.engine) as connection:
        was = withdrawals.open_in(connection)
        before = f"closed by {was.actor} (restored): {was.reason}"
        for operator in operators:
            accesses.note(
                connection, runtime, kind="open withdrawals", outcome=Outcome.DONE, operator_id=operator, login=user,
                reason=reason, before=before, after="open", address=accesses.COMMAND_LINE,
            )  # fmt: skip
    _log.warning("withdrawals opened", actor=user, reason=reason, was=was.reason)
    return was


def _require_own(connection: Connection, runtime: Runtime, person: Person, provider: str) -> None:
    policy = runtime.config.providers.get(provider)
    if policy is None or policy.operator != players.operator_name(connection, person.operator_id):
        raise NotFound("There is no such provider.")


def _words(closed: Sequence[gates.Closed]) -> str:
    return "; ".join(f"closed by {each.actor} ({each.cause}): {each.reason}" for each in closed) or "open"
