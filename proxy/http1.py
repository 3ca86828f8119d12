r"""HTTP/1.1 as both sides of the proxy use it: heads, a gateway's header rules, bodies in pieces.

Owns what a message's head says and how it is written, which headers go on, and `Body`, the pieces
between a socket and the coroutine that passes them on. Refuses to own sockets (server, upstream)
and the grammar: that is llhttp's, through httptools.

    >>> head = RequestHead("GET", b"/v1/models", [(b"Host", b"proxy"), (b"TE", b"trailers")])
    >>> request_bytes(head, b"/v1/models", b"server:8080")
    b'GET /v1/models HTTP/1.1\r\nHost: server:8080\r\n\r\n'
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

Headers = list[tuple[bytes, bytes]]

MAX_HEAD_BYTES = 256 * 1024
"""Of a request's or an answer's head; llhttp itself sets no bound."""
HIGH_WATER_BYTES = 256 * 1024
"""What may lie between the two sockets of an exchange before the faster side has to wait."""
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Source: RFC 9110 section 7.6.1, with the two proxy fields that RFC 2616 section 13.5.1 lists."""
FRAMING = frozenset({b"content-length", b"host"})
"""Never dropped because a Connection header lists them: that would change where a body ends."""
LAST_CHUNK = b"0\r\n\r\n"
BODYLESS = frozenset({204, 304})
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Head:
    """What requests and answers have in common: headers, names and values as on the wire."""

    __slots__ = ("headers", "is_chunked", "names")

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.names = [name.lower() for name, _ in headers]
        """The headers' names in lower case, in their order."""
        self.is_chunked = b"transfer-encoding" in self.names
        """Whether the body comes in chunks, so that a content-length beside it means nothing."""

    @property
    def is_coded(self) -> bool:
        """Whether the body is more than chunked: such a coding would be lost on the way."""
        codings = [value.lower() for value in self.values(b"transfer-encoding")]
        return self.is_chunked and codings != [b"chunked"]

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of a header without space around them; `name` in lower case."""
        if name not in self.names:
            return []
        pairs = zip(self.names, self.headers, strict=True)
        return [value.strip(b" \t") for lowered, (_, value) in pairs if lowered == name]

    def left_out(self) -> frozenset[bytes]:
        """Return the names of the headers that are not meant for the other end."""
        names = HOP_BY_HOP.intersection(self.names)
        if b"connection" in names:
            listed = b",".join(self.values(b"connection")).lower().split(b",")
            names |= {token.strip() for token in listed} - FRAMING
        return names | {b"content-length"} if self.is_chunked else names


class RequestHead(Head):
    """A request's first part; `target` is path and query as they stand on the wire."""

    __slots__ = ("method", "target")

    def __init__(self, method: str, target: bytes, headers: Headers) -> None:
        super().__init__(headers)
        self.method = method
        self.target = target


class ResponseHead(Head):
    """An answer's first part."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: bytes, headers: Headers) -> None:
        super().__init__(headers)
        self.status = status
        self.reason = reason


class Body:
    """A body's pieces on their way from a socket to one reader.

    The socket's protocol calls put(), end() and fail(); the reader awaits get(). What is not yet
    taken is bounded: above HIGH_WATER_BYTES the socket is not read.
    """

    __slots__ = ("ended", "failure", "paused", "pieces", "size", "transport", "waiter")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.pieces: list[bytes] = []
        self.size = 0
        self.paused = False
        self.ended = False
        self.failure: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing more will come from the socket."""
        return self.ended and self.failure is None

    def put(self, data: bytes) -> None:
        """Take a piece from the socket."""
        self.pieces.append(data)
        self.size += len(data)
        if self.size > HIGH_WATER_BYTES and not self.paused:
            self.paused = True
            self.transport.pause_reading()
        self.wake()

    def end(self) -> None:
        """Note that the body came to its end."""
        self.ended = True
        self.wake()

    def fail(self, failure: Exception) -> None:
        """Note that the body broke off; the reader gets what came before, then this."""
        if not self.ended:
            self.ended = True
            self.failure = failure
            self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def get(self, timeout_s: float | None = None) -> bytes:
        """Return everything that came since the last call, b"" once the body is at its end.

        Raises:
            TimeoutError: nothing came for `timeout_s`.
            Exception: what fail() was given.
        """
        if not self.pieces and not self.ended:
            await self.wait(timeout_s)
        if self.pieces:
            return self.take()
        if self.failure is not None:
            raise self.failure
        return b""

    def take(self) -> bytes:
        """Return the pieces that are here, joined, and let the socket be read again."""
        pieces = self.pieces
        self.pieces = []
        self.size = 0
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def wait(self, timeout_s: float | None) -> None:
        """Return when there is something to look at."""
        waiter = self.waiter = asyncio.get_running_loop().create_future()
        try:
            if timeout_s is None:
                await waiter
            else:
                async with asyncio.timeout(timeout_s):
                    await waiter
        finally:
            if self.waiter is waiter:  # a reader that is cancelled ends after the next one began
                self.waiter = None


class Gate:
    """Holds a writer back while its socket's buffer is full."""

    __slots__ = ("waiter",)

    def __init__(self) -> None:
        self.waiter: asyncio.Future[None] | None = None

    def shut(self) -> None:
        """Let writers wait."""
        if self.waiter is None:
            self.waiter = asyncio.get_running_loop().create_future()

    def open(self) -> None:
        """Let writers go on."""
        if self.waiter is not None:
            if not self.waiter.done():
                self.waiter.set_result(None)
            self.waiter = None

    async def passed(self, timeout_s: float) -> None:
        """Return once writing is allowed.

        Raises:
            TimeoutError: the other side took nothing for `timeout_s`.
        """
        if self.waiter is not None:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self.waiter)


def request_bytes(head: RequestHead, target: bytes, authority: bytes) -> bytes:
    """Return the head to send to a server: Host rewritten in place, the body's framing kept."""
    dropped = head.left_out()
    lines = [b"%s %s HTTP/1.1" % (head.method.encode(), target)]
    if b"host" not in head.names:
        lines.append(b"Host: " + authority)
    for lowered, (name, value) in zip(head.names, head.headers, strict=True):
        if lowered not in dropped:
            lines.append(b"%s: %s" % (name, authority if lowered == b"host" else value))
    if head.is_chunked:
        lines.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def response_bytes(head: ResponseHead, framing: bytes = b"") -> bytes:
    """Return the head to send to a client, with the lines that frame its body at the end."""
    headers = head.headers
    if dropped := head.left_out():
        headers = [pair for pair in headers if pair[0].lower() not in dropped]
    lines = b"".join([b"%s: %s\r\n" % pair for pair in headers])
    return b"HTTP/1.1 %d %s\r\n%s%s\r\n" % (head.status, head.reason, lines, framing)


def chunk_bytes(data: bytes) -> bytes:
    """Return a piece of a body as one chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)
