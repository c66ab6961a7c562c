"""Copies of orphans, among those of plain transfers: every invariant holds on them, and people can decide them."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from benchmarks import filling, patterns
from benchmarks.contestants.floor import plain
from benchmarks.desk import kinds
from bridge import verify
from bridge.transfers.core.decisions import Kind
from tests.deciding import Decision, decide
from tests.harness import audit

PLAIN, ORPHANS = 60, 24


def test_copied_orphans_are_orphans(workshop):
    """Every invariant holds with them in the tables; each has its own id, case, amount and reference; and one is
    confirmed, one reversed by two people as any other."""
    made, operator, url = workshop.made, workshop.operator, plain(workshop.url)
    few = [replace(kind, looks=min(kind.looks, 3)) for kind in (*kinds.PLAIN, *kinds.ORPHANS)]
    made.begin()
    with psycopg.connect(url, autocommit=True) as connection:
        patterned = [(kind, made.pattern(connection, kind)) for kind in few]
        shares = [
            *kinds.shares(patterned[: len(kinds.PLAIN)], PLAIN),
            *kinds.shares(patterned[len(kinds.PLAIN) :], ORPHANS),
        ]
        before = patterns.counts(connection)
        filling.fill(connection, shares, workshop.players, lambda _: None)
        added = {name: number - before[name] for name, number in patterns.counts(connection).items()}
        orphans = connection.execute("""
            SELECT t.id, c.id, l.reference, t.amount, array_agg(DISTINCT e.provider_reference)
            FROM transfer t JOIN orphan_case c ON c.transfer_id = t.id
            JOIN leg l ON l.transfer_id = t.id AND l.holder = 'simulator'
            JOIN evidence e ON e.transfer_id = t.id AND e.provider = 'simulator'
            WHERE t.state = 'orphaned' AND c.state = 'open' AND t.idempotency_key LIKE 'filled-%'
            GROUP BY t.id, c.id, l.reference""").fetchall()
        distances = connection.execute("""
            SELECT wake_at - (extract(epoch FROM now()) * 1000000)::bigint FROM transfer
            WHERE wake_at IS NOT NULL AND idempotency_key LIKE 'filled-%'""").fetchall()
    expected: dict[str, int] = {}
    for share in shares:
        for name, rows in share.pattern.counts().items():
            expected[name] = expected.get(name, 0) + rows * share.copies
    assert {name: number for name, number in added.items() if number} == expected
    assert len(orphans) == ORPHANS
    for place in range(3):
        assert len({row[place] for row in orphans}) == ORPHANS
    assert len({row[3] for row in orphans}) > ORPHANS // 2
    assert len({told for *_, (told,) in orphans}) == ORPHANS
    assert len(distances) == ORPHANS
    assert all(-60 * 10**6 < each < 3_601 * 10**6 for (each,) in distances)
    assert audit(made.runtime) == []
    assert verify.verify(made.runtime) == []
    for kind, (transfer_id, *_) in zip((Kind.CONFIRM, Kind.REVERSE), orphans[:2], strict=True):
        version = _version(url, transfer_id)
        decide(made.runtime, operator, transfer_id, Decision(kind, "ann", "bob", "agreed with the provider", version))
    assert audit(made.runtime) == []
    assert verify.verify(made.runtime) == []


def _version(url, transfer_id):
    with psycopg.connect(url) as connection:
        (version,) = connection.execute("SELECT version FROM transfer WHERE id = %s", (transfer_id,)).fetchone()
    return version
