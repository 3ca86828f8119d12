"""The connection to the server behind the proxy: one request out, its answer back in pieces.

Owns the HTTP client and the header rules of a gateway. Refuses to own the log and the client's
side. The rest of the proxy knows `UpstreamClient.send` only, so another client can take its place.

    response = await client.send(RequestHead("POST", b"/v1/chat/completions", headers), body)
    async for chunk in response.chunks: ...

Nothing is added, followed, remembered or taken from the environment: no user-agent, no accept, no
redirects, no cookies, no proxies. Header names are sent in lower case (HTTP does not tell them
apart); trailers and 1xx answers are not passed on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from proxy.asgi import Headers

if TYPE_CHECKING:
    import httpx2

    from proxy.config import ProxyConfig

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Source: RFC 9110 section 7.6.1, with the two proxy fields that RFC 2616 section 13.5.1 lists."""
FRAMING = frozenset({b"content-length", b"host"})
"""Never dropped because a Connection header lists them: that would change where a body ends."""
KEEP_ALIVE_S = 2.0
"""Below the 5 s after which the servers in use close an idle connection: a request on a connection
that is being closed at that moment is lost, and a generation must not be sent twice."""

FAILED = 500


class UpstreamError(Exception):
    """The server did not answer, or stopped before its answer's end."""


class RequestHead(NamedTuple):
    """A request's first part; `target` is path and query as they stand on the wire."""

    method: str
    target: bytes
    headers: Headers


@dataclass(frozen=True)
class UpstreamResponse:
    """An answer whose body is still to come. Read `chunks` to the end or call `aclose`."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]


class UpstreamClient:
    """Sends requests to one server over kept-alive connections."""

    def __init__(self, config: ProxyConfig) -> None:
        import httpx2

        self.upstream = config.upstream
        self.base = httpx2.URL(config.upstream.url)
        # the certificates of a system take 20 ms to load, which plain http has no use for
        self.transport = httpx2.AsyncHTTPTransport(
            verify=config.upstream.scheme == "https",
            trust_env=False,
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEP_ALIVE_S
            ),
        )
        self.timeout = {
            "connect": config.connect_timeout_s,
            "write": config.write_timeout_s,
            "read": None,
            "pool": None,
        }

    async def send(self, head: RequestHead, body: AsyncIterator[bytes] | None) -> UpstreamResponse:
        """Send a request and return once the answer's headers have come.

        Raises:
            UpstreamError: no connection, or it broke before the headers were complete.
        """
        import httpx2

        request = httpx2.Request(
            head.method,
            self.base,
            headers=request_headers(head.headers, self.upstream.authority.encode()),
            stream=stream_of(body),
            extensions={
                "target": self.upstream.prefix.encode() + head.target,
                "timeout": self.timeout,
            },
        )
        try:
            response = await self.transport.handle_async_request(request)
        except httpx2.TransportError as error:
            raise UpstreamError(describe(error, self.upstream.url)) from error
        headers = response_headers(response.headers.raw)
        chunks = self.read(response)
        return UpstreamResponse(response.status_code, headers, chunks, response.aclose)

    async def read(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """Yield the body as it comes, undecoded.

        Raises:
            UpstreamError: the connection broke before the body's end.
        """
        import httpx2

        try:
            async for chunk in response.aiter_raw():
                yield chunk
            if response.status_code >= FAILED:
                # uvicorn closes the connection after an unhandled error and does not say so: the
                # next request on it would be lost.
                await response.extensions["network_stream"].aclose()
        except httpx2.TransportError as error:
            raise UpstreamError(describe(error, self.upstream.url)) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self.transport.aclose()


def stream_of(body: AsyncIterator[bytes] | None) -> httpx2.AsyncByteStream:
    """Return a request body as the client wants it; it adds no header for it."""
    import httpx2

    class Body(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            if body is not None:
                async for chunk in body:
                    yield chunk

    return Body()


def describe(error: Exception, url: str) -> str:
    """Return on one line what went wrong with which server."""
    text = " ".join(str(error).split()) or "no further detail"
    return f"upstream {url}: {type(error).__name__}: {text}"


def end_to_end(headers: Headers) -> Headers:
    """Return the headers meant for the other end, in lower case, order and repeats kept."""
    named = [(name.lower(), value) for name, value in headers]
    listed = {
        token.strip().lower()
        for name, value in named
        if name == b"connection"
        for token in value.split(b",")
    }
    dropped = HOP_BY_HOP | (listed - FRAMING)
    return [(name, value) for name, value in named if name not in dropped]


def is_chunked(headers: Headers) -> bool:
    """Tell whether a body comes in chunks, so that its content-length, if any, means nothing."""
    return any(name.lower() == b"transfer-encoding" for name, _ in headers)


def request_headers(headers: Headers, authority: bytes) -> Headers:
    """Return the headers to send: end-to-end ones, Host rewritten in place, the framing kept."""
    chunked = is_chunked(headers)
    kept: Headers = []
    for name, value in end_to_end(headers):
        if name == b"host":
            value = authority
        if not (chunked and name == b"content-length"):
            kept.append((name, value))
    if not any(name == b"host" for name, _ in kept):
        kept.insert(0, (b"host", authority))
    if chunked:
        kept.append((b"transfer-encoding", b"chunked"))
    return kept


def response_headers(headers: Headers) -> Headers:
    """Return the headers to pass on; a chunked body is chunked anew for the client."""
    chunked = is_chunked(headers)
    return [
        (name, value)
        for name, value in end_to_end(headers)
        if not (chunked and name == b"content-length")
    ]
