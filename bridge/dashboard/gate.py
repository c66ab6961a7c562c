"""The gate: coming in by password and code, or by a passkey; and leaving."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request

from bridge.dashboard import cookies, origin
from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed, anybody, local
from bridge.desk import doorkeeper, entering, passkeys, sittings
from bridge.errors import Invalid
from bridge.runtime import Runtime

room = Blueprint("gate", __name__, url_prefix="/ops")


@room.get("/gate")
@anybody
def show(_runtime: Runtime) -> Page:
    """The form."""
    return _form(local(request.args.get("next")))


@room.post("/gate")
@anybody
def enter(runtime: Runtime) -> Page:
    """Login, password and code have come."""
    form, wanted = request.form, local(request.form.get("next"))
    try:
        token = entering.by_password(
            runtime, login=form.get("login", ""), password=form.get("password", ""), code=form.get("code", ""),
            address=origin.address(runtime), instead_of=request.cookies.get(cookies.SITTING, ""),
        )  # fmt: skip
    except Invalid as refusal:
        return _form(wanted, login=form.get("login", ""), wrong=refusal.fields), 422
    except entering.NotLetIn as refusal:
        return _form(wanted, login=form.get("login", ""), trouble=refusal.detail), 403
    return seated(token, redirect(wanted, 303))


@room.post("/gate/passkey/challenge")
@anybody
def ask_passkey(runtime: Runtime) -> Page:
    """What a passkey is to sign, so that its person comes in."""
    doorkeeper.knock(runtime, origin.address(runtime))
    return jsonify(passkeys.ask_to_show(runtime, origin.place(runtime), passkeys.ENTER))


@room.post("/gate/passkey")
@anybody
def enter_by_passkey(runtime: Runtime) -> Page:
    """A passkey has signed. The doorkeeper is asked before what was sent is read."""
    doorkeeper.knock(runtime, origin.address(runtime))
    told = sent_json()
    token = entering.by_passkey(
        runtime, origin.place(runtime), told.get("credential"), password=str(told.get("password") or ""),
        address=origin.address(runtime), instead_of=request.cookies.get(cookies.SITTING, ""),
    )  # fmt: skip
    return seated(token, jsonify({"next": local(told.get("next"))}))


@room.post("/leave")
@allowed(*EVERYBODY)
def leave(visit: Visit) -> Page:
    """End the sitting, here and on the server."""
    sittings.leave(visit.runtime, visit.sitting)
    response = make_response(redirect("/ops/gate", 303))
    cookies.drop(response, cookies.SITTING)
    return response


def seated(token: str, page: Any) -> Response:
    """An answer to somebody who sits here from now on."""
    response = make_response(page)
    cookies.put(response, cookies.SITTING, token)
    cookies.drop(response, cookies.GUEST)
    return response


def sent_json() -> dict[str, Any]:
    """What our own script has sent. Raises Invalid."""
    try:
        told = request.get_json(force=True, silent=True)
    except RecursionError:  # nested deeper than any reader goes
        told = None
    if not isinstance(told, dict):
        raise Invalid(fields={"body": "is not what this page sends"})
    return told


def _form(wanted: str, *, login: str = "", wrong: dict[str, str] | None = None, trouble: str = "") -> str:
    told = {"next": wanted, "login": login[: entering.LONGEST_LOGIN], "wrong": wrong or {}, "trouble": trouble}
    return render_template("desk/gate.html", **told)
