"""Transfers as values, for the tests of the pure core: short words for attempts and evidence, and time in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import SECOND, Absence, Cancel, Descriptor, Direction, LookupKey, Reference, SameId, Side
from bridge.transfers.core.contract import Schedule
from bridge.transfers.core.draft import Draft, settle
from bridge.transfers.core.facts import WALLET, Attempt, Leg, Transfer
from statemachines import LegState, TransferState

T0 = 1_800_000_000 * SECOND
"""When every transfer of these tests begins; `at` and `now` below are seconds after it."""

REFERENCE, THEIR_ID = "ref1", "Q1"
PREPARE, COMPLETE, VOID = Step.PREPARE, Step.COMPLETE, Step.VOID
LEASE = 9

# A provider as QTech is described in protocols.md §1.1.
TWO_PHASE = Descriptor(
    protocol="two", evidence_tag="test", phases=2, same_id=SameId.UNTIL_FINAL, dedupe_window=None,
    lookup_key=LookupKey.PROVIDER, lookup_retention=None, absence=None, fail_final_after=12, fail_final_times=2,
    cancel=Cancel.YES, expiry=10, expiry_margin=2, complete_reserve=3, reference=Reference("[a-z0-9]", 34),
    longest_player_id=34, places={"EUR": 2}, money_deadline=4, complete_deadline=4, lookup_deadline=5,
)  # fmt: skip

# The same, but asked by our own reference, and whose "not found" means something in the end.
FORGETFUL = replace(
    TWO_PHASE, lookup_key=LookupKey.OWN, absence=Absence(after=60, times=3, apart=10), lookup_retention=3600
)

SCHEDULE = Schedule(polls=(0, 2, 3, 5, 10, 20), aftercare=(60, 600, 3600))


def at(seconds: float) -> int:
    """An instant, in seconds after the beginning."""
    return T0 + round(seconds * SECOND)


def told(answer: Answer | str, direction: str = "in", **changes: Any) -> Reply:
    """A reply that tells everything, exactly as it was intended, except `changes`."""
    side = Side.CREDIT if direction == "in" else Side.DEBIT
    whole = Reply(
        Answer(answer),
        amount=1000,
        currency="EUR",
        player="ann",
        side=side.value,
        reference=REFERENCE,
        provider_reference=THEIR_ID,
    )
    return replace(whole, **changes)


def called(
    number: int, step: Step, answer: Answer | str, seconds: float = 1, *, id_: int = 0, **changes: Any
) -> Evidence:
    """The direct answer to attempt `number`."""
    reply = changes.pop("reply", None) or told(answer, **changes)
    return Evidence(id_, 2, Source.CALL, reply, at(seconds), step, number)


def looked(answer: Answer | str, seconds: float = 1, *, id_: int = 0, **changes: Any) -> Evidence:
    """The answer to a look-up."""
    return Evidence(id_, 2, Source.LOOKUP, told(answer, **changes), at(seconds))


def attempt(number: int, step: Step, seconds: float = 0, wire: float = LEASE) -> Attempt:
    """Attempt `number`, sent at a second, under a lease of `wire` seconds."""
    return Attempt(number, step, at(seconds), at(seconds + wire))


def transfer(
    attempts: Iterable[Attempt] = (),
    evidence: Iterable[Evidence] = (),
    *,
    direction: str = "in",
    state: str = "pending",
    leg: str | None = None,
    their_id: str | None = None,
    **changes: Any,
) -> Transfer:
    """A transfer of 10.00 EUR whose outside leg has these attempts and this evidence."""
    inward, tried = direction == "in", tuple(attempts)
    wallet_state = LegState.APPLIED if inward else LegState.PLANNED
    inside = Leg(1 if inward else 2, WALLET, Side.DEBIT if inward else Side.CREDIT, wallet_state, 1000)
    leg_state = LegState(leg) if leg else (LegState.SENT if tried else LegState.PLANNED)
    outside = Leg(
        2 if inward else 1, "two", Side.CREDIT if inward else Side.DEBIT, leg_state, 1000,
            step=tried[-1].step if tried else None,
        reference=REFERENCE, provider_reference=their_id, attempts=tried, evidence=numbered(evidence,
            2 if inward else 1),
    )  # fmt: skip
    return replace(
        Transfer(
            id="tr_1", operator_id=1, player="ann", provider="two", direction=Direction(direction), amount=1000,
            currency="EUR", state=TransferState(state), version=1, created_at=T0, orphan_at=at(900), lease_epoch=1,
            legs=(inside, outside) if inward else (outside, inside),
        ),
        **changes,
    )  # fmt: skip


def numbered(evidence: Iterable[Evidence], ordinal: int) -> tuple[Evidence, ...]:
    """With row ids in the order of arrival, unless a piece brings its own."""
    return tuple(replace(e, id=e.id or n, ordinal=ordinal) for n, e in enumerate(evidence, 1))


def arrive(
    seen: Transfer, piece: Evidence, *, now: int | None = None, holding: bool = False, by: Descriptor = TWO_PHASE
) -> Draft:
    """One piece of evidence arrives and is folded, as `advance` does it; `now` is when it was observed, if not told."""
    outside = seen.outside
    outside = replace(outside, evidence=(*outside.evidence, replace(piece, ordinal=outside.ordinal)))
    legs = tuple(outside if leg.ordinal == outside.ordinal else leg for leg in seen.legs)
    draft = Draft(replace(seen, legs=legs))
    settle(draft, by, piece.at if now is None else now, may_conclude=holding)
    return draft
