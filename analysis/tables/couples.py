"""The items of a comparison as couples by task, and the paired figures that several tables show.

Owns how rows become what an estimator takes: couples, question means, a paired table, a test.
Refuses to own the estimators (`stats`) and the figures of a whole task (`compare`): what a
`TaskComparison` holds already is taken from there.

    for task, couples in by_task(comparison).items():
        paired_figures(couples, rng).difference
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from analysis.compare import Comparison, agreement_of, score_of
from analysis.estimate import NAN, Estimate, undefined
from analysis.items import Item
from analysis.stats import cluster, multiplicity, paired, proportions
from analysis.tables.table import Column, Kind

Couple = tuple[Item, Item]
"""One sample in both arms, baseline first."""

Score = Callable[[Item], float | None]
LONGEST = 80  # characters of a text in a table; the whole of it stands in items.csv and the files
NO_COUPLE = "no question with a score in both arms"
FIGURES = (  # how PairedFigures stand in a table, with the p of their family beside their own
    Column("n", "n", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("p", "p", Kind.P),
    Column("holm_p", "Holm p", Kind.P),
    Column("bh_p", "BH p", Kind.P),
)
FIRST_OF_SEEDS = 2000  # `compare` and `volume` use numbers below it


def by_task(comparison: Comparison) -> dict[str, list[Couple]]:
    """Return every paired sample of a comparison, by task in the order of the comparison."""
    found: dict[str, list[Couple]] = {task.task: [] for task in comparison.tasks}
    rows = iter(comparison.items)
    for base, cand in zip(rows, rows, strict=True):
        found[base.task].append((base, cand))
    return found


def generator(comparison: Comparison, task: str, number: int) -> np.random.Generator:
    """Return the random numbers of one table for one task, whatever else is in the report."""
    return np.random.default_rng([comparison.seed, zlib.crc32(task.encode()), number])


def number_of(name: str) -> int:
    """Return the seed number of a table by its name."""
    return FIRST_OF_SEEDS + zlib.crc32(name.encode()) % 1_000_000


def scored(couples: Iterable[Couple], score: Score = score_of) -> list[Couple]:
    """Return the couples that have a score in both arms."""
    return [one for one in couples if score(one[0]) is not None and score(one[1]) is not None]


def question_means(couples: Sequence[Couple], arm: int, score: Score = score_of) -> list[float]:
    """Return each question's mean score in one arm (0 baseline, 1 candidate), in order."""
    values: dict[int | str, list[float]] = {}
    for couple in couples:
        value = score(couple[arm])
        if value is not None:
            values.setdefault(couple[arm].doc_id, []).append(value)
    return [sum(known) / len(known) for known in values.values()]


def single(couples: Sequence[Couple], score: Score = score_of) -> bool:
    """Say whether every question has one sample with a score of 0 or 1: McNemar's case."""
    if len({base.doc_id for base, _ in couples}) < len(couples):
        return False
    return all(score(item) in (None, 0.0, 1.0) for couple in couples for item in couple)


class PairedFigures(NamedTuple):
    """Two arms on the same questions: both scores, their difference, and the test."""

    n: int  # questions
    baseline: Estimate
    candidate: Estimate
    difference: Estimate
    table: paired.PairedTable | None  # None where a question has several samples or a part score
    p: float


def paired_figures(
    couples: Sequence[Couple], rng: np.random.Generator, score: Score = score_of
) -> PairedFigures:
    """Return the paired figures of some couples; those without a score in an arm are left out.

    McNemar, Wilson and Newcombe for single samples; else question means with the bootstrap and the
    sign-flip test, as `compare` does for a whole task.
    """
    known = scored(couples, score)
    if not known:
        nothing = undefined(NO_COUPLE)
        return PairedFigures(0, nothing, nothing, nothing, None, NAN)
    base, cand = (question_means(known, arm, score) for arm in (0, 1))
    if single(known, score):
        table = agreement_of(known, score)
        return PairedFigures(
            table.n,
            proportions.proportion(table.both + table.baseline_only, table.n),
            proportions.proportion(table.both + table.candidate_only, table.n),
            paired.newcombe_difference(table),
            table,
            paired.mcnemar(table).p,
        )
    differences = [b - a for a, b in zip(base, cand, strict=True)]
    return PairedFigures(
        len(base),
        cluster.bootstrap_mean(base, rng),
        cluster.bootstrap_mean(cand, rng),
        cluster.bootstrap_difference(differences, rng),
        None,
        cluster.sign_flip_p(differences, rng),
    )


def adjusted(p_values: Sequence[float]) -> list[tuple[float, float]]:
    """Return Holm's and Benjamini-Hochberg's p of one family of tests; NaN stays NaN."""
    holm = multiplicity.holm(p_values)
    return list(zip(holm, multiplicity.benjamini_hochberg(p_values), strict=True))


def short(text: str | None, longest: int = LONGEST) -> str | None:
    """Return a text in one line that fits a table, cut at the end with a sign of it."""
    if text is None:
        return None
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else f"{flat[: longest - 1]}…"


def names(tasks: Sequence[str]) -> str:
    """Return some tasks in words."""
    return ", ".join(tasks)
