"""`distill-eval doctor`: its options, its progress and its exit code.

Owns the command line. Refuses to own the checks (`checks`) and the words on screen (`shown`).
Nothing heavy is imported before the command runs.

Example: `distill-eval doctor --base_url http://127.0.0.1:8000/v1 --preset qwen3-thinking`
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import click

from harness_tasks.explained import INTERRUPTED

if TYPE_CHECKING:
    from harness_tasks.chat.settings import Settings
    from harness_tasks.doctor.finding import Context

EXAMPLE = """\b
Example:
  distill-eval doctor --base_url http://127.0.0.1:8000/v1 --preset qwen3-thinking \\
      --tasks distill_math --against-model base

\b
Exit code: 0 all pass, 1 a warning, 2 a failure (or a call that cannot be read).
"""
# Options of the command that are model_args of `local-chat`.
MODEL_ARGS = (
    "base_url", "model", "preset", "max_tokens", "num_concurrent", "api_key_env", "system_prompt",
)  # fmt: skip


@click.command(epilog=EXAMPLE)
@click.option(
    "--base_url", "--base-url", metavar="URL", help="The server, such as http://h:8000/v1."
)
@click.option("--model", metavar="NAME", help="The model; found out where the server has one.")
@click.option("--against", metavar="URL", help="A second server: the outputs of the two differ?")
@click.option("--against-model", metavar="NAME", help="The second model, of --against or the same.")
@click.option(
    "--model_args", "--model-args", metavar="ARGS", help="As `distill-eval run` takes it."
)
@click.option("--preset", metavar="NAME", help="The sampling that the run will have.")
@click.option("--max-tokens", "--max_tokens", type=int, metavar="N", help="The run's max_tokens.")
@click.option(
    "--num-concurrent",
    "--num_concurrent",
    type=int,
    metavar="N",
    help="The run's requests at once.",
)
@click.option("--api-key-env", "--api_key_env", metavar="VAR", help="Variable that holds the key.")
@click.option("--system-prompt", "--system_prompt", metavar="TEXT", help="The run's system prompt.")
@click.option(
    "--tokenizer", metavar="PATH", help="Folder of the model's tokenizer, or tokenizer.json."
)
@click.option(
    "--tasks", metavar="NAMES", help="The run's tasks: their data and limits are checked."
)
@click.option("--data-dir", metavar="DIR", help="The folder that the run takes its questions from.")
@click.option("--metadata", metavar="JSON", help="The run's: accept_sha256, data_dir, repeats, ...")
@click.option(
    "--repeats", type=click.IntRange(min=1), metavar="K", help="The run's samples of each question."
)
@click.option(
    "--probe-tokens", type=click.IntRange(min=8, max=4096), default=64, show_default=True,
    metavar="N", help="Longest completion that a check asks for.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def doctor(as_json: bool, debug: bool, **options: Any) -> None:
    """Check a server, its model and this machine in about a minute, before GPU-hours are spent.

    Each check says what it found, why that matters and what mends it. Give the settings of the run:
    what is checked depends on them. Without --base_url only this machine is checked.
    """
    from harness_tasks.cli import stop  # it imports this module
    from harness_tasks.doctor import shown
    from harness_tasks.doctor.checks import CHECKS, walk
    from harness_tasks.doctor.finding import EXIT_CODES, verdict

    try:
        context = context_of(options)
    except (ValueError, ImportError, OSError) as wrong:
        stop(wrong, debug, code=2)
    findings = []
    try:
        with shown.Progress(quiet=as_json) as progress:
            for finding in walk(context, CHECKS, progress.told):
                findings.append(finding)
                progress.found(finding)
    except KeyboardInterrupt:
        click.echo("interrupted: not everything was checked", err=True)
        sys.exit(INTERRUPTED)
    click.echo(shown.as_json(findings, context) if as_json else shown.closing(findings, context))
    sys.exit(EXIT_CODES[verdict(findings)])


def context_of(options: dict[str, Any]) -> Context:
    """Read the options.

    Raises:
        ValueError: one that contradicts another, or that a run would refuse as well.
    """
    from harness_tasks.chat.endpoint import servers_of
    from harness_tasks.chat.settings import request_fields
    from harness_tasks.doctor.finding import Context
    from harness_tasks.doctor.probe import Server
    from harness_tasks.sampling import k_within

    settings = settings_of(options)
    tasks = asked_tasks(options["tasks"])
    common = {"tasks": tasks, "tokenizer": options["tokenizer"], **asked_data(options)}
    repeats = common.pop("repeats")
    if settings is None:
        return Context(**common, n_samples=repeats or 1)
    kwargs = zip(tasks, generation_of(tasks), strict=True)
    asked = [request_fields(settings, given, name) for name, given in kwargs]
    asked = asked or [request_fields(settings, {})]
    longest = max(asked, key=lambda fields: fields.sampling["max_tokens"])
    first, *others = (
        Server(dataclasses.replace(settings, base_url=endpoint.base), options["probe_tokens"])
        for endpoint in servers_of(settings.base_url)
    )
    other = against_of(settings, options["against"], options["against_model"])
    return Context(
        server=first,
        replicas=tuple(others),
        against=Server(other, options["probe_tokens"]) if other else None,
        preset=settings.preset,
        max_tokens=longest.sampling["max_tokens"],
        max_tokens_is_default=longest.limit_is_default,
        num_concurrent=settings.num_concurrent,
        n_samples=repeats or k_within(settings.preset),
        **common,
    )


def asked_data(options: dict[str, Any]) -> dict[str, Any]:
    """Return the folder, the metadata and the samples of each question, as a run reads them.

    Raises:
        ValueError: an option and --metadata contradict each other.
    """
    from harness_tasks.chat.given import model_of
    from harness_tasks.plan import folder_of_data, repeats_of

    metadata = model_of("--metadata", options["metadata"]) if options["metadata"] else {}
    return {
        "metadata": metadata,
        "repeats": repeats_of(options["repeats"], metadata),
        "data_dir": folder_of_data(options["data_dir"], metadata),
    }


def settings_of(options: dict[str, Any]) -> Settings | None:
    """Return the model_args, from --model_args and the options of their names; None without server.

    Raises:
        ValueError: a setting given twice with two values, or that local-chat refuses.
    """
    from harness_tasks.chat.given import model_of
    from harness_tasks.chat.settings import read_settings

    given = model_of("--model_args", options["model_args"]) if options["model_args"] else {}
    for name in MODEL_ARGS:
        value = options[name]
        if value is None:
            continue
        if given.get(name, value) != value:
            raise ValueError(
                f"--{name} {value} contradicts {name}={given[name]} in --model_args; leave one"
            )
        given[name] = value
    if not given.get("base_url"):
        needs = [*(name for name in given), *(["against"] if options["against"] else [])]
        if needs:
            raise ValueError(
                f"{needs[0]} is given without a server; add --base_url, such as "
                "--base_url http://127.0.0.1:8000/v1"
            )
        return None
    return read_settings(given)


def against_of(settings: Settings, url: str | None, model: str | None) -> Settings | None:
    """Return the settings of the second model, asked as the first is.

    Raises:
        ValueError: an address that is none.
    """
    from harness_tasks.chat.endpoint import servers_of

    if url is None and model is None:
        return None
    first = servers_of(url or settings.base_url)[0]
    return dataclasses.replace(settings, base_url=first.base, model=model)


def asked_tasks(names: str | None) -> tuple[str, ...]:
    """Return the tasks of ours that are meant, groups taken apart.

    Raises:
        ValueError: a name that no task of ours has.
    """
    from harness_tasks import catalogue
    from harness_tasks.plan import unknown_task

    wanted = [name for name in (names or "").split(",") if name]
    if not wanted:
        return ()
    ours, others = catalogue.matching(wanted)
    if others:
        raise ValueError(unknown_task(others[0], catalogue.tasks()))
    return tuple(ours)


def generation_of(tasks: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the generation_kwargs of each task, as lm-eval would hand them to the model."""
    from harness_tasks import catalogue

    known = catalogue.tasks() if tasks else {}
    configs = (catalogue.read_config(known[name].path) for name in tasks)
    return [dict(config.get("generation_kwargs") or {}) for config in configs]
