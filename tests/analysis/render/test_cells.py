from __future__ import annotations

import math

import pytest

from analysis.estimate import Estimate, Share, undefined
from analysis.render import cells
from analysis.stats import paired
from analysis.tables.table import Cell, Column, Kind, Table


@pytest.mark.parametrize(
    ("cell", "kind", "written"),
    [
        ("plain", Kind.TEXT, "plain"),
        ("a\x1b[2Jb", Kind.TEXT, "a\\x1b[2Jb"),
        ("", Kind.TEXT, "-"),
        (12, Kind.TEXT, "12"),
        (1319, Kind.COUNT, "1,319"),
        (4.0, Kind.COUNT, "4"),
        (Share(94, 500), Kind.COUNT, "94"),
        (Share(94, 500), Kind.PERCENT, "18.8 (94)"),
        (Share(0, 0), Kind.PERCENT, "-"),
        (Share(None, 0), Kind.PERCENT, "-"),
        (0.572, Kind.PERCENT, "57.2"),
        (Estimate(0.572, 0.528, 0.615), Kind.PERCENT, "57.2 [52.8, 61.5]"),
        (Estimate(0.026, -0.017, 0.069), Kind.POINTS, "+2.6 [-1.7, +6.9]"),
        (Estimate(0.0, 0.0, 0.0), Kind.POINTS, "0.0 [0.0, 0.0]"),
        (-0.0001, Kind.POINTS, "0.0"),
        (undefined("why"), Kind.POINTS, "-"),
        (Estimate(0.5, reason="no interval"), Kind.PERCENT, "50.0"),
        (28401.3, Kind.NUMBER, "28,401"),
        (32.54, Kind.NUMBER, "32.5"),
        (0.041, Kind.NUMBER, "0.04"),
        (0.0041, Kind.NUMBER, "0.0041"),
        (0.0, Kind.NUMBER, "0.0"),
        (812, Kind.NUMBER, "812"),
        (-28401.3, Kind.SIGNED, "-28,401"),
        (Estimate(28.5, 26.9, 30.1), Kind.SIGNED, "+28.5 [+26.9, +30.1]"),
        (8.117, Kind.RATIO, "8.12"),
        (Estimate(2.0, 0.4, math.inf), Kind.RATIO, "2.00 [0.40, inf]"),
        (0.0634, Kind.EFFECT, "+0.063"),
        (0.0042, Kind.P, "0.0042"),
        (3.13e-08, Kind.P, "3.13e-08"),
        (1e-300, Kind.P, "<1e-300"),
        (math.nan, Kind.P, "-"),
        (True, Kind.FLAG, "yes"),
        (False, Kind.FLAG, "no"),
        (None, Kind.FLAG, "-"),
    ],
)
def test_a_cell_is_written_in_the_unit_of_its_kind(cell: Cell, kind: Kind, written: str) -> None:
    assert cells.text(cell, kind) == written


def test_every_kind_has_a_writer() -> None:
    assert set(cells.WRITERS) == set(Kind)


def test_the_smallest_p_is_that_of_the_tests() -> None:
    assert cells.SMALLEST_P == paired.SMALLEST_P


def test_the_foot_says_why_numbers_are_missing_each_reason_once() -> None:
    column = Column("a", "a", Kind.PERCENT)
    rows = [(undefined("no sample"),), (undefined("no log"),), (undefined("no sample"),), (None,)]
    table = Table("t", "T", (column,), rows, foot="How.", notes=("Beware.",))
    assert cells.foot_lines(table) == ["How.", "No number (-): no sample; no log.", "Note: Beware."]
