"""What `distill-eval run` is about to do, checked before a model is asked anything.

Owns the run's name and folder, the refusal to mix two measurements in one folder, and what is added
to lm-eval's parsed arguments. Refuses to own the doing (`run`). lm_eval is imported in functions.
"""

from __future__ import annotations

import json
import logging
import os
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yaml import YAMLError

from harness_tasks import (
    catalogue,
    docs,
    isolation_check,
    k_samples,
    manifest,
    run_folder,
    tier_tasks,
)
from harness_tasks.records import parse_object
from harness_tasks.run_folder import NOTHING, Retry

log = logging.getLogger(__name__)

RUNS_DIR = run_folder.RUNS_DIR
LOCAL_CHAT = run_folder.LOCAL_CHAT
IN_PROCESS = ("hf", "hf-auto", "huggingface", "vllm")  # theirs take a preset in --gen_kwargs
# Settings of lm-eval that make two runs different measurements of a model.
SETTINGS = (
    "gen_kwargs", "system_instruction", "apply_chat_template", "fewshot_as_multiturn",
    "num_fewshot", "limit", "samples", "seed", "predict_only",
)  # fmt: skip
# Arguments of `local-chat` that say how requests travel, not what is asked.
TRANSPORT = {
    "run", "api_key_env", "headers", "num_concurrent", "timeout_s", "stall_timeout_s",
    "max_retries", "stream", "store", "retry_truncated",
}  # fmt: skip
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
YAML_TASK = re.compile(r"^task:\s*['\"]?([\w.:-]+)", re.MULTILINE)


@dataclass(frozen=True)
class RunOptions:
    """What `distill-eval run` adds to lm-eval's flags."""

    run: str | None = None
    repeats: int | None = None
    data_dir: str | None = None
    preset: str | None = None
    tiers: str | None = None
    retry: Retry = NOTHING
    recorded: bool = False  # the command is the one that the manifest holds


@dataclass
class Plan:
    """A run that was checked and may start; `arguments` is what lm-eval executes."""

    name: str
    folder: Path
    arguments: Namespace
    tasks: list[str]
    settings: dict[str, Any]
    override: dict[str, Path] = field(default_factory=dict)  # task -> the YAML that it extends
    notes: list[str] = field(default_factory=list)
    retry: Retry = NOTHING
    before: manifest.Manifest | None = None  # that of the finished run to which this one adds


def make_plan(options: RunOptions, arguments: Namespace) -> Plan:
    """Check everything that can be checked before a model is asked, and settle lm-eval's arguments.

    Raises:
        ValueError: what is wrong, and the next step.
    """
    given = given_settings(arguments)
    tasks = [name for item in as_list(given.get("tasks")) for name in item.split(",") if name]
    if not tasks:
        raise ValueError("no tasks given; name some with --tasks (`distill-eval tasks` lists ours)")
    model = str(given.get("model") or LOCAL_CHAT)
    model_args = as_dict(given.get("model_args"))
    if options.preset is not None and model in IN_PROCESS:
        gen_kwargs = with_preset(model, as_dict(given.get("gen_kwargs")), options.preset)
        given["gen_kwargs"] = arguments.gen_kwargs = gen_kwargs
    elif options.preset is not None:
        model_args = with_preset(model, model_args, options.preset)
    name, folder = name_and_folder(options.run, model, model_args, given.get("output_path"))
    if options.tiers is not None:
        tasks = arguments.tasks = tier_tasks.named_in(tasks, options.tiers)
    ours, others = catalogue.matching(tasks)
    include_path = as_list(given.get("include_path"))
    check_folders(include_path)
    override = tier_tasks.paths_of(ours)
    metadata = as_dict(given.get("metadata"))
    repeats = repeats_of(options.repeats, metadata)
    if repeats is None and not others:
        repeats = repeats_of_preset((as_dict(given.get("gen_kwargs")) | model_args).get("preset"))
    if repeats is not None:
        check_repeats(repeats, ours, others, include_path)
        arguments.metadata = metadata = {**metadata, k_samples.KEY: repeats}
    check_isolation(ours, confirmed=bool(given.get("confirm_run_unsafe_code")))
    sizes = check_data(options.data_dir, metadata, ours)
    check_limit(given.get("limit"))
    samples = chosen_samples(given.get("samples"), ours, others, sizes)
    samples, notes = in_order(samples)

    arguments.model = model
    if model == LOCAL_CHAT:
        model_args = {**model_args, "run": name}
    retry = options.retry.checked()
    carried = run_folder.carried_on(run_folder.recorded(folder), [*ours, *others], retry)
    model_args = run_folder.with_store(model, model_args, folder, carried)
    arguments.model_args = model_args
    arguments.output_path = str(folder)
    arguments.log_samples = True
    if samples is not None:
        arguments.samples = samples
    if override:
        arguments.include_path = [str((folder / "tasks").resolve()), *include_path]
    settings = {
        "model": model,
        "model_args": {key: value for key, value in model_args.items() if key not in TRANSPORT},
        "repeats": repeats,
        **{key: given[key] for key in SETTINGS if given.get(key) not in (None, {}, [])},
    }
    return Plan(name, folder, arguments, tasks, as_plain(settings), override, notes, retry)


