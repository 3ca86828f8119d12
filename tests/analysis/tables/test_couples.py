from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from analysis.tables.couples import adjusted, by_task, generator, paired_figures, short
from tests.analysis.comparisons import compared, compared_tasks, counted, graded
from tests.analysis.runs import foreign_row


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_couples_are_of_one_sample_in_both_arms_by_task(tmp_path: Path) -> None:
    tasks = {"one": counted(2, 1, 0, 0), "two": counted(0, 0, 1, 1)}
    found = by_task(compared_tasks(tmp_path, tasks))
    assert [(task, len(couples)) for task, couples in found.items()] == [("one", 3), ("two", 2)]
    for base, cand in (couple for couples in found.values() for couple in couples):
        assert (base.arm, cand.arm) == ("baseline", "candidate")
        assert (base.doc_id, base.sample_index) == (cand.doc_id, cand.sample_index)


def test_paired_figures_of_a_task_are_those_of_the_comparison(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(12, 1, 8, 9))
    (task,) = comparison.tasks
    found = paired_figures(by_task(comparison)["quiz"], rng())
    assert found.table == task.agreement
    assert (found.difference, found.p) == (task.difference, task.test.p)
    assert (found.baseline, found.candidate) == (task.baseline.score, task.candidate.score)


def test_part_scores_are_tested_by_question(tmp_path: Path) -> None:
    base = [foreign_row(i, 0.25) for i in range(6)]
    cand = [foreign_row(i, 0.5) for i in range(6)]
    found = paired_figures(by_task(compared(tmp_path, base, cand))["quiz"], rng())
    assert (found.table, found.p) == (None, pytest.approx(2 / 2**6))
    assert found.difference.value == 0.25


def test_a_sample_index_whose_partner_failed_is_left_out_of_its_question(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect"]] * 3)
    cand = graded([["correct", "grader_error"]] * 3)
    found = paired_figures(by_task(compared(tmp_path, base, cand))["quiz"], rng())
    assert (found.n, found.baseline.value, found.candidate.value) == (3, 1.0, 1.0)


def test_nothing_graded_in_both_arms_has_no_figures(tmp_path: Path) -> None:
    comparison = compared(tmp_path, graded([["grader_error"]]), graded([["correct"]]))
    found = paired_figures(by_task(comparison)["quiz"], rng())
    assert found.n == 0
    assert math.isnan(found.p)
    assert found.difference.reason


def test_a_tables_random_numbers_depend_on_its_task_and_its_seed(tmp_path: Path) -> None:
    rows = graded([["correct"]])
    one, other = (compared(tmp_path / str(seed), rows, rows, seed=seed) for seed in (1, 2))
    drawn = [
        generator(comparison, task, number).random()
        for comparison, task, number in (
            (one, "a", 1),
            (one, "b", 1),
            (one, "a", 2),
            (other, "a", 1),
        )
    ]
    assert len(set(drawn)) == 4
    assert generator(one, "a", 1).random() == drawn[0]


def test_a_test_that_was_not_made_is_adjusted_to_nothing() -> None:
    found = adjusted([0.01, math.nan, 0.04])
    assert found[0] == pytest.approx((0.02, 0.02))
    assert all(math.isnan(one) for one in found[1])


def test_a_short_text_is_one_line() -> None:
    assert short(None) is None
    assert short("a\n b\t c") == "a b c"
    assert short("x" * 81) == "x" * 79 + "…"
