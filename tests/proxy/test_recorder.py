from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import tracemalloc
from typing import Any

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import ProxyConfig
from proxy.exchange import FIELD_NAMES, Exchange, messages_sha256
from proxy.http1 import Headers, RequestHead
from proxy.recorder import BATCH_BYTES, BATCH_PIECES, Ending, Facts, Recorder, is_generation
from tests.proxy.conftest import CHAT, completion, delta, sse

CONFIG = ProxyConfig(routes=(), max_logged_bytes=4_000_000)
SSE = [(b"Content-Type", b"text/event-stream; charset=utf-8")]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def recorder_of(
    body: bytes = b"{}",
    headers: Headers | None = None,
    target: str = CHAT,
    config: ProxyConfig = CONFIG,
    **more: Any,
) -> Recorder:
    recorder = Recorder(RequestHead("POST", target.encode(), headers or []), config, **more)
    recorder.request_chunk(body)
    return recorder


def finished(recorder: Recorder, ending: Ending = Ending.ENDED) -> Exchange:
    return Exchange.from_json(json.loads(recorder.finish(ending)))


def record(
    body: bytes,
    *answer: bytes,
    headers: Any = (),
    status: int = 200,
    ending: Ending = Ending.ENDED,
    headers_sent: Headers | None = None,
    **more: Any,
) -> Exchange:
    recorder = recorder_of(body, headers_sent, **more)
    recorder.begin(status, list(headers))
    for chunk in answer:
        recorder.receive(chunk)
        recorder.digest()
    return finished(recorder, ending)


@pytest.mark.parametrize(
    ("method", "target", "logged"),
    [
        ("POST", b"/v1/chat/completions", True),
        ("POST", b"/v1/chat/completions?x=/y", True),
        ("POST", b"/openai/deployments/m/chat/completions", True),
        ("POST", b"/v1/completions/", True),
        ("POST", b"/completion", True),
        ("POST", b"/completions", True),
        ("POST", b"/v1/responses", True),
        ("GET", b"/v1/chat/completions", False),
        ("GET", b"/v1/responses/resp_1", False),
        ("POST", b"/v1/responses/resp_1/cancel", False),
        ("POST", b"/v1/embeddings?x=/completions", False),
        ("POST", b"/props", False),
        ("GET", b"/slots", False),
        ("GET", b"/health", False),
    ],
)
def test_generation_endpoints(method: str, target: bytes, logged: bool) -> None:
    assert is_generation(RequestHead(method, target, [])) is logged


def test_record_has_all_fields_in_their_order() -> None:
    row = json.loads(recorder_of().finish(Ending.CLIENT_CUT))
    assert tuple(row) == ("schema", *(name for name in FIELD_NAMES if name != "schema"))


def test_line_is_spelled_as_ever() -> None:
    request = '{"messages":[{"role":"user","content":"é"}],"stream":false,"model":"m","seed":1.5}'
    headers = [(b"X-Request-ID", b"r/t/0/0")]
    recorder = recorder_of(request.encode(), headers, CHAT + "?a=1")
    recorder.upstream, recorder.route = "http://127.0.0.1:8080", "base"
    recorder.started_at = "2026-01-02T03:04:05.000006+00:00"
    recorder.begin(200, [])
    answer = json.dumps(completion('<think>\u2028</think>\U0001f600"')).encode()
    recorder.receive(answer)
    line = recorder.finish(Ending.ENDED).decode()
    duration = json.loads(line)["duration_s"]
    assert line == (
        '{"schema":2,"request_id":"r/t/0/0","started_at":"2026-01-02T03:04:05.000006+00:00",'
        '"endpoint":"/v1/chat/completions","upstream":"http://127.0.0.1:8080","route":"base",'
        '"model_requested":"m","model_served":"m","messages":[{"role":"user","content":"é"}],'
        '"sampling":{"seed":1.5},"messages_sha256":'
        '"5b982d5fb9bbb395dedf893373894ed3f82f40d0b11980e29df209a2d4e76bb4","stream":false,'
        '"status":200,"content":"<think>\u2028</think>\U0001f600\\"","reasoning":null,'
        '"reasoning_source":"inline","reasoning_state":"closed","finish_reason":"stop","usage":null,'
        f'"ttft_s":null,"duration_s":{duration},"n_chunks":0,"gaps_s":null,'
        f'"request_bytes":{len(request.encode())},"response_bytes":{len(answer)},"outcome":"complete","error":null,'
        '"extra":{"query":"a=1"}}\n'
    )


