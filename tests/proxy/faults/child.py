"""`distill-proxy` as a child process before a faulty server, and what the system says of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.exchange import Exchange, read_exchanges
from tests.proxy.faults.client import N_CLIENTS, Answer, Client, each
from tests.proxy.faults.conftest import faulty_upstream
from tests.proxy.faults.upstream import FaultyUpstream
from tests.proxy.faults.wire import FORMS, reply_to
from tests.proxy.test_cli import Process, proxy

DEADLINE_S = 40.0


@asynccontextmanager
async def child_proxy(folder: Path, *more: str) -> AsyncIterator[tuple[Process, FaultyUpstream]]:
    async with faulty_upstream() as upstream, asyncio.timeout(DEADLINE_S):
        with proxy(upstream.url, folder, "--quiet", *more) as process:
            yield process, upstream


def client_of(process: Process, upstream: FaultyUpstream) -> Client:
    return Client(process.port, upstream.progress.tell)


def endless_ids(start: int = 0) -> Iterator[str]:
    return (f"{FORMS[n % len(FORMS)]}/{n}" for n in itertools.count(start))


async def ask_until_gone(
    process: Process, upstream: FaultyUpstream, start: int = 0, n_clients: int = N_CLIENTS
) -> dict[str, Answer | None]:
    """Ask until no connection comes about; None where none did."""
    left = endless_ids(start)

    async def ask(client: Client, request_id: str) -> Answer | None:
        try:
            return await client.ask(request_id)
        except OSError:
            left.close()  # type: ignore[attr-defined]
            return None

    return await each(lambda: client_of(process, upstream), left, ask, n_clients)


def saw_all(request_id: str, answer: Answer | None) -> bool:
    """Whether a client has every byte of an answer's body, whatever came of the connection."""
    return answer is not None and answer.status == 200 and answer.body == reply_to(request_id).body


def records_by_id(folder: Path) -> dict[str, Exchange]:
    """Return the records, each there once."""
    records = list(read_exchanges(folder))
    by_id = {record.request_id: record for record in records}
    assert len(by_id) == len(records)
    return by_id


def status_kib(process: Process, name: str) -> int:
    """Return a figure of /proc/PID/status."""
    text = Path(f"/proc/{process.child.pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
