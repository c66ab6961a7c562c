"""People at a desk, written into the table directly, and an orphan before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import insert, text

from bridge import db, models
from bridge.desk.proposals import Proposal, Wish, propose
from bridge.desk.rows import Person
from bridge.desk.sight import preview
from bridge.desk.sittings import Sitting
from bridge.desk.verdicts import Approval, approve
from bridge.models.desk import Role
from bridge.models.proposals import ProposalKind
from bridge.verify import verify
from tests.harness import Bench, Hands
from tests.transfers.scripted_one import ScriptedOne
from tests.transfers.test_decide import orphan, posted

STAFF = {
    "olga": Role.OPERATOR, "otto": Role.OPERATOR, "anna": Role.APPROVER, "axel": Role.APPROVER, "alma": Role.APPROVER,
    "adam": Role.ADMIN, "vera": Role.VIEWER,
}  # fmt: skip
WHY = "the provider's staff say so"
FOR_EVER = 2**61
"""Nobody's sitting ends by itself here, however long the test's clock runs."""


@dataclass
class Office:
    """One operator's desk."""

    bench: Bench
    one: ScriptedOne
    hands: Hands
    seats: dict[str, Sitting] = field(default_factory=dict)

    def hire(self, login: str, role: Role, *, operator: int | None = None, **columns: Any) -> Sitting:
        """A person who may come in, and a sitting of theirs."""
        row = {
            "id": f"pe_{login}", "operator_id": operator or self.bench.operator, "login": login, "name": login.title(),
            "role": role.value, "state": "active", "password_hash": "x", "seed": "x", "epoch": 1, "failures": 0,
            "created_at": 1, "changed_at": 1, **columns,
        }  # fmt: skip
        with db.writing(self.bench.runtime.engine) as connection:
            connection.execute(insert(models.metadata.tables["person"]).values(**row))
            seat = {"digest": f"digest of {login}", "person_id": row["id"], "epoch": 1, "address": "192.0.2.1"}
            times = dict.fromkeys(("began_at", "seen_at", "proved_at"), FOR_EVER)
            connection.execute(insert(models.metadata.tables["sitting"]).values(**seat, **times, failures=0))
        person = Person(row["id"], row["operator_id"], login, row["name"], role, 1)
        self.seats[login] = Sitting(f"digest of {login}", person, 1, "192.0.2.1")
        return self.seats[login]

    def change(self, statement: str, **values: Any) -> None:
        with db.writing(self.bench.runtime.engine) as connection:
            connection.execute(text(statement), values)

    def demote(self, login: str, **columns: Any) -> None:
        """Change a person's row, as an admin would."""
        told = ", ".join(f"{name} = :{name}" for name in columns)
        self.change(f"UPDATE person SET {told}, epoch = epoch + 1 WHERE login = :login", login=login, **columns)

    def person(self, login: str) -> Person:
        return self.seats[login].person

    def orphan(self, direction: str = "in", place: str = "custody") -> str:
        return orphan(self.bench, self.one, self.hands, direction, place)

    def custody(self, amount: str, player: str) -> str:
        """An orphan in custody of another amount and player."""
        self.one.script, self.one.asked = ["lost"], ["silent"] * 60
        transfer_id = self.bench.run("in", amount, player=player)
        for _ in range(12):
            if self.bench.row(transfer_id)["state"] == "orphaned":
                break
            self.hands.turn(120)
            self.bench.resolve_due()
        assert self.bench.row(transfer_id)["state"] == "orphaned"
        return transfer_id

    def wish(self, transfer_id: str, kind: str, who: str = "olga", **changes: Any) -> Wish:
        """What is proposed, as it is shown now."""
        parts = {"arrived": 600, "returned": 400} if kind == "split" else {}
        parts = {name: changes.pop(name, told) for name, told in parts.items()}
        sight = preview(self.bench.runtime, self.person(who), transfer_id, ProposalKind(kind), **parts)
        return replace(Wish(transfer_id, ProposalKind(kind), WHY, sight.seen, **parts), **changes)

    def propose(self, transfer_id: str, kind: str, who: str = "olga", **changes: Any) -> Proposal:
        return propose(self.bench.runtime, self.seats[who], self.wish(transfer_id, kind, who, **changes))

    def approve(self, proposal: Proposal, who: str = "anna", seen: str | None = None) -> Approval:
        shown = proposal.seen if seen is None else seen
        return approve(self.bench.runtime, self.seats[who], proposal.id, shown, f"{who} has seen it")

    # --- what there is afterwards -----------------------------------------------------------------------

    def posted(self, transfer_id: str, version: int) -> list[tuple[str, str, int]]:
        return posted(self.bench, transfer_id, version)

    def row(self, proposal: Proposal | str) -> Any:
        key = proposal if isinstance(proposal, str) else proposal.id
        return self.bench.rows("SELECT * FROM proposal WHERE id = :id", id=key)[0]

    def case(self, transfer_id: str) -> str:
        found = self.bench.rows("SELECT state FROM orphan_case WHERE transfer_id = :id", id=transfer_id)
        return str(found[0]["state"])

    def notes(self) -> list[tuple[str, str, str, str]]:
        """(kind, outcome, person, subject) of every access, in their order."""
        rows = self.bench.rows("SELECT * FROM access_note ORDER BY id")
        return [(row["kind"], row["outcome"], row["person_id"], row["subject"]) for row in rows]

    def decisions(self) -> Sequence[Any]:
        return self.bench.rows("SELECT * FROM decision ORDER BY decided_at, id")

    def audit(self) -> None:
        """The books, by this suite's own audit, and by everything that `bridge verify` asks."""
        self.bench.audit()
        # Callbacks of these tests come without a letter in the inbox.
        wrong = [f for f in verify(self.bench.runtime) if not all(row.get("inbox_id", 0) is None for row in f.rows)]
        assert wrong == []


def office(bench: Bench, one: ScriptedOne, hands: Hands) -> Office:
    """A desk with its staff."""
    made = Office(bench, one, hands)
    for login, role in STAFF.items():
        made.hire(login, role)
    return made


def everything(bench: Bench) -> dict[str, list[Any]]:
    """All rows of all tables but the notes of accesses: what an act has changed, and what it has not."""
    tables = [name for name in models.metadata.tables if name not in ("access_note", "alembic_version")]
    return {name: sorted(map(str, bench.rows(f'SELECT * FROM "{name}"'))) for name in tables}
