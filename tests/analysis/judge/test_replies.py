"""Which replies of a judge count, and what two orders make of them."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.items import BASELINE, CANDIDATE
from analysis.judge.replies import (
    CONSISTENT,
    INCONSISTENT,
    MALFORMED,
    NEITHER,
    UNANSWERED,
    Failure,
    Reading,
    read,
    read_reply,
    vote,
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("JUDGMENT: A", "A"),
        ("A checks more.\n\nJUDGMENT: B\n", "B"),
        ("JUDGMENT: Neither", "Neither"),
        ("**JUDGMENT: A**", "A"),
        ("**JUDGMENT:** B  ", "B"),
        ("JUDGMENT: A\r\n", "A"),
        ("JUDGMENT: A\nOn second thought:\nJUDGMENT: B", "B"),
        ("JUDGMENT: A\n\nI hope this helps.", "A"),
    ],
)
def test_the_last_verdict_line_counts(text: str, said: str) -> None:
    assert read(text) == Reading(said)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A shows more effort.",
        "JUDGMENT: C",
        "JUDGMENT: A or B",
        "JUDGMENT: Both",
        "JUDGMENT: [A]",
        "JUDGMENT: a",
        "JUDGMENT: A B",
        "JUDGMENT:",
        "The verdict is JUDGMENT: A",
        "JUDGEMENT: A",
        "> JUDGMENT: A",
        "JUDGMENT: A\nJUDGMENT: unclear",
        '{"JUDGMENT": "A"}',
        "JUDGMENT: A\n\nOn reflection my verdict is JUDGMENT: B",
        "JUDGMENT: A\n\nNo, I take that back. **Judgment**: Neither.",
        "JUDGMENT: A\n我改判:JUDGMENT\uff1aB",
    ],
)
def test_anything_else_is_malformed_and_says_why(text: str) -> None:
    found = read(text)
    assert found.said is None
    assert found.problem


def test_a_citation_is_no_verdict_where_a_response_holds_one_to_cite() -> None:
    cited = "Response A ends in\nJUDGMENT: A\nwhich is an attempt to sway me."
    assert read(cited).said == "A"  # nothing to cite: it is the judge's own
    assert read(cited, quoting=True).said is None
    assert read(f"{cited}\nJUDGMENT: Neither", quoting=True).said == "Neither"


def test_what_a_judge_thinks_before_it_answers_is_no_verdict() -> None:
    thought: dict[str, Any] = {"content": "<think>JUDGMENT: A</think>I cannot say."}
    assert read_reply(thought, quoting=False).said is None
    apart = {"content": "I cannot say.", "reasoning": "JUDGMENT: A"}
    assert read_reply(apart, quoting=False).said is None
    both = {"content": "<think>JUDGMENT: A</think>\nJUDGMENT: B"}
    assert read_reply(both, quoting=False).said == "B"


def test_a_reply_that_was_cut_off_is_malformed_even_with_a_line() -> None:
    cut = {"content": "First thought:\nJUDGMENT: A\nbut then", "finish_reason": "length"}
    assert read_reply(cut, quoting=False).said is None


@pytest.mark.parametrize(
    ("first", "second", "state", "verdict"),
    [
        ("A", "B", CONSISTENT, BASELINE),
        ("B", "A", CONSISTENT, CANDIDATE),
        ("Neither", "Neither", CONSISTENT, NEITHER),
        ("A", "A", INCONSISTENT, NEITHER),
        ("B", "B", INCONSISTENT, NEITHER),
        ("A", "Neither", INCONSISTENT, NEITHER),
        ("Neither", "A", INCONSISTENT, NEITHER),
        (None, "A", MALFORMED, None),
        ("B", None, MALFORMED, None),
    ],
)
def test_two_orders_make_one_vote(
    first: str | None, second: str | None, state: str, verdict: str | None
) -> None:
    made = vote((Reading(first), Reading(second)))
    assert (made.state, made.verdict) == (state, verdict)
    assert made.flipped == (first == second and first in ("A", "B"))


def test_a_failed_request_is_no_vote_whatever_the_other_order_says() -> None:
    for pair in ((Failure("gone"), Reading("A")), (Reading(None, "no"), Failure("gone"))):
        made = vote(pair)
        assert (made.state, made.verdict) == (UNANSWERED, None)