def test_request_is_split_into_model_messages_stream_and_sampling() -> None:
    messages = [{"role": "user", "content": "é"}]
    request = {"model": "m", "messages": messages, "stream": True, "seed": 3, "n": None}
    kept = record(json.dumps(request).encode(), sse(delta("a", "stop")), headers=SSE)
    assert (kept.model_requested, kept.messages, kept.stream) == ("m", messages, True)
    assert kept.sampling == {"seed": 3, "n": None}
    assert kept.messages_sha256 == messages_sha256(messages)


def test_no_part_of_a_secret_is_left_by_cutting_a_request_id_or_in_what_is_counted() -> None:
    secret = "sk-0123456789abcdef"
    headers = [(b"x-request-id", b"x" * 500 + secret.encode()), (b"x-api-key", secret.encode())]
    recorder = recorder_of(json.dumps({"model": secret}).encode(), headers)
    recorder.begin(200, [])
    recorder.receive(json.dumps(completion("4")).encode())
    assert finished(recorder).request_id == "x" * 500 + "[redacted]"
    assert recorder.facts is not None
    assert recorder.facts.model == "[redacted]"


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


@pytest.mark.parametrize("depth", [300, 900, 990, 1020, 100_000])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("names", [(), ("x-y",)])
def test_deep_nesting_on_either_side_leaves_a_record(
    depth: int, streamed: bool, names: tuple[str, ...]
) -> None:
    deep = "[" * depth + "]" * depth
    request = f'{{"model": "m", "messages": {deep}, "api_key": "planted-key"}}'.encode()
    kind = "delta" if streamed else "message"
    answer = (
        f'{{"x": {deep}, "choices": [{{"x": {deep}, "{kind}": {{"content": "4", "x": {deep}}}}}]}}'
    ).encode()
    if streamed:
        answer = (b"data: " + answer + b"\n\n") * 3
    config = dataclasses.replace(CONFIG, redacted=frozenset(names))
    kept = record(request, answer, headers=SSE if streamed else (), config=config)
    assert kept.outcome in ("complete", "malformed", "upstream_cut")
    assert "planted" not in json.dumps(kept.extra)


def test_times_are_those_of_arrival_however_late_it_is_parsed() -> None:
    clock = Clock()
    recorder = recorder_of(clock=clock)
    recorder.begin(200, SSE)
    for text in ("", "a", "b", "c"):
        clock.now += 1.5
        recorder.receive(sse(delta(text), done=False))
    recorder.receive(sse(delta("d"), delta("e"), done=False))
    clock.now += 4.0
    kept = finished(recorder, Ending.CLIENT_CUT)
    assert (kept.ttft_s, kept.duration_s, kept.n_chunks) == (3.0, 10.0, 5)
    assert kept.gaps_s == {"p50": 0.0, "p90": 1.5, "p99": 1.5, "max": 1.5}


def test_parsing_waits_for_a_batch_and_no_longer() -> None:
    recorder = recorder_of()
    recorder.begin(200, SSE)
    for number in range(3 * BATCH_PIECES):
        assert not recorder.receive(sse(delta("a"), done=False))
        recorder.digest()
        assert len(recorder.pending) == (number + 1) % BATCH_PIECES
    recorder.receive(sse(delta("a" * BATCH_BYTES), done=False))
    recorder.digest()
    assert recorder.pending == []


def test_memory_of_a_long_stream_is_bounded() -> None:
    config = dataclasses.replace(CONFIG, max_logged_bytes=20_000)
    recorder = recorder_of(config=config)
    recorder.begin(200, SSE)
    piece = sse(*[delta("some words")] * 100, done=False)
    tracemalloc.start()
    for _ in range(300):
        recorder.receive(piece)
        recorder.digest()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    kept = finished(recorder)
    assert (kept.n_chunks, kept.response_bytes) == (30_000, 300 * len(piece))
    assert len(kept.content or "") <= 20_000
    assert kept.extra["log_dropped_chars"] > 0


def test_memory_of_a_giant_body_is_bounded() -> None:
    config = dataclasses.replace(CONFIG, max_logged_bytes=20_000)
    recorder = recorder_of(b"x" * 10_000, config=config)
    recorder.begin(200, [])
    for _ in range(300):
        recorder.request_chunk(b"x" * 10_000)
        recorder.receive(b"x" * 10_000)
        recorder.digest()
    assert len(recorder.request_body) == sum(map(len, recorder.body)) == 20_000
    kept = finished(recorder)
    assert (kept.request_bytes, kept.response_bytes) == (3_010_000, 3_000_000)
    assert kept.error == "not read for the log: larger than the log keeps"
    assert kept.extra["log_dropped_request_bytes"] == 3_010_000


