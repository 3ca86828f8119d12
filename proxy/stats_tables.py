"""The figures of `distill-proxy stats` as tables.

Owns rounding, units and layout. Refuses to own any figure (log_stats).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.exchange import Outcome
from proxy.log_stats import state_names
from proxy.text import size, visible

WIDTH, NARROWEST = 100, 80
MISSING = "-"
NAME_CHARS = 40
Row = dict[str, Any]
Columns = dict[str, Callable[[Row], str]]


def percent(value: float | None) -> str:
    """Return a share as percent without its sign, or a dash."""
    return MISSING if value is None else f"{100 * value:.1f}"


def share_of(outcome: Outcome) -> Callable[[Row], str]:
    """Return what formats the share of an outcome."""
    return lambda row: percent(
        row["outcomes"][outcome.value] / row["exchanges"] if row["exchanges"] else None
    )


def time_of(name: str, at: str) -> Callable[[Row], str]:
    """Return what formats a percentile of seconds."""
    return lambda row: seconds(row[name][at])


def seconds(value: float | None) -> str:
    """Return seconds with three digits or so."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if value < 9.9995 else f"{value:,.1f}"


def count(value: int | None) -> str:
    """Return a count, or a dash."""
    return MISSING if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    """Return a rate, or a dash."""
    return MISSING if value is None else f"{value:,.1f}"


ENDINGS: Columns = {
    "n": lambda row: count(row["exchanges"]),
    **{item.value.replace("_", "\n"): share_of(item) for item in Outcome},
}
ANSWERS: Columns = {
    "truncated": lambda row: percent(row["truncated"]),
    "reasoning": lambda row: percent(row["with_reasoning"]),
}
SPEED: Columns = {
    "TTFT\np50": time_of("ttft_s", "p50"),
    "TTFT\np90": time_of("ttft_s", "p90"),
    "TTFT\np99": time_of("ttft_s", "p99"),
    "gap\np99": time_of("gap_p99_s", "p50"),
    "duration\np50": time_of("duration_s", "p50"),
    "duration\np99": time_of("duration_s", "p99"),
}
AMOUNTS: Columns = {
    "tokens": lambda row: count(row["completion_tokens"]),
    "tokens/s": lambda row: rate(row["tokens_per_s"]),
    "sent": lambda row: size(row["request_bytes"]),
    "received": lambda row: size(row["response_bytes"]),
}


def print_stats(made: dict[str, Any], console: Console) -> None:
    """Print the tables, as wide as the terminal within 80 to 100 columns; else plain, of 100."""
    console.width = max(min(console.width, WIDTH), NARROWEST) if console.is_terminal else WIDTH
    rows = list(made["groups"])
    if len(rows) != 1:
        rows.append(made["all"] | {"name": "all"})
    states = {name.replace("_", "\n"): state_count(name) for name in state_names(made["groups"])}
    for number, (title, columns) in enumerate(
        (
            ("Exchanges, and percent of them", ENDINGS),
            ("Complete ones: percent, and states of reasoning", ANSWERS | states),
            ("Seconds", SPEED),
            ("Completion tokens and bytes", AMOUNTS),
        )
    ):
        if number:
            console.print()
        console.print(Text(title, style="bold"))
        console.print(table_of(made["by"], columns, rows, console.encoding))


def state_count(name: str) -> Callable[[Row], str]:
    """Return what formats how often a reasoning state occurs."""
    return lambda row: count(row["reasoning_states"].get(name, 0))


def table_of(by: str, columns: Columns, rows: list[Row], encoding: str) -> Table:
    """Return a table whose names wrap where they must, though never a number."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False)
    table.add_column(by, overflow="fold")
    cells = [[made(row) for made in columns.values()] for row in rows]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row, numbers in zip(rows, cells, strict=True):
        name = visible(row["name"])[:NAME_CHARS] if row["name"] else MISSING
        name = name.encode(encoding, "backslashreplace").decode(encoding)
        table.add_row(Text(name), *map(Text, numbers))
    return table
