"""The table of samples found in the proxy's log: what every figure of a log rests on.

Owns its columns, and the naming of what a cache answered. Refuses to own how an exchange is found
(`items`, `reading.exchanges`).

    match(comparison, TableOptions()).column("found")     # [Share(30, 30), Share(1, 30)]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from analysis.compare import Comparison
from analysis.estimate import Share
from analysis.items import ARMS, FOUND_BY_ID, FOUND_BY_TEXT, FROM_LOG, FROM_SAMPLES, Item
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import by_task
from analysis.tables.table import Cell, Column, Kind, Table

NAMED = 5  # cached answers that are named one by one
COLUMNS = (
    Column("task", "task"),
    Column("arm", "arm"),
    Column("n", "samples", Kind.COUNT),
    Column("found", "in the log", Kind.PERCENT),
    Column("by_id", "by request id", Kind.COUNT),
    Column("by_text", "by text", Kind.COUNT),
    Column("cached", "from a cache", Kind.COUNT),
    Column("not_found", "not found", Kind.COUNT),
    Column("sizes_from_log", "sizes from log", Kind.COUNT),
    Column("sizes_from_samples", "from samples", Kind.COUNT),
    Column("sizes_unknown", "unknown", Kind.COUNT),
)


def match(comparison: Comparison, options: TableOptions) -> Table:
    """Return how many samples of each arm and task the logs hold, and where sizes come from."""
    del options
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for task, couples in by_task(comparison).items():
        for arm, items in zip(ARMS, zip(*couples, strict=True), strict=True):
            rows.append((task, arm, *cells(items)))
            notes += cached_note(items)
    if not comparison.logs:
        notes.insert(0, "No log was given (--log): all sizes are those of the samples files.")
    return Table(
        "match",
        "Log match",
        COLUMNS,
        rows,
        foot=(
            "In the log: share of paired samples whose exchange was found, in % (count), by its "
            "request id or by equal messages and text. From a cache: not in the log, and the run "
            "used lm-eval's cache. Sizes: from the exchange, from the samples file, or unknown."
        ),
        notes=tuple(notes),
    )


def cells(items: Sequence[Item]) -> Iterator[Cell]:
    """Yield the counts of one arm of a task."""
    found_by = Counter(item.found_by for item in items)
    sources = Counter(item.volume_from for item in items)
    found = sum(item.in_log for item in items)
    cached = sum(bool(item.cached) for item in items)
    yield len(items)
    yield Share(found, len(items))
    yield from (found_by[FOUND_BY_ID], found_by[FOUND_BY_TEXT])
    yield from (cached, len(items) - found - cached)
    yield from (sources[FROM_LOG], sources[FROM_SAMPLES], sources[None])


def cached_note(items: Sequence[Item]) -> Iterator[str]:
    """Name the answers of one arm that came from a cache, the first few one by one."""
    cached = list(dict.fromkeys(item.name for item in items if item.cached))
    if not cached:
        return
    more = f" and {len(cached) - NAMED} more" if len(cached) > NAMED else ""
    yield (
        f"{items[0].task}, {items[0].arm}: answered from lm-eval's cache, not in this run: "
        f"{', '.join(cached[:NAMED])}{more}."
    )
