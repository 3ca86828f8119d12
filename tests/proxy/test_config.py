from __future__ import annotations

from typing import Any

import pytest

from proxy.config import (
    Address,
    Upstream,
    parse_bytes,
    parse_duration_s,
    parse_limit_s,
    parse_listen,
    parse_names,
    parse_routes,
    parse_token,
    parse_upstream,
)


def test_listen_takes_host_and_port() -> None:
    assert parse_listen("127.0.0.1:0") == Address("127.0.0.1", 0)
    assert parse_listen("[::1]:80") == Address("::1", 80)
    assert parse_listen("[::1]:80").url == "http://[::1]:80"
    assert parse_listen("0.0.0.0:65535") == Address("0.0.0.0", 65535)


@pytest.mark.parametrize(
    "text",
    ["", "8766", ":8766", "127.0.0.1", "a:b", "a:70000", "a:65536", "a:-1", "::1:80", "http://a:80",
     "a:²", "a b:80", "a..b:80", "[::1:80", "[]:80", f"{'a' * 64}:80"],
)  # fmt: skip
def test_other_listen_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--listen"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "upstream", "url"),
    [
        ("http://127.0.0.1:8080", ("http", "127.0.0.1", 8080, ""), "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", ("http", "127.0.0.1", 8080, ""), "http://127.0.0.1:8080"),
        ("https://host/api/", ("https", "host", 443, "/api"), "https://host/api"),
        ("HTTP://Host", ("http", "host", 80, ""), "http://host"),
        ("http://[::1]:80", ("http", "::1", 80, ""), "http://[::1]"),
        ("https://a/v1/acc/openai", ("https", "a", 443, "/v1/acc/openai"), "https://a/v1/acc/openai"),
    ],
)  # fmt: skip
def test_upstream_takes_a_url(text: str, upstream: tuple[Any, ...], url: str) -> None:
    assert parse_upstream(text) == Upstream(*upstream)
    assert parse_upstream(text).url == url


@pytest.mark.parametrize(
    "text",
    ["", "host:80", "127.0.0.1:8080", "ftp://a", "http://", "http://a:b", "http://a:99999",
     "http://u:p@a", "http://a?q=1", "http://a?", "http://a#f", "http://[::1", "http://a:80/v1",
     "http://a:0", "http://a b", "http://a/x y", "http://a/x\r\ny", "http://a/é", "http://é",
     "http://a..b", f"http://{'a' * 64}"],
)  # fmt: skip
def test_other_upstream_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--upstream"):
        parse_upstream(text)


@pytest.mark.parametrize(
    "text", ["http://a:80/v1", "http://a:80/v1/", "http://a:80/v1/chat/completions",
             "http://a:80/v1/models", "http://a:80/chat/completions"],
)  # fmt: skip
def test_upstream_with_a_path_that_clients_send_is_told_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"use 'http://a:80'$"):
        parse_upstream(text)


@pytest.mark.parametrize("text", ["http://user:hunter2@a", "http://u:hunter2@a:b", "u:hunter2@a"])
def test_a_password_in_a_url_is_not_repeated(text: str) -> None:
    for routed in (lambda: parse_upstream(text), lambda: parse_routes([], [f"m={text}"])):
        with pytest.raises(ValueError, match="must not hold") as caught:
            routed()
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ValueError, match="NAME=URL") as caught:
        parse_routes([], [text])
    assert "hunter2" not in str(caught.value)


def test_routes_gather_replicas_by_name_and_the_unnamed_one_is_last() -> None:
    routes = parse_routes(
        ["http://r:1", "http://r:2"],
        ["Qwen/Qwen3-8B=http://a:1", "b=https://b", "Qwen/Qwen3-8B=http://a:2", "c:8b=http://a:1"],
    )
    assert [(route.name, [server.url for server in route.upstreams]) for route in routes] == [
        ("Qwen/Qwen3-8B", ["http://a:1", "http://a:2"]),
        ("b", ["https://b"]),
        ("c:8b", ["http://a:1"]),
        (None, ["http://r:1", "http://r:2"]),
    ]


@pytest.mark.parametrize(
    ("route", "named"),
    [
        ("http://a:1", "must be NAME=URL"),
        ("base", "must be NAME=URL"),
        ("=http://a:1", "a name is made of"),
        ("/base=http://a:1", "a name is made of"),
        ("base/=http://a:1", "a name is made of"),
        ("a//b=http://a:1", "a name is made of"),
        ("a/../b=http://a:1", "a name is made of"),
        (" base=http://a:1", "a name is made of"),
        ("a b=http://a:1", "a name is made of"),
        ("a?b=http://a:1", "a name is made of"),
        ("ü=http://a:1", "a name is made of"),
        ("v1=http://a:1", "'v1', which servers have"),
        ("V1/x=http://a:1", "'V1', which servers have"),
        ("_distill=http://a:1", "'_distill', which servers have"),
        ("base=a:1", "--route base must be"),
        ("base=http://a:1/v1", "--route base is the server without /v1"),
        ("base=", "--route base must be"),
        ("a=b=http://a:1", "--route a must be"),
    ],
)
def test_bad_routes_are_named(route: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_routes([], [route])


@pytest.mark.parametrize(
    ("upstreams", "routes", "named"),
    [
        (["http://a", "http://a:80/"], [], "--upstream http://a stands twice"),
        ([], ["m=http://a:1", "m=http://a:1"], "--route m=http://a:1 stands twice"),
        ([], [], "no server to stand before"),
    ],
)
def test_a_replica_twice_or_no_server_at_all_is_refused(
    upstreams: list[str], routes: list[str], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        parse_routes(upstreams, routes)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("256MB", 256_000_000), ("64MiB", 67_108_864), ("1gb", 10**9), ("1.5 MB", 1_500_000),
     ("1000KB", 10**6), ("1TB", 10**12)],
)  # fmt: skip
def test_sizes_are_read(text: str, n_bytes: int) -> None:
    assert parse_bytes(text, "--x") == n_bytes


@pytest.mark.parametrize(
    "text",
    ["", "256", "MB", "-1MB", "1e3MB", "1XB", "1MBps", "٣MB", "999KB", "0MB", "1.1TB", "nanMB"],
)  # fmt: skip
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--x must be"):
        parse_bytes(text, "--x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h", 3600), ("1.5H", 5400), ("2d", 172800)],
)  # fmt: skip
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "--x", 1.0) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1w", "0", "0.5s", "367d", "inf", "nan", "1h30m"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--x must be"):
        parse_duration_s(text, "--x", 1.0)


def test_a_limit_that_is_not_given_is_none_and_zero_is_one() -> None:
    assert parse_limit_s(None, "--grace", 0.0) is None
    assert parse_limit_s("0", "--grace", 0.0) == 0.0


def test_token_is_one_word_and_never_repeated() -> None:
    assert parse_token(None, "--token") is None
    assert parse_token("sk-1:2=3", "--token") == "sk-1:2=3"
    for bad in ("", " ", "two words", "tab\t", "sésame", "new\nline"):
        with pytest.raises(ValueError, match="--token") as caught:
            parse_token(bad, "--token")
        assert bad in ("", " ") or bad not in str(caught.value)


def test_redacted_names_are_kept_in_lower_case() -> None:
    assert parse_names(["User_Email", " ssn "]) == {"user_email", "ssn"}
    with pytest.raises(ValueError, match="--redact"):
        parse_names(["ssn", " "])
