"""How long completions are, and what a budget buys: small panels side by side.

Owns the layout of the panels. Refuses to own the numbers: a distribution is drawn from the items as
they are, a line from a table's rows.

    distributions([Panel("gsm8k", (Series("baseline", lengths, svg.BASELINE),))], "tokens", 760)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.figures import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

PANEL, TITLE, AXIS, GAP, LEFT = 150.0, 28.0, 46.0, 30.0, 44.0
N_ROOM, LETTER = 84.0, 7.6  # what the number of completions takes, and a letter of a title
COLUMNS = 3
MOST_STEPS = 400  # of one curve
WIDE_RANGE = 30.0  # a longest completion that many times the shortest asks for a logarithmic axis
MIDDLE = 500.0


@dataclass(frozen=True)
class Series:
    """The values of one curve; `dashed` tells two curves of one colour apart."""

    label: str
    values: Sequence[float]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Line:
    """A line through points, with the interval of each; an unknown one is NaN."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str


@dataclass(frozen=True)
class Panel:
    """One task's curves."""

    title: str
    series: tuple[Series, ...] = ()
    lines: tuple[Line, ...] = ()
    n: str = ""  # how many stand behind them, in words


def grid(panels: Sequence[Panel], axis: str, width: float) -> tuple[Figure, list[Axes]]:
    """Return a drawing with the axes of every panel, its title above it."""
    columns = 1 if width < MIDDLE else min(COLUMNS, len(panels))
    tall = PANEL + (50.0 if columns == 1 and width > MIDDLE else 0.0)
    n_rows = math.ceil(len(panels) / columns)
    figure = svg.canvas(width, n_rows * (TITLE + tall + AXIS))
    each = (width - GAP * (columns - 1)) / columns
    made = []
    for number, one in enumerate(panels):
        left = (number % columns) * (each + GAP)
        top = (number // columns) * (TITLE + tall + AXIS)
        room = each - (N_ROOM if one.n else 0.0)
        title = svg.shortened(one.title, min(32, int(room / LETTER)))
        svg.write(figure, left, top + 10, title, fontweight="bold")
        small = {"ha": "right", "fontsize": svg.SMALL, "color": svg.MUTED}
        svg.write(figure, left + each - 8, top + 10, one.n, **small)
        axes = svg.panel(figure, svg.Box(left + LEFT, top + TITLE, each - LEFT - 8, tall))
        axes.grid(color=svg.RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(axis, color=svg.MUTED, fontsize=svg.SMALL, labelpad=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
        made.append(axes)
    return figure, made


def distributions(panels: Sequence[Panel], axis: str, width: float) -> Figure:
    """Draw for each panel the share of completions that are at most so long."""
    figure, made = grid(panels, axis, width)
    for axes, one in zip(made, panels, strict=True):
        values = [value for series in one.series for value in series.values]
        set_scale(axes, values)
        for series in one.series:
            if len(series.values):
                style = "--" if series.dashed else "-"
                x, y = steps_of(series.values)
                axes.step(x, y, where="post", color=series.colour, lw=1.8, linestyle=style)
        axes.set_ylim(0, 1.02)
        axes.set_yticks([0, 0.5, 1])
    return figure


def steps_of(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the points of the curve: each value with the share of values up to it.

    Of more than MOST_STEPS values those at as many even ranks are drawn, the first and the last
    among them: the curve is the same to the eye, and a page does not grow with the data.
    """
    ordered = sorted(values)
    n = len(ordered)
    ranks: Sequence[int] = range(n)
    if n > MOST_STEPS:
        ranks = [round(i * (n - 1) / (MOST_STEPS - 1)) for i in range(MOST_STEPS)]
    return [ordered[0], *(ordered[i] for i in ranks)], [0.0, *((i + 1) / n for i in ranks)]


def lines(panels: Sequence[Panel], axis: str, width: float) -> Figure:
    """Draw for each panel lines with the intervals of their points."""
    figure, made = grid(panels, axis, width)
    for axes, one in zip(made, panels, strict=True):
        set_scale(axes, [x for line in one.lines for x in line.x])
        for line in one.lines:
            axes.fill_between(line.x, line.low, line.high, color=line.colour, alpha=0.15, lw=0)
            axes.plot(line.x, line.y, color=line.colour, linewidth=1.8, marker="o", markersize=4)
        axes.set_ylim(bottom=0)
    return figure


def set_scale(axes: Axes, values: Sequence[float]) -> None:
    """Choose the scale of lengths and write its ticks shortly."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > WIDE_RANGE * min(positive):
        axes.set_xscale("log")
        axes.set_xlim(min(positive) * 0.9, max(positive) * 1.1)
        axes.xaxis.set_major_locator(log_steps(max(positive) / min(positive)))
        axes.xaxis.minorticks_off()
    else:
        axes.set_xlim(0, max(positive, default=1.0) * 1.05)
        axes.xaxis.set_major_locator(few())
    axes.xaxis.set_major_formatter(lambda value, _: short(value))


def log_steps(spread: float) -> Locator:
    """Return a chooser of the powers of ten, or of 1, 2, 5, 10 where they span little."""
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0) if spread < 500 else (1.0,), numticks=8)


def few() -> Locator:
    """Return a chooser of a few round ticks."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, steps=[1, 2, 5, 10])


def short(value: float) -> str:
    """Return a size as 800, 2k or 1.5M."""
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{sign}"
    return f"{value:.3g}"
