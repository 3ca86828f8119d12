from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison
from analysis.estimate import Estimate
from analysis.reading.question import VERDICTS, read_question
from tests.analysis.comparisons import cells, compared, graded, table_of
from tests.analysis.runs import foreign_row, our_row


def value(comparison: Comparison, measure: str, column: str) -> float:
    cell = cells(table_of("repeats", comparison), "quiz", measure)[column]
    assert isinstance(cell, Estimate)
    return cell.value


def answered(doc_id: int, answers: list[str | None], target: str) -> Any:
    row = our_row(doc_id, ["correct" if one == target else "incorrect" for one in answers])
    for record, answer in zip(row["samples"], answers, strict=True):
        record["answer"] = answer
    return row


def test_single_samples_have_no_measures_of_their_own(tmp_path: Path) -> None:
    table = table_of("repeats", compared(tmp_path, graded([["correct"]]), graded([["correct"]])))
    assert "k = 1" in table.empty


def test_the_measures_of_four_samples(tmp_path: Path) -> None:
    one_of_four = ["correct", "incorrect", "incorrect", "incorrect"]
    comparison = compared(tmp_path, graded([one_of_four] * 3), graded([["correct"] * 4] * 3))
    measures = table_of("repeats", comparison).column("measure")
    assert measures == [
        *("avg@4", "pass@1", "pass@2", "pass@4", "maj@4"),
        *("G-Pass@4, t=0.5", "G-Pass@4, t=1", "mG-Pass@4"),
    ]
    assert value(comparison, "avg@4", "baseline") == pytest.approx(0.25)
    assert value(comparison, "pass@1", "baseline") == pytest.approx(0.25)
    assert value(comparison, "pass@2", "baseline") == pytest.approx(0.5)  # 1 - C(3,2) / C(4,2)
    assert value(comparison, "pass@4", "baseline") == 1.0
    assert value(comparison, "G-Pass@4, t=0.5", "baseline") == 0.0
    assert value(comparison, "mG-Pass@4", "candidate") == pytest.approx(1.0)
    assert value(comparison, "pass@4", "difference") == 0.0


