"""What in the files was torn, foreign or without its other half: the data-quality section.

Owns how findings become rows. Refuses to own what is one (`reading.quality`).

    kind         found  where                                 what
    foreign line     2  runs/base/m/samples_quiz_....jsonl:7  not valid JSON (...); also line 12
"""

from __future__ import annotations

from analysis.compare import Comparison
from analysis.tables.catalogue import TableOptions
from analysis.tables.table import Column, Kind, Table

COLUMNS = (
    Column("kind", "kind"),
    Column("count", "found", Kind.COUNT),
    Column("where", "where"),
    Column("text", "what"),
)
FOOT = (
    "Such lines are left out and counted; of a doc that stands twice the first row counts. A file "
    "without one usable line, or an arm of two models, is refused."
)


def data_quality(comparison: Comparison, options: TableOptions) -> Table:
    """Return every finding, in the order of the files: samples, logs, and what did not join."""
    return Table(
        "data-quality",
        "Data quality",
        COLUMNS,
        [(one.kind, one.count, one.where, one.text) for one in comparison.quality],
        foot=FOOT,
        empty="nothing was torn or foreign, and nothing is without its other half",
    )
