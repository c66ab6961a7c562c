"""What may be concluded about a transfer of which a restored backup has forgotten a part: only what its provider says,
never that we had sent nothing. The backups are really made and really restored; the provider forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge import lineage, misdated
from bridge.errors import Invalid
from bridge.evidence import Answer, Evidence, Reply, Source, Step
from bridge.ports import SameId, Side
from bridge.transfers.core import fold
from bridge.transfers.core.decisions import left_to_take
from bridge.transfers.core.facts import ORDER, UNNOTICED, Leg, Transfer
from bridge.transfers.core.proof import judge
from bridge.verify import verify
from statemachines import LegState
from tests.deciding import decide
from tests.harness import PLAYER, Bench, Hands, bench, simulator
from tests.restoring import Copies, in_place
from tests.transfers.conftest import REAL_TIMES
from tests.transfers.scripted import GRANTED, ScriptedProvider
from tests.transfers.scripted_one import ABSENT, BELATED, DROPPED, LOST, ONE_PHASE, REFUSES, SILENT, ScriptedOne
from tests.transfers.test_after_decisions import carry_out, executed_late, order, state, wait
from tests.transfers.test_decide import CUSTODY, decision
from tests.transfers.test_sweep import START, has, loses, sweep
from tests.transfers.values import PREPARE, TWO_PHASE, at, attempt, called, looked, told, transfer

REPLAYS = replace(TWO_PHASE, same_id=SameId.REPLAY)


def backups(made: Bench, folder: Path) -> Copies:
    """The ways to and from a backup of this bridge's database, which it has looked at as every process does."""
    lineage.check(made.runtime)
    url = made.runtime.config.database.url
    return Copies(url, folder, in_place(url))


def restore(made: Bench, copies: Copies) -> None:
    """The backup comes back, and that is noticed."""
    lineage.check(made.runtime)
    made.runtime.engine.dispose()
    copies.restore()
    assert lineage.check(made.runtime)


# --- a second prepare finds its reference final ----------------------------------------------------------


TWO_IN_TIME = {"expiry_seconds": 3, "prepare_seconds": 2.5, "patience_seconds": 7}
"""Both prepares leave even where the machine stands still for a second: there is no third."""


@pytest.mark.parametrize("direction", ["in", "out"])
def test_second_prepare_meets_what_was_forgotten(migrated_url: str, tmp_path: Path, direction: str) -> None:
    """I-13 C-58 Completed, and forgotten: the first prepare behind the restore is answered with an error, the second
    finds its reference final. That it can only have been cancelled nobody can know: it is put before people."""
    with simulator(tmp_path) as provider, bench(migrated_url, provider.address, **TWO_IN_TIME) as made:
        provider.play(PLAYER, "50.00")
        copies = backups(made, tmp_path)
        transfer_id = made.begin(direction, "10.00", queued=True).transfer_id
        assert transfer_id is not None
        copies.back_up()
        made.resolve_until_still()
        assert state(made, transfer_id) == "confirmed"
        restore(made, copies)
        provider.script(18, on=["prepare"], params={"status": 503, "commit": False})

        made.resolve_until_still(20)

        leg = made.get(transfer_id).outside
        told_to_prepares = [piece.reply.answer for piece in leg.evidence if piece.source is Source.CALL]
        assert told_to_prepares == [Answer.UNKNOWN, Answer.CANCELLED]
        assert (state(made, transfer_id), provider.effects(leg.reference)) == ("orphaned", 1)
        assert made.account(CUSTODY) == 1000
        decide(made.runtime, made.operator, transfer_id, decision(made, transfer_id, "confirm"))
        assert made.game() == provider.owns(PLAYER)
        made.audit()


def taken_back(**marks: int) -> Transfer:
    """People have ordered a transfer in to be taken out of the game; its second prepare found the reference final."""
    ordered = Evidence(9, 2, Source.PERSON, Reply(Answer.UNKNOWN, code=ORDER), at(100), watermark=8)
    asked = transfer([attempt(1, PREPARE)], [ordered], state="orphaned", **marks)
    conflict = replace(told("cancelled", reference=None), amount=None, currency=None, player=None, side=None)
    back = Leg(
        3, "two", Side.DEBIT, LegState.SENT, 1000, PREPARE, undoes=2, reference="ref3",
        attempts=(attempt(1, PREPARE, 200), attempt(2, PREPARE, 205)),
        evidence=(called(1, PREPARE, "unknown", 204, id_=10), called(2, PREPARE, "", 206, id_=11, reply=conflict)),
    )  # fmt: skip
    return replace(asked, legs=(*asked.legs, back))


