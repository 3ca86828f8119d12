"""One exchange in the making: what the request asked, what came back, how it ended.

Owns the way from the bytes of a request and its answer to the record, and telling the piece that
completes an answer. Refuses to own moving the bytes (forward), splitting the request
(request_view), merging chunks (message), taking secrets out of the record (record_line) and
writing (log).

    recorder = Recorder(head, config)
    recorder.request_chunk(b'{"model": ...}')
    recorder.begin(200, response_headers)
    is_last = recorder.receive(chunk)     # nearly free, before the chunk goes on to the client
    recorder.digest()                     # parses now and then, after it went on
    line = recorder.finish(Ending.ENDED)
    recorder.facts                        # the few things that are counted over all exchanges

Times are those at which pieces arrived, whenever they are parsed.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from proxy.config import ProxyConfig
from proxy.decode import Decoder, decode
from proxy.exchange import SCHEMA_VERSION, Outcome
from proxy.http1 import Headers, RequestHead
from proxy.message import Message, MessageBuilder
from proxy.plain import plain_message
from proxy.record_line import Raw, error_text, line_of
from proxy.redact import Redactor, redactor_for, without_echoes
from proxy.request_view import RequestView, view_request, without_body
from proxy.shapes import CHAT, MARK_CHARS, answers_one_prompt, shape_of
from proxy.sse import DONE
from proxy.stream import StreamReader
from proxy.wire_json import is_json, parse_json

MAX_ID_CHARS = 512
PROCESS_ID = os.urandom(12).hex()
NUMBERS = itertools.count(1)
STREAM_RATIO = 1000
"""A stream is bounded by what the parser and the builder keep, not by its length; but what unpacks
to more than deflate can (1 to 1032) is a bomb."""
BATCH_BYTES = 16 * 1024
BATCH_PIECES = 32
"""What digest() lets wait: parsing many pieces at a time is faster, and the rest of a stream that
is parsed when its last piece is there must not hold that up (16 KiB take 30 us where all events
are alike, some 300 us where none are)."""
NOT_WHOLE = "the exchange ended before the request's body did"
UNKNOWN = 2**62
"""More bytes than any answer has."""
MAX_LENGTH_DIGITS = 18
N_TAIL = len(DONE) - 1


class Ending(StrEnum):
    """How the transfer of an answer stopped, whatever the answer says."""

    ENDED = "ended"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_CUT = "upstream_cut"
    CLIENT_CUT = "client_cut"


class Facts(NamedTuple):
    """What is counted over all exchanges."""

    model: str | None
    route: str | None
    outcome: str
    truncated: bool
    """Whether the answer hit its token limit."""
    has_reasoning: bool
    completion_tokens: int | None
    """As the server says; None where it does not."""
    n_chunks: int
    ttft_s: float | None
    duration_s: float
    malformed_events: int


def is_generation(head: RequestHead) -> bool:
    """Tell whether a request is logged: a POST to an endpoint that generates text."""
    return shape_of(head.method, head.target) is not None


class Recorder:
    """Collects one exchange. finish() may be called once; `open` tells whether it was."""

    def __init__(
        self, head: RequestHead, config: ProxyConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.head = head
        self.config = config
        self.clock = clock
        self.started = clock()
        self.started_at = utc_text(time.time())
        self.upstream = ""
        self.route: str | None = None
        self.open = True
        self.facts: Facts | None = None
        self.request_body = bytearray()
        self.n_request_bytes = 0
        self.request_is_whole = True
        self.shape = shape_of(head.method, head.target) or CHAT
        self.reader = self.shape.reader() if self.shape.reader else None
        self.status: int | None = None
        self.expected_bytes = UNKNOWN
        self.n_bytes = 0
        self.pending: list[tuple[float, bytes]] = []
        self.n_parsed = 0
        self.decoder: Decoder | None = None  # only for an answer that is packed
        self.problem: str | None = None
        self.stream: StreamReader | None = None
        self.builder = MessageBuilder(config.max_logged_bytes, self.shape.chat)
        self.plain_answer: Message | None = None
        self.body: list[bytes] = []
        self.body_left = config.max_logged_bytes
        self.tail = b""
        self.plain = False
        """Whether `[DONE]` is looked for in the bytes as they come."""
        self.near_end = False

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
        found = named(headers)
        length = found.get(b"content-length", b"").strip()
        if length.isdigit() and len(length) < MAX_LENGTH_DIGITS:
            self.expected_bytes = int(length)
        limit = self.config.max_logged_bytes
        streamed = found.get(b"content-type", b"").lower().lstrip().startswith(b"text/event-stream")
        if streamed:
            self.stream = StreamReader(self.builder, self.reader, limit)
        encoding = found.get(b"content-encoding", b"").decode("latin-1")
        if encoding:
            decoder = Decoder(encoding, limit, STREAM_RATIO if streamed else 0)
            if decoder.packed:
                self.decoder, self.problem = decoder, decoder.problem
        self.plain = streamed and self.decoder is None and self.shape.end_mark is None

    def receive(self, chunk: bytes) -> bool:
        """Take a piece of the answer; True when it is the last that the client waits for.

        That is the piece which fills the content-length, holds the end of `data: [DONE]`, or
        completes the last event of a stream that ends without it. An answer without any of these
        ends with its connection or its chunked framing, not with a piece.
        """
        self.pending.append((self.clock(), chunk))
        self.n_bytes += len(chunk)
        if self.n_bytes >= self.expected_bytes:
            return True
        if self.stream is None:
            return False
        if self.plain and DONE not in chunk and not self.tail and chunk.endswith(b"\n"):
            return False  # as most pieces: no end in it, and no part of one at its own end
        if self.decoder is None and not self.near_end and not self.may_end(chunk):
            return False
        self.parse_pending()
        return self.has_ended()

    def may_end(self, chunk: bytes) -> bool:
        """Tell whether the stream's end may be in this piece; looked for in its bytes."""
        if self.shape.end_mark is not None:
            seen = self.tail + chunk
            self.tail = seen[-MARK_CHARS:]
            self.near_end = self.shape.end_mark.search(seen) is not None
            return self.near_end
        seen = self.tail + chunk[: len(DONE)]
        self.tail = (self.tail + chunk[-N_TAIL:])[-N_TAIL:]
        return DONE in chunk or DONE in seen

    def has_ended(self) -> bool:
        """Tell whether the stream says that it is whole."""
        assert self.stream is not None
        if self.stream.done:
            return True
        if self.reader is None or not self.reader.ended:
            return False
        return not self.shape.one_prompt_only or answers_one_prompt(self.request_value())

    def digest(self) -> None:
        """Parse what has come since the last call, once it is worth it."""
        if len(self.pending) >= BATCH_PIECES or self.n_bytes - self.n_parsed >= BATCH_BYTES:
            self.parse_pending()

    def parse_pending(self) -> None:
        """Parse all that has come."""
        pending, self.pending = self.pending, []
        self.n_parsed = self.n_bytes
        pieces = pending if self.decoder is None else self.unpacked(self.decoder, pending)
        if self.stream is None:
            for _, data in pieces:
                self.keep_body(data)
        elif self.decoder is None:
            self.stream.feed(pending)
        else:
            for piece in pieces:
                self.stream.feed([piece])
        if self.decoder is not None:
            self.problem = self.decoder.problem or self.problem

    def unpacked(
        self, decoder: Decoder, pieces: Iterable[tuple[float, bytes]]
    ) -> Iterator[tuple[float, bytes]]:
        """Yield what the pieces of a packed answer unpack to."""
        for at, chunk in pieces:
            for data in decoder.feed(chunk):
                yield at, data

    def keep_body(self, data: bytes) -> None:
        """Keep a piece of an unstreamed answer, as far as the bound goes."""
        if len(data) > self.body_left:
            self.problem = "larger than the log keeps"
            data = data[: self.body_left]
        self.body_left -= len(data)
        self.body.append(data)

    def finish(self, ending: Ending, error: str | None = None) -> bytes:
        """Close the recorder and return the record's line."""
        self.open = False
        self.parse_pending()
        redactor = redactor_for(self.config.redacted)
        secrets = redactor.in_headers(self.head.headers)
        request = self.view_request(redactor, secrets)
        query = self.head.target.partition(b"?")[2].decode("latin-1")
        extra: dict[str, Any] = {}
        if query:
            extra["query"] = redactor.query(query, secrets)
        raw = Raw(redactor, secrets, self.config.max_raw_chars)
        cut = ending is not Ending.ENDED
        extra |= self.close_stream(cut, raw) if self.stream else self.close_body(cut, raw)
        message = self.plain_answer or self.builder.message()
        judged = (Outcome(ending.value), error) if cut else self.judge(secrets)
        row = self.row(request, message, judged, extra)
        for name in ("request_id", "model_requested", "model_served"):
            if isinstance(text := row[name], str) and any(secret in text for secret in secrets):
                row[name] = without_echoes(text, secrets)  # before it is cut, or counted by name
        row["request_id"] = row["request_id"][:MAX_ID_CHARS]
        self.facts = self.count(row, message.first.has_reasoning)
        return line_of(row, secrets, redactor)

    def row(
        self,
        request: RequestView,
        message: Message,
        judged: tuple[Outcome, str | None],
        extra: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the record: the fields of Exchange in their order."""
        first = message.first
        failure = {} if self.builder.error is None else {"error": self.builder.error}
        request_id = b"".join(self.head.values(b"x-request-id")[-1:]).decode("latin-1")
        duration_s = self.clock() - self.started
        stream = self.stream
        first_at = stream.first_at if stream else None
        return {
            "schema": SCHEMA_VERSION,
            "request_id": request_id or made_up_id(),
            "started_at": self.started_at,
            "endpoint": self.head.target.partition(b"?")[0].decode("latin-1"),
            "upstream": self.upstream,
            "route": self.route,
            "model_requested": request.model,
            "model_served": message.model_served,
            "messages": request.messages,
            "sampling": request.sampling,
            "messages_sha256": request.messages_sha256,
            "stream": request.stream,
            "status": self.status,
            "content": first.content,
            "reasoning": first.reasoning,
            "reasoning_source": first.reasoning_source,
            "reasoning_state": first.reasoning_state,
            "finish_reason": first.finish_reason,
            "usage": message.usage,
            "ttft_s": None if first_at is None else round(first_at - self.started, 6),
            "duration_s": round(duration_s, 6),
            "n_chunks": stream.n_chunks if stream else 0,
            "gaps_s": stream.gaps.summary() if stream else None,
            "request_bytes": self.n_request_bytes,
            "response_bytes": self.n_bytes,
            "outcome": judged[0].value,
            "error": judged[1],
            "extra": {**message.extra, **failure, **request.extra, **extra},
        }

    def close_stream(self, cut: bool, raw: Raw) -> dict[str, Any]:
        """End the stream; return what the record keeps beside the message."""
        stream, builder = self.stream, self.builder
        assert stream is not None
        extra: dict[str, Any] = {}
        cut = cut or not (stream.done or builder.finished)
        for event in stream.rest():
            if cut and not is_json(event):
                extra["partial"] = raw(event)  # cut inside an event: not the server's mistake
            else:
                stream.take_events([(self.clock(), [event])])
        if stream.n_oversized:
            extra["log_dropped_events"] = stream.n_oversized
        if builder.n_malformed:
            extra["n_malformed_events"] = builder.n_malformed
        if builder.bad:
            extra["raw"] = [raw(event) for event in builder.bad]
        return extra

    def close_body(self, cut: bool, raw: Raw) -> dict[str, Any]:
        """Read an unstreamed answer; return what the record keeps beside the message."""
        body = b"".join(self.body)
        self.body.clear()
        if not body and (cut or self.status is None):
            return {}
        value = None
        if self.problem is None:
            try:
                value = parse_json(body)
            except (ValueError, RecursionError) as error:
                if not cut:
                    self.builder.unreadable(body, error)
        if value is not None:
            self.merge_answer(value, len(body))
        an_answer = self.plain_answer is not None or bool(self.builder.choices)
        as_promised = an_answer or (isinstance(value, dict) and not self.succeeded)
        return {"raw": raw(body)} if body and not as_promised else {}

    def merge_answer(self, value: Any, size: int) -> None:
        """Read a whole answer."""
        if self.reader is not None:
            value = self.reader(value)
        elif self.shape.chat and self.succeeded:
            self.plain_answer = plain_message(value, size, self.config.max_logged_bytes)
        if self.plain_answer is None:
            self.builder.add(value, size)

    def judge(self, secrets: set[str]) -> tuple[Outcome, str | None]:
        """Return the outcome of an answer that came to its end, and the reason where it is bad."""
        if self.plain_answer is not None:
            return Outcome.COMPLETE, None
        builder = self.builder
        if builder.error is not None or not self.succeeded:
            words = builder.error or builder.extra.get("message") or builder.extra.get("detail")
            return Outcome.UPSTREAM_ERROR, error_text(words, self.status, secrets)
        if self.problem is not None:
            return Outcome.COMPLETE, f"not read for the log: {self.problem}"
        if builder.problems:
            return Outcome.MALFORMED, builder.problems[0]
        if self.stream is None:
            if builder.choices:
                return Outcome.COMPLETE, None
            return Outcome.MALFORMED, "the answer has no choices"
        if self.stream.done or builder.finished:
            return Outcome.COMPLETE, None
        return Outcome.UPSTREAM_CUT, "the stream ended without [DONE] and without a finish_reason"

    def count(self, row: dict[str, Any], has_reasoning: bool) -> Facts:
        """Return what is counted of a record."""
        return Facts(
            model=row["model_requested"] or row["model_served"],
            route=self.route,
            outcome=row["outcome"],
            truncated=row["finish_reason"] == "length",
            has_reasoning=has_reasoning,
            completion_tokens=completion_tokens(row),
            n_chunks=row["n_chunks"],
            ttft_s=row["ttft_s"],
            duration_s=row["duration_s"],
            malformed_events=self.builder.n_malformed,
        )

    def decoded_request(self) -> tuple[bytes, str | None]:
        """Return the request's body and what is wrong with it, if anything."""
        body = bytes(self.request_body)
        codings = b",".join(self.head.values(b"content-encoding"))
        if not codings:
            return body, None
        return decode(body, codings.decode("latin-1"), self.config.max_logged_bytes)

    def request_value(self) -> Any:
        """Return the request's JSON value, None where it has none."""
        body, problem = self.decoded_request()
        try:
            return None if problem else parse_json(body)
        except (ValueError, RecursionError):
            return None

    def view_request(self, redactor: Redactor, secrets: set[str]) -> RequestView:
        """Return what the record keeps of the request."""
        if self.n_request_bytes > len(self.request_body):
            return without_body({"log_dropped_request_bytes": self.n_request_bytes})
        body, problem = self.decoded_request()
        try:
            if problem:
                raise ValueError(problem)
            return view_request(body, redactor, secrets)
        except (ValueError, RecursionError) as error:
            raw = Raw(redactor, secrets, self.config.max_raw_chars)
            words = str(error)[:200] if self.request_is_whole else NOT_WHOLE
            return without_body({"request_error": words, "request_raw": raw(body)})


def made_up_id() -> str:
    """Return an id that no other request has, of this process or another."""
    return f"proxy-{PROCESS_ID}-{next(NUMBERS):x}"


def utc_text(seconds: float) -> str:
    """Return a time as ISO 8601 with microseconds and offset."""
    whole = int(seconds)
    return f"{utc_second(whole)}.{int((seconds - whole) * 1e6):06d}+00:00"


@lru_cache(maxsize=4)
def utc_second(whole: int) -> str:
    """Return the part of a time that all requests of a second have in common."""
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def named(headers: Headers) -> dict[bytes, bytes]:
    """Return headers by their names in lower case; the last of several with one name."""
    return {name.lower(): value for name, value in headers}


def completion_tokens(row: dict[str, Any]) -> int | None:
    """Return how many tokens the server says it generated (`tokens_predicted` is llama.cpp's)."""
    usage = row["usage"] or {}
    for value in (
        usage.get("completion_tokens"),
        usage.get("output_tokens"),
        row["extra"].get("tokens_predicted"),
    ):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
