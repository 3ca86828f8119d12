"""A comparison as data: JSON and CSV, in full precision.

Owns the two machine-readable forms and their schema (docs/reports.md). Refuses to own arithmetic
and rounding. A number that does not exist is null, with a sentence under `reason`.

    {"schema": 1, "tasks": [{"task": "gsm8k", "difference": {"value": 0.0076, "low": ...}}]}
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from analysis.compare import ArmScore, Comparison, TaskComparison
from analysis.estimate import Estimate, Share
from analysis.items import Item
from analysis.sheets import headline
from analysis.volume import VolumeFigure

SCHEMA_VERSION = 1
SUMMARY, VOLUME, ITEMS = "summary.csv", "volume.csv", "items.csv"


def number(value: float | None) -> float | None:
    """Return a number that JSON can hold: NaN becomes null."""
    return None if value is None or math.isnan(value) else value


def estimate(value: Estimate) -> dict[str, Any]:
    """Return an estimate as an object."""
    return {
        "value": number(value.value),
        "low": number(value.low),
        "high": number(value.high),
        "method": value.method or None,
        "reason": value.reason,
    }


def share(value: Share) -> dict[str, Any]:
    """Return a count and its share as an object."""
    return {
        "count": value.count,
        "n": value.n,
        "value": number(value.value),
        "reason": value.reason,
    }


def arm(score: ArmScore) -> dict[str, Any]:
    """Return one arm's scores as an object."""
    return {
        "n": score.n,
        "n_graded": score.n_graded,
        "score": estimate(score.score),
        "n_completed": score.n_completed,
        "score_completed": estimate(score.score_completed),
        "truncated": share(score.truncated),
        "no_answer": share(score.no_answer),
        "grader_error": share(score.grader_error),
    }


def task_object(task: TaskComparison, n_tasks: int) -> dict[str, Any]:
    """Return one task as an object."""
    test = task.test
    return {
        "task": task.task,
        "headline": headline(task, n_tasks),
        "finding": task.finding,
        "metric": task.metric,
        "filter": task.filter,
        "n_questions": task.n_questions,
        "n_pairs": task.n_pairs,
        "k": task.k,
        "baseline": arm(task.baseline),
        "candidate": arm(task.candidate),
        "difference": estimate(task.difference),
        "detectable": estimate(task.detectable),
        "agreement": task.agreement._asdict() if task.agreement else None,
        "test": {
            "rule": test.rule,
            "p": number(test.p),
            "exact_p": number(test.exact_p),
            "mid_p": number(test.mid_p),
            "holm_p": number(test.holm_p),
            "reason": test.reason,
        },
        "cohens_h": {**estimate(task.h), "label": task.h_label or None},
        "volume": [volume_object(figure) for figure in task.volume],
        "notices": task.notices,
    }


def volume_object(figure: VolumeFigure) -> dict[str, Any]:
    """Return one volume figure as an object."""
    return {
        "name": figure.name,
        "unit": figure.unit,
        "baseline": estimate(figure.baseline),
        "candidate": estimate(figure.candidate),
        "difference": estimate(figure.difference),
        "ratio": estimate(figure.ratio),
        "n": figure.n,
        "baseline_known": figure.baseline_known,
        "candidate_known": figure.candidate_known,
        "baseline_logged": figure.baseline_logged,
        "candidate_logged": figure.candidate_logged,
    }


def as_json(comparison: Comparison) -> str:
    """Return the comparison as JSON; the items stay in items.csv."""
    n_tasks = len(comparison.tasks)
    content = {
        "schema": SCHEMA_VERSION,
        "baseline": {"path": comparison.baseline, "model": comparison.baseline_model},
        "candidate": {"path": comparison.candidate, "model": comparison.candidate_model},
        "seed": comparison.seed,
        "tasks": [task_object(task, n_tasks) for task in comparison.tasks],
        "notices": comparison.notices,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def summary_row(task: TaskComparison, n_tasks: int) -> dict[str, Any]:
    """Return one task as a flat row: the keys of its JSON object, joined with underscores."""
    content = task_object(task, n_tasks)
    for key in ("volume", "notices"):
        del content[key]
    if content["agreement"] is None:
        content["agreement"] = dict.fromkeys(("both", "candidate_only", "baseline_only", "neither"))
    return flat(content)


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested object as one level; a `value` takes the name of what it is a value of."""
    row: dict[str, Any] = {}
    for key, value in content.items():
        name = prefix.rstrip("_") if key == "value" else f"{prefix}{key}"
        if isinstance(value, dict):
            row.update(flat(value, f"{name}_"))
        else:
            row[name] = value
    return row


def volume_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return every volume figure as a flat row."""
    return [
        {"task": task.task, **flat(volume_object(figure))}
        for task in comparison.tasks
        for figure in task.volume
    ]


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as CSV with a header; an unknown value is an empty cell."""
    out = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(out, fieldnames=list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return out.getvalue()


def summary_csv(comparison: Comparison) -> str:
    """Return one row a task."""
    return as_csv(summary_row(task, len(comparison.tasks)) for task in comparison.tasks)


def write_csv_folder(comparison: Comparison, folder: Path) -> None:
    """Write summary.csv, volume.csv and items.csv, the table that every number comes from."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / SUMMARY, summary_csv(comparison))
    write(folder / VOLUME, as_csv(volume_rows(comparison)))
    write(folder / ITEMS, as_csv(item_row(item) for item in comparison.items))


def write(path: Path, text: str) -> None:
    """Write UTF-8; a lone surrogate, which that cannot hold, becomes its escape."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def item_row(item: Item) -> dict[str, Any]:
    """Return one item as a row."""
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
