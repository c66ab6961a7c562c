"""What clients are answered: the shapes, their document, and how rows become them.

Amounts are decimal strings with all the currency's decimals; instants are RFC 3339, UTC, microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from bridge.cashier import Cash
from bridge.errors import Retry
from bridge.money import Currencies
from bridge.players import Funds
from bridge.ports import Direction, Side
from bridge.transfers.rows import Story
from statemachines import LegState, TransferState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Decimals = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$")]

FINAL = (TransferState.CONFIRMED, TransferState.REVERSED)


def instant(microseconds: int) -> str:
    """For instance 2026-01-31T12:00:00.000000Z."""
    at = EPOCH + timedelta(microseconds=microseconds)
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field."""

    field: str
    detail: str


@dataclass(frozen=True)
class Problem:
    """A problem document (RFC 9457) with a stable `code` and what to do next."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry: Retry
    errors: list[FieldProblem] = field(default_factory=list)
    transfer_id: str = ""


@dataclass(frozen=True)
class PlayerView:
    """A player and all the player's currencies."""

    player_id: str
    currencies: list[str]


@dataclass(frozen=True)
class FundsView:
    """Where a player's money of one currency is."""

    currency: str
    wallet: Decimals
    in_transit: Decimals
    at_providers: dict[str, Decimals]
    in_custody: dict[str, Decimals]
    total: Decimals


@dataclass(frozen=True)
class PlayerFunds:
    """Where all of a player's money is, or was."""

    player_id: str
    as_of: Instant
    funds: list[FundsView]


@dataclass(frozen=True)
class CashView:
    """A deposit or a withdrawal, and the wallet's balance after it."""

    id: str
    kind: str
    player_id: str
    amount: Decimals
    currency: str
    balance: Decimals
    created_at: Instant


@dataclass(frozen=True)
class Reason:
    """Why a transfer was reversed or orphaned."""

    code: str
    detail: str


@dataclass(frozen=True)
class LegView:
    """One effect: on the wallet or at the provider. `attempts` counts its money requests; `undoes` is the
    place (from 1) of the leg that it takes back."""

    holder: str
    side: Side
    amount: Decimals
    state: LegState
    undoes: int | None
    reference: str | None
    attempts: int


@dataclass(frozen=True)
class TransferView:
    """A transfer as it stands. `requested` is what was asked for: an amount, or `max`; `arrived` is less than
    `amount` where it ended in part, null while nothing has arrived; `dust` is what a sweep had to leave behind."""

    id: str
    state: TransferState
    direction: Direction
    player_id: str
    provider: str
    requested: str
    amount: Decimals
    arrived: Decimals | None
    dust: Decimals | None
    currency: str
    reason: Reason | None
    provider_reference: str | None
    created_at: Instant
    updated_at: Instant
    orphan_at: Instant
    cancel_requested: bool
    legs: list[LegView]
    links: dict[str, str]


@dataclass(frozen=True)
class TransferPage:
    """Transfers, newest first; `cursor` continues behind the last one, null at the end."""

    transfers: list[TransferView]
    cursor: str | None


@dataclass(frozen=True)
class SweepView:
    """What a recall found at one provider in one currency: `swept` (with its transfer), `nothing`, or `unread`."""

    provider: str
    currency: str
    found: Literal["swept", "nothing", "unread"]
    transfer: TransferView | None


@dataclass(frozen=True)
class RecallView:
    """Everything of a player home, sweep by sweep."""

    player_id: str
    sweeps: list[SweepView]


@dataclass(frozen=True)
class Received:
    """The message is stored for ever, now or since it came first; it is acted on afterwards."""

    received: bool


@dataclass(frozen=True)
class Health:
    """The process serves."""

    status: Literal["ok"]


@dataclass(frozen=True)
class Trouble:
    """One thing that keeps this process from doing its work."""

    check: str
    detail: str


@dataclass(frozen=True)
class Readiness:
    """Whether requests should be sent here, and if not, what is wrong."""

    status: Literal["ready", "unready"]
    wrong: list[Trouble]


def player_funds(player_id: str, as_of: int, funds: list[Funds], currencies: Currencies) -> PlayerFunds:
    """Everything a player has, each amount in its currency's decimals."""
    return PlayerFunds(player_id, instant(as_of), [_funds(one, currencies) for one in funds])


def _funds(funds: Funds, currencies: Currencies) -> FundsView:
    def text(minor: int) -> str:
        return currencies.format(minor, funds.currency)

    return FundsView(
        currency=funds.currency,
        wallet=text(funds.wallet),
        in_transit=text(funds.in_transit),
        at_providers={name: text(minor) for name, minor in funds.at_providers.items()},
        in_custody={name: text(minor) for name, minor in funds.in_custody.items()},
        total=text(funds.total),
    )


def cash(made: Cash, currencies: Currencies) -> CashView:
    """A cash movement as it is answered, for ever the same."""
    return CashView(
        id=made.id,
        kind=made.kind,
        player_id=made.player_id,
        amount=currencies.format(made.amount, made.currency),
        currency=made.currency,
        balance=currencies.format(made.balance, made.currency),
        created_at=instant(made.created_at),
    )


def transfer(story: Story, currencies: Currencies) -> TransferView:
    """A transfer as it stands in its row and its legs."""
    row = story.row
    state, address = TransferState(row["state"]), f"/v1/transfers/{row['id']}"

    def text(minor: int) -> str:
        return currencies.format(minor, row["currency"])

    links = {"self": address, "history": f"{address}/history"}
    if state not in FINAL:
        links["cancel"] = f"{address}/cancel"
    return TransferView(
        id=row["id"],
        state=state,
        direction=Direction(row["direction"]),
        player_id=row["player_id"],
        provider=row["provider"],
        requested="max" if row["sweep"] else text(row["amount"]),
        amount=text(row["amount"]),
        arrived=text(row["amount"] if row["arrived"] is None else row["arrived"])
        if state is TransferState.CONFIRMED
        else None,
        dust=None if row["dust"] is None else text(row["dust"]),
        currency=row["currency"],
        reason=Reason(row["reason_code"], row["reason_detail"] or "") if row["reason_code"] else None,
        provider_reference=story.provider_reference,
        created_at=instant(row["created_at"]),
        updated_at=instant(row["updated_at"]),
        orphan_at=instant(row["orphan_at"]),
        cancel_requested=row["cancel_requested_at"] is not None,
        legs=[
            LegView(leg.holder, leg.side, text(leg.amount), leg.state, leg.undoes, leg.reference, len(leg.attempts))
            for leg in story.legs
        ],
        links=links,
    )
