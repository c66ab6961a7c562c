"""The jobs: what works in the background, whether it does, and what people of the steward may do about it."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for

from bridge import board, reasons
from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.desk import chores
from bridge.desk.rows import PROPOSERS
from bridge.views import jobs

room = Blueprint("jobs", __name__, url_prefix="/ops")

SEE_OTHER = 303


@room.get("/jobs")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """The page."""
    return render_template("desk/jobs.html", **_read(visit))


@room.get("/jobs/part")
@allowed(*EVERYBODY)
def part(visit: Visit) -> Page:
    """What on it changes."""
    return render_template("desk/jobs_part.html", **_read(visit))


@room.get("/jobs/<job>")
@allowed(*PROPOSERS, steward=True)
def one(visit: Visit, job: str) -> Page:
    """What may be done about one job."""
    told = jobs.page(visit.runtime, whole=True)
    line = next((each for each in told.lines if each.job == job), None)
    hours = board.LONGEST_PAUSE_SECONDS // 3600
    return render_template(
        "desk/job.html", told=told, line=line, job=job, hours=hours, least=reasons.LEAST,
        longest=reasons.MOST,
    ), 200 if line else 404  # fmt: skip


@room.post("/jobs/<job>/run")
@allowed(*PROPOSERS, steward=True)
def run(visit: Visit, job: str) -> Page:
    """Have it run at once."""
    chores.run_now(visit.runtime, visit.sitting, job)
    return redirect(url_for("jobs.show"), SEE_OTHER)


@room.post("/jobs/<job>/pause")
@allowed(*PROPOSERS, steward=True, proved=True)
def pause(visit: Visit, job: str) -> Page:
    """Pause it."""
    chores.pause(visit.runtime, visit.sitting, job, request.form.get("reason", ""))
    return redirect(url_for("jobs.show"), SEE_OTHER)


@room.post("/jobs/<job>/resume")
@allowed(*PROPOSERS, steward=True, proved=True)
def resume(visit: Visit, job: str) -> Page:
    """End the pause."""
    chores.resume(visit.runtime, visit.sitting, job)
    return redirect(url_for("jobs.show"), SEE_OTHER)


def _read(visit: Visit) -> dict[str, object]:
    may_act = visit.person.role in PROPOSERS and visit.is_steward
    return {"told": jobs.page(visit.runtime, whole=visit.is_steward), "may_act": may_act}
