"""What `bridge verify` asks of the legs, and of who looks at what is open: the rule, and the query that must return no
row, of a batch of transfers. What of a leg never changes stands in no seal; here it is compared with what does.
"""

from __future__ import annotations

LEGS = {
    "Each leg beyond the first two was planned by a move of its own, and each leg that moved is there.": ("I-10", """
        SELECT l.transfer_id, 'leg ' || l.ordinal AS subject, l.holder, l.state, l.amount FROM leg l
        WHERE l.transfer_id >= :first AND l.transfer_id <= :last AND l.ordinal NOT IN (1, 2) AND NOT EXISTS (
            SELECT 1 FROM history h WHERE h.transfer_id = l.transfer_id AND h.subject = 'leg ' || l.ordinal
                AND (h."trigger" = 'plan' OR l.holder = 'wallet'))
        UNION ALL SELECT h.transfer_id, h.subject, NULL, MAX(h.target), NULL FROM history h
        WHERE h.transfer_id >= :first AND h.transfer_id <= :last AND h.subject LIKE 'leg %' AND NOT EXISTS (
            SELECT 1 FROM leg l WHERE l.transfer_id = h.transfer_id AND 'leg ' || l.ordinal = h.subject)
        GROUP BY h.transfer_id, h.subject"""),
    "What is taken out of a game again people have decided, each take-back by a decision of its own.": ("I-11", """
        SELECT l.transfer_id, l.ordinal, l.state, l.amount FROM leg l
        WHERE l.transfer_id >= :first AND l.transfer_id <= :last AND l.holder <> 'wallet' AND l.undoes IS NOT NULL
            AND ((SELECT COUNT(*) FROM leg o WHERE o.transfer_id = l.transfer_id AND o.holder <> 'wallet'
                    AND o.undoes IS NOT NULL AND o.ordinal <= l.ordinal)
                > (SELECT COUNT(*) FROM decision d WHERE d.transfer_id = l.transfer_id AND d.kind = 'claw_back')
            OR NOT EXISTS (
                SELECT 1 FROM history h JOIN evidence e ON e.id = h.evidence_id AND e.transfer_id = h.transfer_id
                JOIN decision d ON d.transfer_id = h.transfer_id AND d.watermark = e.watermark AND d.kind = e.code
                WHERE h.transfer_id = l.transfer_id AND h.subject = 'leg ' || l.ordinal AND h."trigger" = 'plan'
                    AND e.source = 'person' AND d.kind = 'claw_back'))"""),
    "A transfer has its two legs, one at the wallet and one at its provider, of its amount and direction.": ("I-03", """
        SELECT t.id AS transfer_id, t.state, t.amount, w.amount AS at_the_wallet, p.amount AS at_the_provider
        FROM transfer t
        LEFT JOIN leg w ON w.transfer_id = t.id AND w.ordinal = CASE t.direction WHEN 'in' THEN 1 ELSE 2 END
        LEFT JOIN leg p ON p.transfer_id = t.id AND p.ordinal = CASE t.direction WHEN 'in' THEN 2 ELSE 1 END
        WHERE t.id >= :first AND t.id <= :last AND NOT COALESCE(
            w.holder = 'wallet' AND w.undoes IS NULL AND p.holder = t.provider AND p.undoes IS NULL
            AND w.side = CASE t.direction WHEN 'in' THEN 'debit' ELSE 'credit' END
            -- Of a transfer out the wallet is given what arrived; how much that was, its own proof says.
            AND (w.amount = t.amount OR COALESCE(t.sweep, FALSE) OR (t.direction = 'out' AND w.state = 'applied'))
            AND (p.amount = t.amount OR COALESCE(t.sweep, FALSE)), FALSE)"""),
    "Each leg is where its transfer says, under its own reference, and told as it was proved.": ("I-12", """
        SELECT l.transfer_id, l.ordinal, l.holder, l.side, l.state, l.amount, l.reference, l.provider_reference
        FROM leg l JOIN transfer t ON t.id = l.transfer_id
        WHERE t.id >= :first AND t.id <= :last AND NOT COALESCE(CASE WHEN l.holder = 'wallet' THEN
            l.reference IS NULL AND l.provider_reference IS NULL AND (l.state <> 'applied' OR EXISTS (
                SELECT 1 FROM evidence e WHERE e.transfer_id = l.transfer_id AND e.ordinal = l.ordinal
                    AND e.source = 'wallet' AND e.answer = 'applied' AND e.amount = l.amount AND e.side = l.side))
            ELSE l.holder = t.provider AND l.reference = SUBSTR(t.id, 4) || l.ordinal
            AND l.side = CASE WHEN l.undoes IS NOT NULL OR t.direction = 'out' THEN 'debit' ELSE 'credit' END
            AND (l.provider_reference IS NULL OR EXISTS (
                SELECT 1 FROM evidence e WHERE e.transfer_id = l.transfer_id AND e.ordinal = l.ordinal
                    AND e.provider_reference = l.provider_reference)) END, FALSE)"""),
    "The tries of a sweep are of what was told to be there, the newest of what it moves; no other transfer has two.": (
        "I-03", """
        WITH tries AS (
            SELECT l.transfer_id, l.ordinal, l.amount, t.amount AS whole, COALESCE(t.sweep, FALSE) AS sweep,
                MIN(l.ordinal) OVER (PARTITION BY l.transfer_id) AS first,
                MAX(l.ordinal) OVER (PARTITION BY l.transfer_id) AS newest
            FROM leg l JOIN transfer t ON t.id = l.transfer_id
            WHERE t.id >= :first AND t.id <= :last AND l.holder <> 'wallet' AND l.undoes IS NULL)
        SELECT y.transfer_id, y.ordinal, y.amount, y.whole FROM tries y
        LEFT JOIN leg w ON w.transfer_id = y.transfer_id AND w.ordinal = 2 AND y.ordinal = y.newest AND w.state
            <> 'applied'
        WHERE (NOT y.sweep AND y.first < y.newest)
            -- Once an earlier try turned out to have happened too, the whole is counted anew.
            OR (y.sweep AND y.ordinal = y.newest AND CAST(y.amount AS VARCHAR(20)) <> COALESCE((
                SELECT h.source FROM history h WHERE h.transfer_id = y.transfer_id AND h.subject = 'amount'
                ORDER BY h.id LIMIT 1), CAST(y.whole AS VARCHAR(20))))
            OR (y.sweep AND w.amount <> y.amount)
            OR (y.ordinal > y.first AND NOT EXISTS (
                SELECT 1 FROM evidence e WHERE e.transfer_id = y.transfer_id AND e.ordinal < y.ordinal
                    AND e.source = 'aside' AND e.code = 'balance' AND e.amount = y.amount))"""),
}  # fmt: skip
"""Rule → (invariant, query)."""

