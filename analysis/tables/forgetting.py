"""Which losses are shown, and how large a loss the data cannot exclude.

Owns the words of the forgetting table: a distilled model that lost nothing, and one that was asked
too few questions to tell, are two things. Refuses to own the figures: they are those of the
`TaskComparison`.

    forgetting(comparison, TableOptions()).column("says")
    # ["cannot exclude a loss of 1.6 points"]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from analysis.compare import (
    ALPHA,
    HIGHER,
    LOWER,
    NO_CLAIM,
    Comparison,
    TaskComparison,
)
from analysis.estimate import NAN, Estimate
from analysis.render.cells import text
from analysis.tables.catalogue import TableOptions
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.verdict import gain_of

COLUMNS = (
    Column("task", "task"),
    Column("n", "n", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("holm_p", "Holm p", Kind.P),
    Column("not_excluded", "loss not excluded", Kind.PERCENT),
    Column("detectable", "detectable", Kind.PERCENT),
    Column("says", "says"),
)
FOOT = (
    "Loss not excluded: how far the 95% interval of the paired difference reaches below 0, task by "
    "task (Newcombe; several samples or part scores: question bootstrap). Holm p: of McNemar's or "
    "the sign-flip test, over the tasks. Detectable: smallest difference shown with 80% power; a "
    "smaller loss would often be missed. Where lower is better the difference is turned round."
)


def forgetting(comparison: Comparison, options: TableOptions) -> Table:
    """Return each task's loss, the largest first."""
    del options
    tasks = sorted(comparison.tasks, key=lambda task: sort_key(gain_of(task)))
    rows: list[tuple[Cell, ...]] = []
    for task in tasks:
        gain = gain_of(task)
        scores = (task.baseline.score, task.candidate.score)
        told = (task.test.holm_p, not_excluded(gain), task.detectable, says(task, gain))
        rows.append((task.task, task.n_pairs, *scores, gain, *told))
    return Table("forgetting", "Forgetting", COLUMNS, rows, FOOT, tuple(largest(tasks)))


def largest(tasks: Sequence[TaskComparison]) -> Iterator[str]:
    """Yield the largest loss that no task excludes, where there are several tasks."""
    open_losses = [
        (not_excluded(gain_of(task)), task.task)
        for task in tasks
        if task.finding not in NO_CLAIM and not_excluded(gain_of(task)) > 0.0
    ]
    if len(tasks) > 1 and open_losses:
        loss, name = max(open_losses)
        reach = text(loss, Kind.PERCENT)
        yield f"the largest loss that is not excluded is {reach} points, on {name}"


def sort_key(gain: Estimate) -> float:
    """Return the place of a task: losses first, what is unknown last."""
    return gain.value if gain.defined else math.inf


def not_excluded(gain: Estimate) -> float:
    """Return the largest loss within the interval, 0 where it lies above 0."""
    return NAN if math.isnan(gain.low) else max(0.0 - gain.low, 0.0)


def says(task: TaskComparison, gain: Estimate) -> str:
    """Return the sentence on a task."""
    if task.finding in NO_CLAIM:
        return f"{task.finding}: nothing can be said"
    largest = not_excluded(gain)
    reach = text(largest, Kind.PERCENT)
    if task.finding in (HIGHER, LOWER):
        worse = (task.finding == LOWER) is not task.lower_is_better
        return f"loss shown, up to {reach} points" if worse else "gain shown"
    if math.isnan(largest):
        return "cannot exclude any loss: no interval"
    if largest == 0.0 and task.test.p < ALPHA:
        return "a loss is excluded, taken alone"
    if largest == 0.0:
        return "no loss within the interval, but the test does not exclude one"
    return f"cannot exclude a loss of {reach} points"
