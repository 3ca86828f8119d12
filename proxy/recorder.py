"""One exchange in the making: what the request asked, what came back, how it ended.

Owns the way from the bytes of a request and its answer to the record, and telling the piece that
completes an answer. Refuses to own moving the bytes (forward), merging chunks (message) and
writing (log).

    recorder = Recorder(head, config)
    recorder.request_chunk(b'{"model": ...}')
    recorder.begin(200, response_headers)
    is_last = recorder.receive(chunk)     # cheap, before the chunk goes on to the client
    recorder.digest()                     # parses, after it went on
    line = recorder.finish(Ending.ENDED)
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from proxy.asgi import Headers
from proxy.config import ProxyConfig
from proxy.decode import Decoder, decode
from proxy.exchange import Exchange, Outcome, messages_sha256, to_line
from proxy.message import MessageBuilder
from proxy.redact import (
    echoed,
    redact_fields,
    redact_query,
    redact_raw,
    scrub,
    secrets_in_headers,
)
from proxy.sse import DONE, SSEParser
from proxy.upstream import RequestHead

GENERATION_PATHS = (b"/chat/completions", b"/completions")
OWN_FIELDS = {"model", "messages", "prompt", "stream"}
MAX_ID_CHARS = 512
N_BAD_EVENTS = 8
UNBOUNDED = 2**62
DECODER = json.JSONDecoder(parse_constant=str)
"""Made once: json.loads() with an option builds a decoder at each call, 20 us per chunk."""
SCRUBBED = (
    "endpoint", "model_requested", "model_served", "messages", "sampling", "content", "reasoning",
    "error", "extra",
)  # fmt: skip
"""Fields that may echo a secret of the request; the others come from fixed sets or are numbers."""


class Ending(StrEnum):
    """How the transfer of an answer stopped, whatever the answer says."""

    ENDED = "ended"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_CUT = "upstream_cut"
    CLIENT_CUT = "client_cut"


@dataclass
class RequestView:
    """What the record keeps of a request's body, secrets taken out."""

    model: str | None = None
    messages: list[Any] | None = None
    messages_sha256: str | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    stream: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def is_generation(head: RequestHead) -> bool:
    """Tell whether a request is logged: POST to chat completions or legacy completions."""
    path = head.target.partition(b"?")[0].rstrip(b"/")
    return head.method == "POST" and path.endswith(GENERATION_PATHS)


def header(headers: Headers, name: bytes) -> str:
    """Return a header's (last) value, "" when it is absent."""
    values = [value for key, value in headers if key.lower() == name]
    return values[-1].decode("latin-1").strip() if values else ""


