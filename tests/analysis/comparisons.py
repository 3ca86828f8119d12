"""Two arms written, read and compared in one step, for the tests of verdicts and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.compare import Comparison, Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.tables.catalogue import TableOptions, find
from analysis.tables.table import Cell, Table
from tests.analysis.runs import Row, foreign_row, our_row, write_run

Tasks = dict[str, tuple[list[Row], list[Row]]]


def compared_paths(baseline: Path, candidate: Path, *, metric: str = "", **more: Any) -> Comparison:
    """Return the comparison of two run folders."""
    choice = Choice(metrics={"": metric} if metric else {})
    arms = [read_arm(path.name, path, choice) for path in (baseline, candidate)]
    return compare(arms[0], arms[1], Options(**more))


def compared_tasks(folder: Path, tasks: Tasks, **more: Any) -> Comparison:
    """Return the comparison of two arms over tasks: name to baseline's and candidate's rows."""
    names = ("base-model", "student-model")
    paths = [folder / name for name in ("base", "student")]
    for task, arms in tasks.items():
        for path, rows, model in zip(paths, arms, names, strict=True):
            write_run(path, rows, task=task, model=model)
    return compared_paths(*paths, **more)


def compared(folder: Path, baseline: list[Row], candidate: list[Row], **more: Any) -> Comparison:
    """Return the comparison of two arms of one task."""
    return compared_tasks(folder, {"quiz": (baseline, candidate)}, **more)


def graded(verdicts: list[list[str]]) -> list[Row]:
    """Return rows of ours with a record a verdict."""
    return [our_row(i, one) for i, one in enumerate(verdicts)]


def counted(
    both: int, candidate_only: int, baseline_only: int, neither: int
) -> tuple[list[Row], list[Row]]:
    """Return both arms' rows whose verdicts give these counts, in the order of a PairedTable."""
    solved = [(1, 1)] * both + [(0, 1)] * candidate_only + [(1, 0)] * baseline_only
    solved += [(0, 0)] * neither
    base, cand = (
        [foreign_row(i, float(pair[arm])) for i, pair in enumerate(solved)] for arm in ARMS
    )
    return base, cand


ARMS = (0, 1)


def table_of(name: str, comparison: Comparison, **options: Any) -> Table:
    """Return a table by its command, through the list of tables."""
    table = find(name).load()(comparison, TableOptions(**options))
    assert table.name == name
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert bool(table.rows) is not bool(table.empty)
    return table


def cells(table: Table, *key: str) -> dict[str, Cell]:
    """Return the one row whose first cells are the given ones, by column."""
    (row,) = [row for row in table.rows if row[: len(key)] == key]
    return dict(zip((column.name for column in table.columns), row, strict=True))
