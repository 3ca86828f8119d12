"""Runs that hold everything a page must stand, and the page made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.compare import Comparison
from analysis.html.page import PageOptions, page
from tests.analysis.comparisons import Tasks, compared_tasks
from tests.analysis.runs import Row, our_row

SCRIPT = "</script><script>document.title = 'stolen'</script>"
IMAGE = "<img src=x onerror=\"document.title = 'stolen'\">"
HOSTILE = (
    SCRIPT,
    IMAGE,
    f"<think>{SCRIPT}{IMAGE}</think><!--<script>",
    "right to left \u202e override, \u2066isolate\u2069, NUL \x00, bell \x07, half \ud800 a pair",
    "<style>* { display: none }</style><svg onload=\"document.title = 'stolen'\">",
    "line\u2028separator\u2029 ]]> {{ 7 * 7 }} ${alert(1)}",
    "<think>" + "long " * 400_000 + "</think>" + "42",
)
COMMAND = "distill-report html runs/base runs/student"


def rows(verdicts: list[str], texts: list[str]) -> list[Row]:
    """Return rows of ours, each with a doc, a reason and a size; the fifth is hostile."""
    made = []
    for i, (verdict, text) in enumerate(zip(verdicts, texts, strict=True)):
        row = our_row(i, [verdict], texts=[text])
        row["doc"] = {"question": f"question {i}: what is {i} + {i}?", "level": str(i % 3)}
        row["samples"][0].update(
            reason=f"the answer is {verdict}", completion_tokens=10 + i, truncated=i % 10 == 7
        )
        if i == 4:  # solved by one arm alone
            row["doc"].update(id=IMAGE, subject=f"{SCRIPT} \u202e")
            row["target"] = f"{IMAGE} \ud800"
            row["samples"][0]["answer"] = SCRIPT
        made.append(row)
    return made


def quiz(n: int) -> Tasks:
    """Return two tasks of n questions; hostile texts stand first, a marked one every tenth."""
    words = {0: "correct", 1: "incorrect"}
    plain = [f"<think>thought {i}</think>The answer is {2 * i}." for i in range(n)]
    marked = [f"{text} needle{i}" if i % 10 == 3 else text for i, text in enumerate(plain)]
    hostile = [*HOSTILE, *marked][:n]
    base = [words[int(i % 3 == 0)] for i in range(n)]
    cand = [words[int(i % 4 == 0)] for i in range(n)]
    return {
        "quiz": (rows(base, hostile), rows(cand, hostile)),
        "second_quiz": (rows(cand, marked), rows(cand, marked)),
    }


def quiz_comparison(folder: Path, n: int = 30, **more: Any) -> Comparison:
    """Return the comparison of two arms on both tasks."""
    return compared_tasks(folder, quiz(n), **more)


def quiz_page(folder: Path, n: int = 30, **options: Any) -> str:
    """Return the page of them."""
    return page(quiz_comparison(folder, n), PageOptions(**{"command": COMMAND, **options}))
