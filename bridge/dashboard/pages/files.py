"""Files for a spreadsheet, as people take them away."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response

from bridge.dashboard.entrance import Visit
from bridge.dashboard.pages import asked
from bridge.desk import exports
from bridge.views import sheet


def taken(visit: Visit, noted: str, name: str, lines: Iterable[str]) -> Response:
    """A file under this name; that it was taken, and of what was asked for, is `noted` before its first line is read.
    Raises Unauthorized."""
    exports.begin(visit.runtime, visit.sitting, noted, asked.again())
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(lines, content_type=sheet.CONTENT_TYPE, headers=headers)
