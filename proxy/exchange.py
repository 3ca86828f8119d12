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
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, cast

SCHEMA_VERSION = 2
READABLE_SCHEMAS = (1, 2)
"""Schema 2 added fields; a record of schema 1 reads with their defaults."""
ZSTD_SUFFIX = ".zst"
PACKED_SUFFIXES = (ZSTD_SUFFIX, ".gz")
PLAIN_PATTERN = "exchanges-*.jsonl"
LOG_PATTERNS = (PLAIN_PATTERN, *(PLAIN_PATTERN + suffix for suffix in PACKED_SUFFIXES))
MAX_LINE_BYTES = 256 * 1024 * 1024
LINE_TOO_LONG = b"(a line of more than 256 MiB)\n"
"""What stands for such a line, which no proxy writes; it is not kept in memory."""
READ_BYTES = 1024 * 1024


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
    """The server that was asked, as a URL; of several replicas the one that was chosen."""
    route: str | None = None
    """The route's name (`--route NAME=URL`); None for `--upstream`."""
    model_requested: str | None = None
    """The `model` of the request."""
    model_served: str | None = None
    """The `model` of the answer."""
    messages: list[Any] | None = None
    """As sent; None where the request has a `prompt`, which is under `extra`."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """Every request field but model, messages, prompt and stream."""
    messages_sha256: str | None = None
    """Of the messages as canonical JSON."""
    stream: bool = False
    """Whether the request asked for a stream."""
    status: int | None = None
    """The status the client was given; None when it was given none."""
    content: str | None = None
    """The first choice's text; inline reasoning stays in it, tags and all."""
    reasoning: str | None = None
    """What the server sent apart."""
    reasoning_source: str | None = None
    """`inline`, `reasoning_content`, `reasoning`, `content_parts` or None."""
    reasoning_state: str | None = None
    """How harness_tasks.reasoning splits the answer (closed, unclosed, server_split, ...); None
    where there is no chat answer to split."""
    finish_reason: str | None = None
    """As the server says."""
    usage: dict[str, Any] | None = None
    """As the server says."""
    ttft_s: float | None = None
    """To the first piece of text or tool call of a stream; None when it was not streamed."""
    duration_s: float = 0.0
    """From started_at to the last byte of the answer, as the proxy saw it."""
    n_chunks: int = 0
    """SSE events that carried a piece of the answer; 0 when it was not streamed."""
    gaps_s: dict[str, float] | None = None
    """Time between successive pieces of a stream: `p50`, `p90`, `p99`, `max`; None below two
    pieces. Pieces that came in one read of the socket have gaps of 0."""
    request_bytes: int = 0
    """Of the request's body as the client sent it, without framing."""
    response_bytes: int = 0
    """Of the answer's body as the server sent it (compressed where it was), without framing, up to
    the piece that completed it: the newlines behind `[DONE]` may come after the record."""
    outcome: str = Outcome.COMPLETE
    """`complete`, `upstream_error`, `upstream_cut`, `client_cut` or `malformed`."""
    error: str | None = None
    """Why it is not `complete`, in words."""
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
        if schema not in READABLE_SCHEMAS:
            raise ValueError(
                f"exchange schema must be one of {READABLE_SCHEMAS}, got {schema!r}; "
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
            "reasoning_state",
            "route",
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
    "gaps_s": (dict, type(None)),
    "request_bytes": (int,),
    "response_bytes": (int,),
    "outcome": TEXT,
    "extra": (dict,),
    "schema": (int,),
}
OUTCOMES = frozenset(outcome.value for outcome in Outcome)
FIELD_NAMES = tuple(item.name for item in fields(Exchange))


def check_field(name: str, value: object) -> None:
    """Refuse a value of another type than the field's, and an outcome that does not exist."""
    accepted = FIELD_TYPES[name]
    exact = type(value) in accepted  # else True would be a number
    if not exact and (isinstance(value, bool) or not isinstance(value, accepted)):
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in accepted)
        raise ValueError(f"exchange field {name} must be {names}, got {value!r:.80}")
    if name == "outcome" and value not in OUTCOMES:
        raise ValueError(f"outcome must be one of {', '.join(Outcome)}, got {value!r:.80}")


