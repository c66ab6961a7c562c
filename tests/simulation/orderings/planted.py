"""Bugs to plant into the bridge, in this process alone: who looks for orderings that break something has to find these.

Each is one change in the source of one function, made anew from its text; a text that does not stand there any more is
an error, so that no bug is planted beside the code that it was meant for.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bridge import cases
from bridge.transfers import advance, begin, drive, ending, resolve, write
from bridge.transfers.core import facts, fold, proof, two_phase
from tests.simulation.orderings import calls
from tests.simulation.orderings.shapes import Shape

IN = Shape("generic", "in", frozenset({"callbacks", "pauses"}))
CLAIMED = Shape("generic", "in", frozenset({"claims", "pauses"}))
TWO, TWO_OUT = (Shape("qtech", direction, frozenset({"wills", "pauses"})) for direction in ("in", "out"))


@dataclass(frozen=True)
class Bug:
    """One wrong line: in the function `name` of each of `owners` (modules or a class) `right` is read as `wrong`; a
    rule whose name is in `breaks` finds it in `shape` within `depth` events."""

    says: str
    owners: tuple[Any, ...]
    name: str
    right: str
    wrong: str
    breaks: tuple[str, ...]
    shape: Shape = IN
    depth: int = 5

    def __str__(self) -> str:
        return self.says


STORING = "if fact is not None and not stored:"
BUGS = (
    Bug("a timeout is read as a refusal", (proof._Told,), "_refused_on_every_attempt",
        "answer.reply.answer not in (Answer.NOT_SENT, Answer.NOT_APPLIED):\n            return []\n"
        "        if answer.reply.answer is Answer.NOT_APPLIED:",
        "answer.reply.answer not in (Answer.NOT_SENT, Answer.NOT_APPLIED, Answer.UNKNOWN):\n            return []\n"
        "        if answer.reply.answer in (Answer.NOT_APPLIED, Answer.UNKNOWN):", ("truth",)),
    Bug("absence is believed at once", (proof._Told,), "_proved_absence",
        "for asked in self._old_lookups(rule.after):",
        "return [e for e in self._lookups(0) if e.reply.answer is Answer.NOT_FOUND]\n"
        "    for asked in ():", ("truth",)),
    Bug("an answer that comes after the end is dropped", (advance,), "within", STORING,
        "if fact is not None and seen.state in (TransferState.REVERSED, TransferState.CONFIRMED):\n"
        "            return seen.state, Outcome(seen)\n        " + STORING, ("evidence",)),
    Bug("an answer under a lease that is gone is dropped", (advance,), "within", STORING,
        "if fact is not None and claim is not None and claim.epoch != seen.lease_epoch:\n"
        "            return seen.state, Outcome(seen)\n        " + STORING, ("evidence",)),
    Bug("the epoch of a lease is not compared", (advance, ending), "decide",
        "claim is not None and claim.epoch == seen.lease_epoch", "claim is not None", ("fence",), CLAIMED, 6),
    Bug("a request may leave after its lease", (advance, begin), "order_for",
        "not_after=min(not_after, deadline), deadline=deadline", "not_after=mono + 9999, deadline=mono + 9999",
        ("fence",)),
    Bug("reversed while a request may be on the wire", (facts.Leg, facts.Transfer), "may_be_on_the_wire",
        "now < self.on_the_wire_until", "False", ("truth", "fence", "once"), depth=6),
    Bug("of two words the one that came last counts, not the one with the higher sequence", (proof,),
        "_cancelled_after", "min(n for n in undone if n is not None) > max(n for n in executed if n is not None)",
        "max(e.id for e in refused) > max(e.id for e in applied)", ("truth", "honest")),
    Bug("a request is sent before it is committed", (write.write.__globals__["rows"],), "insert_attempt",
        "connection.execute(_INSERT_ATTEMPT, row)", "pass", ("intent",)),
    Bug("an orphan is put before nobody", (cases,), "open_for",
        "row = {", "return None\n    row = {", ("watch",), depth=6),
    Bug("a claim is no lease", (resolve,), "_claimed",
        "lease = runtime.in_seconds(runtime.longest_lease)", "lease = runtime.clock.now()",
        ("fence",)),
    Bug("silence after a complete is read as its absence", (two_phase,), "never_completed",
        "leg.effective(Step.COMPLETE) or collided(leg)", "collided(leg)", ("truth",), TWO),
    Bug("a prepared half is taken for the whole", (proof._Told,), "effects",
        "piece.reply.answer is Answer.APPLIED", "piece.reply.answer in (Answer.APPLIED, Answer.RESERVED)",
        ("truth",), TWO),
    Bug("a reversal leaves the amount in transit", (fold,), "position",
        "(whole, Position.NOTHING))\n        case TransferState.PENDING",
        "(whole, Position.TRANSIT))\n        case TransferState.PENDING", ("position",), TWO_OUT),
)  # fmt: skip


FOUND = Bug("a look-up counts from when its answer was brought", (drive, calls), "perform",
    "asked if source is Source.LOOKUP else runtime.clock.now()", "runtime.clock.now()", ("truth",), IN, 11)  # fmt: skip
"""What was found in the bridge: two workers stood still with a "not found" that was older than the execution."""

FOUND_BY = (
    "begin", "worker 1 transfer delayed", "worker 1 look_up answered, stands still", "patience 10 s, end of lease",
    "resolver resolves", "worker 2 look_up answered, stands still", "transfer 1 arrives late",
    "patience 110 s, absence counts", "worker 1 brings not_found", "patience 20 s, absence counts again",
    "worker 1 brings not_found",
)  # fmt: skip


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """With the bug in place; raises LookupError where its text does not stand exactly once."""
    original = inspect.getattr_static(bug.owners[0], bug.name)
    source = textwrap.dedent(inspect.getsource(original))
    if source.count(bug.right) != 1:
        raise LookupError(f"{bug}: {bug.right!r} stands {source.count(bug.right)} times in {bug.name}")
    made: dict[str, Any] = {}
    code = compile(source.replace(bug.right, bug.wrong), f"<{bug}>", "exec")
    exec(code, original.__globals__, made)  # noqa: S102 - our own text, with one line of it changed
    for owner in bug.owners:
        setattr(owner, bug.name, made[bug.name])
    try:
        yield
    finally:
        for owner in bug.owners:
            setattr(owner, bug.name, original)
