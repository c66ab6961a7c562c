"""The short version of `make chaos`: real processes killed, crowded and paused, judged by the provider's own
ledger file; and proof that the judge does not nod through what it should catch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import crossing, crowd, kills, pauses, scenes, unasked
from tests.chaos.books import effects, judge, unexplained_wallets, wire
from tests.chaos.client import Door
from tests.chaos.settings import Contract
from tests.chaos.station import Point, Station, Victims

QUICK = {"quick": 1.0}
SLOW = {"slow": 6.0}

# What a web process passes on one transfer: three commits, the last with the answer to its key, two money requests and
# a token, each with four moments. A kill at `reversed` comes too early for any effect.
PATH = [
    ("before the commit of attempt, {begin}idempotency_key, {posting}transfer", "confirmed"),  # by the repetition
    ("after the commit of attempt, {begin}idempotency_key, {posting}transfer", "reversed"),
    ("before POST /v1/auth/token", "reversed"),
    ("gate open for POST /v1/auth/token", "reversed"),
    ("bytes of POST /v1/auth/token away", "reversed"),
    ("answer of POST /v1/auth/token read", "reversed"),
    ("before POST /v1/fund-transfers", "reversed"),
    ("gate open for POST /v1/fund-transfers", "reversed"),
    ("bytes of POST /v1/fund-transfers away", "reversed"),
    ("answer of POST /v1/fund-transfers read", "reversed"),
    ("before the commit of attempt, evidence, transfer", "reversed"),
    ("after the commit of attempt, evidence, transfer", "reversed"),
    ("before PUT /v1/fund-transfers/{id}/status", "reversed"),
    ("gate open for PUT /v1/fund-transfers/{id}/status", "reversed"),
    ("bytes of PUT /v1/fund-transfers/{id}/status away", "confirmed"),
    ("answer of PUT /v1/fund-transfers/{id}/status read", "confirmed"),
    ("before the commit of evidence, idempotency_key, outbox, posting, transfer", "confirmed"),
    ("after the commit of evidence, idempotency_key, outbox, posting, transfer", "confirmed"),
]
# A transfer in takes its amount from the wallet as it begins; one out has nothing to post yet.
FIRST_COMMIT = {"in": {"begin": "evidence, ", "posting": "posting, "}, "out": {"begin": "", "posting": ""}}
RESOLVER_POINTS = (
    "after the commit of attempt, transfer",
    "bytes of PUT /v1/fund-transfers/{id}/status away",
    "before the commit of evidence, outbox, posting, transfer",
)


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    """The parent of this worker's victims."""
    with Victims(tmp_path_factory.mktemp("victims")) as parent:
        yield parent


@pytest.fixture
def direction(migrated_url: str) -> str:
    """In on SQLite, out on PostgreSQL; `make chaos` does both on both."""
    return "in" if migrated_url.startswith("sqlite") else "out"


