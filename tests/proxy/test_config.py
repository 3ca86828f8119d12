from __future__ import annotations

from typing import Any

import pytest

from proxy.config import Address, Upstream, parse_listen, parse_upstream


def test_listen_takes_host_and_port() -> None:
    assert parse_listen("127.0.0.1:0") == Address("127.0.0.1", 0)
    assert parse_listen("[::1]:80") == Address("::1", 80)
    assert parse_listen("[::1]:80").url == "http://[::1]:80"


@pytest.mark.parametrize(
    "text",
    ["", "8766", ":8766", "127.0.0.1", "a:b", "a:70000", "a:-1", "::1:80", "http://a:80", "a:²"],
)
def test_other_listen_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--listen"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "upstream", "url"),
    [
        ("http://127.0.0.1:8080", ("http", "127.0.0.1", 8080, ""), "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", ("http", "127.0.0.1", 8080, ""), "http://127.0.0.1:8080"),
        ("https://host/api/", ("https", "host", 443, "/api"), "https://host/api"),
        ("http://[::1]:80", ("http", "::1", 80, ""), "http://[::1]"),
    ],
)
def test_upstream_takes_a_url(text: str, upstream: tuple[Any, ...], url: str) -> None:
    assert parse_upstream(text) == Upstream(*upstream)
    assert parse_upstream(text).url == url


@pytest.mark.parametrize(
    "text",
    ["", "host:80", "127.0.0.1:8080", "ftp://a", "http://", "http://a:b", "http://a:99999",
     "http://u:p@a", "http://a?q=1", "http://a#f", "http://[::1", "http://a:80/v1"],
)  # fmt: skip
def test_other_upstream_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--upstream"):
        parse_upstream(text)


def test_upstream_with_v1_is_told_what_to_write() -> None:
    with pytest.raises(ValueError, match=r"use 'http://a:80'$"):
        parse_upstream("http://a:80/v1/")
