r"""What a judge said: one verdict line, read strictly, and two of them put together.

Owns which replies count, and what the two presentation orders of a pair make of them. Refuses to
own asking (`asking`) and counting over pairs (`ballots`). Nothing is guessed: a reply without its
line is malformed, one that was cut off too, and a request that failed is no reply at all.

    >>> read("A checks its result, B does not.\nJUDGMENT: A")
    Reading(said='A', problem='')
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from analysis.items import BASELINE, CANDIDATE
from harness_tasks.reasoning import split

NEITHER = "neither"
VERDICTS = (CANDIDATE, BASELINE, NEITHER)
BASELINE_FIRST, CANDIDATE_FIRST = 0, 1
ORDERS = (BASELINE_FIRST, CANDIDATE_FIRST)

# A line that means to be the verdict, what takes one back further down, and a line that is one:
# nothing but the three words; markdown around it is no other word.
MEANT = re.compile(r"(?im)^[ \t>*_`#-]*JUDGE?MENT\b[^\n]*$")
AGAIN = re.compile(r"(?i)JUDGE?MENT[ \t*_]*[:\uff1a]")
VERDICT = re.compile(r"[ \t*_]*JUDGMENT:[ \t*_]*(A|B|Neither)[ \t*_\r]*")
MAX_CHARS = 200_000  # the end of a reply holds its verdict

CONSISTENT, INCONSISTENT = "consistent", "inconsistent"
MALFORMED, UNANSWERED = "malformed", "unanswered"


class Reading(NamedTuple):
    """What one reply says: "A", "B" or "Neither"; None with the problem where it says none."""

    said: str | None
    problem: str = ""


class Failure(NamedTuple):
    """A request that got no reply, with the reason; it is asked again by the next run."""

    why: str


class Vote(NamedTuple):
    """What a judge makes of a pair: `verdict` is an arm or "neither", None where it gave none.

    `state` is one of the four words above; `said` is "A", "B" or "Neither" in each of the orders,
    None unless both were read.
    """

    state: str
    verdict: str | None
    said: tuple[str, str] | None = None

    @property
    def flipped(self) -> bool:
        """Say whether the judge named the same place, A or B, in both orders."""
        return self.said in (("A", "A"), ("B", "B"))


def read_reply(reply: Mapping[str, Any], quoting: bool) -> Reading:
    """Read a stored reply. `quoting`: a response of the pair holds something like a verdict."""
    finish_reason = reply.get("finish_reason")
    reasoning = reply.get("reasoning")
    parts = split(
        str(reply.get("content") or ""),
        reasoning=reasoning if isinstance(reasoning, str) else None,
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
    )
    if finish_reason == "length":
        return Reading(None, "cut off by the limit of tokens")
    return read(parts.answer_text, quoting)


def read(answer_text: str, quoting: bool = False) -> Reading:
    """Return the verdict of the last line that means to give one.

    That line must be the verdict and nothing else, and nothing like a verdict may follow in the
    running text: "JUDGMENT: A", then "no, JUDGMENT: B it is" is neither. With `quoting` it must
    also be the last line of the text: else a judge that cites "JUDGMENT: A" out of a response, and
    then says nothing of its own, would lend that response its vote.
    """
    text = answer_text[-MAX_CHARS:].rstrip()
    meant = list(MEANT.finditer(text))
    if not meant:
        return Reading(None, "no verdict line" if text else "an empty reply")
    line = meant[-1]
    found = VERDICT.fullmatch(line.group())
    if found is None:
        return Reading(None, f"not one of the three verdicts: {line.group().strip()[:60]!r}")
    if AGAIN.search(text, line.end()):
        return Reading(None, "something like another verdict stands behind the verdict line")
    if quoting and line.end() != len(text):
        return Reading(None, "the verdict is not the last line, and a response holds one to quote")
    return Reading(found[1])


def arm_of(said: str, order: int) -> str:
    """Return the arm that a verdict names, given who was shown first."""
    if said == "Neither":
        return NEITHER
    return BASELINE if (said == "A") == (order == BASELINE_FIRST) else CANDIDATE


def vote(replies: tuple[Reading | Failure, Reading | Failure]) -> Vote:
    """Put the replies of both orders together, baseline first and candidate first.

    What differs between the orders is no preference: its verdict is "neither".
    """
    if any(isinstance(reply, Failure) for reply in replies):
        return Vote(UNANSWERED, None)
    first, second = (reply.said for reply in replies if isinstance(reply, Reading))
    if first is None or second is None:
        return Vote(MALFORMED, None)
    arms = arm_of(first, BASELINE_FIRST), arm_of(second, CANDIDATE_FIRST)
    if arms[0] == arms[1]:
        return Vote(CONSISTENT, arms[0], (first, second))
    return Vote(INCONSISTENT, NEITHER, (first, second))
