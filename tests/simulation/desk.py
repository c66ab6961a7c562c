"""The desk in the world: one person proposes what is to become of an orphan, and later, perhaps before another process,
another person looks at the provider's books again and approves it, or rejects it. Both go through the real desk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from bridge import db, models, watch
from bridge.desk import docket, proposals, verdicts
from bridge.desk.rows import Person
from bridge.desk.sight import preview
from bridge.desk.sittings import Sitting
from bridge.errors import Conflict, Declined, Invalid, Stale
from bridge.models.desk import Role
from bridge.models.proposals import ProposalKind, ProposalState
from bridge.runtime import Runtime
from bridge.transfers.core.decisions import Kind
from tests.simulation.ledgers import ProviderLedgers
from tests.simulation.meant import given, is_inward
from tests.simulation.node import Bridge
from tests.simulation.oracle import Oracle
from tests.simulation.settings import BEGINS
from tests.simulation.world import World

MAKER, CHECKER = "maria", "chen"
STAFF = {MAKER: Role.OPERATOR, CHECKER: Role.APPROVER}
ADDRESS, WHY = "192.0.2.9", "the provider's statement"
THINKS_SECONDS = (1.0, 60.0, 900.0)
"""From a proposal to its approval."""

DOUBTS = 0.15
"""So often the second person rejects what is right, for the first to propose it again another day."""

OVERTAKEN = (Stale, Declined, OperationalError)
"""What may come between careful people and what they want: something new came in, the wallet was spent, the database
was away. They look at it again another day. Nothing else may: whoever sits here has both factors and the role, and
what a rule of the database refuses is a mistake of ours."""

SENSELESS_AT_MOST = 2
"""So often what is right by the provider's books may mean nothing to the bridge, which has not heard of it all yet; a
transfer about which it never means anything is one that nobody can end, whatever the refusal says. Two refusals are
right by our own look at the rows: what was taken out of the game, or may have been, is not taken twice, for then there
is to be written off; and while a request may be on its way, there is to be waited for its end. What came into the game
and is back in the wallet can be taken out as long as nobody has tried to: there no refusal is right, not once."""

TOGETHER = frozenset({"already_proposed", "proposal_ended"})
"""Conflicts of two who act at the same time."""

_TAKEN = """SELECT 1 FROM leg WHERE transfer_id = ? AND undoes IS NOT NULL AND holder <> 'wallet'
    AND (state <> 'refused' OR EXISTS (SELECT 1 FROM evidence WHERE evidence.transfer_id = leg.transfer_id
        AND evidence.ordinal = leg.ordinal AND evidence.answer = 'applied'))"""
_ON_ITS_WAY = """SELECT 1 FROM attempt WHERE transfer_id = ? AND wire_until > ? AND NOT EXISTS (SELECT 1 FROM evidence
    WHERE evidence.transfer_id = attempt.transfer_id AND evidence.ordinal = attempt.ordinal
    AND evidence.attempt = attempt.attempt AND evidence.source = 'call')"""
_OPEN = "SELECT id, kind, arrived FROM proposal WHERE transfer_id = ? AND state = 'open'"


def hire(runtime: Runtime, operator: int) -> None:
    """Two people and their sittings, which last longer than a story."""
    person, sitting = models.metadata.tables["person"], models.metadata.tables["sitting"]
    with db.writing(runtime.engine) as connection:
        for login, role in STAFF.items():
            times = dict.fromkeys(("began_at", "seen_at", "proved_at"), BEGINS)
            connection.execute(insert(person).values(
                id=f"pe_{login}", operator_id=operator, login=login, name=login, role=role.value, state="active",
                password_hash="-", seed="-", failures=0, epoch=0, created_at=BEGINS, changed_at=BEGINS,
            ))  # fmt: skip
            connection.execute(insert(sitting).values(
                digest=login, person_id=f"pe_{login}", epoch=0, address=ADDRESS, failures=0, **times
            ))  # fmt: skip


def seat(login: str, operator: int) -> Sitting:
    """Where one of them sits."""
    return Sitting(login, Person(f"pe_{login}", operator, login, login, STAFF[login], 0), BEGINS, ADDRESS)


class Desk:
    """Two people before one operator's orphans. `truth` says what is right about an orphan, by the provider's books;
    `decided` is told of what was carried out."""

    def __init__(
        self, world: World, oracle: Oracle, operator: int,
        truth: Callable[[dict[str, Any], ProviderLedgers], tuple[Kind, dict[str, int]]],
        decided: Callable[[dict[str, Any], Kind], None],
    ) -> None:  # fmt: skip
        self.world, self.oracle, self._truth, self._decided = world, oracle, truth, decided
        self._senseless: Counter[str] = Counter()
        self.not_to_take: set[str] = set()
        self._maker, self._checker = seat(MAKER, operator), seat(CHECKER, operator)
        self.webs: list[Bridge] = []

    @contextmanager
    def _overtaken(self, transfer: str, kind: Kind) -> Iterator[None]:
        """Whatever OVERTAKEN and TOGETHER name ends what is done here, and nothing more; any other error is a page that
        could not be shown, which makes no story good."""
        try:
            yield
        except OVERTAKEN:
            return
        except Invalid as senseless:
            self._refused(transfer, kind, senseless)
        except Exception as error:  # noqa: BLE001 - people go on behind whatever they are shown
            if not (isinstance(error, Conflict) and error.code in TOGETHER):
                self.oracle.page_failed(error)

    def _refused(self, transfer: str, kind: Kind, senseless: Invalid) -> None:
        """What is right by the provider's books is refused as senseless: now and then it may be."""
        if kind is Kind.CLAW_BACK and self.oracle.ask(_TAKEN, transfer):
            self.not_to_take.add(transfer)
        elif not self.oracle.ask(_ON_ITS_WAY, transfer, self.world.now):
            self._senseless[transfer] += 1
            at_most = 0 if kind is Kind.CLAW_BACK and self._can_be_taken(transfer) else SENSELESS_AT_MOST
            if self._senseless[transfer] > at_most:
                self.oracle.fail("I8", f"people cannot decide about {transfer}: {senseless.fields}")

    def _can_be_taken(self, transfer: str) -> bool:
        row = next(row for row in self.oracle.transfers() if row["id"] == transfer)
        both = self._truth(row, self.oracle.ledgers)[0] is Kind.WRITE_OFF and given(row) == row["amount"]
        return row["state"] == "orphaned" and is_inward(row) and both

    def decide(self, web: Bridge, row: dict[str, Any], kind: Kind, parts: dict[str, int], name: str) -> None:
        """Propose, unless something is proposed already; and have somebody else look at it afterwards."""
        transfer = row["id"]
        if not self.oracle.ask(_OPEN, transfer):
            with self._overtaken(transfer, kind):
                if watch.hindrance(web.runtime) is not None:
                    return  # its pages let nobody do anything (bridge/dashboard/frame.py): another day
                wanted = ProposalKind(kind.value)
                sight = preview(web.runtime, self._maker.person, transfer, wanted, **parts)
                wish = proposals.Wish(transfer, wanted, WHY, sight.seen, **parts)
                proposals.propose(web.runtime, self._maker, wish)
                self._did("proposed", f"{transfer}: {MAKER} proposes {kind.value} {parts or ''}")
        dice = self.world.chance.stream(f"{name} is approved")
        seconds, doubts = dice.choice(THINKS_SECONDS), dice.random() < DOUBTS
        self.world.after(seconds, self._come_back, transfer, name, doubts)

    def _come_back(self, transfer: str, name: str, doubts: bool) -> None:
        web = next((web for web in self.webs if not web.dead), None)
        if web is not None:
            self.world.spawn(web, f"{name} is approved", lambda: self._check(web, transfer, doubts=doubts))

    def _check(self, web: Bridge, transfer: str, *, doubts: bool) -> None:
        """Approve what is still right, by the provider's books of now, unless in doubt, and reject anything else."""
        row = next(row for row in self.oracle.transfers() if row["id"] == transfer)
        found = self.oracle.ask(_OPEN, transfer)
        if not found:
            return
        proposal, kind, arrived = found[0]
        right, parts = self._truth(row, self.oracle.ledgers)
        meant = {right, Kind.CLAW_BACK} if right is Kind.WRITE_OFF else {right}
        with self._overtaken(transfer, Kind(kind)):
            if watch.hindrance(web.runtime) is not None:
                return
            if doubts or Kind(kind) not in meant or parts.get("arrived", 0) != arrived:
                proposals.reject(web.runtime, self._checker, proposal, "it has to be looked at again")
                self._did("rejected", f"{transfer}: {CHECKER} rejects {kind}")
                return
            shown = docket.shown(web.runtime, self._checker.person, proposal)
            if shown.sight is None and shown.entry.proposal.state is ProposalState.OPEN:
                raise Invalid(fields={"kind": shown.why})
            if shown.seen is None:
                return
            approval = verdicts.approve(web.runtime, self._checker, proposal, shown.seen, WHY)
            if approval.moved is not None:
                query = "SELECT 1 FROM decision WHERE transfer_id = ? AND kind = ?"
                told = f"people decided {kind} about {transfer}"
                self.oracle.told.require(query, transfer, kind, facts=told)
                self._did(f"decided {kind}", f"{transfer}: {CHECKER} approves {kind}")
                self._decided(row, Kind(kind))

    def _did(self, deed: str, told: str) -> None:
        """Count what somebody has truly done, and tell of it."""
        self.world.swarm.counts[deed] += 1
        self.world.trace("people", told)
