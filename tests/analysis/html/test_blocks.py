from __future__ import annotations

from analysis.compare import HIGHER
from analysis.estimate import Estimate, Share, undefined
from analysis.html.blocks import MOST_ROWS, Cell, block
from analysis.tables.table import Cell as RawCell
from analysis.tables.table import Column, Kind, Table


def one_cell(raw: RawCell, kind: Kind) -> Cell:
    """Return the block's only cell."""
    made = block(Table("t", "T", (Column("x", "x", kind),), [(raw,)]))
    return made.rows[0][0]


def test_an_interval_stands_apart_from_its_number() -> None:
    cell = one_cell(Estimate(0.026, -0.017, 0.069), Kind.POINTS)
    assert (cell.text, cell.interval, cell.css) == ("+2.6", "[-1.7, +6.9]", "number")


def test_what_is_missing_is_a_dash_that_says_why() -> None:
    for raw in (undefined("no log"), Share(None, 3)):
        cell = one_cell(raw, Kind.PERCENT)
        assert cell.text == "\N{EN DASH}"
        assert cell.reason == raw.reason
    made = block(Table("t", "T", (Column("x", "x", Kind.P),), [(undefined("no log"),)]))
    assert made.missing == ["no log"]


def test_a_text_that_looks_like_an_interval_stays_whole() -> None:
    assert one_cell("answer [1, 2]", Kind.TEXT).text == "answer [1, 2]"


def test_a_finding_has_the_colour_of_the_arm_that_is_ahead() -> None:
    assert "ahead" in one_cell(HIGHER, Kind.TEXT).css


def test_a_task_that_stands_above_is_not_said_again() -> None:
    rows = [("gsm8k", 1), ("gsm8k", 2), ("quiz", 3)]
    columns = (Column("task", "task"), Column("n", "n", Kind.COUNT))
    made = block(Table("t", "T", columns, rows))
    assert ["again" in row[0].css for row in made.rows] == [False, True, False]
    assert [one.css for one in made.headings] == ["text", "number"]


def test_a_long_table_says_how_many_rows_are_elsewhere() -> None:
    made = block(Table("t", "T", (Column("n", "n", Kind.COUNT),), [(i,) for i in range(700)]))
    assert (len(made.rows), made.n_left_out, made.long) == (MOST_ROWS, 200, True)


def test_many_columns_are_printed_small() -> None:
    def size(n_columns: int) -> str:
        columns = tuple(Column(f"c{i}", "c") for i in range(n_columns))
        return block(Table("t", "T", columns, [("x",) * n_columns])).print_size

    assert [size(n) for n in (9, 10, 12, 13)] == ["", "many", "many", "most"]
