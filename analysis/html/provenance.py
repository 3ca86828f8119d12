"""Where a report comes from: its files with their hashes, models, versions and sampling.

Owns the table of provenance and the line on what made the report. Refuses to judge it
(`comparability` and `reliability` do). Nothing here tells of the time at which a report was made or
of the machine: the same runs give the same bytes.

    what            | baseline                         | candidate
    samples, gsm8k  | samples_gsm8k_2026-...jsonl sha256 1f0c2a... | ...
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.reading.folder import SamplesFile, describe, mapping
from analysis.tables.table import Cell, Column, Table

if TYPE_CHECKING:
    from analysis.compare import Comparison

SUITE = "distill-eval"
LIBRARIES = ("numpy", "scipy", "statsmodels", "duckdb", "matplotlib")
SHOWN_OF_HASH = 16
LONGEST = 300  # characters of a value; sampling may hold anything
# of an arm: what it is called, and how it is found in the samples file and what lies beside it
FACTS: tuple[tuple[str, Callable[[SamplesFile], Any]], ...] = (
    ("model", lambda file: ", ".join(file.models)),
    ("run", lambda file: file.config.get("run") or file.manifest.get("run")),
    ("finished", lambda file: file.manifest.get("status")),
    ("asked by", lambda file: file.config.get("model")),
    ("lm-eval", lambda file: file.manifest.get("lm_eval_version") or version_of(file, "lm_eval")),
    ("suite", lambda file: file.manifest.get("suite_version") or version_of(file, SUITE)),
    ("server", lambda file: file.manifest.get("server") or file.config.get("server")),
    ("sampling", lambda file: file.config.get("sampling") or file.config.get("gen_kwargs")),
    ("evaluated on", lambda file: file.time.partition("T")[0]),
)


def provenance(comparison: Comparison) -> Table:
    """Return a row for each fact that a file tells, with what holds of each arm.

    Raises:
        OSError: a samples file that is gone.
    """
    arms = (comparison.baseline, comparison.candidate)
    files = [
        [describe(task.files[number], Path(arm)) for task in comparison.tasks]
        for number, arm in enumerate(arms)
    ]
    rows: list[tuple[Cell, ...]] = [("arm", *arms)]
    for name, fact in FACTS:
        told = [joined(fact(file) for file in of_arm) for of_arm in files]
        if any(told):
            rows.append((name, *told))
    for number, task in enumerate(comparison.tasks):
        both = [of_arm[number] for of_arm in files]
        rows += task_rows(task.task, both, arms)
    rows += [("log", *logs_of(log, arms)) for log in comparison.logs]
    columns = (Column("what", ""), Column("baseline", "baseline"), Column("candidate", "candidate"))
    return Table("provenance", "Provenance", columns, rows)


def task_rows(name: str, files: list[SamplesFile], arms: Iterable[str]) -> list[tuple[Cell, ...]]:
    """Return the rows of one task: its files, its version and the data set that it asked."""
    named = [
        f"{within(file.path, arm)} sha256 {digest(file.path)}"
        for file, arm in zip(files, arms, strict=True)
    ]
    rows: list[tuple[Cell, ...]] = [(f"{name}: samples", *named)]
    for label, fact in (
        ("version", lambda file: mapping(file.results.get("versions")).get(file.task)),
        ("data", lambda file: dataset(file)),
    ):
        told = [written(fact(file)) for file in files]
        if any(told):
            rows.append((f"{name}: {label}", *told))
    return rows


def logs_of(log: Path, arms: tuple[str, str]) -> tuple[Cell, ...]:
    """Return a log under the arm whose folder holds it, under both where neither does."""
    inside = [log.is_relative_to(arm) for arm in arms]
    return tuple(str(log) if own or not any(inside) else None for own in inside)


def dataset(file: SamplesFile) -> str:
    """Return the data set of a task with its revision."""
    of_task = file.task_config
    metadata_of = mapping(of_task.get("metadata"))
    kwargs = mapping(of_task.get("dataset_kwargs"))
    told = (
        of_task.get("dataset_path"),
        of_task.get("dataset_name"),
        kwargs.get("revision") or metadata_of.get("revision"),
    )
    return " ".join(str(one) for one in told if one)


def version_of(file: SamplesFile, package: str) -> Any:
    """Return the version of a package that the manifest or the results tell."""
    versions = mapping(file.manifest.get("versions"))
    return versions.get(package) or file.results.get(f"{package}_version")


def joined(values: Iterable[Any]) -> str:
    """Return the distinct values of the tasks in one line, "" where none is told."""
    return "; ".join(dict.fromkeys(text for value in values if (text := written(value))))


def written(value: Any) -> str:
    """Return a value as text, "" for nothing."""
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, dict):
        pairs = [f"{key} {one}" for key, one in ((k, written(v)) for k, v in value.items()) if one]
        text = ", ".join(pairs)
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def within(path: Path, arm: str) -> str:
    """Return a file's path as seen from its arm's folder."""
    return (
        str(path.relative_to(arm)) if path.is_relative_to(arm) and path != Path(arm) else path.name
    )


def digest(path: Path) -> str:
    """Return the beginning of a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:SHOWN_OF_HASH]


def suite_version() -> str:
    """Return the version of this suite, "" where it is not installed."""
    try:
        return metadata.version(SUITE)
    except metadata.PackageNotFoundError:
        return ""


def made_with() -> str:
    """Say what made the report."""
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    python = f"Python {platform.python_version()}"
    return f"{SUITE} {suite_version()}, {', '.join([python, *versions])}."