def given_settings(arguments: Namespace) -> dict[str, Any]:
    """Return lm-eval's settings as it will merge them: the `--config` file, then the flags."""
    given: dict[str, Any] = {}
    if getattr(arguments, "config", None):
        from lm_eval.config.evaluate_config import EvaluatorConfig

        try:
            given = dict(EvaluatorConfig.load_yaml_config(arguments.config))
        except OSError as wrong:
            raise ValueError(
                f"--config {str(arguments.config)!r} cannot be read: {wrong}"
            ) from wrong
    flags = {key: value for key, value in vars(arguments).items() if value or value == 0}
    return {**given, **flags}


def as_list(value: Any) -> list[str]:
    if not value:
        return []
    return [str(part) for part in value] if isinstance(value, list | tuple) else [str(value)]


def as_dict(value: Any) -> dict[str, Any]:
    """Return `key=value` arguments as a dict, also where a config file holds them as text."""
    if not value:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    from lm_eval.utils import simple_parse_args_string

    return dict(simple_parse_args_string(str(value)))


def as_plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON makes of the value, so that it compares equal to what was read back."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return plain


def with_preset(model: str, args: dict[str, Any], preset: str) -> dict[str, Any]:
    """Return the model's arguments, or its --gen_kwargs, with the preset.

    Raises:
        ValueError: the model knows no presets, the preset is unknown, or another one is given.
    """
    from harness_tasks.sampling import PRESETS

    if model not in (LOCAL_CHAT, *IN_PROCESS):
        raise ValueError(
            f"--preset is a setting of {LOCAL_CHAT}, hf and vllm, not of model {model!r}; "
            "give its sampling with --gen_kwargs"
        )
    if preset not in PRESETS:
        raise ValueError(
            f"unknown preset {preset!r}{did_you_mean(preset, PRESETS)}; "
            f"there are {', '.join(PRESETS)}"
        )
    if args.get("preset", preset) != preset:
        flag = "--model_args" if model == LOCAL_CHAT else "--gen_kwargs"
        raise ValueError(
            f"--preset {preset} contradicts preset={args['preset']} in {flag}; leave one"
        )
    return {**args, "preset": preset}


def did_you_mean(name: str, known: Any) -> str:
    close = catalogue.close_matches(name, known)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def name_and_folder(
    run_name: str | None, model: str, model_args: Mapping[str, Any], output_path: str | None
) -> tuple[str, Path]:
    """Settle the run's name and folder.

    Raises:
        ValueError: the name cannot be a folder and a part of a request id, or is given twice.
    """
    named = run_name or model_args.get("run")
    if run_name and model_args.get("run", run_name) != run_name:
        raise ValueError(
            f"--run {run_name} contradicts run={model_args['run']} in --model_args; leave one"
        )
    if output_path is not None:
        if named is not None or Path(output_path).suffix == ".json":
            raise ValueError(
                f"--output_path {output_path!r} is the run's folder here, so it is no .json file "
                "and takes no --run beside it; give --run NAME for runs/NAME"
            )
        folder = Path(output_path)
        return checked_name(folder.resolve().name), folder
    if named is not None:
        return checked_name(str(named)), RUNS_DIR / str(named)
    served = str(model_args.get("model") or model_args.get("pretrained") or model)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", served.rsplit("/", 1)[-1]).strip("-.") or "run"
    name = f"{slug[:60]}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    while (RUNS_DIR / name).exists():
        name += "b"
    return name, RUNS_DIR / name


