"""The jobs: what works in the background, and whether it does."""

from __future__ import annotations

from flask import Blueprint, render_template

from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.views import jobs

room = Blueprint("jobs", __name__, url_prefix="/ops")


@room.get("/jobs")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """The page."""
    return render_template("desk/jobs.html", runs=jobs.verifications(visit.runtime), now=visit.runtime.clock.now())
