"""A provider that follows docs/provider-contract.md (one phase), as a value: what it received, what it executed and
what it says. It never lies: what goes wrong is the network's and the processes' doing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from bridge.evidence import Answer, Reply
from bridge.ports import SECOND
from tests.simulation.orderings.stand import AMOUNT, EUR, PLAYER
from tests.simulation.orderings.wire import Letter, Request, letter

WITHIN = 60 * SECOND
"""What was received is executed within this time, or not at all (§2, 4)."""

PROVIDER_ID, TIME = "W-1", "2027-01-15T08:00:00Z"
ANSWERS = {
    "pending": Answer.IN_PROGRESS, "confirmed": Answer.APPLIED, "refused": Answer.NOT_APPLIED,
    "cancelled": Answer.CANCELLED,
}  # fmt: skip
REFUSAL = "limit_reached"


class Late(NamedTuple):
    """A request that is somewhere between us and the provider's books, until an instant at most."""

    request: Request
    until: int


@dataclass(frozen=True)
class One:
    """The one transfer as it stands there."""

    status: str = ""
    sequence: int = 0
    original: tuple[str, int] | None = None
    told: tuple[tuple[str, int], ...] = ()
    late: tuple[Late, ...] = ()
    decides: int | None = None
    executed: int = 0
    undone: int = 0

    name = "generic"

    @property
    def net(self) -> int:
        """The effects that are in its ledger now."""
        return int(self.status == "confirmed")

    # --- what it does with a request ----------------------------------------------------------------------------

    def wills(self, request: Request) -> tuple[str, ...]:
        """What it may do with a request that arrives now."""
        if request.step == "transfer" and not self.status:
            return "executes", "accepts", "refuses"
        return ("executes",)

    def receive(self, request: Request, will: str, now: int) -> tuple[One, Reply]:
        """A money request arrives: what it is afterwards, and what it answers."""
        after = self
        if request.step == "transfer" and not self.status:
            status = {"executes": "confirmed", "accepts": "pending", "refuses": "refused"}[will]
            after = self._become(status, decides=now + WITHIN if will == "accepts" else None)
        elif request.step == "void" and self.status in ("", "pending"):
            after = self._become("cancelled")
        if request.step == "transfer" and after.original is not None:
            return after, after._reply(request, *after.original)
        return after, after._reply(request, after.status, after.sequence)

    def look_up(self, request: Request) -> Reply:
        """The transfer as it stands."""
        if not self.status:
            return Reply(Answer.NOT_FOUND, code="not_found", reference=request.reference)
        return self._reply(request, self.status, self.sequence)

    def delay(self, request: Request, now: int) -> One:
        """A request has left and will arrive later, if at all."""
        return self._replaced(late=(*self.late, Late(request, now + WITHIN)))

    # --- what it does by itself ---------------------------------------------------------------------------------

    def happenings(self, now: int) -> list[tuple[str, One]]:
        """What may happen there now."""
        found = []
        for place, late in enumerate(self.late):
            rest = self._replaced(late=self.late[:place] + self.late[place + 1 :])
            found.append((f"{late.request.step} {late.request.attempt} arrives late",
                          rest.receive(late.request, "executes", now)[0]))  # fmt: skip
        if self.status == "pending":
            found += [(f"provider {verb}", self._become(status))
                      for verb, status in (("confirms", "confirmed"), ("refuses", "refused"), ("cancels", "cancelled"))
                      ]  # fmt: skip
        if self.status == "confirmed":
            found.append(("provider takes back", self._become("cancelled")))
        return found

    def honestly(self, now: int) -> One | None:
        """The next thing that happens there if nothing is lost any more; None if there is nothing."""
        ahead = self.happenings(now)
        return ahead[0][1] if self.late or self.status == "pending" else None

    def instants(self) -> list[int]:
        """When something there comes to its end by itself."""
        return [late.until for late in self.late] + ([] if self.decides is None else [self.decides])

    def at(self, now: int) -> One:
        """Time has passed: what has not arrived or was not decided never will be."""
        after = self
        if any(late.until <= now for late in self.late):
            after = after._replaced(late=tuple(late for late in self.late if late.until > now))
        if after.decides is not None and after.decides <= now:
            after = after._become("cancelled")
        return after

    def letters(self, reference: str, side: str) -> list[Letter]:
        """The callbacks that it has written so far, about its transfer of that reference."""
        return [_letter(reference, side, kind, sequence) for kind, sequence in self.told]

    def key(self, now: int) -> tuple[object, ...]:
        """Itself with instants told from now."""
        late = tuple((each.request.step, each.request.attempt, each.until - now) for each in self.late)
        decides = None if self.decides is None else self.decides - now
        return self.status, self.sequence, self.original, self.told, late, decides, self.executed, self.undone

    def __str__(self) -> str:
        late = "".join(f", {each.request.step} {each.request.attempt} on its way" for each in self.late)
        return f"{self.status or 'nothing'}{f' #{self.sequence}' if self.status else ''}{late}"

    # --- values -------------------------------------------------------------------------------------------------

    def _become(self, status: str, decides: int | None = None) -> One:
        sequence = self.sequence + 1
        told = ((status, sequence),) if status in ("confirmed", "cancelled") else ()
        return self._replaced(
            status=status,
            sequence=sequence,
            original=self.original or (None if status == "pending" else (status, sequence)),
            told=self.told + told,
            decides=decides,
            executed=self.executed + (status == "confirmed"),
            undone=sequence if self.status == "confirmed" else self.undone,
        )

    def _replaced(self, **changes: object) -> One:
        return One(**{**self.__dict__, **changes})  # type: ignore[arg-type]

    def _reply(self, request: Request, status: str, sequence: int) -> Reply:
        return Reply(
            ANSWERS[status], code=REFUSAL if status == "refused" else status, amount=AMOUNT, currency=EUR,
            player=PLAYER, side=request.side, reference=request.reference, provider_reference=PROVIDER_ID,
            provider_time=TIME, sequence=sequence,
        )  # fmt: skip


@cache
def _letter(reference: str, side: str, kind: str, sequence: int) -> Letter:
    told = {
        "id": reference, "player": PLAYER, "direction": "in" if side == "credit" else "out", "amount": "10.00",
        "currency": EUR, "provider_id": PROVIDER_ID, "status": kind, "sequence": sequence, "time": TIME,
        "balance": "0.00",
    }  # fmt: skip
    return letter(kind, sequence, told)
