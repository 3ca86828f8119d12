"""The check of training questions against the benchmarks, as each run makes it.

Owns when a run may go without, what becomes of a hit, and the report that lies in the run's folder.
Refuses to own how texts are compared (`harness_tasks.decontaminate`).

Example, of RUN/decontamination.json:

    {"checked": ["distill_math500", ...], "not_checked": [], "action": "drop", "n_questions": 25000,
     "n_hits": 1, "hits": [{"id": "...", "benchmark": "distill_math500", "how": "ngram", ...}]}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from training.sft.data import Row
from training.sft.settings import DecontaminateSettings

OFF = "off"


@dataclass
class Check:
    """What was compared and what was found; `keeps` is asked once for each row.

    A question of several rows is compared once; `n_rows` counts the rows that have hits.
    """

    action: str
    checked: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    hits: list[dict[str, Any]] = field(default_factory=list)
    decontaminator: Any = None
    n_rows: int = 0
    known: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def n_questions(self) -> int:
        """Questions that were compared."""
        return len(self.known)

    @property
    def n_hits(self) -> int:
        """Questions that have hits."""
        return sum(bool(found) for found in self.known.values())

    def keeps(self, row: Row) -> bool:
        """Tell whether a row may be learnt, and note what was found of it.

        Raises:
            ValueError: there is a hit, and hits are refused.
        """
        if self.decontaminator is None:
            return True
        if row.group not in self.known:
            self.known[row.group] = self.decontaminator.hits(row.question)
            self.hits += [{"id": row.id, **hit.to_json()} for hit in self.known[row.group]]
        found = self.known[row.group]
        if not found:
            return True
        self.n_rows += 1
        if self.action == "refuse":
            raise ValueError(
                f"{row.id} is a question of {found[0].benchmark} ({found[0].doc_id}, "
                f"{found[0].how}); take it out, or set decontaminate.hits=drop"
            )
        return self.action != "drop"

    def report(self) -> dict[str, Any]:
        """Return what run.json, decontamination.json and the model card say."""
        names = ("action", "checked", "not_checked", "n_questions", "n_hits", "hits")
        return {name: getattr(self, name) for name in names}

    def line(self) -> str:
        """Say it in one line."""
        if self.action == OFF:
            return "decontamination: off, by the recipe; nothing was compared with the benchmarks"
        done = {"drop": "dropped", "report": "kept", "refuse": "refused"}[self.action]
        missing = f"; not checked: {'; '.join(self.not_checked)}" if self.not_checked else ""
        return (
            f"decontamination: {self.n_questions} questions against {len(self.checked)} "
            f"benchmarks, {self.n_hits} with hits ({done}){missing}"
        )


def make_check(settings: DecontaminateSettings | str) -> Check:
    """Load the benchmarks that the questions will be compared with.

    Raises:
        ValueError: none could be loaded, and the recipe does not say that this is meant; or no such
            embedding model.
    """
    if isinstance(settings, str):
        return Check(action=OFF)
    from harness_tasks.decontaminate import Decontaminator, suite_benchmarks

    folder = None if settings.data_dir is None else Path(settings.data_dir).expanduser()
    benchmarks, not_checked = suite_benchmarks(folder)
    if not benchmarks:
        first = not_checked[0] if not_checked else "there are none"
        raise ValueError(
            "no benchmark could be loaded to compare the training questions with "
            f"({shorten(first, 160)}); set decontaminate.data_dir to a folder with their "
            "files, or decontaminate=off to train unchecked"
        )
    embed = None
    if settings.embedding_model is not None:
        from training.bank.embedding import embedder

        embed = embedder(settings.embedding_model)
    return Check(
        action=settings.hits,
        checked=[benchmark.name for benchmark in benchmarks],
        not_checked=list(not_checked),
        decontaminator=Decontaminator(benchmarks, n=settings.n, embed=embed),
    )
