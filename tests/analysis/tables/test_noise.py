from __future__ import annotations

import math
from pathlib import Path

import pytest

from analysis.compare import Comparison
from analysis.estimate import Estimate
from tests.analysis.comparisons import cells, compared, compared_paths, counted, graded, table_of
from tests.analysis.runs import Row, write_run


def twice(folder: Path, first: list[Row], second: list[Row], **allow: object) -> Comparison:
    """Return the comparison of two runs of one model."""
    paths = [
        write_run(folder / name, rows, model="one-model", **more)
        for name, rows, more in (("one", first, {}), ("two", second, allow.pop("more", {})))
    ]
    return compared_paths(*paths, **allow)


def test_two_runs_of_one_model_have_a_noise_floor(tmp_path: Path) -> None:
    comparison = twice(tmp_path, *counted(50, 6, 4, 40))
    row = cells(table_of("noise", comparison), "quiz", "both arms")
    assert (row["n"], row["runs"]) == (100, 2)
    assert isinstance(row["flips"], Estimate)
    assert row["flips"].value == 0.1
    assert row["sd_difference"] == pytest.approx(math.sqrt(10) / 100)
    assert row["reach"] == pytest.approx(1.959964 * math.sqrt(10) / 100, rel=1e-6)
    assert row["largest"] == pytest.approx(0.02)


def test_two_models_with_one_sample_a_question_have_none(tmp_path: Path) -> None:
    table = table_of("noise", compared(tmp_path, *counted(5, 1, 1, 5)))
    assert "run one of them twice" in table.empty


def test_the_repeated_samples_of_an_arm_are_runs_of_one_model(tmp_path: Path) -> None:
    base = graded([["correct", "correct"]] * 3 + [["correct", "incorrect"]])
    cand = graded([["correct", "incorrect"]] * 2 + [["correct", "correct"]] * 2)
    table = table_of("noise", compared(tmp_path, base, cand))
    assert table.column("runs_of") == ["baseline", "candidate"]
    flips = [one.value for one in table.column("flips") if isinstance(one, Estimate)]
    assert flips == [0.25, 0.5]


def test_one_model_asked_in_two_ways_is_no_noise_floor(tmp_path: Path) -> None:
    more = {"config": {"system_prompt": "Be brief."}}
    rows = counted(5, 1, 1, 5)
    comparison = twice(tmp_path, *rows, more=more, allow=("prompts",))
    assert "asked in two ways" in table_of("noise", comparison).empty
    assert any("asked in two ways" in one for one in comparison.notices)


def test_a_file_against_itself_is_no_second_run(tmp_path: Path) -> None:
    run = write_run(tmp_path, counted(5, 1, 1, 5)[0])
    assert "same file" in table_of("noise", compared_paths(run, run)).empty


def test_a_file_against_itself_still_tells_the_noise_among_its_samples(tmp_path: Path) -> None:
    run = write_run(tmp_path, graded([["correct", "incorrect"]] * 4))
    table = table_of("noise", compared_paths(run, run))
    assert table.column("runs_of") == ["baseline"]


def test_questions_without_a_score_in_every_run_are_left_out_and_said(tmp_path: Path) -> None:
    base = graded([["correct", "correct"], ["correct", "grader_error"]])
    table = table_of("noise", compared(tmp_path, base, graded([["correct", "correct"]] * 2)))
    assert cells(table, "quiz", "baseline")["n"] == 1
    assert table.notes == ("quiz, baseline: 1 questions without a score in all runs",)
