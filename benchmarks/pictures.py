"""Bars as SVG, written by hand: no library, legible in light and dark, one hue for us and one for everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 760, 190, 110
ROW, GAP, TOP = 22, 16, 46

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .group { font-weight: 600 }
  .figure, .unit { fill: #59636e }
  .ours { fill: #0969da } .others { fill: #8c959f } .whisker { stroke: #1f2328; stroke-width: 1.2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .figure, .unit { fill: #9198a1 }
    .ours { fill: #4493f8 } .others { fill: #6e7681 } .whisker { stroke: #e6edf3 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One bar: `low` and `high` are the ends of its whisker."""

    label: str
    value: float
    low: float
    high: float
    ours: bool


@dataclass(frozen=True)
class Group:
    """Bars under one heading, on the scale of the whole picture."""

    heading: str
    bars: Sequence[Bar]


def bars(title: str, unit: str, groups: Sequence[Group], digits: int = 0) -> str:
    """A picture of horizontal bars, the longest one as wide as there is room."""
    longest = max((max(bar.value, bar.high) for group in groups for bar in group.bars), default=1) or 1
    scale = (WIDTH - LEFT - RIGHT) / longest
    drawn, y = [], TOP
    for group in groups:
        drawn.append(f'<text class="group" x="8" y="{y + 14}">{escape(group.heading)}</text>')
        y += ROW
        for bar in group.bars:
            drawn += _bar(bar, y, scale, digits)
            y += ROW
        y += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img" '
        f'aria-label="{escape(title, quote=True)}">'
    )
    return "\n".join(
        (
            head,
            f"<style>{STYLE}</style>",
            f'<text class="title" x="8" y="22">{escape(title)}</text>',
            f'<text class="unit" x="{WIDTH - 8}" y="22" text-anchor="end">{escape(unit)}</text>',
            *drawn,
            "</svg>",
            "",
        )
    )


def _bar(bar: Bar, y: int, scale: float, digits: int) -> list[str]:
    kind, middle = "ours" if bar.ours else "others", y + ROW / 2
    low, high = LEFT + bar.low * scale, LEFT + bar.high * scale
    figure_at = LEFT + max(bar.value, bar.high) * scale + 8
    return [
        f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{max(1.0, bar.value * scale):.1f}" height="{ROW - 6}"/>',
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>',
        f'<text class="figure" x="{figure_at:.1f}" y="{middle + 4}">{bar.value:,.{digits}f}</text>',
    ]
