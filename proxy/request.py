"""One request of a client, and the way to answer it.

Owns the framing of answers (content-length, chunks, the connection's end), `Expect`, and the errors
that say that a client is gone. Refuses to own the connection (connection) and what is answered.

    request.start(ResponseHead(200, b"OK", [(b"Content-Type", b"text/plain")]))
    request.write(b"42", last=True)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from proxy.http1 import (
    BODYLESS,
    LAST_CHUNK,
    REASONS,
    Body,
    Headers,
    RequestHead,
    ResponseHead,
    chunk_bytes,
    response_bytes,
)

if TYPE_CHECKING:
    from proxy.connection import ClientConnection


class ClientGone(Exception):
    """The client closed its connection, or stopped sending, inside its request."""


class ClientStalled(ClientGone):
    """The client is still there, but has sent nothing of its request for too long."""


class Request:
    """One request and the way to answer it."""

    def __init__(self, connection: ClientConnection, head: RequestHead, version: str) -> None:
        self.connection = connection
        self.head = head
        self.is_http_1_0 = version == "1.0"
        self.body = Body(connection.transport)
        self.chunked = head.is_chunked
        # chunks from HTTP/1.0 are read, but where they end is not trusted (RFC 9112 section 6.1)
        faulty = self.is_http_1_0 and self.chunked
        self.keep_alive = connection.parser.should_keep_alive() and not faulty
        sized = b"content-length" in head.names and head.values(b"content-length") != [b"0"]
        self.has_body = self.chunked or sized
        self.awaits_continue = b"expect" in head.names and b"100-continue" in [
            value.lower() for value in head.values(b"expect")
        ]
        self.start_line = b""  # and headers, until they go out with the first piece of the body
        self.started = False
        self.ended = False
        self.answers_in_chunks = False
        self.until_close = False

    @property
    def gone(self) -> bool:
        """Whether the client has closed its connection."""
        return self.connection.lost

    async def read(self) -> bytes:
        """Return the next piece of the request's body, b"" at its end.

        Raises:
            ClientGone: it broke off, or nothing came for `stall_s`.
        """
        try:
            return await self.body.get(self.connection.server.stall_s)
        except TimeoutError as error:
            raise ClientStalled("the client stopped sending its request") from error

    def invite(self) -> None:
        """Ask for the body of a client that waits to be asked (`Expect: 100-continue`)."""
        if self.awaits_continue:
            self.interim(ResponseHead(100, b"Continue", []))

    def interim(self, head: ResponseHead) -> None:
        """Send a 1xx answer; HTTP/1.0 has none."""
        if head.status == 100:
            self.awaits_continue = False
        if not (self.is_http_1_0 or self.started or self.gone):
            self.connection.transport.write(response_bytes(head))

    def start(self, head: ResponseHead) -> None:
        """Begin an answer; hop-by-hop headers are left out, framing is the client's.

        Its head goes out with the first write(), or at once with flush(); until then another answer
        may be begun in its place.
        """
        bodyless = head.status in BODYLESS or self.head.method == "HEAD"
        sized = b"content-length" in head.names and not head.is_chunked
        self.answers_in_chunks = not (bodyless or sized or self.is_http_1_0)
        self.until_close = self.is_http_1_0 and not (bodyless or sized)
        if self.until_close or self.awaits_continue or self.connection.server.draining:
            self.keep_alive = False
        framing = b""
        if self.answers_in_chunks or (bodyless and head.is_chunked and not self.is_http_1_0):
            framing = b"Transfer-Encoding: chunked\r\n"
        if not self.keep_alive:
            framing += b"Connection: close\r\n"
        elif self.is_http_1_0:
            framing += b"Connection: keep-alive\r\n"
        self.start_line = response_bytes(head, framing)

    def write(self, data: bytes, last: bool = False) -> None:
        """Send a piece of the answer's body, with the head where that is still here.

        `last` says that nothing follows: the answer's end goes out in the same breath.
        """
        sent = self.start_line
        self.start_line = b""
        self.started = True
        if self.answers_in_chunks:
            if data:
                sent += chunk_bytes(data)
            if last and not self.ended:
                sent += LAST_CHUNK
        else:
            sent += data
        self.ended = self.ended or last
        if sent and not self.connection.lost:
            self.connection.transport.write(sent)

    def flush(self) -> None:
        """Send the head where it is still here: the body is not to be waited for."""
        self.write(b"")

    @property
    def is_ahead(self) -> bool:
        """Whether more was written than the client has taken, so that drain() would wait."""
        return self.connection.gate.waiter is not None

    async def drain(self) -> None:
        """Return once the client has taken enough to be sent more.

        Raises:
            ClientGone: it took nothing for `stall_s`.
        """
        try:
            await self.connection.gate.passed(self.connection.server.stall_s)
        except TimeoutError as error:
            self.connection.transport.abort()  # closing would wait for it to read on
            raise ClientGone("the client stopped reading its answer") from error

    def end(self) -> None:
        """Send the answer's end, if it has not gone out."""
        self.write(b"", last=True)

    def answer(self, status: int, data: bytes, headers: Headers | None = None) -> None:
        """Send a whole answer; one that does not wait for the request's end ends the connection."""
        self.keep_alive = self.keep_alive and self.body.is_whole
        sized = [*(headers or []), (b"Content-Length", b"%d" % len(data))]
        self.start(ResponseHead(status, REASONS.get(status, b""), sized))
        self.write(b"" if self.head.method == "HEAD" else data, last=True)

    def answer_json(self, status: int, value: object, headers: Headers | None = None) -> None:
        """Send a JSON value as the whole answer, on one line."""
        data = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        self.answer(status, data, [(b"Content-Type", b"application/json"), *(headers or [])])

    def refuse(self, status: int, message: str, kind: str, headers: Headers | None = None) -> None:
        """Send an error in the shape that OpenAI clients read."""
        error = {"message": message, "type": kind, "code": status}
        self.answer_json(status, {"error": error}, headers)
