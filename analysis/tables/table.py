"""A table before anyone formats it: named columns of one kind each, and raw cells.

Owns the form of a table. Refuses to own arithmetic (the other modules of this room, from `stats`)
and every rendering (`render`): a cell is a number in its own unit, a share in [0, 1] and not 50.0.

    Table(
        "loops", "Loop rate",
        (Column("task", "task"), Column("baseline", "baseline", Kind.PERCENT)),
        [("distill_math500", proportion(3, 500))],
    )
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from analysis.estimate import Estimate, Share

Cell = str | int | float | bool | Estimate | Share | None
"""None and NaN are what is not there; an Estimate or a Share says why by its `reason`."""


MEAN = "mean of tasks"
"""The first cell of a last row that sums a table up: it is printed however long the table is."""


class Kind(StrEnum):
    """How the cells of a column are written. The unit is that of the raw cell."""

    TEXT = "text"
    COUNT = "count"  # a whole number, or a Share: its count
    PERCENT = "percent"  # a share in [0, 1] (float, Estimate or Share), shown as 57.2
    POINTS = "points"  # a difference of shares in [-1, 1], shown as +2.6
    NUMBER = "number"  # a size: characters, words, tokens, seconds
    SIGNED = "signed"  # a difference of sizes
    RATIO = "ratio"
    EFFECT = "effect"  # Cohen's h, a correlation, kappa: three decimals
    P = "p"
    FLAG = "flag"  # a bool: yes or no


@dataclass(frozen=True)
class Column:
    """One column: its name in CSV and JSON (snake_case), its heading, and how it is written."""

    name: str
    heading: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True)
class Table:
    """A table. `name` is its command and its key in JSON; rows have a cell for each column.

    `foot` says in a line or two how the numbers were made; `notes` warn of what may mislead.
    `empty` says why there are no rows.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Cell, ...]]
    foot: str = ""
    notes: tuple[str, ...] = ()
    empty: str = ""

    def column(self, name: str) -> list[Cell]:
        """Return the cells of a column.

        Raises:
            ValueError: no such column.
        """
        names = [column.name for column in self.columns]
        return [row[names.index(name)] for row in self.rows]