class Recorder:
    """Collects one exchange. finish() may be called once; `open` tells whether it was."""

    def __init__(
        self, head: RequestHead, config: ProxyConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.head = head
        self.config = config
        self.clock = clock
        self.started = clock()
        self.started_at = datetime.now(UTC).isoformat(timespec="microseconds")
        self.open = True
        self.outcome: str | None = None
        self.request_body = bytearray()
        self.n_request_bytes = 0
        self.status: int | None = None
        self.expected_bytes: int | None = None
        self.n_bytes = 0
        self.pending: list[tuple[float, bytes]] = []
        self.decoder = Decoder("", config.max_logged_bytes)
        self.parser: SSEParser | None = None
        self.builder = MessageBuilder(config.max_logged_bytes)
        self.body: list[bytes] = []
        self.tail = b""
        self.first_piece_s: float | None = None
        self.n_chunks = 0
        self.bad_events: list[str] = []

    @property
    def succeeded(self) -> bool:
        """Whether the status says that there is an answer."""
        return self.status is not None and 200 <= self.status < 300

    def request_chunk(self, data: bytes) -> None:
        """Take a piece of the request's body; beyond the bound it is only counted."""
        self.n_request_bytes += len(data)
        room = self.config.max_logged_bytes - len(self.request_body)
        self.request_body += data[:room]

    def begin(self, status: int, headers: Headers) -> None:
        """Take the answer's status and headers."""
        self.status = status
        stream = header(headers, b"content-type").lower().startswith("text/event-stream")
        # a stream is bounded by what the parser and the builder keep, not by its length
        limit = UNBOUNDED if stream else self.config.max_logged_bytes
        self.decoder = Decoder(header(headers, b"content-encoding"), limit)
        length = header(headers, b"content-length")
        self.expected_bytes = int(length) if length.isascii() and length.isdigit() else None
        if stream:
            self.parser = SSEParser(self.config.max_logged_bytes)

    def receive(self, chunk: bytes) -> bool:
        """Take a piece of the answer; True when it is the last that the client waits for.

        That is the piece which fills the content-length, or holds the end of `data: [DONE]`. An
        answer without both ends with its connection or its chunked framing, not with a piece.
        """
        self.pending.append((self.clock(), chunk))
        self.n_bytes += len(chunk)
        if self.expected_bytes is not None and self.n_bytes >= self.expected_bytes:
            return True
        if self.parser is None:
            return False
        if not self.decoder.packed:
            seen = self.tail + chunk
            self.tail = seen[-len(DONE) + 1 :]
            if DONE not in seen:
                return False
        self.digest()
        return self.parser.done

    def digest(self) -> None:
        """Parse what has come since the last call."""
        for at, chunk in self.pending:
            data = self.decoder.feed(chunk)
            if self.parser is None:
                self.body.append(data)
            else:
                for event in self.parser.feed(data):
                    self.take_event(event, at)
        self.pending.clear()

    def take_event(self, event: bytes, at: float) -> None:
        """Merge one SSE event."""
        if event.strip() == DONE:
            return
        chunk = self.read_json(event)
        if chunk is not None and self.builder.add(chunk, len(event)):
            self.n_chunks += 1
            if self.first_piece_s is None:
                self.first_piece_s = at - self.started

    def read_json(self, data: bytes) -> Any:
        """Return the JSON value, or None with the text kept as malformed."""
        try:
            return parse_json(data)
        except (ValueError, RecursionError) as error:
            self.builder.report(f"{type(error).__name__}: {error}"[:200])
            if len(self.bad_events) < N_BAD_EVENTS:
                self.bad_events.append(self.raw(data))
            return None

    def raw(self, data: bytes) -> str:
        """Return unreadable bytes as bounded text, secrets taken out."""
        text = data[: 4 * self.config.max_raw_chars].decode("utf-8", errors="replace")
        return redact_raw(text)[: self.config.max_raw_chars]

    def finish(self, ending: Ending, error: str | None = None) -> bytes:
        """Close the recorder and return the record's line."""
        self.open = False
        self.digest()
        duration_s = self.clock() - self.started
        cut = ending is not Ending.ENDED
        extra = self.close_stream(cut) if self.parser is not None else self.close_body(cut)
        secrets = secrets_in_headers(self.head.headers)
        request = self.view_request(secrets)
        path, _, query = self.head.target.decode("latin-1").partition("?")
        if query:
            extra["query"] = redact_query(query, secrets)
        message = self.builder.message()
        outcome, error = self.judge(ending, error)
        self.outcome = outcome
        exchange = Exchange(
            request_id=header(self.head.headers, b"x-request-id")[:MAX_ID_CHARS]
            or f"proxy-{uuid.uuid4().hex}",
            started_at=self.started_at,
            endpoint=path,
            upstream=self.config.upstream.url,
            model_requested=request.model,
            model_served=message.model_served,
            messages=request.messages,
            sampling=request.sampling,
            messages_sha256=request.messages_sha256,
            stream=request.stream,
            status=self.status,
            content=message.content,
            reasoning=message.reasoning,
            reasoning_source=message.reasoning_source,
            finish_reason=message.finish_reason,
            usage=message.usage,
            ttft_s=rounded(self.first_piece_s),
            duration_s=round(duration_s, 6),
            n_chunks=self.n_chunks,
            outcome=outcome,
            error=error,
            extra={**message.extra, **self.error_extra(), **request.extra, **extra},
        )
        return line_of(exchange, secrets)

    def error_extra(self) -> dict[str, Any]:
        """Return the server's own error object."""
        return {} if self.builder.error is None else {"error": self.builder.error}

    def close_stream(self, cut: bool) -> dict[str, Any]:
        """End the SSE parser; return what the record keeps beside the message."""
        assert self.parser is not None
        extra: dict[str, Any] = {}
        for event in self.parser.close():
            if cut and not is_json(event):
                extra["partial"] = self.raw(event)  # cut inside an event: not the server's mistake
            else:
                self.take_event(event, self.clock())
        if self.parser.n_oversized:
            extra["log_dropped_events"] = self.parser.n_oversized
        if self.bad_events:
            extra["raw"] = self.bad_events
        return extra

    def close_body(self, cut: bool) -> dict[str, Any]:
        """Read an unstreamed answer; return what the record keeps beside the message."""
        body = b"".join(self.body)
        self.body.clear()
        if not body and (cut or self.status is None):
            return {}
        value = (
            None if self.decoder.problem or (cut and not is_json(body)) else self.read_json(body)
        )
        if value is not None:
            self.builder.add(value, len(body))
        as_promised = self.builder.choices or (isinstance(value, dict) and not self.succeeded)
        return {"raw": self.raw(body)} if body and not as_promised else {}

    def judge(self, ending: Ending, error: str | None) -> tuple[Outcome, str | None]:
        """Return the outcome and the reason for any but a complete one."""
        builder = self.builder
        if ending is not Ending.ENDED:
            return Outcome(ending.value), error
        if builder.error is not None or not self.succeeded:
            words = builder.error or builder.extra.get("message") or builder.extra.get("detail")
            return Outcome.UPSTREAM_ERROR, error_text(words, self.status)
        if self.decoder.problem is not None:
            return Outcome.COMPLETE, f"not read for the log: {self.decoder.problem}"
        if builder.problems:
            return Outcome.MALFORMED, builder.problems[0]
        if self.parser is None:
            if builder.choices:
                return Outcome.COMPLETE, None
            return Outcome.MALFORMED, "the answer has no choices"
        if self.parser.done or builder.finished:
            return Outcome.COMPLETE, None
        return Outcome.UPSTREAM_CUT, "the stream ended without [DONE] and without a finish_reason"

    def view_request(self, secrets: set[str]) -> RequestView:
        """Return what the record keeps of the request."""
        data = bytes(self.request_body)
        if self.n_request_bytes > len(data):
            return RequestView(extra={"log_dropped_request_bytes": self.n_request_bytes})
        body, problem = decode(
            data, header(self.head.headers, b"content-encoding"), self.config.max_logged_bytes
        )
        try:
            value = None if problem else parse_json(body)
            if not isinstance(value, dict):
                raise ValueError(problem or "the request is not a JSON object")
            return view_fields(value, secrets)
        except (ValueError, RecursionError) as error:
            return RequestView(
                extra={"request_error": str(error)[:200], "request_raw": self.raw(body)}
            )


def view_fields(value: dict[str, Any], secrets: set[str]) -> RequestView:
    """Split a request's fields; the hash is over the messages as sent."""
    messages = value.get("messages")
    model = value.get("model")
    sampling = {name: item for name, item in value.items() if name not in OWN_FIELDS}
    extra = {"prompt": redact_fields(value["prompt"], secrets)} if "prompt" in value else {}
    if messages is not None and not isinstance(messages, list):
        extra["messages"] = redact_fields(messages, secrets)
    listed = isinstance(messages, list)
    return RequestView(
        model=model if isinstance(model, str) else None,
        messages=redact_fields(messages, secrets) if listed else None,
        messages_sha256=messages_sha256(messages) if listed else None,
        sampling=redact_fields(sampling, secrets),
        stream=value.get("stream") is True,
        extra=extra,
    )


def parse_json(data: bytes) -> Any:
    """Parse UTF-8 JSON; NaN and infinities, which JSON has not, become their names as text.

    Raises:
        ValueError: not UTF-8, not JSON.
        RecursionError: nested too deep.
    """
    return DECODER.decode(data.decode("utf-8"))


def is_json(data: bytes) -> bool:
    """Tell whether the bytes are a whole JSON value."""
    try:
        parse_json(data)
    except (ValueError, RecursionError):
        return False
    return True


def rounded(seconds: float | None) -> float | None:
    """Return seconds to the microsecond."""
    return None if seconds is None else round(seconds, 6)


def error_text(error: object, status: int | None) -> str:
    """Return a server's own words, or its status."""
    words = error.get("message") if isinstance(error, dict) else error
    if not isinstance(words, str) or not words:
        return f"status {status}"
    return " ".join(words.split())[:1000]


def line_of(exchange: Exchange, secrets: set[str]) -> bytes:
    """Return the record's line without secrets; what is nested too deep is left out and named."""
    try:
        return clean_line(exchange, secrets)
    except RecursionError:
        shallow = dataclasses.replace(
            exchange,
            messages=None,
            sampling={},
            usage=None,
            extra={"log_dropped": "nested too deep"},
        )
        return clean_line(shallow, secrets)


def clean_line(exchange: Exchange, secrets: set[str]) -> bytes:
    """Return the record's line with every echo of a secret replaced."""
    line = to_line(exchange)
    if echoes := echoed(line, secrets):
        clean = {name: scrub(getattr(exchange, name), echoes) for name in SCRUBBED}
        line = to_line(dataclasses.replace(exchange, **clean))
    return line
