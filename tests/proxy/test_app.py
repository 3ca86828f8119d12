from __future__ import annotations

import json
import socket

import pytest

from tests.proxy.conftest import DEADLINE_S, FakeUpstream, Gateway, completion, json_answer

ASK = {"model": "m", "messages": []}


def test_healthz_is_the_proxy_s_own_and_counts_outcomes(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [json_answer(completion("4"))]
    gateway.ask(body=ASK)
    upstream.answer = lambda _: [json_answer({}, "500 X")]
    gateway.ask(body=ASK)
    health = json.loads(gateway.ask(method="GET", target="/healthz").body)
    assert (health["status"], health["in_flight"]) == ("ok", 0)
    assert health["log"]["path"] == str(gateway.log.path)
    assert health["upstreams"] == [{"route": None, "url": upstream.url, "up": True, "in_flight": 0}]
    assert health["exchanges"] == {
        "complete": 1,
        "upstream_error": 1,
        "upstream_cut": 0,
        "client_cut": 0,
        "malformed": 0,
    }
    assert len(upstream.received) == 2


@pytest.mark.parametrize("target", ["/health", "/healthz/x", "/metrics/x"])
def test_other_paths_are_the_server_s(
    upstream: FakeUpstream, gateway: Gateway, target: str
) -> None:
    gateway.ask(method="GET", target=target)
    assert upstream.received[0].line == f"GET {target} HTTP/1.1".encode()


def test_websocket_upgrade_is_refused_on_one_line(upstream: FakeUpstream, gateway: Gateway) -> None:
    headers = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    answer = gateway.ask(method="GET", target="/ws", headers=headers)
    assert (answer.status, answer.body.count(b"\n")) == (501, 1)
    assert "websockets" in json.loads(answer.body)["error"]["message"]
    assert not upstream.received


@pytest.mark.parametrize("line", ["CONNECT host:443", "GET http://host/x"])
def test_forward_proxy_requests_are_refused(
    upstream: FakeUpstream, gateway: Gateway, line: str
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S) as client:
        client.sendall(f"{line} HTTP/1.1\r\nHost: host\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 501 ")
    assert not upstream.received


def test_many_answers_at_once_are_all_recorded(upstream: FakeUpstream, gateway: Gateway) -> None:
    upstream.answer = lambda _: [json_answer(completion("4"))]
    ids = [f"r/t/{number}/0" for number in range(40)]
    responses = [gateway.send(body=ASK, headers=(("x-request-id", name),)) for name in ids]
    assert {response.read() for response in responses} == {json.dumps(completion("4")).encode()}
    assert sorted(record.request_id for record in gateway.records()) == sorted(ids)
