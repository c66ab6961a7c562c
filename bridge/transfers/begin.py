"""Begin: one transaction commits the key, the intention, the reference, the exact amounts and the first
postings, before the first byte leaves. Insert first, everything else from what was inserted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from bridge import breaker, db, denominations, gates, idempotency, identity, inbox, ledger, players, stroke, traces
from bridge.errors import Declined, Invalid, LaneUnresolved, Unavailable, insufficient_funds, nothing_to_move
from bridge.idempotency import Key, Stored
from bridge.keys import Caller
from bridge.money import AmountRefused, UnknownCurrency
from bridge.ports import SECOND, WALLET, Direction, LanePolicy, Side, Window
from bridge.runtime import Moment, Runtime
from bridge.transfers import hear, resolve, rows, strokes
from bridge.transfers.advance import FIRST_EPOCH, Claim, Order, Outcome, order_for, rest
from bridge.transfers.core import contract, steps
from bridge.transfers.core.draft import Draft, Move, apply_wallet, reference
from bridge.transfers.core.facts import Leg, Transfer, replace
from bridge.transfers.core.steps import TryAgain
from bridge.transfers.core.sweep import BALANCE
from bridge.transfers.measure import measure
from bridge.transfers.write import write
from statemachines import LegState, TransferState

_DIRECTIONS = frozenset(Direction)

MAX = "max"
"""The amount of a sweep: all that the player has at the provider and that can be moved."""

SPOKEN_OF_SECONDS = 60
"""When a transfer is sent after all of which a provider spoke before it was begun, if nothing came of that."""

BALANCE_AGAIN_SECONDS = 2
"""When a client may try again whose sweep began with a balance that could not be read."""

LANE_WAIT_AT_MOST = 60
"""Seconds that a client is told to wait for an unresolved transfer of the same player."""

_transfer = rows.transfer_table
_INSERT = insert(_transfer)
_UNRESOLVED = (
    select(_transfer.c.id, _transfer.c.direction, _transfer.c.state, _transfer.c.wake_at)
    .where(_transfer.c.operator_id == bindparam("operator"), _transfer.c.player_id == bindparam("player"))
    .where(_transfer.c.provider == bindparam("provider"))
    .where(_transfer.c.state.in_((TransferState.PENDING.value, TransferState.ORPHANED.value)))
    .order_by(_transfer.c.id)
)


@dataclass(frozen=True)
class Wish:
    """What the client asked for, in its own words; the amount is a decimal string, or MAX."""

    player_id: str
    provider: str
    direction: str
    amount: str
    currency: str

    @property
    def body(self) -> dict[str, str]:
        """Its fields, as they are kept with the key."""
        return dict(vars(self))


@dataclass(frozen=True)
class Begun:
    """A transfer that now exists, or what the key stood for already."""

    transfer_id: str | None
    outcome: Outcome | None = None
    stored: Stored | None = None


def begin(
    runtime: Runtime, operator_id: int, key_text: str, wish: Wish, *, queued: bool = False, plainly: bool = True
) -> Begun:
    """Begin a transfer, or find the one that the key already began.

    `queued` leaves the first request to the resolver; `plainly` tries :func:`begin_plainly` first. Raises Invalid
    (nothing is stored, the key stays free), KeyReused, LaneUnresolved and Unavailable (the same key may try again); a
    wallet that does not hold the amount, or a sweep that finds nothing, is a refusal that stays with the key for ever
    (`stored.status` 422).
    """
    key = Key(operator_id, idempotency.TRANSFER, key_text)
    begun = begin_plainly(runtime, key, wish) if plainly and not queued else None
    if begun is not None:
        return begun
    try:
        return _begin_the_long_way(runtime, key, wish, queued=queued)
    except Unavailable as refused:
        if refused.code != identity.MOVED:
            raise
    identity.keep(runtime, wish.provider)  # perhaps nothing is open or held with the one before
    return _begin_the_long_way(runtime, key, wish, queued=queued)


def _begin_the_long_way(runtime: Runtime, key: Key, wish: Wish, *, queued: bool) -> Begun:
    if wish.amount == MAX:
        return _begin_sweep(runtime, key, wish, queued=queued)
    try:
        return _begin(runtime, key, wish, queued=queued)
    except LaneUnresolved:
        # An earlier transfer on this lane is not proved: ask about it once, then let the policy speak.
        resolve_lane(runtime, key.operator_id, wish)
    except ledger.FloorReached:
        return _pin(runtime, key, wish, insufficient_funds())
    try:
        return _begin(runtime, key, wish, queued=queued)
    except ledger.FloorReached:
        return _pin(runtime, key, wish, insufficient_funds())


def begin_plainly(runtime: Runtime, key: Key, wish: Wish, caller: Caller | None = None) -> Begun | None:
    """Begin a transfer about which there is nothing to say, in one statement; None when it was not begun so, and then
    nothing at all was written, and :func:`begin` says what there is to say.

    With `caller` it is begun only if the API key still stands.
    """
    amount, wrong = _read(runtime, wish)
    if wrong or wish.amount == MAX or not denominations.is_known(runtime, wish.currency):
        return None
    if wish.currency not in runtime.policy(wish.provider).currencies:
        return None  # it comes home only if it has ever gone there
    direction, policy = Direction(wish.direction), runtime.policy(wish.provider)
    if direction is Direction.IN and gates.cap_of(runtime, wish.provider, wish.currency) is not None:
        return None  # the sum under a cap is added up behind a lock
    asked = strokes.Asked(key, wish.body, policy.operator, caller, _keeps_lanes(runtime, wish.provider, direction))
    with stroke.line(runtime.engine) as line:
        moment = runtime.moment()
        transfer = _intended(runtime, key.operator_id, runtime.ids.new("tr"), direction, amount, wish, moment.now)
        draft, order, schedule = _drafted(runtime, transfer, moment, None)
        committed = strokes.begin(line, runtime, asked, draft, schedule["wake_at"], moment.now)
    if committed is None:
        return None
    _tell(transfer)
    return Begun(transfer.id, Outcome(committed, order))


def _tell(transfer: Transfer) -> None:
    """After its commit: a transfer exists."""
    traces.root(transfer.id, provider=transfer.provider, direction=transfer.direction)


def _begin_sweep(runtime: Runtime, key: Key, wish: Wish, *, queued: bool) -> Begun:
    """Read what is there, with no transaction open, then begin with exactly that; what moves in between is
    refused by the provider and tried again (core/sweep.py)."""
    with db.reading(runtime.engine) as connection:
        stored = idempotency.find(connection, key, wish.body)
        if stored is not None:
            return Begun(stored.subject_id, stored=stored)
        _check(connection, runtime, key.operator_id, wish)
        identity.require(connection, runtime, wish.provider)
    # Asked before the balance: what arrives while that is read must not be taken for nothing.
    more_to_come = is_on_its_way(runtime, key.operator_id, wish)
    adapter = runtime.providers[wish.provider]
    end = runtime.clock.monotonic() + adapter.descriptor.lookup_deadline
    told = measure(runtime, wish.provider, wish.player_id, wish.currency, Window(not_after=end, deadline=end))
    if told.code != BALANCE or told.balance is None or told.amount is None:
        detail = f"{wish.provider} does not say what the player has there"
        raise Unavailable(detail, code="balance_unknown", after_seconds=BALANCE_AGAIN_SECONDS)
    if told.amount == 0:
        if more_to_come:
            resolve_lane(runtime, key.operator_id, wish)  # for whoever comes again
            detail = f"a transfer to {wish.provider} is not proved yet: what it brings is still to be swept"
            raise Unavailable(detail, code="balance_unknown", after_seconds=BALANCE_AGAIN_SECONDS)
        return _pin(runtime, key, wish, nothing_to_move())
    sweep = TryAgain(told.amount, told.balance - told.amount)
    return _begin(runtime, key, wish, queued=queued, sweep=sweep)


def _begin(runtime: Runtime, key: Key, wish: Wish, *, queued: bool, sweep: TryAgain | None = None) -> Begun:
    with gates.hits_noted(runtime, wish.provider, wish.currency), db.writing(runtime.engine) as connection:
        now = runtime.clock.now()
        transfer_id = runtime.ids.new("tr")
        stored = idempotency.take(connection, key, wish.body, transfer_id, now)
        if stored is not None:
            return Begun(stored.subject_id, stored=stored)
        asked = _check(connection, runtime, key.operator_id, wish)
        amount = asked if sweep is None else sweep.amount
        open_until = breaker.open_until(connection, wish.provider, now)
        direction = Direction(wish.direction)
        if direction is Direction.IN and open_until:
            wait = max(1, (open_until - now) // SECOND + 1)
            raise Unavailable(
                f"{wish.provider} answers too little at present", code="provider_unavailable", after_seconds=wait
            )
        if direction is Direction.IN:
            gates.admit(connection, runtime, wish.provider, wish.currency, amount, now)
        lane = _keeps_lanes(runtime, wish.provider, direction)
        if lane:
            players.hold(connection, key.operator_id, wish.player_id)
        if direction is Direction.IN:
            ledger.lock_wallet(connection, key.operator_id, wish.provider, wish.player_id, wish.currency)
        moment = runtime.moment()  # the lease and the request's window begin after whatever was waited for
        now = moment.now
        transfer = _intended(runtime, key.operator_id, transfer_id, direction, amount, wish, now)
        if sweep is not None:
            transfer = replace(transfer, sweep=True, dust=sweep.dust)
        spoken_of = _is_spoken_of(connection, runtime, transfer)
        wake_at = now + SPOKEN_OF_SECONDS * SECOND if spoken_of else now if queued or open_until else None
        outcome = _commit(connection, runtime, transfer, key.text, moment, wake_at)
        # Behind the row, which nobody writes while an identity is changed.
        identity.require(connection, runtime, wish.provider)
        if lane:
            # Behind the player's row, and the wallet's, which was locked above: of two at the same instant the
            # second looks when the first has committed, be it by a stroke, be it in another currency.
            _check_lane(connection, runtime, transfer)
    _tell(transfer)
    if spoken_of:
        hear.act_on_parked(runtime, wish.provider, str(transfer.outside.reference))
    return Begun(transfer_id, outcome)


def _is_spoken_of(connection: Connection, runtime: Runtime, transfer: Transfer) -> bool:
    """Whether the provider has told us of this reference before: then that is acted on before anything is sent."""
    reference = str(transfer.outside.reference)
    pushes = runtime.providers[transfer.provider].descriptor.pushes
    return pushes and bool(inbox.parked_for(connection, transfer.provider, reference))


def _check(connection: Connection, runtime: Runtime, operator_id: int, wish: Wish) -> int:
    """The amount in minor units (0: all that is there); raises Invalid naming each field that does not fit."""
    denominations.require(connection, runtime, wish.currency)
    amount, wrong = _read(runtime, wish)
    policy = runtime.config.providers.get(wish.provider)
    if policy is not None and policy.operator != players.operator_name(connection, operator_id):
        wrong = {**wrong, "provider": "is not a provider of this operator"}
    wrong |= players.missing(connection, operator_id, wish.player_id, wish.currency)
    if not wrong and policy is not None and wish.currency not in policy.currencies:
        # Taken out of the configuration: what is there comes home all the same.
        been = (wish.provider, wish.currency) in ledger.games_of(connection, operator_id, wish.player_id)
        wrong = {} if been else {"currency": f"does not move at {wish.provider}"}
    if wrong:
        raise Invalid(fields=wrong)
    return amount


def _read(runtime: Runtime, wish: Wish) -> tuple[int, dict[str, str]]:
    """The amount in minor units (0: all that is there), and what is wrong with the wish by itself, field by field."""
    wrong: dict[str, str] = {}
    if wish.direction not in _DIRECTIONS:
        wrong["direction"] = 'must be "in" or "out"'
    policy = runtime.config.providers.get(wish.provider)
    if policy is None:
        wrong["provider"] = "is not a provider of this operator"
    elif wish.currency not in policy.currencies and wish.direction != Direction.OUT:
        wrong["currency"] = f"does not move at {wish.provider}"
    amount = 0
    everything = wish.amount == MAX
    if everything and wish.direction != Direction.OUT:
        wrong["amount"] = '"max" takes all out of a game: direction must be "out"'
    try:
        amount = 0 if everything else runtime.currencies.parse(wish.amount, wish.currency)
    except UnknownCurrency as unknown:
        wrong["currency"] = str(unknown)
    except AmountRefused as refused:
        wrong["amount"] = str(refused)
    if not wrong:
        inexact = None if everything else runtime.providers[wish.provider].refuses(amount, wish.currency)
        if inexact is not None:
            wrong["amount"] = inexact
        longest = runtime.providers[wish.provider].descriptor.longest_player_id
        if len(wish.player_id) > longest:
            wrong["player_id"] = f"is longer than the {longest} characters that {wish.provider} keeps apart"
    return amount, wrong


def _intended(
    runtime: Runtime, operator_id: int, transfer_id: str, direction: Direction, amount: int, wish: Wish, now: int
) -> Transfer:
    """The transfer with both legs planned: money leaves the source first and reaches the destination last."""
    inward = direction is Direction.IN
    inside = Leg(1 if inward else 2, WALLET, Side.DEBIT if inward else Side.CREDIT, LegState.PLANNED, amount)
    ordinal = 2 if inward else 1
    outside = Leg(
        ordinal,
        wish.provider,
        Side.CREDIT if inward else Side.DEBIT,
        LegState.PLANNED,
        amount,
        reference=reference(transfer_id, ordinal),
    )
    patience = int(runtime.policy(wish.provider).patience_seconds * SECOND)
    return Transfer(
        id=transfer_id,
        operator_id=operator_id,
        player=wish.player_id,
        provider=wish.provider,
        direction=direction,
        amount=amount,
        currency=wish.currency,
        state=TransferState.PENDING,
        version=1,
        created_at=now,
        orphan_at=now + patience,
        lease_epoch=FIRST_EPOCH,
        legs=(inside, outside) if inward else (outside, inside),
    )


def _drafted(
    runtime: Runtime, transfer: Transfer, moment: Moment, wake_at: int | None
) -> tuple[Draft, Order | None, dict[str, Any]]:
    """The new transfer with its first request, unless that is to wait (`wake_at`), and its row's schedule."""
    draft = Draft(transfer, new_legs={1, 2})
    draft.moves.append(Move("transfer", "begin", None, TransferState.PENDING.value, transfer.direction.value))
    if transfer.direction is Direction.IN:
        apply_wallet(draft, transfer.inside, moment.now)
    if wake_at is not None:
        return draft, None, rest(steps.Rest(wake_at), moment.now)
    claim = Claim(transfer.id, FIRST_EPOCH)
    first = contract.first_step(runtime.providers[transfer.provider].descriptor)
    return draft, *order_for(runtime, draft, claim, steps.Send(first), moment)


