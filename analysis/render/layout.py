"""Where the cells of a table stand in lines of so many columns: widths, wrapping, panels.

Owns the choice of a layout: of those that fit, the one of the fewest lines. Refuses to own styles
and printing (`terminal`). Text wraps after `_ : / -` and blanks, with a hanging continuation; the
first column may become a line of its own, an interval go below its value, and the columns stand in
several panels, one below the other. No number is broken and nothing is cut.

    task                  n          baseline   difference
    distill_aime_       120  41.7 [33.2, 50.6]        +2.5
      2022_2024
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

from analysis.render.cells import LEFT, MISSING, text
from analysis.render.wrapping import (
    HANGING,
    atom_lengths,
    broken,
    longest,
    pieces,
    wrapped_text,
)
from analysis.tables.table import Table

Line = tuple[str, str]  # what is printed, and its style
INDENT: Final = " "
SHORTEST_TEXT: Final = 8
LONGEST_ATOM: Final = 24  # a longer piece of text without a break is broken anywhere


@dataclass(frozen=True)
class Way:
    """One way to fit a table: the gap between columns, and what may wrap."""

    gap: int
    lead: bool = False  # the first column becomes a line of its own
    wraps: bool = True  # text may wrap
    level: int = 0  # where numbers may: nowhere, before an interval, at each blank


LADDER: Final = (
    Way(2, wraps=False),
    Way(1, wraps=False),
    Way(2),
    Way(1),
    Way(2, lead=True, wraps=False),
    Way(1, lead=True, wraps=False),
    Way(2, lead=True),
    Way(1, lead=True),
    Way(1, level=1),
    Way(1, level=1, lead=True),
)
NARROWEST: Final = Way(1, level=2)


@dataclass(frozen=True)
class Strings:
    """A column of ready cells; `numeric` ones are set flush right and never broken."""

    heading: str
    cells: list[str]
    numeric: bool


@dataclass(frozen=True)
class Layout:
    """The columns with their widths; the cells of `lead` stand on lines of their own."""

    columns: list[Strings]
    widths: list[int]
    gap: int
    lead: Strings | None = None


def laid_out(table: Table, width: int, most: int) -> Iterator[Line]:
    """Yield the lines of a table's first rows with the style of each."""
    if not table.rows:
        return
    rows = table.rows[:most]
    columns = [
        Strings(
            " ".join(column.heading.split()),
            [text(row[i], column.kind) for row in rows],
            column.kind not in LEFT,
        )
        for i, column in enumerate(table.columns)
    ]
    made = panels(columns, width)
    empty = [column for column in columns[1:] if set(column.cells) == {MISSING}]
    left_out = empty if len(made) > 1 else []
    if left_out:
        made = panels([column for column in columns if column not in left_out], width)
    for number, panel in enumerate(made):
        if number:
            yield "", ""
        yield from drawn(panel, width)
    if left_out:
        headings = ", ".join(column.heading for column in left_out)
        said = wrapped_text(f"{MISSING} in every row: {headings}", width - len(INDENT))
        yield from ((INDENT + line, "") for line in said)


def panels(columns: list[Strings], width: int) -> list[Layout]:
    """Return the layouts that show all columns: one where it fits, else those of fewest lines."""
    if whole := fitted(columns, width):
        return [whole]
    ways = [way for way in LADDER if way.level == 0]
    made = [split(columns, width, some) for some in ([w for w in ways if not w.wraps], ways)]
    return min(made, key=lambda some: sum(len(list(drawn(one, width))) for one in some))


def split(columns: list[Strings], width: int, ways: Sequence[Way]) -> list[Layout]:
    """Return panels of as many columns as fit in one of these ways, each with the keys."""
    n_keys = key_count(columns)
    keys, rest = columns[:n_keys], columns[n_keys:]
    made: list[Layout] = []
    shown: list[Strings] = []
    for column in rest:
        more = [*keys, *shown, column]
        if shown and not any(tried(more, width, way) for way in ways):
            made.append(forced([*keys, *shown], width))
            shown = []
        shown.append(column)
    return [*made, forced([*keys, *shown], width)]


def key_count(columns: list[Strings]) -> int:
    """Return how many leading columns of text name each row, 2 at most where none do."""
    n_text = next((i for i, column in enumerate(columns) if column.numeric), len(columns) - 1)
    for count in range(1, n_text + 1):
        rows = list(zip(*(column.cells for column in columns[:count]), strict=True))
        if len(set(rows)) == len(rows):
            return count
    return min(n_text, 2)


def forced(columns: list[Strings], width: int) -> Layout:
    """Return a layout even where one column alone is wider than the line."""
    made = fitted(columns, width)
    return made or Layout(columns, [least(column, NARROWEST) for column in columns], 1)


def fitted(columns: list[Strings], width: int) -> Layout | None:
    """Return the layout of the fewest lines within the width, None where there is none.

    An interval that is broken costs a line a row, so that numbers mostly stay whole. Of layouts as
    short as each other it is the first of LADDER.
    """
    n_rows = len(columns[0].cells)
    best: tuple[int, Layout] | None = None
    for way in LADDER:
        if layout := tried(columns, width, way):
            cost = len(list(drawn(layout, width))) + way.level * n_rows
            if best is None or cost < best[0]:
                best = cost, layout
    return best[1] if best else None


