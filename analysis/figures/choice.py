"""Which figure stands beside which table, and what is said of it.

Owns the way from a table's columns, or from the comparison, to the rows of a drawing. Refuses to
own layout (`intervals`, `matrix`), lengths (`lengths`) and numbers (`tables`, `stats`).

    pictures("scorecard", table, comparison)     # one Picture, or [] where words say it better
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING

from analysis.compare import ALPHA, HIGHER, LOWER
from analysis.estimate import Estimate
from analysis.figures import lengths, svg
from analysis.figures.intervals import (
    Chart,
    Mark,
    Row,
    intervals,
    percent_tick,
    points_tick,
)
from analysis.figures.matrix import Matrix, matrices
from analysis.figures.svg import About, Picture, picture
from analysis.render import cells
from analysis.tables.table import Cell, Kind, Table
from analysis.tables.truncation import AS_REPORTED

if TYPE_CHECKING:
    from analysis.compare import Comparison

MOST_ROWS = 40
FOUND = {HIGHER: svg.CANDIDATE, LOWER: svg.BASELINE}
POINTS = Chart("candidate minus baseline, points", points_tick, zero=True, ends=(-1.0, 1.0))
SCORE = Chart("score, %", percent_tick, ends=(0.0, 1.0))


def forest(comparison: Comparison, overall: Estimate) -> Picture:
    """Return the forest plot of the paired differences, `overall` below several tasks."""
    rows = [
        Row(
            label=task.task,
            marks=(Mark(task.difference, FOUND.get(task.finding, svg.INK)),),
            values=cells.text(task.difference, Kind.POINTS),
            n=task.n_pairs,
            reach=task.detectable.value,
        )
        for task in comparison.tasks[:MOST_ROWS]
    ]
    if len(comparison.tasks) > 1 and overall.defined:
        mean = Mark(overall, svg.INK, filled=False)
        rows.append(Row("mean of tasks", (mean,), cells.text(overall, Kind.POINTS)))
    said = [f"{row.label} {row.values}" for row in rows]
    about = About(
        "forest",
        "Candidate minus baseline, paired, with 95% intervals",
        f"One line a task, in percentage points: {'; '.join(said)}.",
        "Blue where the candidate is shown to be higher, orange where it is lower (Holm's p below "
        "0.05), neither where no difference is shown. The pale band holds the differences that "
        "so many questions show with less than 80% power." + left_out(comparison.tasks, MOST_ROWS),
    )
    return picture(about, lambda width: intervals(POINTS, rows, width))


def left_out(of: Sized, most: int) -> str:
    """Say that a figure shows the first of many only."""
    return f" The first {most} of {len(of)}." if len(of) > most else ""


def pictures(name: str, table: Table, comparison: Comparison) -> list[Picture]:
    """Return the figures of a table."""
    draw = DRAWN.get(name)
    made = draw(table, comparison) if draw else None
    return [made] if made else []


def scores(table: Table, comparison: Comparison) -> Picture:
    """Draw both arms' scores with their intervals."""
    rows = [
        Row(
            label=task.task,
            marks=(
                Mark(task.baseline.score, svg.BASELINE, filled=False),
                Mark(task.candidate.score, svg.CANDIDATE),
            ),
            values=" \N{RIGHTWARDS ARROW} ".join(
                cells.text(arm.score.value, Kind.PERCENT) for arm in (task.baseline, task.candidate)
            ),
            n=task.n_pairs,
        )
        for task in comparison.tasks[:MOST_ROWS]
    ]
    about = About(
        table.name,
        "Scores of both arms with 95% intervals",
        "; ".join(f"{row.label}: {row.values} percent" for row in rows) + ".",
        "Open: baseline. Filled: candidate. Intervals that overlap say little about a paired "
        "difference: read the figure above for that." + left_out(comparison.tasks, MOST_ROWS),
    )
    return picture(about, lambda width: intervals(SCORE, rows, width))


