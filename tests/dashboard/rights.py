"""Who may do what at the desk: every route under /ops, each with a row of its own, typed out.

To add a route: a row in RIGHTS; where its address has a part that is not in PARTS yet, how to make one that belongs to
the desk's operator; where a field of its query or form names something of an operator's, `ours`. test_rights.py asks
every cell: route × role × operator, and nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.desk import people
from bridge.models.desk import Role
from tests.dashboard.stock import PLAYER
from tests.desk.crew import WHY

EVERYBODY = tuple(Role)
PROPOSERS = (Role.OPERATOR, Role.APPROVER)
APPROVERS = (Role.APPROVER,)
ADMINS = (Role.ADMIN,)
PASSKEY = "AAAA"
"""Of somebody at the desk's operator who is none of those who ask."""

ANYBODY = None
"""Also who has not come in: the gate, links, files."""


@dataclass(frozen=True)
class Right:
    """One route. `roles`: who may, ANYBODY for whoever comes; `form`: a right form, for POST; `said`: what a person who
    may is answered by it, with `form`, and by the made up PARTS; `steward`: 404 for people of other operators;
    `proved`: not without a code or passkey shown lately; `ours`: fields that name something of an operator's, and the
    part by which that is made: people of another operator are answered as if it had never been."""

    roles: tuple[Role, ...] | None
    said: tuple[int, ...] = (200,)
    form: Mapping[str, Any] = field(default_factory=dict)
    steward: bool = False
    proved: bool = False
    ours: Mapping[str, str] = field(default_factory=dict)


_WHY = {"reason": WHY}

