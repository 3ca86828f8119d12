"""Every table of scores and verdicts, over tasks that leave an estimator little or nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from analysis.compare import Comparison
from analysis.estimate import Estimate, Share
from analysis.render.cells import MISSING, written_rows
from analysis.verdict import verdict
from tests.analysis.comparisons import compared, counted, graded, table_of
from tests.analysis.runs import foreign_row, our_row

NAMES = (
    *("scorecard", "significance", "intervals", "equivalence", "completion", "repeats", "groups"),
    *("ifeval-categories", "ifeval-instructions", "forgetting", "truncation", "transitions"),
    *("noise", "flips", "questions"),
)
ALL, NONE = ["correct"] * 3, ["incorrect"] * 3


def likelihoods(value: float) -> list[Any]:
    doc = {"question": "which?", "category": "physics"}
    return [
        foreign_row(i, value, resps=[[[-1.5, False]], [[-2.5, True]]], doc={**doc, "id": f"q{i}"})
        for i in range(4)
    ]


def parts(values: tuple[float, ...]) -> list[Any]:
    return [foreign_row(i, value) for i, value in enumerate(values)]


def silent(n: int) -> list[Any]:
    return [foreign_row(i, 0.0, text="") for i in range(n)]


def cut(n: int) -> list[Any]:
    return [our_row(i, ["truncated"], texts=["<think>on and on"]) for i in range(n)]


CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "one question": (graded([["correct"]]), graded([["incorrect"]])),
    "one question of several samples": (graded([ALL]), graded([NONE])),
    "no discordant pair": counted(5, 0, 0, 4),
    "all right": counted(9, 0, 0, 0),
    "all wrong": counted(0, 0, 0, 9),
    "all won": counted(0, 9, 0, 0),
    "repeated": (graded([ALL, NONE, ALL]), graded([NONE, ALL, ALL])),
    "repeated and alike": (graded([ALL] * 4), graded([ALL] * 4)),
    "part scores": (parts((0.25, 0.5, 1.0)), parts((0.5, 0.5, 0.75))),
    "part scores alike": (parts((0.25, 0.5)), parts((0.25, 0.5))),
    "log-likelihoods": (likelihoods(0.0), likelihoods(1.0)),
    "graders failed in one arm": (graded([["correct"]] * 3), graded([["grader_error"]] * 3)),
    "some graders failed": (
        graded([["correct", "grader_error"], ["correct", "correct"]]),
        graded([["grader_error", "correct"], ["incorrect", "correct"]]),
    ),
    "empty completions": (silent(3), silent(3)),
    "all cut off": (cut(3), cut(3)),
}


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "-"))
def comparison(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Comparison:
    baseline, candidate = CASES[request.param]
    return compared(tmp_path_factory.mktemp("arms"), baseline, candidate)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_shows_something_or_says_why_not(comparison: Comparison, name: str) -> None:
    table = table_of(name, comparison)
    for row in table.rows:
        for cell in row:
            if isinstance(cell, Estimate | Share) and math.isnan(cell.value):
                assert cell.reason, f"{name}: a missing number without its reason"
            if isinstance(cell, Estimate) and not math.isnan(cell.low):
                assert cell.low <= cell.value <= cell.high
    for row, written in zip(table.rows, written_rows(table), strict=True):
        told = any(isinstance(cell, Estimate | Share) and cell.reason for cell in row)
        assert told or any(cell != MISSING for cell in written[1:])


def test_the_verdict_is_a_sentence_whatever_the_task(comparison: Comparison) -> None:
    found = verdict(comparison)
    word = found.finding.capitalize()
    assert found.sentence.startswith(f"{word}: ")
    assert "nan" not in found.sentence
    assert found.difference.defined or found.difference.reason
