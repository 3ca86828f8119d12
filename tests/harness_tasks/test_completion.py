"""The completion: its text, its attributes, and stop strings."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from harness_tasks.completion import Completion, cut_at_stop, has_inline_reasoning
from harness_tasks.reasoning import split


@pytest.mark.parametrize(
    ("content", "reasoning", "finish_reason", "text"),
    [
        ("a", None, "stop", "a"),
        ("a", "r", "stop", "<think>r</think>a"),
        ("", "r", "length", "<think>r"),
        ("", "r", "stop", "<think>r</think>"),
        ("a", "r", "length", "<think>r</think>a"),
        ("<think>r</think>a", None, "stop", "<think>r</think>a"),
        ("", "", "stop", ""),
    ],
)
def test_the_text_is_canonical(
    content: str, reasoning: str | None, finish_reason: str, text: str
) -> None:
    completion = Completion(content=content, reasoning=reasoning, finish_reason=finish_reason)
    assert completion == text
    assert (completion.content, completion.reasoning) == (content, reasoning)


def test_text_and_attributes_tell_the_same_split() -> None:
    completion = Completion(content="a", reasoning="r", finish_reason="stop")
    assert (
        split(str(completion))[:2] == split(completion.content, reasoning=completion.reasoning)[:2]
    )


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_completion_survives_pickling(protocol: int) -> None:
    completion = Completion(
        content="a",
        reasoning="r",
        finish_reason="stop",
        usage={"completion_tokens": 3},
        request_id="run/t/0/1",
        sample_index=1,
        error=None,
    )
    for twin in (pickle.loads(pickle.dumps(completion, protocol)), copy.deepcopy(completion)):
        assert type(twin) is Completion
        assert twin == completion
        assert twin.__dict__ == completion.__dict__


def test_a_completion_is_a_string_to_json() -> None:
    assert json.dumps([Completion(content="a", reasoning="r")]) == '["<think>r</think>a"]'


def test_nothing_said_is_nothing_claimed() -> None:
    completion = Completion()
    assert (completion.error, completion.usage, completion.sample_index) == (None, {}, 0)
    assert (completion.finish_reason, completion.model_served, completion.prefilled) == (
        None,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("content", "reasoning", "kept"),
    [
        ("a\n\nb", None, "a"),
        ("\n\na\n\nb", None, "\n\na"),
        ("\n\na", None, "\n\na"),
        ("<think>r\n\ns</think>\n\na\n\nb", None, "<think>r\n\ns</think>\n\na"),
        ("r\n\ns</think>a\n\nb", None, "r\n\ns</think>a"),
        ("<think>r\n\ns", None, "<think>r\n\ns"),
        ("a\n\nb", "r", "a"),
        ("a</think>\n\nb", "r", "a</think>"),
        ("a<think>r</think>\n\nb", None, "a<think>r</think>"),
        ("no stop", None, "no stop"),
        ("", None, ""),
    ],
)
def test_stop_strings_are_looked_for_in_the_answer_only(
    content: str, reasoning: str | None, kept: str
) -> None:
    assert cut_at_stop(content, ["\n\n"], reasoning=reasoning, finish_reason="stop") == kept


def test_the_earliest_stop_string_counts() -> None:
    assert cut_at_stop("a Q: b X c", ["X", "Q:"], reasoning=None, finish_reason=None) == "a "


def test_inline_reasoning_is_known_by_its_tags() -> None:
    assert has_inline_reasoning("<think>r</think>a")
    assert has_inline_reasoning("r</think>a")
    assert not has_inline_reasoning("the tag `<think>` opens")
