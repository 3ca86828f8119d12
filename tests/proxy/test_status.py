"""The line at the foot of the terminal, on a real pseudo-terminal where it matters."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

from proxy.stats import Ledger
from proxy.status import CLEAR, StatusLine, describe, is_wanted, stderr_line
from tests.proxy.test_stats import Clock, Log, Server, facts

MARK = "\N{WHITE FLAG}"


@contextmanager
def terminal(columns: int) -> Iterator[tuple[TextIO, int]]:
    """Yield a terminal to write to, and the descriptor at its other end."""
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(inside, "w", encoding="utf-8") as stream:
        yield stream, outside
    os.close(outside)


def seen(stream: TextIO, outside: int) -> str:
    """Return what was written up to now; a terminal may hand it on in pieces."""
    stream.write(MARK)
    stream.flush()
    text = b""
    while not text.endswith(MARK.encode()):
        text += os.read(outside, 65536)
    return text.decode().removesuffix(MARK)


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows, which knows CR, LF and erase-to-end only."""
    rows, column = [""], 0
    for piece in re.findall(r"\x1b\[K|\r|\n|[^\r\n\x1b]+", text):
        if piece == "\n":
            rows.append("")
        elif piece == "\r":
            column = 0
        elif piece == "\x1b[K":
            rows[-1] = rows[-1][:column]
        else:
            rows[-1] = rows[-1][:column] + piece + rows[-1][column + len(piece) :]
            column += len(piece)
    return rows


def test_of_nothing_the_line_has_dashes() -> None:
    expected = "0 requests, 0 in flight, - tokens/s, truncated -, think -"
    assert describe(Ledger(), Log()) == expected


def test_the_line_tells_counts_rates_and_shares() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    for _ in range(1234):
        ledger.begin()
    ledger.end()
    clock.now += 10
    ledger.record(facts(completion_tokens=12340, truncated=True))
    ledger.record(facts(completion_tokens=0, has_reasoning=True))
    ledger.record(facts(completion_tokens=0, has_reasoning=True))
    expected = "1,234 requests, 1,233 in flight, 1,234 tokens/s, truncated 33.3%, think 66.7%"
    assert describe(ledger, Log()) == expected
    ledger.record(facts())
    assert " >=1,234 tokens/s, " in describe(ledger, Log())


def test_trouble_comes_first() -> None:
    ledger = Ledger()
    ledger.replicas = [Server(None, "http://a", 0, True), Server("r", "http://b", 0, False)]
    log = Log(failure="No space left on device")
    trouble = "LOG CANNOT BE WRITTEN: No space left on device | DOWN: http://b | 0 requests"
    assert describe(ledger, log).startswith(trouble)


@pytest.mark.parametrize("columns", [20, 58, 200])
def test_the_line_is_cut_to_the_terminal_so_that_it_never_wraps(columns: int) -> None:
    with terminal(columns) as (stream, outside):
        line = StatusLine(Ledger(), Log(), stream)
        line.draw()
        line.draw()
        (row,) = screen(seen(stream, outside))
    assert row == describe(Ledger(), Log())[: columns - 1]


def test_a_warning_stands_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(100) as (stream, outside):
        monkeypatch.setattr(sys, "stderr", stream)
        with StatusLine(Ledger(), Log(), stream) as line:
            line.draw()
            print("warning: one", file=sys.stderr)
            line.draw()
            print("warning: half", end="", file=sys.stderr, flush=True)
            line.draw()  # not into the half
            print(" and half", file=sys.stderr)
            line.draw()
        assert sys.stderr is stream
        rows = screen(seen(stream, outside))
    assert rows == ["warning: one", "warning: half and half", ""]


def test_the_line_runs_until_cancelled_and_leaves_nothing_behind() -> None:
    async def watch(line: StatusLine) -> None:
        with line:
            task = asyncio.create_task(line.run())
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait([task])

    with terminal(100) as (stream, outside):
        asyncio.run(watch(StatusLine(Ledger(), Log(), stream)))
        text = seen(stream, outside)
    assert "requests" in text
    assert screen(text) == [""]
    assert text.endswith(CLEAR)


class Closed(io.StringIO):
    """A stream whose terminal has gone."""

    def write(self, text: str, /) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_was_closed_stops_nothing() -> None:
    line = StatusLine(Ledger(), Log(), Closed())
    line.draw()
    line.shown = True
    line.hide()


def test_files_and_dumb_terminals_get_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert stderr_line(Ledger(), Log()) is None
    with terminal(80) as (stream, _):
        assert is_wanted(stream)
        monkeypatch.setenv("TERM", "dumb")
        assert not is_wanted(stream)
