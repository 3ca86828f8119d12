"""The one sentence over all tasks, with its uncertainty, and one for each task.

Owns which words are said: helped, hurt, mixed, no difference shown, or no verdict. Refuses to own
the figures (`compare`, `stats.strata`) and what else is doubtful (`reliability`).

    verdict(comparison).sentence
    # "No difference shown: +2.8 points [-1.7, +7.3] on distill_math500 (500 questions, p=0.2504);
    #  a true difference of 6.3 points would be seen four times in five"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.compare import (
    ALPHA,
    EMPTY_BASELINE,
    EMPTY_CANDIDATE,
    GRADER_ERROR_LIMIT,
    HIGHER,
    LOWER,
    NO_CLAIM,
    NOT_SHOWN,
    NOTHING,
    REFUSED_BASELINE,
    Comparison,
    TaskComparison,
)
from analysis.estimate import NAN, Estimate, undefined
from analysis.items import BASELINE, CANDIDATE
from analysis.render.cells import text
from analysis.stats import strata
from analysis.stats.equivalence import tost_paired
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import Couple, by_task, question_means, scored
from analysis.tables.table import Kind

HELPED, HURT, MIXED, NO_VERDICT = "helped", "hurt", "mixed", "no verdict"
SEED_NUMBER = 1900  # of the resampling over all tasks
MOST_NAMED = 6  # tasks that a sentence names


@dataclass(frozen=True)
class Verdict:
    """What a comparison shows over all of its tasks.

    `finding` is HELPED, HURT, MIXED, NOT_SHOWN or NO_VERDICT. Over several tasks the difference is
    the mean of their differences, turned round where lower is better.
    """

    sentence: str
    difference: Estimate
    p: float
    finding: str
    detectable: Estimate
    method: str  # how difference and p were made


def verdict(comparison: Comparison) -> Verdict:
    """Return the one sentence over all tasks.

    No verdict where a grader failed on more than 1% of an arm's samples of any task, or where most
    completions of an arm are empty: then the score is not the model's.
    """
    reason = refusal(comparison.tasks)
    if reason:
        nothing = undefined(reason)
        return Verdict(f"No verdict: {reason}", nothing, NAN, NO_VERDICT, nothing, "none")
    if all(one.resolve() == other.resolve() for one, other in (t.files for t in comparison.tasks)):
        return same_file(comparison.tasks)
    if len(comparison.tasks) == 1:
        return of_one_task(comparison.tasks[0])
    return of_tasks(comparison, by_task(comparison))


def refusal(tasks: Sequence[TaskComparison]) -> str:
    """Return why nothing may be claimed over all tasks, "" where it may."""
    refused = next((task for task in tasks if task.finding in NO_CLAIM), None)
    if refused is None:
        return ""
    others = "; choose other tasks by --task" if len(tasks) > 1 else ""
    return f"{no_claim(refused)} on {refused.task}{others}"


def no_claim(task: TaskComparison) -> str:
    """Say why a task shows nothing: in whose samples, and how many."""
    if task.finding == NOTHING:
        return NOTHING
    baseline = task.finding in (REFUSED_BASELINE, EMPTY_BASELINE)
    name, arm = (BASELINE, task.baseline) if baseline else (CANDIDATE, task.candidate)
    if task.finding in (EMPTY_BASELINE, EMPTY_CANDIDATE):
        return (
            f"{arm.empty.count} of {arm.empty.n} completions of the {name} are empty (was the "
            "reasoning sent apart and lost by the client?)"
        )
    return (
        f"the grader failed on {100 * arm.grader_error.value:.1f}% of the {name}'s samples "
        f"({arm.grader_error.count} of {arm.n}; limit {GRADER_ERROR_LIMIT:.0%})"
    )


def same_file(tasks: Sequence[TaskComparison]) -> Verdict:
    """Return the verdict of an arm against itself."""
    zero = Estimate(0.0, 0.0, 0.0, method="none", reason="both arms are the same file")
    sentence = "No difference shown: both arms are the same file, so every difference is 0"
    return Verdict(sentence, zero, 1.0, NOT_SHOWN, tasks[0].detectable, "none")


def of_one_task(task: TaskComparison) -> Verdict:
    """Return the verdict of a comparison of one task: that task's own figures."""
    finding = NOT_SHOWN
    if task.finding in (HIGHER, LOWER):
        better = (task.finding == HIGHER) is not task.lower_is_better
        finding = HELPED if better else HURT
    turned = f"; lower is better for {task.metric}" if task.lower_is_better else ""
    questions = f"{task.n_pairs:,} question{'s' if task.n_pairs > 1 else ''}"
    sentence = (
        f"{finding.capitalize()}: {points(task.difference)} on {task.task} "
        f"({questions}, {p_of(task.test.p)}{turned}){unshown(task)}"
    )
    method = f"{task.difference.method}; {task.test.rule}"
    return Verdict(sentence, task.difference, task.test.p, finding, task.detectable, method)


