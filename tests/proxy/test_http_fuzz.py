"""What our two sides read, compared with what h11 reads, over generated and broken messages.

Where h11 refuses and we do not, the message is one of a few kinds that change nothing of where a
message ends: see `lenient_answer` and `lenient_requests`. Nothing else may be accepted.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http1 import HOP_BY_HOP, MAX_HEAD_BYTES
from tests.proxy.conftest import (
    CHAT,
    CLOSE,
    DEADLINE_S,
    FakeUpstream,
    Gateway,
    running_proxy,
)
from tests.proxy.wire import (
    CUT,
    REFUSED,
    WHOLE,
    Answer,
    Asked,
    cut,
    h11_answer,
    h11_requests,
    read_answer,
    read_requests,
)

FUZZED = settings(max_examples=250, deadline=None, derandomize=True)
STEERING = {
    b"connection", b"content-length", b"host", b"transfer-encoding", b"upgrade", b"expect",
    b"keep-alive", b"te", b"trailer", b"proxy-connection", b"proxy-authenticate",
    b"proxy-authorization",
}  # fmt: skip
NAMES = st.from_regex(rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}\Z").filter(
    lambda name: name.lower() not in STEERING
)
VALUES = st.from_regex(rb"\A([!-~\x80-\xff]([ -~\t\x80-\xff]{0,12}[!-~\x80-\xff])?)?\Z")
FIELDS = st.lists(st.tuples(NAMES, VALUES) | st.just((b"Set-Cookie", b"a=1")), max_size=6)
REASONS = st.from_regex(rb"\A([!-~\x80-\xff][ -~\x80-\xff]{0,12})?\Z")
PLACES = st.lists(st.integers(0, 2000), max_size=5)
STATUSES = (200, 201, 204, 206, 226, 299, 301, 304, 400, 401, 404, 418, 429, 500, 503, 529, 999)


def spelled(draw: st.DrawFn, name: bytes) -> bytes:
    """Return a header's name in some case."""
    return draw(st.sampled_from([name, name.lower(), name.upper(), name.swapcase()]))


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a body in chunks of odd spelling, with extensions and trailers."""
    wire, at = b"", 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        spelling = draw(st.sampled_from([b"%x", b"%X", b"%04x"])) % size
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b;c"', b";a=b;c=d"]))
        wire += spelling + extension + b"\r\n" + body[at : at + size] + b"\r\n"
        at += size
    trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"Set-Cookie: b\r\nA: \r\n"]))
    return wire + draw(st.sampled_from([b"0", b"000", b"0;end"])) + b"\r\n" + trailers + b"\r\n"


def head_of(start: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    return start + b"\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in fields) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bytes, bool]:
    """Return a method, the bytes of a valid answer to it, and whether the connection then ends."""
    method = draw(st.sampled_from(["GET", "POST", "HEAD"]))
    status = draw(st.sampled_from(STATUSES))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    fields = draw(FIELDS)
    body = draw(st.binary(max_size=60))
    framings = ["length", "close"] if version == b"1.0" else ["length", "chunked", "close"]
    framing = draw(st.sampled_from(framings))
    if method == "HEAD" or status == 304:
        wire = b""
    elif status == 204:
        wire, framing = b"", "none"
    else:
        wire = draw(chunked(body)) if framing == "chunked" else body
    where = draw(st.integers(0, len(fields)))
    if framing == "length":
        fields.insert(where, (spelled(draw, b"Content-Length"), b"%d" % len(body)))
    elif framing == "chunked":
        fields.insert(where, (spelled(draw, b"Transfer-Encoding"), b"chunked"))
    if version == b"1.1" and (word := draw(st.sampled_from([b"", b"close", b"Keep-Alive"]))):
        fields.append((spelled(draw, b"Connection"), word))
    start = b"HTTP/%s %d %s" % (version, status, draw(REASONS))
    interims = draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    before = b"".join(head_of(b"HTTP/1.1 %d Go on" % number, [(b"A", b"1")]) for number in interims)
    return method, before + head_of(start, fields) + wire, framing == "close"


def may_be_kept(method: str, expected: Answer, eof: bool) -> bool:
    """Return whether we keep the connection: never behind a failure, or an answer to HEAD."""
    return expected.keep and not eof and expected.status < 500 and method != "HEAD"


@FUZZED
@given(answers(), PLACES)
def test_valid_answers_are_read_as_h11_reads_them(
    message: tuple[str, bytes, bool], places: list[int]
) -> None:
    method, data, eof = message
    expected = h11_answer(method, data, eof)
    assert expected.state == WHOLE
    seen = read_answer(method, cut(data, places), eof)
    assert seen == expected._replace(keep=may_be_kept(method, expected, eof))


ANSWERS = [
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello", False),
    ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", False),
    (
        "GET",
        b"HTTP/1.1 100 Continue\r\nA: 1\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n5;a=b\r\nhello\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
        False,
    ),
    ("GET", b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello", True),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", False),
    ("GET", b"HTTP/1.1 204 \r\nA: b\r\n\r\n", False),
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", False),
    (
        "GET",
        b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
        False,
    ),
]


@pytest.mark.parametrize(("method", "data", "eof"), ANSWERS)
def test_answers_are_the_same_for_a_cut_at_every_place(method: str, data: bytes, eof: bool) -> None:
    expected = read_answer(method, [data], eof)
    assert expected.state == WHOLE
    for place in range(1, len(data)):
        assert read_answer(method, cut(data, [place]), eof) == expected
    assert read_answer(method, cut(data, list(range(len(data)))), eof) == expected


@pytest.mark.parametrize(("method", "data", "eof"), ANSWERS)
def test_answers_that_stop_early_are_never_whole(method: str, data: bytes, eof: bool) -> None:
    shortest = data.rindex(b"\r\n\r\n") + 4 if eof or method == "HEAD" else len(data)
    for end in range(shortest):
        assert read_answer(method, [data[:end]], eof=True).state == REFUSED
        assert read_answer(method, [data[:end]], eof=False).state in (CUT, REFUSED)


BITS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"7", b"-",
     b"+", b"\xff", b"x", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b" chunked"]
)  # fmt: skip
CHANGES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 3), BITS), min_size=1, max_size=3)


def changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Return the bytes with some left out, replaced and put in."""
    for place, n_out, put_in in changes:
        at = place % (len(data) + 1)
        data = data[:at] + put_in + data[at + n_out :]
    return data


