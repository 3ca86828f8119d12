from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.config import ProxyConfig, parse_upstream
from proxy.exchange import Exchange, messages_sha256
from proxy.recorder import Ending, Recorder, is_generation
from proxy.upstream import RequestHead
from tests.proxy.conftest import completion, delta, sse

CONFIG = ProxyConfig(upstream=parse_upstream("http://127.0.0.1:1"), log_dir=Path("unused"))
SSE = [(b"content-type", b"text/event-stream")]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(
    body: bytes, *answer: bytes, headers: Any = (), status: int = 200, ending: Ending = Ending.ENDED
) -> Exchange:
    recorder = Recorder(RequestHead("POST", b"/v1/chat/completions", []), CONFIG)
    recorder.request_chunk(body)
    recorder.begin(status, list(headers))
    for chunk in answer:
        recorder.receive(chunk)
    return Exchange.from_json(json.loads(recorder.finish(ending)))


@pytest.mark.parametrize(
    ("method", "target", "logged"),
    [
        ("POST", b"/v1/chat/completions", True),
        ("POST", b"/v1/chat/completions?x=/y", True),
        ("POST", b"/openai/deployments/m/chat/completions", True),
        ("POST", b"/v1/completions/", True),
        ("GET", b"/v1/chat/completions", False),
        ("POST", b"/v1/embeddings?x=/completions", False),
        ("POST", b"/completion", False),
    ],
)
def test_generation_endpoints(method: str, target: bytes, logged: bool) -> None:
    assert is_generation(RequestHead(method, target, [])) is logged


def test_request_is_split_into_model_messages_stream_and_sampling() -> None:
    messages = [{"role": "user", "content": "é"}]
    request = {"model": "m", "messages": messages, "stream": True, "seed": 3, "n": None}
    kept = record(json.dumps(request).encode(), sse(delta("a", "stop")), headers=SSE)
    assert (kept.model_requested, kept.messages, kept.stream) == ("m", messages, True)
    assert kept.sampling == {"seed": 3, "n": None}
    assert kept.messages_sha256 == messages_sha256(messages)


def test_request_id_is_made_up_where_none_was_sent() -> None:
    first, second = record(b"{}"), record(b"{}")
    assert first.request_id.startswith("proxy-")
    assert first.request_id != second.request_id


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_unreadable_request_is_kept_raw(body: bytes) -> None:
    kept = record(body, json.dumps({"error": "bad"}).encode(), status=400)
    assert (kept.messages, kept.outcome, kept.error) == (None, "upstream_error", "bad")
    assert kept.extra["request_error"]
    assert len(kept.extra["request_raw"]) <= CONFIG.max_raw_chars


@pytest.mark.parametrize("depth", [300, 900, 990, 100_000])
def test_deep_nesting_on_either_side_leaves_a_record(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    request = f'{{"model": "m", "messages": {deep}, "api_key": "planted-key"}}'.encode()
    answer = f'{{"choices": [{{"message": {{"content": "4", "x": {deep}}}}}]}}'.encode()
    kept = record(request, answer)
    assert kept.outcome in ("complete", "malformed")
    assert "planted" not in json.dumps(kept.extra)


def test_times_are_of_the_first_piece_and_the_end() -> None:
    clock = Clock()
    recorder = Recorder(RequestHead("POST", b"/v1/chat/completions", []), CONFIG, clock)
    recorder.begin(200, SSE)
    for text in ("", "a", "b"):
        clock.now += 1.5
        recorder.receive(sse(delta(text), done=False))
    clock.now += 4.0
    kept = Exchange.from_json(json.loads(recorder.finish(Ending.CLIENT_CUT)))
    assert (kept.ttft_s, kept.duration_s, kept.n_chunks) == (3.0, 8.5, 2)


def test_piece_that_fills_the_content_length_is_the_last() -> None:
    recorder = Recorder(RequestHead("POST", b"/v1/chat/completions", []), CONFIG)
    recorder.begin(200, [(b"content-length", b"4")])
    assert [recorder.receive(chunk) for chunk in (b"{", b"  ", b"}")] == [False, False, True]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_piece_with_the_end_of_done_is_the_last_and_no_other(size: int) -> None:
    stream = sse(delta("a [DONE] b"), delta("c", "stop")).rstrip()
    recorder = Recorder(RequestHead("POST", b"/v1/chat/completions", []), CONFIG)
    recorder.begin(200, SSE)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    last = [recorder.receive(piece) for piece in pieces]
    assert last == [False] * (len(pieces) - 1) + [True]


@pytest.mark.parametrize(
    ("answer", "headers", "status", "outcome"),
    [
        (json.dumps(completion("a")).encode(), (), 200, "complete"),
        (b'{"object": "list"}', (), 200, "malformed"),
        (b'"text"', (), 200, "malformed"),
        (b"", (), 200, "malformed"),
        (b'{"detail": "no"}', (), 422, "upstream_error"),
        (b"<html>", (), 502, "upstream_error"),
        (b'{"error": "x"}', (), 200, "upstream_error"),
        (b"", SSE, 200, "upstream_cut"),
        (sse(delta("a", "stop"), done=False), SSE, 200, "complete"),
        (sse(delta("a"), done=False), SSE, 200, "upstream_cut"),
        (sse(), SSE, 200, "complete"),
        (b"data: 5\n\n" + sse(), SSE, 200, "malformed"),
        (b"data: \xff\n\n" + sse(), SSE, 200, "malformed"),
    ],
)
def test_outcome_of_an_answer_that_came_to_its_end(
    answer: bytes, headers: Any, status: int, outcome: str
) -> None:
    kept = record(b'{"messages": []}', answer, headers=headers, status=status)
    assert kept.outcome == outcome
    assert (kept.error is None) == (outcome == "complete")


def test_compressed_request_is_read_for_the_log() -> None:
    head = RequestHead("POST", b"/v1/chat/completions", [(b"content-encoding", b"gzip")])
    recorder = Recorder(head, CONFIG)
    recorder.request_chunk(gzip.compress(b'{"model": "m", "messages": []}'))
    kept = Exchange.from_json(json.loads(recorder.finish(Ending.UPSTREAM_ERROR, "x")))
    assert (kept.model_requested, kept.messages, kept.error) == ("m", [], "x")


def test_event_that_the_cut_went_through_is_kept_apart_and_not_malformed() -> None:
    stream = sse(delta("a"), done=False) + b'data: {"choices": [{"del'
    kept = record(b"{}", stream, headers=SSE, ending=Ending.UPSTREAM_CUT)
    assert (kept.outcome, kept.content) == ("upstream_cut", "a")
    assert kept.extra["partial"] == '{"choices": [{"del'


def test_numbers_that_json_has_not_become_their_names() -> None:
    kept = record(b"{}", b'{"choices": [{"message": {"content": "a", "score": -Infinity}}]}')
    assert kept.extra["message"] == {"score": "-Infinity"}
