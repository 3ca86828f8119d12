"""One row of a samples file as a graded question: verdicts, sizes and keys, without its texts.

Owns what a row is worth: verdict, score, the sizes and signs of its completions, and the identity
of doc and prompt. Refuses to own which rows are read (`load`). A text is measured and dropped: what
is kept of a row is some two kilobytes, however long its completions are.

A row as lm-eval 0.4 writes it (older ones keep `arguments` as a list of lists):

    {"doc_id": 0, "target": "18", "arguments": {"gen_args_0": {"arg_0": "...", "arg_1": {...}}},
     "resps": [["..."]], "filter": "none", "doc_hash": "9ac0...", "exact_match": 1.0}
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from analysis.reading.asked import completions, digest, prompt_of
from analysis.reading.doc import (
    Instruction,
    instructions_in,
    instructions_of_row,
    name_of,
    tags_of,
)
from analysis.reading.measure import Volume, count_of, measure, text_key
from analysis.reading.quality import FOREIGN, MIXED
from analysis.reading.signs import Signs, signs_of
from harness_tasks.reasoning import split
from harness_tasks.records import SampleRecord, Verdict

VERDICTS = "verdict"  # the metric's name where the rows carry our own per-sample verdicts
NO_MATCH = "[invalid]"  # what lm-eval's regex filters leave where nothing matched
REQUIRED = ("doc_id", "resps")
LONGEST = 1000  # characters of a target or an answer that are kept; of the rest its hash


class Unusable(ValueError):
    """A row that is no row of this task: it is left out and counted under its kind."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Written:
    """What a completion's text tells, once it is measured."""

    text_key: str
    empty: bool
    state: str
    volume: Volume  # our record's where it has one: it knew what the server had split
    shows_reasoning: bool
    signs: Signs


@dataclass(frozen=True, slots=True)
class Sample:
    """One graded completion. `score` is None where the grader failed; `text` where none is kept."""

    sample_index: int
    verdict: str | None  # a Verdict, or None for a score between 0 and 1
    score: float | None
    truncated: bool
    no_answer: bool
    text: Written | None
    recorded: bool = False  # one of our records tells of it
    request_id: str | None = None
    finish_reason: str | None = None
    completion_tokens: int | None = None
    answer: str | None = None
    ballot: str | None = None  # what it votes for among the samples of its doc
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
    prompt_key: str
    prompt_form: str  # of the prompt as the file writes it, whose hash is `prompt_hash`
    prompt_hash: str | None  # lm-eval's own
    messages_key: str | None  # messages_sha256 of what was sent, where one can tell
    samples: tuple[Sample, ...]
    n_completions: int
    name: str | None  # the benchmark's own
    tags: dict[str, str]
    row: int  # line of the samples file, from 1


def read_question(row: dict[str, Any], metric: str, line: int) -> Question:
    """Read one row.

    Raises:
        Unusable: a doc_id that is none, a record of another schema, no record beside rows with one.
        ValueError: a value that cannot be a score.
    """
    doc_id = row["doc_id"]
    if isinstance(doc_id, bool) or not isinstance(doc_id, int | str):
        raise Unusable(FOREIGN, f"doc_id must be a whole number or a name, got {doc_id!r:.60}")
    if isinstance(doc_id, str) and len(doc_id) > LONGEST:
        raise Unusable(FOREIGN, f"doc_id has {len(doc_id)} characters, more than {LONGEST}")
    texts = completions(row)
    doc = row.get("doc")
    prompt, prompt_key, messages_key = prompt_of(row)
    return Question(
        doc_id=doc_id,
        doc_hash=optional_text(row.get("doc_hash")),
        doc_key=None if doc is None else digest(json.dumps(doc, sort_keys=True)),
        target=shortened(str(row.get("target"))),
        prompt_key=prompt_key,
        prompt_form=digest(prompt),
        prompt_hash=optional_text(row.get("prompt_hash")),
        messages_key=messages_key,
        samples=read_samples(row, metric, texts),
        n_completions=len(texts),
        name=name_of(doc),
        tags=tags_of(doc),
        row=line,
    )


def read_samples(row: dict[str, Any], metric: str, texts: list[str]) -> tuple[Sample, ...]:
    """Return the graded samples of a row: our records, or the metric's value.

    Raises:
        Unusable: a record of another schema, or none beside rows that have them.
        ValueError: a value that cannot be a score.
    """
    records = read_records(row) if has_verdicts(row) else ()
    if metric == VERDICTS:
        if not records:
            raise Unusable(MIXED, "carries no verdicts of ours, though rows before it do")
        return tuple(from_record(record, texts) for record in records)
    scores = read_scores(row.get(metric), metric, len(texts))
    no_answer = row.get("filtered_resps") == [NO_MATCH]
    instructions = instructions_of_row(row)
    answers = filtered_answers(row, len(scores))
    return tuple(
        from_score(
            index,
            score,
            texts[index] if index < len(texts) else None,
            records[index] if len(records) == len(scores) else None,
            filtered=answers[index],
            no_answer=no_answer,
            instructions=instructions,
        )
        for index, score in enumerate(scores)
    )


def filtered_answers(row: dict[str, Any], n: int) -> list[str | None]:
    """Return the answer that a filter of lm-eval left of each of n completions.

    None where nothing matched, and where the filter is "none", which leaves the whole completion.
    """
    left = row.get("filtered_resps")
    if isinstance(left, list) and len(left) == 1 and isinstance(left[0], list):
        left = left[0]
    unfiltered = row.get("filter") in (None, "none")
    if unfiltered or not isinstance(left, list) or len(left) != n:
        return [None] * n
    return [
        shortened(one) if isinstance(one, str) and one.strip() and one != NO_MATCH else None
        for one in left
    ]


