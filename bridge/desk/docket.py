"""The docket: what is proposed, by whom, about what, and what others have said to it. Read only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, Table, select, tuple_

from bridge import db, models
from bridge.desk.proposals import Proposal, find, read, table
from bridge.desk.rows import Person
from bridge.desk.sight import Sight, look, owned
from bridge.desk.verdicts import may_check
from bridge.errors import Invalid
from bridge.models.desk import Role
from bridge.models.proposals import ProposalState
from bridge.runtime import Runtime
from bridge.transfers import rows

_verdict: Table = models.metadata.tables["verdict"]
_person: Table = models.metadata.tables["person"]
_transfer: Table = models.metadata.tables["transfer"]


@dataclass(frozen=True)
class Said:
    """What one person said to a proposal; `at` in microseconds. `counts`: whether their word does at present."""

    person_id: str
    login: str
    name: str
    approves: bool
    reason: str
    at: int
    counts: bool


@dataclass(frozen=True)
class Entry:
    """A proposal with its people, and what it is about: the transfer's amount in minor units."""

    proposal: Proposal
    maker_login: str
    maker_name: str
    player: str
    provider: str
    direction: str
    amount: int
    currency: str
    state: str
    verdicts: tuple[Said, ...]


@dataclass(frozen=True)
class Shown:
    """A proposal beside what is seen now. `seen` is the digest that an approval has to carry; None where it cannot be
    carried out any more, and `why` says what is in the way."""

    entry: Entry
    sight: Sight | None
    seen: str | None
    why: str

    @property
    def missing(self) -> int:
        """How many others have still to approve, at least. 0 of an open one: enough have, of whom one's word did not
        count for a while; whoever of them approves once more carries it out."""
        needs = max(self.entry.proposal.needs, 0 if self.sight is None else self.sight.checkers)
        return max(0, needs - sum(each.approves and each.counts for each in self.entry.verdicts))

    def said_by(self, person: Person) -> Said | None:
        """What this person has said to it."""
        return next((each for each in self.entry.verdicts if each.person_id == person.id), None)

    def is_approvable_by(self, person: Person) -> bool:
        """Whether an approval of this person's would do anything at present: an approver's, of what somebody else
        proposed; a second one of the same person only where that carries it out."""
        said, own = self.said_by(person), self.entry.proposal.maker_id == person.id
        counts_again = said is not None and said.approves and self.missing == 0
        return self.seen is not None and person.role is Role.APPROVER and not own and (said is None or counts_again)


def listed(
    runtime: Runtime,
    person: Person,
    *,
    state: ProposalState = ProposalState.OPEN,
    limit: int = 100,
    after: tuple[int, str] | None = None,
) -> list[Entry]:
    """Proposals of the person's operator in a state, the oldest first, behind (created_at, id) of the last one seen."""
    mine = (table.c.operator_id == person.operator_id, table.c.state == state.value)
    query = _entries().where(*mine).order_by(table.c.created_at, table.c.id).limit(limit)
    if after is not None:
        query = query.where(tuple_(table.c.created_at, table.c.id) > tuple_(*after))
    with db.reading(runtime.engine) as connection:
        return _read(connection, query)


def of_transfer(runtime: Runtime, person: Person, transfer_id: str) -> list[Entry]:
    """All that was ever proposed about a transfer, the oldest first. Raises NotFound."""
    with db.reading(runtime.engine) as connection:
        owned(rows.load(connection, transfer_id), person)
        query = _entries().where(table.c.transfer_id == transfer_id)
        return _read(connection, query.order_by(table.c.created_at, table.c.id))


def shown(runtime: Runtime, person: Person, proposal_id: str) -> Shown:
    """One proposal as a checker is shown it. Raises NotFound."""
    with db.reading(runtime.engine) as connection:
        proposal = find(connection, proposal_id, person.operator_id)
        (entry,) = _read(connection, _entries().where(table.c.id == proposal.id))
        if proposal.state is not ProposalState.OPEN:
            return Shown(entry, None, None, proposal.ended_why or proposal.state.value)
        transfer = owned(rows.load(connection, proposal.transfer_id), person)
        try:
            sight = look(connection, runtime, transfer, proposal.wanted)
        except Invalid as senseless:
            return Shown(entry, None, None, senseless.why)
    changed = sight.changed_since(proposal.postings)
    why = f"{', '.join(changed)} changed since it was proposed" if changed else ""
    return Shown(entry, sight, None if changed else sight.seen, why)


def _entries() -> Select[tuple[object, ...]]:
    names = ("player_id", "provider", "direction", "amount", "currency")
    what = tuple(_transfer.c[name] for name in names)
    about = (_person.c.login, _person.c.name, *what, _transfer.c.state.label("transfer_state"))
    together = table.join(_person, _person.c.id == table.c.maker_id)
    return select(table, *about).select_from(together.join(_transfer, _transfer.c.id == table.c.transfer_id))


def _read(connection: Connection, query: Select[tuple[object, ...]]) -> list[Entry]:
    found = connection.execute(query).mappings().all()
    proposals = {row["id"]: read(row) for row in found}
    said = _said(connection, proposals)
    return [
        Entry(
            proposal=proposals[row["id"]],
            maker_login=row["login"],
            maker_name=row["name"],
            player=row["player_id"],
            provider=row["provider"],
            direction=row["direction"],
            amount=row["amount"],
            currency=row["currency"],
            state=row["transfer_state"],
            verdicts=tuple(said.get(row["id"], ())),
        )
        for row in found
    ]


def _said(connection: Connection, proposals: Mapping[str, Proposal]) -> dict[str, list[Said]]:
    query = select(_verdict, _person).join(_person, _person.c.id == _verdict.c.person_id)
    query = query.where(_verdict.c.proposal_id.in_(proposals)).order_by(_verdict.c.at, _verdict.c.person_id)
    found: dict[str, list[Said]] = {}
    for row in connection.execute(query).mappings():
        told = (row["person_id"], row["login"], row["name"], row["approves"], row["reason"], row["at"])
        counts = may_check(row, proposals[row["proposal_id"]])
        found.setdefault(row["proposal_id"], []).append(Said(*told, counts))
    return found
