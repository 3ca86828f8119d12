"""The HTTP server itself, with handlers of a line or two: limits, keep-alive, linger, drain."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from proxy.config import Address
from proxy.connection import MAX_WAITING, ClientConnection
from proxy.http1 import Body, ResponseHead
from proxy.request import Request
from proxy.serve import address_of, listen
from proxy.server import Handler, Server
from tests.proxy.conftest import DEADLINE_S, in_loop, wait_until
from tests.proxy.wire import h11_answer

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def serving(handler: Handler, **limits: float) -> Iterator[tuple[Server, int]]:
    """Run a server in a thread of its own, with `limits` of Server."""
    server = Server(handler)
    for name, limit in limits.items():
        setattr(server, name, limit)
    listener = listen(Address("127.0.0.1", 0))
    port = address_of(listener).port

    async def start() -> Callable[[], Awaitable[None]]:
        await server.start(listener)
        return stop

    async def stop() -> None:
        await server.drain(0)

    with in_loop(start):
        yield server, port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def read_answer(client: socket.socket, end: bytes = b"ok") -> bytes:
    data = b""
    while not data.endswith(end):
        piece = client.recv(65536)
        assert piece, f"the connection ended behind {data!r}"
        data += piece
    return data


async def say_ok(request: Request) -> None:
    request.answer(200, b"ok")


def test_idle_connection_is_closed_without_a_word() -> None:
    with serving(say_ok, idle_s=0.5, head_s=0.2) as (_, port), connect(port) as client:
        client.sendall(GET)
        assert read_answer(client).startswith(b"HTTP/1.1 200 OK\r\n")
        assert read_all(client) == b""


def test_connection_that_works_is_not_closed_as_idle() -> None:
    gate = threading.Event()

    async def wait(request: Request) -> None:
        await asyncio.to_thread(gate.wait, DEADLINE_S)
        request.answer(200, b"ok")

    with serving(wait, idle_s=0.3, head_s=0.3) as (_, port), connect(port) as client:
        client.sendall(GET)
        threading.Timer(0.9, gate.set).start()
        read_answer(client)


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nA"])
def test_head_that_does_not_come_to_its_end_is_a_408(begun: bytes) -> None:
    with serving(say_ok, head_s=0.2) as (_, port), connect(port) as client:
        client.sendall(begun)
        assert h11_answer("GET", read_all(client), eof=True).status == 408


@pytest.mark.parametrize("wish", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_client_keeps_its_connection_where_it_asks_to(wish: bytes) -> None:
    with serving(say_ok) as (_, port), connect(port) as client:
        for _ in range(2 if wish else 1):
            client.sendall(b"GET / HTTP/1.0\r\n" + wish + b"\r\n")
            head = read_answer(client)
            assert (b"Connection: keep-alive\r\n" in head) == bool(wish)
        if not wish:
            assert read_all(client) == b""


async def begin_and_break(request: Request) -> None:
    request.start(ResponseHead(200, b"OK", []))
    request.write(b"ok")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_answer_without_its_end_is_broken_so_that_the_client_can_tell(version: bytes) -> None:
    with serving(begin_and_break) as (_, port), connect(port) as client:
        client.sendall(b"GET / HTTP/%s\r\nHost: x\r\n\r\n" % version)
        if version == b"1.0":
            with pytest.raises(ConnectionResetError):
                read_all(client)
        else:
            assert not read_all(client).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_client_that_leaves_inside_its_answer_is_no_failure(
    version: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    async def go_on(request: Request) -> None:
        request.start(ResponseHead(200, b"OK", []))
        try:
            while True:
                request.write(b"x" * 65536)
                await request.drain()
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass  # as forwarding does, to write its record
        ended.set()

    with serving(go_on) as (server, port):
        with connect(port) as client:
            client.sendall(b"GET / HTTP/%s\r\nHost: x\r\n\r\n" % version)
            client.recv(10)
        assert ended.wait(DEADLINE_S)
        wait_until(lambda: not server.connections)
    assert caplog.records == []


def test_handler_that_fails_breaks_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: Request) -> None:
        if request.head.target == b"/bad":
            raise ValueError("a fault of ours")
        request.answer(200, b"ok")

    with serving(fail) as (_, port), connect(port) as client, connect(port) as other:
        client.sendall(GET.replace(b"/ ", b"/bad "))
        with contextlib.suppress(ConnectionResetError):
            assert read_all(client) == b""
        other.sendall(GET)
        read_answer(other)
    assert ["a request's handler failed" in record.getMessage() for record in caplog.records] == [
        True
    ]


async def refuse(request: Request) -> None:
    request.refuse(413, "too large", "invalid_request_error")


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nbad line\r\n", 400),
        (b"GET /", 431),
    ],
)
def test_client_that_still_sends_gets_the_answer_that_refuses_it(start: bytes, status: int) -> None:
    with serving(refuse) as (_, port), connect(port) as client:
        client.sendall(start + b"x" * 4_000_000)
        assert h11_answer("POST", read_all(client), eof=True).status == status


def test_client_that_sends_without_end_is_cut_off_soon() -> None:
    with serving(refuse) as (server, port), connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n")
        endless = map(client.sendall, itertools.repeat(b"x" * 65536))
        with pytest.raises(ConnectionError):
            deque(endless, maxlen=0)
        wait_until(lambda: not server.connections)


def test_requests_sent_ahead_are_answered_in_order_and_do_not_pile_up() -> None:
    gate = threading.Event()
    n_requests = 30_000

    async def wait(request: Request) -> None:
        if not gate.is_set():
            await asyncio.to_thread(gate.wait, DEADLINE_S)
        request.answer(200, request.head.target)

    with serving(wait) as (server, port), connect(port) as client:
        heads = [
            b"GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (n, b"x" * 400) for n in range(n_requests)
        ]
        sender = threading.Thread(target=client.sendall, args=(b"".join(heads),))
        sender.start()
        wait_until(lambda: any(connection.held_back for connection in server.connections))
        (connection,) = server.connections
        sender.join(0.3)
        assert sender.is_alive(), "all was read"
        assert MAX_WAITING < len(connection.requests) < 5000  # what one read brought
        gate.set()
        data = b""
        while data.count(b"HTTP/1.1 200") < n_requests or not data.endswith(b"/29999"):
            data += client.recv(2**20)
        sender.join(DEADLINE_S)
    found = re.findall(rb"\r\n\r\n/(\d+?)(?:HTTP/1\.1 200|\Z)", data)
    assert [int(number) for number in found] == list(range(n_requests))


def test_answers_that_the_client_does_not_read_hold_back_its_next_requests() -> None:
    handled: list[bytes] = []

    async def send_much(request: Request) -> None:
        handled.append(request.head.target)
        request.answer(200, b"x" * 1_000_000)

    with serving(send_much) as (_, port), connect(port) as client:
        client.sendall(GET * 64)
        wait_until(lambda: handled)
        threading.Event().wait(0.3)
        assert len(handled) < 32
        data = b""
        while len(data) < 64 * 1_000_000:
            data += client.recv(2**20)
    assert len(handled) == 64


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_client_that_does_not_read_the_end_of_its_answer_is_let_go(close: bytes) -> None:
    async def send_much(request: Request) -> None:
        request.answer(200, b"x" * 30_000_000)

    limits = {"head_s": 0.3, "idle_s": 0.3, "stall_s": 0.2}
    with serving(send_much, **limits) as (server, port), connect(port) as client:
        client.sendall(GET.replace(b"\r\n\r\n", b"\r\n" + close + b"\r\n"))
        client.recv(1)
        wait_until(lambda: not server.connections)


def test_drain_lets_answers_end_says_close_and_closes_idle_connections() -> None:
    gate, begun = threading.Event(), threading.Event()

    async def wait(request: Request) -> None:
        begun.set()
        await asyncio.to_thread(gate.wait, DEADLINE_S)
        request.answer(200, b"ok")

    with serving(wait) as (server, port), connect(port) as busy, connect(port) as idle:
        busy.sendall(GET)
        assert begun.wait(DEADLINE_S)
        wait_until(lambda: len(server.connections) == 2)
        (connection,) = [item for item in server.connections if item.handled is not None]
        draining = asyncio.run_coroutine_threadsafe(server.drain(), connection.loop)
        assert read_all(idle) == b""
        assert not draining.done()
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        gate.set()
        assert b"\r\nConnection: close\r\n" in read_answer(busy)
        assert read_all(busy) == b""
        draining.result(DEADLINE_S)


def test_connection_that_comes_while_the_last_one_goes_does_not_stop_the_loop() -> None:
    async def main() -> None:
        server = Server(say_ok)
        late = ClientConnection(server)
        late.requests.append(cast("Request", None))  # it has something to do
        server.connections.add(late)
        server.empty.set()  # by the connection before
        draining = asyncio.ensure_future(server.drain())
        await asyncio.sleep(0.01)
        server.connections.discard(late)
        server.empty.set()
        await draining

    worker = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    worker.start()
    worker.join(DEADLINE_S)
    assert not worker.is_alive()


def test_1xx_answers_go_to_clients_that_know_them_and_before_the_answer_only() -> None:
    async def inform(request: Request) -> None:
        request.interim(ResponseHead(103, b"Early Hints", [(b"Link", b"</a>"), (b"TE", b"x")]))
        request.answer(200, b"ok")
        request.interim(ResponseHead(103, b"Late", []))

    with serving(inform) as (_, port):
        for version, hints in (
            (b"1.1", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            (b"1.0", b""),
        ):
            with connect(port) as client:
                client.sendall(b"GET / HTTP/%s\r\nHost: x\r\nConnection: close\r\n\r\n" % version)
                data = read_all(client)
            assert data.startswith(hints + b"HTTP/1.1 200 OK\r\n")
            assert data.endswith(b"\r\n\r\nok")


def test_reader_that_follows_a_cancelled_one_is_woken() -> None:
    async def main() -> bytes:
        body = Body(cast("asyncio.Transport", None))
        first = asyncio.ensure_future(body.get())
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.ensure_future(body.get())
        await asyncio.sleep(0)
        await asyncio.wait({first})
        body.put(b"x")
        async with asyncio.timeout(1):
            return await second

    assert asyncio.run(main()) == b"x"
