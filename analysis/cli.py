"""`distill-report`: comparisons of finished runs, in the terminal and as files.

Owns the options and where the output goes. Refuses to own any number. The libraries that compute
are imported when a command runs, so that `--help` answers at once.

    distill-report compare runs/base runs/student --log runs/base-log --log runs/student-log
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.text import visible

if TYPE_CHECKING:
    from analysis.compare import Comparison

KINDS = ("docs", "prompts", "graders", "sampling")
STDOUT = "-"
PATH = click.Path(path_type=Path)
WRITABLE = click.Path(path_type=Path, allow_dash=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Did distillation help, where did it hurt, and how sure are we?"""


@cli.command()
@click.argument("baseline", type=PATH)
@click.argument("candidate", type=PATH)
@click.option("--log", "logs", multiple=True, type=PATH, help="Proxy log of either arm.")
@click.option("--task", "tasks", multiple=True, metavar="TASK", help="Only this task.")
@click.option("--metric", "metrics", multiple=True, metavar="[TASK=]NAME", help="Grade by it.")
@click.option("--filter", "filters", multiple=True, metavar="[TASK=]NAME", help="Filter to read.")
@click.option("--allow", multiple=True, type=click.Choice(KINDS), help="Accept this difference.")
@click.option("--csv", "csv_path", type=WRITABLE, metavar="DIR|FILE|-", help="Write CSV.")
@click.option("--markdown", "markdown_path", type=WRITABLE, metavar="FILE|-", help="Markdown.")
@click.option("--json", "json_path", type=WRITABLE, metavar="FILE|-", help="Write JSON.")
@click.option("--seed", default=1234, show_default=True, help="Seed of all resampling.")
@click.option("--debug", is_flag=True, help="Show a traceback on errors.")
def compare(
    baseline: Path, candidate: Path, *, logs: tuple[Path, ...], debug: bool, **options: Any
) -> None:
    """Compare two arms, BASELINE and CANDIDATE: run folders, or samples files of lm-eval.

    The arms must agree in docs, prompts, graders and sampling. `-` writes to standard output in
    place of the tables.
    """
    try:
        run_compare(baseline, candidate, logs, options)
    except BrokenPipeError:  # the reader went away, as `head` does: click ends quietly
        raise
    except (ValueError, OSError, RecursionError) as problem:
        if debug:
            raise
        lines = (visible(line) for line in f"distill-report: {problem}".split("\n"))
        click.echo("\n".join(lines), err=True)
        sys.exit(2)


def run_compare(
    baseline: Path, candidate: Path, logs: tuple[Path, ...], options: dict[str, Any]
) -> None:
    """Read both arms, compare them and write what was asked for.

    Raises:
        ValueError: bad input, or arms that may not be compared.
        OSError: a file that cannot be read or written.
    """
    from analysis.compare import Options
    from analysis.compare import compare as compare_arms
    from analysis.reading.load import Choice, read_arm

    choice = Choice(
        metrics=by_task(options["metrics"]),
        filters=by_task(options["filters"]),
        tasks=options["tasks"],
    )
    comparison = compare_arms(
        read_arm(str(baseline), baseline, choice),
        read_arm(str(candidate), candidate, choice),
        Options(logs=logs, allow=options["allow"], seed=options["seed"]),
    )
    write_all(comparison, options)


def by_task(values: Iterable[str]) -> dict[str, str]:
    """Return `TASK=NAME` options by task; a bare NAME holds for every task, under ""."""
    split = [value.rpartition("=") for value in values]
    return {task: name for task, _, name in split}


def write_all(comparison: Comparison, options: dict[str, Any]) -> None:
    """Write the files that were asked for; the tables too, unless a file went to stdout."""
    from analysis import export, sheets

    texts = (
        (options["json_path"], export.as_json),
        (options["markdown_path"], sheets.markdown),
        (options["csv_path"], export.summary_csv),
    )
    asked = [(path, make) for path, make in texts if path is not None]
    for path, make in asked:
        if str(path) == STDOUT:
            click.echo(make(comparison), nl=False)
        elif make is export.summary_csv and (path.is_dir() or not path.suffix):
            export.write_csv_folder(comparison, path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            export.write(path, make(comparison))
    if not any(str(path) == STDOUT for path, _ in asked):
        sheets.print_report(comparison, sys.stdout)
        for path, _ in asked:
            click.echo(f"wrote {path}")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):  # a name may hold what the terminal's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="distill-report")
