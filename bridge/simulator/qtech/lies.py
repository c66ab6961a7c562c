"""How QTech lies where the protocol has a word of its own, one function a case; what all lie alike is in faults/."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bridge.simulator.books import DEBIT, Refused
from bridge.simulator.faults import lies
from bridge.simulator.faults.choice import FOR_EVER
from bridge.simulator.faults.garble import other_amount
from bridge.simulator.faults.scene import Scene as AnyScene
from bridge.simulator.messages import MICROS, Answer, Delivery, china_time
from bridge.simulator.qtech.books import COMPLETED, PENDING, Transfer
from bridge.simulator.qtech.errors import failure
from bridge.simulator.qtech.protocol import STALE_LIST, QTech

Scene = AnyScene[QTech]
EARLY = 0.002  # seconds before the deadline at which case 5 lets the complete through: either side may win


def _transfer(scene: Scene) -> Transfer | None:
    """The transfer that the call is about, as it stands."""
    return scene.provider.books.by_id(scene.call.transfer_id)


def _completes(scene: Scene) -> bool:
    """Whether the call, taken at its word, would complete a transfer."""
    return isinstance(scene.call.content, dict) and scene.call.content.get("status") == COMPLETED


def held_past_expiry(scene: Scene) -> Delivery | None:
    """4: the complete arrives after the provider gave up."""
    return _held(scene, scene.delay())


def held_to_the_instant(scene: Scene) -> Delivery | None:
    """5: the complete and the expiry at one instant."""
    return _held(scene, scene.delay() - EARLY * scene.strike.chance.random())


def _held(scene: Scene, after: float) -> Delivery | None:
    transfer = _transfer(scene)
    if transfer is None or transfer.status != PENDING:
        return None
    wait = (scene.provider.books.deadline(transfer) - scene.provider.books.clock()) / MICROS + after
    if scene.pause(max(0.0, wait)):
        return Delivery(0, cut="close")
    return scene.told(scene.truth())


def token_dies(scene: Scene) -> Delivery:
    """8, 39: 401; the token is dead, or (variant "alive") only this request was refused."""
    if scene.param("variant", "dead") != "alive":
        scene.provider.tokens.forget(scene.call.request)
    return scene.trouble("unauthorised")


def not_available(scene: Scene) -> Delivery:
    """9: refused before anything is done."""
    return scene.trouble("unavailable").but(delay=scene.delay())


def stale_list(scene: Scene) -> Delivery | None:
    """12: the rows of the players concerned are as they were a while ago."""
    old = scene.provider.books.clock() - int(scene.delay() * MICROS)
    player = scene.strike.script.player if scene.strike.script else ""

    def as_of(name: str) -> int | None:
        if scene.strike.script:
            return old if player in ("", name) else None
        last = scene.provider.books.last_of_player(name)
        fated = scene.choice.fated(last.terms.reference, last.terms.type) if last else None
        return old if fated == STALE_LIST else None

    answer = scene.truth()
    if not answer.done:
        return None
    stale = scene.provider.balances(scene.call, as_of)
    return scene.told(stale) if stale != answer else None


def stale_balance(scene: Scene) -> Delivery | None:
    """29: the balance as it was a while ago."""
    answer = scene.truth()
    old = scene.provider.books.clock() - int(scene.delay() * MICROS)
    stale = scene.provider.balance(scene.call.player, scene.call.request.query.get("currency"), old)
    return scene.told(stale) if answer.done and stale != answer else None


def late_commit(scene: Scene) -> Delivery | None:
    """15: the line goes dead, the provider goes on, and is done only later."""
    if not (_completes(scene) and scene.provider.books.postpone(scene.call.transfer_id, scene.delay())):
        return None
    return scene.lost()


def another_amount(scene: Scene) -> Delivery | None:
    """19: done as asked, and told as something else."""
    answer = scene.truth()
    if not answer.done or "amount" not in (answer.content or {}):
        return None
    if "amount" in scene.strike.params:
        amount = Decimal(scene.strike.params["amount"])
    else:
        amount = other_amount(answer.content["amount"], scene.strike.params.get("variant"), scene.strike.chance)
    return scene.told(Answer(answer.status, answer.content | {"amount": amount})).but(delay=scene.delay())


def another_transfer(scene: Scene) -> Delivery | None:
    """20: done as asked, and answered with somebody else's body, or an older one."""
    answer = scene.truth()
    if not answer.done or "playerId" not in (answer.content or {}):
        return None
    body = _other_transfer(scene.provider, answer.content, scene.one_of("variant", ("player", "older")))
    return scene.told(Answer(answer.status, body)).but(delay=scene.delay())


def _other_transfer(provider: QTech, content: dict[str, Any], variant: str) -> dict[str, Any]:
    """The body for another player; or for an older transfer of the same player, where there is one."""
    if variant == "older":
        older = provider.books.older_of_player(content["playerId"], content["id"])
        if older is not None:
            return provider.shown(older)
    return {**content, "playerId": provider.books.another_player(content["playerId"])}


