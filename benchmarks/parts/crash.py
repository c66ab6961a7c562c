"""SIGKILL to everything of a contestant while clients wait, then a restart; later, what is left.

The database server lives on: what is tried is the system, not PostgreSQL. Restate's server is its own database and is
killed with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.children import DidNotStart
from benchmarks.contestants import Contestant
from benchmarks.contestants.base import OPEN
from benchmarks.field import Field, Measured
from benchmarks.judge import judge
from benchmarks.parts.rates import Tell
from benchmarks.plan import CONNECTIONS, Part, Scale

RUN = "c"
WHOLE_SECONDS = 60.0
DOWN_SECONDS = 1.0


@dataclass
class Struck:
    """One contestant after its restart. `resolved_after`: seconds until it said of every transfer how it ended."""

    contestant: Contestant
    measured: Measured
    restarted_at: float
    before: set[str]
    resolved_after: float | None = None


def crash(field: Field, part: Part, scale: Scale, tell: Tell) -> dict[str, Any]:
    """Strike one after the other, each alone until it knows the end of all; then wait until each has had its time."""
    field.delay(part.delay / 1000)
    struck, absent = {}, dict(field.absent)
    for name, contestant in field.running.items():
        tell(f"{part.name}: SIGKILL to {name}")
        try:
            struck[name] = _strike(field, contestant, scale)
            tell(f"{part.name}: {name} recovers")
            _watch(struck[name], scale.crash_alone)
        except DidNotStart as refused:
            absent[name] = {"command": refused.command, "error": f"after the crash: {refused.said}"}
    verdicts = {}
    while struck:
        youngest = max(each.restarted_at for each in struck.values())
        tell(f"{part.name}: {max(0.0, youngest + scale.crash_wait - time.monotonic()):.0f} s until the last is judged")
        for name, each in list(struck.items()):
            since = _watch(each, 0)
            if since >= scale.crash_wait:
                verdicts[name] = _verdict(field, each)
                del struck[name]
        time.sleep(1)
    return {"verdicts": verdicts, "absent": absent, "wait": scale.crash_wait, "delay": part.delay}


def _strike(field: Field, contestant: Contestant, scale: Scale) -> Struck:
    before = {name for name, *_ in field.books(contestant.name)}
    load = field.begin(contestant, run=RUN, connections=CONNECTIONS, warm_seconds=0, seconds=WHOLE_SECONDS,
                       numbered=True)  # fmt: skip
    load.line()
    time.sleep(scale.crash_seconds)
    contestant.kill()
    time.sleep(DOWN_SECONDS)
    contestant.start()
    load.line()
    return Struck(contestant, field.finish(load, scale.crash_seconds), time.monotonic(), before)


def _watch(struck: Struck, seconds: float) -> float:
    """See whether it knows the end of all, again and again until so long after its restart; how long that is ago."""
    while True:
        since = time.monotonic() - struck.restarted_at
        if struck.resolved_after is None and _unresolved(struck) == 0:
            struck.resolved_after = since
        if struck.resolved_after is not None or since >= seconds:
            return since
        time.sleep(0.5)


def _unresolved(struck: Struck) -> int:
    """How many it does not know; all of them while it cannot be asked, for it has just begun to recover."""
    try:
        said = struck.contestant.said(RUN)
    except OSError:
        return len(struck.measured.told)
    return sum(said.get(number) == OPEN for number in struck.measured.told)


def _verdict(field: Field, struck: Struck) -> dict[str, Any]:
    name = struck.contestant.name
    books = [row for row in field.books(name) if row[0] not in struck.before]
    verdict = judge(struck.measured.told, struck.contestant.said(RUN), books)
    after = struck.resolved_after
    return {**verdict.as_json(), "resolved_after": None if after is None else round(after, 1)}
