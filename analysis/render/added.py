"""Tables that another command wrote with `--json`, read back: sections for the page of two arms.

Owns the way from a JSON file to tables. Refuses to own the form itself (`json`, which it reverses)
and what may stand in one: a file may be anybody's, so each cell is checked.

    distill-report sweep scores.csv --select-by MATH-500 --json sweep.json
    read_tables(Path("sweep.json"))     # [Table("sweep", ...), ...]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.estimate import NAN, Estimate, Share
from analysis.reading.folder import mapping, read_object
from analysis.render.json import INFINITE
from analysis.tables.table import Cell, Column, Kind, Table

HOW_TO_MAKE = "expected what a command of distill-report, or judge, wrote with --json"
NUMBERS = frozenset(Kind) - {Kind.TEXT, Kind.FLAG}


def read_tables(path: Path) -> list[Table]:
    """Read the tables of a JSON file that has them under `tables`, by their names.

    Raises:
        ValueError: no such file, no JSON, no tables, or a cell that no table has.
    """
    if not path.is_file():
        raise ValueError(f"--add: no such file: '{path}'; {HOW_TO_MAKE}")
    tables = mapping(read_object(path).get("tables"))
    if not tables:
        raise ValueError(f"--add: {path} holds no tables; {HOW_TO_MAKE}")
    return [read_table(name, mapping(told), f"--add: {path}") for name, told in tables.items()]


def read_table(name: str, told: Mapping[str, Any], where: str) -> Table:
    """Read one table.

    Raises:
        ValueError: a column of no known kind, or a cell that does not fit its column.
    """
    columns = tuple(read_column(one, f"{where}: table {name!r}") for one in listed(told, "columns"))
    rows = [
        tuple(
            read_cell(mapping(row).get(one.name), one, f"{where}: table {name!r}, row {number}")
            for one in columns
        )
        for number, row in enumerate(listed(told, "rows"), start=1)
    ]
    return Table(
        name,
        title=str(told.get("title") or name),
        columns=columns,
        rows=rows,
        foot=str(told.get("foot") or ""),
        notes=tuple(map(str, listed(told, "notes"))),
        empty=str(told.get("empty") or ""),
    )


def listed(told: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list, an empty one where there is none."""
    value = told.get(key)
    return value if isinstance(value, list) else []


def read_column(told: Any, where: str) -> Column:
    """Read a column.

    Raises:
        ValueError: no name, or an unknown kind.
    """
    column = mapping(told)
    kind = column.get("kind")
    if not isinstance(column.get("name"), str) or kind not in tuple(Kind):
        known = ", ".join(Kind)
        raise ValueError(
            f"{where}: a column needs a name and a kind of {known}, got {told!r:.60}; {HOW_TO_MAKE}"
        )
    return Column(column["name"], str(column.get("heading") or column["name"]), Kind(kind))


def read_cell(told: Any, column: Column, where: str) -> Cell:
    """Read a cell.

    Raises:
        ValueError: it is none that a column of this kind has.
    """
    if isinstance(told, dict):
        return read_estimate_or_share(told, f"{where}, column {column.name!r}")
    if isinstance(told, list) or (isinstance(told, str) and column.kind in NUMBERS):
        raise ValueError(
            f"{where}, column {column.name!r}: expected a {column.kind} cell, got {told!r:.60}"
        )
    if told is None and column.kind in NUMBERS:
        return NAN
    return told  # type: ignore[no-any-return]


def read_estimate_or_share(told: dict[str, Any], where: str) -> Cell:
    """Read a cell that is an object: an infinite number, a Share or an Estimate.

    Raises:
        ValueError: a value in it that is no number.
    """
    reason = told.get("reason")
    reason = None if reason is None else str(reason)
    if "n" in told:
        count, n = (number(told.get(key), where) for key in ("count", "n"))
        return Share(None if math.isnan(count) else int(count), 0 if math.isnan(n) else int(n))
    value, low, high = (number(told.get(key), where) for key in ("value", "low", "high"))
    if math.isnan(value) and reason in (INFINITE, f"minus {INFINITE}"):
        value = math.inf if reason == INFINITE else -math.inf
    if "low" not in told:
        return value
    if told.get("high_is_infinite") is True:
        high = math.inf
    return Estimate(value, low, high, method=str(told.get("method") or ""), reason=reason)


def number(value: Any, where: str) -> float:
    """Return a number, NaN for null.

    Raises:
        ValueError: anything else.
    """
    if value is None:
        return NAN
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where}: expected a number or null, got {value!r:.60}")
    return float(value)
