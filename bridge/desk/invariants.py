"""What `bridge verify` asks of four eyes: the rule, and the query that must return no row, of a batch of transfers."""

from __future__ import annotations

FOUR_EYES = {
    "A case is proposed where exactly one proposal is open, and nowhere else.": """
        SELECT t.id AS transfer_id, c.state AS case_state, COUNT(p.id) AS open_proposals FROM transfer t
        LEFT JOIN orphan_case c ON c.transfer_id = t.id
        LEFT JOIN proposal p ON p.transfer_id = t.id AND p.state = 'open'
        WHERE t.id >= :first AND t.id <= :last GROUP BY t.id, c.state
        HAVING COUNT(p.id) <> CASE c.state WHEN 'proposed' THEN 1 ELSE 0 END""",
    "What was proposed and carried out is that decision, approved by as many others as it needed.": """
        SELECT p.id AS proposal_id, p.transfer_id, p.kind, p.needs, d.id AS decision_id FROM proposal p
        LEFT JOIN decision d ON d.id = p.decision_id
        WHERE p.transfer_id >= :first AND p.transfer_id <= :last AND p.kind <> 'ask_again'
            AND (p.state = 'carried_out' OR d.id IS NOT NULL) AND NOT COALESCE(
                p.state = 'carried_out' AND d.transfer_id = p.transfer_id AND d.kind = p.kind
                AND d.arrived = p.arrived AND d.returned = p.returned AND d.decided_at = p.ended_at
                AND p.needs >= 1 AND p.needs <= (SELECT COUNT(DISTINCT v.person_id) FROM verdict v
                    WHERE v.proposal_id = p.id AND v.approves AND v.person_id <> p.maker_id), FALSE)""",
    "Nobody has said something to a proposal who is of another operator, or who made it.": """
        SELECT v.proposal_id, v.person_id FROM verdict v JOIN proposal p ON p.id = v.proposal_id
        JOIN person w ON w.id = v.person_id JOIN transfer t ON t.id = p.transfer_id
        WHERE p.transfer_id >= :first AND p.transfer_id <= :last AND (w.operator_id <> t.operator_id
            OR p.operator_id <> t.operator_id OR v.person_id = p.maker_id)""",
    "What was confirmed behind a decision is the amount that people decided about.": """
        SELECT t.id AS transfer_id, t.amount, e.amount AS decided FROM transfer t JOIN evidence e ON e.id = (
            SELECT MAX(p.id) FROM evidence p WHERE p.transfer_id = t.id AND p.source = 'person')
        WHERE t.id IN (SELECT transfer_id FROM decision WHERE transfer_id >= :first AND transfer_id <= :last)
            AND t.state = 'confirmed' AND e.code <> 'split' AND e.amount <> t.amount""",
}
