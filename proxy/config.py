"""What the proxy was told: where to listen, where to send, what to keep.

Owns the settings and the reading of the two address options. Refuses to own the command line (cli).

    >>> parse_listen("127.0.0.1:8766")
    Address(host='127.0.0.1', port=8766)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit


class Durability(StrEnum):
    """What a record on the log survives before the last byte of its answer is sent on."""

    OS = "os"
    """Written to the operating system: survives kill -9 of the proxy, not a power cut."""
    FSYNC = "fsync"
    """Synced to the device: survives a power cut; one sync per exchange, some 200 a second."""


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
class ProxyConfig:
    """Settings of one proxy process."""

    upstream: Upstream
    log_dir: Path
    durability: Durability = Durability.OS
    max_logged_bytes: int = 64 * 1024 * 1024
    """Of a request and of an answer; more is passed on and left out of the log."""
    max_raw_chars: int = 64 * 1024
    """Of the text that is kept as it came because it could not be read."""
    connect_timeout_s: float = 30.0
    write_timeout_s: float = 300.0
    """For the server to take the next piece of a request. There is no read timeout: an unstreamed
    answer may take an hour, and a client that gives up ends the request at the server too."""
    grace_s: int = 10
    """For running answers to end after SIGTERM or SIGINT."""


def parse_port(text: str, option: str, lowest: int) -> int:
    """Return a port number.

    Raises:
        ValueError: not a number from `lowest` to 65535.
    """
    if not (text.isascii() and text.isdigit() and lowest <= int(text[:6]) <= 65535):
        raise ValueError(f"{option}: the port must be {lowest} to 65535, got {text!r}")
    return int(text)


def parse_listen(text: str) -> Address:
    """Return the address of `HOST:PORT` or `[IPV6]:PORT`.

    Raises:
        ValueError: another form, or a port out of range.
    """
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or "/" in text or (":" in bare and bare == host):
        raise ValueError(f"--listen must be HOST:PORT, such as 127.0.0.1:8766, got {text!r}")
    return Address(bare, parse_port(port, "--listen", 0))


def parse_upstream(text: str) -> Upstream:
    """Return the server that a URL names.

    Raises:
        ValueError: not http or https, no host, credentials, a query, or a path that ends in /v1.
    """
    example = "such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"--upstream must be a URL {example}, got {text!r} ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"--upstream must be an http or https URL {example}, got {text!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "--upstream must not hold a user name or password; let the client send the header"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"--upstream must not have a query or fragment, got {text!r}")
    prefix = parts.path.rstrip("/")
    if prefix.endswith("/v1"):
        root = text[: text.rindex("/v1")]
        raise ValueError(
            f"--upstream is the server without /v1, which clients send themselves: use {root!r}"
        )
    return Upstream(parts.scheme, parts.hostname, port or default_port(parts.scheme), prefix)


def default_port(scheme: str) -> int:
    """Return the port that a URL without one means."""
    return 443 if scheme == "https" else 80
