"""Every invariant that SQL can ask of the database: each a query that must return no row (design §3, rule 7).

The queries say in their own words, from design §7 and the machines, what the engine keeps by its code, so
that a fault of one is seen by the other. Each is one statement, and so one snapshot: of whole tables where one scan
answers it, else of the rows of so many transfers, players or messages. So verify may run beside a busy
bridge, on SQLite and on PostgreSQL alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, text

from bridge import db, guards, inbox
from bridge.config import LONGEST_PATIENCE_SECONDS
from bridge.desk.invariants import FOUR_EYES
from bridge.parts import parts
from bridge.ports import SECOND
from bridge.relations import DEMANDS, RELATIONS
from bridge.runtime import Runtime
from bridge.transfers.invariants import AWAKE, KEYS, LEGS
from bridge.transfers.resolve import LONGEST_BACKOFF_SECONDS
from statemachines import MACHINES, TransferState

BATCH = 1000
"""Transfers, players or messages that one statement looks at."""

OVERDUE = 3600 * SECOND
"""A message that is due for so long shows that nobody acts on messages; a transfer that is still pending so long after
its patience, that nobody puts it before people."""

EXAMPLES = 20
"""Rows of a finding that are kept; the others are counted, of a whole table up to a thousand."""


@dataclass(frozen=True)
class Finding:
    """An invariant that does not hold: what should be so, `count` rows that say otherwise, the first of them."""

    invariant: str
    sentence: str
    rows: tuple[Mapping[str, Any], ...]
    count: int


@dataclass(frozen=True)
class Check:
    """One question: `query` returns the rows that break `invariant`, whose rule is `sentence`."""

    invariant: str
    sentence: str
    query: str


WHOLE = (
    Check("I-01", "Per operator and currency, cached balances and system accounts sum to zero.", """
        -- By parts, for a life's turnover may exceed 64 bits before its other half is added.
        SELECT operator_id, currency,
            SUM(units / 1000000) * 1000000 + SUM(units % 1000000) AS difference FROM (
            SELECT operator_id, currency, balance AS units FROM account
            UNION ALL SELECT operator_id, currency, -amount FROM posting
                WHERE debit NOT LIKE 'wallet:%' AND debit NOT LIKE 'game:%'
            UNION ALL SELECT operator_id, currency, amount FROM posting
                WHERE credit NOT LIKE 'wallet:%' AND credit NOT LIKE 'game:%') AS sides
        GROUP BY operator_id, currency
        HAVING SUM(units / 1000000) * 1000000 + SUM(units % 1000000) <> 0"""),
    Check("I-31", "What a provider has told is acted on, or looked at again, when it is due.", """
        SELECT inbox_id, provider, state, reason, failures, wake_at FROM inbox_task WHERE wake_at < :overdue
        ORDER BY wake_at LIMIT 1000"""),
    Check("I-43", "An operator's events are numbered from 1 without a gap.", """
        SELECT h.operator_id, h.sequence AS head, COUNT(e.sequence) AS events, MIN(e.sequence) AS first,
            MAX(e.sequence) AS last
        FROM event_head h LEFT JOIN event e ON e.operator_id = h.operator_id GROUP BY h.operator_id, h.sequence
        HAVING COUNT(e.sequence) <> h.sequence OR COALESCE(MIN(e.sequence), 1) <> 1
            OR COALESCE(MAX(e.sequence), 0) <> h.sequence
        UNION ALL SELECT operator_id, NULL, COUNT(*), MIN(sequence), MAX(sequence) FROM event
        WHERE operator_id NOT IN (SELECT operator_id FROM event_head) GROUP BY operator_id"""),
    Check("I-43", "Events begin where they began: no move up to there is one.", """
        SELECT o.history_id, h.transfer_id, h.id AS of_move FROM event_origin o JOIN event_head n ON TRUE
        JOIN event e ON e.operator_id = n.operator_id AND e.sequence = (SELECT MIN(f.sequence) FROM event f
            WHERE f.operator_id = n.operator_id AND f.transfer_id IS NOT NULL)
        JOIN history h ON h.transfer_id = e.transfer_id AND h.version = e.version AND h.subject = 'transfer'
        WHERE h.id <= o.history_id
        UNION ALL SELECT o.history_id, NULL, NULL FROM event_origin o
        WHERE o.history_id > COALESCE((SELECT MAX(id) FROM history), 0)
        UNION ALL SELECT NULL, NULL, NULL WHERE NOT EXISTS (SELECT 1 FROM event_origin)"""),
    Check("I-43", "Nothing waits for an endpoint to which nothing is sent.", """
        SELECT d.id, d.endpoint_id, d.sequence, e.state
        FROM webhook_endpoint e JOIN delivery d ON d.endpoint_id = e.id
        WHERE e.state <> 'enabled' AND d.wake_at IS NOT NULL LIMIT 1000"""),
    *(Check("I-56", sentence, query) for sentence, query in (*RELATIONS.items(), *DEMANDS.items())),
)  # fmt: skip
"""Asked once, of whole tables."""

PER_PLAYER = (
    Check("I-03", "Each deposit and withdrawal is posted once, as it says.", """
        SELECT m.id AS cash_movement_id, m.kind, m.amount, m.currency, p.id AS posting_id
        FROM cash_movement m LEFT JOIN posting p ON p.cash_movement_id = m.id
        WHERE m.operator_id = :operator AND m.player_id >= :first AND m.player_id <= :last AND NOT COALESCE(
            p.amount = m.amount AND p.currency = m.currency
            AND p.operator_id = m.operator_id AND p.player_id = m.player_id
            AND CASE m.kind WHEN 'deposit' THEN p.debit ELSE p.credit END = 'cashier'
            AND CASE m.kind WHEN 'deposit' THEN p.credit ELSE p.debit END = 'wallet:' || m.player_id, FALSE)"""),
    Check("I-05", "No wallet is, or ever was between two postings, below zero.", """
        WITH moves AS (
            SELECT debit AS account, currency, -amount AS units, debit_version AS version FROM posting
            WHERE operator_id = :operator AND player_id >= :first AND player_id <= :last AND debit LIKE 'wallet:%'
            UNION ALL SELECT credit, currency, amount, credit_version FROM posting
            WHERE operator_id = :operator AND player_id >= :first AND player_id <= :last AND credit LIKE 'wallet:%'),
        running AS (
            SELECT account, currency, version,
                SUM(units) OVER (PARTITION BY account, currency ORDER BY version) AS balance FROM moves)
        SELECT account, currency, version, balance FROM running WHERE balance < 0
        UNION ALL SELECT account, currency, version, balance FROM account
        WHERE operator_id = :operator AND player_id >= :first AND player_id <= :last
            AND account LIKE 'wallet:%' AND balance < 0"""),
    Check("I-06", "A cached balance is the sum of its own postings, whose versions run from 1 without a gap.", """
        SELECT account, currency, SUM(balance) AS cached, SUM(units) AS folded, SUM(version) AS version,
            COUNT(v) AS versions, SUM(postings) AS postings
        FROM (
            SELECT debit AS account, currency, -amount AS units, debit_version AS v, 1 AS postings,
                0 AS balance, 0 AS version FROM posting
            WHERE operator_id = :operator AND player_id >= :first AND player_id <= :last
                AND (debit LIKE 'wallet:%' OR debit LIKE 'game:%')
            UNION ALL SELECT credit, currency, amount, credit_version, 1, 0, 0 FROM posting
            WHERE operator_id = :operator AND player_id >= :first AND player_id <= :last
                AND (credit LIKE 'wallet:%' OR credit LIKE 'game:%')
            UNION ALL SELECT account, currency, 0, NULL, 0, balance, version FROM account
            WHERE operator_id = :operator AND player_id >= :first AND player_id <= :last) AS sides
        GROUP BY account, currency
        HAVING SUM(units) <> SUM(balance) OR SUM(postings) <> SUM(version) OR COUNT(DISTINCT v) <> SUM(version)
            OR COALESCE(MAX(v), 0) <> SUM(version) OR COALESCE(MIN(v), 1) <> 1"""),
)  # fmt: skip
"""Asked of the players of one operator, in batches."""

PER_MESSAGE = (
    Check("I-31", "Every message of a provider is to be acted on, or was: with evidence, or a reason.", """
        SELECT i.id AS inbox_id, i.provider, k.state, k.reason FROM inbox i
        LEFT JOIN inbox_task k ON k.inbox_id = i.id
        WHERE i.id >= :first AND i.id <= :last AND (k.inbox_id IS NULL
            -- Why it was still waiting is no reason for its end.
            OR (k.state IN ('done', 'passed_over') AND (k.reason IN ('', :no_transfer) OR k.reason LIKE 'failed: %')
                AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.inbox_id = i.id)))"""),
)  # fmt: skip
"""Asked of all messages, in batches."""

_LEGS = """ LEFT JOIN leg inside ON inside.transfer_id = t.id AND inside.ordinal = (SELECT MIN(l.ordinal) FROM leg l
        WHERE l.transfer_id = t.id AND l.holder = 'wallet' AND l.undoes IS NULL)
    LEFT JOIN leg outside ON outside.transfer_id = t.id AND outside.ordinal = (SELECT MAX(l.ordinal) FROM leg l
        WHERE l.transfer_id = t.id AND l.holder <> 'wallet' AND l.undoes IS NULL)"""

PER_TRANSFER = (
    Check("I-03", "A transfer's postings are the row of design §7 that its state and facts select.", """
        WITH legs AS (
            SELECT transfer_id, SUM(CASE WHEN holder <> 'wallet' OR state <> 'applied' THEN 0
                WHEN side = 'credit' THEN amount ELSE -amount END) AS wallet_net FROM leg
            WHERE transfer_id >= :first AND transfer_id <= :last GROUP BY transfer_id),
        facts AS (
            SELECT t.*, 'wallet:' || t.player_id AS wallet, 'game:' || t.provider || ':' || t.player_id AS game,
                COALESCE(t.arrived, t.amount) AS got, COALESCE(t.written_off, 0) AS lost,
                COALESCE(legs.wallet_net, 0) + CASE t.direction WHEN 'in' THEN t.amount ELSE 0 END AS given,
                CASE t.direction WHEN 'in' THEN inside.state ELSE outside.state END AS source_state
            FROM transfer t /* its legs */ LEFT JOIN legs ON legs.transfer_id = t.id
            WHERE t.id >= :first AND t.id <= :last),
        stand AS (
            SELECT id, currency, provider, CASE direction WHEN 'in' THEN wallet ELSE game END AS source,
                CASE direction WHEN 'in' THEN game ELSE wallet END AS destination,
                CASE state WHEN 'confirmed' THEN lost - got WHEN 'orphaned' THEN given - amount
                    WHEN 'pending' THEN CASE source_state WHEN 'applied' THEN -amount ELSE 0 END ELSE 0 END AS s,
                CASE WHEN state = 'pending' AND source_state = 'applied' THEN amount ELSE 0 END AS transit,
                CASE state WHEN 'orphaned' THEN amount - given ELSE 0 END AS custody,
                CASE state WHEN 'confirmed' THEN got WHEN 'orphaned' THEN given ELSE 0 END AS d,
                CASE state WHEN 'confirmed' THEN -lost WHEN 'orphaned' THEN -given ELSE 0 END AS house
            FROM facts),
        sides AS (
            SELECT transfer_id, debit AS account, currency, -amount AS units FROM posting
            WHERE transfer_id >= :first AND transfer_id <= :last
            UNION ALL SELECT transfer_id, credit, currency, amount FROM posting
            WHERE transfer_id >= :first AND transfer_id <= :last
            UNION ALL SELECT id, source, currency, -s FROM stand
            UNION ALL SELECT id, 'transit', currency, -transit FROM stand
            UNION ALL SELECT id, 'custody:' || provider, currency, -custody FROM stand
            UNION ALL SELECT id, destination, currency, -d FROM stand
            UNION ALL SELECT id, 'house:' || provider, currency, -house FROM stand)
        SELECT transfer_id, account, currency, SUM(units) AS difference FROM sides
        GROUP BY transfer_id, account, currency HAVING SUM(units) <> 0"""),
    Check("I-03", "What a transfer has posted to the wallet is what its wallet legs say.", """
        SELECT t.id AS transfer_id, SUM(units) AS difference FROM (
            SELECT transfer_id, CASE WHEN credit LIKE 'wallet:%' THEN amount WHEN debit LIKE 'wallet:%' THEN -amount
                ELSE 0 END AS units FROM posting WHERE transfer_id >= :first AND transfer_id <= :last
            UNION ALL SELECT transfer_id, CASE side WHEN 'credit' THEN -amount ELSE amount END FROM leg
            WHERE transfer_id >= :first AND transfer_id <= :last AND holder = 'wallet' AND state = 'applied') AS sides
        JOIN transfer t ON t.id = sides.transfer_id GROUP BY t.id HAVING SUM(units) <> 0"""),
    Check("I-04", "Nothing of a transfer that has ended or is orphaned is in transit.", """
        SELECT t.id AS transfer_id, t.state, SUM(CASE WHEN p.credit = 'transit' THEN p.amount ELSE -p.amount END)
            AS in_transit
        FROM transfer t JOIN posting p ON p.transfer_id = t.id AND (p.credit = 'transit' OR p.debit = 'transit')
        WHERE t.id >= :first AND t.id <= :last AND t.state <> 'pending'
        GROUP BY t.id, t.state HAVING SUM(CASE WHEN p.credit = 'transit' THEN p.amount ELSE -p.amount END) <> 0"""),
    Check("I-09", "A posting carries the operator, player and currency of its transfer.", """
        SELECT p.id AS posting_id, t.id AS transfer_id, p.currency, t.currency AS meant
        FROM posting p JOIN transfer t ON t.id = p.transfer_id
        WHERE t.id >= :first AND t.id <= :last
            AND (p.currency <> t.currency OR p.operator_id <> t.operator_id OR p.player_id <> t.player_id)"""),
    Check("I-10", "Each move in the history is an edge of its machine and starts where the last one ended.", """
        WITH chained AS (
            SELECT transfer_id, id, subject, "trigger" AS moved_by, source, target,
                LAG(target) OVER (PARTITION BY transfer_id, subject ORDER BY id) AS previous
            FROM history WHERE transfer_id >= :first AND transfer_id <= :last)
        SELECT transfer_id, subject, moved_by, source, target, previous FROM chained
        WHERE (subject = 'amount' AND (moved_by <> 'count' OR source <> COALESCE(previous, source)))
            OR (subject <> 'amount' AND
                CASE WHEN subject LIKE 'leg %' THEN 'leg' ELSE subject END || ' ' || moved_by || ' '
                || COALESCE(source, '') || ' ' || target NOT IN :edges)
            OR (subject = 'transfer' AND COALESCE(source, '') <> COALESCE(previous, ''))
            OR (subject LIKE 'leg %' AND COALESCE(source, 'planned') <> COALESCE(previous, 'planned'))
            OR (subject = 'case' AND previous IS NOT NULL AND source <> previous)"""),
    Check("I-10", "The state of a transfer, a leg, a case is where its history ends.", """
        WITH latest AS (
            SELECT transfer_id, subject, target,
                ROW_NUMBER() OVER (PARTITION BY transfer_id, subject ORDER BY id DESC) AS age
            FROM history WHERE transfer_id >= :first AND transfer_id <= :last)
        SELECT t.id AS transfer_id, 'transfer' AS subject, t.state, l.target AS history_ends FROM transfer t
        LEFT JOIN latest l ON l.transfer_id = t.id AND l.subject = 'transfer' AND l.age = 1
        WHERE t.id >= :first AND t.id <= :last AND t.state <> COALESCE(l.target, '')
        UNION ALL SELECT t.id, 'amount', CAST(t.amount AS VARCHAR(20)), l.target FROM transfer t
        JOIN latest l ON l.transfer_id = t.id AND l.subject = 'amount' AND l.age = 1
        WHERE l.target <> CAST(t.amount AS VARCHAR(20))
        UNION ALL SELECT leg.transfer_id, 'leg ' || leg.ordinal, leg.state, l.target FROM leg
        LEFT JOIN latest l ON l.transfer_id = leg.transfer_id AND l.subject = 'leg ' || leg.ordinal AND l.age = 1
        WHERE leg.transfer_id >= :first AND leg.transfer_id <= :last AND leg.state <> COALESCE(l.target, 'planned')
        UNION ALL SELECT c.transfer_id, 'case', c.state, l.target FROM orphan_case c
        JOIN latest l ON l.transfer_id = c.transfer_id AND l.subject = 'case' AND l.age = 1
        WHERE c.state <> l.target AND c.reason <> 'engine_error'"""),
    Check("I-12", "What ended references proof of its end about exactly this amount, currency and player.", """
        SELECT t.id AS transfer_id, t.state, e.id AS evidence_id, e.source, e.answer, e.amount, e.currency, e.player
        FROM transfer t /* its legs */
        LEFT JOIN history h ON h.id = (SELECT MAX(last.id) FROM history last WHERE last.transfer_id = t.id
            AND last.subject = 'transfer' AND last."trigger" IN ('confirm', 'reverse'))
        LEFT JOIN evidence e ON e.id = h.evidence_id AND e.transfer_id = t.id
        LEFT JOIN leg back ON back.transfer_id = t.id AND back.ordinal = e.ordinal AND back.undoes IS NOT NULL
            AND back.holder <> 'wallet'
        LEFT JOIN decision d ON d.transfer_id = t.id AND d.watermark = e.watermark AND d.kind = e.code
        WHERE t.id >= :first AND t.id <= :last AND t.state IN ('confirmed', 'reversed') AND NOT COALESCE(
            (e.source = 'person' AND d.id IS NOT NULL)
            OR (back.ordinal IS NOT NULL AND e.answer = 'applied' AND e.amount = back.amount
                AND e.currency = t.currency AND e.player = t.player_id AND e.reference = back.reference)
            OR (e.ordinal = outside.ordinal AND t.state = 'confirmed' AND e.answer = 'applied'
                AND e.source IN ('call', 'lookup', 'callback')
                AND e.amount = COALESCE(t.arrived, t.amount) AND e.currency = t.currency AND e.player = t.player_id
                AND e.reference = outside.reference AND e.side = outside.side)
            OR (e.ordinal = outside.ordinal AND t.state = 'reversed'
                AND e.answer IN ('not_applied', 'cancelled', 'not_found')
                AND COALESCE(e.amount, t.amount) = t.amount AND COALESCE(e.currency, t.currency) = t.currency
                AND COALESCE(e.player, t.player_id) = t.player_id
                AND COALESCE(e.reference, outside.reference) = outside.reference), FALSE)"""),
    Check("I-11", "What the house bears of a transfer, people have decided.", """
        SELECT t.id AS transfer_id, t.written_off FROM transfer t
        WHERE t.id >= :first AND t.id <= :last AND t.written_off IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM decision d WHERE d.transfer_id = t.id AND d.kind = 'write_off')"""),
    Check("I-12", "What people ordered to be taken out of a game ended by that: the newest take-back is applied.", """
        SELECT t.id AS transfer_id, t.state, back.ordinal, back.state AS leg_state FROM transfer t
        JOIN decision d ON d.transfer_id = t.id AND d.kind = 'claw_back' AND NOT EXISTS (
            SELECT 1 FROM decision later WHERE later.transfer_id = t.id AND later.watermark > d.watermark)
        LEFT JOIN leg back ON back.transfer_id = t.id AND back.ordinal = (SELECT MAX(l.ordinal) FROM leg l
            WHERE l.transfer_id = t.id AND l.undoes IS NOT NULL AND l.holder <> 'wallet')
        WHERE t.id >= :first AND t.id <= :last AND t.state IN ('confirmed', 'reversed')
            AND COALESCE(back.state, '') <> 'applied'"""),
    Check("I-12", "Evidence of a callback is one message in the inbox: same provider, reference and body.", """
        SELECT e.transfer_id, e.id AS evidence_id, e.inbox_id, e.provider, i.provider AS told_by, k.state, k.transfer_id
            AS settled_for
        FROM evidence e LEFT JOIN inbox i ON i.id = e.inbox_id LEFT JOIN inbox_task k ON k.inbox_id = e.inbox_id
        WHERE e.transfer_id >= :first AND e.transfer_id <= :last AND (e.source = 'callback' OR e.inbox_id IS NOT NULL)
            AND NOT COALESCE(e.source = 'callback' AND i.provider = e.provider AND i.reference = e.reference
                AND i.digest = e.digest AND k.state = 'done' AND k.transfer_id = e.transfer_id, FALSE)"""),
    Check("I-43", "Each move of a transfer is an event, or in the outbox to become one.", """
        SELECT h.transfer_id, h.version, h.source, h.target FROM history h
        WHERE h.transfer_id >= :first AND h.transfer_id <= :last AND h.subject = 'transfer' AND h.source <> h.target
            AND h.id > COALESCE((SELECT history_id FROM event_origin), 0)
            AND NOT EXISTS (SELECT 1 FROM event e WHERE e.transfer_id = h.transfer_id AND e.version = h.version)
            AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.transfer_id = h.transfer_id AND o.version = h.version)"""),
    Check("I-43", "Each event of a transfer is what a move left, in the moves' order, to the transfer's operator.", """
        SELECT e.operator_id, e.sequence, e.transfer_id, e.version, e.kind
        FROM event e JOIN transfer t ON t.id = e.transfer_id
        WHERE e.transfer_id >= :first AND e.transfer_id <= :last AND (e.operator_id <> t.operator_id
            OR e.kind <> COALESCE((SELECT 'transfer.' || h.target FROM history h WHERE h.transfer_id = e.transfer_id
                AND h.version = e.version AND h.subject = 'transfer' ORDER BY h.id DESC LIMIT 1), '')
            OR EXISTS (SELECT 1 FROM event o WHERE o.transfer_id = e.transfer_id AND o.version > e.version
                AND o.sequence < e.sequence))"""),
    *(Check("I-17", sentence, query) for sentence, query in AWAKE.items()),
    *(Check("I-20", sentence, query) for sentence, query in KEYS.items()),
    *(Check(invariant, sentence, query) for sentence, (invariant, query) in LEGS.items()),
    *(Check("I-54", sentence, query) for sentence, query in FOUR_EYES.items()),
)  # fmt: skip
"""Asked of all transfers, in batches."""

CHECKS = (*(check.invariant for check in (*WHOLE, *PER_PLAYER, *PER_MESSAGE, *PER_TRANSFER)), "I-07")
"""The invariants that are asked, once for each check."""


def verify(runtime: Runtime) -> list[Finding]:
    """Every invariant that does not hold, in the order of their numbers; an empty list means that all do."""
    asked: dict[Check, Finding] = {}
    for checks, scope in _scopes(runtime):
        for check in checks:
            _ask(runtime, check, scope, asked)
    return sorted([*asked.values(), *_triggers(runtime)], key=lambda finding: finding.invariant)


def _triggers(runtime: Runtime) -> list[Finding]:
    with db.reading(runtime.engine) as connection:
        missing = guards.missing(connection)
    sentence = "The triggers that refuse UPDATE and DELETE of what is written for ever are in force."
    rows = tuple({"trigger": name} for name in missing)
    return [Finding("I-07", sentence, rows, len(rows))] if rows else []


def _ask(runtime: Runtime, check: Check, scope: Mapping[str, Any], asked: dict[Check, Finding]) -> None:
    """One statement in a transaction of its own; its rows are added to the check's finding."""
    watched = bool(runtime.config.engine.aftercare_seconds)
    known = {**scope, "edges": _edges(), "aftercare": watched, "no_transfer": inbox.NO_TRANSFER}
    known |= _instants(runtime)
    given = {name: value for name, value in known.items() if f":{name}" in check.query}
    statement = text(check.query.replace("/* its legs */", _LEGS))
    if "edges" in given:
        statement = statement.bindparams(bindparam("edges", expanding=True))
    with db.reading(runtime.engine) as connection:
        rows = [dict(row) for row in connection.execute(statement, given).mappings()]
    if rows:
        before = asked.get(check, Finding(check.invariant, check.sentence, (), 0))
        kept = (*before.rows, *rows)[:EXAMPLES]
        asked[check] = Finding(check.invariant, check.sentence, kept, before.count + len(rows))


