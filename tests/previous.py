"""A database as the previous version left it, at schema 0002, with transfers open in every state: typed out by hand
from what that version wrote. Nothing here knows today's models; the tables are those that are found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Connection, Engine, MetaData, Table

from bridge.db import connect
from tests.harness import DatabaseSection

SCHEMA = "0002"
SECOND = 1_000_000
WORKER, DIGEST = "old-host/17429/f4a51655", "6613f3671d6f0913b24ae9f4531023e16fbbd4dc28e1e4dbee5a5351ace0ff82"
PLAYER, PROVIDER = "ann", "sim"
TOLD, SILENT = True, False
"""Whether an answer told the transfer's amount, currency, player, side and references."""


@dataclass(frozen=True)
class Story:
    """One transfer. `legs` are (ordinal, holder, side, undoes, state, step); `attempts` (attempt, step); `evidence`
    (ordinal, source, step, attempt, answer, code, told); `history` (version, subject, trigger, source, target, reason,
    which evidence from 1, or 0); `postings` (version, debit, credit)."""

    number: int
    direction: str
    amount: int
    state: str
    version: int
    legs: tuple[tuple[Any, ...], ...]
    attempts: tuple[tuple[int, str], ...] = ()
    evidence: tuple[tuple[Any, ...], ...] = ()
    history: tuple[tuple[Any, ...], ...] = ()
    postings: tuple[tuple[Any, ...], ...] = ()
    reason: tuple[str | None, str | None] = (None, None)
    awake: bool = True
    case: str = ""

    @property
    def id(self) -> str:
        return f"tr_01a207d7{self.number:024x}"

    @property
    def outside(self) -> int:
        """The ordinal of the provider's leg."""
        return 2 if self.direction == "in" else 1

    @property
    def reference(self) -> str:
        return f"{self.id[3:]}{self.outside}"


WALLET_OUT = (1, "wallet", "debit", None, "applied", None)
PAID = (1, "wallet", None, 0, "applied", "", TOLD)
RESERVED = (2, "call", "prepare", 1, "reserved", "PENDING", TOLD)
RESERVED_OUT = (1, "call", "prepare", 1, "reserved", "PENDING", TOLD)
BEGUN_IN = (
    (1, "transfer", "begin", None, "pending", "in", 0),
    (1, "leg 1", "send", "planned", "sent", "embedded wallet", 0),
    (1, "leg 1", "apply", "sent", "applied", "embedded wallet", 1),
    (1, "leg 2", "send", "planned", "sent", "prepare, attempt 1", 0),
)
COMPLETING_IN = (
    (2, "leg 2", "reserve", "sent", "reserved", "the provider holds the prepared half", 2),
    (2, "leg 2", "send", "reserved", "sent", "complete, attempt 2", 0),
)
BEGUN_OUT = (1, "transfer", "begin", None, "pending", "out", 0)
COMPLETING_OUT = (
    (1, "leg 1", "send", "planned", "sent", "prepare, attempt 1", 0),
    (2, "leg 1", "reserve", "sent", "reserved", "the provider holds the prepared half", 1),
    (2, "leg 1", "send", "reserved", "sent", "complete, attempt 2", 0),
)
TWICE = ((1, "prepare"), (2, "complete"))
LOST_IN, LOST_OUT = ((at, "call", "complete", 2, "unknown", "reset", SILENT) for at in (2, 1))
SAID_CANCELLED_IN, SAID_CANCELLED_OUT = ((at, "lookup", None, 0, "cancelled", "CANCELLED", TOLD) for at in (2, 1))
TO_TRANSIT = (1, "wallet:ann", "transit")

