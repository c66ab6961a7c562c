"""One cashier request, from its key to its answer.

The movement is committed with its key; the answer's bytes follow in a second commit. A crash between the
two leaves a movement without an answer: the repetition reads it back and answers it (C-48).
"""

from __future__ import annotations

from flask import Response

from bridge import cashier, db
from bridge.api.answers import replies, views
from bridge.cashier import Cash, CashWish
from bridge.runtime import Runtime

CREATED = 201


def move(runtime: Runtime, operator_id: int, kind: str, key_text: str, wish: CashWish) -> Response:
    """Book a deposit or a withdrawal and answer 201, or answer what the key got before. Raises Invalid, KeyReused."""
    asked_at = runtime.clock.now()
    key, made = cashier.move(runtime, operator_id, kind, key_text, wish)
    if isinstance(made, Cash):
        return replies.first_answer(runtime, key, CREATED, replies.text(views.cash(made, runtime.currencies)))
    if made.response is not None:
        again = made.subject_id is not None or replies.known_before(runtime, key, asked_at)
        return replies.replayed(replies.kept(made)) if again else replies.kept(made)
    assert made.subject_id is not None
    found = _read_back(runtime, made.subject_id)
    body = replies.text(views.cash(found, runtime.currencies))
    return replies.replayed(replies.first_answer(runtime, key, CREATED, body))


def _read_back(runtime: Runtime, movement_id: str) -> Cash:
    """A movement as it was made, with the wallet's balance behind it."""
    with db.reading(runtime.engine) as connection:
        return cashier.made(connection, movement_id)
