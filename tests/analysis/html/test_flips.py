from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.html.flips import clean, cut, direction, flips, script_json
from tests.analysis.comparisons import compared
from tests.analysis.html.pages import HOSTILE, quiz_comparison
from tests.analysis.runs import foreign_row

PLENTY = 64 * 1024 * 1024


def test_questions_that_one_arm_alone_solved_come_first_and_tasks_take_turns(
    tmp_path: Path,
) -> None:
    made = flips(quiz_comparison(tmp_path), 10, PLENTY)
    entries = json.loads(made.text)
    assert {entry["direction"] for entry in entries} == {"baseline", "candidate"}
    assert (made.n_shown, made.n_all) == (10, 60)


def test_a_question_comes_with_both_completions_target_answers_and_reasons(tmp_path: Path) -> None:
    entries = json.loads(flips(quiz_comparison(tmp_path), 1000, PLENTY).text)
    entry = next(one for one in entries if one["task"] == "second_quiz" and one["name"] == "13")
    assert entry["question"] == "question 13: what is 13 + 13?"
    assert entry["target"] == "13"
    for arm in entry["arms"]:
        assert arm["reasoning"] == "thought 13"
        assert arm["text"] == "The answer is 26. needle13"
        assert arm["answer"] == "1"
        assert arm["why"] == f"the answer is {arm['verdict']}"
        assert arm["tokens"] == 23


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((1.0, 0.0), "baseline"),
        ((0.0, 1.0), "candidate"),
        ((0.25, 0.5), "candidate"),
        ((0.0, 0.0), "neither"),
        ((1.0, 1.0), "both"),
        ((0.5, 0.5), "equal"),
        ((None, 1.0), "ungraded"),
    ],
)
def test_direction_says_who_is_ahead(
    tmp_path: Path, scores: tuple[float | None, float | None], expected: str
) -> None:
    arms = [[foreign_row(0, score), foreign_row(1, 1.0)] for score in scores]
    comparison = compared(tmp_path, *arms)
    assert direction((comparison.items[0], comparison.items[1])) == expected


def test_a_long_text_is_cut_and_says_how_much_is_missing() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1000))
    made = cut(text, 300)
    assert isinstance(made, dict)
    assert (made["head"], made["tail"]) == (text[:200], text[-100:])
    assert made["left_out"] == 700
    assert cut("short", 300) == "short"


@pytest.mark.parametrize("max_bytes", [2_000, 40_000, 400_000])
def test_the_block_stays_within_its_bound(tmp_path: Path, max_bytes: int) -> None:
    made = flips(quiz_comparison(tmp_path), 60, max_bytes)
    assert len(made.text.encode()) <= max_bytes
    assert len(json.loads(made.text)) == made.n_shown
    if max_bytes > 100_000:
        assert made.n_shown == 60
        assert made.n_cut >= 2  # the completion of megabytes, in either arm


def test_no_text_is_longer_than_the_limit(tmp_path: Path) -> None:
    made = flips(quiz_comparison(tmp_path), 60, PLENTY)
    assert made.limit == 20_000
    assert len(made.text) < 300_000


def test_without_questions_there_is_an_empty_list(tmp_path: Path) -> None:
    made = flips(quiz_comparison(tmp_path), 0, PLENTY)
    assert (made.text, made.any) == ("[]", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("left \u202e right", "left \\u202e right"),
        ("\u2066isolate\u2069", "\\u2066isolate\\u2069"),
        ("NUL \x00 escape \x1b[31m", "NUL \\x00 escape \\x1b[31m"),
        ("half \ud800", "half \\ud800"),
        ("a\tb\nc\r\nd", "a\tb\nc \nd"),
        ("no-break\u00a0space", "no-break space"),
        ("\N{WOMAN}\u200d\N{PERSONAL COMPUTER}", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"),
        ("مرحبا 你好 é", "مرحبا 你好 é"),
    ],
)
def test_what_hides_in_a_text_is_shown(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(st.characters(codec=None, exclude_categories=[]), max_size=200))
def test_any_text_becomes_utf8_that_no_script_element_ends(text: str) -> None:
    made = script_json(clean(text))
    made.encode()
    assert not set("<>&\u2028\u2029\x00") & set(made)
    assert json.loads(made) == clean(text)


def test_hostile_texts_survive_the_way_as_text() -> None:
    for text in HOSTILE:
        assert json.loads(script_json(clean(text))) == clean(text)
