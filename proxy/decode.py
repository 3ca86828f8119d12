"""Undo a body's content-encoding for the log, within a bound.

Owns gzip and deflate. Refuses to own other encodings (they are passed on and named in the log) and
the bytes to the client, which stay encoded as the server sent them.

    >>> Decoder("", 100).feed(b"plain")
    b'plain'
"""

from __future__ import annotations

import zlib

READABLE = {"", "identity", "gzip", "x-gzip", "deflate"}
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
RAW_DEFLATE = -zlib.MAX_WBITS


class Decoder:
    """Incremental decoder that gives out at most `limit_bytes`: no bomb fills the memory."""

    def __init__(self, encoding: str, limit_bytes: int) -> None:
        self.encoding = encoding.strip().lower()
        self.left = limit_bytes
        self.problem: str | None = None
        """Why the log holds less than the body, in words; None while it holds all."""
        self.packed = self.encoding not in ("", "identity")
        self.inflater = zlib.decompressobj(GZIP_OR_ZLIB) if self.packed else None
        self.begun = False
        if self.encoding not in READABLE:
            self.problem = f"content-encoding {self.encoding!r:.40} is not read for the log"

    def feed(self, data: bytes) -> bytes:
        """Return what these bytes decode to; b"" once there is a problem."""
        if self.problem is not None:
            return b""
        if self.inflater is None:
            return self.within_limit(data)
        try:
            return self.inflate(data)
        except zlib.error as error:
            self.problem = f"content-encoding {self.encoding!r}: {error}"
            return b""

    def inflate(self, data: bytes) -> bytes:
        """Decompress, starting over where one gzip member follows another."""
        found: list[bytes] = []
        while data and self.problem is None:
            found.append(self.within_limit(self.inflate_some(data)))
            assert self.inflater is not None
            data = self.inflater.unconsumed_tail
            if self.inflater.eof:
                data = self.inflater.unused_data
                self.inflater = zlib.decompressobj(GZIP_OR_ZLIB)
        return b"".join(found)

    def inflate_some(self, data: bytes) -> bytes:
        """Decompress up to one byte more than may be kept."""
        assert self.inflater is not None
        try:
            piece = self.inflater.decompress(data, self.left + 1)
        except zlib.error:
            if self.begun or self.encoding != "deflate":
                raise
            # many servers send deflate without the zlib header that the standard asks for
            self.inflater = zlib.decompressobj(RAW_DEFLATE)
            piece = self.inflater.decompress(data, self.left + 1)
        self.begun = True
        return piece

    def within_limit(self, data: bytes) -> bytes:
        """Return what still fits."""
        if len(data) > self.left:
            self.problem = "larger than the log keeps"
            data = data[: self.left]
        self.left -= len(data)
        return data


def decode(data: bytes, encoding: str, limit_bytes: int) -> tuple[bytes, str | None]:
    """Decode a whole body; returns it and what is wrong with it, if anything."""
    decoder = Decoder(encoding, limit_bytes)
    return decoder.feed(data), decoder.problem
