"""What processes cost: CPU time and memory of programs with everything that they started, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TICK = 1 / os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name: 1 is the parent, 11 to 14 the own time in user and kernel mode and that of
# children that have ended and were waited for.
PARENT, FIRST_TIME, LAST_TIME = 1, 11, 14


def family(roots: Iterable[int]) -> set[int]:
    """The processes themselves and all their descendants."""
    below = defaultdict(list)
    for pid, fields in _every():
        below[int(fields[PARENT])].append(pid)
    found, waiting = set(), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += below[pid]
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time that the families have used so far, those of members that have ended included."""
    members = family(roots)
    ticks = 0
    for pid, fields in _every():
        if pid in members:
            ticks += sum(int(each) for each in fields[FIRST_TIME : LAST_TIME + 1])
    return ticks * TICK


def memory_bytes(roots: Iterable[int]) -> int:
    """Proportional set size: a page that n processes share counts 1/n in each, so that the sum is what is in use."""
    total = 0
    for pid in family(roots):
        with suppress(OSError):
            for line in (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def _every() -> Iterable[tuple[int, list[str]]]:
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                yield int(folder.name), text.rpartition(")")[2].split()