def messages_sha256(messages: object) -> str:
    """Hash a conversation so that equal messages give equal hashes whatever their key order."""
    canonical = json.dumps(messages, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", errors="surrogatepass")).hexdigest()


def to_line(exchange: Exchange) -> bytes:
    """Return the record as one UTF-8 line with its newline, and no other newline in it."""
    return row_line(exchange.to_json())


def row_line(row: dict[str, Any]) -> bytes:
    """Return a record's JSON object as such a line."""
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
            yield from self.read_file(path)

    def read_file(self, path: Path) -> Iterator[Exchange]:
        """Yield the exchanges of one file.

        Raises:
            ValueError: a line that is no exchange, named by file and line.
        """
        for number, line in iter_lines(path):
            if line.isspace():
                continue
            try:
                exchange = Exchange.from_json(json.loads(line))
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    self.torn.append(path)
                    return
                raise ValueError(f"{path}:{number}: {error}") from error
            self.n_read += 1
            yield exchange


def read_exchanges(paths: str | Path | Iterable[str | Path]) -> ExchangeReader:
    """Return a reader over log files, folders of log files and glob patterns, packed ones too.

    A file that several paths stand for, or that is there in two forms, is read once.

    Raises:
        ValueError: a path that names no log file (at once), a line that is no exchange (later).
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    return ExchangeReader(one_form_each(file for path in paths for file in find_logs(path)))


def find_logs(path: str | Path) -> list[Path]:
    """Return the log files that a path stands for, sorted by name (so by start time).

    Raises:
        ValueError: no log file there.
    """
    place = Path(path)
    if place.is_dir():
        # The plain ones first: one that is compressed meanwhile is in either list or in both.
        found = [file for pattern in LOG_PATTERNS for file in place.glob(pattern)]
        if not found:
            raise ValueError(f"no {PLAIN_PATTERN} in the folder {str(path)!r}")
        return sorted(one_form_each(found), key=plain_name)
    if place.exists():
        return [place]
    if packed := packed_form(place):
        return [packed]
    # Twice: one that is compressed during the first look may be in neither form in it.
    names = {*glob.glob(str(path), recursive=True), *glob.glob(str(path), recursive=True)}
    found = [Path(name) for name in sorted(names) if not name.endswith(".torn")]
    if not found:
        raise ValueError(f"no exchange log at {str(path)!r}; give a file, a folder or a pattern")
    files = [file for place in found for file in (find_logs(place) if place.is_dir() else [place])]
    return one_form_each(files)


def one_form_each(files: Iterable[Path]) -> list[Path]:
    """Return each log file once: for a moment, or after a crash, it is there plain and packed."""
    chosen: dict[Path, Path] = {}
    for file in files:
        plain = plain_name(file)
        if plain not in chosen or file == plain:  # the plain one has everything in any case
            chosen[plain] = file
    return list(chosen.values())


def plain_name(path: Path) -> Path:
    """Return what a log file is called before it is compressed."""
    return path.with_suffix("") if path.suffix in PACKED_SUFFIXES else path


def packed_form(path: Path) -> Path | None:
    """Return the compressed form of a log file, None when there is none."""
    forms = (path.with_name(path.name + suffix) for suffix in PACKED_SUFFIXES if path.name)
    return next((form for form in forms if form.exists()), None)


def iter_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a log file with their numbers from 1, each with its newline.

    Only the last may lack its newline: a crash cut it, or it is being written. It is `b""` when a
    compressed file is cut and nothing is left of the line where it is. LINE_TOO_LONG stands for a
    line of more than MAX_LINE_BYTES, so that memory is bounded whatever the file holds.

    Raises:
        OSError: the file cannot be read.
        ValueError: a compressed file is damaged, named by file and line.
    """
    number = 1
    held: list[bytes] = []
    n_bytes = 0
    cut = False
    with open_log(path) as stream:
        pieces = read_pieces(stream)
        while True:
            try:
                piece = next(pieces, b"")
            except EOFError:
                piece, cut = b"", True
            except ValueError as error:
                raise ValueError(f"{path}:{number}: {error}") from error
            if not piece:
                break
            for part in io.BytesIO(piece):
                n_bytes += len(part)
                held.append(part)
                if n_bytes > MAX_LINE_BYTES:
                    held = [LINE_TOO_LONG]
                if part.endswith(b"\n"):
                    yield number, b"".join(held)
                    number, n_bytes = number + 1, 0
                    held.clear()
    if held or cut:
        yield number, b"".join(held)


def read_pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what a log file holds, unpacked, in pieces of at most READ_BYTES.

    Raises:
        EOFError: a compressed file is cut.
        ValueError: a compressed file is damaged.
    """
    damaged: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error)
    if not isinstance(stream, gzip.GzipFile | io.BufferedReader):
        damaged = (zstd_module().ZstdError,)
    # one read at a time, so that an end that is cut takes nothing with it that came before
    reader = cast(io.BufferedReader, stream)
    while True:
        try:
            piece = reader.read1(READ_BYTES)
        except damaged as error:
            raise ValueError(f"the compressed data is damaged: {error}") from error
        if not piece:
            return
        yield piece


def open_log(path: Path) -> BinaryIO:
    """Open a log file for reading bytes, unpacking `.zst` and `.gz`.

    One that was compressed since it was found is opened under its new name.

    Raises:
        OSError: it cannot be opened.
    """
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.suffix == ZSTD_SUFFIX:
        return cast(BinaryIO, zstd_module().ZstdFile(path, "rb"))
    try:
        return path.open("rb")
    except FileNotFoundError:
        packed = packed_form(path)
        if packed is None:
            raise
        return open_log(packed)


def zstd_module() -> ModuleType:
    """Return Python's zstd module: in the standard library from 3.14 on, else its backport.

    Raises:
        ImportError: it is not installed.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd
    try:
        from backports import zstd
    except ImportError as error:
        raise ImportError("a .zst log needs: pip install backports.zstd") from error
    return zstd
