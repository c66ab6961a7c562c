"""The frame around all pages of the desk: what is asked of every request, what every page has on it, and the rooms.

To add a page: a file here with `room = Blueprint(…, url_prefix="/ops")`, each of its routes under `@allowed(…)`; its
room into ROOMS, its place in the navigation into NAVIGATION, its rights into tests/dashboard/rights.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, request
from flask_bootstrap import Bootstrap5

from bridge import __version__
from bridge.dashboard import account, cookies, entrance, gate, home, links, origin, people, seal, trouble
from bridge.dashboard.pages import (
    audit,
    jobs,
    many,
    orphans,
    overview,
    players,
    proposals,
    proposing,
    providers,
    shown,
    transfers,
)
from bridge.desk import keyring
from bridge.errors import BadRequest
from bridge.models.desk import Role
from bridge.runtime import Runtime
from bridge.watch import WATCH

PREFIX = "/ops"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

ROOMS: tuple[Blueprint, ...] = (
    home.room, gate.room, links.room, account.room, people.room,
    overview.room, orphans.room, transfers.room, players.room, providers.room, jobs.room, audit.room,
    proposing.room, proposals.room, many.room,
)  # fmt: skip

TIMELESS = (gate.room.name, links.room.name)
"""Rooms in which it does not matter that this process's clock is off: of coming in, and of leaving."""

NAVIGATION: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("Overview", "overview.show", entrance.EVERYBODY),
    ("Orphans", "orphans.show", entrance.EVERYBODY),
    ("Proposals", "proposals.show", entrance.EVERYBODY),
    ("Players", "player.search", entrance.EVERYBODY),
    ("Providers", "providers.show", entrance.EVERYBODY),
    ("Jobs", "jobs.show", entrance.EVERYBODY),
    ("Audit log", "audit.show", entrance.EVERYBODY),
    ("People", "people.show", entrance.ADMINS),
)
"""What stands at the top of every page: words, endpoint, who sees it. An endpoint that is not there is left out."""



def furnish(app: Flask, runtime: Runtime, elsewhere: Callable[[Exception], Any]) -> None:
    """Put the desk into an application; `elsewhere` answers what goes wrong outside of it."""
    app.extensions[entrance.RUNTIME] = runtime
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    _serve_bootstrap(app)
    files = Blueprint("desk", __name__, url_prefix=PREFIX, static_folder="static", template_folder="templates")
    for room in (files, *ROOMS):
        app.register_blueprint(room)
    for endpoint in seal.FILES:
        app.view_functions[endpoint].__dict__["allowed_roles"] = None
    _require_rights(app)
    app.before_request(_admit)
    app.after_request(_close)
    app.register_error_handler(Exception, lambda error: trouble.answer(error) if is_desk() else elsewhere(error))
    app.jinja_env.globals.update(desk_version=__version__, form_field=cookies.FIELD)
    app.jinja_env.filters |= {"capitalize_first": lambda words: words[:1].upper() + words[1:]}
    app.jinja_env.filters |= shown.filters(runtime.currencies)
    app.context_processor(_on_every_page)


def _serve_bootstrap(app: Flask) -> None:
    """Bootstrap's files and macros, at an address under the desk's: the extension would put them beside it."""
    under = partial(app.register_blueprint, url_prefix=PREFIX)
    made_for = {"extensions": app.extensions, "config": app.config, "jinja_env": app.jinja_env, "static_url_path": ""}
    Bootstrap5().init_app(SimpleNamespace(**made_for, register_blueprint=under))


def _require_rights(app: Flask) -> None:
    """A route of the desk that does not say whom it is for must not be served."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(PREFIX) and "allowed_roles" not in app.view_functions[rule.endpoint].__dict__:
            raise LookupError(f"{rule.rule} does not say whom it is for: entrance.allowed, entrance.anybody")


def is_desk() -> bool:
    """Whether this request is one to the desk, whether there is such a page or not."""
    return request.path == PREFIX or request.path.startswith(f"{PREFIX}/")


def _admit() -> None:
    """What is asked of every request to the desk before anything else, in this order."""
    if not is_desk():
        return
    runtime = entrance.runtime_of_app()
    if not origin.is_safe(runtime):
        raise trouble.PlainHttp
    if request.routing_exception is not None or request.endpoint in seal.FILES:
        return
    keyring.require(runtime)
    _require_text()
    does = request.method not in SAFE_METHODS
    # What people do takes leases, rests on time that has passed, and is dated for ever.
    current_app.extensions[WATCH].require(runtime, timely=does and request.blueprint not in TIMELESS)
    if does:
        if not origin.is_ours(runtime):
            raise cookies.FormNotOurs
        cookies.require_form_token(runtime)


def _require_text() -> None:
    """Raise BadRequest for what no page sends: PostgreSQL keeps no NUL, and would say so as an error of ours."""
    told = (request.path, *request.args.values(), *request.form.values())
    if any("\0" in each for each in told):
        raise BadRequest


def _close(response: Response) -> Response:
    if not is_desk():
        return response
    if "guest_token" in g:
        cookies.put(response, cookies.GUEST, g.guest_token)
    return seal.close(response, entrance.runtime_of_app())


def _on_every_page() -> dict[str, Any]:
    """What templates of the desk may use beside what their page gives them."""
    if not is_desk():
        return {}
    runtime, visit = entrance.runtime_of_app(), g.get("visit")
    known = current_app.view_functions
    seen = () if visit is None else [each for each in NAVIGATION if each[1] in known and visit.person.role in each[2]]
    token = partial(cookies.form_token, runtime)
    return {"visit": visit, "navigation": seen, "known": known, "form_token": token,
            "configured_providers": runtime.config.providers, "now": runtime.clock.now()}  # fmt: skip
