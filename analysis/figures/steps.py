"""Learning curves: a score over training steps, the baseline beside it.

Owns which rows of the table of curves make a line. Refuses to own layout (`curves`) and numbers.

    learning(table)     # a Picture, None where no task has two steps
"""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.estimate import Estimate
from analysis.figures import curves, svg
from analysis.figures.lengths import MOST_PANELS
from analysis.figures.svg import About, Picture, picture
from analysis.tables.table import Cell, Table


@dataclass
class Task:
    """One task's scores by step, and the baseline's."""

    steps: list[tuple[float, Estimate]] = field(default_factory=list)
    baseline: Estimate | None = None


def learning(table: Table) -> Picture | None:
    """Draw the score of every step with its interval, and the baseline as a level line."""
    tasks: dict[str, Task] = {}
    for name, step, score in zip(*map(table.column, ("task", "step", "score")), strict=True):
        task = tasks.setdefault(str(name), Task())
        estimate = as_estimate(score)
        if estimate is None:
            continue
        if is_step(step):
            task.steps.append((float(step), estimate))
        elif task.baseline is None:
            task.baseline = estimate
    panels = [panel(name, task) for name, task in tasks.items() if len(task.steps) > 1]
    if not panels:
        return None
    about = About(
        table.name,
        "Score by training step",
        "For each task the score over the steps, and the baseline as a level line, with 95% "
        "intervals. The table below has the figures.",
        "Blue: the checkpoints, with 95% intervals. Orange: the baseline. A best step picked from "
        "such a line is flattered by its luck.",
    )
    return picture(about, lambda width: curves.lines(panels[:MOST_PANELS], "step", width))


def is_step(value: Cell) -> bool:
    """Say whether a cell names a step: the baseline has none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def as_estimate(score: Cell) -> Estimate | None:
    """Return a score as an estimate, None where there is none."""
    made = Estimate(float(score)) if isinstance(score, float) else score
    return made if isinstance(made, Estimate) and made.defined else None


def panel(name: str, task: Task) -> curves.Panel:
    """Return one task's two lines."""
    steps = sorted(task.steps, key=lambda one: one[0])
    drawn = [line("checkpoints", steps, svg.CANDIDATE)]
    if task.baseline is not None:
        ends = [(0.0, task.baseline), (steps[-1][0], task.baseline)]
        drawn.append(line("baseline", ends, svg.BASELINE))
    return curves.Panel(name, lines=tuple(drawn))


def line(label: str, points: list[tuple[float, Estimate]], colour: str) -> curves.Line:
    """Return a line through estimates; one without an interval has none drawn."""
    return curves.Line(
        label,
        x=[x for x, _ in points],
        y=[one.value for _, one in points],
        low=[one.low for _, one in points],
        high=[one.high for _, one in points],
        colour=colour,
    )
