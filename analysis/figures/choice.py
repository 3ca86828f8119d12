"""Which figure stands beside which table, and what is said of it.

Owns the way from a table's columns, or from the comparison, to the rows of a drawing. Refuses to
own layout (`intervals`, `curves`, `matrix`) and numbers (`tables`, `stats`).

    pictures("scorecard", table, comparison)     # one Picture, or [] where words say it better
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING

from analysis.compare import ALPHA, HIGHER, LOWER
from analysis.estimate import Estimate, undefined
from analysis.figures import curves, svg
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
from analysis.items import ARMS, BASELINE, CANDIDATE, Item
from analysis.render import cells
from analysis.tables.table import Kind, Table
from analysis.tables.truncation import AS_REPORTED

if TYPE_CHECKING:
    from analysis.compare import Comparison

MOST_PANELS = 12
MOST_ROWS = 40
COLOURS = {BASELINE: svg.BASELINE, CANDIDATE: svg.CANDIDATE}
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


Size = Callable[[Item], float | None]


def size_of(comparison: Comparison) -> tuple[str, Size] | None:
    """Return the size that most completions of both arms have: tokens, else characters."""
    for axis, size in (
        ("completion tokens", lambda item: item.completion_tokens),
        ("characters of reasoning and answer", characters),
    ):
        n_known = sum(size(item) is not None for item in comparison.items)
        if n_known > len(comparison.items) / 2:
            return axis, size
    return None


def characters(item: Item) -> float | None:
    """Return the length of a completion, None where it is not known."""
    if item.reasoning_chars is None or item.answer_chars is None:
        return None
    return item.reasoning_chars + item.answer_chars


def sizes(items: list[Item], arm: str, size: Size) -> list[float]:
    """Return the known sizes of an arm."""
    return [value for item in items if item.arm == arm and (value := size(item)) is not None]


def by_task(comparison: Comparison) -> dict[str, list[Item]]:
    """Return the items of the first tasks that generate text."""
    found: dict[str, list[Item]] = {}
    for item in comparison.items:
        if item.truncated is not None:
            found.setdefault(item.task, []).append(item)
    return dict(list(found.items())[:MOST_PANELS])


def volume(table: Table, comparison: Comparison) -> Picture | None:
    """Draw how long the completions of both arms are."""
    known = size_of(comparison)
    if known is None:
        return None
    axis, size = known
    panels = [
        curves.Panel(
            task, tuple(curves.Series(arm, sizes(items, arm, size), COLOURS[arm]) for arm in ARMS)
        )
        for task, items in by_task(comparison).items()
    ]
    about = About(
        table.name,
        f"How long completions are, in {axis}",
        f"For each task a rising curve for either arm: the share of completions of at most so many "
        f"{axis}. The table below has the figures.",
        "Share of completions that are at most so long. Orange: baseline. Blue: candidate. The "
        "further right a curve, the more its arm writes; a vertical end is a token limit.",
    )
    return picture(about, lambda width: curves.distributions(panels, axis, width))


def by_correctness(table: Table, comparison: Comparison) -> Picture | None:
    """Draw how long right and wrong completions are."""
    known = size_of(comparison)
    if known is None:
        return None
    axis, size = known
    panels = []
    for task, items in by_task(comparison).items():
        series = []
        for arm in ARMS:
            for right in (True, False):
                graded = [
                    one for one in items if one.score is not None and (one.score == 1.0) == right
                ]
                label = f"{arm}, {'right' if right else 'wrong'}"
                series.append(
                    curves.Series(label, sizes(graded, arm, size), COLOURS[arm], not right)
                )
        panels.append(curves.Panel(task, tuple(series)))
    about = About(
        table.name,
        f"Length of right and wrong completions, in {axis}",
        f"For each task and arm two rising curves over {axis}, of right and of wrong completions. "
        "The table below has the figures.",
        "Share of completions that are at most so long: right ones whole lines, wrong ones dashed. "
        "Orange: baseline. Blue: candidate.",
    )
    return picture(about, lambda width: curves.distributions(panels, axis, width))


def groups(table: Table, comparison: Comparison) -> Picture | None:
    """Draw the difference in each group, the groups of one tag below its heading."""
    del comparison
    columns = ("task", "by", "group", "difference", "holm_p")
    rows: list[Row] = []
    last = ("", "")
    for task, tag, group, difference, p in zip(*map(table.column, columns), strict=True):
        if not isinstance(difference, Estimate) or not difference.defined:
            continue
        if (str(task), str(tag)) != last:
            last = (str(task), str(tag))
            rows.append(Row(" by ".join(last)))
        shown = isinstance(p, float) and p < ALPHA
        colour = svg.CANDIDATE if difference.value > 0 else svg.BASELINE
        mark = Mark(difference, colour if shown else svg.INK)
        rows.append(Row(str(group), (mark,), cells.text(difference, Kind.POINTS)))
    if not rows:
        return None
    about = About(
        table.name,
        "Difference in each group, candidate minus baseline, with 95% intervals",
        "; ".join(f"{row.label} {row.values}".strip() for row in rows[:MOST_ROWS]) + ".",
        "Blue or orange: shown to be higher or lower after Holm over the groups of one tag."
        + left_out(rows, MOST_ROWS),
    )
    return picture(about, lambda width: intervals(POINTS, rows[:MOST_ROWS], width))


def truncation(table: Table, comparison: Comparison) -> Picture | None:
    """Draw the difference under every reading of what was cut off."""
    del comparison
    rows: list[Row] = []
    last = ""
    told = list(zip(*map(table.column, ("task", "case", "difference")), strict=True))
    cut = {task for task, case, _ in told if case != AS_REPORTED}
    for task, case, difference in told:
        if task not in cut or not isinstance(difference, Estimate) or not difference.defined:
            continue
        if task != last:
            last = str(task)
            rows.append(Row(last))
        case = str(case)
        rows.append(Row(case, (Mark(difference),), cells.text(difference, Kind.POINTS)))
    if not rows:
        return None
    about = About(
        table.name,
        "The difference, whatever the completions that were cut off would have been",
        "; ".join(f"{row.label} {row.values}".strip() for row in rows[:MOST_ROWS]) + ".",
        "Candidate minus baseline with 95% intervals. Where the last two lines lie on different "
        "sides of 0, the token limit decides who is ahead." + left_out(rows, MOST_ROWS),
    )
    return picture(about, lambda width: intervals(POINTS, rows[:MOST_ROWS], width))


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
    squares = [Matrix(task, headings, tuple(rows)) for task, rows in counts.items()][:MOST_PANELS]
    if not squares:
        return None
    about = About(
        table.name,
        "What became of each sample",
        "Counts of samples by the outcome in the baseline and in the candidate, as in the table.",
        "Lines: the baseline's outcome. Columns: the candidate's. Blue: only the candidate solved "
        "it. Orange: only the baseline did. Grey: no difference."
        + left_out(list(counts), MOST_PANELS),
    )
    return picture(about, lambda width: matrices(squares, width))


def budget(table: Table, comparison: Comparison) -> Picture | None:
    """Draw what both arms solve within so many tokens."""
    del comparison
    points: dict[str, list[tuple[float, Estimate, Estimate]]] = {}
    told = zip(*map(table.column, ("task", "tokens", *ARMS)), strict=True)
    for task, tokens, *both in told:
        base, cand = (one if isinstance(one, Estimate) else undefined("") for one in both)
        if isinstance(tokens, int | float) and base.defined and cand.defined:
            points.setdefault(str(task), []).append((tokens, base, cand))
    panels = [
        curves.Panel(task, lines=(line(BASELINE, found, 1), line(CANDIDATE, found, 2)))
        for task, found in list(points.items())[:MOST_PANELS]
        if len(found) > 1
    ]
    if not panels:
        return None
    about = About(
        table.name,
        "Score within a budget of tokens",
        "For each task two lines over the token budget, baseline and candidate, with 95% "
        "intervals. The table below has the figures.",
        "Score if every completion had been stopped at so many tokens, with 95% intervals. Orange: "
        "baseline. Blue: candidate. Where two lines cross, the order of the arms changes.",
    )
    return picture(about, lambda width: curves.lines(panels, "token budget", width))


def line(arm: str, points: list[tuple[float, Estimate, Estimate]], at: int) -> curves.Line:
    """Return one arm's line through its points."""
    scores = [(point[0], point[at]) for point in points]
    known = [(x, one) for x, one in scores if isinstance(one, Estimate)]
    return curves.Line(
        arm,
        x=[x for x, _ in known],
        y=[one.value for _, one in known],
        low=[one.low for _, one in known],
        high=[one.high for _, one in known],
        colour=COLOURS[arm],
    )


Draw = Callable[[Table, "Comparison"], Picture | None]
DRAWN: dict[str, Draw] = {
    "scorecard": scores,
    "volume": volume,
    "length-correctness": by_correctness,
    "groups": groups,
    "truncation": truncation,
    "transitions": transitions,
    "budget": budget,
}
