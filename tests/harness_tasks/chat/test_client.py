"""The HTTP side: addresses, faults, retries, limits, and recorded replies of real providers."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_tasks.chat import endpoint as chat_endpoint
from harness_tasks.chat import reading as chat_reading
from harness_tasks.chat.client import ChatClient
from harness_tasks.chat.endpoint import Endpoint, Transport, chosen_model, look_at, retry_after
from harness_tasks.chat.reply import EventStream, Reply, ReplyBuilder, UpstreamError, shown
from tests.conftest import SHARED, needs_shared
from tests.fakes import (
    Answer,
    FakeUpstream,
    Script,
    busy,
    chat,
    cut_off,
    fault,
    reply_json,
    stream,
    web_page,
)

WIRE = SHARED / "data" / "outputs" / "api_wire_logs"
MESSAGES = [{"role": "user", "content": "2+2?"}]


def transport_of(url: str, **changes: Any) -> Transport:
    return Transport(Endpoint.of(url), **{"backoff_s": 0.001, "max_retries": 3, **changes})


def complete(server: FakeUpstream, *, streamed: bool = True, **changes: Any) -> Reply:
    async def run() -> Reply:
        async with ChatClient(transport_of(server.url, **changes)) as client:
            body = {"model": "fake", "messages": MESSAGES, "seed": 7, "stream": streamed}
            return await client.complete(body, "run/task/0/0")

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("http://h:8000/v1", "http://h:8000/v1"),
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("http://h:8000/v1/chat/completions", "http://h:8000/v1"),
        ("http://h:8000/chat/completions/", "http://h:8000/v1"),
        ("https://h/api/v1", "https://h/api/v1"),
        (" http://[::1]:1/v1 ", "http://[::1]:1/v1"),
    ],
)
def test_every_form_of_base_url_leads_to_the_api(given: str, base: str) -> None:
    assert Endpoint.of(given).base == base
    assert Endpoint.of(given).chat == f"{base}/chat/completions"


@pytest.mark.parametrize(
    "given",
    ["127.0.0.1:8000/v1", "localhost", "", "ftp://h", "http://", "http://h:x", "http://h/v1?k=1"],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url "):
        Endpoint.of(given)


def test_a_password_in_base_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="must not hold a user or password") as refused:
        Endpoint.of("http://me:hunter2@h/v1")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("http://example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_known(url: str, loopback: bool) -> None:
    assert Endpoint.of(url).is_loopback is loopback


def test_a_proxy_of_the_environment_does_not_step_between_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeUpstream() as server:
        assert look_at(transport_of(server.url)).names == ["fake"]
        assert complete(server).content == "ok"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_nothing_listening_is_said() -> None:
    with pytest.raises(UpstreamError, match=r"^nothing listens at http://127.0.0.1:"):
        look_at(transport_of(f"http://127.0.0.1:{free_port()}"))


def test_a_server_that_listens_and_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_endpoint, "LOOK_TIMEOUT_S", 0.2)
    silent = Answer(chunks=[b"{}"], pause_s=0.6)
    with (
        FakeUpstream(models=lambda _: silent) as server,
        pytest.raises(UpstreamError, match="did not answer in time"),
    ):
        look_at(transport_of(server.url))


LOOKS: list[tuple[Any, str]] = [
    (web_page(), "not an OpenAI-compatible server: it answers with a web page"),
    (lambda _: reply_json({"hello": 1}), "not an OpenAI-compatible server: .* lists no models"),
    (lambda _: reply_json([1]), "JSON list, not an object"),
    (lambda _: Answer(chunks=[b"pong"]), "is not valid JSON: 'pong'"),
    (
        fault(401, "who are you"),
        "HTTP 401 .*who are you .*it wants a key and got none.*api_key_env",
    ),
    (fault(500, "boom"), "HTTP 500 from .*: boom"),
    (fault(307, location="/x"), "HTTP 307 .*redirect"),
]


@pytest.mark.parametrize(("models", "message"), LOOKS)
def test_a_server_that_is_none_is_told_in_one_line(models: Script, message: str) -> None:
    with (
        FakeUpstream(models=models) as server,
        pytest.raises(UpstreamError, match=message) as told,
    ):
        look_at(transport_of(server.url))
    assert "\n" not in str(told.value)


def test_a_server_that_loads_its_model_is_waited_for() -> None:
    answers: list[Script] = [
        fault(503, "Loading model"),
        lambda _: reply_json({"data": [{"id": "m"}]}),
    ]
    with FakeUpstream(models=lambda request: answers.pop(0)(request)) as server:
        assert look_at(transport_of(server.url)).names == ["m"]


def test_the_version_of_a_known_server_is_told() -> None:
    def models(request: Any) -> Answer:
        if request.path == "/version":
            return reply_json({"version": "0.11.0"})
        return reply_json({"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]})

    with FakeUpstream(models=models) as server:
        offered = look_at(transport_of(server.url))
    assert (offered.kind, offered.version, offered.max_model_len) == ("vllm", "0.11.0", {"m": 4096})


@pytest.mark.parametrize(
    "listing",
    [
        fault(500, "no cache"),
        lambda _: reply_json({"data": []}),
        lambda _: reply_json({"data": [{"id": "Qwen/Qwen3-8B", "owned_by": "Qwen"}]}),
    ],
)
def test_transformers_serve_takes_any_model_whatever_its_cache_lists(listing: Script) -> None:
    def models(request: Any) -> Answer:
        if request.path == "/openapi.json":
            return reply_json({"paths": {"/load_model": {}, "/v1/models": {}}})
        return listing(request)

    with FakeUpstream(models=models) as server:
        transport = transport_of(server.url)
        offered = look_at(transport)
        assert (offered.names, offered.kind) == (None, "transformers")
        assert chosen_model("/models/mine", offered, transport) == "/models/mine"


@pytest.mark.parametrize("api", [[], {"paths": ["/load_model"]}, {"paths": None}, {"paths": {}}])
def test_a_description_of_another_shape_tells_no_kind(api: Any) -> None:
    def models(request: Any) -> Answer:
        return reply_json(api if request.path == "/openapi.json" else {"data": [{"id": "m"}]})

    with FakeUpstream(models=models) as server:
        offered = look_at(transport_of(server.url))
    assert (offered.names, offered.kind) == (["m"], None)


def test_the_only_model_is_taken_and_a_wrong_name_meets_the_close_one_first() -> None:
    with FakeUpstream(models=["llama", "qwen3-8b"]) as server:
        transport = transport_of(server.url)
        offered = look_at(transport)
        with pytest.raises(
            UpstreamError, match=r"no model 'qwen3-8B-x'; it offers qwen3-8b, llama"
        ):
            chosen_model("qwen3-8B-x", offered, transport)
        with pytest.raises(UpstreamError, match=r"add model=NAME .* it offers llama, qwen3-8b"):
            chosen_model(None, offered, transport)
        assert chosen_model("llama", offered, transport) == "llama"
    assert chosen_model(None, chat_endpoint.Offered(names=["m"]), transport) == "m"


def test_a_server_without_a_list_of_models_needs_a_name() -> None:
    with FakeUpstream(models=None) as server:
        transport = transport_of(server.url)
        offered = look_at(transport)
        assert chosen_model("m", offered, transport) == "m"
        with pytest.raises(UpstreamError, match="does not list its models"):
            chosen_model(None, offered, transport)


def test_a_refusal_in_its_own_field_is_what_was_answered() -> None:
    building = ReplyBuilder()
    said = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    building.add({"choices": [{"message": said, "finish_reason": "stop"}]})
    assert building.reply().content == "I can't help with that."


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("form", ["reasoning_content", "reasoning"])
def test_both_reasoning_fields_are_read(form: str, streamed: bool) -> None:
    with FakeUpstream(chat("four", reasoning="two and two", form=form)) as server:
        reply = complete(server, streamed=streamed)
    assert (reply.reasoning, reply.content, reply.finish_reason) == ("two and two", "four", "stop")
    assert reply.reasoning_source == form
    assert reply.usage["completion_tokens"] == 7
    assert (reply.ttft_s is not None) is streamed
    assert reply.latency_s is not None


@pytest.mark.parametrize("streamed", [True, False])
def test_a_null_content_is_empty(streamed: bool) -> None:
    with FakeUpstream(chat(None, reasoning="r", finish_reason="length")) as server:
        reply = complete(server, streamed=streamed)
    assert (reply.content, reply.reasoning, reply.finish_reason) == ("", "r", "length")


@pytest.mark.parametrize(
    "broken",
    [
        fault(500),
        fault(503),
        fault(408),
        busy("0"),
        cut_off,
        lambda _: stream([b"data: {oops\n\n"]),
        lambda _: stream([{"error": {"message": "engine died", "code": 500}}]),
        lambda _: Answer(chunks=[b"not json"]),
        lambda _: reply_json({"id": 1}),
        lambda _: Answer(reset=True),
    ],
)
def test_a_passing_fault_is_retried_with_the_same_request(broken: Script) -> None:
    with FakeUpstream([broken, broken, chat("ok")]) as server:
        assert complete(server).content == "ok"
        first, *others = [(r.body, r.headers["x-request-id"]) for r in server.requests]
    assert len(others) == 2
    assert all(other == first for other in others)


def test_retries_are_bounded_and_counted_in_the_message() -> None:
    with (
        FakeUpstream(fault(500, "boom")) as server,
        pytest.raises(UpstreamError, match=r"HTTP 500 .*boom \(after 4 attempts\)"),
    ):
        complete(server)
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_fault_of_the_request_is_not_retried(status: int) -> None:
    with FakeUpstream(fault(status, "no")) as server, pytest.raises(UpstreamError, match="no"):
        complete(server, streamed=False)
    assert len(server.requests) == 1


def test_retry_after_is_waited_for() -> None:
    with FakeUpstream([busy("0.3"), chat()]) as server:
        started = time.monotonic()
        complete(server)
    assert time.monotonic() - started >= 0.3


def test_retry_after_reads_seconds_and_dates() -> None:
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert retry_after("2") == 2.0
    assert 95 < (retry_after(later) or 0) <= 100
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert [retry_after(bad) for bad in ("soon", "-1", "nan", "", None)] == [None] * 5


def test_a_wait_of_a_day_is_not_waited() -> None:
    with (
        FakeUpstream(busy("86400")) as server,
        pytest.raises(UpstreamError, match="asks to wait 86400 s"),
    ):
        complete(server)
    assert len(server.requests) == 1


def test_a_stall_is_a_fault_and_a_slow_stream_is_none() -> None:
    def slow(request: Any) -> Answer:
        return chat("abcdefghi", pause_s=0.3)(request)

    with FakeUpstream(slow) as server:
        assert complete(server, stall_timeout_s=1.5).content == "abcdefghi"
    with (
        FakeUpstream(lambda request: chat("abc", pause_s=0.6)(request)) as server,
        pytest.raises(UpstreamError, match=r"no token came for stall_timeout_s=0.2 s"),
    ):
        complete(server, stall_timeout_s=0.2, max_retries=0)


def test_comments_that_keep_a_connection_alive_are_no_tokens() -> None:
    with (
        FakeUpstream(lambda _: stream([b": wait\n\n"] * 10, pause_s=0.1)) as server,
        pytest.raises(UpstreamError, match="no token came"),
    ):
        complete(server, stall_timeout_s=0.3, max_retries=0)


def test_the_total_time_is_limited_and_not_retried() -> None:
    with (
        FakeUpstream(chat("abcdefghi" * 3, pause_s=0.1)) as server,
        pytest.raises(UpstreamError, match=r"not finished after timeout_s=0.3 s"),
    ):
        complete(server, timeout_s=0.3)
    assert len(server.requests) == 1


def test_a_server_that_rejects_stream_options_is_asked_without_them() -> None:
    def strict(request: Any) -> Answer:
        script = fault(400, "unknown field") if "stream_options" in request.body else chat()
        return script(request)

    async def twice(url: str) -> None:
        async with ChatClient(transport_of(url)) as client:
            body = {"model": "fake", "messages": MESSAGES, "stream": True}
            await client.complete(body, "a")
            await client.complete(body, "b")

    with FakeUpstream(strict) as server:
        asyncio.run(twice(server.url))
        asked = ["stream_options" in request.body for request in server.requests]
    assert asked == [True, False, False]


def test_a_reply_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_reading, "MAX_REPLY_BYTES", 10_000)
    for streamed in (True, False):
        with (
            FakeUpstream(chat("x" * 20_000)) as server,
            pytest.raises(UpstreamError, match="larger than 10000 bytes"),
        ):
            complete(server, streamed=streamed)
        assert len(server.requests) == 1


def test_a_web_page_in_place_of_a_completion_is_told() -> None:
    with FakeUpstream(web_page()) as server, pytest.raises(UpstreamError, match="web page"):
        complete(server)


def test_the_key_is_sent_and_never_shown() -> None:
    key = "sk-very-secret-1234"
    with FakeUpstream(fault(401, f"incorrect key: {key}")) as server:
        with pytest.raises(UpstreamError, match=r"incorrect key: \*\*\* .*refused") as told:
            complete(server, api_key=key)
        assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    assert key not in str(told.value) + repr(transport_of(server.url, api_key=key))


KEY = "sk-very-secret-1234"


@pytest.mark.parametrize(
    "echo",
    [
        lambda _: stream([{"choices": [{"delta": {"content": "a"}}]}, {"error": {"message": KEY}}]),
        lambda _: reply_json({"error": {"message": KEY}}),
        lambda _: reply_json({"choices": [{"error": {"message": KEY}}]}),
        lambda _: reply_json({"no choices": KEY}),
        lambda _: Answer(chunks=[KEY.encode()]),
        lambda _: Answer(headers={"content-encoding": KEY}),
    ],
)
def test_a_key_that_comes_back_in_a_reply_is_in_no_fault(echo: Script) -> None:
    with FakeUpstream(echo) as server, pytest.raises(UpstreamError, match=r"\*\*\*") as told:
        complete(server, api_key=KEY)
    assert KEY not in str(told.value)


def test_foreign_text_is_shown_on_one_line() -> None:
    assert shown("a\x1b[31m\nb\x00" + "c" * 1000) == "a\\x1b[31m b\\x00" + "c" * 285 + "…"


def test_nul_and_surrogates_do_not_break_anything() -> None:
    with FakeUpstream(chat("a\x00b\ud800c", reasoning="\udfff")) as server:
        reply = complete(server, streamed=False)
    assert (reply.content, reply.reasoning) == ("a\x00b\ufffdc", "\ufffd")


def test_a_pair_of_surrogates_in_two_chunks_is_one_character() -> None:
    halves = [{"choices": [{"delta": {"content": half}}]} for half in ("\ud83d", "\ude00")]
    with FakeUpstream(lambda _: stream(halves)) as server:
        assert complete(server).content == "\U0001f600"


def test_a_finished_stream_needs_no_done() -> None:
    finished = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}
    with FakeUpstream(lambda _: stream([finished], done=False)) as server:
        assert complete(server).content == "x"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", '{"x": 1}', "ü", "[DONE]x"]), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_events_do_not_depend_on_where_the_stream_is_cut(
    texts: list[str], newline: str, data: st.DataObject
) -> None:
    wire = "".join(f": c{newline}data: {text}{newline}{newline}" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    events = EventStream()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        found += events.feed(wire[start:end])
    assert [event.decode() for event in found + events.close()] == texts


PROVIDERS = ["azure-deepseek-reasoning.1", "deepseek-reasoning", "groq-reasoning"]
PROVIDERS += ["mistral-reasoning"]


def text_of_file(path: Path) -> str:
    if path.exists():
        return path.read_text(encoding="utf-8")
    return gzip.decompress(Path(f"{path}.gz").read_bytes()).decode()


def recorded_parts(message: dict[str, Any]) -> tuple[str, str]:
    """Read (reasoning, content) off a recorded message or delta, in the plainest way."""
    content = message.get("content") or ""
    thinking = message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        thinking = "".join(t["text"] for p in content for t in p.get("thinking", ()))
        content = "".join(p["text"] for p in content if p["type"] == "text")
    return thinking, content


@needs_shared
@pytest.mark.parametrize("name", [*PROVIDERS, "moonshotai-reasoning", "deepseek-json"])
def test_a_recorded_reply_is_read(name: str) -> None:
    recorded = json.loads(text_of_file(WIRE / f"vercel-ai__{name}.json"))
    with FakeUpstream(lambda _: reply_json(recorded)) as server:
        reply = complete(server, streamed=False)
    choice = recorded["choices"][0]
    assert (reply.reasoning, reply.content) == recorded_parts(choice["message"])
    assert reply.reasoning
    assert reply.finish_reason == choice["finish_reason"]
    assert reply.usage == recorded["usage"]
    assert reply.model_served == recorded["model"]


@needs_shared
@pytest.mark.parametrize("name", [*PROVIDERS, "moonshotai-stream", "deepseek-tool-call"])
def test_a_recorded_stream_is_read(name: str) -> None:
    events = list(
        map(json.loads, text_of_file(WIRE / f"vercel-ai__{name}.chunks.txt").splitlines())
    )
    with FakeUpstream(lambda _: stream(events)) as server:
        reply = complete(server)
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    parts = [recorded_parts(delta) for delta in deltas]
    assert reply.reasoning == "".join(reasoning for reasoning, _ in parts)
    assert reply.content == "".join(content for _, content in parts)
    finish = [c["finish_reason"] for e in events for c in e["choices"] if c["finish_reason"]]
    assert [reply.finish_reason] == finish
    assert reply.usage == [event["usage"] for event in events if event.get("usage")][-1]


CASSETTES = [
    "deepseek__test_deepseek_model_thinking_stream.yaml.gz",
    "huggingface__test_hf_model_thinking_part_iter.yaml.gz",
    "openrouter__test_openrouter_stream_with_reasoning.yaml",
    "openrouter__test_openrouter_streaming_reasoning.yaml",
]


@needs_shared
@pytest.mark.parametrize("name", CASSETTES)
def test_a_recorded_byte_stream_with_its_comments_is_read(name: str) -> None:
    text = text_of_file(WIRE / f"pydantic-ai__test_{name.removesuffix('.gz')}")
    response = yaml.safe_load(text)["interactions"][0]["response"]
    wire = response["body"]["string"].encode()
    cut = [wire[start : start + 777] for start in range(0, len(wire), 777)]
    with FakeUpstream(lambda _: Answer(content_type="text/event-stream", chunks=cut)) as server:
        reply = complete(server)
    data = [line[6:] for line in wire.decode().splitlines() if line.startswith("data: {")]
    deltas = [c["delta"] for event in map(json.loads, data) for c in event["choices"]]
    parts = [recorded_parts(delta) for delta in deltas]
    assert (reply.reasoning or "") == "".join(reasoning for reasoning, _ in parts)
    assert reply.content == "".join(content for _, content in parts)
    assert reply.finish_reason == "stop"
    assert reply.content
