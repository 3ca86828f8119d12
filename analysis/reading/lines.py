"""Lines of files of any size as JSON objects, in pieces that two processes can read side by side.

Owns the cutting of a file into pieces and the bounds of a line. Refuses to own what an object means
(`load`, `exchanges`), who reads a piece (`workers`) and how a log is packed (`proxy.exchange`).
Nothing here holds more than one line.

`proxy.exchange.read_exchanges` and `harness_tasks.records.read_jsonl` read lines too, from a file's
beginning to its end, and stop at the first that cannot be used: right for what this suite wrote and
is to be trusted. Here the files may be anybody's: such a line comes as a `Fault` in its place, the
next follows, and each line says where it begins, so that it can be found again.

    for row in rows_of(Piece(Path("samples_quiz.jsonl"))):
        print(row.line, row.value or row.fault)
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from analysis.reading.quality import CUT, FOREIGN, TORN, Fault
from proxy.exchange import PACKED_SUFFIXES, open_log, read_pieces

MAX_LINE_BYTES = 128 * 1024 * 1024  # of a line that is kept: 64 completions of 500,000 tokens
PIECE_BYTES = 64 * 1024 * 1024
ARRAY = "a JSON array, as early releases of lm-eval wrote it; `jq -c '.[]' FILE` makes lines of it"
TOO_LONG = Fault(FOREIGN, f"a line of more than {MAX_LINE_BYTES} bytes")


class Piece(NamedTuple):
    """The lines of a file that begin in a stretch of its bytes; `stop` None is the end."""

    path: Path
    start: int = 0
    stop: int | None = None


class Row(NamedTuple):
    """One line: its number in the piece from 1, where it begins, and its object or its fault.

    A blank line has neither.
    """

    line: int
    at: int  # byte of the unpacked file
    value: dict[str, Any] | None
    fault: Fault | None = None


def pieces_of(path: Path) -> list[Piece]:
    """Cut a file into pieces; a packed one is a single piece, for it has one beginning."""
    try:
        size = 0 if path.suffix in PACKED_SUFFIXES else path.stat().st_size
    except FileNotFoundError:  # a log that was packed since it was found: `open_log` finds it
        size = 0
    starts = range(0, max(size, 1), PIECE_BYTES)
    return [
        Piece(path, start, start + PIECE_BYTES if start + PIECE_BYTES < size else None)
        for start in starts
    ]


def size_of(path: Path) -> int:
    """Return the size of a file, 0 where it has gone meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def rows_of(piece: Piece) -> Iterator[Row]:
    """Yield the lines that begin in a piece."""
    for line, at, found in lines_of(piece):
        if isinstance(found, Fault):
            yield Row(line, at, None, found)
            continue
        text = found.removeprefix(codecs.BOM_UTF8) if at == 0 else found
        yield Row(line, at, None) if text.isspace() else parse(line, at, text)


def parse(line: int, at: int, text: bytes) -> Row:
    """Read a line as a JSON object."""
    try:
        value = loads(text)
    except (ValueError, RecursionError) as bad:
        if at == 0 and text.lstrip().startswith(b"["):
            return Row(line, at, None, Fault(FOREIGN, ARRAY))
        torn = not text.endswith(b"\n")
        return Row(line, at, None, Fault(TORN if torn else FOREIGN, f"not valid JSON ({bad})"))
    if not isinstance(value, dict):
        fault = Fault(FOREIGN, f"expected a JSON object, got {type(value).__name__}")
        return Row(line, at, None, fault)
    return Row(line, at, value)


def loads(text: bytes) -> Any:
    """Read JSON as Python does, NaN and lone surrogates included, but fast where it has neither.

    Raises:
        ValueError: not UTF-8, or not JSON.
        RecursionError: nested too deeply.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text.decode())


def lines_of(piece: Piece) -> Iterator[tuple[int, int, bytes | Fault]]:
    """Yield number, place and bytes of the lines that begin in a piece.

    Raises:
        OSError: the file cannot be read.
    """
    number, at, size = 0, piece.start, 0
    held: list[bytes] = []
    skipping = piece.start > 0  # the line that began before this piece belongs to the one before
    with open_log(piece.path) as stream:
        stream.seek(max(piece.start - 1, 0))
        at = max(piece.start - 1, 0)
        for part in parts_of(stream):
            if isinstance(part, Fault):
                yield number + 1, at, part
                return
            size += len(part)
            held.append(part)
            if size > MAX_LINE_BYTES:
                held.clear()
            if part.endswith(b"\n"):
                if not skipping:
                    number += 1
                    yield number, at, b"".join(held) if held else TOO_LONG
                skipping = False
                at, size = at + size, 0
                held.clear()
                if piece.stop is not None and at >= piece.stop:
                    return
    if size and not skipping:
        yield number + 1, at, b"".join(held) if held else TOO_LONG


def parts_of(stream: Any) -> Iterator[bytes | Fault]:
    """Yield the lines of a stream, a long one in parts; a fault where packed data ends badly."""
    try:
        for piece in read_pieces(stream):
            yield from io.BytesIO(piece)
    except EOFError:
        yield Fault(CUT, "the compressed file is cut off here: nobody knows what is gone")
    except ValueError as bad:
        yield Fault(CUT, f"{bad}; the rest of the file is not read")