def test_a_web_process_killed_anywhere_leaves_one_effect_or_none(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """C-02, C-48, C-49, I-14, I-20: whichever commit or call a process dies at, the provider's ledger then holds
    exactly one effect (confirmed) or none (reversed), and the same key answers with the same transfer."""
    with Station("restart", tmp_path / "restart", migrated_url, victims, QUICK) as station:
        found = kills.restart(station, [direction], print)
    assert found.wrong == []
    names = FIRST_COMMIT[direction] | {"id": "{id}"}
    expected = {label.format(**names): state for label, state in PATH}
    assert {str(kill.point): state for kill, state in found.told.items()} == expected
    assert found.points == len(PATH)


def test_a_resolver_killed_at_its_work_leaves_one_effect_or_none(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """C-02, C-45, I-31: a jobs process that dies while it drives a transfer is followed by another one, and
    the provider's ledger holds one effect or none."""
    with Station("jobs", tmp_path / "jobs", migrated_url, victims, QUICK) as station:
        found = kills.jobs(station, direction, [scenes.QUEUED], print, lambda point: str(point) in RESOLVER_POINTS)
    assert found.wrong == []
    ended = {str(kill.point): state for kill, state in found.told.items()}
    assert ended == dict(zip(RESOLVER_POINTS, ("reversed", "confirmed", "confirmed"), strict=True))


def test_at_the_contract_a_killed_process_leaves_one_effect_or_none(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """C-02, C-40, I-14, I-20: with one phase too, whichever commit or call a web process dies at: one request of
    money, and what its answer would have said is asked for."""
    with Station("signed", tmp_path / "signed", migrated_url, victims, {}, Contract()) as station:
        found = kills.restart(station, [direction], print)
    assert found.wrong == []
    assert found.points == len(found.told) == 8
    assert set(found.told.values()) == {"confirmed"}


def test_a_killed_cancel_and_a_killed_take_back_are_carried_out(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """C-02, C-07, C-45: a jobs process that dies while it cancels what a client wished cancelled, or takes out of a
    game what two people ordered: once done, never twice."""

    def chosen(point: Point) -> bool:
        return point.label.startswith("bytes of transfer.")

    left = [scenes.TO_BE_CANCELLED, scenes.TO_BE_TAKEN_BACK]
    with Station("ordered", tmp_path / "ordered", migrated_url, victims, {}, Contract()) as station:
        found = kills.jobs(station, direction, left, print, chosen)
    assert found.wrong == []
    assert sorted(str(kill.point) for kill in found.told) == [
        "bytes of transfer.cancel away", "bytes of transfer.create away",
    ]  # fmt: skip


def test_a_letter_that_was_taken_is_heard_once_whoever_dies(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """I-40, I-41, C-61, C-67: a web process dies at each point of receiving a callback, a jobs process at each point
    of acting on one: every letter that was answered 200 is in the inbox once, done, and evidence once."""
    with Station("letters", tmp_path / "letters", migrated_url, victims, {}, unasked.CONTRACT) as station:
        found = unasked.run(station, [direction], print)
        taken = [line for line in station.simulators["signed"].diary("callbacks") if line["status"] == 200]
    assert found.wrong == []
    assert found.points == len(found.told) == 12
    assert len(taken) >= 12


def test_everybody_at_once_meets_no_deadlock_and_no_error(migrated_url: str, victims: Victims, tmp_path: Path) -> None:
    """C-33, C-28: transfers, sweeps, recalls, cancels, cash, callbacks, resolvers and people about the same six
    players: no error of ours, no deadlock, and to the cent what both providers' ledgers say."""
    place = tmp_path / "crossing"
    with Station("crossing", place, migrated_url, victims, crossing.EXPIRIES, crossing.CONTRACT) as station:
        found = crossing.run(station, 5, print)
    assert (found.wrong, found.deadlocks) == ([], 0)
    assert found.states["confirmed"] > 20
    assert found.decided["carried out"] > 0


def test_the_same_key_many_times_at_once_is_one_transfer(migrated_url: str, victims: Victims, tmp_path: Path) -> None:
    """I-20, I-24, C-28, C-50: sixty times the same key at one instant through two web processes is one transfer
    with one effect in the provider's ledger; every answer is about it, or says that it is in flight."""
    with Station("crowd", tmp_path / "crowd", migrated_url, victims, {"slow": 10.0}) as station:
        found = crowd.run(station, 3, 60, print)
        moved = station.simulators["slow"].effects()
    assert (found.wrong, found.doubled) == ([], 0)
    assert len(moved) == len({effect.reference for effect in moved}) == 3
    assert sum(found.answers.values()) == 180
    assert set(found.answers) <= {"201", "202", "409 in_flight"}


def test_a_process_paused_past_its_lease_sends_nothing_any_more(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """C-40, C-31, I-25, I-30: a worker stopped right before a prepare or a complete, past its lease and its
    not-after, sends nothing when it goes on; its late evidence is stored and moves nothing."""
    with Station("pause", tmp_path / "pause", migrated_url, victims, QUICK | SLOW) as station:
        found = pauses.run(station, [direction], print)
    assert found.wrong == []
    assert found.points == sum(found.ends.values()) == 8
    assert set(found.ends) == {"reversed", "confirmed"}


def test_killed_between_prepare_and_complete_it_is_reversed_after_the_real_expiry(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """C-02, C-20, I-13: with the provider's real 10 s, a transfer whose process died between prepare and
    complete is reversed only after the provider has cancelled it by itself; its ledger holds no effect."""
    with Station("real", tmp_path / "real", migrated_url, victims, {"real": 10.0}) as station:
        wish = station.wish(direction)
        kill = kills.kill_web(station, wish, Point("before PUT /v1/fund-transfers/{id}/status"))
        with station.web() as web, station.jobs():
            door = Door(web.address, station.secret)
            transfer_id = station.post(door, kill.wish).transfer_id
            assert transfer_id is not None
            assert station.final(door, transfer_id) == "reversed"
        (record,) = station.ours().records
        ledger = station.simulators["real"].ledger
        story = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
        prepared, cancelled = (line for line in story if line.get("reference") == record.reference)
        ((settled_at,),) = station.rows("SELECT settled_at FROM transfer")
        assert (prepared["kind"], cancelled["kind"], cancelled["by"]) == ("prepared", "cancelled", "expiry")
        assert float(cancelled["at"]) - float(prepared["at"]) >= 10
        assert settled_at / 1_000_000 > float(cancelled["at"])
        assert wire(ledger, record.reference) == {"prepare": 1}
        assert effects(ledger) == []
        assert station.wrong() == []


def test_the_judge_catches_what_it_is_there_for(
    migrated_url: str, direction: str, victims: Victims, tmp_path: Path
) -> None:
    """C-02, I-02: an effect that is doubled, lost, altered, moved to another player or under a reference that
    nobody knows, planted in a copy of the ledger file, is named; so is a posting or a balance that is off."""
    with Station("judge", tmp_path / "judge", migrated_url, victims, {"slow": 10.0}) as station:
        kills.dry_run(station, direction)
        mine, ledger = station.ours(), station.simulators["slow"].ledger
        assert station.wrong() == []
    lines = ledger.read_text(encoding="utf-8").splitlines()
    (place,) = (number for number, line in enumerate(lines) if json.loads(line)["kind"] == "completed")
    genuine = json.loads(lines[place])

    def judged(*planted: dict[str, str]) -> list[str]:
        copy = tmp_path / "copy.ledger"
        kept = lines[:place] + [json.dumps(line) for line in planted] + lines[place + 1 :]
        copy.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        found = {"slow": effects(copy)}
        return judge(mine, found) + unexplained_wallets(mine, found)

    assert judged(genuine) == []
    assert any("its effects are" in sentence for sentence in judged(genuine, genuine))
    assert any("its effects are none" in sentence for sentence in judged())
    assert any("its effects are" in sentence for sentence in judged(genuine | {"amount": "10.02"}))
    assert any("its effects are" in sentence for sentence in judged(genuine | {"player": "somebody"}))
    assert any("none of our transfers" in sentence for sentence in judged(genuine, genuine | {"reference": "other"}))
    (record,) = mine.records
    for untrue in (
        replace(record, state="reversed"),
        replace(record, state="orphaned"),
        replace(record, posted={account: amount + 1 for account, amount in record.posted.items()}),
    ):
        assert judge(replace(mine, records=(untrue,)), {"slow": effects(ledger)}) != []
    off = {account: balance + 1 for account, balance in mine.balances.items()}
    assert len(judge(replace(mine, balances=off), {"slow": effects(ledger)})) == 1
    assert len(unexplained_wallets(replace(mine, balances=off), {"slow": effects(ledger)})) == 1
