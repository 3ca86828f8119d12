"""The record of a graded completion, and JSON lines as they come from disk."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_tasks.records import SampleRecord, Verdict, read_jsonl, write_jsonl

# A line of schema 1 as it stands in samples files that are already written.
GOLDEN = (
    '{"schema": 1, "sample_index": 0, "verdict": "correct", "answer": "18", "truncated": false, '
    '"state": "closed", "finish_reason": "stop", "reasoning_chars": 412, "answer_chars": 20, '
    '"request_id": "base/distill_gsm8k/0/0", "completion_tokens": 131, "reason": null}'
)
RECORD = SampleRecord.from_json(json.loads(GOLDEN))

records = st.builds(
    SampleRecord,
    sample_index=st.integers(0, 99),
    verdict=st.sampled_from(Verdict),
    answer=st.none() | st.text(),
    truncated=st.booleans(),
    state=st.text(),
    finish_reason=st.none() | st.text(),
    reasoning_chars=st.integers(0),
    answer_chars=st.integers(0),
    request_id=st.none() | st.text(),
    completion_tokens=st.none() | st.integers(0),
    reason=st.none() | st.text(),
)


def test_the_line_of_schema_1_is_written_as_it_was() -> None:
    assert json.dumps(RECORD.to_json()) == GOLDEN


@given(records)
def test_a_record_survives_json(record: SampleRecord) -> None:
    assert SampleRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_fields_of_a_later_writer_are_ignored() -> None:
    assert SampleRecord.from_json({**RECORD.to_json(), "mood": "good"}) == RECORD


def test_a_record_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="sample record has schema 2, expected 1"):
        SampleRecord.from_json({**RECORD.to_json(), "schema": 2})


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(SampleRecord) if f.default is dataclasses.MISSING]
)
def test_a_record_without_a_field_is_refused_by_its_name(name: str) -> None:
    row = RECORD.to_json()
    del row[name]
    with pytest.raises(ValueError, match=f"lacks a field: .*{name}"):
        SampleRecord.from_json(row)


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="'maybe' is not a valid Verdict"):
        SampleRecord.from_json({**RECORD.to_json(), "verdict": "maybe"})


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    rows = [{"text": "Wie groß?\u2028\x85\r"}, {"n": 1.5}]
    assert write_jsonl(tmp_path / name, rows) == 2
    assert list(read_jsonl(tmp_path / name)) == rows


def test_gz_files_are_gzip(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl.gz", [{"a": 1}])
    assert gzip.decompress((tmp_path / "rows.jsonl.gz").read_bytes()) == b'{"a": 1}\n'


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a": 2}',
        b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}\r\n',
        b'\n {"a": 1} \n\n{"a": 2}\n',
    ],
    ids=["no last line end", "byte order mark, Windows", "blank lines"],
)
def test_harmless_differences_are_read_over(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert list(read_jsonl(path)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": "caf\xe9"}', r"not UTF-8 text \(b'\\xe9' at byte 11\)"),
        (b'{"a": 1', "not valid JSON"),
        (b"[1]", "expected a JSON object, got list"),
        (b"null", "expected a JSON object, got NoneType"),
        (b"\x00\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
    ],
    ids=["latin-1", "torn", "list", "null", "zeros", "deep"],
)
def test_a_bad_line_is_named_with_file_and_line(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b'\n{"a": 2}\n')
    rows = read_jsonl(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(ValueError, match=rf"rows\.jsonl:3: {message}"):
        next(rows)


def test_torn_gzip_gives_its_whole_lines_and_then_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 3, mtime=0)[:-8])
    rows = read_jsonl(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(ValueError, match=r"rows\.jsonl\.gz: damaged gzip after line \d"):
        list(rows)


def test_a_lone_surrogate_is_written_as_an_escape_and_read_back(tmp_path: Path) -> None:
    rows = [{"text": "cut \ud83d here"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == rows
