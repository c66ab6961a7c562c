"""Switches that people turn, of providers at the desk and of withdrawals at the command line: the switch and the note
of who turned it in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from bridge import db, gates, keys, log, players, reasons, withdrawals
from bridge.desk import accesses, sittings
from bridge.desk.rows import PROPOSERS, Person
from bridge.desk.sittings import Sitting
from bridge.errors import NotFound, Stale
from bridge.models.desk import Outcome
from bridge.runtime import Runtime, user_name

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
