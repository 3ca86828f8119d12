"""Training data as analysis needs it: traces.jsonl and questions.jsonl, ours or published ones.

Owns which fields are read and what counts as kept or correct. Refuses to own grading, and what is
trained on (`training`). One line is held at a time; a damaged one is counted and named.

    faults = Faults()
    for example in read(Path("traces.jsonl"), faults):
        example.question, example.fields.get("meta.subject"), example.think_chars
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.reading.lines import Piece, rows_of
from harness_tasks.reasoning import split

QUESTION = ("question", "problem", "prompt", "instruction", "input")
ID = ("id", "question_id", "uuid", "task_id")
TEACHER = ("teacher", "teacher_model", "model", "generator")
REASONING = ("reasoning", "reasoning_content", "thinking", "think", "reasoning_trace",
             "thinking_trace")  # fmt: skip
ANSWER = ("answer_text", "completion", "response", "output", "content", "generation")
VERDICT = ("verdict", "verification_status", "is_correct", "correct")
MESSAGES = ("messages", "conversations")
ASSISTANT, USER = ("assistant", "gpt", "model"), ("user", "human")
GROUPS = ("source", "dataset", "level", "difficulty", "subject", "topic", "category", "type",
          "domain", "skill", "grader")  # fmt: skip
RIGHT = {"correct", "matched", "true", "1", "1.0", "pass", "passed", "yes"}
NOTHING = "-"
LONGEST = 120  # characters of a source or a topic; anything longer is text, and no group
MOST_NAMED = 5


@dataclass
class Faults:
    """Lines that could not be used: how many of each file, and some of them by name."""

    n_lines: int = 0
    n_bad: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, where: str, why: str) -> None:
        """Count a line."""
        self.n_bad += 1
        if len(self.named) < MOST_NAMED:
            self.named.append(f"{where}: {why}")

    def notes(self) -> list[str]:
        """Return what is to be said of them."""
        if not self.n_bad:
            return []
        more = "; ..." if self.n_bad > len(self.named) else ""
        return [
            f"{self.n_bad} of {self.n_lines} lines of the training data could not be used: "
            f"{'; '.join(self.named)}{more}"
        ]


@dataclass(frozen=True, slots=True)
class Example:
    """One line: a question, or a trace of one. Sizes and `kept` are None where it is no trace.

    `fields` are its groups by name: source, level, subject, meta.<name> and the like.
    """

    question_id: str
    question: str
    fields: Mapping[str, str]
    teacher: str
    verdict: str
    kept: bool | None
    think_chars: int | None
    chars: int | None

    @property
    def used(self) -> bool:
        """Whether it is trained on, as far as the file tells."""
        return self.kept is not False

    @property
    def correct(self) -> bool | None:
        """Whether the file calls it right; None where it says nothing."""
        return None if self.verdict == NOTHING else self.verdict.lower() in RIGHT


def read_all(paths: Iterable[Path], faults: Faults) -> Iterator[tuple[Path, Example]]:
    """Yield the examples of several files, each with its file.

    Raises:
        ValueError: a path that is no file. OSError: one that cannot be read.
    """
    for path in paths:
        if not path.is_file():
            what = "a folder" if path.is_dir() else "not there"
            raise ValueError(f"{path}: expected a file of traces or questions, and it is {what}")
        for example in read(path, faults):
            yield path, example


def read(path: Path, faults: Faults) -> Iterator[Example]:
    """Yield the examples of a file in order; lines that are none are added to `faults`."""
    for row in rows_of(Piece(path)):
        if row.value is None and row.fault is None:
            continue
        faults.n_lines += 1
        if row.value is None:
            faults.add(f"{path.name}:{row.line}", row.fault.text if row.fault else "")
            continue
        example = example_of(row.value, f"line {row.line}")
        if example is None:
            faults.add(f"{path.name}:{row.line}", "no question in it")
        else:
            yield example


def example_of(row: Mapping[str, Any], where: str) -> Example | None:
    """Return one line as an example, None without a question; `where` stands for a missing id."""
    asked = row.get("question")
    inner = asked if isinstance(asked, Mapping) else row
    said_user, said_assistant = of_messages(row)
    question = text_in(inner, QUESTION) or said_user
    if not question:
        return None
    reasoning, answer = text_in(row, REASONING), text_in(row, ANSWER) or said_assistant
    is_trace = bool(reasoning or answer) or "kept" in row
    if answer and not reasoning:
        parts = split(answer)
        reasoning, answer = parts.reasoning, parts.answer_text
    think = len(reasoning.strip())
    kept = row.get("kept")
    return Example(
        question_id=short(first(inner, ID)) or where,
        question=question,
        fields=groups_of(row, inner),
        teacher=short(first(row, TEACHER)) or NOTHING,
        verdict=short(first(row, VERDICT)) or NOTHING,
        kept=(kept if isinstance(kept, bool) else None) if is_trace else None,
        think_chars=think if is_trace else None,
        chars=think + len(answer.strip()) if is_trace else None,
    )


def of_messages(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return what user and assistant said last in a chat, "" for what is not there.

    Our own traces name the teacher's prompt under `messages`; their question stands apart.
    """
    chats = (row[name] for name in MESSAGES if isinstance(row.get(name), list))
    chat: list[Any] = next(chats, [])
    said = {"user": "", "assistant": ""}
    for message in chat:
        if not isinstance(message, Mapping):
            continue
        role = message.get("role", message.get("from"))
        text = text_in(message, ("content", "value"))
        thought = text_in(message, REASONING)
        if role in USER:
            said["user"] = text
        elif role in ASSISTANT:
            said["assistant"] = f"<think>{thought}</think>{text}" if thought else text
    return said["user"], said["assistant"]


def groups_of(row: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, str]:
    """Return the groups of an example by name; fields of `meta` as meta.<name>."""
    found: dict[str, str] = {}
    for part in (row, inner):
        found |= {name: text for name in GROUPS if (text := short(part.get(name)))}
    meta = inner.get("meta")
    if isinstance(meta, Mapping):
        found |= {f"meta.{name}": text for name, value in meta.items() if (text := short(value))}
    return found


def first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first of some fields that has a value, None where none has."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def text_in(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the first of some fields that holds text, "" where none does."""
    found = (row.get(name) for name in names)
    return next((text for text in found if isinstance(text, str) and text.strip()), "")


def short(value: Any) -> str:
    """Return a name as text, "" for what is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        return ""
    text = str(value).strip()
    return text if len(text) <= LONGEST else ""
