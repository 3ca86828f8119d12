"""How one cell of a table is written for a reader: rounding, signs, units, and what is not there.

Owns the text of a cell. Refuses to own layout (`terminal`, `markdown`, `latex`), the raw forms
(`csv`, `json`) and arithmetic: a share becomes a percentage here, and nothing else is computed.

    text(Estimate(0.026, -0.017, 0.069), Kind.POINTS)    # "+2.6 [-1.7, +6.9]"
    text(Share(94, 500), Kind.PERCENT)                   # "18.8 (94)"
    text(0.0042, Kind.P)                                 # "0.0042"
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from analysis.estimate import Estimate, Share
from analysis.tables.table import Cell, Kind, Table
from analysis.text import visible

MISSING: Final = "-"
SMALLEST_P: Final = 1e-300  # `stats.paired` gives no smaller p
LEFT: Final = (Kind.TEXT, Kind.FLAG)  # the kinds that are set flush left
SIGNED_KINDS: Final = (Kind.POINTS, Kind.SIGNED, Kind.EFFECT)


def text(cell: Cell, kind: Kind) -> str:
    """Return a cell as a reader sees it, in one line: `-` where there is nothing.

    An Estimate shows its interval where it has one. Control characters come out as escapes.
    """
    if cell is None:
        return MISSING
    if isinstance(cell, str):
        return visible(cell) if cell else MISSING
    if isinstance(cell, Share):
        return share_text(cell, kind)
    if isinstance(cell, Estimate):
        return estimate_text(cell, kind)
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return number_text(cell, kind)


def share_text(share: Share, kind: Kind) -> str:
    """Return a share: its count where counts stand, else the percentage with the count."""
    if share.count is None:
        return MISSING
    if kind is Kind.COUNT:
        return f"{share.count:,}"
    value = number_text(share.value, kind)
    return value if value == MISSING else f"{value} ({share.count:,})"


def estimate_text(estimate: Estimate, kind: Kind) -> str:
    """Return a number with its interval, or alone where it has none."""
    value = number_text(estimate.value, kind)
    if value == MISSING or math.isnan(estimate.low) or math.isnan(estimate.high):
        return value
    return f"{value} [{number_text(estimate.low, kind)}, {number_text(estimate.high, kind)}]"


def number_text(value: float, kind: Kind) -> str:
    """Return a number in the unit of its kind."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return without_signed_zero(WRITERS[kind](value))


def without_signed_zero(written: str) -> str:
    """Return `0.0` for what was rounded to `-0.0` or `+0.0`: neither has a direction."""
    return written if written.strip("+-0.,") else written.lstrip("+-")


def p_text(p: float) -> str:
    """Return a p-value with four decimals, scientific below 0.0001, as the reports print it."""
    if math.isnan(p):
        return MISSING
    if p <= SMALLEST_P:
        return f"<{SMALLEST_P:.0e}"
    return f"{p:.4f}" if p >= 0.0001 else f"{p:.2e}"


def size(value: float, sign: str = "") -> str:
    """Return a size: whole from 100 on, with one decimal below, and more where it is below 1."""
    if isinstance(value, int):
        return f"{value:{sign},}"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:{sign},.0f}"
    if magnitude >= 1 or magnitude == 0:
        return f"{value:{sign}.1f}"
    if magnitude >= 0.01:
        return f"{value:{sign}.2f}"
    return f"{value:{sign}.4f}" if magnitude >= 0.0005 else f"{value:{sign}.1e}"


def count(value: float) -> str:
    """Return a whole number; one that is not whole, such as a mean of counts, with a decimal."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


WRITERS: Final[dict[Kind, Callable[[float], str]]] = {
    Kind.TEXT: lambda value: f"{value:,}" if isinstance(value, int) else f"{value:.4g}",
    Kind.COUNT: count,
    Kind.PERCENT: lambda value: f"{100 * value:.1f}",
    Kind.POINTS: lambda value: f"{100 * value:+.1f}",
    Kind.NUMBER: size,
    Kind.SIGNED: lambda value: size(value, "+"),
    Kind.RATIO: lambda value: f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}",
    Kind.EFFECT: lambda value: f"{value:+.3f}",
    Kind.P: p_text,
    Kind.FLAG: lambda value: "yes" if value else "no",
}


def written_rows(table: Table) -> list[list[str]]:
    """Return all cells of a table as text."""
    kinds = [column.kind for column in table.columns]
    return [[text(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in table.rows]


def reasons(table: Table) -> list[str]:
    """Return why numbers of a table are missing: each reason once, in the order of the cells."""
    found = [
        cell.reason
        for row in table.rows
        for cell in row
        if isinstance(cell, Estimate | Share) and math.isnan(cell.value) and cell.reason
    ]
    return list(dict.fromkeys(found))


def foot_lines(table: Table, most: int = 4) -> list[str]:
    """Return what stands below a table: how it was made, what is missing and why, its notes."""
    lines = [table.foot] if table.foot else []
    if missing := reasons(table):
        more = f"; and {len(missing) - most} other reasons" if len(missing) > most else ""
        lines.append(f"No number ({MISSING}): {'; '.join(missing[:most])}{more}.")
    return [*lines, *(f"Note: {note}" for note in table.notes)]
