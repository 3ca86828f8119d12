r"""What a completion's text shows of how it was made: loops, and the turns of a mind at work.

Owns the patterns and the rule for a loop. Refuses to own sizes (`exchanges.measure`) and every
average (`tables`).

    >>> signs_of("Wait, let me check that again.", "4").n("verification")
    1
"""

from __future__ import annotations

import re
from typing import NamedTuple

BEHAVIOURS: dict[str, re.Pattern[str]] = {
    "verification": re.compile(r"\b(?:let me|let's|i'll) (?:double[- ])?check\b", re.IGNORECASE),
    "backtracking": re.compile(r"\bwait\b", re.IGNORECASE),
}


class Signs(NamedTuple):
    """Of one completion: does it loop, and how often each behaviour shows in its reasoning."""

    looped: bool
    counts: tuple[int, ...]  # in the order of BEHAVIOURS

    def n(self, behaviour: str) -> int:
        """Return how often a behaviour shows."""
        return self.counts[list(BEHAVIOURS).index(behaviour)]


def signs_of(reasoning: str, answer_text: str) -> Signs:
    """Return the signs of a completion."""
    counts = tuple(len(pattern.findall(reasoning)) for pattern in BEHAVIOURS.values())
    return Signs(looped=False, counts=counts)