def _commit(
    connection: Connection, runtime: Runtime, transfer: Transfer, key_text: str, moment: Moment, wake_at: int | None
) -> Outcome:
    """Write the new transfer; its first request is committed as sent with it, unless it is to wait (`wake_at`)."""
    draft, order, schedule = _drafted(runtime, transfer, moment, wake_at)
    connection.execute(_INSERT, {**_columns(transfer, key_text), **schedule})
    return Outcome(write(connection, runtime, draft, None, moment.now), order)


def _columns(transfer: Transfer, key_text: str) -> Mapping[str, object]:
    return {
        "id": transfer.id,
        "operator_id": transfer.operator_id,
        "player_id": transfer.player,
        "provider": transfer.provider,
        "direction": transfer.direction.value,
        "amount": transfer.amount,
        "currency": transfer.currency,
        "state": transfer.state.value,
        "version": transfer.version,
        "idempotency_key": key_text,
        "created_at": transfer.created_at,
        "updated_at": transfer.created_at,
        "orphan_at": transfer.orphan_at,
        "lease_epoch": transfer.lease_epoch,
        "sweep": transfer.sweep or None,
        "dust": transfer.dust,
    }


def _unresolved(
    connection: Connection, operator_id: int, player_id: str, provider: str
) -> Sequence[Row[Any, Any, Any, Any]]:
    """(id, direction, state, wake_at) of what is not proved on a lane, oldest first."""
    lane = {"operator": operator_id, "player": player_id, "provider": provider}
    return connection.execute(_UNRESOLVED, lane).all()


