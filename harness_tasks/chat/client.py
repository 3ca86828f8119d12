"""The HTTP side of `local-chat`: one request for one completion, retried where that is honest.

Owns retries and time limits. Refuses to own what is asked (`local_chat`), which server is asked
(`chat.replicas`), sockets (`chat.wire`), reading (`chat.reading`) and the forms of a reply
(`chat.reply`). No lm_eval.

A retry repeats the same request, seed included: transport faults, a stalled or broken-off stream, a
malformed reply, 408, 425, 429 and 5xx; Retry-After is honoured. Nothing else is sent twice. Of
several servers, one that is gone is left out; what one of them fails goes to another one at once,
which is no retry.

Example, one completion:

    async with ChatClient(transport) as client:
        reply = await client.complete({"model": "m", "messages": messages}, "base/task/0/0")
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from harness_tasks.chat.descriptors import make_room
from harness_tasks.chat.endpoint import Transport, backoff
from harness_tasks.chat.reading import ReplyReader
from harness_tasks.chat.replicas import Replica, Replicas
from harness_tasks.chat.reply import Reply, UpstreamError, json_bytes
from harness_tasks.chat.watch import Watch

# What a server that is gone looks like, straight or behind a proxy.
NO_SERVER = ("connect", "transport", "HTTP 502", "HTTP 504")


def after_attempts(fault: UpstreamError, n_attempts: int) -> UpstreamError:
    """Add to a final fault how often it was tried."""
    if n_attempts == 1:
        return fault
    return UpstreamError(
        f"{fault} (after {n_attempts} attempts)", kind=fault.kind, status=fault.status
    )


class ChatClient:
    """Asks for completions over kept connections; use as an async context manager.

    Raises:
        ValueError: the system allows too few open files for `num_concurrent`.
    """

    def __init__(self, transport: Transport) -> None:
        make_room(transport.num_concurrent)
        self.transport = transport
        self.usage_in_stream: bool | None = None  # None: not known yet
        self.n_failing = 0  # requests that failed on the way since one last succeeded
        self.n_retries = 0
        self.n_moved = 0  # from a server that was gone to another one
        self.replicas = Replicas(transport)
        self.watch = Watch()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        self.watch.close()
        await self.replicas.close()

    async def complete(self, body: dict[str, Any], request_id: str) -> Reply:
        """Return the completion of one request.

        Raises:
            UpstreamError: it failed for good; the message says after how many attempts.
        """
        self.replicas.models.add(str(body.get("model")))
        attempt = 0
        tried: dict[Replica, UpstreamError] = {}  # since the last wait
        while True:
            replica = self.replicas.pick(tried)
            try:
                replica.n_busy += 1
                try:
                    reply = await self.attempt(replica, body, request_id)
                finally:
                    replica.n_busy -= 1
            except UpstreamError as fault:
                if self.replicas.moves(replica, fault, tried):
                    self.n_moved += 1
                    tried[replica] = fault
                    continue
                wait = self.wait_before_retry(fault, attempt)
                if wait is None:
                    raise after_attempts(fault, attempt + 1) from fault
                self.n_retries += 1
                attempt += 1
                tried = {replica: fault}
                await asyncio.sleep(wait)
            else:
                self.n_failing = 0
                self.replicas.replied(replica, tried)
                return reply

    def wait_before_retry(self, fault: UpstreamError, attempt: int) -> float | None:
        """Return how long to wait, None where the fault is final."""
        if not fault.retry:
            return None
        if attempt >= self.transport.max_retries or self.seems_dead():
            self.n_failing += fault.kind in NO_SERVER
            return None
        wait = backoff(attempt, self.transport.backoff_s)
        return max(wait, fault.retry_after_s or 0.0)

    def seems_dead(self) -> bool:
        """Tell whether so many requests in a row failed that waiting for each is pointless."""
        return self.n_failing >= max(8, self.transport.num_concurrent)

    async def attempt(self, replica: Replica, body: dict[str, Any], request_id: str) -> Reply:
        """Send a request once, or twice where the server may not know `stream_options`.

        Raises:
            UpstreamError: it failed.
        """
        ask_usage = bool(body.get("stream")) and self.usage_in_stream is not False
        if not ask_usage or "stream_options" in body:
            return await self.send(replica, body, request_id)
        try:
            with_usage = {**body, "stream_options": {"include_usage": True}}
            reply = await self.send(replica, with_usage, request_id)
        except UpstreamError as fault:
            if fault.status not in (400, 422) or self.usage_in_stream:
                raise
            reply = await self.send(replica, body, request_id)
            self.usage_in_stream = False
        else:
            self.usage_in_stream = True
        return reply

    async def send(self, replica: Replica, body: dict[str, Any], request_id: str) -> Reply:
        """Send one request within its time limits.

        Raises:
            UpstreamError: it failed.
        """
        content = json_bytes(body)
        transport = replica.transport
        reader = ReplyReader(transport, asyncio.get_running_loop().time)
        stall_s = transport.stall_timeout_s if body.get("stream") else None
        try:
            with self.watch.over(reader, transport.timeout_s, stall_s):
                url = transport.endpoint.chat
                await replica.wire.send("POST", url, content, request_id, reader)
            return reader.reply(replica.base if self.transport.others else None)
        except UpstreamError as fault:
            raise transport.cleaned(fault) from None
