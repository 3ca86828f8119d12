"""The client goes away: before its answer, inside it, inside its request; in every manner."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from proxy.exchange import Exchange
from tests.proxy.faults.client import Client, request_bytes
from tests.proxy.faults.conftest import Arena, Runner, ids, until
from tests.proxy.faults.upstream import HOLD, Step
from tests.proxy.faults.wire import messages_of, question, reply_to, words_of

LEAVES_WITHIN_S = 2.0
N_PARTS = 2


async def close(client: Client) -> None:
    await client.close()


async def reset(client: Client) -> None:
    await client.reset()


async def half_close(client: Client) -> None:
    """Say that nothing more will be sent, and listen on: counts as gone, as in docs/proxy.md."""
    assert client.writer is not None
    client.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    assert await client.is_closed()
    await client.close()


MANNERS = {"close": close, "reset": reset, "half-close": half_close}
manners = pytest.mark.parametrize("manner", list(MANNERS))


async def check_left(arena: Arena, left_at: dict[str, float]) -> None:
    """See that the server lost its client soon after the proxy did."""
    asked = arena.upstream.asked
    await until(lambda: all(asked[i].left_at for i in left_at), "the server sees its client leave")
    for request_id, at in left_at.items():
        seen_at = asked[request_id].left_at
        assert seen_at is not None
        assert seen_at - at < LEAVES_WITHIN_S


def check_cut(record: Exchange) -> None:
    assert (record.outcome, record.error) == ("client_cut", "the client closed the connection")


@manners
def test_client_that_leaves_before_its_answer(run: Runner, manner: str) -> None:
    async def talk(arena: Arena) -> None:
        arena.upstream.plan = lambda _: [HOLD]

        async def leave(client: Client, request_id: str) -> float:
            await client.send(request_bytes(request_id))
            await until(lambda: is_asked(arena, request_id), "the server has the request")
            left_at = time.monotonic()
            await MANNERS[manner](client)
            return left_at

        asked = ids()
        await check_left(arena, await arena.each(asked, leave))
        for request_id, record in (await arena.records(len(asked))).items():
            check_cut(record)
            assert (record.status, record.content) == (None, None)
            assert record.messages == messages_of(request_id)

    run(talk)


def is_asked(arena: Arena, request_id: str) -> bool:
    return request_id in arena.upstream.asked and arena.upstream.asked[request_id].whole


@manners
def test_client_that_leaves_inside_its_answer(run: Runner, manner: str) -> None:
    def plan(request_id: str) -> list[Step]:
        reply = reply_to(request_id)
        return [reply.head, *map(reply.wire, reply.parts[:N_PARTS]), HOLD]

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan

        async def leave(client: Client, request_id: str) -> float:
            n_bytes = len(b"".join(reply_to(request_id).parts[:N_PARTS]))
            await client.send(request_bytes(request_id))
            reading = asyncio.create_task(client.answer(request_id))
            await arena.progress.reach(request_id, n_bytes)
            reading.cancel()
            await asyncio.wait({reading})
            left_at = time.monotonic()
            await MANNERS[manner](client)
            return left_at

        asked = ids()
        await check_left(arena, await arena.each(asked, leave))
        for request_id, record in (await arena.records(len(asked))).items():
            check_cut(record)
            reply = reply_to(request_id)
            came = b"".join(reply.parts[:N_PARTS])
            assert (record.status, record.response_bytes) == (200, len(came))
            if reply.streamed:
                assert record.content == "".join(words_of(request_id)[:N_PARTS])
            else:
                assert (record.content, record.extra["raw"]) == (None, came.decode())

    run(talk)


def test_client_that_leaves_while_its_stream_goes_on(run: Runner) -> None:
    def plan(request_id: str) -> list[Step]:
        reply = reply_to(request_id)
        steps: list[Step] = [reply.head]
        for _ in range(10_000):
            steps += [reply.wire(reply.parts[0]), 0.002]
        return steps

    async def talk(arena: Arena) -> None:
        arena.upstream.plan = plan

        async def leave(client: Client, request_id: str) -> float:
            await client.send(request_bytes(request_id))
            assert await client.head(request_id)
            await client.reader.readexactly(500)
            left_at = time.monotonic()
            await client.close()
            return left_at

        asked = ids(forms=("sse", "sse_close"))
        await check_left(arena, await arena.each(asked, leave))
        for request_id, record in (await arena.records(len(asked))).items():
            check_cut(record)
            assert record.content == words_of(request_id)[0] * record.n_chunks
            assert record.n_chunks > 2

    run(talk)


@manners
@pytest.mark.parametrize("chunked", [False, True])
def test_client_that_leaves_inside_its_request(run: Runner, manner: str, chunked: bool) -> None:
    async def talk(arena: Arena) -> None:
        async def leave(client: Client, request_id: str) -> float:
            data = request_bytes(request_id, chunked=chunked)
            await client.send(data[:-20])
            await until(lambda: is_here(arena, request_id), "the server has the start")
            left_at = time.monotonic()
            await MANNERS[manner](client)
            return left_at

        asked = ids()
        await check_left(arena, await arena.each(asked, leave))
        for request_id, record in (await arena.records(len(asked))).items():
            check_cut(record)
            assert (record.status, record.messages, record.content) == (None, None, None)
            came = arena.upstream.asked[request_id].body
            assert question(request_id).startswith(came)
            assert record.extra["request_raw"] == came.decode()
            assert 0 < len(came) == record.request_bytes

    def is_here(arena: Arena, request_id: str) -> bool:
        n_bytes = len(question(request_id)) - (20 - 2 - len(b"0\r\n\r\n") if chunked else 20)
        asked = arena.upstream.asked.get(request_id)
        return asked is not None and len(asked.body) >= n_bytes

    run(talk)


@manners
def test_client_that_leaves_inside_its_head(run: Runner, manner: str) -> None:
    async def talk(arena: Arena) -> None:
        async def leave(client: Client, request_id: str) -> None:
            await client.send(request_bytes(request_id)[:40])
            await MANNERS[manner](client)

        await arena.each(ids(), leave)
        assert await arena.records(0) == {}
        assert arena.upstream.asked == {}

    run(talk)
