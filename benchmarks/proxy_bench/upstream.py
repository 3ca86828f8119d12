"""The model server of the benchmark: answers that are ready before they are asked for.

Owns one process with one loop. Refuses to own what is in an answer (workloads.py). Prints its port:

    python -m proxy_bench.upstream
    {"port": 41234}

A burst is written event by event, as fast as the transport takes them; a slow stream has each event
written at its time, counted from the request's last byte.
"""

from __future__ import annotations

import asyncio
import json
from typing import cast

import httptools
import uvloop

from proxy_bench.workloads import N_VARIANTS, WORKLOADS, Answer, Workload, answer_to, head

NOT_FOUND = head("404 Not Found", "content-length: 0")


class Server(asyncio.Protocol):
    """One connection; the next request is answered when the answer before it has gone."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.paused = False
        self.pieces: tuple[bytes, ...] = ()
        self.n_written = 0
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop writing."""
        self.pieces = ()
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse; whoever sends no HTTP is cut off."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_body(self, data: bytes) -> None:
        """Collect the request."""
        self.body += data

    def on_message_complete(self) -> None:
        """Answer."""
        asked, self.body = answer_to(self.body), b""
        if asked is None:
            self.transport.write(NOT_FOUND)
            return
        self.answer(*asked)

    def answer(self, workload: Workload, answer: Answer) -> None:
        """Begin to write an answer."""
        self.pieces, self.n_written = answer.pieces, 0
        if workload.gap_s:
            self.tick(self.loop.time(), workload.gap_s)
        else:
            self.burst()

    def burst(self) -> None:
        """Write what is left while it is taken."""
        while self.n_written < len(self.pieces) and not self.paused:
            self.n_written += 1
            self.transport.write(self.pieces[self.n_written - 1])

    def tick(self, begun: float, gap_s: float) -> None:
        """Write the event that is due, and come again for the next."""
        self.transport.write(self.pieces[self.n_written])
        self.n_written += 1
        if self.n_written < len(self.pieces):
            due = begun + self.n_written * gap_s
            self.timer = self.loop.call_at(due, self.tick, begun, gap_s)

    def pause_writing(self) -> None:
        """Wait until the transport takes more."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on with a burst; a slow stream has its own time."""
        self.paused = False
        if self.timer is None:
            self.burst()


async def serve() -> None:
    """Serve until the process is ended."""
    for workload in WORKLOADS.values():
        for variant in range(N_VARIANTS):
            workload.answer(variant)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=2048)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
