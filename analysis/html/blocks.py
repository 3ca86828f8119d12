"""A Table as the page shows it: cells split into number and interval, long tables cut with a word.

Owns which rows of a table stand in the page and how its cells are marked for the style sheet.
Refuses to own the text of a cell (`render.cells`).

    block(table).rows[0][2]    # Cell("59.0", interval="[54.6, 63.2]", css="number")
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from analysis.compare import HIGHER, LOWER
from analysis.estimate import Estimate, Share
from analysis.render import cells
from analysis.tables.table import Cell as Raw
from analysis.tables.table import Column, Kind, Table
from analysis.text import visible

MOST_ROWS = 500  # of one table in the page; all of them are in its CSV
LONG = 25  # rows from which a table scrolls in a box of its own
PRINT = (("most", 13), ("many", 10))  # columns from which the print on paper is small
SHORT, NARROW = 30, 18  # characters of a text that is kept in one line, on a phone too
WITH_INTERVAL = re.compile(r"^(?P<value>[^\[]+?) (?P<interval>\[.*\])$", re.DOTALL)
TONES = {HIGHER: "ahead", LOWER: "behind"}


@dataclass(frozen=True)
class Cell:
    """One cell: its text, the interval or count behind it, why it is missing, its classes."""

    text: str
    interval: str = ""
    reason: str = ""
    css: str = ""


@dataclass(frozen=True)
class Heading:
    """One heading, and whether numbers stand below it."""

    text: str
    css: str


@dataclass(frozen=True)
class Block:
    """A table ready for the page."""

    name: str
    title: str
    headings: list[Heading]
    rows: list[list[Cell]]
    n_left_out: int
    foot: str
    missing: list[str]
    notes: tuple[str, ...]

    @property
    def long(self) -> bool:
        """Say whether it scrolls."""
        return len(self.rows) > LONG

    @property
    def print_size(self) -> str:
        """Return the class of its print on paper, by the number of its columns."""
        return next((name for name, least in PRINT if len(self.headings) >= least), "")


def block(table: Table) -> Block:
    """Return a table as the page shows it."""
    rows: list[list[Cell]] = []
    last = ""
    for raw in table.rows[:MOST_ROWS]:
        row = [cell_of(one, column) for one, column in zip(raw, table.columns, strict=True)]
        again = bool(rows) and row[0].text == last and table.columns[0].kind is Kind.TEXT
        last = row[0].text
        if again:
            row[0] = Cell(row[0].text, css=f"{row[0].css} again")
        rows.append(row)
    return Block(
        name=table.name,
        title=table.title,
        headings=[Heading(one.heading, "text" if left(one) else "number") for one in table.columns],
        rows=rows,
        n_left_out=max(0, len(table.rows) - MOST_ROWS),
        foot=visible(table.foot),
        missing=[visible(one) for one in cells.reasons(table)],
        notes=tuple(visible(one) for one in table.notes),
    )


def left(column: Column) -> bool:
    """Say whether a column is set flush left."""
    return column.kind in cells.LEFT


def size_class(text: str) -> str:
    """Return the classes of a text's length, which say where it may wrap."""
    if len(text) > SHORT:
        return "long-text"
    return "short" if len(text) <= NARROW else "short middling"


def cell_of(raw: Raw, column: Column) -> Cell:
    """Return one cell."""
    text = cells.text(raw, column.kind)
    reason = visible(raw.reason or "") if isinstance(raw, Estimate | Share) else ""
    if text == cells.MISSING:
        return Cell(
            "\N{EN DASH}", reason=reason, css="missing" if left(column) else "number missing"
        )
    if left(column):
        marks = ("text", size_class(text), TONES.get(text, ""))
        return Cell(text, css=" ".join(filter(None, marks)))
    found = WITH_INTERVAL.match(text)
    if found:
        return Cell(found["value"], interval=found["interval"], css="number")
    return Cell(text, reason=reason, css="number")
