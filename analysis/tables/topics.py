"""The topics of the questions that training data names too, with the figures of each.

Owns which tag of the questions is matched with which field of the training data. Refuses to own
what a line of training data means (`training_data`), and the tables of topics (`skills`).

    topics, notes = topics_of(comparison, TableOptions(train=(Path("traces.jsonl"),)))
    topics[0].n_trained          # lines of training data of that topic
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.compare import Comparison
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import (
    Couple,
    PairedFigures,
    by_task,
    generator,
    number_of,
    paired_figures,
)
from analysis.training_data import Faults, read_all

COARSE = ("level", "difficulty", "source", "platform", "year")  # taken where nothing finer matches
MOST_TOPICS = 500
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


class Match(NamedTuple):
    """The tag of a task's questions and the field of training data that speak of the same."""

    tag: str
    field: str
    topics: dict[str, list[Couple]]


def plain(name: str) -> str:
    """Return a topic as it is compared: `Counting & Probability` is `counting_and_probability`."""
    words = [word for word in WORD.findall(name.casefold()) if word not in DROPPED]
    return " ".join(words) or name


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
                counts.setdefault(name, Counter())[plain(value)] += 1
    return Trained(counts, tuple(faults.notes()))


def matched(couples: list[Couple], trained: Trained, by: tuple[str, ...]) -> Match | None:
    """Return the tag and the field that have most topics in common, with the tag's topics."""
    tags: dict[str, dict[str, list[Couple]]] = {}
    for couple in couples:
        for tag, value in couple[0].tags.items():
            if not by or tag in by:
                tags.setdefault(tag, {}).setdefault(value, []).append(couple)
    best: tuple[tuple[bool, int, int], str, str] | None = None
    for tag, topics in tags.items():
        names = set(map(plain, topics))
        for name, counts in trained.counts.items():
            common = names & counts.keys()
            rank = (tag not in COARSE, len(common), sum(counts[one] for one in common))
            if 2 <= len(topics) <= MOST_TOPICS and common and (best is None or rank > best[0]):
                best = (rank, tag, name)
    return None if best is None else Match(best[1], best[2], tags[best[1]])


def topics_of(comparison: Comparison, options: TableOptions) -> tuple[list[Topic], tuple[str, ...]]:
    """Return every topic of every task that has some, and notes.

    Raises:
        ValueError: training data that cannot be read. OSError.
    """
    trained = read_trained(options.train)
    found: list[Topic] = []
    notes = list(trained.notes)
    for task, couples in by_task(comparison).items():
        match = matched(couples, trained, options.by)
        if match is None:
            notes.append(no_match(task, couples, trained))
            continue
        counts = trained.counts[match.field]
        found += topics_of_task(
            task, match, counts, generator(comparison, task, number_of("skills"))
        )
        missing = len(counts.keys() - set(map(plain, match.topics)))
        if missing:
            told = f"{missing} values of {match.field} were trained on and are no {match.tag} of it"
            notes.append(f"{task}: {told}")
    return found, tuple(notes)


def no_match(task: str, couples: list[Couple], trained: Trained) -> str:
    """Say what a task's questions are tagged by, and what training data has in place of it."""
    tags = sorted({tag for base, _ in couples for tag in base.tags})
    return (
        f"{task}: none of its tags ({', '.join(tags) or 'it has none'}) matches a field of "
        f"the training data ({', '.join(trained.counts) or 'it has none'})"
    )


def topics_of_task(
    task: str, match: Match, counts: Counter[str], rng: np.random.Generator
) -> Iterator[Topic]:
    """Yield the topics of one task, in the order of its questions."""
    total = counts.total()
    for name, couples in match.topics.items():
        n = counts[plain(name)]
        figures = paired_figures(couples, rng)
        yield Topic(task, match.tag, match.field, name, n, n / total, figures)
