"""A table as JSON: raw numbers, and a reason where one does not exist.

Owns the JSON form of a cell and of a table (its schema: docs/reports.md). Refuses to own rounding
and files.

    {"title": "Scorecard", "columns": [...], "rows": [{"task": "gsm8k", "difference": {...}}], ...}
"""

from __future__ import annotations

import math
from typing import Any

from analysis.estimate import Estimate, Share
from analysis.tables.table import Cell
from analysis.tables.table import Table as TableData

INFINITE = "infinite"


def table(data: TableData) -> dict[str, Any]:
    """Return a table as an object; its rows are objects by the names of the columns."""
    names = [column.name for column in data.columns]
    return {
        "title": data.title,
        "columns": [
            {"name": one.name, "heading": one.heading, "kind": str(one.kind)}
            for one in data.columns
        ],
        "rows": [dict(zip(names, map(cell, row), strict=True)) for row in data.rows],
        "foot": data.foot,
        "notes": list(data.notes),
        "empty": data.empty,
    }


def cell(value: Cell) -> Any:
    """Return a cell: a bare value, or an object for an Estimate or a Share."""
    if isinstance(value, Estimate):
        return estimate(value)
    if isinstance(value, Share):
        return share(value)
    if isinstance(value, float) and math.isinf(value):
        return {"value": None, "reason": INFINITE if value > 0 else f"minus {INFINITE}"}
    return number(value) if isinstance(value, float) else value


def number(value: float | None) -> float | None:
    """Return a number that JSON can hold: NaN and the infinite become null."""
    return value if value is not None and math.isfinite(value) else None


def estimate(value: Estimate) -> dict[str, Any]:
    """Return an estimate as an object; a limit that is infinite says so under its own key."""
    reason = value.reason
    if math.isinf(value.value):
        reason = reason or INFINITE
    made: dict[str, Any] = {
        "value": number(value.value),
        "low": number(value.low),
        "high": number(value.high),
        "method": value.method or None,
        "reason": reason,
    }
    if math.isinf(value.high):
        made["high_is_infinite"] = True
    return made


def share(value: Share) -> dict[str, Any]:
    """Return a count and its share as an object."""
    return {
        "count": value.count,
        "n": value.n,
        "value": number(value.value),
        "reason": value.reason,
    }
