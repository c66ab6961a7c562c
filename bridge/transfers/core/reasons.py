"""Why a transfer ended or was orphaned, in a code for machines and a sentence for people."""

from __future__ import annotations

from bridge.evidence import Answer, Source
from bridge.ports import Descriptor
from bridge.transfers.core import contract, sweep
from bridge.transfers.core.facts import CONTRADICTION, Transfer
from bridge.transfers.core.proof import Finding, Verdict, collided
from statemachines import TransferState

WALLET_SPENT = "wallet_spent"
"""The provider took back what the wallet had been given, and the player had spent it by then."""


def reason(transfer: Transfer, finding: Finding, descriptor: Descriptor, trigger: str) -> tuple[str, str]:
    """(code, sentence) of the move by `trigger`; empty where a transfer was simply confirmed."""
    proof = finding.proof
    if proof is not None and proof.source is Source.PERSON and trigger != "orphan":
        return "decided", f"{proof.reply.code}: {proof.reply.detail}"
    if trigger == "confirm":
        return ("partial", "the provider moved a part of it") if finding.arrived is not None else ("", "")
    return _of_orphan(transfer, finding) if trigger == "orphan" else _of_reversal(transfer, finding, descriptor)


def _of_orphan(transfer: Transfer, finding: Finding) -> tuple[str, str]:
    if finding.taken_back:
        return "taken_back", contract.explain(transfer)
    return _why_before_people(transfer, finding), contract.explain(transfer)


def _why_before_people(transfer: Transfer, finding: Finding) -> str:
    if finding.verdict is Verdict.MISMATCHED:
        return "mismatch"
    # Without a proof nothing was said against it: of a sweep, the refusal of an earlier try is only doubted.
    is_contradicted = finding.verdict is Verdict.CONTRADICTED or transfer.state is not TransferState.PENDING
    if is_contradicted and finding.proof is not None:
        return CONTRADICTION
    return "reference_conflict" if collided(transfer.outside) else "unproved"


def _of_reversal(transfer: Transfer, finding: Finding, descriptor: Descriptor) -> tuple[str, str]:
    proof = finding.proof
    assert proof is not None
    if proof.source is Source.CONTRACT and proof.reply.code == "never_left":
        return "provider_unreachable", proof.reply.detail
    if transfer.cancel_requested_at is not None:
        return "cancelled", proof.reply.detail or "taken back before it was applied"
    if proof.source is Source.CONTRACT:
        unavailable = proof.reply.code == "never_sent"
        return "provider_unavailable" if unavailable else "not_completed", proof.reply.detail
    moving = sweep.reason(transfer, finding, descriptor)
    if moving is not None:
        return moving, proof.reply.detail
    if proof.reply.answer is Answer.APPLIED:
        return "clawed_back", "taken out of the game again, as people had decided"
    if proof.reply.answer is Answer.NOT_FOUND:
        return "not_executed", "the provider does not know it"
    if proof.reply.answer is Answer.NOT_APPLIED:
        return "provider_refused", proof.reply.code
    return "provider_cancelled", proof.reply.code or "the provider cancelled the transfer"
