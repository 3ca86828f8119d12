"""The latest exchanges of a log, and those that come.

Owns which lines these are: read from the end of plain segments, and followed across rotation into
new segments and compression of old ones. Refuses to own how they are shown (log_cli).

    tail = Tail(["runs/base"])
    for line, exchange in tail.latest(10): ...
    for line, exchange in tail.new(): ...   # what came since, as often as it is called
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple

from proxy.exchange import MAX_LINE_BYTES, Exchange, iter_lines, plain_name
from proxy.log_read import find_segments, is_packed, named, to_exchange

BLOCK_BYTES = 256 * 1024
DONE = -1
"""The end of a compressed segment that was read: it never grows."""


class Record(NamedTuple):
    """A line of the log and its exchange."""

    line: bytes
    exchange: Exchange


class Tail:
    """A place in a log. `n_damaged` counts the lines seen that are no records."""

    def __init__(self, paths: Iterable[str | Path], follow: bool = False) -> None:
        self.paths = list(paths)
        self.follow = follow
        self.n_damaged = 0
        self.ends: dict[Path, int] = {}
        """How far each segment was read, in bytes of the plain segment; always a line's end."""

    def segments(self) -> list[Path]:
        """Return the segments of now.

        Raises:
            ValueError: a path names no log. A folder without one is waited for when following.
        """
        waited = [path for path in self.paths if self.follow and Path(path).is_dir()]
        found = find_segments(path for path in self.paths if path not in waited)
        for path in waited:
            with contextlib.suppress(ValueError):  # empty as yet
                found += find_segments([path])
        return found

    def latest(self, n: int) -> list[Record]:
        """Return the n records that ended last, oldest first.

        Segments that were last written before all of these ended are not read.

        Raises:
            ValueError: a path names no log, or there is no record in lines that there are.
        """
        segments = self.segments()
        kept: list[tuple[datetime, Record]] = []
        for written_at, path in sorted((modified_at(path), path) for path in segments)[::-1]:
            wanted = 0 if len(kept) >= n and (not n or kept[0][0] > written_at) else n
            records = self.end_of(path, wanted)
            dated = [(ended_at(record.exchange) or written_at, record) for record in records]
            # stable: records of one time keep the order in which they were written
            kept = sorted([*dated, *kept], key=lambda pair: pair[0])[-n:] if n else []
        if self.n_damaged and not kept:
            raise ValueError(f"no exchange in {named(segments)}; `distill-proxy verify` says more")
        return [record for _, record in kept]

    def end_of(self, path: Path, n: int) -> list[Record]:
        """Return the last n records of one segment, oldest first, and keep its place."""
        if not is_packed(path) and path.is_file():
            with contextlib.suppress(FileNotFoundError):  # compressed just now
                return self.plain_end(path, n)
        self.ends[plain_name(path)] = DONE
        return list(self.packed_end(path, n)) if n else []

    def plain_end(self, path: Path, n: int) -> list[Record]:
        """Return the last n records of a plain segment, oldest first."""
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            end = whole_end(stream, size)
            self.ends[plain_name(path)] = end
            found: list[Record] = []
            # without its newline the last line may be half of one: left for later when following
            lines = lines_backwards(stream, end if self.follow else size)
            torn = not self.follow and end != size
            while len(found) < n and (line := next(lines, None)) is not None:
                record = self.parse(line, torn)
                found += [record] if record else []
                torn = False
        return found[::-1]

    def packed_end(self, path: Path, n: int) -> Iterator[Record]:
        """Yield the last n records of a compressed segment, which has to be read whole."""
        last = deque((line for line in self.lines(path) if not line.isspace()), maxlen=n)
        for line in last:
            record = self.parse(line)
            if record:
                yield record

    def lines(self, path: Path) -> Iterator[bytes]:
        """Yield the lines of a compressed segment as far as it can be unpacked."""
        try:
            for _, line in iter_lines(path):
                yield line
        except FileNotFoundError:
            return  # removed, as a proxy does with empty ones
        except ValueError:
            self.n_damaged += 1

    def new(self) -> Iterator[Record]:
        """Yield the records that were written since the last call, segment by segment."""
        for path in self.segments():
            end = self.ends.get(plain_name(path), 0)
            if end == DONE:
                continue
            try:
                yield from self.packed_rest(path, end) if is_packed(path) else self.rest(path, end)
            except FileNotFoundError:  # compressed just now; its rest comes before later segments
                yield from self.packed_rest(path, end)

    def rest(self, path: Path, end: int) -> Iterator[Record]:
        """Yield the whole records of a plain segment from `end` on."""
        size = path.stat().st_size
        if size == end:
            return
        with path.open("rb") as stream:
            stream.seek(end if size > end else 0)  # shorter: another file took the name
            for line in iter(stream.readline, b""):
                if not line.endswith(b"\n"):
                    return
                self.ends[plain_name(path)] = stream.tell()
                record = self.parse(line)
                if record:
                    yield record

    def packed_rest(self, path: Path, end: int) -> Iterator[Record]:
        """Yield what a segment that was compressed since had behind `end`."""
        self.ends[plain_name(path)] = DONE
        for line in self.lines(path):
            end -= len(line)
            record = self.parse(line) if end < 0 else None
            if record:
                yield record

    def parse(self, line: bytes, torn: bool = False) -> Record | None:
        """Return a line's record; None where there is none, which counts as damage if not torn."""
        if not line.strip():
            return None
        try:
            return Record(line, to_exchange(line))
        except ValueError:
            self.n_damaged += not torn
            return None


def whole_end(stream: BinaryIO, size: int) -> int:
    """Return the offset behind the last newline, 0 where there is none."""
    position = size
    while position > 0:
        start = max(0, position - BLOCK_BYTES)
        stream.seek(start)
        found = stream.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def lines_backwards(stream: BinaryIO, end: int) -> Iterator[bytes]:
    """Yield the lines before the offset `end` without their newlines, the last one first."""
    position = end
    later: list[bytes] = []  # the parts of the line that goes on in front, last one first
    while position > 0:
        start = max(0, position - BLOCK_BYTES)
        stream.seek(start)
        first, *others = stream.read(position - start).split(b"\n")
        position = start
        if others:
            yield b"".join([others.pop(), *reversed(later)])
            yield from reversed(others)
            later = []
        later.append(first)
        if len(later) * BLOCK_BYTES > MAX_LINE_BYTES:
            return  # no record is that long
    yield b"".join(reversed(later))


def modified_at(path: Path) -> datetime:
    """Return when a segment was last written; one that is gone counts as old."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return datetime.fromtimestamp(0, UTC)


def ended_at(exchange: Exchange) -> datetime | None:
    """Return when an exchange ended, None where its times cannot be read."""
    try:
        started_at = datetime.fromisoformat(exchange.started_at)
        ended = started_at + timedelta(seconds=exchange.duration_s)
        return ended.astimezone(UTC) if started_at.tzinfo else None
    except (ValueError, OverflowError):
        return None
