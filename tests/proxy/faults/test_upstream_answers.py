"""The server answers too slowly, not at all, too much, too early, or nonsense."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from proxy.connection import LINGER_S
from proxy.http1 import MAX_HEAD_BYTES
from tests.proxy.conftest import as_chunk, chunked_head, completion, delta, json_answer, sse
from tests.proxy.conftest import whole_answer as answer_bytes
from tests.proxy.faults.client import Answer, Client, request_bytes
from tests.proxy.faults.conftest import Arena, Runner, ids, until
from tests.proxy.faults.upstream import CLOSE, HOLD, READ_ON, Seen, Step
from tests.proxy.faults.wire import FRAMED, messages_of, reply_to, text_of, words_of

TIMEOUT_S = 0.2
JSON = "application/json"
OK = b"HTTP/1.1 200 OK\r\n"


def test_silent_server_is_given_up_after_the_time_that_was_set(run: Runner) -> None:
    async def talk(arena: Arena) -> None:
        arena.upstream.plan = lambda _: [HOLD]
        asked = ids()
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        words = f"upstream {arena.upstream.url}: sent nothing for {TIMEOUT_S:g} s"
        for request_id in asked:
            answer, record = answers[request_id], records[request_id]
            error = json.loads(answer.body)["error"]
            assert (answer.status, error["message"], error["type"]) == (
                504,
                words,
                "upstream_timeout",
            )
            assert (record.outcome, record.status, record.error) == ("upstream_error", 504, words)
            assert record.messages == messages_of(request_id)
        await until(
            lambda: all(asked.left_at for asked in arena.upstream.asked.values()),
            "the server sees its client leave",
        )

    run(talk, upstream_timeout_s=TIMEOUT_S)


def test_server_that_falls_silent_inside_its_answer(run: Runner) -> None:
    def plan(request_id: str) -> list[Step]:
        reply = reply_to(request_id)
        return [reply.head, reply.wire(reply.parts[0]), HOLD]

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan
        asked = ids()
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            reply, answer, record = (
                reply_to(request_id),
                answers[request_id],
                records[request_id],
            )
            assert (answer.status, answer.body, answer.whole) == (200, reply.parts[0], False)
            assert record.outcome == "upstream_cut"
            assert f"sent nothing for {TIMEOUT_S:g} s" in (record.error or "")
            assert record.content == (words_of(request_id)[0] if reply.streamed else None)
        await until(
            lambda: all(asked.left_at for asked in arena.upstream.asked.values()),
            "the server sees its client leave",
        )

    run(talk, upstream_timeout_s=TIMEOUT_S)


NO_HTTP: dict[str, bytes] = {
    "no HTTP": b"\x00\x01 garbage\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTML alone": b"<html><body>oops</body></html>",
    "length that is no number": OK + b"Content-Length: abc\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative length": OK + b"Content-Length: -1\r\n\r\n",
    "name with a space": OK + b"Bad Name: 1\r\n\r\n",
    "head without an end": OK + b"X-Pad: " + b"x" * (MAX_HEAD_BYTES + 1),
    "protocol that nobody asked for": (
        b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ),
}


@pytest.mark.parametrize("garbage", list(NO_HTTP))
def test_answer_that_is_no_http(run: Runner, garbage: str) -> None:
    async def talk(arena: Arena) -> None:
        arena.upstream.plan = lambda _: [NO_HTTP[garbage], HOLD]
        asked = ids()
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            answer, record = answers[request_id], records[request_id]
            assert (answer.status, answer.whole) == (502, True)
            message = json.loads(answer.body)["error"]["message"]
            assert message.startswith("upstream ")
            assert (record.outcome, record.status, record.error) == ("upstream_error", 502, message)

    run(talk)


BAD_STREAM = sse(delta("a"), done=False) + b"data: {oops\n\n: hm\n\nfoo\x00\xff\n\n"
NONSENSE: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "invalid JSON": (JSON, b'{"choices": [', {"outcome": "malformed", "raw": '{"choices": ['}),
    "JSON of another shape": (JSON, b"[1, 2]", {"outcome": "malformed", "raw": "[1, 2]"}),
    "nothing": (JSON, b"", {"outcome": "malformed"}),
    "HTML": ("text/html", b"<html>", {"outcome": "malformed", "raw": "<html>"}),
    "no text": (JSON, b"\x00\xff\xfe", {"outcome": "malformed", "raw": "\x00��"}),
    "JSON as a stream": (
        "text/event-stream",
        json.dumps(completion("a")).encode(),
        {"outcome": "upstream_cut"},
    ),
    "malformed stream": (
        "text/event-stream",
        BAD_STREAM + sse(delta("b", "stop")),
        {"outcome": "malformed", "raw": ["{oops"], "content": "ab"},
    ),
}


@pytest.mark.parametrize("form", ["sized", "chunked"])
@pytest.mark.parametrize("nonsense", list(NONSENSE))
def test_nonsense_with_status_200_passes_and_the_record_says_so(
    run: Runner, nonsense: str, form: str
) -> None:
    kind, body, expected = NONSENSE[nonsense]
    chunks = as_chunk(body) + as_chunk(b"") if body else as_chunk(b"")
    data = answer_bytes(body, kind) if form == "sized" else chunked_head(kind) + chunks

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = lambda _: [data]
        asked = ids()
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            answer, record = answers[request_id], records[request_id]
            assert (answer.status, answer.body, answer.whole) == (200, body, True)
            found = {
                "outcome": record.outcome,
                "content": record.content,
                "raw": record.extra.get("raw"),
            }
            assert {name: found[name] for name in expected} == expected
            assert record.error

    run(talk)


def test_chunk_that_is_none_breaks_the_answer(run: Runner) -> None:
    def plan(request_id: str) -> list[Step]:
        reply = reply_to(request_id)
        return [reply.head, reply.wire(reply.parts[0]), Seen(1), b"zz\r\nx\r\n", HOLD]

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan
        asked = ids(forms=("chunked", "sse"))
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            assert (answers[request_id].body, answers[request_id].whole) == (
                reply_to(request_id).parts[0],
                False,
            )
            record = records[request_id]
            assert record.outcome == "upstream_cut"
            assert "not valid HTTP" in (record.error or "")

    run(talk)


@pytest.mark.parametrize("then", [CLOSE, HOLD])
def test_more_than_the_content_length_goes_nowhere(run: Runner, then: str) -> None:
    async def talk(arena: Arena) -> None:
        arena.upstream.plan = lambda request_id: [reply_to(request_id).whole() + b"extra", then]
        asked = ids(forms=("sized",))
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            answer = answers[request_id]
            assert (answer.status, answer.body) == (200, reply_to(request_id).body)
            assert answer.whole
            assert (records[request_id].outcome, records[request_id].content) == (
                "complete",
                text_of(request_id),
            )
        assert arena.upstream.n_connections == len(asked)  # none of them was used again

    run(talk)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oops", "503 Busy"])
def test_error_of_the_server_passes_with_its_body(run: Runner, status: str) -> None:
    def plan(request_id: str) -> list[Step]:
        data = json_answer(error_of(request_id), status)
        if request_id.startswith("sized"):
            return [data]
        body = data.partition(b"\r\n\r\n")[2]
        head = chunked_head(JSON, "Retry-After: 7\r\n").replace(b"200 OK", status.encode())
        return [head, as_chunk(body[:9]), as_chunk(body[9:]) + as_chunk(b"")]

    def error_of(request_id: str) -> dict[str, Any]:
        return {"error": {"message": f"no {request_id}", "type": "oops"}}

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan
        asked = ids(forms=FRAMED)
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            answer, record = answers[request_id], records[request_id]
            assert (answer.head.split(b"\r\n")[0], answer.whole) == (
                f"HTTP/1.1 {status}".encode(),
                True,
            )
            assert json.loads(answer.body) == error_of(request_id)
            assert answer.field("retry-after") == ("" if request_id.startswith("sized") else "7")
            assert (record.outcome, record.status, record.error) == (
                "upstream_error",
                int(status[:3]),
                f"no {request_id}",
            )

    run(talk)


def test_server_that_refuses_connections(run: Runner) -> None:
    async def talk(arena: Arena) -> None:
        assert arena.upstream.server is not None
        arena.upstream.server.close()
        asked = ids()
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            message = json.loads(answers[request_id].body)["error"]["message"]
            assert answers[request_id].status == 502
            assert message.startswith(f"upstream {arena.upstream.url}: cannot connect: ")
            record = records[request_id]
            assert (record.outcome, record.error) == ("upstream_error", message)
            assert record.messages == messages_of(request_id)

    run(talk)


def test_answer_that_comes_byte_by_byte_goes_on_byte_by_byte(run: Runner) -> None:
    def plan(request_id: str) -> list[Step]:
        reply = reply_to(request_id)
        head = [reply.head[at : at + 1] for at in range(len(reply.head))]
        body: list[Step] = []
        for at in range(len(reply.body)):
            # the next byte is sent only when the client has this one
            body += [reply.wire(reply.body[at : at + 1]), Seen(at + 1)]
        ends = [CLOSE] if request_id.startswith("sse_close") else []
        return [*head, Seen(0), *body, *([reply.end] if reply.end else []), *ends]

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan
        asked = ids(100)
        answers = await arena.ask_all(asked)
        records = await arena.records(len(asked))
        for request_id in asked:
            assert (answers[request_id].body, answers[request_id].whole) == (
                reply_to(request_id).body,
                True,
            )
            assert (records[request_id].outcome, records[request_id].content) == (
                "complete",
                text_of(request_id),
            )

    run(talk)


TOO_LARGE = {"error": {"message": "too large", "code": 413}}


@pytest.mark.parametrize("then", [READ_ON, HOLD, CLOSE])
def test_answer_that_comes_before_the_request_is_read(run: Runner, then: str) -> None:
    body = json.dumps({"model": "m", "pad": "x" * 2_000_000}).encode()
    extra = "" if then == READ_ON else "Connection: close\r\n"
    data = answer_bytes(json.dumps(TOO_LARGE).encode(), status="413 Too Large", extra=extra)

    async def ask(client: Client, request_id: str) -> Answer:
        writer = await client.connect()
        writer.write(request_bytes(request_id, body))
        answer = await client.answer(request_id)
        await client.close()  # once all is sent: the proxy must go on reading it
        return answer

    async def talk(arena: Arena) -> None:
        arena.upstream.early = True
        arena.upstream.plan = lambda _: [data, then]
        asked = ids()
        answers = await arena.each(asked, ask)
        asked_until = time.monotonic()
        await until(lambda: not arena.proxy.server.connections, "the connections end")
        assert time.monotonic() - asked_until < LINGER_S / 2  # it reads on and sees the end
        records = await arena.records(len(asked))
        for request_id in asked:
            answer, record = answers[request_id], records[request_id]
            assert (record.outcome, record.status) == ("upstream_error", answer.status)
            if then == CLOSE and answer.status == 502:
                # closed with a reset before the proxy could read the answer: TCP then has none
                assert "reset by peer" in answer.body.decode()
                continue
            assert (answer.status, answer.whole) == (413, True)
            assert json.loads(answer.body) == TOO_LARGE
            assert record.error == "too large"

    run(talk)


def test_rest_of_a_request_is_read_behind_its_early_answer(run: Runner) -> None:
    async def talk(arena: Arena) -> None:
        arena.upstream.early = True
        arena.upstream.plan = lambda _: [json_answer(TOO_LARGE, "413 Too Large"), HOLD]

        async def ask(client: Client, request_id: str) -> tuple[Answer, float]:
            data = request_bytes(request_id)
            await client.send(data[:-20])
            answer = await client.answer(request_id)
            await client.send(data[-20:])
            sent_at = time.monotonic()
            assert client.writer is not None
            own = client.writer.get_extra_info("sockname")
            await until(lambda: own not in arena.peers(), "the proxy closes")
            waited_s = time.monotonic() - sent_at
            await client.close()
            return answer, waited_s

        asked = ids()
        for answer, waited_s in (await arena.each(asked, ask)).values():
            assert (answer.status, answer.whole) == (413, True)
            assert waited_s < LINGER_S / 2
        await arena.records(len(asked))

    run(talk)