def _instants(runtime: Runtime) -> dict[str, int]:
    """What the queries take for late, or for too far ahead, an hour more than what is configured now comes to; and how
    long patience can be. A transfer may have been begun under another configuration, so it is the longest of any."""
    now, policies = runtime.clock.now(), runtime.config.providers.values()
    waits = [*runtime.config.engine.poll_seconds, LONGEST_BACKOFF_SECONDS]
    waits += [2 * policy.breaker_probe_seconds for policy in policies]
    calls = [0.0]
    for descriptor in (provider.descriptor for provider in runtime.providers.values()):
        waits += [(descriptor.expiry or 0) + descriptor.expiry_margin, descriptor.settle_delay]
        calls += [descriptor.money_deadline, descriptor.complete_deadline, descriptor.lookup_deadline]
    longest = max(waits) + runtime.lease_seconds(max(calls))
    return {
        "overdue": now - OVERDUE,
        "latest": now + OVERDUE + int(longest * SECOND),
        "patience": LONGEST_PATIENCE_SECONDS * SECOND,
    }


def _scopes(runtime: Runtime) -> Iterator[tuple[tuple[Check, ...], Mapping[str, Any]]]:
    """Which checks are asked of which part of the tables."""
    yield WHOLE, {}
    with db.reading(runtime.engine) as connection:
        operators = list(connection.execute(text("SELECT id FROM operator ORDER BY id")).scalars())
    for operator in operators:
        of_one = {"operator": operator}
        for part in parts(runtime, "player WHERE operator_id = :operator", "player_id", BATCH, of_one):
            yield PER_PLAYER, {**of_one, **part}
    for part in parts(runtime, "inbox", "id", BATCH):
        yield PER_MESSAGE, part
    for part in parts(runtime, "transfer", "id", BATCH):
        yield PER_TRANSFER, part


def _edges() -> list[str]:
    """Every legal row of history, as `machine trigger from to`."""
    edges = [f"{m.name} {e.trigger} {e.source.value} {e.target.value}" for m in MACHINES for e in m.edges]
    wishes = [f"transfer wish_cancel {state.value} {state.value}" for state in TransferState]
    return [*edges, *wishes, "transfer begin  pending", "leg plan  planned", "case open  open"]
