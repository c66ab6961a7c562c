"""The last judgement of a story: what must hold once the world has healed, and when everything rests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.audit.findings import Kind
from bridge.audit.inspection import inspect
from bridge.verify import verify
from tests.simulation.node import Bridge
from tests.simulation.oracle import Oracle
from tests.simulation.settings import CURRENCIES, HEAL_SECONDS, PLAYERS, PROTOCOLS
from tests.simulation.spoken import is_counted_after
from tests.simulation.world import SECOND

_DECIDED = "SELECT COALESCE(MAX(id), 0) FROM evidence WHERE transfer_id = ? AND source = 'person'"
_SAID = """SELECT leg.ordinal, evidence.answer, evidence.provider_reference, evidence.sequence, evidence.id > ?3
    FROM evidence JOIN leg ON leg.transfer_id = evidence.transfer_id AND leg.ordinal = evidence.ordinal
    WHERE evidence.transfer_id = ?1 AND leg.undoes IS NULL AND evidence.answer IN ('applied', 'cancelled')
    AND evidence.source IN ('call', 'lookup', 'callback') AND evidence.reference = leg.reference
    AND evidence.amount = leg.amount AND evidence.player = ?2 ORDER BY evidence.id"""
_ONE_VOICE = """SELECT 1 FROM leg WHERE transfer_id = ?1 AND undoes IS NULL AND holder <> 'wallet'
    AND EXISTS (SELECT 1 FROM evidence WHERE evidence.transfer_id = leg.transfer_id AND evidence.ordinal = leg.ordinal
        AND answer = 'applied' AND source IN ('call', 'lookup', 'callback') AND evidence.reference = leg.reference
        AND evidence.amount = leg.amount AND evidence.player = ?2)
    AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.transfer_id = leg.transfer_id
        AND (answer IN ('not_applied', 'cancelled') OR amount <> leg.amount OR player <> ?2
        OR evidence.reference <> leg.reference))
    AND NOT EXISTS (SELECT 1 FROM history JOIN evidence ON evidence.id = history.evidence_id
        WHERE history.transfer_id = ?1 AND target = 'reversed' AND answer = 'not_found')"""
_REFUSED = """SELECT 1 FROM leg WHERE transfer_id = ?1 AND ordinal = (SELECT MAX(ordinal) FROM leg AS last
        WHERE last.transfer_id = ?1 AND last.undoes IS NULL AND last.holder <> 'wallet')
    AND 1 = (SELECT COUNT(*) FROM attempt WHERE attempt.transfer_id = ?1 AND attempt.ordinal = leg.ordinal)
    AND EXISTS (SELECT 1 FROM evidence WHERE evidence.transfer_id = ?1 AND evidence.ordinal = leg.ordinal
        AND answer = 'not_applied' AND source = 'call')
    AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.transfer_id = ?1 AND evidence.ordinal = leg.ordinal
        AND (answer NOT IN ('not_applied', 'not_found', 'cancelled') OR amount <> leg.amount OR player <> ?2
        OR evidence.reference <> leg.reference))"""
_REOPENED = """SELECT 1 FROM decision WHERE transfer_id = ?1 AND kind <> 'claw_back'
    AND decided_at = (SELECT MAX(decided_at) FROM decision WHERE transfer_id = ?1)
    AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.transfer_id = ?1 AND evidence.id > ?2
        AND source IN ('call', 'lookup', 'callback') AND answer IN ('applied', 'cancelled', 'not_applied', 'reserved')
        AND NOT EXISTS (SELECT 1 FROM evidence AS known WHERE known.transfer_id = ?1 AND known.id < ?2
            AND known.ordinal = evidence.ordinal AND known.source = evidence.source AND known.answer = evidence.answer
            AND (known.amount, known.currency, known.player, known.side, known.sequence, known.reference)
            IS (evidence.amount, evidence.currency, evidence.player, evidence.side, evidence.sequence,
                evidence.reference) AND known.provider_reference IS evidence.provider_reference))"""
_ORDERED = """SELECT 1 FROM decision WHERE transfer_id = ?1 AND kind = 'claw_back' AND decided_at < ?2
    AND NOT EXISTS (SELECT 1 FROM leg JOIN attempt ON attempt.transfer_id = leg.transfer_id
        AND attempt.ordinal = leg.ordinal WHERE leg.transfer_id = ?1 AND leg.undoes IS NOT NULL)"""
_TAKEN_BACK = """SELECT 1 FROM leg JOIN evidence ON evidence.transfer_id = leg.transfer_id
    AND evidence.ordinal = leg.ordinal WHERE leg.transfer_id = ?1 AND leg.undoes IS NOT NULL
    AND leg.holder <> 'wallet' AND evidence.answer = 'applied' AND evidence.source IN ('call', 'lookup', 'callback')
    AND evidence.reference = leg.reference AND evidence.amount = leg.amount AND evidence.player = ?2
    AND NOT EXISTS (SELECT 1 FROM evidence AS undone WHERE undone.transfer_id = leg.transfer_id
        AND undone.ordinal = leg.ordinal AND undone.answer = 'cancelled')
    AND NOT EXISTS (SELECT 1 FROM evidence AS otherwise JOIN transfer ON transfer.id = otherwise.transfer_id
        WHERE otherwise.transfer_id = leg.transfer_id AND otherwise.ordinal = leg.ordinal
        AND otherwise.answer = 'applied' AND otherwise.reference = leg.reference
        AND (otherwise.amount <> leg.amount OR otherwise.player <> transfer.player_id
            OR otherwise.side <> leg.side OR otherwise.currency <> transfer.currency))
    AND 'claw_back' = (SELECT kind FROM decision WHERE decision.transfer_id = ?1 ORDER BY decided_at DESC LIMIT 1)"""
_OVERDUE = "SELECT id, state FROM transfer WHERE wake_at < ?"
_UNNUMBERED = "SELECT transfer_id, state FROM outbox WHERE at < ?"
OVERDUE_SECONDS = 3600
_CHAINED = "SELECT content FROM seal WHERE source = ? AND chain >= 0"
SEALED = ("posting", "evidence", "history")
_UNHEARD = """SELECT inbox.message_id, leg.transfer_id FROM inbox JOIN leg ON leg.holder = inbox.provider
    AND leg.reference = inbox.reference WHERE inbox.received_at < ? AND inbox.kind LIKE 'transfer.%'
    AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.inbox_id = inbox.id)"""
_KEY_OF_NOTHING = """SELECT operation, key FROM idempotency_key
    WHERE operation IN ('transfer', 'deposit', 'withdrawal') AND (subject_id IS NOT NULL OR status IS NULL)
    AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.id = subject_id)
    AND NOT EXISTS (SELECT 1 FROM cash_movement WHERE cash_movement.id = subject_id)"""


_POSTED_ONCE = """SELECT id FROM cash_movement WHERE 1 <> (SELECT COUNT(*) FROM posting
    WHERE posting.cash_movement_id = cash_movement.id AND posting.amount = cash_movement.amount
    AND (kind = 'deposit') = (posting.credit = 'wallet:' || cash_movement.player_id))"""


@dataclass(frozen=True)
class Said:
    """A word of a provider about one try of a transfer, done or cancelled, as the bridge has noted it. `is_new`: after
    people had decided."""

    ordinal: int
    answer: str
    provider_id: str | None
    sequence: int | None
    is_new: int

    @property
    def execution(self) -> tuple[int, str | None]:
        """What it is about: each id of the provider's own is an execution with a count for itself."""
        return self.ordinal, self.provider_id