def checked_name(name: str) -> str:
    if not RUN_NAME.fullmatch(name):
        hint = f"; the folder is {RUNS_DIR}/NAME by itself" if "/" in name else ""
        raise ValueError(
            f"run name {name!r} is not usable: letters, digits, '.', '_' and '-', at most 100, the "
            f"first a letter or digit{hint}"
        )
    return name


def check_task_names(argv: Sequence[str]) -> None:
    """Refuse a misspelt task of ours at once, without the seconds that importing lm-eval takes.

    Raises:
        ValueError: a `distill_...` name that no task has; names the close ones.
    """
    known = catalogue.tasks()
    own_yaml = any(arg.startswith("--include_path") for arg in argv)
    for name in task_words(argv):
        if re.fullmatch(r"distill_\w+", name) and not known.knows(name) and not own_yaml:
            raise ValueError(unknown_task(name, known))


def task_words(argv: Sequence[str]) -> Iterator[str]:
    """Yield the names given with `--tasks`, in the forms that lm-eval takes."""
    listing = False
    for arg in argv:
        if arg.startswith("-"):
            listing = arg.split("=", 1)[0] in ("--tasks", "-t")
            arg = arg.partition("=")[2] if listing else ""
        if listing:
            yield from filter(None, arg.split(","))


def unknown_task(name: str, known: Any) -> str:
    return (
        f"there is no task {name!r}{did_you_mean(name, known)}; `distill-eval tasks` lists ours, "
        "`lm_eval ls tasks` all"
    )


def repeats_of(option: int | None, metadata: Mapping[str, Any]) -> int | None:
    """Return the number of samples of each question, None where nobody set it.

    Raises:
        ValueError: --repeats and --metadata disagree, or it is no such number.
    """
    named = metadata.get(k_samples.KEY)
    given = [k_samples.number_of(one) for one in (option, named) if one is not None]
    if len(set(given)) > 1:
        raise ValueError(
            f"--repeats {option} contradicts repeats {named!r} in --metadata; leave one"
        )
    return given[0] if given else None


def repeats_of_preset(preset: Any) -> int | None:
    """Return the number of samples that is a part of a preset, and say so; None where it is one."""
    from harness_tasks.sampling import k_within

    k = k_within(preset)
    if k == 1:
        return None
    log.warning("preset %s asks %d samples of each question; --repeats 1 asks one", preset, k)
    return k


def check_repeats(
    repeats: int, ours: list[str], others: list[str], include_path: list[str]
) -> None:
    """Refuse `--repeats` for a task that would not hear of it.

    A task of the user's own YAML does where it loads its docs as ours do.

    Raises:
        ValueError: a task that is neither, or ours overridden by one that is not.
    """
    own = {name: (path, hears) for name, path, hears in own_tasks(include_path)}
    deaf = [name for name in others if not own.get(name, (None, False))[1]]
    if deaf:
        raise ValueError(
            f"--repeats {repeats} works for tasks of distill-eval only, not for "
            f"{', '.join(deaf)}: others grade the first completion alone; set `repeats` and a "
            "filter in a YAML of your own, or run them apart"
        )
    for name in ours:
        path, hears = own.get(name, (None, True))
        if not hears:
            raise ValueError(
                f"--repeats {repeats}: {path} overrides {name} with a task that would not hear of "
                f"it; set `repeats: {repeats}` there, or leave out one of the two"
            )


def own_tasks(include_path: list[str]) -> Iterator[tuple[str, Path, bool]]:
    """Yield the tasks of the user's YAML: name, file, and whether it loads its docs as ours do."""
    for folder in include_path:
        for path in sorted(Path(folder).rglob("*.yaml")):
            names = YAML_TASK.findall(path.read_text(encoding="utf-8", errors="replace"))
            try:
                loader = str(catalogue.read_config(path).get("custom_dataset"))
            except (OSError, ValueError, AttributeError, TypeError, YAMLError):
                loader = ""
            for name in names:
                yield name, path, loader.startswith("harness_tasks.")


def check_isolation(ours: list[str], *, confirmed: bool) -> None:
    """Refuse a task that runs code where it is isolated weakly, unless that is confirmed.

    Raises:
        ValueError: says why, and how to confirm.
    """
    known = catalogue.tasks()
    if not confirmed:
        isolation_check.require(n for n in ours if docs.runs_code(known[n].source or ""))


