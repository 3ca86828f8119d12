"""A client that sees exactly what came, and whether it was whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from tests.proxy.conftest import CHAT, as_chunk
from tests.proxy.faults.upstream import field, quietly, read_body, read_head, reset
from tests.proxy.faults.wire import question

N_CLIENTS = 32
Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 where the connection ended before a head."""

    status: int
    head: bytes
    body: bytes
    whole: bool

    def field(self, name: str) -> str:
        return field(self.head, name.encode()).decode()


NOTHING = Answer(0, b"", b"", False)


def request_bytes(request_id: str, body: bytes | None = None, chunked: bool = False) -> bytes:
    """Return a request; in chunks, each of a third of the body, where that is asked for."""
    body = question(request_id) if body is None else body
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nx-request-id: {request_id}\r\n{framing}\r\n\r\n"
    if chunked:
        size = len(body) // 3 + 1
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join(map(as_chunk, [*pieces, b""]))
    return head.encode() + body


class Client:
    """One connection at a time, kept while its answers are whole."""

    def __init__(self, port: int, tell: Callable[[str, int], None] = lambda _, __: None) -> None:
        self.port = port
        self.tell = tell
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter | None = None
        self.n_opened = 0

    async def connect(self) -> asyncio.StreamWriter:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(
                "127.0.0.1", self.port, limit=2**18
            )
            self.n_opened += 1
        return self.writer

    async def send(self, data: bytes) -> None:
        writer = await self.connect()
        writer.write(data)
        await quietly(writer.drain())

    async def ask(self, request_id: str, body: bytes | None = None) -> Answer:
        """Send a request, every second one in chunks, and return what comes."""
        chunked = int(request_id.rpartition("/")[2]) % 2 == 1
        await self.send(request_bytes(request_id, body, chunked))
        return await self.answer(request_id)

    async def head(self, request_id: str) -> bytes:
        """Return the answer's head, b"" where none came; 1xx ones are left out."""
        head = b"HTTP/1.1 1"
        while head.startswith(b"HTTP/1.1 1"):
            try:
                head = await read_head(self.reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                return b""
        self.tell(request_id, 0)
        return head

    async def answer(self, request_id: str) -> Answer:
        """Return the answer; a connection that cannot be used on is closed."""
        head = await self.head(request_id)
        if not head:
            await self.close()
            return NOTHING
        body = bytearray()

        def take(piece: bytes) -> None:
            body.extend(piece)
            self.tell(request_id, len(body))

        whole = await read_body(self.reader, head, take)
        if not whole or field(head, b"connection").lower() == b"close":
            await self.close()
        return Answer(int(head.split()[1]), head, bytes(body), whole)

    async def is_closed(self) -> bool:
        """Whether the other side has closed the connection, with nothing more on it."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            await quietly(self.writer.wait_closed())
            self.writer = None

    async def reset(self) -> None:
        assert self.writer is not None
        reset(self.writer)
        await quietly(self.writer.wait_closed())
        self.writer = None


async def each(
    new_client: Callable[[], Client],
    request_ids: Iterable[str],
    talk: Callable[[Client, str], Awaitable[Result]],
    n_clients: int = N_CLIENTS,
) -> dict[str, Result]:
    """Let a few clients at a time do all of these."""
    left = iter(request_ids)
    results: dict[str, Result] = {}

    async def work() -> None:
        client = new_client()
        for request_id in left:
            results[request_id] = await talk(client, request_id)
        await client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(n_clients):
            group.create_task(work())
    return results
