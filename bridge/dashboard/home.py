"""The address `/ops` itself: the first page that whoever came may see."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, url_for

from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed

room = Blueprint("home", __name__, url_prefix="/ops")

FIRST = ("overview.show", "account.show")
"""The first of these that is there."""


@room.get("")
@allowed(*EVERYBODY)
def show(_visit: Visit) -> Page:
    """Off to where work begins."""
    there = next(endpoint for endpoint in FIRST if endpoint in current_app.view_functions)
    return redirect(url_for(there), 303)
