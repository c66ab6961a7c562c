"""Requests that meet a fault for which the contract has a word of its own: one function a case.

What all providers lie alike stands in faults/. Where something truly goes wrong here (the money moved and
the record says otherwise), it goes wrong in the books, and the ledger file says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.simulator.books import DEBIT, Terms
from bridge.simulator.faults import lies
from bridge.simulator.faults.choice import FOR_EVER
from bridge.simulator.faults.scene import Scene as AnyScene
from bridge.simulator.generic.books import CANCELLED, CONFIRMED, PENDING, GenericBooks, Transfer
from bridge.simulator.generic.lies.feed import quirky_feed
from bridge.simulator.generic.lies.wrong import another_amount, another_known, another_transfer
from bridge.simulator.generic.protocol import Generic, answered, failure
from bridge.simulator.messages import MICROS, Answer, Delivery

Scene = AnyScene[Generic]
LONGEST_WAIT = 60.0  # seconds for which 21 and 23 pretend that an executed id is not found, so that it is sent again


def _books(scene: Scene) -> GenericBooks:
    return scene.provider.books


def _fresh(scene: Scene) -> Terms | None:
    """What a valid create asks for whose id nobody has seen, and which nothing true forbids; else None."""
    terms = _asked(scene)
    if terms is None or _books(scene).by_reference(terms.reference) is not None:
        return None
    short = terms.type == DEBIT and _books(scene).available(terms.player, terms.currency) < terms.amount
    return None if short or scene.provider.games.refuses(terms.player, terms.type) else terms


def _asked(scene: Scene) -> Terms | None:
    return scene.provider.terms(scene.call) if scene.call.operation == "create" else None


def _shown(scene: Scene, transfer: Transfer) -> Answer:
    return answered(scene.provider.shown(transfer, transfer.original))


def _not_found(scene: Scene) -> Delivery:
    return scene.told(answered({"id": scene.call.reference, "status": "not_found"}))


def late_commit(scene: Scene) -> Delivery | None:
    """15: the line goes dead, the provider goes on, and is done only later."""
    if scene.call.operation == "lookup":
        return another_known(scene)
    terms, books = _fresh(scene), _books(scene)
    if terms is None:
        return None
    body = scene.one_of("body", ("missing", "missing", "pending"))
    if body == "pending":
        books.pend(terms)
    if body == "another":
        scene.go_on(("lookup",), scene.delay(), reference=terms.reference)
    in_spite = bool(scene.param("commit", False))

    def done() -> None:
        known = books.by_reference(terms.reference)
        if known is None or known.now.name == PENDING:
            books.execute(terms)
        elif in_spite and known.now.name == CANCELLED:
            books.move(terms)

    books.later(terms.reference, scene.delay(), done)
    return scene.lost()


def once_more(scene: Scene) -> Delivery | None:
    """21: the same id again, and the provider does not keep its promise."""
    return _when_repeated(scene, _promise_broken)


def drained(scene: Scene) -> Delivery | None:
    """23: the same withdrawal again, and the balance is looked at before the id."""
    return _when_repeated(scene, _balance_first)


def _when_repeated(scene: Scene, again: Callable[[Scene, Transfer], Delivery | None]) -> Delivery | None:
    """Execute and lose the first answer, know nothing of it when asked, and answer the repetition with a lie."""
    if _lost_at_first(scene) is not None:
        return scene.lost(scene.truth())
    if scene.call.operation == "lookup":
        return _not_found(scene)
    terms, known = _asked(scene), _books(scene).by_reference(scene.call.reference)
    if terms is None or known is None or known.terms != terms or known.now.name != CONFIRMED:
        return None
    _look_ups_tell_the_truth(scene)
    return again(scene, known)


def _promise_broken(scene: Scene, known: Transfer) -> Delivery | None:
    variant = scene.one_of("variant", ("twice", "duplicate", "busy", "created"))
    if variant == "duplicate":
        return scene.told(failure(409, "duplicate", "this transfer was executed before"))
    if variant == "busy":
        return scene.told(failure(409, "in_progress", "this id has been seen"))
    if variant == "created":
        return scene.told(answered(scene.truth().content, 201))
    _books(scene).move(known.terms)
    return scene.told(_shown(scene, known))


def _balance_first(scene: Scene, known: Transfer) -> Delivery | None:
    if _books(scene).available(known.terms.player, known.terms.currency) >= known.terms.amount:
        return None
    told = scene.provider.shown(known, known.original)
    return scene.told(answered(told | {"status": "refused", "code": "insufficient_funds"}))


def _lost_at_first(scene: Scene) -> Transfer | None:
    """By rate, or where the script says so (param lose): execute, and pretend not to know it until it comes again."""
    terms = _fresh(scene)
    if terms is None or not scene.param("lose", scene.strike.script is None) or not scene.success():
        return None
    scene.go_on(("create", "lookup"), LONGEST_WAIT, reference=terms.reference)
    return _books(scene).by_reference(terms.reference)


def _look_ups_tell_the_truth(scene: Scene) -> None:
    """Now that the id has come again, it can be found."""
    if scene.strike.window is not None:
        scene.strike.window.on = ("create",)


def another_under_one_id(scene: Scene) -> Delivery | None:
    """22: the same id with another amount is not refused: the first is answered, or this one executed as well."""
    terms, known = _asked(scene), _books(scene).by_reference(scene.call.reference)
    if terms is None or known is None or known.terms == terms or known.now.name != CONFIRMED:
        return None
    told = _shown(scene, known)
    if scene.one_of("variant", ("first", "executed")) == "executed":
        _books(scene).move(terms)
        amount = _books(scene).currencies.text(terms.amount, terms.currency)
        told = answered(told.content | {"amount": amount, "player": terms.player, "currency": terms.currency})
    return scene.told(told)


def undecided(scene: Scene) -> Delivery | None:
    """25: pending, and the end comes later, or never."""
    terms, books = _fresh(scene), _books(scene)
    if terms is None:
        return None
    variant = scene.one_of("variant", ("success", "fail", "ever"))
    transfer = books.pend(terms, for_ever=variant == "ever")
    if variant != "ever":
        end = (lambda: books.execute(terms)) if variant == "success" else (lambda: books.cancel(terms, by="provider"))
        books.later(terms.reference, scene.delay(), lambda: _if_pending(books, terms, end))
    return scene.told(answered(scene.provider.shown(transfer, transfer.now)))


def _if_pending(books: GenericBooks, terms: Terms, act: Callable[[], object]) -> None:
    known = books.by_reference(terms.reference)
    if known is not None and known.now.name == PENDING:
        act()


def lying_look_up(scene: Scene) -> Delivery | None:
    """26: the create's answer is lost (param lose), then look-ups mislead for a while, or for ever."""
    if scene.call.operation != "lookup":
        return _begin_to_mislead(scene)
    _mislead(scene)
    variant, known = scene.param("variant", "late"), _books(scene).by_reference(scene.call.reference)
    if variant == "rate":
        return lies.too_many_for_now(scene)
    if variant == "maintenance":
        return scene.trouble("maintenance")
    if variant == "late" and scene.param("body", "missing") == "pending":
        if known is None or known.now.name == PENDING:
            return None
        first = known.history[0]
        return scene.told(answered(scene.provider.shown(known, first)) if first.name == PENDING else _as_pending(scene))
    return _not_found(scene)


