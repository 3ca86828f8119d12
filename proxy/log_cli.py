"""`distill-proxy verify`, `tail`, `stats` and `export`: the commands that read a log.

Owns their options, what they print and their exit codes. Refuses to own every figure, and the
writing of the log. Libraries load when a command needs them.

    distill-proxy stats runs/base/ --by route
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

import click

from proxy.log_read import LogReader, Progress, find_segments, size_of
from proxy.text import size, visible, visible_json

POLL_S = 0.25
INTERRUPTED = 130
"""What a shell reports of a command that Ctrl-C ended, `tail -f` as an example."""
Parameters = ParamSpec("Parameters")
PATHS = click.argument("paths", nargs=-1, required=True, metavar="PATH...")


def plain_errors(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Make what is wrong with the input one line and exit code 2."""

    @functools.wraps(command)
    def guarded(*args: Parameters.args, **options: Parameters.kwargs) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader went away, as `head` does: click ends quietly
            raise
        except (ValueError, OSError) as problem:
            say(f"distill-proxy: {problem}")
            sys.exit(2)

    return guarded


@click.command()
@PATHS
@click.option(
    "--repair", is_flag=True, help="Cut torn last lines off, of segments that nobody writes."
)
@plain_errors
def verify(paths: tuple[str, ...], repair: bool) -> None:
    """Check each segment of a log, line by line.

    PATH is a folder, a file or a pattern. Exit code 0 when every line is a record, 1 when there
    are lines that are none. A torn last line, as a crash leaves it, is not counted among these.
    """
    from proxy.verify import Check

    segments = find_segments(paths)
    check = Check()
    width = max(len(visible(path.name)) for path in segments)
    for path in segments:
        report = check.segment(path)
        state = check.repair(report) if repair and report.repairable else report.state
        echo(f"{visible(path.name):{width}}  {report.n_records:>7,} records  {state}")
        for damage in report.damage:
            echo(f"  {damage}")
    for line in check.summary():
        echo(line)
    sys.exit(1 if check.n_damaged else 0)


@click.command()
@PATHS
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="How many of the latest exchanges.",
)
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with those that come, until Ctrl-C (exit code 130)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the records themselves.")
@plain_errors
def tail(paths: tuple[str, ...], lines: int, follow: bool, as_json: bool) -> None:
    """Show the latest exchanges, a line each, oldest first.

    PATH is a folder, a file or a pattern. The columns: when it ended (UTC), model, status,
    outcome, finish reason, completion tokens, seconds to the first token and in all, request id,
    answer. Control characters are printed as their escapes.
    """
    from proxy.tail import Record, Tail
    from proxy.tail_line import TailLine, width_of_output

    layout = TailLine(width_of_output())
    log = Tail(paths, follow)

    def show(record: Record) -> None:
        if as_json:
            click.echo(visible_json(record.line))
        else:
            echo(layout.of(record.exchange))

    try:
        latest = log.latest(lines)
        if not as_json:
            echo(layout.head)
        for record in latest:
            show(record)
        while follow:
            sys.stdout.flush()
            time.sleep(POLL_S)
            for record in log.new():
                show(record)
    finally:
        if log.n_damaged:
            say(f"note: lines that are no records: {log.n_damaged:,}; `verify` names them")


@click.command()
@PATHS
@click.option(
    "--by",
    type=click.Choice(["model", "route", "endpoint"]),
    default="model",
    show_default=True,
    help="What makes a group.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@plain_errors
def stats(paths: tuple[str, ...], by: str, as_json: bool) -> None:
    """Show outcomes, truncation, reasoning, tokens and times of each group.

    PATH is a folder, a file or a pattern. A dash is a number that is not defined; --json tells
    why. Exit code 1 when lines that are no records were left out.
    """
    from proxy.log_stats import Tally

    segments = find_segments(paths)
    tally = Tally(by)
    with progress_of(segments) as progress:
        log = LogReader(segments, progress)
        for exchange, _ in log.records():
            tally.add(exchange)
    made = tally.to_json()
    if as_json:
        head = {"schema": 1, "damaged_lines": log.n_damaged, "torn_lines": len(log.torn)}
        click.echo(json.dumps(head | made, indent=1))
    else:
        from rich.console import Console

        from proxy.stats_tables import print_stats

        print_stats(made, Console(highlight=False))
    end_with(log)


@click.command()
@PATHS
@click.option(
    "--out",
    required=True,
    metavar="FILE.parquet",
    type=click.Path(path_type=Path),
    help="The file to write, readable by its owner only.",
)
@click.option(
    "--columns", metavar="NAME,NAME...", help="Only these fields of the record, in this order."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@plain_errors
def export(paths: tuple[str, ...], out: Path, columns: str | None, force: bool) -> None:
    """Write a log as one Parquet file, a row for each exchange.

    PATH is a folder, a file or a pattern. Lists and objects (messages, sampling, usage, gaps_s,
    extra) are JSON text. Exit code 1 when lines that are no records were left out.
    """
    from proxy.export import COLUMNS, Export, check_out, parse_columns

    names = COLUMNS if columns is None else parse_columns(columns)
    segments = find_segments(paths)
    check_out(out, force, segments)
    made = Export(out, names)
    with progress_of(segments) as progress:
        log = LogReader(segments, progress)
        made.write(log.records())
    noun = "exchange" if made.n_rows == 1 else "exchanges"
    echo(f"{made.n_rows:,} {noun} in {out} ({size(size_of(out))})")
    if made.n_replaced:
        say(f"note: values that their columns cannot hold, now null: {made.n_replaced:,}")
    end_with(log)


COMMANDS: list[click.Command] = [verify, tail, stats, export]


def end_with(log: LogReader) -> None:
    """Say what was left out, and exit with 1 if that was damaged."""
    for path in log.gone:
        say(f"note: {path} was removed before it was read")
    for torn in log.torn:
        say(f"note: {torn.path}:{torn.line}: torn last line left out ({size(torn.n_bytes)})")
    left_out = log.left_out()
    if left_out:
        say(f"note: {left_out}")
        sys.exit(1)


@contextlib.contextmanager
def progress_of(segments: list[Path]) -> Iterator[Progress | None]:
    """Show on a terminal's stderr how much of the segments was read."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=sum(map(size_of, segments)))
        yield lambda n_bytes: bar.update(task, advance=n_bytes)


def echo(text: str) -> None:
    """Print a line; what the terminal's encoding lacks becomes an escape."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(visible(text).encode(encoding, "backslashreplace"))


def say(text: str) -> None:
    """Print a line to stderr."""
    click.echo(visible(text), err=True)
