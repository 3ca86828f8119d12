"""What `distill-eval grade --output DIR` writes: regraded samples files that a report can read.

Owns the copy: samples with new metrics and records, lm-eval's results of the regraded tasks, and
the manifest, which says from where they were regraded. The originals are never touched.
Refuses to own grading (`regrade`).

    distill-eval grade runs/base --output regraded/base
    regraded/base/manifest.json                                  "regraded": {"at": ..., ...}
    regraded/base/my-model/results_<time>.json                   the regraded tasks only
    regraded/base/my-model/samples_distill_math500_<time>.jsonl
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from harness_tasks import manifest
from harness_tasks.records import open_bytes
from harness_tasks.regrade import Metrics, Regraded, resolved
from harness_tasks.samples_files import SamplesFile, SamplesRow

# Parts of lm-eval's results that hold one entry for each task.
BY_TASK = (
    "results", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes",
)  # fmt: skip
# How a task's configuration says that it grades; lm-eval keeps functions there as source text.
GRADER_FIELDS = ("process_results", "metric_list", "doc_to_target")
OURS = "harness_tasks."


class Copy:
    """The regraded copy of some runs, written while they are graded."""

    def __init__(self, folder: Path, files: Sequence[SamplesFile]) -> None:
        """Settle where everything goes.

        Raises:
            ValueError: the folder is part of a run that is read, or holds files of these names, or
                two runs would become one.
        """
        roots = {file.root.resolve(): file.root for file in files}
        names = [root.name for root in roots]
        if len(roots) > 1 and len(set(names)) < len(names):
            raise ValueError(
                f"--output {str(folder)!r} would hold two runs named "
                f"{next(n for n in names if names.count(n) > 1)!r}; regrade one at a time"
            )
        self.of_root = {root: folder / root.name if len(roots) > 1 else folder for root in roots}
        # A lone file may lie in any folder, such as the one where the command is typed.
        runs = {file.root.resolve() for file in files if file.of_run}
        for root in runs:
            if folder.resolve().is_relative_to(root):
                raise ValueError(
                    f"--output {str(folder)!r} lies in {roots[root]}, and a report on that run "
                    "would find both gradings; name a folder outside"
                )
        self.values: dict[Path, dict[str, list[Any]]] = {}  # samples file -> metric -> by doc
        self.writing: tuple[Path, IO[bytes]] | None = None
        self.written: list[Path] = []
        self.finished = False
        for file in files:
            if self.target(file).exists():
                raise ValueError(f"{self.target(file)} exists; name another folder with --output")

    def folder(self, file: SamplesFile) -> Path:
        """Return the folder of the copy of a file's run."""
        return self.of_root[file.root.resolve()]

    def target(self, file: SamplesFile) -> Path:
        """Return where the copy of a samples file goes."""
        inside = file.path.resolve().relative_to(file.root.resolve())
        return self.folder(file) / inside

    def keep(self, regraded: Regraded, row: SamplesRow, metrics: Metrics) -> None:
        """Write one row with its new metrics.

        Raises:
            OSError: it cannot be written.
        """
        target = self.target(regraded.file)
        draft = target.with_name(f".{target.name}")
        if self.writing is None or self.writing[0] != draft:
            self.close()
            draft.parent.mkdir(parents=True, exist_ok=True)
            # The suffix decides on gzip, so the draft keeps it.
            self.writing = draft, open_bytes(draft, "wb")
        gone = {*(row.row.get("metrics") or ())} - metrics.keys()
        kept = {key: value for key, value in row.row.items() if key not in gone}
        line = json.dumps({**kept, "metrics": list(metrics), **metrics}, ensure_ascii=False)
        self.writing[1].write((line + "\n").encode(errors="backslashreplace"))
        by_metric = self.values.setdefault(regraded.file.path, {})
        for name, value in metrics.items():
            # Of the records, which may be large, their number is all that is aggregated.
            kept_value = [None] * len(value) if name == "samples" else value
            by_metric.setdefault(name, []).append(kept_value)

    def close(self) -> None:
        """Give the file that was being written its name."""
        if self.writing is not None:
            draft, out = self.writing
            self.writing = None
            out.close()
            target = draft.with_name(draft.name.removeprefix("."))
            draft.replace(target)
            self.written.append(target)

    def discard(self) -> None:
        """Drop what was written, unless it is finished: half a copy would look like a run."""
        self.close()
        for target in () if self.finished else self.written:
            target.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # holds something else
                target.parent.rmdir()

    def finish(self, regraded: Sequence[Regraded]) -> list[Path]:
        """Write results and manifests beside the samples, and return all samples files written.

        Raises:
            OSError: one cannot be written.
            ValueError: lm-eval's results or a manifest beside the originals is damaged.
        """
        self.close()
        by_results: dict[Path, list[Regraded]] = {}
        by_root: dict[Path, list[Regraded]] = {}
        for one in regraded:
            by_results.setdefault(one.file.results_path.resolve(), []).append(one)
            by_root.setdefault(one.file.root.resolve(), []).append(one)
        for same_run in by_results.values():
            target = self.target(same_run[0].file).with_name(same_run[0].file.results_path.name)
            write_json(target, self.results(same_run))
        for root, same_root in by_root.items():
            record = same_root[0].file.manifest()
            if record:
                manifest.write(self.of_root[root], regraded_manifest(record, same_root))
        self.finished = True
        return self.written

    def results(self, regraded: Sequence[Regraded]) -> dict[str, Any]:
        """Return lm-eval's results with the regraded tasks alone, and their new figures."""
        tasks = [one.file.task for one in regraded]
        results = dict(regraded[0].file.results())
        for key in BY_TASK:
            told = results.get(key)
            if isinstance(told, Mapping):
                results[key] = {task: told[task] for task in tasks if task in told}
        for key in ("groups", "group_subtasks"):
            results.pop(key, None)
        for one in regraded:
            task, config = one.file.task, one.grader.config
            figures = aggregated(self.values[one.file.path], config["metric_list"])
            results.setdefault("results", {})[task] = {
                "name": task, "alias": task, "sample_len": one.total.n, **figures,
            }  # fmt: skip
            results.setdefault("versions", {})[task] = config["metadata"]["version"]
            told = results.get("configs", {}).get(task)
            if isinstance(told, dict):
                now = {name: rendered(config[name]) for name in GRADER_FIELDS if name in config}
                results["configs"][task] = {**told, **now}
        return {**results, "regraded": note_of(regraded)}


