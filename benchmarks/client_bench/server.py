"""A chat server that takes the same time for every reply, in a process of its own.

Owns when each byte is written. Refuses to own what is measured (benchmarks/client.py). Prints its
port:

    python -m client_bench.server
    {"port": 41234}

The model's name says how a reply comes: `chunks-20-500` is one of 20 pieces, all within 500 ms of
the request's last byte; asked without streaming, the same text comes whole at that time. Every
reply begins with what was asked, so that a mix-up of two connections shows.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any, cast

import httptools
import orjson
import uvloop

NAME = re.compile(r"chunks-(\d+)-(\d+)")
PIECE = " and so it follows that x is 12;"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n\r\n"

NOT_LISTED = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


def text_of(asked: str, n_chunks: int) -> str:
    """Return the reply to a question."""
    return asked + PIECE * (n_chunks - 1)


@dataclass(frozen=True)
class Timed:
    """A reply: its pieces, and how long all of them take."""

    pieces: list[bytes]
    latency_s: float

    @classmethod
    def to(cls, body: dict[str, Any]) -> Timed:
        """Build the reply to a request."""
        found = NAME.fullmatch(body["model"])
        assert found, body["model"]
        n_chunks, latency_s = int(found[1]), int(found[2]) / 1000
        asked = body["messages"][-1]["content"]
        if not body.get("stream"):
            return cls([whole(body["model"], text_of(asked, n_chunks), n_chunks)], latency_s)
        texts = [asked, *[PIECE] * (n_chunks - 1)]
        events = [event(body["model"], text, i + 1 == n_chunks) for i, text in enumerate(texts)]
        events[0] = HEAD % (b"text/event-stream", b"transfer-encoding: chunked") + events[0]
        events[-1] += chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        return cls(events, latency_s)


def usage(n_chunks: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": n_chunks, "total_tokens": 9 + n_chunks}


def whole(model: str, text: str, n_chunks: int) -> bytes:
    """Return a reply in one piece."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = orjson.dumps({"model": model, "choices": [choice], "usage": usage(n_chunks)})
    return HEAD % (b"application/json", b"content-length: %d" % len(body)) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(model: str, text: str, is_last: bool) -> bytes:
    """Return one token's event as vLLM writes it."""
    delta = {"content": text, "reasoning_content": None}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    said: dict[str, Any] = {
        "id": "chatcmpl-0123456789abcdef0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1750000000,
        "model": model,
        "choices": [{**choice, "finish_reason": "stop" if is_last else None}],
    }
    return chunk(b"data: " + orjson.dumps(said) + b"\n\n")


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.reply = Timed([], 0.0)
        self.n_written = 0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop writing."""
        self.lost = True

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Collect the request."""
        self.body += data

    def on_message_complete(self) -> None:
        """Answer; a GET asks for models, which are not listed."""
        if not self.body:
            self.transport.write(NOT_LISTED)
            return
        self.reply, self.body, self.n_written = Timed.to(orjson.loads(self.body)), b"", 0
        self.tick(self.loop.time())

    def tick(self, begun: float) -> None:
        """Write the pieces that are due, and come again for the next."""
        pieces, latency_s = self.reply.pieces, self.reply.latency_s
        elapsed = self.loop.time() - begun
        n_due = min(int(elapsed / latency_s * len(pieces) + 1e-6), len(pieces))
        while self.n_written < n_due and not self.lost:
            self.transport.write(pieces[self.n_written])
            self.n_written += 1
        if self.n_written < len(pieces) and not self.lost:
            due = begun + (self.n_written + 1) * latency_s / len(pieces)
            self.loop.call_at(due, self.tick, begun)


async def serve() -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
