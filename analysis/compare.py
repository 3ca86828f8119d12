"""Two arms compared, task by task: scores, paired tests, volume, and what each task shows.

Owns which estimator is used for what, and what may be claimed. Refuses to own the estimators
themselves and every rendering (`tables`). All numbers are computed here, from `Item` rows.

    comparison = compare(read_arm(...), read_arm(...), Options(logs=(Path("runs/base-log"),)))
    comparison.tasks[0].finding     # "no difference shown"
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis import comparability, items, notices, told, volume
from analysis.alignment import Aligned, accept, align, differences
from analysis.estimate import NAN, Estimate, Share, undefined
from analysis.items import BASELINE, CANDIDATE, Item
from analysis.reading.load import Arm
from analysis.reading.quality import Finding
from analysis.rules import Difference
from analysis.stats import cluster, multiplicity, paired, power, proportions

GRADER_ERROR_LIMIT = 0.01
EMPTY_LIMIT = 0.5  # a larger share of empty completions says nothing of the model
ALPHA = paired.ALPHA
HIGHER, LOWER, NOT_SHOWN = "candidate higher", "candidate lower", "no difference shown"
NOTHING = "no question graded in both arms"
REFUSED_BASELINE, REFUSED_CANDIDATE = "baseline grader failed", "candidate grader failed"
EMPTY_BASELINE, EMPTY_CANDIDATE = "baseline completions empty", "candidate completions empty"
NO_CLAIM = (NOTHING, REFUSED_BASELINE, REFUSED_CANDIDATE, EMPTY_BASELINE, EMPTY_CANDIDATE)
SIGN_FLIP = "paired sign-flip permutation of question means"


@dataclass(frozen=True)
class Options:
    """How to compare: the logs to join, the differences to accept, the seed of resampling."""

    logs: tuple[Path, ...] = ()
    allow: tuple[str, ...] = ()
    seed: int = 1234


@dataclass(frozen=True)
class ArmScore:
    """One arm's score in a task; `n_graded` leaves out the samples whose grader failed."""

    n: int
    n_graded: int
    score: Estimate
    n_completed: int
    score_completed: Estimate
    truncated: Share
    no_answer: Share
    grader_error: Share
    empty: Share  # blank in the samples file, though nothing says that they were cut off


@dataclass(frozen=True)
class Test:
    """The test of a task; a p that does not exist is NaN, and `reason` says why."""

    p: float
    rule: str
    exact_p: float = NAN  # McNemar's exact p, whichever form `rule` chose
    mid_p: float = NAN
    holm_p: float = NAN
    bh_p: float = NAN  # Benjamini-Hochberg's, beside Holm's
    reason: str | None = None


@dataclass(frozen=True)
class TaskComparison:
    """Everything that a report says of one task."""

    task: str
    metric: str
    filter: str
    n_questions: int
    n_pairs: int  # questions graded in both arms, on which the difference rests
    k: int
    baseline: ArmScore
    candidate: ArmScore
    difference: Estimate
    detectable: Estimate
    agreement: paired.PairedTable | None  # None for repeated or fractional scores
    test: Test
    h: Estimate
    h_label: str
    volume: list[volume.VolumeFigure]
    notices: list[str]
    files: tuple[Path, Path]  # the samples files, baseline first
    lower_is_better: bool = False  # as lm-eval tells of an error rate
    sampling: tuple[dict[str, Any] | None, ...] = (None, None)  # of each arm, None where unknown
    confounds: tuple[str, ...] = ()  # what else differs between the runs
    finding: str = ""  # HIGHER, LOWER, NOT_SHOWN or one of NO_CLAIM


@dataclass(frozen=True)
class Comparison:
    """A whole comparison: the arms, the tasks, what else to know, and the table of items."""

    baseline: str
    candidate: str
    baseline_model: str | None
    candidate_model: str | None
    tasks: list[TaskComparison]
    notices: list[str]
    allowed: list[Difference]  # what the arms differ in, accepted by the user
    items: list[Item]
    logs: tuple[Path, ...]
    seed: int
    quality: list[Finding] = field(default_factory=list)  # what in the files was torn or foreign


