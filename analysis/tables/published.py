"""One run beside published scores of its tasks.

Owns which figures stand in this table. Refuses to own the published scores (`series.published`).

    published(read_one(Path("runs/student"), Reading()), read_published())
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.compare import Comparison, TaskComparison
from analysis.estimate import NAN, Estimate
from analysis.items import CANDIDATE
from analysis.series.form import question_means
from analysis.series.published import Published, plain
from analysis.stats import multiplicity
from analysis.stats.fixed import against_fixed
from analysis.tables.table import Cell, Column, Kind, Table

COLUMNS = (
    Column("task", "task"),
    Column("model", "published model"),
    Column("metric", "metric"),
    Column("published", "published", Kind.PERCENT),
    Column("published_n", "its n", Kind.COUNT),
    Column("score", "ours", Kind.PERCENT),
    Column("n", "n", Kind.COUNT),
    Column("difference", "difference", Kind.POINTS),
    Column("p", "p", Kind.P),
    Column("holm_p", "Holm p", Kind.P),
    Column("same_model", "same model", Kind.FLAG),
    Column("questions", "questions"),
    Column("source", "source"),
)


def published(
    comparison: Comparison, known: Sequence[Published], model: str | None = None
) -> Table:
    """Return a run's scores beside published ones: those of the same model first.

    `comparison` is the run with itself; `model` keeps the published models that hold it.

    Raises:
        ValueError: no published model holds it.
    """
    wanted = chosen(known, model)
    names = [comparison.candidate_model or "", comparison.candidate]
    tested: list[tuple[TaskComparison, Published, float]] = []
    for task in comparison.tasks:
        found = [one for one in wanted if one.of_task(task.task)]
        means = list(question_means(comparison, task.task, CANDIDATE).values())
        for one in sorted(found, key=lambda one: not one.of_model(names)):
            tested.append((task, one, against_fixed(means, one.score).p if means else NAN))
    adjusted = multiplicity.holm([p for _, _, p in tested])
    rows = [
        row_of(task, one, (p, holm), one.of_model(names))
        for (task, one, p), holm in zip(tested, adjusted, strict=True)
    ]
    beside = {task.task for task, _, _ in tested}
    lacking = [task.task for task in comparison.tasks if task.task not in beside]
    return Table(
        "published",
        "Beside published scores",
        COLUMNS,
        rows,
        foot=(
            "difference: ours less the published score, which counts as known: its own noise is in "
            "no interval. Test: exact binomial, or t of question means where a question has "
            "several samples; Holm over all rows. Another release, prompt or sampling moves a "
            "score as well."
        ),
        notes=(f"no published score of {', '.join(lacking)}",) if lacking else (),
        empty="" if rows else "no published score of these tasks; add some with --scores FILE.csv",
    )


def chosen(known: Sequence[Published], model: str | None) -> list[Published]:
    """Return the scores of the models whose name holds `model`, all of them for None.

    Raises:
        ValueError: no name holds it.
    """
    wanted = [one for one in known if model is None or plain(model) in plain(one.model)]
    if not wanted:
        have = ", ".join(dict.fromkeys(one.model for one in known))
        raise ValueError(
            f"--model {model!r}: no published model's name holds that; there are {have}"
        )
    return wanted


def row_of(
    task: TaskComparison, one: Published, p: tuple[float, float], same: bool
) -> tuple[Cell, ...]:
    """Return the row of one published score; `p` as it is, and Holm's."""
    ours = task.candidate.score
    difference = Estimate(
        ours.value - one.score, ours.low - one.score, ours.high - one.score, ours.method,
        ours.reason,
    )  # fmt: skip
    return (
        task.task, one.model, one.metric, one.score, one.n, ours, task.candidate.n_graded,
        difference, *p, same, one.questions, one.source,
    )  # fmt: skip
