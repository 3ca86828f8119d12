"""The server dies or resets, at every place of an answer."""

from __future__ import annotations

import json

import pytest

from proxy.exchange import Exchange
from tests.proxy.faults.client import Answer
from tests.proxy.faults.conftest import Arena, Runner, ids
from tests.proxy.faults.upstream import CLOSE, RESET, Seen, Step
from tests.proxy.faults.wire import FORMS, FRAMED, Reply, form_of, messages_of, reply_to, words_of

BEFORE_HEAD = ("before the head", "inside the head")
PLACES = {
    **dict.fromkeys((*BEFORE_HEAD, "behind the head", "inside a piece", "between pieces"), FORMS),
    "inside a chunk's size": ("chunked", "sse"),
    "before the last chunk": ("chunked", "sse"),
}


def cut(reply: Reply, place: str) -> tuple[bytes, int]:
    """Return what the server sends before it breaks off, and how much of the body is in it."""
    first, second = reply.parts[:2]
    half = second[: len(second) // 2]
    start = reply.head + reply.wire(first)
    size = b"%x\r\n" % len(second) if reply.chunked else b""
    return {
        "before the head": (b"", 0),
        "inside the head": (reply.head[: len(reply.head) // 2], 0),
        "behind the head": (reply.head, 0),
        "inside a piece": (start + size + half, len(first) + len(half)),
        "between pieces": (start + reply.wire(second), len(first) + len(second)),
        "inside a chunk's size": (start + b"1", len(first)),
        "before the last chunk": (reply.whole()[: -len(reply.end)], len(reply.body)),
    }[place]


@pytest.mark.parametrize("how", [CLOSE, RESET])
@pytest.mark.parametrize("place", list(PLACES))
def test_server_that_breaks_off(run: Runner, place: str, how: str) -> None:
    def plan(request_id: str) -> list[Step]:
        data, n_bytes = cut(reply_to(request_id), place)
        seen: list[Step] = [] if place in BEFORE_HEAD else [Seen(n_bytes)]
        return [data, *seen, how]

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan
        asked = ids(forms=PLACES[place])
        if place == "inside a piece" and how == CLOSE:
            asked = ids(forms=FRAMED)  # for the other form see below
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            answer, record = answers[request_id], records[request_id]
            assert (record.upstream, record.messages) == (
                arena.upstream.url,
                messages_of(request_id),
            )
            if place in BEFORE_HEAD:
                check_refused(answer, record, arena.upstream.url, how)
            else:
                check_cut(request_id, answer, record, place, how)

    run(talk)


def test_stream_that_closes_inside_an_event_is_a_cut(run: Runner) -> None:
    def plan(request_id: str) -> list[Step]:
        return [cut(reply_to(request_id), "inside a piece")[0], CLOSE]

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan
        await arena.ask_all(["sse_close/0"])
        record = (await arena.records(1))["sse_close/0"]
        assert (record.outcome, record.content) == ("upstream_cut", words_of("sse_close/0")[0])

    run(talk)


def check_refused(answer: Answer, record: Exchange, url: str, how: str) -> None:
    error = json.loads(answer.body)["error"]
    assert (answer.status, answer.whole) == (502, True)
    assert (error["type"], error["code"]) == ("upstream_error", 502)
    assert error["message"].startswith(f"upstream {url}: the connection ")
    assert ("reset by peer" in error["message"]) == (how == RESET)
    assert (record.outcome, record.status, record.error) == (
        "upstream_error",
        502,
        error["message"],
    )
    assert (record.content, record.response_bytes) == (None, 0)


def check_cut(request_id: str, answer: Answer, record: Exchange, place: str, how: str) -> None:
    reply = reply_to(request_id)
    _, n_bytes = cut(reply, place)
    came = reply.body[:n_bytes]
    ended_by_close = form_of(request_id) == "sse_close" and how == CLOSE
    assert (answer.status, answer.body) == (200, came)
    assert answer.whole == ended_by_close  # HTTP has no way to tell; the record has
    assert (record.status, record.response_bytes) == (200, n_bytes)
    complete = reply.streamed and place == "before the last chunk"
    assert record.outcome == ("complete" if complete else "upstream_cut")
    if reply.streamed:
        n_events = came.count(b"\n\n")
        assert (record.content or "") == "".join(words_of(request_id)[:n_events])
        rest = came.rpartition(b"\n\n")[2].decode()
        assert record.extra.get("partial", "") == rest.removeprefix("data: ")
    elif place == "before the last chunk":
        assert record.content == "".join(words_of(request_id))
    else:
        assert (record.content, record.extra.get("raw", "")) == (None, came.decode())
    if not complete and not ended_by_close:
        words = "Connection reset by peer" if how == RESET else "the connection broke inside"
        assert words in (record.error or "")
