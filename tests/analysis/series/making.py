"""Runs and CSV files of scores for the tests of series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from analysis.series_cli import COMMANDS
from analysis.tables.table import Table
from tests.analysis.runs import foreign_row, write_run


def invoke(command: str, *arguments: str | Path) -> Result:
    """Run one of the commands of series."""
    (found,) = (one for one in COMMANDS if one.name == command)
    return CliRunner().invoke(found, list(map(str, arguments)))


def run_of(folder: Path, flags: Mapping[str, Sequence[float | None]], **more: Any) -> Path:
    """Write a run with a score for each question of each task."""
    for task, values in flags.items():
        rows = [foreign_row(i, value, text=more.get("text", "an answer")) for i, value in
                enumerate(values)]  # fmt: skip
        write_run(folder, rows, task=task, model=more.get("model", folder.name))
    return folder


def write_csv(path: Path, head: str, rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV of scores; None is an empty cell."""
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def first(table: Table, **wanted: Any) -> dict[str, Any]:
    """Return the first row with these cells, by the names of the columns."""
    names = [column.name for column in table.columns]
    for row in table.rows:
        found = dict(zip(names, row, strict=True))
        if all(found[name] == value for name, value in wanted.items()):
            return found
    raise AssertionError(f"no row with {wanted} in {table.rows}")
