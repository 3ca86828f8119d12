from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.reading.signs import BEHAVIOURS, LOOP_CHARS, ends_in_loop, signs_of
from harness_tasks.reasoning import split
from tests.conftest import SHARED, needs_shared

OUTPUTS = SHARED / "data" / "outputs"
PROSE = "The sum of the first n odd numbers is a square, as the picture of growing corners shows. "


def repeats_at_the_end(text: str) -> bool:
    """The rule as it is written, by trying every period: the reference for the quick one."""
    return any(
        text[-length:-period] == text[-(length - period) :]
        for period in range(1, len(text) // 2 + 1)
        for length in [max(2 * period, LOOP_CHARS)]
        if length <= len(text)
    )


@pytest.mark.parametrize("stretch", ["a", "ab ", "Wait, let me check. ", PROSE, PROSE[:-1] * 9])
def test_a_stretch_over_and_over_is_a_loop_wherever_it_was_cut(stretch: str) -> None:
    text = "A beginning of its own. " + stretch * (2 + 3 * LOOP_CHARS // len(stretch))
    assert ends_in_loop(text)
    assert ends_in_loop(text[: -len(stretch) // 3 or None])


def test_a_long_stretch_twice_in_a_row_is_a_loop_and_once_and_a_half_is_none() -> None:
    stretch = "".join(f"{i} times {i} is {i * i}; " for i in range(200))
    assert ends_in_loop("Squares: " + stretch * 2)
    assert not ends_in_loop("Squares: " + stretch + stretch[: len(stretch) // 2])


def test_an_answer_given_twice_is_no_loop() -> None:
    answer = "".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(60))
    assert len(answer) > LOOP_CHARS
    assert not ends_in_loop(f"```python\n{answer}```\nOnce more:\n```python\n{answer}```")


def test_blanks_without_end_are_a_loop_and_a_few_behind_a_loop_hide_it_not() -> None:
    assert ends_in_loop('{"answer": 4' + " \n" * LOOP_CHARS)
    assert ends_in_loop("again and " * LOOP_CHARS + "\n\n \n")
    assert not ends_in_loop(PROSE + "\n" * 20)


NOT_LOOPS = {
    "a table of numbers": "".join(f"| {i} | {i * i} | {i**3} |\n" for i in range(300)),
    "a table of zeros": "| 0 | 0 | 0 | 0 |\n" * 40,
    "code": "".join(f"    if n == {i}:\n        return {i % 7}\n" for i in range(200)),
    "an array": "\\begin{array}{cc}\n" + "0 & 1 \\\\\n1 & 0 \\\\\n" * 30 + "\\end{array}",
    "headings": "".join(f"### Step\n\n{PROSE}It is the {i}th.\n\n" for i in range(50)),
    "a separator": PROSE + "\n" + "-" * 400,
    "an empty text": "",
}


@pytest.mark.parametrize("text", NOT_LOOPS.values(), ids=NOT_LOOPS)
def test_what_repeats_itself_and_ends_is_no_loop(text: str) -> None:
    assert not ends_in_loop(text)


def test_a_loop_of_either_part_counts() -> None:
    loop = "so " * LOOP_CHARS
    assert signs_of(loop, "4").looped
    assert signs_of("short", loop).looped
    assert not signs_of("short", "4").looped


@given(
    start=st.text("ab", max_size=40),
    stretch=st.text("ab", min_size=1, max_size=700),
    length=st.integers(0, 2 * LOOP_CHARS + 300),
)
def test_the_quick_search_finds_what_the_rule_says(start: str, stretch: str, length: int) -> None:
    text = start + (stretch * (length // len(stretch) + 1))[:length]
    assert ends_in_loop(text) == repeats_at_the_end(text)


HOSTILE = {
    "one letter": "a" * 10**6,
    "openers": "<think>" * 10**5,
    "nearly one letter": "a" * 499_999 + "b" + "a" * 500_000,
    "runs": "".join("a" * (600 + i) + "b" for i in range(1_000)) + "a" * 600,
    "runs alike": ("a" * 5_000 + "b") * 200 + "a" * 600,
    "blanks": " " * 10**6,
    "waiting": "wait, " * 170_000,
    "quotes": "’" * 10**6,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_megabyte_of_anything_is_read_in_linear_time(text: str) -> None:
    start = time.perf_counter()
    assert len(signs_of(text, text).counts) == len(BEHAVIOURS)
    assert time.perf_counter() - start < 10  # it takes 0.1 s; a quadratic search takes hours


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("verification", "Let me double-check the sum, and verify it."),
        ("backtracking", "Wait, that's not right. Let me try again: it won’t work."),
        ("sub-goals", "First, find x. Next, break it down into parts."),
        ("backward chaining", "Let us work backward from 24, or start from the end."),
        ("alternatives", "Alternatively, a different approach. What if n is odd?"),
        ("uncertainty", "Hmm, maybe 4, perhaps 5. I'm not sure; I think so."),
    ],
)
def test_phrases_count_for_their_behaviour_only(behaviour: str, text: str) -> None:
    signs = signs_of(text, "")
    assert signs.n(behaviour) >= 2
    assert {name for name in BEHAVIOURS if signs.n(name)} == {behaviour}


def test_thinking_in_the_answer_counts_as_thinking_in_a_block_does() -> None:
    thought = "Wait, maybe it is 5. Let me check."
    assert signs_of(thought, "5").counts == signs_of("", f"{thought} 5").counts


def test_no_phrase_holds_another_so_that_none_counts_twice() -> None:
    phrases = [phrase for group in BEHAVIOURS.values() for phrase in group]
    assert not [(a, b) for a in phrases for b in phrases if a != b and a in b]
    assert [one for one in phrases if one != one.lower()] == []


def rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(OUTPUTS / name, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def looped(text: str) -> bool:
    parts = split(text)
    return signs_of(parts.reasoning, parts.answer_text).looped


@needs_shared
@pytest.mark.parametrize(
    ("name", "n_unclosed", "n_loops"),
    [
        ("aime24/skythought__Sky-T1-math-correct-5K-32B-ckpt133", 9, 9),
        ("aime24/skythought__Qwen2.5-14B-Instruct", 0, 0),
        ("aime24/reasoninggym__Qwen-2.5-3B-rlft", 1, 0),
        ("aime24/reasoninggym__Qwen2.5-3B-Instruct", 0, 0),
        ("gsm8k/reasoninggym__Qwen-2.5-3B-rlft", 4, 4),
        ("gsm8k/reasoninggym__Qwen2.5-3B-Instruct", 0, 0),
        ("math500/skythought__gemma-2-27b-it", 0, 0),
    ],
)
def test_published_loops_are_found_among_the_completions_that_were_cut_off(
    name: str, n_unclosed: int, n_loops: int
) -> None:
    texts = [row["code"][0] for row in rows(f"{name}.jsonl.gz")]
    loops = [text for text in texts if looped(text)]
    assert sum(split(text).state == "unclosed" for text in texts) == n_unclosed
    assert len(loops) == n_loops
    assert all(split(text).state == "unclosed" for text in loops)


@needs_shared
@pytest.mark.parametrize(
    "name",
    ["qwen3-8b__think-off", "qwen3-8b__think-on", "qwen3.5-9b__think-off", "qwen3.5-9b__think-on"],
)
def test_no_completion_that_ended_by_itself_is_called_a_loop(name: str) -> None:
    told = [
        (row["done_reason"], signs_of(row["thinking"], row["content"]).looped)
        for row in rows(f"thinking_on_off/{name}.jsonl.gz")
    ]
    assert len(told) == 200
    assert ("stop", True) not in told
    if name.endswith("think-on"):
        assert ("length", True) in told


@needs_shared
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("competition_math_sample", ("problem", "solution")),
        ("leetcode_dataset_test", ("completion", "query", "response")),
    ],
)
def test_no_text_that_people_wrote_for_a_benchmark_is_called_a_loop(
    name: str, fields: tuple[str, ...]
) -> None:
    path = SHARED / "data" / "benchmarks" / f"{name}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [row[field] for row in map(json.loads, file) for field in fields]
    assert sum(len(text) >= LOOP_CHARS for text in texts) > 100
    assert not [text for text in texts if ends_in_loop(text)]
