"""Every table of a report by name: the commands of `distill-report`, in the order of its sections.

Owns the list. A table's module is loaded only when it is asked for, so that `--help` answers at
once. Tables of other files than two arms (sweeps, seeds, traces) have commands of their own.

    find("loops").load()(comparison, TableOptions())
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.tables.table import Table


@dataclass(frozen=True)
class TableOptions:
    """What the commands of tables may be told beside the two arms."""

    by: tuple[str, ...] = ()  # groups to show: names of tags; () for all that there are
    margin: float = 0.03  # equivalence: the largest difference that is called none, as a share
    budgets: tuple[int, ...] = ()  # token budgets; () for a choice from the data
    train: tuple[Path, ...] = ()  # traces.jsonl or questions.jsonl of the candidate's training


@dataclass(frozen=True)
class Entry:
    """One table: its command, `module:function` under `analysis.tables`, and one line of help."""

    name: str
    at: str
    help: str
    core: bool = False  # shown by `distill-report compare`
    needs: tuple[str, ...] = ()  # options without which the report leaves it out: "train"

    def load(self) -> Callable[..., Table]:
        """Import the function that makes the table."""
        module, _, function = self.at.partition(":")
        made: Any = getattr(importlib.import_module(f"analysis.tables.{module}"), function)
        return made  # type: ignore[no-any-return]


PAIR: tuple[Entry, ...] = (
    Entry("scorecard", "scores:scorecard", "Scores and their paired difference.", core=True),
    Entry("significance", "tests:significance", "Who solved what, and McNemar's test.", core=True),
    Entry("intervals", "tests:intervals", "Every interval of scores and differences."),
    Entry("equivalence", "tests:equivalence", "What the sample size could show, and TOST."),
    Entry(
        "completion", "scores:completion", "Truncated, without answer, failed graders.", core=True
    ),
    Entry("repeats", "repeats:repeats", "avg@k, pass@k, maj@k, G-Pass@k of repeated samples."),
    Entry("groups", "groups:groups", "Scores by topic, level, difficulty or category."),
    Entry("ifeval-categories", "instructions:categories", "IFEval by category of instruction."),
    Entry("ifeval-instructions", "instructions:kinds", "IFEval by instruction."),
    Entry("forgetting", "forgetting:forgetting", "Which losses are shown, and which not excluded."),
    Entry("truncation", "truncation:bounds", "Scores if what was cut off were all right or wrong."),
    Entry(
        "transitions", "truncation:transitions", "Right, wrong, truncated: one arm to the other."
    ),
    Entry("volume", "volumes:volume", "How much each arm reasoned and answered.", core=True),
    Entry("ratio", "volumes:ratio", "Candidate's volume over the baseline's."),
    Entry("lengths", "volumes:lengths", "Median length of responses by benchmark."),
    Entry("length-correctness", "volumes:by_correctness", "Reasoning length, right and wrong."),
    Entry("behaviour", "behaviour:behaviour", "Verification, backtracking and the like."),
    Entry("loops", "behaviour:loops", "How often completions run into a loop."),
    Entry("cost", "budget:cost", "Tokens and seconds for each solved question."),
    Entry("budget", "budget:budget", "Accuracy at equal token budgets."),
    Entry("match", "match:match", "How many samples were found in the log, and how."),
    Entry("noise", "noise:noise", "A/A: how much two runs of one model differ."),
    Entry(
        "skills", "skills:skills", "Topics trained on against topics improved.", needs=("train",)
    ),
    Entry("leakage", "leakage:leakage", "Training prompts in the benchmarks.", needs=("train",)),
    Entry("flips", "questions:flips", "Questions that only one arm solved."),
    Entry("questions", "questions:questions", "Every question in both arms."),
    Entry(
        "data-quality", "data_quality:data_quality", "What in the files was torn or did not fit."
    ),
)


def find(name: str) -> Entry:
    """Return the table of that name.

    Raises:
        ValueError: there is none.
    """
    for entry in PAIR:
        if entry.name == name:
            return entry
    raise ValueError(f"no table {name!r}; there are {', '.join(one.name for one in PAIR)}")
