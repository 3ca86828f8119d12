"""Published scores: the few that ship with the suite, and those of a CSV that the user extends.

Owns the columns of such a file and which rows are of a task. Refuses to own what a score of ours
is. `task` is a pattern, or several with | between them:

    model,task,percent,metric,n,questions,source
    QwQ-32B,distill_aime24|aime24*,79.5,pass@1 of 64,30,AIME 2024,model card
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from analysis.series.rows import Row, count, read_rows
from analysis.series.tidy import value_of
from harness_tasks.tiers import parts_of

SHIPPED = Path(__file__).resolve().parent.parent / "published.csv"


@dataclass(frozen=True)
class Published:
    """One published score, as a share."""

    model: str
    task: str
    score: float
    metric: str
    n: int | None
    questions: str
    source: str

    def of_task(self, task: str) -> bool:
        """Whether it is a score of a task."""
        patterns = [part.strip().lower() for part in self.task.split("|")]
        if tier := parts_of(task)[1]:  # its prompt is none that others publish scores of
            patterns = [part for part in patterns if part.endswith(f"_{tier}")]
        return any(part and fnmatchcase(task.lower(), part) for part in patterns)

    def of_model(self, names: Iterable[str]) -> bool:
        """Whether one of a model's names holds this one's, whatever its signs and its owner."""
        own = plain(self.model)
        return bool(own) and any(own in plain(name) for name in names)


def plain(name: str) -> str:
    """Return the letters and digits of a name."""
    return re.sub(r"[\W_]+", "", name.casefold())


def read_published(path: Path | None = None) -> list[Published]:
    """Read the shipped scores, and those of a file behind them.

    Raises:
        ValueError: a column that lacks or a value that cannot be; names file and line. OSError.
    """
    paths = [SHIPPED] if path is None else [path, SHIPPED]
    return [published for one in paths for published in of_file(one)]


def of_file(path: Path) -> list[Published]:
    """Read one file.

    Raises:
        ValueError: as `read_published`, or no row at all. OSError.
    """
    found = []
    for row in read_rows(path):
        value = value_of(row, None, None)
        if value is None:
            raise ValueError(f"{row.where}: no score; expected a column percent or score")
        found.append(
            Published(
                model=named(row),
                task=row.cells["task"],
                score=float(value),
                metric=row.settings.get("metric", ""),
                n=count(row, "n"),
                questions=row.settings.get("questions", ""),
                source=row.settings.get("source", ""),
            )
        )
    if not found:
        raise ValueError(f"{path}: no row with a score; expected model,task,percent (or score)")
    return found


def named(row: Row) -> str:
    """Return the model of a row.

    Raises:
        ValueError: it names none, or no task.
    """
    if not row.cells["run"] or not row.cells["task"]:
        raise ValueError(f"{row.where}: model and task must not be empty")
    return row.cells["run"]
