"""What is shown of a transfer before anybody decides about it: which decisions make sense, what each would post, and
a digest of all that matters in it.

The maker proposes what was shown, the checker approves what was shown, and what is carried out is that, or nothing.
What a source repeats, when it said so, and who holds a lease is no news and not in the digest; of the player's wallet
there is only whether it holds what would be taken from it, for players go on playing while people decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection

from bridge import db, denominations, identity, ledger
from bridge.desk import thresholds
from bridge.desk.rows import Person
from bridge.errors import Invalid, NotFound
from bridge.evidence import Answer, Evidence, Source
from bridge.models.proposals import ProposalKind
from bridge.runtime import Runtime
from bridge.transfers import rows
from bridge.transfers.core import decisions
from bridge.transfers.core.decisions import MEANINGFUL, Kind, place
from bridge.transfers.core.facts import Transfer
from bridge.transfers.core.hindsight import said
from bridge.transfers.decide import Decision, Foreseen, foresee, require_provider, require_sense
from statemachines import TransferState

ASKABLE = (TransferState.PENDING, TransferState.ORPHANED)
"""What the provider can be asked about again by people: what is not proved."""

ASKED = "the provider is asked again; nothing is posted unless its answer is proof"


@dataclass(frozen=True)
class Wanted:
    """What is to be done about a transfer. `arrived` and `returned` (minor units) are named for a split alone."""

    kind: ProposalKind
    arrived: int = 0
    returned: int = 0


@dataclass(frozen=True)
class Posting:
    """One posting to be: `amount` minor units leave `debit` and reach `credit`."""

    debit: str
    credit: str
    amount: int


@dataclass(frozen=True)
class Touched:
    """A player's account, in minor units now and behind the postings."""

    account: str
    before: int
    after: int


@dataclass(frozen=True)
class Sight:
    """One decision about one transfer, as it would be carried out now.

    `upon_proof`: it is an order; the postings follow once the provider has proved it. `covered`: the wallet holds what
    would be taken from it. `seen` is the digest of all that matters, `parts` those of its parts.
    """

    transfer: Transfer
    wanted: Wanted
    meaning: str
    ends: TransferState
    postings: tuple[Posting, ...]
    upon_proof: bool
    touched: tuple[Touched, ...]
    covered: bool
    checkers: int
    parts: Mapping[str, str]
    seen: str

    def frozen(self) -> str:
        """What was shown, as JSON that is kept for ever."""
        shown = {
            "ends": self.ends.value,
            "upon_proof": self.upon_proof,
            "postings": [[each.debit, each.credit, each.amount] for each in self.postings],
            "balances": [[each.account, each.before, each.after] for each in self.touched],
            "parts": dict(self.parts),
        }
        return json.dumps(shown, sort_keys=True, separators=(",", ":"))

    def changed_since(self, frozen: str) -> list[str]:
        """Which parts are not as they were when that was kept."""
        before = json.loads(frozen)["parts"]
        return sorted(name for name in {*before, *self.parts} if before.get(name) != self.parts.get(name))


def preview(
    runtime: Runtime, person: Person, transfer_id: str, kind: ProposalKind, arrived: int = 0, returned: int = 0
) -> Sight:
    """What a decision would come to now; nothing is written. Raises NotFound, and Invalid, naming the field, for what
    makes no sense here."""
    with db.reading(runtime.engine) as connection:
        transfer = owned(rows.load(connection, transfer_id), person)
        return look(connection, runtime, transfer, Wanted(kind, arrived, returned))


def permitted(runtime: Runtime, person: Person, transfer_id: str) -> dict[ProposalKind, str]:
    """What may be proposed about a transfer now, each with what it says; a split is then to be filled in."""
    with db.reading(runtime.engine) as connection:
        transfer = owned(rows.load(connection, transfer_id), person)
    provider = runtime.providers.get(transfer.provider)
    if provider is None:
        return {}
    found = {ProposalKind.ASK_AGAIN: ASKED} if transfer.state in ASKABLE else {}
    kinds = decisions.permitted(transfer, provider.descriptor, runtime.clock.now())
    said = {ProposalKind(kind.value): meaning for kind, meaning in _meaningful(transfer).items() if kind in kinds}
    return found | said


def owned(transfer: Transfer | None, person: Person) -> Transfer:
    """The transfer, if it is of the person's operator; raises NotFound for every other one alike."""
    if transfer is None or transfer.operator_id != person.operator_id:
        raise NotFound("There is no such transfer.")
    return transfer


