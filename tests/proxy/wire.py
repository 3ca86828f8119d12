"""Our two HTTP parsers without sockets, and what h11 reads from the same bytes.

read_answer("GET", [b"HTTP/1.1 204 No", b" Content\\r\\n\\r\\n"], eof=False)     # Answer(...)
h11_answer("GET", b"HTTP/1.1 204 No Content\\r\\n\\r\\n", eof=False)            # the same
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any, NamedTuple

import h11

from proxy.config import parse_upstream
from proxy.connection import ClientConnection
from proxy.http1 import ResponseHead
from proxy.request import ClientGone, Request
from proxy.server import Server
from proxy.upstream import UpstreamConnection, UpstreamPool

REFUSED = "refused"
WHOLE = "whole"
CUT = "cut"
LARGEST = 2**20


class Answer(NamedTuple):
    """An answer as a client sees it. What is undefined in a refused one is empty."""

    state: str
    status: int = 0
    reason: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    interims: tuple[int, ...] = ()
    keep: bool = False


class Asked(NamedTuple):
    """A request as a server sees it."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Served(NamedTuple):
    """What a connection of ours took, the status of its refusal, and what it sent."""

    requests: tuple[Asked, ...]
    refusal: int | None
    sent: bytes


class FakeTransport(asyncio.Transport):
    """Keeps what is written, and closes as sockets do: connection_lost comes later."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = b""
        self.closing = False
        self.paused = False
        self.loop = asyncio.get_running_loop()

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()


def stripped(headers: Any) -> tuple[tuple[bytes, bytes], ...]:
    """Return headers without space at the ends of values, which we pass on and h11 drops."""
    return tuple((bytes(name), bytes(value).strip(b" \t")) for name, value in headers)


async def answer_of(method: str, pieces: list[bytes], eof: bool) -> Answer:
    pool = UpstreamPool(parse_upstream("http://server:1"), 1)
    connection = UpstreamConnection(pool)
    transport = FakeTransport(connection)
    connection.connection_made(transport)
    interims: list[ResponseHead] = []
    connection.on_interim = interims.append
    connection.begin(method)
    for piece in pieces:
        if piece and not transport.closing:
            connection.data_received(piece)
    if eof and not transport.closing:
        connection.eof_received()
        transport.close()
    waiting = asyncio.ensure_future(connection.response(None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    numbers = tuple(head.status for head in interims)
    if not waiting.done() or waiting.exception() is not None:
        state = REFUSED if waiting.done() else CUT
        waiting.cancel()
        return Answer(state, interims=numbers)
    head, body = waiting.result().head, waiting.result().body
    data = b"".join(body.pieces)
    body.take()
    state = REFUSED if body.failure is not None else WHOLE if body.is_whole else CUT
    headers = stripped(head.headers)
    pool.release(connection)
    keep = connection in pool.idle
    return Answer(state, head.status, head.reason, headers, data, numbers, keep)


def read_answer(method: str, pieces: list[bytes], eof: bool) -> Answer:
    """Return the answer that our client reads; `eof` closes the connection behind the bytes."""
    return asyncio.run(answer_of(method, pieces, eof))


def h11_answer(method: str, data: bytes, eof: bool) -> Answer:
    """Return the answer that h11 reads."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    seen = Answer(CUT)
    body = b""
    interims: list[int] = []
    try:
        client.receive_data(data)
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA and eof:
                eof = False
                client.receive_data(b"")
            elif isinstance(event, h11.InformationalResponse):
                interims.append(event.status_code)
                if event.status_code == 101:
                    return Answer(REFUSED, interims=tuple(interims[:-1]))
            elif isinstance(event, h11.Response):
                headers = stripped(event.headers.raw_items())
                seen = Answer(CUT, event.status_code, bytes(event.reason), headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                keep = client.their_state is h11.DONE and not client.trailing_data[0]
                seen = seen._replace(state=WHOLE, keep=keep)
                break
            else:
                break
    except h11.RemoteProtocolError:
        if seen.status == 0:
            return Answer(REFUSED, interims=tuple(interims))
        seen = seen._replace(state=REFUSED)
    return seen._replace(body=body, interims=tuple(interims))


async def served_of(pieces: list[bytes], status: int) -> Served:
    taken: list[Asked] = []

    async def handle(request: Request) -> None:
        body = b""
        with contextlib.suppress(ClientGone):
            while piece := await request.read():
                body += piece
        if request.body.failure is not None:
            return
        headers = stripped(request.head.headers)
        taken.append(Asked(request.head.method, request.head.target, headers, body))
        request.answer(status, b"")

    problems: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.append(context))
    connection = ClientConnection(Server(handle))
    transport = FakeTransport(connection)
    connection.connection_made(transport)
    for piece in pieces:
        if piece and not (transport.closing or transport.paused):
            connection.data_received(piece)
            for _ in range(3):
                await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    refusal = connection.rejection
    transport.close()
    await asyncio.wait({connection.task}, timeout=10)
    assert connection.task.done(), "the connection's task hangs"
    assert not problems, problems
    return Served(tuple(taken), refusal[0] if refusal else None, transport.sent)


def read_requests(pieces: list[bytes], status: int = 200) -> Served:
    """Return what our server reads, each request answered with `status` and no body."""
    return asyncio.run(served_of(pieces, status))


def h11_requests(data: bytes) -> tuple[tuple[Asked, ...], bool]:
    """Return the whole requests that h11 reads, and whether it refused what follows them."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST)
    taken: list[Asked] = []
    head: h11.Request | None = None
    body = b""
    try:
        server.receive_data(data)
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                headers = stripped(head.headers.raw_items())
                taken.append(Asked(head.method.decode(), bytes(head.target), headers, body))
                server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
                    return tuple(taken), False
                server.start_next_cycle()
            else:
                return tuple(taken), False
    except h11.RemoteProtocolError:
        return tuple(taken), True


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the bytes cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]
