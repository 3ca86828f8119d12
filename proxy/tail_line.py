"""One exchange as one line of a terminal.

Owns columns and their widths. Refuses to own which exchanges are shown (tail).

    15:04:05 qwen3-4b  200 complete  stop  812  0.21  9.40  base/gsm8k/7/0  The answer is 42.
"""

from __future__ import annotations

import shutil
import sys
from typing import NamedTuple

from proxy.exchange import Exchange
from proxy.log_stats import completion_tokens, seconds
from proxy.tail import ended_at
from proxy.text import fitted

PIPED_WIDTH = 160
NARROW = 120
"""Below this many cells there are fewer columns, or none of the answer could be read."""
SMALLEST_ANSWER = 8
MISSING = "-"


class Column(NamedTuple):
    """A column of fixed width; of a text that is too long its start, or its end, is left out."""

    name: str
    width: int
    right: bool = False
    keep_end: bool = False


COLUMNS = (
    Column("time", 8),
    Column("model", 20),
    Column("code", 4, right=True),
    Column("outcome", 14),
    Column("finish", 6),
    Column("tokens", 6, right=True),
    Column("ttft", 5, right=True),
    Column("took", 6, right=True),
    Column("request id", 24, keep_end=True),
)
NARROW_COLUMNS = (
    Column("time", 8),
    Column("model", 12),
    Column("code", 4, right=True),
    Column("outcome", 15),  # with the finish reason behind it: "complete length"
    Column("tokens", 6, right=True),
    Column("took", 6, right=True),
)


class TailLine:
    """The layout for a terminal of some width; one below 80 wraps."""

    def __init__(self, width: int) -> None:
        self.columns = COLUMNS if width >= NARROW else NARROW_COLUMNS
        used = sum(column.width + 1 for column in self.columns)
        self.answer = Column("answer", max(SMALLEST_ANSWER, width - used))

    @property
    def head(self) -> str:
        """Return the names of the columns."""
        return self.line([column.name for column in (*self.columns, self.answer)])

    def of(self, exchange: Exchange) -> str:
        """Return the line of an exchange."""
        ended = ended_at(exchange)
        tokens = completion_tokens(exchange)
        outcome = exchange.outcome
        if self.columns is NARROW_COLUMNS:
            outcome = f"{outcome} {exchange.finish_reason or ''}"
        cells = {
            "time": f"{ended:%H:%M:%S}" if ended else MISSING,
            "model": model_of(exchange),
            "code": MISSING if exchange.status is None else f"{exchange.status:d}"[:4],
            "outcome": outcome,
            "finish": exchange.finish_reason or MISSING,
            "tokens": MISSING if tokens is None else str(tokens),
            "ttft": short(exchange.ttft_s),
            "took": short(exchange.duration_s),
            "request id": exchange.request_id,
        }
        return self.line([*(cells[column.name] for column in self.columns), text_of(exchange)])

    def line(self, cells: list[str]) -> str:
        """Return the cells in their columns."""
        columns = (*self.columns, self.answer)
        return " ".join(
            fitted(cell, column.width, column.keep_end, column.right)
            for cell, column in zip(cells, columns, strict=True)
        ).rstrip()


def width_of_output() -> int:
    """Return the width of the terminal as it is now; a pipe gets 160 columns."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH


def model_of(exchange: Exchange) -> str:
    """Return the model's name without the folders or the owner before it."""
    name = (exchange.model_requested or exchange.model_served or MISSING).rstrip("/")
    return name.rpartition("/")[2] or MISSING


def short(value: object) -> str:
    """Return seconds in five characters."""
    found = seconds(value)
    if found is None:
        return MISSING
    return f"{found:.2f}" if found < 99.995 else f"{found:.0f}"


def text_of(exchange: Exchange) -> str:
    """Return what the answer begins with: its text, else its tool call or error, else reasoning."""
    called = exchange.tool_calls[0] if exchange.tool_calls else None
    function = called.get("function") if isinstance(called, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    for text in (exchange.content, name, exchange.error, exchange.reasoning):
        if isinstance(text, str) and text.strip():
            return text.lstrip()
    return ""
