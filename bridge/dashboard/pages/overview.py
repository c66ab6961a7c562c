"""The first page: how everything stands, by itself up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint, current_app, render_template

from bridge import troubles
from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.dashboard.pages.charts import Series, beside, stacked
from bridge.ports import SECOND
from bridge.runtime import Runtime
from bridge.troubles import Trouble
from bridge.views import overview
from bridge.views.amounts import instant
from bridge.views.overview import Day, Hour

room = Blueprint("overview", __name__, url_prefix="/ops")

KEPT = "bridge.desk.troubles"
"""Where the application keeps what was found wrong, and when, among Flask's extensions."""

FRESH = 2 * SECOND
"""So long what was found is not asked again."""


@room.get("/overview")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """The page."""
    return render_template("desk/overview.html", **_read(visit))


@room.get("/overview/part")
@allowed(*EVERYBODY)
def part(visit: Visit) -> Page:
    """What on it changes."""
    return render_template("desk/overview_part.html", **_read(visit))


def _read(visit: Visit) -> Mapping[str, Any]:
    told = overview.overview(visit.runtime, visit.operator_id, whole=visit.is_steward)
    charts = (_of_days(told.days), _of_hours(told.hours))
    return {"told": told, "troubles": _troubles(visit), "charts": charts}


def _troubles(visit: Visit) -> list[Trouble]:
    """What makes `/readyz` red. People of other operators than the steward are told which check it is, and not what it
    found: that is of all."""
    found = _found_wrong(visit.runtime)
    return found if visit.is_steward else [replace(each, detail="") for each in found]


def _found_wrong(runtime: Runtime) -> list[Trouble]:
    """All who look are told the same, so it is not asked anew for each of them."""
    now, kept = runtime.clock.now(), current_app.extensions.get(KEPT)
    if kept is None or not 0 <= now - kept[0] < FRESH:
        kept = current_app.extensions[KEPT] = (now, troubles.found_wrong(runtime))
    return kept[1]


def _of_days(days: tuple[Day, ...]) -> Any:
    return beside(
        "Orphans by day",
        [f"{instant(day.start):%d %b}" for day in days],
        [
            Series("opened", "opened", [day.opened for day in days]),
            Series("closed", "closed", [day.closed for day in days]),
        ],
    )


def _of_hours(hours: tuple[Hour, ...]) -> Any:
    return stacked(
        "Transfers by hour, UTC",
        [f"{instant(hour.start):%d %b %H:00}" for hour in hours],
        [
            Series("confirmed", "confirmed", [hour.confirmed for hour in hours]),
            Series("reversed", "reversed", [hour.reversed for hour in hours]),
            Series("orphaned", "orphaned", [hour.orphaned for hour in hours]),
        ],
    )
