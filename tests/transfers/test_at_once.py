"""Everybody at one instant: resolvers, a look-up, a refresh, callbacks and people about the same transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bridge import inbox
from bridge.errors import Invalid, Stale
from bridge.evidence import Source
from bridge.ports import Provider
from bridge.transfers import hear, resolve
from bridge.transfers.advance import Claim, advance
from bridge.transfers.core.decisions import Kind
from bridge.verify import verify
from tests import callbacks
from tests.callbacks import Office, letter
from tests.deciding import Decision, decide
from tests.harness import PROVIDER, Hands, together
from tests.transfers.scripted_one import LOST, ONE_PHASE, SILENT, ScriptedOne

BOTH_WAYS = pytest.mark.parametrize("direction", ["in", "out"])


@dataclass
class Speaker(ScriptedOne):
    """A provider that also calls back; its messages are read by the adapter of the product."""

    ear: Provider | None = None

    def heard(self, kind: str, content: Any, digest: str) -> Any:
        assert self.ear is not None
        return self.ear.heard(kind, content, digest)


@pytest.fixture
def hands() -> Hands:
    """The clock of the crossroads; it stands still but for the moments that each request takes."""
    return Hands()


@pytest.fixture
def there(hands: Hands) -> Speaker:
    """The provider."""
    return Speaker(hands, descriptor=replace(ONE_PHASE, pushes=True))


@pytest.fixture
def crossroads(migrated_url: str, hands: Hands, there: Speaker) -> Iterator[Office]:
    """A bridge with an inbox before a provider that can be asked, and answers."""
    settings = {"transfer_seconds": 4, "lookup_seconds": 5, "patience_seconds": 900}
    with callbacks.office(migrated_url, clock=hands, **settings) as made:
        there.ear = made.runtime.providers[PROVIDER]
        made.runtime = replace(made.runtime, providers={**made.runtime.providers, PROVIDER: there})
        yield made


def told(crossroads: Office, there: Speaker, transfer_id: str, times: int) -> list[int]:
    """Callbacks about a transfer that the provider has executed, each a message of its own; their numbers."""
    row, leg = crossroads.row(transfer_id), crossroads.get(transfer_id).outside
    record = there.records[str(leg.reference)]
    data = callbacks.transfer(
        str(leg.reference), direction=row["direction"], sequence=record.sequence, provider_id=record.provider_id
    )
    for number in range(times):
        sent = letter("transfer.confirmed", data, crossroads.runtime.clock.now(), id_=f"evt_{number}")
        crossroads.hear(sent)
    return inbox.due(crossroads.runtime, times)


def resolver(crossroads: Office, there: Speaker) -> Callable[[], Any]:
    """Another worker's pass over what is due."""
    other = crossroads.another(providers={**crossroads.runtime.providers, PROVIDER: there})
    return lambda: [resolve.resolve(other.runtime, claim) for claim in resolve.claim_due(other.runtime, 10)]


def decider(crossroads: Office, transfer_id: str, kind: Kind, number: int) -> Callable[[], Any]:
    """Two people who decide about what they see now, and are told so if they come too late."""
    decision = Decision(kind, f"mia-{number}", f"carl-{number}", "seen there", crossroads.row(transfer_id)["version"])

    def act() -> str:
        try:
            return decide(crossroads.runtime, crossroads.operator, transfer_id, decision).state.value
        except (Stale, Invalid) as refused:
            return type(refused).__name__

    return act


def everybody(crossroads: Office, there: Speaker, transfer_id: str) -> list[Callable[[], Any]]:
    """Two resolvers, two refreshes, a poll that comes back under a lease that is lost, and two callbacks."""
    runtime = crossroads.runtime
    numbers = told(crossroads, there, transfer_id, 2)
    work: list[Callable[[], Any]] = [resolver(crossroads, there) for _ in range(2)]
    work += [lambda: resolve.refresh(runtime, transfer_id, runtime.clock.monotonic() + 5) for _ in range(2)]
    late = replace(there.callback(crossroads.reference(transfer_id)), source=Source.LOOKUP)
    work.append(lambda: advance(runtime, transfer_id, Claim(transfer_id, 0), late))
    return work + [lambda number=number: hear.act(runtime, number) for number in numbers]  # type: ignore[misc]


