from __future__ import annotations

import dataclasses
import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.config import ProxyConfig
from proxy.http1 import RequestHead
from proxy.message import MessageBuilder
from proxy.recorder import BATCH_PIECES, Ending, Recorder
from proxy.stencil import CREDIT, LESSON, Stencils
from tests.conftest import needs_shared
from tests.proxy.conftest import CHAT
from tests.proxy.test_recorder import CONFIG, SSE
from tests.proxy.test_wire_fixtures import CASES, Case

COMPACT = (",", ":")
SPACED = (", ", ": ")
LARGE = CONFIG.max_logged_bytes


class Counting(MessageBuilder):
    """Counts the chunks that come the long way."""

    n_long = 0

    def add(self, chunk: object, size: int = 0) -> bool:
        self.n_long += 1
        return super().add(chunk, size)


def recorded(
    pieces: list[bytes], quick: bool, config: ProxyConfig = CONFIG, ending: Ending = Ending.ENDED
) -> tuple[bytes, Recorder]:
    """Return the record of a stream; the clock goes on by one each time it is looked at."""
    ticks = itertools.count(100)
    head = RequestHead("POST", CHAT.encode(), [(b"x-request-id", b"r")])
    recorder = Recorder(head, config, lambda: float(next(ticks)))
    recorder.started_at = "t"
    recorder.builder = Counting(config.max_logged_bytes)
    recorder.begin(200, SSE)
    assert recorder.stream is not None
    if not quick:
        recorder.stream.stencils = None
    for piece in pieces:
        recorder.receive(piece)
        recorder.digest()
    return recorder.finish(ending), recorder


def assert_same(pieces: list[bytes], config: ProxyConfig = CONFIG) -> None:
    quick, fast = recorded(pieces, True, config, Ending.CLIENT_CUT)
    plain, slow = recorded(pieces, False, config, Ending.CLIENT_CUT)
    assert json.loads(quick) == json.loads(plain)
    assert quick == plain
    assert recorded(pieces, True, config)[0] == recorded(pieces, False, config)[0]
    for name in ("n_added", "left", "n_dropped_chars", "n_malformed", "problems", "usage"):
        assert getattr(fast.builder, name) == getattr(slow.builder, name)
    assert fast.stream is not None
    assert slow.stream is not None
    for name in ("done", "pieces", "data", "at_start", "after_cr", "skipping", "n_oversized"):
        assert getattr(fast.stream.parser, name) == getattr(slow.stream.parser, name)


