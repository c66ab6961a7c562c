"""A provider that speaks QTech's transfer wallet (protocols.md §1.1, two phases), as a value. What was prepared and is
not completed within ten seconds is cancelled; a final state never changes; every request is idempotent. It never lies,
and calls nobody back."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.evidence import Answer, Reply
from bridge.ports import SECOND
from tests.simulation.orderings.stand import AMOUNT, EUR, PLAYER
from tests.simulation.orderings.truth_one import WITHIN, Late
from tests.simulation.orderings.wire import Letter, Request

EXPIRY = 10 * SECOND
PROVIDER_ID, TIME = "Q-1", "2027-01-15T16:00:00"
LOOKED_UP = {"PENDING": Answer.IN_PROGRESS, "COMPLETED": Answer.APPLIED, "CANCELLED": Answer.CANCELLED}


@dataclass(frozen=True)
class Two:
    """The one transfer as it stands there."""

    status: str = ""
    expires: int | None = None
    refuses: bool = False
    late: tuple[Late, ...] = ()
    executed: int = 0

    name = "qtech"
    undone = 0

    @property
    def net(self) -> int:
        """The effects that are in its ledger now."""
        return int(self.status == "COMPLETED")

    # --- what it does with a request ----------------------------------------------------------------------------

    def wills(self, request: Request) -> tuple[str, ...]:
        """What it may do with a request that arrives now. Who refuses once refuses the same again."""
        if request.step != "prepare" or self.status:
            return ("executes",)
        return ("refuses",) if self.refuses else ("executes", "refuses")

    def receive(self, request: Request, will: str, now: int) -> tuple[Two, Reply]:
        """A money request arrives: what it is afterwards, and what it answers."""
        after = self
        conflict = Reply(Answer.UNKNOWN, code="STATUS_CONFLICT")
        match request.step, self.status:
            case "prepare", "" if will == "refuses":
                short = request.side == "debit"
                code = "INSUFFICIENT_FUNDS" if short else "VALIDATION_ERROR"
                refused = Reply(Answer.NOT_APPLIED, code=code, attempt_sensitive=short)
                return self._replaced(refuses=True), refused
            case "prepare", "":
                after = self._replaced(status="PENDING", expires=now + EXPIRY)
                return after, after._reply(request, Answer.RESERVED)
            case "prepare", "PENDING":
                return self, self._reply(request, Answer.RESERVED)
            case "prepare", _:
                return self, Reply(Answer.CANCELLED, code="STATUS_CONFLICT", attempt_sensitive=True)
            case _, "":
                return self, Reply(Answer.UNKNOWN, code="TRANSFER_NOT_FOUND")
            case "complete", "PENDING" | "COMPLETED":
                done = self.executed + (self.status == "PENDING")
                after = self._replaced(status="COMPLETED", expires=None, executed=done)
                return after, after._reply(request, Answer.APPLIED)
            case "void", "PENDING" | "CANCELLED":
                after = self._replaced(status="CANCELLED", expires=None)
                return after, after._reply(request, Answer.CANCELLED)
            case _:
                return self, conflict

    def look_up(self, request: Request) -> Reply:
        """The transfer as it stands, by the provider's own id."""
        if not self.status or request.provider_reference != PROVIDER_ID:
            return Reply(Answer.NOT_FOUND, code="TRANSFER_NOT_FOUND")
        return self._reply(request, LOOKED_UP[self.status])

    def delay(self, request: Request, now: int) -> Two:
        """A request has left and will arrive later, if at all."""
        return self._replaced(late=(*self.late, Late(request, now + WITHIN)))

    # --- what it does by itself ---------------------------------------------------------------------------------

    def happenings(self, now: int) -> list[tuple[str, Two]]:
        """What may happen there now."""
        found = []
        for place, late in enumerate(self.late):
            rest = self._replaced(late=self.late[:place] + self.late[place + 1 :])
            arrived = rest.receive(late.request, rest.wills(late.request)[0], now)[0]
            found.append((f"{late.request.step} {late.request.attempt} arrives late", arrived))
        return found

    def honestly(self, now: int) -> Two | None:
        """The next thing that happens there if nothing is lost any more; None if there is nothing."""
        return self.happenings(now)[0][1] if self.late else None

    def instants(self) -> list[int]:
        """When something there comes to its end by itself."""
        return [late.until for late in self.late] + ([] if self.expires is None else [self.expires])

    def at(self, now: int) -> Two:
        """Time has passed: what has not arrived never will, what was not completed is cancelled."""
        after = self
        if any(late.until <= now for late in self.late):
            after = after._replaced(late=tuple(late for late in self.late if late.until > now))
        if after.expires is not None and after.expires <= now:
            after = after._replaced(status="CANCELLED", expires=None)
        return after

    def letters(self, reference: str, side: str) -> list[Letter]:  # noqa: ARG002 - as One
        """None: it calls nobody back."""
        return []

    def key(self, now: int) -> tuple[object, ...]:
        """Itself with instants told from now."""
        late = tuple((each.request.step, each.request.attempt, each.until - now) for each in self.late)
        expires = None if self.expires is None else self.expires - now
        return self.status, expires, self.refuses, late, self.executed

    def __str__(self) -> str:
        late = "".join(f", {each.request.step} {each.request.attempt} on its way" for each in self.late)
        return f"{self.status or 'nothing'}{late}"

    # --- values -------------------------------------------------------------------------------------------------

    def _replaced(self, **changes: object) -> Two:
        return Two(**{**self.__dict__, **changes})  # type: ignore[arg-type]

    def _reply(self, request: Request, answer: Answer) -> Reply:
        return Reply(
            answer, code=self.status, amount=AMOUNT, currency=EUR, player=PLAYER, side=request.side,
            reference=request.reference, provider_reference=PROVIDER_ID, provider_time=TIME,
        )  # fmt: skip
