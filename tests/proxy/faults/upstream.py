"""A server that does exactly what a test says, and sees how its client leaves."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxy.config import Address
from proxy.serve import address_of, listen
from tests.proxy.faults.wire import form_of, reply_to

CLOSE = "close"
RESET = "reset"
HOLD = "hold"
"""A step: wait until the other side goes away."""
READ_ON = "read on"
"""A step: read the rest of the request."""


@dataclass(frozen=True)
class Seen:
    """A step: wait until the client has seen so much of the answer's body; 0 is its head."""

    n_bytes: int


Step = bytes | str | float | Seen
Plan = Callable[[str], list[Step]]


def whole_answer(request_id: str) -> list[Step]:
    ends = [CLOSE] if form_of(request_id) == "sse_close" else []
    return [reply_to(request_id).whole(), *ends]


class Progress:
    """How much of each answer its client has seen; -1 before the head."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.events: dict[str, asyncio.Event] = {}

    def tell(self, request_id: str, n_bytes: int) -> None:
        self.seen[request_id] = n_bytes
        if event := self.events.get(request_id):
            event.set()

    async def reach(self, request_id: str, n_bytes: int) -> None:
        event = self.events.setdefault(request_id, asyncio.Event())
        while self.seen.get(request_id, -1) < n_bytes:
            event.clear()
            await event.wait()


@dataclass
class Asked:
    """A request as it came in."""

    head: bytes
    body: bytes = b""
    whole: bool = False
    n_written: int = 0
    left_at: float | None = None
    """When the client was seen to leave while it was answered."""


class FaultyUpstream:
    """Answers the request of each id as `plan` says; with `early` before it has read the body."""

    def __init__(self, progress: Progress) -> None:
        self.listener = listen(Address("127.0.0.1", 0))
        self.port = address_of(self.listener).port
        self.url = f"http://127.0.0.1:{self.port}"
        self.progress = progress
        self.plan: Plan = whole_answer
        self.early = False
        self.asked: dict[str, Asked] = {}
        self.sink: Callable[[str, bytes], None] | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.n_connections = 0
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, sock=self.listener, limit=2**18)

    def hang_up(self) -> None:
        """Close every connection, as a server does with those that it no longer keeps."""
        for writer in self.writers:
            writer.close()

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        self.hang_up()
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(set(self.tasks))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.writers.add(writer)
        self.n_connections += 1
        asked: Asked | None = None
        try:
            while head := await read_head(reader):
                request_id = field(head, b"x-request-id").decode()
                asked = self.asked[request_id] = Asked(head)
                if not self.early:
                    await self.read_body(reader, request_id, asked)
                if not await self.answer(reader, writer, request_id, asked):
                    break
                asked = None
        except (ConnectionError, asyncio.IncompleteReadError):
            if asked is not None:
                asked.left_at = asyncio.get_running_loop().time()
        except asyncio.CancelledError:
            pass  # by stop()
        finally:
            self.writers.discard(writer)
            self.tasks.discard(task)
            writer.close()
            await quietly(writer.wait_closed())

    async def answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request_id: str,
        asked: Asked,
    ) -> bool:
        """Take the steps; False where the connection is over."""
        for step in self.plan(request_id):
            if isinstance(step, bytes):
                writer.write(step)
                asked.n_written += len(step)
                await writer.drain()
            elif isinstance(step, Seen):
                await self.progress.reach(request_id, step.n_bytes)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step == READ_ON:
                await self.read_body(reader, request_id, asked)
            elif step == HOLD:
                while await reader.read(2**16):
                    pass
                asked.left_at = asyncio.get_running_loop().time()
                return False
            else:
                if step == RESET:
                    reset(writer)
                return False
        return True

    async def read_body(self, reader: asyncio.StreamReader, request_id: str, asked: Asked) -> None:
        pieces: list[bytes] = []

        def keep(piece: bytes) -> None:
            pieces.append(piece)
            asked.body = b"".join(pieces)

        sink = self.sink
        take = keep if sink is None else lambda piece: sink(request_id, piece)
        asked.whole = await read_body(reader, asked.head, take)
        if not asked.whole:
            raise ConnectionError("the request broke off")


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return a head with its empty line, b"" where the connection is at its end."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def field(head: bytes, name: bytes) -> bytes:
    """Return a header of a head, b"" where it is not there."""
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return b""


async def read_body(
    reader: asyncio.StreamReader, head: bytes, take: Callable[[bytes], None]
) -> bool:
    """Read a body, piece by piece; False where it broke off, whether cleanly or by a reset."""
    try:
        if field(head, b"transfer-encoding").lower() == b"chunked":
            return await read_chunks(reader, take)
        return await read_exactly(reader, int(field(head, b"content-length") or b"0"), take)
    except ConnectionError:
        return False


async def read_chunks(reader: asyncio.StreamReader, take: Callable[[bytes], None]) -> bool:
    while (line := await reader.readline()).endswith(b"\r\n"):
        size = int(line, 16)
        if not await read_exactly(reader, size, take):
            return False
        if await reader.readline() != b"\r\n":
            return False
        if size == 0:
            return True
    return False


async def read_exactly(
    reader: asyncio.StreamReader, size: int, take: Callable[[bytes], None]
) -> bool:
    while size:
        piece = await reader.read(min(size, 2**18))
        if not piece:
            return False
        size -= len(piece)
        take(piece)
    return True


def reset(writer: asyncio.StreamWriter) -> None:
    """Let the connection's end be a reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def quietly(awaitable: Awaitable[None]) -> None:
    try:
        await awaitable
    except ConnectionError:
        return
