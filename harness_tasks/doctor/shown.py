"""What `distill-eval doctor` shows: each finding as it is made, the closing lines, and JSON.

Owns the words around findings, and that nothing a server sent moves the cursor of a terminal.
Refuses to own what was found (the checks) and what findings mean together (`finding.verdict`).

Example, one finding, and the end:

    warn  seeds           the same seed gave two texts
          why: a sample cannot be asked for again
          fix: num_concurrent=1 on transformers serve

    warn: 14 pass, 1 warn, 2 skip
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Self

import click

from harness_tasks.doctor.finding import EXIT_CODES, STATUSES, Context, Finding, verdict

if TYPE_CHECKING:
    from harness_tasks.doctor.probe import Server

COLOURS = {"pass": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
CLEAR = "\r\x1b[K"
NAME_WIDTH = 16
INDENT = 6
# Narrower, words of names and addresses would be cut.
NARROWEST = 60


class Progress:
    """Shows findings as they come; `quiet` leaves them to the JSON."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty()
        self.alike: list[Finding] = []  # checks that were skipped for one reason, shown together

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.show_skipped()

    def told(self, name: str, at: int, n: int) -> None:
        """Say which check is being made."""
        if self.live:
            click.echo(f"{CLEAR}[{at}/{n}] {name} ...", nl=False, err=True)

    def found(self, finding: Finding) -> None:
        """Show a finding; of checks that are skipped for one reason in a row, one line."""
        plain_skip = finding.status == "skip" and not finding.broken
        if self.alike and not (plain_skip and finding.found == self.alike[0].found):
            self.show_skipped()
        if plain_skip:
            self.alike.append(finding)
        else:
            self.show(finding)

    def show(self, finding: Finding) -> None:
        self.clear()
        if not self.quiet:
            click.echo(as_text(finding, width()))

    def show_skipped(self) -> None:
        """Show the checks that were skipped for one reason, and clear the line of progress."""
        if len(self.alike) > 1:
            names = ", ".join(dict.fromkeys(one.check for one in self.alike))
            n = f"{len(self.alike)} checks"
            self.show(replace(self.alike[0], check=n, found=f"{self.alike[0].found} ({names})"))
        elif self.alike:
            self.show(self.alike[0])
        self.alike = []
        self.clear()

    def clear(self) -> None:
        if self.live:
            click.echo(CLEAR, nl=False, err=True)


def width() -> int | None:
    """Return the columns of the terminal, None where there is none: lines then stay whole."""
    if not sys.stdout.isatty():
        return None
    return max(NARROWEST, shutil.get_terminal_size().columns)


def as_text(finding: Finding, columns: int | None = None) -> str:
    """Return a finding: what was found, and below it why that matters and what mends it."""
    status = click.style(f"{finding.status:{INDENT}}", fg=COLOURS[finding.status])
    name = f"{printable(finding.check):{NAME_WIDTH}}"
    found = wrapped(f"{name}  {printable(finding.found)}", columns, NAME_WIDTH + 2)
    parts = (("why", finding.why), ("fix", finding.fix))
    more = [wrapped(f"{word}: {printable(text)}", columns, 5) for word, text in parts if text]
    return status + f"\n{' ' * INDENT}".join([found, *more])


def wrapped(text: str, columns: int | None, hang: int) -> str:
    """Break a line at words so that it stands behind the indent, `hang` more from the second on."""
    if columns is None:
        return text
    room, rest = columns - INDENT, f"\n{' ' * (INDENT + hang)}"
    first, *more = textwrap.wrap(
        text, room, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True,
    )  # fmt: skip
    return rest.join([first, *(line[hang:] for line in more)])


def printable(text: str) -> str:
    """Write text on one line, with what could move a cursor or hide words escaped."""
    line = " ".join(text.split())
    return "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in line)


def closing(findings: Sequence[Finding], context: Context) -> str:
    """Return the end: how many of each status, what to mend first, and the exit code."""
    counts = Counter(finding.status for finding in findings)
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    found = verdict(findings)
    lines = ["", f"{click.style(found, fg=COLOURS[found])}: {told or 'nothing was checked'}"]
    worst = list(dict.fromkeys(f.check for f in findings if f.status == "fail"))
    if worst:
        lines.append(f"mend before the run: {', '.join(map(printable, worst))}")
    undone = list(dict.fromkeys(f.check for f in findings if f.broken))
    if undone:
        lines.append(f"could not be checked: {', '.join(map(printable, undone))}")
    if context.server is None:
        lines.append("only this machine was checked; --base_url URL checks the server as well")
    return "\n".join([*lines, f"exit code {EXIT_CODES[found]}"])


def as_json(findings: Sequence[Finding], context: Context) -> str:
    """Return all findings, what was checked and what it comes to as a JSON object."""
    found = verdict(findings)
    counts = Counter(finding.status for finding in findings)
    told = {
        "verdict": found,
        "exit_code": EXIT_CODES[found],
        "counts": {status: counts[status] for status in STATUSES},
        "server": server_of(context.server),
        "against": server_of(context.against),
        "settings": {
            "preset": context.preset,
            "max_tokens": context.max_tokens,
            "num_concurrent": context.num_concurrent,
            "tasks": list(context.tasks),
            "data_dir": context.data_dir,
        },
        "findings": [
            {name: clean(value) for name, value in asdict(finding).items()} for finding in findings
        ],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def server_of(server: Server | None) -> dict[str, Any] | None:
    """Return which model of which server was asked, as far as that was found out."""
    if server is None:
        return None
    told = {"base_url": server.base, "model": server.model or None, "kind": server.kind}
    return {name: clean(value) for name, value in told.items()} | {"version": clean(server.version)}


def clean(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
