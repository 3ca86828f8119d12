from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.exchange import Exchange, messages_sha256
from proxy.recorder import Ending, Recorder
from tests.proxy.test_recorder import CHAT, SSE, delta, record, recorder_of, sse

ASK = b'{"prompt": "2+2=", "n_predict": 5, "model": "m"}'
FINAL = {
    "index": 0, "content": "", "tokens": [], "id_slot": 0, "stop": True, "model": "m.gguf",
    "tokens_predicted": 2, "tokens_evaluated": 3, "generation_settings": {"seed": 1},
    "prompt": "<s>2+2=", "truncated": False, "stop_type": "eos", "stopping_word": "",
    "tokens_cached": 4, "timings": {"predicted_n": 2},
}  # fmt: skip


def piece(text: str, **fields: Any) -> dict[str, Any]:
    return {"index": 0, "content": text, "tokens": [5], "stop": False, **fields}


def last_of(recorder: Recorder, stream: bytes, size: int) -> list[bool]:
    recorder.begin(200, SSE)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    return [recorder.receive(chunk) for chunk in pieces]


@pytest.mark.parametrize("path", ["/completion", "/completions", "/prefix/completion"])
def test_llama_answer_is_content_with_the_rest_under_extra(path: str) -> None:
    answer = {**FINAL, "content": "4", "tokens": [5, 6], "completion_probabilities": [{"id": 5}]}
    kept = record(ASK, json.dumps(answer).encode(), target=path)
    assert (kept.content, kept.finish_reason, kept.outcome) == ("4", "stop", "complete")
    assert (kept.model_served, kept.usage, kept.reasoning_state) == ("m.gguf", None, None)
    assert kept.extra["prompt"] == "2+2="
    assert kept.extra["timings"] == {"predicted_n": 2}
    assert (kept.extra["tokens_predicted"], kept.extra["tokens_evaluated"]) == (2, 3)
    assert kept.extra["message"] == {"tokens": [5, 6]}
    assert kept.extra["logprobs"] == {"content": [{"id": 5}]}
    assert kept.sampling == {"n_predict": 5}


@pytest.mark.parametrize(
    ("fields", "finish_reason"),
    [
        ({"stop_type": "limit"}, "length"),
        ({"stop_type": "word"}, "stop"),
        ({"stop_type": None, "stopped_limit": True}, "length"),
        ({"stop_type": ["limit"]}, "stop"),
    ],
)
def test_llama_stop_type_is_a_finish_reason(fields: dict[str, Any], finish_reason: str) -> None:
    kept = record(ASK, json.dumps({**FINAL, **fields}).encode(), target="/completion")
    assert kept.finish_reason == finish_reason


def test_llama_stream_ends_with_stop_and_without_done() -> None:
    stream = sse(piece("4"), piece("."), {**FINAL, "stop_type": "limit"}, done=False)
    kept = record(ASK, stream, headers=SSE, target="/completion")
    assert (kept.content, kept.finish_reason, kept.outcome) == ("4.", "length", "complete")
    assert (kept.n_chunks, kept.extra["tokens_predicted"]) == (2, 2)
    assert kept.extra["message"] == {"tokens": [5, 5]}


@pytest.mark.parametrize("size", [1, 7, 60, 10_000])
def test_piece_with_the_end_of_a_llama_stream_is_the_last(size: int) -> None:
    text = 'say "stop": true'
    stream = sse(piece(text), FINAL, done=False)
    last = last_of(recorder_of(ASK, target="/completion"), stream, size)
    assert last == [False] * (len(last) - 1) + [True]


@pytest.mark.parametrize("prompt", [["a", "b"], [[1], [2]], None])
def test_first_end_among_several_prompts_is_not_the_last(prompt: Any) -> None:
    recorder = recorder_of(json.dumps({"prompt": prompt}).encode(), target="/completion")
    stream = sse(piece("a"), FINAL, piece("b", index=1), {**FINAL, "index": 1}, done=False)
    assert not any(last_of(recorder, stream, 50))
    kept = Exchange.from_json(json.loads(recorder.finish(Ending.ENDED)))
    assert kept.content == "a"
    assert kept.extra["other_choices"][0]["content"] == "b"


