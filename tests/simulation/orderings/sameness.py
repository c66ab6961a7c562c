"""When two states are the same: what of the instants in the rows can still make a difference.

Two states with the same key have the same future, so only the first is followed. The key holds the rows in normal form
(`rows.py` says what that leaves out) without their instants, and of the instants only this, told from now, for the
bridge compares instants with now and with each other, never with a calendar:

- the wake-up (passed is passed, however long ago) and, while pending, the end of patience (likewise);
- of the money requests: the end of each lease under which an unanswered one may still leave; when the last one, and
  when the latest of all, had ended for us (its answer, or the end of its lease, whichever came first), for waits
  between questions and the mark of absence count from there; how long it is until a refusal that is looked up counts,
  and until a complete is too late, both counted from a send;
- of the answers to look-ups: when the last one came, for the next question is paced by it; whether each came after
  the last request had ended, after the mark of absence, after the mark of failure, after the end of patience, and just
  now (a request that is answered at this instant ends at it); of those "not found" that count, when the last came; the
  same of an answer that a worker has and has not brought;
- the order of all evidence by instant, for of two proofs the newer one is named, with the place that a callback will
  have in it which nobody has acted on yet;
- of a reversed transfer, whose aftercare counts from its end: its end and its look-ups exactly.

The instant of an answer to a money request says nothing else than when that request ended; the instant of a callback
nothing but its place in the order. The look-up retention of ninety days is never reached here. All this is held to
account in `test_orderings.py`: of every two states that the key calls the same, at a smaller depth, both are followed
and have to lead to the same keys by the same events (`account.py`).
"""

from __future__ import annotations

from typing import Any

from bridge.ports import SECOND, Descriptor
from tests.simulation.orderings.judge import Books

SOURCE, ATTEMPT, ANSWER, AT = 1, 3, 4, 7
"""Places in a piece of evidence as `judge.Books` holds it."""


def instants(books: Books, descriptor: Descriptor, now: int) -> tuple[Any, ...]:
    """What the instants of a state still mean."""
    wake = None if books.wake_at is None else max(0, books.wake_at - now)
    patience = max(0, (books.orphan_at or 0) - now) if books.state == "pending" else None
    asked = [piece for piece in books.evidence if piece[SOURCE] == "lookup"]
    since, ends, bounds = marks(books, descriptor), ended(books), _bounds(books, descriptor)
    words = tuple((piece[AT] == now, *(piece[AT] >= bound for bound in bounds)) for piece in asked)
    paced = (asked[-1][AT] - now if asked else None, *(end - now for end in (*ends[-1:], max(ends, default=now))))
    last = counted(books, descriptor)
    told = max(0, since[0] - now) if since else None, None if last is None else last - now
    told += (_complete(books, descriptor, now),)
    if books.state == "reversed":
        told += ((books.settled_at or 0) - now, *(piece[AT] - now for piece in asked))
    return wake, patience, _on_the_wire(books, now), paced, words, told, _order(books, now)


def brought(books: Books, descriptor: Descriptor, now: int, asked: int) -> tuple[Any, ...]:
    """What the instant at which somebody asked who has not brought the answer yet still means: as that of an answer."""
    ages = [piece[AT] for piece in books.evidence]
    words = (asked >= bound for bound in _bounds(books, descriptor))
    return asked - now, sum(age > asked for age in ages), *(came > asked for came in books.waiting), *words


def _bounds(books: Books, descriptor: Descriptor) -> tuple[int, ...]:
    patience = (books.orphan_at or 0,) if books.state == "pending" else ()
    return *ended(books)[-1:], *marks(books, descriptor), *patience


def ended(books: Books) -> list[int]:
    """When each money request had ended for us: its answer, or the end of its lease, whichever came first."""
    answers = _answers(books)
    return [min(answers.get(each["attempt"], each["wire_until"]), each["wire_until"]) for each in books.attempts]


def marks(books: Books, descriptor: Descriptor) -> tuple[int, ...]:
    """From when on a refusal that is looked up counts, and, where it ever does, absence."""
    if not books.attempts:
        return ()
    final = max(ended(books)) + int(descriptor.fail_final_after * SECOND)
    if descriptor.absence is None:
        return (final,)
    return final, max(ended(books)) + int(descriptor.absence.after * SECOND)


def counted(books: Books, descriptor: Descriptor) -> int | None:
    """When the last "not found" came that counts for absence."""
    absence, mark, last = descriptor.absence, marks(books, descriptor)[1:], None
    if absence is None or not mark:
        return None
    for piece in books.evidence:
        if piece[SOURCE] == "lookup" and piece[ANSWER] == "not_found" and piece[AT] >= mark[0]:
            last = piece[AT] if last is None or piece[AT] - last >= int(absence.apart * SECOND) else last
    return last


def _answers(books: Books) -> dict[int, int]:
    answers: dict[int, int] = {}
    for piece in books.evidence:
        if piece[SOURCE] == "call":
            answers.setdefault(piece[ATTEMPT], piece[AT])
    return answers


def _on_the_wire(books: Books, now: int) -> tuple[int, ...]:
    answers = _answers(books)
    return tuple(max(0, each["wire_until"] - now) for each in books.attempts if each["attempt"] not in answers)


def _complete(books: Books, descriptor: Descriptor, now: int) -> int | None:
    """How long a complete may still leave."""
    if descriptor.expiry is None or not books.attempts:
        return None
    first = books.attempts[0]["sent_at"]
    return max(0, first + int((descriptor.expiry - descriptor.complete_reserve) * SECOND) - now)


def _order(books: Books, now: int) -> tuple[Any, ...]:
    """The pieces of evidence from the oldest to the newest, and where one will stand that is still to be acted on."""
    by_age = sorted(range(len(books.evidence)), key=lambda place: books.evidence[place][AT])
    ranks, ages = sorted(books.waiting), [piece[AT] for piece in books.evidence]
    return *by_age, *((sum(age > came for age in ages), came == now, ranks.index(came)) for came in books.waiting)
