from __future__ import annotations

import math

import pytest

from analysis.tables.families import with_holm
from analysis.tables.table import Column, Kind, Table

COLUMNS = (
    Column("run", "run"),
    Column("p", "p", Kind.P),
    Column("holm_p", "Holm p", Kind.P),
    Column("test", "test"),
)


def test_holm_is_taken_over_the_rows_that_have_a_p() -> None:
    rows = [("a", 0.01, 9.0, "x"), ("b", math.nan, 9.0, "y"), ("c", 0.04, 9.0, "z")]
    made = with_holm(Table("t", "T", COLUMNS, rows))
    first, second, third = made.column("holm_p")
    assert (first, third) == (0.02, 0.04)
    assert isinstance(second, float)
    assert math.isnan(second)
    assert made.column("test") == ["x", "y", "z"]


def test_a_cell_that_is_no_p_does_not_count() -> None:
    made = with_holm(Table("t", "T", COLUMNS, [("a", None, 9.0, "x"), ("b", 0.04, 9.0, "y")]))
    assert made.column("holm_p")[1] == 0.04


def test_a_table_without_the_column_is_refused() -> None:
    with pytest.raises(ValueError, match="holm"):
        with_holm(Table("t", "T", COLUMNS[:2], [("a", 0.5)]))
