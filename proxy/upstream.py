"""The connections to one server behind the proxy: a request out, its answer back in pieces.

Owns the sockets, their reuse, and what can go wrong on them. Refuses to own header rules (http1),
the choice of a server (routes), the log and the client's side.

    pool = UpstreamPool(parse_upstream("http://127.0.0.1:8080"), connect_timeout_s=30)
    connection = await pool.acquire()
    connection.begin(head.method)
    connection.write(request_bytes(head, target, pool.authority))
    response = await connection.response()
    while piece := await response.body.get(): ...
    pool.release(connection)

Why not a library: an HTTP client such as httpx2 or aiohttp takes several times the CPU time that a
request costs in this whole proxy; `benchmarks/proxy.py` has the figures. Nothing is added,
followed, remembered or taken from the environment: no user-agent, no redirects, no cookies, no
proxies. A request is never sent twice but for one case, see `may_repeat`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

from proxy.config import Upstream
from proxy.http1 import BODYLESS, MAX_HEAD_BYTES, Body, Gate, Headers, ResponseHead

KEEP_ALIVE_S = 2.0
"""Below the 5 s after which the servers in use close an idle connection: a request on a connection
that is being closed at that moment is lost, and a generation must not be sent twice."""
FAILED = 500
MAX_INTERIMS = 100
"""They go on without regard to how fast the client reads."""
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class UpstreamError(Exception):
    """The server did not answer, or stopped before its answer's end."""


class ConnectError(UpstreamError):
    """No connection came about, so that nothing was sent: another replica may be asked."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"upstream {url}: cannot connect: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Response:
    """An answer's head, and its body, of which more may still come."""

    head: ResponseHead
    body: Body