CONFIRMED = Story(
    1, "in", 100, "confirmed", 3,
    legs=(WALLET_OUT, (2, "sim", "credit", None, "applied", "complete")),
    attempts=TWICE,
    evidence=(PAID, RESERVED, (2, "call", "complete", 2, "applied", "COMPLETED", TOLD)),
    history=(*BEGUN_IN, *COMPLETING_IN, (3, "leg 2", "apply", "sent", "applied", "call: applied", 3),
             (3, "transfer", "confirm", "pending", "confirmed", "", 3)),
    postings=(TO_TRANSIT, (3, "transit", "game:sim:ann")),
    awake=False,
)  # fmt: skip
COMPLETED_UNHEARD = Story(
    2, "in", 200, "pending", 3,
    legs=(WALLET_OUT, (2, "sim", "credit", None, "sent", "complete")),
    attempts=TWICE,
    evidence=(PAID, RESERVED, LOST_IN),
    history=(*BEGUN_IN, *COMPLETING_IN),
    postings=(TO_TRANSIT,),
)  # fmt: skip
PREPARED_UNHEARD = Story(
    3, "in", 300, "pending", 1,
    legs=(WALLET_OUT, (2, "sim", "credit", None, "sent", "prepare")),
    attempts=TWICE[:1],
    evidence=(PAID,),
    history=BEGUN_IN,
    postings=(TO_TRANSIT,),
)  # fmt: skip
QUEUED_OUT = Story(
    4, "out", 400, "pending", 1,
    legs=((1, "sim", "debit", None, "planned", None), (2, "wallet", "credit", None, "planned", None)),
    history=(BEGUN_OUT,),
)  # fmt: skip
UNHEARD_OUT = Story(
    5, "out", 500, "pending", 3,
    legs=((1, "sim", "debit", None, "sent", "complete"), (2, "wallet", "credit", None, "planned", None)),
    attempts=TWICE,
    evidence=(RESERVED_OUT, LOST_OUT),
    history=(BEGUN_OUT, *COMPLETING_OUT),
)  # fmt: skip
ORPHANED = Story(
    6, "in", 600, "orphaned", 5,
    legs=(WALLET_OUT, (2, "sim", "credit", None, "sent", "complete")),
    attempts=TWICE,
    evidence=(PAID, RESERVED, LOST_IN, (2, "lookup", None, 0, "unknown", "reset", SILENT)),
    history=(*BEGUN_IN, *COMPLETING_IN, (5, "transfer", "orphan", "pending", "orphaned", "unproved", 0),
             (5, "case", "open", None, "open", "unproved", 0)),
    postings=(TO_TRANSIT, (5, "transit", "custody:sim")),
    reason=("unproved", "sent: prepare (reserved PENDING), complete (unknown reset); looked up 1 times"),
    case="unproved",
)  # fmt: skip
REVERSED_OUT = Story(
    7, "out", 700, "reversed", 6,
    legs=((1, "sim", "debit", None, "refused", "complete"), (2, "wallet", "credit", None, "refused", None)),
    attempts=TWICE,
    evidence=(RESERVED_OUT, LOST_OUT, SAID_CANCELLED_OUT, SAID_CANCELLED_OUT, SAID_CANCELLED_OUT),
    history=(BEGUN_OUT, *COMPLETING_OUT, (6, "leg 1", "refuse", "sent", "refused", "lookup: cancelled", 5),
             (6, "transfer", "reverse", "pending", "reversed", "provider_cancelled", 5),
             (6, "leg 2", "refuse", "planned", "refused", "the source kept the amount", 0)),
    reason=("provider_cancelled", "CANCELLED"),
)  # fmt: skip
REVERSED_IN = Story(
    8, "in", 800, "reversed", 6,
    legs=(WALLET_OUT, (2, "sim", "credit", None, "refused", "complete"),
          (3, "wallet", "credit", 1, "applied", None)),
    attempts=TWICE,
    evidence=(PAID, RESERVED, LOST_IN, SAID_CANCELLED_IN, SAID_CANCELLED_IN, SAID_CANCELLED_IN,
              (3, "wallet", None, 0, "applied", "", TOLD)),
    history=(*BEGUN_IN, *COMPLETING_IN, (6, "leg 2", "refuse", "sent", "refused", "lookup: cancelled", 6),
             (6, "transfer", "reverse", "pending", "reversed", "provider_cancelled", 6),
             (6, "leg 3", "send", "planned", "sent", "embedded wallet", 0),
             (6, "leg 3", "apply", "sent", "applied", "embedded wallet", 7)),
    postings=(TO_TRANSIT, (6, "transit", "wallet:ann")),
    reason=("provider_cancelled", "CANCELLED"),
)  # fmt: skip

