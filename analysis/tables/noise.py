"""A/A: how much runs of one model differ, below which a difference of two models means nothing.

Owns which samples count as runs of one model: both arms where one model answered both in the same
way, else the repeated samples of an arm. Refuses to own the noise floor itself (`stats.noise`).

    noise(comparison, TableOptions()).column("reach")     # [0.021]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.compare import Comparison
from analysis.items import ARMS
from analysis.stats.noise import noise_floor
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import Couple, by_task, generator, number_of
from analysis.tables.table import Cell, Column, Kind, Table

BOTH = "both arms"
COLUMNS = (
    Column("task", "task"),
    Column("runs_of", "runs of"),
    Column("n", "n", Kind.COUNT),
    Column("runs", "runs", Kind.COUNT),
    Column("flips", "flips", Kind.PERCENT),
    Column("sd_difference", "sd of difference", Kind.PERCENT),
    Column("reach", "95% within", Kind.PERCENT),
    Column("largest", "largest seen", Kind.PERCENT),
)
FOOT = (
    "Flips: questions in % that two runs score differently, question bootstrap 95%. The others in "
    "points, of the difference of two runs' scores: its standard deviation where each question's "
    "chance is its own, 1.96 of it, and the largest difference seen. A difference of two models "
    "within that reach is what one model shows against itself."
)
SAME_FILE = "both arms are the same file: a noise floor needs a second run of the model"
ONE_RUN = (
    "two models (or one asked in two ways) with one sample a question: run one of them twice, or "
    "draw several samples, to see its noise"
)


def noise(comparison: Comparison, options: TableOptions) -> Table:
    """Return how much the runs of one model differ, by task."""
    del options
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    aside = {
        one.task for one in comparison.tasks if one.files[0].resolve() == one.files[1].resolve()
    }
    for task, couples in by_task(comparison).items():
        rng = generator(comparison, task, number_of("noise"))
        for runs_of, matrix, n_left_out in matrices(couples, one_model(comparison), task in aside):
            if n_left_out:
                notes.append(
                    f"{task}, {runs_of}: {n_left_out} questions without a score in all runs"
                )
            if not matrix.size:
                continue
            floor = noise_floor(matrix, rng)
            sizes = (floor.sd_difference, floor.reach, floor.largest)
            rows.append((task, runs_of, floor.n_questions, floor.n_runs, floor.flips, *sizes))
    why = SAME_FILE if aside else ONE_RUN
    return Table("noise", "Noise floor", COLUMNS, rows, FOOT, tuple(notes), "" if rows else why)


def one_model(comparison: Comparison) -> bool:
    """Say whether one model answered both arms, asked in the same way."""
    named = comparison.baseline_model
    return named is not None and named == comparison.candidate_model and not comparison.allowed


def matrices(
    couples: Sequence[Couple], alike: bool, same_file: bool
) -> Iterator[tuple[str, NDArray[np.float64], int]]:
    """Yield the scores of runs of one model, (questions, runs), with how many were left out."""
    if alike and not same_file:
        yield (BOTH, *matrix_of(couples, (0, 1)))
        return
    for arm, name in enumerate(ARMS[:1] if same_file else ARMS):
        matrix, n_left_out = matrix_of(couples, (arm,))
        if matrix.shape[1] > 1:
            yield name, matrix, n_left_out


def matrix_of(couples: Sequence[Couple], arms: tuple[int, ...]) -> tuple[NDArray[np.float64], int]:
    """Return the questions that have a score in every run, and how many have not.

    The runs of an arm are its samples by index: the first samples of all questions are one run.
    """
    found: dict[int | str, list[float | None]] = {}
    for arm in arms:
        for couple in couples:
            found.setdefault(couple[arm].doc_id, []).append(couple[arm].score)
    n_runs = max(len(scores) for scores in found.values())
    whole = [s for s in found.values() if len(s) == n_runs and None not in s]
    matrix = np.array(whole, dtype=np.float64).reshape(len(whole), n_runs)
    return matrix, len(found) - len(whole)
