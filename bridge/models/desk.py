"""People at the desk: who they are, what proves it, where they sit, and every access that was made or refused."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, text
from sqlmodel import Field, SQLModel

from bridge.models.base import RowId, one_of


class Role(StrEnum):
    """What a person may do; each may what the one before it may, but an admin decides about no money."""

    VIEWER = "viewer"  # sees everything of the operator
    OPERATOR = "operator"  # proposes, asks again, closes and opens providers, runs and pauses jobs
    APPROVER = "approver"  # proposes, and approves what others proposed
    ADMIN = "admin"  # invites, unlocks, changes roles


class PersonState(StrEnum):
    """Whether a person may come in."""

    INVITED = "invited"
    ACTIVE = "active"
    DISABLED = "disabled"


class InvitationKind(StrEnum):
    """What a link that is used once leads to."""

    JOIN = "join"  # choose a password, enrol a second factor
    RESET = "reset"  # both anew
    UNLOCK = "unlock"  # come in again after too many tries


class Outcome(StrEnum):
    """How something that was tried at the desk ended."""

    DONE = "done"
    REFUSED = "refused"


class Person(SQLModel, table=True):
    """Somebody who works at the desk of one operator. `epoch` counts what ends all sittings: a role, a password, a
    state that changes; a lock ends none."""

    __table_args__ = (
        one_of("role", Role),
        one_of("state", PersonState),
        # An active person has a password and a second factor.
        CheckConstraint("state <> 'active' OR (password_hash IS NOT NULL AND seed IS NOT NULL)", name="factors"),
        CheckConstraint("vouched_by IS NULL OR vouched_by <> id", name="vouched"),
        CheckConstraint("made_by IS NULL OR vouched_by IS NULL OR made_by <> vouched_by", name="four_eyes"),
        Index(None, "operator_id"),
    )
    id: str = Field(primary_key=True)
    operator_id: int = Field(foreign_key="operator.id", sa_type=RowId)
    login: str = Field(unique=True)  # lower case, one for the whole installation
    name: str
    role: str
    state: str
    password_hash: str | None = None
    seed: str | None = None  # of the one-time codes, encrypted
    last_step: int | None = Field(default=None, sa_type=BigInteger)  # a code of this step or before is used up
    failures: int = 0
    failing_since: int | None = Field(default=None, sa_type=BigInteger)
    locked_at: int | None = Field(default=None, sa_type=BigInteger)
    epoch: int = 0
    made_by: str | None = Field(default=None, foreign_key="person.id")  # NULL: by the command line
    vouched_by: str | None = Field(default=None, foreign_key="person.id")
    vouched_at: int | None = Field(default=None, sa_type=BigInteger)
    created_at: int = Field(sa_type=BigInteger)
    changed_at: int = Field(sa_type=BigInteger)


class Invitation(SQLModel, table=True):
    """A link that lets one person in once; kept as its digest."""

    __table_args__ = (one_of("kind", InvitationKind), Index(None, "person_id"))
    digest: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id")
    kind: str
    made_by: str | None = Field(default=None, foreign_key="person.id")
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)
    used_at: int | None = Field(default=None, sa_type=BigInteger)
    withdrawn_at: int | None = Field(default=None, sa_type=BigInteger)


class RecoveryCode(SQLModel, table=True):
    """Instead of a one-time code, once; kept as its digest."""

    __tablename__ = "recovery_code"
    person_id: str = Field(foreign_key="person.id", primary_key=True)
    digest: str = Field(primary_key=True)
    created_at: int = Field(sa_type=BigInteger)
    used_at: int | None = Field(default=None, sa_type=BigInteger)


class Passkey(SQLModel, table=True):
    """A WebAuthn credential of a person."""

    __table_args__ = (Index(None, "person_id"),)
    id: str = Field(primary_key=True)  # the credential's id, base64url
    person_id: str = Field(foreign_key="person.id")
    label: str
    public_key: str  # COSE, base64url
    sign_count: int = Field(sa_type=BigInteger)
    created_at: int = Field(sa_type=BigInteger)
    used_at: int | None = Field(default=None, sa_type=BigInteger)
    removed_at: int | None = Field(default=None, sa_type=BigInteger)


class Challenge(SQLModel, table=True):
    """What was begun and ends once, within minutes: an authenticator has something to sign, or a try by password is
    judged."""

    digest: str = Field(primary_key=True)
    person_id: str | None = Field(default=None, foreign_key="person.id")
    purpose: str
    expires_at: int = Field(sa_type=BigInteger)
    used_at: int | None = Field(default=None, sa_type=BigInteger)


class Sitting(SQLModel, table=True):
    """One person at one browser, from coming in to leaving; found by the digest of the cookie."""

    __table_args__ = (Index(None, "person_id"),)
    digest: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id")
    epoch: int  # the person's, when the sitting began
    began_at: int = Field(sa_type=BigInteger)
    seen_at: int = Field(sa_type=BigInteger)
    proved_at: int = Field(sa_type=BigInteger)  # the last time both factors were shown
    ended_at: int | None = Field(default=None, sa_type=BigInteger)
    failures: int = 0
    address: str


class Doorkeeper(SQLModel, table=True):
    """How often an address, or a login, has knocked: a bucket that fills with time, kept as the instant at which it
    will be full again."""

    __table_args__ = (Index(None, "full_at"),)
    key: str = Field(primary_key=True)
    full_at: int = Field(sa_type=BigInteger)


class AccessNote(SQLModel, table=True):
    """One access, made or refused: who, what, from where; what a person changed, with the value before and after."""

    __tablename__ = "access_note"
    __table_args__ = (
        Index(None, "operator_id", "at"),
        Index(None, "person_id", "at"),
        Index(
            None, "subject", sqlite_where=text("subject IS NOT NULL"), postgresql_where=text("subject IS NOT NULL")
        ),
    )
    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True, autoincrement=True))
    at: int = Field(sa_type=BigInteger)
    operator_id: int | None = Field(default=None, foreign_key="operator.id", sa_type=RowId)
    person_id: str | None = Field(default=None, foreign_key="person.id")
    login: str | None = None  # as it was typed, where nobody is known by it; by command, the user of the machine
    kind: str
    outcome: str  # of Outcome
    subject: str | None = None
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    address: str
