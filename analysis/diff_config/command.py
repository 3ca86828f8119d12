"""`distill-report diff-config`: what two runs differ in, and whether that forbids comparing them.

Owns the options and the exit code: 0 comparable, 1 refused, 2 for what the caller can mend. Refuses
to own what is found (`differing`) and its layout (`show`).

    distill-report diff-config runs/base runs/student
    distill-report diff-config base/manifest.json student/manifest.json --json
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from analysis.commands import (
    CSV,
    PATH,
    READING,
    SEED,
    TEXTS,
    WRITABLE,
    by_task,
    errors_in_one_line,
    with_all,
    write_forms,
    write_text,
)

REFUSED = 1
HELP = """What two runs differ in, and whether that forbids comparing them.

BASELINE and CANDIDATE are run folders, folders or results of lm-eval, samples files, or a run's
manifest.json alone. Differences of questions, prompts, graders, sampling, samples per question and
of what was asked again are found by the rules of `compare`; for each stands what it does to a
comparison, why, and the option that allows it.

Exit code: 0 the runs may be compared, 1 `compare` would refuse them, 2 the call or a file is wrong.

\b
Example:
  distill-report diff-config runs/base runs/student
  distill-report diff-config base/manifest.json student/manifest.json --json
"""
JSON = click.option(
    "--json", "json_path", type=WRITABLE, is_flag=False, flag_value=Path("-"),
    metavar="[FILE|-]", help="Write JSON, to standard output where no file is named.",
)  # fmt: skip


@click.command(
    "diff-config", help=HELP, short_help="What two runs differ in, what of it forbids comparing."
)
@click.argument("baseline", type=PATH)
@click.argument("candidate", type=PATH)
@with_all(option for option in READING if option is not SEED)
@with_all((CSV, *TEXTS[:-1], JSON))
@errors_in_one_line
def diff_config(baseline: Path, candidate: Path, **options: Any) -> None:
    """Show what two runs differ in."""
    from analysis.diff_config import show
    from analysis.diff_config.differing import differing
    from analysis.diff_config.sources import read_source
    from analysis.reading.load import Choice
    from analysis.render import document

    choice = Choice(by_task(options["metrics"]), by_task(options["filters"]), options["tasks"])
    sides = read_source(baseline, choice), read_source(candidate, choice)
    diff = differing(*sides, options["logs"], options["allow"])
    table = show.as_table(diff)
    texts = {
        "markdown": lambda: document.text("markdown", [table]),
        "latex": lambda: document.text("latex", [table]),
        "json": lambda: show.as_json(diff),
    }
    write_forms(
        options,
        lambda path: write_text(path, document.text("csv", [table])),
        texts,
        lambda out: show.print_text(diff, out),
    )
    if diff.refused:
        sys.exit(REFUSED)
