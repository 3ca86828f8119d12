"""Serving an ASGI application on one socket until a signal, for the commands of this package.

Owns the socket, the ASGI server's settings and the stop on SIGTERM and SIGINT.
Refuses to own routes (app, recorded_server).

    listener = listen(Address("127.0.0.1", 0))
    serve(app, listener, 10, announce)    # returns after SIGTERM or SIGINT
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxy.asgi import App
from proxy.config import Address

if TYPE_CHECKING:
    import uvicorn

BACKLOG = 2048
MAX_HEAD_BYTES = 256 * 1024
IDLE_CONNECTION_S = 75
"""Longer than clients keep an idle connection (httpx: 5 s), so that they close first."""


def listen(address: Address) -> socket.socket:
    """Return a socket that accepts connections from now on.

    Raises:
        ValueError: the port is in use, the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer of two
    # writes (headers, body) waits 40 ms for the client's delayed acknowledgement
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ValueError(
            f"--listen {address.host}:{address.port}: {error.strerror or error}; "
            "choose another port, or 0 for a free one"
        ) from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> Address:
    """Return where a socket listens, with the port that the system picked."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


def make_server(app: App, grace_s: int) -> uvicorn.Server:
    """Return an ASGI server that adds nothing of its own to an answer."""
    import uvicorn

    asgi: Any = app  # uvicorn's own types are narrower than what the ASGI standard asks for
    config = uvicorn.Config(
        asgi,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=IDLE_CONNECTION_S,
        timeout_graceful_shutdown=grace_s,
    )
    return uvicorn.Server(config)


def serve(app: App, listener: socket.socket, grace_s: int, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; running answers then get `grace_s` seconds to end.

    A second SIGINT ends them at once. `announce` is called when connections and signals are taken.
    """
    server = make_server(app, grace_s)
    quiet_server_log()

    def stop(*_: object) -> None:
        server.should_exit = True

    # for a signal before the server's own handlers are there, and for the one that it sends itself
    # again after its clean stop, which would end the process with the signal's exit code
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    announce()
    server.run(sockets=[listener])


def quiet_server_log() -> None:
    """Let through tracebacks only: a broken answer is in the exchange log, not an error of ours."""
    logging.getLogger("uvicorn.error").addFilter(lambda record: bool(record.exc_info))
