"""The sweep: opens what a restore has closed only when every balance there agrees with our books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from bridge import db, gates, lineage
from bridge.evidence import Answer, Reply
from bridge.ports import Balance, BalancePage, Window
from jobs import sweep
from tests.harness import PLAYER, PROVIDER, Bench, Hands, bench, simulator, together
from tests.restoring import Copies
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import OK, WRONG_AMOUNT, ScriptedProvider

NOTHING = {"swept": 0, "compared": 0, "differing": 0, "opened": 0}
QUIET = 61


class Listing(ScriptedProvider):
    """A provider whose list of balances is what the test says, two players a page."""

    def __init__(self, clock: Hands) -> None:
        super().__init__(clock)
        self.listed: dict[str, int] = {}
        self.broken_from = 10**9
        self.reads = 0
        self.while_reading = lambda: None

    def balances(self, currency: str, window: Window, after: str | None = None) -> BalancePage | Reply:
        self.reads += 1
        self.while_reading()
        if self.reads >= self.broken_from or self.clock.monotonic() >= window.deadline:
            return Reply(Answer.UNKNOWN, code="DEADLINE")
        names = [name for name in sorted(self.listed) if after is None or name > after]
        page = tuple(Balance(name, currency, self.listed[name]) for name in names[:2])
        return BalancePage(page, page[-1].player if len(names) > 2 else None)


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def provider(hands: Hands) -> Listing:
    """A provider that lists nobody yet."""
    return Listing(hands)


@pytest.fixture
def desk(migrated_url: str, hands: Hands, provider: Listing) -> Iterator[Bench]:
    """Five players with 1.00 to 5.00 at a provider that says the same; then a restore; then a quiet minute."""
    with bench(migrated_url, clock=hands, provider=provider, **REAL_TIMES) as made:
        for number in range(1, 6):
            player = made.player(f"p{number}")
            made.run("in", f"{number}.00", player=player)
            provider.listed[player] = number * 100
        lineage.restored(made.runtime, "said by hand", "ops")
        hands.turn(QUIET)
        yield made


def once(made: Bench, limit: int = 100) -> dict[str, int]:
    """One run of the job in a slot of its own."""
    made.runtime.clock.sleep(sweep.EVERY_SECONDS)
    return sweep.run_once(made.runtime, made.runtime.clock.now(), limit, Event())


def is_closed(made: Bench) -> bool:
    """Whether transfers in are closed."""
    with db.reading(made.runtime.engine) as connection:
        return bool(gates.closed(connection))


def broken(made: Bench) -> list[tuple[str, int, int]]:
    """(player, ours, theirs) of each open break."""
    query = "SELECT * FROM balance_break WHERE closed_at IS NULL ORDER BY player_id"
    return [(row["player_id"], row["ours"], row["theirs"]) for row in made.rows(query)]


def outcomes(made: Bench) -> list[str]:
    """What the runs have left behind."""
    return [row["outcome"] for row in made.rows("SELECT outcome FROM job_run WHERE job = 'sweep' ORDER BY slot")]


def test_where_all_agrees_it_opens_by_itself(desk: Bench, provider: Listing) -> None:
    """C-58: every page is read, every balance agrees, nothing is unresolved: the switch opens, and stays open."""
    assert once(desk) == {"swept": 1, "compared": 5, "differing": 0, "opened": 1}
    assert provider.reads == 3
    assert (is_closed(desk), broken(desk), outcomes(desk)) == (False, [], ["sim: 5 equal"])
    assert desk.row(desk.run("in", "1.00"))["state"] == "confirmed"

    assert once(desk) == NOTHING
    assert provider.reads == 3, "where nothing is closed nothing is read"
    assert len(outcomes(desk)) == 1


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ({"p4": 401}, ("p4", 400, 401)),
        ({"p5": 499}, ("p5", 500, 499)),
        ({"p2": None}, ("p2", 200, 0)),
        ({PLAYER: 1}, (PLAYER, 0, 1)),
        ({"p1": 0}, ("p1", 100, 0)),
        ({"p3": -300}, ("p3", 300, -300)),
    ],
    ids=["more there", "less there", "not on the list", "nothing here", "nothing there", "a sign"],
)
def test_one_difference_keeps_it_closed(desk: Bench, provider: Listing, listed: Any, found: Any) -> None:
    """C-58, I-53: one cent on one player in either direction is a break and keeps the provider closed; when they
    agree again, the break closes and the provider opens."""
    honest = dict(provider.listed)
    provider.listed = {name: held for name, held in {**honest, **listed}.items() if held is not None}
    for _ in range(2):
        counts = once(desk)
        assert (counts["swept"], counts["differing"], counts["opened"]) == (1, 1, 0)
        assert is_closed(desk)
        assert broken(desk) == [found]
    provider.listed = honest

    assert once(desk)["opened"] == 1
    assert (is_closed(desk), broken(desk)) == (False, [])


def test_a_forgotten_player_with_money_there_keeps_it_closed(
    desk: Bench, provider: Listing, capfd: pytest.CaptureFixture[str]
) -> None:
    """C-58: money of somebody who is no player any more can be on no break; it is told in the log, and it keeps the
    provider closed. One who holds nothing there does not matter."""
    provider.listed |= {"gone": 900, "passer_by": 0}
    counts = once(desk)
    assert (counts["differing"], counts["opened"], is_closed(desk)) == (1, 0, True)
    assert "balance of nobody we know" in capfd.readouterr().err

    desk.player("gone")
    assert once(desk)["differing"] == 1
    assert broken(desk) == [("gone", 0, 900)]


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_list_that_is_not_read_to_its_end_proves_nothing(desk: Bench, provider: Listing, page: int) -> None:
    """C-58, I-52: a page that does not come leaves the provider closed, and makes no break of those who would have
    stood on it; the next run tries again."""
    provider.broken_from = page
    assert once(desk) == NOTHING
    assert (is_closed(desk), broken(desk), outcomes(desk)) == (True, [], ["sim: not read"])

    provider.broken_from = 10**9
    assert once(desk)["opened"] == 1


def test_a_list_without_end_is_left(desk: Bench) -> None:
    """C-58: a run reads so many pages and no more; what was not read to its end opens nothing."""
    assert once(desk, limit=2) == NOTHING
    assert is_closed(desk)
    assert once(desk, limit=3)["opened"] == 1


def test_a_busy_lane_keeps_it_closed_until_it_is_quiet(desk: Bench, provider: Listing, hands: Hands) -> None:
    """C-58: money that has just come home says nothing of the balance yet: closed, no break; a minute later it does."""
    desk.run("out", "2.00", player="p2")
    assert once(desk)["opened"] == 0
    assert (is_closed(desk), broken(desk)) == (True, [])
    provider.listed["p2"] = 0
    hands.turn(QUIET)

    assert once(desk)["opened"] == 1


def test_what_is_unresolved_keeps_it_closed(desk: Bench, provider: Listing, hands: Hands) -> None:
    """C-58: an orphan there, also of a player whom neither side's balances name, is a question that is open."""
    provider.script = [OK, WRONG_AMOUNT]
    desk.player("poor", "1.00")
    orphan = desk.run("out", "1.00", player="poor")
    assert desk.row(orphan)["state"] == "orphaned"
    hands.turn(QUIET)
    with db.writing(desk.runtime.engine) as connection:
        connection.execute(text("UPDATE account SET balance = 0 WHERE account = 'game:sim:poor'"))

    assert once(desk)["differing"] == 0
    assert is_closed(desk)


