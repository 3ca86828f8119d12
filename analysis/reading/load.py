"""A samples file of lm-eval, ours or any other task's, as graded samples by question.

Owns the reading of a row: verdict, score, answer text, prompt and identity of the doc. Refuses to
own which file to read (`folder`) and what two arms may differ in (`comparability`).

A row as lm-eval 0.4 writes it (older ones keep `arguments` as a list of lists):

    {"doc_id": 0, "target": "18", "arguments": {"gen_args_0": {"arg_0": "...", "arg_1": {...}}},
     "resps": [["..."]], "filter": "none", "doc_hash": "9ac0...", "exact_match": 1.0}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.reading import folder
from analysis.reading.asked import completions, digest, generation_arguments, prompt_of
from analysis.reading.doc import (
    Instruction,
    instructions_in,
    instructions_of_row,
    name_of,
    tags_of,
)
from analysis.reading.exchanges import count_of
from harness_tasks.records import SampleRecord, Verdict, read_jsonl

VERDICTS = "verdict"  # the metric's name where the rows carry our own per-sample verdicts
METRIC_PRIORITY = (
    "exact_match",
    "math_verify",
    "pass@1",
    "pass_at_1",
    "prompt_level_strict_acc",
    "acc_norm",
    "acc",
)
NO_MATCH = "[invalid]"  # what lm-eval's regex filters leave where nothing matched
REQUIRED = ("doc_id", "resps")


@dataclass(frozen=True, slots=True)
class Sample:
    """One graded completion. `score` is None where the grader failed; `text` where none is kept."""

    sample_index: int
    verdict: str | None  # a Verdict, or None for a score between 0 and 1
    score: float | None
    truncated: bool
    no_answer: bool
    text: str | None
    record: SampleRecord | None = None
    instructions: tuple[Instruction, ...] = ()

    @property
    def grader_error(self) -> bool:
        """Say whether the sample is left out of the score."""
        return self.score is None


@dataclass(frozen=True, slots=True)
class Question:
    """One doc with its samples, and what identifies it and its prompt across arms."""

    doc_id: int | str
    doc_hash: str | None  # lm-eval's own
    doc_key: str | None  # of the doc itself, None where the row holds none
    target: str
    prompt: str
    prompt_key: str
    prompt_hash: str | None  # lm-eval's own
    messages_key: str | None  # messages_sha256 of what was sent, where one can tell
    samples: tuple[Sample, ...]
    n_completions: int
    name: str | None  # the benchmark's own
    tags: dict[str, str]
    row: int  # of the samples file, from 1


@dataclass(frozen=True)
class TaskRun:
    """All questions of one task in one arm, graded by one metric under one filter."""

    file: folder.SamplesFile
    task: str
    metric: str
    filter: str
    questions: dict[int | str, Question]
    gen_kwargs: tuple[str, ...]  # the distinct generation arguments of the rows, as JSON
    ours: bool


@dataclass(frozen=True)
class Arm:
    """One side of a comparison."""

    label: str
    path: Path
    tasks: dict[str, TaskRun]
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """The user's metric and filter, each by task; the key "" holds for every task."""

    metrics: dict[str, str] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()

    def metric(self, task: str) -> str | None:
        """Return the metric asked for, None where none was."""
        return self.metrics.get(task, self.metrics.get(""))

    def filter(self, task: str) -> str | None:
        """Return the filter asked for, None where none was."""
        return self.filters.get(task, self.filters.get(""))


def read_arm(label: str, path: Path, choice: Choice) -> Arm:
    """Read one arm: a run's folder or a samples file.

    Raises:
        ValueError: no samples, damaged ones, or a metric or filter that they lack.
    """
    files, notices = folder.find_samples(path, choice.tasks)
    tasks: dict[str, TaskRun] = {}
    unscored: list[Unscored] = []
    for file in files:
        try:
            tasks[file.task] = read_task(file, choice)
        except Unscored as bad:
            unscored.append(bad)
            notices.append(f"left out: {bad}")
    if unscored and (choice.tasks or not tasks):
        raise unscored[0]
    return Arm(label, path, tasks, notices)


