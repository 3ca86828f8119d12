"""`distill-eval run`: lm-eval's own command line, in this process, with a run folder around it.

Owns what happens around lm-eval: our plugin, the run folder, the YAML for `--tiers`, the data
folder, and the manifest however the run ends. Refuses to own evaluation (lm-eval parses and
executes the flags) and the checks before it (`plan`). lm-eval names its files in the folder:

    runs/base/manifest.json
    runs/base/completions.jsonl                      every completion, as it came
    runs/base/tasks/distill_gsm8k_r1.yaml            only with --tiers
    runs/base/<model>/results_<time>.json
    runs/base/<model>/samples_distill_math500_<time>.jsonl
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import logging
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from harness_tasks import catalogue, docs, isolation_check, manifest, run_folder, tier_tasks
from harness_tasks.chat import under_way
from harness_tasks.plan import (
    LOCAL_CHAT,
    Plan,
    RunOptions,
    as_list,
    check_folder,
    check_task_names,
    given_settings,
    make_plan,
    unknown_task,
)
from harness_tasks.plugin import ours_alone


def run(options: RunOptions, argv: Sequence[str]) -> tuple[Plan, manifest.Manifest]:
    """Run lm-eval with `argv` and return the plan and the finished manifest.

    Raises:
        ValueError: the flags, the folder or the data are not usable; nothing was asked of a model.
        UpstreamError: the server is not there, or not what the flags say.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the manifest is marked, the message says what is kept.
    """
    check_task_names(argv)
    load_plugin()
    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    setup_logging()
    cli = HarnessCLI()
    said = command_line(options, argv)
    plan = make_plan(own_or_begun(options, said), parsed(cli, argv))
    if plan.arguments.model == LOCAL_CHAT:
        name_model(plan)
    check_folder(plan)
    with run_folder.held(plan.folder):
        record = begun(plan, None if options.recorded else said)
        drop_remarks(plan.folder)
        confirmed = given_settings(plan.arguments).get("confirm_run_unsafe_code")
        with (
            environment_set(docs.DATA_ENV, options.data_dir),
            environment_set(isolation_check.CONFIRM_ENV, "1" if confirmed else None),
            sigterm_as_ctrl_c(),
            ours_alone(names_ours_alone(plan.tasks)),
            under_way.told_to(lambda asking: note_asking(plan, record, asking)),
        ):
            evaluate(cli, plan, record)
    return plan, record


def own_or_begun(options: RunOptions, said: Sequence[str]) -> RunOptions:
    """Return the options; a command that names no run goes on with the one that it began."""
    if options.run or any(arg.startswith(("--output_path", "-o")) for arg in said):
        return options
    return dataclasses.replace(options, run=run_folder.unfinished(said))


def begun(plan: Plan, said: Sequence[str] | None) -> manifest.Manifest:
    """Write the manifest of a run that starts now, or goes on, and return it.

    Without `said` it goes on with the command that the manifest holds.

    Raises:
        ValueError: the folder cannot be written into, or was filled in the meantime.
    """
    previous = check_folder(plan)
    command = (previous or {}).get("argv", ()) if said is None else said
    record = manifest.started(plan.name, command, plan.settings)
    if previous is not None:
        record |= {key: previous[key] for key in run_folder.KEPT if key in previous}
        plan.before = previous if previous.get("status") == "finished" else None
    record["starts"] = [*record.get("starts", ()), manifest.now()]
    record["process"] = run_folder.this_process()
    record["retrying"] = " ".join(plan.retry.flags()) or None
    try:
        run_folder.put_aside_unfinished(plan.folder, previous)
        write_overrides(plan)
        manifest.write(plan.folder, record)
    except OSError as refused:
        raise run_folder.no_folder(plan.folder, refused) from refused
    return record


def note_asking(plan: Plan, record: manifest.Manifest, asking: under_way.Asking) -> None:
    """Write into the manifest what the run asks for: `distill-eval runs` shows progress by it."""
    record["asking"] = manifest.without_secrets(asking.to_json())
    manifest.write(plan.folder, {**record, "status": "running"})


def evaluate(cli: Any, plan: Plan, record: manifest.Manifest) -> None:
    """Let lm-eval run, and say in one line what stopped it.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the message says what is kept.
        ValueError, ImportError: no such task, no such package.
    """
    try:
        execute(cli, plan, record)
    except KeyboardInterrupt as pressed:
        raise KeyboardInterrupt(str(pressed) or interrupted(plan)) from pressed
    except OSError as broken:
        raise OSError(f"{broken}; {kept_so_far(plan)}") from broken
    except ModuleNotFoundError as absent:
        raise ImportError(
            f"model {plan.arguments.model!r} needs the Python package {absent.name!r}, which "
            f"is not installed; lm-eval's own models come with pip install 'lm_eval[hf]' (or "
            "[vllm], ...), local-chat needs nothing more"
        ) from absent
    except ValueError as wrong:
        missing = missing_tasks(plan)
        if missing:
            raise ValueError("; ".join(missing)) from wrong
        raise


def names_ours_alone(tasks: Iterable[str]) -> bool:
    """Tell whether every task is one of ours by its name; a glob may mean lm-eval's as well."""
    known = catalogue.tasks()
    return all(known.knows(name) for name in tasks)


