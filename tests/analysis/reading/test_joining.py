from __future__ import annotations

import gzip
import os
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from analysis.reading.joining import Wanted, Wire, join, marks_of
from analysis.reading.logs import Logs
from analysis.reading.measure import measure, text_key
from analysis.reading.quality import CUT, DUPLICATE, FOREIGN, MIXED, TORN
from proxy.exchange import Exchange, messages_sha256, to_line, zstd_module

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


def wanted(**more: Any) -> Wanted:
    asked: dict[str, Any] = {"request_id": None, "messages_key": KEY, "models": (), **more}
    text = asked.pop("text", "answer")
    return Wanted(**asked, text_key=None if text is None else text_key(text))


class Log:
    """A log of some exchanges, and what is found there for samples."""

    def __init__(self, folder: Path, *exchanges: Exchange) -> None:
        self.path = folder / "exchanges-1.jsonl"
        self.path.write_bytes(b"".join(map(to_line, exchanges)))
        lines = list(accumulate((len(to_line(one)) for one in exchanges), initial=0))
        self.number = {(str(self.path), at): number for number, at in enumerate(lines)}
        self.counts: Counter[str] = Counter()

    def join(self, *samples: Wanted, reserved: tuple[str, ...] = ()) -> list[Wire | None]:
        with Logs.read([self.path], marks_of(samples), reserved) as logs:
            wires = join(logs, samples)
        self.counts = logs.counts
        return wires

    def numbers(self, *samples: Wanted, reserved: tuple[str, ...] = ()) -> list[int | None]:
        wires = self.join(*samples, reserved=reserved)
        return [None if wire is None else self.number[wire.log_at] for wire in wires]

    def find(self, **more: Any) -> Wire:
        (wire,) = self.join(wanted(**more))
        assert wire is not None
        return wire


def test_a_request_id_decides_whatever_the_text(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("a"), exchange("b", content="other"))
    assert log.numbers(wanted(request_id="b")) == [1]


def test_one_request_id_of_two_runs_is_told_apart_by_model_then_by_text(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange(content="x"), exchange(content="y"), exchange(model_served="m"))
    first = wanted(request_id="run/quiz/0/0", text="x")
    assert log.numbers(first, first._replace(models=("m",))) == [0, 2]


def test_a_request_id_under_another_model_is_not_joined_and_counted(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange(model_served="student"))
    assert log.numbers(wanted(request_id="run/quiz/0/0", models=("base",))) == [None]
    assert log.counts["other model"] == 1


def test_a_sample_whose_id_another_model_has_is_found_by_its_text(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange(model_served="student"), exchange("proxy-1"))
    assert log.numbers(wanted(request_id="run/quiz/0/0", models=("base",))) == [1]


def test_without_an_id_messages_and_text_must_both_agree(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("proxy-1"))
    samples = wanted(text="another"), wanted(messages_key="another"), wanted(text=None), wanted()
    assert log.numbers(*samples) == [None, None, None, 0]


def test_text_with_tags_finds_a_reply_whose_reasoning_came_apart(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("proxy-1", reasoning="why"))
    assert log.numbers(wanted(text="<think>why</think>answer")) == [0]
    assert log.find(text="answer").volume.reasoning_chars == 3
    assert log.numbers(wanted(), wanted(text="<think>why</think>answer")) == [0, None]


def test_equal_texts_of_two_models_are_joined_by_model_or_not_at_all(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("proxy-1"), exchange("proxy-2", model_served="student"))
    assert log.numbers(wanted(models=("student",))) == [1]
    assert log.numbers(wanted()) == [None]
    assert log.counts["ambiguous"] == 1


def test_an_exchange_found_by_text_serves_one_sample_only(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("proxy-1"), exchange("proxy-2"))
    assert log.numbers(wanted(), wanted(), wanted()) == [0, 1, None]


def test_an_exchange_without_a_whole_reply_is_counted_and_not_joined(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("a", outcome="upstream_cut"))
    assert log.numbers(wanted(request_id="a")) == [None]
    assert log.counts["incomplete exchange"] == 1


