"""What a difference between two runs means: the one table that `compare` and `diff-config` use.

Owns which differences forbid a comparison, which may explain a difference of scores, which are what
a comparison is for, and why. Refuses to own how a difference is found (`comparability`). Standard
library only.

    RULES["sampling"].effect      # "forbids": refused unless --allow sampling
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

FORBIDS, EXPLAINS, MEANT = "forbids", "may explain", "as meant"
EFFECTS = (FORBIDS, EXPLAINS, MEANT)
KINDS = ("docs", "prompts", "graders", "sampling", "retried")  # what `--allow` takes


class Rule(NamedTuple):
    """What a difference is of, what it does to a comparison, and why."""

    kind: str  # of KINDS where it forbids
    effect: str
    why: str


OTHER_QUESTIONS = "only the same questions can be paired: others are easier or harder"
OTHER_PROMPT = "a model scores otherwise when it is asked otherwise"
OTHER_GRADER = "one completion gets two verdicts"
OTHER_SAMPLING = "temperature, token limit and the like move a score by points"
OTHER_SERVER = "server, precision and library can move a score by themselves"

RULES: Mapping[str, Rule] = {
    "questions": Rule("docs", FORBIDS, OTHER_QUESTIONS),
    "data set": Rule("docs", FORBIDS, "another edition of the questions has another score"),
    "prompt": Rule("prompts", FORBIDS, OTHER_PROMPT),
    "system prompt": Rule("prompts", FORBIDS, OTHER_PROMPT),
    "examples": Rule("prompts", FORBIDS, "examples in the prompt change what is measured"),
    "tier": Rule("prompts", FORBIDS, "the tiers ask for unlike amounts of reasoning"),
    "grading": Rule("graders", FORBIDS, OTHER_GRADER),
    "task version": Rule("graders", FORBIDS, "the rules of the task changed between the versions"),
    "sampling": Rule("sampling", FORBIDS, OTHER_SAMPLING),
    "samples per question": Rule(
        "sampling", FORBIDS, "k samples of a question and one have unlike chance in them"
    ),
    "retried truncated": Rule(
        "retried",
        FORBIDS,
        "one arm's cut-off samples had a second try with more tokens, the other's count as wrong",
    ),
    "retried errors": Rule(
        "requests", EXPLAINS, "failed requests were asked again, whatever their answer would be"
    ),
    "unmet limit": Rule(
        "limit", EXPLAINS, "one arm alone sent max_tokens, and nothing was cut off"
    ),
    "server": Rule("server", EXPLAINS, OTHER_SERVER),
    "model arguments": Rule("model args", EXPLAINS, OTHER_SERVER),
    "versions": Rule("versions", EXPLAINS, "another release may ask or grade a little otherwise"),
    "revision": Rule("docs", EXPLAINS, "the rows are compared themselves where they are known"),
    "training": Rule("training", EXPLAINS, "the models differ in more than their data"),
    "status": Rule("status", EXPLAINS, "a run that did not finish may hold fewer samples"),
    "no common task": Rule("tasks", FORBIDS, OTHER_QUESTIONS),
    "tasks": Rule("tasks", EXPLAINS, "what one arm alone has is left out"),
    "model": Rule("model", MEANT, "two models are what a comparison is of"),
    "seed": Rule("seed", MEANT, "each run draws its own samples"),
}


class Difference(NamedTuple):
    """One thing in which two arms differ; `rule` is a key of RULES."""

    kind: str
    task: str
    text: str
    rule: str

    @property
    def effect(self) -> str:
        """Return what it does to a comparison."""
        return RULES[self.rule].effect

    @property
    def why(self) -> str:
        """Return why."""
        return RULES[self.rule].why


def of_rule(rule: str, task: str, text: str) -> Difference:
    """Return a difference of the kind that its rule is of."""
    return Difference(RULES[rule].kind, task, text, rule)


def flags(kinds: set[str]) -> str:
    """Return the options that allow some kinds of difference."""
    return " ".join(f"--allow {kind}" for kind in KINDS if kind in kinds)