def name_model(plan: Plan) -> None:
    """Ask the server now, before the long start of lm-eval, and note the model that it serves.

    Where `model_args` names none, lm-eval would draw a random name for the folder of results, and
    one run's folder could take the answers of two models.

    Raises:
        UpstreamError: nothing listens, no such model, or no chat server.
        ValueError: `model_args` that local-chat does not know.
    """
    from harness_tasks.chat.endpoint import chosen_model, look_at
    from harness_tasks.chat.settings import read_settings

    settings = read_settings(plan.arguments.model_args)
    transport = settings.transport()
    model = chosen_model(settings.model, look_at(transport), transport)
    plan.arguments.model_args["model"] = plan.settings["model_args"]["model"] = model


def parsed(cli: Any, argv: Sequence[str]) -> Namespace:
    """Let lm-eval parse its flags.

    Raises:
        ValueError: what its parser says of them, without the usage of the other command.
    """
    said = io.StringIO()
    try:
        with arguments_set(["lm_eval", "run", *argv]), contextlib.redirect_stderr(said):
            arguments: Namespace = cli.parse_args()
    except SystemExit as ended:
        complaint = docs.one_line(ValueError(said.getvalue().rpartition("error: ")[2]))
        raise ValueError(
            f"{complaint}; `distill-eval run --help` lists our flags, `lm_eval run --help` the rest"
        ) from ended
    except ValueError as no_json:
        raise ValueError(
            f"{manifest.redacted(docs.one_line(no_json))} Where one argument is a JSON object, all "
            'of them are one: \'{"base_url": "http://...", "extra_body": {...}}\''
        ) from no_json
    sys.stderr.write(said.getvalue())
    return arguments


def command_line(options: RunOptions, argv: Sequence[str]) -> list[str]:
    """Return the command that started the run, our own options first."""
    own = {
        "--run": options.run,
        "--repeats": options.repeats,
        "--data-dir": options.data_dir,
        "--preset": options.preset,
        "--tiers": options.tiers,
    }
    flags = [[flag, str(value)] for flag, value in own.items() if value is not None]
    return ["distill-eval", "run", *itertools.chain(*flags), *options.retry.flags(), *argv]


def interrupted(plan: Plan) -> str:
    """Say what a run leaves that was stopped before or after its requests."""
    said = plan.folder / manifest.FILE_NAME
    return f"interrupted: {kept_so_far(plan)} ({said} says so)"


def kept_so_far(plan: Plan) -> str:
    """Say what the same command finds when it is given again."""
    if plan.arguments.model != LOCAL_CHAT:
        return (
            f"completions of model {plan.arguments.model!r} are kept when a run ends, so the same "
            "command starts anew"
        )
    store = plan.folder / run_folder.STORE
    kept = f"{store} keeps every completion" if store.exists() else "nothing was asked yet"
    return (
        f"{kept}, lm-eval's samples and results are written when a run ends; the same command "
        "goes on from there"
    )


