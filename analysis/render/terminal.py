"""Tables and paragraphs in the terminal: aligned, 80 to 100 columns wide, nothing cut off.

Owns widths, wrapping and what is printed bold. Refuses to own rounding (`cells`). Colour is used on
a terminal alone, never against NO_COLOR, and never as the only sign of anything.

    console = terminal.console(sys.stdout)
    terminal.print_table(table, console)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import IO, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from analysis.render.cells import foot_lines
from analysis.render.layout import laid_out
from analysis.render.wrapping import wrapped_text
from analysis.tables.table import MEAN, Table
from analysis.text import visible

WIDEST: Final = 100
NARROWEST: Final = 80
MOST_ROWS: Final = 40
"""Rows that are printed of a table; the files have all of them."""


def console(out: IO[str]) -> Console:
    """Return a console as wide as the terminal within 80 to 100 columns; else plain, of 100."""
    made = Console(file=out, highlight=False, soft_wrap=False)
    made.width = max(min(made.width, WIDEST), NARROWEST) if made.is_terminal else WIDEST
    return made


def print_tables(tables: Sequence[Table], console: Console) -> None:
    """Print tables, an empty line between them."""
    for number, table in enumerate(tables):
        if number:
            console.print()
        print_table(table, console)


def print_table(table: Table, console: Console, most: int = MOST_ROWS) -> None:
    """Print a table: title, rows, what it was made by, notes; only the first rows of a long one."""
    write(console, table.title, "bold")
    if not table.rows:
        write(console, table.empty or "No rows.", indent=" ")
    shown = len(table.rows) if len(table.rows) <= most + most // 10 else most
    printed = first_rows(table, shown)
    for line, style in laid_out(printed, console.width, shown):
        console.print(Text(plain(line, console), style=style), soft_wrap=True)
    if shown < len(table.rows):
        left = len(table.rows) - shown
        write(console, f"… {left:,} more; --csv FILE has them all", indent=" ")
    for line in foot_lines(table):
        write(console, line, "dim", indent=" ", more="   ")


def first_rows(table: Table, n: int) -> Table:
    """Return a table whose first `n` rows are those to print, a closing mean among them."""
    if n >= len(table.rows) or table.rows[-1][0] != MEAN:
        return table
    return replace(table, rows=[*table.rows[: n - 1], table.rows[-1]])


def write(
    console: Console, text: str, style: str = "", indent: str = "", more: str | None = None
) -> None:
    """Print a paragraph, wrapped at blanks; a word that is wider than the line, at its joints."""
    hanging = indent + "  " if more is None else more
    for line in paragraph(plain(visible(text), console), console.width, indent, hanging):
        console.print(Text(line, style=style), soft_wrap=True)


def paragraph(text: str, width: int, indent: str = "", more: str = "  ") -> list[str]:
    """Return the lines of a paragraph, the first after `indent` and the others after `more`."""
    lines, line = [], indent
    for word in text.split():
        for part in word_parts(word, width - max(len(indent), len(more))):
            filled = line.strip()
            if filled and cell_len(f"{line} {part}") > width:
                lines.append(line)
                line, filled = more, ""
            line += f" {part}" if filled else part
    return [*lines, line]


def word_parts(word: str, width: int) -> list[str]:
    """Return a word, in parts where it is wider than a line."""
    return [word] if cell_len(word) <= width else [p.strip() for p in wrapped_text(word, width)]


def plain(line: str, console: Console) -> str:
    """Return a line with our own marks in ASCII where the terminal knows no other."""
    if console.encoding.lower().startswith("utf"):
        return line
    return line.replace("─", "-").replace("… ", "... ")
