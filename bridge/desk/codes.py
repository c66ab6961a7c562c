"""One-time codes (RFC 6238: six digits, 30 seconds) and the ten recovery codes beside them, each good once."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence

import pyotp
from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select, update

from bridge import keys, log, models
from bridge.desk import keyring, rows
from bridge.errors import Unavailable
from bridge.ports import SECOND
from bridge.runtime import Runtime

_recovery: Table = models.metadata.tables["recovery_code"]
_person = rows.person_table

STEP_SECONDS = 30
SKEW_STEPS = 1
"""A phone's clock may be off by so many steps."""

SEED_BYTES = 20
RECOVERY_CODES, RECOVERY_BYTES, GROUP = 10, 10, 4

_ONE_TIME = re.compile(r"[0-9]{6}")
_RECOVERY = re.compile(r"[a-z2-7]{16}")
_SPACE = re.compile(r"[\s-]+")
_log = log.get("desk")


def new_seed(runtime: Runtime) -> str:
    """A seed as authenticators take it, base32."""
    return base64.b32encode(runtime.ids.noise(SEED_BYTES)).decode()


def enrolment(seed: str, login: str) -> str:
    """The address that puts a seed into an authenticator."""
    return pyotp.TOTP(seed).provisioning_uri(name=login, issuer_name="Bridge desk")


def step_of(seed: str, code: str, now: int) -> int | None:
    """The step that a code belongs to, None if it is not one of now; `now` in microseconds."""
    told = _SPACE.sub("", code)
    if not _ONE_TIME.fullmatch(told):
        return None
    otp, here = pyotp.TOTP(seed), now // SECOND // STEP_SECONDS
    steps = range(here - SKEW_STEPS, here + SKEW_STEPS + 1)
    fitting = [step for step in steps if hmac.compare_digest(otp.generate_otp(step), told)]
    return max(fitting, default=None)


def use(connection: Connection, runtime: Runtime, row: RowMapping, code: str) -> bool:
    """Use up a one-time code of this person's; false if it is wrong, or was used. In the caller's transaction, by the
    state of the row at that moment: of two who use one code at once, one has it."""
    if not _ONE_TIME.fullmatch(_SPACE.sub("", code)):
        return False
    step = step_of(seed_of(runtime, row), code, runtime.clock.now())
    if step is None:
        return False
    fresh = (_person.c.id == row["id"], _person.c.last_step.is_(None) | (_person.c.last_step < step))
    return connection.execute(update(_person).where(*fresh).values(last_step=step)).rowcount == 1


def seed_of(runtime: Runtime, row: RowMapping) -> str:
    """A person's seed. Raises Unavailable where `desk.secret` is not the one that it was sealed with."""
    try:
        return keyring.open_sealed(runtime, keyring.SEEDS, row["id"], row["seed"])
    except keyring.Unreadable:
        _log.error("seed cannot be read: desk.secret is another one", person=row["id"])
        raise Unavailable("One-time codes cannot be checked at present.", code="desk_secret_changed") from None


def new_recovery_codes(connection: Connection, runtime: Runtime, person_id: str) -> Sequence[str]:
    """Ten new ones, never to be had again; those before are worth nothing any more."""
    codes = [_recovery_code(runtime) for _ in range(RECOVERY_CODES)]
    connection.execute(delete(_recovery).where(_recovery.c.person_id == person_id))
    made = [{"person_id": person_id, "digest": _digest(code), "created_at": runtime.clock.now()} for code in codes]
    connection.execute(insert(_recovery), made)
    return codes


def use_recovery(connection: Connection, runtime: Runtime, person_id: str, code: str) -> bool:
    """Use up a recovery code; false if it is none of this person's, or was used."""
    mine = (_recovery.c.person_id == person_id, _recovery.c.digest == _digest(code), _recovery.c.used_at.is_(None))
    return connection.execute(update(_recovery).where(*mine).values(used_at=runtime.clock.now())).rowcount == 1


def is_like_recovery(code: str) -> bool:
    """Whether this could be a recovery code, of anybody's: 80 bits, so nobody gets anywhere by guessing."""
    return _RECOVERY.fullmatch(_plain(code)) is not None


def recovery_left(connection: Connection, person_id: str) -> int:
    """How many recovery codes a person has left."""
    mine = (_recovery.c.person_id == person_id, _recovery.c.used_at.is_(None))
    return int(connection.execute(select(func.count()).select_from(_recovery).where(*mine)).scalar_one())


def _recovery_code(runtime: Runtime) -> str:
    """80 bits, in groups that a person can read out."""
    told = base64.b32encode(runtime.ids.noise(RECOVERY_BYTES)).decode().lower()
    return "-".join(told[at : at + GROUP] for at in range(0, len(told), GROUP))


def _digest(code: str) -> str:
    return keys.digest(_plain(code))


def _plain(code: str) -> str:
    return _SPACE.sub("", code).lower()
