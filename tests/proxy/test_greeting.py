"""What is said at the start, and that no server can hold it up or write into it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from proxy.config import Address, ProxyConfig, parse_routes
from proxy.greeting import (
    MAX_ANSWER_BYTES,
    PROBE_S,
    check,
    greet,
    is_loopback,
    pasted_url,
    reach_line,
    warn_if_open,
)

HERE = Address("127.0.0.1", 8766)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(*pieces: bytes) -> Handler:
    """Return a server that sends these pieces and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return handler


def listing(*names: object) -> bytes:
    body = json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def greeting(handler: Handler, options: str = "{url}") -> None:
    """Greet before one server; `options` are --upstream URLs, those with = are routes."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        words = options.format(url=f"http://127.0.0.1:{port}").split()
        named = [word for word in words if "=" in word]
        await greet(ProxyConfig(parse_routes([w for w in words if w not in named], named)), HERE)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Qwen/Qwen3-8B"], "Qwen/Qwen3-8B"),
        (["a", "b"], "NAME   (NAME: a, b)"),
        ([f"m{n}" for n in range(9)], "NAME   (NAME: m0, m1, m2, m3, ...)"),
        ([], "NAME"),
        (["two words"], "NAME"),
        (["m,base_url=http://evil"], "NAME"),
        (["\x1b[2J"], "NAME"),
        (["$(reboot)"], "NAME"),
        (["x" * 201], "NAME"),
        ([None], "NAME"),
    ],
)
def test_the_line_to_paste_names_the_one_model_there_is(
    names: list[object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uvloop.run(greeting(answering(listing(*names))))
    output = capsys.readouterr()
    assert output.out == f"--model_args base_url=http://127.0.0.1:8766/v1,model={said}\n"
    assert output.err == ""


def test_each_route_has_a_line_with_its_own_path(capsys: pytest.CaptureFixture[str]) -> None:
    uvloop.run(greeting(answering(listing("a", "org/b")), "{url} org/b={url} c={url}"))
    assert capsys.readouterr().out.splitlines() == [
        "--model_args base_url=http://127.0.0.1:8766/org/b/v1,model=org/b",
        "--model_args base_url=http://127.0.0.1:8766/c/v1,model=NAME   (NAME: a, org/b)",
        "--model_args base_url=http://127.0.0.1:8766/v1,model=NAME   (NAME: a, org/b)",
    ]


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "model"),
    [
        ([b"HTTP/1.1 200 OK\r\n\r\n", b'{"data": [{"id"', b': "m"}]}'], "m"),
        ([CHUNKED, b'10\r\n{"data": [{"id":\r\n', b'6\r\n"m"}]}\r\n0\r\n\r\n'], "m"),
        ([b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}"], "NAME"),
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], "NAME"),
        ([b"\x00\xff" * 500], "NAME"),
        ([b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"], "NAME"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000], "NAME"),
        ([b'HTTP/1.1 200 OK\r\n\r\n{"data": 5}'], "NAME"),
        ([b"HTTP/1.1 200 OK\r\n\r\n[1]"], "NAME"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"], "NAME"),
        ([b"HTTP/1.1 200 OK\r\n\r\n\xff"], "NAME"),
        ([], "NAME"),
    ],
)
def test_an_answer_of_any_kind_is_survived(
    pieces: list[bytes], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uvloop.run(greeting(answering(*pieces)))
    output = capsys.readouterr()
    assert output.out.endswith(f",model={model}\n")
    assert output.err == ""


def test_an_endless_answer_is_left_at_a_bound(capsys: pytest.CaptureFixture[str]) -> None:
    n_sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b" " * 65536)
                await writer.drain()
                n_sent += 65536
        except ConnectionError:
            writer.close()

    start = time.monotonic()
    uvloop.run(greeting(endless))
    assert time.monotonic() - start < PROBE_S
    assert n_sent < 200 * MAX_ANSWER_BYTES  # what the socket buffers took
    assert capsys.readouterr().out.endswith("model=NAME\n")


def test_a_server_that_says_nothing_is_left_after_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    start = time.monotonic()
    uvloop.run(greeting(silent))
    assert PROBE_S <= time.monotonic() - start < PROBE_S + 2
    output = capsys.readouterr()
    assert (output.out[-5:], output.err) == ("NAME\n", "")  # it is there, if slow


def test_the_question_is_one_plain_get() -> None:
    heads: list[bytes] = []

    async def noting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    uvloop.run(greeting(noting, "{url}/api r={url}/api"))  # one server, however often it stands
    (head,) = heads
    assert head.startswith(b"GET /api/v1/models HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("say", [check, lambda config: greet(config, HERE)])
def test_a_server_that_is_not_there_is_a_warning(
    say: Callable[[ProxyConfig], Awaitable[None]], capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with await asyncio.start_server(answering(), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        await say(ProxyConfig(parse_routes([url], [])))
        assert capsys.readouterr().err == (
            f"warning: no server at {url} yet (Connection refused); "
            "requests get status 502 until there is one\n"
        )

    uvloop.run(main())


def test_a_proxy_on_all_addresses_is_pasted_with_one_that_can_be_used() -> None:
    assert pasted_url(Address("0.0.0.0", 80)) == "http://127.0.0.1:80"
    assert pasted_url(Address("::", 80)) == "http://[::1]:80"
    assert pasted_url(Address("10.0.0.1", 80)) == "http://10.0.0.1:80"
    assert (reach_line(Address("0.0.0.0", 80)) or "").startswith("reachable as http://")
    assert reach_line(HERE) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_on_loopback_nobody_else_can_connect(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_loopback(host)
    warn_if_open(Address(host, 80))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "gpu-box"])
def test_elsewhere_the_warning_names_the_token(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_if_open(Address(host, 80))
    assert "--token" in capsys.readouterr().err
