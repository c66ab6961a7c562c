"""Coming in: by password and code, by passkey, or by a link after a lock; one answer to whatever was wrong.

A try is begun before anything is compared, in a transaction of its own, and ends with being judged (`tries`). Three
wrong ones within 30 minutes lock (GLI-19 2.5.3 d). A lock keeps out whoever wants to come in by password and one-time
code, or by passkey alone. It is opened by the password together with a recovery code or a passkey, by an admin's link,
and by time never. Whoever sits already stays, and may what they might before: a stranger's tries must not end a
person's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from bridge import db, keys
from bridge.desk import accesses, codes, doorkeeper, passkeys, passwords, rows, sittings, tries
from bridge.desk.rows import person_of
from bridge.errors import Invalid, Refusal
from bridge.models.desk import Outcome, PersonState
from bridge.runtime import Runtime

LONGEST_LOGIN, LONGEST_PASSWORD = 64, 1024

NO_LOGIN = "(no login)"
"""What is written down of a text that nobody can have as a login: it may be a password in the wrong field."""


class NotLetIn(Refusal):
    """Login, password or code is wrong or was used; or three wrong tries have locked it, or three are under way."""

    status, code = 403, "not_let_in"


@dataclass(frozen=True)
class _Try:
    """One try: whose row it is about, None for a login that nobody has; what it is under way by, None where it may not
    be judged."""

    row: RowMapping | None
    begun: tries.Begun | None = None

    @property
    def kept(self) -> str | None:
        """The hash to compare with; None, nobody's, where nobody could come in."""
        if self.row is None or self.row["state"] != PersonState.ACTIVE:
            return None
        kept: str | None = self.row["password_hash"]
        return kept


def by_password(
    runtime: Runtime, *, login: str, password: str, code: str, address: str, instead_of: str = ""
) -> str:
    """Come in by password and one-time code, or a recovery code in its place; the cookie's secret. `instead_of`: the
    cookie that the browser had, whose sitting ends. Raises Invalid for an empty field, which counts as nothing;
    TooManyTries; NotLetIn for whatever is wrong."""
    require_filled(login=login.strip(), password=password, code=code.strip())
    asked, secret = login.strip().lower()[:LONGEST_LOGIN], password[:LONGEST_PASSWORD]
    # Who keeps a recovery code comes in however many knock under their login: it is the way past a lock of theirs.
    doorkeeper.knock(runtime, address, None if codes.is_like_recovery(code) else asked, at_gate=True)
    began = _begin_try(runtime, asked)
    try:
        token = _judged(runtime, began, secret, code, asked=asked, address=address, instead_of=instead_of)
    except Exception:  # nobody has judged it: it is not to count, whatever went wrong
        _take_back(runtime, began)
        raise
    if token is None:
        raise NotLetIn
    return token


def _judged(
    runtime: Runtime, began: _Try, secret: str, code: str, *, asked: str, address: str, instead_of: str
) -> str | None:
    """The cookie's secret of whoever has shown both factors, None for whoever has not. Raises Unavailable where nothing
    could be compared."""
    fits = passwords.fits(secret, began.kept)
    with db.writing(runtime.engine) as connection:
        row = None if began.row is None else rows.held(connection, [began.row["id"]]).get(began.row["id"])
        if began.begun is not None:
            tries.end(connection, began.begun)
        if row is not None and fits and _is_same(row, began) and _code_is_right(connection, runtime, row, began, code):
            return _seat(connection, runtime, row, address, "password", instead_of)
        _refuse(connection, runtime, row, asked, address, counted=began.begun is not None)
    return None


def _begin_try(runtime: Runtime, login: str) -> _Try:
    """Have a try be under way, unless it is nobody's, or may not be judged."""
    with db.writing(runtime.engine) as connection:
        found = rows.by_login(connection, login)
        row = None if found is None else rows.held(connection, [found["id"]])[found["id"]]
        if row is None or row["state"] != PersonState.ACTIVE:
            return _Try(row)
        return _Try(row, tries.begin(connection, row, runtime.clock.now()))


def _take_back(runtime: Runtime, began: _Try) -> None:
    """Have a try not count that was never judged."""
    if began.begun is not None:
        with db.writing(runtime.engine) as connection:
            tries.end(connection, began.begun)


def _is_same(row: RowMapping, began: _Try) -> bool:
    """Whether what was compared is still what counts."""
    return bool(row["state"] == PersonState.ACTIVE and row["password_hash"] == began.kept)


def _code_is_right(connection: Connection, runtime: Runtime, row: RowMapping, began: _Try, code: str) -> bool:
    """A one-time code where nothing is locked, a recovery code in any case; used up by being right."""
    if began.begun is not None and row["locked_at"] is None and codes.use(connection, runtime, row, code):
        return True
    return codes.use_recovery(connection, runtime, row["id"], code)


