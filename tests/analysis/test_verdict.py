from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import NOT_SHOWN
from analysis.verdict import HELPED, HURT, MIXED, NO_VERDICT, headline, verdict
from tests.analysis.comparisons import compared, compared_paths, compared_tasks, counted, graded
from tests.analysis.runs import foreign_row, pair_of_runs, record

BETTER, WORSE, EQUAL = counted(20, 30, 2, 10), counted(20, 2, 30, 10), counted(30, 3, 3, 30)


def test_one_task_is_said_with_its_own_figures(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *BETTER)
    found = verdict(comparison)
    task = comparison.tasks[0]
    assert (found.finding, found.difference, found.p) == (HELPED, task.difference, task.test.p)
    assert found.sentence.startswith("Helped: +45.2 points [+")
    assert "on quiz (62 questions, p=" in found.sentence


def test_a_loss_is_said_to_hurt(tmp_path: Path) -> None:
    found = verdict(compared(tmp_path, *WORSE))
    assert found.finding == HURT
    assert found.sentence.startswith("Hurt: -45.2 points")


def test_what_would_have_been_needed_is_said_where_nothing_is_shown(tmp_path: Path) -> None:
    found = verdict(compared(tmp_path, *EQUAL))
    assert found.finding == NOT_SHOWN
    assert found.sentence.startswith("No difference shown: 0.0 points [")
    detectable = 100 * found.detectable.value
    assert f"; a true difference of {detectable:.1f} points would be seen" in found.sentence


def test_several_tasks_are_one_mean_in_which_each_counts_alike(tmp_path: Path) -> None:
    comparison = compared_tasks(tmp_path, {"large": counted(0, 0, 0, 200), "small": BETTER})
    found = verdict(comparison)
    assert found.difference.value == pytest.approx(28 / 62 / 2)
    assert found.finding == HELPED
    assert "in the mean of 2 tasks (262 questions" in found.sentence
    assert found.sentence.endswith("; better on small")


def test_tasks_that_speak_against_each_other_are_mixed(tmp_path: Path) -> None:
    found = verdict(compared_tasks(tmp_path, {"up": BETTER, "down": WORSE}))
    assert found.finding == MIXED
    assert found.difference.value == pytest.approx(0.0)
    assert found.sentence.endswith("; better on up; worse on down")


def test_a_mean_that_is_shown_while_one_task_is_worse_is_mixed(tmp_path: Path) -> None:
    tasks = {"up": BETTER, "up too": BETTER, "more up": BETTER, "down": WORSE}
    found = verdict(compared_tasks(tmp_path, tasks))
    assert found.p < 0.05
    assert found.finding == MIXED


def test_no_verdict_where_a_grader_broke_in_any_task(tmp_path: Path) -> None:
    broken = graded([["correct"]] * 48 + [["grader_error"]] * 2)
    tasks = {"fine": BETTER, "torn": (graded([["correct"]] * 50), broken)}
    found = verdict(compared_tasks(tmp_path, tasks))
    assert found.finding == NO_VERDICT
    assert not found.difference.defined
    assert math.isnan(found.p)
    told = "the grader failed on 4.0% of the candidate's samples (2 of 50; limit 1%) on torn"
    assert told in found.sentence


def test_no_verdict_where_most_completions_are_empty(tmp_path: Path) -> None:
    silent = [foreign_row(i, 0.0, text="" if i < 6 else "7") for i in range(10)]
    spoken = [foreign_row(i, 1.0, text="8") for i in range(10)]
    found = verdict(compared(tmp_path, silent, spoken))
    assert found.finding == NO_VERDICT
    assert "6 of 10 completions of the baseline are empty" in found.sentence


def test_what_was_cut_off_before_its_answer_is_truncated_and_not_empty(tmp_path: Path) -> None:
    sizes = {"reasoning_chars": 0, "answer_chars": 0}
    cut = [foreign_row(i, 0.0, text="") for i in range(10)]
    for row in cut:
        row["samples"] = [record(0, "truncated", truncated=True, finish_reason="length", **sizes)]
    spoken = [foreign_row(i, 1.0, text="8") for i in range(10)]
    comparison = compared(tmp_path, cut, spoken, metric="exact_match")
    assert comparison.tasks[0].baseline.truncated.count == 10
    assert verdict(comparison).finding == HELPED


