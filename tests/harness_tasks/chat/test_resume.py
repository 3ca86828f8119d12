"""Which row of the store answers which request, and what a retry takes over."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness_tasks.chat.asking import Job
from harness_tasks.chat.reply import Reply
from harness_tasks.chat.resume import Kept, Who, reply_of
from harness_tasks.chat.settings import RequestFields
from harness_tasks.chat.store import Store

ME = Who("m", ("http://a:1/v1",), {"root": "base"})


def job(doc_id: int = 0, sample_index: int = 0, task: str = "toy", **sampling: Any) -> Job:
    fields = {"temperature": 0.6, "max_tokens": 100, **sampling}
    return Job(
        task=task,
        sample_index=sample_index,
        request_id=f"run/{task}/{doc_id}/{sample_index}",
        messages=[{"role": "user", "content": "2+2?"}],
        fields=RequestFields(fields, [], 1234, [], False),
        seed=7,
        doc_id=doc_id,
    )


def said(content: str = "4", finish_reason: str = "stop") -> Reply:
    return Reply(content, "2 and 2", "reasoning", finish_reason, {"completion_tokens": 7}, "m", 1.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "completions.jsonl"


def found(path: Path, wanted: Job, who: Who = ME, retry: int | None = None) -> str | None:
    with Store(path) as store:
        there = Kept(store, who, retry).find(wanted)
        return there.reply.content if there else None


def keep(path: Path, asked: Job, reply: Reply | None = None, who: Who = ME) -> None:
    with Store(path) as store:
        Kept(store, who).keep(asked, reply or said())


def test_a_reply_comes_back_as_it_was_with_the_id_it_was_asked_by(path: Path) -> None:
    keep(path, job())
    with Store(path) as store:
        there = Kept(store, ME).find(dataclasses.replace(job(), request_id="another/toy/0/0"))
    assert there is not None
    assert (there.reply, there.request_id) == (said(), "run/toy/0/0")


@pytest.mark.parametrize(
    "other",
    [
        job(doc_id=1),
        job(sample_index=1),
        job(task="toy2"),
        job(temperature=0.7),
        job(top_k=20),
        job(max_tokens=101),
        job(chat_template_kwargs={"enable_thinking": False}),
        dataclasses.replace(job(), seed=8),
        dataclasses.replace(job(), messages=[{"role": "user", "content": "2+3?"}]),
    ],
    ids=lambda _: "",
)
def test_another_request_never_gets_the_row(path: Path, other: Job) -> None:
    keep(path, job())
    assert (found(path, job()), found(path, other)) == ("4", None)


@pytest.mark.parametrize(
    "who",
    [
        Who("m2", ME.endpoints, ME.told),
        Who("m", ("http://b:1/v1",), ME.told),
        Who("m", ME.endpoints, {"root": "student"}),
        Who("m", ME.endpoints),
    ],
    ids=["model", "endpoint", "weights behind one name", "weights untold"],
)
def test_another_model_or_endpoint_never_gets_the_row(path: Path, who: Who) -> None:
    keep(path, job())
    assert found(path, job(), who) is None


def test_replicas_are_one_server_as_long_as_one_of_them_stays(path: Path) -> None:
    a, b, c = (f"http://{name}:1/v1" for name in "abc")
    keep(path, job(), who=Who("m", (a, b)))
    assert found(path, job(), Who("m", (b, a))) == "4"
    assert found(path, job(), Who("m", (b,))) == "4"
    assert found(path, job(), Who("m", (b, c))) == "4"
    assert found(path, job(), Who("m", (c,))) is None


def test_an_error_is_no_answer(path: Path) -> None:
    with Store(path) as store:
        assert Kept(store, ME).fail(job(), "HTTP 500") is None
    assert found(path, job()) is None
    keep(path, job())
    assert found(path, job()) == "4"


def test_a_retry_takes_over_what_was_not_cut_off(path: Path) -> None:
    keep(path, job(0), said("whole"))
    keep(path, job(1), said("cut", "length"))
    larger = [job(n, max_tokens=400) for n in range(3)]
    assert [found(path, one, retry=400) for one in larger] == ["whole", None, None]
    with Store(path) as store:
        kept = Kept(store, ME, 400)
        kept.keep(larger[1], said("longer", "length"))
        kept.keep(larger[2], said("new"))
        assert kept.retried == {"toy": 1}
    assert [found(path, one, retry=400) for one in larger] == ["whole", "longer", "new"]
    # A second retry: only what is still cut off.
    largest = [job(n, max_tokens=900) for n in range(3)]
    assert [found(path, one, retry=900) for one in largest] == ["whole", None, "new"]
    # And without one, what was asked is what counts.
    assert [found(path, job(n)) for n in range(3)] == ["whole", "cut", None]


def test_a_retry_that_fails_leaves_the_cut_off_completion(path: Path) -> None:
    keep(path, job(), said("cut", "length"))
    with Store(path) as store:
        kept = Kept(store, ME, 400)
        assert kept.find(job(max_tokens=400)) is None
        earlier = kept.fail(job(max_tokens=400), "HTTP 400: too long")
        assert earlier is not None
        assert (earlier.reply.content, kept.n_not_retried) == ("cut", 1)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"content": 4},
        {"content": "4", "usage": []},
        {"content": "4", "reasoning": ["2"]},
        {"content": "4", "latency_s": "long"},
    ],
)
def test_what_is_no_reply_is_asked_again(told: dict[str, Any]) -> None:
    assert reply_of(told) is None


def test_fields_that_a_later_version_adds_are_read_over() -> None:
    assert reply_of({"content": "4", "colour": "red"}) == Reply("4", None, None, None)


def test_why_a_store_does_not_serve_is_said(path: Path) -> None:
    keep(path, job())
    with Store(path) as store:
        kept = Kept(store, Who("m", ("http://b:1/v1",), ME.told))
        why = kept.why_none(job(temperature=0.9, top_k=20))
        assert kept.why_none(job(doc_id=5)) is None
    assert why == (
        'endpoint was "http://a:1/v1" and is "http://b:1/v1", temperature was 0.6 and is 0.9, '
        "top_k was not sent and is 20"
    )


@pytest.mark.parametrize(
    "odd",
    [
        {"latency_s": float("nan")},
        {"ttft_s": 10**400},
        {"usage": {"completion_tokens": float("inf")}},
        {"content": "\ud800"},
        {"server": 5},
    ],
    ids=str,
)
def test_what_no_samples_file_can_hold_is_no_reply(odd: dict[str, Any]) -> None:
    assert reply_of(vars(said())) is not None
    assert reply_of({**vars(said()), **odd}) is None
