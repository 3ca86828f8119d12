"""Hundreds of exchanges over one proxy, and the look afterwards at what they left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from proxy.exchange import Exchange, read_exchanges
from tests.proxy.conftest import Gateway, running_proxy
from tests.proxy.faults.client import Answer, Client, each
from tests.proxy.faults.upstream import FaultyUpstream, Progress
from tests.proxy.faults.wire import FORMS

N_EXCHANGES = 200
DEADLINE_S = 20.0
"""Only ends what hangs."""
Result = TypeVar("Result")


def ids(n: int = N_EXCHANGES, forms: Iterable[str] = FORMS) -> list[str]:
    """Return ids of so many exchanges, the forms in turn."""
    names = list(forms)
    return [f"{names[number % len(names)]}/{number // len(names)}" for number in range(n)]


async def until(holds: Callable[[], bool], what: str) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + DEADLINE_S / 2
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        await asyncio.sleep(0.005)


def descriptors(process: int | str = "self") -> dict[str, str]:
    """Return what a process has open, by number."""
    folder = f"/proc/{process}/fd"
    found = {}
    for number in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found[number] = os.readlink(f"{folder}/{number}")
    return found


class Arena:
    """A proxy in a thread of its own, between a faulty server and clients that share one loop."""

    def __init__(self, proxy: Gateway, upstream: FaultyUpstream, progress: Progress) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.progress = progress
        assert proxy.server.listening is not None
        self.proxy_loop = proxy.server.listening.get_loop()
        self.n_tasks = len(asyncio.all_tasks(self.proxy_loop))
        self.pool = proxy.routes.replicas[0].pool

    def client(self) -> Client:
        return Client(self.proxy.port, self.progress.tell)

    def peers(self) -> list[tuple[str, int]]:
        """Return the addresses of the clients that the proxy is connected to."""
        connections = list(self.proxy.server.connections)
        return [connection.transport.get_extra_info("peername") for connection in connections]

    async def ask_all(self, request_ids: list[str]) -> dict[str, Answer]:
        """Ask all of these, on connections that are kept where they can be."""

        async def ask(client: Client, request_id: str) -> Answer:
            return await client.ask(request_id)

        return await self.each(request_ids, ask)

    async def each(
        self, request_ids: list[str], talk: Callable[[Client, str], Awaitable[Result]]
    ) -> dict[str, Result]:
        return await each(self.client, request_ids, talk)

    async def records(self, n: int) -> dict[str, Exchange]:
        """Return the records by id: so many, and each once."""

        def found() -> list[Exchange]:
            return list(read_exchanges(self.proxy.log_folder))

        await until(lambda: self.proxy.log.n_written >= n, f"{n} records")
        await until(lambda: self.proxy.ledger.in_flight == 0, "no request in flight")
        records = found()
        by_id = {record.request_id: record for record in records}
        assert len(by_id) == len(records) == n
        return by_id

    async def settle(self) -> None:
        """Return when nothing of the exchanges is left, on any side."""
        server, pool, upstream = self.proxy.server, self.pool, self.upstream
        await until(lambda: not server.connections, "the clients' connections end")
        await until(lambda: self.proxy.ledger.in_flight == 0, "no request in flight")
        await until(
            lambda: len(asyncio.all_tasks(self.proxy_loop)) == self.n_tasks, "the proxy's tasks end"
        )
        assert [replica.in_flight for replica in self.proxy.routes.replicas] == [0]
        await until(
            lambda: len(upstream.writers) == pool.n_open == len(pool.idle), "only kept connections"
        )
        upstream.hang_up()
        await until(lambda: pool.n_open == 0 and not pool.idle, "the server's close is seen")


@asynccontextmanager
async def faulty_upstream() -> AsyncIterator[FaultyUpstream]:
    upstream = FaultyUpstream(Progress())
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


Talk = Callable[[Arena], Awaitable[None]]


async def run_talk(talk: Talk, folder: Path, settings: dict[str, Any]) -> None:
    async with faulty_upstream() as upstream:
        progress = upstream.progress
        with contextmanager(running_proxy)(upstream.url, folder, **settings) as proxy:
            n_descriptors = len(descriptors())
            arena = Arena(proxy, upstream, progress)
            async with asyncio.timeout(DEADLINE_S):
                await talk(arena)
                await arena.settle()
                await until(lambda: len(descriptors()) <= n_descriptors, "descriptors come back")
                await until(lambda: len(asyncio.all_tasks()) == 1, "the server's tasks end")


Runner = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Run a talk with a proxy of these settings, and see that it leaves nothing behind."""

    def start(talk: Talk, **settings: Any) -> None:
        asyncio.run(run_talk(talk, tmp_path / "log", settings))

    return start
