"""Responses of different length, asked for or trained on: words, accuracy, the trend over tiers.

Owns which figures stand in these tables. Refuses to own what they are made of (`series`, `stats`).

    tiers(*from_one(Path("runs/base"), Reading()))      # "tiers" and "tier-trends"
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from analysis.estimate import NAN
from analysis.series.form import Score, Series
from analysis.tables.curves import known, trend_over
from analysis.tables.families import with_holm
from analysis.tables.sweep import foot_of
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.text import visible

SEED = 65
TIER = re.compile(r"r([1-6])", re.IGNORECASE)
ORDER, LOG_WORDS = "tier", "log2 of words"


def tiers(series: Series, first: str = "") -> list[Table]:
    """Return the tiers, each against the first one, and their trends.

    `first` names the first tier where it is the baseline of the runs.

    Raises:
        ValueError: fewer than two tiers.
    """
    if len(series.runs) + bool(first) < 2:
        raise ValueError("tiers need two runs at least; name them: R1=RUN R2=RUN")
    return [scores(series, first), trends(series, first)]


def of_task(series: Series, first: str, task: str) -> list[Score]:
    """Return the scores of a task by tier; the first is the baseline's where it is the tier."""
    found = series.of(task)
    base = series.base_of(found[0]) if first else None
    return [base, *found] if base is not None else found


def scores(series: Series, first: str) -> Table:
    """Return words and accuracy by tier."""
    rows: list[tuple[Cell, ...]] = []
    for task in series.tasks:
        for score in of_task(series, first, task):
            difference = series.difference(score)
            if score in series.baseline:
                rows.append(
                    (
                        task,
                        first,
                        score.n,
                        score.words,
                        score.estimate,
                        known(score),
                        None,
                        NAN,
                        NAN,
                    )
                )
                continue
            rows.append(
                (task, score.run, score.n, score.words, score.estimate, known(score),
                 difference.estimate, difference.p, NAN)
            )  # fmt: skip
    return with_holm(
        Table(
            "tiers",
            "Accuracy by length of response",
            (
                Column("task", "task"),
                Column("tier", "tier"),
                Column("n", "n", Kind.COUNT),
                Column("words", "words", Kind.NUMBER),
                Column("score", "accuracy", Kind.PERCENT),
                Column("truncated", "cut off", Kind.PERCENT),
                Column("difference", f"against {visible(first or 'baseline')}", Kind.POINTS),
                Column("p", "p", Kind.P),
                Column("holm_p", "Holm p", Kind.P),
            ),
            rows,
            foot=(
                "n: graded completions; words: mean of a response, reasoning and answer. "
                f"{foot_of(series, 'Holm over all rows')}"
            ),
            notes=series.notes,
        )
    )


def places(names: Sequence[str]) -> list[float]:
    """Return the places of tiers: their numbers where all are r1 to r6, else their order."""
    numbers = [TIER.fullmatch(name) for name in names]
    if all(numbers):
        return [float(found[1]) for found in numbers if found]
    return [float(number) for number in range(len(names))]


def trends(series: Series, first: str) -> Table:
    """Return whether accuracy changes with the order of the tiers, and with their words."""
    rows: list[tuple[Cell, ...]] = []
    for task in series.tasks:
        found = of_task(series, first, task)
        if len(found) < 2:
            continue
        names = [first if one in series.baseline else one.run for one in found]
        levels = {ORDER: places(names)}
        sizes = [one.words for one in found if one.words]
        if len(sizes) == len(found):
            levels[LOG_WORDS] = [math.log2(size) for size in sizes]
        for name, values in levels.items():
            slope, p, method = trend_over(series, found, values, SEED)
            rows.append((task, name, len(found), slope, p, NAN, method))
    return with_holm(
        Table(
            "tier-trends",
            "Change of accuracy with the tier",
            (
                Column("task", "task"),
                Column("by", "by"),
                Column("tiers", "tiers", Kind.COUNT),
                Column("slope", "slope", Kind.POINTS),
                Column("p", "p", Kind.P),
                Column("holm_p", "Holm p", Kind.P),
                Column("method", "test"),
            ),
            rows,
            foot="slope: points for one tier more, or for twice as many words; Holm over the rows.",
            empty="" if rows else "no task with two tiers",
        )
    )