def test_what_was_perhaps_taken_is_not_taken_twice() -> None:
    """I-02 C-58 A take-back that was carried out and forgotten is not refused because its second prepare conflicts."""
    marks = {"first_rewound_at": at(150), "rewound_at": at(150)}
    for seen, verdict, left in ((taken_back(), "refused", 1000), (taken_back(**marks), "open", 0)):
        assert judge(seen, seen.driven, TWO_PHASE).verdict.value == verdict
        assert left_to_take(seen, TWO_PHASE) == left


def test_silence_under_a_restore_by_a_clock_that_was_ahead_is_not_old() -> None:
    """I-13 I-34: dealt with at an instant to come: what was asked since says nothing of what was sent in between."""
    asked = [looked("not_found", seconds) for seconds in (170, 190)]
    sent = [attempt(1, Step.TRANSFER)], [called(1, Step.TRANSFER, "unknown"), *asked]
    assert fold.find(transfer(*sent), ONE_PHASE).verdict.value == "refused"
    for ahead in (0, 86_400):
        marks = {"first_rewound_at": at(150 + ahead), "rewound_at": at(150 + ahead)}
        assert fold.find(transfer(*sent, **marks), ONE_PHASE).verdict.value == "open"


# --- a provider that may not know a repetition ------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 86_400], ids=["right", "ahead"])
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize(
    "promises", [{"same_id": SameId.UNSAFE}, {"dedupe_window": 60}, {}], ids=["never", "for a while", "for ever"]
)
def test_forgotten_is_not_sent_where_it_would_be_done_again(
    lone: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, direction: str, promises: Any, ahead: int
) -> None:
    """I-02 I-25 C-58 Executed, and forgotten: what was never sent as far as the backup knows is not sent to whoever
    would do it again, by whatever clock it was begun, and people are told; to whoever knows it for a repetition it
    is."""
    one.descriptor = replace(ONE_PHASE, **promises)
    one.executes_again = promises != {}
    copies = backups(lone, tmp_path)
    hands.set_both(ahead)
    transfer_id = str(lone.begin(direction, "10.00", queued=True).transfer_id)
    hands.set_both(-ahead)
    hands.turn(1)
    misdated.bring_near(lone.runtime)
    copies.back_up()
    lone.resolve_due()
    assert (state(lone, transfer_id), one.count("transfer")) == ("confirmed", 1)
    hands.turn(61)
    restore(lone, copies)

    lone.resolve_due()
    wait(lone, hands, 4 + ahead // 3600)

    assert one.executed[str(lone.get(transfer_id).outside.reference)] == 1
    assert (state(lone, transfer_id), one.count("transfer")) == (
        ("orphaned", 1) if one.executes_again else ("confirmed", 2)
    )
    lone.audit()
    if one.executes_again:
        assert lone.account(CUSTODY) == 1000
        decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "confirm"))
    assert (lone.game(), verify(lone.runtime)) == (one.net(PLAYER), [])


@pytest.mark.parametrize("again", [True, False], ids=["done again", "known for one"])
@pytest.mark.parametrize("another", [False, True], ids=["the first", "the second"])
def test_forgotten_take_back_is_not_ordered_again(
    lone: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, again: bool, another: bool
) -> None:
    """I-02 I-25 C-58 A take-back that was carried out and forgotten has the reference of the next one, or, where one
    before it came to nothing, another: people are refused one, and decide as it is there."""
    transfer_id = executed_late(lone, one, hands)
    one.descriptor = replace(ONE_PHASE, same_id=SameId.UNSAFE if again else SameId.REPLAY)
    one.executes_again = again
    copies = backups(lone, tmp_path)
    copies.back_up()
    if another:
        order(lone, transfer_id)
        one.script = [REFUSES]
        assert carry_out(lone, hands, transfer_id).state == "refused"
    order(lone, transfer_id)
    carry_out(lone, hands, transfer_id)
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("reversed", 0)
    restore(lone, copies)

    with pytest.raises(Invalid) as refused:
        order(lone, transfer_id)
    assert "might take twice" in refused.value.fields["kind"]
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "reverse"))

    assert (state(lone, transfer_id), one.net(PLAYER), lone.game()) == ("reversed", 0, 0)
    lone.audit()


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("another", [False, True], ids=["it was done", "another was"])
def test_order_to_take_back_that_the_backup_holds(
    lone: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, sent: bool, another: bool
) -> None:
    """I-02 I-25 C-58 The order is in the backup, perhaps a request for it, and not what came of it: it was carried out,
    or came to nothing and another one was carried out. It is not sent, nor sent again where the provider has not
    heard of it; people decide as it is there."""
    transfer_id = executed_late(lone, one, hands)
    copies = backups(lone, tmp_path)
    order(lone, transfer_id)
    one.script, one.asked = [DROPPED] * 3 if another else [LOST] if sent else [], [SILENT] if sent else []
    if sent:
        hands.turn(1)
        lone.resolve_due()
        assert len(lone.get(transfer_id).driven.attempts) == 1
    copies.back_up()
    back = carry_out(lone, hands, transfer_id)
    if another:
        assert back.state == "refused"
        order(lone, transfer_id)
        carry_out(lone, hands, transfer_id)
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("reversed", 0)
    restore(lone, copies)

    wait(lone, hands, 4)

    heard = sent and not another
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("reversed" if heard else "orphaned", 0)
    if not heard:
        decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "reverse"))
    assert lone.game() == 0
    lone.audit()


