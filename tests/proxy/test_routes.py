"""Which server gets a request: by path, by model, by load, and what happens where none does."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.config import ProxyConfig, parse_routes
from proxy.routes import DOWN_S, RouteTable, model_of
from tests.proxy.conftest import (
    CHAT,
    CLOSE,
    DEADLINE_S,
    FakeUpstream,
    Gateway,
    Received,
    Step,
    as_chunk,
    completion,
    json_answer,
    running_proxy,
    wait_until,
)

NAMES = ("a", "a/b", "Qwen/Qwen3-8B", "b")


def table(*routes: str, upstreams: tuple[str, ...] = ()) -> RouteTable:
    return RouteTable(ProxyConfig(parse_routes(upstreams, routes)))


@pytest.mark.parametrize(
    ("target", "name", "rest"),
    [
        (b"/a/v1/models", "a", b"/v1/models"),
        (b"/a/b/v1/models", "a/b", b"/v1/models"),
        (b"/a/bb/v1", "a", b"/bb/v1"),
        (b"/a", "a", b"/"),
        (b"/a/", "a", b"/"),
        (b"/a?x=/a/b/c", "a", b"/?x=/a/b/c"),
        (b"/a/b?x", "a/b", b"/?x"),
        (b"/a//v1", "a", b"//v1"),
        (b"/a/%2e%2e/b/x?q=%41#f", "a", b"/%2e%2e/b/x?q=%41#f"),
        (b"/Qwen/Qwen3-8B/v1/x", "Qwen/Qwen3-8B", b"/v1/x"),
        (b"/b/a/v1", "b", b"/a/v1"),
    ],
)
def test_path_names_the_route_and_goes_on_without_it(target: bytes, name: str, rest: bytes) -> None:
    found = table(*(f"{name}=http://h:{port}" for port, name in enumerate(NAMES, 1))).by_path(
        target
    )
    assert found is not None
    assert (found.route.name, found.target) == (name, rest)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/v1/a/b",
        b"/ab/v1",
        b"/A/v1",
        b"/a#x",
        b"//a/v1",
        b"*",
        b"/%61/v1",
        b"/Qwen/v1",
        b"a",
    ],
)
def test_path_that_begins_with_no_name_has_no_route(target: bytes) -> None:
    routes = table(*(f"{name}=http://h:{port}" for port, name in enumerate(NAMES, 1)))
    assert routes.by_path(target) is None


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model": "b", "messages": []}', "b"),
        (b'{"messages": [{"model": "a"}], "model": "b"}', "b"),
        (b'{"model": "a", "model": "b"}', "b"),
        (b'{"model": "b", "temperature": NaN}', "b"),
        (b'{"model": "b", "seed": 1e999}', "b"),
        (b'{"mod\\u0065l": "b"}', "b"),
        (b'\xef\xbb\xbf{"model": "b"}', "b"),
        (b'{"model": 3}', None),
        (b'{"model": null}', None),
        (b'["model"]', None),
        (b'"b"', None),
        (b"", None),
        (b'{"model": "b"', None),
        (b'{"model": "b"} x', None),
        (b'{"model": "b\xff"}', None),
        (b'{"a":' * 100_000, None),
        (b"[" * 100_000 + b"]" * 100_000, None),
    ],
)
def test_model_of_a_body(body: bytes, model: str | None) -> None:
    assert model_of(body) == model


def test_replicas_that_are_up_come_first_then_the_idle_then_the_least_asked() -> None:
    routes = table("m=http://h:1", "m=http://h:2", "m=http://h:3")
    first, second, third = routes.named["m"].replicas
    first.in_flight, second.n_requests, third.n_requests = 1, 5, 4
    assert routes.named["m"].by_load(10) == [third, second, first]
    third.reached(10, up=False)
    assert routes.named["m"].by_load(10 + DOWN_S / 2) == [second, first, third]
    assert routes.named["m"].by_load(10 + DOWN_S) == [third, second, first]
    third.reached(10, up=True)
    assert routes.named["m"].by_load(10) == [third, second, first]


def free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def always(*steps: Step) -> Callable[[Received], list[Step]]:
    return lambda _: list(steps)


class Servers:
    """Servers by name, each of which says who it is, and what reached them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.fakes = {name: FakeUpstream() for name in names}
        for name, fake in self.fakes.items():
            fake.answer = always(json_answer(completion(name)))

    def url(self, name: str) -> str:
        return self.fakes[name].url

    def asked(self) -> dict[str, int]:
        return {name: len(fake.received) for name, fake in self.fakes.items() if fake.received}

    def of(self, name: str) -> list[Received]:
        return self.fakes[name].received


