"""Scores by topic, level, difficulty, platform or any other group that the docs tell.

Owns which groups are shown and what is one family of tests: one tag of one task. Refuses to own
which fields of a doc are tags (`reading.doc`) and the estimators (`stats`).

    groups(comparison, TableOptions(by=("level",))).column("holm_p")
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from analysis.compare import Comparison
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
from analysis.tables.table import Cell, Column, Table

MOST_GROUPS = 60  # a tag with more groups than this names single docs
COLUMNS = (
    Column("task", "task"),
    Column("by", "by"),
    Column("group", "group"),
    *FIGURES,
)
FOOT = (
    "McNemar in each group (several samples a question: sign-flip permutation of question means), "
    "Wilson and Newcombe 95%. Holm and BH (Benjamini-Hochberg): over the groups of one tag of one "
    "task, the family."
)


def groups(comparison: Comparison, options: TableOptions) -> Table:
    """Return both arms' scores in every group of every tag, or of the tags asked for.

    Raises:
        ValueError: a tag is asked for that no doc has.
    """
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    tags: dict[str, None] = {}
    for task, couples in by_task(comparison).items():
        for tag, members in by_tag(couples).items():
            tags[tag] = None
            if options.by and tag not in options.by:
                continue
            if unfit := not_shown(members, len(couples)):
                notes.append(f"{task}, {tag}: {unfit}")
                continue
            rows += family(comparison, task, tag, members)
    if lacking := [tag for tag in options.by if tag not in tags]:
        have = ", ".join(tags) or "no groups at all"
        raise ValueError(f"no doc tells its {', '.join(lacking)}; the docs have {have} (--by)")
    return Table(
        "groups", "By group", COLUMNS, rows, FOOT, tuple(notes), "" if rows else why_empty(notes)
    )


def why_empty(notes: list[str]) -> str:
    """Say why no group is shown."""
    if notes:
        return "no tag has at least two groups worth a line"
    return "no doc tells a topic, level, difficulty or another group"


def by_tag(couples: list[Couple]) -> dict[str, dict[str, list[Couple]]]:
    """Return the couples of each group of each tag."""
    found: dict[str, dict[str, list[Couple]]] = {}
    for couple in couples:
        for tag, group in couple[0].tags.items():
            found.setdefault(tag, {}).setdefault(group, []).append(couple)
    return found


def not_shown(members: dict[str, list[Couple]], n_couples: int) -> str:
    """Say why a tag is left out, "" where it is shown."""
    if len(members) == 1 and sum(map(len, members.values())) == n_couples:
        return f"all docs are in one group, {next(iter(members))!r}"
    if len(members) > MOST_GROUPS:
        return f"left out, {len(members)} groups (at most {MOST_GROUPS} are shown)"
    n_docs = len({couple[0].doc_id for couples in members.values() for couple in couples})
    if len(members) == n_docs > 1:
        return "left out, every doc is a group of its own"
    return ""


def family(
    comparison: Comparison, task: str, tag: str, members: dict[str, list[Couple]]
) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of one tag of one task, its p-values adjusted over them."""
    rng = generator(comparison, task, number_of(f"groups {tag}"))
    figures: dict[str, PairedFigures] = {
        group: paired_figures(members[group], rng) for group in sorted(members, key=natural)
    }
    adjustments = adjusted([one.p for one in figures.values()])
    for (group, one), (holm, bh) in zip(figures.items(), adjustments, strict=True):
        scores = (one.baseline, one.candidate, one.difference)
        yield (task, tag, group, one.n, *scores, one.p, holm, bh)


ORDERED = {"easy": 0, "introductory": 0, "medium": 1, "interview": 1, "hard": 2, "competition": 2}


def natural(group: str) -> tuple[int, list[tuple[int, int, str]]]:
    """Return a key that sorts 2 before 10, and easy before medium before hard.

    >>> sorted(["Level 10", "Level 2", "hard", "easy"], key=natural)
    ['easy', 'hard', 'Level 2', 'Level 10']
    """
    known = ORDERED.get(group.lower())
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+", group.lower())
    ordered = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return (len(ORDERED) if known is None else known, ordered)
