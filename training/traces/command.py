r"""`distill-train traces`: ask teachers, verify what they say, keep what a student should learn.

Owns the options and the order of a whole run. Refuses to own the work (`run`, `select`, `report`).

Example, a run:

    distill-train traces questions.jsonl --out traces \
        --teacher base_url=https://openrouter.ai/api/v1,model=deepseek/deepseek-r1,api_key_env=KEY
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from harness_tasks.chat.given import model_of, pairs
from harness_tasks.isolation_check import CONFIRM_ENV, CONFIRM_FLAG
from training.commands import ends_in_one_line


@click.command()
@click.argument("questions", required=False, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option("--config", help="YAML file with any of the settings; options win over it.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one setting, such as select.keep=correct.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="A model to ask: base_url=...,model=...,api_key_env=...; may be given again.",
)
@click.option("--judge", metavar="NAME=VALUE,...", help="A model that scores the traces.")
@click.option(
    "--checker",
    metavar="NAME=VALUE,...",
    help="A model that checks each trace and asks the teacher for repairs.",
)
@click.option(
    "--student",
    metavar="NAME=VALUE,...",
    help="The student, asked first: only what it fails is asked of the teachers.",
)
@click.option(
    "--student-samples",
    multiple=True,
    metavar="PATH",
    help="The student's answers instead: lm-eval samples, or traces with verdicts.",
)
@click.option("--samples", type=int, help="Samples a question and teacher, each with its own seed.")
@click.option("--seed", type=int, help="Base of the samples' seeds.")
@click.option("--limit", type=int, help="Take the first N questions alone.")
@click.option("--max-cost-usd", type=float, help="Ask no more once the folder has cost this much.")
@click.option("--system-prompt", help="System prompt for every teacher; there is none by default.")
@click.option(
    "--keep",
    type=click.Choice(["perfect", "correct", "all"]),
    help="perfect: correct, and judged so with enough quality where a judge is set.",
)
@click.option(
    "--per-question",
    type=click.Choice(["all", "longest", "shortest", "first"]),
    help="Which of several good traces of a question are kept.",
)
@click.option("--sample", type=int, metavar="N", help="Keep N traces, drawn by strata.")
@click.option(
    "--strata", metavar="COLUMNS", help="Columns of the strata: source,level,meta.subject."
)
@click.option(
    "--require-reasoning/--allow-no-reasoning",
    default=None,
    help="Whether a trace without reasoning is kept.",
)
@click.option("--min-chars", type=int, help="Shortest trace, reasoning and answer together.")
@click.option("--max-chars", type=int, help="Longest trace, reasoning and answer together.")
@click.option("--tokenizer", metavar="PATH", help="Count tokens with this tokenizer, too.")
@click.option("--max-length", type=int, help="Tokens that training will take: how many are over?")
@click.option(
    "--benchmarks-dir", "--data-dir", "data_dir", metavar="DIR",
    help="Where the suite's benchmarks lie.",
)  # fmt: skip
@click.option(
    "--decontaminate/--no-decontaminate",
    default=None,
    help="Whether questions of the suite's benchmarks are left out.",
)
@click.option(
    "--completions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Verify traces that exist already; nobody is asked.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="OURS=THEIRS",
    help="With --completions: the file's name for one of our columns.",
)
@click.option(
    "--grader",
    type=click.Choice(["math", "gsm8k", "aime", "choice"]),
    help="With --completions: the grader of all rows.",
)
@click.option(
    CONFIRM_FLAG,
    "confirmed",
    is_flag=True,
    help="Run code of models also where this machine isolates it weakly.",
)
@ends_in_one_line
def traces(questions: Path | None, out: Path, completions: Path | None, **options: Any) -> None:
    """Ask teachers the QUESTIONS, verify each trace, and keep those worth learning from.

    OUT gets traces.jsonl (kept), rejected.jsonl (with a reason each), completions.jsonl (every
    reply; a killed run goes on from it) and report.json, report.md.
    """
    from training.traces import whole

    if options["confirmed"]:
        os.environ[CONFIRM_ENV] = "1"  # the check is made where code is about to be run
    chosen = settings_of(options)
    made = (
        whole.asked(chosen, questions, out)
        if completions is None
        else whole.verified(chosen, completions, questions, out)
    )
    click.echo(made.text)
    click.echo(
        f"\n{made.n_kept} traces in {out / whole.TRACES}, {made.n_rejected} others in "
        f"{out / whole.REJECTED}, the report in {out / whole.REPORT_PAGE}"
    )
    for why in made.stopped:
        click.echo(f"distill-train: {why}", err=True)
    if made.n_missing:
        click.echo(
            f"distill-train: {made.n_missing} samples have no completion; the same command asks "
            "them again",
            err=True,
        )
    if made.n_missing or made.stopped:
        sys.exit(1)


def settings_of(options: dict[str, Any]) -> Any:
    """Build the settings: the YAML file, the options over it, `--set` over both.

    Raises:
        ValueError: a setting that is unknown or wrong.
    """
    from training.settings import apply, build, read
    from training.traces.settings import TracesSettings

    changes = changes_of(options)
    lines = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    lines += options["overrides"]
    if options["config"]:
        return read(TracesSettings, options["config"], lines)
    given: dict[str, Any] = {}
    for line in lines:
        apply(given, line)
    return build(TracesSettings, given, "the command line")


def changes_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that options were given for, by their dotted names.

    Raises:
        ValueError: a model or a column that cannot be read.
    """
    plain = (
        "samples", "seed", "limit", "max_cost_usd", "tokenizer", "max_length", "data_dir",
        "decontaminate", "grader",
    )  # fmt: skip
    chosen = ("keep", "per_question", "sample", "require_reasoning", "min_chars", "max_chars")
    changes = {name: options[name] for name in plain}
    changes |= {f"select.{name}": options[name] for name in chosen}
    changes["prompts.system_prompt"] = options["system_prompt"]
    if options["strata"] is not None:
        names = [name.strip() for name in options["strata"].split(",") if name.strip()]
        changes["select.strata"] = names
    if options["teachers"]:
        changes["teachers"] = [model_of("--teacher", text) for text in options["teachers"]]
    for name in ("judge", "checker"):
        if options[name]:
            changes[name] = model_of(f"--{name}", options[name])
    if options["student"]:
        changes["student.endpoint"] = model_of("--student", options["student"])
    if options["student_samples"]:
        changes["student.samples"] = list(options["student_samples"])
    if options["columns"]:
        changes["columns"] = pairs("--column", options["columns"])
    return {name: value for name, value in changes.items() if value is not None}