def test_avg_at_k_is_the_score_of_the_scorecard(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect"], ["incorrect", "incorrect"]])
    cand = graded([["correct", "correct"], ["correct", "incorrect"]])
    comparison = compared(tmp_path, base, cand)
    (task,) = comparison.tasks
    assert value(comparison, "avg@2", "baseline") == task.baseline.score.value
    assert value(comparison, "avg@2", "difference") == task.difference.value
    row = cells(table_of("repeats", comparison), "quiz", "avg@2")
    assert row["p"] == task.test.p


def test_the_majority_counts_ties_and_empty_answers_by_the_rule(tmp_path: Path) -> None:
    base = [
        answered(0, ["7", "7", "9", None], "7"),  # 7 has the most votes: 1
        answered(1, ["7", "9", None, None], "7"),  # a tie of a right and a wrong answer: 1/2
        answered(2, [None, None, None, None], "7"),  # no vote at all: 0
    ]
    cand = [answered(i, ["9", "9", "7", "7"], "9") for i in range(3)]
    comparison = compared(tmp_path, base, cand)
    assert value(comparison, "maj@4", "baseline") == pytest.approx(1.5 / 3)
    assert value(comparison, "maj@4", "candidate") == pytest.approx(0.5)


def test_answers_that_the_grader_took_for_one_vote_together(tmp_path: Path) -> None:
    row = answered(0, ["7", "1/2", "0.5", "\\frac12", None], "7")
    cast = [0, 1, 1, 1, None]
    for record, vote in zip(row["samples"], cast, strict=True):
        record |= {} if vote is None else {"vote": vote}
    as_text = answered(0, ["7", "1/2", "0.5", "\\frac12", None], "7")
    comparison = compared(tmp_path, [row], [as_text])
    assert value(comparison, "maj@5", "baseline") == 0.0
    assert value(comparison, "maj@5", "candidate") == pytest.approx(1 / 4)  # four of one vote each


def test_programs_have_no_majority(tmp_path: Path) -> None:
    row = answered(0, ["def f(): ...", "def f(): ..."], "def f(): ...")
    for record in row["samples"]:
        record["details"] = {"base": True, "plus": True}
    table = table_of("repeats", compared(tmp_path, [row], [row]))
    assert "pass@2" in table.column("measure")
    assert not any(str(one).startswith("maj") for one in table.column("measure"))


def test_a_vote_that_is_none_is_no_record_of_ours() -> None:
    row = answered(0, ["7", "8"], "7")
    row["samples"][0]["vote"] = "first"
    with pytest.raises(ValueError, match="vote must be a count"):
        read_question(row, VERDICTS, 1)


def test_without_answers_there_is_no_majority_and_a_note_says_so(tmp_path: Path) -> None:
    rows = [foreign_row(i, [1.0, 0.0], resps=[["a", "b"]]) for i in range(3)]
    table = table_of("repeats", compared(tmp_path, rows, rows, metric="exact_match"))
    assert "pass@2" in table.column("measure")
    assert not any(str(one).startswith("maj") for one in table.column("measure"))
    assert "no answers were extracted" in table.notes[0]


def test_part_scores_have_their_mean_alone(tmp_path: Path) -> None:
    rows = [foreign_row(i, [0.5, 0.25], resps=[["a", "b"]]) for i in range(3)]
    table = table_of("repeats", compared(tmp_path, rows, rows, metric="exact_match"))
    assert table.column("measure") == ["avg@2"]
    assert "between 0 and 1" in table.notes[0]


def test_a_question_with_fewer_graded_samples_is_left_out_of_larger_k(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect"], ["correct", "grader_error"]])
    cand = graded([["correct", "correct"], ["correct", "correct"]])
    table = table_of("repeats", compared(tmp_path, base, cand))
    assert cells(table, "quiz", "pass@1")["n"] == 2
    assert cells(table, "quiz", "pass@2")["n"] == 1
    assert value(compared(tmp_path, base, cand), "pass@2", "baseline") == 1.0


def test_where_no_question_has_k_graded_samples_the_reason_stands(tmp_path: Path) -> None:
    base = graded([["correct", "grader_error"]] * 2)
    cand = graded([["correct", "correct"]] * 2)
    row = cells(table_of("repeats", compared(tmp_path, base, cand)), "quiz", "pass@2")
    assert row["n"] == 0
    assert isinstance(row["baseline"], Estimate)
    assert not row["baseline"].defined
    assert row["baseline"].reason
    assert isinstance(row["p"], float)
    assert math.isnan(row["p"])


def test_what_a_filter_of_lm_eval_left_is_the_answer(tmp_path: Path) -> None:
    def row(answer: str, score: float) -> Any:
        made = foreign_row(0, score, text=f"so: {answer}", filter="strict-match")
        return made | {"filtered_resps": [answer]}

    comparison = compared(tmp_path, [row("7", 1.0)], [row("[invalid]", 0.0)])
    told = cells(table_of("questions", comparison), "quiz", "0")
    assert (told["baseline_answer"], told["candidate_answer"]) == ("7", None)


@pytest.mark.parametrize("nested", [False, True])
def test_every_repeat_has_the_answer_that_a_filter_left(nested: bool) -> None:
    left = ["7", "[invalid]", " "]
    row = foreign_row(0, [1.0, 0.0, 0.0], filter="strict-match")
    row |= {"resps": [["so: 7", "no", "so:"]], "filtered_resps": [left] if nested else left}
    samples = read_question(row, "exact_match", 1).samples
    assert [one.answer for one in samples] == ["7", None, None]


def test_the_filter_that_leaves_the_whole_text_makes_no_answers(tmp_path: Path) -> None:
    base, cand = ([foreign_row(0, value, text="the answer is 7")] for value in (0.0, 1.0))
    row = cells(table_of("questions", compared(tmp_path, base, cand)), "quiz", "0")
    assert row["baseline_answer"] is None


def test_answers_are_told_apart_by_more_than_blanks(tmp_path: Path) -> None:
    base = [answered(0, ["7", "7 ", " 9"], "7")]
    comparison = compared(tmp_path, base, [answered(0, ["7", None, ""], "7")])
    row = cells(table_of("questions", comparison), "quiz", "0")
    assert row["baseline_answer"] == "7 (2), 9 (1)"
