"""Passkeys (WebAuthn): one is possession and, since the authenticator verifies its user, the second factor in one.

Each ceremony signs a challenge that is good once and for minutes, for one purpose and, inside of a sitting, one person.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, insert, select, update
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from bridge import db, keys, models
from bridge.desk import accesses, sittings
from bridge.desk.sittings import MINUTE, Sitting
from bridge.errors import Conflict, Invalid, NotFound
from bridge.models.desk import Outcome
from bridge.runtime import Runtime

_challenge: Table = models.metadata.tables["challenge"]
_passkey: Table = models.metadata.tables["passkey"]

ENROL, ENTER, PROVE = "enrol", "enter", "prove"
"""What a challenge is for."""

GOOD_MINUTES, CHALLENGE_BYTES = 5, 32
MOST, LONGEST_LABEL = 10, 60
SWEPT = 200
"""Challenges that are forgotten at a time, once they have expired."""


@dataclass(frozen=True)
class Place:
    """Where the browser finds the desk: `name` the host, to which passkeys are bound; `origin` with scheme and port."""

    name: str
    origin: str


@dataclass(frozen=True)
class Shown:
    """A passkey that has signed: whose it is, and its counter before and after."""

    id: str
    person_id: str
    before: int
    after: int


_NOT_TAKEN = {"passkey": "was not taken: try again, or use password and code"}


def not_taken() -> Invalid:
    """What is said to every passkey that is not let in."""
    return Invalid(fields=_NOT_TAKEN)


class Unasked(Invalid):
    """It signed nothing that was asked here, or not in time; to whoever sent it, it was not taken."""


def ask_to_enrol(runtime: Runtime, sitting: Sitting, place: Place) -> dict[str, Any]:
    """What the browser is to have a new passkey made with."""
    person, known = sitting.person, listed(runtime, sitting.person.id)
    options = generate_registration_options(
        rp_id=place.name,
        rp_name="Bridge desk",
        user_id=person.id.encode(),
        user_name=person.login,
        user_display_name=person.name,
        challenge=_new_challenge(runtime, ENROL, person.id),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(row["id"])) for row in known],
    )
    told: dict[str, Any] = json.loads(options_to_json(options))
    return told


def enrol(runtime: Runtime, sitting: Sitting, place: Place, credential: Any, label: str) -> None:
    """Keep a passkey that was just made. Raises Invalid, Conflict where there are MOST, or it is known."""
    challenge = _spent_challenge(runtime, ENROL, sitting.person.id, credential)
    try:
        made = verify_registration_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=place.name,
            expected_origin=place.origin, require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise not_taken() from wrong
    now = runtime.clock.now()
    called = "".join(sign for sign in " ".join(label.split()) if sign.isprintable())[:LONGEST_LABEL] or "passkey"
    row = {"id": bytes_to_base64url(made.credential_id), "label": called,
           "public_key": bytes_to_base64url(made.credential_public_key), "sign_count": made.sign_count,
           "created_at": now}  # fmt: skip
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting)
        if len(_of(connection, person.id)) >= MOST:
            raise Conflict(f"There are {MOST} passkeys already: remove one first.")
        if not db.insert_if_absent(connection, _passkey, {**row, "person_id": person.id}):
            raise Conflict("This passkey is known already.")
        accesses.note(connection, runtime, kind="passkey", outcome=Outcome.DONE, person=person, after=called,
                      address=sitting.address)  # fmt: skip


def ask_to_show(runtime: Runtime, place: Place, purpose: str, person_id: str | None = None) -> dict[str, Any]:
    """What the browser is to have a passkey sign: anybody's at the gate, this person's inside of a sitting."""
    known = [] if person_id is None else listed(runtime, person_id)
    options = generate_authentication_options(
        rp_id=place.name,
        challenge=_new_challenge(runtime, purpose, person_id),
        allow_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(row["id"])) for row in known],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    told: dict[str, Any] = json.loads(options_to_json(options))
    return told


def shown(runtime: Runtime, place: Place, purpose: str, credential: Any, person_id: str | None = None) -> Shown:
    """The passkey that signed, its challenge used up. Raises Invalid, Unasked where there was no such challenge. What
    it opens is for the caller to judge, who counts it in the same transaction (`count`)."""
    challenge = _spent_challenge(runtime, purpose, person_id, credential)
    with db.reading(runtime.engine) as connection:
        mine = _passkey.c.id == _id_of(credential), _passkey.c.removed_at.is_(None)
        row = connection.execute(select(_passkey).where(*mine)).mappings().first()
    if row is None or person_id not in (None, row["person_id"]):
        raise not_taken()
    try:
        signed = verify_authentication_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=place.name,
            expected_origin=place.origin, credential_public_key=base64url_to_bytes(row["public_key"]),
            credential_current_sign_count=row["sign_count"], require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise not_taken() from wrong
    return Shown(row["id"], row["person_id"], row["sign_count"], signed.new_sign_count)


def owner(runtime: Runtime, credential: Any) -> str | None:
    """Whose passkey it says to be, proved or not; None for one that nobody has."""
    if not isinstance(credential, dict):
        return None
    with db.reading(runtime.engine) as connection:
        whose = select(_passkey.c.person_id).where(_passkey.c.id == _id_of(credential))
        return connection.execute(whose).scalar()


def count(connection: Connection, runtime: Runtime, passkey: Shown) -> bool:
    """Keep a passkey's counter; false if it was removed, or somebody with a copy of it was here meanwhile."""
    same = (_passkey.c.id == passkey.id, _passkey.c.removed_at.is_(None), _passkey.c.sign_count == passkey.before)
    values = {"sign_count": passkey.after, "used_at": runtime.clock.now()}
    return connection.execute(update(_passkey).where(*same).values(**values)).rowcount == 1


