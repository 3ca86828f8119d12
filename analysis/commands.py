"""What the commands of `distill-report` share: their options, their errors, their two arms, output.

Owns the options of arms and of files, how an error becomes one line and exit 2, and the way from
tables to what was asked for. Refuses to own numbers and layout. Loads nothing that computes.

    @click.command()
    @pair_options
    @output_options
    @errors_in_one_line
    def loops(baseline: Path, candidate: Path, **options: Any) -> None:
        comparison = read_comparison(baseline, candidate, options)
        emit([make(comparison)], options, comparison)
"""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from analysis.rules import KINDS
from analysis.tables.catalogue import TableOptions
from analysis.text import visible

if TYPE_CHECKING:
    from analysis.compare import Comparison
    from analysis.tables.table import Table

STDOUT = "-"
FEW_FILES = 4  # of one folder that are named one by one
PATH = click.Path(path_type=Path)
WRITABLE = click.Path(path_type=Path, allow_dash=True)
Command = TypeVar("Command", bound=Callable[..., Any])

SEED = click.option("--seed", default=1234, show_default=True, help="Seed of all resampling.")
READING = (
    click.option(
        "--log", "logs", multiple=True, type=PATH, help="Proxy log of any of the runs; repeat it."
    ),
    click.option("--task", "tasks", multiple=True, metavar="TASK", help="Only this; repeat it."),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="[TASK=]NAME",
        help="Grade by this metric; repeat it.",
    ),
    click.option(
        "--filter",
        "filters",
        multiple=True,
        metavar="[TASK=]NAME",
        help="Read this filter; repeat it.",
    ),
    click.option(
        "--allow",
        multiple=True,
        type=click.Choice(KINDS),
        help="Accept this difference of the runs; repeat it.",
    ),
    SEED,
)
PAIR = (
    click.argument("baseline", type=PATH),
    click.argument("candidate", type=PATH),
    *READING,
)
CSV = click.option("--csv", "csv_path", type=WRITABLE, metavar="FILE|-", help="Write raw CSV.")
CSV_FOLDER = click.option(
    "--csv",
    "csv_path",
    type=PATH,
    metavar="DIR",
    help="Write every table as raw CSV, and items.csv.",
)
TEXTS = (
    click.option(
        "--markdown", "markdown_path", type=WRITABLE, metavar="FILE|-", help="Write Markdown."
    ),
    click.option("--latex", "latex_path", type=WRITABLE, metavar="FILE|-", help="Write LaTeX."),
    click.option("--json", "json_path", type=WRITABLE, metavar="FILE|-", help="Write JSON."),
)

TABLE_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "by": click.option("--by", multiple=True, metavar="TAG", help="Only these groups; repeat it."),
    "margin": click.option(
        "--margin",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=TableOptions.margin,
        show_default=True,
        help="The largest difference that is called none, as a share: 0.03 is 3 points.",
    ),
    "budget": click.option(
        "--budget",
        "budgets",
        multiple=True,
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="A token budget; repeat it. Without it, budgets are chosen from the data.",
    ),
    "train": click.option(
        "--train",
        multiple=True,
        type=PATH,
        metavar="FILE",
        help="traces.jsonl or questions.jsonl that the candidate was trained on; repeat it.",
    ),
}