def _as_pending(scene: Scene) -> Answer:
    """The truth with `pending` in the place of its end."""
    told = scene.truth().content
    kept = {name: value for name, value in told.items() if name not in ("code", "balance", "requested")}
    return answered(kept | {"status": PENDING})


def _begin_to_mislead(scene: Scene) -> Delivery | None:
    terms, books, params = _fresh(scene), _books(scene), scene.strike.params
    if terms is None:
        return None
    chosen = scene.one_of("variant", ("late", "retention", "rate", "maintenance", "unrecorded"))
    body = scene.one_of("body", ("missing", "pending"))
    scene.strike.params = params | {"variant": chosen, "body": body}
    if chosen == "unrecorded":
        books.move(terms)
        return scene.lost()
    if (chosen, body) == ("late", "pending"):
        books.pend(terms)
        books.execute(terms)
    _mislead(scene)
    answer = scene.truth()
    return scene.lost(answer) if scene.param("lose", True) else scene.told(answer)


def _mislead(scene: Scene) -> None:
    seconds = FOR_EVER if scene.param("variant", "late") == "retention" else scene.delay()
    scene.go_on(("lookup",), seconds, now=scene.call.operation == "lookup", reference=scene.call.reference)


def failed_first(scene: Scene) -> Delivery | None:
    """27: a time-out inside: the wallet moved, the record says refused, and the money comes back only later."""
    terms, books = _fresh(scene), _books(scene)
    if terms is None:
        return None
    books.move(terms)
    transfer = books.refuse(terms, "internal_timeout")
    if not scene.param("never", False):
        books.later(terms.reference, scene.delay(), lambda: books.move_back(terms))
    lose = scene.one_of("lose", (True, False))
    return scene.lost() if lose else scene.told(_shown(scene, transfer))


def told_first(scene: Scene) -> Delivery | None:
    """28: confirmed on record at once, in the wallet later, or never."""
    terms, books = _fresh(scene), _books(scene)
    if terms is None:
        return None
    transfer = books.record(terms)

    def moved() -> None:
        known = books.by_reference(terms.reference)
        if known is not None and known.now.name == CONFIRMED:
            books.move(terms)

    if not scene.param("never", False):
        books.later(terms.reference, scene.delay(), moved)
    return scene.told(_shown(scene, transfer))


def stale_balance(scene: Scene) -> Delivery | None:
    """29: the balance, or the list of all, as it was a while ago."""
    answer, old = scene.success(), _books(scene).clock() - int(scene.delay() * MICROS)
    tell = {"balance": scene.provider.balance, "balances": scene.provider.balances}.get(scene.call.operation)
    if answer is None or tell is None:
        return None
    stale = tell(scene.call, old)
    return scene.told(stale) if _amounts(stale) != _amounts(answer) else None


