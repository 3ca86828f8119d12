"""A log as one Parquet file.

Owns the columns, their types, and that a file is there whole or not at all. Refuses to own reading
(log_read). Fields that are lists or objects become JSON text: they differ from server to server,
and a file has one type for each column.

    export = Export(Path("exchanges.parquet"), ["request_id", "outcome", "content"])
    export.write(LogReader(find_segments(["runs/base/"])))
    print(export.n_rows, export.n_replaced)
"""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.exchange import FIELD_NAMES, Exchange

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

GROUP_ROWS = 20_000
GROUP_BYTES = 32 * 1024 * 1024
"""A row group is written at this many rows, or this many bytes of log: what is held in memory."""
FILE_MODE = 0o600
JSON_COLUMNS = ("messages", "sampling", "usage", "gaps_s", "extra")
INTEGER_COLUMNS = ("status", "n_chunks", "request_bytes", "response_bytes", "schema")
FLOAT_COLUMNS = ("ttft_s", "duration_s")
COLUMNS = ("schema", *(name for name in FIELD_NAMES if name != "schema"))
SURROGATE = re.compile("[\ud800-\udfff]")


class Export:
    """One Parquet file in the making."""

    def __init__(self, out: Path, columns: Iterable[str] = COLUMNS) -> None:
        self.out = out
        self.columns = list(columns)
        self.n_rows = 0
        self.n_replaced = 0
        """Values that their column cannot hold and that became null."""

    def write(self, rows: Iterable[tuple[Exchange, int]]) -> None:
        """Write the file under another name, and give it its own once it is whole.

        Raises:
            OSError: it cannot be written.
        """
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        with (
            new_file(self.out) as stream,
            pq.ParquetWriter(stream, self.schema(), compression="zstd") as writer,
        ):
            for table in self.tables(rows):
                writer.write_table(table, row_group_size=GROUP_ROWS)

    def schema(self) -> pa.Schema:
        """Return the columns and their types."""
        import pyarrow as pa

        kinds = {
            **dict.fromkeys(INTEGER_COLUMNS, pa.int64()),
            **dict.fromkeys(FLOAT_COLUMNS, pa.float64()),
            "stream": pa.bool_(),
            "started_at": pa.timestamp("us", tz="UTC"),
        }
        return pa.schema([(name, kinds.get(name, pa.string())) for name in self.columns])

    def tables(self, rows: Iterable[tuple[Exchange, int]]) -> Iterator[pa.Table]:
        """Yield the rows in groups of bounded size."""
        import pyarrow as pa

        schema, held, held_bytes = self.schema(), self.empty(), 0
        cells = [(held[name], name, converter(name)) for name in self.columns]
        for exchange, n_bytes in rows:
            for values, name, convert in cells:
                values.append(self.cell(convert, getattr(exchange, name)))
            self.n_rows += 1
            held_bytes += n_bytes
            if held_bytes >= GROUP_BYTES or self.n_rows % GROUP_ROWS == 0:
                yield pa.table(held, schema=schema)
                for values in held.values():
                    values.clear()
                held_bytes = 0
        if held_bytes:
            yield pa.table(held, schema=schema)

    def empty(self) -> dict[str, list[Any]]:
        """Return a list for each column."""
        return {name: [] for name in self.columns}

    def cell(self, convert: Callable[[Any], Any], value: object) -> object:
        """Return what stands for a field in its column; null, and counted, where nothing can."""
        if value is None:
            return None
        try:
            return convert(value)
        except (ValueError, OverflowError, RecursionError):
            self.n_replaced += 1
            return None


def converter(name: str) -> Callable[[Any], Any]:
    """Return what turns a field's value into its column's; it raises where it cannot."""
    kinds: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(JSON_COLUMNS, as_json),
        **dict.fromkeys(INTEGER_COLUMNS, as_integer),
        **dict.fromkeys(FLOAT_COLUMNS, as_float),
        "started_at": as_time,
        "stream": bool,
    }
    return kinds.get(name, as_text)


def as_text(value: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate becomes U+FFFD."""
    return value if value.isascii() else SURROGATE.sub("\ufffd", value)


def as_json(value: object) -> str:
    """Return JSON text.

    A lone surrogate stays what it is, as JSON's escape of it. NaN and infinity, which Python reads
    and writes though JSON has none, become null.

    Raises:
        RecursionError: it is nested as deeply as could just be read.
    """
    try:
        text = json_text(value)
    except ValueError:
        value = finite(value)
        text = json_text(value)
    if text.isascii() or not SURROGATE.search(text):
        return text
    return json_text(value, ascii_only=True)


def as_integer(value: int) -> int:
    """Return an integer of 64 bits.

    Raises:
        OverflowError: it has more.
    """
    if not -(2**63) <= value < 2**63:
        raise OverflowError("more than 64 bits")
    return value


def as_float(value: float) -> float:
    """Return a finite float.

    Raises:
        OverflowError: it is not finite, or an integer beyond all floats.
    """
    if not math.isfinite(value):
        raise OverflowError("not finite")
    return float(value)


def as_time(value: str) -> datetime:
    """Return a time in UTC.

    Raises:
        ValueError: it is no time, or does not say in which zone.
        OverflowError: it is outside the calendar.
    """
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("no time zone")
    return found.astimezone(UTC)


def json_text(value: object, ascii_only: bool = False) -> str:
    """Return compact JSON.

    Raises:
        ValueError: a number in it is not finite.
    """
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False)


def finite(value: object) -> object:
    """Return the value with None for every number that is not finite."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_columns(text: str) -> list[str]:
    """Return the columns of a list with commas.

    Raises:
        ValueError: none, an unknown one, or one twice.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--columns must name at least one of {', '.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS:
            close = difflib.get_close_matches(name, COLUMNS, 3)
            hint = f"did you mean {' or '.join(close)}" if close else f"use {', '.join(COLUMNS)}"
            raise ValueError(f"--columns: there is no column {name!r}; {hint}")
        if names.count(name) > 1:
            raise ValueError(f"--columns names {name} twice")
    return names


def check_out(out: Path, force: bool, segments: Iterable[Path]) -> None:
    """Refuse to write where something would be lost.

    Raises:
        ValueError: the file exists, is a folder or a segment of the log; its folder does not exist.
    """
    if out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a folder; name a file in it")
    if not out.parent.is_dir():
        raise ValueError(f"--out: there is no folder {str(out.parent)!r}")
    if not os.path.lexists(out):
        return
    if out.exists() and any(segment.exists() and out.samefile(segment) for segment in segments):
        raise ValueError(f"--out {str(out)!r} is a segment of the log that is read")
    if not force:
        raise ValueError(f"--out {str(out)!r} exists; --force replaces it")


@contextlib.contextmanager
def new_file(out: Path) -> Iterator[Any]:
    """Open a file that takes its name when it is whole and on disk, and is gone otherwise."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, FILE_MODE), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
