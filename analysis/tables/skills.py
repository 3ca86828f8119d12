"""Topics trained on against topics improved: did what was practised get better?

Owns which tag of the questions is matched with which field of the training data. Refuses to own the
estimators (`stats.association`) and what a line of training data means (`training_data`).

    skills(comparison, TableOptions(train=(Path("traces.jsonl"),)))       # a row a topic
    quadrants(comparison, TableOptions(train=(Path("traces.jsonl"),)))    # Spearman and Fisher
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from analysis.compare import Comparison
from analysis.stats import association
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import (
    FIGURES,
    Couple,
    PairedFigures,
    adjusted,
    by_task,
    generator,
    number_of,
    paired_figures,
)
from analysis.tables.leakage import NO_TRAIN
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.training_data import Faults, read_all

COARSE = ("level", "difficulty", "source", "platform", "year")  # taken where nothing finer matches
MOST_TOPICS = 500
ALL = "all tasks"
WORD = re.compile(r"[^\W_]+")
DROPPED = {"and", "level", "the", "of"}


@dataclass(frozen=True)
class Topic:
    """One topic of a task: how much it was trained on, and its figures in both arms."""

    task: str
    tag: str
    field: str
    name: str
    n_trained: int
    share: float
    figures: PairedFigures


@dataclass(frozen=True)
class Trained:
    """How many lines of training data there are by field and by the plain form of its value."""

    counts: dict[str, Counter[str]]
    notes: tuple[str, ...]


def plain(name: str) -> str:
    """Return a topic as it is compared: `Counting & Probability` is `counting_and_probability`."""
    return " ".join(word for word in WORD.findall(name.casefold()) if word not in DROPPED)


def read_trained(train: Iterable[Path]) -> Trained:
    """Count the used lines of the training data by every field that may name a topic.

    Raises:
        ValueError: a path that is no file. OSError.
    """
    faults = Faults()
    counts: dict[str, Counter[str]] = {}
    for _, example in read_all(train, faults):
        if example.used:
            for name, value in example.fields.items():
                counts.setdefault(name, Counter())[plain(value) or value] += 1
    return Trained(counts, tuple(faults.notes()))


def matched(
    couples: list[Couple], trained: Trained, by: tuple[str, ...]
) -> tuple[str, str, dict[str, list[Couple]]] | None:
    """Return the tag and the field that have most topics in common, with the tag's topics."""
    tags: dict[str, dict[str, list[Couple]]] = {}
    for couple in couples:
        for tag, value in couple[0].tags.items():
            if not by or tag in by:
                tags.setdefault(tag, {}).setdefault(value, []).append(couple)
    best: tuple[tuple[bool, int, int], str, str] | None = None
    for tag, topics in tags.items():
        names = {plain(topic) or topic for topic in topics}
        for name, counts in trained.counts.items():
            common = names & counts.keys()
            rank = (tag not in COARSE, len(common), sum(counts[one] for one in common))
            if 2 <= len(topics) <= MOST_TOPICS and common and (best is None or rank > best[0]):
                best = (rank, tag, name)
    return None if best is None else (best[1], best[2], tags[best[1]])


def topics_of(comparison: Comparison, options: TableOptions) -> tuple[list[Topic], tuple[str, ...]]:
    """Return every topic of every task that has some, and notes.

    Raises:
        ValueError: training data that cannot be read. OSError.
    """
    trained = read_trained(options.train)
    found: list[Topic] = []
    notes = list(trained.notes)
    for task, couples in by_task(comparison).items():
        pair = matched(couples, trained, options.by)
        if pair is None:
            tags = sorted({tag for base, _ in couples for tag in base.tags})
            notes.append(
                f"{task}: none of its tags ({', '.join(tags) or 'it has none'}) matches a field of "
                f"the training data ({', '.join(trained.counts) or 'it has none'})"
            )
            continue
        tag, name, topics = pair
        counts, total = trained.counts[name], trained.counts[name].total()
        rng = generator(comparison, task, number_of("skills"))
        for topic, some in topics.items():
            figures = paired_figures(some, rng)
            n = counts[plain(topic) or topic]
            found.append(Topic(task, tag, name, topic, n, n / total, figures))
        missing = len(counts.keys() - {plain(topic) or topic for topic in topics})
        if missing:
            notes.append(
                f"{task}: {missing} values of {name} were trained on and are no {tag} of it"
            )
    return found, tuple(notes)


def skills(comparison: Comparison, options: TableOptions) -> Table:
    """Return how much each topic was trained on and what it gained."""
    columns = (
        Column("task", "task"),
        Column("by", "by"),
        Column("topic", "topic"),
        Column("trained", "trained", Kind.COUNT),
        Column("share", "share", Kind.PERCENT),
        *FIGURES,
    )
    title = "Topics trained on, and what they gained"
    if not options.train:
        return Table("skills", title, columns, [], empty=NO_TRAIN)
    topics, notes = topics_of(comparison, options)
    rows: list[tuple[Cell, ...]] = []
    for task in dict.fromkeys(one.task for one in topics):
        family = sorted((one for one in topics if one.task == task), key=lambda one: -one.n_trained)
        for one, (holm, bh) in zip(
            family, adjusted([topic.figures.p for topic in family]), strict=True
        ):
            figures = one.figures
            rows.append(
                (task, f"{one.tag} = {one.field}", one.name, one.n_trained, one.share, figures.n,
                 figures.baseline, figures.candidate, figures.difference, figures.p, holm, bh)
            )  # fmt: skip
    return Table(
        "skills",
        title,
        columns,
        rows,
        foot=(
            "trained: lines of training data that are used, by the field behind =; share: of the "
            "lines that have the field. Tests as by group; Holm and BH over the topics of a task."
        ),
        notes=notes,
        empty="" if rows else "no tag of a task matches a field of the training data",
    )


def quadrants(comparison: Comparison, options: TableOptions) -> Table:
    """Return whether topics trained on more gained more: quadrants, and Spearman's rho."""
    columns = (
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
    title = "Trained much or little, better or not"
    if not options.train:
        return Table("skill-quadrants", title, columns, [], empty=NO_TRAIN)
    topics, notes = topics_of(comparison, options)
    usable = [one for one in topics if one.figures.difference.defined]
    names = list(dict.fromkeys(one.task for one in usable))
    groups = {name: [one for one in usable if one.task == name] for name in names}
    if len(groups) > 1:
        groups[ALL] = usable
    rows: list[tuple[Cell, ...]] = []
    for name, some in groups.items():
        shares = [one.share for one in some]
        gains = [one.figures.difference.value for one in some]
        high, cut = much(shares)
        counted = association.quadrants_of(high, [gain > 0 for gain in gains], (cut, 0.0))
        rng = generator(comparison, name, number_of("skill-quadrants"))
        tied = association.spearman(shares, gains, rng)
        rows.append(
            (name, len(some), counted.high_high, counted.low_high, counted.high_low,
             counted.low_low, counted.x_cut, counted.p, tied.rho, tied.p)
        )  # fmt: skip
    return Table(
        "skill-quadrants",
        title,
        columns,
        rows,
        foot=(
            "much: a larger share of training than the median topic (or one as large, where that "
            "parts them more evenly); better: difference above 0. "
            f"Fisher's exact test of the four counts; rho: {association.SPEARMAN}, permutation p. "
            "Unadjusted: both ask one question."
        ),
        notes=(*notes, *few(groups)),
        empty="" if rows else "no tag of a task matches a field of the training data",
    )


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
