"""Scores of both arms, and how much of them rests on completions that ended.

Owns the scorecard and the completion table. Refuses to own tests (`tests`) and bounds
(`truncation`); every number is that of the `TaskComparison`.

    scorecard(comparison, TableOptions()).column("difference")
"""

from __future__ import annotations

from dataclasses import replace

from analysis.compare import ArmScore, Comparison
from analysis.estimate import Estimate, undefined
from analysis.items import ARMS
from analysis.tables.catalogue import TableOptions
from analysis.tables.table import MEAN, Cell, Column, Kind, Table
from analysis.verdict import NO_VERDICT, verdict

SCORECARD = (
    Column("task", "task"),
    Column("n", "n", Kind.COUNT),
    Column("k", "k", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("p", "p", Kind.P),
    Column("detectable", "detectable", Kind.PERCENT),
)
COMPLETION = (
    Column("task", "task"),
    Column("arm", "arm"),
    Column("n", "n", Kind.COUNT),
    Column("score_completed", "score of completed", Kind.PERCENT),
    Column("n_completed", "completed", Kind.COUNT),
    Column("truncated", "truncated", Kind.PERCENT),
    Column("no_answer", "no answer", Kind.PERCENT),
    Column("empty", "empty", Kind.PERCENT),
    Column("grader_error", "grader error", Kind.PERCENT),
)


def scorecard(comparison: Comparison, options: TableOptions) -> Table:
    """Return each task's scores with their paired difference, and their mean over the tasks."""
    del options
    several = len(comparison.tasks) > 1
    rows: list[tuple[Cell, ...]] = [
        (
            task.task,
            task.n_pairs,
            task.k,
            task.baseline.score,
            task.candidate.score,
            task.difference,
            task.test.holm_p if several else task.test.p,
            task.detectable,
        )
        for task in comparison.tasks
    ]
    if several:
        rows.append(mean_row(comparison))
    graded = "; ".join(dict.fromkeys(f"{one.metric}, {one.filter}" for one in comparison.tasks))
    return Table(
        "scorecard",
        "Scorecard",
        tuple(
            replace(one, heading="Holm p") if one.name == "p" and several else one
            for one in SCORECARD
        ),
        rows,
        foot=scorecard_foot(comparison),
        notes=(f"Graded by (metric, filter): {graded}.",),
    )


def mean_row(comparison: Comparison) -> tuple[Cell, ...]:
    """Return the mean over tasks: each counts alike, whatever its size."""
    found = verdict(comparison)
    scores = [mean_of([getattr(task, arm).score for task in comparison.tasks]) for arm in ARMS]
    pairs = sum(task.n_pairs for task in comparison.tasks)
    if any(task.lower_is_better for task in comparison.tasks):
        reason = "lower is better in a task, so the mean of scores says nothing"
        scores = [undefined(reason), undefined(reason)]
    p = None if found.finding == NO_VERDICT else found.p
    return (MEAN, pairs, None, *scores, found.difference, p, found.detectable)


def mean_of(scores: list[Estimate]) -> Estimate:
    """Return the plain mean of task scores, undefined where a task has none."""
    if not all(score.defined for score in scores):
        return undefined("a task has no score")
    mean = sum(score.value for score in scores) / len(scores)
    return Estimate(mean, method="mean of tasks", reason="no interval is computed")


def scorecard_foot(comparison: Comparison) -> str:
    """Say how the numbers were made."""
    single = any(task.agreement is not None for task in comparison.tasks)
    repeated = any(task.agreement is None and task.n_pairs for task in comparison.tasks)
    foot = "Score in %, difference in points, candidate - baseline, 95% intervals. "
    if single:
        foot += "Wilson; difference: Newcombe, paired; p: McNemar. "
    if repeated:
        foot += "Repeated or part scores: question bootstrap (where few differ no shorter than t); "
        foot += "p: paired sign-flip permutation. "
    if len(comparison.tasks) > 1:
        foot += f"p: Holm over {len(comparison.tasks)} tasks. "
        foot += f"{MEAN.capitalize()}: the tasks' intervals joined (MOVER), stratified sign-flip "
        foot += "permutation, its p a test of its own. "
    return foot + "Detectable: smallest difference shown with 80% power."


def completion(comparison: Comparison, options: TableOptions) -> Table:
    """Return how many completions ended, answered and could be graded, an arm a line."""
    del options
    rows = [
        (task.task, name, *completion_cells(getattr(task, name)))
        for task in comparison.tasks
        for name in ARMS
    ]
    return Table(
        "completion",
        "Completion",
        COMPLETION,
        rows,
        foot=(
            "Rates in % of samples (count). Empty: blank, though nothing says that it was cut off. "
            "Score of completed: over the graded samples that were not cut off, kinder to the arm "
            "that is cut off more often; 95% by Wilson, or by question bootstrap for several "
            "samples or part scores."
        ),
    )


def completion_cells(arm: ArmScore) -> tuple[Cell, ...]:
    """Return the rates of one arm."""
    ended = (arm.score_completed, arm.n_completed)
    return (arm.n, *ended, arm.truncated, arm.no_answer, arm.empty, arm.grader_error)
