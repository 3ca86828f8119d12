from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sse import SSEParser


def events_of(*pieces: bytes, limit: int = 10_000) -> list[bytes]:
    parser = SSEParser(limit)
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata:b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data:  two spaces\n\n", [b" two spaces"]),
        (b": comment\n\ndata: a\n: in it\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 2\ndata: a\n\n", [b"a"]),
        (b"data\n\n", [b""]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_events_of_a_stream(stream: bytes, events: list[bytes]) -> None:
    assert events_of(stream) == events
    assert events_of(*(stream[at : at + 1] for at in range(len(stream)))) == events


def test_unicode_line_separators_are_text() -> None:
    data = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg".encode()
    assert events_of(b"data: " + data + b"\n\n") == [data]


@given(
    st.lists(
        st.sampled_from([b"data: ", b"data:", b"\n", b"\r", b"\r\n", b"x", b": c", "é".encode()])
    ),
    st.lists(st.integers(0, 60)),
)
def test_where_a_stream_is_cut_changes_nothing(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert events_of(*pieces) == events_of(stream)


class PlainParser(SSEParser):
    """The parser without its quick way: the reference."""

    def feed(self, chunk: bytes) -> list[bytes]:
        if self.after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self.after_cr = False
        return self.feed_lines(chunk)


PARTS = [
    b"data: ", b"data:", b"data", b"\n", b"\n\n", b"\r", b"\r\n", b"x", b": c", b"event: y",
    b"data: [DONE]", b"[DONE]", b"data: {}\n\n", b"\xef\xbb\xbf", "é\u2028".encode(),
]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS)), st.integers(1, 20), st.sampled_from([8, 30, 10_000]))
def test_quick_way_gives_what_reading_line_by_line_gives(
    parts: list[bytes], size: int, limit: int
) -> None:
    stream = b"".join(parts)
    quick, plain = SSEParser(limit), PlainParser(limit)
    for start in range(0, len(stream), size):
        piece = stream[start : start + size]
        assert quick.feed(piece) == plain.feed(piece)
        assert (quick.done, quick.n_oversized) == (plain.done, plain.n_oversized)
    assert quick.close() == plain.close()


def test_quick_way_is_taken_for_whole_events(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = SSEParser()
    parser.feed(b"data: 0\n\n")
    monkeypatch.setattr(parser, "feed_lines", None)
    assert parser.feed(b"data: 1\n\n") == [b"1"]
    assert not parser.done
    assert parser.feed(b"data: 2\n\ndata: [DONE]\n\n") == [b"2", b"[DONE]"]
    assert parser.done


def test_end_that_comes_as_a_piece_of_its_own_is_seen() -> None:
    parser = SSEParser()
    parser.feed(b"data: 0\n\n")
    assert parser.feed(b"data: [DONE]\n\n") == [b"[DONE]"]
    assert parser.done


@pytest.mark.parametrize("piece", [1, 3, 5, 100])
@pytest.mark.parametrize("marker", [b"data: [DONE]", b"data:[DONE]"])
def test_end_is_seen_with_its_last_byte_before_any_newline(marker: bytes, piece: int) -> None:
    parser = SSEParser()
    stream = b"data: {}\n\n" + marker
    for start in range(0, len(stream), piece):
        assert not parser.done
        parser.feed(stream[start : start + piece])
    assert parser.done


def test_end_marker_inside_a_text_is_no_end() -> None:
    parser = SSEParser()
    parser.feed(b'data: {"content": "data: [DONE]"}\n\n')
    assert not parser.done


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_oversized_event_is_dropped_and_the_next_one_read(piece: int) -> None:
    stream = b"data: " + b"x" * 60 + b"\ndata: more\n\ndata: ok\n\n"
    parser = SSEParser(max_event_bytes=50)
    pieces = [stream[start : start + piece] for start in range(0, len(stream), piece)]
    events = [event for part in pieces for event in parser.feed(part)]
    assert (events, parser.n_oversized) == ([b"ok"], 1)
    assert parser.n_pending <= 50
