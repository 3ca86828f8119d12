"""Two arms asked in the same tiers of reasoning: words, accuracy and difference, tier by tier.

Owns which figures stand in these tables. Refuses to own what they are made of (`series.tiers`,
`stats`). Whether the difference of the arms changes with the tier is tested on the questions that
both arms answered in every tier.

    tier_pairs(pairs_of(Path("runs/base"), Path("runs/student"), Reading()))
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np

from analysis.compare import TaskComparison
from analysis.estimate import NAN
from analysis.items import ARMS, BASELINE, CANDIDATE
from analysis.notices import SHARE
from analysis.series.form import question_means
from analysis.series.runs import words_of
from analysis.series.tiers import TierPairs
from analysis.stats import association
from analysis.tables.families import with_holm
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.tables.tiers import LOG_WORDS, ORDER, places

SEED = 66
DIFFERENCE = "difference"
Scores = dict[int | str, float]
Asked = list[TaskComparison]  # one task's tiers, in their order


def tier_pairs(pairs: TierPairs) -> list[Table]:
    """Return both arms by tier, and how each of them and their difference changes with it."""
    return [scores(pairs), trends(pairs)]


def by_task(pairs: TierPairs) -> dict[str, Asked]:
    """Return each task's tiers in their order."""
    found: dict[str, Asked] = {}
    for one in sorted(pairs.comparison.tasks, key=lambda one: pairs.tiers[one.task]):
        found.setdefault(pairs.tiers[one.task][0], []).append(one)
    return found


def words(pairs: TierPairs, asked: TaskComparison, arm: str) -> float | None:
    """Return the mean words of an arm's responses in one tier, None where no size is known."""
    rows = (one for one in pairs.comparison.items if one.task == asked.task and one.arm == arm)
    return words_of(rows)


def scores(pairs: TierPairs) -> Table:
    """Return a row for each task and tier."""
    rows: list[tuple[Cell, ...]] = [
        (
            task,
            pairs.tiers[one.task][1],
            one.n_questions,
            *(words(pairs, one, arm) for arm in ARMS),
            one.baseline.score,
            one.candidate.score,
            one.difference,
            one.test.p,
            one.test.holm_p,
        )
        for task, asked in by_task(pairs).items()
        for one in asked
    ]
    return Table(
        "tier-pairs",
        "Accuracy of both arms by tier of reasoning",
        (
            Column("task", "task"),
            Column("tier", "tier"),
            Column("n", "n", Kind.COUNT),
            Column("words_baseline", "words, baseline", Kind.NUMBER),
            Column("words_candidate", "words, candidate", Kind.NUMBER),
            Column("baseline", "baseline", Kind.PERCENT),
            Column("candidate", "candidate", Kind.PERCENT),
            Column("difference", "difference", Kind.POINTS),
            Column("p", "p", Kind.P),
            Column("holm_p", "Holm p", Kind.P),
        ),
        rows,
        foot=(
            "words: mean of a response, reasoning and answer. Difference paired by question, with "
            "the intervals and tests of compare; Holm over all rows."
        ),
        notes=tuple(one for one in pairs.comparison.notices if f" {SHARE} " not in one),
    )


def trends(pairs: TierPairs) -> Table:
    """Return how each arm's accuracy, and the difference of both, changes with the tier."""
    rows = [row for task, asked in by_task(pairs).items() for row in of_task(pairs, task, asked)]
    return with_holm(
        Table(
            "tier-pair-trends",
            "Change of accuracy with the tier, in both arms",
            (
                Column("task", "task"),
                Column("of", "of"),
                Column("by", "by"),
                Column("tiers", "tiers", Kind.COUNT),
                Column("n", "n", Kind.COUNT),
                Column("slope", "slope", Kind.POINTS),
                Column("p", "p", Kind.P),
                Column("holm_p", "Holm p", Kind.P),
                Column("method", "test"),
            ),
            rows,
            foot=(
                "slope: points for one tier more, or for twice as many words, on the n questions "
                "answered in every tier; of the difference: candidate less baseline. Holm over the "
                "rows."
            ),
            empty="" if rows else "no task with two tiers in common",
        )
    )


def of_task(pairs: TierPairs, task: str, asked: Asked) -> Iterator[tuple[Cell, ...]]:
    """Yield the trends of one task: of each arm by tier and words, of their difference by tier."""
    if len(asked) < 2:
        return
    order = places([pairs.tiers[one.task][1] for one in asked])
    columns = {
        arm: [question_means(pairs.comparison, one.task, arm) for one in asked] for arm in ARMS
    }
    columns[DIFFERENCE] = [
        {doc: other[doc] - one[doc] for doc in one}
        for one, other in zip(columns[BASELINE], columns[CANDIDATE], strict=True)
    ]
    for name, scores_of in columns.items():
        levels = {ORDER: order}
        sizes = [words(pairs, one, name) for one in asked if name in ARMS]
        if sizes and all(sizes):
            levels[LOG_WORDS] = [math.log2(size) for size in sizes if size]
        for by, values in levels.items():
            yield trend(pairs, (task, name, by), values, scores_of)


def trend(
    pairs: TierPairs, names: tuple[str, str, str], levels: list[float], columns: list[Scores]
) -> tuple[Cell, ...]:
    """Return the row of one trend, over the questions that every tier has."""
    common = [doc for doc in columns[0] if all(doc in column for column in columns)]
    if not common:
        return (*names, len(levels), 0, None, NAN, NAN, "no question answered in every tier")
    matrix = np.array([[column[doc] for column in columns] for doc in common])
    seeds = [zlib.crc32(name.encode()) for name in names]
    rng = np.random.default_rng([pairs.comparison.seed, SEED, *seeds])
    tested = association.paired_trend(levels, matrix, rng)
    return (*names, len(levels), len(common), tested.slope, tested.p, NAN, tested.method)
