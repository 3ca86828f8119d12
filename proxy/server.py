r"""An HTTP/1.1 server that adds nothing of its own: what a handler writes is what a client gets.

Owns the clients' connections: reading requests, framing answers, keep-alive, the limits on slow
clients, and the drain at the end. Refuses to own what a request means (its handler's matter).

    async def handle(request: Request) -> None:
        request.answer(200, b"ok\n", [(b"Content-Type", b"text/plain")])

    server = Server(handle)
    await server.start(listener)
    await server.drain()

Requests of one connection are handled one after the other, in a task of the connection. When the
client goes away that task is cancelled, with `request.gone` set. A handler that returns before its
answer's end breaks the connection, so that no client takes the answer for whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import httptools

from proxy.http1 import (
    BODYLESS,
    LAST_CHUNK,
    MAX_HEAD_BYTES,
    REASONS,
    Body,
    Gate,
    Headers,
    RequestHead,
    ResponseHead,
    chunk_bytes,
    response_bytes,
)

IDLE_CONNECTION_S = 75.0
"""Longer than clients keep an idle connection (httpx: 5 s), so that they close first."""
HEAD_S = 60.0
"""For a client to send a whole head once it has begun."""
STALL_S = 300.0
LINGER_S = 2.0
BACKLOG = 2048
MAX_WAITING = 16
"""Requests that a client may send ahead of its answers before it is read no further."""
METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) ")


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
        """Send a whole answer."""
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


Handler = Callable[[Request], Awaitable[None]]


class ClientConnection(asyncio.Protocol):
    """One client's connection: parses its requests and runs the handler on each in turn."""

    transport: asyncio.Transport
    task: asyncio.Task[None]
    timer: asyncio.TimerHandle

    def __init__(self, server: Server) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.gate = Gate()
        self.parser = httptools.HttpRequestParser(self)
        self.lost = False
        self.requests: deque[Request] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.incoming: Request | None = None  # the request whose body is coming in
        self.handled: Request | None = None
        self.target = b""
        self.headers: Headers = []
        self.in_head = False
        self.head_bytes = 0
        self.n_begun = 0
        self.held_back = False  # not read, since enough requests wait
        self.body_of_upgrade = False
        self.other_method = ""
        self.rejection: tuple[int, str] | None = None  # status and reason
        self.since = self.loop.time()  # it is idle, or the head it sends began

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self.server.connections.add(self)
        self.timer = self.loop.call_later(self.server.head_s, self.look_at_clock)
        self.task = self.loop.create_task(self.serve())
        self.task.add_done_callback(self.server.report)

    def data_received(self, data: bytes) -> None:
        """Parse what came in."""
        if self.rejection is not None:
            return
        begins = not self.in_head and self.incoming is None
        n_before = self.n_begun
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self.skip_upgrade(data[stop.args[0] :])
        except httptools.HttpParserInvalidMethodError:
            alone = begins and self.n_begun == n_before + 1  # else its first byte is not known
            self.take_other_method(data if alone else b"")
            return
        except httptools.HttpParserError as error:
            self.reject(400, f"the request is not valid HTTP/1.1: {error}")
        if self.in_head:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD_BYTES:
                self.reject(431, f"the request's head is larger than {MAX_HEAD_BYTES} bytes")

    def eof_received(self) -> bool:
        """Close: a client that has closed its sending side counts as gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the handler."""
        self.lost = True
        self.timer.cancel()
        self.gate.open()
        self.server.connections.discard(self)
        if self.incoming is not None:
            self.incoming.body.fail(ClientGone("the client closed the connection"))
        self.task.cancel()
        if not self.server.connections:
            self.server.empty.set()

    def pause_writing(self) -> None:
        """Hold the handler back."""
        self.gate.shut()

    def resume_writing(self) -> None:
        """Let the handler go on."""
        self.gate.open()

    # what the parser calls

    def on_message_begin(self) -> None:
        """Begin a head."""
        self.n_begun += 1
        self.in_head = True
        self.target = b""
        self.headers = []
        self.head_bytes = 0
        self.since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those behind a chunked body are trailers, which are not passed on."""
        if self.in_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Hand the request to the handler, unless it only ends the replay of an upgrade."""
        self.in_head = False
        if self.body_of_upgrade or self.rejection is not None:
            return
        method = self.other_method or self.parser.get_method().decode("ascii")
        self.other_method = ""
        version = self.parser.get_http_version()
        head = RequestHead(method, self.target, self.headers)
        if version not in ("1.0", "1.1"):
            self.reject(505, f"HTTP/1.1 is spoken here, not HTTP/{version}")
            return
        if head.is_coded:
            self.reject(501, "a body's only transfer coding here is chunked")
            return
        if head.names.count(b"host") > 1:
            self.reject(400, "the request has more than one Host")
            return
        self.incoming = Request(self, head, version)
        self.requests.append(self.incoming)
        if len(self.requests) > MAX_WAITING:
            self.held_back = True
            self.transport.pause_reading()
        self.wake()

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self.incoming is not None:
            self.incoming.body.put(data)

    def on_message_complete(self) -> None:
        """End the body, unless llhttp stopped before it because of an Upgrade header."""
        request = self.incoming
        if request is None or (self.parser.should_upgrade() and request.has_body):
            return
        request.body.end()
        self.incoming = None
        self.body_of_upgrade = False

    def take_other_method(self, data: bytes) -> None:
        """Parse a request whose method llhttp does not know, as if it were a POST."""
        found = METHOD.match(data)
        if found is None or self.other_method:
            self.reject(501, "the request's method is not one that can be read")
            return
        self.other_method = found[1].decode("ascii")
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"POST" + data[found.end(1) :])

    def skip_upgrade(self, rest: bytes) -> None:
        """Go on with HTTP/1.1 where a client offered another protocol, which is no obligation.

        llhttp stops behind the head of such a request. A new parser is told the body's framing and
        goes on from there (Java's client offers h2c with every request).
        """
        request = self.incoming
        self.parser = httptools.HttpRequestParser(self)
        if request is not None:
            self.body_of_upgrade = True
            names = (b"content-length", b"transfer-encoding")
            framing = [pair for pair in request.head.headers if pair[0].lower() in names]
            lines = b"".join([b"%s: %s\r\n" % pair for pair in framing])
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")
        if rest:
            self.data_received(rest)

    # serving

    async def serve(self) -> None:
        """Handle requests until the connection ends."""
        try:
            while not self.lost:
                while not self.requests:
                    if self.rejection is not None or self.server.draining:
                        await self.say_rejection()
                        return
                    await self.wait()
                request = self.handled = self.requests.popleft()
                if self.held_back and not self.requests:
                    self.held_back = False
                    if not request.body.paused and self.rejection is None:
                        self.transport.resume_reading()
                await self.server.handler(request)
                if not (request.ended and request.keep_alive and request.body.is_whole):
                    await self.close(request)
                    return
                if request.body.paused and not self.held_back:
                    request.body.take()  # what nobody read would hold the next request back
                await request.drain()
                self.handled = None
                self.since = self.loop.time()
        except ClientGone:
            pass  # it does not read its answers
        except asyncio.CancelledError:
            if not self.lost:
                self.transport.abort()
        finally:
            self.handled = None
            if not self.transport.is_closing():
                self.transport.abort()  # the handler failed

    async def wait(self) -> None:
        """Return when another request has come."""
        self.waiter = self.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def wake(self) -> None:
        """Let the task look for requests."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def close(self, request: Request) -> None:
        """Close behind an answer; one without its end is broken so that it can be told."""
        if self.lost:
            return
        if self.rejection is not None and not request.started:
            await self.say_rejection()
        elif request.ended:
            await self.linger(request)
        elif request.until_close:
            # its end is the connection's end: only a reset says that something is missing
            reset = struct.pack("ii", 1, 0)
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            self.transport.abort()
        self.transport.close()

    async def linger(self, request: Request) -> None:
        """Read on for a moment: closing on unread data resets, and the client loses its answer."""
        if request.body.is_whole:
            return
        self.transport.write_eof()
        with contextlib.suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(LINGER_S):
                while await request.body.get():
                    pass

    def reject(self, status: int, message: str) -> None:
        """Read no more; say why behind the answers that are still to come, and close."""
        if self.rejection is not None:
            return
        self.rejection = (status, message)
        self.transport.pause_reading()
        if self.incoming is not None:
            self.incoming.body.fail(ClientGone(message))
        self.wake()

    async def say_rejection(self) -> None:
        """Answer what is no request, if there is such a thing, and close."""
        if self.rejection is not None:
            status, message = self.rejection
            request = Request(self, RequestHead("GET", b"", []), "1.1")
            request.keep_alive = False
            request.refuse(status, message, "invalid_request_error")
            self.transport.write_eof()
            self.transport.resume_reading()  # to drop what still comes, see linger()
            await asyncio.sleep(LINGER_S)
        self.transport.close()

    def look_at_clock(self) -> None:
        """Close a connection that is idle, or slow with its head, for too long."""
        busy = self.handled is not None or self.requests or (self.incoming and not self.in_head)
        limit_s = self.server.head_s if self.in_head else self.server.idle_s
        left_s = limit_s if busy else self.since + limit_s - self.loop.time()
        if self.transport.is_closing():  # and the client has yet to read the rest of an answer
            self.timer = self.loop.call_later(self.server.stall_s, self.transport.abort)
            return
        if left_s <= 0:
            left_s = self.server.head_s
            if self.in_head:
                self.reject(408, f"the request's head did not come within {left_s:g} s")
            else:
                self.transport.close()
        wait_s = min(left_s, self.server.head_s)
        self.timer = self.loop.call_later(wait_s, self.look_at_clock)


class Server:
    """Accepts clients on one socket."""

    def __init__(self, handler: Handler, stall_s: float = STALL_S) -> None:
        self.handler = handler
        self.stall_s = stall_s
        self.head_s = HEAD_S
        self.idle_s = IDLE_CONNECTION_S
        self.draining = False
        self.connections: set[ClientConnection] = set()
        self.empty = asyncio.Event()
        self.listening: asyncio.Server | None = None

    @property
    def n_busy(self) -> int:
        """How many connections have a request in work."""
        return sum(connection.handled is not None for connection in self.connections)

    async def start(self, listener: socket.socket) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self.listening = await loop.create_server(
            lambda: ClientConnection(self), sock=listener, backlog=BACKLOG
        )

    async def drain(self, grace_s: float | None = None) -> None:
        """Accept no more, let running answers end, break those that last longer than `grace_s`."""
        if self.listening is not None:
            self.listening.close()
        self.draining = True
        for connection in list(self.connections):
            if connection.handled is None and not connection.requests:
                connection.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.connections:
                    self.empty.clear()
                    await self.empty.wait()
        await self.cut()

    async def cut(self) -> None:
        """End every connection now; handlers are cancelled, and have their last word."""
        tasks = [connection.task for connection in self.connections]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for connection in list(self.connections):
            connection.transport.abort()  # what its client does not read

    def report(self, task: asyncio.Task[None]) -> None:
        """Show the traceback of a handler that failed: a fault of ours."""
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a request's handler failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
