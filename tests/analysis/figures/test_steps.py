from __future__ import annotations

from analysis.estimate import Estimate
from analysis.figures.steps import learning
from analysis.tables.table import Column, Kind, Table

COLUMNS = (
    Column("task", "task"),
    Column("step", "step", Kind.COUNT),
    Column("score", "score", Kind.PERCENT),
)


def table(*rows: tuple[str, int | None, Estimate | float]) -> Table:
    return Table("curves", "Scores by step", COLUMNS, rows)


def test_each_task_with_two_steps_has_a_panel() -> None:
    drawn = learning(
        table(
            ("maths", None, 0.5),
            ("maths", 200, Estimate(0.7, 0.6, 0.8)),
            ("maths", 100, Estimate(0.6, 0.5, 0.7)),
            ("code", 100, 0.4),
        )
    )
    assert drawn is not None
    for svg in (drawn.wide, drawn.narrow):
        assert ">maths</text>" in svg
        assert ">code</text>" not in svg
        assert ">step</text>" in svg


def test_one_step_is_no_curve() -> None:
    assert learning(table(("maths", 100, 0.5), ("maths", None, 0.4))) is None
    assert learning(table()) is None
