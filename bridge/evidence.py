"""Evidence: the words in which every outside answer is told, and the rules of what a word may mean.

An adapter answers each request with exactly one :class:`Answer`; anything it does not list is UNKNOWN
(design §5). Only `bridge.transfers.core.proof` decides what is proof.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Answer(StrEnum):
    """What one answer says about one effect."""

    APPLIED = "applied"  # the effect is there
    RESERVED = "reserved"  # prepared, nothing moved
    NOT_APPLIED = "not_applied"  # refused, final
    CANCELLED = "cancelled"  # was or would have been applied, taken back, final
    IN_PROGRESS = "in_progress"  # the provider is still at it
    NOT_FOUND = "not_found"  # the provider knows no such reference: proves nothing by itself
    NOT_SENT = "not_sent"  # provably no byte left
    UNKNOWN = "unknown"  # anything else: proves nothing


class Source(StrEnum):
    """Where a piece of evidence comes from."""

    CALL = "call"  # the answer to a money request
    LOOKUP = "lookup"  # the answer to a question about an earlier request
    CALLBACK = "callback"  # a signed message of the provider, from the inbox
    WALLET = "wallet"  # the embedded wallet, in the same transaction
    CONTRACT = "contract"  # a rule of the descriptor whose conditions are met (expiry, never sent)
    PERSON = "person"  # a decision that two people have made
    ASIDE = "aside"  # a balance read or a kick on the way to another try: proves nothing


class Step(StrEnum):
    """The kinds of money request that a leg can have on the wire."""

    TRANSFER = "transfer"  # the one request of a one-phase provider
    PREPARE = "prepare"
    COMPLETE = "complete"
    VOID = "void"


LONGEST_MESSAGE, CUT = 8 * 1024, "…"
"""Characters of each message that are kept for people: what is shorter is whole; what is as long was cut, and ends so.
"""


@dataclass(frozen=True)
class Reply:
    """An adapter's translation of one answer; amounts in minor units, `balance` after the effect.

    A field that the provider did not tell is None; `digest` is the SHA-256 of the raw message. `sequence`
    is the provider's own count of the changes of this transfer, from 1: of two statements the higher is the later.
    `requested`: where only a part moved, the whole that it is a part of, as the provider has it.
    `sent` and `received`: what was said on the wire, for people to read; nothing is decided by them.
    """

    answer: Answer
    code: str = ""
    detail: str = ""
    amount: int | None = None
    currency: str | None = None
    player: str | None = None
    side: str | None = None
    reference: str | None = None
    provider_reference: str | None = None
    provider_time: str | None = None
    balance: int | None = None
    attempt_sensitive: bool = False
    digest: str = ""
    sequence: int | None = None
    requested: int | None = None
    sent: str | None = field(default=None, compare=False, repr=False)
    received: str | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Evidence:
    """One stored reply about one leg: who was asked, at which attempt, and when (microseconds, UTC).

    `watermark`: for a decision of people, the id of the last evidence that they had seen.
    """

    id: int
    ordinal: int
    source: Source
    reply: Reply
    at: int
    step: Step | None = None
    attempt: int = 0
    watermark: int | None = None
