"""Undo a body's content-encoding for the log, within a bound.

Owns gzip, deflate, br and zstd, and several of them in a row. Refuses to own other encodings (they
are passed on and named in the log) and the bytes to the client, which stay encoded as the server
sent them.

    >>> b"".join(Decoder("", 100).feed(b"plain"))
    b'plain'

Bodies come from servers that may be broken or hostile. Whatever they send, at most PIECE_BYTES are
unpacked at a time, at most `limit_bytes` (and a thousand for each byte received, where `ratio` says
so) are given out in all, no window is larger than 16 MiB, and damage is a problem in words.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 256 * 1024
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
RAW_DEFLATE = -zlib.MAX_WBITS
ZSTD_WINDOW_LOG = 23
"""Source: RFC 9659, which bounds the window of the content-encoding at 8 MB."""
MAX_ENCODINGS = 4
TOO_LARGE = "larger than the log keeps"


class Unpacker(Protocol):
    """Undoes one encoding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes unpack to, PIECE_BYTES at a time."""
        ...


class Inflater:
    """gzip and deflate; a gzip member may follow another."""

    def __init__(self, raw_allowed: bool) -> None:
        self.raw_allowed = raw_allowed
        self.inflater = zlib.decompressobj(GZIP_OR_ZLIB)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the unpacked bytes."""
        while data:
            yield self.some(data)
            if self.inflater.eof:
                data = self.inflater.unused_data
                self.inflater = zlib.decompressobj(GZIP_OR_ZLIB)
            else:
                data = self.inflater.unconsumed_tail

    def some(self, data: bytes) -> bytes:
        """Unpack up to PIECE_BYTES."""
        try:
            piece = self.inflater.decompress(data, PIECE_BYTES)
        except zlib.error:
            if not self.raw_allowed:
                raise
            # many servers send deflate without the zlib header that the standard asks for
            self.inflater = zlib.decompressobj(RAW_DEFLATE)
            piece = self.inflater.decompress(data, PIECE_BYTES)
        self.raw_allowed = False
        return piece


class Unbrotli:
    """br; bytes after its end are an error."""

    def __init__(self) -> None:
        self.unpacker = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the unpacked bytes."""
        yield self.unpacker.process(data, output_buffer_limit=PIECE_BYTES)
        while not self.unpacker.can_accept_more_data():
            yield self.unpacker.process(b"", output_buffer_limit=PIECE_BYTES)


class Unzstd:
    """zstd; a frame may follow another."""

    def __init__(self) -> None:
        self.unpacker = self.fresh()

    def fresh(self) -> Any:
        """Return an unpacker for one frame."""
        bound: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        return zstd.ZstdDecompressor(options=bound)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the unpacked bytes."""
        while True:
            if self.unpacker.eof:
                data = self.unpacker.unused_data + data
                if not data:
                    return
                self.unpacker = self.fresh()
            yield self.unpacker.decompress(data, PIECE_BYTES)
            data = b""
            if self.unpacker.needs_input:
                return


UNPACKERS: dict[str, Callable[[], Unpacker]] = {
    "gzip": lambda: Inflater(raw_allowed=False),
    "x-gzip": lambda: Inflater(raw_allowed=False),
    "deflate": lambda: Inflater(raw_allowed=True),
    "br": Unbrotli,
    "zstd": Unzstd,
}


class Decoder:
    """Incremental decoder that gives out at most `limit_bytes`: no bomb fills the memory.

    `ratio` raises the limit by that many bytes for each one received, for streams, which are not
    kept whole.
    """

    def __init__(self, encoding: str, limit_bytes: int, ratio: int = 0) -> None:
        self.encoding = encoding.strip().lower()
        self.left = limit_bytes
        self.work_left = (limit_bytes + PIECE_BYTES) * MAX_ENCODINGS
        """Bytes that may still come out of any stage: what unpacks to nothing at last costs too."""
        self.ratio = ratio
        self.problem: str | None = None
        """Why the log holds less than the body, in words; None while it holds all."""
        self.unpackers: list[Unpacker] = []
        names = [name.strip() for name in self.encoding.split(",")] if self.encoding else []
        names = [name for name in names if name not in ("", "identity")]
        self.packed = bool(names)
        if len(names) > MAX_ENCODINGS or any(name not in UNPACKERS for name in names):
            self.problem = f"content-encoding {self.encoding!r:.40} is not read for the log"
        else:
            # listed in the order in which they were applied: RFC 9110 section 8.4
            self.unpackers = [UNPACKERS[name]() for name in reversed(names)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to, piece by piece; nothing once there is a problem."""
        if self.problem is not None:
            return
        self.left += self.ratio * len(data)
        self.work_left += self.ratio * len(data) * MAX_ENCODINGS
        pieces: Iterable[bytes] = (data,)
        for unpacker in self.unpackers:
            pieces = self.through(unpacker, pieces)
        try:
            for piece in pieces:
                if self.problem is not None:
                    return
                yield self.within_limit(piece)
        except (zlib.error, brotli.error, zstd.ZstdError) as error:
            self.problem = f"content-encoding {self.encoding!r:.40}: {error}"

    def through(self, unpacker: Unpacker, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what the pieces unpack to, each unpacked only when it is asked for."""
        for piece in pieces:
            for part in unpacker.feed(piece):
                self.work_left -= len(part) + 1
                if self.work_left < 0 or self.problem is not None:
                    self.problem = self.problem or TOO_LARGE
                    return
                yield part

    def within_limit(self, data: bytes) -> bytes:
        """Return what still fits."""
        if len(data) > self.left:
            self.problem = TOO_LARGE
            data = data[: self.left]
        self.left -= len(data)
        return data


def decode(data: bytes, encoding: str, limit_bytes: int) -> tuple[bytes, str | None]:
    """Decode a whole body; returns it and what is wrong with it, if anything."""
    decoder = Decoder(encoding, limit_bytes)
    return b"".join(decoder.feed(data)), decoder.problem
