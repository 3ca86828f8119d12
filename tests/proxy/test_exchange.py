from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange import (
    FIELD_NAMES,
    FIELD_TYPES,
    LINE_TOO_LONG,
    Exchange,
    find_logs,
    iter_lines,
    messages_sha256,
    read_exchanges,
    to_line,
    zstd_module,
)

BASE = {
    "request_id": "r/t/0/0",
    "started_at": "2026-01-02T03:04:05.000006+00:00",
    "endpoint": "/v1/chat/completions",
    "upstream": "http://127.0.0.1:8080",
}
GOLDEN = (
    '{"schema":2,"request_id":"r/t/0/0","started_at":"2026-01-02T03:04:05.000006+00:00",'
    '"endpoint":"/v1/chat/completions","upstream":"http://127.0.0.1:8080","route":null,'
    '"model_requested":null,"model_served":null,"messages":null,"sampling":{},'
    '"messages_sha256":null,"stream":false,"status":null,"content":"é","reasoning":null,'
    '"reasoning_source":null,"reasoning_state":null,"finish_reason":null,"usage":null,'
    '"ttft_s":null,"duration_s":0.0,"n_chunks":0,"gaps_s":null,"request_bytes":0,'
    '"response_bytes":0,"outcome":"complete","error":null,"extra":{}}\n'
)
GOLDEN_1 = (
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


def test_schema_2_is_this_line() -> None:
    assert to_line(exchange(content="é")).decode() == GOLDEN


def test_schema_1_is_read_with_the_defaults_of_what_it_has_not() -> None:
    assert Exchange.from_json(json.loads(GOLDEN_1)) == exchange(content="é", schema=1)


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
        ({"schema": 3}, "schema"),
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


def pack_zstd(data: bytes) -> bytes:
    packed: bytes = zstd_module().compress(data)
    return packed


PACKERS = pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".zst", pack_zstd)], ids=["gz", "zst"]
)


def numbered(n_records: int) -> list[bytes]:
    rng = random.Random(1)
    return [
        to_line(exchange(request_id=str(n), content=rng.randbytes(300).hex()))
        for n in range(n_records)
    ]


@PACKERS
def test_packed_log_is_read_like_the_plain_one(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    lines = numbered(3000)
    path = tmp_path / f"exchanges-1.jsonl{suffix}"
    path.write_bytes(pack(b"".join(lines[:1000])) + pack(b"".join(lines[1000:])))
    assert [line for _, line in iter_lines(path)] == lines
    reader = read_exchanges(tmp_path)
    assert [item.request_id for item in reader] == [str(n) for n in range(3000)]
    assert reader.n_torn == 0


@PACKERS
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_cut_packed_log_gives_its_whole_lines_and_counts_as_torn(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], share: float
) -> None:
    lines = numbered(3000)
    data = pack(b"".join(lines))
    path = tmp_path / f"exchanges-1.jsonl{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    reader = read_exchanges(tmp_path)
    read = [item.request_id for item in reader]
    assert read == [str(n) for n in range(len(read))]
    assert len(read) > 3000 * share - 600  # a block of zstd holds some 200
    assert reader.torn == [path]


@PACKERS
def test_packed_log_cut_between_two_lines_ends_with_an_empty_one(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"exchanges-1.jsonl{suffix}"
    path.write_bytes(pack(to_line(exchange()))[:-1])  # of the checksum or the last block
    *whole, (_, last) = iter_lines(path)
    assert last == b""
    reader = read_exchanges(path)
    assert (len(list(reader)), reader.n_torn) == (len(whole), 1)


@PACKERS
def test_damaged_packed_log_is_named(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"exchanges-1.jsonl{suffix}"
    path.write_bytes(pack(to_line(exchange())) + b"no packed data at all")
    with pytest.raises(ValueError, match=r"exchanges-1.*:2: the compressed data is damaged"):
        list(read_exchanges(path))


@PACKERS
def test_log_that_is_there_in_two_forms_is_read_once(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    plain = write(tmp_path / "exchanges-1.jsonl", exchange(content="1"))
    packed = tmp_path / f"exchanges-1.jsonl{suffix}"
    packed.write_bytes(pack(plain.read_bytes()))
    (tmp_path / ".exchanges-1.jsonl.part").write_bytes(b"cut")
    (tmp_path / "exchanges-1.jsonl.torn").write_bytes(b"cut")
    for paths in (tmp_path, f"{tmp_path}/exchanges-*", [packed, plain, plain], [plain, packed]):
        assert [item.content for item in read_exchanges(paths)] == ["1"]
    assert find_logs(tmp_path) == find_logs(f"{tmp_path}/*.jsonl*") == [plain]


@PACKERS
def test_log_that_is_packed_before_it_is_opened_is_found(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    plain = write(tmp_path / "exchanges-1.jsonl", exchange(content="1"))
    reader = read_exchanges(tmp_path)
    packed = tmp_path / f"exchanges-1.jsonl{suffix}"
    packed.write_bytes(pack(plain.read_bytes()))
    plain.unlink()
    assert [item.content for item in reader] == ["1"]
    assert [item.content for item in read_exchanges(plain)] == ["1"]
    packed.write_bytes(b"no packed data at all")
    with pytest.raises(ValueError, match="the compressed data is damaged"):
        list(read_exchanges(plain))


def test_log_that_is_gone_is_named_when_it_is_opened(tmp_path: Path) -> None:
    plain = write(tmp_path / "exchanges-1.jsonl", exchange())
    reader = read_exchanges(tmp_path)
    plain.unlink()
    with pytest.raises(FileNotFoundError, match=r"exchanges-1\.jsonl"):
        next(reader)


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n" + to_line(exchange()) + b"\n \n" + to_line(exchange()))
    reader = read_exchanges(path)
    assert (len(list(reader)), reader.n_torn) == (2, 0)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 50), st.integers(1, 50))
def test_lines_are_cut_at_newlines_alone_and_long_ones_are_left_out(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], n_read: int, longest: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    path.write_bytes(b"\r\n".join(pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.exchange.READ_BYTES", n_read)
        patch.setattr("proxy.exchange.MAX_LINE_BYTES", longest)
        found = list(iter_lines(path))
    with path.open("rb") as stream:
        expected = [line if len(line) <= longest else LINE_TOO_LONG for line in stream]
    assert found == list(enumerate(expected, start=1))


@pytest.mark.parametrize(
    "line",
    [b"[" * 1_000_000, b"\0" * 1000, to_line(exchange()).replace(b"127", b"1\x002"), b"\xff\xfe{}"],
)
def test_hostile_line_is_named_not_a_traceback(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line + b"\n" + to_line(exchange()))
    with pytest.raises(ValueError, match=r"a\.jsonl:1: "):
        list(read_exchanges(path))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_endless_line_takes_bounded_memory(tmp_path: Path, suffix: str) -> None:
    """A line of 300 MiB, in a compressed file of 300 KiB, read by a process of 200 MiB."""
    path = tmp_path / f"exchanges-1.jsonl{suffix}"
    with path.open("wb") as file:
        if suffix:
            pack = gzip.compress if suffix == ".gz" else pack_zstd
            file.write(pack(bytes(1 << 20)) * 300)
        else:
            file.truncate(300 << 20)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from proxy import exchange\n"
        "resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))\n"
        "exchange.MAX_LINE_BYTES = 32 << 20\n"
        "lines = list(exchange.iter_lines(Path(sys.argv[1])))\n"
        "assert lines == [(1, exchange.LINE_TOO_LONG)]\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
