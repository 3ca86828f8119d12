"""What the proxy was told: where to listen, where to send, what to keep.

Owns the settings, and the reading of options that are more than a word (addresses, routes, sizes,
times). Refuses to own the command line (cli).

    >>> parse_listen("127.0.0.1:8766")
    Address(host='127.0.0.1', port=8766)
    >>> parse_bytes("64MiB", "--rotate-size")
    67108864
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

EXAMPLE = "such as http://127.0.0.1:8080"
HOST_NAME = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63})*\.?", re.ASCII)
PASTED = re.compile(r"(?:/v1)?/(?:chat/completions|completions|responses|embeddings|models)$|/v1$")
"""Ends of a URL that clients send themselves."""
ROUTE_NAME = re.compile(r"[\w.:@+~-]+(?:/[\w.:@+~-]+)*", re.ASCII)
OWN_PARTS = frozenset(
    {
        "v1", "v2", "_distill", "api", "apply-template", "audio", "chat", "classify", "completion",
        "completions", "detokenize", "docs", "embedding", "embeddings", "files", "get_model_info",
        "health", "healthz", "images", "infill", "invocations", "is_sleeping", "load",
        "lora-adapters", "metrics", "models", "moderations", "openapi.json", "ping", "pooling",
        "props", "rerank", "responses", "score", "server_info", "slots", "tokenize", "tools",
        "version", "wake_up",
    }
)  # fmt: skip
"""First parts of paths that model servers or the proxy answer at: no name of a route."""
BYTES = {
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_BYTES = 10**12
MAX_S = 366 * 86400.0
AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([a-z]*)", re.IGNORECASE | re.ASCII)


class Durability(StrEnum):
    """What a record on the log survives before the last byte of its answer is sent on."""

    GROUP = "group"
    """Synced to the device, all records that wait together by one sync: survives a power cut."""
    FSYNC = "fsync"
    """Synced to the device, each record by a sync of its own: survives a power cut."""
    OS = "os"
    """Written to the operating system: survives kill -9 of the proxy, not a power cut."""


class Compression(StrEnum):
    """What becomes of a segment of the log once it is closed."""

    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"


class OnLogFailure(StrEnum):
    """What becomes of requests while the log cannot be written."""

    REFUSE = "refuse"
    """They get status 503 and the reason, until records can be written again."""
    PASS = "pass"
    """They are passed on without a record; what was lost is counted and said on stderr."""


class Address(NamedTuple):
    """A place to listen at; port 0 lets the operating system pick."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Return the address as an http URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Upstream(NamedTuple):
    """The server behind the proxy. `prefix` goes before every path, "" for most servers."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def authority(self) -> str:
        """Return what belongs into the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the address as a URL, without a slash at its end."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


@dataclass(frozen=True)
class Route:
    """The servers behind one name; they are replicas of each other."""

    name: str | None
    """A model's name, and the first part of a path (`/NAME/v1/...`); None takes what is left."""
    upstreams: tuple[Upstream, ...]


@dataclass(frozen=True)
class LogConfig:
    """Where records go, and what is done for their safety."""

    folder: Path
    durability: Durability = Durability.GROUP
    rotate_bytes: int = 256 * 1024 * 1024
    """A segment that has grown to this is closed."""
    rotate_s: float = 3600.0
    """A segment of this age is closed, if it holds any record."""
    compression: Compression = Compression.ZSTD
    on_failure: OnLogFailure = OnLogFailure.REFUSE


@dataclass(frozen=True)
class ProxyConfig:
    """Settings of one proxy process."""

    routes: tuple[Route, ...]
    redacted: frozenset[str] = frozenset()
    """Further names of fields (of queries and JSON bodies, any case) that never reach the log."""
    token: str | None = None
    """What clients must send as `Authorization: Bearer` or `Proxy-Authorization: Bearer`."""
    max_logged_bytes: int = 16 * 1024 * 1024
    """Of a request and of an answer; more is passed on and left out of the log."""
    max_raw_chars: int = 64 * 1024
    """Of the text that is kept as it came because it could not be read."""
    connect_timeout_s: float = 30.0
    stall_timeout_s: float = 300.0
    """For either side to take, or the client to send, the next piece of a body."""
    upstream_timeout_s: float | None = None
    """For the server to send the next piece of an answer. None waits: an unstreamed answer may
    take an hour, and a client that gives up ends the request at the server too."""
    grace_s: float | None = None
    """For running answers to end after SIGTERM or SIGINT; None waits for all of them."""


def parse_port(text: str, option: str, lowest: int) -> int:
    """Return a port number.

    Raises:
        ValueError: not a number from `lowest` to 65535.
    """
    if not (text.isascii() and text.isdigit() and lowest <= int(text[:6]) <= 65535):
        raise ValueError(f"{option}: the port must be {lowest} to 65535, got {text!r}")
    return int(text)


def is_host(text: str) -> bool:
    """Tell whether a text is a host's name or address; other texts make the resolver fail oddly."""
    address, _, zone = text.partition("%")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return HOST_NAME.fullmatch(text) is not None
    return zone.isalnum() or "%" not in text


def parse_listen(text: str) -> Address:
    """Return the address of `HOST:PORT` or `[IPV6]:PORT`.

    Raises:
        ValueError: another form, or a port out of range.
    """
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not is_host(bare) or (":" in bare and bare == host):
        raise ValueError(f"--listen must be HOST:PORT, such as 127.0.0.1:8766, got {text!r}")
    return Address(bare, parse_port(port, "--listen", 0))


