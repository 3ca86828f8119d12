"""One client's connection: its requests are parsed, and handled one after the other.

Owns reading requests, pipelining, refusing what is no HTTP, and the limits on slow and idle
clients. Refuses to own the grammar (llhttp's, through httptools), the framing of answers (request),
accepting and stopping (server).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from proxy.http1 import MAX_HEAD_BYTES, Gate, Headers, RequestHead
from proxy.request import ClientGone, Request

if TYPE_CHECKING:
    from proxy.server import Server

LINGER_S = 2.0
MAX_WAITING = 16
"""Requests that a client may send ahead of its answers before it is read no further."""
METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) ")


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
