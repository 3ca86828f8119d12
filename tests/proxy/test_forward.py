"""What passes the proxy, and what it does when either side goes away."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import socket
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proxy.conftest import (
    ABORT,
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
    delta,
    json_answer,
    running_proxy,
    sse,
    wait_until,
    whole_answer,
)

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_raw_target_reaches_upstream_unchanged(upstream: FakeUpstream, gateway: Gateway) -> None:
    target = "/v1/a%2Fb/%E2%82%AC/..//x;y?q=1&q=%20+&empty="
    gateway.ask(method="GET", target=target)
    assert upstream.received[0].line == f"GET {target} HTTP/1.1".encode()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "POST", "BREW"])
def test_method_reaches_upstream_unchanged(
    upstream: FakeUpstream, gateway: Gateway, method: str
) -> None:
    gateway.ask(method=method, target="/anything")
    assert upstream.received[0].line.split(b" ")[0] == method.encode()


def test_request_headers_keep_order_and_repeats_and_gain_nothing(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    headers = (("X-B", "2"), ("X-A", "1"), ("X-B", "3"), ("Authorization", "Bearer k"))
    gateway.ask(method="GET", target="/v1/models", headers=headers)
    host = (b"Host", upstream.url.removeprefix("http://").encode())
    expected = [(name.encode(), value.encode()) for name, value in headers]
    assert upstream.received[0].headers == [host, *expected]


def test_hop_by_hop_headers_stay_at_the_proxy(upstream: FakeUpstream, gateway: Gateway) -> None:
    upstream.answer = lambda _: [
        whole_answer(
            b"{}", extra="Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nX-Yours: 2\r\n"
        )
    ]
    answer = gateway.ask(
        method="GET",
        target="/x",
        headers=(("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("TE", "trailers")),
    )
    assert [name for name, _ in upstream.received[0].headers] == [b"Host"]
    assert [name for name, _ in answer.headers] == ["Content-Type", "Content-Length", "X-Yours"]


def test_response_headers_keep_repeats_and_gain_no_date_and_server(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [
        whole_answer(b"{}", extra="Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n")
    ]
    headers = gateway.ask(method="GET", target="/x").headers
    assert [value for name, value in headers if name.lower() == "set-cookie"] == ["a=1", "b=2"]
    assert not {"date", "server"} & {name.lower() for name, _ in headers}


def test_cookies_are_not_kept_between_requests(upstream: FakeUpstream, gateway: Gateway) -> None:
    upstream.answer = lambda _: [whole_answer(b"{}", extra="Set-Cookie: a=1\r\n")]
    gateway.ask(method="GET", target="/x")
    gateway.ask(method="GET", target="/x")
    assert b"cookie" not in upstream.received[1].head.lower()


def test_redirects_are_passed_on_and_not_followed(upstream: FakeUpstream, gateway: Gateway) -> None:
    upstream.answer = lambda _: [
        whole_answer(b"", status="307 X", extra="Location: /elsewhere\r\n")
    ]
    assert gateway.ask(method="GET", target="/x").status == 307
    assert len(upstream.received) == 1


def test_request_body_is_passed_on_byte_for_byte(upstream: FakeUpstream, gateway: Gateway) -> None:
    body = os.urandom(3_000_000)
    gateway.ask(target="/upload", body=body)
    assert upstream.received[0].body == body


def test_chunked_request_stays_chunked(upstream: FakeUpstream, gateway: Gateway) -> None:
    chunked = as_chunk(b"abc") + as_chunk(b"defg") + b"0\r\n\r\n"
    gateway.ask(target="/upload", body=chunked, headers=(("Transfer-Encoding", "chunked"),))
    received = upstream.received[0]
    assert (b"Transfer-Encoding", b"chunked") in received.headers
    assert b"content-length" not in received.head.lower()
    assert b"".join(received.body.split(b"\r\n")[1:-2:2]) == b"abcdefg"


def test_head_answer_keeps_its_length_and_has_no_body(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 321\r\n\r\n"]
    answer = gateway.ask(method="HEAD", target="/x")
    assert (answer.body, dict(answer.headers)["Content-Length"]) == (b"", "321")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_body_end_with_their_headers(
    upstream: FakeUpstream, gateway: Gateway, status: int
) -> None:
    upstream.answer = lambda _: [f"HTTP/1.1 {status} X\r\nETag: 1\r\n\r\n".encode()]
    answer = gateway.ask(method="GET", target="/x")
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("status", [400, 401, 404, 418, 429, 500, 503, 529])
def test_error_answers_are_passed_on_and_logged(
    upstream: FakeUpstream, gateway: Gateway, status: int
) -> None:
    error = {"error": {"message": "too  much", "code": status}}
    upstream.answer = lambda _: [json_answer(error, f"{status} X")]
    answer = gateway.ask(body=ASK)
    record = gateway.last()
    assert (answer.status, json.loads(answer.body)) == (status, error)
    assert (record.status, record.outcome, record.error) == (status, "upstream_error", "too much")
    assert record.extra["error"] == error["error"]


def test_each_piece_of_a_stream_goes_on_before_the_next_comes(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    pieces = [*(sse(delta(text), done=False) for text in "abc"), sse()]
    gates = [threading.Event() for _ in pieces]
    steps = [
        step for gate, piece in zip(gates, pieces, strict=True) for step in (gate, as_chunk(piece))
    ]
    upstream.answer = lambda _: [chunked_head(), *steps, as_chunk(b""), CLOSE]
    response = gateway.send(body={**ASK, "stream": True})
    for gate, piece in zip(gates, pieces, strict=True):
        gate.set()
        assert response.read1(65536) == piece
    assert response.read() == b""
    assert gateway.last().content == "abc"


def test_record_is_on_disk_when_the_client_has_done_though_the_stream_goes_on(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    gate = threading.Event()
    body = sse(delta("x", "stop"))
    upstream.answer = lambda _: [chunked_head(), as_chunk(body), gate, as_chunk(b""), CLOSE]
    response = gateway.send(body={**ASK, "stream": True})
    seen = b""
    while not seen.endswith(b"data: [DONE]\n\n"):
        seen += response.read1(65536)
    assert gateway.last().outcome == "complete"
    gateway.hang_up()
    gate.set()
    wait_until(lambda: gateway.ledger.in_flight == 0)
    assert len(gateway.records()) == 1


def test_log_that_is_slow_holds_back_the_end_and_nothing_before_it(
    upstream: FakeUpstream, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, last = threading.Event(), threading.Event()
    append = gateway.log.append

    async def slow(line: bytes) -> None:
        await asyncio.to_thread(gate.wait, DEADLINE_S)
        await append(line)

    monkeypatch.setattr(gateway.log, "append", slow)
    pieces = b"".join(sse(delta(text), done=False) for text in "abc")
    steps: list[Step] = [chunked_head(), as_chunk(pieces), last, as_chunk(sse()), as_chunk(b"")]
    upstream.answer = lambda _: steps
    response = gateway.send(body={**ASK, "stream": True})
    seen = b""
    while len(seen) < len(pieces):
        seen += response.read1(65536)
    last.set()
    end: list[bytes] = []
    reader = threading.Thread(target=lambda: end.append(response.read()))
    reader.start()
    reader.join(0.2)
    assert (seen, end, gateway.records()) == (pieces, [], [])
    gate.set()
    reader.join(DEADLINE_S)
    assert end == [sse()]
    assert gateway.last().content == "abc"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_stream_in_pieces_of_one_byte_is_the_same_for_client_and_log(
    upstream: FakeUpstream, gateway: Gateway, newline: bytes
) -> None:
    body = sse(delta("é\u2028"), delta("🌟", name="reasoning"), delta("", "stop"))
    body = body.replace(b"\n", newline)
    upstream.answer = lambda _: [
        chunked_head(),
        *(as_chunk(body[at : at + 1]) for at in range(len(body))),
        as_chunk(b""),
    ]
    assert gateway.ask(body={**ASK, "stream": True}).body == body
    record = gateway.last()
    assert (record.content, record.reasoning, record.outcome) == ("é\u2028", "🌟", "complete")


def test_connection_that_the_server_closed_meanwhile_is_not_used_again(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [json_answer(completion("4")), CLOSE]
    assert [gateway.ask(body=ASK).status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(("status", "n_connections"), [("500 Oops", 2), ("404 No", 1)])
def test_connection_on_which_the_server_failed_is_not_used_again(
    upstream: FakeUpstream, gateway: Gateway, status: str, n_connections: int
) -> None:
    upstream.answer = lambda _: [json_answer({}, status)]
    assert [gateway.ask(body=ASK).status for _ in range(2)] == [int(status[:3])] * 2
    assert len(upstream.connections) == n_connections


def test_unstreamed_answer_is_logged_before_its_last_byte(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [json_answer(completion("4", reasoning="2+2"))]
    answer = gateway.ask(body={**ASK, "temperature": 0.6}, headers=(("x-request-id", "r/t/1/0"),))
    record = gateway.last()
    assert json.loads(answer.body) == completion("4", reasoning="2+2")
    assert record.request_id == "r/t/1/0"
    assert (record.content, record.reasoning, record.reasoning_source) == ("4", "2+2", "reasoning")
    assert (record.sampling, record.stream, record.ttft_s) == ({"temperature": 0.6}, False, None)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data),
    "deflate": lambda data: zlib.compress(data),
    "raw deflate": raw_deflate,
}


@pytest.mark.parametrize("encoding", list(PACKERS))
@pytest.mark.parametrize("streamed", [False, True])
def test_compressed_answers_pass_as_they_are_and_are_decoded_for_the_log(
    upstream: FakeUpstream, gateway: Gateway, encoding: str, streamed: bool
) -> None:
    plain = (
        sse(delta("é"), delta("4", "stop")) if streamed else json.dumps(completion("é4")).encode()
    )
    packed = PACKERS[encoding](plain)
    extra = f"Content-Encoding: {encoding.split()[-1]}\r\n"
    kind = "text/event-stream" if streamed else "application/json"
    pieces = [as_chunk(packed[start : start + 7]) for start in range(0, len(packed), 7)]
    upstream.answer = lambda _: [chunked_head(kind, extra), *pieces, as_chunk(b"")]
    answer = gateway.ask(body={**ASK, "stream": streamed})
    assert answer.body == packed
    assert (gateway.last().content, gateway.last().outcome) == ("é4", "complete")


def test_unknown_encoding_passes_and_the_record_says_that_it_was_not_read(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [whole_answer(b"\x0b\x02", extra="Content-Encoding: sdch\r\n")]
    assert gateway.ask(body=ASK).body == b"\x0b\x02"
    record = gateway.last()
    assert (record.outcome, record.content) == ("complete", None)
    assert "'sdch'" in (record.error or "")


def test_html_with_status_200_passes_and_is_logged_as_malformed(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [whole_answer(b"<html>", "text/html")]
    assert gateway.ask(body=ASK).body == b"<html>"
    assert (gateway.last().outcome, gateway.last().extra["raw"]) == ("malformed", "<html>")


def test_bad_event_passes_and_the_rest_of_the_stream_is_still_read(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    body = sse(delta("a"), done=False) + b"data: {oops\n\n" + sse(delta("b", "stop"))
    upstream.answer = lambda _: [chunked_head(), as_chunk(body), as_chunk(b"")]
    assert gateway.ask(body={**ASK, "stream": True}).body == body
    record = gateway.last()
    assert (record.outcome, record.content, record.extra["raw"]) == ("malformed", "ab", ["{oops"])


def test_error_event_in_a_stream_is_an_upstream_error(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    body = sse(delta("a"), {"error": {"message": "out of memory"}})
    upstream.answer = lambda _: [chunked_head(), as_chunk(body), as_chunk(b"")]
    gateway.ask(body={**ASK, "stream": True})
    record = gateway.last()
    assert (record.outcome, record.error, record.content) == (
        "upstream_error",
        "out of memory",
        "a",
    )


@pytest.mark.parametrize("how", [ABORT, CLOSE])
def test_stream_that_breaks_upstream_is_broken_for_the_client_and_logged(
    upstream: FakeUpstream, gateway: Gateway, how: str
) -> None:
    gate = threading.Event()
    piece = sse(delta("half"), done=False)
    upstream.answer = lambda _: [chunked_head(), as_chunk(piece), gate, how]
    response = gateway.send(body={**ASK, "stream": True})
    assert response.read1(65536) == piece
    gate.set()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    wait_until(gateway.records)
    record = gateway.last()
    assert (record.outcome, record.content) == ("upstream_cut", "half")
    assert upstream.url in (record.error or "")


def test_unstreamed_answer_that_breaks_is_logged_with_what_had_come(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    whole = json_answer(completion("4"))
    upstream.answer = lambda _: [whole[:-9], CLOSE]
    with pytest.raises(http.client.IncompleteRead):
        gateway.send(body=ASK).read()
    wait_until(gateway.records)
    record = gateway.last()
    assert (record.outcome, record.content) == ("upstream_cut", None)
    assert whole.decode().partition("\r\n\r\n")[2][:-9] == record.extra["raw"]


def test_stream_that_ends_cleanly_without_an_end_is_a_cut(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    body = sse(delta("half"), done=False)
    upstream.answer = lambda _: [chunked_head(), as_chunk(body), as_chunk(b"")]
    assert gateway.ask(body={**ASK, "stream": True}).body == body
    assert gateway.last().outcome == "upstream_cut"


def test_client_that_leaves_cancels_the_request_and_is_logged(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [chunked_head(), as_chunk(sse(delta("half"), done=False)), HOLD]
    response = gateway.send(body={**ASK, "stream": True})
    response.read1(65536)
    response.close()
    gateway.hang_up()
    assert upstream.cancelled.wait(DEADLINE_S)
    wait_until(gateway.records)
    assert (gateway.last().outcome, gateway.last().content) == ("client_cut", "half")
    assert gateway.ledger.in_flight == 0


def test_client_that_leaves_before_the_headers_cancels_the_request(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    upstream.answer = lambda _: [HOLD]
    data = json.dumps(ASK).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(head.encode() + data)
        wait_until(lambda: upstream.received)
    assert upstream.cancelled.wait(DEADLINE_S)
    wait_until(gateway.records)
    assert (gateway.last().outcome, gateway.last().status) == ("client_cut", None)


def test_client_that_leaves_inside_its_request_is_logged(
    upstream: FakeUpstream, gateway: Gateway
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        wait_until(lambda: gateway.ledger.in_flight == 1)
    wait_until(gateway.records)
    assert (gateway.last().outcome, gateway.last().messages) == ("client_cut", None)


def test_absent_upstream_is_a_502_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    for gateway in running_proxy(url, tmp_path):
        answer = gateway.ask(body=ASK)
        assert answer.status == 502
        assert url in json.loads(answer.body)["error"]["message"]
        assert answer.body.count(b"\n") == 1
        record = gateway.last()
        assert (record.outcome, record.status, record.messages) == (
            "upstream_error",
            502,
            ASK["messages"],
        )


@pytest.mark.parametrize("garbage", [b"", b"HTTP/1.1 200", b"\x00\x01 garbage\r\n\r\n"])
def test_upstream_that_answers_garbage_is_a_502(
    upstream: FakeUpstream, gateway: Gateway, garbage: bytes
) -> None:
    upstream.answer = lambda _: [garbage, CLOSE]
    assert gateway.ask(body=ASK).status == 502
    assert gateway.last().outcome == "upstream_error"


@pytest.mark.parametrize("status", ["999 X", "299 Fine  enough", "200 "])
def test_status_and_reason_pass_whatever_they_are(
    upstream: FakeUpstream, gateway: Gateway, status: str
) -> None:
    upstream.answer = lambda _: [json_answer(completion("4"), status)]
    response = gateway.send(body=ASK)
    assert f"{response.status} {response.reason}".strip() == status.strip()
    response.read()
    assert gateway.last().status == int(status[:3])


def test_other_endpoints_pass_without_a_record(upstream: FakeUpstream, gateway: Gateway) -> None:
    for method, target in (("GET", "/v1/models"), ("POST", "/v1/embeddings"), ("GET", CHAT)):
        assert gateway.ask(method=method, target=target, body=b"{}").status == 200
    assert gateway.records() == []


def test_legacy_completion_keeps_prompt_and_text(upstream: FakeUpstream, gateway: Gateway) -> None:
    upstream.answer = lambda _: [
        json_answer({"model": "m", "choices": [{"text": " 4", "finish_reason": "length"}]})
    ]
    gateway.ask(target="/v1/completions", body={"model": "m", "prompt": "2+2=", "max_tokens": 1})
    record = gateway.last()
    assert (record.content, record.finish_reason, record.messages) == (" 4", "length", None)
    assert (record.extra["prompt"], record.sampling) == ("2+2=", {"max_tokens": 1})


def test_planted_secrets_never_reach_the_disk(upstream: FakeUpstream, gateway: Gateway) -> None:
    def echo(request: Received) -> list[bytes | str | threading.Event]:
        text = (request.head + request.body).decode()
        return [json_answer({"error": {"message": text}, "headers": text}, "401 X")]

    upstream.answer = echo  # as servers do that repeat a wrong key in their message
    headers = (
        ("Authorization", "Bearer sk-planted-1-bearer"),
        ("X-Api-Key", "sk-planted-2-header"),
        ("Cookie", "session=planted-3-cookie; b=planted-4-cookie"),
    )
    body = {**ASK, "api_key": "planted-5-body", "extra": {"hfToken": 'planted-6-"body'}}
    gateway.ask(target=f"{CHAT}?api-key=planted-7-query&x=1", body=body, headers=headers)
    assert "planted" not in gateway.log.path.read_text()
    assert gateway.last().extra["query"] == "api-key=[redacted]&x=1"
    assert gateway.last().messages == ASK["messages"]


def test_oversized_body_passes_whole_and_the_record_says_what_it_leaves_out(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.answer = lambda _: [json_answer(completion("x" * 5000))]
    for gateway in running_proxy(upstream.url, tmp_path, max_logged_bytes=1000):
        answer = gateway.ask(body={**ASK, "pad": "y" * 5000})
        record = gateway.last()
        assert json.loads(answer.body) == completion("x" * 5000)
        assert len(json.loads(upstream.received[0].body)["pad"]) == 5000
        assert record.extra["log_dropped_request_bytes"] > 5000
        assert (record.outcome, record.content) == ("complete", None)
        assert "larger than the log keeps" in (record.error or "")


def test_answer_that_cannot_be_logged_is_a_503(
    upstream: FakeUpstream, gateway: Gateway, capfd: pytest.CaptureFixture[str]
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, gateway.log.segment.descriptor)
    os.close(full)
    upstream.answer = lambda _: [json_answer(completion("4"))]
    answer = gateway.ask(body=ASK)
    assert answer.status == 503
    assert "No space left on device" in json.loads(answer.body)["error"]["message"]
    assert gateway.ask(method="GET", target="/healthz").status == 503
    assert "cannot be written" in capfd.readouterr().err