AWAKE = {
    "Every open transfer has a time at which somebody looks at it.": """
        SELECT id AS transfer_id, state FROM transfer WHERE id >= :first AND id <= :last
            AND wake_at IS NULL AND state IN ('pending', 'orphaned')""",
    "A reversal that rests on our inference was asked about before its watch ended.": """
        SELECT t.id AS transfer_id, e.answer, e.code FROM transfer t /* its legs */
        JOIN history h ON h.id = (SELECT MAX(last.id) FROM history last WHERE last.transfer_id = t.id
            AND last.subject = 'transfer' AND last."trigger" = 'reverse')
        JOIN evidence e ON e.id = h.evidence_id AND e.ordinal = COALESCE(outside.ordinal, e.ordinal)
            AND (e.source = 'person' OR e.answer IN ('cancelled', 'not_found') OR e.code = 'never_completed')
        WHERE t.id >= :first AND t.id <= :last AND t.state = 'reversed' AND t.wake_at IS NULL AND :aftercare
            AND EXISTS (SELECT 1 FROM attempt a WHERE a.transfer_id = t.id AND a.ordinal = e.ordinal
                AND (a.step = 'transfer' OR outside.provider_reference IS NOT NULL))
            AND NOT EXISTS (
                SELECT 1 FROM evidence later WHERE later.transfer_id = t.id AND later.ordinal = e.ordinal
                    AND later.source = 'lookup' AND later.answer <> 'unknown' AND later.at > t.settled_at)""",
    # Told once, and answered 200: nobody tells it again. People who confirmed had seen what was told before.
    "A provider's word that it took a confirmed transfer back is acted on, or somebody will look at it.": """
        SELECT t.id AS transfer_id, e.id AS evidence_id, e.sequence FROM transfer t /* its legs */
        JOIN evidence e ON e.transfer_id = t.id AND e.ordinal = outside.ordinal AND e.source = 'callback'
            AND e.answer = 'cancelled' AND e.reference = outside.reference AND e.amount = outside.amount
            AND e.currency = t.currency AND e.player = t.player_id AND e.side = outside.side
            AND COALESCE(e.provider_reference, outside.provider_reference, '')
                = COALESCE(outside.provider_reference, e.provider_reference, '')
        WHERE t.id >= :first AND t.id <= :last AND t.state = 'confirmed' AND t.wake_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM decision d WHERE d.transfer_id = t.id)""",
    "Every orphan has an open case.": """
        SELECT t.id AS transfer_id, c.state AS case_state FROM transfer t
        LEFT JOIN orphan_case c ON c.transfer_id = t.id
        WHERE t.id >= :first AND t.id <= :last AND t.state = 'orphaned' AND COALESCE(c.state, 'closed') = 'closed'""",
    "No case stays open on a transfer that has ended, but for an error of our own.": """
        SELECT t.id AS transfer_id, t.state, c.state AS case_state, c.reason FROM transfer t
        JOIN orphan_case c ON c.transfer_id = t.id
        WHERE t.id >= :first AND t.id <= :last AND t.state IN ('confirmed', 'reversed') AND c.state <> 'closed'
            AND c.reason <> 'engine_error'""",
    "What is not proved in its time is put before people within the hour, and that time is no longer than any.": """
        SELECT t.id AS transfer_id, t.created_at, t.orphan_at, t.wake_at FROM transfer t
        WHERE t.id >= :first AND t.id <= :last AND t.state = 'pending'
            AND (t.orphan_at <= t.created_at OR t.orphan_at - t.created_at > :patience
            -- An error of our own that comes back is put before people by a case; it stays pending.
            OR (t.orphan_at < :overdue AND NOT EXISTS (
                SELECT 1 FROM orphan_case c WHERE c.transfer_id = t.id AND c.state <> 'closed')))""",
    "Whoever looks at an open transfer does not wait longer than there is to wait for.": """
        SELECT t.id AS transfer_id, t.state, t.wake_at FROM transfer t
        WHERE t.id >= :first AND t.id <= :last AND t.state IN ('pending', 'orphaned') AND t.wake_at > :latest""",
}
"""Rule of I-17 → query. `latest`: no instant beyond it is one that the engine would have set by now; `patience`: no
transfer is begun with a longer one."""

KEYS = {
    "Every transfer stands under the key with which it was begun, and what was answered to that is about it.": """
        SELECT t.id AS transfer_id, t.idempotency_key, k.subject_id FROM transfer t
        LEFT JOIN idempotency_key k ON k.operator_id = t.operator_id AND k.operation = 'transfer'
            AND k.key = t.idempotency_key
        WHERE t.id >= :first AND t.id <= :last AND NOT COALESCE(k.subject_id = t.id
            AND (k.response IS NULL OR k.response LIKE '%"' || t.id || '"%'), FALSE)""",
}
"""Rule of I-20 → query. A refusal stands in its key alone, and in nothing with which it could be compared."""