def chunk(text: Any, name: str = "content", index: Any = 0, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": {name: text}, "finish_reason": None}
    return {"id": "c", "choices": [choice], "model": "m", **more}


def spelled(value: Any, separators: tuple[str, str] = COMPACT, escaped: bool = False) -> bytes:
    """Return a value as an event; a lone surrogate is spelled as its escape."""
    try:
        text = json.dumps(value, separators=separators, ensure_ascii=escaped).encode()
    except UnicodeEncodeError:
        text = json.dumps(value, separators=separators).encode()
    return b"data: " + text + b"\n\n"


def cut_at(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


INSIDE = '"},"finish_reason":null}],"model":"m"}\n\ndata: {"id":"c","choices":[{"index":0,"delta":{'
TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", " b", "é", "😀", "\u2028", '"', "\\", "\\\\", '\\"', "\n", "\n\n", "\x7f", "\0",
         "\r", "[DONE]", "data: [DONE]\n\n", INSIDE, INSIDE + '"content":"', '","', '"]', "[",
         "\\u0041", "\ud83d", "\ude00", "<think>", "9" * 30, ":9999999999999999999999", "x" * 60]
    ),
    st.text(max_size=5),
)  # fmt: skip
RAW = st.sampled_from(
    [b'"', b"\\", b'\\"', b'a","content":"b', b'a","role":"b', b'a"},"x":{"y":"z', b'","', b"\t",
     b"\n", b"\r", b"\n\ndata: ", b"\\u12", b"\\ud83d", b"\\ud83d\\ude00", b"\\x", b"\xff",
     b"\xf0\x9f", b"\x98\x80", b',"b', b'a\\', b'a"}}],"model":"n","y":[{"z":{"q":"', b"\\/",
     b'a"},"index":1,"q":{"r":"', b'a","tool_calls":[],"reasoning":"b']
)  # fmt: skip
"""What stands between the quotes, valid or not."""
ODD = st.sampled_from(
    [b"data: [DONE]\n\n", b": hello\n\n", b"data: {\n\n", b"data: 5\n\n", b"\n\n", b"\n", b"\r\n",
     b"data:", b"\xef\xbb\xbf", b"data: {}\n\n", b"event: x\n", b"data: \n\n",
     spelled(chunk("a", error=None)), spelled(chunk("a", usage={"n": 1})), spelled({"usage": {}}),
     spelled({"choices": [], "usage": {"completion_tokens": 3}, "model": "m", "id": "c"}),
     spelled({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "model": "m"}),
     spelled(chunk([{"index": 0, "function": {"arguments": "{"}}], "tool_calls")),
     spelled({"error": {"message": "no"}}), spelled(chunk("a", "refusal")), spelled(chunk(None)),
     spelled(chunk("a", index=1.0)), spelled(chunk("a", index=True)), spelled(chunk("a", index=7)),
     b'data: {"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}\n\n',
     b'data: {"choices":[{"index":0,"delta":{"content":"a"},"delta":{"content":"b"}}]}\n\n',
     b'data: {"choices":[{"index":0,"delta":{"content":"a","x\\"content":"b"}}]}\n\n',
     b'data: {"content":"xx","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n',
     b'data: {"content":"z","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n',
     b'data: {"content":"x","choices":[{"index":0,"delta":{"content":"xx"}}]}\n\n',
     b'data: {"choices":[{"index":0,"delta":{"content":"a","content":null}}]}\n\n',
     b'data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[1]}}]}\n\n',
     b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],\ndata: "model":"m"}\n\n']
)  # fmt: skip
STYLES = st.tuples(
    st.sampled_from(["content", "reasoning_content", "reasoning", "refusal"]),
    st.integers(0, 1),
    st.sampled_from([COMPACT, SPACED]),
    st.booleans(),
    st.sampled_from(
        [{}, {"model": "n"}, {"n": 10**25}, {"x": float("nan")}, {"x": {"content": "x"}}]
    ),
    st.sampled_from([{}, {"role": "assistant", "reasoning": None}, {"content": ""}, {"x": "y"}]),
)


@st.composite
def runs(draw: st.DrawFn) -> bytes:
    """Events of one style with any texts in them."""
    name, index, separators, escaped, more, beside = draw(STYLES)
    hole = chunk("@", name, index, **more)
    hole["choices"][0]["delta"] = {**beside, name: "@"}
    around = spelled(hole, separators).split(b"@")
    found = b""
    for text in draw(st.lists(TEXTS | RAW, min_size=1, max_size=9)):
        if isinstance(text, bytes):
            found += text.join(around)
        else:
            found += spelled(text, separators, escaped)[7:-3].join(around)
    return found


STREAMS = st.lists(runs() | ODD, max_size=9).map(b"".join)


@given(
    STREAMS,
    st.lists(st.integers(0, 2**16), max_size=9),
    st.booleans(),
    st.sampled_from([LARGE, LARGE, 2000, 300, 120]),
    st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"]),
)
@settings(deadline=None, max_examples=300)
def test_record_is_that_of_the_long_way(
    stream: bytes, cuts: list[int], whole_events: bool, limit: int, newline: bytes
) -> None:
    stream = stream.replace(b"\n", newline)
    pieces = cut_at(stream, cuts)
    if whole_events:
        pieces = [part + b"\n\n" for part in stream.split(b"\n\n")]
    assert_same(pieces, dataclasses.replace(CONFIG, max_logged_bytes=limit))


def around(text: bytes) -> bytes:
    return spelled(chunk("@")).replace(b"@", text)


@given(
    st.lists(st.lists(st.sampled_from([b'"', b"\\", b",", b"a", b"\n", b"[", b"]"])), max_size=5),
    st.booleans(),
)
@settings(deadline=None, max_examples=300)
@example([[b"a", b"\\"], [b",", b'"', b"a"]], False)
@example([[b"a", b'"', b","], [b",", b'"', b"a"]], True)
def test_only_strings_are_texts(texts: list[list[bytes]], joined: bool) -> None:
    events = [around(b"a"), around(b"b"), *(around(b"".join(text)) for text in texts)]
    assert_same([b"".join(events)] if joined else events)


