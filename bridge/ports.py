"""The ports: what the engine needs from the world outside, as values and protocols.

A provider is a :class:`Descriptor` (what it promises, a table of facts) and a :class:`Provider` (four
money and look-up calls that translate, nothing else). From the descriptor the engine derives the
timeout contract; nothing in the engine knows a protocol's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from bridge.evidence import Reply, Step

SECOND = 1_000_000
"""Microseconds: the unit of every instant (`at`, UTC since 1970) and of every stored duration."""


WALLET = "wallet"
"""The holder of the operator's side of a transfer; every other holder is a provider's name."""


class Direction(StrEnum):
    """Seen from the operator's wallet's owner: into the game, or out of it."""

    IN = "in"
    OUT = "out"


class Side(StrEnum):
    """What a leg does to its holder."""

    DEBIT = "debit"
    CREDIT = "credit"


class SameId(StrEnum):
    """What the provider does with a repeated reference (protocols.md §0.4)."""

    REPLAY = "replay"  # answers the original result again, whatever it was: a retry is safe
    UNTIL_FINAL = "until_final"  # so, until it is final; from then on it is refused, for whatever reason comes first
    UNSAFE = "unsafe"  # may execute again, or tells nothing: never retried


class LookupKey(StrEnum):
    """By whose id the provider can be asked about a transfer."""

    OWN = "own"
    PROVIDER = "provider"
    NONE = "none"


class Cancel(StrEnum):
    """Whether an unfinished transfer can be taken back at the provider."""

    YES = "yes"
    NO = "no"


class LanePolicy(StrEnum):
    """What a new transfer *in* may do while another on its lane (player + provider) is unresolved."""

    BLOCK = "block"
    OPPOSITE = "opposite"  # only beside unresolved transfers of the other direction
    ALLOW = "allow"


@dataclass(frozen=True)
class Absence:
    """When "not found" proves absence: `after` seconds since the last lease that could have sent, seen
    `times` times, `apart` seconds from one to the next, all inside the look-up retention (design §5)."""

    after: float
    times: int
    apart: float


@dataclass(frozen=True)
class Reference:
    """The shape of a reference that the provider accepts."""

    alphabet: str
    longest: int


@dataclass(frozen=True)
class Descriptor:
    """What a provider promises; durations in seconds. The capability vector of protocols.md §3.3."""

    protocol: str
    evidence_tag: str  # how well the facts are documented (protocols.md, head)
    phases: int
    same_id: SameId
    dedupe_window: float | None  # how long a repeated id is recognised, from the first send; None: for ever
    lookup_key: LookupKey
    lookup_retention: float | None  # None: not stated, taken as unlimited only for positive answers
    absence: Absence | None  # None: "not found" never proves anything
    fail_final_after: float  # a negative look-up is proof only when older than this...
    fail_final_times: int  # ...and seen this many times
    cancel: Cancel
    expiry: float | None  # a prepared transfer that is not completed dies by itself after this
    expiry_margin: float  # added to the expiry before anything is concluded from it
    complete_reserve: float  # a complete is not sent with less than this left before the expiry
    reference: Reference
    longest_player_id: int
    places: Mapping[str, int]  # decimals on the wire per known currency; what moves is configured
    money_deadline: float  # total deadline of a prepare, or of a one-phase transfer
    complete_deadline: float  # total deadline of a complete or a void
    lookup_deadline: float  # total deadline of a look-up or a balance read
    partial: bool = False  # may apply less than the whole, and say so
    pushes: bool = False  # may send callbacks
    insufficient: frozenset[str] = frozenset()  # codes of a refusal because the balance is too small
    in_game: frozenset[str] = frozenset()  # codes of a refusal because the player is in a game
    settle_delay: float = 0  # after a kick, until the balance stands still

    @property
    def never_twice(self) -> bool:
        """Whether one reference is executed once at most, however often and late it is sent."""
        return self.same_id is not SameId.UNSAFE and self.dedupe_window is None


@dataclass(frozen=True)
class Effect:
    """One outside effect, exactly as committed: what to do for whom, under which reference."""

    reference: str
    provider_reference: str | None
    side: Side
    player: str
    amount: int
    currency: str


@dataclass(frozen=True)
class Window:
    """When a request may leave and when it must be over, on the monotonic clock, in seconds.

    `not_after` is checked right before the bytes are written: a worker that was paused past it does
    not send. `deadline` bounds the whole exchange, headers and body included.
    """

    not_after: float
    deadline: float


@dataclass(frozen=True)
class Balance:
    """What a provider says a player owns there, in minor units; `as_of` in the provider's own words."""

    player: str
    currency: str
    amount: int
    as_of: str | None = None


class Malformed(ValueError):
    """A signed message lacks something, or holds what it must not: `field`, and what is wrong with it."""

    def __init__(self, field: str, why: str) -> None:
        self.field, self.why = field, why
        super().__init__(f"{field} {why}")


class Provider(Protocol):
    """An adapter: translates each request and each answer, never raises for a provider's trouble,
    never retries, keeps no transfer state."""

    name: str
    descriptor: Descriptor

    def refuses(self, amount: int, currency: str) -> str | None:
        """Why an amount (minor units) cannot be told to the provider exactly; None if it can."""

    def money(self, step: Step, effect: Effect, window: Window) -> Reply:
        """Send one money request: prepare, complete or void."""

    def look_up(self, effect: Effect, window: Window) -> Reply:
        """Ask what became of an effect; its answer is evidence, its failure is none."""

    def balance(self, player: str, currency: str, window: Window) -> Balance | Reply:
        """Read one balance; a Reply says why there is none."""

    def kick(self, player: str, window: Window) -> Reply:
        """End the player's game, so that the balance stands still; code `kicked` when nobody plays now."""

    def heard(self, kind: str, content: Mapping[str, Any], digest: str) -> Reply | Balance | None:
        """Translate a signed callback of this kind; None for a kind that says nothing to us. Raises Malformed."""

    def answers(self, window: Window) -> bool:
        """Whether it answers a question at all, whatever the answer holds: how an open breaker is probed."""

    def balances(self, currency: str, window: Window, after: str | None = None) -> BalancePage | Reply:
        """Read one page of all players' balances after the cursor `after`."""


@dataclass(frozen=True)
class BalancePage:
    """One page of a balance list; `cursor` is None on the last one."""

    balances: tuple[Balance, ...]
    cursor: str | None
