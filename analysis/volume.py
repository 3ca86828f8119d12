"""How much each arm reasoned and answered: characters, words, tokens, share with reasoning.

Owns the volume figures. Every figure says on how many samples it rests, since a mean over the few
samples that had a log is an artefact. Refuses to own how a size was found (`items`).

    reasoning characters   baseline 0   candidate 812   difference +812 [790, 835]   1319/1319
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.estimate import Estimate, undefined
from analysis.items import BASELINE, CANDIDATE, FROM_LOG, Item
from analysis.stats.cluster import bootstrap_mean

UNKNOWN = "no sample whose size is known"


@dataclass(frozen=True)
class VolumeFigure:
    """One figure of both arms; `known` of `n` samples is what it rests on, `logged` had a log."""

    name: str
    unit: str  # "chars", "words", "tokens" or "share"
    baseline: Estimate
    candidate: Estimate
    difference: Estimate  # over questions known in both arms
    ratio: Estimate  # candidate / baseline
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
    (
        "with reasoning",
        "share",
        lambda item: None if item.has_reasoning is None else float(item.has_reasoning),
    ),
)


def reasoning_share(reasoning_chars: float, answer_chars: float) -> float:
    """Return reasoning's share of all characters, in [0, 1].

    Raises:
        ValueError: both are 0, so there is nothing to share.
    """
    if reasoning_chars + answer_chars <= 0:
        raise ValueError("a share of no characters is undefined")
    return reasoning_chars / (reasoning_chars + answer_chars)


def figures(items: Sequence[Item], seed: Sequence[int]) -> list[VolumeFigure]:
    """Return the volume figures of one task; [] for a task that generates no text."""
    if all(item.truncated is None for item in items):
        return []
    made = [
        figure(items, name, unit, size, np.random.default_rng([*seed, number]))
        for number, (name, unit, size) in enumerate(FIGURES)
    ]
    return [*made, share_figure(made[0], made[1])]


def figure(
    items: Sequence[Item], name: str, unit: str, size: Size, rng: np.random.Generator
) -> VolumeFigure:
    """Return one figure: means over questions, and the paired difference with its interval."""
    means = {arm: question_means(items, arm, size) for arm in (BASELINE, CANDIDATE)}
    base, cand = means[BASELINE], means[CANDIDATE]
    shared = [doc_id for doc_id in base if doc_id in cand]
    difference = undefined("no question whose size is known in both arms")
    if shared:
        difference = bootstrap_mean([cand[doc_id] - base[doc_id] for doc_id in shared], rng)
    baseline, candidate = mean_of(base), mean_of(cand)
    return VolumeFigure(
        name=name,
        unit=unit,
        baseline=baseline,
        candidate=candidate,
        difference=difference,
        ratio=ratio_of(candidate, baseline),
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


def ratio_of(candidate: Estimate, baseline: Estimate) -> Estimate:
    """Return candidate / baseline, undefined where the baseline is 0 or either is unknown."""
    if not (candidate.defined and baseline.defined):
        return undefined(UNKNOWN)
    if baseline.value == 0.0:
        return undefined("the baseline is 0")
    return Estimate(candidate.value / baseline.value)


def share_figure(reasoning: VolumeFigure, answer: VolumeFigure) -> VolumeFigure:
    """Return reasoning's share of all characters, from the two figures it is made of."""
    shares = [
        share_of(reasoning.baseline, answer.baseline),
        share_of(reasoning.candidate, answer.candidate),
    ]
    difference = undefined(UNKNOWN)
    if all(share.defined for share in shares):
        difference = Estimate(
            shares[1].value - shares[0].value, reason="a ratio of sums: no interval is computed"
        )
    return VolumeFigure(
        name="reasoning share",
        unit="share",
        baseline=shares[0],
        candidate=shares[1],
        difference=difference,
        ratio=ratio_of(shares[1], shares[0]),
        n=reasoning.n,
        baseline_known=reasoning.baseline_known,
        candidate_known=reasoning.candidate_known,
        baseline_logged=reasoning.baseline_logged,
        candidate_logged=reasoning.candidate_logged,
    )


def share_of(reasoning: Estimate, answer: Estimate) -> Estimate:
    """Return the share, undefined where nothing was written or nothing is known."""
    if not (reasoning.defined and answer.defined):
        return undefined(UNKNOWN)
    if reasoning.value + answer.value == 0.0:
        return undefined("all completions are empty")
    return Estimate(reasoning_share(reasoning.value, answer.value))