@contextmanager
def routed(
    folder: Path, *routes: str, upstreams: tuple[str, ...] = (), **settings: Any
) -> Iterator[tuple[Gateway, Servers]]:
    """Run a proxy with routes of the form NAME=SERVER, or NAME=URL."""
    names = [route.partition("=")[2] for route in routes] + list(upstreams)
    servers = Servers(tuple(name for name in names if ":" not in name))

    def placed(text: str) -> str:
        name, equals, server = text.rpartition("=")
        return name + equals + (server if ":" in server else servers.url(server))

    config = parse_routes(map(placed, upstreams), map(placed, routes))
    with ExitStack() as stack:
        for fake in servers.fakes.values():
            stack.callback(fake.stop)
        for gateway in running_proxy("http://unused:1", folder, routes=config, **settings):
            yield gateway, servers


def ask(gateway: Gateway, model: object = "m", **more: Any) -> tuple[int, Any]:
    answer = gateway.ask(body={"messages": [], "model": model}, **more)
    value = json.loads(answer.body)
    return answer.status, value["choices"][0]["message"][
        "content"
    ] if answer.status == 200 else value


def test_request_goes_by_path_then_by_model_then_to_the_rest(tmp_path: Path) -> None:
    with routed(tmp_path, "a=one", "x/y=two", upstreams=("rest",)) as (gateway, servers):
        assert ask(gateway, "x/y") == (200, "two")
        assert ask(gateway, "x/y", target=f"/a{CHAT}?q=1") == (200, "one")
        assert ask(gateway, "other") == (200, "rest")
        assert ask(gateway, None) == (200, "rest")
        gateway.ask(method="GET", target="/v1/models")
        gateway.ask(method="GET", target="/x/y/v1/models")
        gateway.ask(target="/v1/embeddings", body={"model": "a", "input": "x"})
        lines = {name: [one.line for one in servers.of(name)] for name in servers.fakes}
        assert lines == {
            "one": [f"POST {CHAT}?q=1 HTTP/1.1".encode(), b"POST /v1/embeddings HTTP/1.1"],
            "two": [f"POST {CHAT} HTTP/1.1".encode(), b"GET /v1/models HTTP/1.1"],
            "rest": [f"POST {CHAT} HTTP/1.1".encode()] * 2 + [b"GET /v1/models HTTP/1.1"],
        }
        told = [(record.route, record.upstream) for record in gateway.records()]
        where = (("x/y", "two"), ("a", "one"), (None, "rest"), (None, "rest"))
        assert told == [(route, servers.url(name)) for route, name in where]


def test_only_route_gets_everything(tmp_path: Path) -> None:
    with routed(tmp_path, "a=one") as (gateway, _):
        assert ask(gateway, "other") == (200, "one")
        assert gateway.ask(method="GET", target="/v1/models").status == 200
        assert gateway.last().route == "a"


def test_request_of_no_route_is_a_404_with_the_names_and_a_record(tmp_path: Path) -> None:
    with routed(tmp_path, "a=one", "x/y=two") as (gateway, servers):
        status, value = ask(gateway, "other")
        assert (status, value["error"]["type"]) == (404, "not_found_error")
        assert "a, x/y" in value["error"]["message"]
        record = gateway.last()
        assert (record.status, record.outcome, record.route) == (404, "upstream_error", None)
        assert (record.model_requested, record.messages) == ("other", [])
        assert gateway.ask(method="GET", target="/props").status == 404
        assert gateway.ask(method="GET", target="/v1/models/a").status == 404
        assert servers.asked() == {}


def test_models_page_lists_the_routes_where_no_single_server_could_be_asked(tmp_path: Path) -> None:
    with routed(tmp_path, "a=one", "x/y=two") as (gateway, servers):
        listed = json.loads(gateway.ask(method="GET", target="/v1/models?x=1").body)
        assert [row["id"] for row in listed["data"]] == ["a", "x/y"]
        assert listed["object"] == "list"
        assert servers.asked() == {}
        assert gateway.ask(method="POST", target="/v1/models", body=b"{}").status == 404


PAD = "y" * 5000
PACKED = gzip.compress(b'{"model": "a"}', mtime=0)


@pytest.mark.parametrize(
    ("body", "headers", "where"),
    [
        (orjson.dumps({"messages": [PAD], "model": "a"}), {}, "one"),
        (b'{"x": NaN, "model": "a"}', {}, "one"),
        (b'{"model": "other", "model": "a"}', {}, "one"),
        (b'{"model": "a"', {}, "rest"),
        (b"", {}, "rest"),
        (PACKED, {"Content-Encoding": "gzip"}, "one"),
        (PACKED, {"content-encoding": "GZIP "}, "one"),
        (PACKED[:12], {"Content-Encoding": "gzip"}, "rest"),
        (PACKED, {}, "rest"),
        (b'{"model": "a"}', {"Content-Encoding": "gzip"}, "rest"),
        (b'{"model": "a"}', {"Content-Encoding": "x-unknown"}, "rest"),
        (b'{"model": "a"}', {"Content-Encoding": "identity"}, "one"),
    ],
)
def test_body_decides_and_is_passed_on_as_it_came(
    tmp_path: Path, body: bytes, headers: dict[str, str], where: str
) -> None:
    with routed(tmp_path, "a=one", upstreams=("rest",)) as (gateway, servers):
        assert gateway.ask(body=body, headers=tuple(headers.items())).status == 200
        assert servers.asked() == {where: 1}
        assert servers.of(where)[0].body == body
        assert gateway.last().route == ("a" if where == "one" else None)


