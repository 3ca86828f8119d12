"""One request through the proxy: body to the server, answer to the client, record to the log.

Owns the order of these three, and what happens when either side goes away.
Refuses to own HTTP itself (upstream, the ASGI server) and what a record says (recorder).

What is guaranteed (for generation endpoints; others are passed on without a record):

- Every piece of an answer goes on as it comes; none waits for another one or for parsing.
- Before a client can know its answer complete, the record is written as the durability says.
  The one piece that waits for the log is the piece that makes it complete: the one that fills
  the content-length, the one with the end of `data: [DONE]`, and always the end of the body itself
  (for a chunked answer the closing zero-length chunk). An answer without a body waits with its
  headers. So kill -9 after the client saw the end loses nothing; a kill before it may lose the
  record of an answer that the client saw break off.
- Where the answer breaks off, the client's connection is broken too, never ended cleanly, and the
  record holds what had come.
- When the client goes away, the request at the server is cancelled and the record says client_cut.
- A record that cannot be written ends in a broken or refused answer, never in a silent gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Protocol

from proxy.asgi import Receive, Scope, Send, error_body, send_json
from proxy.config import ProxyConfig
from proxy.log import ExchangeLog
from proxy.recorder import Ending, Recorder, is_generation
from proxy.upstream import RequestHead, UpstreamError, UpstreamResponse

BODYLESS = {204, 304}
STATUSES = range(200, 600)
"""Of final answers; others (101, 999) have no meaning that could be passed on."""
STOPPED = "the proxy was stopped before the answer's end"
GONE = "the client closed the connection"


class Upstream(Protocol):
    """What the proxy needs of the server's side."""

    async def send(self, head: RequestHead, body: AsyncIterator[bytes] | None) -> UpstreamResponse:
        """Send a request; UpstreamError where no answer begins."""

    async def aclose(self) -> None:
        """Close what is open."""


class ClientGone(Exception):
    """The client closed its connection while its request was being read."""


class Ledger:
    """What the proxy counted since it started, and its log."""

    def __init__(self, log: ExchangeLog) -> None:
        self.log = log
        self.in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.n_log_failures = 0


class Forwarding:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, config: ProxyConfig, ledger: Ledger
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send_on = send
        self.ledger = ledger
        self.head = request_head(scope)
        self.recorder = Recorder(self.head, config) if is_generation(self.head) else None
        self.started = False
        self.ended = False
        self.request_read = asyncio.Event()

    async def run(self, upstream: Upstream) -> None:
        """Forward until the answer's end, the client's departure or the proxy's stop."""
        self.ledger.in_flight += 1
        pump = asyncio.ensure_future(self.pump(upstream))
        watch = asyncio.ensure_future(self.watch())
        try:
            await asyncio.wait({pump, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not pump.done() and self.ended:
                await pump  # the watch ended because the answer did
            await end_tasks(pump, watch)
            await self.conclude(pump)
        except asyncio.CancelledError:
            # The server's grace is over, and it may cancel again. The record comes first; then
            # this returns without an end, so that the client's connection is broken.
            with contextlib.suppress(asyncio.CancelledError):
                await self.store(Ending.UPSTREAM_CUT, STOPPED)
            with contextlib.suppress(asyncio.CancelledError):
                await end_tasks(pump, watch)
        finally:
            self.ledger.in_flight -= 1

    async def conclude(self, pump: asyncio.Future[None]) -> None:
        """Write the record that the pump did not come to, and let its failure be seen."""
        if pump.cancelled():
            await self.store(Ending.CLIENT_CUT, GONE)
            return
        failure = pump.exception()
        if failure is not None:
            await self.store(Ending.UPSTREAM_CUT, f"{type(failure).__name__} in the proxy")
            raise failure

    async def watch(self) -> None:
        """Return when the client has gone away."""
        await self.request_read.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def pump(self, upstream: Upstream) -> None:
        """Send the request on and its answer back."""
        body = self.body() if has_body(self.scope) else None
        if body is None:
            self.request_read.set()
        try:
            response = await upstream.send(self.head, body)
        except ClientGone:
            await self.store(Ending.CLIENT_CUT, GONE)
            return
        except UpstreamError as error:
            await self.refuse(str(error))
            return
        finally:
            self.request_read.set()
        try:
            if response.status in STATUSES:
                await self.relay(response)
            else:
                await self.refuse(f"upstream answered with status {response.status}")
        finally:
            await response.aclose()

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it comes.

        Raises:
            ClientGone: it broke off.
        """
        more = not self.request_read.is_set()
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            data = message.get("body", b"")
            if data:
                if self.recorder is not None:
                    self.recorder.request_chunk(data)
                yield data
        self.request_read.set()

    async def refuse(self, reason: str) -> None:
        """Tell the client that the server gave no answer."""
        if self.recorder is not None:
            await self.read_rest()
            self.recorder.begin(502, [])
        if await self.store(Ending.UPSTREAM_ERROR, reason):
            self.started = self.ended = True
            await send_json(self.send_on, 502, error_body(reason, "upstream_error"))

    async def read_rest(self) -> None:
        """Read what no server took, so that the record holds the question."""
        try:
            async for _ in self.body():
                pass
        except ClientGone:
            return  # the record then holds what had come

    async def relay(self, response: UpstreamResponse) -> None:
        """Pass the answer on, and see that the record is there before its end is."""
        recorder = self.recorder
        if recorder is not None:
            recorder.begin(response.status, response.headers)
        bodyless = self.head.method == "HEAD" or response.status in BODYLESS
        empty = bodyless or (b"content-length", b"0") in response.headers
        if empty and not await self.store(Ending.ENDED):
            return
        self.started = True
        start = {"status": response.status, "headers": response.headers}
        await self.send_on({"type": "http.response.start", **start})
        try:
            async for chunk in response.chunks:
                last = recorder is not None and recorder.open and recorder.receive(chunk)
                if last and not await self.store(Ending.ENDED):
                    return
                message = {"type": "http.response.body", "body": chunk, "more_body": True}
                await self.send_on(message)
                if recorder is not None and recorder.open:
                    recorder.digest()
        except UpstreamError as error:
            await self.store(Ending.UPSTREAM_CUT, str(error))
            return  # without an end: the server then breaks the client's connection
        if await self.store(Ending.ENDED):
            self.ended = True
            await self.send_on({"type": "http.response.body", "body": b"", "more_body": False})

    async def store(self, ending: Ending, error: str | None = None) -> bool:
        """Write the record, once; False when it could not be, and the answer must not go on."""
        if self.recorder is None or not self.recorder.open:
            return True
        line = self.recorder.finish(ending, error)
        ledger = self.ledger
        try:
            await ledger.log.append(line)
        except OSError as problem:
            ledger.n_log_failures += 1
            reason = f"the exchange log {ledger.log.path} cannot be written: {problem.strerror}"
            print(f"distill-proxy: {reason}", file=sys.stderr, flush=True)
            if not self.started:
                self.started = self.ended = True
                await send_json(self.send_on, 503, error_body(reason, "log_error"))
            return False
        ledger.outcomes[self.recorder.outcome or ""] += 1
        return True


async def end_tasks(*tasks: asyncio.Future[None]) -> None:
    """Cancel tasks and wait until they have cleaned up; their results stay to be asked for."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def request_head(scope: Scope) -> RequestHead:
    """Return the request's first part as it stood on the wire."""
    target = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return RequestHead(scope["method"], target, scope["headers"])


def has_body(scope: Scope) -> bool:
    """Tell whether the request has a body, which its framing headers say."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