def check_data(
    data_dir: str | None, metadata: Mapping[str, Any], ours: list[str]
) -> dict[str, int]:
    """Read the files of a data folder once before anything is started; the hub is not asked.

    Returns the number of questions of each task, as far as files were read: metadata may ask for a
    part of them.

    Raises:
        ValueError: as `docs.load_rows`, or two folders are named.
    """
    folder = folder_of_data(data_dir, metadata)
    if folder is None:
        return {}
    known = catalogue.tasks()
    accepted = metadata.get("accept_sha256")
    sizes = {
        source: docs.load_rows(str(source), folder, accepted, metadata)[1].n_rows
        for source in {known[name].source for name in ours} - {None}
    }
    return {name: sizes[known[name].source] for name in ours}


def folder_of_data(data_dir: str | None, metadata: Mapping[str, Any]) -> str | None:
    """Return the folder that questions are taken from, None where the hub is asked.

    Raises:
        ValueError: two folders are named.
    """
    named = metadata.get("data_dir")
    if None not in (named, data_dir) and named != data_dir:
        raise ValueError(
            f"--data-dir {data_dir} contradicts data_dir {named} in --metadata; leave one"
        )
    return named or data_dir or os.environ.get(docs.DATA_ENV) or None


def check_limit(limit: Any) -> None:
    """Refuse a `--limit` that leaves no question.

    Raises:
        ValueError: zero, or below.
    """
    if isinstance(limit, int | float) and limit <= 0:
        raise ValueError(
            f"--limit must be above 0, got {limit:g}: a number of questions, or a share below 1"
        )


def check_folders(include_path: list[str]) -> None:
    """Refuse an `--include_path` that lm-eval would pass over in silence.

    Raises:
        ValueError: a folder that is not there.
    """
    for folder in include_path:
        if not Path(folder).is_dir():
            raise ValueError(f"--include_path {folder!r} is no folder; name one with task YAML")


def chosen_samples(
    samples: Any, ours: list[str], others: list[str], sizes: Mapping[str, int]
) -> dict[str, list[int]] | None:
    """Return `--samples`, a JSON object or the name of a file that holds one, as a dict.

    Raises:
        ValueError: no such object or file, a task that is not asked, or a question that is not
            there; lm-eval would ask all questions of a task whose name is misspelt.
    """
    if not samples:
        return None
    if isinstance(samples, str):
        path = Path(samples)
        if not path.is_file():
            raise ValueError(
                f"--samples {samples!r} is neither a file nor a JSON object such as "
                '{"distill_demo": [0, 5]}'
            )
        samples = parse_object(path.read_bytes(), f"--samples {path}")
    known = catalogue.tasks()
    for task, indices in samples.items():
        if not (isinstance(indices, list) and all(type(index) is int for index in indices)):
            raise ValueError(
                f"--samples of {task} is {indices!r}, expected a list of question numbers from 0"
            )
        if task not in ours and not others:
            raise ValueError(
                f"--samples names {task!r}, which is not asked{did_you_mean(task, ours)}; "
                f"--tasks asks {', '.join(ours)}"
            )
        size = sizes.get(task, known[task].n_docs) if task in ours else None
        outside = [index for index in indices if index < 0 or (size and index >= size)]
        if outside:
            there = f"0 to {size - 1}" if size else "0 on"
            raise ValueError(
                f"--samples of {task} names question {outside[0]}; its questions are {there}"
            )
    return dict(samples)


def in_order(
    samples: Mapping[str, list[int]] | None,
) -> tuple[dict[str, list[int]] | None, list[str]]:
    """Return the chosen samples with each task's indices ascending and single, and what changed.

    lm-eval asks the docs in the order of the data set and labels them in the order given, so that
    unsorted indices put wrong doc_ids into its samples file.
    """
    if samples is None:
        return None, []
    ordered = {task: sorted(set(indices)) for task, indices in samples.items()}
    changed = [task for task in ordered if ordered[task] != samples[task]]
    return ordered, [f"--samples of {task} put into ascending order" for task in changed]


def check_folder(plan: Plan) -> manifest.Manifest | None:
    """Return the manifest of the same run, begun before, or None for a new folder.

    Raises:
        ValueError: as `run_folder.check_folder`.
    """
    ours, others = catalogue.matching(plan.tasks)
    return run_folder.check_folder(plan.folder, plan.settings, [*ours, *others], plan.retry)