def test_what_is_first_behind_a_restore_was_not_the_first(
    lone: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path
) -> None:
    """I-13 I-25 C-58 Executed, and forgotten, and sent again; the provider remembers for seven minutes from the first
    of the two. That it is not found after those proves nothing."""
    one.descriptor = replace(ONE_PHASE, lookup_retention=420)
    copies = backups(lone, tmp_path)
    transfer_id = str(lone.begin("in", "10.00", queued=True).transfer_id)
    copies.back_up()
    lone.resolve_due()
    hands.turn(350)
    restore(lone, copies)
    one.script, one.asked = [DROPPED] * 9, [SILENT] * 4 + [ABSENT] * 99
    for _ in range(100):
        hands.turn(10)
        lone.resolve_due()

    asked = [piece.reply.answer for piece in lone.get(transfer_id).outside.lookups()]
    assert asked.count(Answer.NOT_FOUND) >= 2
    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 1000)
    lone.audit()


# --- a refusal, before and after a restore ----------------------------------------------------------------

NOW = UNNOTICED // 10**6
"""Seconds between an answer and a restore, from which on the answer is known to be the older one."""


@pytest.mark.parametrize(
    ("seconds", "by", "verdict"),
    [
        (200, TWO_PHASE, "open"),
        (100, TWO_PHASE, "open"),
        (100 - NOW, TWO_PHASE, "open"),
        (99 - NOW, TWO_PHASE, "refused"),
        (200, REPLAYS, "refused"),
        (200, replace(TWO_PHASE, same_id=SameId.UNSAFE), "open"),
    ],
    ids=["behind it", "at once", "not surely before", "surely before", "a replay", "told anew"],
)
@pytest.mark.parametrize("again", [0, 50, 5000])
def test_refusal_and_the_first_restore(seconds: float, by: Any, verdict: str, again: float) -> None:
    """I-13 C-58 A refusal proves nothing unless it is older than the first restore by more than a restore goes
    unnoticed, however often the database is restored later; or the provider would have told again what it told first,
    which one that refuses every reference that is final would not."""
    refused = called(1, PREPARE, "not_applied", seconds)
    marks = {"first_rewound_at": at(100), "rewound_at": at(100 + again)}
    for answer in (refused, called(2, PREPARE, "cancelled", seconds)):
        lost = [called(1, PREPARE, "unknown", 4)] if answer.attempt == 2 else []
        tries = [attempt(n, PREPARE) for n in range(1, answer.attempt + 1)]
        found = fold.find(transfer(tries, [*lost, answer], **marks), by).verdict.value
        assert found == (verdict if answer is refused or seconds < 100 - NOW else "open")


class FundsFirst(ScriptedProvider):
    """Looks whether there is enough before it looks whether the reference is known."""

    def _prepare(self, effect: Any, now: float | None = None) -> Reply:
        if effect.side is Side.DEBIT and self._available(effect.player) < effect.amount:
            return Reply(Answer.NOT_APPLIED, code="INSUFFICIENT_FUNDS", attempt_sensitive=True)
        return super()._prepare(effect, now)


@pytest.fixture
def twice(migrated_url: str, hands: Hands) -> Iterator[Bench]:
    """A bridge before a provider that looks at the balance first."""
    with bench(migrated_url, clock=hands, provider=FundsFirst(hands), **REAL_TIMES) as made:
        yield made


def test_a_mark_of_a_version_before_counts() -> None:
    """C-58: whoever was left running when the database was migrated marks only that it was restored, not since when."""
    refused = [attempt(1, PREPARE)], [called(1, PREPARE, "not_applied", 200)]
    for marks in ({"rewound_at": at(100)}, {"rewound_at": at(100), "first_rewound_at": at(100)}):
        assert fold.find(transfer(*refused, **marks), TWO_PHASE).is_open
    assert not fold.find(transfer(*refused), TWO_PHASE).is_open