def parse_upstream(text: str, option: str = "--upstream") -> Upstream:
    """Return the server that a URL names.

    Raises:
        ValueError: not http or https, no host, credentials, a query, or a path that clients send.
    """
    if "@" in text:  # not quoted: what stands before the @ is a secret
        raise ValueError(
            f"{option} must not hold a user name or password; let the client send the header"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{option} must be a URL {EXAMPLE}, got {text!r} ({error})") from error
    if parts.scheme not in ("http", "https") or not is_host(parts.hostname or ""):
        raise ValueError(f"{option} must be an http or https URL {EXAMPLE}, got {text!r}")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"{option} must be ASCII without spaces, got {text!r}")
    if port == 0:
        raise ValueError(f"{option}: the port must be 1 to 65535, got {text!r}")
    if "?" in text or "#" in text:
        raise ValueError(f"{option} must not have a query or fragment, got {text!r}")
    prefix = parts.path.rstrip("/")
    if pasted := PASTED.search(prefix):
        raise ValueError(
            f"{option} is the server without {pasted[0]}, which clients send themselves: "
            f"use {text.rstrip('/').removesuffix(pasted[0])!r}"
        )
    default = 443 if parts.scheme == "https" else 80
    return Upstream(parts.scheme, parts.hostname or "", port or default, prefix)


def parse_routes(upstreams: Iterable[str], routes: Iterable[str]) -> tuple[Route, ...]:
    """Return the routes of all `--upstream URL` and `--route NAME=URL`, the unnamed one last.

    A name (or --upstream) that comes again adds a replica.

    Raises:
        ValueError: none at all, a bad name or URL, a replica given twice.
    """
    servers: dict[str | None, list[Upstream]] = {}
    pairs: list[tuple[str | None, Upstream]] = [split_route(text) for text in routes]
    pairs += [(None, parse_upstream(text)) for text in upstreams]
    for name, upstream in pairs:
        replicas = servers.setdefault(name, [])
        if upstream in replicas:
            option = "--upstream" if name is None else f"--route {name}="
            raise ValueError(f"{option}{' ' if name is None else ''}{upstream.url} stands twice")
        replicas.append(upstream)
    if not servers:
        raise ValueError(
            f"no server to stand before: give --upstream URL, {EXAMPLE}, or --route NAME=URL"
        )
    return tuple(Route(name, tuple(replicas)) for name, replicas in servers.items())


def split_route(text: str) -> tuple[str, Upstream]:
    """Return name and server of `NAME=URL`; the name may hold slashes.

    Raises:
        ValueError: another form, a bad name, a bad URL.
    """
    name, equals, url = text.partition("=")
    if not equals or name.lower().startswith(("http:", "https:")):
        shown = "a URL without a name" if "@" in text else repr(text)
        raise ValueError(
            f"--route must be NAME=URL, such as student=http://127.0.0.1:8080, got {shown}"
        )
    if not ROUTE_NAME.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise ValueError(
            "--route: a name is made of letters, digits and . _ - : @ + ~, with single slashes "
            f"between its parts, such as Qwen/Qwen3-8B; got {name!r}"
        )
    if name.partition("/")[0].lower() in OWN_PARTS:
        raise ValueError(
            f"--route: no name may begin with {name.partition('/')[0]!r}, which servers have as "
            f"a path of their own; got {name!r}"
        )
    return name, parse_upstream(url, f"--route {name}")


def parse_bytes(text: str, option: str, lowest: int = 10**6) -> int:
    """Return a number of bytes: `256MB` (10**6 each) or `64MiB` (2**20 each).

    Raises:
        ValueError: another form, below `lowest` or above a terabyte.
    """
    amount = AMOUNT.fullmatch(text)
    if amount is None or amount[2].upper() not in BYTES:
        raise ValueError(f"{option} must be a size such as 256MB, 64MiB or 1GB, got {text!r}")
    n_bytes = int(float(amount[1]) * BYTES[amount[2].upper()])
    if not lowest <= n_bytes <= MAX_BYTES:
        raise ValueError(f"{option} must be {lowest // 10**6}MB to 1TB, got {text!r}")
    return n_bytes


def parse_duration_s(text: str, option: str, lowest_s: float) -> float:
    """Return seconds: `90`, `90s`, `30m`, `1h` or `2d`.

    Raises:
        ValueError: another form, below `lowest_s` or above a year.
    """
    amount = AMOUNT.fullmatch(text)
    if amount is None or amount[2].lower() not in SECONDS:
        raise ValueError(f"{option} must be a time such as 90s, 30m or 1h, got {text!r}")
    duration_s = float(amount[1]) * SECONDS[amount[2].lower()]
    if not lowest_s <= duration_s <= MAX_S:
        raise ValueError(f"{option} must be {lowest_s:g} seconds to 366 days, got {text!r}")
    return duration_s


def parse_limit_s(text: str | None, option: str, lowest_s: float) -> float | None:
    """Return the seconds of an option that sets no limit where it is not given.

    Raises:
        ValueError: as parse_duration_s.
    """
    return None if text is None else parse_duration_s(text, option, lowest_s)


def parse_token(text: str | None, source: str) -> str | None:
    """Return the token that clients must send, None where none was given.

    Raises:
        ValueError: empty (a server that was meant to be closed would be open), or not one word.
    """
    if text is None:
        return None
    if not text:
        raise ValueError(f"{source} is empty; give a token, or leave it out to let everyone in")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"{source} must be printable ASCII without spaces")  # and is not quoted
    return text


def parse_names(names: Sequence[str]) -> frozenset[str]:
    """Return names of fields that never reach the log, in lower case.

    Raises:
        ValueError: an empty one.
    """
    if any(not name.strip() for name in names):
        raise ValueError("--redact must be the name of a field, such as user_email, got ''")
    return frozenset(name.strip().lower() for name in names)
