"""Counts of what became of what: one square of cells a task, darker where more lies.

Owns the layout. Refuses to own the counts: they come from the table of transitions.

    matrices([Matrix("gsm8k", ("right", "wrong"), ((1100, 40), (47, 132)))], ("baseline", ...), 760)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.figures import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL, TALL, LABEL, HEAD, GAP, FOOT = 74.0, 36.0, 84.0, 62.0, 40.0, 20.0
DARKEST = 0.55
SOLVED = ("right", "partly right")  # the better first; all others are equally unsolved


@dataclass(frozen=True)
class Matrix:
    """One task: `counts[row][column]`, rows are the baseline's outcome, columns the candidate's."""

    title: str
    outcomes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def matrices(all_of: Sequence[Matrix], width: float) -> Figure:
    """Draw the squares, as many in a line as fit."""
    size = len(all_of[0].outcomes)
    cell = min(CELL, (width - LABEL - 4) / size) if width < LABEL + CELL * size else CELL
    each, tall = LABEL + cell * size, HEAD + TALL * size + FOOT
    columns = max(1, min(len(all_of), int((width + GAP) // (each + GAP))))
    figure = svg.canvas(width, math.ceil(len(all_of) / columns) * tall)
    for number, one in enumerate(all_of):
        left, top = (number % columns) * (each + GAP), (number // columns) * tall
        square(figure, one, (left, top), cell)
    return figure


def square(figure: Figure, one: Matrix, place: tuple[float, float], cell: float) -> None:
    """Draw one task's cells with their counts."""
    left, top = place
    size = len(one.outcomes)
    svg.write(figure, left, top + 10, svg.shortened(one.title, 34), fontweight="bold")
    middle = left + LABEL + cell * size / 2
    small = {"fontsize": svg.SMALL, "color": svg.MUTED}
    svg.write(figure, middle, top + 30, "candidate", ha="center", **small)
    svg.write(figure, left, top + 48, "baseline", **small)
    most = max((count for row in one.counts for count in row), default=0)
    axes = svg.panel(figure, svg.Box(left + LABEL, top + HEAD, cell * size, TALL * size))
    axes.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)
    for row, outcome in enumerate(one.outcomes):
        svg.write(figure, left, top + HEAD + TALL * (row + 0.5), outcome, fontsize=svg.SMALL)
        x = left + LABEL + cell * (row + 0.5)
        svg.write(figure, x, top + 48, outcome, ha="center", fontsize=min(svg.SMALL, cell / 5.6))
        for column, count in enumerate(one.counts[row]):
            colour = tone(one.outcomes[row], one.outcomes[column])
            alpha = DARKEST * math.sqrt(count / most) if most else 0.0
            axes.fill_between(
                [column + 0.03, column + 0.97], row + 0.04, row + 0.96, color=colour, alpha=alpha,
                linewidth=0,
            )  # fmt: skip
            axes.text(
                column + 0.5, row + 0.5, f"{count:,}", ha="center", va="center", color=svg.INK
            )


def tone(baseline: str, candidate: str) -> str:
    """Return the colour of the arm that came out better; nothing but right and partly counts."""
    ranks = [SOLVED.index(one) if one in SOLVED else len(SOLVED) for one in (baseline, candidate)]
    if ranks[0] == ranks[1]:
        return svg.MUTED
    return svg.CANDIDATE if ranks[1] < ranks[0] else svg.BASELINE