def execute(cli: Any, plan: Plan, record: manifest.Manifest) -> None:
    """Let lm-eval run, and complete the manifest however it ends."""
    before = set(plan.folder.rglob("results_*.json"))
    record["status"] = "failed"
    try:
        cli.execute(plan.arguments)
        written = sorted(set(plan.folder.rglob("results_*.json")) - before)
        if not written:
            raise OSError(f"lm-eval wrote no results into {plan.folder}; its log above tells why")
        tasks: list[str] = []
        for path in written:
            tasks += manifest.add_results(record, plan.folder, path, docs.loaded())
        record["error"] = manifest.all_failed(record, tasks)
        record["status"] = "failed" if record["error"] else "finished"
        record["retrying"] = None
    except KeyboardInterrupt:
        record["status"] = "interrupted"
        raise
    except BaseException as failed:
        record["error"] = manifest.redacted(f"{type(failed).__name__}: {failed}")
        raise
    finally:
        if any(docs.runs_code(source) for source in docs.loaded()):
            record["isolation"] = isolation_of_run()
        record["finished_at"] = manifest.now()
        manifest.write(plan.folder, to_keep(plan, record))


def to_keep(plan: Plan, record: manifest.Manifest) -> manifest.Manifest:
    """Return the manifest; a start that asked nothing leaves that of a finished run as it was."""
    unasked = plan.arguments.model == LOCAL_CHAT and record["asking"] is None
    return plan.before if plan.before and unasked and record["status"] != "finished" else record


def isolation_of_run() -> dict[str, Any]:
    """Describe the isolation; a sandbox that broke in the meantime does not cost the manifest."""
    try:
        return isolation_check.record()
    except ValueError as broken:
        return {"error": docs.one_line(broken)}


def load_plugin() -> None:
    """Make sure that lm-eval will know our model and tasks, installed as a plugin or not.

    The wheel's `.pth` line does this for every interpreter; here it holds for a plain checkout and
    under DISTILL_EVAL_NO_AUTOLOAD as well, because the user has called this command by name.
    """
    from harness_tasks import plugin

    if not any(isinstance(finder, plugin.LmEvalFinder) for finder in sys.meta_path):
        plugin.autoload()


@contextlib.contextmanager
def arguments_set(argv: list[str]) -> Iterator[None]:
    """Show lm-eval's parser, which reads `sys.argv`, these arguments."""
    kept, sys.argv = sys.argv, argv
    try:
        yield
    finally:
        sys.argv = kept


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let the SIGTERM of a scheduler or a container end the run as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # asyncio ends its tasks in order on this one alone

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def environment_set(name: str, value: str | None) -> Iterator[None]:
    """Set a variable for the time of the run, so that it reaches tasks through every lm-eval."""
    kept = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            os.environ.pop(name)
            if kept is not None:
                os.environ[name] = kept


def missing_tasks(plan: Plan) -> list[str]:
    """Return a message for each of the plan's tasks that lm-eval does not know."""
    _, others = catalogue.matching(plan.tasks)
    names = [name for name in others if not (name.endswith(".yaml") or Path(name).is_dir())]
    if not names:
        return []
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=as_list(getattr(plan.arguments, "include_path", None)))
    return [
        unknown_task(name, manager.all_tasks) for name in names if not manager.match_tasks([name])
    ]


def drop_remarks(folder: Path) -> None:
    """Keep warnings of lm-eval from the user that are not meant for this command.

    One says that the YAML for `--tiers` overrides the task that it extends, one explains
    `--metadata` to writers of tasks, and one wants a chat template applied to a model without
    `pretrained` weights, which its server does. A task that the user overrides is still named.
    """

    def wanted(record: logging.LogRecord) -> bool:
        said = record.getMessage()
        ours = "overrides existing task" in said and str((folder / "tasks").resolve()) in said
        remarks = ("Custom kwargs can be passed", "pretrained=None appears to be an instruct")
        return not ours and not any(remark in said for remark in remarks)

    for name in ("lm_eval.tasks._index", "lm_eval.api.task", "lm_eval.evaluator"):
        logging.getLogger(name).addFilter(wanted)


def write_overrides(plan: Plan) -> None:
    """Write the YAML of the tasks that ask in a tier: lm-eval has no flag for it."""
    for name, path in plan.override.items():
        folder = plan.folder / "tasks"
        folder.mkdir(parents=True, exist_ok=True)
        lines = tier_tasks.lines_of(name, path)
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
