"""The connections to a server: which are kept, which are not, and what is sent a second time."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
from pathlib import Path

import pytest
import uvloop

from proxy import upstream as upstream_module
from proxy.config import parse_upstream
from proxy.http1 import MAX_HEAD_BYTES
from proxy.upstream import MAX_INTERIMS, UpstreamError, UpstreamPool
from tests.proxy.conftest import (
    CHAT,
    CLOSE,
    DEADLINE_S,
    HOLD,
    FakeUpstream,
    Gateway,
    Received,
    Step,
    as_chunk,
    chunked_head,
    completion,
    json_answer,
    running_proxy,
    wait_until,
    whole_answer,
)
from tests.proxy.wire import REFUSED, WHOLE, h11_answer
from tests.proxy.wire import read_answer as read_alone

ASK = {"model": "m", "messages": []}


def get(gateway: Gateway) -> int:
    return gateway.ask(method="GET", target="/x").status


@pytest.fixture
def kept_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "KEEP_ALIVE_S", DEADLINE_S)


@pytest.mark.usefixtures("kept_long")
def test_requests_in_a_row_share_one_connection(upstream: FakeUpstream, gateway: Gateway) -> None:
    chunked = [chunked_head("application/json"), as_chunk(b"{}"), b"0\r\nX-Sum: 1\r\n\r\n"]
    answers: list[list[Step]] = [
        [json_answer({})], list(chunked), [b"HTTP/1.1 204 No\r\n\r\n"], [json_answer({}, "404 X")],
        [b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n"], [json_answer(completion("4"))],
    ]  # fmt: skip
    for answer in answers:
        upstream.answer = lambda _, steps=answer: steps  # type: ignore[misc]
        gateway.ask(body=ASK)
    assert (len(upstream.connections), len(upstream.received)) == (1, len(answers))


@pytest.mark.usefixtures("kept_long")
def test_trailers_do_not_turn_up_in_the_next_answer(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [chunked_head(), b"0\r\nSet-Cookie: a=1\r\n\r\n"]
    get(gateway)
    upstream.answer = lambda _: [whole_answer(b"")]
    names = [name for name, _ in gateway.ask(method="GET", target="/x").headers]
    assert (names, len(upstream.connections)) == (["Content-Type", "Content-Length"], 1)


@pytest.mark.usefixtures("kept_long")
@pytest.mark.parametrize(
    "answer",
    [
        whole_answer(b"{}", status="500 X"),
        whole_answer(b"{}", extra="Connection: close\r\n"),
        whole_answer(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
        whole_answer(b"{}") + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        whole_answer(b"{}") + b"garbage",
    ],
)
def test_connection_is_not_kept_behind_an_answer_that_raises_doubts(
    upstream: FakeUpstream, gateway: Gateway, answer: bytes
) -> None:
    upstream.answer = lambda _: [answer]
    for _ in range(3):
        assert gateway.ask(method="GET", target="/x").body == b"{}"
    assert len(upstream.connections) == 3


@pytest.mark.usefixtures("kept_long")
def test_head_request_is_answered_and_its_connection_closed(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    answer = gateway.ask(method="HEAD", target="/x")
    assert (answer.status, answer.body) == (200, b"")
    upstream.answer = lambda _: [json_answer({})]
    assert get(gateway) == 200
    assert len(upstream.connections) == 2


def test_bytes_that_nobody_asked_for_close_a_kept_connection(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    late = threading.Event()
    upstream.answer = lambda _: [json_answer({}), late, b"HTTP/1.1 408 Timeout\r\n\r\n", HOLD]
    get(gateway)
    late.set()
    assert upstream.cancelled.wait(DEADLINE_S)
    upstream.answer = lambda _: [json_answer({})]
    assert get(gateway) == 200


def closing_at_the_next_request(upstream: FakeUpstream) -> None:
    """Answer the first request of a connection, and close at its second, as at a timeout."""
    seen: dict[int, int] = {}

    def answer(_: Received) -> list[Step]:
        connection = threading.get_ident()
        seen[connection] = seen.get(connection, 0) + 1
        return [CLOSE] if seen[connection] == 2 else [json_answer({})]

    upstream.answer = answer


@pytest.mark.usefixtures("kept_long")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_request_that_changes_nothing_is_repeated_where_a_kept_connection_was_gone(
    upstream: FakeUpstream, gateway: Gateway, method: str
) -> None:
    closing_at_the_next_request(upstream)
    assert get(gateway) == 200
    assert gateway.ask(method=method, target="/x").status == 200
    assert len(upstream.received) == 3


@pytest.mark.usefixtures("kept_long")
@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"{}"), ("POST", None), ("DELETE", None), ("GET", b"{}")]
)
def test_other_requests_are_not_repeated(
    upstream: FakeUpstream, gateway: Gateway, method: str, body: bytes | None
) -> None:
    closing_at_the_next_request(upstream)
    assert get(gateway) == 200
    answer = gateway.ask(method=method, target=CHAT, body=body)
    assert (answer.status, len(upstream.received)) == (502, 2)
    assert b'"upstream_error"' in answer.body
    assert [record.outcome for record in gateway.records()] == ["upstream_error"] * (
        method == "POST"
    )


@pytest.mark.usefixtures("kept_long")
def test_request_is_repeated_once_at_most(upstream: FakeUpstream, gateway: Gateway) -> None:
    assert get(gateway) == 200
    upstream.answer = lambda _: [CLOSE]
    assert get(gateway) == 502
    assert len(upstream.received) == 3


def test_request_on_a_new_connection_is_not_repeated(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [CLOSE]
    assert get(gateway) == 502
    assert len(upstream.received) == 1


@pytest.mark.usefixtures("kept_long")
def test_answer_that_has_begun_is_not_asked_for_again(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    assert get(gateway) == 200
    upstream.answer = lambda _: [b"HTTP/1.1 200 OK\r\nContent-", CLOSE]
    assert get(gateway) == 502
    assert len(upstream.received) == 2


def test_kept_connection_is_used_for_a_short_while_only(
    upstream: FakeUpstream, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "KEEP_ALIVE_S", 0.0)
    assert [get(gateway) for _ in range(3)] == [200] * 3
    assert len(upstream.connections) == 3


def test_connections_of_a_busier_time_are_closed(
    upstream: FakeUpstream, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    upstream.answer = lambda _: [gate, json_answer({})]
    threads = [threading.Thread(target=get, args=(gateway,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(upstream.received) == 4)
    gate.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    pool = gateway.routes.replicas[0].pool
    wait_until(lambda: (pool.n_open, len(pool.idle)) == (4, 4))
    monkeypatch.setattr(upstream_module, "KEEP_ALIVE_S", 0.0)
    for connection in pool.idle[1:]:
        connection.idle_since += DEADLINE_S  # used a moment ago, unlike the first
    get(gateway)
    wait_until(lambda: (pool.n_open, len(pool.idle)) == (3, 3))


def test_connections_that_are_gone_are_forgotten(upstream: FakeUpstream, gateway: Gateway) -> None:
    pool = gateway.routes.replicas[0].pool
    upstream.answer = lambda _: [json_answer({}), CLOSE]
    for _ in range(4):
        get(gateway)
    wait_until(lambda: (pool.n_open, pool.idle) == (0, []))


def raw(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S)


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_interim_answers_pass_before_the_answer(upstream: FakeUpstream, gateway: Gateway) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    upstream.answer = lambda _: [hints + hints + json_answer({})]
    with raw(gateway) as client:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = read_all(client)
    assert data.startswith(hints + hints + b"HTTP/1.1 200 OK\r\n")
    assert h11_answer("GET", data, eof=True).state == WHOLE


class Expecting:
    """A server of one connection that reads a body only after it has asked for it, or never."""

    def __init__(self, first: bytes, rest: bytes) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.first, self.rest = first, rest
        self.before = b""
        self.body = b""
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(DEADLINE_S)
            while b"\r\n\r\n" not in self.before:
                self.before += connection.recv(65536)
            connection.sendall(self.first)
            while self.rest and len(self.body) < 5:
                self.body += connection.recv(65536)
            connection.sendall(self.rest)
            with contextlib.suppress(ConnectionError):
                connection.recv(1)

    def stop(self) -> None:
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        self.listener.close()


EXPECTING = (
    f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n"
    "Expect: 100-continue\r\n\r\n"
).encode()


def test_client_that_waits_to_be_asked_for_its_body_is_asked_by_the_server(tmp_path: Path) -> None:
    server = Expecting(b"HTTP/1.1 100 Continue\r\n\r\n", json_answer(completion("4")))
    for gateway in running_proxy(server.url, tmp_path):
        with raw(gateway) as client:
            client.sendall(EXPECTING)
            assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert b"\r\nExpect: 100-continue\r\n" in server.before
            assert server.before.endswith(b"\r\n\r\n")
            client.sendall(b"hello")
            assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.body == b"hello"
    server.stop()


def test_client_that_waits_to_be_asked_may_be_refused_instead(tmp_path: Path) -> None:
    server = Expecting(json_answer({"error": "too long"}, "413 Too Large"), b"")
    for gateway in running_proxy(server.url, tmp_path):
        with raw(gateway) as client:
            client.sendall(EXPECTING.replace(b"Connection: close\r\n", b""))
            data = read_all(client)  # to the end: whether the body still comes is not known
        assert data.startswith(b"HTTP/1.1 413 Too Large\r\n")
        assert b"\r\nConnection: close\r\n" in data
        assert gateway.last().status == 413
    server.stop()


def test_client_that_waits_to_be_asked_is_told_that_there_is_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    for gateway in running_proxy(url, tmp_path):
        with raw(gateway) as client:
            client.sendall(EXPECTING)
            assert read_all(client).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 042 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MAX_INTERIMS + 1),
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_HEAD_BYTES + b"\r\n",
    ],
)
def test_answers_that_cannot_be_passed_on_are_refused_whole(answer: bytes) -> None:
    second = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert read_alone("GET", [answer + second], eof=False).state == REFUSED
    assert read_alone("GET", [answer[:-3], answer[-3:] + second], eof=False).state == REFUSED


def test_server_that_dies_while_it_is_sent_a_chunked_body_is_a_502(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Expecting(b"nonsense\r\n", b"")
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for gateway in running_proxy(server.url, tmp_path):
        with raw(gateway) as client:
            client.sendall(head + as_chunk(b"a"))
            wait_until(lambda: server.before)
            threading.Event().wait(0.1)
            client.sendall(as_chunk(b"b") + as_chunk(b""))
            assert client.recv(65536).startswith(b"HTTP/1.1 502 ")
        assert gateway.last().outcome == "upstream_error"
    server.stop()
    gc.collect()  # a task that failed unseen says so when it is collected
    assert caplog.records == []


def test_what_is_written_to_a_connection_that_is_gone_is_dropped() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = parse_upstream(f"http://127.0.0.1:{listener.getsockname()[1]}")
            connection = await UpstreamPool(address, DEADLINE_S).acquire()
            listener.accept()[0].close()
            connection.begin("GET")
            with pytest.raises(UpstreamError, match="the connection was closed"):
                await connection.response(DEADLINE_S)
            connection.write(b"GET / HTTP/1.1\r\n\r\n")

    uvloop.run(main())
