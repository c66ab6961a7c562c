"""What the desk does once the last approval is there, without the people: for tests of what comes of a decision.

Who may decide, and that what was shown is what is carried out, is the desk's own: tests/desk shows it. What is refused
here for an old version or another's transfer stands in for that, and no test asserts it."""

from __future__ import annotations

from dataclasses import dataclass

from bridge import db
from bridge.desk.sight import Wanted, look
from bridge.errors import Declined, NotFound, Stale
from bridge.models.proposals import ProposalKind
from bridge.runtime import Runtime
from bridge.transfers import decide as below
from bridge.transfers import rows
from bridge.transfers.advance import tell
from bridge.transfers.core.decisions import Kind
from bridge.transfers.core.facts import Transfer


@dataclass(frozen=True)
class Decision:
    """What is decided, by whom, why, and about which version of the transfer; `arrived` and `returned` (minor units) of
    a split."""

    kind: Kind
    maker: str
    checker: str
    reason: str
    version: int
    arrived: int = 0
    returned: int = 0


def decide(runtime: Runtime, operator_id: int, transfer_id: str, decision: Decision) -> Transfer:
    """Look at the transfer as the desk does and carry it out; the transfer behind it."""
    wanted = Wanted(ProposalKind(decision.kind.value), decision.arrived, decision.returned)
    made = below.Decision(
        decision.kind, decision.maker, decision.checker, decision.reason, decision.arrived, decision.returned
    )
    with db.writing(runtime.engine) as connection:
        seen = rows.load(connection, transfer_id, to_move=True)
        if seen is None or seen.operator_id != operator_id:
            raise NotFound("There is no such transfer.")
        if seen.version != decision.version:
            raise Stale(transfer_id=transfer_id)
        if not look(connection, runtime, seen, wanted, holding=True).covered:
            raise Declined("The wallet does not hold what would be taken from it.", code="wallet_spent")
        outcome = below.carry_out(connection, runtime, seen, made, runtime.clock.now())
    tell(seen.state, outcome.transfer)
    return outcome.transfer
