"""One side of a comparison of settings: a run's folder, a manifest, a results or a samples file.

Owns what each of these tells, with samples and without. Refuses to own differences (`differing`).

    read_source(Path("runs/base")).runs["distill_math500"]      # a TaskRun, where samples are there
    read_source(Path("manifest.json")).runs["distill_math500"]  # what the manifest records of it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.reading import folder
from analysis.reading.folder import SamplesFile, mapping, read_object
from analysis.reading.load import Arm, Choice, TaskRun, Unscored, read_arm
from analysis.told import Recorded, Told

MANIFEST = "manifest.json"
WANTED = (
    "expected a run's folder, its manifest.json, a folder or a results_*.json that lm-eval wrote "
    "with --output_path, or a samples file"
)
WHOLE_RUN = ""  # stands for the tasks of a run that has recorded none yet


@dataclass(frozen=True)
class Source:
    """One side: its tasks, of which those that are `TaskRun` have samples."""

    path: Path
    runs: dict[str, Told]
    manifest: dict[str, Any]
    notices: tuple[str, ...] = ()

    @property
    def with_rows(self) -> dict[str, TaskRun]:
        """Return the tasks whose samples are there."""
        return {name: run for name, run in self.runs.items() if isinstance(run, TaskRun)}

    @property
    def any_run(self) -> Told:
        """Return what the files tell of the run as a whole."""
        return next(iter(self.runs.values()))

    def arm(self, label: str, tasks: Sequence[str]) -> Arm:
        """Return the arm of some tasks that have samples."""
        return Arm(label, self.path, {name: self.with_rows[name] for name in tasks})


def read_source(path: Path, choice: Choice) -> Source:
    """Read one side.

    Raises:
        ValueError: nothing of a run there, a damaged file, or no such task.
    """
    if not path.exists():
        raise ValueError(f"no such file or folder: '{path}'; {WANTED}")
    source = of_folder(path, choice) if path.is_dir() else of_file(path, choice)
    missing = next((task for task in choice.tasks if task not in source.runs), None)
    if missing is not None:
        have = ", ".join(filter(None, source.runs)) or "none"
        raise ValueError(f"{path}: tells nothing of task {missing!r}; it has: {have}")
    if not choice.tasks:
        return source
    chosen = {task: source.runs[task] for task in choice.tasks}
    return replace(source, runs=chosen)


def of_folder(path: Path, choice: Choice) -> Source:
    """Read a folder: samples where it holds them, and what else is recorded."""
    manifest = read_object(path / MANIFEST) if (path / MANIFEST).is_file() else {}
    by_results = of_results(results_in(path), manifest)
    folder.refuse_several_models(path, [run.file for run in by_results.values()])
    recorded = {**by_results, **of_manifest(path, manifest)}
    sampled = {file.task for file in folder.search(path)}
    wanted = [task for task in choice.tasks if task in sampled]
    notices: tuple[str, ...] = ()
    if wanted or (sampled and not choice.tasks):
        plain = Choice(choice.metrics, choice.filters, tuple(wanted))
        try:
            arm = read_arm(str(path), path, plain)
        except Unscored as bad:
            notices = (f"compared by what was recorded: {bad}",)
        else:
            recorded, notices = {**recorded, **arm.tasks}, tuple(arm.notices)
    if not recorded and manifest:
        recorded = whole_run(path, manifest)
    if not recorded:
        raise ValueError(f"{path}: holds nothing of a run; {WANTED}")
    return Source(path, recorded, manifest, notices)


def of_file(path: Path, choice: Choice) -> Source:
    """Read one file.

    Raises:
        ValueError: it is none of the three.
    """
    if path.suffix != ".json":
        arm = read_arm(str(path), path, Choice(choice.metrics, choice.filters))
        first = next(iter(arm.tasks.values()))
        return Source(path, dict(arm.tasks), first.file.manifest, tuple(arm.notices))
    told = read_object(path)
    if isinstance(told.get("configs"), dict):
        return Source(path, of_results([path], {}), {})
    if "schema" in told and isinstance(told.get("tasks"), dict):
        return Source(path, of_manifest(path, told) or whole_run(path, told), told)
    raise ValueError(f"{path}: is neither a run's manifest nor a results file; {WANTED}")


def results_in(path: Path) -> list[Path]:
    """Return the results files under a folder, the newest last by the time in their names."""
    return sorted(path.rglob("results*.json"), key=lambda one: (one.name, str(one)))


def of_results(paths: Sequence[Path], manifest: dict[str, Any]) -> dict[str, Told]:
    """Return the tasks that results files tell of, each by the newest one."""
    found: dict[str, Told] = {}
    for path in paths:
        told = read_object(path)
        for task in mapping(told.get("configs")):
            found[task] = Recorded(SamplesFile(path, task, "", told, manifest))
    return found


def of_manifest(path: Path, manifest: dict[str, Any]) -> dict[str, Told]:
    """Return the tasks that a manifest records, those that are being asked with them."""
    asking = mapping(mapping(manifest.get("asking")).get("sampling"))
    tasks = {**asking, **mapping(manifest.get("tasks"))}
    return {task: Recorded(SamplesFile(path, task, "", {}, manifest)) for task in tasks}


def whole_run(path: Path, manifest: dict[str, Any]) -> dict[str, Told]:
    """Return a run of which only the settings are recorded: it has finished no task."""
    return {WHOLE_RUN: Recorded(SamplesFile(path, WHOLE_RUN, "", {}, manifest))}
