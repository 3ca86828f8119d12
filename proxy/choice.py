"""One choice of an answer: its texts, its tool calls, and where its reasoning stands.

Owns how the pieces of tool calls are merged, and what is said of a choice once it is whole.
Refuses to own reading chunks (message) and think tags (harness_tasks.reasoning, which names the
state).

    >>> reasoning_state("<think>r</think>a", None, "stop")
    ('closed', True)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from harness_tasks import reasoning as think
from proxy.exchange import ReasoningSource

MAX_SPLIT_CHARS = 2 * 1024 * 1024
"""Of a text that is looked through for think tags, which takes 50 ms; models write less."""
BLOCK_PIECES = 1024
INLINE_STATES = (think.CLOSED, think.ORPHAN_CLOSE, think.UNCLOSED)
PLACES = (
    ("reasoning_content", ReasoningSource.REASONING_CONTENT),
    ("reasoning", ReasoningSource.REASONING),
    ("thinking", ReasoningSource.CONTENT_PARTS),
    ("reasoning_summary", ReasoningSource.REASONING),
)
"""Where reasoning may stand, the first one that is not empty counting."""


class Settled(NamedTuple):
    """A choice as the record has it."""

    content: str | None
    reasoning: str | None
    reasoning_source: str | None
    reasoning_state: str | None
    has_reasoning: bool
    """Whether there is any reasoning, inline or apart, that is not white space alone."""
    finish_reason: str | None
    extra: dict[str, Any]


NOTHING = Settled(None, None, None, None, False, None, {})
"""Of an answer without a choice."""


class Text:
    """A text that grows by many small pieces; its pieces never outweigh their characters much."""

    __slots__ = ("blocks", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.blocks: list[str] = []

    def append(self, piece: str) -> None:
        """Add a piece at the end."""
        self.pieces.append(piece)
        if len(self.pieces) >= BLOCK_PIECES:
            self.blocks.append("".join(self.pieces))
            self.pieces.clear()

    def joined(self) -> str:
        """Return the whole text."""
        return "".join((*self.blocks, *self.pieces))


class Choice:
    """One choice in the making."""

    __slots__ = (
        "choice_extra",
        "finish_reason",
        "logprobs",
        "message_extra",
        "text",
        "tool_calls",
    )

    def __init__(self) -> None:
        self.text: dict[str, Text] = {}
        self.finish_reason: str | None = None
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.logprobs: dict[str, Any] = {}
        self.message_extra: dict[str, Any] = {}
        self.choice_extra: dict[str, Any] = {}

    def settle(self) -> Settled:
        """Join the texts and find the reasoning."""
        return self.with_texts({name: text.joined() for name, text in self.text.items()})

    def with_texts(self, texts: dict[str, str]) -> Settled:
        """Return the choice with these texts, whose reasoning is to be found."""
        content = texts.get("content")
        reasoning = source = None
        for name, place in PLACES:
            if texts.get(name):
                reasoning, source = texts[name], place
                break
        state, has_reasoning = reasoning_state(content, reasoning, self.finish_reason)
        if reasoning is None and state in INLINE_STATES:
            source = ReasoningSource.INLINE
        return Settled(
            content,
            reasoning,
            source,
            state,
            has_reasoning,
            self.finish_reason,
            self.extra(texts, reasoning),
        )

    def extra(self, texts: dict[str, str], reasoning: str | None) -> dict[str, Any]:
        """Return what has no field of its own in the record."""
        message = self.message_extra
        for name in ("reasoning", "reasoning_summary"):
            if texts.get(name) and texts[name] != reasoning:
                message = {**message, name: texts[name]}  # sent beside the one that counts
        found: dict[str, Any] = {}
        if self.tool_calls:
            calls = self.tool_calls
            found["tool_calls"] = [settled(calls[key]) for key in sorted(calls)]
        if self.logprobs:
            found["logprobs"] = self.logprobs
        if message:
            found["message"] = settled(message)
        if self.choice_extra:
            found["choice"] = self.choice_extra
        return found


def reasoning_state(
    content: str | None, reasoning: str | None, finish_reason: str | None
) -> tuple[str | None, bool]:
    """Return how the splitter names the shape, and whether it finds any reasoning."""
    text = content or ""
    if may_hold_tag(text):
        if len(text) > MAX_SPLIT_CHARS:
            return None, bool(reasoning)
        found = think.split(text, reasoning=reasoning, finish_reason=finish_reason)
        return found.state, bool(found.reasoning)
    blank = not text or text.isspace()
    apart = None if not reasoning else " " if reasoning.isspace() else "r"
    return plain_state("" if blank else "a", apart, finish_reason == "length")


def may_hold_tag(text: str) -> bool:
    """Tell whether a text may hold a think tag, all of which begin with these characters."""
    return "<" in text or "\u25c1" in text or ("[" in text and ("[T" in text or "[/T" in text))


@lru_cache(maxsize=16)
def plain_state(text: str, reasoning: str | None, cut: bool) -> tuple[str, bool]:
    """Return the same for a text without tags, of which nothing but being blank counts."""
    found = think.split(text, reasoning=reasoning, finish_reason="length" if cut else "stop")
    return found.state, bool(found.reasoning)


def merge_tool_call(calls: dict[int, dict[str, Any]], position: int, call: object) -> None:
    """Merge one piece of a tool call into the call with its index."""
    if not isinstance(call, dict):
        return
    kept = calls.setdefault(call_index(calls, position, call), {})
    for name, value in call.items():
        if name == "function" and isinstance(value, dict):
            function = kept.setdefault("function", {})
            if isinstance(function, dict):
                merge_function(function, value)
        elif value is not None and (value != "" or name not in kept):
            kept[name] = value


def call_index(calls: dict[int, dict[str, Any]], position: int, call: dict[str, Any]) -> int:
    """Return which call a piece belongs to: its index, else its id, else the latest one."""
    index, name = call.get("index"), call.get("id")
    if isinstance(index, int):
        return index
    if name:
        same = [key for key, kept in calls.items() if kept.get("id") == name]
        return same[0] if same else max(calls, default=-1) + 1
    return max(max(calls, default=0), position)


def merge_function(kept: dict[str, Any], piece: dict[str, Any]) -> None:
    """Join the arguments; take the name and the rest as they are."""
    for name, value in piece.items():
        if name == "arguments" and isinstance(value, str):
            grow_text(kept, name, value)
        elif value is not None and (value != "" or name not in kept):
            kept[name] = value


def grow_text(kept: dict[str, Any], name: str, piece: str) -> None:
    """Append to a text that is joined at the end."""
    old = kept.get(name)
    if not isinstance(old, Text):
        old = kept[name] = Text()
    old.append(piece)


def settled(kept: dict[str, Any], depth: int = 1) -> dict[str, Any]:
    """Return what was kept with its texts joined, in it and `depth` objects further down.

    Texts in the making lie no deeper; what a server sent may be nested as deep as it likes.
    """
    joined: dict[str, Any] = {}
    for name, value in kept.items():
        if isinstance(value, Text):
            joined[name] = value.joined()
        else:
            inside = depth > 0 and isinstance(value, dict)
            joined[name] = settled(value, depth - 1) if inside else value
    return joined


def extend_lists(kept: dict[str, Any], new: dict[str, Any]) -> None:
    """Merge logprobs: lists grow, anything else is replaced."""
    for name, value in new.items():
        old = kept.get(name)
        if isinstance(old, list) and isinstance(value, list):
            old.extend(value)
        elif value is not None:
            kept[name] = list(value) if isinstance(value, list) else value
