from __future__ import annotations

from proxy.upstream import request_headers, response_headers


def test_framing_headers_survive_a_connection_header_that_lists_them() -> None:
    headers = [(b"Connection", b"content-length, host, x"), (b"Content-Length", b"3"), (b"X", b"1")]
    assert request_headers(headers, b"up:1") == [(b"host", b"up:1"), (b"content-length", b"3")]


def test_host_is_rewritten_in_its_place() -> None:
    headers = [(b"A", b"1"), (b"Host", b"proxy"), (b"B", b"2")]
    assert request_headers(headers, b"up:1") == [(b"a", b"1"), (b"host", b"up:1"), (b"b", b"2")]


def test_length_of_a_chunked_body_is_dropped() -> None:
    headers = [(b"Content-Length", b"9"), (b"Transfer-Encoding", b"chunked")]
    assert response_headers(headers) == []
    assert request_headers(headers, b"u") == [(b"host", b"u"), (b"transfer-encoding", b"chunked")]