def read_scores(values: Any, metric: str, n_texts: int) -> list[float | None]:
    """Return the scores that a metric's value stands for: one each, or one for the whole row.

    Raises:
        ValueError: a value that cannot be a score.
    """
    if not isinstance(values, list) or not values:
        return [read_score(values, metric)]
    parts = [read_score(value, metric) for value in values]
    if len(values) == n_texts > 1:
        return parts
    known = [part for part in parts if part is not None]
    return [sum(known) / len(known) if len(known) == len(parts) else None]


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


def read_records(row: dict[str, Any]) -> tuple[SampleRecord, ...]:
    """Return our records of a row, in the order of their sample_index.

    Raises:
        Unusable: another schema, a missing or wrongly typed field, or one sample_index twice.
    """
    try:
        records = [SampleRecord.from_json(one) for one in row["samples"]]
        for record in records:
            check_record(record)
    except ValueError as bad:
        raise Unusable(MIXED, str(bad)) from bad
    if len({record.sample_index for record in records}) < len(records):
        raise Unusable(FOREIGN, "a sample_index stands twice among the samples")
    return tuple(sorted(records, key=lambda record: record.sample_index))


def check_record(record: SampleRecord) -> None:
    """Refuse a record whose fields are not of their types: the file may be anybody's.

    Raises:
        ValueError: the first such field.
    """
    may_miss = ("completion_tokens", "vote")
    for name in ("sample_index", "reasoning_chars", "answer_chars", *may_miss):
        value = getattr(record, name)
        if count_of(value) is None and not (value is None and name in may_miss):
            raise ValueError(f"sample record's {name} must be a count, got {value!r:.60}")
    if not isinstance(record.truncated, bool | None):
        raise ValueError(
            f"sample record's truncated must be true or false, got {record.truncated!r:.60}"
        )
    for name in ("request_id", "finish_reason"):
        value = getattr(record, name)
        if not isinstance(value, str | None):
            raise ValueError(f"sample record's {name} must be text or null, got {value!r:.60}")
    if not isinstance(record.details, dict | None):
        raise ValueError(
            f"sample record's details must be an object or null, got {record.details!r:.60}"
        )


def read_score(value: Any, metric: str) -> float | None:
    """Return a score in [0, 1]; None, which counts as a failed grader, for null and NaN.

    Raises:
        ValueError: anything else.
    """
    if may_be_score(value):
        return None if value is None or math.isnan(value) else float(value)
    raise ValueError(f"{metric} must be a number in [0, 1], got {value!r:.60}")


def from_record(record: SampleRecord, texts: list[str]) -> Sample:
    """Return the sample that one of our records describes."""
    failed = record.verdict == Verdict.GRADER_ERROR
    text = texts[record.sample_index] if record.sample_index < len(texts) else None
    return Sample(
        sample_index=record.sample_index,
        verdict=str(record.verdict),
        score=None if failed else float(record.verdict == Verdict.CORRECT),
        truncated=record.truncated or record.verdict == Verdict.TRUNCATED,
        no_answer=record.verdict == Verdict.NO_ANSWER,
        text=None if text is None else measured(text, record),
        instructions=instructions_in(record.details),
        **told_by(record),
    )


def from_score(
    index: int,
    score: float | None,
    text: str | None,
    record: SampleRecord | None,
    *,
    filtered: str | None = None,
    **more: Any,
) -> Sample:
    """Return the sample that a metric's value describes; a record's answer goes first."""
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
        text=None if text is None else measured(text, record),
        **more,
        **({"answer": filtered, "ballot": filtered} | told_by(record)),
    )


def told_by(record: SampleRecord | None) -> dict[str, Any]:
    """Return what a record tells beside its verdict, as fields of a Sample."""
    if record is None:
        return {}
    return {
        "recorded": True,
        "request_id": record.request_id,
        "finish_reason": record.finish_reason,
        "completion_tokens": record.completion_tokens,
        "answer": None if record.answer is None else shortened(str(record.answer)),
        "ballot": ballot_of(record),
    }


def ballot_of(record: SampleRecord) -> str | None:
    """Return what a sample votes for, None where it has no vote.

    The grader told which samples of a doc give the same answer; in records that do not say so, from
    before it did, answers are the same if their texts are. A program is no answer to vote on: its
    record has details.
    """
    if record.vote is not None:
        return f"sample {record.vote}"
    voted = record.answer is not None and record.details is None
    return shortened(str(record.answer)) if voted else None


def measured(text: str, record: SampleRecord | None) -> Written:
    """Return what a completion's text tells."""
    parts = split(text, finish_reason=record.finish_reason if record else None)
    volume = measure(parts.reasoning, parts.answer_text)
    if record is not None:  # it knew what the server had split, the text may quote
        volume = replace(
            volume, reasoning_chars=record.reasoning_chars, answer_chars=record.answer_chars
        )
    return Written(
        text_key=text_key(text),
        empty=not text.strip(),
        state=parts.state,
        volume=volume,
        shows_reasoning=bool(parts.reasoning),
        signs=signs_of(parts.reasoning, parts.answer_text),
    )


def optional_text(value: Any) -> str | None:
    """Return a value as text, None where there is none."""
    return None if value is None else shortened(str(value))


def shortened(text: str) -> str:
    """Return a text that is equal where the whole is, in no more than LONGEST characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 80]}... sha256 {digest(text)}"
