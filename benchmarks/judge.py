"""After a crash: what is lost, doubled, or still unresolved, by the provider's own books.

A transfer is known by its amount, which no other one of its run has: so the books find it under whatever id it came,
and under how many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from benchmarks.contestants.base import DONE, OPEN
from benchmarks.wire.order import CONFIRMED


@dataclass(frozen=True)
class Verdict:
    """Counts of transfers.

    asked_for: by clients · executed: by the provider, once or more · unanswered: clients were told nothing ·
    lost: told as done, by the system or to the client, and never executed, or executed and denied or unknown to the
    system · doubled: executed more than once · unresolved: the system does not know · sent_again: the provider was
    asked more than once, which doubles money at one that does not recognise an id.
    """

    asked_for: int
    executed: int
    unanswered: int
    lost: int
    doubled: int
    unresolved: int
    sent_again: int

    def as_json(self) -> dict[str, int]:
        """For the file."""
        return asdict(self)


def judge(
    told: Mapping[int, str], said: Mapping[int, str], books: Iterable[tuple[str, str, int, int]]
) -> Verdict:
    """`told`: what each client was told; `said`: what the system says now; both by number. `books`: the provider's
    (id, amount, asked, executed)."""
    executed: defaultdict[int, int] = defaultdict(int)
    asked: defaultdict[int, int] = defaultdict(int)
    for _, amount, times_asked, times_executed in books:
        number = int(amount.replace(".", ""))
        asked[number] += times_asked
        executed[number] += times_executed
    lost = 0
    for number in set(told) | set(said):
        done = told.get(number) == CONFIRMED or said.get(number) == DONE
        unknown = said.get(number) == OPEN
        missing = done and not executed[number]
        denied = executed[number] > 0 and not unknown and said.get(number) != DONE
        lost += missing or denied
    mine = [number for number in told if number in executed]
    return Verdict(
        asked_for=len(told),
        executed=sum(executed[number] > 0 for number in mine),
        unanswered=sum(what not in (CONFIRMED, "refused") for what in told.values()),
        lost=lost,
        doubled=sum(executed[number] > 1 for number in mine),
        unresolved=sum(said.get(number) == OPEN for number in told),
        sent_again=sum(asked[number] > 1 for number in mine),
    )
