"""Topics trained on against topics improved: did what was practised get better?

Owns which figures stand in these tables. Refuses to own the estimators (`stats.association`) and
which topics of the questions those of the training data are (`topics`).

    skills(comparison, TableOptions(train=(Path("traces.jsonl"),)))       # a row a topic
    quadrants(comparison, TableOptions(train=(Path("traces.jsonl"),)))    # Spearman and Fisher
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

import numpy as np

from analysis.compare import Comparison
from analysis.stats import association
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import FIGURES, adjusted, generator, number_of
from analysis.tables.leakage import NO_TRAIN
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.tables.topics import Topic, topics_of

ALL = "all tasks"
UNMATCHED = "no tag of a task matches a field of the training data"
COLUMNS = (
    Column("task", "task"),
    Column("by", "by"),
    Column("topic", "topic"),
    Column("trained", "trained", Kind.COUNT),
    Column("share", "share", Kind.PERCENT),
    *FIGURES,
)
QUADRANT_COLUMNS = (
    Column("task", "task"),
    Column("topics", "topics", Kind.COUNT),
    Column("high_improved", "much, better", Kind.COUNT),
    Column("low_improved", "little, better", Kind.COUNT),
    Column("high_not", "much, not", Kind.COUNT),
    Column("low_not", "little, not", Kind.COUNT),
    Column("cut", "cut at", Kind.PERCENT),
    Column("fisher_p", "Fisher p", Kind.P),
    Column("rho", "rho", Kind.EFFECT),
    Column("p", "p", Kind.P),
)


def families(topics: Iterable[Topic]) -> dict[str, list[Topic]]:
    """Return the topics by their task."""
    found: dict[str, list[Topic]] = {}
    for one in topics:
        found.setdefault(one.task, []).append(one)
    return found


def skills(comparison: Comparison, options: TableOptions) -> Table:
    """Return how much each topic was trained on and what it gained."""
    title = "Topics trained on, and what they gained"
    if not options.train:
        return Table("skills", title, COLUMNS, [], empty=NO_TRAIN)
    topics, notes = topics_of(comparison, options)
    rows = [row for family in families(topics).values() for row in family_rows(family)]
    return Table(
        "skills",
        title,
        COLUMNS,
        rows,
        foot=(
            "trained: lines of training data that are used, by the field behind =; share: of the "
            "lines that have the field. Tests as by group; Holm and BH over the topics of a task."
        ),
        notes=notes,
        empty="" if rows else UNMATCHED,
    )


def family_rows(family: list[Topic]) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of one task, the topic with most training first."""
    ordered = sorted(family, key=lambda one: -one.n_trained)
    p_values = adjusted([one.figures.p for one in ordered])
    for one, (holm, bh) in zip(ordered, p_values, strict=True):
        figures = one.figures
        yield (
            one.task, f"{one.tag} = {one.field}", one.name, one.n_trained, one.share, figures.n,
            figures.baseline, figures.candidate, figures.difference, figures.p, holm, bh,
        )  # fmt: skip


def quadrants(comparison: Comparison, options: TableOptions) -> Table:
    """Return whether topics trained on more gained more: quadrants, and Spearman's rho."""
    title = "Trained much or little, better or not"
    if not options.train:
        return Table("skill-quadrants", title, QUADRANT_COLUMNS, [], empty=NO_TRAIN)
    topics, notes = topics_of(comparison, options)
    usable = [one for one in topics if one.figures.difference.defined]
    groups = families(usable)
    if len(groups) > 1:
        groups[ALL] = usable
    rows = [
        quadrant_row(name, some, generator(comparison, name, number_of("skill-quadrants")))
        for name, some in groups.items()
    ]
    return Table(
        "skill-quadrants",
        title,
        QUADRANT_COLUMNS,
        rows,
        foot=(
            "much: a larger share of training than the median topic (or one as large, where that "
            "parts them more evenly); better: difference above 0. "
            f"Fisher's exact test of the four counts; rho: {association.SPEARMAN}, permutation p. "
            "Unadjusted: both ask one question."
        ),
        notes=(*notes, *few(groups)),
        empty="" if rows else UNMATCHED,
    )


def quadrant_row(name: str, topics: list[Topic], rng: np.random.Generator) -> tuple[Cell, ...]:
    """Return the row of one task, or of all."""
    shares = [one.share for one in topics]
    gains = [one.figures.difference.value for one in topics]
    high, cut = much(shares)
    counted = association.quadrants_of(high, [gain > 0 for gain in gains], (cut, 0.0))
    tied = association.spearman(shares, gains, rng)
    return (
        name, len(topics), counted.high_high, counted.low_high, counted.high_low, counted.low_low,
        counted.x_cut, counted.p, tied.rho, tied.p,
    )  # fmt: skip


def much(shares: list[float]) -> tuple[list[bool], float]:
    """Return which topics were trained on much, by a cut at the median share.

    Where many share the median's, they go to the side that leaves the halves more even: of 26
    topics with five lines and 15 with one the 26 are trained on much.
    """
    cut = median(shares)
    above, from_it = [share > cut for share in shares], [share >= cut for share in shares]
    uneven = [abs(2 * sum(part) - len(shares)) for part in (above, from_it)]
    return (above if uneven[0] <= uneven[1] else from_it), cut


def few(groups: dict[str, list[Topic]]) -> list[str]:
    """Say where there are too few topics to see anything."""
    return [
        f"{name}: {len(some)} topics; below 6 even a perfect order is not beyond chance"
        for name, some in groups.items()
        if len(some) < 6
    ]
