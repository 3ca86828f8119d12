"""Several samples of one doc: which answers vote together, and the measures of k samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats import pass_at_k as estimators
from harness_tasks import repeats, results
from harness_tasks.graders import ALIKE
from harness_tasks.records import SampleRecord, Verdict, read_jsonl
from tests.conftest import SHARED, needs_shared


def record(verdict: str, answer: str | None = None, index: int = 0) -> SampleRecord:
    return SampleRecord(index, Verdict(verdict), answer, False, "none", "stop", 0, 1)


def graded(answers: Sequence[str | None], target: str) -> list[SampleRecord]:
    verdicts = ["correct" if one == target else "incorrect" for one in answers]
    return [
        record("no_answer" if answer is None else verdict, answer, index)
        for index, (answer, verdict) in enumerate(zip(answers, verdicts, strict=True))
    ]


def equal(one: str, other: str) -> bool:
    return one == other


def boxes(*answers: str) -> list[list[str]]:
    return [[rf"So it is $\boxed{{{answer}}}$." if answer else "" for answer in answers]]


def test_one_sample_has_no_measures() -> None:
    assert repeats.measures([record("correct", "7")], voted=True) == {}
    assert not [name for name in results.math({"answer": "7"}, boxes("7")) if "@" in name]


def test_the_measures_of_four_samples() -> None:
    samples = repeats.with_votes(graded(["7", "8", "8", None], "7"), equal)
    told = repeats.measures(samples, voted=True, pass_at=(2,))
    assert told == {"avg@4": 0.25, "pass@2": 0.5, "pass@4": 1.0, "maj@4": 0.0}


@pytest.mark.parametrize(
    ("answers", "maj"),
    [
        (["7", "7", "9"], 1.0),
        (["7", "9"], 0.5),  # a tie: the mean score of the tied answers
        (["7", "9", "11"], 1 / 3),
        (["7", None, None], 1.0),  # an empty answer has no vote
        (["7", " ", ""], 1.0),
        ([None, None], 0.0),
        (["9", "9", "7"], 0.0),
    ],
)
def test_the_majority_is_that_of_the_rule(answers: list[str | None], maj: float) -> None:
    samples = repeats.with_votes(graded(answers, "7"), equal)
    assert repeats.measures(samples, voted=True)[f"maj@{len(answers)}"] == pytest.approx(maj)


ANSWERS = st.lists(st.sampled_from(["7", "8", "9", None]), min_size=2, max_size=12)


@given(ANSWERS, st.integers(1, 12))
def test_the_measures_are_those_of_the_analysis(answers: list[str | None], k: int) -> None:
    samples = repeats.with_votes(graded(answers, "7"), equal)
    scores = [float(one.verdict is Verdict.CORRECT) for one in samples]
    n, c = len(answers), int(sum(scores))
    told = repeats.measures(samples, voted=True, pass_at=(k,))
    assert told[f"avg@{n}"] == estimators.avg_at_k(n, c, n)
    assert told[f"maj@{n}"] == pytest.approx(estimators.maj_at_k(answers, scores))
    for j in {k, n} & set(range(1, n + 1)):
        assert told[f"pass@{j}"] == pytest.approx(float(estimators.pass_at_k(n, c, j)))
    assert (f"pass@{k}" in told) == (k <= n)


def test_a_doc_with_a_grader_error_has_no_measure_of_all_its_samples() -> None:
    samples = [record("correct", "7"), record("grader_error"), record("incorrect", "8")]
    told = repeats.measures(repeats.with_votes(samples, equal), voted=True, pass_at=(2,))
    assert told == {"pass@2": 1.0}


def test_an_answer_of_a_broken_grading_has_no_vote() -> None:
    samples = [record("grader_error", "7"), record("incorrect", "7")]
    assert [one.vote for one in repeats.with_votes(samples, equal)] == [None, 1]


def test_where_nothing_is_voted_on_there_is_no_majority() -> None:
    told = repeats.measures([record("correct"), record("incorrect")], voted=False)
    assert set(told) == {"avg@2", "pass@2"}


@pytest.mark.parametrize(
    ("kind", "answers", "same"),
    [
        ("math", [r"\frac12", "0.5", "1/2", r"\dfrac{1}{2}"], True),
        ("math", ["x+1", "1+x"], True),
        ("math", [r"(1,2)", "(1, 2)"], True),
        ("math", ["3", "4"], False),
        ("math", [r"\sqrt{2}", "1.5"], False),
        ("math", ["no solution at all", "(unreadable"], False),
        ("gsm8k", ["1,200", "1200.00", r"\$1200"], True),
        ("aime", ["025", "25", "25."], True),
        ("aime", ["25", "250"], False),
        ("aime", [r"5^2", "25"], True),
        ("choice", ["A", "A"], True),
        ("choice", ["A", "AB"], False),
    ],
)
def test_answers_are_told_apart_as_the_grader_does(
    kind: str, answers: list[str], same: bool
) -> None:
    votes = repeats.votes(answers, [False] * len(answers), ALIKE[kind])
    assert (set(votes) == {0}) is same


def test_every_grader_of_answers_has_its_comparison() -> None:
    from harness_tasks.graders import GRADERS

    assert set(ALIKE) == set(GRADERS)


def test_right_answers_vote_together_whatever_their_form() -> None:
    told = results.math({"answer": "1/2"}, boxes("0.5", r"\frac12", "3", "3.0", "1/2", ""))
    assert [one.get("vote") for one in told["samples"]] == [0, 0, 2, 2, 0, None]
    assert told["maj@6"] == 1.0
    assert told["avg@6"] == told["score"] == 0.5


def test_wrong_answers_in_several_forms_outvote_a_right_one() -> None:
    told = results.math({"answer": "2"}, boxes("2", "2", "1/2", "0.5", r"\frac12"))
    assert told["maj@5"] == 0.0  # as text, 2 would have most votes


def test_so_many_unlike_answers_are_compared_and_no_more() -> None:
    asked = 0

    def count(one: str, other: str) -> bool:
        nonlocal asked
        asked += 1
        return False

    answers = [str(number) for number in range(repeats.MAX_REPEATS)]
    votes = repeats.votes([*answers, "0"], [False] * (len(answers) + 1), count)
    assert asked <= repeats.MAX_COMPARISONS
    assert votes == [*range(len(answers)), 0]  # the same text is the same answer all the same


def test_a_comparison_that_breaks_takes_the_answers_for_two() -> None:
    def broken(one: str, other: str) -> bool:
        raise RuntimeError("no")

    grading = results.against("7", results.GRADERS["math"], broken)
    told = results.doc_metrics(boxes("1", "2", "7"), grading)
    assert [one["vote"] for one in told["samples"]] == [0, 1, 2]
    assert math.isclose(told["maj@3"], 1 / 3)


def test_a_hostile_answer_is_compared_in_bounded_time() -> None:
    deep = "{" * 5_000 + "1" + "}" * 5_000
    huge = "9" * 5_000 + "!" * 50
    votes = repeats.votes([deep, huge, "1" + "0" * 9_999, deep], [False] * 4, ALIKE["math"])
    assert votes[3] == 0


AIME24 = SHARED / "data" / "outputs" / "aime24"


@needs_shared
def test_four_published_models_as_samples_have_the_measures_of_their_published_verdicts() -> None:
    by_question: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(AIME24.glob("*.jsonl.gz")):
        for row in read_jsonl(path):
            by_question.setdefault(row["question"], []).append(row)
    found: dict[str, list[float]] = {"avg@4": [], "pass@4": [], "maj@4": []}
    published: dict[str, list[float]] = {name: [] for name in found}
    for rows in by_question.values():
        told = results.aime({"answer": rows[0]["gt"]}, [[row["code"][0] for row in rows]])
        right = [float(row["score"][0]) for row in rows]
        published["avg@4"].append(sum(right) / 4)
        published["pass@4"].append(max(right))
        answers = [str(row["pred"][0]).lstrip("0") for row in rows]
        published["maj@4"].append(estimators.maj_at_k(answers, right))
        for name, values in found.items():
            values.append(told[name])
    assert len(by_question) == 30
    assert found["avg@4"] == published["avg@4"]
    assert found["pass@4"] == published["pass@4"]
    unlike = [
        pair for pair in zip(found["maj@4"], published["maj@4"], strict=True) if pair[0] != pair[1]
    ]
    assert unlike == [(1 / 3, 1 / 4)]  # of one text the published extraction took a stray number
