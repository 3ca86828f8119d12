"""The load generator: keep-alive connections that ask, check each answer and ask again.

Owns the client's side and its clocks. Refuses to own peers and what becomes of the figures.
Reads one job a line from stdin and answers each with one line, until stdin ends:

    python -m proxy_bench.load
    {"port": 8766, "pid": 4711, "workload": "json-4k", "concurrency": 64, "seconds": 2.0}
    {"n_requests": 9310, "n_errors": 0, "p50_ms": 6.61, ...}

An answer is right when its status is 200 and its body is, byte by byte, what the upstream sends for
that request. Peers that render answers anew (`exact` false) must have the same words. A wrong
answer is counted as an error and as nothing else. A job lasts from the first request to the last
answer: at `seconds` no more is asked, and what was asked is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import httptools
import uvloop

from proxy_bench import processes
from proxy_bench.workloads import N_VARIANTS, WORKLOADS, request, text_of

MAX_ERRORS = 100


@dataclass(frozen=True)
class Job:
    """What to send where; `n_requests` ends it as `seconds` does, each connection asks once."""

    port: int
    pid: int
    workload: str
    concurrency: int
    seconds: float = 0.0
    n_requests: int = 0
    exact: bool = True
    limit_s: float = 120.0


@dataclass
class Tally:
    """What came of a job."""

    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    n_asked: int = 0


class Connection(asyncio.Protocol):
    """Asks, checks the answer, asks again; `done` is set when it will ask no more."""

    transport: asyncio.Transport

    def __init__(self, job: Job, variant: int, tally: Tally) -> None:
        self.job, self.tally = job, tally
        self.workload = WORKLOADS[job.workload]
        self.request = request(job.workload, variant)
        self.expected = self.workload.answer(variant)
        self.deadline = 0.0
        self.waiting = False
        self.connected = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; a new connection has a parser of its own."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self.connected = True
        self.parser = httptools.HttpResponseParser(self)

    def ask(self) -> None:
        """Send the request."""
        self.tally.n_asked += 1
        self.waiting = True
        self.parts: list[bytes] = []
        self.first = 0.0
        self.n_events, self.half = 0, b""
        self.begun = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(f"no HTTP: {error}")

    def on_body(self, data: bytes) -> None:
        """Keep a piece and note when it came."""
        if not self.parts:
            self.first = time.perf_counter()
        self.parts.append(data)
        if self.workload.gap_s:
            self.note_events(data)

    def note_events(self, data: bytes) -> None:
        """Hold each event that is now complete against its time."""
        now = time.perf_counter()
        data = self.half + data
        gap_s, n_chunks = self.workload.gap_s, self.workload.n_chunks
        for _ in range(data.count(b"\n\n")):
            if self.n_events < n_chunks:
                self.tally.delays.append(now - self.begun - self.n_events * gap_s)
            self.n_events += 1
        self.half = b"" if data.endswith(b"\n\n") else data[-1:]

    def on_message_complete(self) -> None:
        """Check the answer and go on."""
        now = time.perf_counter()
        self.waiting = False
        if wrong := self.wrong(b"".join(self.parts)):
            self.fail(wrong)
            return
        self.tally.latencies.append(now - self.begun)
        self.tally.first_bytes.append(self.first - self.begun)
        if not self.parser.should_keep_alive():
            self.transport.close()
            self.connected = False
        self.next()

    def wrong(self, body: bytes) -> str | None:
        """Return what is wrong with an answer, None when it is right."""
        status = self.parser.get_status_code()
        if status != 200:
            return f"status {status}: {body[:200].decode(errors='replace')}"
        if not self.job.exact:
            return None if text_of(body) == self.expected.text else f"other words ({len(body)} B)"
        if len(body) != len(self.expected.body):
            return f"{len(body)} bytes instead of {len(self.expected.body)}"
        return None if body == self.expected.body else "other bytes of the same number"

    def next(self) -> None:
        """Ask again, unless it is time to stop."""
        job = self.job
        enough = self.tally.n_asked >= job.n_requests if job.n_requests else True
        if self.done.done() or (enough and time.perf_counter() >= self.deadline):
            self.stop()
        elif self.connected:
            self.ask()
        else:
            self.reconnecting = asyncio.ensure_future(self.connect(ask=True))

    async def connect(self, ask: bool = False) -> None:
        """Open the connection."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self.job.port)
        except OSError as error:
            self.fail(f"no connection: {error}")
            return
        if ask:
            self.next()  # enough may have been asked meanwhile

    def connection_lost(self, exc: Exception | None) -> None:
        """Between two answers a server may close; within one it may not."""
        self.connected = False
        if self.waiting:
            self.fail(f"cut off after {sum(map(len, self.parts))} bytes of the body")

    def fail(self, error: str) -> None:
        """Count an error, and go on over a new connection unless there have been too many."""
        self.waiting = False
        self.tally.errors[error] += 1
        if self.connected:
            self.connected = False
            self.transport.abort()
        if self.tally.errors.total() > MAX_ERRORS:
            self.stop()
        else:
            self.next()

    def stop(self) -> None:
        """Ask no more."""
        if not self.done.done():
            self.done.set_result(None)


async def run(job: Job) -> dict[str, Any]:
    """Do one job and return its figures."""
    tally = Tally()
    connections = [Connection(job, n % N_VARIANTS, tally) for n in range(job.concurrency)]
    await asyncio.gather(*(connection.connect() for connection in connections))
    cpu_s, rss = processes.cpu_s(job.pid), processes.rss_bytes(job.pid)
    begun = time.perf_counter()
    for connection in connections:
        connection.deadline = begun + job.seconds
        if connection.connected and not connection.done.done():
            connection.ask()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(c.done for c in connections)), job.limit_s)
    took_s = time.perf_counter() - begun
    cpu_s = processes.cpu_s(job.pid) - cpu_s
    for connection in connections:
        if connection.waiting:
            connection.waiting = False
            tally.errors[f"no answer within {job.limit_s:.0f} s"] += 1
        if connection.connected:
            connection.transport.abort()
    memory = {"rss_before_bytes": rss, "rss_after_bytes": processes.rss_bytes(job.pid)}
    return {**asdict(job), **figures(tally, took_s, cpu_s), **memory}


def figures(tally: Tally, took_s: float, cpu_s: float) -> dict[str, Any]:
    """Return a job's figures; what no right answer speaks for is None."""
    n = len(tally.latencies)
    return {
        "n_requests": n,
        "n_errors": tally.errors.total(),
        "errors": dict(tally.errors.most_common(5)),
        "took_s": took_s,
        "requests_per_s": n / took_s,
        "p50_ms": quantile_ms(tally.latencies, 0.5),
        "p99_ms": quantile_ms(tally.latencies, 0.99),
        "first_p50_ms": quantile_ms(tally.first_bytes, 0.5),
        "delay_p50_ms": quantile_ms(tally.delays, 0.5),
        "delay_p99_ms": quantile_ms(tally.delays, 0.99),
        "cpu_us": cpu_s * 1e6 / n if n else None,
    }


def quantile_ms(values: list[float], q: float) -> float | None:
    """Return the nearest-rank quantile in milliseconds, None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000


def main() -> None:
    """Do jobs until stdin ends."""
    for workload in WORKLOADS.values():
        for variant in range(N_VARIANTS):
            workload.answer(variant)
    for line in sys.stdin:
        print(json.dumps(uvloop.run(run(Job(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