def read_task(file: folder.SamplesFile, choice: Choice) -> TaskRun:
    """Read one samples file.

    Raises:
        ValueError: no rows, a bad row, or a metric or filter that the rows lack.
    """
    rows = Rows(file, choice)
    questions: dict[int | str, Question] = {}
    gen_kwargs: set[str] = set()
    for number, where, row in rows:
        question = read_question(row, rows.metric, where, number)
        if question.doc_id in questions:
            raise ValueError(
                f"{where}: doc {question.doc_id!r} stands twice under filter {rows.filter!r}; "
                "the file mixes two runs"
            )
        questions[question.doc_id] = question
        gen_kwargs.update(generation_arguments(row))
    if not questions:
        filters = ", ".join(sorted(rows.filters)) or "none: the file is empty"
        raise ValueError(f"{file.path}: no rows under filter {rows.filter!r}; it holds {filters}")
    return TaskRun(
        file=file,
        task=file.task,
        metric=rows.metric,
        filter=rows.filter,
        questions=questions,
        gen_kwargs=tuple(sorted(gen_kwargs)),
        ours=rows.metric == VERDICTS,
    )


class Unscored(ValueError):
    """A task whose rows hold no score in [0, 1], as perplexity: it cannot be compared here."""


class Rows:
    """The rows of one filter of a samples file, with the metric that grades them.

    Both are known once the first row has been read: one pass, one row in memory at a time.
    """

    def __init__(self, file: folder.SamplesFile, choice: Choice) -> None:
        self.file = file
        self.asked_metric = choice.metric(file.task)
        self.filter = choice.filter(file.task) or ""
        self.metric = ""
        self.filters: set[str] = set()

    def __iter__(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield number, place and row."""
        for number, row in enumerate(read_jsonl(self.file.path), start=1):
            where = f"{self.file.path}: row {number} (doc {row.get('doc_id')!r})"
            missing = next((key for key in REQUIRED if key not in row), None)
            if missing:
                raise ValueError(f"{where}: lacks {missing!r}; expected a row of lm-eval's samples")
            name = str(row.get("filter") or "none")
            self.filters.add(name)
            self.filter = self.filter or name
            if name != self.filter:
                continue
            self.metric = self.metric or choose_metric(row, self.asked_metric, where)
            yield number, where, row


def choose_metric(row: dict[str, Any], asked: str | None, where: str) -> str:
    """Return the metric that grades a task.

    What was asked for; else our own verdicts; else the first of METRIC_PRIORITY that the row has;
    else the first listed metric with a value in [0, 1].

    Raises:
        ValueError: the row lacks what was asked for.
        Unscored: it has nothing to grade by.
    """
    told = row.get("metrics")
    listed = [str(name) for name in told] if isinstance(told, list) else []
    if asked == VERDICTS or (asked is None and has_verdicts(row)):
        if not has_verdicts(row):
            raise ValueError(f"{where}: carries no verdicts of ours; it has {', '.join(listed)}")
        return VERDICTS
    if asked is not None:
        if asked not in row:
            have = ", ".join(listed) or "none"
            raise ValueError(f"{where}: no metric {asked!r}; it has {have} (--metric TASK=NAME)")
        return asked
    for name in (*METRIC_PRIORITY, *listed):
        if name in row and may_be_score(row[name]):
            return name
    raise Unscored(
        f"{where}: no metric with a value in [0, 1]; it has {', '.join(listed) or 'none'}"
    )


def may_be_score(value: Any) -> bool:
    """Say whether a value is in [0, 1], or missing as a failed grader leaves it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, int | float) and 0.0 <= value <= 1.0


def has_verdicts(row: dict[str, Any]) -> bool:
    """Say whether the row carries this suite's per-sample records."""
    samples = row.get("samples")
    return bool(
        isinstance(samples, list)
        and samples
        and all(isinstance(one, dict) and "verdict" in one for one in samples)
    )


def read_question(row: dict[str, Any], metric: str, where: str, number: int) -> Question:
    """Read one row.

    Raises:
        ValueError: a value that cannot be a score, or a record of another schema.
    """
    doc_id = row["doc_id"]
    if isinstance(doc_id, bool) or not isinstance(doc_id, int | str):
        raise ValueError(f"{where}: doc_id must be a whole number or a name, got {doc_id!r}")
    texts = completions(row)
    doc = row.get("doc")
    prompt, prompt_key, messages_key = prompt_of(row)
    return Question(
        doc_id=doc_id,
        doc_hash=optional_text(row.get("doc_hash")),
        doc_key=None if doc is None else digest(json.dumps(doc, sort_keys=True)),
        target=str(row.get("target")),
        prompt=prompt,
        prompt_key=prompt_key,
        prompt_hash=optional_text(row.get("prompt_hash")),
        messages_key=messages_key,
        samples=read_samples(row, metric, texts, where),
        n_completions=len(texts),
        name=name_of(doc),
        tags=tags_of(doc),
        row=number,
    )