def test_llama_list_answers_a_list_of_prompts() -> None:
    answer = [{**FINAL, "content": "a"}, {**FINAL, "content": "b", "index": 1}]
    kept = record(b'{"prompt": ["x", "y"]}', json.dumps(answer).encode(), target="/completion")
    assert (kept.content, kept.outcome) == ("a", "complete")
    assert kept.extra["other_choices"][0]["content"] == "b"


@pytest.mark.parametrize("size", [1, 9, 10_000])
def test_legacy_completions_of_openai_are_as_they_were(size: int) -> None:
    chunks = [{"model": "m", "choices": [{"index": 0, "text": text}]} for text in "ab"]
    recorder = recorder_of(ASK, target="/v1/completions")
    last = last_of(recorder, sse(*chunks).rstrip(), size)
    assert last == [False] * (len(last) - 1) + [True]
    kept = Exchange.from_json(json.loads(recorder.finish(Ending.ENDED)))
    assert (kept.content, kept.reasoning_state, kept.n_chunks) == ("ab", None, 2)


RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None,
    "incomplete_details": None, "model": "m-served", "temperature": 1.0,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "short"}],
         "content": [{"type": "reasoning_text", "text": "long"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [
             {"type": "output_text", "text": "four", "annotations": [{"n": 1}], "logprobs": [7]},
             {"type": "output_text", "text": ".", "annotations": []},
         ]},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8},
}  # fmt: skip
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}


def respond(value: Any, request: Any = None) -> Exchange:
    body = json.dumps(request or {"input": "2+2"}).encode()
    return record(body, json.dumps(value).encode(), target="/v1/responses")


def test_response_is_content_reasoning_and_usage() -> None:
    kept = respond(RESPONSE)
    assert (kept.content, kept.reasoning, kept.outcome) == ("four.", "long", "complete")
    assert (kept.reasoning_source, kept.reasoning_state) == ("reasoning", "server_split")
    assert (kept.model_served, kept.finish_reason) == ("m-served", "stop")
    assert kept.usage == RESPONSE["usage"]
    assert (kept.extra["id"], kept.extra["status"]) == ("resp_1", "completed")
    assert kept.extra["logprobs"] == {"content": [7]}
    assert kept.extra["message"] == {"reasoning_summary": "short", "annotations": [{"n": 1}]}
    assert "output" not in kept.extra


def test_summary_stands_for_reasoning_that_was_not_sent() -> None:
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}]}
    kept = respond({**RESPONSE, "output": [item]})
    assert (kept.reasoning, kept.reasoning_source, kept.content) == ("short", "reasoning", None)
    assert "message" not in kept.extra


def test_function_calls_are_tool_calls_and_other_items_stay_whole() -> None:
    search = {"type": "web_search_call", "id": "ws_1"}
    kept = respond({**RESPONSE, "output": [CALL, search]})
    assert kept.finish_reason == "tool_calls"
    assert kept.tool_calls == [
        {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
        }
    ]
    assert kept.extra["message"] == {"output_items": [search]}


@pytest.mark.parametrize(
    ("fields", "finish_reason", "outcome"),
    [
        ({"incomplete_details": {"reason": "max_output_tokens"}}, "length", "complete"),
        ({"incomplete_details": {"reason": "content_filter"}}, "content_filter", "complete"),
        ({"incomplete_details": [1]}, "incomplete", "complete"),
        ({"status": "queued"}, None, "complete"),
        ({"status": ["x"]}, None, "complete"),
        ({"status": "failed", "error": {"message": "no"}}, "failed", "upstream_error"),
    ],
)
def test_status_is_a_finish_reason(
    fields: dict[str, Any], finish_reason: str | None, outcome: str
) -> None:
    kept = respond({**RESPONSE, "status": "incomplete", **fields})
    assert (kept.finish_reason, kept.outcome) == (finish_reason, outcome)


def test_input_is_a_prompt_or_messages() -> None:
    kept = respond(RESPONSE, {"model": "m", "input": "2+2", "instructions": "brief"})
    assert (kept.messages, kept.extra["prompt"]) == (None, "2+2")
    assert kept.sampling == {"instructions": "brief"}
    messages = [{"role": "user", "content": [{"type": "input_text", "text": "2+2"}]}]
    kept = respond(RESPONSE, {"input": messages})
    assert (kept.messages, kept.messages_sha256) == (messages, messages_sha256(messages))
    assert kept.sampling == {}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": 1, **fields}


