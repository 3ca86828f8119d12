from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.compare import Comparison
from analysis.estimate import Estimate
from analysis.stats.paired import PairedTable, newcombe_difference
from tests.analysis.comparisons import (
    cells,
    compared,
    compared_paths,
    compared_tasks,
    graded,
    table_of,
)
from tests.analysis.runs import foreign_row, our_row, pair_of_runs

AS_REPORTED, COMPLETED, ANSWERED = "as reported", "left out in both", "left out if unanswered"
WORST, BEST = "right / wrong: worst case", "wrong / right: best case"


def cut(doc_id: int, verdict: str, text: str = "<think>on and on") -> Any:
    """Return a row whose one sample was cut off."""
    row = our_row(doc_id, [verdict], texts=[text])
    row["samples"][0].update(truncated=True, finish_reason="length")
    return row


def example(folder: Path) -> Comparison:
    """Eight questions, of which each arm was cut off on some.

    doc        0      1      2      3          4          5          6             7
    baseline   right  right  wrong  right      cut        right      right         wrong
    candidate  right  wrong  right  cut        cut        cut+right  cut+answered  no answer
    """
    base = graded([["correct"], ["correct"], ["incorrect"], ["correct"], ["truncated"]])
    base[4] = cut(4, "truncated")
    base += [our_row(5, ["correct"]), our_row(6, ["correct"]), our_row(7, ["incorrect"])]
    cand = graded([["correct"], ["incorrect"], ["correct"]])
    cand += [cut(3, "truncated"), cut(4, "truncated"), cut(5, "correct", "the answer is 5, and")]
    cand += [cut(6, "incorrect", "the answer is 7, and"), our_row(7, ["no_answer"])]
    return compared(folder, base, cand)


def values(comparison: Comparison, case: str) -> tuple[object, float, float, float]:
    row = cells(table_of("truncation", comparison), "quiz", case)
    found = [row[name] for name in ("baseline", "candidate", "difference")]
    assert all(isinstance(one, Estimate) for one in found)
    return (row["n"], *(one.value for one in found if isinstance(one, Estimate)))


@pytest.mark.parametrize(
    ("case", "n", "baseline", "candidate"),
    [
        (AS_REPORTED, 8, 5 / 8, 3 / 8),
        (COMPLETED, 4, 2 / 4, 2 / 4),  # docs 0, 1, 2, 7
        (ANSWERED, 5, 4 / 5, 3 / 5),  # docs 0, 1, 2, 5, 6
        ("all wrong", 8, 5 / 8, 2 / 8),
        ("all right", 8, 6 / 8, 6 / 8),
        (WORST, 8, 6 / 8, 2 / 8),
        (BEST, 8, 5 / 8, 6 / 8),
    ],
)
def test_each_reading_of_what_was_cut_off_has_its_scores(
    tmp_path: Path, case: str, n: int, baseline: float, candidate: float
) -> None:
    found = values(example(tmp_path), case)
    assert found == (n, baseline, candidate, pytest.approx(candidate - baseline))


def test_the_bounds_hold_every_other_reading_of_the_difference(tmp_path: Path) -> None:
    comparison = example(tmp_path)
    low, high = values(comparison, WORST)[3], values(comparison, BEST)[3]
    for case in (AS_REPORTED, "all wrong", "all right"):
        assert low <= values(comparison, case)[3] <= high
    (note,) = table_of("truncation", comparison).notes
    assert "the difference is -50.0 to +12.5 points" in note


def test_a_bound_has_the_interval_of_its_own_counts(tmp_path: Path) -> None:
    row = cells(table_of("truncation", example(tmp_path)), "quiz", WORST)
    # right in both: doc 0; candidate only: 2; baseline only: 1, 3, 4, 5, 6; neither: 7
    assert row["difference"] == newcombe_difference(PairedTable(1, 1, 5, 1))


def test_nothing_cut_off_is_one_line_and_said(tmp_path: Path) -> None:
    rows = graded([["correct"], ["incorrect"]])
    table = table_of("truncation", compared(tmp_path, rows, rows))
    assert table.column("case") == [AS_REPORTED]
    assert "nothing was cut off" in table.notes[0]


