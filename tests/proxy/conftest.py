"""A real proxy on a real socket, before an upstream that sends exactly the bytes a test says."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.app import create_app
from proxy.config import Address, ProxyConfig, parse_upstream
from proxy.exchange import Exchange, read_exchanges
from proxy.forward import Ledger
from proxy.log import ExchangeLog
from proxy.serve import address_of, listen, make_server, quiet_server_log
from proxy.upstream import UpstreamClient

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
    log_path: Path
    ledger: Ledger
    opened: list[http.client.HTTPConnection] = field(default_factory=list)

    def records(self) -> list[Exchange]:
        return list(read_exchanges(self.log_path))

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


def running_proxy(upstream_url: str, folder: Path, **settings: Any) -> Iterator[Gateway]:
    config = ProxyConfig(upstream=parse_upstream(upstream_url), log_dir=folder, **settings)
    log = ExchangeLog.create(config.log_dir, config.durability)
    ledger = Ledger(log)
    listener = listen(Address("127.0.0.1", 0))
    port = address_of(listener).port
    server = make_server(create_app(config, UpstreamClient(config), ledger), grace_s=1)
    quiet_server_log()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    gateway = Gateway(port, log.path, ledger)
    try:
        yield gateway
    finally:
        gateway.hang_up()
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
        log.close()


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    fake = FakeUpstream()
    yield fake
    fake.stop()


@pytest.fixture
def gateway(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Gateway]:
    yield from running_proxy(upstream.url, tmp_path / "log")
