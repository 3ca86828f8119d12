"""The HTTP side of `local-chat`: one request for one completion, retried where that is honest.

Owns retries, time limits and the size of a reply. Refuses to own what is asked (`local_chat`),
where (`chat.endpoint`), and the forms of a reply (`chat.reply`). No lm_eval.

A retry repeats the same request, seed included: transport faults, a stalled or broken-off stream, a
malformed reply, 408, 425, 429 and 5xx; Retry-After is honoured. Nothing else is sent twice.

Example, one completion:

    async with ChatClient(transport) as client:
        reply = await client.complete({"model": "m", "messages": messages}, "base/task/0/0")
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self

import httpx2

from harness_tasks.chat.endpoint import (
    CONNECT_TIMEOUT_S,
    Transport,
    backoff,
    refuse_html,
    status_error,
    transport_fault,
)
from harness_tasks.chat.reply import (
    MAX_REPLY_BYTES,
    EventStream,
    Reply,
    ReplyBuilder,
    UpstreamError,
    parse_json,
    shown,
)

END_OF_STREAM_S = 2.0
MAX_ERROR_BYTES = 64 * 1024
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
    """Asks for completions over one pool of connections; use as an async context manager."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.usage_in_stream: bool | None = None  # None: not known yet
        self.n_failing = 0  # requests that failed on the way since one last succeeded
        self.n_retries = 0
        n = transport.num_concurrent
        self.http = httpx2.AsyncClient(
            headers=transport.request_headers(),
            # Reading is limited by `limited`, which knows tokens from keep-alive comments.
            timeout=httpx2.Timeout(60.0, connect=CONNECT_TIMEOUT_S, read=None, pool=None),
            limits=httpx2.Limits(max_connections=n, max_keepalive_connections=n),
            trust_env=not transport.endpoint.is_loopback,
        )

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.http.__aexit__(*exc_info)

    async def complete(self, body: dict[str, Any], request_id: str) -> Reply:
        """Return the completion of one request.

        Raises:
            UpstreamError: it failed for good; the message says after how many attempts.
        """
        attempt = 0
        while True:
            try:
                reply = await self.attempt(body, request_id)
            except UpstreamError as fault:
                wait = self.wait_before_retry(fault, attempt)
                if wait is None:
                    raise after_attempts(fault, attempt + 1) from fault
                self.n_retries += 1
                attempt += 1
                await asyncio.sleep(wait)
            else:
                self.n_failing = 0
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

    async def attempt(self, body: dict[str, Any], request_id: str) -> Reply:
        """Send a request once, or twice where the server may not know `stream_options`.

        Raises:
            UpstreamError: it failed.
        """
        ask_usage = bool(body.get("stream")) and self.usage_in_stream is not False
        if not ask_usage or "stream_options" in body:
            return await self.send(body, request_id)
        try:
            reply = await self.send({**body, "stream_options": {"include_usage": True}}, request_id)
        except UpstreamError as fault:
            if fault.status not in (400, 422) or self.usage_in_stream:
                raise
            reply = await self.send(body, request_id)
            self.usage_in_stream = False
        else:
            self.usage_in_stream = True
        return reply

    async def send(self, body: dict[str, Any], request_id: str) -> Reply:
        """Send one request within its time limits.

        Raises:
            UpstreamError: it failed.
        """
        # ASCII JSON carries every string, lone surrogates included.
        content = json.dumps(body, allow_nan=False).encode("ascii")
        headers = {"content-type": "application/json", "x-request-id": request_id}
        transport = self.transport
        stall = asyncio.timeout(transport.stall_timeout_s if body.get("stream") else None)
        started = time.monotonic()
        try:
            async with (
                asyncio.timeout(transport.timeout_s),
                stall,
                self.http.stream(
                    "POST", transport.endpoint.chat, content=content, headers=headers
                ) as response,
            ):
                return await self.read(response, stall, started)
        except TimeoutError as late:
            if stall.expired():
                raise UpstreamError(
                    f"no token came for stall_timeout_s={transport.stall_timeout_s:g} s",
                    kind="stall",
                    retry=True,
                ) from late
            raise UpstreamError(
                f"not finished after timeout_s={transport.timeout_s:g} s", kind="timeout"
            ) from late
        except httpx2.TransportError as fault:
            raise transport_fault(fault, transport.endpoint) from fault
        except httpx2.HTTPError as fault:
            raise UpstreamError(
                f"{type(fault).__name__}: {shown(str(fault))}", kind="malformed", retry=True
            ) from fault

    async def read(
        self, response: httpx2.Response, stall: asyncio.Timeout, started: float
    ) -> Reply:
        """Read a reply, whole or streamed as the server chose.

        Raises:
            UpstreamError: an error status, or no reply of a chat completions server.
        """
        if response.status_code != 200:
            body = b"".join([chunk async for chunk in bounded(response, MAX_ERROR_BYTES)])
            raise status_error(response, body, self.transport)
        refuse_html(response, self.transport)
        built = ReplyBuilder()
        ttft_s: float | None = None
        if "text/event-stream" in response.headers.get("content-type", "").lower():
            loop = asyncio.get_running_loop()
            async for event in events_of(response, built):
                if built.add(parse_json(event, "a chunk of the stream")):
                    ttft_s = ttft_s or time.monotonic() - started
                    stall.reschedule(loop.time() + self.transport.stall_timeout_s)
        else:
            body = b"".join([chunk async for chunk in bounded(response, MAX_REPLY_BYTES)])
            built.add(parse_json(body, "the reply"))
        return dataclasses.replace(
            built.reply(),
            latency_s=round(time.monotonic() - started, 6),
            ttft_s=ttft_s and round(ttft_s, 6),
        )


async def bounded(response: httpx2.Response, limit: int) -> AsyncGenerator[bytes]:
    """Yield a body up to a size; an error body ends there, a reply is refused.

    Raises:
        UpstreamError: a reply above the limit.
    """
    n_bytes = 0
    async for chunk in response.aiter_bytes():
        n_bytes += len(chunk)
        if n_bytes > limit:
            if response.status_code != 200:
                return
            raise UpstreamError(f"the reply is larger than {limit} bytes", kind="too large")
        yield chunk


async def events_of(response: httpx2.Response, built: ReplyBuilder) -> AsyncIterator[bytes]:
    """Yield the events of a stream up to `[DONE]` or its end.

    Raises:
        UpstreamError: the stream is too large, or ends before `built` is a finished completion.
    """
    stream = EventStream()
    async with contextlib.aclosing(bounded(response, MAX_REPLY_BYTES)) as chunks:
        async for chunk in chunks:
            for event in stream.feed(chunk):
                yield event
            if stream.done:
                await read_to_end(chunks)
                return
    for event in stream.close():
        yield event
    if not stream.done and built.finish_reason is None:
        raise UpstreamError(
            "the stream broke off before the completion was finished", kind="cut", retry=True
        )


async def read_to_end(chunks: AsyncIterator[bytes]) -> None:
    """Read what follows `[DONE]`, which lets the connection be used again."""
    with contextlib.suppress(TimeoutError, UpstreamError, httpx2.TransportError):
        async with asyncio.timeout(END_OF_STREAM_S):
            async for _ in chunks:
                pass