def lenient_answer(data: bytes) -> bool:
    """Tell whether an answer is of a kind that llhttp takes and h11 does not.

    Line ends before a status line, which end nothing, and control bytes in the reason phrase,
    which go on as they are. Neither moves the end of a message.
    """
    started = re.match(rb"[\r\n]", data) or re.search(rb"\r\n\r\n[\r\n]+HTTP/", data)
    return bool(started or re.search(rb"HTTP/1\.\d \d{3} [^\r\n]*[\0-\x08\x0b-\x1f\x7f]", data))


@FUZZED
@given(st.sampled_from(ANSWERS), CHANGES, PLACES, st.booleans())
def test_broken_answers_are_never_taken_for_more_than_they_are(
    message: tuple[str, bytes, bool],
    changes: list[tuple[int, int, bytes]],
    places: list[int],
    eof: bool,
) -> None:
    method, data, _ = message
    data = changed(data, changes)
    seen = read_answer(method, cut(data, places), eof)
    expected = h11_answer(method, data, eof)
    if eof:
        assert seen.state != CUT, "a closed connection leaves no one waiting"
    if seen.state == WHOLE and not lenient_answer(data):
        assert seen._replace(keep=False) == expected._replace(keep=False)
        assert may_be_kept(method, expected, eof) or not seen.keep or data[-1:] in b"\r\n"


KNOWN = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PROPFIND", "M-SEARCH")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return the bytes of a valid request, on a connection that stays."""
    fields = draw(FIELDS)
    fields.insert(0, (spelled(draw, b"Host"), b"x"))
    body = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["none", "length", "chunked", "upgrade"]))
    wire = b""
    if framing in ("length", "upgrade"):
        wire = body
        fields.append((spelled(draw, b"Content-Length"), b"%d" % len(body)))
    elif framing == "chunked":
        wire = draw(chunked(body))
        fields.append((spelled(draw, b"Transfer-Encoding"), b"chunked"))
    if framing == "upgrade":
        fields += [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c")]
    target = draw(
        st.from_regex(rb"\A/[!$-~]{0,20}(\?[!$-~]{0,20})?\Z") | st.just(b"http://x/v1/models")
    )
    return (
        head_of(b"%s %s HTTP/1.1" % (draw(st.sampled_from(KNOWN)).encode(), target), fields) + wire
    )


@FUZZED
@given(st.lists(requests(), min_size=1, max_size=4), PLACES)
def test_valid_requests_are_read_as_h11_reads_them(
    messages: list[bytes], places: list[int]
) -> None:
    data = b"".join(messages)
    expected, refused = h11_requests(data)
    served = read_requests(cut(data, places))
    assert (served.requests, served.refusal) == (expected, None)
    assert (len(expected), refused) == (len(messages), False)


REQUESTS = [
    b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
    b"POST /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 3\r\n\r\nabc",
    b"POST /c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /g HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
]


@pytest.mark.parametrize("first", REQUESTS)
def test_requests_are_the_same_for_a_cut_at_every_place(first: bytes) -> None:
    data = first + REQUESTS[1] + first
    expected, _ = h11_requests(data)
    assert len(expected) == 3
    for place in range(1, len(data)):
        assert read_requests(cut(data, [place])).requests == expected
    assert read_requests(cut(data, list(range(len(data))))).requests == expected


def lenient_requests(data: bytes) -> bool:
    """Tell whether requests are of a kind that llhttp takes and h11 does not.

    Line ends between requests, more than one space in the request line, and no Host (the server
    gets ours anyway). None moves the end of a message.
    """
    heads = re.split(rb"(?=(?:[!-~]+) +\S+ +HTTP/1\.1\r\n)", data)
    hosts = [len(re.findall(rb"(?i)^host:", head, re.MULTILINE)) for head in heads if head.strip()]
    spaces = re.search(rb"^\S+ +\S+ +HTTP", data, re.MULTILINE)
    between = re.match(rb"[\r\n]", data) or re.search(rb"[\r\n]\Z", data)
    return bool(between or 0 in hosts or (spaces and b"  " in spaces[0]))


def comparable(asked: tuple[Asked, ...]) -> list[tuple[str, bytes, bytes]]:
    return [(item.method, item.target, item.body) for item in asked]


@FUZZED
@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3), CHANGES, PLACES)
def test_broken_requests_are_never_taken_for_more_than_they_are(
    messages: list[bytes], changes: list[tuple[int, int, bytes]], places: list[int]
) -> None:
    data = changed(b"".join(messages), changes)
    served = read_requests(cut(data, places))
    expected, refused = h11_requests(data)
    if not lenient_requests(data):
        assert comparable(served.requests) == comparable(expected)[: len(served.requests)]
        assert served.refusal is not None or not refused
    answered = served.sent.count(b"HTTP/1.1 200 OK")
    assert answered == len(served.requests)
    assert (b"HTTP/1.1 %d " % (served.refusal or 0) in served.sent) == bool(served.refusal)


POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (POST + b"Content-Length: +3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\nabc", 400),
        (POST + b"Content-Length : 3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 3\r\n folded\r\n\r\nabc", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 7\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Host: y\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n", 400),
        (b"GET /a\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n: x\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /a\r\n\r\n", 505),
        (b"GET /a HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501),
        (b"G\xc3\x89T /a HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"M" * 65 + b" /a HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    ],
)
def test_requests_of_unclear_meaning_are_refused_and_nothing_behind_them_is_read(
    data: bytes, status: int
) -> None:
    for pieces in ([data + NEXT], [data, NEXT], cut(data + NEXT, [len(data) // 2])):
        served = read_requests(pieces)
        assert served.refusal == status
        assert all(b"smuggled" not in asked.target for asked in served.requests)
        assert served.sent.count(b"Content-Length: ") == 1
        assert h11_answer("POST", served.sent, eof=True).status == status


def test_nothing_is_read_behind_a_chunked_body_of_http_1_0() -> None:
    first = b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    served = read_requests([first + b"1\r\na\r\n0\r\n\r\n" + NEXT])
    assert [asked.body for asked in served.requests] == [b"a"]
    assert b"\r\nConnection: close\r\n" in served.sent


@pytest.mark.parametrize(
    "data",
    [
        b"GET /a HTTP/1.1\r\nA: " + b"x" * MAX_HEAD_BYTES,
        b"GET /" + b"x" * MAX_HEAD_BYTES,
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEAD_BYTES // 4),
        b"BREW / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEAD_BYTES // 4),
    ],
)
def test_heads_larger_than_the_limit_are_refused(data: bytes) -> None:
    served = read_requests(cut(data, list(range(0, len(data), 4000))))
    assert (served.requests, served.refusal) == ((), 431)
    under = read_requests([data[: MAX_HEAD_BYTES - 100]])
    assert under.refusal is None


@pytest.mark.parametrize("method", ["BREW", "QUERY", "GETX", "x", "P0ST-IT!"])
def test_unknown_methods_pass_with_their_bodies_one_after_the_other(method: str) -> None:
    one = method.encode() + REQUESTS[1][4:]
    served = read_requests([one, REQUESTS[0], one[:30], one[30:]])
    assert [item.method for item in served.requests] == [method, "GET", method]
    assert [item.body for item in served.requests] == [b"hello", b"", b"hello"]


@pytest.mark.parametrize("first", REQUESTS[:3])
def test_unknown_method_behind_another_request_does_not_repeat_that(first: bytes) -> None:
    served = read_requests([first + b"BREW /b HTTP/1.1\r\nHost: x\r\n\r\n"])
    assert (len(served.requests), served.refusal) == (1, 501)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeUpstream, Gateway]]:
    fake = FakeUpstream()
    for gateway in running_proxy(fake.url, tmp_path_factory.mktemp("log")):
        yield fake, gateway
    fake.stop()


def passed_on(answer: Answer) -> Answer:
    """Return what a client should see of a server's answer, but for framing and the connection."""
    listed = [value for name, value in answer.headers if name.lower() == b"connection"]
    stays = {*HOP_BY_HOP, b"content-length", *b",".join(listed).lower().split(b",")}
    headers = tuple(pair for pair in answer.headers if pair[0].lower() not in stays)
    return answer._replace(headers=headers, keep=False)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(answers(), PLACES, st.sampled_from([CHAT, "/v1/completions", "/x"]))
def test_answers_pass_the_proxy_and_our_heads_are_read_by_h11(
    proxied: tuple[FakeUpstream, Gateway],
    message: tuple[str, bytes, bool],
    places: list[int],
    path: str,
) -> None:
    fake, gateway = proxied
    method, data, eof = message
    fake.answer = lambda _: [*cut(data, places), *([CLOSE] if eof else [])]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE_S) as client:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode())
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert passed_on(h11_answer(method, received, eof=False)) == passed_on(
        h11_answer(method, data, eof)
    )
