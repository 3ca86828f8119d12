"""HTTP to one server through a proxy of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY).

Owns whether a proxy may lie in between, and the way through it, which is httpx2's. Refuses to own
the straight way (`chat.wire`), which costs a fraction of it. No lm_eval.

Example: `wire = wire_to(transport)`, used as a `chat.wire.Wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx2

from harness_tasks.chat.endpoint import CONNECT_TIMEOUT_S, Transport, transport_fault
from harness_tasks.chat.reply import UpstreamError, shown
from harness_tasks.chat.wire import END_OF_STREAM_S, Reader, Wire, header_value


class ProxiedWire:
    """The connections to one server, through httpx2, which decides where a proxy is passed by."""

    def __init__(self, transport: Transport) -> None:
        self.endpoint = transport.endpoint
        self.http = httpx2.AsyncClient(
            headers={"user-agent": "distill-eval", **transport.request_headers()},
            timeout=httpx2.Timeout(60.0, connect=CONNECT_TIMEOUT_S, read=None, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def send(
        self, method: str, url: str, content: bytes, request_id: str, reader: Reader
    ) -> None:
        """Send a request and return once the reader has its reply.

        Raises:
            UpstreamError: no connection came about, or it broke.
        """
        headers = {
            "content-type": "application/json",
            "x-request-id": header_value(request_id).decode("ascii"),
        }
        try:
            async with self.http.stream(method, url, content=content, headers=headers) as response:
                reader.begin(response.status_code, response.headers)
                pieces = response.aiter_raw()
                async for data in pieces:
                    reader.feed(data)
                    if reader.enough:
                        await read_to_end(pieces)
                reader.end()
        except httpx2.TransportError as fault:
            raise transport_fault(fault, self.endpoint) from fault
        except httpx2.HTTPError as fault:
            raise UpstreamError(
                f"{type(fault).__name__}: {shown(str(fault))}", kind="malformed", retry=True
            ) from fault

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()


async def read_to_end(pieces: AsyncIterator[bytes]) -> None:
    """Read what is not wanted any more, which lets the connection be used again."""
    with contextlib.suppress(TimeoutError, httpx2.TransportError):
        async with asyncio.timeout(END_OF_STREAM_S):
            async for _ in pieces:
                pass


def wire_to(transport: Transport) -> Wire | ProxiedWire:
    """Return the way to a server: straight, unless the environment names a proxy for it."""
    proxies = urllib.request.getproxies()
    scheme = urlsplit(transport.endpoint.base).scheme
    if transport.endpoint.is_loopback or not (proxies.get(scheme) or proxies.get("all")):
        return Wire(transport)
    return ProxiedWire(transport)
