"""A table as Markdown, in which no name and no model text is markup.

Owns the Markdown form and what is escaped. Refuses to own rounding (`cells`).

    | task | difference, points |
    |---|---:|
    | gsm8k | +0.8 [-0.9, +2.4] |
"""

from __future__ import annotations

import re
from typing import Final

from analysis.render.cells import LEFT, foot_lines, written_rows
from analysis.tables.table import Kind
from analysis.tables.table import Table as TableData
from analysis.text import visible

MARKUP: Final = frozenset("\\`*_<>|~&[]$")
LINK: Final = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)


def table(data: TableData) -> str:
    """Return a table with its title, what it was made by and its notes."""
    lines = [f"## {escaped(data.title)}", ""]
    if not data.rows:
        lines += [paragraph(data.empty or "No rows."), ""]
    else:
        lines += [row([escaped(one.heading) for one in data.columns])]
        lines.append(
            "|" + "|".join("---" if c.kind in LEFT else "---:" for c in data.columns) + "|"
        )
        kinds = [column.kind for column in data.columns]
        for cells in written_rows(data):
            lines.append(row([cell(c, kind) for c, kind in zip(cells, kinds, strict=True)]))
        lines.append("")
    for line in foot_lines(data):
        lines += [paragraph(line), ""]
    return "\n".join(lines)


def row(cells: list[str]) -> str:
    """Return one row of a table."""
    return "| " + " | ".join(cells) + " |"


def cell(written: str, kind: Kind) -> str:
    """Return a cell: text is escaped, numbers are ours and only hide `<` of a bound."""
    return escaped(written) if kind in LEFT else written.replace("<", "\\<").replace("|", "\\|")


def escaped(text: str) -> str:
    """Return text that no Markdown reader takes for markup, a link or the end of a line."""
    flat = visible(" ".join(text.split()))
    marked = "".join(f"\\{c}" if c in MARKUP else c for c in flat)
    return LINK.sub(r"\\", marked)


def paragraph(text: str) -> str:
    """Return text for the beginning of a line, where more is markup."""
    made = escaped(text)
    start = re.match(r"\d*", made)
    at = start.end() if start else 0
    return made[:at] + "\\" + made[at:] if re.match(r"\d+[.)]|[#+=-]", made) else made
