"""Learning curves: every run's score in every task, its difference to the baseline, the trend.

Owns which figures stand in these tables. Refuses to own what they are made of (`series`, `stats`).

    curves(series)      # tables "curves" and "curve-trends"
"""

from __future__ import annotations

import zlib
from collections import Counter
from itertools import compress

import numpy as np

from analysis.estimate import NAN, Estimate, Share, undefined
from analysis.series.form import Score, Series
from analysis.stats import association, multiplicity
from analysis.tables.families import with_holm
from analysis.tables.sweep import foot_of
from analysis.tables.table import Cell, Column, Kind, Table

SEED = 64
PER = 100  # steps that a slope is given for


def curves(series: Series) -> list[Table]:
    """Return the scores by step, and their trends where the steps are known."""
    tables = [scores(series)]
    if any(len(measured(series, task)) > 1 for task in series.tasks):
        tables.append(trends(series))
    return tables


def measured(series: Series, task: str) -> list[Score]:
    """Return the scores of a task that have a step, on the questions that most of them have."""
    found = [one for one in series.of(task) if one.step is not None]
    most = Counter(one.part for one in found).most_common(1)
    return [one for one in found if one.part == most[0][0]]


def scores(series: Series) -> Table:
    """Return every run's score in every task against the baseline, a row each."""
    found = [(one, series.difference(one)) for task in series.tasks for one in series.of(task)]
    holm = multiplicity.holm([difference.p for _, difference in found])
    bh = multiplicity.benjamini_hochberg([difference.p for _, difference in found])
    rows: list[tuple[Cell, ...]] = []
    for task in series.tasks:
        rows += [
            (one.task, None, one.run, one.n, one.estimate, None, NAN, NAN, NAN, known(one),
             one.part)
            for one in series.baseline
            if one.task == task
        ]  # fmt: skip
        rows += [
            (one.task, one.step, one.run, one.n, one.estimate, difference.estimate,
             difference.p, holm_p, bh_p, known(one), one.part)
            for (one, difference), holm_p, bh_p in zip(found, holm, bh, strict=True)
            if one.task == task
        ]  # fmt: skip
    columns = (
        Column("task", "task"),
        Column("step", "step", Kind.COUNT),
        Column("run", "run"),
        Column("n", "n", Kind.COUNT),
        Column("score", "score", Kind.PERCENT),
        Column("difference", "difference", Kind.POINTS),
        Column("p", "p", Kind.P),
        Column("holm_p", "Holm p", Kind.P),
        Column("bh_p", "BH p", Kind.P),
        Column("truncated", "cut off", Kind.PERCENT),
        Column("part", "part"),
    )
    shown = [True] * (len(columns) - 2)  # a CSV tells neither of the last two, or both
    shown += [any(row[at] not in (None, "") for row in rows) for at in (-2, -1)]
    return Table(
        "curves",
        "Scores by step and task",
        tuple(compress(columns, shown)),
        [tuple(compress(row, shown)) for row in rows],
        foot=foot_of(series, "Holm and Benjamini-Hochberg over all rows"),
        notes=series.notes,
    )


def known(score: Score) -> Share | None:
    """Return how many completions were cut off, None where nothing tells."""
    return None if score.truncated.count is None else score.truncated


def trends(series: Series) -> Table:
    """Return whether the score rises or falls with the step, task by task."""
    rows: list[tuple[Cell, ...]] = []
    for task in series.tasks:
        found = measured(series, task)
        if len(found) < 2:
            continue
        slope, p, method = trend_of(series, found)
        best = max(found, key=lambda one: (one.value, -(one.step or 0)))
        rows.append((task, len(found), best.step, slope, p, NAN, method))
    return with_holm(
        Table(
            "curve-trends",
            f"Change of the score with the step, per {PER} steps",
            (
                Column("task", "task"),
                Column("runs", "runs", Kind.COUNT),
                Column("best_step", "best step", Kind.COUNT),
                Column("slope", "slope", Kind.POINTS),
                Column("p", "p", Kind.P),
                Column("holm_p", "Holm p", Kind.P),
                Column("method", "test"),
            ),
            rows,
            foot="A straight line over the steps, the baseline left out; Holm over the tasks.",
        )
    )


def trend_of(series: Series, found: list[Score]) -> tuple[Estimate, float, str]:
    """Return the slope over the steps, its p and the test: paired where items are known."""
    levels = [(one.step or 0) / PER for one in found]
    return trend_over(series, found, levels, SEED)


def trend_over(
    series: Series, found: list[Score], levels: list[float], seed: int
) -> tuple[Estimate, float, str]:
    """Return the slope of the scores over some levels, its p and the test.

    Where only scores and n are known the groups count as of unlike questions, which they are not:
    the test is then too careful.
    """
    task = found[0].task
    columns = [series.by_question(one.run, task) for one in found]
    common = [doc for doc in columns[0] if all(doc in column for column in columns)]
    if common:
        matrix = np.array([[column[doc] for column in columns] for doc in common])
        rng = np.random.default_rng([series.seed, zlib.crc32(task.encode()), seed])
        tested = association.paired_trend(levels, matrix, rng)
    elif all(one.n for one in found):
        sizes = [min(one.n or 0, one.n_docs or one.n or 0) for one in found]
        solved = [round(float(one.value) * n) for one, n in zip(found, sizes, strict=True)]
        tested = association.trend(levels, solved, sizes)
    else:
        return undefined("the file gives no n"), NAN, ""
    return tested.slope, tested.p, tested.method
