"""Every table of a report by name: the commands of `distill-report`, in the order of its sections.

Owns the list, and what the help of each command says. A table's module is loaded only when it is
asked for, so that `--help` answers at once. Tables of other files than two arms (sweeps, seeds,
traces) have commands of their own.

    find("loops").load()(comparison, TableOptions())
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.tables.table import Table

if TYPE_CHECKING:
    from analysis.compare import Comparison


@dataclass(frozen=True)
class TableOptions:
    """What the commands of tables may be told beside the two arms."""

    by: tuple[str, ...] = ()  # groups to show: names of tags; () for all that there are
    margin: float = 0.03  # equivalence: the largest difference that is called none, as a share
    budgets: tuple[int, ...] = ()  # token budgets; () for a choice from the data
    train: tuple[Path, ...] = ()  # traces.jsonl or questions.jsonl of the candidate's training


@dataclass(frozen=True)
class Entry:
    """One table: its command, `module:function` under `analysis.tables`, and its help.

    `reading` says in a line how the table is read; `example` is what its command is shown with.
    """

    name: str
    at: str
    help: str
    reading: str
    core: bool = False  # shown by `distill-report compare`
    takes: tuple[str, ...] = ()  # options that it reads: "by", "margin", "budget", "train"
    needs: tuple[str, ...] = ()  # those without which the report leaves it out
    example: str = ""

    def load(self) -> Callable[..., Table]:
        """Import the function that makes the table."""
        module, _, function = self.at.partition(":")
        made: Any = getattr(importlib.import_module(f"analysis.tables.{module}"), function)
        return made  # type: ignore[no-any-return]


PAIR: tuple[Entry, ...] = (
    Entry(
        "scorecard",
        "scores:scorecard",
        "Scores and their paired difference.",
        "An interval of the difference that holds 0 leaves open which arm is better.",
        core=True,
    ),
    Entry(
        "significance",
        "tests:significance",
        "Who solved what, and McNemar's test.",
        "Only the questions that one arm alone solved count; below 0.05 by Holm is shown.",
        core=True,
    ),
    Entry(
        "intervals",
        "tests:intervals",
        "Every interval of scores and differences.",
        "Methods that disagree about 0 say that the sample is too small to tell.",
        takes=("by",),
    ),
    Entry(
        "equivalence",
        "tests:equivalence",
        "What the sample size could show, and TOST.",
        "No difference shown is not equal: equal is what lies within the margin, p below 0.05.",
        takes=("margin",),
        example="--margin 0.02",
    ),
    Entry(
        "completion",
        "scores:completion",
        "Truncated, without answer, failed graders.",
        "A score counts a truncated completion as wrong; the completed score leaves it out.",
        core=True,
    ),
    Entry(
        "repeats",
        "repeats:repeats",
        "avg@k, pass@k, maj@k, G-Pass@k of repeated samples.",
        "avg@k is the expected score of one try, pass@k of the best of k, maj@k of the vote.",
    ),
    Entry(
        "groups",
        "groups:groups",
        "Scores by topic, level, difficulty or category.",
        "Of many groups some differ by chance: read Holm's p, taken over the groups of one tag.",
        takes=("by",),
        example="--by level --by subject",
    ),
    Entry(
        "ifeval-categories",
        "instructions:categories",
        "IFEval by category of instruction.",
        "A category counts instructions, of which one prompt may hold several.",
    ),
    Entry(
        "ifeval-instructions",
        "instructions:kinds",
        "IFEval by instruction.",
        "Few prompts stand behind each kind: read the interval, not the rank.",
    ),
    Entry(
        "forgetting",
        "forgetting:forgetting",
        "Which losses are shown, and which not excluded.",
        "Cannot exclude a loss of x points: the interval of the difference reaches down to -x.",
    ),
    Entry(
        "truncation",
        "truncation:bounds",
        "Scores if what was cut off were all right or wrong.",
        "Where worst and best case disagree about the sign, the token limit decided the result.",
    ),
    Entry(
        "transitions",
        "truncation:transitions",
        "Right, wrong, truncated: one arm to the other.",
        "Right to truncated is a question lost to the limit, not to the model's knowledge.",
    ),
    Entry(
        "volume",
        "volumes:volume",
        "How much each arm reasoned and answered.",
        "Look first on how many samples a figure rests; a mean far above its median has a tail.",
    ),
    Entry(
        "ratio",
        "volumes:ratio",
        "Candidate's volume over the baseline's.",
        "2.00: the candidate writes twice as much for the same questions.",
        core=True,
    ),
    Entry(
        "lengths",
        "volumes:lengths",
        "Median length of responses by benchmark.",
        "Medians: half of the responses are longer.",
    ),
    Entry(
        "length-correctness",
        "volumes:by_correctness",
        "Reasoning length, right and wrong.",
        "Wrong answers are longer in most models, since hard questions make both.",
    ),
    Entry(
        "behaviour",
        "behaviour:behaviour",
        "Verification, backtracking and the like.",
        "Counted by phrases for each 1,000 words: compare the arms, not the behaviours.",
    ),
    Entry(
        "loops",
        "behaviour:loops",
        "How often completions run into a loop.",
        "A loop is a repeated tail; most loops end at the token limit.",
    ),
    Entry(
        "cost",
        "budget:cost",
        "Tokens and seconds for each solved question.",
        "All tokens of an arm, also those of wrong answers, over the questions it solved.",
    ),
    Entry(
        "budget",
        "budget:budget",
        "Accuracy at equal token budgets.",
        "A completion longer than the budget counts as not solved, in either arm.",
        takes=("budget",),
        example="--budget 1024 --budget 4096",
    ),
    Entry(
        "match",
        "match:match",
        "How many samples were found in the log, and how.",
        "Figures from a log rest on the samples found there; cached answers are in no log.",
    ),
    Entry(
        "noise",
        "noise:noise",
        "A/A: how much two runs of one model differ.",
        "A difference of two models within this reach is what chance alone gives.",
        example="--seed 7",
    ),
    Entry(
        "skills",
        "skills:skills",
        "Topics trained on against topics improved.",
        "Read it with `skill-quadrants`, which says whether training share and gain go together.",
        takes=("by", "train"),
        needs=("train",),
        example="--train traces/traces.jsonl",
    ),
    Entry(
        "skill-quadrants",
        "skills:quadrants",
        "Trained much or little, better or not: Fisher and Spearman.",
        "If training taught the topics, the share of training and the gain rise together.",
        takes=("by", "train"),
        needs=("train",),
        example="--train traces/traces.jsonl",
    ),
    Entry(
        "leakage",
        "leakage:leakage",
        "Training prompts in the benchmarks.",
        "A gain that is gone without the leaked questions was memorised.",
        takes=("train",),
        needs=("train",),
        example="--train traces/traces.jsonl",
    ),
    Entry(
        "leaked",
        "leakage:leaked",
        "Each benchmark question that stands in the training data.",
        "Look at the shared words: a question that merely sounds alike is no leak.",
        takes=("train",),
        needs=("train",),
        example="--train traces/traces.jsonl",
    ),
    Entry(
        "flips",
        "questions:flips",
        "Questions that only one arm solved.",
        "Read some of them: a flip by format or by the token limit is no flip of ability.",
    ),
    Entry(
        "questions",
        "questions:questions",
        "Every question in both arms.",
        "One row for each question, with both verdicts and lengths.",
        example="--csv questions.csv",
    ),
    Entry(
        "data-quality",
        "data_quality:data_quality",
        "What in the files was torn or did not fit.",
        "Each finding was left out and counted; none changes a number in silence.",
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


def made(comparison: Comparison, options: TableOptions, *, core: bool = False) -> list[Table]:
    """Make every table, or the core ones, that can be made with these options, in order."""
    given = {"train"} if options.train else set()
    wanted = [one for one in PAIR if given.issuperset(one.needs) and (one.core or not core)]
    return [entry.load()(comparison, options) for entry in wanted]