STORIES = (CONFIRMED, COMPLETED_UNHEARD, PREPARED_UNHEARD, QUEUED_OUT, UNHEARD_OUT, ORPHANED, REVERSED_OUT, REVERSED_IN)
ASKED, SETTLED, PATIENCE = 15, 20, 900
"""Seconds after the begin: the first look-up, the end or the orphan, and when what is unproved is orphaned."""

DEPOSITED, IN_WALLET, IN_GAME = 10_000, 8_800, 100
"""In cents: paid in, then what the postings above leave in the wallet and at the provider."""


def migrate_to(engine: Engine, revision: str) -> None:
    """Bring a database to a revision, as `migrate` does to the newest."""
    alembic = AlembicConfig()
    alembic.set_main_option("script_location", str(Path(__file__).parents[1] / "bridge" / "migrations"))
    with engine.connect() as connection:
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, revision)


@dataclass
class Writer:
    """Writes the rows of the previous version; `theirs`: the provider's id by our reference, `begun_at` in
    microseconds."""

    connection: Connection
    theirs: Mapping[str, str]
    begun_at: int
    tables: dict[str, Table] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = MetaData()
        found.reflect(self.connection)
        self.tables = dict(found.tables)

    def put(self, table: str, **row: Any) -> Any:
        """Insert one row; its id, where the database gives one."""
        statement = self.tables[table].insert().values(**row)
        key = self.tables[table].primary_key.columns
        return self.connection.execute(statement.returning(*key)).one()[0]

    def books(self) -> None:
        """An operator with one player who has paid in 100.00, and everything that happened since."""
        at = self.begun_at
        self.put("operator", name="op", created_at=at)
        self.put("denomination", currency="EUR", exponent=2)
        self.put("player", operator_id=1, player_id=PLAYER, created_at=at)
        for account, balance, version in (("wallet:ann", IN_WALLET, 7), ("game:sim:ann", IN_GAME, 1)):
            row = {"account": account, "currency": "EUR", "balance": balance, "version": version}
            self.put("account", operator_id=1, player_id=PLAYER, **row)
        money = {"amount": DEPOSITED, "currency": "EUR"}
        mine = {"operator_id": 1, "player_id": PLAYER}
        movement = {"id": "cm_01a207d736c174569ecda3c94ea0c59e", "kind": "deposit", "idempotency_key": "cash-1"}
        self.put("cash_movement", **movement, **mine, **money, created_at=at)
        posting = {"version": 1, "debit": "cashier", "credit": "wallet:ann", "credit_version": self.next("wallet:ann")}
        self.put("posting", cash_movement_id=movement["id"], **posting, **mine, **money, at=at)
        for story in STORIES:
            self.story(story)

    def next(self, account: str) -> int | None:
        """The next version of a player's account; none for a system's."""
        if not account.startswith(("wallet:", "game:")):
            return None
        self.versions[account] = self.versions.get(account, 0) + 1
        return self.versions[account]

    def story(self, story: Story) -> None:
        """One transfer with everything that belongs to it."""
        at, ended = self.begun_at, story.state != "pending"
        key = f"key-{story.number}"
        body = {"amount": f"{story.amount // 100}.00", "currency": "EUR", "direction": story.direction,
                "player_id": PLAYER, "provider": PROVIDER}  # fmt: skip
        self.put(
            "idempotency_key", operator_id=1, operation="transfer", key=key, subject_id=story.id, answered=True,
            body=json.dumps(body, separators=(",", ":"), sort_keys=True), created_at=at,
        )  # fmt: skip
        self.put(
            "transfer", id=story.id, operator_id=1, player_id=PLAYER, provider=PROVIDER, direction=story.direction,
            amount=story.amount, currency="EUR", state=story.state, version=story.version, idempotency_key=key,
            reason_code=story.reason[0], reason_detail=story.reason[1], created_at=at,
            updated_at=at + (SETTLED if ended else 1) * SECOND, settled_at=at + SETTLED * SECOND if ended else None,
            orphan_at=at + (SETTLED if story.case else PATIENCE) * SECOND,
            wake_at=at + (SETTLED + 60) * SECOND if story.awake else None, lease_epoch=1, failures=0,
        )  # fmt: skip
        for leg in story.legs:
            self.leg(story, *leg)
        for number, step in story.attempts:
            sent = {"sent_at": at, "wire_until": at + SECOND, "lease_owner": WORKER, "lease_epoch": 1}
            self.put("attempt", transfer_id=story.id, ordinal=story.outside, attempt=number, step=step, **sent)
        proof = {place: self.told(story, place, piece) for place, piece in enumerate(story.evidence, 1)}
        for version, subject, trigger, source, target, reason, piece in story.history:
            move = {"subject": subject, "trigger": trigger, "source": source, "target": target, "reason": reason}
            told = {"evidence_id": proof.get(piece), "actor": WORKER, "lease_epoch": 1, "at": at}
            self.put("history", transfer_id=story.id, version=version, **move, **told)
        for version, debit, credit in story.postings:
            sides = {"debit": debit, "credit": credit, "debit_version": self.next(debit)}
            row = {"version": version, **sides, "credit_version": self.next(credit), "at": at}
            money = {"operator_id": 1, "player_id": PLAYER, "amount": story.amount, "currency": "EUR"}
            self.put("posting", transfer_id=story.id, **row, **money)
        if story.case:
            row = {"id": f"ca_{story.id[3:]}", "transfer_id": story.id, "state": "open", "reason": story.case}
            self.put("orphan_case", **row, opened_at=at + SETTLED * SECOND, version=1)

    def leg(self, story: Story, ordinal: int, holder: str, side: str, undoes: Any, state: str, step: Any) -> None:
        outside = holder == PROVIDER
        heard = outside and any(piece[4] == "reserved" for piece in story.evidence)
        self.put(
            "leg", transfer_id=story.id, ordinal=ordinal, holder=holder, side=side, undoes=undoes, state=state,
            step=step, reference=story.reference if outside else None,
            provider_reference=self.theirs[story.reference] if heard else None,
            unknown_since=self.begun_at if heard and state == "sent" else None,
        )  # fmt: skip

    def told(self, story: Story, place: int, piece: tuple[Any, ...]) -> Any:
        """One piece of evidence, in its place among those of the transfer; its id."""
        ordinal, source, step, attempt, answer, code, told = piece
        outside = ordinal == story.outside
        side = next(leg[2] for leg in story.legs if leg[0] == ordinal)
        terms = {"amount": story.amount, "currency": "EUR", "player": PLAYER, "side": side} if told else {}
        if told and outside:
            terms |= {"reference": story.reference, "provider_reference": self.theirs[story.reference]}
            terms |= {"provider_time": "2026-11-23T17:57:54"}
        return self.put(
            "evidence", transfer_id=story.id, ordinal=ordinal, provider=PROVIDER if outside else None, source=source,
            step=step, attempt=attempt, answer=answer, code=code, detail="", attempt_sensitive=False,
            digest=DIGEST if outside else "", worker=WORKER, lease_epoch=1, **terms,
            at=self.begun_at + (ASKED * SECOND if source == "lookup" else 0) + place * SECOND // 2,
        )  # fmt: skip


def write(url: str, theirs: Mapping[str, str], begun_at: int) -> None:
    """Make the database at `url` what the previous version left behind."""
    engine = connect(DatabaseSection(url=url))
    try:
        migrate_to(engine, SCHEMA)
        with engine.begin() as connection:
            Writer(connection, theirs, begun_at).books()
    finally:
        engine.dispose()
