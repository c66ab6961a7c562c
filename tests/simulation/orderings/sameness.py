"""When two states are the same: what of the instants in the rows can still make a difference.

Two states with the same key have the same future, so only the first is followed. The key holds the rows in normal form
(`rows.py` says what that leaves out) without their instants, and of the instants only this, told from now:

- the wake-up (passed is passed, however long ago) and, while pending, the end of patience (likewise);
- of the money requests: the end of each lease under which an unanswered one may still leave; when the last one, and
  when the latest of all, had ended for us (its answer, or the end of its lease, whichever came first), for waits between
  questions and the mark of absence count from there; how long it is until a refusal that is looked up counts, and until
  a complete is too late, both counted from a send;
- of the answers to look-ups: when the last one came, for the next question is paced by it; whether each came after the
  last request had ended, after the mark of absence, after the mark of failure, after the end of patience, and just now
  (a request that is answered at this instant ends at it); of "not found" after the mark, when the last that counts came;
- the order of all evidence by instant, for of two proofs the newer one is named;
- of a reversed transfer, whose aftercare counts from its end: all of it, exactly.

An instant of an answer to a money request says nothing else than when that request ended; an instant of a callback says
nothing but its place in the order. `test_orderings.py` holds this to account: of every two states that the key calls the
same, at a smaller depth, both are followed and have to lead to the same keys by the same events.
"""

from __future__ import annotations

from typing import Any

from bridge.ports import SECOND, Descriptor
from tests.simulation.orderings.judge import OPEN, Books

SOURCE, ATTEMPT, ANSWER, AT = 1, 3, 4, 7
"""Places in a piece of evidence as `judge.Books` holds it."""


def instants(books: Books, descriptor: Descriptor, now: int) -> tuple[Any, ...]:
    """What the instants of a state still mean."""
    wake = None if books.wake_at is None else max(0, books.wake_at - now)
    patience = max(0, (books.orphan_at or 0) - now) if books.state == "pending" else None
    order = sorted(range(len(books.evidence)), key=lambda place: books.evidence[place][AT])
    asked = [piece for piece in books.evidence if piece[SOURCE] == "lookup"]
    if books.state == "reversed":
        settled = books.settled_at or 0
        return (wake, settled - now, tuple(piece[AT] - now for piece in asked), _requests(books, descriptor, now)[0],
                tuple(order))  # fmt: skip
    told, ended, marks = _requests(books, descriptor, now)
    if books.state == "pending":
        marks = (*marks, books.orphan_at or 0)
    words = tuple((piece[AT] == now, *(piece[AT] >= mark for mark in (*ended, *marks))) for piece in asked)
    last = asked[-1][AT] - now if asked else None
    return wake, patience, told, last, words, _counted(asked, descriptor, marks, now), tuple(order)


def _requests(books: Books, descriptor: Descriptor, now: int) -> tuple[tuple[Any, ...], tuple[int, ...], tuple[int, ...]]:
    """What is told from now, the instants at which requests had ended, and the marks after which answers count."""
    if not books.attempts:
        return (), (), ()
    answers = {}
    for piece in books.evidence:
        if piece[SOURCE] == "call":
            answers.setdefault(piece[ATTEMPT], piece[AT])
    on_the_wire = tuple(
        max(0, each["wire_until"] - now) for each in books.attempts if each["attempt"] not in answers
    )
    ended = [min(answers.get(each["attempt"], each["wire_until"]), each["wire_until"]) for each in books.attempts]
    final = books.attempts[-1]["sent_at"] + int(descriptor.fail_final_after * SECOND)
    marks = (final,) if descriptor.absence is None else (final, max(ended) + int(descriptor.absence.after * SECOND))
    first = None
    if descriptor.expiry is not None:
        first = max(0, books.attempts[0]["sent_at"] + int((descriptor.expiry - descriptor.complete_reserve) * SECOND) - now)
    told = (on_the_wire, ended[-1] - now, max(ended) - now, max(0, final - now), first)
    return told, (ended[-1],), marks


def _counted(asked: list[tuple[Any, ...]], descriptor: Descriptor, marks: tuple[int, ...], now: int) -> int | None:
    """When the last "not found" came that counts for absence."""
    if descriptor.absence is None or len(marks) < 2:
        return None
    counted: list[int] = []
    for piece in asked:
        late_enough = not counted or piece[AT] - counted[-1] >= int(descriptor.absence.apart * SECOND)
        if piece[ANSWER] == "not_found" and piece[AT] >= marks[1] and late_enough:
            counted.append(piece[AT])
    return counted[-1] - now if counted else None
