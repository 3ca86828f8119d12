"""Scores of several runs: the form that tables of sweeps, seeds and tiers read.

Owns `Score` and `Series`. Refuses to own where they come from (`tidy`, `runs`, `sweep_folder`) and
what is made of them (`analysis.tables`). Scores are fractions, so that equal ones are equal.

    series.of("distill_math500")                 # that task's scores, in the order of the runs
    series.difference(score)                     # against the baseline, on the same questions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from analysis.estimate import NAN, Estimate, Share, undefined
from analysis.items import BASELINE, CANDIDATE

if TYPE_CHECKING:
    from analysis.compare import Comparison, TaskComparison

DEV, HELD_OUT = "dev", "held_out"
MOST_GRADER_ERRORS = Fraction(1, 100)
UNKNOWN = Share(None, 0)
ONLY_SCORES = "only scores are given, not each question's results: no paired interval, no test"
NO_BASELINE = "no score of a baseline on this task"


@dataclass(frozen=True)
class Score:
    """One run's score in one task; `n` counts graded completions, `n_docs` questions.

    `part` is DEV or HELD_OUT where the source tells them apart. `unfit` says why nothing should be
    chosen by it. `words` is the length of a response.
    """

    run: str
    task: str
    value: Fraction
    estimate: Estimate
    step: int | None = None
    n: int | None = None
    n_docs: int | None = None
    part: str = ""
    truncated: Share = UNKNOWN
    words: float | None = None
    unfit: str | None = None


class Difference(NamedTuple):
    """A run against the baseline: the difference, the p of its test, and the test's name."""

    estimate: Estimate
    p: float
    rule: str


@dataclass(frozen=True)
class Series:
    """Runs in their order. `baseline` is what they are compared with, a score a task (and part).

    `comparisons` has a run's paired comparison by its name: none where only scores are known.
    """

    scores: tuple[Score, ...]
    baseline: tuple[Score, ...] = ()
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    held_out: Comparison | None = None  # the chosen step and the base, where a sweep measured them
    chosen: str = ""  # the step that the sweep itself chose
    select_by: str = ""  # the task that the sweep itself chose by
    notes: tuple[str, ...] = ()
    seed: int = 1234

    @property
    def tasks(self) -> list[str]:
        """Return the tasks in the order in which they come up, the baseline's own left out."""
        return list(dict.fromkeys(score.task for score in self.scores))

    @property
    def runs(self) -> list[str]:
        """Return the names of the runs in order."""
        return list(dict.fromkeys(score.run for score in self.scores))

    def only(self, tasks: Sequence[str]) -> Series:
        """Return the series of some tasks alone, of all where none is named.

        Raises:
            ValueError: a task that no run has.
        """
        missing = next((task for task in tasks if task not in self.tasks), None)
        if missing is not None:
            raise ValueError(f"no run has task {missing!r}; there are {', '.join(self.tasks)}")
        kept = tuple(one for one in self.scores if not tasks or one.task in tasks)
        return replace(self, scores=kept)

    def of(self, task: str, part: str | None = None) -> list[Score]:
        """Return the scores of a task in the order of the runs; of all parts unless one is named.

        What is not told to be held out counts as the part that chooses.
        """
        wanted = [score for score in self.scores if score.task == task]
        if part is None:
            return wanted
        return [score for score in wanted if (score.part == HELD_OUT) == (part == HELD_OUT)]

    def base_of(self, score: Score) -> Score | None:
        """Return the baseline's score on the questions of this one, None where there is none."""
        for base in self.baseline:
            if base.task == score.task and (base.part == HELD_OUT) == (score.part == HELD_OUT):
                return base
        return None

    def pair(self, score: Score) -> TaskComparison | None:
        """Return the paired comparison behind a score, None where there is none."""
        comparison = self.comparisons.get(score.run)
        tasks = comparison.tasks if comparison is not None else []
        return next((one for one in tasks if one.task == score.task), None)

    def difference(self, score: Score) -> Difference:
        """Return a score against the baseline: paired where there are items."""
        base, paired = self.base_of(score), self.pair(score)
        if base is None:
            return Difference(undefined(NO_BASELINE), NAN, "")
        if paired is not None:
            return Difference(paired.difference, paired.test.p, paired.test.rule)
        plain = Estimate(float(score.value - base.value), reason=ONLY_SCORES)
        return Difference(plain, NAN, "")

    def by_question(self, run: str, task: str, arm: str = CANDIDATE) -> dict[int | str, float]:
        """Return each question's mean score in a run, over the samples that both arms have graded.

        Empty where no items are known. The baseline's own run will do too.
        """
        comparison = self.comparisons.get(run)
        own = self.held_out is None and any(one.run == run for one in self.baseline)
        if comparison is None and own:
            comparison, arm = next(iter(self.comparisons.values()), None), BASELINE
        return question_means(comparison, task, arm) if comparison is not None else {}


def question_means(comparison: Comparison, task: str, arm: str) -> dict[int | str, float]:
    """Return each question's mean score in one arm over the samples graded in both."""
    sums: dict[int | str, list[float]] = {}
    rows = [item for item in comparison.items if item.task == task]
    for couple in zip(rows[::2], rows[1::2], strict=True):
        if any(item.score is None for item in couple):
            continue
        item = next(one for one in couple if one.arm == arm)
        sums.setdefault(item.doc_id, []).append(item.score or 0.0)
    return {doc_id: sum(values) / len(values) for doc_id, values in sums.items()}


def unfit_share(n_errors: int, n: int) -> str | None:
    """Say why a score with so many failed graders is no ground for a choice."""
    if n == 0 or n_errors == n:
        return "nothing was graded"
    if Fraction(n_errors, n) > MOST_GRADER_ERRORS:
        return f"{n_errors} of {n} completions could not be graded"
    return None
