"""A completion as lm-eval carries it: a string, with what the server said about it as attributes.

Owns the canonical text, the stop strings of tasks and what must not reach a UTF-8 file. Refuses to
own how it came over the wire (`chat.client`) and what it is worth (`results`). No lm_eval.

Example, reasoning that was sent apart:

    >>> Completion(content="4", reasoning="2 + 2", finish_reason="stop")
    '<think>2 + 2</think>4'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

from harness_tasks.reasoning import CLOSED, ORPHAN_CLOSE, TAGS, UNCLOSED, pieces, split

SURROGATE = re.compile("[\ud800-\udfff]")


class Completion(str):
    """One completion of one sample; survives pickling, and is text to whoever only reads text.

    Where the server sent the reasoning apart, the text puts it back into `<think>` tags; the tag
    stays open where the completion was cut off before its answer. A request that failed for good is
    the empty text with `error` set.
    """

    content: str
    reasoning: str | None  # None where the server sent none apart
    # reasoning_content, reasoning, thinking_parts, reasoning_details, inline or None
    reasoning_source: str | None
    finish_reason: str | None
    usage: dict[str, Any]
    model_served: str | None
    server: str | None  # which of several replicas it came from
    provider: str | None  # who generated it for a router such as OpenRouter
    request_id: str | None
    latency_s: float | None
    ttft_s: float | None
    error: str | None
    sample_index: int
    prefilled: bool  # the chat template opened the reasoning, and the text never closed it

    def __new__(
        cls,
        text: str | None = None,
        *,
        content: str = "",
        reasoning: str | None = None,
        finish_reason: str | None = None,
        **said: Any,
    ) -> Self:
        """Build the text from content and reasoning; `text` itself is for unpickling."""
        made = super().__new__(
            cls, canonical_text(content, reasoning, finish_reason) if text is None else text
        )
        made.__dict__.update(NOTHING_SAID)
        made.__dict__.update(said)
        made.content = content
        made.reasoning = reasoning
        made.finish_reason = finish_reason
        return made


NOTHING_SAID: dict[str, Any] = {
    "reasoning_source": None,
    "usage": {},
    "model_served": None,
    "server": None,
    "provider": None,
    "request_id": None,
    "latency_s": None,
    "ttft_s": None,
    "error": None,
    "sample_index": 0,
    "prefilled": False,
}


def canonical_text(content: str, reasoning: str | None, finish_reason: str | None) -> str:
    """Put reasoning that was sent apart back in front of the content."""
    if not reasoning:
        return content
    if not content.strip() and finish_reason == "length":
        return f"<think>{reasoning}"
    return f"<think>{reasoning}</think>{content}"


def storable(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file can hold, by U+FFFD."""
    return SURROGATE.sub("\ufffd", text)


def has_inline_reasoning(content: str) -> bool:
    """Tell whether the content itself holds reasoning tags."""
    if TAGS.search(content) is None:
        return False
    return split(content).state in (CLOSED, ORPHAN_CLOSE, UNCLOSED)


def cut_at_stop(
    content: str, stops: Sequence[str], *, reasoning: str | None, finish_reason: str | None
) -> str:
    r"""Cut the content where the first stop string begins in its answer_text.

    The reasoning, and white space before the answer, are not searched: a stop string of two
    newlines would leave nothing of `</think>\n\nThe answer`.
    """
    stops = [stop for stop in stops if stop]
    if not stops:
        return content
    found = pieces(content, finish_reason=finish_reason, served=bool(reasoning))
    answer = "".join(piece.text for piece in found if piece.kind == "answer")
    start = len(answer) - len(answer.lstrip())
    ends = [end for end in (answer.find(stop, start) for stop in stops) if end >= 0]
    if not ends:
        return content
    kept, left = [], min(ends)
    for piece in found:
        text = piece.text[:left] if piece.kind == "answer" else piece.text
        kept.append(text)
        if len(text) < len(piece.text):
            break
        left -= len(text) if piece.kind == "answer" else 0
    return "".join(kept)
