"""A table as CSV: raw numbers in full precision, for a spreadsheet or a data frame.

Owns the columns of a CSV file and what a spreadsheet may not be made to run. Refuses to own
rounding: shares stay in [0, 1].

    task,score,score_low,score_high
    distill_math500,0.572,0.5282,0.6147
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import IO, Final

from analysis.estimate import Estimate, Share
from analysis.tables.table import Cell
from analysis.tables.table import Table as TableData

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula, at once or after trimming.
Source: OWASP, "CSV Injection"."""


CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, those that turn the direction of text, and lone surrogates."""


def table(data: TableData) -> str:
    """Return a table as CSV with a header.

    A column with an Estimate gives NAME, NAME_low, NAME_high; one with a Share NAME, NAME_count,
    NAME_n. What is undefined is an empty cell.
    """
    spread = [parts_of(data.column(column.name)) for column in data.columns]
    header = [
        f"{column.name}{part}"
        for column, parts in zip(data.columns, spread, strict=True)
        for part in parts
    ]
    rows = (
        [value for cell, parts in zip(row, spread, strict=True) for value in values(cell, parts)]
        for row in data.rows
    )
    return lines(header, rows)


def parts_of(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the suffixes of the columns that a column needs for its cells."""
    parts: tuple[str, ...] = ("",)
    if any(isinstance(cell, Estimate) for cell in cells):
        parts += ("_low", "_high")
    if any(isinstance(cell, Share) for cell in cells):
        parts += ("_count", "_n")
    return parts


def values(cell: Cell, parts: tuple[str, ...]) -> list[Cell]:
    """Return a cell's values in the order of its columns."""
    if isinstance(cell, Estimate):
        known: dict[str, Cell] = {"": cell.value, "_low": cell.low, "_high": cell.high}
    elif isinstance(cell, Share):
        known = {"": cell.value, "_count": cell.count, "_n": cell.n}
    else:
        known = {"": cell}
    return [known.get(part) for part in parts]


def lines(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a header and rows as CSV."""
    out = io.StringIO()
    write_lines(out, header, rows)
    return out.getvalue()


def write_lines(file: IO[str], header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a header and rows, one at a time, so that no more than one is held."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([raw(value) for value in row] for row in rows)


def raw(value: object) -> object:
    """Return what stands in the file: nothing for what is undefined, true and false as JSON has."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return harmless(value) if isinstance(value, str) else value


def harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: `=1+1` gets a `'` before it.

    A number stays as it is, `-3` among them. Every line end becomes a newline: Python's writer
    leaves a bare carriage return without quotes, and readers then end the row there. The other
    control characters become escapes, since a terminal obeys them.
    """
    if text.lstrip(" ").startswith(FORMULA) and not is_number(text):
        text = f"'{text}"
    return CONTROL.sub(escape, text.replace("\r\n", "\n").replace("\r", "\n"))


def escape(found: re.Match[str]) -> str:
    """Return the escape of a character."""
    return ascii(found.group())[1:-1]


def is_number(text: str) -> bool:
    """Whether text is a plain number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
