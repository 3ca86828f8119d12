from __future__ import annotations

from analysis.estimate import Estimate
from analysis.figures.tiers import by_words, lines_of
from analysis.tables.table import Column, Kind, Table

ONE = (
    Column("task", "task"),
    Column("words", "words", Kind.NUMBER),
    Column("score", "accuracy", Kind.PERCENT),
)
TWO = (
    Column("task", "task"),
    Column("words_baseline", "words", Kind.NUMBER),
    Column("words_candidate", "words", Kind.NUMBER),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
)


def test_a_line_goes_from_few_words_to_many_with_its_intervals() -> None:
    rows = [("maths", 220.0, Estimate(0.7, 0.6, 0.8)), ("maths", 31.2, Estimate(0.4, 0.3, 0.5))]
    (drawn,) = lines_of(Table("tiers", "Tiers", ONE, rows), "maths")
    assert (drawn.x, drawn.y, drawn.low) == ([31.2, 220.0], [0.4, 0.7], [0.3, 0.6])


def test_two_arms_are_two_lines_each_at_its_own_words() -> None:
    rows = [("maths", 200.0, 100.0, 0.7, 0.8), ("maths", 20.0, 10.0, 0.3, 0.5)]
    table = Table("tier-pairs", "Tiers", TWO, rows)
    assert {one.label: one.x for one in lines_of(table, "maths")} == {
        "baseline": [20.0, 200.0],
        "candidate": [10.0, 100.0],
    }
    drawn = by_words(table)
    assert drawn is not None
    assert ">maths</text>" in drawn.wide
    assert ">words</text>" in drawn.narrow


def test_tiers_of_unknown_words_draw_nothing() -> None:
    rows = [("maths", None, 0.7), ("maths", 31.2, 0.4)]
    assert by_words(Table("tiers", "Tiers", ONE, rows)) is None
    assert by_words(Table("tiers", "Tiers", ONE, [])) is None