def test_a_task_of_empty_completions_has_no_headline(tmp_path: Path) -> None:
    silent = [foreign_row(i, 0.0, text=" ") for i in range(10)]
    spoken = [foreign_row(i, 1.0, text="8") for i in range(10)]
    line = headline(compared(tmp_path, silent, spoken).tasks[0], 1)
    assert line.startswith("no headline: 10 of 10 completions of the baseline are empty")


def test_no_verdict_without_a_question_graded_in_both_arms(tmp_path: Path) -> None:
    paths = pair_of_runs(
        tmp_path,
        [foreign_row(0, None), foreign_row(1, 1.0)],
        [foreign_row(0, 1.0), foreign_row(1, None)],
    )
    assert verdict(compared_paths(*paths)).finding == NO_VERDICT


def test_a_file_against_itself_is_said_to_be_one(tmp_path: Path) -> None:
    base, _ = pair_of_runs(tmp_path, *BETTER)
    found = verdict(compared_paths(base, base))
    assert (found.finding, found.p, found.difference.value) == (NOT_SHOWN, 1.0, 0.0)
    assert "same file" in found.sentence


def error_rates(folder: Path, baseline: float, candidate: float) -> Any:
    told = {"higher_is_better": {"quiz": {"error_rate": False}}}
    rows = [
        [foreign_row(i, value, metric="error_rate") for i in range(20)]
        for value in (baseline, candidate)
    ]
    return compared_paths(*pair_of_runs(folder, *rows, results=told))


def test_fewer_errors_help(tmp_path: Path) -> None:
    found = verdict(error_rates(tmp_path, 1.0, 0.0))
    assert found.finding == HELPED
    assert "lower is better for error_rate" in found.sentence


def test_a_lower_error_rate_counts_as_better_in_the_mean(tmp_path: Path) -> None:
    told = {"higher_is_better": {"errors": {"error_rate": False}}}
    rates = [
        [foreign_row(i, value, metric="error_rate") for i in range(20)] for value in (1.0, 0.0)
    ]
    first, second = pair_of_runs(tmp_path, *rates, task="errors", results=told)
    pair_of_runs(tmp_path, *counted(0, 20, 0, 0), time="2026-02-01T10-00-00.000000")
    found = verdict(compared_paths(first, second))
    assert found.difference.value == pytest.approx(1.0)
    assert found.sentence.endswith("; better on errors, quiz")


def test_many_tasks_are_not_all_named(tmp_path: Path) -> None:
    found = verdict(compared_tasks(tmp_path, {f"task{i}": BETTER for i in range(9)}))
    assert found.sentence.endswith("task5 and 3 more")


def test_repeated_samples_have_a_verdict_too(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect"]] * 12)
    cand = graded([["correct", "correct"]] * 12)
    found = verdict(compared(tmp_path, base, cand))
    assert found.finding == HELPED
    assert found.difference.value == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_verdict(tmp_path: Path) -> None:
    comparison = compared_tasks(tmp_path, {"one": BETTER, "two": EQUAL})
    assert verdict(comparison) == verdict(comparison)


def test_the_headline_of_a_task_names_both_p_values_among_several(tmp_path: Path) -> None:
    comparison = compared_tasks(tmp_path, {"one": EQUAL, "two": EQUAL})
    line = headline(comparison.tasks[0], 2)
    assert line.startswith("no difference shown (p=1.0000, Holm p=1.0000): 0.0 points [")
    assert "would be seen four times in five" in line


def test_a_task_whose_grader_broke_has_no_headline(tmp_path: Path) -> None:
    broken = graded([["correct"]] * 8 + [["grader_error"]] * 2)
    comparison = compared(tmp_path, graded([["correct"]] * 10), broken)
    line = headline(comparison.tasks[0], 1)
    assert line.startswith("no headline: the grader failed on 20.0% of the candidate's samples")


def test_tasks_without_a_difference_leave_a_mean_with_its_interval(tmp_path: Path) -> None:
    same = counted(30, 0, 0, 0)
    found = verdict(compared_tasks(tmp_path, {"one": same, "two": same}))
    assert found.p == 1.0
    assert found.difference.low < -0.05 < 0.05 < found.difference.high


def test_arms_that_are_shown_to_be_equal_are_said_to_be(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(480, 8, 9, 503))
    (task,) = comparison.tasks
    said = "; shown to be equal within 3 points (TOST p="
    assert task.finding == NOT_SHOWN
    assert said in verdict(comparison).sentence
    assert said in headline(task, 1)
    assert "four times in five" not in headline(task, 1)