def test_piece_that_fills_the_content_length_is_the_last() -> None:
    recorder = recorder_of()
    recorder.begin(200, [(b"Content-LENGTH", b"4")])
    assert [recorder.receive(chunk) for chunk in (b"{", b"  ", b"}")] == [False, False, True]


@pytest.mark.parametrize("length", [b"-1", b"x", b"", b"9" * 50, b"\xb2"])
def test_content_length_that_is_none_is_passed_over(length: bytes) -> None:
    recorder = recorder_of()
    recorder.begin(200, [(b"content-length", length)])
    assert not recorder.receive(b"{}")


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_piece_with_the_end_of_done_is_the_last_and_no_other(size: int) -> None:
    stream = sse(delta("a [DONE] b"), delta("c", "stop")).rstrip()
    recorder = recorder_of()
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
    packed = gzip.compress(b'{"model": "m", "messages": []}')
    recorder = recorder_of(packed, [(b"Content-Encoding", b"gzip")])
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


@given(
    st.lists(st.sampled_from(["a", "é😀", "[DONE]", "<think>", "\u2028", "x" * 50]), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 900), max_size=6),
    st.booleans(),
)
@settings(deadline=None)
def test_record_of_a_stream_does_not_depend_on_its_pieces(
    texts: list[str], newline: str, cuts: list[int], packed: bool
) -> None:
    stream = sse(*map(delta, texts), delta("", "stop")).replace(b"\n", newline.encode())
    body = brotli.compress(stream) if packed else stream
    headers = [*SSE, (b"content-encoding", b"br")] if packed else SSE
    whole = record(b"{}", body, headers=headers)
    assert (whole.content, whole.outcome) == ("".join(texts), "complete")
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    cut = record(b"{}", *pieces, headers=headers)
    changing = {"request_id", "started_at", "duration_s", "ttft_s", "gaps_s"}
    assert all(
        getattr(cut, name) == getattr(whole, name) for name in FIELD_NAMES if name not in changing
    )


def test_stream_cut_at_every_byte_tells_its_last_piece() -> None:
    stream = sse(delta("é [DONE]"), delta("b", "stop"))
    for cut in range(1, len(stream) - 2):
        recorder = recorder_of()
        recorder.begin(200, SSE)
        assert [recorder.receive(stream[:cut]), recorder.receive(stream[cut:])] == [False, True]


@pytest.mark.parametrize(
    ("answer", "headers", "expected"),
    [
        (
            sse({**delta("a", "length"), "usage": {"completion_tokens": 7}}),
            SSE,
            Facts("m", "r", "complete", True, False, 7, 1, 0.5, 0.5, 0),
        ),
        (
            b"data: {\n\n: x\n\ndata: 5\n\n" + sse(delta("r", "stop", "reasoning")),
            SSE,
            Facts("m", "r", "malformed", False, True, None, 1, 0.5, 0.5, 2),
        ),
        (b"no", [], Facts(None, "r", "malformed", False, False, None, 0, None, 0.5, 1)),
        (
            json.dumps({**completion("a"), "usage": {"completion_tokens": True}}).encode(),
            [],
            Facts("m", "r", "complete", False, False, None, 0, None, 0.5, 0),
        ),
    ],
)
def test_facts_are_there_once_it_is_finished(answer: bytes, headers: Any, expected: Facts) -> None:
    clock = Clock()
    recorder = recorder_of(clock=clock)
    recorder.route = "r"
    recorder.begin(200, headers)
    clock.now += 0.5
    recorder.receive(answer)
    assert recorder.facts is None
    recorder.finish(Ending.ENDED)
    assert recorder.facts == expected


def test_malformed_events_are_counted_and_the_first_kept_raw() -> None:
    bad = b'data: {"api_key": "sk-planted"\n\n' * 20
    kept = record(b"{}", bad + sse(delta("a")), headers=SSE)
    assert (kept.outcome, kept.content) == ("malformed", "a")
    assert kept.extra["n_malformed_events"] == 20
    assert kept.extra["raw"] == ['{"api_key": "[redacted]"'] * 8


SECRETS = [(b"AUTHORIZATION", b"Bearer sk-planted-header"), (b"Cookie", b"sid=planted-cookie")]
LEAKY = {
    "api_key": "planted-field",
    "metadata": {"user-id": "planted-user", "n": 1},
    "messages": [{"role": "user", "content": "hi", "Tenant": "planted-tenant"}],
}
ECHO = "sk-planted-header planted-cookie planted-field planted-query planted-user planted-tenant"


