"""The sizes of a completion, the key of its text, and counts that somebody else gave.

Owns what is counted of a text. Refuses to own where reasoning ends (`harness_tasks.reasoning`).

    >>> measure("one two", " three ").answer_chars
    5
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

LARGEST_COUNT = 2**53  # beyond it a float is no longer exact; no completion is so long


@dataclass(frozen=True, slots=True)
class Volume:
    """How much one completion reasoned and answered."""

    reasoning_chars: int
    reasoning_words: int
    answer_chars: int
    answer_words: int


def count_of(value: Any) -> int | None:
    """Return a count that a client or server gave, None where it is none."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < LARGEST_COUNT else None


def text_key(text: str) -> str:
    """Return a short key of a completion, blind to blanks around it."""
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()


def measure(reasoning: str, answer_text: str) -> Volume:
    """Return the sizes of the two parts of a completion.

    Blanks around a part do not count, so that one completion has one size in every wire form; words
    are runs of non-blanks.
    """
    return Volume(
        reasoning_chars=len(reasoning.strip()),
        reasoning_words=len(reasoning.split()),
        answer_chars=len(answer_text.strip()),
        answer_words=len(answer_text.split()),
    )