def groups(table: Table, comparison: Comparison) -> Picture | None:
    """Draw the difference in each group, the groups of one tag below its heading."""
    del comparison
    columns = ("task", "by", "group", "n", "difference", "holm_p")
    rows: list[Row] = []
    last = ("", "")
    for task, tag, group, n, difference, p in zip(*map(table.column, columns), strict=True):
        if not isinstance(difference, Estimate) or not difference.defined:
            continue
        if (str(task), str(tag)) != last:
            last = (str(task), str(tag))
            rows.append(Row(" by ".join(last)))
        shown = isinstance(p, float) and p < ALPHA
        colour = svg.CANDIDATE if difference.value > 0 else svg.BASELINE
        mark = Mark(difference, colour if shown else svg.INK)
        rows.append(Row(str(group), (mark,), cells.text(difference, Kind.POINTS), n=count(n)))
    return differences(
        table,
        rows,
        "Difference in each group, candidate minus baseline, with 95% intervals",
        "Blue or orange: shown to be higher or lower after Holm over the groups of one tag.",
    )


def differences(table: Table, rows: list[Row], title: str, legend: str) -> Picture | None:
    """Draw lines of differences, the first MOST_ROWS of them; None where there are none."""
    if not rows:
        return None
    shown = rows[:MOST_ROWS]
    said = "; ".join(f"{row.label} {row.values}".strip() for row in shown)
    about = About(table.name, title, f"{said}.", legend + left_out(rows, MOST_ROWS))
    return picture(about, lambda width: intervals(POINTS, shown, width))


def truncation(table: Table, comparison: Comparison) -> Picture | None:
    """Draw the difference under every reading of what was cut off."""
    del comparison
    rows: list[Row] = []
    last = ""
    told = list(zip(*map(table.column, ("task", "case", "n", "difference")), strict=True))
    cut = {task for task, case, *_ in told if case != AS_REPORTED}
    for task, case, n, difference in told:
        if task not in cut or not isinstance(difference, Estimate) or not difference.defined:
            continue
        if task != last:
            last = str(task)
            rows.append(Row(last))
        case = str(case)
        values = cells.text(difference, Kind.POINTS)
        rows.append(Row(case, (Mark(difference),), values, n=count(n)))
    return differences(
        table,
        rows,
        "The difference, whatever the completions that were cut off would have been",
        "Candidate minus baseline with 95% intervals. Where the last two lines lie on different "
        "sides of 0, the token limit decides who is ahead.",
    )


def count(cell: Cell) -> int | None:
    """Return a count of a table."""
    return cell if isinstance(cell, int) else None


def transitions(table: Table, comparison: Comparison) -> Picture | None:
    """Draw what became of each sample from one arm to the other."""
    del comparison
    outcomes = [one for one in table.columns if one.name not in ("task", "baseline", "total")]
    counts: dict[str, list[tuple[int, ...]]] = {}
    for row in table.rows:
        numbers = [
            cell for cell, column in zip(row, table.columns, strict=True) if column in outcomes
        ]
        counts.setdefault(str(row[0]), []).append(tuple(int(str(one)) for one in numbers))
    headings = tuple(one.heading for one in outcomes)
    squares = [Matrix(task, headings, tuple(rows)) for task, rows in counts.items()][
        : lengths.MOST_PANELS
    ]
    if not squares:
        return None
    about = About(
        table.name,
        "What became of each sample",
        "Counts of samples by the outcome in the baseline and in the candidate, as in the table.",
        "Lines: the baseline's outcome. Columns: the candidate's. Blue: only the candidate solved "
        "it. Orange: only the baseline did. Grey: no difference."
        + left_out(list(counts), lengths.MOST_PANELS),
    )
    return picture(about, lambda width: matrices(squares, width))


Draw = Callable[[Table, "Comparison"], Picture | None]
DRAWN: dict[str, Draw] = {
    "scorecard": scores,
    "volume": lengths.volume,
    "length-correctness": lengths.by_correctness,
    "groups": groups,
    "truncation": truncation,
    "transitions": transitions,
    "budget": lengths.budget,
}
