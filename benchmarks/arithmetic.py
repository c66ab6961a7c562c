"""The few sums that turn raw figures into printed ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed (nearest rank).

    No value between two measured ones is made up. Raises ValueError where there is none, or no such percentage.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"the {percent}th percentile of {len(values)} values")
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def spread(values: Sequence[float]) -> float:
    """Half of the distance from the smallest to the largest, as a share of the median: 0.05 is ± 5 %."""
    middle = median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios round by round: what slows the machine down for a round slows both. Infinite where the
    other one did nothing.

    Raises ValueError unless there are as many of the one as of the other, and any.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds of the one and {len(theirs)} of the other are not paired")
    return median(one / other if other else math.inf for one, other in zip(ours, theirs, strict=True))
