"""`distill-eval`: run tasks through lm-eval, list them, and grade what was run again.

Owns the commands, what they print and their exit codes: 2 for what the caller can mend (the call,
the data, the server), 1 for a run that failed, 130 for Ctrl-C. Refuses to own the run (`run`),
the list (`catalogue`) and the regrading (`regrade`). Importing this module loads neither lm_eval
nor torch nor datasets.

Example: `distill-eval run --run base --tasks distill_math500 --model_args base_url=...,model=...`
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness_tasks import catalogue, docs, isolation_check, manifest
from harness_tasks.doctor.command import doctor
from harness_tasks.explained import INTERRUPTED
from harness_tasks.presets_command import presets
from harness_tasks.run_folder import LOCAL_CHAT
from harness_tasks.runs import runs
from harness_tasks.text_table import aligned

if TYPE_CHECKING:
    from harness_tasks.plan import Plan, RunOptions

RUN_EXAMPLE = """\b
Example:
  distill-eval run --run base --tasks distill_math --preset deepseek-r1 \\
      --model_args base_url=http://127.0.0.1:8766/v1,model=NAME
"""
GRADE_EXAMPLE = """\b
Example:
  distill-eval grade runs/base runs/student --output regraded
"""
SHORT_REVISION = re.compile(r"@([0-9a-f]{8})[0-9a-f]{32}")
PASS_THROUGH = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="distill-eval", prog_name="distill-eval")
def main() -> None:
    """Run evaluation tasks for reasoning models on lm-eval, list them, regrade their samples."""


@main.command(context_settings=PASS_THROUGH, epilog=RUN_EXAMPLE)
@click.option("--run", "run_name", metavar="NAME", help="Name of the run; its folder is runs/NAME.")
@click.option(
    "--repeats", type=click.IntRange(min=1), metavar="K", help="Completions for each question."
)
@click.option("--data-dir", metavar="DIR", help="Take the questions from this folder.")
@click.option("--preset", metavar="NAME", help="Published sampling, such as deepseek-r1 or greedy.")
@click.option(
    "--tiers", metavar="LIST", help="Ask each task in tiers of reasoning: r1,r3 (r1 to r6), or all."
)
@click.option(
    "--retry-errors", "errors", is_flag=True,
    help="Ask the failed requests of a finished run again.",
)  # fmt: skip
@click.option(
    "--retry-truncated", "truncated", is_flag=True,
    help="Ask what was cut off in a finished run again, with --max-tokens.",
)  # fmt: skip
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N",
    help="The larger limit of --retry-truncated.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.argument("lm_eval_args", nargs=-1, type=click.UNPROCESSED)
def run(debug: bool, **given: Any) -> None:
    """Evaluate a model with lm-eval, and keep everything in one folder.

    Every flag of `lm_eval run` passes through unchanged (`lm_eval run --help` lists them). Without
    --model the model is local-chat, an OpenAI-compatible server. Samples are always logged, into
    runs/NAME, and runs/NAME/manifest.json says what was measured. A second call with the same
    settings and other tasks adds to the run.

    Every completion is kept as it comes: after a kill the same command goes on where it stopped,
    and so does `distill-eval run --run NAME` alone.
    """
    from harness_tasks.run import run as evaluate

    try:
        plan, record = evaluate(*options_of(given))
    except KeyboardInterrupt as pressed:
        if debug:
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would break the ending
        click.echo(str(pressed) or "interrupted before the run began", err=True)
        sys.exit(INTERRUPTED)
    except (ValueError, ImportError) as wrong:
        stop(wrong, debug, code=2)
    except Exception as failed:  # noqa: BLE001 - the process ends here; --debug shows all of it
        stop(failed, debug, code=1)
    else:
        click.echo(closing_message(plan, record), err=record["status"] != "finished")
        sys.exit(record["status"] != "finished")


def options_of(given: dict[str, Any]) -> tuple[RunOptions, tuple[str, ...]]:
    """Return the options of a run and lm-eval's arguments; a bare run's are those it began with.

    Raises:
        ValueError: no such run, or a command whose record leaves a secret out.
    """
    from harness_tasks.plan import RunOptions
    from harness_tasks.run_folder import Retry, command_of

    own = dict(given)
    lm_eval_args = own.pop("lm_eval_args")
    name = own.pop("run_name")
    retry = Retry(own.pop("errors"), own.pop("truncated"), own.pop("max_tokens"))
    if lm_eval_args:
        return RunOptions(run=name, retry=retry, **own), lm_eval_args
    if name is None:
        raise click.UsageError("no tasks given; try: distill-eval run --tasks distill_demo ...")
    recorded = run.make_context("run", [*command_of(name), *retry.flags()]).params
    recorded.pop("debug")
    own = {
        key: value if own[key] is None else own[key]
        for key, value in recorded.items()
        if key in own
    }
    retry = Retry(recorded["errors"], recorded["truncated"], recorded["max_tokens"])
    return RunOptions(run=name, retry=retry, recorded=True, **own), recorded["lm_eval_args"]


@main.command()
@click.option("--data-dir", metavar="DIR", help="Show the files that this folder holds for them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with full revisions.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def tasks(data_dir: str | None, as_json: bool, debug: bool) -> None:
    """List the tasks: questions, headline metric, version, and where the questions come from."""
    data_dir = data_dir or os.environ.get(docs.DATA_ENV) or None
    try:
        rows = [task_row(info, data_dir) for info in catalogue.tasks().values()]
    except (ValueError, OSError) as wrong:
        stop(wrong, debug, code=2)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        click.echo(table(rows, data_dir))


@main.command(epilog=GRADE_EXAMPLE)
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLES...")
@click.option("--data-dir", metavar="DIR", help="Take the tests of code tasks from this folder.")
@click.option("--output", metavar="DIR", help="Write the regraded samples into this new folder.")
@click.option("--breakdown", is_flag=True, help="Show scores by subject, level, difficulty, ...")
@click.option(
    "--show", type=click.IntRange(min=0), default=20, show_default=True, metavar="N",
    help="Changed completions shown for each file.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every change.")
@click.option(
    isolation_check.CONFIRM_FLAG, "confirmed", is_flag=True,
    help="Run the code in the answers even where this machine isolates it weakly.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def grade(samples: tuple[str, ...], debug: bool, **options: Any) -> None:
    """Grade existing samples files again with today's graders, and show what changed.

    SAMPLES are lm-eval's samples files (samples_TASK_TIME.jsonl, also .gz) of tasks of this suite,
    or folders of runs. No model is asked, and nothing is written without --output.
    """
    from harness_tasks.run import sigterm_as_ctrl_c

    try:
        with sigterm_as_ctrl_c():
            click.echo(graded_again(samples, **options))
    except KeyboardInterrupt:
        if debug:
            raise
        click.echo("interrupted: nothing was changed", err=True)
        sys.exit(INTERRUPTED)
    except (ValueError, ImportError, OSError) as wrong:
        stop(wrong, debug, code=2)
    except Exception as failed:  # noqa: BLE001 - the process ends here; --debug shows all of it
        stop(failed, debug, code=1)


def graded_again(
    samples: Sequence[str],
    *,
    data_dir: str | None,
    output: str | None,
    breakdown: bool,
    show: int,
    as_json: bool,
    confirmed: bool,
) -> str:
    """Regrade the files and return what is printed; notes go to stderr at once."""
    from harness_tasks import regrade, regrade_output, regrade_report, samples_files
    from harness_tasks.run import environment_set

    files, notes = samples_files.find(samples)
    for note in notes:
        click.echo(note, err=True)
    copy = regrade_output.Copy(Path(output).expanduser(), files) if output else None
    with environment_set(isolation_check.CONFIRM_ENV, "1" if confirmed else None):
        try:
            folder = data_dir or os.environ.get(docs.DATA_ENV) or None
            done = regrade.regrade(files, folder, copy.keep if copy else None)
            written = copy.finish(done) if copy else []
        finally:
            if copy:
                copy.discard()
    if as_json:
        told = regrade_report.as_json(done, notes) | {"written": [str(path) for path in written]}
        return json.dumps(told, indent=2, ensure_ascii=False)
    text = regrade_report.as_text(done, show=show, breakdown=breakdown)
    return "\n".join([text, *([""] if written else []), *(f"wrote {path}" for path in written)])


def task_row(info: catalogue.TaskInfo, data_dir: str | None) -> dict[str, Any]:
    """Describe a task; a folder that lacks its file is said in its row, and the others stand."""
    if info.source is None:
        data = " + ".join(info.members)
    else:
        try:
            data = catalogue.data_origin(info.source, data_dir)
        except ValueError as missing:
            if not os.path.isdir(os.path.expanduser(data_dir or "")):
                raise
            data = f"missing: {missing}"
    return {
        "task": info.name,
        "docs": info.n_docs,
        "metric": info.metric,
        "version": info.version,
        "data": data,
        "kind": "group" if info.members else "task",
    }


def table(rows: Sequence[dict[str, Any]], data_dir: str | None) -> str:
    """Return the rows as an aligned table: revisions cut to eight digits, files without folder."""
    names = ("task", "docs", "metric", "version", "data")
    cells = [tuple(str(row[name]) for name in names) for row in rows]
    cells = [
        (*row[:-1], SHORT_REVISION.sub(r"@\1", row[-1]).split("; ")[0].split(", only")[0])
        for row in cells
    ]
    text = aligned(names, cells, right={"docs"})
    if not data_dir:
        return text
    folder = f"{os.path.expanduser(data_dir)}{os.sep}"
    return f"{text.replace(folder, '')}\ndata folder: {data_dir}"


main.add_command(doctor)
main.add_command(presets)
main.add_command(runs)


def stop(error: BaseException, debug: bool, code: int) -> NoReturn:
    """Print one line about the error and exit; with `debug`, raise it."""
    if debug:
        raise error
    message = docs.one_line(error) or type(error).__name__
    if code != 2:
        message = f"the run failed: {type(error).__name__}: {message} (--debug shows where)"
    click.echo(message, err=True)
    sys.exit(code)


def closing_message(plan: Plan, record: dict[str, Any]) -> str:
    """Say where the files lie, what is missing in them, and what to do next."""
    where = f"{plan.folder}/{manifest.FILE_NAME}"
    if record["status"] != "finished":
        return (
            f"run {plan.name} failed: {record['error']}\n"
            f"  nothing was measured ({where}); mend the cause, then the same command asks again"
        )
    lines = [*plan.notes, f"run {plan.name} finished: {where}"]
    lines += [f"  {plan.folder / name}" for name in record["results"]]
    lines.append("  and beside each, its samples: samples_TASK_TIME.jsonl")
    kept = plan.settings.get("model") == LOCAL_CHAT  # other models keep no completions as they come
    lines += [line for task, told in record["tasks"].items() for line in lacking(task, told, kept)]
    lines.append(
        "next: run the other model under another --run NAME, then: "
        f"distill-report compare {plan.folder} {plan.folder.parent}/NAME"
    )
    return "\n".join(lines)


def lacking(task: str, told: dict[str, Any], kept: bool = True) -> Iterator[str]:
    """Say how many of a task's completions failed or were cut off, and how to ask them again.

    Where they are not kept one by one, a run of another name asks all of them.
    """
    n_samples = told.get("n_samples")
    if told.get("n_errors"):
        yield (
            f"  {task}: {told['n_errors']} of {n_samples} requests failed and are left out of the "
            f"score ({told.get('error')}); the same command with --retry-errors asks them again"
        )
    limit = (told.get("sampling") or {}).get("max_tokens")
    if told.get("n_truncated"):
        again = ""
        if limit and kept:
            again = (
                f"; the same command with --retry-truncated --max-tokens {2 * limit} asks these "
                "again, where the server's context has room for so many"
            )
        elif limit:
            again = f"; --gen_kwargs max_gen_toks={2 * limit} under another --run leaves more room"
        yield f"  {task}: {told['n_truncated']} of {n_samples} completions were cut off{again}"
