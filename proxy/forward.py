"""One request through the proxy: body to the server, answer to the client, record to the log.

Owns the order of these three, and what happens when either side goes away.
Refuses to own HTTP itself (server, upstream), the choice of a server (routes) and what a record
says (recorder).

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
- A record that cannot be written ends in a broken or refused answer, never in a silent gap (unless
  `--on-log-failure pass` asked for one).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from proxy.config import OnLogFailure, ProxyConfig
from proxy.console import note
from proxy.http1 import BODYLESS, LAST_CHUNK, RequestHead, chunk_bytes, request_bytes
from proxy.log import ExchangeLog
from proxy.recorder import Ending, Recorder, is_generation
from proxy.request import ClientGone, ClientStalled, Request
from proxy.routes import Replica, RouteState, RouteTable
from proxy.stats import Ledger
from proxy.upstream import (
    ConnectError,
    Response,
    UpstreamConnection,
    UpstreamError,
    may_repeat,
)

STOPPED = "the proxy was stopped before the answer's end"
GONE = "the client closed the connection"


@dataclass(frozen=True)
class Gateway:
    """What all requests share."""

    config: ProxyConfig
    routes: RouteTable
    log: ExchangeLog
    ledger: Ledger
    on_log_failure: OnLogFailure = OnLogFailure.REFUSE


class Refused(Exception):
    """The request is not passed on; `args` are the status, the reason and its kind."""


class Forwarding:
    """One request and its answer."""

    def __init__(self, request: Request, head: RequestHead, gateway: Gateway) -> None:
        self.request = request
        self.head = head
        self.gateway = gateway
        self.target = head.target
        self.recorder: Recorder | None = None
        self.held = b""  # of the body, read to find the route
        self.replica: Replica | None = None
        self.connection: UpstreamConnection | None = None
        self.sender: asyncio.Task[None] | None = None
        self.client_failure: ClientGone | None = None

    async def run(self) -> None:
        """Forward until the answer's end, the client's departure or the proxy's stop."""
        self.gateway.ledger.begin()
        try:
            await self.forward()
        except ClientGone as gone:
            await self.store(Ending.CLIENT_CUT, str(gone))
            if isinstance(gone, ClientStalled) and not self.request.started:
                self.request.refuse(408, str(gone), "request_timeout")
        except asyncio.CancelledError:
            # the record comes first; then this returns without an end, which breaks the connection
            with contextlib.suppress(asyncio.CancelledError):
                await self.store_cut()
        except Exception as failure:
            await self.store(Ending.UPSTREAM_CUT, f"{type(failure).__name__} in the proxy")
            raise
        finally:
            self.let_go()
            self.gateway.ledger.end()

    async def store_cut(self) -> None:
        """Write the record of an exchange that was cancelled."""
        if self.request.gone:
            await self.store(Ending.CLIENT_CUT, GONE)
        else:
            await self.store(Ending.UPSTREAM_CUT, STOPPED)

    def let_go(self) -> None:
        """Give the server's connection back."""
        if self.sender is not None:
            self.sender.cancel()
            if self.connection is not None and not self.sender.done():
                self.connection.abort()
        if self.replica is not None:
            self.replica.in_flight -= 1
            if self.connection is not None:
                self.replica.pool.release(self.connection)

    async def forward(self) -> None:
        """Find a server, ask it, and pass its answer on."""
        try:
            if is_generation(self.head):
                await self.begin_record()
            response = await self.ask(await self.find_route())
        except Refused as refusal:
            status, reason, kind = refusal.args
            await self.refuse(status, reason, kind)
        except UpstreamError as error:
            if self.client_failure is not None:
                raise self.client_failure from error
            await self.refuse(502, str(error), "upstream_error")
        except TimeoutError:
            await self.refuse(504, self.silence(), "upstream_timeout")
        else:
            await self.relay(response)

    async def begin_record(self) -> None:
        """Begin a record, unless the log cannot take one.

        Raises:
            Refused: the log cannot be written, and nothing may pass without a record.
        """
        gateway = self.gateway
        log = gateway.log
        if log.failure is not None and gateway.on_log_failure is OnLogFailure.REFUSE:
            reason = f"the exchange log {log.path} cannot be written: {log.failure}"
            if not await log.usable():
                raise Refused(503, f"{reason}; no request is taken until it can", "log_error")
        self.recorder = Recorder(self.head, gateway.config)

    async def find_route(self) -> RouteState:
        """Return the route of the request, by its path, else by the model that its body names.

        Raises:
            Refused: it has none.
        """
        routes = self.gateway.routes
        route: RouteState | None
        if (found := routes.by_path(self.head.target)) is not None:
            route, self.target = found
        elif routes.asks_model and self.request.has_body:
            codings = self.head.values(b"content-encoding")
            route = routes.by_model(await self.read_start(), codings)
        else:
            route = routes.rest
        if route is None:
            names = ", ".join(sorted(routes.named))
            limit = self.gateway.config.max_logged_bytes
            where = f"in the first {limit} bytes " if len(self.held) > limit else ""
            reason = (
                f"no route: the path begins with none of {names}, and no such model {where}is named"
            )
            raise Refused(404, reason, "not_found_error")
        if self.recorder is not None:
            self.recorder.route = route.name
        return route

    async def read_start(self) -> bytes:
        """Return the request's body, or what may be kept of a larger one; it is sent on later."""
        limit = self.gateway.config.max_logged_bytes
        pieces, size = [], 0
        self.request.invite()
        while size <= limit and (piece := await self.request.read()):
            pieces.append(piece)
            size += len(piece)
        self.held = b"".join(pieces)
        return self.held

    async def ask(self, route: RouteState) -> Response:
        """Send the request to a server of the route and return its answer's head.

        Raises:
            UpstreamError: there is no answer.
            TimeoutError: none in time.
        """
        connection = await self.connect(route)
        timeout_s = self.gateway.config.upstream_timeout_s
        await self.send(connection)
        try:
            return await connection.response(timeout_s)
        except UpstreamError:
            if not may_repeat(self.head.method, self.request.has_body, connection):
                raise
        assert self.replica is not None
        connection = self.connection = await self.replica.pool.acquire(fresh=True)
        await self.send(connection)
        return await connection.response(timeout_s)

    async def connect(self, route: RouteState) -> UpstreamConnection:
        """Return a connection to the least loaded replica that takes one.

        Raises:
            ConnectError: none does.
        """
        now = time.monotonic()  # as event loops count
        failure: ConnectError | None = None
        for replica in route.by_load(now):
            self.replica = replica
            replica.in_flight += 1
            replica.n_requests += 1
            if self.recorder is not None:
                self.recorder.upstream = replica.url
            try:
                self.connection = await replica.pool.acquire()
            except ConnectError as error:
                failure = error
                replica.reached(time.monotonic(), up=False)
                replica.in_flight -= 1
                self.replica = None
            else:
                replica.reached(now, up=True)
                return self.connection
        assert failure is not None
        raise failure

    async def send(self, connection: UpstreamConnection) -> None:
        """Send the request; a body that is not yet here goes on while the answer is waited for."""
        pool = connection.pool
        connection.on_interim = self.request.interim
        connection.begin(self.head.method)
        head = request_bytes(self.head, pool.prefix + self.target, pool.authority)
        if not self.request.has_body:
            connection.write(head)
        elif self.request.body.is_whole:
            await self.send_body(connection, head)
        else:
            self.sender = asyncio.ensure_future(self.send_body(connection, head))

    async def send_body(self, connection: UpstreamConnection, head: bytes) -> None:
        """Pass the request's body on as it comes, the first piece together with the head."""
        request, recorder = self.request, self.recorder
        stall_s = self.gateway.config.stall_timeout_s
        held, self.held = self.held, b""
        if not held and not request.body.pieces:
            connection.write(head)
            head = b""
        try:
            while (piece := held or await request.read()) and not connection.lost:
                held = b""
                if recorder is not None and recorder.open:
                    recorder.request_chunk(piece)
                connection.write(head + (chunk_bytes(piece) if request.chunked else piece))
                head = b""
                if connection.is_ahead:
                    await connection.drain(stall_s)
            if request.chunked:
                connection.write(head + LAST_CHUNK)
        except ClientGone as gone:
            self.client_failure = gone
            connection.abort()
        except UpstreamError:
            connection.fail("it stopped reading the request")

    async def refuse(self, status: int, reason: str, kind: str) -> None:
        """Tell the client that there is no answer from the server."""
        if self.recorder is not None:
            await self.read_rest()
            self.recorder.begin(status, [])
        if await self.store(Ending.UPSTREAM_ERROR, reason):
            self.request.refuse(status, reason, kind)

    async def read_rest(self) -> None:
        """Read what no server took, so that the record holds the question."""
        assert self.recorder is not None
        if self.sender is not None:
            self.sender.cancel()
            await asyncio.wait({self.sender})
        if self.held:
            self.recorder.request_chunk(self.held)
        if self.request.has_body and not self.request.awaits_continue:
            while piece := await self.request.read():
                self.recorder.request_chunk(piece)

    def silence(self) -> str:
        """Return what is said of a server that sends nothing."""
        url = "" if self.replica is None else self.replica.url
        return f"upstream {url}: sent nothing for {self.gateway.config.upstream_timeout_s:g} s"

    async def relay(self, response: Response) -> None:
        """Pass the answer on, and see that the record is there before its end is."""
        recorder, request, head = self.recorder, self.request, response.head
        if head.status == 101:
            await self.refuse(502, "upstream answered with status 101", "upstream_error")
            return
        if recorder is not None:
            recorder.begin(head.status, head.headers)
        if self.is_empty(response) and not await self.store(Ending.ENDED):
            return
        request.start(head)
        try:
            if await self.relay_body(response) and await self.store(Ending.ENDED):
                request.end()
        except UpstreamError as error:
            if self.client_failure is not None:  # it stopped sending, so the server was cut off
                raise self.client_failure from error
            await self.store(Ending.UPSTREAM_CUT, str(error))
        except TimeoutError:
            await self.store(Ending.UPSTREAM_CUT, self.silence())

    def is_empty(self, response: Response) -> bool:
        """Tell whether the answer's head is all of it."""
        empty = self.head.method == "HEAD" or response.head.status in BODYLESS
        return empty or (response.body.is_whole and not response.body.pieces)

    async def relay_body(self, response: Response) -> bool:
        """Pass the answer's body on as it comes; False where its record could not be written.

        The piece that completes it waits for the log. Parsing comes behind the write: bytes first.
        """
        recorder, request, body = self.recorder, self.request, response.body
        timeout_s = self.gateway.config.upstream_timeout_s
        if not body.pieces:
            request.flush()
        while piece := await body.get(timeout_s):
            if recorder is not None and recorder.open:
                completes = recorder.receive(piece) or body.is_whole
                if completes and not await self.store(Ending.ENDED):
                    return False
            request.write(piece, last=body.is_whole and not body.pieces)
            if request.ended:
                break
            if recorder is not None and recorder.open:
                recorder.digest()
            if request.is_ahead:
                await request.drain()
        return True

    async def store(self, ending: Ending, error: str | None = None) -> bool:
        """Write the record, once; False when it could not be, and the answer must not go on."""
        recorder = self.recorder
        if recorder is None or not recorder.open:
            return True
        gateway = self.gateway
        recorder.request_is_whole = self.request.body.is_whole or not self.request.has_body
        line = recorder.finish(ending, error)
        assert recorder.facts is not None
        try:
            await gateway.log.append(line)
        except asyncio.CancelledError:
            gateway.ledger.record(recorder.facts)  # the line is written all the same
            raise
        except OSError as problem:
            words = problem.strerror or str(problem)
            reason = f"the exchange log {gateway.log.path} cannot be written: {words}"
            if gateway.ledger.failed(reason):
                note(reason)
            if gateway.on_log_failure is OnLogFailure.PASS:
                return True
            if not self.request.started and not self.request.gone:
                self.request.refuse(503, reason, "log_error")
            return False
        gateway.ledger.record(recorder.facts)
        return True
