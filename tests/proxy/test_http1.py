"""Heads and header rules, compared with what RFC 9110 says and what h11 reads."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1 import RequestHead, ResponseHead, request_bytes, response_bytes

NAMES = st.from_regex(rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}\Z")
VALUES = st.from_regex(rb"\A([!-~]([ -~]{0,20}[!-~])?)?\Z")


def headers_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request's head as h11 reads them, names as they stand."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    return list(event.headers.raw_items())


def sent(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return headers_of(request_bytes(RequestHead("POST", b"/", list(headers)), b"/", b"up:1"))


def test_framing_headers_survive_a_connection_header_that_lists_them() -> None:
    assert sent(
        (b"Connection", b"content-length, host, x"), (b"Content-Length", b"3"), (b"X", b"1")
    ) == [(b"Host", b"up:1"), (b"Content-Length", b"3")]


def test_host_is_rewritten_in_its_place() -> None:
    assert sent((b"A", b"1"), (b"hOST", b"proxy"), (b"b", b"2")) == [
        (b"A", b"1"),
        (b"hOST", b"up:1"),
        (b"b", b"2"),
    ]


def test_length_of_a_chunked_body_is_dropped() -> None:
    headers = [(b"Content-Length", b"9"), (b"transfer-Encoding", b"chunked")]
    assert sent(*headers) == [(b"Host", b"up:1"), (b"Transfer-Encoding", b"chunked")]
    head = ResponseHead(200, b"OK", headers)
    assert response_bytes(head) == b"HTTP/1.1 200 OK\r\n\r\n"


def test_reason_and_case_of_an_answer_stay() -> None:
    head = ResponseHead(299, b"Well  enough", [(b"X-a", b"1"), (b"x-A", b"2")])
    assert response_bytes(head) == b"HTTP/1.1 299 Well  enough\r\nX-a: 1\r\nx-A: 2\r\n\r\n"


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_end_to_end_headers_go_on_as_they_stand(headers: list[tuple[bytes, bytes]]) -> None:
    special = {b"host", b"content-length", b"transfer-encoding", b"expect", b"connection"}
    headers = [pair for pair in headers if pair[0].lower() not in special]
    dropped = RequestHead("POST", b"/", headers).left_out()
    kept = [pair for pair in headers if pair[0].lower() not in dropped]
    assert sent(*headers) == [(b"Host", b"up:1"), *kept]
