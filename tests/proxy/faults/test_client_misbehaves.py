"""The client is slow, stops, sends what is no HTTP, or many requests at once."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.http1 import HIGH_WATER_BYTES
from tests.proxy.conftest import CHAT
from tests.proxy.faults.client import Answer, Client, request_bytes
from tests.proxy.faults.conftest import Arena, Runner, ids, until
from tests.proxy.faults.upstream import HOLD, Step, whole_answer
from tests.proxy.faults.wire import FRAMED, messages_of, question, reply_to, text_of

LIMIT_S = 0.3
PIPELINED = 8


async def check_served(arena: Arena, asked: list[str]) -> None:
    """Ask while others misbehave, and see that nothing of it is felt."""
    answers = await arena.ask_all(asked)
    for request_id, answer in answers.items():
        assert (answer.status, answer.body) == (200, reply_to(request_id).body)


def test_head_that_does_not_come_to_its_end(run: Runner) -> None:
    async def dawdle(client: Client, request_id: str) -> Answer:
        writer = await client.connect()
        for byte in request_bytes(request_id)[:60]:
            writer.write(bytes([byte]))
            if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
                break
            await asyncio.sleep(LIMIT_S / 20)
        answer = await client.answer(request_id)
        assert client.writer is None  # the answer said so
        return answer

    async def talk(arena: Arena) -> None:
        arena.proxy.server.head_s = LIMIT_S
        slow = [f"slow/{number}" for number in range(100)]
        asked = ids()
        answers, _ = await asyncio.gather(arena.each(slow, dawdle), check_served(arena, asked))
        assert {answer.status for answer in answers.values()} == {408}
        assert set(await arena.records(len(asked))) == set(asked)

    run(talk)


def test_request_that_comes_byte_by_byte_is_answered(run: Runner) -> None:
    async def dribble(client: Client, request_id: str) -> Answer:
        for byte in request_bytes(request_id, chunked=request_id.endswith("1")):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        return await client.answer(request_id)

    async def talk(arena: Arena) -> None:
        asked = ids(forms=FRAMED)
        answers = await arena.each(asked, dribble)
        records = await arena.records(len(asked))
        for request_id in asked:
            assert (answers[request_id].body, answers[request_id].whole) == (
                reply_to(request_id).body,
                True,
            )
            assert arena.upstream.asked[request_id].body == question(request_id)
            record = records[request_id]
            assert (record.content, record.messages) == (
                text_of(request_id),
                messages_of(request_id),
            )

    run(talk)


def test_request_whose_body_stops(run: Runner) -> None:
    async def stop(client: Client, request_id: str) -> Answer:
        chunked = int(request_id.rpartition("/")[2]) % 2 == 1
        await client.send(request_bytes(request_id, chunked=chunked)[:-9])
        return await client.answer(request_id)

    async def talk(arena: Arena) -> None:
        asked = [f"stopped/{number}" for number in range(200)]
        served = ids()
        answers, _ = await asyncio.gather(arena.each(asked, stop), check_served(arena, served))
        records = await arena.records(len(asked) + len(served))
        for request_id in asked:
            assert answers[request_id].status == 408
            assert records[request_id].outcome == "client_cut"
            assert records[request_id].error == "the client stopped sending its request"
        await until(
            lambda: all(arena.upstream.asked[request_id].left_at for request_id in asked),
            "the server sees its client leave",
        )

    run(talk, stall_timeout_s=LIMIT_S)


POST = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n".encode()
MALFORMED: dict[str, tuple[bytes, int]] = {
    "no method": (b"hello\r\n\r\n", 501),
    "no version": (b"GET /\r\n\r\n", 505),
    "header without colon": (POST + b"Nope\r\n\r\n", 400),
    "header with a NUL": (POST + b"X: a\x00b\r\n\r\n", 400),
    "folded header": (POST + b"X: a\r\n b\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "length and chunks": (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "length that is no number": (POST + b"Content-Length: 1x\r\n\r\n", 400),
    "another version": (b"GET / HTTP/3.0\r\n\r\n", 400),
    "head without an end": (POST + b"X: " + b"x" * 300_000, 431),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 501),
}


@pytest.mark.parametrize("fault", list(MALFORMED))
def test_what_is_no_request_is_refused_and_the_connection_ends(run: Runner, fault: str) -> None:
    data, status = MALFORMED[fault]

    async def send(client: Client, request_id: str) -> Answer:
        served = await client.ask(request_id)  # the connection was good until then
        if served.field("connection") != "close":
            assert served.body == reply_to(request_id).body
        await client.send(data)
        answer = await client.answer(request_id)
        await client.close()
        return answer

    async def talk(arena: Arena) -> None:
        asked = ids(forms=FRAMED)
        answers = await arena.each(asked, send)
        for answer in answers.values():
            assert (answer.status, answer.whole) == (status, True)
            assert json.loads(answer.body)["error"]["type"] == "invalid_request_error"
            assert answer.field("connection") == "close"
        assert set(await arena.records(len(asked))) == set(asked)

    run(talk)


def test_chunk_that_is_none_is_refused_and_logged(run: Runner) -> None:
    async def send(client: Client, request_id: str) -> Answer:
        head = f"x-request-id: {request_id}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        await client.send(POST + head + b"3\r\nabc\r\n")
        await until(lambda: bool(body_of(arena_of[0], request_id)), "the server has the start")
        await client.send(b"zz\r\n")
        return await client.answer(request_id)

    def body_of(arena: Arena, request_id: str) -> bytes:
        asked = arena.upstream.asked.get(request_id)
        return b"" if asked is None else asked.body

    arena_of: list[Arena] = []

    async def talk(arena: Arena) -> None:
        arena_of.append(arena)
        asked = ids()
        answers = await arena.each(asked, send)
        records = await arena.records(len(asked))
        for request_id in asked:
            assert (answers[request_id].status, answers[request_id].whole) == (400, True)
            assert records[request_id].outcome == "client_cut"
            assert "not valid HTTP" in (records[request_id].error or "")
            assert not arena.upstream.asked[request_id].whole

    run(talk)


def test_pipelined_requests_are_answered_in_order(run: Runner) -> None:
    async def ask(client: Client, connection: str) -> list[Answer]:
        request_ids = of_connection(connection)
        await client.send(b"".join(map(request_bytes, request_ids)))
        answers = [await client.answer(request_id) for request_id in request_ids]
        assert client.n_opened == 1
        await client.close()
        client.n_opened = 0
        return answers

    def of_connection(connection: str) -> list[str]:
        number = int(connection.rpartition("/")[2]) * PIPELINED
        return [f"{FRAMED[k % 3]}/{number + k}" for k in range(PIPELINED)]

    async def talk(arena: Arena) -> None:
        connections = [f"connection/{number}" for number in range(30)]
        answers = await arena.each(connections, ask)
        records = await arena.records(len(connections) * PIPELINED)
        for connection in connections:
            for request_id, answer in zip(
                of_connection(connection), answers[connection], strict=True
            ):
                assert answer.body == reply_to(request_id).body
                assert records[request_id].content == text_of(request_id)

    run(talk)


def test_pipelined_requests_behind_a_broken_answer_are_not_sent(run: Runner) -> None:
    def plan(request_id: str) -> list[Step]:
        if request_id.startswith("sse/"):
            return [reply_to(request_id).head, "close"]
        return whole_answer(request_id)

    async def ask(client: Client, request_id: str) -> list[Answer]:
        number = request_id.rpartition("/")[2]
        request_ids = [f"{form}/{number}" for form in ("sized", "sse", "chunked")]
        await client.send(b"".join(map(request_bytes, request_ids)))
        answers = [await client.answer(request_ids[0]), await client.answer(request_ids[1])]
        assert client.writer is None
        return answers

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan
        numbers = [f"x/{number}" for number in range(100)]
        for first, second in (await arena.each(numbers, ask)).values():
            assert (first.status, first.whole) == (200, True)
            assert (second.status, second.body, second.whole) == (200, b"", False)
        records = await arena.records(2 * len(numbers))
        assert {request_id.partition("/")[0] for request_id in records} == {"sized", "sse"}

    run(talk)


def test_client_that_stops_reading(run: Runner) -> None:
    piece = b": " + b"x" * 65_000 + b"\n\n"
    n_pieces = 1600  # 100 MB; what the sockets' own buffers take grows to some 15 MB
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    head += b"Content-Length: %d\r\n\r\n" % (len(piece) * n_pieces)

    async def stop(client: Client, request_id: str) -> bool:
        arena = arenas[0]
        await client.send(request_bytes(request_id))
        assert await client.head(request_id)
        assert client.writer is not None
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        asked = arena.upstream.asked[request_id]
        while asked.left_at is None:
            assert max(held_by_proxy(arena), default=0) < 4 * HIGH_WATER_BYTES
            await asyncio.sleep(0.01)
        assert asked.n_written < len(piece) * n_pieces / 2
        own = client.writer.get_extra_info("sockname")
        await until(lambda: own not in arena.peers(), "it does not wait for the client to read on")
        await client.close()
        return True

    def held_by_proxy(arena: Arena) -> list[int]:
        return [
            connection.transport.get_write_buffer_size()
            for connection in list(arena.proxy.server.connections)
        ]

    arenas: list[Arena] = []

    async def talk(arena: Arena) -> None:
        arenas.append(arena)
        arena.upstream.plan = lambda _: [head, *[piece] * n_pieces, HOLD]
        asked = ids(96)
        await arena.each(asked, stop)
        records = await arena.records(len(asked))
        for record in records.values():
            assert (record.outcome, record.error) == (
                "client_cut",
                "the client stopped reading its answer",
            )
            assert 0 < record.response_bytes < len(piece) * n_pieces / 2

    run(talk, stall_timeout_s=LIMIT_S)