@needs_shared
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.streamed], ids=lambda case: case.name
)
@pytest.mark.parametrize("size", [0, 13, 997, 4096, 2**20])
def test_record_of_a_fixture_is_that_of_the_long_way(case: Case, size: int) -> None:
    body = case.body
    pieces = [body[start : start + size] for start in range(0, len(body), size)] if size else []
    assert_same(pieces or [part + b"\n\n" for part in body.split(b"\n\n")])


def stream_of(texts: list[str], **more: Any) -> list[bytes]:
    first = {**chunk(""), "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    return [spelled(first), *(spelled(chunk(text, **more)) for text in texts)]


@pytest.mark.parametrize("size", [0, 1000, 16_384, 2**20])
@pytest.mark.parametrize("separators", [COMPACT, SPACED])
def test_ordinary_stream_hardly_ever_goes_the_long_way(
    size: int, separators: tuple[str, str]
) -> None:
    words = [f'w{n} "q" \\ é😀\n' for n in range(400)]
    names = ["reasoning_content"] * 200 + ["content"] * 200
    pairs = zip(words, names, strict=True)
    pieces = [spelled(chunk(word, name), separators) for word, name in pairs]
    stream = b"".join(pieces) + b"data: [DONE]\n\n"
    if size:
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    line, recorder = recorded(pieces, True)
    row = json.loads(line)
    assert (row["reasoning"], row["content"]) == ("".join(words[:200]), "".join(words[200:]))
    assert row["n_chunks"] == 400
    assert isinstance(recorder.builder, Counting)
    n_cut = len(stream) // size if size else 0
    assert recorder.builder.n_long <= n_cut + 4


def texts_of(stream: list[bytes], texts: list[str]) -> int:
    """Return how many events went the long way."""
    row, recorder = recorded(stream, True)
    found = [json.loads(row), *json.loads(row)["extra"].get("other_choices", [])]
    assert [choice["content"] or choice["reasoning"] for choice in found] == texts
    assert isinstance(recorder.builder, Counting)
    assert_same(stream)
    assert_same([b"".join(stream)])
    return recorder.builder.n_long


def test_stencil_is_used_again_after_another_frame() -> None:
    usual, other = spelled(chunk("a")), spelled(chunk("b", usage={"n": 1}))
    n_long = texts_of(([usual] * 60 + [other]) * 20, [("a" * 60 + "b") * 20])
    assert n_long <= 3 * 20


def test_empty_field_beside_the_text_is_not_taken_for_it() -> None:
    event = spelled(chunk("a", "reasoning")).replace(b'"delta":{', b'"delta":{"content":"",')
    assert texts_of([event] * 20, ["a" * 20]) <= 2


def test_choices_may_alternate() -> None:
    both = [*[spelled(chunk("a"))] * 20, *[spelled(chunk("b", index=1))] * 20]
    assert texts_of(both * 20, ["a" * 400, "b" * 400]) <= 4


@pytest.mark.parametrize("index", [1, 1.0, True])
def test_index_that_is_no_integer_goes_where_it_went(index: Any) -> None:
    pairs = [(0, 3), (1, 3), (0, 3), (index, 4), (1, 2), (index, 4)]
    assert_same([spelled(chunk("a", index=number)) for number, n in pairs for _ in range(n)])


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": {"content": [1]}},
        {"finish_reason": "stop"},
        {"text": "b"},
        {"message": {"content": "b"}},
        {"content_filter": {"hate": 1}},
    ],
)
def test_choice_that_says_more_is_read_in_full(more: dict[str, Any]) -> None:
    value = chunk("a")
    value["choices"][0].update(more)
    assert texts_of([spelled(value)] * 20, ["a" * 20]) == 20


@pytest.mark.parametrize("depth", [400, 960, 990, 1015])
def test_frame_that_is_nested_too_deep_to_compare_is_read_in_full(depth: int) -> None:
    deep = b'{"a":' * depth + b"0" + b"}" * depth
    event = b'data: {"deep":%b,"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n' % deep
    assert_same([event] * 20, dataclasses.replace(CONFIG, max_logged_bytes=8 * len(event)))


