"""What a provider promises and what the operator has set for it, in words: for the desk and for the command line."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.config import GenericSection, ProviderSection
from bridge.ports import Cancel, Descriptor, LookupKey, SameId

SECONDS_A_DAY = 86_400

REASONS = {
    "unproved": "nobody could say what became of it",
    "contradiction": "the provider said two things that cannot both be true",
    "mismatch": "the provider told of another amount, currency, player or direction",
    "reference_conflict": "the provider had used its reference before",
    "taken_back": "the provider took it back",
    "wallet_spent": "the wallet does not hold what it would have to give back",
    "partial": "the provider moved a part of it",
    "decided": "people decided",
    "provider_unreachable": "no request reached the provider",
    "provider_unavailable": "no request was sent to the provider",
    "not_completed": "it was prepared and never completed",
    "not_executed": "the provider does not know it",
    "provider_refused": "the provider refused it",
    "provider_cancelled": "the provider cancelled it",
    "cancelled": "it was cancelled",
    "clawed_back": "it was taken out of the game again",
    "balance_moving": "the balance kept moving",
    "nothing_to_move": "there was nothing to move",
    "player_in_game": "the player was in a game",
}
"""Why a transfer is where it is: its code in words."""

DEEDS = {
    "confirm": "to confirm it",
    "reverse": "to reverse it",
    "split": "to split it",
    "write_off": "to write it off",
    "claw_back": "to claw it back",
}
"""What people propose and decide about an orphan, behind "proposed" and "decided"."""


def why(code: str | None) -> str:
    """A reason's code in words; itself where there are none for it."""
    return REASONS.get(code or "", code or "")


def promises(promised: Descriptor) -> Iterator[tuple[str, str]]:
    """What the provider's protocol promises: (what, how)."""
    phases = "one request moves the money" if promised.phases == 1 else "prepared first, moved by a second request"
    yield "a transfer takes", phases
    same = {
        SameId.REPLAY: "answered as the first time: sending it again is safe",
        SameId.UNTIL_FINAL: "answered as the first time, and refused once it is final: sending it again is safe",
        SameId.UNSAFE: "not safe: it is never sent again",
    }
    window = "" if promised.dedupe_window is None else f", for {promised.dedupe_window / SECONDS_A_DAY:g} days"
    yield "the same id again is", same[promised.same_id] + window
    asked = {
        LookupKey.OWN: "our reference",
        LookupKey.PROVIDER: "the provider's own id, once it is known",
        LookupKey.NONE: "nothing: it cannot be asked",
    }
    yield "asked about a transfer by", asked[promised.lookup_key]
    cancel = "yes, where it has not been executed" if promised.cancel is Cancel.YES else "no"
    yield "can be cancelled there", cancel
    yield "tells us unasked", "yes, by signed callbacks" if promised.pushes else "no"
    yield (
        "its refusal, when asked, counts",
        f"{promised.fail_final_after:g} s after the last request, told {promised.fail_final_times} times",
    )
    yield "how well this is known", promised.evidence_tag


def limits(policy: ProviderSection, promised: Descriptor) -> Iterator[tuple[str, str]]:
    """What bounds a transfer there, in seconds and decimals."""
    yield "currencies, decimals on the wire", ", ".join(f"{code} {promised.places[code]}" for code in policy.currencies)
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