def by_passkey(
    runtime: Runtime, place: passkeys.Place, credential: Any, *, password: str, address: str, instead_of: str = ""
) -> str:
    """Come in by a passkey; where the login is locked, together with the password. Raises Invalid for one that is not
    taken, TooManyTries where too many are not, NotLetIn. The caller has asked the doorkeeper before it read what was
    sent."""
    try:
        passkey = passkeys.shown(runtime, place, passkeys.ENTER, credential)
    except Invalid as refusal:
        _note_passkey(runtime, refusal, passkeys.owner(runtime, credential), address)
        raise
    with db.reading(runtime.engine) as connection:
        kept = rows.by_id(connection, passkey.person_id)["password_hash"]
    fits = bool(password) and passwords.fits(password[:LONGEST_PASSWORD], kept)
    with db.writing(runtime.engine) as connection:
        row = rows.held(connection, [passkey.person_id])[passkey.person_id]
        opens = row["locked_at"] is None or (fits and row["password_hash"] == kept)
        if row["state"] == PersonState.ACTIVE and passkeys.count(connection, runtime, passkey) and opens:
            return _seat(connection, runtime, row, address, "passkey", instead_of)
        _refuse(connection, runtime, row, row["login"], address, counted=False)
    raise NotLetIn


def _note_passkey(runtime: Runtime, refusal: Invalid, person_id: str | None, address: str) -> None:
    """Write down that a passkey was not taken, and whose it said to be. What has neither signed anything of ours nor is
    anybody's is no try of anybody's: such a note would be a stranger's to write. Raises TooManyTries."""
    if person_id is None and isinstance(refusal, passkeys.Unasked):
        return
    doorkeeper.count_refused_passkey(runtime)
    with db.writing(runtime.engine) as connection:
        whose = None if person_id is None else person_of(rows.by_id(connection, person_id))
        accesses.note(connection, runtime, kind="enter", outcome=Outcome.REFUSED, person=whose, reason="passkey",
                      address=address)  # fmt: skip


def by_link(
    connection: Connection, runtime: Runtime, row: RowMapping, *, fits: bool, code: str, address: str, instead_of: str
) -> tuple[str | None, bool]:
    """(the cookie's secret of a locked person who is let in again, None for a wrong try; whether the link is used up
    by it). Password and code as ever, in the caller's transaction, which holds the row and has seen that the link is
    good: so a link has three tries, however many come at once."""
    if fits and (codes.use(connection, runtime, row, code) or codes.use_recovery(connection, runtime, row["id"], code)):
        return _seat(connection, runtime, row, address, "link", instead_of), True
    failures = int(row["failures"]) + 1
    rows.change(connection, row["id"], runtime.clock.now(), failures=failures)
    _refuse(connection, runtime, row, row["login"], address, counted=False)
    return None, failures >= 2 * tries.MOST


def require_filled(**told: str) -> None:
    """Raise Invalid naming each field that is empty."""
    empty = {name: "is empty" for name, value in told.items() if not value}
    if empty:
        raise Invalid(fields=empty)


def _seat(connection: Connection, runtime: Runtime, row: RowMapping, address: str, how: str, instead_of: str) -> str:
    """Seat whoever has shown both factors; the cookie's secret. The sitting that the browser had ends."""
    now = runtime.clock.now()
    sittings.end(connection, keys.digest(instead_of), now)
    was_locked = row["locked_at"] is not None
    rows.change(connection, row["id"], now, **tries.UNLOCKED)
    told: dict[str, Any] = {"outcome": Outcome.DONE, "person": person_of(row), "address": address}
    if was_locked:
        accesses.note(connection, runtime, kind="unlock", subject=row["id"], reason=how, before="locked", after="open",
                      **told)  # fmt: skip
    accesses.note(connection, runtime, kind="enter", reason=how, **told)
    return sittings.begin(connection, runtime, row["id"], row["epoch"], address)


def _refuse(
    connection: Connection, runtime: Runtime, row: RowMapping | None, login: str, address: str, *, counted: bool
) -> None:
    """Write a refused try down; the third one locks."""
    now = runtime.clock.now()
    told: dict[str, Any] = {"outcome": Outcome.REFUSED, "address": address}
    if row is None:
        known = login if rows.LOGIN.fullmatch(login) else NO_LOGIN
        accesses.note(connection, runtime, kind="enter", login=known, **told)
        return
    person = person_of(row)
    accesses.note(connection, runtime, kind="enter", person=person, **told)
    if counted and tries.count_wrong(connection, row, now):
        rows.change(connection, row["id"], now, locked_at=now)
        accesses.note(connection, runtime, kind="lock", person=person, subject=row["id"],
                      reason=f"{tries.MOST} wrong tries", before="open", after="locked", **told)  # fmt: skip
