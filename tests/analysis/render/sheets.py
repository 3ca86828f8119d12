"""Tables for the tests of the renderers: plain, wide, long, hostile, empty."""

from __future__ import annotations

from analysis.estimate import Estimate, Share, undefined
from analysis.tables.table import Cell, Column, Kind, Table

LONG_TASK = "distill_aime_2022_2024"
HOSTILE = "\x1b[31m=1+1 $x^2_{\\input{/etc/passwd}}& | `<b>`](http://x.example) 中 é ß \u202e%#~"


def estimate(value: float) -> Estimate:
    return Estimate(value, value - 0.041, value + 0.042, method="Wilson")


def scorecard(task: str = LONG_TASK) -> Table:
    columns = (
        Column("task", "task"),
        Column("n", "n", Kind.COUNT),
        Column("baseline", "baseline", Kind.PERCENT),
        Column("candidate", "candidate", Kind.PERCENT),
        Column("difference", "difference", Kind.POINTS),
        Column("detectable", "detectable", Kind.PERCENT),
        Column("p", "p", Kind.P),
    )
    rows: list[tuple[Cell, ...]] = [
        (task, 1319, estimate(0.866), estimate(0.873), estimate(0.0076), 0.024, 0.41),
        (task, 90, Share(45, 90), None, undefined("no completed sample"), float("nan"), 3.1e-8),
    ]
    return Table("scorecard", "Scorecard", columns, rows, foot="Wilson 95%.", notes=("A note.",))


def wide(n: int = 12) -> Table:
    columns = tuple(Column(f"column_{i}", f"column {i}", Kind.PERCENT) for i in range(n))
    cells: tuple[Cell, ...] = tuple(estimate(0.05 * (i + 1)) for i in range(n))
    rows = [(LONG_TASK, arm, *cells) for arm in ("baseline", "candidate")]
    heads = (Column("task", "task"), Column("arm", "arm"))
    return Table("wide", "A wide table", (*heads, *columns), rows)


def long(n: int = 352) -> Table:
    columns = (Column("task", "task"), Column("doc_id", "doc"), Column("text", "question"))
    text = "Find all x/y: such_that the_equation-holds, or say why there is none. " * 3
    return Table("long", "A long table", columns, [("quiz", i, text) for i in range(n)])


def hostile() -> Table:
    columns = (
        Column("name", "name"),
        Column("n", "n|x", Kind.COUNT),
        Column("looped", "looped", Kind.FLAG),
    )
    rows: list[tuple[Cell, ...]] = [(HOSTILE, -3, True), ("[x] *y*", 1, False), ("-3.5", 0, None)]
    return Table("hostile", HOSTILE, columns, rows, foot=HOSTILE, notes=(HOSTILE,))


def empty() -> Table:
    return Table("empty", "Nothing", (Column("task", "task"),), [], empty="no task has a log")
