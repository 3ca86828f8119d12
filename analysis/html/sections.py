"""The sections of the page: which tables it has, their order, and what goes with each.

Owns the table of contents. Refuses to own what stands around the tables (`page`), their cells
(`blocks`) and their figures (`figures`).

    tables = every_table(comparison, TableOptions())
    contents([*of_tables(tables, comparison), *added([Path("sweep.json")])])
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.figures.choice import pictures
from analysis.figures.steps import learning
from analysis.figures.svg import Picture
from analysis.figures.tiers import by_words
from analysis.html.blocks import Block, block
from analysis.render.added import read_tables
from analysis.tables import catalogue
from analysis.tables.catalogue import TableOptions
from analysis.tables.table import Table
from analysis.text import visible

if TYPE_CHECKING:
    from analysis.compare import Comparison

# Of the tables that other commands write, those with a figure.
FIGURES = {"curves": learning, "tiers": by_words, "tier-pairs": by_words}
QUALITY = "data-quality"  # a table with a place of its own, near the end
QUOTING = ("target", "baseline_answer", "candidate_answer")
FIXED = (  # sections that every page has, before and after those of the tables
    (("verdict", "Verdict"), ("warnings", "Before you rely on it"), ("differences", "Differences")),
    (
        ("explorer", "Questions"),
        ("notes", "Notes"),
        (QUALITY, "Data quality"),
        ("method", "How numbers are made"),
        ("provenance", "Provenance"),
    ),
)


class Section(NamedTuple):
    """One table with its figures; `reading` says how it is read."""

    id: str
    reading: str
    block: Block
    pictures: list[Picture]


class Missing(NamedTuple):
    """A table without rows, and why."""

    name: str
    title: str
    reason: str


def every_table(comparison: Comparison, options: TableOptions) -> dict[str, Table]:
    """Return the tables of the catalogue; one that needs an option which is not there is empty."""
    made = {table.name: table for table in catalogue.made(comparison, options)}
    lacking = {
        entry.name: Table(entry.name, entry.help.rstrip("."), (), [], empty=f"needs --{needed}")
        for entry in catalogue.PAIR
        for needed in entry.needs
        if entry.name not in made
    }
    return {**made, **lacking}


def without_text(table: Table) -> Table:
    """Return a table without the columns that quote a question's target or an answer."""
    kept = [number for number, one in enumerate(table.columns) if one.name not in QUOTING]
    return replace(
        table,
        columns=tuple(table.columns[number] for number in kept),
        rows=[tuple(row[number] for number in kept) for row in table.rows],
    )


def of_tables(tables: dict[str, Table], comparison: Comparison) -> Iterator[Section]:
    """Yield a section for each table that has rows, in the order of the catalogue."""
    for entry in catalogue.PAIR:
        table = tables.get(entry.name)
        if table and table.rows and entry.name != QUALITY:
            drawn = pictures(entry.name, table, comparison)
            yield Section(f"table-{entry.name}", entry.reading, block(table), drawn)


def added(paths: Iterable[Path]) -> Iterator[Section]:
    """Yield a section for each table that other commands wrote to files.

    Raises:
        ValueError: a file that holds no tables.
    """
    told = ((path, table) for path in paths for table in read_tables(path) if table.rows)
    for path, table in told:
        draw = FIGURES.get(table.name)
        drawn = draw(table) if draw is not None else None
        reading = visible(f"Added from {path.name}.")
        name = f"added-{slug(path.stem)}-{slug(table.name)}"
        yield Section(name, reading, block(table), [drawn] if drawn else [])


def slug(name: str) -> str:
    """Return a name that can stand in an id."""
    return re.sub(r"[^0-9A-Za-z]+", "-", name)


def empties(tables: dict[str, Table]) -> Iterator[Missing]:
    """Yield the tables without rows."""
    for name, table in tables.items():
        if not table.rows and name != QUALITY:
            yield Missing(name, table.title, visible(table.empty))


def contents(sections: list[Section]) -> list[dict[str, str]]:
    """Return the table of contents."""
    before, after = FIXED
    middle = tuple((one.id, one.block.title) for one in sections)
    return [{"id": name, "title": title} for name, title in (*before, *middle, *after)]
