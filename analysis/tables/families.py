"""A family of tests as the rows of one table: Holm's p beside each row's own.

Owns how a finished table gets the column. Refuses to own the adjustment (`stats.multiplicity`).

    with_holm(Table("seeds", ...))      # fills `holm_p` from `p`, over all rows
"""

from __future__ import annotations

from dataclasses import replace

from analysis.estimate import NAN
from analysis.stats import multiplicity
from analysis.tables.table import Table


def with_holm(table: Table, p: str = "p", holm: str = "holm_p") -> Table:
    """Return the table with Holm's p of all of its rows in place of what that column holds.

    A row without a p keeps none and does not count.

    Raises:
        ValueError: the table lacks one of the two columns.
    """
    p_values = [one if isinstance(one, float) else NAN for one in table.column(p)]
    at = [column.name for column in table.columns].index(holm)
    adjusted = multiplicity.holm(p_values)
    rows = [(*row[:at], one, *row[at + 1 :]) for row, one in zip(table.rows, adjusted, strict=True)]
    return replace(table, rows=rows)