@pytest.mark.parametrize(
    ("answer", "headers", "status"),
    [
        (json.dumps(completion(ECHO, reasoning=ECHO, refusal=ECHO)).encode(), (), 200),
        (json.dumps({**completion("a"), "model": ECHO, "usage": {ECHO: ECHO}}).encode(), (), 200),
        (json.dumps({"choices": [{"finish_reason": ECHO, "message": {}}]}).encode(), (), 200),
        (json.dumps({"error": {"message": "x" * 975 + ECHO}}).encode(), (), 401),
        (json.dumps({"error": ECHO}).encode(), (), 401),
        (b"<html>" + ECHO.encode(), (), 502),
        (b"<html>" + b" " * (65_536 - 12) + ECHO.encode(), (), 502),
        (b"data: " + ECHO.encode() + b"\n\n" + sse(delta(ECHO)), SSE, 200),
        (sse(delta(ECHO)) + b'data: "' + ECHO.encode(), SSE, 200),
        (b'{"user_id": "planted-other", "TENANT": 5', (), 200),
        (sse({**delta("a"), "user_id": "planted-other", "x": [{"tenant": "planted"}]}), SSE, 200),
    ],
)
@pytest.mark.parametrize("ending", [Ending.ENDED, Ending.CLIENT_CUT])
@pytest.mark.parametrize("readable", [True, False])
def test_no_planted_secret_is_written(
    answer: bytes, headers: Any, status: int, ending: Ending, readable: bool
) -> None:
    config = dataclasses.replace(CONFIG, redacted=frozenset({"user_id", "tenant"}))
    body = json.dumps(LEAKY).encode()
    kept = record(
        body if readable else body[:-1],
        answer,
        status=status,
        ending=ending,
        config=config,
        target=CHAT + "?key=planted-query&User_ID=planted-user",
        headers=headers,
        headers_sent=SECRETS,
    )
    assert "planted" not in json.dumps(kept.to_json())


def test_named_fields_are_taken_out_of_request_and_answer() -> None:
    config = dataclasses.replace(CONFIG, redacted=frozenset({"Content", "max-tokens"}))
    body = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "n": 1}'
    kept = record(body, json.dumps(completion("four")).encode(), config=config)
    assert kept.messages == [{"role": "user", "content": "[redacted]"}]
    assert kept.sampling == {"max_tokens": "[redacted]", "n": 1}
    assert (kept.content, kept.finish_reason) == ("[redacted]", "stop")
    assert kept.messages_sha256 == messages_sha256([{"role": "user", "content": "hi"}])


def test_secret_that_is_a_word_of_the_record_spoils_no_fixed_field() -> None:
    sent = [(b"authorization", b"Bearer complete"), (b"x-api-key", b"reasoning_state")]
    kept = record(b"{}", json.dumps(completion("complete")).encode(), headers_sent=sent)
    assert (kept.outcome, kept.content) == ("complete", "[redacted]")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "message", "content", "usage", "type", "error", "model", "output",
             "response", "item", "index", "output_index", "arguments", "messages", "prompt",
             "input", "stream", "stop", "status", "completion_tokens", "tokens_predicted", "detail"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=15,
)  # fmt: skip


@given(
    JSON,
    st.lists(JSON, max_size=3),
    st.sampled_from([CHAT, "/completion", "/v1/completions", "/v1/responses"]),
    st.booleans(),
    st.sampled_from([200, 404]),
)
@settings(deadline=None)
def test_no_json_on_either_side_breaks_the_record(
    request: Any, values: list[Any], target: str, stream: bool, status: int
) -> None:
    texts = [json.dumps(value).encode() for value in values]
    pieces = [b"data: " + text + b"\n\n" for text in texts] if stream else texts
    headers = SSE if stream else []
    body = json.dumps(request).encode()
    config = dataclasses.replace(CONFIG, redacted=frozenset({"content", "usage", "message"}))
    for each in (CONFIG, config):
        record(body, *pieces, headers=headers, status=status, target=target, config=each)


@given(st.binary(), st.lists(st.binary(), max_size=3), st.sampled_from([(), tuple(SSE)]))
@settings(deadline=None)
def test_no_bytes_on_either_side_break_the_record(
    body: bytes, pieces: list[bytes], headers: Any
) -> None:
    record(body, *pieces, headers=headers, headers_sent=[(b"x-request-id", body), (body, body)])


def test_answer_before_the_request_s_end_is_said_to_be_that() -> None:
    recorder = Recorder(RequestHead("POST", CHAT.encode(), []), ProxyConfig(routes=()))
    recorder.request_chunk(b'{"model": "m", "mess')
    recorder.request_is_whole = False
    recorder.begin(413, [])
    line = recorder.finish(Ending.ENDED)
    assert "ended before the request's body" in json.loads(line)["extra"]["request_error"]
