"""The case tables: what protocols.md §6 names and a provider of each protocol can show, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bridge.simulator.books import CREDIT, DEBIT
from bridge.simulator.faults.garble import AMOUNTS, BODIES

FAULT, ALWAYS, MARKER = "fault", "protocol behaviour: always on", "marker only"

ACCEPT = "accept"  # not an operation: the moment after the connection is made, before anything is read
CALLBACK = "callback"  # not a request either: the provider is about to tell something unasked


@dataclass(frozen=True)
class Case:
    """One numbered case.

    `on`: operations it strikes unless a script says otherwise. `pick`: by rate it strikes one of them, by
    seed, not all. `requests`: by rate, how many requests of one transfer it strikes (0: all). `only`:
    CREDIT or DEBIT where the other direction cannot show it. `rows`: it strikes rows of a list, so that the
    names in a script are those of rows. `delay`: default seconds, and `meaning` what they mean. `variants`
    and `bodies`: what a script may choose.
    """

    number: int
    title: str
    on: tuple[str, ...] = ()
    pick: bool = False
    requests: int = 1
    only: str = ""
    rows: bool = False
    delay: float = 0.0
    of_expiry: float = 0.0
    meaning: str = "before the answer"
    kind: str = FAULT
    variants: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()

    def seconds(self, expiry: float) -> float:
        """The default delay; where the case lives in the expiry's time scale, a fraction of the expiry."""
        return self.of_expiry * expiry if self.of_expiry else self.delay

    @property
    def line(self) -> str:
        """The row for people: number, operations, what is shown."""
        where = (" or " if self.pick else ", ").join(self.on) or self.kind
        return f"  {self.number:>2}  [{where}]  {self.title}{self._timing()}"

    def _timing(self) -> str:
        if self.of_expiry:
            return f" ({self.of_expiry:g} × the expiry {self.meaning})"
        return f" ({self.delay:g} s {self.meaning})" if self.delay else ""


@dataclass(frozen=True)
class Table:
    """All cases of one protocol, by section of protocols.md, and what the protocol can be asked."""

    protocol: str
    operations: tuple[str, ...]
    sections: dict[str, tuple[Case, ...]]

    @cached_property
    def by_number(self) -> dict[int, Case]:
        """Every case."""
        return {case.number: case for cases in self.sections.values() for case in cases}

    @property
    def faults(self) -> tuple[Case, ...]:
        """Those that can be asked for."""
        return tuple(case for case in self.by_number.values() if case.kind == FAULT)


def _always(number: int, title: str) -> Case:
    return Case(number, title, kind=ALWAYS)


CRASH_POINTS = Case(45, "crash points of the bridge itself: a provider has nothing to show", kind=MARKER)
JSON_OR_PAGE = ("json", "html")
ACCESS = ("body", "drop", "redirect")

# --- qtech --------------------------------------------------------------------------------------------

MONEY, P, C = ("prepare", "complete"), ("prepare",), ("complete",)

OF_QTECH = (
    Case(1, "executed, answer lost: PENDING there, expires by itself", P),
    Case(2, "lost before it reaches the provider", P),
    Case(3, "executed, answer lost: the look-up says COMPLETED", C),
    Case(4, "held on the way until after the expiry: 409, CANCELLED", C, delay=0.5, meaning="after the expiry"),
    Case(5, "held on the way to the very instant of the expiry: one final state", C),
    _always(6, "complete again: 200, same body; cancel after COMPLETED: 409"),
    _always(7, "a DEBIT reserves at prepare; the balance drops, cancel or expiry restores it"),
    Case(8, "the token dies between prepare and complete: 401 INVALID_TOKEN", C, variants=("dead", "alive")),
    Case(9, "503 QT_NOT_AVAILABLE on every complete, not executed; it expires", C, requests=0),
    _always(10, "prepared, no complete ever arrives: CANCELLED by expiry"),
    _always(11, "`initiated`, `finalized` in UTC+8 without a zone (in every answer, so not counted)"),
    Case(12, "list older than the transfer: old amount, old lastUpdatedDateTime", ("balances",), requests=0, rows=True,
         delay=5, meaning="old"),
)  # fmt: skip

