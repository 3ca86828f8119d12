from __future__ import annotations

from pathlib import Path

import pytest

from analysis.estimate import Estimate, Share
from tests.analysis.comparisons import (
    cells,
    compared,
    compared_paths,
    compared_tasks,
    counted,
    graded,
    table_of,
)
from tests.analysis.runs import foreign_row, pair_of_runs


def test_the_scorecard_shows_the_figures_of_the_comparison(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(12, 1, 8, 9))
    (task,) = comparison.tasks
    row = cells(table_of("scorecard", comparison), "quiz")
    assert (row["n"], row["k"]) == (30, 1)
    assert (row["baseline"], row["candidate"]) == (task.baseline.score, task.candidate.score)
    assert (row["difference"], row["p"]) == (task.difference, task.test.p)


def test_several_tasks_have_a_mean_line_and_holms_p(tmp_path: Path) -> None:
    tasks = {"one": counted(12, 1, 8, 9), "two": counted(0, 9, 0, 1)}
    comparison = compared_tasks(tmp_path, tasks)
    table = table_of("scorecard", comparison)
    mean = cells(table, "mean of tasks")
    assert isinstance(mean["difference"], Estimate)
    assert mean["difference"].value == pytest.approx((-7 / 30 + 9 / 10) / 2)
    assert isinstance(mean["baseline"], Estimate)
    assert mean["baseline"].value == pytest.approx((20 / 30 + 0) / 2)
    assert mean["n"] == 40
    assert cells(table, "two")["p"] == pytest.approx(2 * comparison.tasks[1].test.p)
    assert "Holm over 2 tasks" in table.foot


def test_one_task_has_no_mean_line(tmp_path: Path) -> None:
    table = table_of("scorecard", compared(tmp_path, *counted(1, 1, 1, 1)))
    assert len(table.rows) == 1
    assert "Holm" not in table.foot


def test_the_mean_line_claims_nothing_where_a_grader_broke(tmp_path: Path) -> None:
    broken = graded([["correct"]] * 8 + [["grader_error"]] * 2)
    tasks = {"torn": (graded([["correct"]] * 10), broken), "whole": counted(5, 1, 1, 5)}
    mean = cells(table_of("scorecard", compared_tasks(tmp_path, tasks)), "mean of tasks")
    assert isinstance(mean["difference"], Estimate)
    assert not mean["difference"].defined
    assert "grader failed" in (mean["difference"].reason or "")
    assert mean["p"] is None


def test_scores_of_which_less_is_better_have_no_mean(tmp_path: Path) -> None:
    told = {"higher_is_better": {"errors": {"error_rate": False}}}
    rows = [foreign_row(i, 0.5, metric="error_rate") for i in range(6)]
    paths = pair_of_runs(tmp_path, rows, rows, task="errors", results=told)
    pair_of_runs(tmp_path, *counted(3, 1, 1, 1), time="2026-02-01T10-00-00.000000")
    mean = cells(table_of("scorecard", compared_paths(*paths)), "mean of tasks")
    assert isinstance(mean["baseline"], Estimate)
    assert not mean["baseline"].defined


def test_the_foot_names_the_estimators_that_were_used(tmp_path: Path) -> None:
    repeated = compared(tmp_path, graded([["correct"] * 2]), graded([["incorrect"] * 2]))
    foot = table_of("scorecard", repeated).foot
    assert "bootstrap" in foot
    assert "Wilson" not in foot


def test_completion_counts_what_was_cut_off_and_what_failed(tmp_path: Path) -> None:
    base = graded([["correct"], ["truncated"], ["no_answer"], ["grader_error"], ["incorrect"]])
    comparison = compared(tmp_path, base, graded([["correct"]] * 5))
    row = cells(table_of("completion", comparison), "quiz", "baseline")
    shares = [row[name] for name in ("truncated", "no_answer", "grader_error")]
    assert shares == [Share(1, 5), Share(1, 5), Share(1, 5)]
    assert row["n_completed"] == 3
    assert isinstance(row["score_completed"], Estimate)
    assert row["score_completed"].value == pytest.approx(1 / 3)


def test_empty_completions_are_counted(tmp_path: Path) -> None:
    silent = [foreign_row(i, 0.0, text=text) for i, text in enumerate(("", " \n", "seven"))]
    spoken = [foreign_row(i, 0.0) for i in range(3)]
    table = table_of("completion", compared(tmp_path, silent, spoken))
    assert cells(table, "quiz", "baseline")["empty"] == Share(2, 3)
    assert cells(table, "quiz", "candidate")["empty"] == Share(0, 3)


def test_a_task_without_text_has_no_rate_of_truncation(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0, resps=[[[-1.5, False]]]) for i in range(3)]
    table = table_of("completion", compared(tmp_path, rows, rows))
    row = cells(table, "quiz", "baseline")
    for name in ("truncated", "no_answer", "empty"):
        share = row[name]
        assert isinstance(share, Share)
        assert share.count is None
        assert share.reason
