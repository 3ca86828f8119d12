"""One reply of a chat completions server, whole or streamed, in any of the forms in use.

Owns the framing of server-sent events, and where content, reasoning, finish_reason and usage stand
in a message. Refuses to own sending and retrying (`chat.client`). Standard library only.

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

from harness_tasks.completion import storable

MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_SHOWN_CHARS = 300
# What servers call the limit of tokens, beside "length".
LENGTH_NAMES = ("length", "max_tokens", "model_length", "max_output_tokens")
REASONING_FIELDS = ("reasoning_content", "reasoning")


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
        parsed = json.loads(data)
    except (ValueError, RecursionError) as bad:
        text = data if isinstance(data, str) else data.decode(errors="replace")
        raise UpstreamError(
            f"{where} is not valid JSON: {shown(text)!r}", kind="malformed", retry=True
        ) from bad
    if not isinstance(parsed, dict):
        raise UpstreamError(
            f"{where} is a JSON {type(parsed).__name__}, not an object",
            kind="malformed",
            retry=True,
        )
    return parsed


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


class ReplyBuilder:
    """Adds up a whole reply, or the chunks of a streamed one."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self.model_served: str | None = None

    def add(self, body: dict[str, Any]) -> bool:
        """Take in one JSON object; True where it brought text.

        Raises:
            UpstreamError: the server reports an error in it, or it has no known shape.
        """
        if body.get("error"):
            code = body["error"].get("code") if isinstance(body["error"], dict) else None
            retry = not (isinstance(code, int) and 400 <= code < 500 and code not in (408, 429))
            raise UpstreamError(
                f"the server reports an error: {error_text(body)}", kind="reported", retry=retry
            )
        if isinstance(body.get("usage"), dict):
            self.usage = body["usage"]
        if isinstance(body.get("model"), str) and body["model"]:
            self.model_served = storable(body["model"])
        choices = body.get("choices")
        if not isinstance(choices, list):
            if self.usage and "choices" not in body:
                return False
            raise UpstreamError(
                f"a reply without choices: {shown(json.dumps(body, default=str))}",
                kind="malformed",
                retry=True,
            )
        brought = [self.add_choice(choice) for choice in choices if isinstance(choice, dict)]
        return any(brought)

    def add_choice(self, choice: dict[str, Any]) -> bool:
        """Take in the first choice; True where it brought text."""
        if choice.get("index") not in (0, None):
            return False
        if isinstance(choice.get("finish_reason"), str):
            said = choice["finish_reason"]
            self.finish_reason = "length" if said in LENGTH_NAMES else storable(said)
        message = choice.get("message") or choice.get("delta")
        if not isinstance(message, dict):
            return False
        text, thinking = text_of(message.get("content"))
        brought = [self.add_text("content", text), self.add_text("thinking_parts", thinking)]
        for name in (*REASONING_FIELDS, "refusal"):
            if isinstance(message.get(name), str):
                brought.append(self.add_text(name, message[name]))
        return any(brought)

    def add_text(self, name: str, text: str) -> bool:
        """Append text to one of the texts."""
        if text:
            self.texts.setdefault(name, []).append(text)
        return bool(text)

    def reply(self) -> Reply:
        """Return the reply; where a server fills both reasoning fields, they hold the same."""
        # OpenAI's models refuse in a field of its own, and send no content then.
        content = "".join(self.texts.get("content") or self.texts.get("refusal") or ())
        for source in (*REASONING_FIELDS, "thinking_parts"):
            if source in self.texts:
                # A surrogate pair may come in two chunks: join first, then clean.
                reasoning = storable(joined_pairs("".join(self.texts[source])))
                break
        else:
            source, reasoning = "", ""
        return Reply(
            content=storable(joined_pairs(content)),
            reasoning=reasoning or None,
            reasoning_source=source or None,
            finish_reason=self.finish_reason,
            usage=self.usage,
            model_served=self.model_served,
        )


def joined_pairs(text: str) -> str:
    """Make one character of two surrogates that JSON escapes brought apart."""
    if not any("\ud800" <= ch <= "\udfff" for ch in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class EventStream:
    """Cuts a byte stream into the `data` of its server-sent events; `done` after `[DONE]`."""

    def __init__(self) -> None:
        self.tail = bytearray()
        self.data: list[bytes] = []
        self.done = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that this chunk completes."""
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
        """Take one line; an empty one ends an event."""
        if not line:
            event, self.data = b"\n".join(self.data), []
            if event.strip() == b"[DONE]":
                self.done = True
                return None
            return event or None
        if line.startswith(b"data:"):
            self.data.append(line[5:].removeprefix(b" "))
        return None
