"""What distillation lost and a further training (format SFT) brought back, task by task.

Owns which figures stand in this table. Refuses to own what they are made of (`series`, `stats`).

    recovery({"": from_runs(base, [distilled, recovered], Reading())})
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from analysis.estimate import NAN, Estimate, undefined
from analysis.items import BASELINE
from analysis.series import paired
from analysis.series.form import Difference, Score, Series
from analysis.stats import multiplicity, ratios
from analysis.tables.table import Cell, Column, Kind, Table

SEED = 62
DISTILLED, RECOVERED = "distilled", "recovered"
COLUMNS = (
    Column("series", "series"),
    Column("task", "task"),
    Column("n", "n", Kind.COUNT),
    Column("base", "base", Kind.PERCENT),
    Column("distilled", "distilled", Kind.PERCENT),
    Column("recovered", "recovered", Kind.PERCENT),
    Column("lost", "lost", Kind.POINTS),
    Column("lost_p", "p", Kind.P),
    Column("lost_holm_p", "Holm p", Kind.P),
    Column("regained", "regained", Kind.POINTS),
    Column("regained_p", "p", Kind.P),
    Column("regained_holm_p", "Holm p", Kind.P),
    Column("missing", "against base", Kind.POINTS),
    Column("share", "share regained", Kind.RATIO),
)


class Stages(NamedTuple):
    """The three scores of one task; None where a stage was not measured on it."""

    base: Score | None
    distilled: Score | None
    recovered: Score | None


class Figures(NamedTuple):
    """What one task shows; `missing` is the recovered run against the base."""

    n: int | None
    scores: tuple[Estimate | None, ...]  # of the three stages
    lost: Difference
    regained: Difference
    missing: Estimate
    share: Estimate


def recovery(groups: Mapping[str, Series]) -> Table:
    """Return the table of one or several students, by the name of each.

    Raises:
        ValueError: a series without the two runs behind the baseline.
    """
    found: list[tuple[str, str, Figures]] = []
    for name, series in groups.items():
        runs = runs_of(name, series)
        found += [(name, task, figures(series, runs, task)) for task in series.tasks]
    adjusted = multiplicity.holm(
        [change.p for *_, one in found for change in (one.lost, one.regained)]
    )
    holm = zip(adjusted[::2], adjusted[1::2], strict=True)  # of the loss, and of what came back
    rows = [
        (name, task, *cells(one, both)) for (name, task, one), both in zip(found, holm, strict=True)
    ]
    named = any(groups)
    return Table(
        "recovery",
        "What was lost and regained",
        COLUMNS if named else COLUMNS[1:],
        rows if named else [row[1:] for row in rows],
        foot=(
            "lost: distilled less base; regained: recovered less distilled; share: regained over "
            "lost, with the question bootstrap of the ratio. Paired by question where items are "
            "known (McNemar and Newcombe, or sign-flip and bootstrap); Holm over all tests here."
        ),
        notes=tuple(dict.fromkeys(note for one in groups.values() for note in one.notes)),
    )


def cells(one: Figures, holm: tuple[float, float]) -> tuple[Cell, ...]:
    """Return the cells of one task with the adjusted p of the loss and of what came back."""
    lost, regained = one.lost, one.regained
    return (
        one.n, *one.scores, lost.estimate, lost.p, holm[0], regained.estimate, regained.p, holm[1],
        one.missing, one.share,
    )  # fmt: skip


def runs_of(name: str, series: Series) -> tuple[str, str]:
    """Return the names of the distilled and the recovered run.

    Raises:
        ValueError: there are not two.
    """
    runs = series.runs
    by_name = {run.lower(): run for run in runs}
    if DISTILLED in by_name and RECOVERED in by_name:
        return by_name[DISTILLED], by_name[RECOVERED]
    if len(runs) != 2:
        of = f" of {name}" if name else ""
        raise ValueError(
            f"recovery{of} needs the runs {DISTILLED} and {RECOVERED} beside the baseline, got "
            f"{', '.join(runs)}"
        )
    return runs[0], runs[1]


def figures(series: Series, runs: tuple[str, str], task: str) -> Figures:
    """Return the figures of one task; what rests on a score that is not there is undefined."""
    found = {score.run: score for score in series.of(task)}
    distilled, recovered = (found.get(run) for run in runs)
    of = distilled or recovered
    stages = Stages(series.base_of(of) if of is not None else None, distilled, recovered)
    rng = np.random.default_rng([series.seed, zlib.crc32(task.encode()), SEED])
    lost = series.difference(distilled) if distilled else nothing("the distilled run")
    missing = series.difference(recovered) if recovered else nothing("the recovered run")
    return Figures(
        n=of.n if of is not None else None,
        scores=tuple(score.estimate if score is not None else None for score in stages),
        lost=lost,
        regained=regained(series, runs, stages, rng),
        missing=missing.estimate,
        share=share_regained(series, runs, stages, rng),
    )


def regained(
    series: Series, runs: tuple[str, str], stages: Stages, rng: np.random.Generator
) -> Difference:
    """Return the recovered run against the distilled one, paired where items are known."""
    if stages.distilled is None or stages.recovered is None:
        return nothing("one of the two runs")
    before, after = (series.by_question(run, stages.distilled.task) for run in runs)
    if before and after:
        return paired.difference(before, after, rng)
    return paired.of_scores(stages.distilled, stages.recovered)


def nothing(what: str) -> Difference:
    """Return the difference to a run that was not measured on the task."""
    return Difference(undefined(f"{what} has no score of this task"), NAN, "")


def share_regained(
    series: Series, runs: tuple[str, str], stages: Stages, rng: np.random.Generator
) -> Estimate:
    """Return which share of the loss came back: 0 none, 1 all, below 0 more was lost."""
    base, distilled, recovered = stages
    if base is None or distilled is None or recovered is None:
        return undefined("needs all three scores")
    if distilled.value >= base.value:
        return undefined("nothing was lost")
    task = distilled.task
    before, after = (series.by_question(run, task) for run in runs)
    start = series.by_question(runs[0], task, BASELINE)
    common = [doc for doc in before if doc in after and doc in start]
    if not common:
        share = (recovered.value - distilled.value) / (base.value - distilled.value)
        return Estimate(float(share), reason="only scores are given: no interval")
    gains = [after[doc] - before[doc] for doc in common]
    losses = [start[doc] - before[doc] for doc in common]
    if sum(losses) <= 0:
        return undefined("nothing was lost on the questions of all three runs")
    return ratios.ratio(gains, losses, rng)
