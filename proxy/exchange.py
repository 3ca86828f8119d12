"""The exchange: one request to a generation endpoint and its answer, as one line of the log.

Owns the record (its fields, its JSON form, its version), the hash of a conversation, and the
reader of log files. Refuses to own how a record comes about (recorder) and how it is written (log).

    >>> from proxy.exchange import read_exchanges
    >>> for exchange in read_exchanges(["runs/base/"]):
    ...     print(exchange.request_id, exchange.outcome, exchange.finish_reason)
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

SCHEMA_VERSION = 1
LOG_PATTERNS = ("exchanges-*.jsonl", "exchanges-*.jsonl.gz")
MAX_LINE_BYTES = 512 * 1024 * 1024


class Outcome(StrEnum):
    """How an exchange ended, seen from the proxy."""

    COMPLETE = "complete"
    """The server's answer came to its end, whether or not it hit its token limit."""
    UPSTREAM_ERROR = "upstream_error"
    """No answer: connection refused, broken before the headers, status 4xx or 5xx, error event."""
    UPSTREAM_CUT = "upstream_cut"
    """The answer began and stopped before its end, by the server or by stopping the proxy."""
    CLIENT_CUT = "client_cut"
    """The client went away before the answer's end."""
    MALFORMED = "malformed"
    """The answer came to its end but is not the JSON or SSE that the endpoint promises."""


class ReasoningSource(StrEnum):
    """Where the server put the reasoning."""

    INLINE = "inline"
    """Inside `content`, between think tags; `reasoning` stays None."""
    REASONING_CONTENT = "reasoning_content"
    REASONING = "reasoning"
    CONTENT_PARTS = "content_parts"
    """As `thinking` parts of a list-typed content (Mistral)."""


@dataclass(frozen=True)
class Exchange:
    """One exchange. Times are seconds; `None` means not sent, not known or not applicable."""

    request_id: str
    """The client's `x-request-id`, or one made up by the proxy (`proxy-...`)."""
    started_at: str
    """When the request's headers had come: UTC, ISO 8601 with microseconds and offset."""
    endpoint: str
    """The request's path, percent-encoding as sent, without its query."""
    upstream: str
    model_requested: str | None = None
    model_served: str | None = None
    messages: list[Any] | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    """Every request field but model, messages, prompt and stream."""
    messages_sha256: str | None = None
    stream: bool = False
    """Whether the request asked for a stream."""
    status: int | None = None
    """The status the client was given; None when it was given none."""
    content: str | None = None
    reasoning: str | None = None
    reasoning_source: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    ttft_s: float | None = None
    """To the first piece of text or tool call of a stream; None when it was not streamed."""
    duration_s: float = 0.0
    """From started_at to the last byte of the answer, as the proxy saw it."""
    n_chunks: int = 0
    """SSE events that carried a piece of the answer; 0 when it was not streamed."""
    outcome: str = Outcome.COMPLETE
    error: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Everything else the server sent (tool_calls, logprobs, ids), and the raw text of what
    could not be read."""
    schema: int = SCHEMA_VERSION

    @property
    def tool_calls(self) -> list[Any]:
        """Return the tool calls of the first choice, empty when it made none."""
        calls = self.extra.get("tool_calls")
        return calls if isinstance(calls, list) else []

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object, `schema` first."""
        return {"schema": self.schema} | {name: getattr(self, name) for name in FIELD_NAMES}

    @classmethod
    def from_json(cls, row: object) -> Exchange:
        """Build the record from a JSON object; fields that this version does not know are left out.

        Raises:
            ValueError: not an object, another schema, a missing or wrongly typed field.
        """
        if not isinstance(row, dict):
            raise ValueError(f"an exchange must be a JSON object, got {type(row).__name__}")
        schema = row.get("schema")
        if schema != SCHEMA_VERSION:
            raise ValueError(
                f"exchange schema must be {SCHEMA_VERSION}, got {schema!r}; "
                "read the log with the distill-eval version that wrote it"
            )
        known = {name: row[name] for name in FIELD_TYPES if name in row}
        for name, value in known.items():
            check_field(name, value)
        missing = [name for name in REQUIRED if name not in known]
        if missing:
            raise ValueError(f"exchange without {', '.join(missing)}; is this a proxy log?")
        return cls(**known)


