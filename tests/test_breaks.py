"""A told balance is compared with ours: it opens a break or closes one, and never touches an account."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge import breaks, db
from bridge.breaks import Compared
from tests import callbacks
from tests.callbacks import OLD, RIVAL, Office, transfer
from tests.harness import EUR, PLAYER, PROVIDER, Hands, together


@pytest.fixture
def hands() -> Hands:
    """The clock of the office."""
    return Hands()


@pytest.fixture
def office(migrated_url: str, hands: Hands) -> Iterator[Office]:
    """A bridge whose player has 10.00 at our provider, by a transfer of two minutes ago."""
    with callbacks.office(migrated_url, clock=hands) as made:
        made.told("transfer.confirmed", transfer(made.planned()[1]))
        made.work()
        hands.turn(120)
        yield made


def compare(office: Office, theirs: int, *, told_by: str = breaks.SWEEP, at: int | None = None) -> Compared:
    """Compare in a transaction of its own."""
    now = office.runtime.clock.now() if at is None else at
    lane = (office.operator, PROVIDER, PLAYER, EUR)
    with db.writing(office.runtime.engine) as connection:
        return breaks.compare(connection, office.runtime, *lane, theirs, told_by, now)


def open_ones(office: Office) -> list[tuple[int, int, str]]:
    """(ours, theirs, who told) of each break that is open."""
    return [(row["ours"], row["theirs"], row["told_by"]) for row in breaks.open_ones(office.runtime)]


def test_both_signs_are_breaks(office, hands):
    """I-53: more there than here and less there than here are breaks alike; the same numbers again are the same one,
    whoever tells them."""
    assert compare(office, 1001) is Compared.DIFFERS
    hands.turn(1)
    assert compare(office, 1001, told_by=breaks.CALLBACK) is Compared.DIFFERS
    assert open_ones(office) == [(1000, 1001, "sweep")]
    hands.turn(1)
    assert compare(office, 999, told_by=breaks.CALLBACK) is Compared.DIFFERS
    assert open_ones(office) == [(1000, 999, "callback")]
    assert office.count("balance_break") == 2
    hands.turn(1)
    assert compare(office, 1000) is Compared.EQUAL
    assert open_ones(office) == []
    (first, second) = office.rows("SELECT opened_at, closed_at FROM balance_break ORDER BY opened_at")
    assert (first["closed_at"], second["closed_at"]) == (second["opened_at"], hands.now())
    assert office.game() == 1000


def test_an_agreement_leaves_no_row(office):
    """I-50: comparing what agrees, however often, writes nothing."""
    before = office.contents()
    assert [compare(office, 1000) for _ in range(3)] == [Compared.EQUAL] * 3
    assert office.contents() == before


def test_when_our_number_changes_the_break_is_another(office, hands):
    """I-53: a break says what both had when it was told; when ours has moved it is closed, and another is opened."""
    compare(office, 0)
    office.told("transfer.confirmed", transfer(office.planned()[1]), id_="evt_2")
    office.work()
    assert compare(office, 0) is Compared.BUSY
    assert open_ones(office) == [(1000, 0, "sweep")]
    hands.turn(61)
    assert compare(office, 0) is Compared.DIFFERS
    assert open_ones(office) == [(2000, 0, "sweep")]


@pytest.mark.parametrize(("seconds", "expected"), [(59, Compared.BUSY), (61, Compared.DIFFERS)])
def test_a_lane_is_quiet_after_a_minute(office, hands, seconds, expected):
    """I-53: a transfer that has just ended may not be in the told balance yet."""
    office.told("transfer.confirmed", transfer(office.planned()[1]), id_="evt_2")
    office.work()
    hands.turn(seconds)
    assert compare(office, 1) is expected


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_lane_with_an_open_transfer_is_busy_for_as_long_as_that_is_open(office, hands, direction):
    """I-53: pending or orphaned, in or out, for hours: what the provider has of it is not known, so nothing follows."""
    transfer_id, reference = office.planned(direction)
    hands.turn(3600)
    assert compare(office, 1) is Compared.BUSY
    wrong = transfer(reference, direction=direction, amount="3.00")
    office.told("transfer.confirmed", wrong, id_="evt_2")
    office.work()
    hands.turn(3600)
    assert office.get(transfer_id).state == "orphaned"
    assert compare(office, 1) is Compared.BUSY
    assert office.count("balance_break") == 0


def test_other_lanes_are_not_made_busy(office):
    """I-55: an open transfer of another player, or at another provider, keeps nothing from being compared."""
    office.player("bob")
    office.planned(player="bob")
    assert compare(office, 1) is Compared.DIFFERS
    with db.writing(office.runtime.engine) as connection:
        rivals = breaks.operator_of(connection, office.runtime, RIVAL)
        assert rivals is not None
        lane = (rivals, RIVAL, PLAYER, EUR)
        now = office.runtime.clock.now()
        assert breaks.compare(connection, office.runtime, *lane, 0, breaks.SWEEP, now) is Compared.EQUAL
        assert breaks.operator_of(connection, office.runtime, OLD) == office.operator


def test_what_was_told_before_something_else_is_outdated(office, hands):
    """C-62: comparisons may come in another order than the balances were told in; the newest told one stands."""
    earlier = hands.now()
    hands.turn(10)
    assert compare(office, 5) is Compared.DIFFERS
    assert compare(office, 7, at=earlier) is Compared.OUTDATED
    assert compare(office, 1000, at=earlier) is Compared.OUTDATED
    assert open_ones(office) == [(1000, 5, "sweep")]
    assert compare(office, 1000) is Compared.EQUAL
    assert compare(office, 5, at=earlier) is Compared.OUTDATED
    assert open_ones(office) == []


def test_one_who_is_no_player_here(office):
    """I-55: what a stranger holds there cannot be booked to anybody; a stranger who holds nothing is no difference."""
    now = office.runtime.clock.now()
    with db.writing(office.runtime.engine) as connection:
        for theirs, expected in ((7, Compared.NOBODY), (-7, Compared.NOBODY), (0, Compared.EQUAL)):
            lane = (office.operator, PROVIDER, "stranger", EUR)
            assert breaks.compare(connection, office.runtime, *lane, theirs, breaks.SWEEP, now) is expected
    assert office.count("balance_break") == 0


def test_many_compare_at_once(office):
    """I-53: eight workers compare different balances of one player at once: one break is open at the end."""
    answers = together(8, lambda number: compare(office, number))
    assert set(answers) == {Compared.DIFFERS}
    assert len(open_ones(office)) == 1
    assert office.count("balance_break", "closed_at IS NULL") == 1
