"""The report as one HTML file: what stands in it and in which order.

Owns what the page says around its tables. Refuses to own these (`sections`), numbers (`tables`),
drawings (`figures`), the texts of the explorer (`flips`), and markup (`shell` and its template).

    page(comparison, PageOptions(command="distill-report html runs/base runs/student"))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.figures.choice import forest
from analysis.html.blocks import block
from analysis.html.flips import flips
from analysis.html.provenance import made_with, provenance, suite_version
from analysis.html.sections import (
    QUALITY,
    added,
    contents,
    empties,
    every_table,
    of_tables,
    without_text,
)
from analysis.html.shell import asset, policy, template, trusted
from analysis.reliability import Warning as Doubt
from analysis.reliability import warnings
from analysis.render.report import by_kind, more_of_a_kind
from analysis.tables.catalogue import TableOptions
from analysis.tables.table import Table
from analysis.text import visible
from analysis.verdict import verdict

if TYPE_CHECKING:
    from analysis.compare import Comparison

SEVERITIES = {"stop": "Stop", "warn": "Warning", "info": "Note"}
NO_FLIPS = "No question, target or answer was put into this file: it was made with --flips 0."


@dataclass(frozen=True)
class PageOptions:
    """What the page is told beside the comparison."""

    tables: TableOptions = field(default_factory=TableOptions)
    added: tuple[Path, ...] = ()  # JSON of other commands, whose tables become sections
    n_flips: int = 300
    max_bytes: int = 16 * 1024 * 1024  # of the explorer's texts
    names: tuple[str | None, str | None] = (None, None)  # to call the arms by, baseline first
    command: str = "distill-report html"


class Arm(NamedTuple):
    """How an arm is called."""

    title: str
    model: str | None


class Told(NamedTuple):
    """A sentence, of one task or of all ("")."""

    task: str
    text: str


def page(comparison: Comparison, options: PageOptions) -> str:
    """Return the whole file.

    Raises:
        ValueError: a samples file that can no longer be read.
        OSError: one that is gone.
    """
    tables = every_table(comparison, options.tables)
    if not options.n_flips:
        tables = {name: without_text(table) for name, table in tables.items()}
    sections = [*of_tables(tables, comparison), *added(options.added)]
    found, said = warnings(comparison), verdict(comparison)
    css, js = asset("report.css"), asset("report.js")
    return template().render(
        **arms(comparison, options),
        css=trusted(css),
        js=trusted(js),
        policy=policy(css, js),
        version=suite_version(),
        contents=contents(sections),
        sentence=visible(said.sentence).replace(
            ">= ", "\N{GREATER-THAN OR EQUAL TO}\N{NO-BREAK SPACE}"
        ),
        rests_on=rests_on(comparison),
        warnings=list(doubts(found)),
        forest=forest(comparison, said.difference),
        sections=sections,
        empties=list(empties(tables)),
        flips=flips(comparison, options.n_flips, options.max_bytes),
        without_flips=NO_FLIPS,
        notes=notes(comparison, found),
        quality=quality(tables.get(QUALITY)),
        provenance=block(provenance(comparison)),
        seed=comparison.seed,
        command=visible(options.command),
        made_with=made_with(),
    )


def arms(comparison: Comparison, options: PageOptions) -> dict[str, Arm]:
    """Return how the two arms are called: as asked, else by their models, else by their folders."""
    labels = (comparison.baseline, comparison.candidate)
    models = (comparison.baseline_model, comparison.candidate_model)
    by_model = all(models) and models[0] != models[1]
    named = [last_part(str(one)) for one in (models if by_model else labels)]
    if named[0] == named[1]:  # runs/1/base and runs/2/base
        named = list(labels)
    titles = [given or name for given, name in zip(options.names, named, strict=True)]
    told = [visible(model) if model else None for model in models]
    return {
        "baseline": Arm(visible(titles[0]), told[0]),
        "candidate": Arm(visible(titles[1]), told[1]),
    }


def last_part(name: str) -> str:
    """Return the last part of a path or of a model's name."""
    return PurePath(name).name or name


def rests_on(comparison: Comparison) -> str:
    """Say how many tasks and paired questions there are."""
    n_tasks = len(comparison.tasks)
    n_pairs = sum(task.n_pairs for task in comparison.tasks)
    tasks = "1 task" if n_tasks == 1 else f"{n_tasks} tasks"
    return f"{tasks}, {n_pairs:,} paired question{'' if n_pairs == 1 else 's'}"


def doubts(found: list[Doubt]) -> Iterator[dict[str, Any]]:
    """Yield the warnings in safe characters; those of a kind beyond the first are folded."""
    for in_full, more in by_kind(found):
        css = in_full[0].severity
        look = {"css": css, "severity": SEVERITIES.get(css, SEVERITIES["info"])}
        for one in in_full:
            yield {**look, "told": Told(visible(one.task), visible(one.text)), "more": ()}
        if more:
            others = [Told(visible(one.task), visible(one.text)) for one in more]
            yield {**look, "told": Told("", visible(more_of_a_kind(more))), "more": others}


def notes(comparison: Comparison, found: list[Doubt]) -> list[Told]:
    """Return the notes that no warning has said already."""
    said = {one.text for one in found}
    told = [Told("", text) for text in comparison.notices]
    told += [Told(task.task, text) for task in comparison.tasks for text in task.notices]
    return [Told(visible(one.task), visible(one.text)) for one in told if one.text not in said]


def quality(table: Table | None) -> dict[str, Any]:
    """Return the table of data quality, or why it has no rows."""
    if table is None:
        return {"block": None, "reason": ""}
    return {"block": block(table) if table.rows else None, "reason": visible(table.empty)}
