"""Tables of what the texts show: the turns of a mind at work, and loops.

Owns their columns and units. Refuses to own the phrases and the rule for a loop (`reading.signs`).

    loops(comparison, TableOptions()).column("candidate")     # [Estimate(0.03, 0.01, 0.085)]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from analysis.compare import Comparison
from analysis.estimate import Estimate, Share, undefined
from analysis.items import ARMS, Item
from analysis.reading.signs import BEHAVIOURS, LOOP_CHARS
from analysis.stats.ratios import of_means
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import Couple, by_task, generator, number_of, paired_figures
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.volume import question_means

PER_WORDS = 1_000
NO_TEXT = "no completion of this comparison has a text that is known in both arms"
NOT_WHOLE = (
    "no completion whose whole text is known in both arms: an API client keeps the content alone, "
    "and the log has the rest (--log)"
)
NO_WORDS = "no completion has a word"
BEHAVIOUR = (
    Column("task", "task"),
    Column("behaviour", "behaviour"),
    Column("n", "questions", Kind.COUNT),
    Column("baseline", "baseline per 1,000 words", Kind.RATIO),
    Column("candidate", "candidate per 1,000 words", Kind.RATIO),
    Column("baseline_share", "baseline shows it", Kind.PERCENT),
    Column("candidate_share", "candidate shows it", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
)
LOOPS = (
    Column("task", "task"),
    Column("n", "questions", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("baseline_truncated", "of baseline truncated", Kind.PERCENT),
    Column("candidate_truncated", "of candidate truncated", Kind.PERCENT),
)


def behaviour(comparison: Comparison, options: TableOptions) -> Table:
    """Return how often each behaviour shows, for each 1,000 words and by completion."""
    del options
    rows = [
        (task, name, *behaviour_cells(couples, name, generator(comparison, task, number_of(name))))
        for task, couples in with_signs(comparison, whole=True).items()
        for name in BEHAVIOURS
    ]
    return Table(
        "behaviour",
        "Behaviours",
        BEHAVIOUR,
        rows,
        foot=(
            "Phrases of each behaviour in reasoning and answer, for each 1,000 words of them (95% "
            "question bootstrap of the ratio), and the share of completions with one or more, with "
            "its paired difference in points (Newcombe; question bootstrap for repeated samples). "
            "Nothing is adjusted for several behaviours."
        ),
        notes=(
            "Counted by English phrases, after the behaviours of Gandhi et al. 2025 "
            "(arXiv:2503.01307), who had a model judge them: compare arms, not behaviours.",
        ),
        empty="" if rows else NOT_WHOLE if with_signs(comparison) else NO_TEXT,
    )


def with_signs(comparison: Comparison, *, whole: bool = False) -> dict[str, list[Couple]]:
    """Return the couples whose texts are known in both arms, for tasks that have any.

    `whole`: only those that are known to be whole, and not what an API client kept of them.
    """

    def known(item: Item) -> bool:
        return item.signs is not None and not (whole and words(item) is None)

    found = {
        task: [couple for couple in couples if all(map(known, couple))]
        for task, couples in by_task(comparison).items()
    }
    return {task: couples for task, couples in found.items() if couples}


def behaviour_cells(
    couples: Sequence[Couple], name: str, rng: np.random.Generator
) -> Iterator[Cell]:
    """Yield the cells of one behaviour."""
    shown = paired_figures(couples, rng, partial(shows, name=name))
    yield shown.n
    for number in range(len(ARMS)):
        yield per_words([couple[number] for couple in couples], name, rng)
    yield from (shown.baseline, shown.candidate, shown.difference)


def shows(item: Item, name: str) -> float | None:
    """Return 1 where a completion shows a behaviour, else 0."""
    return None if item.signs is None else float(item.signs.n(name) > 0)


def per_words(rows: Sequence[Item], name: str, rng: np.random.Generator) -> Estimate:
    """Return how often a behaviour shows in 1,000 words of one arm."""
    arm = rows[0].arm
    counts = question_means(rows, arm, lambda item: item.signs.n(name) if item.signs else None)
    sizes = question_means(rows, arm, words)
    if not any(sizes.values()):
        return undefined(NO_WORDS)
    if not any(counts.values()):
        return Estimate(0.0, reason="none seen: no interval")
    columns = list(counts.values()), [sizes[doc_id] for doc_id in counts]
    return of_means(columns, lambda count, size: PER_WORDS * count / size, rng)


def words(item: Item) -> float | None:
    """Return the words of a whole completion, None where a part is unknown."""
    if item.reasoning_words is None or item.answer_words is None:
        return None
    return item.reasoning_words + item.answer_words


def loops(comparison: Comparison, options: TableOptions) -> Table:
    """Return how often completions end in a loop, and how many of the truncated ones do."""
    del options
    rows = [
        (task, *loop_cells(couples, generator(comparison, task, number_of("loops"))))
        for task, couples in with_signs(comparison).items()
    ]
    return Table(
        "loops",
        "Loop rate",
        LOOPS,
        rows,
        foot=(
            "Share of completions whose reasoning or answer ends in one stretch of text that "
            f"stands there twice or more in a row, over {LOOP_CHARS:,} characters or more; "
            "difference in points. Wilson and Newcombe; question bootstrap for repeated samples. "
            "Of truncated: of the completions that were cut off, those in a loop (count)."
        ),
        notes=(
            "A loop that drifts, as one that counts up, is not seen: the rate is a lower bound.",
        ),
        empty="" if rows else NO_TEXT,
    )


def loop_cells(couples: Sequence[Couple], rng: np.random.Generator) -> Iterator[Cell]:
    """Yield the cells of one task."""
    found = paired_figures(couples, rng, looped)
    yield from (found.n, found.baseline, found.candidate, found.difference)
    for number in range(len(ARMS)):
        cut = [couple[number] for couple in couples if couple[number].truncated]
        yield Share(sum(bool(looped(item)) for item in cut), len(cut))


def looped(item: Item) -> float | None:
    """Return 1 where a completion ends in a loop, else 0."""
    return None if item.signs is None else float(item.signs.looped)
