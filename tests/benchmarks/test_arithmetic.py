"""The sums behind the printed figures."""

from __future__ import annotations

import pytest

from benchmarks.arithmetic import percentile, ratio, spread


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7], 50, 7),
        ([7], 99, 7),
        ([3, 1, 2], 50, 2),  # the second of three: ceil(1.5)
        ([4, 3, 2, 1], 50, 2),  # two of four do not exceed it
        (list(range(1, 101)), 99, 99),
        (list(range(1, 1001)), 99, 990),
        (list(range(1, 101)), 100, 100),
        ([1] * 98 + [500, 900], 99, 500),  # the worst one of a hundred is beyond the 99th
    ],
)
def test_a_percentile_is_a_measured_value(values, percent, expected):
    """Nearest rank: the smallest value that so many do not exceed, whatever the order."""
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], 0), ([1], 101)])
def test_there_is_no_percentile_of_nothing(values, percent):
    """And no zeroth one."""
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_a_ratio_is_taken_within_each_round():
    """A round in which the whole machine was slow changes both, and no ratio: the ratio of medians would be 0.5."""
    assert ratio([10, 50, 60], [20, 100, 60]) == 0.5
    assert ratio([1, 9, 9], [10, 10, 90]) == 0.1
    assert ratio([1, 2, 3], [0, 2, 3]) == 1  # a round in which the other one did nothing


def test_rounds_that_are_not_paired_have_no_ratio():
    """One of ours without one of theirs says nothing."""
    with pytest.raises(ValueError, match="not paired"):
        ratio([1, 2], [1])
    with pytest.raises(ValueError, match="not paired"):
        ratio([], [])


def test_the_spread_is_half_of_the_range():
    """As a share of the median."""
    assert spread([90, 100, 120]) == pytest.approx(0.15)
    assert spread([5]) == 0
    assert spread([0, 0]) == 0
