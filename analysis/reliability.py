"""What makes the numbers of a comparison less than they seem, the most serious first.

Owns which facts are worth a warning, and the limits. Refuses to own the facts: they are those of
the items, the tasks, the notices and the data quality. A limit says when to look, not what is so.

    warnings(comparison)[0]
    # Warning("warn", "truncation", "distill_math500", "cut off: 0 of 500 completions (0.0%) of ..")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from analysis.compare import GRADER_ERROR_LIMIT, NOTHING, Comparison, TaskComparison, share
from analysis.estimate import Share
from analysis.items import ARMS, Item
from analysis.reading.quality import NO_EXCHANGE, NO_SAMPLE
from analysis.tables.couples import Couple, by_task
from analysis.told import TOKEN_LIMIT

STOP, WARN, INFO = "stop", "warn", "info"
SEVERITIES = (STOP, WARN, INFO)
TRUNCATED = 0.05  # of an arm's completions: its score is then one of the limit too
TRUNCATED_GAP = 0.02  # between the arms: more than most differences of scores
NO_ANSWER = 0.05  # of an arm's completions: is the answer asked for, and found, as the task means?
NO_ANSWER_GAP = 0.02
LOOPED = 0.02  # of an arm's completions
MATCHED = 0.90  # of an arm's samples, where logs were given
THINKS = 0.5  # of an arm's completions with reasoning: the model is one that thinks
DETECTABLE = 0.10  # a sample that shows only larger differences than this is small
FEWEST = 10  # questions; with fewer even the detectable difference says little
MINOR = ("batch_size", "lm-eval version", "suite version", "transformers version")
FEW = "only a difference of {:.1f} points or more would be shown with 80% power on {} questions"


class Warning(NamedTuple):
    """One doubt. `task` is "" where it is of the whole comparison."""

    severity: str
    kind: str
    task: str
    text: str


class Sign(NamedTuple):
    """How a notice begins that is more than a note, and of which kind and severity it is."""

    kind: str
    severity: str
    pattern: re.Pattern[str]


NOTICES = (
    Sign("empty-responses", STOP, re.compile(r"\d+ of \d+ completions of the \w+ are empty")),
    Sign("unfinished-run", WARN, re.compile(r"the run of .* is not finished")),
    Sign("unpaired", WARN, re.compile("unpaired")),
    Sign("allowed", WARN, re.compile("allowed difference of")),
    Sign("copies", WARN, re.compile(r"\d+ of \d+ docs of the \w+ have copies")),
)
ORDER = (
    *("nothing-graded", "grader-errors", "empty-responses", "truncation", "unfinished-run"),
    *("allowed", "unpaired", "no-answer", "loops", "greedy", "copies", "cached", "log-match"),
    *("data-quality", "confound", "few-questions"),
)
"""The kinds of warnings; of one severity, those that bias a difference most come first."""


def warnings(comparison: Comparison) -> list[Warning]:
    """Return every doubt about a comparison, the most serious first, [] where there is none."""
    couples = by_task(comparison)
    found = list(of_notices(comparison))
    for task in comparison.tasks:
        found += of_task(task, couples[task.task])
        if comparison.logs and task.volume:
            found += of_match(task.task, couples[task.task])
    found += [
        Warning(WARN, "data-quality", "", f"{one.kind}: {one.text} ({one.count}; {one.where})")
        for one in comparison.quality
        if one.kind not in (NO_EXCHANGE, NO_SAMPLE)
    ]
    found = list(dict.fromkeys(found))
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), ORDER.index(one.kind)))


def of_notices(comparison: Comparison) -> Iterator[Warning]:
    """Yield the notices that are more than notes, in their own words."""
    told = [("", text) for text in comparison.notices]
    told += [(task.task, text) for task in comparison.tasks for text in task.notices]
    for task_name, text in told:
        for sign in NOTICES:
            if sign.pattern.match(text):
                yield Warning(sign.severity, sign.kind, task_name, text)
    for task in comparison.tasks:
        for text in task.confounds:
            yield Warning(INFO if text.startswith(MINOR) else WARN, "confound", "", text)


def of_task(task: TaskComparison, couples: list[Couple]) -> Iterator[Warning]:
    """Yield what the items of one task give reason to doubt."""
    arms = list(zip(*couples, strict=True))
    yield from of_grading(task)
    yield from of_rates(task, arms)
    for number, rows in enumerate(arms):
        yield from of_loops(task, number, list(rows))
        yield from of_sampling(task, number, list(rows))
    if 0 < task.n_pairs < FEWEST:
        text = f"only {task.n_pairs} question{'' if task.n_pairs == 1 else 's'}"
        yield Warning(INFO, "few-questions", task.task, text)
    elif task.detectable.value > DETECTABLE:
        text = FEW.format(100 * task.detectable.value, task.n_pairs)
        yield Warning(INFO, "few-questions", task.task, text)


def of_grading(task: TaskComparison) -> Iterator[Warning]:
    """Yield what failed graders cost."""
    if task.n_pairs == 0:
        yield Warning(STOP, "nothing-graded", task.task, NOTHING)
    for arm, score in zip(ARMS, (task.baseline, task.candidate), strict=True):
        if score.grader_error.count:
            many = score.grader_error.value > GRADER_ERROR_LIMIT
            why = ": no headline until that is mended" if many else ", left out of the score"
            text = f"a grader failed on {told(score.grader_error)} of the {arm}{why}"
            yield Warning(STOP if many else WARN, "grader-errors", task.task, text)


def of_rates(task: TaskComparison, arms: list[tuple[Item, ...]]) -> Iterator[Warning]:
    """Yield where completions that were cut off, or show no answer, may explain a difference."""
    shares = (task.baseline.truncated, task.candidate.truncated)
    if many_or_unlike(shares, TRUNCATED, TRUNCATED_GAP):
        limits = [(sampling or {}).get(TOKEN_LIMIT) for sampling in task.sampling]
        at = f" (max_tokens {limits[0]} and {limits[1]})" if any(limits) else ""
        text = f"cut off{at}: {both(shares)}; `distill-report truncation` has the bounds"
        yield Warning(WARN, "truncation", task.task, text)
    shares = (task.baseline.no_answer, task.candidate.no_answer)
    if many_or_unlike(shares, NO_ANSWER, NO_ANSWER_GAP):
        text = f"no answer found in {both(shares)}: does the format cost one arm points?"
        yield Warning(WARN, "no-answer", task.task, text)
    for arm, rows in zip(ARMS, arms, strict=True):
        cached = sum(bool(item.cached) for item in rows)
        if cached:
            text = f"{cached} of {len(rows)} answers of the {arm} came from lm-eval's cache"
            yield Warning(WARN, "cached", task.task, f"{text}, not from this run")


def of_loops(task: TaskComparison, number: int, rows: list[Item]) -> Iterator[Warning]:
    """Yield where an arm runs into loops, and how many of these nobody told to be cut off."""
    looped = [item for item in rows if item.signs is not None and item.signs.looped]
    known = Share(len(looped), sum(item.signs is not None for item in rows))
    if known.value > LOOPED:
        text = f"{told(known)} of the {ARMS[number]} end in a loop; more tokens would not end them"
        if unseen := sum(not item.truncated for item in looped):
            text += f"; {unseen} of these are not known to be cut off, and count as complete"
        yield Warning(WARN, "loops", task.task, text)


def of_sampling(task: TaskComparison, number: int, rows: list[Item]) -> Iterator[Warning]:
    """Yield where a model that thinks was decoded greedily."""
    sampling = task.sampling[number] or {}
    greedy = sampling.get("temperature") == 0 or sampling.get("do_sample") is False
    if greedy and share(rows, lambda item: item.has_reasoning).value > THINKS:
        text = (
            f"the {ARMS[number]} thinks and was decoded greedily, which invites endless "
            "repetition: models that think are published with a temperature"
        )
        yield Warning(WARN, "greedy", task.task, text)


def of_match(task: str, couples: list[Couple]) -> Iterator[Warning]:
    """Yield where the logs hold too few of an arm's samples."""
    for arm, rows in zip(ARMS, zip(*couples, strict=True), strict=True):
        found = share(list(rows), lambda item: item.in_log)
        if found.value < MATCHED:
            text = (
                f"only {found.count} of {found.n} samples of the {arm} were found in the log "
                f"({100 * found.value:.1f}%): figures of a log rest on those"
            )
            yield Warning(WARN, "log-match", task, text)


def many_or_unlike(shares: tuple[Share, Share], most: float, gap: float) -> bool:
    """Say whether a rate is high in an arm, or differs between the arms; not where unknown."""
    base, cand = (one.value for one in shares)
    return base > most or cand > most or abs(base - cand) > gap


def both(shares: tuple[Share, Share]) -> str:
    """Return the rates of both arms in words."""
    return ", ".join(f"{told(one)} of the {arm}" for arm, one in zip(ARMS, shares, strict=True))


def told(one: Share) -> str:
    """Return a share in words."""
    return f"{one.count} of {one.n} completions ({100 * one.value:.1f}%)"