def look(
    connection: Connection, runtime: Runtime, transfer: Transfer, wanted: Wanted, *, holding: bool = False
) -> Sight:
    """As :func:`preview`, of a transfer that was loaded; with `holding`, in a transaction that writes, nobody changes
    the player's accounts before it ends, and Unavailable is raised where its provider is another one here than it was.
    """
    denominations.require(connection, runtime, transfer.currency)
    if holding:
        identity.require(connection, runtime, transfer.provider)
    _require_sense(runtime, transfer, wanted)
    foreseen = Foreseen(transfer.state, (), 0)
    if wanted.kind is not ProposalKind.ASK_AGAIN:
        foreseen = foresee(runtime, transfer, _decision(wanted), runtime.moment())
    touched = _touched(connection, transfer, foreseen, holding=holding)
    wallet = next(each for each in touched if ledger.is_wallet(each.account))
    parts = _parts(transfer, wanted, foreseen, covered=wallet.before >= foreseen.wallet_gives)
    asks = wanted.kind is ProposalKind.ASK_AGAIN
    return Sight(
        transfer=transfer,
        wanted=wanted,
        meaning=ASKED if asks else _meaningful(transfer)[Kind(wanted.kind.value)],
        ends=foreseen.state,
        postings=tuple(Posting(*each) for each in foreseen.postings),
        upon_proof=wanted.kind is ProposalKind.CLAW_BACK,
        touched=touched,
        covered=wallet.before >= foreseen.wallet_gives,
        checkers=0 if asks else thresholds.checkers(runtime, transfer.currency, transfer.amount),
        parts=parts,
        seen=_digest(parts),
    )


def _require_sense(runtime: Runtime, transfer: Transfer, wanted: Wanted) -> None:
    if wanted.kind is not ProposalKind.SPLIT and (wanted.arrived or wanted.returned):
        raise Invalid(fields={"arrived": "and returned are named for a split only"})
    require_provider(runtime, transfer)
    if wanted.kind is not ProposalKind.ASK_AGAIN:
        require_sense(runtime, transfer, _decision(wanted), runtime.clock.now())
    elif transfer.state not in ASKABLE:
        raise Invalid(fields={"transfer_id": f"is {transfer.state.value}: it is proved what became of it"})


def _decision(wanted: Wanted) -> Decision:
    """The decision that it would be, without its people: they change nothing of what it comes to."""
    return Decision(Kind(wanted.kind.value), "", "", "", wanted.arrived, wanted.returned)


def _meaningful(transfer: Transfer) -> Mapping[Kind, str]:
    return MEANINGFUL[transfer.direction, place(transfer)] if transfer.state is TransferState.ORPHANED else {}


def _touched(connection: Connection, transfer: Transfer, foreseen: Foreseen, *, holding: bool) -> tuple[Touched, ...]:
    """The player's wallet and account at the provider."""
    owner, currency = transfer.operator_id, transfer.currency
    if holding:
        ledger.lock_wallet(connection, owner, transfer.provider, transfer.player, currency)
    found = []
    for account in (ledger.wallet(transfer.player), ledger.game(transfer.provider, transfer.player)):
        held = ledger.cached_balance(connection, owner, account, currency)
        came = sum(part for _, credit, part in foreseen.postings if credit == account)
        went = sum(part for debit, _, part in foreseen.postings if debit == account)
        found.append(Touched(account, held, held + came - went))
    return tuple(found)


# --- the digest ---------------------------------------------------------------------------------------


def _parts(transfer: Transfer, wanted: Wanted, foreseen: Foreseen, *, covered: bool) -> dict[str, str]:
    outside = transfer.provider, transfer.direction.value, transfer.player, transfer.operator_id
    legs = [
        [leg.ordinal, leg.holder, leg.side.value, leg.state.value, leg.amount, leg.undoes, leg.reference,
         leg.provider_reference, len(leg.attempts)]
        for leg in transfer.legs
    ]  # fmt: skip
    values: dict[str, object] = {
        "transfer": [transfer.id, *outside],
        "state": [transfer.state.value, transfer.reason_code, transfer.cancel_requested_at is not None],
        "amounts": [transfer.amount, transfer.currency, transfer.arrived, transfer.written_off],
        "legs": legs,
        "evidence": sorted(json.dumps(each) for each in _counts(transfer)),
        "decision": [wanted.kind.value, wanted.arrived, wanted.returned, foreseen.state.value],
        "postings": foreseen.postings,
        "wallet": covered,
    }
    if transfer.rewound_at is not None:
        values["database"] = [transfer.rewound_at, transfer.moved_at]  # what is shown is not all that happened
    return {name: _digest(value) for name, value in values.items()}


def _counts(transfer: Transfer) -> set[tuple[object, ...]]:
    """What each source has said about each leg, once. An answer that never came, or says nothing, is no fact."""
    return {(leg.ordinal, *_told(piece)) for leg in transfer.legs for piece in leg.evidence if _says_something(piece)}


def _says_something(piece: Evidence) -> bool:
    silent = piece.reply.answer in (Answer.UNKNOWN, Answer.NOT_SENT)
    return piece.source is Source.PERSON or not silent


def _told(piece: Evidence) -> tuple[object, ...]:
    # Each decision of people is a fact of its own, also where it says what an earlier one said.
    again = piece.watermark if piece.source is Source.PERSON else None
    return (*(getattr(each, "value", each) for each in said(piece)), piece.reply.code if again else None, again)


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
