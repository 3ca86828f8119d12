from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange import (
    FIELD_NAMES,
    FIELD_TYPES,
    Exchange,
    messages_sha256,
    read_exchanges,
    to_line,
)

BASE = {
    "request_id": "r/t/0/0",
    "started_at": "2026-01-02T03:04:05.000006+00:00",
    "endpoint": "/v1/chat/completions",
    "upstream": "http://127.0.0.1:8080",
}
GOLDEN = (
    '{"schema":1,"request_id":"r/t/0/0","started_at":"2026-01-02T03:04:05.000006+00:00",'
    '"endpoint":"/v1/chat/completions","upstream":"http://127.0.0.1:8080","model_requested":null,'
    '"model_served":null,"messages":null,"sampling":{},"messages_sha256":null,"stream":false,'
    '"status":null,"content":"é","reasoning":null,"reasoning_source":null,"finish_reason":null,'
    '"usage":null,"ttft_s":null,"duration_s":0.0,"n_chunks":0,"outcome":"complete","error":null,'
    '"extra":{}}\n'
)


def exchange(**fields: Any) -> Exchange:
    return Exchange(**{**BASE, **fields})


def write(path: Path, *exchanges: Exchange, tail: bytes = b"") -> Path:
    path.write_bytes(b"".join(map(to_line, exchanges)) + tail)
    return path


def test_schema_1_is_this_line() -> None:
    assert to_line(exchange(content="é")).decode() == GOLDEN


def test_every_field_has_a_checked_type() -> None:
    assert set(FIELD_NAMES) == set(FIELD_TYPES)


@given(st.text(st.characters(exclude_categories=())), st.text())
def test_any_text_survives_the_round_trip_on_one_line(content: str, reasoning: str) -> None:
    kept = exchange(content=content, reasoning=reasoning, extra={"tool_calls": [content]})
    line = to_line(kept)
    assert line.count(b"\n") == 1
    assert Exchange.from_json(json.loads(line)) == kept


def test_tool_calls_are_read_from_extra() -> None:
    assert exchange(extra={"tool_calls": [1]}).tool_calls == [1]
    assert exchange().tool_calls == exchange(extra={"tool_calls": 3}).tool_calls == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 2}, "schema"),
        ({"schema": None}, "schema"),
        ({"content": 1}, "content"),
        ({"n_chunks": True}, "n_chunks"),
        ({"stream": 1}, "stream"),
        ({"messages": "hi"}, "messages"),
        ({"outcome": "great"}, "outcome"),
    ],
)
def test_wrong_fields_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Exchange.from_json({**exchange().to_json(), **change})


def test_missing_fields_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="endpoint, upstream"):
        Exchange.from_json({"schema": 1, "request_id": "a", "started_at": "b"})
    with pytest.raises(ValueError, match="JSON object"):
        Exchange.from_json([])


def test_unknown_fields_are_left_out() -> None:
    assert Exchange.from_json({**exchange().to_json(), "later": 1}) == exchange()


def test_equal_messages_have_equal_hashes_whatever_the_key_order() -> None:
    first = messages_sha256([{"role": "user", "content": "é"}])
    assert first == messages_sha256([{"content": "é", "role": "user"}])
    # external: printf '[{"content":"é","role":"user"}]' | sha256sum
    assert first == "5b982d5fb9bbb395dedf893373894ed3f82f40d0b11980e29df209a2d4e76bb4"
    assert messages_sha256("\ud83d") != messages_sha256("\ud83e")


def test_reader_takes_files_folders_and_patterns(tmp_path: Path) -> None:
    first = write(tmp_path / "exchanges-1.jsonl", exchange(content="1"))
    packed = tmp_path / "exchanges-2.jsonl.gz"
    packed.write_bytes(gzip.compress(to_line(exchange(content="2"))))
    (tmp_path / "other.jsonl").write_text("no log")
    for paths in (tmp_path, [first, packed], f"{tmp_path}/exchanges-*"):
        assert [item.content for item in read_exchanges(paths)] == ["1", "2"]


@pytest.mark.parametrize("tail", [b'{"schema":1,"requ', to_line(exchange())[:-2]])
def test_torn_last_line_is_skipped_and_counted(tmp_path: Path, tail: bytes) -> None:
    path = write(tmp_path / "exchanges-1.jsonl", exchange(), tail=tail)
    reader = read_exchanges(path)
    assert (len(list(reader)), reader.n_read, reader.n_torn) == (1, 1, 1)
    assert reader.torn == [path]


def test_whole_last_line_without_newline_is_read(tmp_path: Path) -> None:
    reader = read_exchanges(write(tmp_path / "a", tail=to_line(exchange())[:-1]))
    assert (len(list(reader)), reader.n_torn) == (1, 0)


def test_bad_line_before_the_end_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", exchange(), tail=b"{oops}\n" + to_line(exchange()))
    with pytest.raises(ValueError, match=r"a\.jsonl:2: "):
        list(read_exchanges(path))


@pytest.mark.parametrize("name", ["absent", "absent-*.jsonl", "."])
def test_path_without_a_log_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no exchange"):
        read_exchanges(tmp_path / name)