def with_all(options: Iterable[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Return a decorator that adds options in the order in which help is to list them."""

    def add(command: Command) -> Command:
        for option in reversed(tuple(options)):
            command = option(command)
        return command

    return add


def pair_options(command: Command) -> Command:
    """Add BASELINE, CANDIDATE and the options of `read_comparison`."""
    return with_all(PAIR)(command)


def output_options(command: Command) -> Command:
    """Add --csv, --markdown, --latex and --json, which `emit` reads."""
    return with_all((CSV, *TEXTS))(command)


def folder_output_options(command: Command) -> Command:
    """Add the same with a folder for --csv: what `write_forms` reads."""
    return with_all((CSV_FOLDER, *TEXTS))(command)


def errors_in_one_line(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --debug; turn bad input into its message and exit 2. Stands below all other options.

    A message of a refusal may have a line for each difference.
    """

    @click.option("--debug", is_flag=True, help="Show a traceback on errors.")
    @functools.wraps(function)
    def run(*arguments: Any, debug: bool, **options: Any) -> Any:
        try:
            check_outputs(options)
            return function(*arguments, **options)
        except BrokenPipeError:  # the reader went away, as `head` does: click ends quietly
            raise
        except (ValueError, OSError, RecursionError) as problem:
            if debug:
                raise
            lines = (visible(line) for line in f"distill-report: {problem}".split("\n"))
            click.echo("\n".join(lines), err=True)
            sys.exit(2)

    return run


def check_outputs(options: Mapping[str, Any]) -> None:
    """Refuse files of `output_options` that cannot be written, before anything is computed."""
    for form in ("csv", "markdown", "latex", "json"):
        path = options.get(f"{form}_path")
        if path is not None:
            check_output(f"--{form}", path, folder=form == "csv")


def check_output(option: str, path: Path, *, folder: bool = False) -> None:
    """Refuse a path that cannot be written; `folder` says that it may be a folder.

    Raises:
        ValueError: a folder where a file is asked for, a file on the way, no right to write.
    """
    if str(path) == STDOUT:
        return
    if path.is_dir() and not folder:
        raise ValueError(f"{option} {path}: that is a folder; name a file in it")
    there = next((one for one in (path, *path.parents) if one.exists()), path)
    if there != path and not there.is_dir():
        raise ValueError(f"{option} {path}: {there} is a file, not a folder; choose another place")
    if not os.access(there, os.W_OK):
        raise ValueError(f"{option} {path}: {there} may not be written to; choose another place")


def by_task(values: Iterable[str]) -> dict[str, str]:
    """Return `TASK=NAME` options by task; a bare NAME holds for every task, under ""."""
    split = [value.rpartition("=") for value in values]
    return {task: name for task, _, name in split}


def table_options(options: Mapping[str, Any]) -> TableOptions:
    """Return what a command's options say to its tables."""
    given = {
        name: options[name] for name in ("by", "margin", "budgets", "train") if name in options
    }
    return TableOptions(**given)


def read_comparison(baseline: Path, candidate: Path, options: Mapping[str, Any]) -> Comparison:
    """Read both arms and compare them, by the options of `pair_options`.

    Raises:
        ValueError: bad input, or arms that may not be compared.
        OSError: a file that cannot be read.
    """
    from analysis.compare import Options, compare
    from analysis.reading.load import Choice, read_arm

    choice = Choice(
        metrics=by_task(options["metrics"]),
        filters=by_task(options["filters"]),
        tasks=options["tasks"],
    )
    return compare(
        read_arm(str(baseline), baseline, choice),
        read_arm(str(candidate), candidate, choice),
        Options(logs=options["logs"], allow=options["allow"], seed=options["seed"]),
    )


def emit(
    tables: Sequence[Table], options: Mapping[str, Any], comparison: Comparison | None = None
) -> None:
    """Write tables to the files of `output_options`, and print them unless one is stdout.

    Several tables as CSV go into a folder, a file each.

    Raises:
        ValueError: several tables in one CSV file.
        OSError: a file that cannot be written.
    """
    from analysis.render import document, terminal

    def write_csv(path: Path) -> list[Path]:
        if is_folder(path):
            return document.write_csv_folder(tables, path)
        return write_text(path, document.text("csv", tables))

    def show(out: IO[str]) -> None:
        terminal.print_tables(tables, terminal.console(out))

    texts = {
        form: functools.partial(document.text, form, tables, comparison)
        for form in ("markdown", "latex", "json")
    }
    write_forms(options, write_csv, texts, show)


def write_forms(
    options: Mapping[str, Any],
    write_csv: Callable[[Path], list[Path]],
    texts: Mapping[str, Callable[[], str]],
    show: Callable[[IO[str]], None],
) -> None:
    """Write the forms that were asked for, and print unless one of them went to stdout."""
    wrote: list[Path] = []
    if options["csv_path"] is not None:
        wrote += write_csv(options["csv_path"])
    for form, make in texts.items():
        if options[f"{form}_path"] is not None:
            wrote += write_text(options[f"{form}_path"], make())
    if any(str(options[f"{form}_path"]) == STDOUT for form in ("csv", *texts)):
        return
    show(sys.stdout)
    for line in written(wrote):
        click.echo(visible(line))


def written(files: Sequence[Path]) -> list[str]:
    """Say which files were written; those of a folder in one line."""
    in_folder = Counter(path.parent for path in files)
    many = {folder: n for folder, n in in_folder.items() if n > FEW_FILES}
    lines = [f"wrote {n} files in {folder}" for folder, n in many.items()]
    return [*lines, *(f"wrote {path}" for path in files if path.parent not in many)]


def is_folder(path: Path) -> bool:
    """Whether a path given for CSV means a folder: one that is there, or a new one by its name."""
    return str(path) != STDOUT and (path.is_dir() or not (path.suffix or path.exists()))


def write_text(path: Path, text: str) -> list[Path]:
    """Write UTF-8, to standard output for `-`; a lone surrogate becomes its escape."""
    if str(path) == STDOUT:
        click.echo(text, nl=False)
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return [path]
