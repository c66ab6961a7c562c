"""Many at once: several orphans are looked at together and proposed together, several proposals approved together;
each item is a transaction of its own, and the report says what came of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from flask import Blueprint, render_template, request

from bridge import reasons
from bridge.dashboard.entrance import APPROVERS, Page, Visit, allowed
from bridge.dashboard.pages import amounts, asked
from bridge.dashboard.pages.proposals import frozen
from bridge.desk import batches, docket, proposals
from bridge.desk.docket import Shown
from bridge.desk.rows import PROPOSERS
from bridge.errors import Invalid
from bridge.models.proposals import ProposalKind
from bridge.views import orphans

room = Blueprint("many", __name__, url_prefix="/ops")

REFUSED = 422
KINDS = (ProposalKind.CONFIRM, ProposalKind.REVERSE, ProposalKind.WRITE_OFF, ProposalKind.CLAW_BACK)
"""What may be proposed about several at once: what needs no amounts of its own."""


@room.get("/many/propose")
@allowed(*PROPOSERS)
def form(visit: Visit) -> Page:
    """What one kind of decision would come to for each of the chosen, and in all."""
    kind = asked.choice("kind", ProposalKind, ProposalKind.CONFIRM)
    return _form(visit, kind, _ids(request.args.getlist("transfer")), {})


@room.post("/many/propose")
@allowed(*PROPOSERS, proved=True)
def propose(visit: Visit) -> Page:
    """Propose it for each, as it was shown."""
    kind = _kind(request.form.get("kind", ""))
    seen = _seen(request.form.getlist("transfer"), request.form.getlist("seen"))
    reason = request.form.get("reason", "")
    try:
        with proposals.refusals_noted(visit.runtime, visit.sitting, "propose", reason, *seen):
            reasons.stated(reason)
        batch = batches.propose_many(visit.runtime, visit.sitting, kind, reason, seen)
    except Invalid as refusal:
        return _form(visit, kind, list(seen), refusal.fields), REFUSED
    return render_template("desk/many_report.html", batch=batch, kind=kind, act="proposed")


@room.get("/many/approve")
@allowed(*APPROVERS)
def approval(visit: Visit) -> Page:
    """Several proposals, each as it was proposed and as it is seen now, and their sums."""
    return _approval(visit, _ids(request.args.getlist("proposal")), {})


@room.post("/many/approve")
@allowed(*APPROVERS, proved=True)
def approve(visit: Visit) -> Page:
    """Approve each, as it was shown, having typed their sums once more."""
    seen = _seen(request.form.getlist("proposal"), request.form.getlist("seen"))
    reason = request.form.get("reason", "")
    sums = _sums([docket.shown(visit.runtime, visit.person, each) for each in seen])
    told = [(currency, request.form.get(f"sum_{currency}", ""), units) for currency, units in sums.items()]
    try:
        with proposals.refusals_noted(visit.runtime, visit.sitting, "approve", reason, *seen):
            reasons.stated(reason)
            amounts.require_sums(visit.runtime.currencies, told)
        batch = batches.approve_many(visit.runtime, visit.sitting, reason, seen)
    except Invalid as refusal:
        return _approval(visit, list(seen), refusal.fields), REFUSED
    return render_template("desk/many_report.html", batch=batch, kind=None, act="approved")


def _form(visit: Visit, kind: ProposalKind, transfers: list[str], wrong: Mapping[str, str]) -> str:
    waiting = orphans.waiting(visit.runtime, visit.operator_id, transfers)
    free = [each for each in transfers if each not in waiting]
    batch = batches.preview_many(visit.runtime, visit.person, free, kind) if free else batches.Batch((), {})
    return render_template(
        "desk/many_propose.html", batch=batch, waiting=waiting, kind=kind, kinds=KINDS, wrong=wrong,
        transfers=transfers, reason=request.form.get("reason", ""), most=reasons.MOST,
        least=reasons.LEAST,
    )  # fmt: skip


def _approval(visit: Visit, ids: list[str], wrong: Mapping[str, str]) -> str:
    shown = [docket.shown(visit.runtime, visit.person, each) for each in ids]
    ready = [each for each in shown if each.is_approvable_by(visit.person)]
    return render_template(
        "desk/many_approve.html", ready=ready, others=[each for each in shown if each not in ready], frozen=frozen,
        own=visit.person.id, sums=_sums(ready), wrong=wrong, reason=request.form.get("reason", ""), most=reasons.MOST,
        least=reasons.LEAST, own_fields=["reason", *(f"sum_{code}" for code in _sums(ready))],
    )  # fmt: skip


def _sums(shown: list[Shown]) -> dict[str, int]:
    """Currency → minor units of them all."""
    sums: Counter[str] = Counter()
    for each in shown:
        sums[each.entry.currency] += each.entry.amount
    return dict(sorted(sums.items()))


def _ids(told: list[str]) -> list[str]:
    """The chosen, each once. Raises Invalid where there are none, or too many for one answer."""
    ids = list(dict.fromkeys(each.replace("\x00", "") for each in told if each))
    if not 0 < len(ids) <= batches.MOST:
        raise Invalid(fields={"chosen": f"must be 1 to {batches.MOST}: choose them in the list"})
    return ids


def _seen(ids: list[str], digests: list[str]) -> dict[str, str]:
    """Item → the digest of what was shown of it. Raises Invalid unless each has one."""
    if len(ids) != len(digests):
        raise Invalid(fields={"seen": "does not fit what was chosen"})
    _ids(ids)
    return dict(zip((each.replace("\x00", "") for each in ids), digests, strict=True))


def _kind(told: str) -> ProposalKind:
    if told not in KINDS:
        raise Invalid(fields={"kind": f"must be one of {', '.join(KINDS)}"})
    return ProposalKind(told)
