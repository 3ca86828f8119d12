"""The questions of a run: which of the file's are asked, in which words, and as what text.

Owns the choice of questions and their messages. Refuses to own the chat template
(`training.render`), what stands in a benchmark (`harness_tasks.decontaminate`), and answers
(`scoring`).
Every question that is left out is counted, with the reason.

Example:
    chosen = choose(settings)
    chosen.questions[0].id, chosen.left_out  # ("math-q-00001", {"in a benchmark": 3})
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from training.grpo.settings import DataSettings, GrpoSettings
from training.records import Question, read_questions
from training.render import Unrenderable, opens_think, render_prompt
from training.run_folder import sha256_of
from training.sft.contamination import make_check
from training.sft.data import Row


class Prompt(NamedTuple):
    """A question as it is asked; `prefilled` where the template has opened the reasoning."""

    question: Question
    messages: list[dict[str, str]]
    text: str
    n_tokens: int
    prefilled: bool


@dataclass(frozen=True)
class Chosen:
    """The questions of a run and what became of the others.

    `overlap` is the report of the check against the benchmarks, `overlap_line` the same in short.
    """

    questions: list[Question]
    n_read: int
    left_out: dict[str, int]
    overlap: dict[str, Any]
    overlap_line: str
    sha256: str


def choose(chosen: GrpoSettings) -> Chosen:
    """Read the questions and keep those that the settings want, in the file's order.

    Raises:
        ValueError: no question is left, two have one id, a line is no question, or one stands in a
            benchmark and the settings refuse that. OSError: no such file.
    """
    data, path = chosen.data, Path(chosen.data.path).expanduser()
    if not path.is_file():
        raise ValueError(f"data.path: no such file {data.path!r}; set data.path=FILE")
    found = list(read_questions(path))
    twice = [name for name, n in Counter(question.id for question in found).items() if n > 1]
    if twice:
        raise ValueError(f"{path}: {len(twice)} ids stand twice, such as {twice[0]!r}")
    left_out: Counter[str] = Counter()
    kept = [question for question in found if matches(question, data.only)]
    left_out["not wanted (data.only)"] = len(found) - len(kept)
    check = make_check(chosen.decontaminate)
    clean = [question for question in kept if check.keeps(as_row(question))]
    left_out["in a benchmark"] = len(kept) - len(clean)
    kept = clean
    if data.limit is not None and len(kept) > data.limit:
        drawn = set(random.Random(chosen.seed).sample(range(len(kept)), data.limit))
        left_out["over data.limit"] = len(kept) - len(drawn)
        kept = [question for place, question in enumerate(kept) if place in drawn]
    if not kept:
        raise ValueError(f"{path}: none of {len(found)} questions is left ({counted(left_out)})")
    digest = sha256_of(path)
    return Chosen(kept, len(found), nonzero(left_out), check.report(), check.line(), digest)


def as_row(question: Question) -> Row:
    """Return a question as SFT's check of benchmarks takes one."""
    return Row(question.id, [{"role": "user", "content": question.question}], "", "")


def matches(question: Question, only: dict[str, Any]) -> bool:
    """Tell whether a question has, in each named field, one of the wanted values."""
    for name, wanted in only.items():
        if name.startswith("meta."):
            value = question.meta.get(name.removeprefix("meta."))
        else:
            value = getattr(question, name)
        accepted = wanted if isinstance(wanted, list) else [wanted]
        if str(value) not in {str(one) for one in accepted}:
            return False
    return True


def messages_of(question: Question, data: DataSettings) -> list[dict[str, str]]:
    """Return what the policy is asked."""
    asked = data.prompt_template.replace("{question}", question.question)
    system = (
        [] if data.system_prompt is None else [{"role": "system", "content": data.system_prompt}]
    )
    return [*system, {"role": "user", "content": asked}]


def render(
    questions: Sequence[Question], data: DataSettings, tokenizer: Any, enable_thinking: bool | None
) -> list[Prompt]:
    """Render the prompts as the template will, with their number of tokens.

    Raises:
        ValueError: the tokenizer has no chat template, or it refuses the messages.
    """
    found = []
    for question in questions:
        messages = messages_of(question, data)
        try:
            text = render_prompt(tokenizer, messages, enable_thinking=enable_thinking)
        except Unrenderable as refused:
            raise ValueError(f"{data.path}: question {question.id!r}: {refused}") from refused
        # The template writes its own first token; a second one would shift every score.
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        found.append(Prompt(question, messages, text, len(ids), opens_think(text)))
    return found


def fitting(
    prompts: Sequence[Prompt], chosen: GrpoSettings, context: int | None
) -> tuple[list[Prompt], int]:
    """Return the prompts that leave room for a whole completion, and how many do not.

    `context` is the number of tokens the student can hold, None where that is not known.
    """
    limits = [chosen.data.max_prompt_tokens]
    limits.append(None if context is None else context - chosen.max_completion_length)
    room = min((limit for limit in limits if limit is not None), default=None)
    kept = [prompt for prompt in prompts if room is None or prompt.n_tokens <= room]
    return kept, len(prompts) - len(kept)


def counted(left_out: dict[str, int]) -> str:
    """Say how many questions were left out, and why."""
    return ", ".join(f"{n} {why}" for why, n in nonzero(left_out).items()) or "none was left out"


def nonzero(left_out: dict[str, int]) -> dict[str, int]:
    """Return the reasons that took any."""
    return {why: n for why, n in left_out.items() if n}
