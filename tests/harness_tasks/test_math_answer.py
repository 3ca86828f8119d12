"""The math grader on golden rows, on the labelled pairs, and on the shapes of each rule."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness_tasks import reasoning
from harness_tasks.graders import GRADERS, math_answer
from harness_tasks.records import Verdict, read_jsonl
from tests.conftest import SHARED, needs_shared

GOLDEN = list(read_jsonl(Path(__file__).parent.parent / "cases" / "math_answers.jsonl"))
LABELS = SHARED / "data" / "labels" / "math_equivalence.jsonl"

# Every labelled pair that we get wrong, by the first digits of sha256(gold + NUL + pred).
DOUBTED_LABELS = {
    "51acd5646bf2": "two different pairs of nouns; only the question can tell what they count",
}
KNOWN_MISSES = {
    "6c68d41df86b": "a solution set by cases against one formula with min and max",
    "7941ee2e387b": "a sentence against an inequality that only the question connects",
    "a9ffb2d59aec": "a list of tuples against their description in words",
    "32b9b1490cc8": "a product with an ellipsis, rearranged factor by factor",
}


def test_golden_file_covers_every_kind_of_answer() -> None:
    kinds = {row["source"].partition(": ")[2] for row in GOLDEN}
    assert kinds >= {
        "interval", "set", "tuple", "matrix", "fraction", "units", "percent", "degrees", "currency",
        "thousands", "text", "choice", "list", "inequality", "assignment", "complex", "base",
        "pm_inf", "decimal", "malformed", "equation", "expression", "boxed", "stated",
    }  # fmt: skip


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row['source']} {row['target']}")
def test_golden_row(row: dict[str, Any]) -> None:
    if "answer" in row:
        grade = math_answer.equivalent(row["answer"], row["target"])
    else:
        grade = math_answer.grade(row["completion"], row["target"])
    assert grade.verdict == row["verdict"], grade


def digest(row: dict[str, Any]) -> str:
    return hashlib.sha256(f"{row['gold']}\0{row['pred']}".encode()).hexdigest()[:12]


@needs_shared
def test_labelled_pairs_are_graded_as_labelled_but_for_the_listed_ones() -> None:
    missed: set[str] = set()
    n_rows = n_false_accepts = 0
    for line in LABELS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        n_rows += 1
        if row["kind"] == "raw":
            answer_text = reasoning.split(row["pred"]).answer_text
            grade = math_answer.grade(answer_text, row["gold"])
        else:
            grade = math_answer.equivalent(row["pred"], row["gold"])
        accepted = grade.verdict is Verdict.CORRECT
        if accepted != bool(row["label"]):
            missed.add(digest(row))
            n_false_accepts += accepted
    assert n_rows == 1836
    assert n_false_accepts == 0
    assert missed == set(DOUBTED_LABELS) | set(KNOWN_MISSES)


@needs_shared
@pytest.mark.parametrize("name", ["math500", "aime24", "aime25"])
def test_every_target_in_a_box_is_correct(name: str) -> None:
    for row in read_jsonl(SHARED / "data" / "benchmarks" / f"{name}.jsonl"):
        target = str(row.get("answer", row.get("Answer")))
        grade = GRADERS["math"](rf"Therefore $\boxed{{{target}}}$.", target)
        assert grade.verdict is Verdict.CORRECT, (target, grade)


@needs_shared
def test_no_target_is_correct_for_the_next_different_one() -> None:
    rows = read_jsonl(SHARED / "data" / "benchmarks" / "math500.jsonl")
    targets = sorted({str(row["answer"]) for row in rows})
    accepted = [
        (one, other)
        for one, other in zip(targets, targets[7:], strict=False)
        if math_answer.equivalent(one, other).verdict is Verdict.CORRECT
    ]
    assert accepted == []


@needs_shared
def test_a_number_of_a_target_changed_makes_it_incorrect() -> None:
    for row in read_jsonl(SHARED / "data" / "benchmarks" / "math500.jsonl"):
        target = str(row["answer"])
        digits = [i for i, ch in enumerate(target) if ch.isdigit()]
        if digits and "text" not in target:
            at = digits[0]
            wrong = target[:at] + str((int(target[at]) + 3) % 10) + target[at + 1 :]
            verdict = math_answer.equivalent(wrong, target).verdict
            assert verdict is Verdict.INCORRECT, (wrong, target)


def test_a_grade_names_the_answer_it_graded() -> None:
    assert math_answer.grade(r"so \boxed{7}", "7").answer == "7"


def test_an_answer_beyond_the_limits_is_told_apart() -> None:
    grade = math_answer.equivalent("9^{9^{9^9}}+x", "5")
    assert grade.verdict is Verdict.INCORRECT


def test_code_in_an_answer_is_text(tmp_path: Path) -> None:
    target = tmp_path / "made"
    math_answer.equivalent(f"__import__('pathlib').Path({str(target)!r}).touch()", "5")
    math_answer.equivalent(rf"\int open('{target}','w') dx", "5")
    assert not target.exists()
