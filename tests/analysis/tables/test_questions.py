from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.analysis.comparisons import cells, compared, compared_tasks, counted, graded, table_of
from tests.analysis.runs import foreign_row, our_row


def named(doc_id: int, value: Any, name: str, **more: Any) -> Any:
    doc = {"question": f"question {doc_id}", "task_id": name}
    return foreign_row(doc_id, value, doc=doc, **more)


def test_flips_name_the_questions_that_one_arm_alone_solved(tmp_path: Path) -> None:
    base = [named(i, one, f"T/{i}") for i, one in enumerate([1.0, 0.0, 1.0, 0.0])]
    cand = [named(i, one, f"T/{i}") for i, one in enumerate([1.0, 1.0, 0.0, 0.0])]
    table = table_of("flips", compared(tmp_path, base, cand))
    assert table.column("solved_by") == ["only candidate", "only baseline"]
    assert table.column("name") == ["T/1", "T/2"]
    assert table.column("doc_id") == ["1", "2"]
    assert "Of 4 questions graded in both arms: only candidate 1, only baseline 1" in table.foot


def test_arms_that_solved_the_same_have_no_flips(tmp_path: Path) -> None:
    rows = graded([["correct"], ["incorrect"]])
    assert "same questions" in table_of("flips", compared(tmp_path, rows, rows)).empty


def test_repeated_samples_flip_wholly_or_by_degrees(tmp_path: Path) -> None:
    base = graded([["incorrect"] * 2, ["correct", "incorrect"], ["correct"] * 2])
    cand = graded([["correct"] * 2, ["correct"] * 2, ["correct", "incorrect"]])
    table = table_of("flips", compared(tmp_path, base, cand))
    assert table.column("solved_by") == [
        *("only candidate", "more often candidate", "more often baseline"),
    ]
    assert table.column("baseline_outcome") == ["wrong 2", "right 1, wrong 1", "right 2"]


def test_a_flip_says_how_the_other_arm_failed(tmp_path: Path) -> None:
    base = graded([["correct"]] * 3)
    cand = graded([["incorrect"], ["truncated"], ["no_answer"]])
    table = table_of("flips", compared(tmp_path, base, cand))
    assert table.column("baseline_outcome") == ["right"] * 3
    assert table.column("candidate_outcome") == ["wrong", "truncated", "no answer"]


def test_a_question_whose_grader_failed_is_no_flip(tmp_path: Path) -> None:
    base, cand = graded([["correct"], ["correct"]]), graded([["grader_error"], ["incorrect"]])
    assert table_of("flips", compared(tmp_path, base, cand)).column("doc_id") == ["1"]


def test_flips_stand_task_by_task(tmp_path: Path) -> None:
    tasks = {"a": counted(0, 1, 1, 0), "b": counted(0, 1, 1, 0)}
    table = table_of("flips", compared_tasks(tmp_path, tasks))
    assert table.column("task") == ["a", "a", "b", "b"]


def test_every_question_has_a_line_with_what_both_arms_made_of_it(tmp_path: Path) -> None:
    base = [our_row(7, ["incorrect"], texts=["<think>hm</think>8"])]
    cand = [our_row(7, ["correct"], texts=["<think>hmmm</think>7"])]
    base[0]["samples"][0].update(answer="8", completion_tokens=12)
    row = cells(table_of("questions", compared(tmp_path, base, cand)), "quiz", "7")
    assert (row["target"], row["k"]) == ("7", 1)
    assert (row["baseline"], row["candidate"]) == (0.0, 1.0)
    assert (row["baseline_verdict"], row["candidate_verdict"]) == ("incorrect", "correct")
    assert (row["baseline_answer"], row["candidate_answer"]) == ("8", "1")
    assert (row["baseline_tokens"], row["candidate_tokens"]) == (12, None)
    assert (row["baseline_reasoning_chars"], row["candidate_reasoning_chars"]) == (2, 4)


def test_repeated_samples_are_counted_in_one_line(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect", "correct"]])
    for record, answer in zip(base[0]["samples"], ("4", "5", "4"), strict=True):
        record["answer"] = answer
    cand = graded([["grader_error", "correct", "correct"]])
    row = cells(table_of("questions", compared(tmp_path, base, cand)), "quiz", "0")
    assert row["baseline_verdict"] == "correct 2, incorrect 1"
    assert row["baseline_answer"] == "4 (2), 5 (1)"
    assert row["k"] == 3
    assert (row["baseline"], row["candidate"]) == (0.5, 1.0)  # over the two graded in both


def test_a_question_that_no_arm_could_be_graded_on_has_no_score(tmp_path: Path) -> None:
    base, cand = [foreign_row(0, None), foreign_row(1, 1.0)], [foreign_row(i, 1.0) for i in (0, 1)]
    row = cells(table_of("questions", compared(tmp_path, base, cand)), "quiz", "0")
    assert (row["baseline"], row["candidate"]) == (None, None)
    assert row["baseline_verdict"] == "grader_error"


def test_a_long_target_is_cut_to_a_line(tmp_path: Path) -> None:
    rows = [foreign_row(0, 1.0, target="step\n" * 100 + "#### 7")]
    target = table_of("questions", compared(tmp_path, rows, rows)).column("target")[0]
    assert isinstance(target, str)
    assert len(target) == 80
    assert target.endswith("…")
    assert "\n" not in target