def test_an_exchange_that_no_sample_asks_for_is_counted_and_not_kept(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("a"), exchange("b", messages_sha256="of another"))
    with Logs.read([log.path], marks_of([wanted()])) as logs:
        assert logs.rows("SELECT count(*) FROM wires") == [(1,)]
    assert logs.counts["complete"] == 2


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
    tmp_path: Path, more: dict[str, Any], truncated: bool
) -> None:
    assert Log(tmp_path, exchange("a", **more)).find(request_id="a").truncated is truncated


def test_inline_reasoning_is_measured_by_the_splitter(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("a", content="<think>one two</think>three"))
    assert log.find(request_id="a").volume == measure("one two", "three")


def test_a_log_is_read_once_though_named_twice_and_its_torn_end_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "exchanges-20260131T100000-1.jsonl"
    path.write_bytes(to_line(exchange("a")) + b'{"schema": 1, "requ')
    with Logs.read([tmp_path, path], ()) as logs:
        assert (logs.counts["complete"], logs.counts["torn line"]) == (1, 1)
    (finding,) = logs.quality
    assert (finding.kind, finding.where, finding.count) == (TORN, f"{path}:2", 1)


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exchanges-"):
        Logs.read([tmp_path], ())


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_of_a_cut_packed_log_the_whole_exchanges_are_used_and_the_cut_is_told(
    tmp_path: Path, suffix: str
) -> None:
    pack = gzip.compress if suffix == ".gz" else zstd_module().compress
    whole = b"".join(
        to_line(exchange(f"id {i}", extra={"x": os.urandom(50_000).hex()})) for i in range(50)
    )
    path = tmp_path / f"exchanges-20260131T100000-1.jsonl{suffix}"
    path.write_bytes(pack(whole)[:-9])
    with Logs.read([path], marks_of([wanted()])) as logs:
        assert logs.counts["complete"] > 0
        assert join(logs, [wanted(request_id="id 0")])[0] is not None
    assert [finding.kind for finding in logs.quality] == [CUT]


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"{broken",
        b"{}",
        b'{"schema": 99}',
        b"\xff\xfe",
        b"\x00\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 10_000,
        to_line(exchange("b")).rstrip().replace(b'"answer"', b"7"),
        to_line(exchange("b")).rstrip().replace(b'"complete"', b'"done"'),
    ],
)
def test_a_line_that_is_no_exchange_is_named_and_the_others_are_used(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "exchanges-1.jsonl"
    path.write_bytes(
        to_line(exchange("a")) + line + b"\n\n" + to_line(exchange("c")) + line + b"\n"
    )
    with Logs.read([path], ()) as logs:
        assert logs.counts["complete"] == 2
    (finding,) = logs.quality
    assert (finding.kind, finding.where, finding.count) == (FOREIGN, f"{path}:2", 2)
    assert finding.text.endswith("; also line 5")


def test_a_log_in_which_no_line_is_an_exchange_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exchanges-1.jsonl"
    path.write_bytes(b'{"schema": 99}\n' * 3)
    with pytest.raises(ValueError, match=r"no exchange in the log .*row 1 exchange schema must be"):
        Logs.read([path], ())


def test_records_of_two_schemas_are_told(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("a"), exchange("b", schema=1))
    with Logs.read([log.path], ()) as logs:
        (finding,) = logs.quality
    assert (finding.kind, finding.text) == (MIXED, "exchanges: 1 of schema 1, 1 of schema 2")


def test_a_request_id_that_stands_twice_is_told(tmp_path: Path) -> None:
    log = Log(tmp_path, *(exchange("a") for _ in range(3)), exchange("b"))
    with Logs.read([log.path], marks_of([wanted()])) as logs:
        (finding,) = logs.quality
    assert (finding.kind, finding.count) == (DUPLICATE, 1)
    assert "that 3 exchanges share" in finding.text


def test_an_exchange_that_another_sample_names_is_not_found_by_text(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("run/quiz/0/0"))
    ids = ("run/quiz/0/0", "run/quiz/0/1")
    samples = [wanted(request_id=ids[1]), wanted(request_id=ids[0])]
    assert log.numbers(*samples, reserved=ids) == [None, 0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_a_request_and_its_retry_the_one_that_was_used_is_joined(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    both = exchange("a", content="answer"), exchange("a", content="lost on the way")
    wire = Log(tmp_path, *(both[i] for i in order)).find(request_id="a")
    assert wire.volume == measure("", "answer")


def test_of_equal_retries_the_last_is_joined(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("a"), exchange("a"))
    assert log.numbers(wanted(request_id="a")) == [1]
    assert log.numbers(wanted(request_id="a", text="none")) == [1]


def test_a_text_unlike_that_of_its_request_id_is_counted(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("a", content="of an older run"))
    log.find(request_id="a")
    assert log.counts["other text"] == 1


def test_a_count_that_no_completion_can_have_is_none(tmp_path: Path) -> None:
    for tokens in (-1, 10**400, True, "7"):
        wire = Log(tmp_path, exchange("a", usage={"completion_tokens": tokens})).find(text="answer")
        assert wire.completion_tokens is None


def test_hostile_values_of_an_exchange_do_no_harm(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    odd = exchange(
        "\ud800\x00",
        content="\ud800\x00 answer",
        finish_reason="\ud800" * 1000,
        model_served="\ud800",
        messages_sha256="\ud800\x00" * 1000,
        duration_s=10**300,
        ttft_s=-1.0,
        sampling={"\ud800": "\x00", "deep": deep, "long": "x" * 100_000, "big": 10**100},
        usage={"completion_tokens": [1]},
    )
    many = exchange("many", sampling={str(i): i for i in range(10_000)})
    log = Log(tmp_path, odd, many)
    wire = log.find(request_id="\ud800\x00", text="\ud800\x00 answer")
    assert (wire.duration_s, wire.ttft_s, wire.completion_tokens) == (None, None, None)
    assert wire.sampling["\ud800"] == "\x00"
    assert len(wire.sampling["long"]) < 400
    assert log.find(request_id="many").sampling.keys() == {"sampling"}


def test_long_values_of_sampling_that_differ_stay_different(tmp_path: Path) -> None:
    log = Log(
        tmp_path,
        *(exchange(str(i), sampling={"stop": ["x" * 1000 + str(i)]}) for i in range(2)),
    )
    first, second = (log.find(request_id=str(i)).sampling["stop"] for i in range(2))
    assert first != second


def test_a_conversation_asked_ten_thousand_times_is_joined_in_order(tmp_path: Path) -> None:
    n = 10_000
    log = Log(tmp_path, *(exchange(f"proxy-{i}") for i in range(n)))
    assert log.numbers(*[wanted(models=("base",))] * n) == list(range(n))


def test_of_two_samples_under_one_id_the_one_with_the_text_is_joined(tmp_path: Path) -> None:
    """Two runs under one name, of which the log of one is there."""
    log = Log(tmp_path, exchange("a", content="of the other run"))
    samples = wanted(request_id="a"), wanted(request_id="a", text="of the other run")
    assert log.numbers(*samples) == [None, 0]
    assert log.counts["other text"] == 1


def test_an_exchange_that_served_before_is_found_by_id_alone(tmp_path: Path) -> None:
    log = Log(tmp_path, exchange("proxy-1"))
    with Logs.read([log.path], marks_of([wanted()])) as logs:
        logs.used.add((str(log.path), 0))
        found = join(logs, [wanted(), wanted(request_id="proxy-1")])
    assert [wire is None for wire in found] == [True, False]


def test_the_order_in_which_logs_are_given_changes_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}/exchanges-{name}.jsonl" for name in "ba"]
    for path, tokens in zip(paths, (1, 2), strict=True):
        path.parent.mkdir()
        path.write_bytes(to_line(exchange("a", usage={"completion_tokens": tokens})) + b"{}\n")
    found = []
    for given in (paths, paths[::-1]):
        with Logs.read(given, marks_of([wanted()])) as logs:
            found.append((join(logs, [wanted(request_id="a")]), logs.quality))
    assert found[0] == found[1]
