"""`local-chat` with hosted APIs: the ways of each, played by a fake server on loopback."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from harness_tasks.chat import hosted
from harness_tasks.chat.reply import UpstreamError
from harness_tasks.completion import Completion
from harness_tasks.local_chat import LocalChat
from tests.fakes import Answer, FakeUpstream, Received, Script, chat, fault, reply_json, stream

KEY = "sk-or-v1-0123456789abcdef"
OPENROUTER = {
    "data": [
        {"id": f"vendor/model-{i}", "name": "Some model", "context_length": 131_072}
        for i in range(300)
    ]
    + [{"id": "deepseek/deepseek-r1", "context_length": 8192, "owned_by": None}]
}


@pytest.fixture(autouse=True)
def hook_as_before() -> Iterator[None]:
    hook = sys.excepthook
    yield
    sys.excepthook = hook


def requests(n: int = 1, **generation_kwargs: Any) -> list[Instance]:
    return [
        Instance("generate_until", {}, (f"question {i}", generation_kwargs), 0, ("toy", i, 1))
        for i in range(n)
    ]


def ask(server: FakeUpstream, n: int = 1, **model_args: Any) -> list[Completion]:
    given = {"base_url": server.url, "run": "r", "max_retries": 2, "num_concurrent": 1}
    model = LocalChat(**{**given, **model_args})
    made: list[Any] = model.generate_until(requests(n))
    assert all(isinstance(one, Completion) for one in made)
    return made


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "gen-1", "model": "deepseek/deepseek-r1", "choices": [choice], **more}


def openrouter(provider: str = "DeepInfra") -> Script:
    """Answer as OpenRouter does: comments while it waits, reasoning twice, cost in the usage."""

    def detail(text: str) -> dict[str, Any]:
        return {
            "reasoning": text,
            "reasoning_details": [{"type": "reasoning.text", "text": text, "format": "unknown"}],
        }

    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "cost": 0.0001}
    events: list[Any] = [
        b": OPENROUTER PROCESSING\n\n",
        b": OPENROUTER PROCESSING\n\n",
        chunk({"role": "assistant", "content": "", **detail("two and ")}, provider=provider),
        chunk({"role": "assistant", "content": "", **detail("two")}, provider=provider),
        b": OPENROUTER PROCESSING\n\n",
        chunk({"role": "assistant", "content": "4"}, provider=provider),
        chunk({"content": ""}, "stop", provider=provider, native_finish_reason="stop"),
        {**chunk({"content": ""}), "usage": usage, "provider": provider},
    ]
    return lambda _: stream(events)


def test_openrouter_with_its_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", f" {KEY}\n")
    with FakeUpstream(openrouter(), models=OPENROUTER) as server:
        (done,) = ask(server, model="deepseek/deepseek-r1", api_key_env="OPENROUTER_API_KEY")
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert "max_tokens" not in server.requests[0].body  # 32,768 do not fit its 8,192
    assert done == "<think>two and two</think>4"
    assert (done.reasoning_source, done.finish_reason) == ("reasoning", "stop")
    assert (done.model_served, done.provider) == ("deepseek/deepseek-r1", "DeepInfra")
    assert done.usage["cost"] == 0.0001


@pytest.mark.parametrize(
    ("asked", "models"),
    [
        ("deepseek/deepseek-r1:nitro", OPENROUTER),
        ("gemini-2.5-flash", {"data": [{"id": "models/gemini-2.5-flash"}, {"id": "models/other"}]}),
    ],
)
def test_a_name_that_is_listed_in_another_form_is_taken(asked: str, models: Any) -> None:
    with FakeUpstream(chat("4"), models=models) as server:
        ask(server, model=asked)
        assert server.requests[0].body["model"] == asked


@pytest.mark.parametrize("asked", ["deepseek/deepseek-r2", "qwen3:8b"])
def test_a_name_that_is_not_listed_is_refused(asked: str) -> None:
    models = {"data": [*OPENROUTER["data"], {"id": "qwen3"}]}
    with (
        FakeUpstream(chat("4"), models=models) as server,
        pytest.raises(UpstreamError, match="has no model") as caught,
    ):
        ask(server, model=asked)
    assert len(str(caught.value)) < 1000  # 302 names are not all listed


def test_reasoning_in_details_alone_is_kept_and_encrypted_one_is_no_text() -> None:
    details = [
        {"type": "reasoning.summary", "summary": "two and "},
        {"type": "reasoning.encrypted", "data": "gAAAA"},
        {"type": "reasoning.text", "text": "two"},
    ]
    said = {"role": "assistant", "content": "4", "reasoning": None, "reasoning_details": details}
    body = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    with FakeUpstream(lambda _: reply_json(body)) as server:
        (done,) = ask(server, stream=False)
    assert (done, done.reasoning_source) == ("<think>two and two</think>4", "reasoning_details")


def test_several_providers_are_told(caplog: pytest.LogCaptureFixture) -> None:
    scripts = [openrouter("DeepInfra"), openrouter("Novita")]
    with FakeUpstream(scripts) as server, caplog.at_level(logging.WARNING):
        done = ask(server, 3)
    assert [one.provider for one in done] == ["DeepInfra", "Novita", "Novita"]
    assert "completions come from 2 providers (Novita 2, DeepInfra 1)" in caplog.text


def error(code: Any, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


BROKEN_OFF = {
    "an error beside the choices": {
        **chunk({"content": ""}, "error"), **error("server_error", "Provider disconnected"),
    },
    "an error in the choice": {
        "choices": [{"index": 0, "delta": {"content": ""}, "error": {"code": 502, "message": "?"}}]
    },
    "a finish_reason alone": chunk({"content": ""}, "error"),
    "DeepSeek's lack of resources": chunk({"content": ""}, "insufficient_system_resource"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN_OFF)
def test_a_completion_that_the_provider_broke_off_is_asked_again(how: str) -> None:
    def broken(_: Received) -> Answer:
        return stream([chunk({"content": "The answer is 1"}), BROKEN_OFF[how]])

    with FakeUpstream([broken, chat("4")]) as server:
        assert ask(server) == ["4"]
        first, second = server.requests
        assert first.body == second.body


def test_an_error_of_status_200_is_no_empty_answer() -> None:
    with FakeUpstream([lambda _: reply_json(error(429, "slow down")), chat("4")]) as server:
        assert ask(server) == ["4"]


@pytest.mark.parametrize(
    "script",
    [
        fault(402, "Insufficient credits. Add more"),
        lambda _: reply_json(error(402, "Insufficient credits. Add more")),
        fault(429, "You exceeded your current quota", retry_after="1"),
    ],
    ids=["HTTP 402", "200 with 402 in it", "HTTP 429 for good"],
)
def test_a_lack_of_credit_is_not_tried_again(script: Script) -> None:
    with FakeUpstream(script) as server:
        try:
            (done,) = ask(server)
            said = str(done.error)
        except UpstreamError as fatal:
            said = str(fatal)
        assert len(server.requests) == 1
    assert "credit" in said


def test_a_lack_of_credit_in_the_middle_ends_the_run() -> None:
    with (
        FakeUpstream([chat("4"), chat("4"), fault(402, "Insufficient credits")]) as server,
        pytest.raises(UpstreamError, match="Insufficient credits"),
    ):
        ask(server, 40)
    assert len(server.requests) == 3


def test_a_question_that_moderation_refuses_is_an_error_sample() -> None:
    flagged = fault(403, "Your input was flagged by moderation: violence")
    with FakeUpstream([flagged, chat("4"), flagged, chat("5")]) as server:
        first, second, third, fourth = ask(server, 4)
    assert (second, fourth) == ("4", "5")
    assert "flagged" in str(first.error)
    assert "flagged" in str(third.error)


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "0.3"},
        {"retry-after-ms": "300"},
        {"x-ratelimit-reset-requests": "300ms", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-reset": "0.3"},
    ],
)
def test_a_rate_limit_is_waited_for(headers: dict[str, str]) -> None:
    busy = reply_json(error("rate_limit_exceeded", "slow down"), status=429, headers=headers)
    with FakeUpstream([lambda _: busy, chat("4")]) as server:
        started = time.monotonic()
        assert ask(server) == ["4"]
        assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"x-ratelimit-reset-tokens": "1m30.5s"}, b"", 90.5),
        ({"x-ratelimit-reset-tokens": "2s", "x-ratelimit-remaining-tokens": "10",
          "x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, b"", 360),
        ({"x-ratelimit-reset": "-3"}, b"", None),
        ({"x-ratelimit-reset-requests": "soon"}, b"", None),
        ({}, b'[{"error": {"details": [{"retryDelay": "36s"}]}}]', 36),
        ({}, b"", None),
    ],
)  # fmt: skip
def test_the_wait_that_a_provider_names(
    headers: dict[str, str], body: bytes, expected: float | None
) -> None:
    wait = hosted.wait_of(headers, body)
    assert wait == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("units_a_second", [1, 1000])
def test_a_reset_may_be_a_time_of_the_clock(units_a_second: int) -> None:
    headers = {"x-ratelimit-reset": str(int((time.time() + 3600) * units_a_second))}
    assert hosted.wait_of(headers, b"") == pytest.approx(3600, abs=60)


def test_a_reset_that_is_hours_away_is_not_waited_for() -> None:
    headers = {"x-ratelimit-reset": str(int(time.time() * 1000) + 36_000_000)}
    busy = reply_json(error(429, "free-models-per-day"), status=429, headers=headers)
    with FakeUpstream(lambda _: busy) as server:
        (done,) = ask(server)
        assert len(server.requests) == 1
    assert "it asks to wait 3" in str(done.error)


def particular(refuse: str, said: str) -> Script:
    """Refuse requests with a field, and answer those without."""

    def script(request: Received) -> Answer:
        if refuse in request.body:
            return reply_json(error(None, said, param=refuse), status=400)
        return chat("4")(request)

    return script


@pytest.mark.parametrize(
    ("refused", "said", "mend", "sent"),
    [
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            {"max_tokens": "max_completion_tokens"},
            {"max_completion_tokens": 32_768, "temperature": 0.0},
        ),
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0 with this model.",
            {"temperature": None},
            {"max_tokens": 32_768},
        ),
        (
            "seed",
            "extra_forbidden: ('body', 'seed'): Extra inputs are not permitted",
            {"seed": None},
            {"max_tokens": 32_768, "temperature": 0.0},
        ),
    ],
)
def test_a_field_that_an_api_refuses_is_told_with_the_cure_and_the_cure_helps(
    refused: str, said: str, mend: dict[str, Any], sent: dict[str, Any]
) -> None:
    with FakeUpstream(particular(refused, said)) as server:
        (done,) = ask(server)
        assert f"wire_names={json.dumps(mend)}" in str(done.error)
        assert ask(server, wire_names=mend) == ["4"]
        body = server.requests[-1].body
    fields = {
        k: v
        for k, v in body.items()
        if k not in ("model", "messages", "seed", "stream", "stream_options")
    }
    assert fields == sent
    assert ("seed" in body) is (refused != "seed")


def test_what_was_left_out_is_not_told_as_sent_and_a_new_name_is_no_new_field() -> None:
    names = {"temperature": None, "max_tokens": "max_completion_tokens", "seed": "random_seed"}
    usage = {"prompt_tokens": 1, "completion_tokens": 64}
    with FakeUpstream(chat("cut", usage=usage)) as server:
        model = LocalChat(base_url=server.url, wire_names=json.dumps(names), max_tokens=64)
        (done,) = model.generate_until(requests())
        assert isinstance(done, Completion)
        body = server.requests[0].body
        assert (body["max_completion_tokens"], "temperature" in body) == (64, False)
        assert isinstance(body["random_seed"], int)
        assert done.finish_reason == "length"  # of 64 tokens at a limit of 64
        assert model.get_model_info()["sampling"] == {"max_tokens": 64}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_token": "x"}, "which is none of temperature"),
        ({"messages": None}, "which is none of temperature"),
        ({"max_tokens": 3}, "must be a field's name or null"),
        ({"max_tokens": "a b"}, "must be a field's name or null"),
        ("x", "must be a JSON object"),
    ],
)
def test_wire_names_that_make_no_sense_are_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LocalChat(base_url="http://127.0.0.1:1", wire_names=given)


def test_a_limit_above_what_the_provider_gives_is_told_with_the_cure() -> None:
    said = "`max_tokens` must be less than or equal to `8192`, the maximum value for this model"
    with FakeUpstream(fault(400, said)) as server:
        (done,) = ask(server)
    assert "set a smaller max_tokens in model_args" in str(done.error)


@pytest.mark.parametrize(
    ("base", "chat_path"),
    [
        ("/api/v1", "/api/v1/chat/completions"),  # OpenRouter
        ("/v1beta/openai/", "/v1beta/openai/chat/completions"),  # Gemini
        ("/openai/v1/", "/openai/v1/chat/completions"),  # Groq, Azure
        ("", "/v1/chat/completions"),  # OpenAI, DeepSeek, Mistral
    ],
)
def test_the_addresses_of_hosted_apis(base: str, chat_path: str) -> None:
    with FakeUpstream(chat("4"), models=lambda _: reply_json(OPENROUTER)) as server:
        ask(server, base_url=server.root + base, model="deepseek/deepseek-r1")
        paths = [request.path for request in server.received]
    assert (paths[0], paths[-1]) == (chat_path.replace("chat/completions", "models"), chat_path)


def test_gemini_s_errors_in_a_list_are_told() -> None:
    body = [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]
    with FakeUpstream(lambda _: reply_json(body, status=400)) as server:
        (done,) = ask(server)
    assert "HTTP 400" in str(done.error)
    assert "API key not valid." in str(done.error)


def test_deepseek_s_blank_lines_before_a_reply_are_passed_over() -> None:
    said = {"role": "assistant", "content": "4", "reasoning_content": "two and two"}
    body = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    chunks = [b"\n", b"\n\n", json.dumps(body).encode()]
    with FakeUpstream(lambda _: Answer(chunks=chunks)) as server:
        assert ask(server, stream=False) == ["<think>two and two</think>4"]


def test_a_key_that_an_error_repeats_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    with (
        FakeUpstream(fault(401, f"No auth credentials: {KEY}")) as server,
        pytest.raises(UpstreamError) as caught,
    ):
        ask(server, api_key_env="OPENROUTER_API_KEY")
    assert KEY not in str(caught.value)
    assert "api_key_env" in str(caught.value)
