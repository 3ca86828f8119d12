r"""Markdown that the generated blocks share, and the blocks themselves.

Owns where a block begins and ends, tables, and text that fits into a cell. Refuses to own what
stands in a block (`commands`, `catalogue`, `schemas`). A block in a page, by its name:

    <!-- made by `make docs`: tasks -->
    | task | state |
    ...
    <!-- end: tasks -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

BLOCK = re.compile(
    r"(<!-- made by `make docs`: (?P<name>[\w-]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL
)
Maker = Callable[[], str]


def renewed(text: str, makers: Mapping[str, Maker]) -> str:
    """Return a page with every block made anew.

    Raises:
        ValueError: a block of a name that nobody makes, or one that has no end.
    """

    def made(block: re.Match[str]) -> str:
        if block["name"] not in makers:
            raise ValueError(f"no block is called {block['name']!r}; known are {', '.join(makers)}")
        return f"{block[1]}\n{makers[block['name']]().strip()}\n\n{block[3]}"

    found, n_blocks = BLOCK.subn(made, text)
    if n_blocks != text.count("<!-- made by"):
        raise ValueError("a block is begun and not ended, or ended under another name")
    return found


def names(text: str) -> list[str]:
    """Return the names of the blocks of a page."""
    return [block["name"] for block in BLOCK.finditer(text)]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(cell(text) for text in row)} |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return text as one line of a table: a bare bar would end the cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def code(text: str) -> str:
    """Return text set as code."""
    return f"`{text}`"