RIGHTS: dict[tuple[str, str], Right] = {
    ("GET", "/ops"): Right(EVERYBODY, (303,)),
    ("GET", "/ops/static/<path:filename>"): Right(ANYBODY),
    ("GET", "/ops/bootstrap/<path:filename>"): Right(ANYBODY),
    # the gate
    ("GET", "/ops/gate"): Right(ANYBODY),
    ("POST", "/ops/gate"): Right(ANYBODY, (422,)),
    ("POST", "/ops/gate/passkey/challenge"): Right(ANYBODY),
    ("POST", "/ops/gate/passkey"): Right(ANYBODY, (422,)),
    ("POST", "/ops/leave"): Right(EVERYBODY, (303,)),
    ("GET", "/ops/link/<token>"): Right(ANYBODY),
    ("POST", "/ops/link/<token>"): Right(ANYBODY, (422,)),
    # own account
    ("GET", "/ops/account"): Right(EVERYBODY),
    ("GET", "/ops/prove"): Right(EVERYBODY),
    ("POST", "/ops/prove"): Right(EVERYBODY, (303,)),
    ("POST", "/ops/prove/passkey/challenge"): Right(EVERYBODY),
    ("POST", "/ops/prove/passkey"): Right(EVERYBODY, (422,)),
    ("POST", "/ops/account/password"): Right(EVERYBODY, (422,), proved=True),
    ("POST", "/ops/account/recovery-codes"): Right(EVERYBODY, proved=True),
    ("POST", "/ops/account/passkeys/challenge"): Right(EVERYBODY, proved=True),
    ("POST", "/ops/account/passkeys"): Right(EVERYBODY, (422,), proved=True),
    ("POST", "/ops/account/passkeys/<passkey_id>/remove"): Right(EVERYBODY, (404,), proved=True),
    ("POST", "/ops/account/sittings/end-others"): Right(EVERYBODY, (303,)),
    # money
    ("GET", "/ops/overview"): Right(EVERYBODY),
    ("GET", "/ops/overview/part"): Right(EVERYBODY),
    ("GET", "/ops/orphans"): Right(EVERYBODY, ours={"word": "transfer_id"}),
    ("GET", "/ops/orphans/part"): Right(EVERYBODY, ours={"word": "player_id"}),
    ("GET", "/ops/orphans.csv"): Right(EVERYBODY, ours={"player": "player_id"}),
    ("GET", "/ops/transfers/<transfer_id>"): Right(EVERYBODY),
    ("GET", "/ops/transfers/<transfer_id>/part"): Right(EVERYBODY),
    ("GET", "/ops/transfers/<transfer_id>/propose"): Right(PROPOSERS),
    ("POST", "/ops/transfers/<transfer_id>/propose"): Right(PROPOSERS, (422,), {"kind": "confirm"}, proved=True),
    ("POST", "/ops/transfers/<transfer_id>/ask"): Right(PROPOSERS, (422,)),
    ("GET", "/ops/proposals"): Right(EVERYBODY),
    ("GET", "/ops/proposals/part"): Right(EVERYBODY),
    ("GET", "/ops/proposals/<proposal_id>"): Right(EVERYBODY),
    ("POST", "/ops/proposals/<proposal_id>/approve"): Right(APPROVERS, (422,), {"amount": "1.00"}, proved=True),
    ("POST", "/ops/proposals/<proposal_id>/reject"): Right(APPROVERS, (422,), proved=True),
    ("POST", "/ops/proposals/<proposal_id>/withdraw"): Right((*PROPOSERS, *ADMINS), (422,), proved=True),
    ("GET", "/ops/many/propose"): Right(PROPOSERS, (422,), ours={"transfer": "transfer_id"}),  # nothing is chosen
    ("POST", "/ops/many/propose"): Right(
        PROPOSERS, (422,), {"kind": "confirm", "seen": "x", **_WHY}, proved=True, ours={"transfer": "transfer_id"}
    ),
    ("GET", "/ops/many/approve"): Right(APPROVERS, (422,), ours={"proposal": "proposal_id"}),
    ("POST", "/ops/many/approve"): Right(
        APPROVERS, (422,), {"seen": "x", **_WHY}, proved=True, ours={"proposal": "proposal_id"}
    ),
    ("GET", "/ops/players"): Right(EVERYBODY, ours={"word": "player_id"}),
    ("GET", "/ops/players/<player_id>"): Right(EVERYBODY),
    ("GET", "/ops/providers"): Right(EVERYBODY),
    ("GET", "/ops/providers/<name>"): Right(EVERYBODY),
    ("POST", "/ops/providers/<name>/pause"): Right(PROPOSERS, (303,), {"reason": "they are down"}, proved=True),
    # 409: its form names no switch that was shown
    ("POST", "/ops/providers/<name>/resume"): Right(PROPOSERS, (409,), {"reason": "they are back"}, proved=True),
    ("GET", "/ops/jobs"): Right(EVERYBODY),
    ("GET", "/ops/jobs/part"): Right(EVERYBODY),
    ("GET", "/ops/jobs/<job>"): Right(PROPOSERS, steward=True),
    ("POST", "/ops/jobs/<job>/run"): Right(PROPOSERS, (303, 409), steward=True),  # 409: the row before has paused it
    ("POST", "/ops/jobs/<job>/pause"): Right(PROPOSERS, (303,), {"reason": "too loud"}, steward=True, proved=True),
    ("POST", "/ops/jobs/<job>/resume"): Right(PROPOSERS, (303,), steward=True, proved=True),
    ("GET", "/ops/audit"): Right(EVERYBODY, ours={"subject": "transfer_id", "person": "person_id"}),
    ("GET", "/ops/audit.csv"): Right(EVERYBODY, ours={"subject": "transfer_id", "person": "person_id"}),
    ("GET", "/ops/audit/review"): Right(EVERYBODY),
    # 422: its form names no entry
    ("POST", "/ops/audit/review"): Right(EVERYBODY, (422,), {"shown": "1", **_WHY}, ours={"up_to": "entry"}),
    # people
    ("GET", "/ops/people"): Right(ADMINS),
    ("POST", "/ops/people"): Right(ADMINS, form={"login": "new", "name": "New", "role": "viewer", **_WHY}, proved=True),
    ("GET", "/ops/people/<person_id>"): Right(ADMINS),
    ("POST", "/ops/people/<person_id>/role"): Right(ADMINS, (303,), {"role": "operator", **_WHY}, proved=True),
    ("POST", "/ops/people/<person_id>/link"): Right(ADMINS, form={"kind": "reset", **_WHY}, proved=True),
    ("POST", "/ops/people/<person_id>/vouch"): Right(ADMINS, (409,), _WHY, proved=True),
    ("POST", "/ops/people/<person_id>/disable"): Right(ADMINS, (303,), _WHY, proved=True),
    ("POST", "/ops/people/<person_id>/enable"): Right(ADMINS, (303,), _WHY, proved=True),
}


def _link(desk: Any) -> str:
    """A link for somebody new."""
    login = f"new-{desk.runtime.ids.new('x')}"
    return people.add(desk.runtime, people.by_command(WHY), desk.operator, login=login, name="New", role="viewer")[1]


PARTS: dict[str, Callable[[Any], str]] = {
    "transfer_id": lambda desk: str(desk.rows("SELECT MIN(id) AS id FROM transfer")[0]["id"]),
    "proposal_id": lambda desk: str(desk.rows("SELECT MIN(id) AS id FROM proposal")[0]["id"]),
    "player_id": lambda _desk: PLAYER,
    "name": lambda _desk: "sim",
    "job": lambda _desk: "verify",
    "person_id": lambda desk: desk.people["viewer"].id,
    "passkey_id": lambda _desk: PASSKEY,
    "entry": lambda desk: str(desk.rows("SELECT MAX(id) AS id FROM access_note WHERE operator_id = :operator",
                                        operator=desk.operator)[0]["id"]),
    "token": _link,
    "path:filename": lambda _desk: "",  # files have addresses of their own: FILES
}

FILES = {
    "/ops/static/<path:filename>": "/ops/static/desk.js",
    "/ops/bootstrap/<path:filename>": "/ops/bootstrap/css/bootstrap.min.css",
}
