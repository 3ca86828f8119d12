"""The short way for ordinary answers says what the general one says."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.message import MessageBuilder
from proxy.plain import plain_message

LIMIT = 10**9
TEXTS = st.none() | st.sampled_from(["", " ", "4", "<think>r</think>4", "r</think>a", "<think>cut"])
ODD = st.sampled_from([None, "", [], {}, 0, 1.5, True, [1], {"a": None}, {"a": {"b": []}}, "x"])
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": TEXTS | ODD,
        "reasoning": TEXTS | ODD,
        "reasoning_content": TEXTS | ODD,
        "tool_calls": ODD,
        "function_call": ODD,
        "content_parts": ODD,
        "refusal": ODD,
        "annotations": ODD,
    },
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": ODD,
        "message": MESSAGES | ODD,
        "delta": MESSAGES,
        "text": ODD,
        "finish_reason": st.sampled_from(["stop", "length", None, 3]),
        "logprobs": ODD | st.just({"content": [1]}),
        "stop_reason": ODD,
    },
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "id": ODD,
        "model": st.sampled_from(["m", None, 3]),
        "usage": ODD,
        "error": ODD,
        "choices": st.lists(CHOICES, max_size=2) | ODD,
        "timings": ODD,
    },
)


@given(ANSWERS | ODD)
def test_plain_answer_is_what_the_builder_makes_of_it(answer: Any) -> None:
    builder = MessageBuilder(LIMIT)
    builder.add(copy.deepcopy(answer), 100)
    found = plain_message(copy.deepcopy(answer), 100, LIMIT)
    if found is not None:
        assert found == builder.message()
        assert not builder.problems
        assert builder.error is None
        assert builder.choices


def test_ordinary_answer_is_plain() -> None:
    message = {"role": "assistant", "content": "4", "reasoning_content": "2+2", "tool_calls": []}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    answer = {"id": "i", "model": "m", "choices": [choice], "usage": {"total_tokens": 3}}
    found = plain_message(answer, 200, LIMIT)
    assert found is not None
    assert (found.first.content, found.first.reasoning) == ("4", "2+2")
    assert plain_message(answer, LIMIT, LIMIT) is None
