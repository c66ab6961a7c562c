"""Four eyes: what one person proposes about an orphan, and what others say to it."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from bridge.models.base import RowId, one_of


class ProposalKind(StrEnum):
    """What is proposed: a decision of `transfers`, or to ask the provider again, which moves nothing."""

    CONFIRM = "confirm"
    REVERSE = "reverse"
    SPLIT = "split"
    WRITE_OFF = "write_off"
    CLAW_BACK = "claw_back"
    ASK_AGAIN = "ask_again"


class ProposalState(StrEnum):
    """Open until it is carried out, or ends without effect."""

    OPEN = "open"
    CARRIED_OUT = "carried_out"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    STALE = "stale"
    EXPIRED = "expired"


class Proposal(SQLModel, table=True):
    """What one person proposes about one transfer, frozen as it was seen; a trigger lets only its end change."""

    __table_args__ = (
        one_of("kind", ProposalKind),
        one_of("state", ProposalState),
        CheckConstraint("arrived >= 0 AND returned >= 0", name="parts"),
        CheckConstraint("needs BETWEEN 0 AND 2", name="needs"),
        # What moves money needs another person; asking again does not.
        CheckConstraint("(needs = 0) = (kind = 'ask_again')", name="eyes"),
        CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ended"),
        # What was carried out with money is one decision, and nothing else is one.
        CheckConstraint("(decision_id IS NOT NULL) = (state = 'carried_out' AND kind <> 'ask_again')", name="effect"),
        UniqueConstraint("id", "maker_id"),
        UniqueConstraint("decision_id"),
        Index(None, "transfer_id"),
        Index(None, "operator_id", "state", "created_at"),
        Index(
            "uq_proposal_open",
            "transfer_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )
    id: str = Field(primary_key=True)
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    transfer_id: str = Field(foreign_key="transfer.id")
    kind: str
    arrived: int = Field(sa_type=BigInteger)  # minor units; of a split alone
    returned: int = Field(sa_type=BigInteger)
    reason: str
    maker_id: str = Field(foreign_key="person.id")
    needs: int  # so many checkers
    version: int = Field(sa_type=BigInteger)  # the transfer's, when it was looked at
    seen: str  # digest of everything that matters in what was shown: state, amounts, evidence, postings, the wallet
    postings: str  # what it would post, with balances before and after, JSON, as the maker was shown it
    batch: str | None = None  # proposed together with others
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)
    state: str
    ended_at: int | None = Field(default=None, sa_type=BigInteger)
    ended_why: str | None = None
    decision_id: str | None = Field(default=None, foreign_key="decision.id")


class Verdict(SQLModel, table=True):
    """What another person said to a proposal. The database refuses the maker: `maker_id` is the proposal's own."""

    __table_args__ = (
        CheckConstraint("person_id <> maker_id", name="four_eyes"),
        ForeignKeyConstraint(["proposal_id", "maker_id"], ["proposal.id", "proposal.maker_id"]),
    )
    proposal_id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", primary_key=True)
    maker_id: str
    approves: bool
    reason: str
    at: int = Field(sa_type=BigInteger)