def tried(columns: list[Strings], width: int, way: Way) -> Layout | None:
    """Return the layout of one way, None where it does not fit."""
    if way.lead and (len(columns) < 3 or columns[0].numeric):
        return None
    shown = columns[1:] if way.lead else columns
    room = width - len(HANGING if way.lead else INDENT) - way.gap * (len(shown) - 1)
    mins = [least(column, way) for column in shown]
    if sum(mins) > room:
        return None
    widths = shared(shown, mins, room, way.level)
    return Layout(shown, widths, way.gap, columns[0] if way.lead else None)


def shared(columns: list[Strings], mins: list[int], room: int, level: int) -> list[int]:
    """Return widths that share the room: first so that cells need not wrap, then headings."""
    widths = list(mins)
    cells = [
        longest(piece for c in column.cells for piece in pieces(c, level * column.numeric))
        for column in columns
    ]
    heads = [max(w, cell_len(column.heading)) for w, column in zip(cells, columns, strict=True)]
    for likes in (cells, heads):
        short = [i for i, like in enumerate(likes) if widths[i] < like]
        while short and sum(widths) < room:
            narrowest = min(short, key=lambda i: widths[i])
            widths[narrowest] += 1
            short = [i for i in short if widths[i] < likes[i]]
    return widths


def least(column: Strings, way: Way) -> int:
    """Return the least width of a column."""
    heading = longest(column.heading.split())
    if column.numeric:
        return max(heading, longest(piece for c in column.cells for piece in pieces(c, way.level)))
    whole = longest(column.cells)
    if not way.wraps:
        return max(heading, whole)
    atoms = max((cell_len(HANGING) + a for c in column.cells for a in atom_lengths(c)), default=0)
    return max(min(heading, LONGEST_ATOM), min(whole, max(min(atoms, LONGEST_ATOM), SHORTEST_TEXT)))


def wrapped(cell: str, column: Strings, width: int) -> list[str]:
    """Return the lines of a cell."""
    if cell_len(cell) <= width:
        return [cell]
    if column.numeric:
        level = 1 if longest(pieces(cell, 1)) <= width else 2
        return pieces(cell, level)
    return wrapped_text(cell, width)


def drawn(layout: Layout, width: int) -> Iterator[Line]:
    """Yield the lines of one panel."""
    indent = HANGING if layout.lead else INDENT
    heads = [
        heading_lines(column, w) for column, w in zip(layout.columns, layout.widths, strict=True)
    ]
    height = max(map(len, heads))
    if layout.lead:
        yield f" {layout.lead.heading}", "bold"
    yield from (
        (line, "bold")
        for line in joined([[""] * (height - len(h)) + h for h in heads], layout, indent)
    )
    yield indent + "─" * (sum(layout.widths) + layout.gap * (len(layout.widths) - 1)), "dim"
    yield from drawn_under_lines(layout, width) if layout.lead else drawn_rows(layout, indent)


def drawn_under_lines(layout: Layout, width: int) -> Iterator[Line]:
    """Yield the rows below their first cells, which stand on lines of their own."""
    firsts = layout.lead.cells if layout.lead else []
    for i, first in enumerate(firsts):
        if not i or first != firsts[i - 1]:
            yield from ((f"{INDENT}{line}", "bold") for line in wrapped_text(first, width - 1))
        cells = wrapped_row(layout, i)
        yield from ((line, "") for line in joined(cells, layout, HANGING))


def drawn_rows(layout: Layout, indent: str) -> Iterator[Line]:
    """Yield the rows; a first cell that comes again is written once, and runs on beside them."""
    column = layout.columns[0]
    left: list[str] = []
    for i, first in enumerate(column.cells):
        cells = wrapped_row(layout, i)
        if not column.numeric:
            if not i or first != column.cells[i - 1]:
                left = cells[0]
            again = i + 1 < len(column.cells) and column.cells[i + 1] == first
            height = max((len(lines) for lines in cells[1:]), default=1)
            cells[0] = (left[:height] if again else left) or [""]
            left = left[height:]
        yield from ((line, "") for line in joined(cells, layout, indent))


def wrapped_row(layout: Layout, i: int) -> list[list[str]]:
    """Return the lines of each cell of a row."""
    columns = zip(layout.columns, layout.widths, strict=True)
    return [wrapped(column.cells[i], column, width) for column, width in columns]


def heading_lines(column: Strings, width: int) -> list[str]:
    """Return a heading in as few lines as its column's width allows."""
    lines = [""]
    for word in column.heading.split():
        if lines[-1] and cell_len(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [part for line in lines for part in broken(line, width)]


def joined(cells: list[list[str]], layout: Layout, indent: str) -> Iterator[str]:
    """Yield the lines of a row of cells of several lines each."""
    for number in range(max(map(len, cells))):
        parts = []
        for lines, column, width in zip(cells, layout.columns, layout.widths, strict=True):
            line = lines[number] if number < len(lines) else ""
            blank = " " * (width - cell_len(line))
            parts.append(blank + line if column.numeric else line + blank)
        yield (indent + (" " * layout.gap).join(parts)).rstrip()
