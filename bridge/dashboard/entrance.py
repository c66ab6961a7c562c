"""Who may see a page: every route says it, by `allowed` or `anybody`; one that says nothing is refused at the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.dashboard import cookies, origin
from bridge.desk import proving, sittings
from bridge.desk.rows import Person
from bridge.desk.sittings import Sitting
from bridge.errors import Forbidden, Invalid, NotFound, Unauthorized
from bridge.models.desk import Role
from bridge.runtime import Runtime

RUNTIME = "bridge.desk"
"""Where the application keeps the runtime for the desk's pages, among Flask's extensions."""

PART = "X-Part"
"""The header by which a page asks for a part of itself: not something that a person does."""

PROOF = "prove_code"
"""The field of the code that is asked for before a money action."""

NOT_CARRIED = (cookies.FIELD, PROOF, "old", "password", "again")
"""Fields that are not written into the page that asks for a proof first: a secret is typed again."""

EVERYBODY = tuple(Role)
APPROVERS = (Role.APPROVER,)
ADMINS = (Role.ADMIN,)

Page = Response | str | tuple[str, int]
"""A page, with its status where that is not 200."""
View = Callable[..., Page]


@dataclass(frozen=True)
class Visit:
    """One admitted request: the runtime of this process, and who sits before the page. Everything that a page reads or
    does belongs to `operator_id`."""

    runtime: Runtime
    sitting: Sitting

    @property
    def person(self) -> Person:
        """Who it is; `role` is what they may do."""
        return self.sitting.person

    @property
    def operator_id(self) -> int:
        """Whose rows they may see."""
        return self.sitting.person.operator_id

    @property
    def is_steward(self) -> bool:
        """Whether they belong to the operator whose people may touch what all share (`desk.steward`)."""
        steward = self.runtime.config.desk.steward
        return steward is not None and sittings.operator_name(self.runtime, self.operator_id) == steward


def runtime_of_app() -> Runtime:
    """The runtime that the application was made with."""
    found: Runtime = current_app.extensions[RUNTIME]
    return found


def anybody(view: View) -> View:
    """A page for whoever comes, given the runtime: the gate, links, files."""

    @wraps(view)
    def entrance(**segments: str) -> Page:
        return view(runtime_of_app(), **segments)

    return _marked(entrance, None)


def allowed(*roles: Role, proved: bool = False, steward: bool = False) -> Callable[[View], View]:
    """A page for people who have one of `roles`; it is given a Visit, then the parts of its address.

    `proved`: a code or passkey must have been shown within `desk.prove_minutes`, else it is asked for first, and what
    was wanted is done then. `steward`: only for people of the operator `desk.steward`; for others it is not there.
    What is done in a transaction still has to ask `sittings.still` in it: rights may end between page and commit.
    """
    assert roles, "a page is for somebody"

    def around(view: View) -> View:
        @wraps(view)
        def entrance(**segments: str) -> Page:
            visit = visiting()
            if visit.person.role not in roles:
                raise Forbidden(sittings.refusal(visit.person, roles), code="role_missing")
            if steward and not visit.is_steward:
                raise NotFound
            if proved and not sittings.is_proved(visit.runtime, visit.sitting):
                asked = _ask_for_proof(visit)
                if asked is not None:
                    return asked
                visit = visiting(again=True)
            return view(visit, **segments)

        return _marked(entrance, frozenset(roles))

    return around


def _marked(view: View, roles: frozenset[Role] | None) -> View:
    view.__dict__["allowed_roles"] = roles
    return view


def visiting(*, again: bool = False) -> Visit:
    """Who sits before this page. Raises Unauthorized: the browser is sent to the gate."""
    if "visit" in g and not again:
        found: Visit = g.visit
        return found
    runtime, token = runtime_of_app(), g.get("sitting_token") or request.cookies.get(cookies.SITTING, "")
    moved = PART not in request.headers
    sitting = sittings.find(runtime, token, origin.address(runtime), moved=moved) if token else None
    if sitting is None:
        raise Unauthorized("Come in first.")
    g.sitting_token, g.visit = token, Visit(runtime, sitting)
    return Visit(runtime, sitting)


def _ask_for_proof(visit: Visit) -> Page | None:
    """The page that asks for a code before what was wanted is done; None when the code that came is right."""
    wrong = ""
    if request.form.get(PROOF):
        try:
            proving.by_code(visit.runtime, visit.sitting, request.form[PROOF])
            return None
        except Invalid as refusal:
            wrong = next(iter(refusal.fields.values()))
    if request.method == "GET":
        return redirect(url_for("account.prove", next=local(request.full_path)), 303)
    carried = [(name, value) for name, value in request.form.items(multi=True) if name not in NOT_CARRIED]
    page = render_template("desk/prove.html", action=request.path, carried=carried, wrong=wrong, field=PROOF)
    return current_app.make_response((page, 422 if wrong else 403))


def local(address: Any) -> str:
    """An address of the desk's own to go back to; the desk's first page for anything else."""
    told = str(address or "").rstrip("?")
    plain = told.isascii() and told.isprintable() and "\\" not in told and "//" not in told and ".." not in told
    return told if plain and (told == "/ops" or told.startswith(("/ops/", "/ops?"))) else "/ops"
