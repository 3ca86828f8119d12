r"""An HTTP/1.1 server that adds nothing of its own: what a handler writes is what a client gets.

Owns accepting clients, and the drain at the end. Refuses to own their connections (connection),
the framing of answers (request) and what a request means (its handler's matter).

    async def handle(request: Request) -> None:
        request.answer(200, b"ok\n", [(b"Content-Type", b"text/plain")])

    server = Server(handle)
    await server.start(listener)
    await server.drain()

Requests of one connection are handled one after the other, in a task of the connection. When the
client goes away that task is cancelled, with `request.gone` set. A handler that returns before its
answer's end breaks the connection, so that no client takes the answer for whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from proxy.connection import ClientConnection
from proxy.request import Request

IDLE_CONNECTION_S = 75.0
"""Longer than clients keep an idle connection (httpx: 5 s), so that they close first."""
HEAD_S = 60.0
"""For a client to send a whole head once it has begun."""
STALL_S = 300.0
BACKLOG = 2048
Handler = Callable[[Request], Awaitable[None]]


class Server:
    """Accepts clients on one socket."""

    def __init__(self, handler: Handler, stall_s: float = STALL_S) -> None:
        self.handler = handler
        self.stall_s = stall_s
        self.head_s = HEAD_S
        self.idle_s = IDLE_CONNECTION_S
        self.draining = False
        self.connections: set[ClientConnection] = set()
        self.empty = asyncio.Event()
        self.listening: asyncio.Server | None = None

    @property
    def n_busy(self) -> int:
        """How many connections have a request in work."""
        return sum(connection.handled is not None for connection in self.connections)

    async def start(self, listener: socket.socket) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self.listening = await loop.create_server(
            lambda: ClientConnection(self), sock=listener, backlog=BACKLOG
        )

    async def drain(self, grace_s: float | None = None) -> None:
        """Accept no more, let running answers end, break those that last longer than `grace_s`."""
        if self.listening is not None:
            self.listening.close()
        self.draining = True
        for connection in list(self.connections):
            if connection.handled is None and not connection.requests:
                connection.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.connections:
                    self.empty.clear()
                    await self.empty.wait()
        await self.cut()

    async def cut(self) -> None:
        """End every connection now; handlers are cancelled, and have their last word."""
        tasks = [connection.task for connection in self.connections]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for connection in list(self.connections):
            connection.transport.abort()  # what its client does not read

    def report(self, task: asyncio.Task[None]) -> None:
        """Show the traceback of a handler that failed: a fault of ours."""
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a request's handler failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