def _keeps_lanes(runtime: Runtime, provider: str, direction: Direction) -> bool:
    """Whether what is not proved on its lane may stop a transfer."""
    return direction is Direction.IN and runtime.policy(provider).lane_policy is not LanePolicy.ALLOW


def _check_lane(connection: Connection, runtime: Runtime, transfer: Transfer) -> None:
    policy = runtime.policy(transfer.provider).lane_policy
    for other in _unresolved(connection, transfer.operator_id, transfer.player, transfer.provider):
        opposite = other.direction != transfer.direction.value
        if other.id == transfer.id or (policy is LanePolicy.OPPOSITE and opposite):
            continue
        # It is looked at when it wakes at the latest; an orphan may wait for people much longer than that.
        wait = min(max(1, (other.wake_at - runtime.clock.now()) // SECOND + 1), LANE_WAIT_AT_MOST)
        raise LaneUnresolved(transfer_id=other.id, after_seconds=wait)


def is_on_its_way(runtime: Runtime, operator_id: int, wish: Wish) -> bool:
    """Whether a transfer into where this one is to come from is pending. An orphan is not waited for: it is for people,
    and may be for days."""
    with db.reading(runtime.engine) as connection:
        others = _unresolved(connection, operator_id, wish.player_id, wish.provider)
    pending = (other for other in others if other.state == TransferState.PENDING.value)
    return any(other.direction == Direction.IN for other in pending)


def resolve_lane(runtime: Runtime, operator_id: int, wish: Wish) -> None:
    """Ask once about everything that is not proved of this player there."""
    until = runtime.clock.monotonic()  # one question each, no waiting between questions
    with db.reading(runtime.engine) as connection:
        others = _unresolved(connection, operator_id, wish.player_id, wish.provider)
    for other in others:
        resolve.refresh(runtime, other.id, until)


def _pin(runtime: Runtime, key: Key, wish: Wish, refusal: Declined) -> Begun:
    stored = idempotency.pin(runtime.engine, key, wish.body, refusal, runtime.clock.now())
    return Begun(stored.subject_id, stored=stored)
