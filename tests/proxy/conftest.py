"""A real proxy on a real socket, before an upstream that sends exactly the bytes a test says."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from proxy.app import create_handler
from proxy.config import Address, LogConfig, ProxyConfig, Route, parse_upstream
from proxy.exchange import Exchange, read_exchanges
from proxy.forward import Gateway as Shared
from proxy.log import ExchangeLog
from proxy.routes import RouteTable
from proxy.serve import address_of, listen
from proxy.server import Server
from proxy.stats import Ledger

DEADLINE_S = 20.0
CHAT = "/v1/chat/completions"
ABORT = "abort"
"""A step: reset the connection."""
CLOSE = "close"
"""A step: close the connection."""
HOLD = "hold"
"""A step: wait until the other side goes away."""
Step = bytes | str | threading.Event


@dataclass
class Received:
    """One request as it came in."""

    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:-2]
        return [
            (name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]


class FakeUpstream:
    """Answers each request with the steps that `answer` returns for it."""

    def __init__(self) -> None:
        self.listener = listen(Address("127.0.0.1", 0))
        self.listener.setblocking(True)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.answer: Callable[[Received], list[Step]] = lambda _: [json_answer({})]
        self.received: list[Received] = []
        self.cancelled = threading.Event()
        self.connections: list[socket.socket] = []
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(DEADLINE_S)
            self.connections.append(connection)
            thread = threading.Thread(target=self.serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while self.serve_one(connection):
                    pass
            except OSError:
                self.cancelled.set()

    def serve_one(self, connection: socket.socket) -> bool:
        request = read_request(connection)
        if request is None:
            return False
        self.received.append(request)
        for step in self.answer(request):
            if isinstance(step, threading.Event):
                step.wait(DEADLINE_S)
            elif isinstance(step, bytes):
                connection.sendall(step)
            elif step == HOLD:
                connection.recv(1)
                self.cancelled.set()
                return False
            else:
                if step == ABORT:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
        return True

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            if connection.fileno() >= 0:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        for thread in self.threads:
            thread.join(DEADLINE_S)


def read_request(connection: socket.socket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    request = Received(head + b"\r\n\r\n", b"")
    fields = {name.lower(): value for name, value in request.headers}
    body = bytearray(rest)
    if b"transfer-encoding" in fields:
        while not body.endswith(b"0\r\n\r\n"):
            body += receive(connection)
    else:
        while len(body) < int(fields.get(b"content-length", b"0")):
            body += receive(connection)
    request.body = bytes(body)
    return request


def receive(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    if not piece:
        raise ConnectionError("the request broke off")
    return piece


def json_answer(value: object, status: str = "200 OK") -> bytes:
    return whole_answer(json.dumps(value).encode(), "application/json", status)


def whole_answer(
    body: bytes, kind: str = "application/json", status: str = "200 OK", extra: str = ""
) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


def chunked_head(kind: str = "text/event-stream", extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n{extra}\r\n"
    ).encode()


def as_chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def sse(*chunks: dict[str, Any], done: bool = True) -> bytes:
    events = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks]
    return "".join(
        f"data: {event}\n\n" for event in [*events, *(["[DONE]"] if done else [])]
    ).encode()


def delta(text: str, finish_reason: str | None = None, name: str = "content") -> dict[str, Any]:
    choice = {"index": 0, "delta": {name: text}, "finish_reason": finish_reason}
    return {"model": "m", "choices": [choice]}


def completion(text: str, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **fields}
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def wait_until(condition: Callable[[], Any]) -> None:
    """Return when the condition holds; the deadline only ends a test that would hang."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Gateway:
    """The proxy under test, and a client for it."""

    port: int
    log_folder: Path
    ledger: Ledger
    opened: list[http.client.HTTPConnection] = field(default_factory=list)
    routes: RouteTable = field(init=False)
    log: ExchangeLog = field(init=False)
    server: Server = field(init=False)

    def records(self) -> list[Exchange]:
        return list(read_exchanges(self.log_folder))

    def last(self) -> Exchange:
        return self.records()[-1]

    def send(
        self,
        method: str = "POST",
        target: str = CHAT,
        body: bytes | dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> http.client.HTTPResponse:
        """Send exactly these headers, with Host and Content-Length where they are missing."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        self.opened.append(connection)
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if data is not None and not any(name.lower() == "transfer-encoding" for name, _ in headers):
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        return connection.getresponse()

    def ask(self, **request: Any) -> Answer:
        """Send a request and read its whole answer."""
        response = self.send(**request)
        answer = Answer(response.status, response.getheaders(), response.read())
        self.opened.pop().close()
        return answer

    def hang_up(self) -> None:
        """Close what send() left open."""
        while self.opened:
            self.opened.pop().close()


@contextmanager
def in_loop(start: Callable[[], Awaitable[Callable[[], Awaitable[None]]]]) -> Iterator[None]:
    """Run an event loop in a thread: `start` at first, and in the end what it returned."""
    ready, done = threading.Event(), []

    async def main() -> None:
        stop = await start()
        left = asyncio.Event()
        done.append(lambda: loop.call_soon_threadsafe(left.set))
        loop = asyncio.get_running_loop()
        ready.set()
        await left.wait()
        await stop()

    thread = threading.Thread(target=uvloop.run, args=(main(),))
    thread.start()
    assert ready.wait(DEADLINE_S)
    try:
        yield
    finally:
        done[0]()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def running_proxy(upstream_url: str, folder: Path, **settings: Any) -> Iterator[Gateway]:
    """Run the proxy in a thread of its own, with `settings` of ProxyConfig or LogConfig."""
    names = {item.name for item in dataclasses.fields(LogConfig)}
    of_log = {name: settings.pop(name) for name in list(settings) if name in names}
    routes = settings.pop("routes", (Route(None, (parse_upstream(upstream_url),)),))
    config = ProxyConfig(routes=routes, **settings)
    listener = listen(Address("127.0.0.1", 0))
    gateway = Gateway(address_of(listener).port, folder, Ledger())

    async def start() -> Callable[[], Awaitable[None]]:
        gateway.log = ExchangeLog.create(LogConfig(folder, **of_log))
        gateway.routes = RouteTable(config)
        gateway.ledger.replicas = gateway.routes.replicas
        policy = gateway.log.config.on_failure
        shared = Shared(config, gateway.routes, gateway.log, gateway.ledger, policy)
        gateway.server = Server(create_handler(shared), config.stall_timeout_s)
        await gateway.server.start(listener)
        return stop

    async def stop() -> None:
        await gateway.server.drain(1)
        gateway.routes.close()
        await gateway.log.aclose()

    with in_loop(start):
        try:
            yield gateway
        finally:
            gateway.hang_up()


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    fake = FakeUpstream()
    yield fake
    fake.stop()


@pytest.fixture
def gateway(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Gateway]:
    yield from running_proxy(upstream.url, tmp_path / "log")
