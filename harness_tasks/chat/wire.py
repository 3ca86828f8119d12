r"""HTTP/1.1 to one server: a request out, its reply into a reader as it comes in.

Owns the sockets, their reuse, TLS and what breaks on them. Refuses to own what a reply means
(`chat.reading`), time limits and retries (`chat.client`), and the grammar: that is llhttp's,
through httptools. No lm_eval.

    wire = Wire(transport)
    await wire.send("POST", transport.endpoint.chat, content, request_id, reader)
    await wire.close()

Why not a library: with httpx2 a request took some seven times the CPU time, which 512 requests at
once, each of thousands of pieces, have not got; `benchmarks/client.py` has the figures. Where a
proxy of the environment leads to the server, httpx2 goes that way: `chat.proxied`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Mapping
from typing import Protocol, cast
from urllib.parse import quote, urlsplit

import httptools

from harness_tasks.chat.endpoint import CONNECT_TIMEOUT_S, Transport, broken, no_connection
from harness_tasks.chat.reply import UpstreamError, shown

MAX_HEAD_BYTES = 256 * 1024
KEPT_S = 30.0
"""How long an idle connection is kept. One that the server closes earlier is noticed, or its
request is sent again at once over another."""
END_OF_STREAM_S = 2.0
"""How long the end of a body may take whose content is whole, so that its connection is kept."""
SILENT_PEER_S = (30, 10, 3)
"""A machine that vanished is noticed after a minute: idle seconds, seconds between probes, their
number."""
OURS = ("host", "content-length", "transfer-encoding", "connection", "x-request-id")


class Reader(Protocol):
    """Takes a reply as it comes; an `UpstreamError` that it raises ends the exchange."""

    enough: bool  # nothing more is wanted

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers, names in lower case."""

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""

    def end(self) -> None:
        """Take note of the body's end."""


