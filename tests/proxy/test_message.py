from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_tasks import reasoning
from proxy.choice import BLOCK_PIECES, MAX_SPLIT_CHARS, may_hold_tag, reasoning_state
from proxy.message import MAX_TOOL_CALLS, Message, MessageBuilder


def merged(*chunks: object, limit: int = 10_000, chat: bool = True) -> Message:
    builder = MessageBuilder(limit, chat)
    for chunk in chunks:
        builder.add(copy.deepcopy(chunk), size=10)
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
    assert other["reasoning_state"] == "none"


@pytest.mark.parametrize(
    ("delta", "finish_reason", "state", "has_reasoning"),
    [
        ({"content": "a"}, "stop", "none", False),
        ({"content": "a [T] < b \u25c1"}, "stop", "none", False),
        ({"content": "<think>r</think>a"}, "stop", "closed", True),
        ({"content": "<think></think>a"}, "stop", "closed", False),
        ({"content": "r</think>a"}, "stop", "orphan_close", True),
        ({"content": "<think>r"}, "length", "unclosed", True),
        ({"content": "[THINK]r[/THINK]a"}, None, "closed", True),
        ({"content": "a", "reasoning": "r"}, "stop", "server_split", True),
        ({"content": "a", "reasoning_content": "r"}, "stop", "server_split", True),
        ({"content": None, "reasoning": "r"}, "length", "server_split", True),
        ({"content": "", "reasoning": "r"}, "stop", "empty", True),
        ({"content": " ", "reasoning": ""}, "stop", "empty", False),
        ({"content": None, "tool_calls": [{"id": "a"}]}, "tool_calls", "empty", False),
    ],
)
def test_state_of_the_reasoning(
    delta: dict[str, Any], finish_reason: str | None, state: str, has_reasoning: bool
) -> None:
    first = merged(piece(finish_reason=finish_reason, **delta)).first
    assert (first.reasoning_state, first.has_reasoning) == (state, has_reasoning)


def test_state_is_of_chat_answers_with_a_choice_only() -> None:
    chunks = [piece(content="<think>r</think>a"), piece(1, content="b")]
    message = merged(*chunks, chat=False)
    assert (message.first.reasoning_state, message.reasoning_source) == (None, "inline")
    assert message.extra["other_choices"][0]["reasoning_state"] is None
    assert merged({"choices": []}).first.reasoning_state is None


TAGGY = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "[THINK]", "[/THINK]", "\u25c1think\u25b7",
         "<|channel|>final<|message|>", "<s>", "<|im_start|>", "a", " ", "\n", "[",
         "T", "/", "\u25b7", "think", "|>"]
    ),
    max_size=6,
).map("".join)  # fmt: skip


@given(TAGGY | st.text(max_size=8), st.sampled_from([None, "", " ", "r"]), st.booleans())
def test_state_is_the_splitters_whichever_way_it_is_found(
    text: str, apart: str | None, cut: bool
) -> None:
    finish_reason = "length" if cut else "stop"
    found = reasoning.split(text, reasoning=apart, finish_reason=finish_reason)
    assert reasoning_state(text, apart, finish_reason) == (found.state, bool(found.reasoning))


@given(TAGGY)
def test_text_that_holds_a_tag_is_looked_through(text: str) -> None:
    patterns = [reasoning.TAGS, *(item for item in reasoning.WRAPPERS if item)]
    if any(pattern.search(text) for pattern in patterns):
        assert may_hold_tag(text)


def test_enormous_text_is_not_looked_through() -> None:
    assert reasoning_state("<think>" + "a" * MAX_SPLIT_CHARS, None, "stop") == (None, False)


def test_logprobs_grow_over_the_stream() -> None:
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": [text]}}]}
        for text in "ab"
    ]
    assert merged(*chunks).extra["logprobs"] == {"content": ["a", "b"]}


def test_equal_logprobs_of_successive_chunks_are_all_kept() -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [1]}}
    assert merged(*[{"choices": [choice]}] * 4).extra["logprobs"] == {"content": [1, 1, 1, 1]}


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


def test_text_of_very_many_pieces_is_whole() -> None:
    texts = [str(number) for number in range(2 * BLOCK_PIECES + 5)]
    assert merged(*[piece(content=text) for text in texts]).content == "".join(texts)


def test_field_that_changes_its_type_keeps_the_latest() -> None:
    assert merged(piece(x="y"), piece(x=[1]), piece(x=[2])).extra["message"] == {"x": [1, 2]}


def test_malformed_chunks_are_counted_once_each_and_never_quoted() -> None:
    builder = MessageBuilder()
    for chunk in (
        5,
        {"choices": 0},
        {"choices": ["sk-planted", 6]},
        piece(content="a"),
        "sk-planted",
    ):
        builder.add(chunk)
    assert builder.n_malformed == 4
    assert "planted" not in str(builder.problems)


def test_flood_of_tool_calls_is_bounded_and_quick() -> None:
    calls = [{"id": f"c{number}"} for number in range(10 * MAX_TOOL_CALLS)]
    begun = time.process_time()
    message = merged(piece(tool_calls=calls))
    assert len(message.extra["tool_calls"]) == MAX_TOOL_CALLS
    assert message.extra["log_dropped_chars"] == 9 * MAX_TOOL_CALLS * 10
    assert time.process_time() - begun < 10


class PlainBuilder(MessageBuilder):
    """The builder without its quick ways: the reference."""

    def add(self, chunk: object, size: int = 0) -> bool:
        self.frame, self.quiet_choice = {"no": "chunk is this"}, None
        return super().add(chunk, size)


CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([0, 0, 0, 1, None]),
        "delta": st.fixed_dictionaries({}, optional={"content": st.sampled_from(["", "a", "b"]),
                                                     "reasoning": st.sampled_from(["r", None]),
                                                     "role": st.just("assistant"),
                                                     "x": st.sampled_from(["y", [1], 2])}),
        "text": st.sampled_from(["t", None]),
        "finish_reason": st.sampled_from([None, None, "stop", ""]),
        "logprobs": st.sampled_from([None, {"content": [1]}]),
        "stop_reason": st.sampled_from([None, 7, 0]),
    },
)  # fmt: skip
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={
        "id": st.sampled_from(["1", "2"]),
        "model": st.sampled_from(["m", None, 3]),
        "usage": st.sampled_from([None, {"n": 1}, {"n": 2}]),
        "x_groq": st.sampled_from([{"a": 1}, {"b": 2}, 3]),
        "error": st.sampled_from([None, "bad"]),
    },
)


@given(st.lists(CHUNKS, max_size=8))
def test_quick_ways_give_what_the_plain_way_gives(chunks: list[Any]) -> None:
    quick, plain = MessageBuilder(), PlainBuilder()
    for chunk in chunks:
        assert quick.add(copy.deepcopy(chunk), 10) == plain.add(copy.deepcopy(chunk), 10)
    assert quick.message() == plain.message()
    assert (quick.error, quick.problems) == (plain.error, plain.problems)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "message", "content", "tool_calls", "function", "index", "text",
             "usage", "logprobs", "type", "thinking", "arguments", "id", "error", "model", "name",
             "reasoning_summary", "finish_reason"]
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
