"""The progress of long work: a bar in a terminal, a line a minute where stderr is a file.

Owns how often progress is shown. Refuses to own what is counted. tqdm is imported on use.

Example: `with bar(500, "distill_math500", "req") as progress: progress.update()`
"""

from __future__ import annotations

import sys
from typing import Any, TextIO

# To a file: nothing of what ends within a minute, then one line a minute.
LOG_EVERY_S = 60.0


class Lines:
    """A text stream that gives each state of a bar a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the state that begins with a carriage return as a line."""
        state = text.strip("\r\n ")
        return self.stream.write(f"{state}\n") if state else 0

    def flush(self) -> None:
        self.stream.flush()


def start_at(shown: Any, n_done: int) -> None:
    """Let a new bar start where earlier work ended, which counts for no speed."""
    shown.initial = shown.n = n_done


def bar(total: int | None, label: str, unit: str, hidden: bool = False, leave: bool = True) -> Any:
    """Return a tqdm bar for work of `total` units; None where it is not known before."""
    from tqdm import tqdm

    if sys.stderr.isatty():
        return tqdm(total=total, desc=label, unit=unit, disable=hidden, leave=leave)
    return tqdm(
        total=total,
        desc=label,
        unit=unit,
        disable=hidden,
        file=Lines(sys.stderr),
        delay=LOG_EVERY_S,
        mininterval=LOG_EVERY_S,
        maxinterval=LOG_EVERY_S,
        ncols=80,
        ascii=True,
    )
