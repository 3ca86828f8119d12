"""The little of ASGI that the proxy and the recorded-completions server share.

Owns the types of the three ASGI arguments, JSON answers and the lifespan handshake.
Refuses to own sockets and signals (serve) and routes (app, recorded_server).

    >>> async def app(scope, receive, send):
    ...     await send_json(send, 200, {"status": "ok"})
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


async def send_json(send: Send, status: int, body: object, headers: Headers | None = None) -> None:
    """Send a JSON object as the whole answer, on one line."""
    data = json.dumps(body, ensure_ascii=False).encode() + b"\n"
    length = str(len(data)).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", length), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": data})


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return an error in the shape that OpenAI clients read."""
    return {"error": {"message": message, "type": kind}}


async def answer_lifespan(
    receive: Receive, send: Send, stop: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Confirm start and stop, after `stop` has run."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown" and stop is not None:
            await stop()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
