"""The queue of orphans, what is unknown and what is pending; and the queue as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template

from bridge.dashboard.entrance import EVERYBODY, Page, Visit, allowed
from bridge.dashboard.pages import asked, files
from bridge.desk.rows import PROPOSERS
from bridge.views import orphans, sheet
from bridge.views.orphans import Stage, Wanted
from bridge.views.words import why

room = Blueprint("orphans", __name__, url_prefix="/ops")

AGES = (("3600", "an hour"), ("86400", "a day"), ("604800", "a week"), ("2592000", "30 days"))
"""What can be chosen as age: seconds and words."""

PROPOSED = (("yes", "waits"), ("no", "none"))

LONGEST_AGE = 100 * 366 * 86_400
MOST_PAGES = orphans.FURTHEST


@room.get("/orphans")
@allowed(*EVERYBODY)
def show(visit: Visit) -> Page:
    """The page."""
    return render_template("desk/orphans.html", **_read(visit))


@room.get("/orphans/part")
@allowed(*EVERYBODY)
def part(visit: Visit) -> Page:
    """The list alone."""
    return render_template("desk/orphans_part.html", **_read(visit))


@room.get("/orphans.csv")
@allowed(*EVERYBODY)
def export(visit: Visit) -> Page:
    """The whole list as a file for a spreadsheet; that it was taken is written down."""
    wanted = _wanted()
    lines = sheet.lines(visit.runtime, visit.operator_id, wanted)
    return files.taken(visit, "orphans.csv", f"{wanted.stage.value}.csv", lines)


def _read(visit: Visit) -> Mapping[str, Any]:
    wanted = _wanted()
    page, at = asked.number("page", 1, MOST_PAGES) or 1, asked.number("at", 0, 2**62)
    queue = orphans.queue(visit.runtime, visit.operator_id, wanted, page, at)
    return {
        "queue": queue,
        "wanted": wanted,
        "fields": _fields(queue.choices),
        "stages": tuple(Stage),
        "again": asked.again,
        "may_propose": visit.person.role in PROPOSERS and wanted.stage is Stage.ORPHANED,
    }


@dataclass(frozen=True)
class Field:
    """A field in which one of `options`, each a value and its words, can be chosen."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    chosen: str


def _fields(choices: orphans.Choices) -> list[Field]:
    """What can be filtered by; what is asked for stays to be seen although nothing has it any more."""
    offered = {
        "provider": ("Provider", tuple((name, name) for name in choices.providers)),
        "currency": ("Currency", tuple((code, code) for code in choices.currencies)),
        "reason": ("Reason", tuple((code, why(code)) for code in choices.reasons)),
        "older": ("Older than", AGES),
        "proposed": ("Proposal", PROPOSED),
    }
    fields = []
    for name, (label, options) in offered.items():
        chosen = asked.word(name) or ""
        known = chosen in ("", *(value for value, _ in options))
        fields.append(Field(name, label, options if known else (*options, (chosen, chosen)), chosen))
    return fields


def _wanted() -> Wanted:
    return Wanted(
        stage=asked.choice("stage", Stage, Stage.ORPHANED),
        provider=asked.word("provider"),
        currency=asked.word("currency"),
        player=asked.word("player"),
        reason=asked.word("reason"),
        older_than=asked.number("older", 0, LONGEST_AGE),
        proposed=asked.flag("proposed"),
        word=asked.word("word"),
    )