def check_healed(oracle: Oracle) -> None:
    """I8: fifteen minutes after the last fault nothing is pending; an orphan still has its file."""
    for row in oracle.transfers():
        if row["state"] == "pending":
            oracle.fail("I8", f"{row['id']} is pending long after the last fault")
        if row["state"] == "orphaned" and not oracle.has_open_case(row["id"]):
            oracle.fail("I8", f"{row['id']} is orphaned, and nobody has a file about it any more")


def check_ending(oracle: Oracle, bridges: list[Bridge], *, sealed: bool) -> None:
    """I5, I6, I7: at rest every cent is where the provider's own ledger says, but for what is named. I12: nothing was
    changed that was sealed, and where it was the jobs' turn to seal (`sealed`), they have."""
    rows = list(oracle.transfers())
    named: dict[tuple[str, str, str], int] = {}
    for row in rows:
        lane = row["provider"], row["player_id"], row["currency"]
        open_for = row["amount"] if row["state"] not in ("confirmed", "reversed") else 0
        named[lane] = named.get(lane, 0) + max(oracle.ledgers.lied_about(row), open_for)
        _check_words(oracle, row)
    balances = oracle.balances()
    for provider in PROTOCOLS:
        for player in PLAYERS:
            for currency in CURRENCIES:
                lane = provider, player, currency
                ours = balances.get((f"game:{provider}:{player}", currency), 0)
                theirs = oracle.ledgers.moved_by_transfers(*lane)
                if abs(ours - theirs) > named.get(lane, 0):
                    oracle.fail("I6", f"{player} holds {theirs} {currency} at {provider} by transfers; we say {ours}")
    for (movement,) in oracle.ask(_POSTED_ONCE):
        oracle.fail("I5", f"{movement} is noted, and not posted once as it says")
    oracle.told.check()
    oracle.wanted.check_cash()
    oracle.announced.check({row["id"]: row for row in rows})
    _check_diligence(oracle)
    _check_messages(oracle)
    if sealed:
        _check_seals(oracle)
    _verify(oracle, bridges, sealed=sealed)


