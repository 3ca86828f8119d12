"""Bodies of 100 MB and a thousand idle connections: memory and descriptors stay bounded."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proxy.conftest import as_chunk, chunked_head, delta, json_answer, sse
from tests.proxy.faults.child import child_proxy, client_of, records_by_id, saw_all, status_kib
from tests.proxy.faults.client import Answer, Client, each, request_bytes
from tests.proxy.faults.conftest import descriptors, ids, until
from tests.proxy.faults.upstream import Step, read_body

N_BYTES = 100_000_000
PIECE = b"%064d" % 7 * 1000
N_PIECES = N_BYTES // len(PIECE) + 1
EVENT = sse(delta("x" * 2000), done=False)
N_EVENTS = N_BYTES // len(EVENT) + 1
MAX_GROWTH_KIB = 90_000
"""Less than one body; what the log keeps of it, 16 MiB, is there up to three times."""
N_IDLE = 1000


def digest_of(piece: bytes, n_pieces: int, end: bytes = b"") -> tuple[int, str]:
    total = hashlib.sha1(end if not n_pieces else b"")
    for _ in range(n_pieces):
        total.update(piece)
    if n_pieces:
        total.update(end)
    return n_pieces * len(piece) + len(end), total.hexdigest()


class Sum:
    """Length and digest of what comes, so that nobody has to keep it."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self.digest = hashlib.sha1()

    def take(self, piece: bytes) -> None:
        self.n_bytes += len(piece)
        self.digest.update(piece)

    @property
    def result(self) -> tuple[int, str]:
        return self.n_bytes, self.digest.hexdigest()


def sized_head(kind: str, n_bytes: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {n_bytes}\r\n\r\n".encode()


ANSWERS: dict[str, Callable[[], list[Step]]] = {
    "sized": lambda: [sized_head("application/json", N_PIECES * len(PIECE)), *[PIECE] * N_PIECES],
    "chunked": lambda: [
        chunked_head("application/json"),
        *[as_chunk(PIECE)] * N_PIECES,
        as_chunk(b""),
    ],
    "sse": lambda: [
        chunked_head(),
        *[as_chunk(EVENT * 20)] * (N_EVENTS // 20),
        as_chunk(sse()),
        as_chunk(b""),
    ],
}


@pytest.mark.parametrize("form", list(ANSWERS))
def test_giant_answer(tmp_path: Path, form: str) -> None:
    async def talk() -> tuple[int, str]:
        async with child_proxy(tmp_path) as (process, upstream):
            start_kib = status_kib(process, "VmHWM")
            upstream.plan = lambda _: ANSWERS[form]()
            client, total = client_of(process, upstream), Sum()
            await client.send(request_bytes(f"{form}/0"))
            head = await client.head(f"{form}/0")
            assert await read_body(client.reader, head, total.take)
            await client.close()
            assert status_kib(process, "VmHWM") - start_kib < MAX_GROWTH_KIB
        return total.result

    expected = (
        digest_of(EVENT * 20, N_EVENTS // 20, sse())
        if form == "sse"
        else digest_of(PIECE, N_PIECES)
    )
    assert asyncio.run(talk()) == expected
    record = records_by_id(tmp_path)[f"{form}/0"]
    assert record.response_bytes == expected[0]
    assert record.outcome == "complete"
    if form == "sse":
        assert set(record.content or "") == {"x"}
        assert record.extra["log_dropped_chars"] > 0
    else:
        assert "larger than the log keeps" in (record.error or "")


@pytest.mark.parametrize("chunked", [False, True])
def test_giant_request(tmp_path: Path, chunked: bool) -> None:
    framing = (
        "Transfer-Encoding: chunked" if chunked else f"Content-Length: {N_PIECES * len(PIECE)}"
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-request-id: big/0\r\n{framing}\r\n\r\n"
    )

    async def talk() -> tuple[int, str]:
        async with child_proxy(tmp_path) as (process, upstream):
            total = Sum()
            upstream.sink = lambda _, piece: total.take(piece)
            upstream.plan = lambda _: [json_answer({"choices": [{"index": 0}]})]
            start_kib = status_kib(process, "VmHWM")
            client = client_of(process, upstream)
            await client.send(head.encode())
            piece = as_chunk(PIECE) if chunked else PIECE
            for _ in range(N_PIECES):
                await client.send(piece)
            await client.send(as_chunk(b"") if chunked else b"")
            answer = await client.answer("big/0")
            assert (answer.status, answer.whole) == (200, True)
            await client.close()
            assert status_kib(process, "VmHWM") - start_kib < MAX_GROWTH_KIB
        return total.result

    expected = digest_of(PIECE, N_PIECES)
    assert asyncio.run(talk()) == expected
    record = records_by_id(tmp_path)["big/0"]
    assert (record.request_bytes, record.messages) == (expected[0], None)
    assert record.extra["log_dropped_request_bytes"] == expected[0]


def test_idle_connections_beside_exchanges(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * N_IDLE:
        pytest.skip(f"at most {hard} descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * N_IDLE), hard))

    async def ask(client: Client, request_id: str) -> Answer:
        return await client.ask(request_id)

    async def talk() -> dict[str, Answer]:
        async with child_proxy(tmp_path) as (process, upstream):
            pid = process.child.pid
            warm = client_of(process, upstream)
            await warm.ask("warm/0")
            await warm.close()
            upstream.hang_up()
            await until(lambda: not upstream.writers, "the server's connections end")
            await asyncio.sleep(0.2)
            n_before = len(descriptors(pid))
            idle = [client_of(process, upstream) for _ in range(N_IDLE)]
            for number, client in enumerate(idle):
                await client.connect()
                if number % 10 == 0:  # some have been used before
                    await client.ask(f"sized/{10_000 + number}")
            await until(lambda: len(descriptors(pid)) >= n_before + N_IDLE, "all are taken")
            answers = await each(lambda: client_of(process, upstream), ids(400), ask)
            last = [await client.ask(f"sized/{20_000 + n}") for n, client in enumerate(idle[::10])]
            assert all(answer.whole for answer in last)
            assert all(client.n_opened == 1 for client in idle)  # none was closed meanwhile
            for client in idle:
                await client.close()
            upstream.hang_up()
            await until(lambda: len(descriptors(pid)) <= n_before, "all descriptors come back")
        return answers

    try:
        answers = asyncio.run(talk())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(saw_all(request_id, answer) for request_id, answer in answers.items())
    n_extra = 1 + 2 * len(range(0, N_IDLE, 10))
    records = records_by_id(tmp_path)
    assert (len(records), set(answers) - set(records)) == (len(answers) + n_extra, set())
    assert {record.outcome for record in records.values()} == {"complete"}
