"""Our verdicts against the published ones, item by item; every disagreement was looked at.

The published verdicts are those of Qwen2.5-Math's grader, which takes the last number where there
is no box, grades inside an unfinished reasoning, accepts a hundredth or a hundredfold as a
percentage and compares brackets loosely.
"""

from __future__ import annotations

import gzip
import json

import pytest

from harness_tasks import reasoning
from harness_tasks.graders import GRADERS
from harness_tasks.records import Verdict
from tests.conftest import SHARED, needs_shared

OUTPUTS = SHARED / "data" / "outputs"

# (published verdict, ours, why), by item id
LAST_NUMBER = (False, "correct", "published wrong: it took the last number of an unboxed answer")
LAST_PHRASE = (False, "correct", "published wrong: it took the words behind the answer along")
NOTATION = (False, "correct", "published wrong: it did not read the notation of an equal answer")
BY_VALUE = (False, "correct", "rule: an expression of equal value counts, evaluated or not")
PLUS_MINUS = (False, "correct", "published wrong: both signs written out are the target")
PROPORTIONAL = (False, "correct", "published wrong: a multiple of the equation is the same plane")
UNFINISHED = (True, "no_answer", "rule: cut off inside the reasoning, which is not graded")
NO_SOLUTION_TEXT = (True, "no_answer", "rule: cut off before the solution states an answer")
MIDWAY = (True, "no_answer", "published wrong: the text stops in a sum, and its last number hit")
TOO_MANY = (True, "incorrect", "published wrong: it accepted a list for one of its items")
BRACKETS = (True, "incorrect", "published wrong: it overlooked an open end of an interval")
HUNDREDFOLD = (True, "incorrect", "published wrong: 2000 cents written as 2000 for 20 dollars")
RATE = (True, "incorrect", "rule: a bare 0.7 is not 70; the target leaves its percent sign out")
ORDINAL = (False, "correct", "published wrong: 6th is 6")
CLOCK = (False, "correct", "published wrong: the target 2 stands for 2 o'clock")

DISAGREEMENTS: dict[str, dict[int, tuple[bool, str, str]]] = {
    "math500/skythought__Sky-T1-math-correct-5K-27B": {
        25: NO_SOLUTION_TEXT, 28: LAST_NUMBER, 57: UNFINISHED, 73: LAST_NUMBER, 88: UNFINISHED,
        122: LAST_PHRASE, 144: LAST_NUMBER, 163: UNFINISHED, 179: LAST_NUMBER,
        195: MIDWAY, 207: LAST_PHRASE,
        227: LAST_NUMBER, 278: LAST_PHRASE, 284: PLUS_MINUS, 313: LAST_NUMBER, 332: UNFINISHED,
        338: LAST_NUMBER, 355: UNFINISHED, 360: LAST_NUMBER, 376: LAST_NUMBER, 393: LAST_NUMBER,
        416: LAST_NUMBER, 428: NO_SOLUTION_TEXT, 447: LAST_PHRASE,
        455: LAST_PHRASE, 476: NO_SOLUTION_TEXT,
    },
    "math500/skythought__gemma-2-27b-it": {
        8: NOTATION, 74: NOTATION, 85: NOTATION, 164: BY_VALUE, 179: PROPORTIONAL, 198: NOTATION,
        277: NOTATION, 284: PLUS_MINUS, 290: TOO_MANY, 293: BRACKETS, 296: NOTATION, 313: NOTATION,
        416: BY_VALUE, 424: NOTATION, 480: TOO_MANY,
    },
    "aime24/skythought__Qwen2.5-14B-Instruct": {},
    "aime24/skythought__Sky-T1-math-correct-5K-32B-ckpt133": {},
    "aime24/reasoninggym__Qwen2.5-3B-Instruct": {},
    "aime24/reasoninggym__Qwen-2.5-3B-rlft": {},
    "gsm8k/reasoninggym__Qwen2.5-3B-Instruct": {464: ORDINAL, 1001: CLOCK},
    "gsm8k/reasoninggym__Qwen-2.5-3B-rlft": {358: HUNDREDFOLD, 806: RATE, 1001: CLOCK},
}  # fmt: skip


@needs_shared
@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_disagreements_are_the_listed_ones(name: str) -> None:
    benchmark = name.partition("/")[0]
    grader = GRADERS["math" if benchmark == "math500" else benchmark.removesuffix("24")]
    found: dict[int, tuple[bool, str]] = {}
    with gzip.open(OUTPUTS / f"{name}.jsonl.gz", "rt", encoding="utf-8") as rows:
        for line in rows:
            row = json.loads(line)
            target = str(row["answer"] if benchmark == "math500" else row["gt"])
            grade = grader(reasoning.split(row["code"][0]).answer_text, target)
            published = bool(row["score"][0])
            if published != (grade.verdict is Verdict.CORRECT):
                found[row["idx"]] = (published, grade.verdict.value)
    listed = {idx: entry[:2] for idx, entry in DISAGREEMENTS[name].items()}
    assert found == listed