@pytest.mark.parametrize("first", ["restored", "paused"])
def test_what_people_have_closed_as_well_is_compared_and_stays_theirs(
    desk: Bench, provider: Listing, hands: Hands, first: str
) -> None:
    """C-58; design §3, rule 10: money that a backup has forgotten is found also where people had paused the provider,
    before the restore or after it; the machine opens only what it alone has closed, and does not ask again for ever."""
    if first == "paused":
        gates.resume(desk.runtime, PROVIDER, "ops")
    gates.pause(desk.runtime, PROVIDER, "not yet", "ops")
    if first == "paused":
        lineage.restored(desk.runtime, "again", "ops")
        hands.turn(QUIET)
    provider.listed["p4"] = 401
    assert once(desk) == {"swept": 1, "compared": 5, "differing": 1, "opened": 0}
    assert broken(desk) == [("p4", 400, 401)]

    provider.listed["p4"] = 400
    assert once(desk) == {"swept": 1, "compared": 5, "differing": 0, "opened": 0}
    assert (is_closed(desk), broken(desk)) == (True, [])
    reads = provider.reads
    assert once(desk) == NOTHING
    assert (provider.reads, is_closed(desk)) == (reads, True)


def test_a_pause_without_a_restore_is_not_swept(desk: Bench, provider: Listing) -> None:
    """Design §3, rule 10: a pause alone asks the provider for no balances."""
    gates.resume(desk.runtime, PROVIDER, "ops")
    gates.pause(desk.runtime, PROVIDER, "not yet", "ops")

    assert once(desk) == NOTHING
    assert (provider.reads, is_closed(desk)) == (0, True)


