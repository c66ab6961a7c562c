"""The page and its pictures are made from stored figures alone."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from benchmarks import page
from benchmarks.contestants import FIELD
from benchmarks.figures import Figures, closing_line
from benchmarks.parts.rates import COMMON, HALF, turns
from benchmarks.pictures import Bar, Group, bars
from benchmarks.plan import CRASH, GROWTH, LATENCY, QUICK, THROUGHPUT, parts

RUN = {"scale": "quick", "commit": "abc", "machine": {"processor": "2 × wood"}, "versions": {"granian": "1.0"}}
SVG = "{http://www.w3.org/2000/svg}"


def round_of(per_second):
    """One round's figures."""
    return {"per_second": per_second, "cpu_millis": 2.5, "memory_mib": 100, "answers": {"confirmed": 9}, "odd": "",
            "times": {"p50": 22.0, "p90": 25.0, "p99": 31.5}, "rate": per_second / 2}  # fmt: skip


@pytest.fixture
def figures(tmp_path):
    """A whole quick run in which Restate did not start."""
    found = Figures(tmp_path / "figures", RUN)
    absent = {"restate": {"command": "restate-server --no-logo", "error": "no such program"}}
    verdict = {"asked_for": 500, "executed": 500, "unanswered": 32, "lost": 0, "doubled": 0, "unresolved": 3,
               "sent_again": 4, "resolved_after": None}  # fmt: skip
    for part in parts(QUICK):
        present = [name for name in FIELD[part.database] if name != "restate"]
        each = {name: [round_of(100 * place), round_of(120 * place)] for place, name in enumerate(present, 1)}
        found.keep(
            part.name,
            {
                THROUGHPUT: {
                    "rounds": each,
                    "absent": absent,
                    "settings": {"fsync": "on"},
                    "workers": 1,
                    "threads": 32,
                },
                LATENCY: {"rounds": {HALF: each, COMMON: each}, "absent": absent},
                CRASH: {"verdicts": dict.fromkeys(present, verdict), "absent": absent},
                GROWTH: {
                    "rounds": {"small": [round_of(100)], "large": [round_of(95)]},
                    "latency": {"small": [round_of(100)], "large": [round_of(95)]},
                    "sizes": {"small": 1_000, "large": 50_000},
                    "filled": {"small": {"bytes": 1 << 24}, "large": {"bytes": 1 << 30}},
                    "verify_seconds": {"small": 0.3, "large": None},
                },
            }[part.kind],
        )
    return found


def test_the_page_tells_what_was_stored(figures, tmp_path):
    """Tables, the closing line, the machine, and who could not start, with its command and its error."""
    text = page.write(figures, QUICK, tmp_path / "docs").read_text(encoding="utf-8")
    assert closing_line(figures) in text
    assert "2 × wood" in text
    assert "| bridge | 110 ± 9% | 0.50 | 2.50 ± 0% | 1.00 | 100 | 0 |" in text
    assert "| floor | 220 ± 9% | 1 | 2.50 ± 0% | 1 | 100 | 0 |" in text
    assert "| bridge | 50/s | 2.0 | 11.5 | 2.0 | 11.5 | 0 |" in text  # what is added to the provider's 20 ms
    assert "| bridge | 500 | 32 | 0 | 0 | 3 | 4 | never |" in text
    assert "| 50,000 | 1.00 GiB | 95 ± 0% | 2.50 ± 0% | 22.0 | 31.5 | more than an hour |" in text
    assert "$ restate-server --no-logo\nno such program" in text


def test_every_picture_of_the_page_is_there_and_is_svg(figures, tmp_path):
    """Whole XML, with colours for the dark as well."""
    text = page.write(figures, QUICK, tmp_path / "docs").read_text(encoding="utf-8")
    linked = {piece.split(")")[0] for piece in text.split("(benchmarks/")[1:]}
    assert {name for name in linked if name.endswith(".svg")} == {
        f"{kind}.svg" for kind in ("growth", *(f"{k}-{d}" for k in ("throughput", "cpu", "latency") for d in FIELD))
    }
    for name in linked:
        drawn = (tmp_path / "docs" / "benchmarks" / name).read_text(encoding="utf-8")
        if name.endswith(".svg"):
            assert ET.fromstring(drawn).tag == f"{SVG}svg"  # noqa: S314 - written a line before
            assert "prefers-color-scheme: dark" in drawn


def test_bars_are_as_long_as_their_values():
    """On one scale for the whole picture; a label may hold any character."""
    drawn = bars("t", "u", [Group("g", [Bar("a & b", 50, 40, 60, ours=True), Bar("c", 100, 90, 110, ours=False)])])
    ours, others = ET.fromstring(drawn).findall(f"{SVG}rect")  # noqa: S314 - our own
    assert (ours.get("class"), others.get("class")) == ("ours", "others")
    assert float(others.get("width")) == pytest.approx(2 * float(ours.get("width")), abs=0.2)


def test_everybody_has_a_turn_in_every_round_and_nobody_always_the_same_neighbour():
    """Interleaved; whom somebody follows within a round, it follows once."""
    names = ["a", "b", "c", "d", "e", "f"]
    found = list(turns(names, 5))
    rounds = [[name for number, name in found if number == each] for each in range(5)]
    assert all(sorted(order) == names for order in rounds)
    followed = [pair for order in rounds for pair in pairwise(order)]
    assert len(set(followed)) == len(followed)
