"""The samples files of an arm, ours or any other task's, as graded questions.

Owns which rows of a file are read, by which metric and under which filter, and what becomes of a
row that cannot be: it is left out and counted, and a file without one usable row is refused. So is
a value that is no score, for then the metric is the wrong one. Refuses to own which file to read
(`folder`), what a row is worth (`question`) and what two arms may differ in (`comparability`).

    arm = read_arm("base", Path("runs/base"), Choice())
    arm.tasks["gsm8k"].questions[0].samples[0].score
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from analysis.reading import folder
from analysis.reading.asked import generation_arguments
from analysis.reading.lines import Piece, Row, pieces_of, rows_of, size_of
from analysis.reading.quality import DUPLICATE, FOREIGN, Damage, Finding
from analysis.reading.question import (
    REQUIRED,
    VERDICTS,
    Question,
    Unusable,
    has_verdicts,
    may_be_score,
    read_question,
)
from analysis.reading.workers import each

METRIC_PRIORITY = (
    "exact_match",
    "math_verify",
    "pass@1",
    "pass_at_1",
    "prompt_level_strict_acc",
    "acc_norm",
    "acc",
)
TRIED = 100  # rows that are asked for a metric before the task is called unscored


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
    quality: list[Finding] = field(default_factory=list)
    other_filters: tuple[str, ...] = ()  # under which the file holds rows that were not read


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
        else:
            if choice.filter(file.task) is None:
                notices += of_filters(tasks[file.task])
    if unscored and (choice.tasks or not tasks):
        raise unscored[0]
    return Arm(label, path, tasks, notices)


def of_filters(run: TaskRun) -> list[str]:
    """Say which filters nobody asked for, as GSM8K's strict-match hides flexible-extract."""
    if not run.other_filters:
        return []
    others = ", ".join(run.other_filters)
    return [
        f"{run.task}: read under filter {run.filter}, the first of its samples, which hold "
        f"{others} too (--filter {run.task}={run.other_filters[0]})"
    ]


def read_task(file: folder.SamplesFile, choice: Choice) -> TaskRun:
    """Read one samples file.

    Raises:
        ValueError: no usable row, a value that is no score, or no such metric or filter.
    """
    graded = choose(file, choice)
    questions: dict[int | str, Question] = {}
    gen_kwargs: set[str] = set()
    filters: set[str] = set()
    damage = Damage()
    n_lines = 0
    work = partial(read_piece, graded=graded)
    with closing(each(work, pieces_of(file.path), size_of(file.path))) as parts:
        for part in parts:
            if part.refused is not None:
                line, text = part.refused
                raise ValueError(f"{file.path}: row {line + n_lines} {text}")
            damage.merge(part.damage.seen, n_lines)
            gen_kwargs.update(part.gen_kwargs)
            filters |= part.filters
            for question in part.questions:
                own = replace(question, row=question.row + n_lines) if n_lines else question
                first = questions.setdefault(own.doc_id, own)
                if first is not own:
                    damage.add(DUPLICATE, own.row, stands_twice(first, own))
            n_lines += part.n_lines
    if not questions:
        raise ValueError(f"{file.path}: {damage.first() or 'no rows: the file is empty'}")
    return TaskRun(
        file=file,
        task=file.task,
        metric=graded.metric,
        filter=graded.filter,
        questions=questions,
        gen_kwargs=tuple(sorted(gen_kwargs)),
        ours=graded.metric == VERDICTS,
        quality=damage.findings(file.path),
        other_filters=tuple(sorted(filters - {graded.filter})),
    )


def stands_twice(first: Question, second: Question) -> str:
    """Say that a doc stands twice; the first row counts, as in the run that wrote it first."""
    keys = [[sample.text and sample.text.text_key for sample in q.samples] for q in (first, second)]
    texts = "the same" if keys[0] == keys[1] else "other"
    return (
        f"doc {first.doc_id!r:.60} stands twice, with {texts} completions: row {first.row} counts, "
        f"row {second.row} does not"
    )


class Unscored(ValueError):
    """A task whose rows hold no score in [0, 1], as perplexity: it cannot be compared here."""


