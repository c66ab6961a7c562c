"""Proposing: what may be done about a transfer, what each would post, and the form by which one proposes it."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for

from bridge import reasons
from bridge.dashboard.entrance import Page, Visit, allowed
from bridge.dashboard.pages import amounts, asked
from bridge.desk import proposals, sight
from bridge.desk.proposals import Wish
from bridge.desk.rows import PROPOSERS
from bridge.desk.sight import Sight
from bridge.errors import Invalid
from bridge.models.proposals import ProposalKind
from bridge.views import transfer

room = Blueprint("proposing", __name__, url_prefix="/ops")

SEE_OTHER, REFUSED = 303, 422


@dataclass(frozen=True)
class Option:
    """Something that may be proposed: what it says, and what it would post now; a split is to be filled in first."""

    kind: ProposalKind
    meaning: str
    sight: Sight | None


def options(visit: Visit, transfer_id: str) -> list[Option]:
    """What may be proposed about a transfer at this moment. Raises NotFound."""
    permitted = sight.permitted(visit.runtime, visit.person, transfer_id)
    return [Option(kind, meaning, _preview(visit, transfer_id, kind)) for kind, meaning in permitted.items()]


def _preview(visit: Visit, transfer_id: str, kind: ProposalKind) -> Sight | None:
    if kind is ProposalKind.SPLIT:
        return None
    try:
        return sight.preview(visit.runtime, visit.person, transfer_id, kind)
    except Invalid:
        return None  # it changed between the two looks: the next one tells


@room.get("/transfers/<transfer_id>/propose")
@allowed(*PROPOSERS)
def form(visit: Visit, transfer_id: str) -> Page:
    """What one proposal would do, and the form that makes it."""
    kind = asked.choice("kind", ProposalKind, ProposalKind.ASK_AGAIN)
    told = {name: request.args.get(name, "") for name in ("arrived", "returned")}
    return _form(visit, transfer_id, kind, told, {})


@room.post("/transfers/<transfer_id>/propose")
@allowed(*PROPOSERS, proved=True)
def propose(visit: Visit, transfer_id: str) -> Page:
    """Propose it."""
    return _propose(visit, transfer_id, _kind())


@room.post("/transfers/<transfer_id>/ask")
@allowed(*PROPOSERS)
def ask(visit: Visit, transfer_id: str) -> Page:
    """Have the provider asked again: it moves nothing unless the answer is proof, and needs nobody else."""
    return _propose(visit, transfer_id, ProposalKind.ASK_AGAIN)


def _kind() -> ProposalKind:
    told = request.form.get("kind", "")
    if told not in list(ProposalKind) or told == ProposalKind.ASK_AGAIN:
        raise Invalid(fields={"kind": "is nothing that is proposed"})
    return ProposalKind(told)


def _propose(visit: Visit, transfer_id: str, kind: ProposalKind) -> Page:
    told = {name: request.form.get(name, "") for name in ("arrived", "returned")}
    reason = request.form.get("reason", "")
    try:
        with proposals.refusals_noted(visit.runtime, visit.sitting, "propose", reason, transfer_id):
            arrived, returned = _parts(visit, transfer_id, kind, told)
        wish = Wish(transfer_id, kind, reason, request.form.get("seen", ""), arrived, returned)
        made = proposals.propose(visit.runtime, visit.sitting, wish)
    except Invalid as refusal:
        return _form(visit, transfer_id, kind, told, refusal.fields), REFUSED
    if kind is ProposalKind.ASK_AGAIN:
        return redirect(url_for("transfer.show", transfer_id=transfer_id), SEE_OTHER)
    return redirect(url_for("proposals.one", proposal_id=made.id), SEE_OTHER)


def _parts(visit: Visit, transfer_id: str, kind: ProposalKind, told: dict[str, str]) -> tuple[int, int]:
    """(arrived, returned) of a split in minor units, nothing for any other kind. Raises Invalid."""
    if kind is not ProposalKind.SPLIT:
        return 0, 0
    currency = transfer.page(visit.runtime, visit.operator_id, transfer_id).transfer.currency
    arrived, returned = (
        amounts.typed(visit.runtime.currencies, name, told[name], currency) for name in ("arrived", "returned")
    )
    return arrived, returned


def _form(visit: Visit, transfer_id: str, kind: ProposalKind, told: dict[str, str], wrong: dict[str, str]) -> str:
    page = transfer.page(visit.runtime, visit.operator_id, transfer_id)
    seen: Sight | None = None
    wrong = dict(wrong)
    if kind is not ProposalKind.SPLIT or any(told.values()):
        try:
            arrived, returned = _parts(visit, transfer_id, kind, told)
            seen = sight.preview(visit.runtime, visit.person, transfer_id, kind, arrived, returned)
        except Invalid as refusal:
            wrong |= refusal.fields
    reason = request.form.get("reason", "")
    return render_template(
        "desk/propose.html", page=page, kind=kind, sight=seen, told=told, wrong=wrong, reason=reason,
        most=reasons.MOST, least=reasons.LEAST,
    )  # fmt: skip
