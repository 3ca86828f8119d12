"""Where text may wrap, and where a number may: the pieces of a cell that stand on a line.

Owns the breaks: after `_ : / -` within words and at blanks, in text; before an interval or at
blanks, in numbers. Refuses to own widths (`layout`).

    wrapped_text("distill_aime_2022_2024", 14)     # ["distill_aime_", "  2022_2024"]
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from rich.cells import cell_len

HANGING: Final = "  "
JOINT: Final = re.compile(r"(?<=\w[_:/\-])(?<!\de-)(?=[^\s_:/\-])")
BREAK: Final = re.compile(rf"{JOINT.pattern}|(?<=\s)(?=\S)")


def longest(texts: Iterable[str]) -> int:
    """Return the greatest width of some texts, 0 of none."""
    return max(map(cell_len, texts), default=0)


def atom_lengths(cell: str) -> list[int]:
    """Return the widths of the pieces between which text may wrap."""
    return [cell_len(atom.rstrip()) for atom in BREAK.split(cell)]


def wrapped_text(cell: str, width: int) -> list[str]:
    """Return text in lines that break after its joints; later lines hang."""
    lines, line = [], ""
    for atom in BREAK.split(cell):
        for part in broken(atom, width - cell_len(HANGING)):
            if line.strip() and cell_len((line + part).rstrip()) > width:
                lines.append(line.rstrip())
                line = HANGING
            line += part
    return [*lines, line.rstrip()]


def broken(atom: str, width: int) -> list[str]:
    """Return a piece of text in parts that fit a line: itself where it does."""
    parts, part = [], ""
    for c in atom:
        if part and cell_len((part + c).rstrip()) > width:
            parts.append(part)
            part = ""
        part += c
    return [*parts, part]


def pieces(cell: str, level: int) -> list[str]:
    """Return what of a number stands on a line: all, value and interval, or each word."""
    if level == 0:
        return [cell]
    return cell.split() if level == 2 else re.split(r"\s(?=[\[(])", cell)
