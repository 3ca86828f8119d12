"""`local-chat` with a store: what is asked again, what is not, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness_tasks.chat import under_way
from harness_tasks.chat.reply import UpstreamError
from harness_tasks.chat.store import Store, rows
from harness_tasks.completion import Completion
from harness_tasks.local_chat import LONG_RUN, LocalChat
from tests.fakes import Answer, FakeUpstream, Received, chat, fault
from tests.harness_tasks.test_local_chat import ask, instance, loggers_as_before, model_of

__all__ = ["loggers_as_before"]  # a fixture of every test here


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "kept" / "completions.jsonl")


def by_seed(request: Received) -> Answer:
    seed = request.body["seed"]
    return chat(f"answer {seed}", reasoning=f"thought {seed}", model="fake-v2")(request)


def everything(completions: list[Completion]) -> list[dict[str, Any]]:
    return [{"text": str(one), **one.__dict__} for one in completions]


REQUESTS = [instance(doc_id=doc_id) for doc_id in (0, 0, 1, 2)]


def test_a_second_run_asks_nothing_and_gives_the_same_completions(path: str) -> None:
    with FakeUpstream(by_seed) as server:
        first = ask(server, *REQUESTS, store=path)
        again = ask(server, *REQUESTS, store=path)
        assert len(server.requests) == 4
    assert everything(first) == everything(again)


def test_without_a_name_the_ids_are_those_that_were_sent(path: str) -> None:
    with FakeUpstream(by_seed) as server:
        for run in ("one", "two"):
            (completion,) = ask(server, store=path, run=run)
        assert len(server.requests) == 1
    assert completion.request_id == "one/toy/0/0"


def test_only_what_is_missing_is_asked(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with FakeUpstream(by_seed) as server:
        ask(server, *REQUESTS[:2], store=path)
        server.received.clear()
        completions = ask(server, *REQUESTS, store=path)
        assert sorted(r.headers["x-request-id"] for r in server.requests) == [
            "r/toy/1/0",
            "r/toy/2/0",
        ]
    assert [c.sample_index for c in completions] == [0, 1, 0, 0]
    assert "2 of 4 completions are there already" in caplog.text


def test_other_weights_behind_the_same_name_and_address_are_asked_anew(path: str) -> None:
    listing: dict[str, Any] = {"data": [{"id": "fake", "root": "/models/base"}]}

    def models(request: Received) -> Answer:
        return Answer(chunks=[json.dumps(listing).encode()])

    with FakeUpstream(by_seed, models=models) as server:
        ask(server, store=path)
        listing["data"][0]["root"] = "/models/student"
        ask(server, store=path)
        assert len(server.requests) == 2
        ask(server, store=path)
        assert len(server.requests) == 2


def test_a_store_of_another_sampling_is_named(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with FakeUpstream(by_seed) as server:
        ask(server, store=path, temperature=0.6)
        ask(server, store=path, temperature=0.7)
        assert len(server.requests) == 2
    assert "temperature was 0.6 and is 0.7" in caplog.text


def test_failures_are_asked_again_even_where_all_that_is_left_fails(path: str) -> None:
    refused = {"question 3?"}

    def some(request: Received) -> Answer:
        if request.body["messages"][0]["content"] in refused:
            return fault(400, "too long")(request)
        return by_seed(request)

    many = [instance(f"question {n}?", doc_id=n) for n in range(20)]
    with FakeUpstream(some) as server:
        assert [bool(c.error) for c in ask(server, *many, store=path)].count(True) == 1
        # More than a fresh run would be stopped by: the server has answered this one before.
        refused.update(f"other {n}?" for n in range(12))
        more = [instance(f"other {n}?", doc_id=100 + n) for n in range(12)]
        completions = ask(server, *many, *more, store=path)
        assert sum(bool(c.error) for c in completions) == 13
        refused.clear()
        server.received.clear()
        completions = ask(server, *many, *more, store=path)
        assert not any(c.error for c in completions)
        assert len(server.requests) == 13
    assert sum(1 for row in rows(Path(path)) if row["error"]) == 1 + 13


def test_a_run_that_cannot_succeed_is_stopped_as_before(path: str) -> None:
    many = [instance(f"{n}?", doc_id=n) for n in range(20)]
    with (
        FakeUpstream(fault(400, "no template")) as server,
        pytest.raises(UpstreamError, match="the first 8 requests all failed"),
    ):
        ask(server, *many, store=path)


def test_a_cap_that_the_server_calls_a_stop_is_cut_off_in_the_store_too(path: str) -> None:
    with FakeUpstream(chat("so", usage={"completion_tokens": 50})) as server:
        for _ in range(2):
            (completion,) = ask(server, instance(max_gen_toks=50), store=path)
            assert completion.finish_reason == "length"
        assert len(server.requests) == 1


def test_stop_strings_are_applied_to_what_comes_from_the_store(path: str) -> None:
    with FakeUpstream(chat("yes. Q: no")) as server:
        assert ask(server, store=path)[0].content == "yes. Q: no"
        assert ask(server, instance(until=["Q:"]), store=path)[0].content == "yes. "
        assert len(server.requests) == 1


def test_the_key_never_reaches_the_store(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1")
    with FakeUpstream(fault(400, "bad key sk-secret-1 of team-7")) as server:
        ask(server, store=path, headers={"x-team": "team-7"})
    text = Path(path).read_text(encoding="utf-8")
    assert "HTTP 400" in text
    assert "sk-secret-1" not in text
    assert "team-7" not in text


def test_a_retry_of_what_was_cut_off_is_told_in_the_results(path: str) -> None:
    def needs_more(request: Received) -> Answer:
        cut = request.body["max_tokens"] <= 50 and request.body["seed"] % 2 == 0
        return chat("answer", finish_reason="length" if cut else "stop")(request)

    docs = [instance(doc_id=n, max_gen_toks=50) for n in range(12)]
    with FakeUpstream(needs_more) as server:
        n_cut = sum(c.finish_reason == "length" for c in ask(server, *docs, store=path))
        assert 0 < n_cut < 12
        server.received.clear()
        model = model_of(server, store=path, retry_truncated=200)
        completions = model.generate_until(docs)
        assert len(server.requests) == n_cut
    assert all(c.finish_reason == "stop" for c in completions)
    info = model.get_model_info()
    assert info["sampling_by_task"]["toy"]["max_tokens"] == 200
    assert info["retried"] == {
        "max_tokens": 200,
        "was": {"toy": 50},
        "n_samples": {"toy": n_cut},
        "n_failed": 0,
    }


@pytest.mark.parametrize(
    ("window", "limit", "message"),
    [
        (None, 50, "toy was asked with max_tokens=50, so a retry .* needs more than that, got 50"),
        (40, 100, "max_tokens=100 does not fit the server's context of 40 tokens"),
    ],
)
def test_a_retry_with_a_limit_that_cannot_help_is_refused(
    path: str, window: int | None, limit: int, message: str
) -> None:
    listed = {"data": [{"id": "fake", **({"max_model_len": window} if window else {})}]}
    answer = Answer(chunks=[json.dumps(listed).encode()])
    with FakeUpstream(models=lambda _: answer) as server:
        model = model_of(server, store=path, retry_truncated=limit)
        with pytest.raises(ValueError, match=message):
            model.generate_until([instance(max_gen_toks=50)])
        assert server.requests == []


def test_a_retry_needs_a_store() -> None:
    with pytest.raises(ValueError, match="retry_truncated needs store=FILE"):
        LocalChat(base_url="http://127.0.0.1:1", retry_truncated=5)


def test_a_store_in_use_ends_the_run_before_a_request(path: str) -> None:
    with FakeUpstream() as server, Store(Path(path)):
        with pytest.raises(ValueError, match="is in use by another run"):
            ask(server, store=path)
        assert server.requests == []


def test_a_damaged_store_is_told_and_the_rest_of_it_used(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeUpstream(by_seed) as server:
        ask(server, *REQUESTS, store=path)
        lines = Path(path).read_bytes().splitlines(keepends=True)
        Path(path).write_bytes(b"".join([lines[0], b"\xff\n", *lines[2:]]))
        ask(server, *REQUESTS, store=path)
        assert len(server.requests) == 5
    assert "could not be read in 1 line (2): 3 replies of it were kept" in caplog.text


@pytest.mark.parametrize("n", [LONG_RUN - 1, LONG_RUN])
def test_a_long_run_without_a_store_is_told_what_it_lacks(
    n: int, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeUpstream(by_seed) as server:
        ask(server, *(instance(doc_id=i) for i in range(n)), num_concurrent=16)
    assert ("store=FILE in model_args" in caplog.text) is (n == LONG_RUN)


def test_whoever_keeps_a_manifest_is_told_what_is_asked_for(path: str) -> None:
    told: list[under_way.Asking] = []
    with FakeUpstream(by_seed) as server, under_way.told_to(told.append):
        ask(server, *REQUESTS, store=path)
        ask(server, *REQUESTS, instance(task="more"), store=path)
    assert [one.n_found for one in told] == [0, 4]
    assert told[1].n_requests == {"toy": 4, "more": 1}
    assert under_way.LISTENERS == []