@pytest.mark.parametrize("size", [900, 1100, 5000])
def test_model_behind_more_than_is_kept_is_not_seen_and_the_body_stays_whole(
    tmp_path: Path, size: int
) -> None:
    body = json.dumps({"messages": ["y" * size], "model": "a"}).encode()
    with routed(tmp_path, "a=one", upstreams=("rest",), max_logged_bytes=1000) as (
        gateway,
        servers,
    ):
        gate = threading.Event()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:500])
            gate.wait(0.05)
            client.sendall(body[500:1050])
            gate.wait(0.05)
            client.sendall(body[1050:])
            while client.recv(65536):
                pass
        where = "one" if size == 900 else "rest"
        assert servers.asked() == {where: 1}
        assert servers.of(where)[0].body == body
        record = gateway.last()
        assert record.model_requested == ("a" if size == 900 else None)
        assert ("log_dropped_request_bytes" in record.extra) == (size != 900)


def test_chunked_body_names_the_model_too(tmp_path: Path) -> None:
    body = b'{"messages": [], "model": "a"}'
    chunks = b"".join(as_chunk(body[at : at + 7]) for at in range(0, len(body), 7)) + as_chunk(b"")
    with routed(tmp_path, "a=one", upstreams=("rest",)) as (gateway, servers):
        gateway.ask(body=chunks, headers=(("Transfer-Encoding", "chunked"),))
        (received,) = servers.of("one")
        assert (b"Transfer-Encoding", b"chunked") in received.headers
        assert b"".join(received.body.split(b"\r\n")[1:-2:2]) == body


@pytest.mark.parametrize("word", ["100-continue", "100-Continue "])
def test_client_that_waits_to_be_asked_is_asked_for_the_body_that_names_the_model(
    tmp_path: Path, word: str
) -> None:
    body = b'{"messages": [], "model": "a"}'
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    )
    with (
        routed(tmp_path, "a=one", upstreams=("rest",)) as (gateway, servers),
        socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S) as client,
    ):
        client.sendall(f"{head}Expect: {word}\r\n\r\n".encode())
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        data = b"".join(iter(lambda: client.recv(65536), b""))
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert servers.asked() == {"one": 1}


def test_requests_go_to_the_replica_with_the_fewest_in_work(tmp_path: Path) -> None:
    gate = threading.Event()
    with routed(tmp_path, "m=one", "m=two", "m=three") as (gateway, servers):
        for fake in servers.fakes.values():
            fake.answer = always(gate, json_answer(completion("held")))
        threads = []
        for number in range(9):
            thread = threading.Thread(target=ask, args=(gateway,))
            thread.start()
            threads.append(thread)
            wait_until(lambda: sum(servers.asked().values()) == number + 1)  # noqa: B023
        replicas = gateway.routes.replicas
        assert [replica.in_flight for replica in replicas] == [3, 3, 3]
        assert gateway.ledger.in_flight == 9
        gate.set()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert [replica.in_flight for replica in replicas] == [0, 0, 0]


def test_requests_in_a_row_take_turns(tmp_path: Path) -> None:
    with routed(tmp_path, "m=one", "m=two") as (gateway, servers):
        for _ in range(6):
            ask(gateway)
        assert servers.asked() == {"one": 3, "two": 3}


def test_replica_that_refuses_connections_is_passed_over_and_asked_again_later(
    tmp_path: Path,
) -> None:
    gone = free_url()
    with routed(tmp_path, f"m={gone}", "m=two") as (gateway, servers):
        for _ in range(4):
            assert ask(gateway) == (200, "two")
        down, up = gateway.routes.replicas
        assert (down.up, down.n_requests, up.n_requests) == (False, 1, 4)
        assert {record.upstream for record in gateway.records()} == {servers.url("two")}
        down.down_until = 0.0  # five seconds later
        assert ask(gateway) == (200, "two")
        assert (down.n_requests, down.in_flight) == (2, 0)


def test_502_where_no_replica_takes_a_connection(tmp_path: Path) -> None:
    urls = [free_url(), free_url()]
    with routed(tmp_path, *(f"m={url}" for url in urls)) as (gateway, _):
        for _ in range(2):
            status, value = ask(gateway)
            assert (status, value["error"]["type"]) == (502, "upstream_error")
            assert any(url in value["error"]["message"] for url in urls)
        record = gateway.last()
        assert (record.outcome, record.route, record.model_requested) == (
            "upstream_error",
            "m",
            "m",
        )
        assert record.upstream in urls
        assert [replica.in_flight for replica in gateway.routes.replicas] == [0, 0]


def test_request_that_reached_a_replica_is_not_sent_to_another(tmp_path: Path) -> None:
    with routed(tmp_path, "m=one", "m=two") as (gateway, servers):
        for fake in servers.fakes.values():
            fake.answer = always(CLOSE)
        assert ask(gateway)[0] == 502
        assert sum(servers.asked().values()) == 1
