"""Two arms read from files and compared, for the tests of the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.compare import Comparison, Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.tables.table import Cell, Table
from harness_tasks.records import SampleRecord, Verdict
from proxy.exchange import Exchange, to_line
from tests.analysis import runs
from tests.analysis.runs import Row, foreign_row, our_row, pair_of_runs

MODELS = {"base": "base-model", "student": "student-model"}


def thought(reasoning: int, answer: int) -> str:
    """Return a completion of so many characters, with a think block unless it has no reasoning."""
    block = f"<think>{'r' * reasoning}</think>" if reasoning else ""
    return block + "a" * answer


def written(doc_id: int, text: str, verdict: str = "correct", **more: Any) -> Row:
    """Return a row of ours with one completion; `more` are fields of its record."""
    row = our_row(doc_id, [verdict], texts=[text])
    known = {k: v for k, v in row["samples"][0].items() if k in SampleRecord.__dataclass_fields__}
    fields = {**known, "verdict": Verdict(verdict), "answer": "1", **more}
    row["samples"] = [SampleRecord(**fields).to_json()]
    return row


def compared(folder: Path, baseline: list[Row], candidate: list[Row], **options: Any) -> Comparison:
    """Write two runs, read them and compare them; `options` are of `compare` or of the runs."""
    mine = {k: options.pop(k) for k in ("logs", "allow", "seed") if k in options}
    paths = pair_of_runs(folder, baseline, candidate, **options)
    arms = [read_arm(path.name, path, Choice()) for path in paths]
    return compare(arms[0], arms[1], Options(**mine))


def log(folder: Path, *exchanges: Exchange) -> Path:
    """Write a log of exchanges."""
    folder.mkdir(parents=True)
    path = folder / "exchanges-20260131T100000-1.jsonl"
    path.write_bytes(b"".join(map(to_line, exchanges)))
    return folder


def exchange(doc_id: int, arm: str = "student", **fields: Any) -> Exchange:
    """Return an exchange of an arm's model, under an id that no sample names."""
    made = runs.exchange(doc_id, **{"finish_reason": "stop", **fields})
    return Exchange(**{**vars(made), "model_served": MODELS[arm], "request_id": f"{arm}-{doc_id}"})


def by_names(table: Table) -> list[dict[str, Cell]]:
    """Return the rows of a table as objects."""
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def foreign(doc_id: int, text: str, value: float = 1.0) -> Row:
    """Return a row of a task that is not ours."""
    return foreign_row(doc_id, value, text=text)
