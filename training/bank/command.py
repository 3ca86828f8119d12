"""`distill-train bank`: from data sets to one file of questions.

Owns the command line and the folder that it writes. Refuses to own the steps (`build`). Nothing
heavy is imported before the work begins.

Example: `distill-train bank numina=train.parquet gsm8k=train.jsonl --sample 3000 --out bank`
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.commands import ends_in_one_line

if TYPE_CHECKING:
    from harness_tasks.decontaminate import Benchmark, Decontaminator
    from training.bank.build import Choices
    from training.bank.sources import Source

QUESTIONS, REPORT = "questions.jsonl", "report.json"


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="[NAME:]KIND=PATH...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option("--force", is_flag=True, help="Replace a bank that is there already.")
@click.option("--map", "maps", multiple=True, metavar="[NAME=]FILE",
              help="YAML that says which column is what, for sources of kind jsonl.")  # fmt: skip
@click.option("--limit", "limits", multiple=True, metavar="NAME=N",
              help="At most the first N questions of a source.")  # fmt: skip
@click.option("--keep", "keeps", multiple=True, metavar="NAME:COLUMN=VALUE[,VALUE]",
              help="Only rows with one of the values, as in jeebench:subject=math.")  # fmt: skip
@click.option("--max-chars", default=20_000, show_default=True, type=click.IntRange(1),
              help="Leave out questions longer than this.")  # fmt: skip
@click.option("--near-threshold", default=0.85, show_default=True, type=float,
              help="Jaccard similarity from which on two questions are one.")  # fmt: skip
@click.option("--no-near", is_flag=True, help="Leave near-duplicates in.")
@click.option("--sample", "n_sample", type=click.IntRange(1), help="Draw so many questions.")
@click.option("--stratify", default="source", show_default=True, metavar="COLUMN[,COLUMN]",
              help="Draw by these: source, level, or what meta holds.")  # fmt: skip
@click.option("--allocation", default="proportional", show_default=True,
              type=click.Choice(["proportional", "equal"]),
              help="Whether a stratum gets its share or all get the same.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=int, help="Of the sample.")
@click.option("--benchmarks-dir", metavar="DIR",
              help="Folder with the benchmarks; else DISTILL_EVAL_DATA, else the hub.")  # fmt: skip
@click.option("--allow-missing-benchmarks", is_flag=True,
              help="Go on where a benchmark cannot be loaded; the report names it.")  # fmt: skip
@click.option("--no-decontaminate", is_flag=True, help="Look for no benchmark questions.")
@click.option("--ngram", default=13, show_default=True, type=click.IntRange(3),
              help="Words of the runs that are looked for in benchmarks.")  # fmt: skip
@click.option("--embedding-model", metavar="MODEL",
              help="Folder or owner/name@revision; also finds paraphrases.")  # fmt: skip
@click.option("--paraphrase-threshold", default=0.92, show_default=True, type=float,
              help="Cosine from which on a question is a paraphrase.")  # fmt: skip
@ends_in_one_line
def bank(sources: tuple[str, ...], out: Path, force: bool, **options: Any) -> None:
    """Make one bank of questions out of data sets.

    \b
    KIND is numina, math, gsm8k, aime, jeebench, leetcode, opencode, mbpp or jsonl.
    PATH is a .jsonl, .json (both also .gz) or .parquet file, a folder of them, or
    owner/name@revision of the hub, with ?config=C&split=S behind it where needed.

    Writes questions.jsonl and report.json into the folder, and prints a table.
    """  # noqa: D301 (click reads the backspace sign)
    from training.bank.build import build
    from training.bank.report import as_json, table

    chosen, choices = sources_of(sources, options), choices_of(options)
    check_out(out, force)
    benchmarks, not_checked, decontaminator = decontaminator_of(options)
    made = build(chosen, choices, decontaminator, show_progress=True)
    rules = rules_of(decontaminator, options["embedding_model"])
    report = as_json(made, choices, benchmarks, not_checked, rules)
    with whole_folder(out, force) as folder:
        from training.records import write_records

        write_records(folder / QUESTIONS, made.sampled)
        text = json.dumps(report, ensure_ascii=False, indent=1)
        (folder / REPORT).write_bytes(text.encode(errors="backslashreplace") + b"\n")
    click.echo(table(made))
    click.echo(f"\n{len(made.sampled)} questions: {out / QUESTIONS}; every hit: {out / REPORT}")
    warn(not_checked, benchmarks, len(made.sampled), choices.sample)


def warn(
    not_checked: Sequence[str],
    benchmarks: Sequence[Benchmark] | None,
    n_drawn: int,
    n_asked: int | None,
) -> None:
    """Say what a reader of the table must not overlook."""
    if benchmarks is None:
        click.echo("NOT decontaminated: no benchmark was looked at", err=True)
    for line in not_checked:
        click.echo(f"NOT checked against {line}", err=True)
    if n_asked is not None and n_drawn < n_asked:
        click.echo(f"only {n_drawn} of the {n_asked} questions asked for are there", err=True)


def sources_of(given: Sequence[str], options: dict[str, Any]) -> list[Source]:
    """Read the sources and what the options say of each.

    Raises:
        ValueError: a source or an option of another form.
    """
    from training.bank.mapping import Mapping
    from training.bank.sources import named_once, source_of, with_options
    from training.settings import read

    found = [source_of(text) for text in given]
    named_once(found)
    maps = {}
    for text in options["maps"]:
        name, sign, path = text.partition("=")
        maps[name if sign else ""] = read(Mapping, path if sign else text)
    limits = dict(limit_of(text) for text in options["limits"])
    return with_options(found, limits, keeps_of(options["keeps"]), maps)


def limit_of(text: str) -> tuple[str, int]:
    """Read NAME=N.

    Raises:
        ValueError: another form.
    """
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal() or not int(number):
        raise ValueError(f"--limit takes NAME=N with N at least 1, got {text!r}")
    return name, int(number)


def keeps_of(given: Sequence[str]) -> dict[str, dict[str, frozenset[str]]]:
    """Read NAME:COLUMN=VALUE[,VALUE], by name and column.

    Raises:
        ValueError: another form.
    """
    keeps: dict[str, dict[str, frozenset[str]]] = {}
    for text in given:
        place, _, values = text.partition("=")
        name, _, column = place.rpartition(":")
        if not name or not column or not values:
            raise ValueError(f"--keep takes NAME:COLUMN=VALUE[,VALUE], got {text!r}")
        wanted = frozenset(value.strip() for value in values.split(","))
        columns = keeps.setdefault(name, {})
        columns[column] = columns.get(column, frozenset()) | wanted
    return keeps


def choices_of(options: dict[str, Any]) -> Choices:
    """Read how the bank is made.

    Raises:
        ValueError: no column to stratify by.
    """
    from training.bank.build import Choices

    columns = tuple(name.strip() for name in options["stratify"].split(",") if name.strip())
    if not columns:
        raise ValueError(f"--stratify takes COLUMN[,COLUMN], got {options['stratify']!r}")
    return Choices(
        max_chars=options["max_chars"],
        near=None if options["no_near"] else options["near_threshold"],
        stratify=columns,
        sample=options["n_sample"],
        allocation=options["allocation"],
        seed=options["seed"],
    )


def decontaminator_of(
    options: dict[str, Any],
) -> tuple[list[Benchmark] | None, list[str], Decontaminator | None]:
    """Load the benchmarks and index them; None for both where nothing is to be looked up.

    Raises:
        ValueError: a benchmark could not be loaded, and that is not allowed.
    """
    from harness_tasks.decontaminate import Decontaminator, suite_benchmarks

    if options["no_decontaminate"]:
        return None, [], None
    benchmarks, not_checked = suite_benchmarks(options["benchmarks_dir"])
    if not_checked and not options["allow_missing_benchmarks"]:
        names = ", ".join(line.partition(":")[0] for line in not_checked)
        raise ValueError(
            f"cannot check against {names}: {not_checked[0].partition(': ')[2]} (give "
            "--benchmarks-dir, or --allow-missing-benchmarks to go on without them)"
        )
    embed = None
    if options["embedding_model"]:
        from training.bank.embedding import embedder

        embed = embedder(options["embedding_model"])
    threshold = options["paraphrase_threshold"]
    made = Decontaminator(benchmarks, n=options["ngram"], embed=embed, threshold=threshold)
    return benchmarks, not_checked, made


def rules_of(decontaminator: Decontaminator | None, model: str | None) -> dict[str, Any]:
    """Return what counts as a hit, for the report."""
    if decontaminator is None:
        return {}
    paraphrase = {"model": model, "threshold": decontaminator.threshold} if model else None
    return {"ngram_words": decontaminator.n, "paraphrase": paraphrase}


def check_out(out: Path, force: bool) -> None:
    """Check that the folder may be written.

    Raises:
        ValueError: it is there and holds something that is not to be replaced.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"--out {out} is a file, expected a folder")
    there = {path.name for path in out.iterdir()}
    others = sorted(there - {QUESTIONS, REPORT})
    if others:
        raise ValueError(
            f"--out {out} holds {others[0]!r}, which is no bank's; name another folder"
        )
    if there and not force:
        raise ValueError(f"--out {out} holds a bank; name another folder, or replace it: --force")


@contextmanager
def whole_folder(out: Path, force: bool) -> Iterator[Path]:
    """Give a folder to write into that becomes `out` at the end, and is gone where it fails."""
    out = out.absolute()
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        check_out(out, force)
        if out.exists():
            replaced = out.with_name(f".{out.name}.replaced-{os.getpid()}")
            out.rename(replaced)
            partial.rename(out)
            shutil.rmtree(replaced)
        else:
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
