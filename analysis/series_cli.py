"""The commands of `distill-report` on more, or other, files than two arms.

Owns their arguments. Refuses to own any number and any layout; the libraries that compute are
imported when a command runs.

    distill-report sweep runs/base runs/step-* --select-by distill_math500
    distill-report sweep scores.csv --select-by MATH-500
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.commands import (
    PATH,
    READING,
    Command,
    by_task,
    emit,
    errors_in_one_line,
    output_options,
    with_all,
)

if TYPE_CHECKING:
    from analysis.series.form import Series
    from analysis.series.runs import Reading
    from analysis.tables.table import Table

OF_CSV = (
    click.option("--baseline", metavar="NAME", help="Of a CSV: the run to compare with."),
    click.option("--series", metavar="NAME", help="Of a CSV with several series: this one."),
)
OF_RUNS = {"logs": "--log", "metrics": "--metric", "filters": "--filter", "allow": "--allow"}
OF_TABLES = {"baseline": "--baseline", "series": "--series"}
RUNS = click.argument("runs", nargs=-1, required=True, metavar="BASE RUN... | FILE.csv")


def series_options(command: Command) -> Command:
    """Add the runs, the options of reading and of files, and one line for an error."""
    add: Callable[[Any], Any] = with_all((RUNS, *READING, *OF_CSV))
    return add(output_options(errors_in_one_line(command)))  # type: ignore[no-any-return]


@click.command()
@click.option("--select-by", default="", metavar="TASK", help="The task that chooses the step.")
@series_options
def sweep(runs: Sequence[str], select_by: str, **options: Any) -> None:
    """Which checkpoint is best, and what that choice is worth.

    BASE and each RUN are run folders or samples files; a run's step is read off its name
    (step-000100, checkpoint-100) or given as NAME=RUN. One CSV of scores will do, or the folder of
    `distill-train sweep`, whose held-out questions give the figure to quote.

    \b
    distill-report sweep runs/base runs/step-* --select-by distill_math500
    distill-report sweep runs/sweep-1
    distill-report sweep scores.csv --select-by MATH-500 --csv tables/
    """
    from analysis.tables.sweep import sweep as make

    emit(make(read(runs, options), select_by), options)


@click.command()
@series_options
def curves(runs: Sequence[str], **options: Any) -> None:
    """Every step's score in every task, with its difference to BASE and its trend.

    \b
    distill-report curves runs/base runs/checkpoint-100 runs/checkpoint-200
    distill-report curves scores.csv --task MBPP+ --csv -
    """
    from analysis.tables.curves import curves as make

    emit(make(read(runs, options)), options)


@click.command()
@series_options
def seeds(runs: Sequence[str], **options: Any) -> None:
    """One recipe trained with several seeds: mean, spread and the difference to BASE.

    \b
    distill-report seeds runs/base runs/seed-0 runs/seed-1 runs/seed-2
    distill-report seeds scores.csv
    """
    from analysis.tables.seeds import seeds as make

    emit(make(read(runs, options)), options)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="BASE DISTILLED RECOVERED | FILE.csv")
@with_all((*READING, *OF_CSV))
@output_options
@errors_in_one_line
def recovery(runs: Sequence[str], **options: Any) -> None:
    """What distillation lost, and how much of it a further training (format SFT) brought back.

    In a CSV the runs are called base, distilled and recovered; several students stand there with a
    column `series`.

    \b
    distill-report recovery runs/base runs/distilled runs/format-sft
    distill-report recovery scores.csv
    """
    from analysis.series.tidy import read_groups
    from analysis.tables.recovery import recovery as make

    if is_csv(runs, options):
        found = read_groups(Path(runs[0]), options["baseline"], options["series"])
        groups = {name: one.only(options["tasks"]) for name, one in found.items()}
    else:
        if len(runs) != 3:
            raise ValueError(f"expected BASE DISTILLED RECOVERED or one CSV, got {len(runs)} paths")
        groups = {"": read(runs, options)}
    emit([make(groups)], options)


@click.command()
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUN | BASE STUDENT | NAME=RUN... | FILE.csv"
)
@with_all((*READING, *OF_CSV))
@output_options
@errors_in_one_line
def tiers(runs: Sequence[str], **options: Any) -> None:
    """Accuracy by the length of the response: words, accuracy and trend over tiers of reasoning.

    One RUN that was asked in several tiers (`distill-eval run --tiers r1,r3,r6`, or
    distill_math500_r1 to _r6); or two such runs, compared tier by tier; or a run for each tier,
    asked in it or of a model trained on such responses: the first run is what the others are
    compared with. In a CSV each run is a tier, with its column `words`; a run `base` there, or
    --baseline, takes the first one's place.

    \b
    distill-report tiers runs/base
    distill-report tiers runs/base runs/student
    distill-report tiers R1=runs/long R2=runs/middle R3=runs/short
    distill-report tiers scores.csv
    """
    from analysis.tables.tiers import tiers as make

    if not is_csv(runs, options):
        emit(tier_tables(runs, options), options)
        return
    series = read(runs, options)
    first = ""
    if not series.baseline and len(series.runs) > 1:
        first = series.runs[0]
        series = read(runs, {**options, "baseline": first})
    emit(make(series, first), options)


def tier_tables(runs: Sequence[str], options: Mapping[str, Any]) -> list[Table]:
    """Return the tables of tiers: of one run, of two that hold them, or of a run each.

    Raises:
        ValueError: bad input, or no tiers in it.
    """
    from analysis.series.runs import is_named, named_runs
    from analysis.series.tiers import from_each, from_one, holds_tiers, pairs_of
    from analysis.tables.tier_pairs import tier_pairs
    from analysis.tables.tiers import tiers as make

    how = reading(options)
    plain = not any(is_named(word) for word in runs)
    if len(runs) == 1 and plain:
        return make(*from_one(Path(runs[0]), how))
    if len(runs) == 2 and plain and all(holds_tiers(Path(word), how) for word in runs):
        return tier_pairs(pairs_of(Path(runs[0]), Path(runs[1]), how))
    if len(runs) < 2:
        raise ValueError("name at least two tiers: NAME=RUN NAME=RUN, or one run, or one CSV")
    named = [named_runs([word])[0] for word in runs]
    return make(from_each(named, how), named[0].name)


@click.command()
@click.argument("run", type=PATH)
@click.option("--scores", type=PATH, metavar="FILE.csv", help="More published scores.")
@click.option("--model", metavar="TEXT", help="Only published models whose name holds this.")
@with_all(READING)
@output_options
@errors_in_one_line
def published(run: Path, scores: Path | None, model: str | None, **options: Any) -> None:
    """One run beside published scores of its tasks, with a test against each.

    A file of your own has the columns model,task,percent (or score),metric,n,source.

    \b
    distill-report published runs/student
    distill-report published runs/student --scores ours.csv --model R1-Distill
    """
    from analysis.series.published import read_published
    from analysis.series.runs import read_one
    from analysis.tables.published import published as make

    found = read_published(scores)
    emit([make(read_one(run, reading(options)), found, model)], options)


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="TRACES.jsonl...")
@click.option("--topic", metavar="FIELD", help="Field of the question that names its topic.")
@output_options
@errors_in_one_line
def dataset(files: Sequence[Path], topic: str | None, **options: Any) -> None:
    """What is in training data: sources, verdicts, lengths of thinking, topics.

    Takes traces.jsonl and questions.jsonl, plain or .gz; a damaged line is counted and named.

    \b
    distill-report dataset traces/traces.jsonl
    distill-report dataset r1.jsonl.gz sonnet.jsonl.gz --topic meta.subject --markdown data.md
    """
    from analysis.tables.dataset import dataset as make

    emit(make(files, topic), options)


COMMANDS = (sweep, curves, recovery, seeds, tiers, published, dataset)


def is_csv(runs: Sequence[str], options: Mapping[str, Any]) -> bool:
    """Whether the arguments are one CSV of scores.

    Raises:
        ValueError: several CSVs, or an option that would do nothing to what is read.
    """
    tables = [run for run in runs if run.lower().endswith(".csv") and not Path(run).is_dir()]
    if tables and len(runs) > 1:
        raise ValueError(f"{tables[0]}: a CSV of scores stands alone; put all rows into one file")
    others = OF_RUNS if tables else OF_TABLES
    ignored = next((option for name, option in others.items() if options[name]), None)
    if ignored:
        raise ValueError(
            f"{ignored} is for {'runs' if tables else 'a CSV of scores'}: leave it out"
        )
    return bool(tables)


def reading(options: Mapping[str, Any]) -> Reading:
    """Return how runs are read."""
    from analysis.reading.load import Choice
    from analysis.series.runs import Reading

    return Reading(
        choice=Choice(
            metrics=by_task(options["metrics"]),
            filters=by_task(options["filters"]),
            tasks=options["tasks"],
        ),
        logs=options["logs"],
        allow=options["allow"],
        seed=options["seed"],
    )


def read(runs: Sequence[str], options: Mapping[str, Any]) -> Series:
    """Read a CSV of scores, a sweep's folder, or a baseline and its runs.

    Raises:
        ValueError: none of these, or bad input. OSError.
    """
    from dataclasses import replace

    from analysis.series.runs import from_runs, named_runs
    from analysis.series.sweep_folder import is_sweep, read_sweep
    from analysis.series.tidy import read_series

    if is_csv(runs, options):
        series = read_series(Path(runs[0]), options["baseline"], options["series"])
        return replace(series.only(options["tasks"]), seed=options["seed"])
    if len(runs) == 1 and is_sweep(Path(runs[0])):
        return read_sweep(Path(runs[0]), reading(options))
    if len(runs) == 1:
        raise ValueError(
            f"{runs[0]}: expected a baseline and at least one run, or one CSV of scores, or the "
            "folder of a `distill-train sweep` (with its sweep.csv)"
        )
    return from_runs(Path(runs[0]), named_runs(runs[1:]), reading(options))
