"""The line at the foot of a terminal that says how the proxy is doing.

Owns what the line says, and that nothing else on stderr runs into it.
Refuses to own the counts (stats) and what is said at the start and the end (greeting, cli).

    with StatusLine(ledger, log, sys.stderr) as line:
        asyncio.create_task(line.run())

It is drawn on a terminal only. A file gets nothing: over days, lines that nobody asked for would
fill it, and /_distill/stats tells more.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from types import TracebackType
from typing import Self, TextIO

from proxy.stats import Ledger, LogState

EVERY_S = 1.0
CLEAR = "\r\x1b[K"
DEFAULT_COLUMNS = 80
DASH = "-"


class StatusLine(io.TextIOBase):
    """Stands for stderr while it is entered; whatever is written there takes the line away first.

    Warnings come from many places, tracebacks from the interpreter, and each finds sys.stderr.
    """

    def __init__(self, ledger: Ledger, log: LogState, stream: TextIO) -> None:
        self.ledger = ledger
        self.log = log
        self.stream = stream
        self.shown = False
        self.at_line_start = True
        self.lock = threading.RLock()  # the log's thread may warn as well
        self.redirection = contextlib.redirect_stderr(self)

    def __enter__(self) -> Self:
        self.redirection.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.redirection.__exit__(kind, error, trace)
        self.hide()

    async def run(self) -> None:
        """Draw the line once a second until cancelled."""
        while True:
            self.draw()
            await asyncio.sleep(EVERY_S)

    def draw(self) -> None:
        """Write the line over itself; not where another line has begun and not ended."""
        text = describe(self.ledger, self.log)[: columns_of(self.stream) - 1]
        with self.lock, contextlib.suppress(OSError):  # a terminal that was closed
            if self.at_line_start:
                self.stream.write(CLEAR + text)
                self.stream.flush()
                self.shown = True

    def hide(self) -> None:
        """Take the line away."""
        with self.lock, contextlib.suppress(OSError):
            if self.shown:
                self.stream.write(CLEAR)
                self.stream.flush()
                self.shown = False

    def write(self, text: str, /) -> int:
        """Write what somebody else has to say."""
        with self.lock:
            self.hide()
            if text:
                self.at_line_start = text.endswith("\n")
            return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return self.stream.encoding


def is_wanted(stream: TextIO) -> bool:
    """Tell whether a stream can show a line that is written over itself."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def columns_of(stream: TextIO) -> int:
    """Return the width of the stream's terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def describe(ledger: Ledger, log: LogState) -> str:
    """Return the line. What is broken comes first, so that a narrow terminal shows it."""
    rate, partial = ledger.rate.read()
    noun = "request" if ledger.n_requests == 1 else "requests"
    parts = [f"{ledger.n_requests:,} {noun}", f"{ledger.in_flight:,} in flight"]
    parts.append(f"{'>=' if partial else ''}{DASH if rate is None else f'{rate:,.0f}'} tokens/s")
    parts.append(f"truncated {percent(ledger.share(ledger.n_truncated))}")
    parts.append(f"think {percent(ledger.share(ledger.n_reasoning))}")
    return " | ".join([*troubles(ledger, log), ", ".join(parts)])


def troubles(ledger: Ledger, log: LogState) -> list[str]:
    """Return what is wrong at the moment."""
    found = []
    if log.failure is not None:
        found.append(f"LOG CANNOT BE WRITTEN: {log.failure}")
    down = [replica.url for replica in ledger.replicas if replica.up is False]
    if down:
        found.append(f"DOWN: {', '.join(down)}")
    return found


def percent(share: float | None) -> str:
    """Return a share for the eye, a dash where there is none."""
    return DASH if share is None else f"{100 * share:.1f}%"


def stderr_line(ledger: Ledger, log: LogState) -> StatusLine | None:
    """Return the line for this process's stderr, None where it would do no good."""
    return StatusLine(ledger, log, sys.stderr) if is_wanted(sys.stderr) else None
