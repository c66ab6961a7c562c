"""The two cookies of the desk: one for whoever sits there, one for who has not come in yet; and the tokens that prove
that a form was on a page of ours, each derived from the cookie it came with."""

from __future__ import annotations

from flask import Response, g, request

from bridge.desk import keyring
from bridge.errors import BadRequest
from bridge.runtime import Runtime

SITTING, GUEST = "__Host-desk", "__Host-guest"
FIELD, HEADER = "form_token", "X-Form-Token"


class FormNotOurs(BadRequest):
    """This form was not on a page of this desk, or the page is too old: open it again."""

    code = "form_not_ours"


def put(response: Response, name: str, secret: str) -> None:
    """Give the browser a cookie that goes nowhere else, and that no script reads."""
    response.set_cookie(name, secret, path="/", secure=True, httponly=True, samesite="Strict")


def drop(response: Response, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="Strict")


def form_token(runtime: Runtime) -> str:
    """The token of forms on the page that is being made; a guest without a cookie is given one with the answer."""
    if "sitting_token" in g:
        return _token(runtime, SITTING, g.sitting_token)
    guest = request.cookies.get(GUEST) or g.get("guest_token")
    if not guest:
        guest = g.guest_token = runtime.ids.secret()
    return _token(runtime, GUEST, guest)


def require_form_token(runtime: Runtime) -> None:
    """Raise FormNotOurs unless what was sent carries the token of one of the cookies that came with it."""
    told = request.headers.get(HEADER) or request.form.get(FIELD, "")
    for name in (SITTING, GUEST):
        kept = request.cookies.get(name)
        if kept and keyring.is_mark(runtime, keyring.FORMS, f"{name} {kept}", told):
            return
    raise FormNotOurs


def _token(runtime: Runtime, name: str, secret: str) -> str:
    return keyring.mark(runtime, keyring.FORMS, f"{name} {secret}")
