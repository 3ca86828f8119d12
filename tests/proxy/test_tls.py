"""TLS to a server: whom the proxy trusts, what it says where it does not, and that bytes pass."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.proxy.conftest import (
    CLOSE,
    DEADLINE_S,
    HOLD,
    FakeUpstream,
    Gateway,
    as_chunk,
    chunked_head,
    completion,
    delta,
    json_answer,
    running_proxy,
    sse,
    wait_until,
    whole_answer,
)

ASK = {"model": "m", "messages": []}
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


class Authority(NamedTuple):
    """Who signs certificates, and the file that makes it trusted."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    path: Path


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def valid_for(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, age: datetime.timedelta
) -> x509.CertificateBuilder:
    begin = datetime.datetime.now(datetime.UTC) - age
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + 2 * DAY)
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key, name = ec.generate_private_key(ec.SECP256R1()), named("authority of a test")
    basic = x509.BasicConstraints(ca=True, path_length=None)
    builder = valid_for(name, name, key, DAY).add_extension(basic, critical=True)
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(PEM))
    return Authority(key, name, path)


Certify = Callable[..., ssl.SSLContext]


@pytest.fixture
def certify(authority: Authority, tmp_path: Path) -> Certify:
    """Return a function that makes a server's certificate and its TLS settings."""

    def make(host: str = "127.0.0.1", age: datetime.timedelta = DAY) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        alternative: x509.GeneralName
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        builder = valid_for(named(host), authority.name, key, age).add_extension(
            x509.SubjectAlternativeName([alternative]), critical=False
        )
        secret = key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = tmp_path / "server.pem"
        path.write_bytes(secret + builder.sign(authority.key, hashes.SHA256()).public_bytes(PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context

    return make


class TLSUpstream(FakeUpstream):
    """A FakeUpstream that speaks TLS; CLOSE closes without TLS's own goodbye."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.asked_names: list[str | None] = []
        context.sni_callback = lambda _, name, __: self.asked_names.append(name)
        super().__init__()
        self.url = f"https://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                wrapped = self.context.wrap_socket(connection, server_side=True)
            except OSError:
                return  # the proxy did not like the certificate
            self.connections.append(wrapped)
            super().serve(wrapped)


@pytest.fixture
def tls(
    certify: Certify, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TLSUpstream]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    fake = TLSUpstream(certify())
    yield fake
    fake.stop()


@pytest.fixture
def gateway(tls: TLSUpstream, tmp_path: Path) -> Iterator[Gateway]:
    yield from running_proxy(tls.url, tmp_path / "log")


def test_trusted_server_answers_over_one_connection(tls: TLSUpstream, gateway: Gateway) -> None:
    tls.answer = lambda _: [json_answer(completion("4"))]
    for _ in range(2):
        assert json.loads(gateway.ask(body=ASK).body) == completion("4")
    assert (b"Host", f"127.0.0.1:{tls.port}".encode()) in tls.received[0].headers
    assert len(tls.connections) == 2  # the socket, and the same one under TLS
    assert (gateway.last().upstream, gateway.last().content) == (tls.url, "4")


def test_server_is_told_the_name_that_it_is_asked_as(
    certify: Certify, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    fake = TLSUpstream(certify("localhost"))
    for gateway in running_proxy(f"https://localhost:{fake.port}", tmp_path):
        assert gateway.ask(method="GET", target="/x").status == 200
    fake.stop()
    assert fake.asked_names == ["localhost"]


def refusal(url: str, folder: Path) -> str:
    """Return why the proxy answers 502 for a server, on one line, the same as in the record."""
    for gateway in running_proxy(url, folder):
        answer = gateway.ask(body=ASK)
        assert (answer.status, answer.body.count(b"\n")) == (502, 1)
        message: str = json.loads(answer.body)["error"]["message"]
        record = gateway.last()
        assert (record.outcome, record.status, record.error) == ("upstream_error", 502, message)
        assert f"upstream {url}: cannot connect: " in message
        assert gateway.routes.replicas[0].up is False
    return message


def test_server_that_nobody_vouches_for_is_a_502_that_says_so(
    certify: Certify, tmp_path: Path
) -> None:
    fake = TLSUpstream(certify())
    said = refusal(fake.url, tmp_path / "log")
    fake.stop()
    assert "certificate verify failed" in said
    assert "unable to get local issuer certificate" in said
    assert fake.received == []


@pytest.mark.parametrize(
    ("host", "age", "reason"),
    [
        ("other.example", DAY, "IP address mismatch"),
        ("127.0.0.2", DAY, "IP address mismatch"),
        ("127.0.0.1", 9 * DAY, "certificate has expired"),
        ("127.0.0.1", -9 * DAY, "certificate is not yet valid"),
    ],
)
def test_certificate_of_another_name_or_time_is_a_502_that_says_so(
    certify: Certify,
    tls: TLSUpstream,
    tmp_path: Path,
    host: str,
    age: datetime.timedelta,
    reason: str,
) -> None:
    fake = TLSUpstream(certify(host, age))
    said = refusal(fake.url, tmp_path / "log")
    fake.stop()
    assert reason in said
    assert fake.received == []


def test_server_without_tls_is_a_502(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_plainly() -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = threading.Thread(target=answer_plainly, daemon=True)
    server.start()
    said = refusal(f"https://127.0.0.1:{listener.getsockname()[1]}", tmp_path)
    server.join(DEADLINE_S)
    listener.close()
    assert "SSL" in said


def test_server_that_is_silent_about_tls_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        for gateway in running_proxy(url, tmp_path, connect_timeout_s=0.2):
            answer = gateway.ask(body=ASK)
            assert (answer.status, b"no connection within 0.2 s" in answer.body) == (502, True)


def test_server_with_tls_that_is_asked_without_is_a_502(tls: TLSUpstream, tmp_path: Path) -> None:
    for gateway in running_proxy(tls.url.replace("https:", "http:"), tmp_path / "log"):
        assert gateway.ask(body=ASK).status == 502
        assert gateway.last().outcome == "upstream_error"


def test_bytes_pass_as_they_are_in_both_directions(tls: TLSUpstream, gateway: Gateway) -> None:
    body = os.urandom(3_000_000)
    tls.answer = lambda request: [whole_answer(request.body[::-1], "application/octet-stream")]
    assert gateway.ask(target="/upload", body=body).body == body[::-1]


def test_stream_passes_byte_for_byte(tls: TLSUpstream, gateway: Gateway) -> None:
    body = sse(delta("é\u2028"), delta("🌟", name="reasoning"), delta("", "stop"))
    pieces = [as_chunk(body[at : at + 3]) for at in range(0, len(body), 3)]
    tls.answer = lambda _: [chunked_head(), *pieces, as_chunk(b"")]
    assert gateway.ask(body={**ASK, "stream": True}).body == body
    record = gateway.last()
    assert (record.content, record.reasoning, record.outcome) == ("é\u2028", "🌟", "complete")


@pytest.mark.parametrize("chunked", [True, False])
def test_connection_that_closes_inside_an_answer_is_upstream_cut(
    tls: TLSUpstream, gateway: Gateway, chunked: bool
) -> None:
    body = sse(delta("half"), done=False)
    head = chunked_head() if chunked else whole_answer(b"x" * 999, "text/event-stream")[:-999]
    tls.answer = lambda _: [head, as_chunk(body) if chunked else body, CLOSE]
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        gateway.send(body={**ASK, "stream": True}).read()
    wait_until(gateway.records)
    assert (gateway.last().outcome, gateway.last().content) == ("upstream_cut", "half")


def test_client_that_leaves_ends_the_request_at_the_server(
    tls: TLSUpstream, gateway: Gateway
) -> None:
    tls.answer = lambda _: [chunked_head(), as_chunk(sse(delta("half"), done=False)), HOLD]
    gateway.send(body={**ASK, "stream": True}).read1(65536)
    gateway.hang_up()
    assert tls.cancelled.wait(DEADLINE_S)
    wait_until(gateway.records)
    assert gateway.last().outcome == "client_cut"


def test_kept_connection_that_the_server_closed_is_not_used_again(
    tls: TLSUpstream, gateway: Gateway
) -> None:
    tls.answer = lambda _: [json_answer(completion("4")), CLOSE]
    assert [gateway.ask(body=ASK).status for _ in range(4)] == [200] * 4
    pool = gateway.routes.replicas[0].pool
    wait_until(lambda: (pool.n_open, pool.idle) == (0, []))


def test_answer_that_ends_with_the_connection_passes(tls: TLSUpstream, gateway: Gateway) -> None:
    tls.answer = lambda _: [b"HTTP/1.0 200 OK\r\n\r\nhello", CLOSE]
    assert gateway.ask(method="GET", target="/x").body == b"hello"
