"""The oracle: judges after every commit and after every line of a provider's ledger, by what the providers did.

Its rules are written from design §3, §4, §7 and `simulation.md`, with code of its own; it asks the bridge for its
rows, through a connection of its own, hears in its log what a provider answered, and at the end has it verify itself.
What breaks first ends the story.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from bridge.config import Config
from jobs.expire import ProposalsFailed
from jobs.seal import TablesFailed
from tests.simulation.announced import Announced
from tests.simulation.database import Simulated
from tests.simulation.grounds import Grounds
from tests.simulation.ledgers import ProviderLedgers, minor
from tests.simulation.meant import effect, is_inward, position
from tests.simulation.room import Room
from tests.simulation.spoken import Spoken
from tests.simulation.told import Told
from tests.simulation.wanted import Wanted
from tests.simulation.world import SECOND, Strand, World

EDGES = {
    (None, "pending"), ("pending", "confirmed"), ("pending", "reversed"), ("pending", "orphaned"),
    ("orphaned", "confirmed"), ("orphaned", "reversed"), ("confirmed", "orphaned"), ("reversed", "orphaned"),
    ("pending", "pending"), ("orphaned", "orphaned"),  # a wish to cancel moves nothing
}  # fmt: skip
FINAL, OPEN = ("confirmed", "reversed"), ("pending", "orphaned")
PENDING_AT_MOST_SECONDS = 3 * 3600
"""Patience, a clock that is set back by an hour, and processes that are paused or killed, with room to spare."""

LOOKED_AT_SECONDS = 14 * 3600
"""The longest wait between two look-ups, likewise."""

_TRANSFERS = """SELECT id, state, version, direction, amount, arrived, written_off, player_id, provider, currency,
    wake_at, idempotency_key, lease_epoch, dust, lease_owner, failures, sweep, cancel_requested_at FROM transfer"""
_COLUMNS = [name.strip() for name in _TRANSFERS.removeprefix("SELECT ").removesuffix(" FROM transfer").split(",")]
_ON_THE_WIRE = """SELECT COUNT(*) FROM attempt WHERE transfer_id = ? AND lease_epoch = ? AND wire_until > ?
    AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.transfer_id = attempt.transfer_id
    AND evidence.ordinal = attempt.ordinal AND evidence.attempt = attempt.attempt AND evidence.source = 'call')"""
_REQUEST = """SELECT leg.transfer_id, leg.ordinal, attempt.attempt, attempt.wire_until,
    attempt.step = 'transfer' AND attempt.attempt > 1 AND leg.undoes IS NULL, transfer.orphan_at
    FROM attempt JOIN leg ON leg.transfer_id = attempt.transfer_id AND leg.ordinal = attempt.ordinal
    JOIN transfer ON transfer.id = leg.transfer_id WHERE attempt.lease_owner = ? AND leg.holder = ?
    AND ? IN (leg.reference, leg.provider_reference) ORDER BY attempt.attempt DESC LIMIT 1"""
_ORDERED = """SELECT leg.transfer_id, COUNT(attempt.attempt), transfer.player_id, transfer.currency, UPPER(leg.side),
    leg.amount FROM leg JOIN transfer ON transfer.id = leg.transfer_id LEFT JOIN attempt
    ON attempt.transfer_id = leg.transfer_id AND attempt.ordinal = leg.ordinal
    AND attempt.step IN ('transfer', 'complete')
    WHERE leg.holder = ? AND leg.reference = ? GROUP BY leg.transfer_id, leg.ordinal"""
_LEGS = """SELECT transfer_id, ordinal, holder, side, undoes, state, amount, reference, provider_reference FROM leg
    WHERE transfer_id = ?"""
_POSTINGS = "SELECT id, transfer_id, debit, credit, amount, currency FROM posting WHERE id > ? ORDER BY id"
_CASE = "SELECT COUNT(*) FROM orphan_case WHERE transfer_id = ? AND state <> 'closed' AND reason <> ''"
_LEFT_OPEN = "SELECT reason FROM orphan_case WHERE transfer_id = ? AND state <> 'closed' AND reason <> 'engine_error'"
_WISHED = "SELECT 1 FROM history WHERE transfer_id = ? AND \"trigger\" = 'wish_cancel'"
_DECIDED = "SELECT 1 FROM decision WHERE transfer_id = ?"
_BORNE = "SELECT 1 FROM decision WHERE transfer_id = ? AND kind = 'write_off'"
_CLOSED = "SELECT closed_at FROM switch WHERE provider = ?"
_HISTORY = """SELECT id, transfer_id, subject, "trigger", source, target FROM history WHERE id > ? ORDER BY id"""


@dataclass(frozen=True)
class Violation:
    """What does not hold: the invariant's name, and the facts."""

    invariant: str
    facts: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.facts}"


