"""Many at once: each item in a transaction of its own and with an answer of its own; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bridge import db, log
from bridge.desk.proposals import Proposal, Wish, propose
from bridge.desk.rows import Person
from bridge.desk.sight import Sight, preview
from bridge.desk.sittings import Sitting
from bridge.desk.verdicts import approve
from bridge.errors import Invalid, Refusal
from bridge.models.proposals import ProposalKind
from bridge.runtime import Runtime
from bridge.transfers import rows

MOST = 100
"""Items of one batch: each is a transaction, and somebody waits for the answer."""

_log = log.get("desk")


@dataclass(frozen=True)
class Item:
    """What came of one of many: it is `done`, or `why` says why not, in one sentence. `amount` in minor units."""

    id: str
    done: bool
    why: str = ""
    code: str = ""
    amount: int = 0
    currency: str = ""
    sight: Sight | None = None
    proposal: Proposal | None = None
    missing: int = 0


@dataclass(frozen=True)
class Batch:
    """All of them, and the sum of what was done per currency, in minor units: what waits for another
    person is not in it."""

    items: tuple[Item, ...]
    sums: Mapping[str, int]
    id: str | None = None


def preview_many(runtime: Runtime, person: Person, transfers: Sequence[str], kind: ProposalKind) -> Batch:
    """What one kind of decision would come to for each of them. A split is for one alone. Raises Invalid."""
    _require_bounds(transfers, kind)

    def one(transfer_id: str) -> Item:
        sight = preview(runtime, person, transfer_id, kind)
        if not sight.covered:
            return _item(transfer_id, sight, done=False, code="wallet_spent", why="The wallet does not hold it.")
        return _item(transfer_id, sight, done=True)

    return _batch([_tried(each, one) for each in transfers])


def propose_many(runtime: Runtime, sitting: Sitting, kind: ProposalKind, reason: str, seen: Mapping[str, str]) -> Batch:
    """Propose one kind of decision for many transfers; `seen`: transfer → the digest that was shown. Raises Invalid."""
    _require_bounds(list(seen), kind)
    batch = runtime.ids.new("ba")

    def one(transfer_id: str) -> Item:
        wish = Wish(transfer_id, kind, reason, seen[transfer_id], batch=batch)
        return _proposed(runtime, transfer_id, propose(runtime, sitting, wish))

    return replace(_batch([_tried(each, one) for each in seen]), id=batch)


def approve_many(runtime: Runtime, sitting: Sitting, reason: str, seen: Mapping[str, str]) -> Batch:
    """Approve many proposals; `seen`: proposal → the digest that was shown. Raises Invalid."""
    _require_bounds(list(seen), None)

    def one(proposal_id: str) -> Item:
        approval = approve(runtime, sitting, proposal_id, seen[proposal_id], reason)
        item = replace(_proposed(runtime, proposal_id, approval.proposal), missing=approval.missing)
        return replace(item, done=False, why="It was approved before.", code="again") if approval.again else item

    return _batch([_tried(each, one) for each in seen])


def _require_bounds(ids: Sequence[str], kind: ProposalKind | None) -> None:
    if not 0 < len(ids) <= MOST or len(set(ids)) < len(ids):
        raise Invalid(fields={"ids": f"must name 1 to {MOST}, each once"})
    if kind in (ProposalKind.SPLIT, ProposalKind.ASK_AGAIN):
        raise Invalid(fields={"kind": f"{kind.value} is for one transfer at a time"})


def _tried(each: str, one: Callable[[str], Item]) -> Item:
    try:
        return one(each)
    except Refusal as refusal:
        return Item(each, done=False, why=refusal.why, code=refusal.code)
    except Exception:  # noqa: BLE001 - whatever is wrong with one, the others are gone through
        _log.exception("one of many failed", subject=each)
        return Item(each, done=False, why="It failed; whether it was done has to be looked at.", code="failed")


def _item(subject: str, sight: Sight, *, done: bool, code: str = "", why: str = "") -> Item:
    return Item(subject, done, why, code, sight.transfer.amount, sight.transfer.currency, sight)


def _proposed(runtime: Runtime, subject: str, proposal: Proposal) -> Item:
    with db.reading(runtime.engine) as connection:
        transfer = rows.load(connection, proposal.transfer_id)
    assert transfer is not None
    return Item(subject, True, amount=transfer.amount, currency=transfer.currency, proposal=proposal)


def _batch(items: list[Item]) -> Batch:
    sums: dict[str, int] = {}
    for item in items:
        if item.done and not item.missing:
            sums[item.currency] = sums.get(item.currency, 0) + item.amount
    return Batch(tuple(items), sums)