def _check_words(oracle: Oracle, row: Mapping[str, Any]) -> None:
    """I5, I7, I8: what has been proved is carried out, what people have decided likewise; and what a provider says for
    the first time after they decided counts again (design §5)."""
    transfer, provider, state = row["id"], row["provider"], row["state"]
    decided = int(oracle.ask(_DECIDED, transfer)[0][0])
    words = _last_words(oracle, row, decided)
    if state == "orphaned" and not decided and not _has_it_back(row) and _is_proved(oracle, row):
        oracle.fail("I8", f"{transfer} is orphaned, and {provider} has said that it was done, no more")
    if state == "orphaned" and not decided and _is_refused(oracle, row):
        oracle.fail("I8", f"{transfer} is orphaned, and {provider} has refused it, no more")
    if state == "orphaned" and decided and not words:
        _check_order(oracle, row)
    if state == "orphaned" and decided and oracle.ask(_REOPENED, transfer, decided):
        oracle.fail("I8", f"{transfer} was decided, is orphaned again, and {provider} has said nothing new")
    told = "cancelled" in words or (not decided and provider not in oracle.silent)
    if state == "confirmed" and oracle.ledgers.is_undone(row) and told:
        oracle.fail("I5", f"{transfer} is confirmed, and the provider has taken it back and said so")
    if state == "reversed" and "applied" in words:
        oracle.fail("I7", f"{transfer} is reversed, and the last word of {provider} is that it was done")


def _check_order(oracle: Oracle, row: Mapping[str, Any]) -> None:
    """I8: what people order to be taken back is asked for; where it was given back, nothing else was told of that than
    was ordered, and people have not decided otherwise meanwhile, the transfer has ended."""
    if oracle.ask(_ORDERED, row["id"], oracle.world.now - OVERDUE_SECONDS * SECOND):
        oracle.fail("I8", f"people ordered {row['id']} taken back an hour ago, and nobody has asked for it")
    if oracle.ledgers.net(row) == 0 and oracle.ask(_TAKEN_BACK, row["id"], row["player_id"]):
        oracle.fail("I8", f"{row['id']} was taken back as people ordered, {row['provider']} said so, and it is open")


