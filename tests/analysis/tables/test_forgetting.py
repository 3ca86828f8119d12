from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.compare import NOT_SHOWN, Comparison
from analysis.estimate import Estimate
from analysis.tables.forgetting import says as sentence
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


def says(comparison: Comparison) -> object:
    return cells(table_of("forgetting", comparison), "quiz")["says"]


def test_a_loss_that_the_interval_holds_cannot_be_excluded(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(60, 8, 5, 27))
    row = cells(table_of("forgetting", comparison), "quiz")
    low = comparison.tasks[0].difference.low
    assert row["not_excluded"] == -low
    assert row["says"] == f"cannot exclude a loss of {-100 * low:.1f} points"
    assert row["detectable"] == comparison.tasks[0].detectable


def test_a_loss_that_is_shown_is_said_with_its_reach(tmp_path: Path) -> None:
    comparison = compared(tmp_path, *counted(50, 2, 30, 18))
    reach = -100 * comparison.tasks[0].difference.low
    assert says(comparison) == f"loss shown, up to {reach:.1f} points"


def test_a_gain_that_is_shown_is_a_gain(tmp_path: Path) -> None:
    assert says(compared(tmp_path, *counted(50, 30, 2, 18))) == "gain shown"


def test_an_interval_above_zero_without_a_shown_difference_excludes_a_loss(tmp_path: Path) -> None:
    tasks = {"quiz": counted(50, 14, 4, 32)}
    tasks |= {f"task{i}": counted(10, 3, 3, 10) for i in range(4)}
    comparison = compared_tasks(tmp_path, tasks)
    found = next(task for task in comparison.tasks if task.task == "quiz")
    assert found.difference.low > 0.0
    assert found.test.holm_p > 0.05
    assert says(comparison) == "a loss is excluded, taken alone"


def test_the_largest_loss_stands_first(tmp_path: Path) -> None:
    tasks = {"up": counted(5, 9, 1, 5), "down": counted(5, 1, 9, 5), "same": counted(5, 1, 1, 5)}
    table = table_of("forgetting", compared_tasks(tmp_path, tasks))
    assert table.column("task") == ["down", "same", "up"]
    down = cells(table, "down")["not_excluded"]
    assert isinstance(down, float)
    (note,) = table.notes
    assert note == f"the largest loss that is not excluded is {100 * down:.1f} points, on down"


def test_a_broken_grader_says_nothing(tmp_path: Path) -> None:
    broken = graded([["correct"]] * 8 + [["grader_error"]] * 2)
    found = says(compared(tmp_path, graded([["correct"]] * 10), broken))
    assert found == "candidate grader failed: nothing can be said"


def test_one_question_of_several_samples_excludes_nothing(tmp_path: Path) -> None:
    base, cand = graded([["correct", "incorrect"]]), graded([["correct", "correct"]])
    assert says(compared(tmp_path, base, cand)) == "cannot exclude any loss: no interval"


def test_a_lower_error_rate_is_no_loss(tmp_path: Path) -> None:
    told = {"higher_is_better": {"quiz": {"error_rate": False}}}
    rows = [
        [foreign_row(i, float(i < wrong), metric="error_rate") for i in range(60)]
        for wrong in (30, 10)
    ]
    comparison = compared_paths(*pair_of_runs(tmp_path, *rows, results=told))
    row = cells(table_of("forgetting", comparison), "quiz")
    assert row["says"] == "gain shown"
    assert row["not_excluded"] == 0.0
    assert comparison.tasks[0].difference.value == pytest.approx(-1 / 3)


@pytest.mark.parametrize("verdicts", [["correct"] * 2, ["correct", "incorrect"]])
def test_equal_questions_exclude_only_a_large_loss(tmp_path: Path, verdicts: list[str]) -> None:
    comparison = compared(tmp_path, graded([verdicts] * 6), graded([verdicts] * 6))
    assert says(comparison) == "cannot exclude a loss of 45.9 points"  # 1 - 0.025 ** (1 / 6)


def test_one_question_that_moved_excludes_no_loss(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect"]] * 30)
    cand = graded([["correct", "correct"], *[["correct", "incorrect"]] * 29])
    assert says(compared(tmp_path, base, cand)) == "cannot exclude a loss of 11.6 points"


def test_equal_gains_have_no_interval_to_exclude_a_loss_by(tmp_path: Path) -> None:
    (task,) = compared(tmp_path, *counted(50, 14, 4, 32)).tasks
    assert sentence(replace(task, finding=NOT_SHOWN), Estimate(0.5)) == (
        "cannot exclude any loss: no interval"
    )


def test_an_interval_above_zero_that_the_test_does_not_bear_out_excludes_no_loss(
    tmp_path: Path,
) -> None:
    (task,) = compared(tmp_path, *counted(50, 14, 4, 32)).tasks
    doubtful = replace(task, test=replace(task.test, p=0.06, holm_p=0.06), finding=NOT_SHOWN)
    said = sentence(doubtful, Estimate(0.1, 0.001, 0.2))
    assert said == "no loss within the interval, but the test does not exclude one"
