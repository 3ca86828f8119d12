"""Serving on one socket until a signal, for the commands of this package.

Owns the listening socket and the stop on SIGTERM, SIGINT and SIGHUP. Refuses to own connections
(server).

    listener = listen(Address("127.0.0.1", 0))
    uvloop.run(serve(Server(handle), listener, announce))    # returns after such a signal
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from proxy.config import Address
from proxy.console import note
from proxy.server import BACKLOG, Server


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


async def serve(
    server: Server,
    listener: socket.socket,
    on_ready: Callable[[], None],
    grace_s: float | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then until the running answers end, or for `grace_s`.

    A second signal ends those at once. `on_ready` is called when connections and signals are taken.
    """
    await server.start(listener)
    stop, cut = stop_signals()
    on_ready()
    await stop.wait()
    if server.n_busy:
        words = f"waiting for {server.n_busy} running answer(s); a second signal cuts them off"
        note(words)
    draining = asyncio.ensure_future(server.drain(grace_s))
    cutting = asyncio.ensure_future(cut.wait())
    await asyncio.wait({draining, cutting}, return_when=asyncio.FIRST_COMPLETED)
    cutting.cancel()
    if not draining.done():
        await server.cut()
    await draining


def stop_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return what the first and the second SIGTERM, SIGINT or SIGHUP set.

    SIGHUP is a terminal that was closed; `nohup` has it ignored, and so it stays.
    """
    stop, cut = asyncio.Event(), asyncio.Event()

    def count() -> None:
        (cut if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if name is not signal.SIGHUP or signal.getsignal(name) is signal.SIG_DFL:
            loop.add_signal_handler(name, count)
    return stop, cut
