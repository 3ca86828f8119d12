"""What the proxy says when it starts: what to paste into lm_eval, and which servers are missing.

Owns these lines, and the question to each server for the name of its model.
Refuses to own connections (upstream): the question is bounded in time and size, and an answer of
any kind, or none, delays nothing.

    await greet(config, Address("127.0.0.1", 8766))
    # --model_args base_url=http://127.0.0.1:8766/v1,model=Qwen/Qwen3-8B
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
from typing import NamedTuple

from proxy.config import Address, ProxyConfig, Route, Upstream
from proxy.console import say, warn
from proxy.http1 import RequestHead, request_bytes
from proxy.upstream import ConnectError, UpstreamConnection, UpstreamError, UpstreamPool

MODELS_PATH = b"/v1/models"
PROBE_S = 1.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_NAMED = 4
PLAIN_NAME = re.compile(r"[\w./:@+~-]{1,200}", re.ASCII)
"""What needs no quoting, neither in a shell nor in lm_eval's comma-separated arguments."""
UNKNOWN = "NAME"


class Probe(NamedTuple):
    """What a server told of itself."""

    models: list[str]
    """Those that it lists, as far as their names are plain."""
    failure: str | None = None
    """Why no connection came about."""


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
    pool = UpstreamPool(upstream, PROBE_S)
    connection = None
    try:
        async with asyncio.timeout(2 * PROBE_S):
            connection = await pool.acquire()
            return Probe(models_of(await ask_models(connection)))
    except ConnectError as error:
        return Probe([], error.reason)
    except (UpstreamError, TimeoutError):
        return Probe([])
    finally:
        if connection is not None:
            connection.abort()


async def ask_models(connection: UpstreamConnection) -> bytes:
    """Return the answer to GET /v1/models, or as much of it as is looked at.

    Raises:
        UpstreamError: it breaks off.
    """
    pool = connection.pool
    head = RequestHead("GET", MODELS_PATH, [(b"Accept", b"application/json")])
    connection.begin(head.method)
    connection.write(request_bytes(head, pool.prefix + head.target, pool.authority))
    response = await connection.response(PROBE_S)
    body = b""
    while len(body) < MAX_ANSWER_BYTES and (piece := await response.body.get()):
        body += piece
    return body


def models_of(body: bytes) -> list[str]:
    """Return the plain names that a list of models holds."""
    try:
        names = [row["id"] for row in json.loads(body)["data"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str) and PLAIN_NAME.fullmatch(name)]


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