def events(*values: dict[str, Any]) -> bytes:
    return "".join(
        f"event: {value['type']}\ndata: {json.dumps(value)}\n\n" for value in values
    ).encode()


STREAM = (
    event("created", response={**RESPONSE, "status": "in_progress", "output": []}),
    event("output_item.added", item={"type": "reasoning"}, output_index=0),
    event("reasoning_text.delta", delta="lo", output_index=0),
    event("reasoning_text.delta", delta="ng", output_index=0),
    event("reasoning_summary_text.delta", delta="short", output_index=0),
    event("output_item.added", item={"type": "message"}),
    event("output_text.delta", delta="fo", logprobs=[]),
    event("output_text.delta", delta="ur", logprobs=[7]),
    event("output_text.delta", delta="."),
    event("output_text.done", text="four."),
)


@pytest.mark.parametrize("size", [1, 50, 100_000])
def test_streamed_response_is_the_unstreamed_one(size: int) -> None:
    stream = events(*STREAM, event("completed", response=RESPONSE))
    recorder = recorder_of(b'{"input": "2+2", "stream": true}', target="/v1/responses")
    last = last_of(recorder, stream[:-1], size)  # the data's newline ends the event for no one
    assert not any(last)
    assert recorder.receive(b"\n")
    kept = Exchange.from_json(json.loads(recorder.finish(Ending.ENDED)))
    whole = respond(RESPONSE)
    names = ("content", "reasoning", "reasoning_state", "finish_reason", "usage", "extra")
    assert all(getattr(kept, name) == getattr(whole, name) for name in names)
    assert kept.n_chunks == 6


def test_streamed_response_that_breaks_off_keeps_what_had_come() -> None:
    kept = record(
        b"{}", events(*STREAM), headers=SSE, target="/v1/responses", ending=Ending.UPSTREAM_CUT
    )
    assert (kept.content, kept.reasoning, kept.model_served) == ("four.", "long", "m-served")
    assert (kept.finish_reason, kept.usage, kept.outcome) == (None, None, "upstream_cut")
    kept = record(b"{}", events(*STREAM), headers=SSE, target="/v1/responses")
    assert kept.outcome == "upstream_cut"


@pytest.mark.parametrize("arguments", ["deltas", "done", "item", "end"])
def test_streamed_function_call_is_kept_once_however_it_comes(arguments: str) -> None:
    item = {**CALL, "arguments": "{}" if arguments == "item" else ""}
    chunks = [] if arguments == "end" else [event("output_item.added", item=item)]
    if arguments == "deltas":
        chunks += [event("function_call_arguments.delta", delta=text) for text in "{}"]
    if arguments != "end":
        chunks.append(event("function_call_arguments.done", arguments="{}"))
    output = [{"type": "reasoning", "summary": []}, CALL]
    chunks.append(event("completed", response={**RESPONSE, "output": output}))
    kept = record(b"{}", events(*chunks), headers=SSE, target="/v1/responses")
    (call,) = kept.tool_calls
    assert (call["id"], call["function"]) == ("call_1", {"name": "f", "arguments": "{}"})
    assert kept.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "last",
    [
        {"type": "error", "code": "x", "message": "too many", "param": None},
        event("failed", response={"status": "failed", "error": {"message": "too many"}}),
    ],
)
def test_error_in_a_streamed_response_is_its_end(last: dict[str, Any]) -> None:
    recorder = recorder_of(target="/v1/responses")
    assert last_of(recorder, events(*STREAM, last), 10_000) == [True]
    kept = Exchange.from_json(json.loads(recorder.finish(Ending.ENDED)))
    assert (kept.outcome, kept.error, kept.content) == ("upstream_error", "too many", "four.")


def test_server_that_answers_responses_in_another_form_is_read_as_it_is() -> None:
    kept = respond({"error": {"message": "unknown model"}})
    assert (kept.outcome, kept.error) == ("upstream_error", "unknown model")
    stream = sse(delta("a"), delta("b", "stop"))
    kept = record(b"{}", stream, headers=SSE, target="/v1/responses")
    assert (kept.content, kept.outcome) == ("ab", "complete")
    assert record(b"{}", stream, headers=SSE, target=CHAT).content == "ab"
