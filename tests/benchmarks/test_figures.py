"""What is stored, what a second start goes on with, and the closing line made of it."""

from __future__ import annotations

import pytest

from benchmarks.figures import Figures, closing_line

RUN = {"scale": "full", "commit": "abc", "machine": {"memory": "1 GiB"}}


def rounds(*pairs):
    """Throughput and cost, round by round."""
    return [{"per_second": per_second, "cpu_millis": millis} for per_second, millis in pairs]


def test_a_run_that_was_cut_short_goes_on(tmp_path):
    """The same run finds what it has finished, and only that."""
    Figures(tmp_path / "f", RUN).keep("throughput-sqlite-0ms", {"rounds": {}})
    again = Figures(tmp_path / "f", RUN)
    assert again.has("throughput-sqlite-0ms")
    assert not again.has("throughput-sqlite-20ms")
    assert again.read("throughput-sqlite-20ms") == {}


@pytest.mark.parametrize("other", [{"commit": "def"}, {"scale": "quick"}, {"machine": {"memory": "2 GiB"}}])
def test_figures_of_other_code_or_another_machine_are_not_gone_on_with(tmp_path, other):
    """They would be mixed with what is measured now."""
    Figures(tmp_path / "f", RUN).keep("crash-sqlite", {"verdicts": {}})
    assert not Figures(tmp_path / "f", {**RUN, **other}).has("crash-sqlite")


def test_a_complete_run_is_begun_anew(tmp_path):
    """A start after the end measures again, and does not print old figures as if it had."""
    figures = Figures(tmp_path / "f", RUN)
    figures.keep("crash-sqlite", {"verdicts": {}})
    figures.complete()
    assert figures.run["complete"]
    assert not Figures(tmp_path / "f", RUN).has("crash-sqlite")


def test_fresh_begins_anew(tmp_path):
    """Also where the run could go on."""
    Figures(tmp_path / "f", RUN).keep("crash-sqlite", {"verdicts": {}})
    assert not Figures(tmp_path / "f", RUN, fresh=True).has("crash-sqlite")


def test_a_part_is_there_whole_or_not_at_all(tmp_path):
    """What cannot be written leaves no file that would pass for a finished part."""
    figures = Figures(tmp_path / "f", RUN)
    with pytest.raises(TypeError):
        figures.keep("crash-sqlite", {"verdicts": object()})
    assert not Figures(tmp_path / "f", RUN).has("crash-sqlite")


def test_the_closing_line_is_made_of_what_is_stored(tmp_path):
    """Exactly this form, for scripts read it; medians of the ratios within rounds."""
    figures = Figures(tmp_path / "f", RUN)
    figures.keep(
        "throughput-postgresql-0ms",
        {
            "rounds": {
                "bridge": rounds((600, 1.5), (300, 1.6), (650, 1.5)),
                "floor": rounds((1000, 1.0), (500, 1.0), (1000, 1.0)),
                "dbos": rounds((100, 9.0), (60, 9.0), (100, 9.0)),
            }
        },
    )
    figures.keep(
        "throughput-sqlite-0ms", {"rounds": {"bridge": rounds((400, 2.0)), "floor": rounds((800, 1.0)), "dbos": []}}
    )
    assert closing_line(figures) == (
        "postgresql: bridge/floor=0.60 cpu/floor=1.50 bridge/dbos=6.00 | "
        "sqlite: bridge/floor=0.50 cpu/floor=2.00 bridge/dbos=unknown"
    )


def test_a_peer_that_did_not_start_makes_no_figure(tmp_path):
    """Nor does a part that was not measured."""
    unknown = "bridge/floor=unknown cpu/floor=unknown bridge/dbos=unknown"
    assert closing_line(Figures(tmp_path / "f", RUN)) == f"postgresql: {unknown} | sqlite: {unknown}"
