"""Bars: their geometry is worked out here, the macro `chart` draws them as SVG; no script, no style, nothing loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600.0, 120.0
"""Units of the picture; it is stretched to the room that it is given."""

GAP = 0.2
"""Share of a step that stays empty between two bars."""

LEAST = 2.0
"""A bar of anything at all is so high: one of a thousand is to be seen."""


@dataclass(frozen=True)
class Bar:
    """One bar: where it stands, which series it is of (a class of desk.css), and what is told when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    series: str
    title: str


@dataclass(frozen=True)
class Series:
    """One kind of bar: its class, its word in the legend, its values from left to right."""

    name: str
    word: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.values)


@dataclass(frozen=True)
class Chart:
    """A picture with its words: `label` says what is to be seen, for whoever does not see it."""

    title: str
    label: str
    first: str
    last: str
    top: int
    bars: tuple[Bar, ...]
    series: tuple[Series, ...]
    steps: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return self.top == 0


def beside(title: str, steps: Sequence[str], series: Sequence[Series]) -> Chart:
    """The series beside each other at each step."""
    top = max((value for each in series for value in each.values), default=0)
    step = WIDTH / max(1, len(steps))
    width = step * (1 - GAP) / max(1, len(series))
    bars = []
    for place, name in enumerate(steps):
        for order, each in enumerate(series):
            value = each.values[place]
            height = _height(value, top)
            x = place * step + step * GAP / 2 + order * width
            bars.append(Bar(x, HEIGHT - height, width, height, each.name, f"{name}: {value} {each.word}"))
    return _chart(title, steps, series, top, bars)


def stacked(title: str, steps: Sequence[str], series: Sequence[Series]) -> Chart:
    """The series on top of each other at each step, the first one at the bottom."""
    tops = [sum(each.values[place] for each in series) for place in range(len(steps))]
    top = max(tops, default=0)
    step = WIDTH / max(1, len(steps))
    bars = []
    for place, name in enumerate(steps):
        floor = HEIGHT
        for each in series:
            value = each.values[place]
            height = min(floor, _height(value, top))
            floor -= height
            x = place * step + step * GAP / 2
            bars.append(Bar(x, floor, step * (1 - GAP), height, each.name, f"{name}: {value} {each.word}"))
    return _chart(title, steps, series, top, bars)


def _height(value: int, top: int) -> float:
    return max(LEAST, HEIGHT * value / top) if value else 0.0


def _chart(title: str, steps: Sequence[str], series: Sequence[Series], top: int, bars: Sequence[Bar]) -> Chart:
    totals = ", ".join(f"{each.total} {each.word}" for each in series)
    label = f"{title}, from {steps[0]} to {steps[-1]}: {totals}; the highest bar is {top}."
    drawn = tuple(bar for bar in bars if bar.height)
    return Chart(title, label, steps[0], steps[-1], top, drawn, tuple(series), tuple(steps))