class UpstreamConnection(asyncio.Protocol):
    """One connection to a server, with at most one request on it at a time."""

    transport: asyncio.Transport

    def __init__(self, pool: UpstreamPool) -> None:
        self.pool = pool
        self.gate = Gate()
        self.parser = httptools.HttpResponseParser(self)
        self.parser.set_dangerous_leniencies(lenient_chunked_length=True)
        self.lost = False
        self.reused = False
        self.idle_since = 0.0
        self.method = ""
        self.on_interim: Callable[[ResponseHead], None] | None = None
        self.reset_message()
        self.waiting: asyncio.Future[Response] | None = None
        self.arrived: Response | None = None

    def reset_message(self) -> None:
        """Forget the message before."""
        self.in_head = False
        self.head_bytes = 0
        self.n_interims = 0
        self.reason = b""
        self.headers: Headers = []
        self.body: Body | None = None
        self.until_close = False
        self.keep_alive = False
        self.failure: UpstreamError | None = None

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.pool.n_open += 1
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        """Parse what came in."""
        if not self.method:
            self.abort()  # nothing was asked
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail("it changed to another protocol, which was not asked for")
        except httptools.HttpParserError as error:
            self.keep_alive = False
            if self.body is None or not self.body.ended:
                self.fail(f"its answer is not valid HTTP: {error}")
        if self.in_head:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD_BYTES:
                self.fail(f"the answer's head is larger than {MAX_HEAD_BYTES} bytes")

    def eof_received(self) -> bool:
        """Close; where the connection's end is the body's, that is its end."""
        if self.until_close and self.body is not None:
            self.body.end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.lost = True
        self.gate.open()
        self.pool.forget(self)
        if exc is None and self.until_close and self.body is not None:
            self.body.end()
        began = self.body is not None or self.in_head
        words = "the connection broke inside the answer" if began else "the connection was closed"
        self.fail(f"{words}{'' if exc is None else f' ({exc})'}")

    def pause_writing(self) -> None:
        """Hold the request's sender back."""
        self.gate.shut()

    def resume_writing(self) -> None:
        """Let the request's sender go on."""
        self.gate.open()

    # what the parser calls

    def on_message_begin(self) -> None:
        """Begin a head; behind a whole answer, note that the connection is out of step."""
        if self.body is not None or self.failure is not None:
            self.keep_alive = False
            return
        self.in_head = True
        self.headers = []
        self.reason = b""

    def on_status(self, reason: bytes) -> None:
        """Take a piece of the reason phrase."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are not passed on."""
        if self.in_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Hand the head over; a 1xx one is only passed on, and another follows it."""
        if not self.in_head:
            return
        self.in_head = False
        status = self.parser.get_status_code()
        head = ResponseHead(status, self.reason, self.headers)
        if 100 <= status < 200:
            self.n_interims += 1
            if self.n_interims > MAX_INTERIMS:
                self.fail(f"it sent more than {MAX_INTERIMS} answers with status 1xx")
            elif status != 101 and self.on_interim is not None:
                self.on_interim(head)
            return
        if status < 100 or head.is_coded:
            odd = f"status {status}" if status < 100 else "a transfer coding besides chunked"
            self.fail(f"its answer has {odd}")
            return
        self.body = Body(self.transport)
        framed = head.is_chunked or b"content-length" in head.names
        self.until_close = not (framed or self.method == "HEAD" or status in BODYLESS)
        self.keep_alive = (
            self.parser.should_keep_alive() and not self.until_close and status < FAILED
        )
        if self.method == "HEAD":
            # llhttp cannot be told that no body follows, so its state is of no use any more
            self.keep_alive = False
            self.body.end()
        self.arrive(Response(head, self.body))

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self.body is not None and not self.body.ended:
            self.body.put(data)

    def on_message_complete(self) -> None:
        """End the body."""
        if self.body is not None:
            self.body.end()

    # what the proxy calls

    def begin(self, method: str) -> None:
        """Begin an exchange: what comes from now on is the answer to it."""
        self.reset_message()
        self.method = method
        self.arrived = None

    def write(self, data: bytes) -> None:
        """Send a piece of the request; a connection that is gone takes it and does nothing."""
        if not self.lost:
            self.transport.write(data)

    @property
    def is_ahead(self) -> bool:
        """Whether more was written than the server has taken, so that drain() would wait."""
        return self.gate.waiter is not None

    async def drain(self, timeout_s: float) -> None:
        """Return once the server has taken enough to be sent more.

        Raises:
            UpstreamError: it took nothing for `timeout_s`.
        """
        try:
            await self.gate.passed(timeout_s)
        except TimeoutError as error:
            raise self.pool.error("it stopped reading the request") from error

    async def response(self, timeout_s: float | None) -> Response:
        """Return the answer once its head has come.

        Raises:
            UpstreamError: the connection broke before, or the answer is no HTTP.
            TimeoutError: nothing came for `timeout_s`.
        """
        if self.arrived is None:
            if self.failure is not None:
                raise self.failure
            self.waiting = asyncio.get_running_loop().create_future()
            try:
                if timeout_s is None:
                    return await self.waiting
                async with asyncio.timeout(timeout_s):
                    return await self.waiting
            finally:
                self.waiting = None
        return self.arrived

    def arrive(self, response: Response) -> None:
        """Let the answer be seen."""
        self.arrived = response
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(response)

    def fail(self, words: str) -> None:
        """Break off: tell whoever waits for the head or the body, and close."""
        self.keep_alive = False
        if self.failure is None:
            self.failure = self.pool.error(words)
        if self.body is not None:
            self.body.fail(self.failure)
        elif self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(self.failure)
        self.abort()

    def abort(self) -> None:
        """Close at once, whatever is under way: the server sees its client leave."""
        if not self.lost:
            self.transport.abort()


class UpstreamPool:
    """Kept-alive connections to one server, the most recently used first."""

    def __init__(self, upstream: Upstream, connect_timeout_s: float) -> None:
        self.upstream = upstream
        self.connect_timeout_s = connect_timeout_s
        self.authority = upstream.authority.encode()
        self.prefix = upstream.prefix.encode()
        self.tls = ssl.create_default_context() if upstream.scheme == "https" else None
        self.idle: list[UpstreamConnection] = []
        self.n_open = 0

    def error(self, words: str) -> UpstreamError:
        """Return what went wrong, with the server's address."""
        return UpstreamError(f"upstream {self.upstream.url}: {words}")

    async def acquire(self, fresh: bool = False) -> UpstreamConnection:
        """Return a connection for one exchange, a kept one where there is one and not `fresh`.

        Raises:
            ConnectError: none came about.
        """
        now = time.monotonic()
        while self.idle:
            connection = self.idle.pop()
            usable = not connection.lost and not connection.transport.is_closing()
            if usable and not fresh and now - connection.idle_since < KEEP_ALIVE_S:
                connection.reused = True
                return connection
            connection.abort()
        return await self.connect()

    async def connect(self) -> UpstreamConnection:
        """Open a connection.

        Raises:
            ConnectError: refused, unreachable, no such host, TLS refused, too slow.
        """
        loop = asyncio.get_running_loop()
        upstream = self.upstream
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self), upstream.host, upstream.port, ssl=self.tls
                )
        except TimeoutError as error:
            reason = f"no connection within {self.connect_timeout_s:g} s"
            raise ConnectError(upstream.url, reason) from error
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ConnectError(upstream.url, " ".join(words.split())) from error
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back: kept where its exchange came to a clean end, else closed."""
        body = connection.body
        clean = connection.keep_alive and body is not None and body.is_whole and not body.pieces
        connection.method = ""
        connection.on_interim = None
        if clean and not connection.lost:
            now = connection.idle_since = time.monotonic()
            if self.idle and now - self.idle[0].idle_since > KEEP_ALIVE_S:
                self.idle.pop(0).abort()  # of a busier time
            self.idle.append(connection)
        else:
            connection.abort()

    def forget(self, connection: UpstreamConnection) -> None:
        """Count a connection that is gone."""
        self.n_open -= 1
        if connection in self.idle:
            self.idle.remove(connection)

    def close(self) -> None:
        """Close the kept connections."""
        for connection in list(self.idle):
            connection.abort()


def may_repeat(method: str, has_body: bool, connection: UpstreamConnection) -> bool:
    """Tell whether a request that broke before its answer may be sent once more.

    Only where the server closed a kept connection at the moment of the request, and the request
    changes nothing there. Source: RFC 9110 section 9.2.2.
    """
    began = connection.in_head or connection.body is not None
    return connection.reused and not began and method in REPEATABLE and not has_body
