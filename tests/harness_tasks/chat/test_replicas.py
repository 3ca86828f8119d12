"""Several servers of one model: shares, drains, returns, refusals, the same samples from any."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from harness_tasks.chat import replicas as chat_replicas
from harness_tasks.chat.client import ChatClient
from harness_tasks.chat.endpoint import Transport, chosen_model, look_at, servers_of
from harness_tasks.chat.reply import UpstreamError
from harness_tasks.chat.settings import read_settings
from harness_tasks.completion import Completion
from harness_tasks.local_chat import LocalChat
from tests.fakes import (
    Answer,
    FakeUpstream,
    Received,
    Script,
    chat,
    cut_off,
    fault,
    reply_json,
    web_page,
)

MESSAGES = [{"role": "user", "content": "2+2?"}]


def free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def transport_of(*urls: str, **changes: Any) -> Transport:
    first, *others = servers_of("|".join(urls))
    given = {"backoff_s": 0.001, "max_retries": 2, "num_concurrent": 8, **changes}
    return Transport(first, others=tuple(others), **given)


def ask(
    transport: Transport, n: int, after: Callable[[ChatClient], Any] = lambda client: None
) -> tuple[list[Any], Any]:
    """Ask n times at once; what `after` sees of the client comes back too."""

    async def run() -> tuple[list[Any], Any]:
        async with ChatClient(transport) as client:
            body = {"model": "fake", "messages": MESSAGES, "stream": True}
            asked = (client.complete(body, f"run/task/{i}/0") for i in range(n))
            replies = await asyncio.gather(*asked, return_exceptions=True)
            return replies, after(client)

    return asyncio.run(run())


def told(models: list[dict[str, Any]]) -> Script:
    return lambda _: reply_json({"object": "list", "data": models})


@pytest.mark.parametrize("form", ["{}|{}", "{}; {}", "{} {}", "{},{}"])
def test_several_addresses_are_read_in_every_form(form: str) -> None:
    text = form.format("http://a:1", "http://b:2/v1")
    as_text = read_settings({"base_url": text})
    as_list = read_settings({"base_url": ["http://a:1/", "http://b:2"]})
    assert as_text.base_url == as_list.base_url == "http://a:1/v1|http://b:2/v1"
    assert [e.base for e in as_text.transport().endpoints] == ["http://a:1/v1", "http://b:2/v1"]
    assert as_text.transport().where == "http://a:1/v1 http://b:2/v1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["http://a:1", "http://a:1/v1"], "names 'http://a:1/v1' twice|names http://a:1/v1 twice"),
        (["http://a:1", "b:2"], "must look like"),
        ([], "base_url is missing|must look like"),
        ("http://me:hun,ter@h/v1", "must not hold a user or password"),
        ([["http://a:1"]], "must be text"),
    ],
)
def test_addresses_that_make_no_replicas_are_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        read_settings({"base_url": given})
    assert "hun" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_requests_are_shared_out_by_load() -> None:
    def slow(request: Received) -> Answer:
        return chat("slow", pause_s=0.15)(request)

    with FakeUpstream(slow) as one, FakeUpstream(chat("quick")) as other:
        transport = transport_of(one.url, other.url, num_concurrent=4)

        async def run() -> dict[str, int]:
            async with ChatClient(transport) as client:
                body = {"model": "fake", "messages": MESSAGES, "stream": True}
                waiting = iter(range(60))

                async def work() -> None:
                    for i in waiting:
                        reply = await client.complete(body, str(i))
                        assert reply.server == {"slow": one.url, "quick": other.url}[reply.content]

                await asyncio.gather(*(work() for _ in range(4)))
                return client.replicas.counts()

        counts = asyncio.run(run())
    assert counts[one.url] + counts[other.url] == 60
    assert 2 <= counts[one.url] < counts[other.url]
    assert max(one.most_at_once, other.most_at_once) <= 4


DEAD: list[Script] = [
    cut_off,
    lambda _: Answer(reset=True),
    fault(502),
    fault(503),
    fault(504),
    fault(401),
    fault(404),
    web_page(),
]


@pytest.mark.parametrize("dead", DEAD)
def test_a_request_leaves_a_server_that_is_gone_without_a_failed_attempt(
    dead: Script, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeUpstream(dead) as one, FakeUpstream(chat("ok")) as other:
        transport = transport_of(one.url, other.url, max_retries=0)
        replies, (n_moved, n_retries) = ask(transport, 6, lambda c: (c.n_moved, c.n_retries))
    assert [reply.content for reply in replies] == ["ok"] * 6
    assert {reply.server for reply in replies} == {other.url}
    assert n_moved == len(one.requests) > 0
    assert n_retries == 0
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert line.startswith(f"{one.url} is left out, 1 of 2 servers are asked: ")


def test_nothing_listening_at_one_of_them_is_passed_by() -> None:
    with FakeUpstream() as other:
        replies, counts = ask(
            transport_of(free_url(), other.url, max_retries=0), 5, lambda c: c.replicas.counts()
        )
    assert [reply.content for reply in replies] == ["ok"] * 5
    assert sorted(counts.values()) == [0, 5]


def test_a_moved_request_is_the_same_request() -> None:
    with FakeUpstream(fault(503)) as one, FakeUpstream(chat()) as other:
        ask(transport_of(one.url, other.url), 1)
    (refused,), (answered,) = one.requests, other.requests
    assert refused.body == answered.body
    assert refused.headers["x-request-id"] == answered.headers["x-request-id"]


def test_where_all_are_gone_a_request_is_tried_as_with_one() -> None:
    with FakeUpstream(fault(502, "gone")) as one, FakeUpstream(fault(502, "gone")) as other:
        replies, _ = ask(transport_of(one.url, other.url, max_retries=2), 1)
    (failed,) = replies
    assert isinstance(failed, UpstreamError)
    assert str(failed).endswith("gone (after 3 attempts)")
    assert len(one.requests) + len(other.requests) == 4  # the first attempt asked both


def test_what_all_servers_refuse_is_final_and_leaves_none_of_them_out() -> None:
    with FakeUpstream(fault(400, "too long")) as one, FakeUpstream(fault(400, "too long")) as other:
        transport = transport_of(one.url, other.url)
        replies, down = ask(transport, 4, lambda c: [r.down for r in c.replicas.all])
    assert ["too long" in str(reply) for reply in replies] == [True] * 4
    assert down == [None, None]


@pytest.mark.parametrize(
    "faulty",
    [fault(400), fault(422), fault(429), fault(500), lambda _: Answer(chunks=[b"\0 garbage"])],
)
def test_a_server_that_fails_what_others_answer_is_left_out(
    faulty: Script, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeUpstream(faulty) as one, FakeUpstream(chat("ok")) as other:
        transport = transport_of(one.url, other.url, max_retries=0, num_concurrent=1)

        async def run() -> list[Any]:
            async with ChatClient(transport) as client:
                body = {"model": "fake", "messages": MESSAGES}
                return [await client.complete(body, f"run/task/{i}/0") for i in range(20)]

        replies = asyncio.run(run())
    assert [reply.content for reply in replies] == ["ok"] * 20
    assert len(one.requests) == chat_replicas.MOST_OUTDONE
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert line.startswith(f"{one.url} is left out, 1 of 2 servers are asked: ")


def test_what_one_server_fails_another_is_asked_at_once() -> None:
    with FakeUpstream(fault(500)) as one, FakeUpstream(chat("ok")) as other:
        replies, n_retries = ask(
            transport_of(one.url, other.url, max_retries=0), 1, lambda c: c.n_retries
        )
    assert (replies[0].content, n_retries) == ("ok", 0)
    assert (len(one.requests), len(other.requests)) == (1, 1)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_server_that_answers_again_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_replicas, "FIRST_WAIT_S", 0.01)
    with FakeUpstream([fault(503), chat("back")]) as one, FakeUpstream(chat("ok")) as other:

        async def run() -> list[str]:
            async with ChatClient(transport_of(one.url, other.url)) as client:
                body = {"model": "fake", "messages": MESSAGES, "stream": True}
                first = await client.complete(body, "a")
                await until(lambda: all(r.down is None for r in client.replicas.all))
                later = await asyncio.gather(*(client.complete(body, str(i)) for i in range(4)))
                return [first.content, *sorted(reply.content for reply in later)]

        assert asyncio.run(run()) == ["ok", "back", "back", "ok", "ok"]


def test_a_server_that_comes_back_with_another_model_stays_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_replicas, "FIRST_WAIT_S", 0.01)
    listed = threading.Event()

    def other_model(request: Received) -> Answer:
        if len([r for r in one.received if r.path == "/v1/models"]) > 2:
            listed.set()
        return reply_json({"data": [{"id": "another"}]})

    with (
        FakeUpstream([fault(503), chat("WRONG")], models=other_model) as one,
        FakeUpstream(chat("ok")) as other,
    ):

        async def run() -> list[str]:
            async with ChatClient(transport_of(one.url, other.url)) as client:
                body = {"model": "fake", "messages": MESSAGES, "stream": True}
                await client.complete(body, "a")
                await until(listed.is_set)
                later = await asyncio.gather(*(client.complete(body, str(i)) for i in range(4)))
                return [reply.content for reply in later]

        assert asyncio.run(run()) == ["ok"] * 4


def test_a_server_that_hangs_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(request: Received) -> Answer:
        release.wait(10)
        return chat()(request)

    with FakeUpstream(hang) as one, FakeUpstream(chat("ok")) as other:
        try:
            transport = transport_of(one.url, other.url, stall_timeout_s=0.2, max_retries=0)
            replies, _ = ask(transport, 2)
        finally:
            release.set()
    assert [reply.content for reply in replies] == ["ok", "ok"]


# Before a run.


def test_servers_that_offer_the_same_are_one() -> None:
    listing = told([{"id": "m", "owned_by": "me", "max_model_len": 4096}])
    with FakeUpstream(models=listing) as one, FakeUpstream(models=listing) as other:
        transport = transport_of(one.url, other.url)
        offered = look_at(transport)
    assert chosen_model(None, offered, transport) == "m"
    assert offered.max_model_len == {"m": 4096}


DIFFERENT: list[tuple[dict[str, Any], str]] = [
    ({"id": "student"}, "serves base.*serves student"),
    ({"id": "base", "max_model_len": 9}, "max_model_len=4096.*max_model_len=9"),
    ({"id": "base", "max_model_len": 4096, "owned_by": "sglang"}, "is vllm.*is sglang"),
    ({"id": "base", "max_model_len": 4096, "root": "/lora"}, "root=/lora"),
]


@pytest.mark.parametrize(("second", "said"), DIFFERENT)
def test_servers_that_differ_are_refused_by_name(second: dict[str, Any], said: str) -> None:
    first = {"id": "base", "owned_by": "vllm", "max_model_len": 4096}
    second = {"owned_by": "vllm", **second}
    with (
        FakeUpstream(models=told([first])) as one,
        FakeUpstream(models=told([second])) as other,
        pytest.raises(UpstreamError, match=said) as refused,
    ):
        look_at(transport_of(one.url, other.url))
    assert one.url in str(refused.value)
    assert other.url in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_model_that_only_one_of_them_has_is_refused_and_the_other_named() -> None:
    with FakeUpstream(models=["base", "lora"]) as one, FakeUpstream(models=["base"]) as other:
        transport = transport_of(one.url, other.url)
        offered = look_at(transport)
        assert chosen_model("base", offered, transport) == "base"
        assert chosen_model(None, offered, transport) == "base"
        with pytest.raises(UpstreamError, match=f"^{other.url} has no model 'lora', unlike"):
            chosen_model("lora", offered, transport)


def test_one_that_is_not_there_at_the_start_is_told_and_the_run_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = free_url()
    with FakeUpstream() as one:
        assert look_at(transport_of(gone, one.url)).names == ["fake"]
    assert f"1 of 2 servers are asked: nothing listens at {gone}/v1" in caplog.text


def test_none_being_there_is_said() -> None:
    with pytest.raises(UpstreamError, match=r"^nothing listens at "):
        look_at(transport_of(free_url(), free_url()))


def test_a_server_that_refuses_the_key_is_no_matter_of_waiting() -> None:
    with (
        FakeUpstream(models=fault(401)) as one,
        FakeUpstream() as other,
        pytest.raises(UpstreamError, match=f"HTTP 401 from {one.url}"),
    ):
        look_at(transport_of(one.url, other.url))


# A whole run.


def instance(doc_id: int) -> Instance:
    return Instance(
        request_type="generate_until",
        doc={},
        arguments=("2+2?", {}),
        idx=0,
        metadata=("task", doc_id, 1),
    )


def as_completions(texts: list[str]) -> list[Completion]:
    assert all(isinstance(text, Completion) for text in texts)
    return texts  # type: ignore[return-value]


def seeds(servers: list[FakeUpstream]) -> dict[str, int]:
    requests = itertools.chain(*(server.requests for server in servers))
    return {r.headers["x-request-id"]: r.body["seed"] for r in requests}


def test_a_run_over_two_servers_makes_the_samples_of_a_run_over_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    requests = [instance(i // 3) for i in range(24)]
    with FakeUpstream() as alone:
        LocalChat(base_url=alone.url, run="r").generate_until(requests)
    with FakeUpstream() as one, FakeUpstream() as other:
        model = LocalChat(base_url=[one.url, other.url], run="r", temperature=0.6)
        completions = as_completions(model.generate_until(requests))
        told = model.get_model_info()
    assert seeds([one, other]) == seeds([alone])
    assert len(one.requests) + len(other.requests) == 24
    assert {c.server for c in completions} == {one.url, other.url}
    assert told["base_url"] == f"{one.url}|{other.url}"
    assert sum(told["completions_by_server"].values()) == 24
    assert f"completions by server: {one.url} " in caplog.text


def test_a_server_that_dies_in_the_middle_costs_no_sample() -> None:
    def dying(request: Received) -> Answer:
        if len(one.requests) > 5:
            return Answer(reset=True)
        return chat("ok")(request)

    requests = [instance(i) for i in range(40)]
    with FakeUpstream(dying) as one, FakeUpstream(chat("ok", pause_s=0.01)) as other:
        model = LocalChat(base_url=f"{one.url}|{other.url}", run="r", max_retries=0)
        completions = as_completions(model.generate_until(requests))
    assert [str(c) for c in completions] == ["ok"] * 40
    assert [c.error for c in completions] == [None] * 40
    assert [c.request_id for c in completions] == [f"r/task/{i}/0" for i in range(40)]


def test_closing_ends_the_looks_after_servers() -> None:
    async def run() -> int:
        async with ChatClient(transport_of(free_url(), free_url(), max_retries=0)) as client:
            with contextlib.suppress(UpstreamError):
                await client.complete({"model": "m", "messages": MESSAGES}, "a")
            assert client.replicas.checks
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(run()) == 0


def test_one_server_is_never_left_out() -> None:
    with FakeUpstream([fault(503), fault(503), chat("ok")]) as server:
        replies, down = ask(transport_of(server.url), 1, lambda c: c.replicas.all[0].down)
    assert (replies[0].content, down) == ("ok", None)
    assert dataclasses.replace(replies[0], server=None) == replies[0]
