"""One message out of the pieces that a server sent: stream chunks, or a whole answer.

Owns how choices, deltas, tool calls, logprobs and usage are merged, and which of the three
places the reasoning came in. Refuses to own SSE framing (sse), the record (exchange) and think
tags: inline reasoning stays in `content` as it was sent.

    >>> builder = MessageBuilder()
    >>> builder.add({"choices": [{"index": 0, "delta": {"content": "4"}}]})
    True
    >>> builder.message().content
    '4'

An unstreamed answer is one chunk whose delta is called `message`, so both go the same way.
The input is untrusted: a value of an unexpected type is left out, never an exception, and what is
kept is bounded by `limit_chars`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from proxy.exchange import ReasoningSource

LIMIT_CHARS = 64 * 1024 * 1024
N_PROBLEMS = 8
TEXT_FIELDS = ("content", "reasoning_content", "reasoning")
TOP_FIELDS = {"choices", "model", "usage", "error"}
CHOICE_FIELDS = {"index", "delta", "message", "text", "finish_reason", "logprobs"}
DELTA_FIELDS = {*TEXT_FIELDS, "tool_calls", "function_call", "content_parts", "role"}
THINK_TAG = re.compile(
    r"</?(?:think|thinking|thought|reasoning|seed:think)>|\[/?THINK\]"
    r"|<\|(?:begin|end)_of_thought\|>|<\|channel\|>analysis"
)
"""What models in use put around inline reasoning; only looked for, never cut out."""


class Pieces(list[str]):
    """A text in the making; joined once, since joining at every chunk is quadratic."""


@dataclass
class Choice:
    """One choice in the making."""

    text: dict[str, list[str]] = field(default_factory=dict)
    finish_reason: str | None = None
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: dict[str, Any] = field(default_factory=dict)
    message_extra: dict[str, Any] = field(default_factory=dict)
    choice_extra: dict[str, Any] = field(default_factory=dict)

    def joined(self, name: str) -> str | None:
        """Return a text field; None when the server never sent it as text."""
        parts = self.text.get(name)
        return None if parts is None else "".join(parts)

    def reasoning(self) -> tuple[str | None, ReasoningSource | None]:
        """Return the reasoning and where it came; (None, None) when there is none."""
        places = (
            ("reasoning_content", ReasoningSource.REASONING_CONTENT),
            ("reasoning", ReasoningSource.REASONING),
            ("thinking", ReasoningSource.CONTENT_PARTS),
        )
        for name, source in places:
            text = self.joined(name)
            if text:
                return text, source
        if THINK_TAG.search(self.joined("content") or ""):
            return None, ReasoningSource.INLINE
        return None, None

    def extra(self) -> dict[str, Any]:
        """Return what has no field of its own in the record."""
        _, source = self.reasoning()
        message = dict(self.message_extra)
        second = self.joined("reasoning")
        first = self.joined("reasoning_content")
        if source is ReasoningSource.REASONING_CONTENT and second and second != first:
            message["reasoning"] = second
        found = {
            "tool_calls": [settled(self.tool_calls[key]) for key in sorted(self.tool_calls)],
            "logprobs": self.logprobs,
            "message": settled(message),
            "choice": self.choice_extra,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Message:
    """What the record says about an answer."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_source: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    model_served: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class MessageBuilder:
    """Merge chunks with add(); read the result with message() at any time."""

    def __init__(self, limit_chars: int = LIMIT_CHARS) -> None:
        self.left = limit_chars
        self.n_dropped_chars = 0
        self.problems: list[str] = []
        self.error: Any = None
        """The server's `error` object, when a chunk or the body carried one."""
        self.choices: dict[int, Choice] = {}
        self.usage: dict[str, Any] | None = None
        self.model: str | None = None
        self.extra: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Whether any choice told why it stopped."""
        return any(choice.finish_reason is not None for choice in self.choices.values())

    def add(self, chunk: object, size: int = 0) -> bool:
        """Merge one chunk of `size` bytes; True when it carried a piece of the answer."""
        if not isinstance(chunk, dict):
            self.report(f"a chunk must be a JSON object, got {chunk!r:.80}")
            return False
        if chunk.get("error"):
            self.error = chunk["error"]
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        if isinstance(chunk.get("model"), str):
            self.model = chunk["model"]
        self.keep_state(self.extra, chunk, TOP_FIELDS, size)
        choices = chunk.get("choices")
        if choices is not None and not isinstance(choices, list):
            self.report(f"choices must be a list, got {choices!r:.80}")
            return False
        pieces = [self.add_choice(pos, item, size) for pos, item in enumerate(choices or ())]
        return any(pieces)

    def add_choice(self, position: int, item: object, size: int) -> bool:
        """Merge one choice of a chunk."""
        if not isinstance(item, dict):
            self.report(f"a choice must be a JSON object, got {item!r:.80}")
            return False
        index = item.get("index")
        key = index if isinstance(index, int) else position
        if key not in self.choices:
            if not self.afford(size):
                return False
            self.choices[key] = Choice()
        choice = self.choices[key]
        if isinstance(item.get("finish_reason"), str):
            choice.finish_reason = item["finish_reason"]
        if isinstance(item.get("logprobs"), dict) and self.afford(size):
            extend_lists(choice.logprobs, item["logprobs"])
        self.keep_state(choice.choice_extra, item, CHOICE_FIELDS, size)
        delta = item.get("delta", item.get("message"))
        if delta is None:  # legacy completions; with a delta beside it, `text` repeats its content
            return self.add_text(choice, "content", item.get("text"))
        if not isinstance(delta, dict):
            self.report(f"a delta must be a JSON object, got {delta!r:.80}")
            return False
        return self.add_delta(choice, delta, size)

    def add_delta(self, choice: Choice, delta: dict[str, Any], size: int) -> bool:
        """Merge a delta; a whole message is a delta too."""
        found = [self.add_text(choice, name, delta.get(name)) for name in TEXT_FIELDS]
        if isinstance(delta.get("content"), list):
            found.append(self.add_parts(choice, delta["content"], size))
        calls = delta.get("tool_calls")
        if isinstance(calls, list) and calls and self.afford(size):
            for position, call in enumerate(calls):
                merge_tool_call(choice.tool_calls, position, call)
            found.append(True)
        if isinstance(delta.get("function_call"), dict) and self.afford(size):
            call = choice.message_extra.setdefault("function_call", {})
            merge_function(call, delta["function_call"])
            found.append(True)
        self.keep_growing(choice.message_extra, delta, size)
        return any(found)

    def add_text(self, choice: Choice, name: str, value: object) -> bool:
        """Append to a text field; "" counts as sent, and as no piece of the answer."""
        if not isinstance(value, str):
            return False
        parts = choice.text.setdefault(name, [])
        if value and self.afford(len(value)):
            parts.append(value)
        return bool(value)

    def add_parts(self, choice: Choice, parts: list[Any], size: int) -> bool:
        """Append list-typed content: text parts, thinking parts, and any others kept whole."""
        found = False
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text":
                found |= self.add_text(choice, "content", part.get("text"))
            elif kind == "thinking":
                inner = part.get("thinking")
                for piece in inner if isinstance(inner, list) else [{"text": inner}]:
                    text = piece.get("text") if isinstance(piece, dict) else None
                    found |= self.add_text(choice, "thinking", text)
            elif self.afford(size):
                choice.message_extra.setdefault("content_parts", []).append(part)
        return found

    def keep_state(
        self, kept: dict[str, Any], new: dict[str, Any], own: set[str], size: int
    ) -> None:
        """Keep fields that no one here owns: the last value, objects merged one level deep."""
        for name, value in new.items():
            if name in own or value is None:
                continue
            if name not in kept and not self.afford(size):
                continue
            old = kept.get(name)
            if isinstance(old, dict) and isinstance(value, dict) and self.afford(size):
                old.update(value)
            else:
                kept[name] = value

    def keep_growing(self, kept: dict[str, Any], delta: dict[str, Any], size: int) -> None:
        """Keep delta fields that no one here owns: texts joined, lists extended, else the last."""
        for name, value in delta.items():
            if name in DELTA_FIELDS or value is None or value in ("", []):
                continue
            if not self.afford(size):
                return
            old = kept.get(name)
            if isinstance(value, str):
                grow_text(kept, name, value)
            elif isinstance(value, list) and isinstance(old, list):
                old.extend(value)
            else:
                kept[name] = value

    def afford(self, chars: int) -> bool:
        """Take from what may still be kept; False, counted, once it is used up."""
        if chars > self.left:
            self.n_dropped_chars += chars
            return False
        self.left -= chars
        return True

    def report(self, problem: str) -> None:
        """Note that a chunk is not what the protocol says; the first few are kept."""
        if len(self.problems) < N_PROBLEMS:
            self.problems.append(problem)

    def message(self) -> Message:
        """Return the message so far: the first choice, the others whole under extra."""
        keys = sorted(self.choices)
        first = self.choices[keys[0]] if keys else Choice()
        reasoning, source = first.reasoning()
        extra = {**self.extra, **first.extra()}
        if len(keys) > 1:
            extra["other_choices"] = [summary(key, self.choices[key]) for key in keys[1:]]
        if self.n_dropped_chars:
            extra["log_dropped_chars"] = self.n_dropped_chars
        return Message(
            content=first.joined("content"),
            reasoning=reasoning,
            reasoning_source=source,
            finish_reason=first.finish_reason,
            usage=self.usage,
            model_served=self.model,
            extra=extra,
        )


def summary(index: int, choice: Choice) -> dict[str, Any]:
    """Return a further choice (n > 1) as JSON."""
    reasoning, source = choice.reasoning()
    return {
        "index": index,
        "content": choice.joined("content"),
        "reasoning": reasoning,
        "reasoning_source": source,
        "finish_reason": choice.finish_reason,
        **choice.extra(),
    }


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
    if isinstance(old, Pieces):
        old.append(piece)
    else:
        kept[name] = Pieces([piece])


def settled(kept: dict[str, Any], depth: int = 1) -> dict[str, Any]:
    """Return what was kept with its texts joined, in it and `depth` objects further down.

    Texts in the making lie no deeper; what a server sent may be nested as deep as it likes.
    """
    joined: dict[str, Any] = {}
    for name, value in kept.items():
        if isinstance(value, Pieces):
            joined[name] = "".join(value)
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