def _amounts(answer: Answer) -> list[Any]:
    rows = answer.content.get("balances", [answer.content])
    return [(row["player"], row["amount"]) for row in rows]


def both_pass(scene: Scene) -> Delivery | None:
    """30: the check looks at the balance of a moment ago, which another withdrawal has taken since."""
    terms, books = _asked(scene), _books(scene)
    if terms is None or terms.type != DEBIT or books.by_reference(terms.reference) is not None:
        return None
    old = books.clock() - int(scene.delay() * MICROS)
    for _, kept, account in books.accounts(terms.player):
        before = account.as_of(old)
        if kept == terms.currency and account.available < terms.amount <= (before[1] if before else 0):
            return scene.told(_shown(scene, books.execute(terms)))
    return None


def partial(scene: Scene) -> Delivery | None:
    """31: less than requested moves, and is told so."""
    terms, books = _asked(scene), _books(scene)
    if terms is None or books.by_reference(terms.reference) is not None:
        return None
    available, moved = books.available(terms.player, terms.currency), terms.amount // 3  # never as much as the rest
    if "amount" in scene.strike.params:
        moved = _minor(scene, terms)
    elif terms.type == DEBIT and 0 < available < terms.amount:
        moved = available
    if not 0 < moved < terms.amount or (terms.type == DEBIT and moved > available):
        return None
    return scene.told(_shown(scene, books.execute(terms, moved=moved)))


def _minor(scene: Scene, terms: Terms) -> int:
    """The script's amount in minor units; 0 where it is not one in this currency."""
    digits, places = scene.strike.params["amount"], _books(scene).currencies.exponents[terms.currency]
    whole, _, part = digits.partition(".")
    return int(whole + part.ljust(places, "0")) if len(part) <= places else 0


def bet_lands_first(scene: Scene) -> Delivery | None:
    """32: the player stakes what was about to be withdrawn; the refusal is true."""
    terms, books = _fresh(scene), _books(scene)
    if terms is None or terms.type != DEBIT:
        return None
    books.play(terms.player, terms.currency, terms.amount - books.available(terms.player, terms.currency) - 1)
    return scene.told(scene.truth())


def in_game(scene: Scene) -> Delivery | None:
    """33: the player is in a game, which ends by itself or by a kick; the refusals are true."""
    terms = _fresh(scene)
    if terms is None:
        return None
    both, settle = scene.param("variant", "out") == "both", float(scene.param("settle", 1))
    scene.provider.games.enter(terms.player, settle, both=both, seconds=scene.delay())
    return scene.told(scene.truth())


def agent_credit(scene: Scene) -> Delivery | None:
    """35: the operator's own credit with the provider is used up."""
    terms = _fresh(scene)
    if terms is None:
        return None
    return scene.told(_shown(scene, _books(scene).refuse(terms, "agent_credit_exhausted"))).but(delay=scene.delay())


def signature_refused(scene: Scene) -> Delivery:
    """39: 401 to what is signed rightly, for a while, or (variant "alive") only this once."""
    if scene.param("variant", "dead") != "alive":
        scene.go_on_everywhere(scene.delay())
    return scene.trouble("unauthorised")


def unknown_player(scene: Scene) -> Delivery | None:
    """42: a player nobody has seen: zero or an internal error for the balance; no transfer."""
    if _books(scene).accounts(scene.call.player):
        return None
    terms = _fresh(scene)
    if terms is not None:
        return scene.told(_shown(scene, _books(scene).refuse(terms, "unknown_player")))
    if scene.call.operation != "balance" or scene.one_of("variant", ("zero", "error")) == "zero":
        return scene.told(scene.truth())
    return scene.trouble("internal")


def _in_one_step(lie: Callable[[Scene], Delivery | None]) -> Callable[[Scene], Delivery | None]:
    """A lie that looks at the books and then changes them must not be overtaken in between."""

    def locked(scene: Scene) -> Delivery | None:
        with scene.provider.books.lock:
            return lie(scene)

    return locked


OF_CASE: dict[int, Callable[[Scene], Delivery | None]] = {
    13: lies.executed_and_lost,
    14: lies.never_arrived,
    15: late_commit,
    16: lies.slow_answer,
    17: lies.garbled_body,
    18: lies.server_error,
    19: another_amount,
    20: another_transfer,
    21: once_more,
    22: another_under_one_id,
    23: drained,
    25: undecided,
    26: lying_look_up,
    27: failed_first,
    28: told_first,
    29: stale_balance,
    30: both_pass,
    31: partial,
    32: bet_lands_first,
    33: in_game,
    35: agent_credit,
    36: lies.maintenance,
    39: signature_refused,
    40: lies.not_allowed,
    41: lies.too_many,
    42: unknown_player,
    44: quirky_feed,
}
LIES = {case: _in_one_step(lie) for case, lie in OF_CASE.items()}