TWO_PHASE = (
    Case(13, "executed, then reset, close, half a body or silence", C, delay=5, meaning="of silence"),
    Case(14, "never executed: reset, close or silence", C, delay=5, meaning="of silence"),
    Case(15, "late commit: connection lost, look-ups say PENDING, executed later", C, of_expiry=0.5,
         meaning="until executed"),
    Case(16, "executed, slow answer (params drip, part: byte by byte)", C, of_expiry=0.99),
    Case(17, "executed, 200 with a garbled body (params body)", C, bodies=BODIES),
    Case(18, "500/502/503/504, executed or not (params status, commit)", MONEY, pick=True, bodies=JSON_OR_PAGE),
    Case(19, "executed, success with another amount", C, variants=AMOUNTS),
    Case(20, "executed, success for another player or an older transfer", C, variants=("player", "older")),
    _always(21, "prepare again: 201, same id, while PENDING; 409 once it is final"),
    _always(22, "prepare again with other content: 422, or 409 once it is final"),
    Case(26, "answer lost, then look-ups lie: late, retention or rate (params variant)", C, delay=2,
         meaning="from the first look-up", variants=("late", "retention", "rate"), bodies=("missing", "pending")),
    Case(28, "COMPLETED told first, the wallet moves later (params never: not at all)", C, of_expiry=0.5,
         meaning="until the wallet moves"),
    Case(29, "balance is stale", ("balance",), requests=0, delay=5, meaning="old"),
    Case(30, "reservations overlooked: concurrent debits both pass, balance negative", P, only=DEBIT),
    Case(32, "a bet lands before the withdrawal: INSUFFICIENT_FUNDS", P, only=DEBIT),
    Case(33, "withdrawal refused in game: 422 VALIDATION_ERROR until settled", P, only=DEBIT, delay=5,
         meaning="for this player"),
    Case(35, "agent credit exhausted: credits refused, 422", P, requests=0, only=CREDIT),
    Case(36, "maintenance for a while: 503 JSON or an HTML page, not executed", MONEY, pick=True, delay=2,
         meaning="for every operation", bodies=JSON_OR_PAGE),
    Case(39, "the token dies early (or is refused once): 401 INVALID_TOKEN", MONEY, pick=True,
         variants=("dead", "alive")),
    Case(40, "not allow-listed: 403, or a plain socket drop (or a redirect)", MONEY, pick=True, variants=ACCESS),
    Case(41, "429, with or without Retry-After", MONEY, pick=True),
    Case(42, "a player never seen: zero, or 500 UNKNOWN_ERROR", ("balance",), variants=("zero", "error")),
    CRASH_POINTS,
)  # fmt: skip

QTECH = Table(
    "qtech",
    ("token", "revoke", "prepare", "complete", "cancel", "lookup", "balance", "balances"),
    {"6.1 QTech": OF_QTECH, "6.2 One-phase general, as a two-phase provider shows it": TWO_PHASE},
)

# --- generic ------------------------------------------------------------------------------------------

N = ("create",)

