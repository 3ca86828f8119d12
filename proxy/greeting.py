"""What the proxy says when it starts: what to paste into lm_eval, and which servers are missing.

Owns these lines, and the question to each server for the name of its model.
Refuses to own forwarding (upstream): the question is bounded in time and size, and an answer of any
kind, or none, delays nothing.

    await greet(config, Address("127.0.0.1", 8766))
    # --model_args base_url=http://127.0.0.1:8766/v1,model=Qwen/Qwen3-8B
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import socket
import ssl
import sys
from dataclasses import dataclass, field

import httptools

from proxy.config import Address, ProxyConfig, Route, Upstream

PROBE_S = 1.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_NAMED = 4
PLAIN_NAME = re.compile(r"[\w./:@+~-]{1,200}", re.ASCII)
"""What needs no quoting, neither in a shell nor in lm_eval's comma-separated arguments."""
UNKNOWN = "NAME"


@dataclass
class Probe:
    """What a server told of itself; also the parser's target."""

    failure: str | None = None
    """Why no connection came about."""
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole = True

    @property
    def models(self) -> list[str]:
        """The models it lists, as far as their names are plain."""
        try:
            listed = json.loads(self.body)["data"]
            names = [row["id"] for row in listed]
        except (ValueError, TypeError, KeyError, RecursionError):
            return []
        return [name for name in names if isinstance(name, str) and PLAIN_NAME.fullmatch(name)]


async def greet(config: ProxyConfig, address: Address) -> None:
    """Print a line to paste for each route, and a warning for each server that is not there."""
    probes = await probe_all(config)
    for route in config.routes:
        found = [probes[upstream] for upstream in route.upstreams]
        say(paste_line(route, found, pasted_url(address)))
    warn_of_absent(probes)


async def check(config: ProxyConfig) -> None:
    """Print the warnings alone."""
    warn_of_absent(await probe_all(config))


async def probe_all(config: ProxyConfig) -> dict[Upstream, Probe]:
    """Ask all servers at once."""
    upstreams = list({upstream for route in config.routes for upstream in route.upstreams})
    found = await asyncio.gather(*map(probe, upstreams))
    return dict(zip(upstreams, found, strict=True))


async def probe(upstream: Upstream) -> Probe:
    """Ask one server for its models; a failure to connect is told, any other is no news."""
    found = Probe()
    writer = None
    try:
        async with asyncio.timeout(PROBE_S):
            tls = ssl.create_default_context() if upstream.scheme == "https" else None
            reader, writer = await asyncio.open_connection(upstream.host, upstream.port, ssl=tls)
            with contextlib.suppress(OSError):
                await ask_models(upstream, reader, writer, found)
    except TimeoutError:
        if writer is None:
            found.failure = f"no connection within {PROBE_S:g} s"
    except ConnectionError as error:
        found.failure = os.strerror(error.errno) if error.errno else str(error)
    except OSError as error:
        found.failure = error.strerror or str(error)
    finally:
        if writer is not None:
            writer.transport.abort()
    return found


async def ask_models(
    upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, found: Probe
) -> None:
    """Read the answer to GET /v1/models up to its end or the bound."""
    target = f"{upstream.prefix}/v1/models"
    writer.write(
        f"GET {target} HTTP/1.1\r\nhost: {upstream.authority}\r\naccept: application/json\r\n"
        "connection: close\r\n\r\n".encode("ascii")
    )
    parser = httptools.HttpResponseParser(found)
    n_bytes = 0
    while not found.whole and n_bytes < MAX_ANSWER_BYTES:
        data = await reader.read(MAX_ANSWER_BYTES)
        n_bytes += len(data)
        if not data:
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return


def paste_line(route: Route, probes: list[Probe], root: str) -> str:
    """Return what makes lm_eval use a route."""
    listed = list(dict.fromkeys(name for found in probes for name in found.models))
    model = listed[0] if len(listed) == 1 else UNKNOWN
    if route.name in listed:
        model = route.name
    base = root if route.name is None else f"{root}/{route.name}"
    line = f"--model_args base_url={base}/v1,model={model}"
    if model == UNKNOWN and listed:
        more = ", ..." if len(listed) > MAX_NAMED else ""
        line += f"   ({UNKNOWN}: {', '.join(listed[:MAX_NAMED])}{more})"
    return line


def pasted_url(address: Address) -> str:
    """Return a URL that a client on this machine can use: nobody connects to 0.0.0.0."""
    if address.host in ("0.0.0.0", "::"):
        return Address("127.0.0.1" if address.host == "0.0.0.0" else "::1", address.port).url
    return address.url


def reach_line(address: Address) -> str | None:
    """Return where other machines find a proxy that listens on all addresses."""
    if address.host not in ("0.0.0.0", "::"):
        return None
    return f"reachable as {Address(socket.gethostname(), address.port).url} (all addresses)"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def warn_if_open(address: Address) -> None:
    """Say that other machines can use a proxy that asks for no token."""
    if not is_loopback(address.host):
        warn(
            f"{address.url} is open to everyone who reaches this machine, and so is the server "
            "behind it; set DISTILL_PROXY_TOKEN or --token, or listen on 127.0.0.1"
        )


def warn_of_absent(probes: dict[Upstream, Probe]) -> None:
    for upstream, found in probes.items():
        if found.failure is not None:
            warn(
                f"no server at {upstream.url} yet ({found.failure}); "
                "requests get status 502 until there is one"
            )


def say(text: str) -> None:
    """Print a line; a reader of stdout that went away (`| head -1`) does not stop the proxy."""
    try:
        print(text, flush=True)
    except OSError:
        # what is left in the buffer must go somewhere, or the interpreter fails at its end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def warn(text: str) -> None:
    """Say something that does not stop the proxy."""
    with contextlib.suppress(OSError):
        print(f"warning: {text}", file=sys.stderr, flush=True)