def test_a_pause_during_a_sweep_is_swept_once_more(desk: Bench, provider: Listing) -> None:
    """Design §3, rule 10: whoever pauses while the balances are read has closed another switch than was seen."""

    def pause() -> None:
        provider.while_reading = lambda: None
        gates.pause(desk.runtime, PROVIDER, "not yet", "ops")

    provider.while_reading = pause
    assert once(desk)["opened"] == 0
    assert is_closed(desk)
    assert once(desk) == {"swept": 1, "compared": 5, "differing": 0, "opened": 0}
    assert is_closed(desk)
    assert once(desk) == NOTHING


def test_a_second_restore_during_a_sweep_keeps_it_closed(desk: Bench, provider: Listing, hands: Hands) -> None:
    """C-58: what was read before the second restore says nothing of the database after it."""

    def set_back() -> None:
        provider.while_reading = lambda: None
        hands.turn(1)
        lineage.restored(desk.runtime, "again", "ops")

    provider.while_reading = set_back
    assert once(desk)["opened"] == 0
    assert is_closed(desk)


def test_a_process_that_stops_reads_no_further(desk: Bench, provider: Listing) -> None:
    """Design §10: a stop between two pages ends the sweep; it opens nothing."""
    stop = Event()
    provider.while_reading = stop.set
    desk.runtime.clock.sleep(sweep.EVERY_SECONDS)

    assert sweep.run_once(desk.runtime, desk.runtime.clock.now(), 100, stop) == NOTHING
    assert (provider.reads, is_closed(desk)) == (1, True)


def test_one_process_sweeps_at_a_time(desk: Bench, provider: Listing, hands: Hands) -> None:
    """C-38: of eight processes one gets the slot; while it is at it nobody begins in a later slot either, and one
    that died does not keep the others out for ever."""
    provider.listed["p1"] = 0
    now = hands.now()
    counts = together(8, lambda _n: sweep.run_once(desk.runtime, now, 100, Event()))
    assert Counter(each["swept"] for each in counts) == {0: 7, 1: 1}

    with db.writing(desk.runtime.engine) as connection:
        connection.execute(text("UPDATE job_run SET finished_at = NULL WHERE job = 'sweep'"))
    assert once(desk) == NOTHING
    hands.turn(sweep.LONGEST_SECONDS)
    assert once(desk)["swept"] == 1


def raises() -> None:
    """What no adapter does, unless it has a bug."""
    raise OSError("a bug of ours")