def test_tasks_of_which_nothing_was_cut_off_share_a_note(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0, text="x") for i in range(3)]
    tasks = dict.fromkeys(("one", "two"), (rows, rows))
    table = table_of("truncation", compared_tasks(tmp_path, tasks))
    assert table.notes == ("one, two: nothing was cut off in either arm.",)


def test_a_task_without_text_cannot_be_cut_off(tmp_path: Path) -> None:
    rows = [foreign_row(i, 1.0, resps=[[[-1.5, False]]]) for i in range(3)]
    comparison = compared(tmp_path, rows, rows)
    assert "no task here generates text" in table_of("truncation", comparison).empty
    row = cells(table_of("transitions", comparison), "quiz", "right")
    assert (row["right"], row["truncated"], row["total"]) == (3, 0, 3)


def test_repeated_samples_are_bounded_by_question(tmp_path: Path) -> None:
    base = graded([["correct", "incorrect"]] * 4)
    cand = graded([["correct", "truncated"]] * 4)
    comparison = compared(tmp_path, base, cand)
    assert values(comparison, WORST) == (4, 0.5, 0.5, 0.0)
    assert values(comparison, BEST) == (4, 0.5, 1.0, 0.5)


def test_where_everything_was_cut_off_the_completed_have_no_score(tmp_path: Path) -> None:
    base, cand = graded([["correct"]] * 3), [cut(i, "truncated") for i in range(3)]
    row = cells(table_of("truncation", compared(tmp_path, base, cand)), "quiz", COMPLETED)
    assert row["n"] == 0
    assert isinstance(row["difference"], Estimate)
    assert not row["difference"].defined
    assert row["difference"].reason


def test_a_failed_grader_is_left_out_even_where_it_was_cut_off(tmp_path: Path) -> None:
    base, cand = graded([["correct"]] * 3), [*graded([["correct"]] * 2), cut(2, "grader_error")]
    assert values(compared(tmp_path, base, cand), BEST)[0] == 2


def test_transitions_count_every_sample_once(tmp_path: Path) -> None:
    table = table_of("transitions", example(tmp_path))
    names = [column.name for column in table.columns]
    assert names == ["task", "baseline", "right", "wrong", "truncated", "no_answer", "total"]
    assert table.rows == [
        ("quiz", "right", 2, 1, 2, 0, 5),  # doc 6 was cut off: its wrong answer is not the last
        ("quiz", "wrong", 1, 0, 0, 1, 2),
        ("quiz", "truncated", 0, 0, 1, 0, 1),
        ("quiz", "no answer", 0, 0, 0, 0, 0),
    ]


def test_part_scores_and_failed_graders_have_lines_of_their_own(tmp_path: Path) -> None:
    base = [foreign_row(0, 0.5), foreign_row(1, 0.5), foreign_row(2, 1.0)]
    cand = [foreign_row(0, 1.0), foreign_row(1, None), foreign_row(2, 0.0)]
    table = table_of("transitions", compared(tmp_path, base, cand))
    row = cells(table, "quiz", "partly right")
    assert (row["right"], row["not_graded"], row["total"]) == (1, 1, 2)
    assert cells(table, "quiz", "right")["wrong"] == 1


def test_the_worst_case_of_an_error_rate_is_a_higher_one(tmp_path: Path) -> None:
    told = {"higher_is_better": {"quiz": {"error": False}}}
    base, cand = (
        [foreign_row(i, value, metric="error", text=text) for i in range(9)]
        for value, text in ((0.0, "7"), (0.0, "<think>on and on"))
    )
    comparison = compared_paths(*pair_of_runs(tmp_path, base, cand, results=told))
    table = table_of("truncation", comparison)
    assert values(comparison, WORST)[3] == 1.0
    assert values(comparison, BEST)[3] == 0.0
    assert any("0.0 to +100.0 points" in note for note in table.notes)
