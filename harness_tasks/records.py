"""The record of one graded completion, and the JSON-lines files that hold records.

Owns the verdict words, `SampleRecord` and the reading and writing of JSON lines, plain or gzip.
Refuses to own grading (`graders`) and exchanges (`proxy.exchange`). Standard library only.

Example, the line that lm-eval's samples file carries for each completion, under `samples`:

    {"schema": 1, "sample_index": 0, "verdict": "correct", "answer": "18", "truncated": false, ...}
"""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

SCHEMA_VERSION = 1
# How lm-eval names the files that hold records; `time` is None where a name carries none. Its
# first releases wrote the time with colons.
SAMPLES_NAME = re.compile(
    r"^samples_(?P<task>.+?)(?:_(?P<time>\d{4}-\d{2}-\d{2}T\d{2}[-:]\d{2}[-:]\d{2}(?:\.\d+)?))?"
    r"\.jsonl(?:\.gz)?$"
)


class Verdict(StrEnum):
    """How one completion was graded: `correct` scores, `grader_error` is left out and counted."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    GRADER_ERROR = "grader_error"


@dataclass(frozen=True)
class SampleRecord:
    """One completion of one doc, graded.

    `truncated` is a flag beside the verdict: a completion that was cut off after a complete boxed
    answer is graded on that answer and still flagged. `state` is a state of `reasoning.split`.
    `details` is what a task tells of the grade besides, such as the verdict on base tests.
    """

    sample_index: int
    """Which of the completions of the doc: 0 to k - 1."""
    verdict: Verdict
    """`correct`, `incorrect`, `no_answer`, `truncated` or `grader_error`."""
    answer: str | None
    """What was taken as the answer and compared with the target."""
    truncated: bool
    """The completion was cut off: finish_reason `length`, or a think block that never closed."""
    state: str
    """How the reasoning was found: `none`, `closed`, `orphan_close` (the template opened it),
    `unclosed`, `server_split` or `empty`."""
    finish_reason: str | None
    """As the server said, `length` also where it said `stop` at the limit."""
    reasoning_chars: int
    """Characters of the reasoning, blanks around it aside."""
    answer_chars: int
    """Characters of the text after it."""
    request_id: str | None = None
    """`RUN/TASK/DOC_ID/SAMPLE_INDEX`, by which a proxy's log has the exchange."""
    completion_tokens: int | None = None
    """As the server counted them, reasoning included."""
    reason: str | None = None
    """Why the verdict is not `correct`, or why nothing could be graded."""
    details: dict[str, Any] | None = None
    """What the task tells of the grade besides: base and plus tests, instructions followed, ..."""
    vote: int | None = None
    """Of several samples, for maj@k: the first sample_index that gives the same answer."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object, `schema` first, without details and vote of None."""
        fields = dataclasses.asdict(self)
        for name in ("details", "vote"):
            if fields[name] is None:
                del fields[name]
        return {"schema": SCHEMA_VERSION, **fields}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> SampleRecord:
        """Read a record of this schema; fields that a later writer added are ignored.

        Raises:
            ValueError: another schema, an unknown verdict, or a missing field.
        """
        if row.get("schema") != SCHEMA_VERSION:
            found = row.get("schema")
            raise ValueError(f"sample record has schema {found!r}, expected {SCHEMA_VERSION}")
        known = {f.name: row[f.name] for f in dataclasses.fields(cls) if f.name in row}
        try:
            return cls(**{**known, "verdict": Verdict(known["verdict"])})
        except (KeyError, TypeError) as missing:
            raise ValueError(f"sample record lacks a field: {missing}") from missing


def open_bytes(path: Path, mode: str = "rb") -> IO[bytes]:
    """Open a file, through gzip where the name ends in `.gz`."""
    return gzip.open(path, mode) if path.suffix == ".gz" else path.open(mode)  # type: ignore[return-value]


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file in order, one at a time.

    Blank lines and a byte order mark are skipped, and Windows line ends are taken.

    Raises:
        ValueError: a line that is no JSON object or not UTF-8, or damaged gzip; the message names
            file and line.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    number = 0
    try:
        with open_bytes(path) as lines:
            for number, line in enumerate(lines, start=1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip():
                    yield parse_object(text, f"{path}:{number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as bad:
        raise ValueError(f"{path}: damaged gzip after line {number} ({bad})") from bad


def parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Parse one JSON object; bytes are UTF-8.

    Raises:
        ValueError: not UTF-8, not JSON, too deeply nested, or not an object; the message begins
            with `where`.
    """
    try:
        row = json.loads(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as bad:
        found = bad.object[bad.start : bad.start + 1]
        raise ValueError(f"{where}: not UTF-8 text ({found!r} at byte {bad.start + 1})") from bad
    except (ValueError, RecursionError) as bad:
        raise ValueError(f"{where}: not valid JSON ({bad})") from bad
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row


def write_jsonl(path: str | Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write one JSON object a line and return how many; `.gz` names are compressed."""
    n_rows = 0
    with open_bytes(Path(path), "wb") as out:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False) + "\n"
            # A lone surrogate, which model output can hold, becomes JSON's own escape of it.
            out.write(line.encode(errors="backslashreplace"))
            n_rows += 1
    return n_rows
