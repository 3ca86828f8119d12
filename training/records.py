"""The two files of distillation: questions.jsonl and traces.jsonl.

Owns `Question`, `Trace` and their lines. Refuses to own where questions come from (`bank`), how
traces are made (`traces`) and what training makes of them (`sft`).

Example, a line of each:

    {"schema": 1, "id": "math-q-00001", "question": "...", "answer": "4", "tests": null,
     "source": "numina", "level": null, "meta": {}}
    {"schema": 1, "id": "math-q-00001/deepseek-r1/0", "question": {...}, "teacher": "deepseek-r1",
     "reasoning": "...", "answer_text": "...", "verdict": "correct", "kept": true, ...}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from harness_tasks.records import Verdict, read_jsonl, write_jsonl

SCHEMA_VERSION = 1
GRADERS = ("math", "gsm8k", "aime", "choice", "code")
TEST_KINDS = ("stdio", "calls", "asserts")


@dataclass(frozen=True)
class Question:
    """One question with what its answers are checked by: `answer`, or `tests` where it wants code.

    `tests` is `{"kind": "stdio", "cases": [{"input", "output"}]}`, `{"kind": "calls", "func_name",
    "cases": [...]}` (arguments and results as in LiveCodeBench: one JSON value a line), or
    `{"kind": "asserts", "code": "assert f(1) == 2", "entry_point": "f", "setup": ""}`.
    `meta["grader"]` names the grader where it is not "math" (answers) or "code" (tests).
    """

    id: str
    """Unique in its file; it stays when another sample of the bank is drawn."""
    question: str
    """What is asked, without instructions on how to answer."""
    answer: str | None = None
    """The target; None where `tests` check the answer."""
    tests: dict[str, Any] | None = None
    """What a program is run against, of the kind `stdio`, `calls` or `asserts`."""
    source: str = ""
    """The name that the data set was given."""
    level: str | None = None
    """Its difficulty, in the words of the data set."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Whatever else is known: `grader`, `domain`, `subset`, `row` (file and line), ..."""

    def __post_init__(self) -> None:
        """Check what a type cannot say.

        Raises:
            ValueError: no id or question, neither answer nor tests or both, an unknown grader or
                kind of tests.
        """
        if not self.id or not self.question.strip():
            raise ValueError(f"question {self.id!r}: id and question must not be empty")
        if (self.answer is None) == (self.tests is None):
            raise ValueError(f"question {self.id!r}: give either an answer or tests")
        if self.grader not in GRADERS:
            known = ", ".join(GRADERS)
            raise ValueError(
                f"question {self.id!r}: meta.grader must be one of {known}, got {self.grader!r}"
            )
        if self.tests is not None and self.tests.get("kind") not in TEST_KINDS:
            known, kind = ", ".join(TEST_KINDS), self.tests.get("kind")
            raise ValueError(
                f"question {self.id!r}: tests.kind must be one of {known}, got {kind!r}"
            )

    @property
    def grader(self) -> str:
        """The grader of its answers."""
        return str(self.meta.get("grader") or ("math" if self.tests is None else "code"))

    def to_json(self) -> dict[str, Any]:
        """Return the question as a JSON object, `schema` first."""
        return {"schema": SCHEMA_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, row: dict[str, Any], where: str = "question") -> Self:
        """Read a question; fields that a later writer added are ignored.

        Raises:
            ValueError: another schema, or a field that is missing or wrong; begins with `where`.
        """
        return known_fields(cls, row, where)


@dataclass(frozen=True)
class Trace:
    """One completion of a teacher, graded, and whether it is kept as training data.

    `question` is whole, so that a traces file stands by itself. `messages` is what the teacher was
    asked. `reason` says why a trace was not kept, or why its grade is none. `judge` is what a judge
    model said (`correct` 0 or 1, `quality` 1 to 10), None where it was not asked or not understood.
    Costs in US dollars; None where no price was given.
    """

    id: str
    """`QUESTION/TEACHER/SAMPLE`."""
    question: Question
    """The whole question, as in `questions.jsonl`."""
    teacher: str
    """The name of the model that wrote it."""
    sample_index: int
    """Which of the teacher's completions of the question, from 0."""
    messages: list[dict[str, Any]]
    """What the teacher was sent."""
    reasoning: str
    """What it thought, without tags; empty where nothing was."""
    answer_text: str
    """What stands after the reasoning."""
    state: str
    """How the reasoning was found, as in a sample's record."""
    finish_reason: str | None
    """As the server said."""
    truncated: bool
    """The completion was cut off."""
    verdict: Verdict
    """As in a sample's record, by the same graders."""
    answer: str | None
    """What was taken as the answer."""
    kept: bool
    """True in `traces.jsonl`, false in `rejected.jsonl`."""
    reason: str | None = None
    """Why it was rejected, or why it has no grade."""
    judge: dict[str, Any] | None = None
    """A judge model's `correct` and `quality`."""
    prompt_tokens: int | None = None
    """As the server counted them."""
    completion_tokens: int | None = None
    """As the server counted them, reasoning included."""
    cost_usd: float | None = None
    """What the teacher cost, repairs included."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """The sampling fields that were sent."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Whatever else is known, `checks` and `judge_reason` among it."""

    def to_json(self) -> dict[str, Any]:
        """Return the trace as a JSON object, `schema` first."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"schema": SCHEMA_VERSION, **fields, "question": self.question.to_json()}

    @classmethod
    def from_json(cls, row: dict[str, Any], where: str = "trace") -> Self:
        """Read a trace; fields that a later writer added are ignored.

        Raises:
            ValueError: another schema, or a field that is missing or wrong; begins with `where`.
        """
        question = row.get("question")
        if not isinstance(question, dict):
            raise ValueError(f"{where}: question must be an object, got {question!r}")
        whole = {**row, "question": Question.from_json(question, where)}
        trace = known_fields(cls, whole, where)
        try:
            return dataclasses.replace(trace, verdict=Verdict(trace.verdict))
        except ValueError as wrong:
            raise ValueError(f"{where}: {wrong}") from wrong


def known_fields(cls: type[Any], row: dict[str, Any], where: str) -> Any:
    """Make a record out of a row of this schema.

    Raises:
        ValueError: another schema, or a field that is missing or wrong; begins with `where`.
    """
    if row.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise ValueError(f"{where}: schema is {row['schema']!r}, expected {SCHEMA_VERSION}")
    names = {f.name for f in dataclasses.fields(cls)}
    try:
        return cls(**{name: value for name, value in row.items() if name in names})
    except (TypeError, ValueError, AttributeError) as wrong:
        said = str(wrong).replace(f"{cls.__name__}.__init__() ", "")
        raise ValueError(f"{where}: {said}") from wrong


def read_questions(path: str | Path) -> Iterator[Question]:
    """Yield the questions of a JSON-lines file in order.

    Raises:
        ValueError: a line that is no question; names file and line. OSError: no such file.
    """
    for number, row in enumerate(read_jsonl(path), start=1):
        yield Question.from_json(row, f"{path}: row {number}")


def read_traces(path: str | Path) -> Iterator[Trace]:
    """Yield the traces of a JSON-lines file in order.

    Raises:
        ValueError: a line that is no trace; names file and line. OSError: no such file.
    """
    for number, row in enumerate(read_jsonl(path), start=1):
        yield Trace.from_json(row, f"{path}: row {number}")


def write_records(path: str | Path, records: Iterable[Question | Trace]) -> int:
    """Write one record a line, whole or not at all, and return how many."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    n_records = write_jsonl(partial, (record.to_json() for record in records))
    partial.replace(path)
    return n_records
