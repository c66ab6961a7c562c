"""Filled tables are those that real transfers would have left: every invariant of the product holds on them."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from benchmarks import filling, patterns
from benchmarks.contestants.base import SECRET
from benchmarks.contestants.floor import plain
from bridge import cashier, keys, players, verify
from bridge.app import compose, create_app
from bridge.config import Config
from tests.harness import audit

PLAYERS = 3


@pytest.fixture
def bridge(postgres, migrated_postgres_template, provider):
    """A runtime on a fresh PostgreSQL database with the pattern's player and three others, and its API."""
    name = f"bridge_filling_{uuid.uuid4().hex}"  # workers share the server
    url = postgres.create_database(name, migrated_postgres_template)
    table = {"operator": "acme", "protocol": "generic", "base_url": f"{provider}/bridge", "currencies": ["EUR"],
             "request_secret": SECRET}  # fmt: skip
    runtime = compose(Config(database={"url": url}, providers={"stub": table}))
    operator = keys.add_operator(runtime, "acme")
    _, secret = keys.create(runtime, "acme", ["transfers"], "test")
    for player in (patterns.PLAYER, *(f"p{number}" for number in range(PLAYERS))):
        players.register(runtime, operator, player, ["EUR"])
        cashier.move(runtime, operator, "deposit", f"purse-{player}", cashier.CashWish(player, "500.00", "EUR"))
    client = create_app(runtime).test_client()

    def transfer(key):
        body = {"player_id": patterns.PLAYER, "provider": "stub", "direction": "in", "amount": "1.00",
                "currency": "EUR"}  # fmt: skip
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key}
        assert client.post("/v1/transfers", json=body, headers=headers).json["state"] == "confirmed"

    yield runtime, transfer, plain(url)
    runtime.engine.dispose()
    postgres.drop_database(name)


def test_every_invariant_holds_on_filled_tables_and_the_next_transfer_goes_through(bridge):
    """As many rows in every table as so many real transfers leave; then real ones again, on top of them."""
    runtime, transfer, url = bridge
    transfer(patterns.KEY)
    with psycopg.connect(url, autocommit=True) as connection:
        before = patterns.counts(connection)
        transfer("another")
        pattern = patterns.find(connection)
        patterns.check(pattern, before, patterns.counts(connection), 1)
        heard = []
        filling.fill(connection, [filling.Share(pattern, 40)], PLAYERS, heard.append)
        patterns.check(pattern, before, patterns.counts(connection), 41)
        told = connection.execute("SELECT sum(moves), max(bucket) FROM hour_tally WHERE state = 'confirmed'").fetchone()
    assert heard == [40]
    assert told is not None
    assert (told[0], told[1] < 10) == (40, True)
    assert pattern.counts()["transfer"] == 1
    transfer("after")
    assert audit(runtime) == []
    assert verify.verify(runtime) == []


def test_a_row_that_the_pattern_does_not_have_is_noticed(bridge):
    """What a later version writes beside is not left out of the growth without a word."""
    _, transfer, url = bridge
    transfer(patterns.KEY)
    with psycopg.connect(url, autocommit=True) as connection:
        before = patterns.counts(connection)
        transfer("another")
        pattern, after = patterns.find(connection), patterns.counts(connection)
    with pytest.raises(patterns.PatternIncomplete, match="inbox"):
        patterns.check(pattern, before, {**after, "inbox": after["inbox"] + 1}, 1)
