"""Who may pass a proxy with a token, and that the token goes nowhere."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.conftest import (
    CHAT,
    DEADLINE_S,
    FakeUpstream,
    Gateway,
    completion,
    json_answer,
    running_proxy,
)
from tests.proxy.wire import h11_answer

TOKEN = "planted-token-0123456789"
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
Pairs = tuple[tuple[str, str], ...]
AS_KEY: Pairs = (("Authorization", f"Bearer {TOKEN}"),)
AS_PROXY: Pairs = (("Proxy-Authorization", f"Bearer {TOKEN}"),)


@pytest.fixture
def closed(upstream: FakeUpstream, tmp_path: Path) -> Iterator[Gateway]:
    upstream.answer = lambda _: [json_answer(completion("4"))]
    yield from running_proxy(upstream.url, tmp_path / "log", token=TOKEN)


def keys(upstream: FakeUpstream) -> list[tuple[bytes, bytes]]:
    """Return the headers of the last request that name a key."""
    headers = upstream.received[-1].headers
    return [(name, value) for name, value in headers if b"authorization" in name.lower()]


WRONG: list[Pairs] = [
    (),
    (("Authorization", ""),),
    (("Authorization", "Bearer"),),
    (("Authorization", f"Bearer {TOKEN}x"),),
    (("Authorization", f"Bearer {TOKEN[:-1]}"),),
    (("Authorization", f"Bearer {TOKEN.upper()}"),),
    (("Authorization", f"Basic {TOKEN}"),),
    (("Authorization", TOKEN),),
    (("Authorization", f"Bearer x {TOKEN}"),),
    (("Authorization", f"Bearer x, Bearer {TOKEN}"),),
    (("X-Api-Key", TOKEN),),
    (("Cookie", f"Authorization=Bearer {TOKEN}"),),
    (("Authorization", "Bearer \xe9\xff"),),
]


@pytest.mark.parametrize("headers", WRONG)
def test_request_without_the_token_is_a_401_and_goes_nowhere(
    upstream: FakeUpstream, closed: Gateway, headers: Pairs
) -> None:
    answer = closed.ask(body=ASK, headers=headers)
    assert (answer.status, answer.body.count(b"\n")) == (401, 1)
    assert json.loads(answer.body)["error"]["type"] == "authentication_error"
    assert TOKEN not in answer.body.decode()
    assert (upstream.received, closed.records()) == ([], [])


@pytest.mark.parametrize(
    "headers",
    [
        AS_KEY,
        AS_PROXY,
        (("authorization", f"bearer {TOKEN}"),),
        (("AUTHORIZATION", f"BEARER   {TOKEN}  "),),
        (*AS_KEY, *AS_PROXY),
        (*AS_KEY, *AS_KEY),
    ],
)
def test_token_lets_a_request_pass_and_stays_at_the_proxy(
    upstream: FakeUpstream, closed: Gateway, headers: Pairs
) -> None:
    assert closed.ask(body=ASK, headers=headers).status == 200
    assert keys(upstream) == []
    assert TOKEN.encode() not in upstream.received[-1].head


@pytest.mark.parametrize("order", [1, -1])
def test_key_of_the_client_goes_on_where_the_token_comes_beside_it(
    upstream: FakeUpstream, closed: Gateway, order: int
) -> None:
    own = (("Authorization", "Bearer sk-own"),)
    assert closed.ask(body=ASK, headers=(*own, *AS_PROXY)[::order]).status == 200
    assert keys(upstream) == [(b"Authorization", b"Bearer sk-own")]


@pytest.mark.parametrize("order", [1, -1])
def test_repeated_authorization_passes_the_one_that_is_not_the_token(
    upstream: FakeUpstream, closed: Gateway, order: int
) -> None:
    headers = (("Authorization", "Bearer sk-own"), *AS_KEY)[::order]
    assert closed.ask(body=ASK, headers=headers).status == 200
    assert keys(upstream) == [(b"Authorization", b"Bearer sk-own")]


def test_wrong_proxy_authorization_never_goes_on(upstream: FakeUpstream, closed: Gateway) -> None:
    headers = (*AS_KEY, ("Proxy-Authorization", "Basic other"))
    assert closed.ask(body=ASK, headers=headers).status == 200
    assert keys(upstream) == []


def test_token_never_reaches_the_log_though_the_server_repeats_it(
    upstream: FakeUpstream, closed: Gateway
) -> None:
    said = (
        json_answer(completion(f"it is {TOKEN}")),
        json_answer({"error": {"message": f"what is {TOKEN}?"}}, "401 X"),
    )
    answers = iter([*said, *said])
    upstream.answer = lambda _: [next(answers)]
    for headers in (AS_KEY, AS_KEY, AS_PROXY, AS_PROXY):
        target = f"{CHAT}?key={TOKEN}&x={TOKEN}"
        closed.ask(body={**ASK, "user": TOKEN}, target=target, headers=headers)
    assert len(closed.records()) == 4
    for path in closed.log_folder.iterdir():
        assert TOKEN.encode() not in path.read_bytes()


@pytest.mark.parametrize("path", ["/metrics", "/_distill/stats", "/v1/models", "/anything"])
def test_pages_need_the_token(upstream: FakeUpstream, closed: Gateway, path: str) -> None:
    assert closed.ask(method="GET", target=path).status == 401
    assert upstream.received == []
    answer = closed.ask(method="GET", target=path, headers=AS_KEY)
    assert answer.status == 200
    assert TOKEN not in answer.body.decode()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_healthz_is_open(upstream: FakeUpstream, closed: Gateway, method: str) -> None:
    assert closed.ask(method=method, target="/healthz?x").status == 200
    assert upstream.received == []


@pytest.mark.parametrize(
    "target", ["/healthz/", "/healthz/../x", "//healthz", "/health", "/HEALTHZ"]
)
def test_nothing_else_is_open(upstream: FakeUpstream, closed: Gateway, target: str) -> None:
    assert closed.ask(method="GET", target=target).status == 401
    assert closed.ask(method="POST", target="/healthz", body=b"").status == 401
    assert upstream.received == []


def test_websockets_and_forward_proxying_need_the_token_too(
    upstream: FakeUpstream, closed: Gateway
) -> None:
    upgrade = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    assert closed.ask(method="GET", target="/ws", headers=upgrade).status == 401
    assert closed.ask(method="GET", target="/ws", headers=(*upgrade, *AS_KEY)).status == 501
    assert upstream.received == []


def raw(closed: Gateway, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", closed.port), timeout=DEADLINE_S) as client:
        client.sendall(data)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("value", [b"Bearer \xff\xfe", b"\x80", b"Bearer " + "é".encode(), b"\xe2"])
def test_odd_bytes_in_a_key_are_no_failure(
    closed: Gateway, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % CHAT.encode()
    body = b"Content-Length: 2\r\n\r\n{}"
    refused = raw(closed, head + b"Authorization: %s\r\n" % value + body)
    assert h11_answer("POST", refused, eof=False).status == 401
    passed = b"Proxy-Authorization: Bearer %s\r\n" % TOKEN.encode()
    answered = raw(closed, head + b"Authorization: %s\r\n" % value + passed + body)
    assert h11_answer("POST", answered, eof=False).status == 200
    assert len(closed.records()) == 1
    assert caplog.records == []


def test_client_that_sends_much_without_the_token_gets_its_401(closed: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n".encode()
    assert h11_answer("POST", raw(closed, head + b"x" * 3_000_000), eof=True).status == 401
    assert closed.records() == []


def test_token_of_the_request_before_does_not_count(closed: Gateway) -> None:
    first = f"GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    second = b"GET /y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    data = raw(closed, first + second)
    assert (data.count(b"HTTP/1.1 200"), data.count(b"HTTP/1.1 401")) == (1, 1)


def test_without_a_token_every_key_goes_on(upstream: FakeUpstream, gateway: Gateway) -> None:
    gateway.ask(body=ASK, headers=(*AS_KEY, ("Authorization", "Bearer b")))
    assert [value for _, value in keys(upstream)] == [f"Bearer {TOKEN}".encode(), b"Bearer b"]
