"""Rows of estimates with their intervals on one axis: forest plots and scores side by side.

Owns their layout, wide and narrow. Refuses to own the numbers: rows come with estimates ready.

    intervals(Chart("points", zero=True), [Row("gsm8k", (Mark(difference),), "+0.5 [-1.1, +2.2]")])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.estimate import Estimate
from analysis.figures import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

LABELS, VALUES = 0.33, 0.2  # shares of a wide figure for names and figures in words
ROW, TALL_ROW, HEADING, EDGE = 32.0, 48.0, 34.0, 38.0
MIDDLE = 500.0  # wider than this is wide
ON_LINES = {"facecolor": svg.PAPER, "edgecolor": "none", "pad": 1.5}


@dataclass(frozen=True)
class Mark:
    """One estimate: whose colour it has, and whether its dot is filled."""

    estimate: Estimate
    colour: str = svg.INK
    filled: bool = True


@dataclass(frozen=True)
class Row:
    """A line of the figure; one without marks and values is a heading of those below."""

    label: str
    marks: tuple[Mark, ...] = ()
    values: str = ""
    n: int | None = None  # the questions behind it
    reach: float = math.nan  # half the width of a pale band around 0: what could not be shown


@dataclass(frozen=True)
class Chart:
    """The axis: what it measures, how a tick is written, whether 0 has a line and must be seen."""

    axis: str
    tick: Callable[[float], str]
    zero: bool = False
    ends: tuple[float, float] = (-math.inf, math.inf)  # beyond these there is nothing


def percent_tick(value: float) -> str:
    """Return a share as percent."""
    return f"{100 * value:.0f}"


def points_tick(value: float) -> str:
    """Return a difference of shares in points, signed."""
    return "0" if abs(value) < 1e-9 else f"{100 * value:+.4g}".replace("-", "\N{MINUS SIGN}")


def intervals(chart: Chart, rows: Sequence[Row], width: float) -> Figure:
    """Draw the rows, names at the left and values at the right, or above the marks on a phone."""
    wide = width > MIDDLE
    heights = [row_height(row, wide) for row in rows]
    figure = svg.canvas(width, sum(heights) + EDGE)
    left, right = (LABELS * width, VALUES * width) if wide else (6.0, 6.0)
    axes = svg.panel(figure, svg.Box(left, 0, width - left - right, sum(heights)))
    axes.set_ylim(sum(heights), 0)
    axes.set_yticks([])
    set_limits(axes, chart, rows)
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        centre = top + (height / 2 if wide else height * 0.66)
        put_label(figure, row, (top, height), wide)
        draw_marks(axes, row, centre)
        top += height
    if chart.zero:
        axes.axvline(0, color=svg.INK, linewidth=1, zorder=1)
    axes.set_xlabel(chart.axis, color=svg.MUTED, fontsize=svg.SMALL, labelpad=3)
    return figure


def row_height(row: Row, wide: bool) -> float:
    """Return how tall a row is."""
    if not row.marks:
        return HEADING
    return (ROW if wide else TALL_ROW) + 6.0 * (len(row.marks) - 1)


def set_limits(axes: Axes, chart: Chart, rows: Sequence[Row]) -> None:
    """Choose the axis so that every interval is seen, and a band as far as they reach."""
    seen = [0.0] if chart.zero else []
    for row in rows:
        for mark in row.marks:
            known = (mark.estimate.value, mark.estimate.low, mark.estimate.high)
            seen += [value for value in known if math.isfinite(value)]
    seen += [end for row in rows for end in (-row.reach, row.reach) if abs(end) <= widest(seen)]
    low, high = min(seen, default=0.0), max(seen, default=1.0)
    pad = 0.06 * (high - low) or 0.05
    axes.set_xlim(max(low - pad, chart.ends[0]), min(high + pad, chart.ends[1]))
    axes.xaxis.set_major_locator(steps())
    axes.xaxis.set_major_formatter(lambda value, _: chart.tick(value))
    axes.grid(axis="x", color=svg.RULE, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)


def widest(seen: Sequence[float]) -> float:
    """Return how far a band may widen the axis: twice as far as the intervals reach."""
    return 2 * max(map(abs, seen), default=0.0)


def steps() -> Locator:
    """Return a chooser of a few round ticks."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6, steps=[1, 2, 5, 10])


def put_label(figure: Figure, row: Row, place: tuple[float, float], wide: bool) -> None:
    """Write a row's name and its values."""
    top, height = place
    width = 72 * figure.get_size_inches()[0]
    if not row.marks:
        heading = svg.shortened(row.label, 60 if wide else 40)
        svg.write(figure, 0, top + height * 0.6, heading, fontweight="bold", bbox=ON_LINES)
        return
    y = top + height / 2 if wide else top + 12
    ground = {} if wide else {"bbox": ON_LINES}  # there the lines of the axis run behind the text
    svg.write(
        figure, 0, y, svg.shortened(row.label, 24 if row.n is not None and wide else 28), **ground
    )
    svg.write(figure, width, y, row.values, ha="right", fontsize=svg.SMALL, **ground)
    if row.n is not None and wide:
        small = {"ha": "right", "fontsize": svg.SMALL, "color": svg.MUTED}
        svg.write(figure, LABELS * width - 14, y, f"n = {row.n:,}", **small)


def draw_marks(axes: Axes, row: Row, centre: float) -> None:
    """Draw a row's band, intervals and dots; several marks stand one above the other."""
    if math.isfinite(row.reach):
        low, high = axes.get_xlim()
        ends = max(-row.reach, low), min(row.reach, high)
        axes.fill_betweenx([centre - 8, centre + 8], *ends, color=svg.BAND, linewidth=0, zorder=0.5)
    for number, mark in enumerate(row.marks):
        y = centre + 9.0 * (number - (len(row.marks) - 1) / 2)
        known = mark.estimate
        if not known.defined:
            continue
        if math.isfinite(known.low) and math.isfinite(known.high):
            axes.plot([known.low, known.high], [y, y], color=mark.colour, linewidth=1.8, zorder=2)
        axes.plot(
            [known.value],
            [y],
            color=mark.colour,
            marker="o",
            markersize=6.5,
            markeredgewidth=1.6,
            markeredgecolor=mark.colour,
            markerfacecolor=mark.colour if mark.filled else svg.PAPER,
            clip_on=False,
            zorder=3,
        )
