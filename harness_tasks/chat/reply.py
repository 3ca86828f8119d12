"""One reply of a chat completions server, whole or streamed, in any of the forms in use.

Owns the framing of server-sent events, and where content, reasoning, finish_reason and usage stand
in a message. Refuses to own sending and retrying (`chat.client`).

Example, the two chunks of a stream:

    >>> building = ReplyBuilder()
    >>> building.add({"choices": [{"delta": {"reasoning": "2 + 2"}}]})
    >>> building.add({"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]})
    >>> building.reply().reasoning, building.reply().content
    ('2 + 2', '4')
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import orjson

from harness_tasks.chat.hosted import details_of, fault_of
from harness_tasks.completion import SURROGATE, storable

MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_SHOWN_CHARS = 300
# What servers call the limit of tokens, beside "length".
LENGTH_NAMES = ("length", "max_tokens", "model_length", "max_output_tokens")
REASONING_FIELDS = ("reasoning_content", "reasoning")
TEXT_FIELDS = (*REASONING_FIELDS, "refusal")
BLOCK_PIECES = 512
EVENT, EVENT_END = b"data: {", b"}\n\n"


class UpstreamError(ValueError):
    """The server, or the way to it, failed; the message is one line and holds no secret.

    `retry` says that the same request may go again, after `retry_after_s` where the server named a
    time. `status` is None where no HTTP answer came.
    """

    explained = True  # see `harness_tasks.explained`

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        retry: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry = retry
        self.status = status
        self.retry_after_s = retry_after_s

    def worded(self, message: str) -> UpstreamError:
        """Return the same fault in other words."""
        return UpstreamError(
            message,
            kind=self.kind,
            retry=self.retry,
            status=self.status,
            retry_after_s=self.retry_after_s,
        )


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    content: str
    reasoning: str | None
    reasoning_source: str | None
    finish_reason: str | None
    usage: dict[str, Any] = field(default_factory=dict)
    model_served: str | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    server: str | None = None  # which of several replicas it came from
    provider: str | None = None  # who generated it for a router such as OpenRouter


def shown(text: str) -> str:
    """Write foreign text on one line, control characters escaped, at most 300 characters."""
    line = " ".join(text[: 4 * MAX_SHOWN_CHARS].split())
    line = "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in line)
    return line if len(line) <= MAX_SHOWN_CHARS else line[:MAX_SHOWN_CHARS] + "…"


def parse_json(data: bytes | str, where: str) -> dict[str, Any]:
    """Parse a JSON object that a server sent.

    Raises:
        UpstreamError: it is none; may be retried.
    """
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        parsed = parse_slowly(data, where)
    if isinstance(parsed, dict):
        return parsed
    raise UpstreamError(
        f"{where} is a JSON {type(parsed).__name__}, not an object", kind="malformed", retry=True
    )


def parse_slowly(data: bytes | str, where: str) -> Any:
    """Parse what orjson refuses: NaN, lone surrogates, deep nesting, and what is no JSON.

    Integers beyond 64 bits, which orjson makes floats, stand for nothing here.

    Raises:
        UpstreamError: it is no JSON; may be retried.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as bad:
        text = data if isinstance(data, str) else data.decode(errors="replace")
        raise UpstreamError(
            f"{where} is not valid JSON: {shown(text)!r}", kind="malformed", retry=True
        ) from bad


# A key that is a number sorts as the text that it becomes.
SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def json_bytes(value: Any, sort_keys: bool = False) -> bytes:
    """Write JSON on one line; what orjson refuses goes the slow way, lone surrogates escaped."""
    try:
        return orjson.dumps(value, option=SORTED if sort_keys else None)
    except orjson.JSONEncodeError:
        return json.dumps(value, sort_keys=sort_keys).encode("ascii")


def error_text(body: dict[str, Any]) -> str:
    """Return what a JSON error says, wherever it says it."""
    error = body.get("error", body.get("detail", body.get("message", body)))
    if isinstance(error, dict):
        error = error.get("message") or error
    return shown(error if isinstance(error, str) else json.dumps(error, default=str))


def text_of(value: Any) -> tuple[str, str]:
    """Return (text, thinking) of a message's content: a string, or a list of parts."""
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, list):
        return "", ""
    texts, thoughts = [], []
    for part in value:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
            thinking = part.get("thinking", part.get("text"))
            thoughts.append("".join(text_of(thinking)))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "".join(texts), "".join(thoughts)


class Text:
    """A text that grows by many small pieces, which never outweigh its characters much."""

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
        """Return the whole text, surrogates cleaned: a pair may come in two pieces."""
        text = "".join((*self.blocks, *self.pieces))
        return text if text.isascii() else storable(joined_pairs(text))


def reported(body: dict[str, Any]) -> UpstreamError:
    """Return the fault that a server tells inside an answer of status 200."""
    error = body["error"]
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    retry = status is None or status >= 500 or status in (408, 429)
    return UpstreamError(
        f"the server reports an error: {error_text(body)}",
        kind="reported",
        retry=retry,
        status=status,
    )


