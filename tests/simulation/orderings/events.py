"""The states of the search, and everything that can happen in one of them.

A state is what is true everywhere at once: the rows of the bridge, the time, the provider's own truth with the requests
and callbacks that are on their way, and what each living worker has in hand. Two workers live at once at most; a third
finds the transfer when one of them has ended or died.

What can happen: *answered* (the request is received, executed, accepted or refused there, and the answer committed
here), *lost* (received, and no answer came), *never arrived*, *delayed* (no answer; it arrives within the contract's
time, or never), *unreachable* (no byte left), *twice* (it is received twice), *stands still* (answered, and the worker
has not come to anything yet: the pause between wire and commit), *brings* (its end), *dies* (the crash, wherever the
worker was: with a claim, with a committed request, with an answer), *claims* and *resolves* (the resolver, stopped
after the claim or not), *goes on*, a *callback* that comes in and is acted on, or is only stored, or comes again; the
client's *same request again* and its *wish to cancel*; what the *provider* does by itself; and *patience*: time passes
to one of the instants at which something changes. A worker that stands still before its request leaves is one beside
which time passes; what its own window then forbids, it does not send.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from bridge.evidence import Answer, Reply
from bridge.ports import SECOND
from tests.simulation.orderings import sameness
from tests.simulation.orderings.calls import Done, Service
from tests.simulation.orderings.judge import OPEN, Books
from tests.simulation.orderings.stand import BEGINS
from tests.simulation.orderings.truth_one import One
from tests.simulation.orderings.truth_two import Two
from tests.simulation.orderings.wire import Letter, Request

WORKERS = 2

NOTHING = Reply(Answer.UNKNOWN, code="DEADLINE")
UNREACHABLE = Reply(Answer.NOT_SENT, code="CONNECTION")
TOO_LATE = Reply(Answer.NOT_SENT, code="NOT_AFTER")


class Hand(NamedTuple):
    """What a living worker is at: a claim, a request that it has not sent, or an answer that it has not brought."""

    holds: bool
    request: Request | None = None
    reply: Reply | None = None
    asked: int = 0
    """When it had asked what it has the answer to."""

    @property
    def asks(self) -> bool:
        """Whether it has the answer to a question, which counts from when it was asked."""
        return self.reply is not None and self.request is not None and not self.request.moves_money

    def key(self, now: int) -> tuple[Any, ...]:
        """Itself with instants told from now; a window that has closed is closed, however long ago. What `asked`
        means is said by `sameness.brought`."""
        if self.request is None:
            return (self.holds,)
        if self.reply is not None:
            return (self.holds, *self.request[:-2], self.reply.answer.value, self.reply.sequence, self.reply.code)
        return (self.holds, *self.request[:-2], max(0, self.request.closes - now))


class State(NamedTuple):
    """Everything that is true at one instant."""

    books: int
    now: int
    truth: One | Two
    hands: tuple[Hand, ...]


class Step(NamedTuple):
    """One thing that happened, what is true after it, and what was wrong about the bridge's own part."""

    label: str
    state: State
    wrong: tuple[str, ...] = ()


