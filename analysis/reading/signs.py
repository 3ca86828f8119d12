r"""What a completion's text shows of how it was made: loops, and the turns of a mind at work.

Owns the rule for a loop and the phrases of each behaviour. Refuses to own sizes
(`measure`) and every average (`tables.behaviour`). Linear time on any text.

    >>> signs_of("Wait, let me check that again.", "4").n("verification")
    1

A loop: the reasoning or the answer ends in one stretch of text that stands there at least twice in
a row, character by character, over LOOP_CHARS or more; blanks to that length count too. Sampling
stops inside of a loop, so its end is where it shows. A loop that drifts (a counter that rises, a
word that changes) is not counted, and neither is one that the model left: the rate is a lower
bound. Two copies of one answer with something between them are no loop.

The behaviours are those of Gandhi et al. 2025 (arXiv:2503.01307), table 1, and two more. There a
model judges each text; here phrases are counted, in reasoning and answer alike, since a model
without a think block thinks in its answer. A count is a proxy that compares arms; it is no judgment
of one text, and one turn may show two phrases. English only.
"""

from __future__ import annotations

from typing import NamedTuple

LOOP_CHARS = 1_000  # a table or a separator repeats itself too, but not for so long
CANDIDATES = 64  # periods tried, which keeps the time linear in the worst of texts

BEHAVIOURS: dict[str, tuple[str, ...]] = {  # lower case; no phrase holds another
    "verification": (
        *("let me check", "let's check", "i'll check", "should check", "recheck"),
        *("double-check", "double check", "verify"),
    ),
    "backtracking": (
        *("wait,", "wait.", "wait a ", "start over", "try again", "go back", "going back"),
        *("backtrack", "made a mistake", "that's not right", "n't work"),
    ),
    "sub-goals": (
        *("first, ", "next, ", "step 1", "start by", "the next step"),
        *("break it down", "break this down", "break down the"),
    ),
    "backward chaining": (
        *("work backward", "working backward", "work back from", "working back from"),
        *("start from the end", "to reach the target", "from the desired"),
    ),
    "alternatives": (
        *("alternatively", "another way", "another approach", "different approach"),
        *("different way", "another possibility", "what if"),
    ),
    "uncertainty": ("maybe", "perhaps", "not sure", "i think", "might be", "probably", "hmm"),
}

PLACES = {name: place for place, name in enumerate(BEHAVIOURS)}


class Signs(NamedTuple):
    """Of one completion: does it loop, and how often each behaviour shows in its text."""

    looped: bool
    counts: tuple[int, ...]  # in the order of BEHAVIOURS

    def n(self, behaviour: str) -> int:
        """Return how often a behaviour shows."""
        return self.counts[PLACES[behaviour]]


def signs_of(reasoning: str, answer_text: str) -> Signs:
    """Return the signs of a completion."""
    text = f"{reasoning}\n{answer_text}".lower().replace("’", "'")
    counts = tuple(sum(map(text.count, phrases)) for phrases in BEHAVIOURS.values())
    return Signs(looped=ends_in_loop(reasoning) or ends_in_loop(answer_text), counts=counts)


def ends_in_loop(text: str) -> bool:
    """Say whether a text ends in a stretch that stands there at least twice in a row.

    A period p of the last max(2p, LOOP_CHARS) characters brings the last LOOP_CHARS / 2 of them
    back p characters before, so that only places where those stand again are looked at. The text
    is read from its end: the first such place is the shortest period.
    """
    if len(text) < LOOP_CHARS:
        return False
    stripped = text.rstrip()
    if len(text) - len(stripped) >= LOOP_CHARS:
        return True
    backwards = stripped[::-1]
    end = backwards[: LOOP_CHARS // 2]
    period = 0
    for _ in range(CANDIDATES):
        period = backwards.find(end, period + 1)
        length = max(2 * period, LOOP_CHARS)
        if period < 0 or length > len(backwards):
            return False
        if backwards.startswith(backwards[period:length]):
            return True
    return False