class Connection(asyncio.Protocol):
    """One connection, with at most one request on it at a time."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpResponseParser(self)
        # Some servers tell a length beside the chunks.
        self.parser.set_dangerous_leniencies(lenient_chunked_length=True)
        self.socket: asyncio.Transport | None = None
        self.lost = False
        self.used = False
        self.idle_since = 0.0
        self.reader: Reader | None = None
        self.finished: asyncio.Future[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the reply before."""
        self.began = False  # whether anything came
        self.handed = False  # whether the reader has the head
        self.status = 0
        self.headers: dict[str, str] = {}
        self.n_head_bytes = 0
        self.pieces: list[bytes] = []
        self.is_whole = False
        self.until_close = False
        self.keep_alive = False

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and let the system notice a machine that is gone."""
        self.socket = cast("asyncio.Transport", transport)  # uvloop's is none by class
        watch_peer(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Parse what came in, and hand it on."""
        if self.reader is None:
            self.abort()  # nothing was asked
            return
        self.began = True
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as odd:
            self.keep_alive = False
            if not self.is_whole:
                self.fail(self.wire.malformed(f"its answer is not valid HTTP ({shown(str(odd))})"))
                return
        if not self.status:
            self.n_head_bytes += len(data)
            if self.n_head_bytes > MAX_HEAD_BYTES:
                words = f"the head of its answer is larger than {MAX_HEAD_BYTES} bytes"
                self.fail(self.wire.malformed(words))
            return
        self.hand_on()

    def eof_received(self) -> bool:
        """Close; where the connection's end is the body's, that is its end."""
        if self.until_close:
            self.is_whole = True
            self.hand_on()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self.lost = True
        self.wire.forget(self)
        if self.finished is not None and not self.finished.done():
            where = "inside its answer" if self.status else "before its answer"
            cause = f" ({shown(str(error))})" if error else ""
            self.fail(broken(self.wire.base, f"it was closed {where}{cause}"))

    # what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are left out."""
        if not self.status:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """Take the status; a 1xx one is followed by another."""
        status = self.parser.get_status_code()
        if self.status:
            return
        if 100 <= status < 200:
            self.headers = {}
            return
        self.status = status
        coding = self.headers.get("transfer-encoding", "")
        framed = bool(coding) or "content-length" in self.headers or status in (204, 304)
        self.until_close = not framed
        self.keep_alive = framed and status < 500 and self.parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if not self.is_whole:
            self.pieces.append(data)

    def on_message_begin(self) -> None:
        """Note that an answer follows a whole one, which nobody asked for."""
        if self.is_whole:
            self.keep_alive = False

    def on_message_complete(self) -> None:
        """Take note of the end."""
        if self.status:
            self.is_whole = True

    # what the wire calls

    async def ask(self, request: bytes, reader: Reader) -> None:
        """Send a request, and return once the reader has its reply.

        Raises:
            UpstreamError: the connection broke, or the reader takes no more.
        """
        self.reset()
        self.reader = reader
        self.finished = self.loop.create_future()
        assert self.socket is not None, "a connection that was made"
        self.socket.write(request)
        try:
            await self.finished
        except BaseException:
            self.abort()
            raise
        finally:
            self.reader = self.finished = None
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

    def hand_on(self) -> None:
        """Give the reader what came."""
        reader, pieces = self.reader, self.pieces
        if reader is None or self.finished is None or self.finished.done():
            return
        try:
            if not self.handed:
                self.handed = True
                reader.begin(self.status, self.headers)
            if pieces:
                self.pieces = []
                reader.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if self.is_whole:
                reader.end()
        except UpstreamError as fault:
            self.fail(fault)
            return
        if self.is_whole:
            self.finish()
        elif reader.enough and self.timer is None:
            self.timer = self.loop.call_later(END_OF_STREAM_S, self.finish)

    def finish(self) -> None:
        """Let the waiting request go on; the connection is kept only after a whole reply."""
        if self.finished is not None and not self.finished.done():
            self.finished.set_result(None)

    def fail(self, fault: UpstreamError) -> None:
        """End the exchange with a fault, unless all that is wanted had come before it."""
        if self.reader is not None and self.reader.enough:
            self.finish()
        elif self.finished is not None and not self.finished.done():
            self.finished.set_exception(fault)
        self.abort()

    def abort(self) -> None:
        """Close at once: the server sees its client leave."""
        if not self.lost and self.socket is not None:
            self.socket.abort()

    @property
    def is_usable(self) -> bool:
        """Whether another request may go over it."""
        ended = self.is_whole and self.keep_alive and not self.pieces
        return ended and not self.lost and self.socket is not None and not self.socket.is_closing()