def read_samples(
    row: dict[str, Any], metric: str, texts: list[str], where: str
) -> tuple[Sample, ...]:
    """Return the graded samples of a row: our records, or the metric's value.

    Raises:
        ValueError: a value that cannot be a score, or a record of another schema.
    """
    records = read_records(row, where) if has_verdicts(row) else ()
    if metric == VERDICTS:
        if not records:
            raise ValueError(f"{where}: carries no verdicts of ours, though rows before it do")
        return tuple(from_record(record, texts) for record in records)
    values = row.get(metric)
    if isinstance(values, list) and len(values) == len(texts) > 1:
        scores = [read_score(value, metric, where) for value in values]
    elif isinstance(values, list) and values:
        parts = [read_score(value, metric, where) for value in values]
        known = [part for part in parts if part is not None]
        scores = [sum(known) / len(known) if len(known) == len(parts) else None]
    else:
        scores = [read_score(values, metric, where)]
    no_answer = row.get("filtered_resps") == [NO_MATCH]
    return tuple(
        from_score(
            index,
            score,
            texts[index] if index < len(texts) else None,
            no_answer,
            records[index] if len(records) == len(scores) else None,
            instructions_of_row(row),
        )
        for index, score in enumerate(scores)
    )


def read_records(row: dict[str, Any], where: str) -> tuple[SampleRecord, ...]:
    """Return our records of a row, in the order of their sample_index.

    Raises:
        ValueError: another schema, a missing or wrongly typed field, or one sample_index twice.
    """
    try:
        records = [SampleRecord.from_json(one) for one in row["samples"]]
        for record in records:
            check_record(record)
    except ValueError as bad:
        raise ValueError(f"{where}: {bad}") from bad
    if len({record.sample_index for record in records}) < len(records):
        raise ValueError(f"{where}: a sample_index stands twice among the samples")
    return tuple(sorted(records, key=lambda record: record.sample_index))


def check_record(record: SampleRecord) -> None:
    """Refuse a record whose fields are not of their types: the file may be anybody's.

    Raises:
        ValueError: the first such field.
    """
    for name in ("sample_index", "reasoning_chars", "answer_chars", "completion_tokens"):
        value = getattr(record, name)
        if count_of(value) is None and not (value is None and name == "completion_tokens"):
            raise ValueError(f"sample record's {name} must be a count, got {value!r:.60}")
    if not isinstance(record.truncated, bool | None):
        raise ValueError(
            f"sample record's truncated must be true or false, got {record.truncated!r:.60}"
        )
    for name in ("request_id", "finish_reason"):
        value = getattr(record, name)
        if not isinstance(value, str | None):
            raise ValueError(f"sample record's {name} must be text or null, got {value!r:.60}")


def read_score(value: Any, metric: str, where: str) -> float | None:
    """Return a score in [0, 1]; None, which counts as a failed grader, for null and NaN.

    Raises:
        ValueError: anything else.
    """
    if may_be_score(value):
        return None if value is None or math.isnan(value) else float(value)
    raise ValueError(f"{where}: {metric} must be a number in [0, 1], got {value!r}")


def from_record(record: SampleRecord, texts: list[str]) -> Sample:
    """Return the sample that one of our records describes."""
    failed = record.verdict == Verdict.GRADER_ERROR
    return Sample(
        sample_index=record.sample_index,
        verdict=str(record.verdict),
        score=None if failed else float(record.verdict == Verdict.CORRECT),
        truncated=record.truncated or record.verdict == Verdict.TRUNCATED,
        no_answer=record.verdict == Verdict.NO_ANSWER,
        text=texts[record.sample_index] if record.sample_index < len(texts) else None,
        record=record,
        instructions=instructions_in(record.details),
    )


def from_score(
    index: int,
    score: float | None,
    text: str | None,
    no_answer: bool,
    record: SampleRecord | None,
    instructions: tuple[Instruction, ...],
) -> Sample:
    """Return the sample that a metric's value describes."""
    verdict: str | None = None
    if score is None:
        verdict = Verdict.GRADER_ERROR
    elif score in (0.0, 1.0):
        verdict = Verdict.CORRECT if score else Verdict.INCORRECT
    return Sample(
        sample_index=index,
        verdict=str(verdict) if verdict else None,
        score=score,
        truncated=bool(record and record.truncated),
        no_answer=no_answer,
        text=text,
        record=record,
        instructions=instructions,
    )


def optional_text(value: Any) -> str | None:
    """Return a value as text, None where there is none."""
    return None if value is None else str(value)
