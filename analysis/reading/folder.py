"""Which files make up one arm: the samples, the results and the manifest of a run.

Owns the search through a run's folder and the choice between reruns. Refuses to own what the lines
of a samples file mean (`load`), and never mixes two models or two reruns of a task.

    runs/base/manifest.json
    runs/base/my-model/results_2026-01-31T10-00-00.000000.json
    runs/base/my-model/samples_distill_math500_2026-01-31T10-00-00.000000.jsonl
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness_tasks.records import SAMPLES_NAME

HOW_TO_MAKE = (
    "expected samples_<task>*.jsonl[.gz], as lm-eval writes them with --log_samples "
    "--output_path DIR, or `distill-eval run --run NAME`"
)
MAX_JSON_BYTES = 256 * 1024 * 1024  # a results file is some kilobytes; a wrong file may be anything


@dataclass(frozen=True)
class SamplesFile:
    """One samples file with what lies beside it; `results` and `manifest` are {} where absent."""

    path: Path
    task: str
    time: str  # "" where the name carries none
    results: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """Return lm-eval's `config` block: the model and how it was asked."""
        return mapping(self.results.get("config"))

    @property
    def task_config(self) -> dict[str, Any]:
        """Return lm-eval's configuration of this task."""
        return mapping(mapping(self.results.get("configs")).get(self.task))

    @property
    def model(self) -> str | None:
        """Return the model that answered, as exactly as the files tell; None where they do not."""
        return next(iter(self.models), None)

    @property
    def models(self) -> tuple[str, ...]:
        """Return every name that the files give the model, the one that was served first."""
        config, args = self.config, self.model_args
        manifest = mapping(self.manifest.get("model"))
        told = (
            config.get("model_served"),
            config.get("model_requested"),
            manifest.get("served"),
            manifest.get("requested"),
            args.get("model"),
            args.get("pretrained"),
            self.results.get("model_name"),
        )
        return tuple(dict.fromkeys(str(name) for name in told if name))

    @property
    def model_args(self) -> dict[str, Any]:
        """Return lm-eval's model arguments, which it keeps as an object or as `a=b,c=d`."""
        args = self.config.get("model_args")
        if isinstance(args, str):
            pairs = (part.split("=", 1) for part in args.split(",") if "=" in part)
            return {name.strip(): literal(value.strip()) for name, value in pairs}
        return mapping(args)


def mapping(value: Any) -> dict[str, Any]:
    """Return the value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def literal(text: str) -> Any:
    """Read `0.6`, `true` and the like as JSON does; other text stays text."""
    try:
        return json.loads(text.lower() if text in ("True", "False", "None") else text)
    except (ValueError, RecursionError):
        return text


def find_samples(arm: Path, tasks: Iterable[str] = ()) -> tuple[list[SamplesFile], list[str]]:
    """Return the samples files of an arm, one a task, and notices of the reruns that it left out.

    Of several files of one task the newest by the time in its name is taken.

    Raises:
        ValueError: nothing there, several models in one folder, or reruns that no time tells apart.
    """
    if not arm.exists():
        raise ValueError(f"no such run folder or samples file: '{arm}'; {HOW_TO_MAKE}")
    found = [describe(arm, arm)] if arm.is_file() else search(arm)
    wanted = set(tasks)
    if missing := wanted - {one.task for one in found}:
        have = ", ".join(sorted({one.task for one in found})) or "none"
        name = sorted(missing)[0]
        close = difflib.get_close_matches(name, [one.task for one in found], n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{arm}: no samples of task {name!r}{meant}; it holds: {have}")
    found = [one for one in found if not wanted or one.task in wanted]
    if not found:
        raise ValueError(f"{arm}: no samples file; {HOW_TO_MAKE}{other_names(arm)}")
    refuse_several_models(arm, found)
    return newest_of_each(arm, found)


def other_names(arm: Path) -> str:
    """Name a file that may hold samples: early releases of lm-eval named them otherwise."""
    other = next(iter(sorted(arm.rglob("*.jsonl"))), None)
    return f"; a file of another name can itself be the arm: '{other}'" if other else ""


def search(folder: Path) -> list[SamplesFile]:
    """Return every samples file under a folder, in the order of their names."""
    paths = sorted(p for p in folder.rglob("samples_*.jsonl*") if SAMPLES_NAME.match(p.name))
    return [describe(path, folder) for path in paths if path.is_file()]


def describe(path: Path, arm: Path) -> SamplesFile:
    """Return a samples file with the results and the manifest that belong to it."""
    match = SAMPLES_NAME.match(path.name)
    task = match["task"] if match else path.name.split(".")[0]
    time = (match["time"] or "") if match else ""
    manifests = [arm / "manifest.json", path.parent / "manifest.json"]
    if arm.is_file():
        manifests = [path.parent / "manifest.json", path.parent.parent / "manifest.json"]
    return SamplesFile(
        path=path,
        task=task,
        time=time,
        results=read_first([path.parent / f"results_{time}.json", *older_results(path, time)]),
        manifest=read_first(manifests),
    )


def older_results(path: Path, time: str) -> list[Path]:
    """Return the results file without a time, or a lone one where the samples carry no time."""
    plain = path.parent / "results.json"
    timed = sorted(path.parent.glob("results_*.json"))
    return [plain, *(timed if not time and len(timed) == 1 else [])]


def read_first(paths: list[Path]) -> dict[str, Any]:
    """Return the object in the first of the files that exists, else {}.

    Raises:
        ValueError: the file is no JSON object.
    """
    for path in paths:
        if path.is_file():
            return read_object(path)
    return {}


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        ValueError: the file is not JSON, no object, or larger than 256 MiB.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path}: larger than {MAX_JSON_BYTES} bytes, so no file of lm-eval's")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as bad:
        raise ValueError(f"{path}: not valid JSON ({bad})") from bad
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def refuse_several_models(arm: Path, found: list[SamplesFile]) -> None:
    """Refuse a folder that holds the samples of more than one model.

    Where no results file tells the model, one task in two folders counts as two models.

    Raises:
        ValueError: two models; the message names both.
    """
    by_model: dict[str, SamplesFile] = {}
    tasks = [one.task for one in found]
    for one in found:
        if one.model is not None:
            by_model.setdefault(one.model, one)
        elif tasks.count(one.task) > 1:
            by_model.setdefault(f"folder {one.path.parent.name}", one)
    if len(by_model) > 1:
        (first, one), (second, other) = list(by_model.items())[:2]
        raise ValueError(
            f"{arm} holds samples of {len(by_model)} models: {first!r} ({one.path.parent}) and "
            f"{second!r} ({other.path.parent}); an arm is one model, so name one folder of them"
        )


def newest_of_each(arm: Path, found: list[SamplesFile]) -> tuple[list[SamplesFile], list[str]]:
    """Keep the newest samples file of each task and say which ones were left out.

    Raises:
        ValueError: two files of a task carry the same time, or none.
    """
    chosen: list[SamplesFile] = []
    notices: list[str] = []
    for task in sorted({one.task for one in found}):
        files = sorted((one for one in found if one.task == task), key=lambda one: one.time)
        newest = files[-1]
        if len(files) > 1 and files[-2].time == newest.time:
            raise ValueError(
                f"{arm}: two samples files of task {task!r} that no time in the name tells apart: "
                f"{files[-2].path} and {newest.path}; name the file itself as the arm"
            )
        if len(files) > 1:
            notices.append(
                f"{arm}: {len(files)} samples files of {task}; took the newest, {newest.path.name}"
            )
        chosen.append(newest)
    return chosen, notices
