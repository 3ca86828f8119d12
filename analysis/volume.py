"""How much each arm reasoned and answered: characters, words, tokens, seconds.

Owns the volume figures. Every figure says on how many samples it rests, since a mean over the few
samples that had a log is an artefact. Refuses to own how a size was found (`items`). A question's
samples are averaged first: means and medians are over questions.

    reasoning characters   baseline 0   candidate 812   difference +812 [790, 835]   1319/1319
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.estimate import Estimate, undefined
from analysis.items import BASELINE, CANDIDATE, FROM_LOG, Item
from analysis.stats.cluster import bootstrap_mean
from analysis.stats.quantiles import median
from analysis.stats.ratios import OfMeans, of_means, ratio

UNKNOWN = "no sample whose size is known"
UNPAIRED = "no question whose size is known in both arms"
BASELINE_ZERO = "the baseline is 0"
ALL_EMPTY = "all completions are empty"


@dataclass(frozen=True)
class VolumeFigure:
    """One figure of both arms; `known` of `n` samples is what it rests on, `logged` had a log."""

    name: str
    unit: str  # "chars", "words", "tokens", "s" or "share"
    baseline: Estimate
    candidate: Estimate
    difference: Estimate  # over questions known in both arms
    ratio: Estimate  # candidate / baseline, over the same questions
    n_shared: int  # questions known in both arms
    n: int
    baseline_known: int
    candidate_known: int
    baseline_logged: int
    candidate_logged: int


Size = Callable[[Item], float | None]
FIGURES: tuple[tuple[str, str, Size], ...] = (
    ("reasoning chars", "chars", lambda item: item.reasoning_chars),
    ("answer chars", "chars", lambda item: item.answer_chars),
    ("reasoning words", "words", lambda item: item.reasoning_words),
    ("answer words", "words", lambda item: item.answer_words),
    ("completion tokens", "tokens", lambda item: item.completion_tokens),
    ("seconds", "s", lambda item: item.duration_s),
    (
        "with reasoning",
        "share",
        lambda item: None if item.has_reasoning is None else float(item.has_reasoning),
    ),
)


def figures(items: Sequence[Item], seed: Sequence[int]) -> list[VolumeFigure]:
    """Return the volume figures of one task; [] for a task that generates no text."""
    if all(item.truncated is None for item in items):
        return []
    made = [
        figure(items, name, unit, size, np.random.default_rng([*seed, number]))
        for number, (name, unit, size) in enumerate(FIGURES)
    ]
    share_rng = np.random.default_rng([*seed, len(FIGURES)])
    return [*made, share_figure(items, made[0], share_rng)]


def figure(
    items: Sequence[Item], name: str, unit: str, size: Size, rng: np.random.Generator
) -> VolumeFigure:
    """Return one figure: means over questions, and the paired difference with its interval."""
    means = {arm: question_means(items, arm, size) for arm in (BASELINE, CANDIDATE)}
    base, cand = means[BASELINE], means[CANDIDATE]
    shared = [doc_id for doc_id in base if doc_id in cand]
    difference, over_baseline = undefined(UNPAIRED), undefined(UNPAIRED)
    if shared:
        pairs = [base[doc_id] for doc_id in shared], [cand[doc_id] for doc_id in shared]
        difference = bootstrap_mean([c - b for b, c in zip(*pairs, strict=True)], rng)
        over_baseline = (
            ratio(pairs[1], pairs[0], rng) if any(pairs[0]) else undefined(BASELINE_ZERO)
        )
    return VolumeFigure(
        name=name,
        unit=unit,
        baseline=mean_of(base),
        candidate=mean_of(cand),
        difference=difference,
        ratio=over_baseline,
        n_shared=len(shared),
        n=len(items) // 2,
        baseline_known=count(items, BASELINE, lambda item: size(item) is not None),
        candidate_known=count(items, CANDIDATE, lambda item: size(item) is not None),
        baseline_logged=count(items, BASELINE, lambda item: item.volume_from == FROM_LOG),
        candidate_logged=count(items, CANDIDATE, lambda item: item.volume_from == FROM_LOG),
    )


def count(items: Sequence[Item], arm: str, holds: Callable[[Item], bool]) -> int:
    """Return how many items of an arm a condition holds for."""
    return sum(item.arm == arm and holds(item) for item in items)


def question_means(items: Sequence[Item], arm: str, size: Size) -> dict[int | str, float]:
    """Return each question's mean size over its samples of known size."""
    values: dict[int | str, list[float]] = {}
    for item in items:
        value = size(item)
        if item.arm == arm and value is not None:
            values.setdefault(item.doc_id, []).append(float(value))
    return {doc_id: sum(known) / len(known) for doc_id, known in values.items()}


def mean_of(means: dict[int | str, float]) -> Estimate:
    """Return the mean over questions, undefined where there are none."""
    return Estimate(sum(means.values()) / len(means)) if means else undefined(UNKNOWN)


def median_of(means: dict[int | str, float]) -> Estimate:
    """Return the median over questions, undefined where there are none."""
    return median(list(means.values())) if means else undefined(UNKNOWN)


Parts = dict[int | str, tuple[float, float]]


def share_figure(
    items: Sequence[Item], reasoning: VolumeFigure, rng: np.random.Generator
) -> VolumeFigure:
    """Return reasoning's share of all characters: of the sums, not the mean of shares."""
    base, cand = parts_of(items, BASELINE), parts_of(items, CANDIDATE)
    shared = [doc_id for doc_id in base if doc_id in cand]
    columns = [[one[doc_id][i] for doc_id in shared] for one in (base, cand) for i in (0, 1)]
    difference, over_baseline = undefined(UNPAIRED), undefined(UNPAIRED)
    if shared:
        difference = share_or_why(columns, lambda a, b, c, d: c / (c + d) - a / (a + b), rng)
        over_baseline = share_or_why(columns, lambda a, b, c, d: c / (c + d) / (a / (a + b)), rng)
        if not any(columns[0]):
            over_baseline = undefined(BASELINE_ZERO)
    return replace(
        reasoning,
        name="reasoning share",
        unit="share",
        baseline=share_of(base, rng),
        candidate=share_of(cand, rng),
        difference=difference,
        ratio=over_baseline,
        n_shared=len(shared),
    )


def parts_of(items: Sequence[Item], arm: str) -> Parts:
    """Return each question's mean reasoning and answer characters, where both are known."""
    reasoning = question_means(items, arm, lambda item: item.reasoning_chars)
    answer = question_means(items, arm, lambda item: item.answer_chars)
    return {doc_id: (reasoning[doc_id], answer[doc_id]) for doc_id in reasoning if doc_id in answer}


def share_of(parts: Parts, rng: np.random.Generator) -> Estimate:
    """Return reasoning's share of one arm, undefined where nothing was written or is known."""
    if not parts:
        return undefined(UNKNOWN)
    return share_or_why(list(zip(*parts.values(), strict=True)), lambda r, a: r / (r + a), rng)


def share_or_why(
    columns: Sequence[Sequence[float]], function: OfMeans, rng: np.random.Generator
) -> Estimate:
    """Return a function of shares, undefined where an arm wrote nothing at all."""
    found = of_means(columns, function, rng)
    return found if found.defined else undefined(ALL_EMPTY)
