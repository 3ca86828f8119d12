from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.message import Message, MessageBuilder


def merged(*chunks: object, limit: int = 10_000) -> Message:
    builder = MessageBuilder(limit)
    for chunk in chunks:
        builder.add(chunk, size=10)
    return builder.message()


def piece(index: int = 0, finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def test_content_and_both_reasoning_fields_are_joined_apart() -> None:
    message = merged(piece(reasoning_content="a"), piece(reasoning_content="b"), piece(content="c"))
    assert (message.reasoning, message.reasoning_source) == ("ab", "reasoning_content")
    assert message.content == "c"
    message = merged(piece(reasoning="a", content="x"), piece(reasoning="b", content="y"))
    assert (message.reasoning, message.reasoning_source) == ("ab", "reasoning")
    assert message.content == "xy"


def test_reasoning_sent_under_both_names_is_kept_once() -> None:
    message = merged(piece(reasoning="a", reasoning_content="a"))
    assert (message.reasoning, message.extra) == ("a", {})
    message = merged(piece(reasoning="a", reasoning_content="b"))
    assert (message.reasoning, message.extra) == ("b", {"message": {"reasoning": "a"}})


@pytest.mark.parametrize("text", ["<think>a</think>b", "a</think>b", "[THINK]a", "<thought>"])
def test_inline_reasoning_stays_in_the_content(text: str) -> None:
    message = merged(piece(content=text[:3], reasoning_content=""), piece(content=text[3:]))
    assert (message.content, message.reasoning) == (text, None)
    assert message.reasoning_source == "inline"


def test_null_and_absent_content_are_not_empty_content() -> None:
    assert merged(piece(content=None, reasoning="a")).content is None
    assert merged(piece(content="")).content == ""


def test_list_typed_content_is_split_into_text_and_thinking() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}
    image = {"type": "image_url", "image_url": {"url": "x"}}
    message = merged(piece(content=[thinking, {"type": "text", "text": "a"}, image]))
    assert (message.content, message.reasoning) == ("a", "r")
    assert message.reasoning_source == "content_parts"
    assert message.extra == {"message": {"content_parts": [image]}}


def test_tool_calls_are_joined_by_index() -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return piece(tool_calls=[{"index": index, **fields}])

    message = merged(
        call(0, id="c0", type="function", function={"name": "f", "arguments": ""}),
        call(1, id="c1", type="function", function={"name": "g", "arguments": '{"b"'}),
        call(0, id="", function={"name": None, "arguments": '{"a":1}'}),
        call(1, function={"arguments": ":2}"}),
    )
    first, second = message.extra["tool_calls"]
    assert (first["id"], first["function"]) == ("c0", {"name": "f", "arguments": '{"a":1}'})
    assert (second["id"], second["function"]) == ("c1", {"name": "g", "arguments": '{"b":2}'})


def test_whole_tool_calls_without_index_stay_apart() -> None:
    calls = [{"id": name, "function": {"name": "f", "arguments": "{}"}} for name in "ab"]
    message = merged({"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    assert message.extra["tool_calls"] == calls


def test_further_choices_are_kept_under_extra() -> None:
    message = merged(piece(1, content="b"), piece(0, content="a"), piece(1, "stop", content="B"))
    assert message.content == "a"
    (other,) = message.extra["other_choices"]
    assert (other["index"], other["content"], other["finish_reason"]) == (1, "bB", "stop")


def test_logprobs_grow_over_the_stream() -> None:
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": [text]}}]}
        for text in "ab"
    ]
    assert merged(*chunks).extra["logprobs"] == {"content": ["a", "b"]}


def test_usage_model_and_unknown_fields_are_kept() -> None:
    message = merged(
        {"id": "1", "model": "served", "choices": [], "x_groq": {"id": "r"}, "usage": None},
        piece(content="a", refusal="no"),
        piece(content="b", refusal="pe"),
        {"choices": [{"index": 0, "delta": {}, "stop_reason": 7}], "x_groq": {"n": 1}},
        {"choices": [], "usage": {"total_tokens": 3}},
    )
    assert (message.model_served, message.usage) == ("served", {"total_tokens": 3})
    assert message.extra == {
        "id": "1",
        "x_groq": {"id": "r", "n": 1},
        "message": {"refusal": "nope"},
        "choice": {"stop_reason": 7},
    }


def test_legacy_text_is_content_unless_a_delta_repeats_it() -> None:
    assert merged({"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]}).content == "ab"
    assert merged({"choices": [{"text": "a", "delta": {"content": "a"}}]}).content == "a"


def test_what_is_kept_is_bounded_and_the_end_is_still_read() -> None:
    message = merged(*[piece(content="x" * 30)] * 9, piece(0, "length"), limit=100)
    assert (message.content, message.finish_reason) == ("x" * 90, "length")
    assert message.extra["log_dropped_chars"] == 180


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "message", "content", "tool_calls", "function", "index", "text",
             "usage", "logprobs", "type", "thinking", "arguments", "id", "error", "model", "name"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(st.lists(JSON, max_size=4))
def test_no_json_value_breaks_the_builder(chunks: list[Any]) -> None:
    merged(*chunks)
    merged(*({"choices": [{"delta": chunk}]} for chunk in chunks))