def compare(baseline: Arm, candidate: Arm, options: Options) -> Comparison:
    """Compare two arms over the tasks that both have.

    Raises:
        ValueError: no task in common, arms that may not be compared, or a damaged log.
    """
    aligned, logs = align(baseline, candidate, options.logs)
    allowed = accept(differences(aligned), options.allow)
    tasks = [compare_task(one, options.seed) for one in aligned]
    rows = [item for one in aligned for item in one.rows]
    names = [one.baseline.task for one in aligned]
    runs = [run for one in aligned for run in (one.baseline, one.candidate)]
    known = [
        *notices.of_arms(baseline, candidate, names, allowed),
        *notices.of_logs(logs, bool(options.logs)),
        *notices.of_shared(rows),
    ]
    return Comparison(
        baseline=baseline.label,
        candidate=candidate.label,
        baseline_model=aligned[0].baseline.file.model,
        candidate_model=aligned[0].candidate.file.model,
        tasks=with_findings(tasks),
        notices=list(dict.fromkeys(known)),
        allowed=allowed,
        items=rows,
        logs=options.logs,
        seed=options.seed,
        quality=items.findings(runs, logs, rows),
    )


def compare_task(aligned: Aligned, seed: int) -> TaskComparison:
    """Compare one task.

    Raises:
        ValueError: nothing pairs.
    """
    baseline, candidate, pairs, rows, _ = aligned
    if not rows:
        raise ValueError(f"{baseline.task}: no sample of the two arms pairs by doc_id and index")
    k = max(len(question.samples) for question in pairs.questions)
    binary = k == 1 and all(item.score in (None, 0.0, 1.0) for item in rows)
    seeds = [seed, zlib.crc32(baseline.task.encode())]
    rng = np.random.default_rng([*seeds, 1000])
    graded = graded_pairs(rows)
    paired_part = binary_part(graded) if binary else repeated_part(graded, rng)
    base, cand = (
        arm_score([item for item in rows if item.arm == arm], binary, rng)
        for arm in (BASELINE, CANDIDATE)
    )
    h = effect(graded)
    return TaskComparison(
        task=baseline.task,
        metric=baseline.metric,
        filter=baseline.filter,
        n_questions=len(pairs.questions),
        n_pairs=len({item.doc_id for item, _ in graded}),
        k=k,
        baseline=base,
        candidate=cand,
        difference=paired_part.difference,
        detectable=paired_part.detectable,
        agreement=paired_part.agreement,
        test=paired_part.test,
        h=h,
        h_label=proportions.h_label(h.value) if h.defined else "",
        volume=volume.figures(rows, seeds),
        notices=notices.of_task(baseline, candidate, pairs, rows),
        files=(baseline.file.path, candidate.file.path),
        lower_is_better=notices.lower_is_better(baseline),
        sampling=tuple(told.sampling_of(task) for task in (baseline, candidate)),
        confounds=tuple(comparability.confounds(baseline, candidate)),
    )


Couples = list[tuple[Item, Item]]


class PairedPart(NamedTuple):
    """What rests on the samples graded in both arms."""

    agreement: paired.PairedTable | None
    difference: Estimate
    detectable: Estimate
    test: Test


def graded_pairs(rows: list[Item]) -> Couples:
    """Return the samples graded in both arms, baseline first."""
    couples = zip(rows[::2], rows[1::2], strict=True)
    return [(a, b) for a, b in couples if a.score is not None and b.score is not None]


def binary_part(graded: Couples) -> PairedPart:
    """Return the paired part of single samples: their table and McNemar's test."""
    if not graded:
        return nothing_graded()
    table = agreement_of(graded)
    p, rule, exact_p, mid_p = paired.mcnemar(table)
    return PairedPart(
        table,
        paired.newcombe_difference(table),
        power.detectable_difference(table),
        Test(p, f"McNemar {rule}", exact_p, mid_p),
    )


def nothing_graded() -> PairedPart:
    """Return the paired part of a task in which no question was graded in both arms."""
    test = Test(NAN, "none", reason=NOTHING)
    return PairedPart(None, undefined(NOTHING), undefined(NOTHING), test)


def score_of(item: Item) -> float | None:
    """Return the score as it was graded."""
    return item.score


def agreement_of(
    graded: Couples, score: Callable[[Item], float | None] = score_of
) -> paired.PairedTable:
    """Count the questions by which arm solved them."""
    solved = [(score(base) == 1.0, score(cand) == 1.0) for base, cand in graded]
    return paired.PairedTable(
        both=solved.count((True, True)),
        candidate_only=solved.count((False, True)),
        baseline_only=solved.count((True, False)),
        neither=solved.count((False, False)),
    )


