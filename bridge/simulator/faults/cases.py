"""The case table: what protocols.md §6.1 and §6.2 name and a two-phase provider can show, one row each."""

from __future__ import annotations

from dataclasses import dataclass

QTECH, GENERAL = "6.1 QTech", "6.2 One-phase general, as a two-phase provider shows it"
FAULT, ALWAYS, MARKER = "fault", "protocol behaviour: always on", "marker only"

STALE_LIST = 12  # the one case that strikes rows of a list, not a request
ACCEPT = "accept"  # not an operation: the moment after the connection is made, before anything is read
MONEY = ("prepare", "complete")


@dataclass(frozen=True)
class Case:
    """One numbered case.

    `on`: operations it strikes unless a script says otherwise. `pick`: by rate it strikes one of them, by
    seed, not all. `requests`: by rate, how many requests of one transfer it strikes (0: all). `only`:
    CREDIT or DEBIT where the other direction cannot show it. `delay`: default seconds, and `meaning` what
    they mean.
    """

    number: int
    section: str
    title: str
    on: tuple[str, ...] = ()
    pick: bool = False
    requests: int = 1
    only: str = ""
    delay: float = 0.0
    of_expiry: float = 0.0
    meaning: str = "before the answer"
    kind: str = FAULT

    def seconds(self, expiry: float) -> float:
        """The default delay; where the case lives in the expiry's time scale, a fraction of the expiry."""
        return self.of_expiry * expiry if self.of_expiry else self.delay


def _always(number: int, title: str) -> Case:
    return Case(number, QTECH, title, kind=ALWAYS)


CASES = (
    Case(1, QTECH, "executed, answer lost: PENDING there, expires by itself", ("prepare",)),
    Case(2, QTECH, "lost before it reaches the provider", ("prepare",)),
    Case(3, QTECH, "executed, answer lost: the look-up says COMPLETED", ("complete",)),
    Case(
        4,
        QTECH,
        "held on the way until after the expiry: 409, CANCELLED",
        ("complete",),
        delay=0.5,
        meaning="after the expiry",
    ),
    Case(5, QTECH, "held on the way to the very instant of the expiry: one final state", ("complete",)),
    _always(6, "complete again: 200, same body; cancel after COMPLETED: 409"),
    _always(7, "a DEBIT reserves at prepare; the balance drops, cancel or expiry restores it"),
    Case(8, QTECH, "the token dies between prepare and complete: 401 INVALID_TOKEN", ("complete",)),
    Case(
        9,
        QTECH,
        "503 QT_NOT_AVAILABLE on every complete, not executed; it expires",
        ("complete",),
        requests=0,
    ),
    _always(10, "prepared, no complete ever arrives: CANCELLED by expiry"),
    _always(11, "`initiated`, `finalized` in UTC+8 without a zone (in every answer, so not counted)"),
    Case(
        STALE_LIST,
        QTECH,
        "list older than the transfer: old amount, old lastUpdatedDateTime",
        ("balances",),
        requests=0,
        delay=5,
        meaning="old",
    ),
    Case(
        13,
        GENERAL,
        "executed, then reset, close, half a body or silence",
        ("complete",),
        delay=5,
        meaning="of silence",
    ),
    Case(14, GENERAL, "never executed: reset, close or silence", ("complete",), delay=5, meaning="of silence"),
    Case(
        15,
        GENERAL,
        "late commit: connection lost, look-ups say PENDING, executed later",
        ("complete",),
        of_expiry=0.5,
        meaning="until executed",
    ),
    Case(16, GENERAL, "executed, slow answer (params drip, part: byte by byte)", ("complete",), of_expiry=0.99),
    Case(17, GENERAL, "executed, 200 with a garbled body (params body)", ("complete",)),
    Case(18, GENERAL, "500/502/503/504, executed or not (params status, commit)", MONEY, pick=True),
    Case(19, GENERAL, "executed, success with another amount", ("complete",)),
    Case(20, GENERAL, "executed, success for another player or an older transfer", ("complete",)),
    Case(
        26,
        GENERAL,
        "answer lost, then look-ups lie: late, retention or rate (params variant)",
        ("complete",),
        delay=2,
        meaning="from the first look-up",
    ),
    Case(
        28,
        GENERAL,
        "COMPLETED told first, the wallet moves later (params never: not at all)",
        ("complete",),
        of_expiry=0.5,
        meaning="until the wallet moves",
    ),
    Case(29, GENERAL, "balance is stale", ("balance",), requests=0, delay=5, meaning="old"),
    Case(
        30,
        GENERAL,
        "reservations overlooked: concurrent debits both pass, balance negative",
        ("prepare",),
        only="DEBIT",
    ),
    Case(32, GENERAL, "a bet lands before the withdrawal: INSUFFICIENT_FUNDS", ("prepare",), only="DEBIT"),
    Case(
        33,
        GENERAL,
        "withdrawal refused in game: 422 VALIDATION_ERROR until settled",
        ("prepare",),
        only="DEBIT",
        delay=5,
        meaning="for this player",
    ),
    Case(35, GENERAL, "agent credit exhausted: credits refused, 422", ("prepare",), requests=0, only="CREDIT"),
    Case(
        36,
        GENERAL,
        "maintenance for a while: 503 JSON or an HTML page, not executed",
        MONEY,
        pick=True,
        delay=2,
        meaning="for every operation",
    ),
    Case(39, GENERAL, "the token dies early (or is refused once): 401 INVALID_TOKEN", MONEY, pick=True),
    Case(40, GENERAL, "not allow-listed: 403, or a plain socket drop (or a redirect)", MONEY, pick=True),
    Case(41, GENERAL, "429, with or without Retry-After", MONEY, pick=True),
    Case(42, GENERAL, "a player never seen: zero, or 500 UNKNOWN_ERROR", ("balance",)),
    Case(45, GENERAL, "crash points of the bridge itself: a provider has nothing to show", kind=MARKER),
)
BY_NUMBER = {case.number: case for case in CASES}
FAULTS = tuple(case for case in CASES if case.kind == FAULT)


def listing() -> str:
    """The table for people: number, operations, what is shown; grouped by section. `--list` prints it."""
    lines = []
    for section in (QTECH, GENERAL):
        lines.append(f"protocols.md §{section}")
        for case in CASES:
            if case.section == section:
                where = (" or " if case.pick else ", ").join(case.on) or case.kind
                lines.append(f"  {case.number:>2}  [{where}]  {case.title}{_timing(case)}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _timing(case: Case) -> str:
    if case.of_expiry:
        return f" ({case.of_expiry:g} × the expiry {case.meaning})"
    return f" ({case.delay:g} s {case.meaning})" if case.delay else ""
