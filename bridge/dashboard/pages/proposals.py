"""The docket: what is proposed, beside what is seen now; and what another person says to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for

from bridge import reasons
from bridge.dashboard.entrance import ADMINS, APPROVERS, EVERYBODY, Page, Visit, allowed
from bridge.dashboard.pages import amounts, asked
from bridge.desk import docket, proposals, verdicts
from bridge.desk.docket import Entry
from bridge.desk.proposals import Proposal
from bridge.desk.rows import PROPOSERS
from bridge.desk.sight import Posting, Touched
from bridge.desk.sittings import Sitting
from bridge.errors import Invalid
from bridge.models.proposals import ProposalState
from bridge.runtime import Runtime

room = Blueprint("proposals", __name__, url_prefix="/ops")

PAGE = 50
SEE_OTHER, REFUSED = 303, 422


@dataclass(frozen=True)
class Frozen:
    """What the maker was shown, as it was kept."""

    ends: str
    upon_proof: bool
    postings: tuple[Posting, ...]
    touched: tuple[Touched, ...]


@room.get("/proposals")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """Proposals in a state, the oldest first."""
    return render_template("desk/proposals.html", **_read(visit))


@room.get("/proposals/part")
@allowed(*EVERYBODY)
def part(visit: Visit) -> Page:
    """The list alone."""
    return render_template("desk/proposals_part.html", **_read(visit))


def _read(visit: Visit) -> dict[str, object]:
    state = asked.choice("state", ProposalState, ProposalState.OPEN)
    at, after = asked.number("at", 0, 2**62), asked.word("after")
    behind = None if at is None or after is None else (at, after.replace("\x00", ""))
    listed = docket.listed(visit.runtime, visit.person, state=state, limit=PAGE + 1, after=behind)
    entries, more = listed[:PAGE], len(listed) > PAGE
    return {
        "entries": entries,
        "state": state,
        "states": tuple(ProposalState),
        "now": visit.runtime.clock.now(),
        "again": asked.again,
        "further": (entries[-1].proposal.created_at, entries[-1].proposal.id) if more else None,
        "may_approve": visit.person.role in APPROVERS and state is ProposalState.OPEN,
    }


@room.get("/proposals/<proposal_id>")
@allowed(*EVERYBODY)
def one(visit: Visit, proposal_id: str) -> Page:
    """One of them."""
    return _page(visit, proposal_id, {})


@room.post("/proposals/<proposal_id>/approve")
@allowed(*APPROVERS, proved=True)
def approve(visit: Visit, proposal_id: str) -> Page:
    """Approve it, as it was shown, having typed its amount once more."""
    proposal_id = proposal_id.replace("\x00", "")
    entry = docket.shown(visit.runtime, visit.person, proposal_id).entry
    told, reason = request.form, request.form.get("reason", "")
    try:
        with proposals.refusals_noted(visit.runtime, visit.sitting, "approve", reason, proposal_id):
            amounts.require_same(
                visit.runtime.currencies, "amount", told.get("amount", ""), entry.amount, entry.currency
            )  # fmt: skip
        verdicts.approve(visit.runtime, visit.sitting, proposal_id, told.get("seen", ""), reason)
    except Invalid as refusal:
        return _page(visit, proposal_id, refusal.fields), REFUSED
    return redirect(url_for("proposals.one", proposal_id=proposal_id), SEE_OTHER)


@room.post("/proposals/<proposal_id>/reject")
@allowed(*APPROVERS, proved=True)
def reject(visit: Visit, proposal_id: str) -> Page:
    """Say no to it."""
    return _turned_down(visit, proposal_id, "refusal", proposals.reject)


@room.post("/proposals/<proposal_id>/withdraw")
@allowed(*PROPOSERS, *ADMINS, proved=True)
def withdraw(visit: Visit, proposal_id: str) -> Page:
    """Take it back."""
    return _turned_down(visit, proposal_id, "withdrawal", proposals.withdraw)


def _turned_down(
    visit: Visit, proposal_id: str, field: str, how: Callable[[Runtime, Sitting, str, str], Proposal]
) -> Page:
    """End it without effect by `how`; `field` is that of the reason on the page."""
    proposal_id = proposal_id.replace("\x00", "")
    try:
        how(visit.runtime, visit.sitting, proposal_id, request.form.get("reason", ""))
    except Invalid as refusal:
        wrong = {field if name == "reason" else name: why for name, why in refusal.fields.items()}
        return _page(visit, proposal_id, wrong), REFUSED
    return redirect(url_for("proposals.one", proposal_id=proposal_id), SEE_OTHER)


def _page(visit: Visit, proposal_id: str, wrong: dict[str, str]) -> str:
    shown = docket.shown(visit.runtime, visit.person, proposal_id.replace("\x00", ""))
    proposal, person = shown.entry.proposal, visit.person
    own, is_open = proposal.maker_id == person.id, proposal.state is ProposalState.OPEN
    said = shown.said_by(person) is not None
    return render_template(
        "desk/proposal.html", shown=shown, frozen=frozen(shown.entry), wrong=wrong, now=visit.runtime.clock.now(),
        may_approve=shown.is_approvable_by(person),
        may_reject=is_open and not own and not said and person.role in APPROVERS,
        may_withdraw=is_open and ((own and person.role in PROPOSERS) or person.role in ADMINS),
        own=own, said=said, missing=shown.missing, reason=request.form.get("reason", ""),
        most=reasons.MOST, least=reasons.LEAST,
    )  # fmt: skip


def frozen(entry: Entry) -> Frozen:
    """What was shown when it was proposed."""
    kept = json.loads(entry.proposal.postings)
    return Frozen(
        kept["ends"],
        kept["upon_proof"],
        tuple(Posting(*each) for each in kept["postings"]),
        tuple(Touched(*each) for each in kept["balances"]),
    )
