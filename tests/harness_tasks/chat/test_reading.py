"""Reading a stream: events that wait are read as if each had been read when it came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness_tasks.chat import reading
from harness_tasks.chat.endpoint import Endpoint, Transport
from harness_tasks.chat.reading import ReplyReader
from harness_tasks.chat.reply import UpstreamError

TRANSPORT = Transport(Endpoint.of("http://127.0.0.1:1"))
STREAM = {"content-type": "text/event-stream"}


def said(**delta: Any) -> str:
    return json.dumps({"model": "m", "choices": [{"index": 0, "delta": delta}]})


def ended(reason: str) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


TEXTS = st.text(alphabet='ab 4é\ud83d\ude00\n\r{}[]"\\', max_size=6)
EVENTS = st.one_of(
    st.builds(lambda text: said(content=text), TEXTS),
    st.builds(lambda text: said(reasoning_content=text), TEXTS),
    st.sampled_from(
        [
            said(role="assistant"),
            said(content="an error, or [DONE]"),
            ended("stop"),
            ended("length"),
            ended("insufficient_system_resource"),
            '{"choices": [], "usage": {"completion_tokens": 3}}',
            '{"error": {"message": "out of memory", "code": 500}}',
            '{"\\u0065rror": {"message": "hidden", "code": 500}}',
            '{"choices": 4}',
            '{"choices": [}',
            "{not JSON}",
            "[DONE]",
            "[1]",
        ]
    ),
)
FRAMES = st.sampled_from(
    [
        "data: %s\n\n",
        "data:%s\n\n",
        "data: %s\r\n\r\n",
        "data: %s\r\r",
        ": busy\n\ndata: %s\n\n",
        "data:\n|data: %s\n\n",  # an event of two lines, in two pieces
        "id: |data: %s\n\n",  # no data at all
        "data: %s\r: {}\n\n",  # a comment after it
    ]
)
FRAMED = st.builds(lambda frame, event: (frame % event).encode(), FRAMES, EVENTS)
USUAL = st.builds(lambda text: f"data: {said(content=text)}\n\n".encode(), TEXTS)


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """Draw a stream as it may come in: whole events for the most part, some cut anywhere."""
    events = draw(st.lists(st.one_of(USUAL, USUAL, FRAMED), max_size=12))
    if draw(st.booleans()):
        return [part for event in events for part in event.split(b"|")]
    events = [event.replace(b"|", b"") for event in events]
    stream = b"".join(events)
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=8))
    return [stream[a:b] for a, b in pairwise(sorted({0, *cuts, len(stream)}))]


def outcome(stream: list[bytes]) -> Any:
    """Return what a stream comes to: its reply with all times, or its fault."""
    clock = count()
    reader = ReplyReader(TRANSPORT, lambda: float(next(clock)))
    now: Iterator[float] = map(float, count(1))
    reader.begin(200, STREAM)
    try:
        for piece in stream:
            at = next(now)
            reader.clock = lambda at=at: at  # type: ignore[misc]
            reader.feed(piece)
        reader.end()
        return reader.reply(), reader.token_at, reader.enough
    except UpstreamError as fault:
        return str(fault), fault.kind, fault.retry, fault.status, reader.built.reply()


FIRST, SECOND = (f"data: {said(content=text)}\n\n".encode() for text in "ab")


@example([FIRST, b"id: ", SECOND])
@example([FIRST, b"data: {\r: }\n\n"])
@example([FIRST, SECOND[:-2] + b"\r: {}\n\n"])
@given(pieces())
def test_events_that_wait_come_to_the_same_as_events_read_at_once(stream: list[bytes]) -> None:
    late = outcome(stream)
    with patch.object(reading, "is_ordinary", lambda data: False):
        assert late == outcome(stream)


def reader_of(*events: str) -> ReplyReader:
    reader = ReplyReader(TRANSPORT, iter(map(float, count())).__next__)
    reader.begin(200, STREAM)
    for event in events:
        reader.feed(f"data: {event}\n\n".encode())
    return reader


def test_after_the_first_token_ordinary_events_wait_until_somebody_asks_when_text_came() -> None:
    reader = reader_of(said(content="a"), said(content="b"), said(content=""))
    assert (len(reader.held), reader.last_token_at) == (2, 1.0)
    assert (reader.token_at, reader.held) == (2.0, [])


def test_what_waits_is_bounded() -> None:
    event = said(content="x" * 500)
    reader, most = reader_of(said(content="a")), 0
    for _ in range(1000):
        reader.feed(f"data: {event}\n\n".encode())
        most = max(most, sum(map(len, reader.held)))
    assert len(event) < most <= reading.MOST_HELD_BYTES
    reader.feed(f"data: {ended('stop')}\n\ndata: [DONE]\n\n".encode())
    reader.end()
    assert reader.reply().content == "a" + "x" * 500_000


def test_an_error_in_the_middle_of_a_stream_is_told_at_once() -> None:
    reader = reader_of(said(content="a"), said(content="b"))
    with pytest.raises(UpstreamError, match="out of memory"):
        reader.feed(b'data: {"error": {"message": "out of memory"}}\n\n')
