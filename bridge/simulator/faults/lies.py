"""How each case is shown: one function a case, from the request and the truth to what the wire carries.

A lie returns a Delivery, or None when this request cannot show it; then the truth is told. It is only
ever on the wire: where it executes something it does so in the books, and the ledger file says what
really happened.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from http import HTTPStatus

from bridge.simulator.books import COMPLETED, DEBIT, PENDING, Refused
from bridge.simulator.faults.cases import BY_NUMBER, STALE_LIST
from bridge.simulator.faults.choice import FOR_EVER
from bridge.simulator.faults.garble import garbled, html_page, other_amount, other_transfer
from bridge.simulator.faults.scene import Scene
from bridge.simulator.messages import MICROS, Answer, Delivery, china_time
from bridge.simulator.qtech import OPERATIONS, failure

EARLY = 0.002  # seconds before the deadline at which case 5 lets the complete through: either side may win


def executed_and_lost(scene: Scene) -> Delivery | None:
    """1, 3, 13: done, and the answer does not arrive."""
    answer = scene.truth()
    return scene.lost(answer) if answer.done else None


def never_arrived(scene: Scene) -> Delivery:
    """2, 14: not done, and no answer."""
    return scene.lost()


def held_past_expiry(scene: Scene) -> Delivery | None:
    """4: the complete arrives after the provider gave up."""
    return _held(scene, scene.delay())


def held_to_the_instant(scene: Scene) -> Delivery | None:
    """5: the complete and the expiry at one instant."""
    return _held(scene, scene.delay() - EARLY * scene.strike.chance.random())


def _held(scene: Scene, after: float) -> Delivery | None:
    transfer = scene.transfer()
    if transfer is None or transfer.status != PENDING:
        return None
    wait = (scene.books.deadline(transfer) - scene.books.clock()) / MICROS + after
    if scene.pause(max(0.0, wait)):
        return Delivery(0, cut="close")
    return scene.told(scene.truth())


def token_dies(scene: Scene) -> Delivery:
    """8, 39: 401; the token is dead, or (variant "alive") only this request was refused."""
    if scene.param("variant", "dead") != "alive":
        scene.provider.tokens.forget(scene.call.request)
    return scene.told(failure("INVALID_TOKEN", "The access token is expired."))


def not_available(scene: Scene) -> Delivery:
    """9: refused before anything is done."""
    answer = scene.told(failure("QT_NOT_AVAILABLE", "The service is not available."))
    return answer.but(delay=scene.delay())


def stale_list(scene: Scene) -> Delivery | None:
    """12: the rows of the players concerned are as they were a while ago."""
    old = scene.books.clock() - int(scene.delay() * MICROS)
    player = scene.strike.script.player if scene.strike.script else ""

    def as_of(name: str) -> int | None:
        if scene.strike.script:
            return old if player in ("", name) else None
        last = scene.books.last_of_player(name)
        plan = scene.choice.planned(last.terms.reference, last.terms.type) if last else None
        return old if plan and plan.case == STALE_LIST else None

    answer = scene.truth()
    if not answer.done:
        return None
    stale = scene.provider.balances(scene.call, as_of)
    return scene.told(stale) if stale != answer else None


def stale_balance(scene: Scene) -> Delivery | None:
    """29: the balance as it was a while ago."""
    answer = scene.truth()
    old = scene.books.clock() - int(scene.delay() * MICROS)
    stale = scene.provider.balance(scene.call.player, scene.call.request.query.get("currency"), old)
    return scene.told(stale) if answer.done and stale != answer else None


def late_commit(scene: Scene) -> Delivery | None:
    """15: the line goes dead, the provider goes on, and is done only later."""
    if not (scene.completes() and scene.books.postpone(scene.call.transfer_id, scene.delay())):
        return None
    return scene.lost()


def slow_answer(scene: Scene) -> Delivery | None:
    """16: done at once, answered late, or byte by byte."""
    answer = scene.truth()
    if not answer.done:
        return None
    delay = scene.param("delay", 0.0) if scene.param("drip", 0) else scene.delay()
    return scene.told(answer).but(delay=float(delay))


def garbled_body(scene: Scene) -> Delivery | None:
    """17: done, and the body is not what the protocol promises."""
    answer = scene.truth()
    if not answer.done:
        return None
    delivery = garbled(answer, scene.strike.params, scene.strike.chance)
    return delivery.but(delay=scene.delay(), drip=float(scene.param("drip", 0)), part=scene.param("part", "both"))


def server_error(scene: Scene) -> Delivery | None:
    """18: an error of the server, which says nothing about what was done."""
    status = scene.one_of("status", (500, 502, 503, 504))
    if scene.one_of("commit", (True, False)) and not scene.truth().done:
        return None
    if scene.param("body", "html" if status in (502, 504) else "json") == "html":
        return html_page(status).but(delay=scene.delay())
    code = "QT_NOT_AVAILABLE" if status == HTTPStatus.SERVICE_UNAVAILABLE else "UNKNOWN_ERROR"
    content = {"code": code, "message": "The request could not be finished.", "details": None}
    return scene.told(Answer(status, content)).but(delay=scene.delay())


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
    body = other_transfer(scene.provider, answer.content, scene.one_of("variant", ("player", "older")))
    return scene.told(Answer(answer.status, body)).but(delay=scene.delay())


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
    variant, transfer = scene.param("variant", "late"), scene.transfer()
    if variant == "rate":
        return _too_many(scene)
    if variant == "late" and transfer is not None and scene.one_of("body", ("missing", "pending")) == "pending":
        pending = {**scene.provider.told(transfer), "status": PENDING}
        pending.pop("finalized", None)
        return scene.told(Answer(200, pending)) if transfer.status != PENDING else None
    return scene.told(failure("TRANSFER_NOT_FOUND", "There is no such transfer."))


def _mislead(scene: Scene) -> None:
    seconds = FOR_EVER if scene.param("variant", "late") == "retention" else scene.delay()
    from_now = scene.call.operation == "lookup"
    scene.go_on(("lookup",), seconds, now=from_now, transfer_id=scene.call.transfer_id)


def told_first(scene: Scene) -> Delivery | None:
    """28: COMPLETED on the wire at once, in the books later, or never."""
    never, transfer = scene.param("never", False), scene.transfer()
    if transfer is None:
        return None
    if scene.strike.window is None:
        if not scene.completes() or transfer.status != PENDING:
            return None
        if not (never or scene.books.postpone(transfer.id, scene.delay())):
            return None
        scene.strike.params = scene.strike.params | {"told": china_time(scene.books.clock())}
        seconds = FOR_EVER if never else scene.delay()
        scene.go_on(("lookup", "complete", "cancel"), seconds, transfer_id=transfer.id)
    elif transfer.status == COMPLETED:
        return None
    if scene.call.operation == "cancel":
        return scene.told(failure("STATUS_CONFLICT", f"The transfer is {COMPLETED}."))
    content = {**scene.provider.told(transfer), "finalized": scene.strike.params["told"], "status": COMPLETED}
    return scene.told(Answer(200, content))


def both_pass(scene: Scene) -> Delivery | None:
    """30: the check looks at what is owned, not at what is already reserved."""
    with scene.books.lock:
        if not _short_of_reserved(scene):
            return None
        return scene.told(scene.provider.perform(scene.call, overlook_reservations=True))


def _short_of_reserved(scene: Scene) -> bool:
    """Whether this new debit fits what is owned, but not what is available."""
    terms = _terms(scene)
    if terms is None:
        return False
    player, currency, amount = terms
    for _, kept, account in scene.books.accounts(player):
        if kept == currency:
            return account.available < amount <= account.owned
    return False


def _terms(scene: Scene) -> tuple[str, str, int] | None:
    """(player, currency, amount in minor units) of a valid debit that the books do not know yet."""
    if scene.books.by_reference(scene.call.reference) is not None:
        return None
    try:
        terms = scene.provider.terms(scene.call)
    except Refused:
        return None
    return (terms.player, terms.currency, terms.amount) if terms.type == DEBIT else None


def bet_lands_first(scene: Scene) -> Delivery | None:
    """32: the player stakes what was about to be withdrawn; the refusal is true."""
    with scene.books.lock:
        terms = _terms(scene)
        if terms is None:
            return None
        player, currency, amount = terms
        for _, kept, account in scene.books.accounts(player):
            if kept == currency and account.available >= amount:
                scene.books.play(player, currency, amount - account.available - 1)
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
    if scene.books.by_reference(scene.call.reference) is not None:
        return None
    return scene.told(failure("VALIDATION_ERROR", "The agent's credit is exhausted.")).but(delay=scene.delay())


def maintenance(scene: Scene) -> Delivery:
    """36: closed for a while, politely or by the page of a proxy."""
    script = scene.strike.script
    if script is None:
        scene.go_on(OPERATIONS, scene.delay(), reference=scene.call.reference)
    else:
        on = OPERATIONS if "any" in script.on or script.on == BY_NUMBER[script.case].on else script.on
        scene.go_on(on, scene.delay(), reference=script.reference, player=script.player)
    if scene.one_of("body", ("json", "html")) == "html":
        return html_page(scene.param("status", 503))
    return scene.told(failure("QT_NOT_AVAILABLE", "The service is under maintenance."))


def not_allowed(scene: Scene) -> Delivery:
    """40: the address is not on the list; or a redirect that a client must not follow with money."""
    variant = scene.one_of("variant", ("body", "drop"))
    if variant == "drop":
        return scene.lost()
    if variant == "redirect":
        return Delivery(scene.param("status", 307), b"", {"Location": scene.call.request.path})
    code = "USER_BLOCKED" if scene.call.operation == "token" else "IP_NOT_ALLOWED"
    return scene.told(Answer(403, {"code": code, "message": "Access is not allowed.", "details": None}))


def too_many(scene: Scene) -> Delivery:
    """41: not now."""
    return _too_many(scene).but(delay=scene.delay())


def _too_many(scene: Scene) -> Delivery:
    seconds = scene.one_of("retry_after", (0, 1))
    delivery = scene.told(failure("TOO_MANY_REQUESTS", "Too many requests."))
    return delivery.but(headers={**delivery.headers, "Retry-After": str(seconds)}) if seconds else delivery


def unknown_player(scene: Scene) -> Delivery | None:
    """42: a player nobody has seen: zero, or an internal error."""
    if scene.books.accounts(scene.call.player):
        return None
    if scene.one_of("variant", ("zero", "error")) == "zero":
        return scene.told(scene.truth())
    return scene.told(failure("UNKNOWN_ERROR", "An internal error."))


LIES: dict[int, Callable[[Scene], Delivery | None]] = {
    1: executed_and_lost,
    2: never_arrived,
    3: executed_and_lost,
    4: held_past_expiry,
    5: held_to_the_instant,
    8: token_dies,
    9: not_available,
    12: stale_list,
    13: executed_and_lost,
    14: never_arrived,
    15: late_commit,
    16: slow_answer,
    17: garbled_body,
    18: server_error,
    19: another_amount,
    20: another_transfer,
    26: lying_look_up,
    28: told_first,
    29: stale_balance,
    30: both_pass,
    32: bet_lands_first,
    33: in_game,
    35: agent_credit,
    36: maintenance,
    39: token_dies,
    40: not_allowed,
    41: too_many,
    42: unknown_player,
}
