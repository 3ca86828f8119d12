"""How the doctor asks: as a run would, briefly, and nothing twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness_tasks.chat.reply import Reply, UpstreamError
from harness_tasks.doctor.probe import (
    FEWEST_TOKENS,
    PROBE_S,
    QUESTION,
    SMALL_CAP,
    Server,
    doctored,
    tokens_per_s,
    within,
)
from tests.fakes import Answer, FakeUpstream, Received, chat, fault, reply_json
from tests.harness_tasks.doctor.asked import server_of, settings
from tests.misbehaving import MisbehavingServer

ADDRESS = "http://127.0.0.1:9"


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


def test_a_probe_is_greedy_and_short_and_else_as_the_run() -> None:
    server = Server(
        settings(
            ADDRESS, model="m", preset="qwq", system_prompt="Be brief.", stream=False, seed=7,
            chat_template_kwargs={"enable_thinking": False}, extra_body={"min_tokens": 1},
        )
    )  # fmt: skip
    assert server.body("hi", top_k=3) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "temperature": 0.0, "max_tokens": 64, "seed": 7, "stream": False, "top_k": 3,
        "chat_template_kwargs": {"enable_thinking": False}, "min_tokens": 1,
    }  # fmt: skip


def test_a_field_that_is_none_is_not_sent() -> None:
    body = Server(settings(ADDRESS, model="m")).body("hi", seed=None, temperature=None)
    assert {"seed", "temperature"} & set(body) == set()


def test_what_was_asked_is_not_asked_again_unless_anew(upstream: FakeUpstream) -> None:
    server = server_of(upstream.url)
    assert server.ask(QUESTION) is server.ask(QUESTION)
    assert len(upstream.requests) == 1
    server.ask(QUESTION, seed=2)
    server.ask(QUESTION, anew=True)
    assert len(upstream.requests) == server.n_requests == 3


def test_a_completion_that_filled_its_limit_ended_by_length() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    with FakeUpstream(chat("ok", usage=usage)) as fake:
        server = server_of(fake.url)
        assert server.ask(QUESTION).finish_reason == "stop"
        assert server.ask(QUESTION, max_tokens=7).finish_reason == "length"
        assert server.ask_as_told(server.body(QUESTION, max_tokens=7)).finish_reason == "stop"


def test_faults_stand_in_their_place_and_passing_ones_are_counted() -> None:
    with FakeUpstream([fault(500), chat("a"), fault(403, "no"), chat("b")]) as fake:
        server = server_of(fake.url)
        assert server.ask(QUESTION).content == "a"
        assert server.n_again == 1
        replies = server.ask_at_once([server.body("x", seed=seed) for seed in (1, 2)])
    assert sorted(type(reply).__name__ for reply in replies) == ["Reply", "UpstreamError"]


@pytest.mark.parametrize(
    ("n", "ttft_s", "rate"),
    [(8, None, 4.0), (8, 1.0, 7.0), (8, 1.99, 4.0), (None, None, SMALL_CAP / 2)],
)
def test_the_pace_is_that_of_the_tokens_behind_the_first(
    n: int | None, ttft_s: float | None, rate: float
) -> None:
    usage = {"completion_tokens": n} if n else {}
    reply = Reply("x", None, None, "length", usage, latency_s=2.0, ttft_s=ttft_s)
    assert tokens_per_s(reply) == rate


@pytest.mark.parametrize(("rate", "n"), [(1.0, FEWEST_TOKENS), (10.0, 30), (1e9, 64)])
def test_a_slow_server_is_asked_for_fewer_tokens(rate: float, n: int) -> None:
    assert within(rate * PROBE_S, 64) == n


def test_the_limits_of_tokens_stay_once_the_pace_is_known() -> None:
    with MisbehavingServer(pause_s=0.4) as fake:
        server = server_of(fake.url)
        server.warm_up()
        settled = server.probe_tokens
        assert FEWEST_TOKENS <= settled < 64
        fake.traits = replace(fake.traits, pause_s=1.2)
        server.ask(QUESTION)
        assert server.probe_tokens == settled


def test_fields_go_by_the_names_that_the_run_gives_them(upstream: FakeUpstream) -> None:
    names = {"max_tokens": "max_completion_tokens", "temperature": None}
    server = server_of(upstream.url, wire_names=names)
    server.ask(QUESTION)
    server.raw(server.body(QUESTION))
    for request in upstream.requests:
        assert request.body["max_completion_tokens"] == 64
        assert {"max_tokens", "temperature"} & set(request.body) == set()


def test_it_gives_up_sooner_than_a_run() -> None:
    patient = settings(ADDRESS, max_retries=9).transport()
    hurried = doctored(patient, 30)
    assert (hurried.timeout_s, hurried.stall_timeout_s, hurried.max_retries) == (30, 31, 1)
    assert doctored(settings(ADDRESS, timeout_s=5, max_retries=0).transport(), 30).timeout_s == 5


def test_a_raw_request_has_no_request_id_and_is_no_stream(upstream: FakeUpstream) -> None:
    server = server_of(upstream.url)
    assert server.raw(server.body("hi"))["choices"][0]["message"]["content"] == "ok"
    [request] = upstream.requests
    assert "x-request-id" not in request.headers
    assert request.body["stream"] is False


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=404),
        Answer(chunks=[b"not JSON"]),
        Answer(chunks=[b"["*50_000]),
        Answer(content_type="text/html", chunks=[b"<html>"]),
    ],
)  # fmt: skip
def test_what_is_no_json_is_none_and_asked_once(answer: Answer) -> None:
    def listing(request: Received) -> Answer:
        if request.path == "/v1/models":
            return reply_json({"data": [{"id": "fake"}]})
        return answer

    with FakeUpstream(models=listing) as fake:
        server = server_of(fake.url)
        n_before = len(fake.received)
        assert server.get("/props") is None
        assert server.get("/props") is None
        assert len(fake.received) == n_before + 1


def test_a_post_that_is_refused_is_none_and_a_raw_one_raises() -> None:
    with FakeUpstream(fault(404)) as fake:
        server = server_of(fake.url)
        assert server.post("/tokenize", {"prompt": "x"}) is None
        with pytest.raises(UpstreamError, match="HTTP 404"):
            server.raw({})


def test_the_key_goes_along_and_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-secret-of-the-test")
    refused = fault(500, "no access for sk-secret-of-the-test")
    with FakeUpstream(refused) as fake:
        server = server_of(fake.url, api_key_env="THE_KEY")
        with pytest.raises(UpstreamError) as told:
            server.ask(QUESTION)
        assert fake.requests[0].headers["authorization"] == "Bearer sk-secret-of-the-test"
    assert "sk-secret" not in f"{told.value}{server.__dict__}{json.dumps(server.told)}"