def repeated_part(graded: Couples, rng: np.random.Generator) -> PairedPart:
    """Return the same for repeated or fractional scores, from per-question means."""
    if not graded:
        return nothing_graded()
    base, cand = question_scores(graded, BASELINE), question_scores(graded, CANDIDATE)
    differences = [cand[doc_id] - base[doc_id] for doc_id in base]
    reason = "exact p and mid-p exist for McNemar's test only"
    return PairedPart(
        None,
        cluster.bootstrap_difference(differences, rng),
        cluster.detectable_mean_difference(differences),
        Test(cluster.sign_flip_p(differences, rng), SIGN_FLIP, reason=reason),
    )


def question_scores(graded: Couples, arm: str) -> dict[int | str, float]:
    """Return each question's mean score in one arm over its paired, graded samples."""
    rows = [item for couple in graded for item in couple]
    return volume.question_means(rows, arm, lambda item: item.score)


def effect(graded: Couples) -> Estimate:
    """Return Cohen's h of the two mean scores, positive where the candidate is higher."""
    base, cand = (volume.mean_of(question_scores(graded, arm)) for arm in (BASELINE, CANDIDATE))
    if not (base.defined and cand.defined):
        return undefined(NOTHING)
    return Estimate(
        proportions.cohens_h(cand.value, base.value),
        method="Cohen's h",
        reason="an effect size: no interval is computed",
    )


def arm_score(rows: list[Item], binary: bool, rng: np.random.Generator) -> ArmScore:
    """Return one arm's score and verdict rates over its paired samples."""
    graded = [item for item in rows if item.score is not None]
    completed = [item for item in graded if not item.truncated]
    return ArmScore(
        n=len(rows),
        n_graded=len(graded),
        score=mean_score(graded, binary, rng),
        n_completed=len(completed),
        score_completed=mean_score(completed, binary, rng),
        truncated=share(rows, lambda item: item.truncated),
        no_answer=share(rows, lambda item: item.no_answer),
        grader_error=share(rows, lambda item: item.score is None),
        empty=share(rows, was_empty),
    )


def was_empty(item: Item) -> bool | None:
    """Say whether a completion was blank and not cut off, None for a task without text."""
    return None if item.truncated is None else item.empty and not item.truncated


def share(rows: list[Item], flag: Callable[[Item], bool | None]) -> Share:
    """Return how many rows are flagged; undefined where the flag is unknown for all."""
    flags = [flag(item) for item in rows]
    known = [one for one in flags if one is not None]
    return Share(sum(known) if known else None, len(known))


def mean_score(rows: list[Item], binary: bool, rng: np.random.Generator) -> Estimate:
    """Return the mean score with Wilson's interval, or a bootstrap one for repeated samples."""
    if not rows:
        return undefined("no such sample")
    if binary:
        return proportions.proportion(sum(item.score == 1.0 for item in rows), len(rows))
    means = volume.question_means(rows, rows[0].arm, lambda item: item.score)
    return cluster.bootstrap_mean(list(means.values()), rng)


def with_findings(tasks: list[TaskComparison]) -> list[TaskComparison]:
    """Adjust the p-values over the tasks, then decide what each of them shows."""
    p_values = [task.test.p for task in tasks]
    adjusted = zip(
        tasks,
        multiplicity.holm(p_values),
        multiplicity.benjamini_hochberg(p_values),
        strict=True,
    )
    done = [replace(task, test=replace(task.test, holm_p=p, bh_p=q)) for task, p, q in adjusted]
    return [replace(task, finding=finding(task)) for task in done]


def finding(task: TaskComparison) -> str:
    """Say what a task shows; a difference only where Holm's p is below 5%.

    Nothing is claimed where a grader failed on more than 1% of an arm's samples, or where most of
    its completions are empty: then the score is not the model's.
    """
    for arm, refused, empty in (
        (task.baseline, REFUSED_BASELINE, EMPTY_BASELINE),
        (task.candidate, REFUSED_CANDIDATE, EMPTY_CANDIDATE),
    ):
        if arm.grader_error.value > GRADER_ERROR_LIMIT:
            return refused
        if arm.empty.value > EMPTY_LIMIT:
            return empty
    if not task.difference.defined:
        return NOTHING
    if task.test.holm_p >= ALPHA:
        return NOT_SHOWN
    return HIGHER if task.difference.value > 0 else LOWER
