"""The lines of a CSV of scores: cells by the names of its columns, with file and line.

Owns the columns that are known and the reading of numbers. Refuses to own what they mean (`tidy`,
`published`). A file is refused whole: a table of scores is small, and somebody wrote it by hand.

    [row.cells["task"] for row in read_rows(Path("scores.csv"))]
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from pathlib import Path

NAMES = {"arm": "run", "model": "run", "benchmark": "task"}
READ = ("series", "run", "step", "task", "score", "percent", "n", "n_docs", "correct", "truncated",
        "no_answer", "grader_error", "part", "words", "seed")  # fmt: skip
LARGEST_BYTES = 64 * 1024 * 1024


@dataclass
class Row:
    """One line of the file: its cells by the names above, and where it stands."""

    where: str
    cells: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)


def read_rows(path: Path) -> list[Row]:
    """Read the lines of a CSV file.

    Raises:
        ValueError: no file, too large, not UTF-8, no header, a missing column, or shares where
            percentages should be. OSError.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise ValueError(f"{path}: expected a CSV file of scores, and it is {what}")
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"{path}: larger than {LARGEST_BYTES} bytes, so no table of scores")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        raise ValueError(f"{path}: not UTF-8 text ({bad.reason} at byte {bad.start})") from bad
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader if any(map(str.strip, line))]
    except csv.Error as bad:
        raise ValueError(f"{path}:{reader.line_num}: not valid CSV ({bad})") from bad
    head = [name.strip().lower() for name in lines[0][1]] if lines else []
    for name, other in NAMES.items():
        if name in head and other not in head:
            head[head.index(name)] = other
    check_head(path, head)
    rows = [row_of(f"{path}:{number}", head, line) for number, line in lines[1:]]
    refuse_shares(path, rows)
    return rows


def check_head(path: Path, head: list[str]) -> None:
    """Refuse a file that lacks a column.

    Raises:
        ValueError: it names what is missing and what is there.
    """
    have = ", ".join(head) or "nothing"
    if len(head) == 1 and any(sign in have for sign in ";\t|"):
        raise ValueError(f"{path}: its columns must be parted by commas, got {have!r:.80}")
    twice = next((name for name in head if name and head.count(name) > 1), None)
    if twice:
        raise ValueError(f"{path}: column {twice!r} stands twice")
    if "task" not in head or not {"run", "step", "seed"} & {*head}:
        raise ValueError(f"{path}: needs the columns task and run (or step); it has {have}")
    if not {"score", "percent", "correct"} & {*head}:
        raise ValueError(f"{path}: needs a column score (0 to 1) or percent; it has {have}")


def refuse_shares(path: Path, rows: list[Row]) -> None:
    """Refuse a column `percent` that holds shares, which would pass for scores below 1%.

    Raises:
        ValueError: no percentage is above 1, and some are above 0.
    """
    largest = max((number(row, "percent") for row in rows if row.cells["percent"]), default=0.0)
    if 0 < largest <= 1:
        raise ValueError(
            f"{path}: the largest percent is {largest:g}; shares go into a column `score`, and so "
            f"do scores that are all below 1% (as {largest / 100:g})"
        )


def row_of(where: str, head: list[str], line: list[str]) -> Row:
    """Return a line as a row.

    Raises:
        ValueError: more or fewer cells than the header has.
    """
    if len(line) != len(head):
        raise ValueError(f"{where}: {len(line)} cells, and the header has {len(head)}")
    cells = {name: cell.strip() for name, cell in zip(head, line, strict=True)}
    known = {name: cells.get(name, "") for name in READ}
    return Row(where, known, {k: v for k, v in cells.items() if k and k not in READ})


def number(row: Row, name: str) -> float:
    """Read a number.

    Raises:
        ValueError: it is none, or not finite.
    """
    try:
        found = float(row.cells[name])
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(
            f"{row.where}: {name} must be a number, got {row.cells[name]!r:.60}; write it as 82.6, "
            "and leave the cell empty where there is none"
        )
    return found


def count(row: Row, name: str) -> int | None:
    """Read a count, None where the cell is empty.

    Raises:
        ValueError: it is no whole number from 0 on.
    """
    if not row.cells[name]:
        return None
    found = number(row, name)
    if found < 0 or found != int(found) or found > 2**53:
        raise ValueError(f"{row.where}: {name} must be a count, got {row.cells[name]!r:.60}")
    return int(found)
