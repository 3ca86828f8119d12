"""One run of the proxy: its socket, its log and its counts, and what it says meanwhile.

Owns the order of start and stop. Refuses to own the options (cli) and serving itself (app).

    Session(config, log_config, Address("127.0.0.1", 8766), quiet=False).run()   # until a signal
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys

import uvloop

from proxy.app import serve_proxy
from proxy.config import Address, LogConfig, ProxyConfig
from proxy.console import say
from proxy.greeting import check, greet, is_loopback, reach_line, warn_if_open
from proxy.log import ExchangeLog
from proxy.serve import address_of, listen
from proxy.stats import Ledger
from proxy.status import stderr_line

STDERR = 2


class Session:
    """One run; `quiet` says the address and warnings only."""

    def __init__(
        self, config: ProxyConfig, log_config: LogConfig, address: Address, quiet: bool
    ) -> None:
        self.config = config
        self.log_config = log_config
        self.address = address
        self.quiet = quiet
        self.ledger = Ledger()

    def run(self) -> None:
        """Serve until a signal.

        Raises:
            ValueError: the address or the log folder cannot be used.
        """
        open_standard_streams()
        refuse_loop(self.config, self.address)
        with listen(self.address) as listener:
            self.address = address_of(listener)  # with the port that the system picked
            log = ExchangeLog.create(self.log_config)
            raise_descriptor_limit()
            uvloop.run(self.serve(log, listener))
        # all is done and stored: a signal that comes this late must not make it a failure
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        if not self.quiet:
            say(self.summary())

    async def serve(self, log: ExchangeLog, listener: socket.socket) -> None:
        """Serve until a signal, and close the log whatever happens."""
        aside: list[asyncio.Task[None]] = []

        def announce() -> None:
            say(f"listening on {self.address.url}")
            if not self.quiet:
                say(f"logging to {log.path}")
            if self.config.token is None:
                warn_if_open(self.address)
            aside.append(asyncio.ensure_future(self.talk(log)))

        try:
            await serve_proxy(self.config, log, self.ledger, listener, announce)
        finally:
            await log.aclose()
            for task in aside:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def talk(self, log: ExchangeLog) -> None:
        """Say what there is to say beside serving, until cancelled."""
        if self.quiet:
            await check(self.config)
            return
        if reach := reach_line(self.address):
            say(reach)
        await greet(self.config, self.address)
        if line := stderr_line(self.ledger, log):
            with line:
                await line.run()

    def summary(self) -> str:
        """Return what is left to say after the end."""
        ledger = self.ledger
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(ledger.outcomes.items()))
        lost = f"; records lost: {ledger.n_log_failures}" if ledger.n_log_failures else ""
        return f"stopped; exchanges: {counts or 'none'}{lost}; log: {self.log_config.folder}"


def open_standard_streams() -> None:
    """Open what the caller closed of stdin, stdout and stderr on nothing.

    Else the log or a client's socket gets such a descriptor, and what C code writes to stderr.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)
            setattr(sys, name, nowhere)


def refuse_loop(config: ProxyConfig, address: Address) -> None:
    """Refuse to be a server of one's own, which each request would come back from for ever.

    Raises:
        ValueError: an upstream is the address to listen on.
    """
    for upstream in (upstream for route in config.routes for upstream in route.upstreams):
        here = upstream.host == address.host or (
            is_loopback(upstream.host)
            and (is_loopback(address.host) or address.host in ("0.0.0.0", "::"))
        )
        if here and upstream.port == address.port:
            raise ValueError(f"{upstream.url} is the proxy's own address: see --listen")


def raise_descriptor_limit() -> None:
    """Allow as many connections as the system lets a process have; 1,024 are a usual default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