def test_a_sweep_that_died_under_a_clock_that_was_ahead_keeps_nobody(
    desk: Bench, provider: Listing, hands: Hands
) -> None:
    """I-34 C-58: its row says for a day that it begins at a time to come; the next one does not wait for that."""

    def dies() -> None:
        raise KeyboardInterrupt

    hands.set_both(86_400)
    provider.while_reading = dies
    with pytest.raises(KeyboardInterrupt):
        sweep.run_once(desk.runtime, hands.now(), 10, Event())
    hands.set_both(-86_400)
    provider.while_reading = lambda: None

    assert sweep.run_once(desk.runtime, hands.now(), 10, Event())["opened"] == 1


def test_one_providers_trouble_keeps_no_other_closed(desk: Bench, provider: Listing, hands: Hands) -> None:
    """C-46: a provider whose adapter raises stays closed, and the next one is swept all the same."""
    raising = Listing(hands)
    raising.while_reading = raises
    section = desk.runtime.policy(PROVIDER)
    sections = {"another": section.model_copy(update={"username": "other"}), PROVIDER: section}
    config = desk.runtime.config.model_copy(update={"providers": sections})
    both = replace(desk.runtime, config=config, providers={"another": raising, PROVIDER: provider})
    lineage.restored(both, "again", "ops")
    desk.runtime = both

    assert once(desk)["opened"] == 1
    with db.reading(both.engine) as connection:
        assert [each.provider for each in gates.closed(connection)] == ["another"]
    assert outcomes(desk) == ["another: not read; sim: 5 equal"]


# --- with a provider that is really there ---------------------------------------------------------------


@pytest.fixture(params=["sqlite mv", "postgresql clean"])
def copies(request: pytest.FixtureRequest, tmp_path: Path, postgres: Any) -> Iterator[Copies]:
    """A migrated database and a way to restore it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    if request.param.startswith("sqlite"):
        file = tmp_path / "bridge.db"
        db.migrate(f"sqlite:///{file}")
        yield Copies(f"sqlite:///{file}", folder, request.param)
        return
    name = f"bridge_sweep_{folder.stat().st_ino}"
    url = postgres.create_database(name, request.getfixturevalue("migrated_postgres_template"))
    yield Copies(url, folder, request.param)
    postgres.drop_database(name)


@pytest.mark.parametrize("forgotten", [False, True], ids=["nothing is lost", "a transfer is forgotten"])
def test_after_a_real_restore(copies: Copies, tmp_path: Path, hands: Hands, forgotten: bool) -> None:
    """C-58: a backup that lost nothing opens by itself; one that forgot a transfer which the provider's own ledger
    knows stays closed, with the difference on a break, while the player's money can come home."""
    with simulator(tmp_path) as there, bench(copies.url, there.address, clock=hands, **REAL_TIMES) as made:
        made.run("in", "20.00", ask=5)
        made.runtime.engine.dispose()
        lineage.watch(made.runtime)
        made.runtime.engine.dispose()
        copies.back_up()
        if forgotten:
            made.run("in", "7.00", ask=5)
        made.runtime.engine.dispose()
        copies.restore()
        lineage.watch(made.runtime)
        assert is_closed(made)
        hands.turn(QUIET)

        counts = once(made)

        assert counts["swept"] == 1
        assert is_closed(made) == forgotten
        if not forgotten:
            assert made.row(made.run("in", "1.00", ask=5))["state"] == "confirmed"
            return
        assert broken(made) == [(PLAYER, 2000, there.owns(PLAYER))]
        assert there.owns(PLAYER) == 2700
        out = made.run("out", "27.00", ask=5)
        assert made.row(out)["state"] == "confirmed"
        assert (there.owns(PLAYER), made.game()) == (0, -700)
        gates.resume(made.runtime, PROVIDER, "ops")
        assert made.row(made.run("in", "1.00", key="after", ask=5))["state"] == "confirmed"
        made.audit()
