"""`distill-report html`: the whole report as one file for a browser, a phone or a printer.

Owns its options and where the file goes. Refuses to own what stands in it (`page`), which is loaded
when the command runs, so that `--help` answers at once.

    distill-report html runs/base runs/student --log runs/base/log --log runs/student/log
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from analysis import commands
from analysis.text import visible

MEGABYTE = 1024 * 1024
MAX_MB = 16
N_FLIPS = 300
HELP = f"""Write the whole report as one HTML file that needs no network.

It shows the verdict, what to doubt, every table with its figures, and an explorer of questions with
both completions side by side. The texts of at most --flips questions go into the file, those that
only one arm solved first; each text is cut in the middle so that all of them stay within --max-mb
({MAX_MB}). With --flips 0 no question and no completion is in the file.

\b
Example:
  distill-report html runs/base runs/student --log runs/base/log --log runs/student/log
  distill-report html runs/base runs/student --flips 0 --out numbers-only.html
  distill-report sweep runs/base runs/step-* --select-by distill_math500 --json sweep.json
  distill-report html runs/base runs/student --add sweep.json --add judge/judge.json
"""


@click.command(name="html", help=HELP, short_help="The whole report as one HTML file.")
@commands.pair_options
@commands.with_all(commands.TABLE_OPTIONS.values())
@click.option(
    "--out",
    type=commands.WRITABLE,
    metavar="FILE|-",
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--flips",
    "n_flips",
    type=click.IntRange(min=0),
    default=N_FLIPS,
    show_default=True,
    help="At most so many questions with their texts; 0 for none.",
)
@click.option(
    "--max-mb",
    type=click.FloatRange(min=0, min_open=True),
    default=MAX_MB,
    show_default=True,
    help="At most so many megabytes of texts.",
)
@click.option(
    "--add",
    "added",
    multiple=True,
    type=commands.PATH,
    metavar="FILE.json",
    help="Also the tables that another command, or judge, wrote with --json; repeat it.",
)
@click.option("--baseline-name", metavar="NAME", help="What to call the baseline.")
@click.option("--candidate-name", metavar="NAME", help="What to call the candidate.")
@commands.errors_in_one_line
def html(baseline: Path, candidate: Path, *, out: Path, n_flips: int, **options: Any) -> None:
    """Write the report of two arms."""
    from analysis.html.page import PageOptions, page

    commands.check_output("--out", out)
    comparison = commands.read_comparison(baseline, candidate, options)
    text = page(
        comparison,
        PageOptions(
            tables=commands.table_options(options),
            added=options["added"],
            n_flips=n_flips,
            max_bytes=int(options["max_mb"] * MEGABYTE),
            names=(options["baseline_name"], options["candidate_name"]),
            command=command_line(),
        ),
    )
    if str(out) == commands.STDOUT:
        click.echo(text, nl=False)
        return
    write(out, text)
    click.echo(f"wrote {visible(str(out))} ({len(text.encode()) / MEGABYTE:.1f} MB)")


def command_line() -> str:
    """Return the command as it was typed."""
    return shlex.join(["distill-report", *sys.argv[1:]])


def write(path: Path, text: str) -> None:
    """Write the file whole or not at all.

    Raises:
        ValueError: it cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_text(text, encoding="utf-8", newline="\n")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as problem:
        raise ValueError(f"--out {path}: cannot be written: {problem.strerror}") from problem
