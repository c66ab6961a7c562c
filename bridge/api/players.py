"""Routes of players: who has which wallets, where everything of theirs is, and the cashier."""

from __future__ import annotations

from flask import Response
from flask_openapi.blueprint import APIBlueprint

from bridge import idempotency, players
from bridge.api import cash, recalling, waiting
from bridge.api.answers import document, replies, views
from bridge.api.intake import instants
from bridge.api.intake.admission import Call, admits
from bridge.api.intake.wishes import CashBody, EmptyBody, FundsQuery, KeyHeader, PlayerBody, PlayerPath, TransferHeader
from bridge.cashier import DEPOSIT, WITHDRAWAL, CashWish
from bridge.idempotency import Key
from bridge.keys import Scope

room = APIBlueprint(
    "players", __name__, url_prefix="/v1/players", abp_tags=[document.PLAYERS], abp_security=document.BEARER
)

_CASH = document.answers({201: views.CashView}, document.MONEY, "Idempotent-Replayed")


@room.put("/<player_id>", responses=document.answers({200: views.PlayerView, 201: views.PlayerView}, document.WRITING))
@admits(Scope.TRANSFERS)
def register_player(call: Call, path: PlayerPath, body: PlayerBody) -> Response:
    """Make a player with a wallet in each currency (201); again adds what is missing and removes nothing (200)."""
    currencies, new = players.register(call.runtime, call.operator_id, path.player_id, body.currencies)
    return replies.show(views.PlayerView(path.player_id, currencies), 201 if new else 200)


@room.get("/<player_id>/funds", responses=document.answers({200: views.PlayerFunds}, document.READING_ONE))
@admits(Scope.READ)
def show_funds(call: Call, path: PlayerPath, query: FundsQuery) -> Response:
    """Where all of a player's money is, now or as of a past instant: wallet, in transit, at providers, in custody."""
    now = call.runtime.clock.now()
    as_of = instants.past(query.as_of, "as_of", now) if query.as_of else None
    funds = players.funds(call.runtime, call.operator_id, path.player_id, as_of)
    at = now if as_of is None else as_of
    return replies.show(views.player_funds(path.player_id, at, funds, call.runtime.currencies))


@room.post("/<player_id>/deposits", responses=_CASH)
@admits(Scope.TRANSFERS, timely=True)
def deposit(call: Call, path: PlayerPath, header: KeyHeader, body: CashBody) -> Response:
    """Money enters the casino: into the player's wallet, once per key."""
    wish = CashWish(path.player_id, body.amount, body.currency)
    return cash.move(call.runtime, call.operator_id, DEPOSIT, header.idempotency_key, wish)


@room.post("/<player_id>/withdrawals", responses=_CASH)
@admits(Scope.TRANSFERS, timely=True)
def withdraw(call: Call, path: PlayerPath, header: KeyHeader, body: CashBody) -> Response:
    """Money leaves the casino: out of the player's wallet, once per key; a wallet without it is a lasting refusal."""
    wish = CashWish(path.player_id, body.amount, body.currency)
    return cash.move(call.runtime, call.operator_id, WITHDRAWAL, header.idempotency_key, wish)


@room.post(
    "/<player_id>/recall",
    request_body=document.OPTIONAL_OBJECT,
    responses=document.answers(
        {200: views.RecallView, 202: views.RecallView},
        (*document.MONEY, 404),
        "Idempotent-Replayed",
        "Preference-Applied",
    ),
)
@admits(Scope.TRANSFERS, timely=True)
def recall_player(call: Call, path: PlayerPath, header: TransferHeader, body: EmptyBody) -> Response:
    """Everything home: one sweep out of each provider and currency; 200 when all have ended, 202 before that."""
    preference = waiting.preferred(header.prefer, call.runtime.config.web.wait_seconds)
    key = Key(call.operator_id, idempotency.RECALL, header.idempotency_key)
    return recalling.call_home(call.runtime, key, path.player_id, body.model_dump(), preference)