@pytest.mark.parametrize("room", range(0, 200, 3))
def test_bounds_are_those_of_the_long_way(room: int) -> None:
    value = chunk("@")
    del value["id"]
    parts = spelled(value).split(b"@")
    texts = [b"a"] * 4 + [b"b" * 60, b"x" * 30, b"c", b"x" * 90] * 3
    first = spelled({"choices": [{"index": 0, "delta": {}}]})
    events = [first, *(text.join(parts) for text in texts)]
    config = dataclasses.replace(CONFIG, max_logged_bytes=len(events[1]) + room)
    assert_same(events, config)
    assert_same([b"".join(events[:4]), b"".join(events[4:])], config)


def test_event_inside_another_is_none() -> None:
    events = stream_of(["a"] * 5)
    for begun in (b"data:", b"data: ", b"data: {}\n", b'data: "', b"x", b"\r"):
        assert_same([*events, begun, *events[1:], b"\n\n", *events[1:]])


def test_empty_texts_are_no_pieces() -> None:
    pieces = stream_of(["a", "b", "", "c", "", "d"])
    for sent in (pieces, [b"".join(pieces)]):
        row = json.loads(recorded(sent, True)[0])
        assert (row["content"], row["n_chunks"]) == ("abcd", 4)


def test_times_are_those_of_the_pieces() -> None:
    events = stream_of(["a"] * 50)
    pieces = [*events[:20], b"".join(events[20:40]), b"".join(events[40:45]), *events[45:]]
    assert_same(pieces)
    row = json.loads(recorded(pieces, True)[0])
    assert (row["n_chunks"], row["ttft_s"]) == (50, 2.0)
    assert row["gaps_s"] == {"p50": 1.0, "p90": 1.0, "p99": 1.0, "max": 1.0}


@pytest.mark.parametrize(
    "events",
    [
        [spelled(chunk("a", obfuscation=str(number))) for number in range(400)],
        [spelled(chunk("\ud83d"))] * 400,
        [spelled(chunk("a", index=number % 2)) for number in range(400)],
        [spelled(chunk([], "tool_calls"))] * 400,
    ],
)
@pytest.mark.parametrize("joined", [True, False])
def test_stream_that_never_repeats_itself_is_given_up(events: list[bytes], joined: bool) -> None:
    pieces = [b"".join(events)] if joined else events
    assert_same(pieces)
    _, recorder = recorded(pieces, True)
    assert recorder.stream is not None
    assert recorder.stream.stencils is not None
    assert recorder.stream.stencils.credit <= 0
    assert isinstance(recorder.builder, Counting)
    assert recorder.builder.n_long >= 400 - CREDIT


def test_stream_that_repeats_itself_is_never_given_up() -> None:
    pieces = []
    for number in range(CREDIT):
        pieces += [spelled(chunk("a", id=str(number)))] * 3 * LESSON
    _, recorder = recorded(pieces, True)
    assert recorder.stream is not None
    assert recorder.stream.stencils is not None
    assert recorder.stream.stencils.credit > 0
    assert isinstance(recorder.builder, Counting)
    assert recorder.builder.n_long < 2 * CREDIT


@given(st.lists(st.sampled_from([b"a", b"\n", b"\n\n", b"b\n\n"])).map(b"".join), st.booleans())
def test_parts_are_the_piece_and_smaller(data: bytes, between_events: bool) -> None:
    parts = Stencils(MessageBuilder()).parts(data, between_events)
    if parts is not None:
        assert all(parts)
        assert b"".join(parts) == data


def test_long_piece_without_anything_to_learn_is_read_in_time() -> None:
    call = [{"index": 0, "function": {"arguments": "a"}}]
    stream = spelled(chunk([], "tool_calls")) * 20_000 + spelled(chunk(call, "tool_calls"))
    started = time.monotonic()
    row = json.loads(recorded([stream], True)[0])
    assert time.monotonic() - started < 10
    assert row["n_chunks"] == 1


def test_batch_of_pieces_is_read_at_once() -> None:
    pieces = stream_of(["a"] * (3 * BATCH_PIECES))
    _, recorder = recorded(pieces, True)
    assert isinstance(recorder.builder, Counting)
    assert recorder.builder.n_long == 2