def moves(crossroads: Office, transfer_id: str) -> list[str]:
    """The transfer's own moves, in the order of their commits."""
    query = """SELECT target FROM history WHERE transfer_id = :id AND subject = 'transfer' ORDER BY id"""
    return [row["target"] for row in crossroads.rows(query, id=transfer_id)]


def sound(crossroads: Office) -> None:
    """The books are, and nothing is left to find."""
    crossroads.audit()
    assert verify(crossroads.runtime) == []


@BOTH_WAYS
def test_everybody_learns_of_the_end_at_once(crossroads: Office, there: Speaker, hands: Hands, direction: str) -> None:
    """C-28, I-10, I-30: an unanswered transfer, and two resolvers, two refreshes, a late poll and two callbacks that
    all learn at one instant that it was executed: one move, one set of postings."""
    there.script, there.asked = [LOST], [SILENT] * 3
    transfer_id = crossroads.run(direction)
    assert moves(crossroads, transfer_id) == ["pending"]
    hands.turn(60)
    work = everybody(crossroads, there, transfer_id)
    assert [each for each in together(len(work), lambda n: work[n]()) if isinstance(each, Exception)] == []
    assert moves(crossroads, transfer_id) == ["pending", "confirmed"]
    # In: into transit at the begin, on into the game with the proof. Out: from the game into the wallet with the proof.
    assert crossroads.count("posting", f"transfer_id = '{transfer_id}'") == (2 if direction == "in" else 1)
    assert there.executed == {crossroads.reference(transfer_id): 1}
    assert crossroads.game() == (1000 if direction == "in" else -1000)
    sound(crossroads)


@BOTH_WAYS
def test_everybody_and_two_people_at_once(crossroads: Office, there: Speaker, hands: Hands, direction: str) -> None:
    """C-28, I-10, I-54: the same with an orphan about which two pairs of people decide too: one move closes it, whoever
    came first, and every later one finds it closed."""
    there.script, there.asked = [LOST], [SILENT] * 40
    transfer_id = crossroads.run(direction)
    for _ in range(20):
        hands.turn(60)
        crossroads.resolve_due()
    assert moves(crossroads, transfer_id) == ["pending", "orphaned"]
    there.asked.clear()
    hands.turn(600)
    work = everybody(crossroads, there, transfer_id)
    work += [decider(crossroads, transfer_id, Kind.CONFIRM, number) for number in range(2)]
    found = together(len(work), lambda n: work[n]())
    assert [each for each in found if isinstance(each, Exception)] == []
    assert found[-2:].count("confirmed") == crossroads.count("decision") <= 1
    assert moves(crossroads, transfer_id) == ["pending", "orphaned", "confirmed"]
    postings = crossroads.rows("SELECT version FROM posting WHERE transfer_id = :id", id=transfer_id)
    assert len({row["version"] for row in postings}) == (3 if direction == "in" else 2), postings
    assert crossroads.rows("SELECT state FROM orphan_case") == [{"state": "closed"}]
    sound(crossroads)


@BOTH_WAYS
def test_people_are_contradicted_at_the_same_instant(
    crossroads: Office, there: Speaker, hands: Hands, direction: str
) -> None:
    """C-28, C-07, I-16: two people reverse an orphan while callbacks and look-ups prove that it was executed:
    either they came too late, or what they decided is contradicted, and then the end says so and has a case."""
    there.script, there.asked = [LOST], [SILENT] * 40
    transfer_id = crossroads.run(direction)
    for _ in range(20):
        hands.turn(60)
        crossroads.resolve_due()
    there.asked.clear()
    hands.turn(600)
    work = everybody(crossroads, there, transfer_id)
    work += [decider(crossroads, transfer_id, Kind.REVERSE, number) for number in range(2)]
    found = together(len(work), lambda n: work[n]())
    assert [each for each in found if isinstance(each, Exception)] == []
    decided = crossroads.count("decision")
    expected = ["reversed", "orphaned"] if decided else ["confirmed"]
    assert decided == found[-2:].count("reversed") <= 1
    assert moves(crossroads, transfer_id) == ["pending", "orphaned", *expected]
    assert crossroads.rows("SELECT state FROM orphan_case") == [{"state": "open" if decided else "closed"}]
    assert crossroads.game() == (1000 if direction == "in" else -1000)
    sound(crossroads)
