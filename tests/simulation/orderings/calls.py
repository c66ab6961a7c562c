"""The transfer service as a function of values: (rows, now, what is asked of it) -> (rows, the next request).

Each call runs the real code over the real database, which is laid down for it. Called again with the same rows at the
same instant and the same arguments it would do the same, for time and ids are arguments too: so the outcome is kept,
and the code runs once for all states of the search that differ only in what the provider and the network are at.

A worker that drives a transfer under its first lease keeps in hand what it has committed, and ends the transfer by it
at a stroke, where the row is still as it was (`bridge/transfers/ending.py`). The normal form of rows has no versions
and no epochs. So what it has in hand is told by the books that it had committed; the row is laid down with the first
epoch where the worker still holds that lease, and what it has in hand is of an older version where anything that moves
one has been written since. The key of a state says which of the two ways an answer would go (`Service.at_a_stroke`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge import inbox, webhooks
from bridge.evidence import Reply, Step
from bridge.inbox import Message
from bridge.ports import SECOND, Effect, Side, Window
from bridge.transfers import cancel, hear, resolve
from bridge.transfers.advance import FIRST_EPOCH, Asking, Claim, Order, Outcome, Question, advance
from bridge.transfers.begin import begin
from bridge.transfers.core.facts import replace
from bridge.transfers.drive import perform
from bridge.transfers.ending import end
from tests.simulation.orderings.judge import Books, Judge
from tests.simulation.orderings.rows import (
    EPOCH,
    INBOX,
    LAPSED,
    TASK,
    TRANSFER,
    VERSION,
    NormalForm,
    Rows,
    Shelf,
)  # fmt: skip
from tests.simulation.orderings.stand import (
    BEGINS,
    CALLBACK_SECRET,
    EUR,
    PEER,
    PLAYER,
    PROVIDER,
    TRANSFER_ID,
    Stand,
    monotonic_of,
    wall_of,
)  # fmt: skip
from tests.simulation.orderings.wire import Letter, Request


class Held(Request):
    """A request with what its worker knows under the first lease: the outcome of its commit, and the books after that.
    Under a later lease it knows nothing that counts."""

    known: Outcome | None = None
    since: int | None = None

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) is True and self.since == getattr(other, "since", None)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((*self, self.since))


class Done(NamedTuple):
    """What came of a call: the books after it, the request that the caller has in hand now, and what was wrong."""

    books: int
    request: Request | None
    wrong: tuple[str, ...]


@dataclass(slots=True)
class Kept:
    """One set of rows that was reached, in the normal form, and as the judge reads it; `still` numbers what is the same
    but for its instants, `worded` what is of one version of the transfer."""

    rows: Rows
    still: int
    worded: int
    books: Books


@dataclass
class Service:
    """The calls. `ran` counts those that were carried out, the others were known; `ended` the ends at a stroke."""

    stand: Stand
    judge: Judge
    ran: int = 0
    ended: int = 0
    kept: list[Kept] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shelf = Shelf(self.stand.connection)
        self._form = NormalForm(self._shelf)
        self._numbers: dict[Rows, int] = {}
        self._stills: dict[Rows, int] = {}
        self._words: dict[Rows, int] = {}
        self._known: dict[tuple[Any, ...], Done] = {}
        self._unmoved: set[tuple[int, tuple[str, ...]]] = set()
        self.empty = self._keep(self._shelf.read())

    # --- what can be asked of it ----------------------------------------------------------------------------

    def begin(self, books: int, now: int) -> Done:
        """A client begins the transfer."""
        return self._once(books, now, ("begin",), self._begin)

    def all_again(self, books: int, letters: list[Letter]) -> Done:
        """The client sends the same request under the same key again, and the provider every callback that came in
        before: once for rows that differ in nothing but instants, for when it happens is nothing to them."""
        call = ("again", *(each.id for each in letters))
        which = (self.kept[books].still, call)
        if which in self._unmoved:
            return Done(books, None, ())
        done = self._once(books, BEGINS, call, lambda: self._again(letters))
        if done == Done(books, None, ()):
            self._unmoved.add(which)
        return done

    def claim(self, books: int, now: int) -> Done:
        """A worker takes what is due, and does not come to anything yet."""
        return self._once(books, now, ("claim",), self._claim)

    def go_on(self, books: int, now: int, *, holds: bool) -> Done:
        """A worker that had taken the transfer goes on."""
        return self._once(books, now, ("go", holds), lambda: self._advance(holds=holds))

    def wish_cancel(self, books: int, now: int) -> Done:
        """The client wishes it cancelled; whoever is free asks at once."""
        return self._once(books, now, ("wish",), self._wish)

    def bring(self, books: int, now: int, request: Request, reply: Reply, asked: int, *, holds: bool) -> Done:
        """A worker that had `asked` at some instant (microseconds) brings the answer through the door now."""
        assert isinstance(request, Held)
        call, moved = ("bring", request, reply, asked, holds), request.since is not None and self._moved(request, books)
        return self._once(books, now, call, lambda: self._bring(now, request, reply, asked, holds=holds, moved=moved))

    def receive(self, books: int, now: int, letter: Letter) -> Done:
        """A callback comes in, and is left to the job."""
        return self._once(books, now, ("receive", letter.id), lambda: self._receive(letter))

    def hear(self, books: int, now: int, letter: Letter) -> Done:
        """A callback comes in, and the job acts on it at once."""
        received = self.receive(books, now, letter)
        acted = self.act(received.books, now, letter)
        return acted._replace(wrong=received.wrong + acted.wrong)

    def act(self, books: int, now: int, letter: Letter) -> Done:
        """The job acts on a callback that came in before."""
        return self._once(books, now, ("act", letter.id), lambda: self._act(letter))

    # --- how it is asked --------------------------------------------------------------------------------------

    def _once(self, books: int, now: int, call: tuple[Any, ...], run: Callable[[], Outcome | None]) -> Done:
        key = (books, now, *call)
        done = self._known.get(key)
        if done is None:
            done = self._known[key] = self._carry_out(books, now, call, run)
        return done

    def _carry_out(self, books: int, now: int, call: tuple[Any, ...], run: Callable[[], Outcome | None]) -> Done:
        self.ran += 1
        before = self.kept[books]
        self._shelf.lay(before.rows)
        self.stand.clock.wall = now
        self.stand.ids.number = 1 if before.books.state is None else 2
        try:
            outcome, raised = run(), []
        except Exception as trouble:  # noqa: BLE001 - whatever the service raises here, it should not
            outcome, raised = None, [f"raised: {call[0]} raised {trouble!r}"]
        rows = self._shelf.read()
        after = self._keep(rows)
        wrong = raised + self.judge.commit(before.books, self.kept[after].books, rows, self._shelf, call, now)
        request = None if outcome is None or outcome.order is None else self._request(outcome.order, outcome, after)
        if request is not None:
            wrong += self.judge.order(self.kept[after].books, request, call)
        return Done(after, request, tuple(wrong))

    def _begin(self) -> Outcome | None:
        return begin(self.stand.runtime, self.stand.operator, "key", self.stand.wish).outcome

    def _claim(self) -> None:
        claims = resolve.claim_due(self.stand.runtime, 1)
        assert len(claims) == 1, "a transfer that is due was not taken"

    def _advance(self, *, holds: bool, asking: Asking = Asking.DUE) -> Outcome:
        claim = Claim(TRANSFER_ID, EPOCH if holds else LAPSED)
        return advance(self.stand.runtime, TRANSFER_ID, claim, asking=asking)

    def _wish(self) -> Outcome | None:
        cancel._wish(self.stand.runtime, self.stand.operator, TRANSFER_ID)
        for claim in resolve.claim_due(self.stand.runtime, 1, TRANSFER_ID):
            return advance(self.stand.runtime, TRANSFER_ID, claim, asking=Asking.NOW)
        return None

    def _bring(
        self, now: int, request: Held, reply: Reply, asked: int, *, holds: bool, moved: bool
    ) -> Outcome:
        """As a driver does it: what ends it at a stroke, or else through the door."""
        runtime, known = self.stand.runtime, request.known
        self.stand.clock.wall, self.stand.port.answered_at, self.stand.port.says = asked, now, reply
        held_under = EPOCH if known is None else FIRST_EPOCH
        order = self._order(request, Claim(TRANSFER_ID, held_under if holds else LAPSED))
        fact, ended = perform(runtime, order), None
        if holds:
            self.stand.connection.execute("UPDATE transfer SET lease_epoch = ?", (held_under,))
        if known is not None:
            seen = replace(known.transfer, version=VERSION - 1 if moved else VERSION)
            ended = end(runtime, Outcome(seen, order), fact)
            self.ended += ended is not None
        return ended or advance(runtime, TRANSFER_ID, order.claim, fact)

    def at_a_stroke(self, request: Request, books: int, *, holds: bool) -> bool:
        """Whether an end that the answer to this request proves would be written from what its worker has in hand."""
        knows = isinstance(request, Held) and request.since is not None
        return knows and holds and request.moves_money and not self._moved(request, books)

    def _moved(self, request: Held, books: int) -> bool:
        """Whether the version of the transfer is another one by now: it moves with every move, wish and word, and not
        with the schedule, nor by a callback that is only stored."""
        assert request.since is not None
        return self.kept[request.since].worded != self.kept[books].worded

    def _worded(self, rows: Rows) -> int:
        at = self._shelf.at[TRANSFER]
        schedule = (at["wake_at"], at["lease_owner"])
        told = tuple(tuple(cell for place, cell in enumerate(row) if place not in schedule) for row in rows[TRANSFER])
        others = (rows[table] for table in range(len(rows)) if table not in (TRANSFER, INBOX, TASK))
        return self._words.setdefault((told, *others), len(self._words))

    def _again(self, letters: list[Letter]) -> Outcome | None:
        for letter in letters:
            self._receive(letter)
        return self._begin()

    def _receive(self, letter: Letter) -> None:
        second = self.stand.clock.now() // SECOND
        signature = webhooks.sign(CALLBACK_SECRET, letter.id, second, letter.body)
        inbox.receive(self.stand.runtime, PROVIDER, Message(letter.id, str(second), signature, letter.body), PEER)

    def _act(self, letter: Letter) -> None:
        query = "SELECT id FROM inbox WHERE message_id = ?"
        hear.act(self.stand.runtime, self.stand.connection.execute(query, (letter.id,)).fetchone()[0])

    # --- values -----------------------------------------------------------------------------------------------

    def _request(self, order: Order, known: Outcome, since: int) -> Held:
        step = order.step.value if order.step is not None else order.question.value
        effect, window = order.effect, order.window
        request = Held(
            step, order.attempt, order.ordinal, effect.reference, effect.provider_reference, effect.side.value,
            effect.amount, wall_of(window.not_after), wall_of(window.deadline),
        )  # fmt: skip
        if known.transfer.lease_epoch == FIRST_EPOCH:
            request.known, request.since = known, since
        return request

    @staticmethod
    def _order(request: Request, claim: Claim) -> Order:
        effect = Effect(
            request.reference, request.provider_reference, Side(request.side), PLAYER, request.amount, EUR
        )
        window = Window(monotonic_of(request.not_after), monotonic_of(request.deadline))
        step = Step(request.step) if request.moves_money else None
        return Order(claim, PROVIDER, request.ordinal, effect, window, step, request.attempt, Question.LOOK_UP)

    def _keep(self, rows: Rows) -> int:
        normal, still = self._form.of(rows)
        number = self._numbers.get(normal)
        if number is None:
            number = self._numbers[normal] = len(self.kept)
            same = self._stills.setdefault(still, len(self._stills))
            self.kept.append(Kept(normal, same, self._worded(normal), Books.read(normal, self._shelf)))
        return number