def of_tasks(comparison: Comparison, couples: dict[str, list[Couple]]) -> Verdict:
    """Return the verdict over several tasks: the mean of their differences."""
    tasks = comparison.tasks
    differences = [oriented_differences(task, couples[task.task]) for task in tasks]
    rng = np.random.default_rng([comparison.seed, SEED_NUMBER])
    mean = strata.macro_mean([gain_of(task) for task in tasks])
    p = strata.macro_sign_flip_p(differences, rng)
    detectable = strata.detectable_macro_difference(differences)
    better = [task.task for task in tasks if direction(task) > 0]
    worse = [task.task for task in tasks if direction(task) < 0]
    finding = finding_of(mean.value, p, better, worse)
    questions = sum(task.n_pairs for task in tasks)
    turned = "; the sign turned where lower is better" if any_turned(tasks) else ""
    sentence = (
        f"{finding.capitalize()}: {points(mean)} in the mean of {len(tasks)} tasks "
        f"({questions:,} questions, {p_of(p)}{turned}){needed(finding, detectable)}"
        f"{shown('better', better)}{shown('worse', worse)}"
    )
    method = f"mean of task differences: {mean.method}; {strata.SIGN_FLIP}"
    return Verdict(sentence, mean, p, finding, detectable, method)


def gain_of(task: TaskComparison) -> Estimate:
    """Return the difference, positive where the candidate is better."""
    if not task.lower_is_better:
        return task.difference
    one = task.difference
    return Estimate(0.0 - one.value, 0.0 - one.high, 0.0 - one.low, one.method, one.reason)


def any_turned(tasks: Sequence[TaskComparison]) -> bool:
    """Say whether lower is better in a task."""
    return any(task.lower_is_better for task in tasks)


def oriented_differences(task: TaskComparison, couples: list[Couple]) -> list[float]:
    """Return a task's question differences, positive where the candidate is better."""
    graded = scored(couples)
    base, cand = (question_means(graded, arm) for arm in (0, 1))
    sign = -1.0 if task.lower_is_better else 1.0
    return [sign * (b - a) for a, b in zip(base, cand, strict=True)]


def direction(task: TaskComparison) -> int:
    """Return 1 where a task is shown to be better after Holm, -1 where worse, else 0."""
    sign = {HIGHER: 1, LOWER: -1}.get(task.finding, 0)
    return -sign if task.lower_is_better else sign


def finding_of(mean: float, p: float, better: list[str], worse: list[str]) -> str:
    """Return the one word: the mean's direction where it is shown, and no task speaks against."""
    if better and worse:
        return MIXED
    if p >= ALPHA:
        return NOT_SHOWN
    if mean > 0:
        return MIXED if worse else HELPED
    return MIXED if better else HURT


def headline(task: TaskComparison, n_tasks: int) -> str:
    """Return the one plain sentence on a task of a report."""
    if task.finding in NO_CLAIM:
        return f"no headline: {no_claim(task)}"
    p = p_of(task.test.p)
    if n_tasks > 1:
        p += f", Holm {p_of(task.test.holm_p)}"
    return f"{task.finding} ({p}): {points(task.difference)}{unshown(task)}"


def points(difference: Estimate) -> str:
    """Return a difference in words: "+2.8 points [-1.7, +7.3]"."""
    value, _, interval = text(difference, Kind.POINTS).partition(" ")
    return f"{value} points {interval}".rstrip()


def p_of(p: float) -> str:
    """Return a p in words."""
    written = text(p, Kind.P)
    return f"p{written}" if written.startswith("<") else f"p={written}"


def needed(finding: str, detectable: Estimate) -> str:
    """Say, where nothing is shown, how large a true difference mostly would have been shown."""
    if finding != NOT_SHOWN or not detectable.defined:
        return ""
    size = text(detectable.value, Kind.PERCENT)
    return f"; a true difference of {size} points would be seen four times in five"


def unshown(task: TaskComparison) -> str:
    """Say of a task that shows nothing whether the arms are shown to be equal, else what it lacks.

    Equal is within the margin that `equivalence` takes when none is given.
    """
    if task.finding == NOT_SHOWN and task.agreement is not None:
        equal = tost_paired(task.agreement, TableOptions.margin)
        if equal.shown:
            margin = f"{100 * TableOptions.margin:g}"
            return f"; shown to be equal within {margin} points (TOST {p_of(equal.p)})"
    return needed(task.finding, task.detectable)


def shown(what: str, tasks: Sequence[str]) -> str:
    """Name the tasks that show something of their own, after Holm."""
    if not tasks:
        return ""
    more = f" and {len(tasks) - MOST_NAMED} more" if len(tasks) > MOST_NAMED else ""
    return f"; {what} on {', '.join(tasks[:MOST_NAMED])}{more}"