def test_restored_again_it_is_no_better_known(twice: Bench, hands: Hands, tmp_path: Path) -> None:
    """I-13 C-58 All was taken out of the game, and forgotten; so the same request finds nothing there, which proves
    nothing, and people are asked. A second restore makes that answer none of the time when all was known."""
    provider: Any = twice.runtime.providers["sim"]
    copies = backups(twice, tmp_path)
    transfer_id = twice.begin("out", f"{GRANTED // 100}.00", queued=True).transfer_id
    assert transfer_id is not None
    copies.back_up()
    hands.turn(1)
    twice.resolve_due()
    assert (state(twice, transfer_id), provider.net(PLAYER)) == ("confirmed", -GRANTED)
    restore(twice, copies)
    first = twice.row(transfer_id)["rewound_at"]
    hands.turn(1)
    twice.resolve_due()
    assert [piece.reply.code for piece in twice.get(transfer_id).outside.evidence] == ["INSUFFICIENT_FUNDS"]
    wait(twice, hands, 1)
    assert state(twice, transfer_id) == "orphaned"

    hands.turn(100)
    lineage.restored(twice.runtime, "another backup", "mia")
    wait(twice, hands)

    row = twice.row(transfer_id)
    assert (row["first_rewound_at"], row["rewound_at"] > first) == (first, True)
    assert (row["state"], twice.account(CUSTODY), provider.net(PLAYER)) == ("orphaned", GRANTED, -GRANTED)
    twice.audit()


# --- a sweep ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [61, 1000], ids=["within patience", "past patience"])
def test_sweep_of_which_a_later_try_was_forgotten(
    lone: Bench, one: ScriptedOne, hands: Hands, tmp_path: Path, later: float
) -> None:
    """I-02 I-13 C-58 The first try was refused, which the backup knows; the second took 20.00 out, which it does not.
    It is neither reversed nor tried again under the reference that is used: people split it."""
    copies = backups(lone, tmp_path)
    has(one, 2500)
    bet = loses(one, "transfer")

    def during(operation: str) -> None:
        bet(operation)
        if operation == "balance" and one.count("transfer") == 1 and not copies.backup.exists():
            copies.back_up()

    one.during = during
    transfer_id = sweep(lone)
    assert (state(lone, transfer_id), lone.wallet(), len(lone.get(transfer_id).tries)) == ("confirmed", START + 2000, 2)
    hands.turn(later)
    restore(lone, copies)
    assert [leg.state for leg in lone.get(transfer_id).tries] == [LegState.REFUSED]

    wait(lone, hands, 3)

    assert (state(lone, transfer_id), lone.wallet(), one.net(PLAYER)) == ("orphaned", START, -2000)
    assert len(lone.get(transfer_id).tries) == 1
    assert one.count("transfer") == 2, "nothing was sent again"
    decide(lone.runtime, lone.operator, transfer_id, decision(lone, transfer_id, "split", arrived=2000, returned=500))
    assert (lone.wallet(), lone.game(), lone.account(CUSTODY)) == (START + 2000, -2000, 0)
    lone.audit()
    assert verify(lone.runtime) == []


@pytest.mark.parametrize(("sweeps", "verdict"), [(True, "open"), (False, "refused")])
def test_sweep_whose_refusal_is_heard_behind_the_restore(sweeps: bool, verdict: str) -> None:
    """I-13 C-58 The only try that is known is told as refused afterwards: it was perhaps told so before, too."""
    negative = [looked("not_applied", second, code="insufficient_funds") for second in (200, 220)]
    seen = transfer([attempt(1, PREPARE)], [called(1, PREPARE, "unknown"), *negative], sweep=sweeps,
                    rewound_at=at(100), first_rewound_at=at(100))  # fmt: skip
    assert fold.find(seen, ONE_PHASE).verdict.value == verdict


# --- the watch over a reversal ----------------------------------------------------------------------------


def test_reversal_is_watched_on(lone: Bench, one: ScriptedOne, hands: Hands) -> None:
    """C-07 C-58 Reversed by absence, by the rule, and then a backup is restored that knows it: that it is executed
    after all is seen as it would have been without."""
    one.script = [BELATED, DROPPED, DROPPED]
    transfer_id = lone.run("in")
    while state(lone, transfer_id) == "pending":
        hands.turn(30)
        lone.resolve_due()
    assert state(lone, transfer_id) == "reversed"
    lineage.restored(lone.runtime, "a backup of the night", "mia")
    assert lone.row(transfer_id)["rewound_at"] is not None

    wait(lone, hands, 3)

    assert (state(lone, transfer_id), one.net(PLAYER)) == ("orphaned", 1000)
    lone.audit()
