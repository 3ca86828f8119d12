"""One message out of the pieces that a server sent: stream chunks, or a whole answer.

Owns how choices, deltas, logprobs and usage are merged. Refuses to own what becomes of one choice
(choice), SSE framing (sse), answers of other shapes (shapes makes them look like these) and the
record (exchange). Inline reasoning stays in `content` as it was sent.

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

from typing import Any, NamedTuple

from proxy.choice import (
    NOTHING,
    Choice,
    Settled,
    Text,
    extend_lists,
    grow_text,
    merge_function,
    merge_tool_call,
)

LIMIT_CHARS = 64 * 1024 * 1024
MAX_TOOL_CALLS = 4096
N_PROBLEMS = 8
MAX_BAD_BYTES = 256 * 1024
TEXT_FIELDS = frozenset({"content", "reasoning_content", "reasoning", "reasoning_summary"})
TOP_FIELDS = frozenset({"choices", "model", "usage", "error"})
MISSING = object()
CHOICE_FIELDS = frozenset({"index", "delta", "message", "text", "finish_reason", "logprobs"})


class Message(NamedTuple):
    """What the record says about an answer."""

    first: Settled
    usage: dict[str, Any] | None
    model_served: str | None
    extra: dict[str, Any]

    @property
    def content(self) -> str | None:
        """Return the first choice's content."""
        return self.first.content

    @property
    def reasoning(self) -> str | None:
        """Return the first choice's reasoning."""
        return self.first.reasoning

    @property
    def reasoning_source(self) -> str | None:
        """Return where the first choice's reasoning came."""
        return self.first.reasoning_source

    @property
    def finish_reason(self) -> str | None:
        """Return why the first choice stopped."""
        return self.first.finish_reason