def aggregated(
    values: Mapping[str, Sequence[Any]], metric_list: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the figures of a task under lm-eval's names, as its YAML aggregates them.

    The measures of k samples stand in no YAML, and are means.
    """
    figures: dict[str, Any] = {}
    listed = {one["metric"] for one in metric_list}
    of_samples = [name for name in values if "@" in name and name not in listed]
    for one in [*metric_list, *({"metric": name, "aggregation": "mean"} for name in of_samples)]:
        name, how = one["metric"], one["aggregation"]
        if name not in values:
            continue
        told = values[name]
        plain = how == "mean"
        figures[f"{name},none"] = statistics.fmean(told) if plain else resolved(how)(told)
        error = statistics.stdev(told) / math.sqrt(len(told)) if plain and len(told) > 1 else "N/A"
        figures[f"{name}_stderr,none"] = error
    return figures


def rendered(value: Any) -> Any:
    """Return a setting of the YAML as lm-eval's results hold it: functions as their source."""
    if isinstance(value, str) and value.startswith(OURS):
        return inspect.getsource(resolved(value))
    if isinstance(value, list):
        return [rendered(one) for one in value]
    if isinstance(value, dict):
        return {key: rendered(one) for key, one in value.items()}
    return value


def note_of(regraded: Sequence[Regraded]) -> dict[str, Any]:
    """Say when, with what and from where some files were regraded."""
    return {
        "at": manifest.now(),
        "suite_version": manifest.version_of("distill-eval"),
        "from": [str(one.file.path.resolve()) for one in regraded],
    }


def regraded_manifest(record: manifest.Manifest, regraded: Sequence[Regraded]) -> manifest.Manifest:
    """Return the run's manifest with the regraded tasks alone."""
    told = record.get("tasks") or {}
    tasks = {}
    for one in regraded:
        version = one.grader.config["metadata"]["version"]
        tasks[one.file.task] = {**(told.get(one.file.task) or {}), "version": version}
    names = sorted({one.file.results_path.name for one in regraded})
    kept = [name for name in record.get("results") or [] if Path(name).name in names]
    return {
        **record,
        "status": "regraded",
        "tasks": tasks,
        "results": kept,
        "regraded": note_of(regraded),
    }


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
