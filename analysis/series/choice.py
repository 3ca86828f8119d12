"""Which step of a sweep is the best, and what that choice is worth.

Owns the rule of the choice, by one task: the highest score; of equal ones the earliest step; none
by a score of which more than 1% could not be graded. Refuses to own the optimism's estimate
(`stats.selection`). Where items are known, every step is scored on the questions that all have.

    choose(series, "distill_math500").best.run       # "step-000300"
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate, undefined
from analysis.items import BASELINE
from analysis.series.form import DEV, Score, Series
from analysis.stats import selection

SEED = 61
NO_N = "the file gives no n"


@dataclass(frozen=True)
class Choice:
    """The best step by a task, those that were as good, and the bias of having picked it.

    `shares` says how often each run is picked when the questions are drawn anew; {} without items.
    """

    best: Score
    candidates: tuple[Score, ...]
    equal: tuple[str, ...]
    left_out: tuple[str, ...]  # runs with the reason why they could not be chosen
    optimism: Estimate
    corrected: Estimate
    gain: Estimate
    shares: dict[str, float]
    n_questions: int | None  # that all steps answered; None without items


def choose(series: Series, task: str) -> Choice:
    """Choose by a task.

    Raises:
        ValueError: no such task, a run without a step, two runs of one step, or no step with a
            score to rely on.
    """
    candidates = series.of(task, DEV)
    if not candidates:
        have = ", ".join(series.tasks)
        raise ValueError(f"--select-by {task!r}: no run has that task; there are {have}")
    stepless = next((one.run for one in candidates if one.step is None), None)
    if stepless is not None:
        raise ValueError(f"cannot tell the step of run {stepless!r}; name it: STEP=RUN")
    runs: dict[int | None, str] = {}
    for one in candidates:
        if runs.setdefault(one.step, one.run) != one.run:
            raise ValueError(
                f"runs {runs[one.step]!r} and {one.run!r} are both of step {one.step}; give the "
                "runs of one training (in a CSV: a column `series`)"
            )
    fit = sorted((one for one in candidates if one.unfit is None), key=lambda one: one.step or 0)
    left_out = tuple(f"{one.run}: {one.unfit}" for one in candidates if one.unfit is not None)
    if not fit:
        raise ValueError(f"no step can be chosen by {task} ({left_out[0]})")
    matrix, reference = scores_of(series, fit, task)
    values = [one.value for one in fit] if matrix is None else column_means(matrix)
    best = min(range(len(fit)), key=lambda i: (-values[i], fit[i].step or 0))
    equal = tuple(one.run for i, one in enumerate(fit) if i != best and values[i] == values[best])
    optimism, corrected, gain, shares = bias(series, fit, fit[best], matrix, reference)
    return Choice(
        best=fit[best],
        candidates=tuple(fit),
        equal=equal,
        left_out=left_out,
        optimism=optimism,
        corrected=corrected,
        gain=gain,
        shares=shares,
        n_questions=None if matrix is None else len(matrix),
    )


Floats = NDArray[np.float64]


def scores_of(series: Series, fit: list[Score], task: str) -> tuple[Floats | None, Floats | None]:
    """Return each question's score by step (questions, steps), and the baseline's; None without.

    Only the questions that every step answered.
    """
    columns = [series.by_question(one.run, task) for one in fit]
    common = [doc for doc in columns[0] if all(doc in column for column in columns)]
    if not common:
        return None, None
    matrix = np.array([[column[doc] for column in columns] for doc in common], dtype=np.float64)
    if series.base_of(fit[0]) is None:  # compared with another step, and not with a baseline
        return matrix, None
    base = series.by_question(fit[0].run, task, BASELINE)
    return matrix, np.array([base[doc] for doc in common], dtype=np.float64)


def column_means(matrix: Floats) -> list[Fraction]:
    """Return the mean of each column as a fraction, so that equal ones are equal."""
    exact = [[Fraction(value).limit_denominator(10**6) for value in row] for row in matrix.tolist()]
    return [sum(column, Fraction(0)) / len(exact) for column in zip(*exact, strict=True)]


def bias(
    series: Series, fit: list[Score], best: Score, matrix: Floats | None, reference: Floats | None
) -> tuple[Estimate, Estimate, Estimate, dict[str, float]]:
    """Return optimism, corrected score, corrected gain, and how often each step is picked."""
    nothing = undefined("needs each question's results of every step")
    if matrix is not None:
        rng = np.random.default_rng([series.seed, zlib.crc32(best.task.encode()), SEED])
        picked = selection.out_of_bag(matrix, rng, reference)
        shares = {one.run: share for one, share in zip(fit, picked.shares, strict=True)}
        return picked.optimism, picked.corrected, picked.gain, shares
    sizes = [one.n if one.n_docs is None else min(one.n or 0, one.n_docs) for one in fit]
    if not all(sizes):
        return undefined(NO_N), nothing, nothing, {}
    pooled = sum(one.value for one in fit) / len(fit)
    return (
        selection.optimism_of_counts(float(pooled), [n or 0 for n in sizes]),
        nothing,
        nothing,
        {},
    )
