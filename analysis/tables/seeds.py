"""One recipe under several seeds: mean, spread, and the difference to a baseline.

Owns which figures stand in these tables. Refuses to own the estimators (`stats.seeds`).

    seeds(series)      # tables "seeds" and "seed-variance"
"""

from __future__ import annotations

import zlib

import numpy as np

from analysis.estimate import NAN, Estimate, undefined
from analysis.items import BASELINE
from analysis.series.form import NO_BASELINE, Score, Series
from analysis.stats import seeds as estimators
from analysis.tables.families import with_holm
from analysis.tables.table import Cell, Column, Kind, Table

SEED = 63
FEW = 5


def seeds(series: Series) -> list[Table]:
    """Return the tables of runs that differ in their seed, a row a task."""
    return [scores(series), variance(series)]


def rng_of(series: Series, task: str) -> np.random.Generator:
    """Return the Generator of a task."""
    return np.random.default_rng([series.seed, zlib.crc32(task.encode()), SEED])


def matrix_of(
    series: Series, found: list[Score]
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], list[float]] | None:
    """Return scores (questions, runs) and the baseline's, over the questions that all runs have."""
    columns = [series.by_question(one.run, one.task) for one in found]
    common = [doc for doc in columns[0] if all(doc in column for column in columns)]
    if not common:
        return None
    base = series.by_question(found[0].run, found[0].task, BASELINE)
    matrix = np.array([[column[doc] for column in columns] for doc in common], dtype=np.float64)
    return matrix, [base[doc] for doc in common]


def scores(series: Series) -> Table:
    """Return mean and spread over the runs, and the mean against the baseline."""
    rows: list[tuple[Cell, ...]] = []
    for task in series.tasks:
        found = series.of(task)
        summary = estimators.over_seeds([float(one.value) for one in found], rng_of(series, task))
        base = series.base_of(found[0])
        difference, p, method = against(series, found)
        rows.append(
            (task, summary.n, found[0].n, base.estimate if base else None, summary.t, summary.sd,
             difference, p, NAN, method)
        )  # fmt: skip
    return with_holm(
        Table(
            "seeds",
            "Mean over runs",
            (
                Column("task", "task"),
                Column("runs", "runs", Kind.COUNT),
                Column("n", "n", Kind.COUNT),
                Column("baseline", "baseline", Kind.PERCENT),
                Column("mean", "mean", Kind.PERCENT),
                Column("sd", "sd", Kind.PERCENT),
                Column("difference", "difference", Kind.POINTS),
                Column("p", "p", Kind.P),
                Column("holm_p", "Holm p", Kind.P),
                Column("method", "difference by"),
            ),
            rows,
            foot=(
                f"mean: {estimators.T_INTERVAL}; sd over runs, n - 1. n: graded completions "
                "of the first run. Holm over the tasks."
            ),
            notes=notes_of(series),
        )
    )


def against(series: Series, found: list[Score]) -> tuple[Estimate, float, str]:
    """Return the mean over runs less the baseline, its p and its method."""
    base = series.base_of(found[0])
    if base is None:
        return undefined(NO_BASELINE), NAN, ""
    items = matrix_of(series, found)
    if items is not None and len(items[0]) > 1 and len(found) > 1:
        tested = estimators.paired_over_seeds(*items, rng_of(series, found[0].task))
        n, method = len(items[0]), tested.difference.method
        fewer = n < max(one.n_docs or n for one in found)
        return tested.difference, tested.p, f"{method}; the {n} shared ones" if fewer else method
    plain = estimators.against_baseline([float(one.value) for one in found], float(base.value))
    return plain.difference, plain.p, plain.difference.method


def notes_of(series: Series) -> tuple[str, ...]:
    """Return what to know: few runs, a baseline taken as known, and what the series tells."""
    n_runs = len(series.runs)
    told = list(series.notes)
    if n_runs == 1:
        told.append("one run: no spread and no test; `distill-report compare` compares two arms")
    elif n_runs < FEW:
        told.append(f"{n_runs} runs: the true sd may be over three times the one shown (95%)")
    if not series.comparisons:
        told.append(
            "only scores are given: the baseline is taken as known, and the chance of the "
            "questions, mostly the larger part, is in no p and no interval"
        )
    return tuple(told)


def variance(series: Series) -> Table:
    """Return where the spread of one run's score comes from: its questions, or the run."""
    rows: list[tuple[Cell, ...]] = []
    for task in series.tasks:
        found = series.of(task)
        summary = estimators.over_seeds([float(one.value) for one in found], rng_of(series, task))
        items = matrix_of(series, found)
        parts: tuple[Cell, ...] = (None, None, None)
        if items is not None and min(items[0].shape) > 1:
            split = estimators.variance_parts(items[0])
            parts = (split.questions, split.runs, split.share_runs)
        rows.append((task, summary.low, summary.high, summary.bootstrap, summary.sd, *parts))
    return Table(
        "seed-variance",
        "Where the spread of a run's score comes from",
        (
            Column("task", "task"),
            Column("lowest", "lowest", Kind.PERCENT),
            Column("highest", "highest", Kind.PERCENT),
            Column("bootstrap", "mean", Kind.PERCENT),
            Column("sd", "sd of runs", Kind.PERCENT),
            Column("sd_questions", "sd by questions", Kind.PERCENT),
            Column("sd_runs", "sd by chance", Kind.PERCENT),
            Column("share_runs", "share of chance", Kind.PERCENT),
        ),
        rows,
        foot=(
            "mean: with the bootstrap interval over runs. By questions: had others been drawn; by "
            "chance: the same questions run again (law of total variance). sd of runs far above sd "
            "by chance: seeds move whole runs. By luck alone it is up to 1.7 times that with 3 "
            "runs, 1.5 times with 5 (95%)."
        ),
    )
