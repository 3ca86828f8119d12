"""`distill-eval run`: lm-eval's own command line, in this process, with a run folder around it.

Owns what happens around lm-eval: our plugin, the run folder, the YAML for `--repeats`, the data
folder, and the manifest however the run ends. Refuses to own evaluation (lm-eval parses and
executes the flags) and the checks before it (`plan`). lm-eval names its files in the folder:

    runs/base/manifest.json
    runs/base/tasks/distill_math500.yaml             only with --repeats
    runs/base/<model>/results_<time>.json
    runs/base/<model>/samples_distill_math500_<time>.jsonl
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness_tasks import catalogue, docs, manifest
from harness_tasks.plan import (
    Plan,
    RunOptions,
    as_list,
    check_folder,
    check_task_names,
    make_plan,
    unknown_task,
)


def run(options: RunOptions, argv: Sequence[str]) -> tuple[Plan, manifest.Manifest]:
    """Run lm-eval with `argv` and return the plan and the finished manifest.

    Raises:
        ValueError: the flags, the folder or the data are not usable; nothing was asked of a model.
        KeyboardInterrupt: Ctrl-C; the manifest is marked, and the message says what is on disk.
    """
    check_task_names(argv)
    load_plugin()
    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    setup_logging()
    cli = HarnessCLI()
    with arguments_set(["lm_eval", "run", *argv]):
        plan = make_plan(options, cli.parse_args())
    previous = check_folder(plan)
    record = manifest.started(plan.name, command_line(options, argv), plan.settings)
    if previous is not None:
        record = {**record, **{key: previous[key] for key in ("created_at", "tasks", "results")}}
    write_overrides(plan, options.repeats)
    manifest.write(plan.folder, record)
    with data_folder(options.data_dir):
        try:
            execute(cli, plan, record)
        except KeyboardInterrupt as pressed:
            raise KeyboardInterrupt(interrupted(plan)) from pressed
        except ValueError as wrong:
            missing = missing_tasks(plan)
            if missing:
                raise ValueError("; ".join(missing)) from wrong
            raise
    return plan, record


def command_line(options: RunOptions, argv: Sequence[str]) -> list[str]:
    """Return the command that started the run, our own options first."""
    own = {
        "--run": options.run,
        "--repeats": options.repeats,
        "--data-dir": options.data_dir,
        "--preset": options.preset,
    }
    flags = [[flag, str(value)] for flag, value in own.items() if value is not None]
    return ["distill-eval", "run", *itertools.chain(*flags), *argv]


def interrupted(plan: Plan) -> str:
    return (
        f"interrupted: lm-eval writes samples when a run ends, so {plan.folder} holds none of this "
        f"one; {plan.folder / manifest.FILE_NAME} says so. The same command starts it again"
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
        for path in written:
            manifest.add_results(record, plan.folder, path, docs.loaded())
        record["status"] = "finished"
    except KeyboardInterrupt:
        record["status"] = "interrupted"
        raise
    except BaseException as failed:
        record["error"] = manifest.redacted(f"{type(failed).__name__}: {failed}")
        raise
    finally:
        record["finished_at"] = manifest.now()
        manifest.write(plan.folder, record)


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
def data_folder(data_dir: str | None) -> Iterator[None]:
    """Load questions from this folder; given through the environment, so for every lm-eval."""
    kept = os.environ.get(docs.DATA_ENV)
    if data_dir is not None:
        os.environ[docs.DATA_ENV] = data_dir
    try:
        yield
    finally:
        if data_dir is not None:
            os.environ.pop(docs.DATA_ENV)
            if kept is not None:
                os.environ[docs.DATA_ENV] = kept


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


def write_overrides(plan: Plan, repeats: int | None) -> None:
    """Write the YAML that raises `repeats`, one a task; lm-eval has no flag for it."""
    for name, path in plan.override.items():
        folder = plan.folder / "tasks"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"include: {json.dumps(str(path))}", f"task: {name}", f"repeats: {repeats}"]
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