class Wire:
    """The connections to one server, the most recently used first."""

    def __init__(self, transport: Transport) -> None:
        self.base = transport.endpoint.base
        parts = urlsplit(self.base)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = tls_context() if parts.scheme == "https" else None
        self.head = fixed_head(parts.netloc, transport.request_headers())
        self.targets: dict[str, bytes] = {}
        self.idle: list[Connection] = []
        self.addresses: list[str] = []
        self.resolving = asyncio.Lock()

    def malformed(self, words: str) -> UpstreamError:
        """Return the fault of an answer that is none."""
        return UpstreamError(f"{self.base}: {words}", kind="malformed", retry=True)

    async def send(
        self, method: str, url: str, content: bytes, request_id: str, reader: Reader
    ) -> None:
        """Send a request and return once the reader has its reply.

        A kept connection may be closed by the server at the moment of the request. Where nothing of
        an answer came, the request goes at once over a new one.

        Raises:
            UpstreamError: no connection came about, or it broke.
        """
        target = self.targets.get(url) or self.targets.setdefault(url, target_of(url))
        request = b"%s %s HTTP/1.1\r\n%sX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            method.encode(), target, self.head, header_value(request_id), len(content),
            content,
        )  # fmt: skip
        connection = self.kept()
        if connection is not None:
            try:
                await connection.ask(request, reader)
            except UpstreamError:
                if connection.began:
                    raise
            else:
                self.keep(connection)
                return
        connection = await self.connect()
        await connection.ask(request, reader)
        self.keep(connection)

    def kept(self) -> Connection | None:
        """Return a connection that is idle, None where there is none."""
        now = asyncio.get_running_loop().time()
        while self.idle:
            connection = self.idle.pop()
            if connection.is_usable and now - connection.idle_since < KEPT_S:
                return connection
            connection.abort()
        return None

    def keep(self, connection: Connection) -> None:
        """Take a connection back after its exchange, or close it."""
        if not connection.is_usable:
            connection.abort()
            return
        connection.idle_since = connection.loop.time()
        self.idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        if connection in self.idle:
            self.idle.remove(connection)

    async def connect(self) -> Connection:
        """Open a connection, to the first of the server's addresses that takes one.

        Raises:
            UpstreamError: refused, unreachable, no such host, TLS refused, too slow.
        """
        why = "no such host"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                for address in await self.resolved():
                    try:
                        return await self.connect_to(address)
                    except OSError as refused:
                        why = reason_of(refused)
        except TimeoutError:
            why = f"no connection within {CONNECT_TIMEOUT_S:g} s"
        except (OSError, UnicodeError) as unknown:
            why = reason_of(unknown)
        self.addresses = []
        raise no_connection(self.base, why)

    async def resolved(self) -> list[str]:
        """Return the server's addresses, the one that last worked first."""
        async with self.resolving:
            if not self.addresses:
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                self.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            return list(self.addresses)

    async def connect_to(self, address: str) -> Connection:
        """Open a connection to one address; where there are others, in a share of the time.

        Raises:
            OSError, TimeoutError: it did not come about.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S / max(len(self.addresses), 1)):
            _, connection = await loop.create_connection(
                lambda: Connection(self),
                address,
                self.port,
                ssl=self.tls,
                server_hostname=self.host if self.tls else None,
            )
        if self.addresses and self.addresses[0] != address:
            self.addresses = [address, *(a for a in self.addresses if a != address)]
        return connection

    async def close(self) -> None:
        """Close the idle connections; those of requests under way close with them."""
        while self.idle:
            self.idle.pop().abort()


def reason_of(refused: Exception) -> str:
    """Say why no connection came about.

    Raises:
        UpstreamError: this process has no file descriptor left, which is not the server's fault.
    """
    if isinstance(refused, OSError) and refused.errno in (errno.EMFILE, errno.ENFILE):
        raise UpstreamError(
            f"too many open files for another connection ({shown(str(refused))}): lower "
            "num_concurrent, or raise the limit with `ulimit -n`",
            kind="descriptors",
            retry=True,
        )
    words = getattr(refused, "strerror", None) or str(refused) or "too slow"
    return shown(str(words))


def watch_peer(sock: socket.socket | None) -> None:
    """Let the system probe a silent peer, where it can."""
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    if sock is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in zip(names, SILENT_PEER_S, strict=True):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def tls_context() -> ssl.SSLContext:
    """Return the trust of httpx2: its own list of authorities, or what SSL_CERT_FILE names."""
    import httpx2

    context: ssl.SSLContext = httpx2.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def fixed_head(netloc: str, headers: Mapping[str, str]) -> bytes:
    """Return the lines that all requests to a server share; `Host` may be one of one's own."""
    host = next((v for k, v in headers.items() if k.lower() == "host"), None)
    lines = {
        "host": ("Host", host or netloc.encode("idna").decode("ascii")),
        "user-agent": ("User-Agent", "distill-eval"),
        "accept": ("Accept", "*/*"),
        "content-type": ("Content-Type", "application/json"),
    }
    lines |= {k.lower(): (k, v) for k, v in headers.items() if k.lower() not in OURS}
    return "".join(f"{name}: {value}\r\n" for name, value in lines.values()).encode("latin-1")


def target_of(url: str) -> bytes:
    """Return what a request's first line holds of an address."""
    return quote(urlsplit(url).path or "/", safe="/%:@!$&'()*+,;=~-._").encode("ascii")


def header_value(text: str) -> bytes:
    """Return a text as a header may hold it; what no header may hold is quoted."""
    if text.isascii() and text.isprintable() and " " not in text:
        return text.encode("ascii")
    return quote(text.encode(errors="replace"), safe="/:@,+=").encode("ascii")
