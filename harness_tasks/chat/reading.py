r"""One reply as it comes over the wire: status, headers and pieces become a `Reply`.

Owns what a reply's head says about its body, content codings, limits of size, and the times of its
first token and its end. Refuses to own sockets (`chat.wire`), the forms of a message (`chat.reply`)
and time limits (`chat.client`). No lm_eval.

Example, what the wire does with it:

    reader = ReplyReader(transport, loop.time)
    reader.begin(200, {"content-type": "text/event-stream"})
    reader.feed(b'data: {"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]}\\n\\n')
    reader.end()
    reader.reply().content  # "4"
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from harness_tasks.chat.endpoint import Head, Transport, refuse_html, status_error
from harness_tasks.chat.reply import (
    MAX_REPLY_BYTES,
    EventStream,
    Reply,
    ReplyBuilder,
    UpstreamError,
    parse_json,
    shown,
)

MAX_ERROR_BYTES = 64 * 1024
MOST_HELD_BYTES = 64 * 1024
A_CHUNK = "a chunk of the stream"
GZIP_OR_ZLIB = 47  # zlib's name for both


class ReplyReader:
    """Takes in one reply; `clock` tells the time as the event loop does."""

    def __init__(self, transport: Transport, clock: Callable[[], float]) -> None:
        self.transport = transport
        self.clock = clock
        self.started = self.last_token_at = clock()
        self.first_token_at: float | None = None
        self.ended_at: float | None = None
        self.head = Head(0, {})
        self.enough = False
        self.limit = MAX_REPLY_BYTES
        self.n_bytes = 0
        self.built = ReplyBuilder()
        self.events: EventStream | None = None
        self.pieces: list[bytes] = []
        self.held: list[bytes] = []  # events that wait, when each came, and how many bytes
        self.held_at: list[float] = []
        self.n_held_bytes = 0
        self.coding: Any = None

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head.

        Raises:
            UpstreamError: a coding that was not asked for and is not known.
        """
        self.head = Head(status, headers)
        if status != 200:
            self.limit = MAX_ERROR_BYTES
        elif "text/event-stream" in headers.get("content-type", "").lower():
            self.events = EventStream()
        coding = headers.get("content-encoding", "identity").lower()
        if coding in ("gzip", "x-gzip", "deflate"):
            self.coding = zlib.decompressobj(GZIP_OR_ZLIB)
        elif coding not in ("identity", ""):
            raise UpstreamError(
                f"{self.transport.endpoint.base} answers in the coding {shown(coding)!r}, which "
                "was not asked for; switch compression off there",
                kind="malformed",
            )

    def feed(self, data: bytes) -> None:
        """Take a piece of the body.

        Raises:
            UpstreamError: the reply is too large, or malformed, or reports an error.
        """
        if self.enough:
            return
        if self.coding is not None:
            data = self.decoded(data)
        self.n_bytes += len(data)
        if self.n_bytes > self.limit:
            if self.head.status_code != 200:
                self.enough = True
                return
            raise UpstreamError(f"the reply is larger than {self.limit} bytes", kind="too large")
        if self.events is None:
            self.pieces.append(data)
        elif self.first_token_at is not None and is_ordinary(data):
            self.held.append(data)
            self.held_at.append(self.clock())
            self.n_held_bytes += len(data)
            if self.n_held_bytes > MOST_HELD_BYTES:
                self.take_held()
        else:
            self.take_held()
            self.take_events(self.events.feed(data), self.clock())

    def decoded(self, data: bytes) -> bytes:
        """Return what compressed bytes hold, up to just above the limit.

        Raises:
            UpstreamError: they are broken.
        """
        try:
            plain: bytes = self.coding.decompress(data, self.limit - self.n_bytes + 1)
        except zlib.error as bad:
            raise UpstreamError(
                f"the reply's compression is broken: {shown(str(bad))}",
                kind="malformed",
                retry=True,
            ) from bad
        return plain

    def take_held(self) -> None:
        """Read the events that wait: many at once cost less than each as it comes.

        Raises:
            UpstreamError: as in `feed`.
        """
        if not self.held or self.events is None:
            return
        waited = list(zip(self.held, self.held_at, strict=True))
        self.held, self.held_at, self.n_held_bytes = [], [], 0
        if self.events.is_inside or any(b"\r" in data for data, _ in waited):
            for data, at in waited:
                self.take_events(self.events.feed(data), at)
            return
        for data, at in waited:
            if self.built.add(parse_json(data[6:-2], A_CHUNK)):
                self.last_token_at = at

    def take_events(self, events: list[bytes], at: float) -> None:
        """Add the events of a stream that came at one time, and note whether text was in them.

        Raises:
            UpstreamError: one is malformed, or reports an error.
        """
        brought, add = False, self.built.add
        for event in events:
            brought = add(parse_json(event, A_CHUNK)) or brought
        if brought:
            self.last_token_at = at
            if self.first_token_at is None:
                self.first_token_at = at
        if self.events is not None and self.events.done and not self.enough:
            self.enough = True
            self.ended_at = at

    @property
    def token_at(self) -> float:
        """When text last came, or the request was begun.

        Raises:
            UpstreamError: as in `feed`, for an event that waited.
        """
        self.take_held()
        return self.last_token_at

    def end(self) -> None:
        """Take note of the body's end.

        Raises:
            UpstreamError: as in `feed`.
        """
        now = self.clock()
        self.take_held()
        if self.events is not None and not self.events.done:
            self.take_events(self.events.close(), now)
        self.ended_at = self.ended_at or now

    def body(self) -> bytes:
        """Return a body that did not come as events."""
        return b"".join(self.pieces)

    def reply(self, server: str | None = None) -> Reply:
        """Return the reply; `server` is which of several replicas it came from.

        Raises:
            UpstreamError: an error status, a web page, no JSON, or a stream that broke off.
        """
        if self.head.status_code != 200:
            raise status_error(self.head, self.body(), self.transport)
        if self.events is None:
            refuse_html(self.head, self.transport)
            self.built.add(parse_json(self.body(), "the reply"))
        elif not self.events.done and self.built.finish_reason is None:
            raise UpstreamError(
                "the stream broke off before the completion was finished", kind="cut", retry=True
            )
        first = self.first_token_at
        return self.built.reply(
            server=server,
            latency_s=round((self.ended_at or self.clock()) - self.started, 6),
            ttft_s=None if first is None else round(first - self.started, 6),
        )


def is_ordinary(data: bytes) -> bool:
    """Tell whether a piece of a stream is one event that can wait: no end, no fault, no comment."""
    return (
        data.startswith(b"data: {")
        and data.endswith(b"}\n\n")
        and data.count(b"\n") == 2
        and b"rror" not in data
    )
