"""Reading a log that may be damaged, for the commands that look at one.

Owns which segments a path stands for, and reading on behind lines that are no records. Refuses to
own the record and its strict reader (exchange) and everything that is made of the records.

    log = LogReader(find_segments(["runs/base/"]))
    for exchange, n_bytes in log: ...
    print(log.n_records, log.n_damaged, log.damage[:3], log.torn)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from proxy.exchange import PACKED_SUFFIXES, Exchange, find_logs, iter_lines, one_form_each

KEPT_DAMAGE = 5
"""How many damaged lines are kept to be shown; all are counted."""
Progress = Callable[[int], None]
"""Called with the bytes of a file that were read since the last call."""


class Damage(NamedTuple):
    """A line that is no record, or the place where compressed data cannot be read on."""

    path: Path
    line: int
    why: str

    def __str__(self) -> str:
        """Return the damage as `file:line: why`."""
        return f"{self.path}:{self.line}: {self.why}"


class Torn(NamedTuple):
    """A last line without its end, as a crash leaves it; no client ever had its answer's end."""

    path: Path
    line: int
    n_bytes: int


class LogReader:
    """The exchanges of some segments, one line in memory at a time; what is none is counted."""

    def __init__(self, segments: Iterable[Path], progress: Progress | None = None) -> None:
        self.segments = list(segments)
        self.progress = progress
        self.n_records = 0
        self.n_damaged = 0
        self.damage: list[Damage] = []
        """The first few."""
        self.torn: list[Torn] = []
        self.unended: list[Path] = []
        """Segments whose last line is a record without its newline."""
        self.gone: list[Path] = []
        """Segments that were removed before they were read, as a proxy does with empty ones."""

    def __iter__(self) -> Iterator[tuple[Exchange, int]]:
        """Yield each exchange with the length of its line.

        Raises:
            OSError: a segment that cannot be read.
        """
        for path in self.segments:
            try:
                yield from self.read(path)
            except FileNotFoundError:
                self.gone.append(path)
            if self.progress and is_packed(path):
                self.progress(size_of(path))

    def read(self, path: Path) -> Iterator[tuple[Exchange, int]]:
        """Yield the exchanges of one segment."""
        number = 0
        lines = iter_lines(path)
        while True:
            try:
                number, line = next(lines)
            except StopIteration:
                return
            except ValueError as error:  # behind damage nothing can be unpacked
                why = str(error).removeprefix(f"{path}:{number + 1}: ")
                self.note(Damage(path, number + 1, why))
                return
            if self.progress and not is_packed(path):
                self.progress(len(line))
            found = self.parse(path, number, line)
            if found is not None:
                self.n_records += 1
                yield found, len(line)

    def parse(self, path: Path, number: int, line: bytes) -> Exchange | None:
        """Return the exchange of a line; None, and a note, where there is none."""
        if line.isspace():
            return None
        ended = line.endswith(b"\n")
        try:
            found = to_exchange(line)
        except ValueError as error:
            if ended:
                self.note(Damage(path, number, str(error)))
            elif is_packed(path):  # a proxy compresses whole lines only: this file is not all
                self.note(Damage(path, number, "the compressed file is cut off here"))
            else:
                self.torn.append(Torn(path, number, len(line)))
            return None
        self.unended += [] if ended else [path]
        return found

    def note(self, damage: Damage) -> None:
        """Count a damaged line, and keep it while there are few."""
        self.n_damaged += 1
        if len(self.damage) < KEPT_DAMAGE:
            self.damage.append(damage)

    def records(self) -> Iterator[tuple[Exchange, int]]:
        """Yield the same, and refuse what holds lines and not one record.

        Raises:
            OSError: a segment that cannot be read.
            ValueError: this is no log of exchanges.
        """
        yield from self
        if self.damage and not self.n_records:
            raise ValueError(f"no exchange in {named(self.segments)}; {self.damage[0]}")

    def left_out(self) -> str | None:
        """Return what there is to say about lines that are in no result."""
        if not self.n_damaged:
            return None
        lines = (
            "1 line is no record and was"
            if self.n_damaged == 1
            else (f"{self.n_damaged:,} lines are no records and were")
        )
        return f"{lines} left out, the first is {self.damage[0]}"


def to_exchange(line: bytes) -> Exchange:
    """Return the exchange of a line.

    Raises:
        ValueError: the line is no exchange.
    """
    try:
        return Exchange.from_json(json.loads(line))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def find_segments(paths: Iterable[str | Path]) -> list[Path]:
    """Return the segments that paths stand for, each once.

    Raises:
        ValueError: a path that names no log.
    """
    return one_form_each(file for path in paths for file in find_logs(path))


def is_packed(path: Path) -> bool:
    """Whether the segment is compressed."""
    return path.suffix in PACKED_SUFFIXES


def size_of(path: Path) -> int:
    """Return the size of a segment's file, 0 when it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def named(segments: list[Path]) -> str:
    """Return the segments as a few words."""
    first = repr(str(segments[0]))
    return first if len(segments) == 1 else f"{first} and {len(segments) - 1} more"