class ReplyBuilder:
    """Adds up a whole reply, or the chunks of a streamed one."""

    def __init__(self) -> None:
        self.texts: dict[str, Text] = {}
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self.model_said: str | None = None
        self.provider: str | None = None

    def add(self, body: dict[str, Any]) -> bool:
        """Take in one JSON object; True where it brought text.

        Raises:
            UpstreamError: the server reports an error in it, or it has no known shape.
        """
        if body.get("error"):
            raise reported(body)
        usage = body.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        model = body.get("model")
        if model and isinstance(model, str):
            self.model_said = model
        provider = body.get("provider")
        if provider and isinstance(provider, str):
            self.provider = provider
        choices = body.get("choices")
        if not isinstance(choices, list):
            if self.usage and "choices" not in body:
                return False
            raise UpstreamError(
                f"a reply without choices: {shown(json.dumps(body, default=str))}",
                kind="malformed",
                retry=True,
            )
        brought = False
        for choice in choices:
            if isinstance(choice, dict) and self.add_choice(choice):
                brought = True
        return brought

    def add_choice(self, choice: dict[str, Any]) -> bool:
        """Take in the first choice; True where it brought text.

        Raises:
            UpstreamError: it holds a fault in place of an answer.
        """
        if choice.get("index") not in (0, None):
            return False
        said = choice.get("finish_reason")
        fault = fault_of(choice) if said or "error" in choice else None
        if fault:
            raise reported({"error": fault})
        if isinstance(said, str):
            self.finish_reason = "length" if said in LENGTH_NAMES else storable(said)
        message = choice.get("message") or choice.get("delta")
        if not isinstance(message, dict):
            return False
        content = message.get("content")
        if isinstance(content, str):
            brought = self.add_text("content", content)
        else:
            text, thinking = text_of(content)
            brought = self.add_text("content", text)
            brought = self.add_text("thinking_parts", thinking) or brought
        for name in TEXT_FIELDS:
            value = message.get(name)
            if value and isinstance(value, str):
                brought = self.add_text(name, value) or brought
        if "reasoning_details" in message:
            brought = self.add_text("reasoning_details", details_of(message)) or brought
        return brought

    def add_text(self, name: str, text: str) -> bool:
        """Append text to one of the texts."""
        if not text:
            return False
        known = self.texts.get(name)
        if known is None:
            known = self.texts[name] = Text()
        known.append(text)
        return True

    def reply(self, **measured: Any) -> Reply:
        """Return the reply, with what was `measured`, such as latency_s.

        Where a server fills both reasoning fields, they hold the same.
        """
        # OpenAI's models refuse in a field of its own, and send no content then.
        content = self.texts.get("content") or self.texts.get("refusal")
        places = (*REASONING_FIELDS, "thinking_parts", "reasoning_details")
        source = next((name for name in places if name in self.texts), None)
        return Reply(
            content=content.joined() if content else "",
            reasoning=self.texts[source].joined() if source else None,
            reasoning_source=source,
            finish_reason=self.finish_reason,
            usage=self.usage,
            model_served=storable(self.model_said) if self.model_said else None,
            provider=storable(self.provider) if self.provider else None,
            **measured,
        )


def joined_pairs(text: str) -> str:
    """Make one character of two surrogates that JSON escapes brought apart."""
    if not SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class EventStream:
    """Cuts a byte stream into the `data` of its server-sent events; `done` after `[DONE]`."""

    def __init__(self) -> None:
        self.tail = bytearray()
        self.data: list[bytes] = []
        self.done = False

    @property
    def is_inside(self) -> bool:
        """Whether an event has begun, or the last one is over."""
        return bool(self.tail or self.data or self.done)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that this chunk completes."""
        if not self.is_inside:
            quick = whole_events(chunk)
            if quick is not None:
                return quick
        searched = max(len(self.tail) - 1, 0)
        self.tail += chunk
        end = len(self.tail) - self.tail.endswith(b"\r")  # its \n may come with the next chunk
        cut = max(self.tail.rfind(mark, searched, end) for mark in (b"\n", b"\r")) + 1
        lines = bytes(self.tail[:cut]).splitlines()
        del self.tail[:cut]
        return [event for event in map(self.take_line, lines) if event is not None]

    def close(self) -> list[bytes]:
        """Return the event that the end of the stream completes."""
        events = [self.take_line(line) for line in (*bytes(self.tail).splitlines(), b"")]
        self.tail.clear()
        return [event for event in events if event is not None]

    def take_line(self, line: bytes) -> bytes | None:
        """Take one line; an empty one ends an event, and nothing counts after the last."""
        if self.done:
            return None
        if not line:
            event, self.data = b"\n".join(self.data), []
            if event.strip() == b"[DONE]":
                self.done = True
                return None
            return event or None
        if line.startswith(b"data:"):
            self.data.append(line[5:].removeprefix(b" "))
        return None


def whole_events(chunk: bytes) -> list[bytes] | None:
    """Return the events of a chunk that holds nothing but whole ones of one line each.

    None for anything else, and for the last one, which go line by line.
    """
    if not (chunk.startswith(EVENT) and chunk.endswith(EVENT_END)) or b"\r" in chunk:
        return None
    n_lines = chunk.count(b"\n")
    if n_lines == 2:
        events = [chunk[6:-2]]
    else:
        events = [b"{%s}" % inner for inner in chunk[7:-3].split(EVENT_END + EVENT)]
    # Two line ends for each event: none of them holds a further line.
    return None if n_lines != 2 * len(events) or b"[DONE]" in chunk else events