@dataclass(frozen=True)
class Graded:
    """Which rows of a samples file count, and by what."""

    metric: str
    filter: str


@dataclass
class Part:
    """What one piece of a samples file held."""

    questions: list[Question] = field(default_factory=list)
    gen_kwargs: set[str] = field(default_factory=set)
    filters: set[str] = field(default_factory=set)
    damage: Damage = field(default_factory=Damage)
    n_lines: int = 0
    refused: tuple[int, str] | None = None  # the line whose value is no score, and what it is


def read_piece(piece: Piece, graded: Graded) -> Part:
    """Read the rows of a piece that count."""
    part = Part()
    for found in rows_of(piece):
        part.n_lines = found.line
        row = usable(found, part.damage)
        if row is None:
            continue
        part.filters.add(name := filter_of(row))
        if name != graded.filter:
            continue
        where = f"(doc {row['doc_id']!r:.60}): "
        try:
            question = read_question(row, graded.metric, found.line)
            part.gen_kwargs.update(generation_arguments(row))
        except Unusable as bad:
            part.damage.add(bad.kind, found.line, f"{where}{bad}")
        except RecursionError:
            part.damage.add(FOREIGN, found.line, f"{where}nested too deeply")
        except ValueError as bad:
            part.refused = found.line, f"{where}{bad}"
            return part
        else:
            part.questions.append(question)
    return part


def usable(found: Row, damage: Damage) -> dict[str, Any] | None:
    """Return a line's object where it is a row of lm-eval's samples; count it where it is not."""
    if found.fault is not None:
        damage.add(found.fault.kind, found.line, found.fault.text)
        return None
    if found.value is None:
        return None
    row = found.value
    missing = next((key for key in REQUIRED if key not in row), None)
    if missing is None:
        return row
    doc = f"(doc {row.get('doc_id')!r:.60})"
    damage.add(FOREIGN, found.line, f"{doc} lacks {missing!r}; expected a row of lm-eval's samples")
    return None


def filter_of(row: dict[str, Any]) -> str:
    """Return the name of the filter that a row was graded under."""
    return str(row.get("filter") or "none")


def choose(file: folder.SamplesFile, choice: Choice) -> Graded:
    """Return filter and metric: what was asked for, else what the first rows have.

    Raises:
        ValueError: no row under the filter that was asked for, or none with the metric.
        Unscored: the rows have nothing to grade by.
    """
    asked = choice.filter(file.task)
    filters: set[str] = set()
    problem: ValueError | None = None
    rows = filtered(file.path, asked, filters, damage := Damage())
    for line, row in islice(rows, TRIED):
        where = f"{file.path}: row {line} (doc {row['doc_id']!r:.60})"
        try:
            metric = choose_metric(row, choice.metric(file.task), where)
        except ValueError as bad:
            problem = problem or bad
        else:
            return Graded(metric, filter_of(row))
    if problem is not None:
        raise problem
    if not filters:
        raise ValueError(f"{file.path}: {damage.first() or 'no rows: the file is empty'}")
    held = ", ".join(sorted(filters))
    raise ValueError(f"{file.path}: no rows under filter {asked!r}; it holds {held}")


def filtered(
    path: Path, asked: str | None, filters: set[str], damage: Damage
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the usable rows under one filter, that of the first row where none is asked for."""
    wanted = asked
    for found in rows_of(Piece(path)):
        row = usable(found, damage)
        if row is None:
            continue
        name = filter_of(row)
        filters.add(name)
        wanted = wanted or name
        if name == wanted:
            yield found.line, row


def choose_metric(row: dict[str, Any], asked: str | None, where: str) -> str:
    """Return the metric that grades a task.

    What was asked for; else our own verdicts; else the first of METRIC_PRIORITY that the row has;
    else the first listed metric with a value in [0, 1]; else the first of METRIC_PRIORITY with a
    list of such values.

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
    for name in METRIC_PRIORITY:  # a flag for each completion
        if isinstance(row.get(name), list) and row[name] and all(map(may_be_score, row[name])):
            return name
    raise Unscored(
        f"{where}: no metric with a value in [0, 1]; it has {', '.join(listed) or 'none'}"
    )
