r"""How long a model is asked to reason: six tiers, from every step in full to the bare answer.

Owns the words of the tiers, and what puts them into a task's prompt. Refuses to own grading: a tier
changes what is asked and nothing else, so verdicts and questions are those of the task itself.

`distill_math500_r1` to `_r6` are tasks of the package; `distill-eval run --tiers r1,r3` makes such
tasks of any other (`plan`), and `--metadata '{"tier": "r3"}'` asks any task of ours in one tier.

Example:
    >>> asked("What is 1 + 1?\n" + INSTRUCTION, "r6")
    'What is 1 + 1?\nDo not reason and do not explain. Put your final answer within \\boxed{}.'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness_tasks.calling_task import task_of_caller

INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."
LCB_ANSWER = "### Answer: "  # the last line of LiveCodeBench's prompt
NAMED = re.compile(r"(?P<task>.+)_(?P<tier>r[1-6])")
THINK = "Write your reasoning between <think> and </think>, and the response after it."


@dataclass(frozen=True)
class Tier:
    """One tier: its sentence in the prompt, what it is called, and the study's mean words."""

    sentence: str
    title: str
    words: float | None = None  # of a response in the study, where it tells


# Source of the levels and of the two means: the O'Bryan study, which goes from full reasoning (mean
# 220 words) to the answer alone (31). The sentences, and what lies between, are this suite's own.
TIERS: Mapping[str, Tier] = {
    "r1": Tier(
        "Please reason step by step and in full: write out every step, say why it follows, and "
        "check the result.",
        "full reasoning",
        220,
    ),
    "r2": Tier(
        "Please reason step by step: write out every step, and leave out explanations and checks.",
        "every step",
    ),
    "r3": Tier(
        "Please reason in short steps, with one brief sentence or formula for each.", "short steps"
    ),
    "r4": Tier(
        "Please write down the key steps of your reasoning only, three at most, without sentences.",
        "key steps",
    ),
    "r5": Tier("Please give one short sentence of reasoning and no more.", "one sentence"),
    "r6": Tier("Do not reason and do not explain.", "answer only", 31.2),
}
BARE = "r6"  # the tier that asks for no reasoning
AT_ONCE = "Respond at once, without reasoning first."
BOXED = r"Put your final answer within \boxed{}."
CODE = "Give the whole program in one Markdown code block."


def asked(prompt: str, tier: str, doc: Mapping[str, Any] | None = None) -> str:
    """Return a task's prompt with the tier's sentence, where the task's own instruction stood.

    `doc` tells how the task is answered: with a program, with a response that is checked as it is,
    else with a boxed answer.
    """
    sentence = TIERS[tier].sentence
    doc = doc or {}
    if "instruction_id_list" in doc:  # reasoning in the response would break its instructions
        return f"{prompt}\n\n{AT_ONCE if tier == BARE else f'{sentence} {THINK}'}"
    if "starter_code" in doc:
        before, _, _ = prompt.rpartition(LCB_ANSWER)
        if before:
            return f"{before}{sentence} {CODE}\n\n{prompt[len(before) :]}"
    if "entry_point" in doc or "starter_code" in doc:
        return f"{prompt.rstrip()}\n\n{sentence} {CODE}\n"
    return f"{prompt.removesuffix(INSTRUCTION).rstrip()}\n{sentence} {BOXED}"


def tier_of(given: Any) -> str:
    """Return a tier's name as it was given, in lower case.

    Raises:
        ValueError: no such tier.
    """
    name = str(given).strip().lower()
    if name not in TIERS:
        raise ValueError(f"there is no tier {given!r}; there are {', '.join(TIERS)}")
    return name


def tiers_of(given: str) -> list[str]:
    """Return the tiers of a list such as `r1,r3`, or of `all`, in their own order.

    Raises:
        ValueError: no such tier, or none at all.
    """
    words = [word for word in given.split(",") if word.strip()]
    if not words:
        raise ValueError(f"--tiers names no tier; there are {', '.join(TIERS)}, or all")
    chosen = set(TIERS) if [words[0].strip().lower()] == ["all"] else set(map(tier_of, words))
    return [tier for tier in TIERS if tier in chosen]


def named(task: str, tier: str) -> str:
    """Return the name of a task asked in a tier."""
    return f"{task}_{tier}"


def parts_of(task: str) -> tuple[str, str | None]:
    """Return the task that a tier's task asks, and the tier; a plain task has none."""
    found = NAMED.fullmatch(task)
    return (found["task"], found["tier"]) if found else (task, None)


def ask_in_tier(given: Any) -> None:
    """Let the lm-eval task that is loading its docs ask in a tier.

    Raises:
        ValueError: no such tier, another one than the task's name tells, or no task to tell it to.
    """
    tier = tier_of(given)
    task = task_of_caller()
    if task is None:
        raise ValueError(
            f"tier {tier!r} cannot be asked: this release of lm-eval does not say which task loads "
            "its docs; distill-eval was tried with 0.4.11 to 0.4.13"
        )
    config = task.config
    own = parts_of(str(config.task))[1]
    if own not in (None, tier):
        raise ValueError(
            f'{config.task} asks in tier {own}, and --metadata says "tier": "{tier}"; leave that '
            f"out, or name the task of that tier"
        )
    config.doc_to_text = in_tier(task.doc_to_text, config.doc_to_text, tier)
    if own is None:
        config.task_alias = f"{config.task_alias or config.task} (tier {tier})"


def in_tier(
    render: Callable[[Any, Any], str], doc_to_text: Any, tier: str
) -> Callable[[Mapping[str, Any]], str]:
    """Return a `doc_to_text` that asks what another one asks, in a tier."""

    def doc_to_text_in_tier(doc: Mapping[str, Any]) -> str:
        return asked(render(doc, doc_to_text), tier, doc)

    return doc_to_text_in_tier