ONE_PHASE = (
    Case(13, "executed, then reset, close, half a body or silence", N, delay=5, meaning="of silence"),
    Case(14, "never executed: reset, close or silence", N, delay=5, meaning="of silence"),
    Case(15, "late commit: lost, look-ups say not_found (params body: or pending; another: tell another "
         "transfer), executed later, even if it was cancelled meanwhile (params commit)", N, of_expiry=0.5,
         meaning="until executed", bodies=("missing", "pending", "another")),
    Case(16, "executed, slow answer (params drip, part: byte by byte)", N, of_expiry=0.99),
    Case(17, "executed, 200 with a garbled body (params body)", N, bodies=BODIES),
    Case(18, "500/502/503/504, executed or not (params status, commit)", N, bodies=JSON_OR_PAGE),
    Case(19, "executed, confirmed with another amount", N, variants=AMOUNTS),
    Case(20, "executed, answered for another player or with an older transfer", N, variants=("player", "older")),
    Case(21, "the same id again: executed twice, 409 duplicate (done), 409 in_progress (who knows) or 201; by rate "
         "the first answer is lost and not_found before that", N, variants=("twice", "duplicate", "busy", "created")),
    Case(22, "the same id with another amount: the first transfer is answered, or both are executed", N,
         variants=("first", "executed")),
    Case(23, "a withdrawal again: insufficient_funds, because the first drained the player; by rate as 21", N,
         only=DEBIT),
    Case(24, "a deposit again is a duplicate: shown by 21, variant duplicate", kind=MARKER),
    Case(25, "pending, then confirmed, cancelled, or pending for ever", N, of_expiry=0.5, meaning="of pending",
         variants=("success", "fail", "ever")),
    Case(26, "answer lost, then look-ups lie: late, retention, rate or maintenance; unrecorded (26b): not found for "
         "ever, nor in the feed, though the money moved", N, delay=2, meaning="from the first look-up",
         variants=("late", "retention", "rate", "maintenance", "unrecorded"), bodies=("missing", "pending")),
    Case(27, "refused on record though the money moved; taken back later (params never: not at all; lose: only "
         "look-ups say so)", N, of_expiry=0.5, meaning="until the money is back"),
    Case(28, "confirmed on record first, the wallet moves later (params never: not at all)", N, of_expiry=0.5,
         meaning="until the wallet moves"),
    Case(29, "balance is stale (also the list)", ("balance",), requests=0, delay=5, meaning="old"),
    Case(30, "check then update: a withdrawal passes by an old balance, and it is negative", N, only=DEBIT, delay=1,
         meaning="old"),
    Case(31, "partial: less than requested moves (params amount)", N),
    Case(32, "a bet settles between balance and withdrawal: insufficient_funds", N, only=DEBIT),
    Case(33, "in game: out refused with player_in_game (variant both: in too) until it ends, or a kick has settled "
         "(params settle, 1 s)", N, only=DEBIT, delay=5, meaning="of play", variants=("out", "both")),
    _always(34, "a kick of somebody who does not play: 200, in_game false"),
    Case(35, "agent credit exhausted: in is refused", N, requests=0, only=CREDIT),
    Case(36, "maintenance for a while: 503 JSON or an HTML page, not executed", N, delay=2,
         meaning="for every operation", bodies=JSON_OR_PAGE),
    Case(39, "401 bad_signature though it is right: the secret was exchanged too early (or only this once)", N, delay=1,
         meaning="for every operation", variants=("dead", "alive")),
    Case(40, "not allow-listed: 403, or a plain socket drop (or a redirect)", N, variants=ACCESS),
    Case(41, "429, with or without Retry-After", N),
    Case(42, "a player never seen: zero or 500 for the balance; refused with unknown_player", ("balance", "create"),
         pick=True, variants=("zero", "error")),
    Case(44, "the feed: a row is held back and then appears below later ones, or comes again, or is amended, or all "
         "is behind the time", ("feed",), requests=0, rows=True, delay=2, meaning="held back or behind",
         variants=("behind", "again", "late", "amended")),
    CRASH_POINTS,
)  # fmt: skip

UNASKED = (
    Case(53, "callbacks: duplicate, order (taken back; told in the wrong order), delayed, forged, amount, old "
         "(timestamp), unknown (transfer), opposite (verdict), another (execution's cancel, under this id), twice (at "
         "the same instant), storm, anew (JSON written anew)", (CALLBACK,), delay=2,
         meaning="late, where it is delayed, opposite or another's",
         variants=("duplicate", "order", "delayed", "forged", "amount", "old", "unknown", "opposite", "another",
                   "twice", "storm", "anew")),
)  # fmt: skip

GENERIC = Table(
    "generic",
    ("create", "lookup", "cancel", "balance", "kick", "balances", "feed"),
    {"6.2 One-phase general": ONE_PHASE, "6.5 Generic webhook (ours)": UNASKED},
)

TABLES = {table.protocol: table for table in (QTECH, GENERIC)}


def listing() -> str:
    """Both tables for people. `--list` prints it."""
    lines = []
    for table in TABLES.values():
        for section, cases in table.sections.items():
            lines += [f"{table.protocol}: §{section}", *(case.line for case in cases), ""]
    return "\n".join(lines).rstrip()