def _has_it_back(row: Mapping[str, Any]) -> bool:
    """Whether the wallet was given back what had left it. Should the game have it too, both do, and it is for people
    which of them gives it up (design §7), however well the arrival is proved."""
    moved = [leg for leg in row["legs"] if leg["holder"] == "wallet" and leg["state"] == "applied"]
    net = sum(leg["amount"] * (1 if leg["side"] == "credit" else -1) for leg in moved)
    return row["direction"] == "in" and bool(moved) and net == 0


def _is_proved(oracle: Oracle, row: Mapping[str, Any]) -> bool:
    """Whether the whole was done, and all that was ever said of it says so. Who was not found until it was reversed
    (`grounds.py` judges on what) has been told of in two voices."""
    return abs(oracle.ledgers.net(row)) == row["amount"] and bool(oracle.ask(_ONE_VOICE, row["id"], row["player_id"]))


def _is_refused(oracle: Oracle, row: Mapping[str, Any]) -> bool:
    """Whether it was asked for once and refused, nothing was done, and all that was ever said of it agrees."""
    return oracle.ledgers.net(row) == 0 and bool(oracle.ask(_REFUSED, row["id"], row["player_id"]))


def _check_diligence(oracle: Oracle) -> None:
    """I8: whatever was to be looked at has been, also what has ended; and what it came to has its number."""
    since = oracle.world.now - OVERDUE_SECONDS * SECOND
    for transfer, state in oracle.ask(_OVERDUE, since):
        oracle.fail("I8", f"{transfer} is {state}, was to be looked at an hour ago, and nobody has")
    for transfer, state in oracle.ask(_UNNUMBERED, since):
        oracle.fail("I8", f"{transfer} was {state} an hour ago, and no event tells of it")


def _last_words(oracle: Oracle, row: Mapping[str, Any], since: int) -> set[str]:
    """What the provider said last, by its own count, of each execution of what was asked of it: done or cancelled. Of
    what people have decided (`since`: their piece of evidence), only what it had not said before of this same
    execution: what it told of another, under whatever count, makes no word of this one known or old."""
    said = [Said(*found) for found in oracle.ask(_SAID, row["id"], row["player_id"], since)]
    before = [word for word in said if not word.is_new]
    last: dict[tuple[int, str | None], Said] = {}
    for word in said:
        known = any(
            other.execution == word.execution and (other.answer == word.answer or is_counted_after(other, word))
            for other in before
        )
        newest = last.get(word.execution)
        if word.is_new and not known and (newest is None or not is_counted_after(newest, word)):
            last[word.execution] = word
    return {word.answer for word in last.values()}


def _check_messages(oracle: Oracle) -> None:
    """I7: what a provider told unasked about a transfer is evidence. I9: what a key stands for is there."""
    for message, transfer in oracle.ask(_UNHEARD, oracle.world.now - HEAL_SECONDS * SECOND):
        oracle.fail("I7", f"{message} told of {transfer}, and nobody has looked at it")
    for operation, key in oracle.ask(_KEY_OF_NOTHING):
        oracle.fail("I9", f"key {key} stands for a {operation} that there is not")


def _check_seals(oracle: Oracle) -> None:
    """I12: each row that is old enough is sealed; no newer one makes up for it."""
    since = oracle.world.now - OVERDUE_SECONDS * SECOND
    for table in SEALED:
        old = {number for (number,) in oracle.ask(f"SELECT id FROM {table} WHERE at < ?", since)}
        sealed = {row[0] for (content,) in oracle.ask(_CHAINED, table) for row in json.loads(content)}
        if left := sorted(old - sealed):
            oracle.fail("I12", f"of {table}, {len(left)} rows are an hour old and not sealed; the first is {left[0]}")


def _verify(oracle: Oracle, bridges: list[Bridge], *, sealed: bool) -> None:
    """What the bridge itself asks of its database must find nothing."""
    runtime = bridges[-1].runtime
    for finding in verify(runtime):
        oracle.fail(finding.invariant, f"verify: {finding.sentence} {finding.rows[:2]}")
    report = inspect(runtime)
    for found in report.findings:
        if sealed or found.kind is not Kind.UNSEALED:
            oracle.fail("I12", f"inspect: {found}")