def lying_look_up(scene: Scene) -> Delivery | None:
    """26: the complete's answer is lost (param lose), then the look-up misleads for a while, or for ever."""
    params = scene.strike.params
    if scene.call.operation != "lookup":
        answer = scene.truth()
        if not answer.done:
            return None
        scene.strike.params = params | {"variant": scene.one_of("variant", ("late", "retention", "rate"))}
        _mislead(scene)
        return scene.lost(answer) if scene.param("lose", True) else scene.told(answer)
    _mislead(scene)
    variant, transfer = scene.param("variant", "late"), _transfer(scene)
    if variant == "rate":
        return lies.too_many_for_now(scene)
    if variant == "late" and transfer is not None and scene.one_of("body", ("missing", "pending")) == "pending":
        pending = {**scene.provider.shown(transfer), "status": PENDING}
        pending.pop("finalized", None)
        return scene.told(Answer(200, pending)) if transfer.status != PENDING else None
    return scene.told(failure("TRANSFER_NOT_FOUND", "There is no such transfer."))


def _mislead(scene: Scene) -> None:
    seconds = FOR_EVER if scene.param("variant", "late") == "retention" else scene.delay()
    from_now = scene.call.operation == "lookup"
    scene.go_on(("lookup",), seconds, now=from_now, transfer_id=scene.call.transfer_id)


def told_first(scene: Scene) -> Delivery | None:
    """28: COMPLETED on the wire at once, in the books later, or never."""
    never, transfer = scene.param("never", False), _transfer(scene)
    if transfer is None:
        return None
    if scene.strike.window is None:
        if not _completes(scene) or transfer.status != PENDING:
            return None
        if not (never or scene.provider.books.postpone(transfer.id, scene.delay())):
            return None
        scene.strike.params = scene.strike.params | {"told": china_time(scene.provider.books.clock())}
        seconds = FOR_EVER if never else scene.delay()
        scene.go_on(("lookup", "complete", "cancel"), seconds, transfer_id=transfer.id)
    elif transfer.status == COMPLETED:
        return None
    if scene.call.operation == "cancel":
        return scene.told(failure("STATUS_CONFLICT", f"The transfer is {COMPLETED}."))
    content = {**scene.provider.shown(transfer), "finalized": scene.strike.params["told"], "status": COMPLETED}
    return scene.told(Answer(200, content))


def both_pass(scene: Scene) -> Delivery | None:
    """30: the check looks at what is owned, not at what is already reserved."""
    with scene.provider.books.lock:
        if not _short_of_reserved(scene):
            return None
        return scene.told(scene.provider.perform(scene.call, overlook_reservations=True))


def _short_of_reserved(scene: Scene) -> bool:
    """Whether this new debit fits what is owned, but not what is available."""
    terms = _terms(scene)
    if terms is None:
        return False
    player, currency, amount = terms
    for _, kept, account in scene.provider.books.accounts(player):
        if kept == currency:
            return account.available < amount <= account.owned
    return False


def _terms(scene: Scene) -> tuple[str, str, int] | None:
    """(player, currency, amount in minor units) of a valid debit that the books do not know yet."""
    if scene.provider.books.by_reference(scene.call.reference) is not None:
        return None
    try:
        terms = scene.provider.terms(scene.call)
    except Refused:
        return None
    return (terms.player, terms.currency, terms.amount) if terms.type == DEBIT else None


def bet_lands_first(scene: Scene) -> Delivery | None:
    """32: the player stakes what was about to be withdrawn; the refusal is true."""
    with scene.provider.books.lock:
        terms = _terms(scene)
        if terms is None:
            return None
        player, currency, amount = terms
        for _, kept, account in scene.provider.books.accounts(player):
            if kept == currency and account.available >= amount:
                scene.provider.books.play(player, currency, amount - account.available - 1)
                return scene.told(scene.truth())
        return None


def in_game(scene: Scene) -> Delivery | None:
    """33: nothing leaves while a game is open; nor until it has settled."""
    if _terms(scene) is None:
        return None
    scene.go_on(("prepare",), scene.delay(), player=scene.call.player, only=DEBIT)
    return scene.told(failure("VALIDATION_ERROR", "The player is in a game.", {"field": "playerId"}))


def agent_credit(scene: Scene) -> Delivery | None:
    """35: the operator's own credit with the provider is used up."""
    if scene.provider.books.by_reference(scene.call.reference) is not None:
        return None
    return scene.told(failure("VALIDATION_ERROR", "The agent's credit is exhausted.")).but(delay=scene.delay())


def unknown_player(scene: Scene) -> Delivery | None:
    """42: a player nobody has seen: zero, or an internal error."""
    if scene.provider.books.accounts(scene.call.player):
        return None
    if scene.one_of("variant", ("zero", "error")) == "zero":
        return scene.told(scene.truth())
    return scene.trouble("internal")


LIES: dict[int, Callable[[Scene], Delivery | None]] = {
    1: lies.executed_and_lost,
    2: lies.never_arrived,
    3: lies.executed_and_lost,
    4: held_past_expiry,
    5: held_to_the_instant,
    8: token_dies,
    9: not_available,
    12: stale_list,
    13: lies.executed_and_lost,
    14: lies.never_arrived,
    15: late_commit,
    16: lies.slow_answer,
    17: lies.garbled_body,
    18: lies.server_error,
    19: another_amount,
    20: another_transfer,
    26: lying_look_up,
    28: told_first,
    29: stale_balance,
    30: both_pass,
    32: bet_lands_first,
    33: in_game,
    35: agent_credit,
    36: lies.maintenance,
    39: token_dies,
    40: lies.not_allowed,
    41: lies.too_many,
    42: unknown_player,
}