@dataclass
class Events:
    """What can happen, for one service."""

    service: Service
    families: frozenset[str] = frozenset()

    def beginning(self, truth: One | Two) -> State:
        """Nobody has asked for anything yet."""
        return State(self.service.empty, BEGINS, truth, ())

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that can happen next."""
        books = self._books(state)
        if books.state is None:
            yield self._begun(state)
            return
        for place in range(len(state.hands)):
            yield from self._of_worker(state, place)
        yield from self._of_client(state, books)
        yield from self._of_resolver(state, books)
        if "callbacks" in self.families:
            yield from self._of_callbacks(state, books)
        for label, truth in state.truth.happenings(state.now):
            if label == "provider takes back" and "callbacks" not in self.families:
                continue
            yield Step(label, state._replace(truth=truth))
        yield from self._of_time(state, books)

    def honest(self, state: State) -> Step | None:
        """The next thing that happens if nothing is lost, nobody dies and nobody stands still any more."""
        books = self._books(state)
        if books.state is None:
            return self._begun(state)
        if state.hands:
            return self._honest_worker(state)
        truth = state.truth.honestly(state.now)
        if truth is not None:
            return Step("the provider comes to it", state._replace(truth=truth))
        for letter in self._letters(state, books):
            fate = (books.letters or {}).get(letter.id)
            if fate is None or fate in ("waiting", "parked"):
                call = self.service.hear if fate is None else self.service.act
                return self._settled(f"callback {letter.id}", state, call(state.books, state.now, letter))
        if books.wake_at is None:
            return None
        if books.wake_at > state.now:
            return self._wait(state, books.wake_at, "wake-up")
        return self._resolved(state)

    # --- one worker -----------------------------------------------------------------------------------------

    def _of_worker(self, state: State, place: int) -> Iterator[Step]:
        hand, name = state.hands[place], f"worker {place + 1}"
        if hand.request is None:
            yield self._gone_on(state, place, f"{name} goes on")
        elif hand.reply is not None:
            yield self._brought(state, place, hand.reply, f"{name} brings {hand.reply.answer.value}")
        elif state.now >= hand.request.closes:
            reply = TOO_LATE if hand.request.moves_money else NOTHING
            yield self._brought(state, place, reply, f"{name} is too late to send {hand.request.step}")
        elif hand.request.moves_money:
            yield from self._sends(state, place, name)
        else:
            reply = state.truth.look_up(hand.request)
            yield self._brought(state, place, reply, f"{name} look_up answered")
            yield self._brought(state, place, NOTHING, f"{name} look_up lost")
            if "pauses" in self.families:
                yield self._still(state, place, reply, f"{name} look_up answered, stands still")
        yield Step(f"{name} dies", state._replace(hands=_without(state.hands, place)))

    def _sends(self, state: State, place: int, name: str) -> Iterator[Step]:
        request = state.hands[place].request
        assert request is not None
        told = f"{name} {request.step}"
        wills = state.truth.wills(request) if "wills" in self.families else state.truth.wills(request)[:1]
        for will in wills:
            kind = "" if will == "executes" else f", {will}"
            truth, reply = state.truth.receive(request, will, state.now)
            arrived = state._replace(truth=truth)
            yield self._brought(arrived, place, reply, f"{told} answered{kind}")
            yield self._brought(arrived, place, NOTHING, f"{told} lost{kind}")
            if self.families & {"pauses", "slow"}:
                yield self._still(arrived, place, reply, f"{told} answered{kind}, stands still")
        truth, _ = state.truth.receive(request, wills[0], state.now)
        truth, reply = truth.receive(request, wills[0], state.now)
        yield self._brought(state._replace(truth=truth), place, reply, f"{told} twice, answered")
        yield self._brought(state, place, NOTHING, f"{told} never arrived")
        if "unreachable" in self.families:
            yield self._brought(state, place, UNREACHABLE, f"{told} unreachable")
        delayed = state._replace(truth=state.truth.delay(request, state.now))
        yield self._brought(delayed, place, NOTHING, f"{told} delayed")

    def _honest_worker(self, state: State) -> Step:
        hand = state.hands[0]
        if hand.request is None:
            return self._gone_on(state, 0, "goes on")
        if hand.reply is not None:
            return self._brought(state, 0, hand.reply, "brings")
        if state.now >= hand.request.closes:
            return self._brought(state, 0, TOO_LATE if hand.request.moves_money else NOTHING, "is too late")
        if not hand.request.moves_money:
            return self._brought(state, 0, state.truth.look_up(hand.request), "look_up answered")
        truth, reply = state.truth.receive(hand.request, state.truth.wills(hand.request)[0], state.now)
        return self._brought(state._replace(truth=truth), 0, reply, f"{hand.request.step} answered")

    def _brought(self, state: State, place: int, reply: Reply, label: str) -> Step:
        hand = state.hands[place]
        assert hand.request is not None
        asked = state.now if hand.reply is None else hand.asked
        done = self.service.bring(state.books, state.now, hand.request, reply, asked, holds=hand.holds)
        return self._continued(label, state, place, done)

    def _gone_on(self, state: State, place: int, label: str) -> Step:
        done = self.service.go_on(state.books, state.now, holds=state.hands[place].holds)
        return self._continued(label, state, place, done)

    def _still(self, state: State, place: int, reply: Reply, label: str) -> Step:
        hand = state.hands[place]._replace(reply=reply, asked=state.now)
        return Step(label, state._replace(hands=_with(state.hands, place, hand)))

    def _continued(self, label: str, state: State, place: int, done: Done) -> Step:
        hands = _without(state.hands, place)
        if done.request is not None:
            hands = _with(state.hands, place, Hand(state.hands[place].holds, done.request))
        return Step(label, state._replace(books=done.books, hands=hands), done.wrong)

    # --- the others -----------------------------------------------------------------------------------------

    def _begun(self, state: State) -> Step:
        done = self.service.begin(state.books, state.now)
        wrong = done.wrong if done.request is not None else (*done.wrong, "begin: nothing was to be sent")
        hands = () if done.request is None else (Hand(holds=True, request=done.request),)
        return Step("begin", state._replace(books=done.books, hands=hands), wrong)

    def _of_client(self, state: State, books: Books) -> Iterator[Step]:
        came_in = [letter for letter in self._letters(state, books) if letter.id in (books.letters or {})]
        yield self._settled("all again", state, self.service.all_again(state.books, came_in))
        if "wishes" not in self.families or books.wished or books.state not in OPEN:
            return
        taken = not books.leased or (books.wake_at or 0) <= state.now
        if not taken or len(state.hands) < WORKERS:
            done = self.service.wish_cancel(state.books, state.now)
            hands = _lapsed(state.hands) if taken else state.hands
            if done.request is not None:
                hands = (*hands, Hand(holds=True, request=done.request))
            yield Step("wish to cancel", state._replace(books=done.books, hands=hands), done.wrong)

    def _of_resolver(self, state: State, books: Books) -> Iterator[Step]:
        if books.wake_at is None or books.wake_at > state.now or len(state.hands) >= WORKERS:
            return
        yield self._resolved(state)
        if "claims" in self.families:
            yield self._claimed(state)

    def _claimed(self, state: State) -> Step:
        done = self.service.claim(state.books, state.now)
        hands = (*_lapsed(state.hands), Hand(holds=True))
        return Step("resolver claims, stands still", state._replace(books=done.books, hands=hands), done.wrong)

    def _resolved(self, state: State) -> Step:
        claimed = self._claimed(state)
        went = self._gone_on(claimed.state, len(claimed.state.hands) - 1, "resolver resolves")
        return went._replace(wrong=claimed.wrong + went.wrong)

    def _letters(self, state: State, books: Books) -> list[Letter]:
        return state.truth.letters(books.outside["reference"], books.outside["side"])

    def _of_callbacks(self, state: State, books: Books) -> Iterator[Step]:
        came_in = books.letters or {}
        for letter in self._letters(state, books):
            fate, name = came_in.get(letter.id), f"callback {letter.kind} #{letter.sequence}"
            if fate is None:
                heard = self.service.hear(state.books, state.now, letter)
                yield self._settled(name, state, heard)
                if "stored" in self.families:
                    stored = self.service.receive(state.books, state.now, letter)
                    yield self._settled(f"{name} stored", state, stored)
            elif fate in ("waiting", "parked"):
                yield self._settled(f"{name} acted on", state, self.service.act(state.books, state.now, letter))

    @staticmethod
    def _settled(label: str, state: State, done: Done) -> Step:
        return Step(label, state._replace(books=done.books), done.wrong)

    # --- time -----------------------------------------------------------------------------------------------

    def _of_time(self, state: State, books: Books) -> Iterator[Step]:
        ahead: dict[int, str] = {}
        for instant, name in self._instants(state, books):
            if instant > state.now:
                ahead.setdefault(instant, name)
        for instant in sorted(ahead):
            yield self._wait(state, instant, ahead[instant])

    def _instants(self, state: State, books: Books) -> Iterator[tuple[int, str]]:
        if books.wake_at is not None:
            yield books.wake_at, "end of lease" if books.leased else "wake-up"
        for hand in state.hands:
            if hand.request is not None and hand.request.moves_money and hand.reply is None:
                yield hand.request.closes, "end of a window"
        for instant in state.truth.instants():
            yield instant, "the provider's bound"
        if books.state == "pending" and books.orphan_at is not None:
            yield books.orphan_at, "end of patience"
        yield from self._marks(books)

    def _marks(self, books: Books) -> Iterator[tuple[int, str]]:
        """From when on a word counts that did not before: of absence, again, of a refusal that was looked up."""
        if books.state not in OPEN or not books.attempts:
            return
        descriptor = self.service.stand.port.descriptor
        final, *absent = sameness.marks(books, descriptor)
        if any(piece[1] == "lookup" and piece[4] in ("cancelled", "not_applied") for piece in books.evidence):
            yield final, "failure counts"
        for mark in absent:
            yield mark, "absence counts"
        seen = sameness.counted(books, descriptor)
        if seen is not None and descriptor.absence is not None:
            yield seen + int(descriptor.absence.apart * SECOND), "absence counts again"
        if descriptor.expiry is not None:
            first = books.attempts[0]["sent_at"]
            yield first + int((descriptor.expiry - descriptor.complete_reserve) * SECOND), "too late to complete"

    def _wait(self, state: State, instant: int, name: str) -> Step:
        seconds = (instant - state.now) / SECOND
        return Step(f"patience {seconds:g} s, {name}", state._replace(now=instant, truth=state.truth.at(instant)))

    def _books(self, state: State) -> Books:
        return self.service.kept[state.books].books


def _lapsed(hands: tuple[Hand, ...]) -> tuple[Hand, ...]:
    return tuple(hand._replace(holds=False) for hand in hands)


def _with(hands: tuple[Hand, ...], place: int, hand: Hand) -> tuple[Hand, ...]:
    return (*hands[:place], hand, *hands[place + 1 :])


def _without(hands: tuple[Hand, ...], place: int) -> tuple[Hand, ...]:
    return hands[:place] + hands[place + 1 :]
