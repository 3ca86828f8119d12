"""Answers in several forms, each in pieces, so that a fault can be put between or inside them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.proxy.conftest import as_chunk, chunked_head, completion, delta, sse

N_WORDS = 6
FORMS = ("sized", "chunked", "sse", "sse_close")
"""JSON with its length, JSON in chunks, a stream in chunks, a stream that ends as it closes."""
FRAMED = FORMS[:3]


class Reply(NamedTuple):
    """A whole answer: its head, the pieces of its body, and what ends it on the wire."""

    head: bytes
    parts: tuple[bytes, ...]
    chunked: bool
    streamed: bool

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def end(self) -> bytes:
        return as_chunk(b"") if self.chunked else b""

    def wire(self, part: bytes) -> bytes:
        return as_chunk(part) if self.chunked else part

    def whole(self) -> bytes:
        return self.head + b"".join(map(self.wire, self.parts)) + self.end


def form_of(request_id: str) -> str:
    return request_id.partition("/")[0]


def words_of(request_id: str) -> list[str]:
    return [f"{request_id}:{number} é " for number in range(N_WORDS)]


def text_of(request_id: str) -> str:
    return "".join(words_of(request_id))


def messages_of(request_id: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"what is {request_id}?"}]


def question(request_id: str) -> bytes:
    stream = form_of(request_id).startswith("sse")
    value = {"model": "m", "messages": messages_of(request_id), "stream": stream}
    return json.dumps(value).encode()


def reply_to(request_id: str) -> Reply:
    """Return the answer in the form that the id begins with."""
    form = form_of(request_id)
    if form.startswith("sse"):
        events = [sse(delta(word), done=False) for word in words_of(request_id)]
        parts = (*events, sse(delta("", "stop"), done=False), sse())
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        chunked = form == "sse"
        return Reply(chunked_head() if chunked else head, parts, chunked, True)
    body = json.dumps(completion(text_of(request_id)), ensure_ascii=False).encode()
    parts = tuple(body[at : at + 40] for at in range(0, len(body), 40))
    if form == "chunked":
        return Reply(chunked_head("application/json"), parts, True, False)
    line = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Reply(line.encode(), parts, False, False)
