"""The sockets: kept connections, odd HTTP, TLS, the way through a proxy, time limits, files."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import json
import resource
import socket
import ssl
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_tasks.chat import descriptors
from harness_tasks.chat import wire as chat_wire
from harness_tasks.chat.client import ChatClient
from harness_tasks.chat.descriptors import make_room, n_open
from harness_tasks.chat.endpoint import Endpoint, Transport
from harness_tasks.chat.proxied import ProxiedWire, wire_to
from harness_tasks.chat.reply import EventStream, Reply, UpstreamError
from harness_tasks.chat.wire import Wire, fixed_head, header_value
from tests.fakes import Answer, FakeUpstream, chat

GOOD = json.dumps(
    {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}], "model": "m"}
).encode()
BODY = {"model": "m", "messages": [{"role": "user", "content": "2+2?"}]}


def answer(body: bytes = GOOD, head: str = "", status: str = "200 OK") -> bytes:
    lines = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{head}\r\n"
    return lines.encode() + body


class RawServer:
    """Sends bytes as they are: one script for each connection, one entry for each request on it.

    An entry None closes the connection in place of an answer.
    """

    def __init__(self, *scripts: list[bytes | None], tls: ssl.SSLContext | None = None) -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.tls = tls
        self.thread = threading.Thread(target=self.serve)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def __enter__(self) -> RawServer:
        self.thread.start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.listener.close()
        self.thread.join()

    def serve(self) -> None:
        for script in self.scripts:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            with contextlib.suppress(OSError):
                if self.tls:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                self.converse(connection, script)
            connection.close()

    def converse(self, connection: socket.socket, script: list[bytes | None]) -> None:
        for entry in script:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (piece := connection.recv(65536)):
                    return
                request += piece
            head, _, body = request.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            self.requests.append(head)
            if entry is None:
                return
            connection.sendall(entry)


def ask(
    port: int,
    n: int = 1,
    pause_s: float = 0.0,
    base: str = "http://127.0.0.1",
    stream: bool = False,
    **changes: Any,
) -> list[Reply]:
    async def run() -> list[Reply]:
        transport = Transport(
            Endpoint.of(f"{base}:{port}"), **{"max_retries": 0, "backoff_s": 0.001, **changes}
        )
        replies = []
        async with ChatClient(transport) as client:
            for i in range(n):
                replies.append(await client.complete({**BODY, "stream": stream}, f"id-{i}"))
                await asyncio.sleep(pause_s)
        return replies

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def test_one_connection_carries_one_request_after_the_other() -> None:
    with RawServer([answer()] * 3) as server:
        assert [r.content for r in ask(server.port, 3)] == ["ok"] * 3
    assert len(server.requests) == 3


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_a_kept_connection_that_the_server_closed_costs_no_attempt(pause_s: float) -> None:
    with RawServer([answer(), None], [answer(), None], [answer()]) as server:
        assert [r.content for r in ask(server.port, 3, pause_s)] == ["ok"] * 3


def test_a_fresh_connection_that_is_closed_is_a_failed_attempt() -> None:
    with (
        RawServer([None], [answer()]) as server,
        pytest.raises(UpstreamError, match="was closed before its answer"),
    ):
        ask(server.port)


def test_a_connection_that_broke_inside_an_answer_is_not_repeated_without_a_word() -> None:
    half = answer()[:-5]
    with (
        RawServer([answer(), half], [answer()]) as server,
        pytest.raises(UpstreamError, match="was closed inside its answer"),
    ):
        ask(server.port, 2)


@pytest.mark.parametrize(
    "head", ["connection: close\r\n", "transfer-encoding: identity\r\n"], ids=["close", "odd"]
)
def test_a_connection_is_not_used_again_where_the_server_says_so(head: str) -> None:
    if "identity" in head:
        first = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + GOOD  # until it closes
    else:
        first = answer(head=head)
    with RawServer([first], [answer()]) as server:
        assert [r.content for r in ask(server.port, 2)] == ["ok", "ok"]


ODD = [
    (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(), "ok"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + answer(), "ok"),
    (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n0\r\nx-trailer: y\r\n\r\n" % (len(GOOD), GOOD),
        "ok",
    ),
    (answer(gzip.compress(GOOD), "content-encoding: gzip\r\n"), "ok"),
    (answer(zlib.compress(GOOD), "Content-Encoding: deflate\r\n"), "ok"),
]


@pytest.mark.parametrize(("sent", "content"), ODD)
def test_odd_http_is_read(sent: bytes, content: str) -> None:
    with RawServer([sent]) as server:
        assert ask(server.port)[0].content == content


BROKEN = [
    (b"SSH-2.0-OpenSSH_9.6\r\n", "is not valid HTTP"),
    (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "is not valid HTTP"),
    (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 60_000, "head of its answer is larger"),
    (answer(b"xxxx", "content-encoding: gzip\r\n"), "compression is broken"),
    (answer(GOOD, "content-encoding: zstd\r\n"), "answers in the coding 'zstd'"),
    (answer(b"", status="204 No Content"), "HTTP 204"),
]


@pytest.mark.parametrize(("sent", "said"), BROKEN)
def test_what_is_no_answer_is_told_in_one_line(sent: bytes, said: str) -> None:
    with RawServer([sent]) as server, pytest.raises(UpstreamError, match=said) as told:
        ask(server.port)
    assert "\n" not in str(told.value)


def test_a_small_packed_reply_cannot_fill_the_memory() -> None:
    packed = gzip.compress(b"[" + b" " * (80 * 1024 * 1024))
    with (
        RawServer([answer(packed, "content-encoding: gzip\r\n")]) as server,
        pytest.raises(UpstreamError, match="larger than"),
    ):
        ask(server.port)


def test_an_answer_that_nobody_asked_for_ends_its_connection() -> None:
    with RawServer([answer() + answer(b"forged")], [answer()]) as server:
        assert [r.content for r in ask(server.port, 2)] == ["ok", "ok"]


def test_the_end_of_a_stream_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_wire, "END_OF_STREAM_S", 0.05)
    event = b'data: {"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]}\n\n'
    events = event + b"data: [DONE]\n\n"
    open_end = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        b"%x\r\n%s\r\n" % (len(events), events)
    )
    with RawServer([open_end], [open_end]) as server:
        replies = ask(server.port, 2, stream=True)
    assert [r.content for r in replies] == ["ok", "ok"]


def test_headers_are_what_the_run_says_and_no_text_breaks_out_of_them() -> None:
    with RawServer([answer()]) as server:
        ask(server.port, headers={"X-Team": "a b", "Host": "model.local", "Connection": "close"})
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert {"X-Team: a b", "Host: model.local", "X-Request-Id: id-0"} <= set(lines)
    assert not any(line.lower().startswith("connection") for line in lines)
    assert header_value("a\r\nX-Evil: 1 ü") == b"a%0D%0AX-Evil:%201%20%C3%BC"
    assert b"Host: xn--mnchen-3ya.example:80\r\n" in fixed_head("münchen.example:80", {})


LINES = [
    "data: {}",
    "data: [DONE]",
    'data: {"a": 1}',
    "data:{}",
    ": wait",
    "",
    "event: x",
    "data: x",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_the_quick_way_through_a_stream_is_the_slow_one(lines: list[str], newline: str) -> None:
    wire = "".join(line + newline for line in lines).encode()
    quick, slow = EventStream(), EventStream()
    at_once = [*quick.feed(wire), *quick.close()]
    byte_by_byte = [event for i in range(len(wire)) for event in slow.feed(wire[i : i + 1])]
    assert at_once == [*byte_by_byte, *slow.close()]
    assert quick.done == slow.done


# Limits of time, files and memory.


def test_a_cancelled_request_is_cancelled_and_not_late() -> None:
    async def run() -> list[Any]:
        release = threading.Event()

        def hang(request: Any) -> Answer:
            release.wait(10)
            return chat()(request)

        with FakeUpstream(hang) as server:
            async with ChatClient(Transport(Endpoint.of(server.url))) as client:
                task = asyncio.create_task(client.complete(BODY, "a"))
                while not server.requests:
                    await asyncio.sleep(0.01)
                task.cancel()
                (ended,) = await asyncio.gather(task, return_exceptions=True)
                release.set()
                return [type(ended), client.watch.watched]

    assert asyncio.run(run()) == [asyncio.CancelledError, set()]


def test_many_limits_are_kept_by_one_timer() -> None:
    async def run(url: str) -> tuple[list[Any], int]:
        transport = Transport(
            Endpoint.of(url), timeout_s=0.3, stall_timeout_s=60.0, max_retries=0, num_concurrent=20
        )
        async with ChatClient(transport) as client:
            asked = (client.complete({**BODY, "stream": i % 2 == 0}, str(i)) for i in range(20))
            replies = await asyncio.gather(*asked, return_exceptions=True)
            return replies, len(client.watch.watched)

    slow = chat("slow", pause_s=0.5)
    with FakeUpstream([chat("ok")] * 10 + [slow]) as server:
        replies, n_watched = asyncio.run(run(server.url))
    late = [str(r) for r in replies if isinstance(r, UpstreamError)]
    assert late == ["not finished after timeout_s=0.3 s"] * 10
    assert [r.content for r in replies if isinstance(r, Reply)] == ["ok"] * 10
    assert n_watched == 0


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[tuple[int, int]]]:
    """Let the system tell limits of open files, and note what is set."""

    def told(soft: int, hard: int) -> list[tuple[int, int]]:
        asked: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda which, limit: asked.append(limit))
        monkeypatch.setattr(descriptors, "n_open", lambda: 36)
        return asked

    return told


Limits = Callable[[int, int], list[tuple[int, int]]]


def test_a_low_limit_of_open_files_is_raised(limits: Limits) -> None:
    asked = limits(256, 4096)
    make_room(512)
    assert asked == [(612, 4096)]


def test_a_limit_that_is_enough_stays(limits: Limits) -> None:
    for soft, hard in ((1024, 4096), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        asked = limits(soft, hard)
        make_room(512)
        assert asked == []


def test_more_connections_than_the_system_allows_are_refused_with_the_number_that_fits(
    limits: Limits,
) -> None:
    limits(256, 400)
    with pytest.raises(ValueError, match=r"num_concurrent=512 .* at most 300") as told:
        make_room(512)
    assert "\n" not in str(told.value)


def test_open_files_are_counted(tmp_path: Path) -> None:
    before = n_open()
    with (tmp_path / "x").open("w"):
        assert n_open() == before + 1


def test_no_descriptor_being_left_is_not_the_servers_fault() -> None:
    with pytest.raises(UpstreamError, match=r"too many open files .*num_concurrent"):
        chat_wire.reason_of(OSError(24, "Too many open files"))


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate of 127.0.0.1, signed by itself, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake")])
    now = datetime.datetime.now(datetime.UTC)
    alt = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(alt, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_https_is_spoken_to_a_server_that_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with RawServer([answer(), answer()], tls=tls_server(certificate)) as server:
        replies = ask(server.port, 2, base="https://127.0.0.1")
    assert [r.content for r in replies] == ["ok", "ok"]


def test_https_is_not_spoken_to_anybody_else(certificate: Path) -> None:
    with (
        RawServer([answer()], tls=tls_server(certificate)) as server,
        pytest.raises(UpstreamError, match="certificate verify failed"),
    ):
        ask(server.port, base="https://127.0.0.1")
    assert not server.requests


# Through a proxy of the environment.


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_a_proxy_lies_in_between_only_where_the_environment_says_so(
    no_proxy: pytest.MonkeyPatch,
) -> None:
    far, near = (
        Transport(Endpoint.of("http://model.test:1")),
        Transport(Endpoint.of("http://[::1]")),
    )
    assert isinstance(wire_to(far), Wire)
    no_proxy.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert isinstance(wire_to(far), ProxiedWire)
    assert isinstance(wire_to(near), Wire)
    assert isinstance(wire_to(Transport(Endpoint.of("https://model.test"))), Wire)


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_goes_through_the_proxy(stream: bool, no_proxy: pytest.MonkeyPatch) -> None:
    with FakeUpstream(chat("four", reasoning="2 + 2")) as proxy:
        no_proxy.setenv("HTTP_PROXY", proxy.root)
        (reply,) = ask(80, base="http://model.test", stream=stream)
        (request,) = proxy.requests
    assert (reply.content, reply.reasoning) == ("four", "2 + 2")
    assert request.path == "http://model.test/v1/chat/completions"
    assert request.headers["x-request-id"] == "id-0"


def test_a_proxy_that_is_gone_is_told(no_proxy: pytest.MonkeyPatch) -> None:
    no_proxy.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(UpstreamError, match=r"nothing listens at http://model\.test"):
        ask(80, base="http://model.test")
