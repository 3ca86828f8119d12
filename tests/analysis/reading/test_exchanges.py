from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from analysis.reading.exchanges import ExchangeIndex, Taken, Wanted, measure
from proxy.exchange import Exchange, messages_sha256, to_line

MESSAGES = [{"role": "user", "content": "question"}]
KEY = messages_sha256(MESSAGES)


def exchange(request_id: str = "run/quiz/0/0", **more: Any) -> Exchange:
    fields: dict[str, Any] = {
        "started_at": "2026-01-31T10:00:00+00:00",
        "endpoint": "/v1/chat/completions",
        "upstream": "http://127.0.0.1:1",
        "model_served": "base",
        "messages": MESSAGES,
        "messages_sha256": KEY,
        "content": "answer",
        "finish_reason": "stop",
        **more,
    }
    return Exchange(request_id=request_id, **fields)


def index_of(*exchanges: Exchange) -> ExchangeIndex:
    index = ExchangeIndex()
    for one in exchanges:
        index.add(one)
    return index


def find(index: ExchangeIndex, taken: Taken | None = None, **more: Any) -> Any:
    asked: dict[str, Any] = {
        "request_ids": (),
        "messages_key": KEY,
        "text": "answer",
        "models": (),
        **more,
    }
    return index.find(Wanted(**asked), taken or Taken())


def test_a_request_id_decides_whatever_the_text() -> None:
    index = index_of(exchange("a"), exchange("b", content="other"))
    assert find(index, request_ids=("b",)).request_id == "b"


def test_one_request_id_of_two_runs_is_told_apart_by_model_then_by_text() -> None:
    index = index_of(exchange(content="x"), exchange(content="y"), exchange(model_served="m"))
    ids = ("run/quiz/0/0",)
    assert find(index, request_ids=ids, text="x").volume.answer_chars == 1
    assert find(index, request_ids=ids, text="z", models=("m",)).models == ("m",)


def test_a_request_id_under_another_model_is_not_joined_and_counted() -> None:
    index = index_of(exchange(model_served="student"))
    assert find(index, request_ids=("run/quiz/0/0",), models=("base",)) is None
    assert index.counts["other model"] == 1


def test_without_an_id_messages_and_text_must_both_agree() -> None:
    index = index_of(exchange("proxy-1"))
    assert find(index).request_id == "proxy-1"
    assert find(index, text="another") is None
    assert find(index, messages_key="another") is None


def test_text_with_tags_finds_a_reply_whose_reasoning_came_apart() -> None:
    index = index_of(exchange("proxy-1", reasoning="why"))
    assert find(index, text="<think>why</think>answer").request_id == "proxy-1"
    assert find(index, text="answer").volume.reasoning_chars == 3


def test_equal_texts_of_two_models_are_joined_by_model_or_not_at_all() -> None:
    index = index_of(exchange("proxy-1"), exchange("proxy-2", model_served="student"))
    assert find(index, models=("student",)).request_id == "proxy-2"
    assert find(index) is None
    assert index.counts["ambiguous"] == 1


def test_an_exchange_found_by_text_serves_one_sample_only() -> None:
    index, taken = index_of(exchange("proxy-1"), exchange("proxy-2")), Taken()
    found = [find(index, taken=taken) for _ in range(3)]
    assert [one and one.request_id for one in found] == ["proxy-1", "proxy-2", None]


def test_an_exchange_without_a_whole_reply_is_counted_and_not_joined() -> None:
    index = index_of(exchange("a", outcome="upstream_cut"))
    assert find(index, request_ids=("a",)) is None
    assert index.counts["incomplete"] == 1


@pytest.mark.parametrize(
    ("more", "truncated"),
    [
        ({}, False),
        ({"finish_reason": "length"}, True),
        ({"usage": {"completion_tokens": 64}, "sampling": {"max_tokens": 64}}, True),
        ({"usage": {"completion_tokens": 63}, "sampling": {"max_tokens": 64}}, False),
        ({"content": "<think>on and on"}, True),
    ],
)
def test_truncation_is_read_from_reason_tokens_or_an_open_block(
    more: dict[str, Any], truncated: bool
) -> None:
    assert find(index_of(exchange("a", **more)), request_ids=("a",)).truncated is truncated


def test_inline_reasoning_is_measured_by_the_splitter() -> None:
    content = "<think>one two</think>three"
    wire = find(index_of(exchange("a", content=content)), request_ids=("a",))
    assert wire.volume == measure("one two", "three")


def test_a_log_is_read_once_though_named_twice_and_its_torn_end_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "exchanges-20260131T100000-1.jsonl"
    path.write_bytes(to_line(exchange("a")) + b'{"schema": 1, "requ')
    index = ExchangeIndex.read([tmp_path, path])
    assert index.counts["complete"] == 1
    assert index.counts["torn"] == 1


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exchanges-"):
        ExchangeIndex.read([tmp_path])


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exchanges-20260131T100000-1.jsonl.gz"
    path.write_bytes(gzip.compress(to_line(exchange("a")) * 50)[:-9])
    with pytest.raises(ValueError, match="damaged exchange log"):
        ExchangeIndex.read([path])


def test_an_exchange_that_another_sample_names_is_not_found_by_text() -> None:
    index, taken = index_of(exchange("run/quiz/0/0")), Taken({"run/quiz/0/0", "run/quiz/0/1"})
    assert find(index, taken=taken, request_ids=("run/quiz/0/1",)) is None
    assert find(index, taken=taken, request_ids=("run/quiz/0/0",)) is not None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_a_request_and_its_retry_the_one_that_was_used_is_joined(order: tuple[int, int]) -> None:
    both = exchange("a", content="answer"), exchange("a", content="lost on the way")
    wire = find(index_of(*(both[i] for i in order)), request_ids=("a",))
    assert wire.volume == measure("", "answer")


def test_a_text_unlike_that_of_its_request_id_is_counted() -> None:
    index = index_of(exchange("a", content="of an older run"))
    find(index, request_ids=("a",))
    assert index.counts["other text"] == 1


def test_a_count_that_no_completion_can_have_is_none() -> None:
    for tokens in (-1, 10**400, True, "7"):
        wire = find(index_of(exchange("a", usage={"completion_tokens": tokens})), text="answer")
        assert wire.completion_tokens is None