def remove(runtime: Runtime, sitting: Sitting, passkey_id: str) -> None:
    """Take one of one's own passkeys out of use. Raises NotFound."""
    now = runtime.clock.now()
    with db.writing(runtime.engine) as connection:
        person = sittings.still(connection, runtime, sitting)
        mine = (_passkey.c.id == passkey_id, _passkey.c.person_id == person.id, _passkey.c.removed_at.is_(None))
        gone = connection.execute(update(_passkey).where(*mine).values(removed_at=now).returning(_passkey.c.label))
        label = gone.scalar()
        if label is None:
            raise NotFound("There is no such passkey.")
        accesses.note(connection, runtime, kind="passkey", outcome=Outcome.DONE, person=person, before=label,
                      address=sitting.address)  # fmt: skip


def remove_all(connection: Connection, person_id: str, now: int) -> None:
    """Take every passkey of a person out of use."""
    theirs = (_passkey.c.person_id == person_id, _passkey.c.removed_at.is_(None))
    connection.execute(update(_passkey).where(*theirs).values(removed_at=now))


def listed(runtime: Runtime, person_id: str) -> Sequence[RowMapping]:
    """A person's passkeys, oldest first."""
    with db.reading(runtime.engine) as connection:
        return _of(connection, person_id)


def _of(connection: Connection, person_id: str) -> Sequence[RowMapping]:
    theirs = select(_passkey).where(_passkey.c.person_id == person_id, _passkey.c.removed_at.is_(None))
    return connection.execute(theirs.order_by(_passkey.c.created_at, _passkey.c.id)).mappings().all()


def _id_of(credential: Any) -> str:
    """The id as it is kept; what is none is nobody's."""
    told = credential.get("id")
    return told if isinstance(told, str) and told.isascii() and told.isprintable() else ""


def _new_challenge(runtime: Runtime, purpose: str, person_id: str | None) -> bytes:
    challenge, now = runtime.ids.noise(CHALLENGE_BYTES), runtime.clock.now()
    row = {"digest": keys.digest(bytes_to_base64url(challenge)), "person_id": person_id, "purpose": purpose,
           "expires_at": now + GOOD_MINUTES * MINUTE}  # fmt: skip
    with db.writing(runtime.engine) as connection:
        old = select(_challenge.c.digest).where(_challenge.c.expires_at < now).limit(SWEPT)
        gone = connection.execute(old.with_for_update(skip_locked=True)).scalars().all()
        connection.execute(delete(_challenge).where(_challenge.c.digest.in_(gone)))
        connection.execute(insert(_challenge).values(**row))
    return challenge


def _spent_challenge(runtime: Runtime, purpose: str, person_id: str | None, credential: Any) -> bytes:
    """The challenge that a browser says to have had signed, used up whatever becomes of it. Raises Unasked."""
    try:
        told = json.loads(base64url_to_bytes(credential["response"]["clientDataJSON"]))["challenge"]
        challenge = base64url_to_bytes(told)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as wrong:
        raise Unasked(fields=_NOT_TAKEN) from wrong
    now = runtime.clock.now()
    whose = _challenge.c.person_id.is_(None) if person_id is None else _challenge.c.person_id == person_id
    good = (_challenge.c.digest == keys.digest(bytes_to_base64url(challenge)), _challenge.c.purpose == purpose, whose,
            _challenge.c.used_at.is_(None), _challenge.c.expires_at > now)  # fmt: skip
    with db.writing(runtime.engine) as connection:
        if connection.execute(update(_challenge).where(*good).values(used_at=now)).rowcount != 1:
            raise Unasked(fields=_NOT_TAKEN)
    return challenge