class MessageBuilder:
    """Merge chunks with add(); read the result with message() at any time.

    `chat` says whether an answer is a turn of a chat, whose reasoning has a state.
    """

    def __init__(self, limit_chars: int = LIMIT_CHARS, chat: bool = True) -> None:
        self.left = limit_chars
        self.chat = chat
        self.n_dropped_chars = 0
        self.n_added = 0
        self.n_malformed = 0
        """Chunks that are not what the protocol says."""
        self.last_malformed = -1
        self.problems: list[str] = []
        self.bad: list[bytes] = []
        """What could not be parsed, the first few."""
        self.error: Any = None
        """The server's `error` object, when a chunk or the body carried one."""
        self.choices: dict[int, Choice] = {}
        self.usage: dict[str, Any] | None = None
        self.model: str | None = None
        self.extra: dict[str, Any] = {}
        self.frame: dict[str, Any] = {}
        """The latest chunk without its choices: the same again changes nothing."""
        self.quiet_item: dict[str, Any] | None = None
        """The latest choice that said nothing but its index and its delta."""
        self.quiet_choice: Choice | None = None

    @property
    def finished(self) -> bool:
        """Whether any choice told why it stopped."""
        return any(choice.finish_reason is not None for choice in self.choices.values())

    def add(self, chunk: object, size: int = 0) -> bool:
        """Merge one chunk of `size` bytes; True when it carried a piece of the answer.

        The chunk is taken over and taken apart. What stands around a piece of text is the same in
        all chunks of most streams, so it is compared with the one before as a whole first.
        """
        self.n_added += 1
        if not isinstance(chunk, dict):
            self.report(f"a chunk must be a JSON object, got {type(chunk).__name__}")
            return False
        choices = chunk.pop("choices", None)
        if not same(chunk, self.frame):
            self.frame = chunk
            self.add_frame(chunk, size)
        if not isinstance(choices, list):
            if choices is not None:
                self.report(f"choices must be a list, got {type(choices).__name__}")
            return False
        found = False
        for position, item in enumerate(choices):
            found |= self.add_choice(position, item, size)
        return found

    def add_frame(self, frame: dict[str, Any], size: int) -> None:
        """Merge a chunk's fields beside its choices."""
        if frame.get("error"):
            self.error = frame["error"]
        if isinstance(frame.get("usage"), dict):
            self.usage = frame["usage"]
        if isinstance(frame.get("model"), str):
            self.model = frame["model"]
        self.keep_state(self.extra, frame, TOP_FIELDS, size)

    def add_choice(self, position: int, item: object, size: int) -> bool:
        """Merge one choice of a chunk."""
        if not isinstance(item, dict):
            self.report(f"a choice must be a JSON object, got {type(item).__name__}")
            return False
        delta = item.pop("delta", MISSING)
        if delta is MISSING:
            delta = item.pop("message", None)
        if self.quiet_choice and item == self.quiet_item and isinstance(delta, dict):
            return self.add_delta(self.quiet_choice, delta, size)
        index = item.get("index")
        key = index if isinstance(index, int) else position
        choice = self.choices.get(key)
        if choice is None:
            if not self.afford(size):
                return False
            choice = self.choices[key] = Choice()
        if isinstance(item.get("finish_reason"), str):
            choice.finish_reason = item["finish_reason"]
        if isinstance(item.get("logprobs"), dict) and self.afford(size):
            extend_lists(choice.logprobs, item["logprobs"])
        self.keep_state(choice.choice_extra, item, CHOICE_FIELDS, size)
        if delta is None:  # legacy completions; with a delta beside it, `text` repeats its content
            return self.add_text(choice, "content", item.get("text"))
        if not isinstance(delta, dict):
            self.report(f"a delta must be a JSON object, got {type(delta).__name__}")
            return False
        if self.n_added > 1 and index is key and says_nothing(item):
            self.quiet_item, self.quiet_choice = item, choice
        return self.add_delta(choice, delta, size)

    def add_delta(self, choice: Choice, delta: dict[str, Any], size: int) -> bool:
        """Merge a delta; a whole message is a delta too."""
        found = False
        for name, value in delta.items():
            if value is None or name == "role":
                continue
            if name in TEXT_FIELDS:
                if isinstance(value, str):
                    found |= self.add_text(choice, name, value)
                elif name == "content" and isinstance(value, list):
                    found |= self.add_parts(choice, value, size)
            elif name == "tool_calls":
                found |= self.add_tool_calls(choice, value, size)
            elif name == "function_call":
                if isinstance(value, dict) and self.afford(size):
                    call = choice.message_extra.setdefault("function_call", {})
                    merge_function(call, value)
                    found = True
            elif name != "content_parts":
                self.keep_growing(choice.message_extra, name, value, size)
        return found

    def add_text(self, choice: Choice, name: str, value: object) -> bool:
        """Append to a text field; "" counts as sent, and as no piece of the answer."""
        if not isinstance(value, str):
            return False
        text = choice.text.get(name)
        if text is None:
            text = choice.text[name] = Text()
        if not value:
            return False
        if len(value) <= self.left:
            self.left -= len(value)
            text.append(value)
        else:
            self.n_dropped_chars += len(value)
        return True

    def add_tool_calls(self, choice: Choice, calls: object, size: int) -> bool:
        """Merge the pieces of tool calls; more calls than anyone makes are dropped."""
        if not isinstance(calls, list) or not calls or not self.afford(size):
            return False
        for position, call in enumerate(calls):
            if len(choice.tool_calls) < MAX_TOOL_CALLS:
                merge_tool_call(choice.tool_calls, position, call)
            else:
                self.n_dropped_chars += size
        return True

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
        self, kept: dict[str, Any], new: dict[str, Any], own: frozenset[str], size: int
    ) -> None:
        """Keep fields that no one here owns: the last value, objects merged one level deep."""
        for name, value in new.items():
            if value is None or name in own:
                continue
            if name not in kept:
                if self.afford(size):
                    kept[name] = value
                continue
            old = kept[name]
            if isinstance(value, dict) and isinstance(old, dict):
                if self.afford(size):
                    old.update(value)
            else:
                kept[name] = value

    def keep_growing(self, kept: dict[str, Any], name: str, value: Any, size: int) -> None:
        """Keep a delta field that no one here owns: texts joined, lists extended, else the last."""
        if value in ("", []) or not self.afford(size):
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
        """Note that a chunk is not what the protocol says; the first few are kept.

        No value of the chunk belongs into the words: it may be a secret's echo, cut short.
        """
        if self.last_malformed != self.n_added:
            self.last_malformed = self.n_added
            self.n_malformed += 1
        if len(self.problems) < N_PROBLEMS:
            self.problems.append(problem)

    def unreadable(self, data: bytes, error: Exception) -> None:
        """Note a chunk that could not even be parsed; the first few are kept."""
        self.n_added += 1
        self.report(f"{type(error).__name__}: {error}"[:200])
        if len(self.bad) < N_PROBLEMS:
            self.bad.append(data[:MAX_BAD_BYTES])

    def message(self) -> Message:
        """Return the message so far: the first choice, the others whole under extra."""
        extra = dict(self.extra)
        first = NOTHING
        others = []
        for key in sorted(self.choices):
            choice = self.choices[key].settle()
            if not self.chat:
                choice = choice._replace(reasoning_state=None)
            if first is NOTHING:
                first = choice
            else:
                others.append(summary(key, choice))
        extra.update(first.extra)
        if others:
            extra["other_choices"] = others
        if self.n_dropped_chars:
            extra["log_dropped_chars"] = self.n_dropped_chars
        return Message(first, self.usage, self.model, extra)


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Tell whether two objects are equal; of what is nested too deep to tell, they are not."""
    try:
        return first == second
    except RecursionError:
        return False


def says_nothing(item: dict[str, Any]) -> bool:
    """Tell whether a choice without its delta has nothing but an index."""
    return all(value is None for name, value in item.items() if name != "index")


def summary(index: int, choice: Settled) -> dict[str, Any]:
    """Return a further choice (n > 1) as JSON."""
    return {
        "index": index,
        "content": choice.content,
        "reasoning": choice.reasoning,
        "reasoning_source": choice.reasoning_source,
        "reasoning_state": choice.reasoning_state,
        "finish_reason": choice.finish_reason,
        **choice.extra,
    }