@dataclass
class Seen:
    """How far the growing tables have been read, and what they came to."""

    posting: int = 0
    history: int = 0
    evidence: int = 0
    attempt: int = 0
    inbox: int = 0
    postings: int = 0
    turnover: int = 0
    balances: Counter[tuple[str, str]] = field(default_factory=Counter)
    of_transfer: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    states: dict[str, str] = field(default_factory=dict)


class Oracle:
    """Judges one story. `violations` holds what broke; `money_commits` counts commits that left such a row."""

    def __init__(self, world: World, database: Path, ledgers: ProviderLedgers) -> None:
        self.world, self.ledgers = world, ledgers
        self.violations: list[Violation] = []
        self.errors: list[str] = []
        self.money_commits = 0
        self.told = Told(self.ask, self.fail)
        self.wanted = Wanted(self.ask, self.fail, ledgers)
        self.announced = Announced(self.ask, self.fail)
        self._seen = Seen()
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._ended: dict[str, str] = {}  # what has come to which end since it was judged
        self._keys: dict[str, str] = {}
        self._wallets: dict[str, int] = {}  # what each transfer had moved its player's wallet by, last seen
        self._departed: Counter[tuple[str, int, int]] = Counter()
        self.silent: frozenset[str] = frozenset()  # providers of which no callback comes through
        self.clocks_agree: Callable[[], bool] = lambda: True
        self._connection = sqlite3.connect(database, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._raw = self._connection.cursor()
        self._raw.row_factory = None
        self._take_in()

    def heed(self, config: Config, spoken: Spoken) -> None:
        """Judge by what the operator has configured of its providers, and by what they say."""
        self.grounds = Grounds(spoken, self.fail, self.ask, config.providers, config.engine.lease_slack_seconds)
        self.room = Room(self.ask, self.fail, config.providers)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def fail(self, invariant: str, facts: str) -> None:
        """Something does not hold; the story ends here."""
        self.violations.append(Violation(invariant, facts))
        self.world.trace("VIOLATION", f"{invariant}: {facts}")
        self.world.halted = True

    def tripped(self, strand: Strand, error: BaseException | None) -> None:
        """An error ended what a strand was at. The database fails as the story wants; what it refuses beside that, and
        every other error, is our own, and makes no story good."""
        if isinstance(error, TablesFailed | ProposalsFailed):
            return  # each of the failures that these sum up was heard by itself
        if isinstance(error.orig if isinstance(error, DBAPIError) else error, Simulated):
            self.told.tripped(strand)
        else:
            self.errors.append(f"{strand.name}: {error!r}")

    def page_failed(self, error: Exception) -> None:
        """People were shown that something went wrong, where nothing may."""
        assert self.world.current is not None
        self.tripped(self.world.current, error)

    # --- when something has become durable --------------------------------------------------------------

    def committed(self) -> None:
        """A commit of the bridge is durable."""
        before = self._marks()
        changed = self._take_in()
        self.money_commits += self._marks() != before
        self._check_accounts()
        for transfer in changed:
            self._check_transfer(transfer)
        for transfer, state in self._ended.items():
            if not self.ask(_DECIDED, transfer):
                self.grounds.check(self._transfer(transfer), state)
        self._ended.clear()

    def provider_wrote(self, provider: str, line: Mapping[str, Any]) -> None:
        """A line of a provider's ledger is durable."""
        reference = line.get("reference")
        if reference is None or line["kind"] not in ("completed", "taken_back"):
            return
        row = self._raw.execute(_ORDERED, (provider, reference)).fetchone()
        if row is None or row[1] == 0:
            self.fail("I1", f"{provider} moved money under {reference}, which no committed request asked for")
            return
        transfer, _, *ordered, most = row
        told = [line["player"], line["currency"], line["type"]]
        if told != ordered or minor(line["amount"], line["currency"]) > most:
            self.fail("I5", f"{provider} moved {told} {line['amount']} for {transfer}, which is about {ordered} {most}")
        self._check_effect(self._transfer(transfer))

    def sent(self, worker: str, now: int | None, provider: str, name: str) -> None:
        """I1: bytes of a money request leave a worker, by whose clock it is `now`, about a transfer that its provider
        knows by `name`; not after the last instant to which its commit had bound it (design §6: not-after). `now`
        None: its clock was set since, and says nothing about that instant."""
        row = self._raw.execute(_REQUEST, (worker, provider, name)).fetchone()
        if row is None:
            self.fail("I1", f"{worker} asks {provider} to move money under {name}, and has committed no such request")
            return
        transfer, ordinal, attempt, wire_until, is_repeated, orphan_at = row
        self._departed[transfer, ordinal, attempt] += 1
        if self._departed[transfer, ordinal, attempt] > 1:
            self.fail("I1", f"{worker} sent request {attempt} of {transfer} again, as the same one")
        if now is None:
            return
        if now > wire_until:
            late = (now - wire_until) / SECOND
            self.fail("I1", f"{worker} sent a request of {transfer} {late:.1f} s after it had to be over")
        if is_repeated and now > orphan_at:
            self.fail("I1", f"{worker} repeated a request of {transfer} whose patience was spent: it is for people")

    @property
    def begun(self) -> int:
        """How many transfers there are."""
        return len(self._rows)

    # --- asked by others ----------------------------------------------------------------------------------

    def orphaned_at(self, transfer_id: str) -> int:
        """When a transfer was orphaned last, microseconds."""
        query = "SELECT MAX(at) FROM history WHERE transfer_id = ? AND subject = 'transfer' AND target = 'orphaned'"
        return int(self._raw.execute(query, (transfer_id,)).fetchone()[0] or 0)

    def has_open_case(self, transfer_id: str) -> bool:
        """Whether people have a file about it, with a reason in it."""
        return bool(self.ask(_CASE, transfer_id)[0][0])

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database of the bridge holds."""
        return self._raw.execute(query, values).fetchall()

    def balances(self) -> dict[tuple[str, str], int]:
        """(account, currency) -> its balance by postings."""
        return dict(self._seen.balances)

    # --- reading ----------------------------------------------------------------------------------------

    def _marks(self) -> tuple[int, ...]:
        seen = self._seen
        return seen.posting, seen.history, seen.evidence, seen.attempt, seen.inbox

    def _take_in(self) -> list[str]:
        """Read what is new; the ids of transfers that changed."""
        seen, changed = self._seen, dict[str, None]()
        for number, transfer, debit, credit, amount, currency in self._raw.execute(_POSTINGS, (seen.posting,)):
            seen.posting, seen.postings, seen.turnover = number, seen.postings + 1, seen.turnover + amount
            seen.balances[debit, currency] -= amount
            seen.balances[credit, currency] += amount
            if transfer is not None:
                changed[transfer] = None
                seen.of_transfer[transfer][debit] -= amount
                seen.of_transfer[transfer][credit] += amount
        for number, transfer, subject, _trigger, source, target in self._raw.execute(_HISTORY, (seen.history,)):
            seen.history = number
            changed[transfer] = None
            if subject == "transfer":
                self._check_edge(transfer, source, target)
        sizes = "SELECT (SELECT MAX(id) FROM evidence), (SELECT COUNT(*) FROM attempt), (SELECT MAX(id) FROM inbox)"
        evidence, attempt, inbox = self._raw.execute(sizes).fetchone()
        seen.evidence, seen.attempt, seen.inbox = evidence or 0, attempt, inbox or 0
        for row in self._raw.execute(_TRANSFERS):
            before = self._rows.get(row[0])
            if before != row:
                self._rows[row[0]] = row
                changed[row[0]] = None
                if before is None:
                    self._check_beginning(dict(zip(_COLUMNS, row, strict=True)))
                else:
                    self._check_move(dict(zip(_COLUMNS, before, strict=True)), dict(zip(_COLUMNS, row, strict=True)))
        return list(changed)

    def _transfer(self, transfer_id: str) -> dict[str, Any]:
        row = self._connection.execute(f"{_TRANSFERS} WHERE id = ?", (transfer_id,)).fetchone()
        legs = [dict(leg) for leg in self._connection.execute(_LEGS, (transfer_id,))]
        return {**dict(row), "legs": legs}

    def transfers(self) -> Iterator[dict[str, Any]]:
        """Every transfer with its legs."""
        for row in self._connection.execute("SELECT id FROM transfer ORDER BY id").fetchall():
            yield self._transfer(row["id"])

    # --- judging ----------------------------------------------------------------------------------------

    def _check_edge(self, transfer: str, source: str | None, target: str) -> None:
        """I4: only the edges of design §4, each where the last one ended."""
        before = self._seen.states.get(transfer)
        if (source, target) not in EDGES or source != before:
            self.fail("I4", f"{transfer} moved {source} -> {target}, and was {before}")
        self._seen.states[transfer] = target
        if target in FINAL:
            self._ended[transfer] = target

    def _check_beginning(self, row: Mapping[str, Any]) -> None:
        """I7: people who have closed a provider were told that nothing more begins there. I-57: as `room.py` has it."""
        self.room.check(row)
        if is_inward(row) and self.ask(_CLOSED, row["provider"]):
            self.fail("I7", f"{row['id']} was begun into {row['provider']}, which people were told is closed")

    def _check_move(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """I5: becoming an orphan moves no wallet. I17: a lease passes on when it has ended, and as another one."""
        if (before["state"], now["state"]) == ("pending", "orphaned"):
            net = self._seen.of_transfer[now["id"]][f"wallet:{now['player_id']}"]
            if net != (-now["amount"] if is_inward(now) else 0):
                self.fail("I5", f"{now['id']} became an orphan, and has moved the wallet by {net}")
        held, holder = before["lease_owner"], now["lease_owner"]
        if holder is not None and holder != held and now["lease_epoch"] <= before["lease_epoch"]:
            self.fail("I17", f"{holder} drives {now['id']} under the lease that {held or 'another'} had")
        if not self.clocks_agree():
            return
        if None not in (held, holder) and holder != held and self.world.now < before["wake_at"]:
            self.fail("I17", f"{holder} took {now['id']} from {held}, whose lease had not ended")
        if held is not None and holder is None and not now["failures"]:
            which = now["id"], before["lease_epoch"], self.world.now
            if self._raw.execute(_ON_THE_WIRE, which).fetchone()[0]:
                self.fail("I17", f"{held} gave {now['id']} back while a request of it may be on the wire")

    def _check_accounts(self) -> None:
        """I1, I2, I3: the ledger only grows; the cached balances are what it says, and with all else sum to zero."""
        seen = self._seen
        count, turnover = self._raw.execute("SELECT COUNT(*), COALESCE(SUM(amount), 0) FROM posting").fetchone()
        if (count, turnover) != (seen.postings, seen.turnover):
            self.fail("I2", f"{count} postings over {turnover}, where {seen.postings} over {seen.turnover} were made")
        cached = {(a, c): b for a, c, b in self._raw.execute("SELECT account, currency, balance FROM account")}
        sums: Counter[str] = Counter()
        for (_, currency), balance in cached.items():
            sums[currency] += balance
        for (account, currency), balance in seen.balances.items():
            kept = account.startswith(("wallet:", "game:"))
            sums[currency] += 0 if kept else balance
            if kept and cached.get((account, currency)) != balance:
                told = cached.get((account, currency))
                self.fail("I1", f"{account} {currency} is {balance} by its postings and {told} as kept")
            if account.startswith("wallet:") and balance < 0:
                self.fail("I3", f"{account} {currency} is {balance}")
        if any(sums.values()):
            self.fail("I1", f"what the accounts keep, and what was posted to the others, sums to {dict(sums)}")

    def _check_transfer(self, transfer_id: str) -> None:
        row = self._transfer(transfer_id)
        self.wanted.check_transfer(row, self.world.now)
        other = self._keys.get(row["idempotency_key"])
        if other is None:
            other = self._keys[row["idempotency_key"]] = transfer_id
            self.world.after(PENDING_AT_MOST_SECONDS, self._check_patience, transfer_id)
        if other != transfer_id:
            self.fail("I9", f"key {row['idempotency_key']} began {other} and {transfer_id}")
        if self._seen.states.get(transfer_id) != row["state"]:
            told = self._seen.states.get(transfer_id)
            self.fail("I4", f"{transfer_id} is {row['state']}, and its history ends with {told}")
        if row["cancel_requested_at"] is not None and not self.ask(_WISHED, transfer_id):
            self.fail("I4", f"{transfer_id} is wished cancelled, and its history does not say so")
        if row["state"] in OPEN and row["wake_at"] is None:
            self.fail("I8", f"{transfer_id} is {row['state']} and nobody will ever look at it")
        if row["state"] in OPEN and (row["wake_at"] or 0) - self.world.now > LOOKED_AT_SECONDS * SECOND:
            self.fail("I8", f"{transfer_id} is {row['state']} and nobody will look at it for a day")
        if row["state"] == "orphaned" and not self.has_open_case(transfer_id):
            self.fail("I8", f"{transfer_id} is orphaned, and nobody has a file about it that says why")
        if row["state"] in FINAL and (left := self.ask(_LEFT_OPEN, transfer_id)):
            self.fail("I8", f"{transfer_id} is {row['state']}, and people still have a file about it: {left[0][0]}")
        on_the_wire = transfer_id, row["lease_epoch"], row["wake_at"]
        if row["lease_owner"] is not None and self._raw.execute(_ON_THE_WIRE, on_the_wire).fetchone()[0]:
            self.fail("I17", f"{row['lease_owner']} has a request of {transfer_id} that outlasts its lease")
        self._check_wallet(row)
        self._check_position(row)
        self._check_effect(row)

    def _check_patience(self, transfer_id: str) -> None:
        """I8: whatever happens, a transfer does not stay pending."""
        if self._rows[transfer_id][1] == "pending":
            self.fail("I8", f"{transfer_id} is pending {PENDING_AT_MOST_SECONDS // 3600} h after it was begun")

    def _check_wallet(self, row: Mapping[str, Any]) -> None:
        """I5: a transfer takes from the wallet at most once, and gives back or pays at most what it is about."""
        net = self._seen.of_transfer[row["id"]][f"wallet:{row['player_id']}"]
        low, high = (-row["amount"], 0) if row["direction"] == "in" else (0, row["amount"])
        if not low <= net <= high:
            self.fail("I5", f"{row['id']} ({row['direction']} {row['amount']}) has moved the wallet by {net}")
        before, self._wallets[row["id"]] = self._wallets.get(row["id"], net), net
        if row["state"] == "orphaned" and net != before:
            self.fail("I5", f"{row['id']} is an orphan, and has moved the wallet by {net}, where it was {before}")

    def _check_position(self, row: Mapping[str, Any]) -> None:
        """I2: what a transfer has posted is the row of design §7 that its state and facts select."""
        posted = {account: units for account, units in self._seen.of_transfer[row["id"]].items() if units}
        meant = {account: units for account, units in position(row).items() if units}
        if posted != meant:
            self.fail("I2", f"{row['id']} is {row['state']} and has posted {posted}, not {meant}")

    def _check_effect(self, row: Mapping[str, Any]) -> None:
        """I5, I7: what has ended is what the provider's own ledger says; what a provider lied about is named."""
        if row["written_off"] and not self.ask(_BORNE, row["id"]):
            self.fail("I7", f"the house bears {row['written_off']} of {row['id']}, and nobody has decided that")
        if row["state"] not in FINAL or self.ledgers.is_lied_about(row):
            return
        net, meant = self.ledgers.net(row), effect(row)
        if net != meant:
            told = f"{row['id']} ({row['direction']} {row['amount']}) is {row['state']}: {row['provider']} has moved"
            self.fail("I5", f"{told} {net}, not {meant}")
