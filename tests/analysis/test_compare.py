from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import (
    HIGHER,
    NOT_SHOWN,
    NOTHING,
    REFUSED_CANDIDATE,
    Comparison,
    Options,
    compare,
)
from analysis.reading.load import Choice, read_arm
from tests.analysis.runs import foreign_row, our_row, pair_of_runs, write_run

CORRECT, WRONG, FAILED = ["correct"], ["incorrect"], ["grader_error"]


def run(paths: tuple[Path, Path], **options: Any) -> Comparison:
    baseline, candidate = (read_arm(path.name, path, Choice()) for path in paths)
    return compare(baseline, candidate, Options(**options))


def rows(verdicts: list[list[str]]) -> list[Any]:
    return [our_row(i, one) for i, one in enumerate(verdicts)]


def compared(folder: Path, baseline: list[list[str]], candidate: list[list[str]]) -> Any:
    return run(pair_of_runs(folder, rows(baseline), rows(candidate))).tasks[0]


def test_every_score_follows_from_one_table_of_items(tmp_path: Path) -> None:
    paths = pair_of_runs(
        tmp_path, rows([CORRECT, CORRECT, WRONG, WRONG]), rows([CORRECT, WRONG, CORRECT, CORRECT])
    )
    comparison = run(paths)
    task = comparison.tasks[0]
    assert task.agreement == (1, 2, 1, 0)
    for arm, score in (("baseline", task.baseline), ("candidate", task.candidate)):
        own = [item.score for item in comparison.items if item.arm == arm]
        assert score.score.value == sum(one or 0.0 for one in own) / len(own)
    assert task.difference.value == task.candidate.score.value - task.baseline.score.value


def test_a_failed_grader_is_left_out_and_counted(tmp_path: Path) -> None:
    task = compared(tmp_path, [CORRECT] * 4, [CORRECT, WRONG, WRONG, FAILED])
    assert (task.candidate.n, task.candidate.n_graded) == (4, 3)
    assert task.candidate.score.value == pytest.approx(1 / 3)
    assert task.n_pairs == 3
    assert "1 pairs left out of the difference" in task.notices[0]


def test_the_headline_is_refused_where_graders_failed_on_more_than_one_percent(
    tmp_path: Path,
) -> None:
    fine = compared(tmp_path / "fine", [CORRECT] * 100, [CORRECT] * 99 + [FAILED])
    assert fine.finding == NOT_SHOWN
    bad = compared(tmp_path / "bad", [CORRECT] * 100, [CORRECT] * 98 + [FAILED] * 2)
    assert bad.finding == REFUSED_CANDIDATE


def test_no_question_graded_in_both_arms_is_said(tmp_path: Path) -> None:
    paths = pair_of_runs(
        tmp_path,
        [foreign_row(0, None), foreign_row(1, 1.0)],
        [foreign_row(i, None) for i in (0, 1)],
    )
    task = run(paths).tasks[0]
    assert task.agreement is None
    assert math.isnan(task.test.p)
    assert task.difference.reason == NOTHING


def test_truncated_samples_count_in_the_score_and_not_in_the_completed_one(tmp_path: Path) -> None:
    task = compared(tmp_path, [CORRECT] * 4, [CORRECT, CORRECT, ["truncated"], WRONG])
    assert task.candidate.score.value == 0.5
    assert task.candidate.score_completed.value == pytest.approx(2 / 3)
    assert (task.candidate.truncated.count, task.candidate.n_completed) == (1, 3)


def test_repeated_samples_are_tested_by_question(tmp_path: Path) -> None:
    first = [["correct", "incorrect"]] * 12
    second = [["correct", "correct"]] * 9 + [["incorrect", "correct"]] * 3
    task = compared(tmp_path, first, second)
    assert task.k == 2
    assert task.agreement is None
    assert task.test.rule.startswith("paired sign-flip permutation")
    assert task.test.p == pytest.approx(2 / 2**9)
    assert task.difference.value == pytest.approx(0.375)
    assert task.finding == HIGHER


def test_a_fractional_score_is_tested_by_question(tmp_path: Path) -> None:
    paths = pair_of_runs(
        tmp_path, [foreign_row(i, 0.25) for i in range(6)], [foreign_row(i, 0.5) for i in range(6)]
    )
    task = run(paths).tasks[0]
    assert task.agreement is None
    assert task.test.p == pytest.approx(2 / 2**6)


def test_a_difference_is_claimed_only_after_holm(tmp_path: Path) -> None:
    better = rows([WRONG] * 6 + [CORRECT] * 14), rows([CORRECT] * 20)  # p = 0.03125
    equal = rows([CORRECT] * 20), rows([CORRECT] * 20)
    base, student = pair_of_runs(tmp_path, *better, task="one")
    assert run((base, student)).tasks[0].finding == HIGHER
    write_run(base, equal[0], task="two", model="base-model")
    write_run(student, equal[1], task="two", model="student-model")
    first = run((base, student)).tasks[0]
    assert first.test.holm_p == pytest.approx(0.0625)
    assert first.finding == NOT_SHOWN


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    paths = pair_of_runs(
        tmp_path, rows([["correct", "incorrect"]] * 30), rows([["correct", "correct"]] * 30)
    )
    assert run(paths, seed=5).tasks == run(paths, seed=5).tasks