REQUIRED = ("request_id", "started_at", "endpoint", "upstream")
TEXT: tuple[type, ...] = (str,)
OPTIONAL_TEXT: tuple[type, ...] = (str, type(None))
FIELD_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(REQUIRED, TEXT),
    **dict.fromkeys(
        (
            "model_requested",
            "model_served",
            "messages_sha256",
            "content",
            "reasoning",
            "reasoning_source",
            "finish_reason",
            "error",
        ),
        OPTIONAL_TEXT,
    ),
    "messages": (list, type(None)),
    "sampling": (dict,),
    "stream": (bool,),
    "status": (int, type(None)),
    "usage": (dict, type(None)),
    "ttft_s": (float, int, type(None)),
    "duration_s": (float, int),
    "n_chunks": (int,),
    "outcome": TEXT,
    "extra": (dict,),
    "schema": (int,),
}
FIELD_NAMES = tuple(item.name for item in fields(Exchange))


def check_field(name: str, value: object) -> None:
    """Refuse a value of another type than the field's, and an outcome that does not exist."""
    accepted = FIELD_TYPES[name]
    wrong_bool = isinstance(value, bool) and bool not in accepted
    if not isinstance(value, accepted) or wrong_bool:
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in accepted)
        raise ValueError(f"exchange field {name} must be {names}, got {value!r:.80}")
    if name == "outcome" and value not in set(Outcome):
        raise ValueError(f"outcome must be one of {', '.join(Outcome)}, got {value!r:.80}")


def messages_sha256(messages: object) -> str:
    """Hash a conversation so that equal messages give equal hashes whatever their key order."""
    canonical = json.dumps(messages, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", errors="surrogatepass")).hexdigest()


def to_line(exchange: Exchange) -> bytes:
    """Return the record as one UTF-8 line with its newline, and no other newline in it."""
    row = exchange.to_json()
    try:
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # a lone surrogate ("\ud83d" cut from its pair) exists in JSON but not in UTF-8
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"


class ExchangeReader(Iterator[Exchange]):
    """Stream exchanges from log files, one line in memory at a time.

    `n_read` and `n_torn` count what was read so far; `torn` names the files whose last line was
    cut short by a crash. Such a line was never confirmed to a client, so it is skipped.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.n_read = 0
        self.torn: list[Path] = []
        self.rows = self.read(files)

    @property
    def n_torn(self) -> int:
        """Return how many torn last lines were skipped so far."""
        return len(self.torn)

    def __next__(self) -> Exchange:
        """Return the next exchange."""
        return next(self.rows)

    def read(self, files: Iterable[Path]) -> Iterator[Exchange]:
        """Yield the exchanges of all files in order."""
        for path in files:
            with open_log(path) as stream:
                yield from self.read_file(path, stream)

    def read_file(self, path: Path, stream: BinaryIO) -> Iterator[Exchange]:
        """Yield the exchanges of one file.

        Raises:
            ValueError: a line that is no exchange, named by file and line.
        """
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b""), start=1):
            if not line.strip():
                continue
            try:
                exchange = Exchange.from_json(json.loads(line))
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                    self.torn.append(path)
                    return
                raise ValueError(f"{path}:{number}: {error}") from error
            self.n_read += 1
            yield exchange


def read_exchanges(paths: str | Path | Iterable[str | Path]) -> ExchangeReader:
    """Return a reader over log files, folders of log files and glob patterns, `.gz` too.

    Raises:
        ValueError: a path that names no log file (at once), a line that is no exchange (later).
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    return ExchangeReader([file for path in paths for file in find_logs(path)])


def find_logs(path: str | Path) -> list[Path]:
    """Return the log files that a path stands for, sorted by name (so by start time).

    Raises:
        ValueError: no log file there.
    """
    place = Path(path)
    if place.is_dir():
        found = sorted(file for pattern in LOG_PATTERNS for file in place.glob(pattern))
        if not found:
            raise ValueError(f"no {LOG_PATTERNS[0]} in the folder {str(path)!r}")
        return found
    if place.exists():
        return [place]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not found:
        raise ValueError(f"no exchange log at {str(path)!r}; give a file, a folder or a pattern")
    return [file for place in found for file in (find_logs(place) if place.is_dir() else [place])]


def open_log(path: Path) -> BinaryIO:
    """Open a log file for reading bytes, unpacking `.gz`."""
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")
