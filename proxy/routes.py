"""Which server answers a request: by path, by model name, and the least loaded of its replicas.

Owns that choice. Refuses to own connections (upstream) and the reading of options (config).

    table = RouteTable(config)
    found = table.by_path(b"/student/v1/chat/completions")   # Found(route, b"/v1/chat/completions")
    replica = found.route.by_load(time.monotonic())[0]

A path that begins with a route's name goes there without it. Of other requests those with a `model`
go to the route of that name. What is left goes to the `--upstream` servers, or to the only route
where there is one; else it has no route.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from proxy.config import ProxyConfig, Route, Upstream
from proxy.decode import decode
from proxy.upstream import UpstreamPool

DOWN_S = 5.0
"""How long a replica that refused a connection is asked last."""


class Replica:
    """One server, and what is known of it; `route` is its route's name, None for `--upstream`."""

    def __init__(self, route: str | None, upstream: Upstream, connect_timeout_s: float) -> None:
        self.route = route
        self.url = upstream.url
        self.pool = UpstreamPool(upstream, connect_timeout_s)
        self.in_flight = 0
        self.n_requests = 0
        self.up: bool | None = None
        self.down_until = 0.0

    def reached(self, now: float, up: bool) -> None:
        """Note whether a connection came about; where not, others are asked first for a while."""
        self.up = up
        self.down_until = 0.0 if up else now + DOWN_S


class RouteState:
    """The servers of one route; `name` is None for those of `--upstream`."""

    def __init__(self, route: Route, connect_timeout_s: float) -> None:
        self.name = route.name
        self.replicas = [Replica(route.name, item, connect_timeout_s) for item in route.upstreams]

    def by_load(self, now: float) -> list[Replica]:
        """Return the replicas, the one to ask first in front.

        Those that are up come first, then the one with the fewest requests in work, then the one
        that was asked least, so that equal ones take turns.
        """
        if len(self.replicas) == 1:
            return self.replicas
        return sorted(
            self.replicas,
            key=lambda replica: (now < replica.down_until, replica.in_flight, replica.n_requests),
        )


class Found(NamedTuple):
    """A route, and the target to ask its servers for."""

    route: RouteState
    target: bytes


class RouteTable:
    """All routes of a proxy."""

    def __init__(self, config: ProxyConfig) -> None:
        self.routes = [RouteState(route, config.connect_timeout_s) for route in config.routes]
        self.named = {route.name: route for route in self.routes if route.name is not None}
        self.rest = next((route for route in self.routes if route.name is None), None)
        if self.rest is None and len(self.routes) == 1:
            self.rest = self.routes[0]
        self.limit_bytes = config.max_logged_bytes
        self.prefixes = sorted(
            ((b"/" + name.encode(), route) for name, route in self.named.items()),
            key=lambda pair: -len(pair[0]),
        )

    @property
    def asks_model(self) -> bool:
        """Whether the model of a request decides where it goes."""
        return len(self.routes) > 1

    @property
    def replicas(self) -> list[Replica]:
        """Return every server of every route."""
        return [replica for route in self.routes for replica in route.replicas]

    def by_path(self, target: bytes) -> Found | None:
        """Return the route whose name the path begins with."""
        for prefix, route in self.prefixes:
            rest = target[len(prefix) :]
            if target.startswith(prefix) and rest[:1] in (b"", b"/", b"?"):
                return Found(route, rest if rest[:1] == b"/" else b"/" + rest)
        return None

    def by_model(self, body: bytes, codings: Sequence[bytes] = ()) -> RouteState | None:
        """Return the route of a request body's `model`, else the one for the rest.

        `codings` are the values of its Content-Encoding.
        """
        if codings:
            body, _ = decode(body, b",".join(codings).decode("latin-1"), self.limit_bytes)
        return self.named.get(model_of(body) or "", self.rest)

    def close(self) -> None:
        """Close the kept connections."""
        for replica in self.replicas:
            replica.pool.close()


def model_of(body: bytes) -> str | None:
    """Return the model that a request body names; None where it names none, or is no JSON."""
    try:
        value: Any = orjson.loads(body)
    except ValueError:
        try:
            value = json.loads(body)  # takes what orjson refuses, such as NaN
        except (ValueError, RecursionError):
            return None
    model = value.get("model") if isinstance(value, dict) else None
    return model if isinstance(model, str) else None