def test_a_difference_is_refused_with_both_values_and_the_option(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", rows([CORRECT]), config={"sampling": {"temperature": 0}})
    student = write_run(tmp_path / "b", rows([WRONG]), config={"sampling": {"temperature": 1}})
    with pytest.raises(ValueError, match="temperature: baseline 0, candidate 1") as refused:
        run((base, student))
    assert "--allow sampling" in str(refused.value)
    notices = run((base, student), allow=("sampling",)).notices
    assert "allowed difference of sampling, quiz: temperature: baseline 0, candidate 1" in notices


def test_allowed_docs_are_compared_where_they_are_the_same(tmp_path: Path) -> None:
    changed = {**our_row(1, WRONG), "doc_hash": "other"}
    paths = pair_of_runs(
        tmp_path, rows([CORRECT] * 3), [our_row(0, WRONG), changed, our_row(2, CORRECT)]
    )
    task = run(paths, allow=("docs",)).tasks[0]
    assert task.n_pairs == 2
    assert "unpaired: 1 docs whose content or target differs" in task.notices


def test_a_run_against_itself_is_said_to_be_one(tmp_path: Path) -> None:
    base = write_run(tmp_path, rows([CORRECT, WRONG]))
    comparison = run((base, base))
    assert comparison.notices[0].startswith("A/A: both arms are the same file")
    assert comparison.tasks[0].test.p == 1.0


def test_a_task_of_one_arm_only_is_left_out_and_said(tmp_path: Path) -> None:
    base, student = pair_of_runs(tmp_path, rows([CORRECT]), rows([CORRECT]))
    write_run(base, rows([CORRECT]), task="riddle", model="base-model")
    assert "only base has riddle: left out" in run((base, student)).notices


def test_arms_without_a_task_in_common_are_refused(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", rows([CORRECT]), task="one")
    student = write_run(tmp_path / "b", rows([CORRECT]), task="two")
    with pytest.raises(ValueError, match="baseline has one; candidate has two"):
        run((base, student))


def test_copies_of_one_completion_are_noticed(tmp_path: Path) -> None:
    task = compared(tmp_path, [["correct", "correct"]] * 3, [["correct", "correct"]] * 3)
    assert any("copies of one completion" in notice for notice in task.notices)


def test_empty_completions_are_noticed(tmp_path: Path) -> None:
    paths = pair_of_runs(
        tmp_path, [foreign_row(0, 0.0, text="")], [foreign_row(0, 1.0, text="yes")]
    )
    notices = run(paths).tasks[0].notices
    assert any("1 of 1 completions of the baseline are empty" in notice for notice in notices)


def test_an_unfinished_run_is_noticed(tmp_path: Path) -> None:
    paths = pair_of_runs(tmp_path, rows([CORRECT]), rows([CORRECT]))
    (paths[1] / "manifest.json").write_text('{"status": "failed"}', encoding="utf-8")
    notice = "the run of student is not finished, its manifest says 'failed'"
    assert notice in run(paths).notices


def test_a_metric_of_which_less_is_better_is_noticed(tmp_path: Path) -> None:
    rows = [foreign_row(0, 0.5, metric="error_rate")]
    told = {"higher_is_better": {"quiz": {"error_rate": False}}}
    notices = run(pair_of_runs(tmp_path, rows, rows, results=told)).notices
    assert any("lower is better for error_rate" in notice for notice in notices)


def test_tasks_that_ask_the_same_questions_are_noticed(tmp_path: Path) -> None:
    def named(names: list[str]) -> list[Any]:
        return [
            foreign_row(i, 1.0, target="7", doc={"question": name, "problem_id": name})
            for i, name in enumerate(names)
        ]

    whole, part, other = named(["I-1", "I-2", "I-3"]), named(["I-2", "I-3"]), named(["1", "2"])
    base, student = pair_of_runs(tmp_path, whole, whole, task="whole")
    for task, rows in (("part", part), ("other", other), ("last", other)):
        write_run(base, rows, task=task, model="base-model")
        write_run(student, rows, task=task, model="student-model")
    shared = [notice for notice in run((base, student)).notices if "counts them twice" in notice]
    assert len(shared) == 1
    assert "part and whole share 2 questions" in shared[0]


def test_many_tasks_of_the_same_questions_are_one_notice(tmp_path: Path) -> None:
    rows = [
        foreign_row(i, 1.0, target="7", doc={"question": name, "problem_id": name})
        for i, name in enumerate(["I-1", "I-2"])
    ]
    base, student = pair_of_runs(tmp_path, rows, rows, task="quiz_r1")
    for tier in ("r2", "r3", "r6"):
        for run_folder, model in ((base, "base-model"), (student, "student-model")):
            write_run(run_folder, rows, task=f"quiz_{tier}", model=model)
    (shared,) = (notice for notice in run((base, student)).notices if "share" in notice)
    assert shared == (
        "quiz_r1, quiz_r2, quiz_r3, quiz_r6 share 2 questions: the mean over tasks counts them "
        "4 times"
    )


def test_holm_and_bh_are_taken_over_the_tasks(tmp_path: Path) -> None:
    base, student = pair_of_runs(tmp_path, rows([WRONG] * 8), rows([CORRECT] * 8), task="a")
    for task, n in (("b", 6), ("c", 1)):
        write_run(base, rows([WRONG] * n), task=task, model="base-model")
        write_run(student, rows([CORRECT] * n), task=task, model="student-model")
    found = run((base, student)).tasks
    assert [task.test.holm_p for task in found] == pytest.approx([6 / 2**8, 4 / 2**6, 1.0])
    assert [task.test.bh_p for task in found] == pytest.approx([6 / 2**8, 3 / 2**6, 1.0])


def test_one_model_asked_in_two_ways_is_no_noise_floor(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a", rows([CORRECT]), config={"sampling": {"temperature": 0}})
    hot = write_run(tmp_path / "b", rows([CORRECT]), config={"sampling": {"temperature": 1}})
    notices = run((base, hot), allow=("sampling",)).notices
    assert "both arms were answered by 'some-model', asked in two ways" in notices
    assert not any(notice.startswith("A/A") for notice in notices)
