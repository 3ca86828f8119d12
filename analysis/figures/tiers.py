"""Tiers of reasoning: accuracy over the words of a response, of one arm or of two.

Owns which rows of the tables of tiers make a line. Refuses to own layout (`curves`) and numbers.

    by_words(table)     # a Picture, None where no task has two tiers whose words are known
"""

from __future__ import annotations

from analysis.estimate import Estimate
from analysis.figures import curves, svg
from analysis.figures.lengths import MOST_PANELS
from analysis.figures.steps import as_estimate, line
from analysis.figures.svg import About, Picture, picture
from analysis.tables.table import Cell, Table

# Of each table: a line's label, the columns of its words and its accuracy, and its colour.
LINES = {
    "tiers": (("accuracy", "words", "score", svg.CANDIDATE),),
    "tier-pairs": (
        ("baseline", "words_baseline", "baseline", svg.BASELINE),
        ("candidate", "words_candidate", "candidate", svg.CANDIDATE),
    ),
}
Points = list[tuple[float, Estimate]]


def by_words(table: Table) -> Picture | None:
    """Draw each task's accuracy over the mean words of its tiers, with intervals."""
    panels = [
        curves.Panel(task, lines=tuple(drawn))
        for task in dict.fromkeys(map(str, table.column("task")))
        if (drawn := lines_of(table, task))
    ]
    if not panels:
        return None
    about = About(
        table.name,
        table.title,
        "For each task the accuracy over the mean words of a response, a point for each tier of "
        "reasoning, with 95% intervals. The table below has the figures.",
        "A point for each tier, with its 95% interval. Blue: the candidate, or the one run. "
        "Orange: the baseline. A line that falls to the left shows what shorter responses cost.",
    )
    return picture(about, lambda width: curves.lines(panels[:MOST_PANELS], "words", width))


def lines_of(table: Table, task: str) -> list[curves.Line]:
    """Return a task's lines of two points at least, in the order of their words."""
    tasks = list(map(str, table.column("task")))
    drawn = []
    for label, words, score, colour in LINES[table.name]:
        columns = zip(tasks, table.column(words), table.column(score), strict=True)
        points: Points = [
            (float(x), estimate)  # type: ignore[arg-type]
            for name, x, y in columns
            if name == task and is_size(x) and (estimate := as_estimate(y)) is not None
        ]
        if len(points) > 1:
            drawn.append(line(label, sorted(points, key=lambda one: one[0]), colour))
    return drawn


def is_size(value: Cell) -> bool:
    """Say whether a cell holds a number of words."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
