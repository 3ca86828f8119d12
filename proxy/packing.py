"""Compression of closed segments, in a thread that gives way to everything else.

Owns the way from `x.jsonl` to `x.jsonl.zst` or `x.jsonl.gz`, at any step of which a crash loses
nothing, and the care for segments that dead processes left. Refuses to own how a segment is
written (segments) and when it is closed (log).

    packer = Packer(Path("runs/base"), Compression.ZSTD)
    packer.start()            # repairs and compresses what dead processes left there
    packer.put(segment)       # closed by its owner
    packer.close()            # waits a while for the segments that were put
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, cast

from proxy.config import Compression
from proxy.exchange import ZSTD_SUFFIX, zstd_module
from proxy.segments import (
    PIECE_BYTES,
    Segment,
    claimed,
    create_private,
    is_at,
    leftovers,
    repair_claimed,
    sync_folder,
)

SUFFIXES = {Compression.ZSTD: ZSTD_SUFFIX, Compression.GZIP: ".gz"}
GZIP_LEVEL = 3
NICENESS = 19
PATIENCE_S = 5.0
"""For compression when the proxy stops; what is left over is the next proxy's in the folder."""


def pack(path: Path, descriptor: int, form: Compression, stopped: Callable[[], bool]) -> bool:
    """Compress a segment that this process holds, and remove the plain file.

    A crash leaves the plain file alone, or it beside the whole compressed one: readers take one of
    the two, and the next proxy in the folder does this anew.

    Returns False, and leaves things as they were, when `stopped` says so on the way.

    Raises:
        OSError: no room, or another failure to read or write; the plain file stays.
    """
    form = form_beside(path) or form
    part = path.with_name(f".{path.name}.part")  # hidden: no pattern of a reader names it
    part.unlink(missing_ok=True)
    try:
        n_bytes = compress(descriptor, part, form, stopped)
        # a segment that grew has a writer, on another machine that shares no locks with this one
        if n_bytes != os.fstat(descriptor).st_size or not is_at(descriptor, path):
            return False
        os.rename(part, path.with_name(path.name + SUFFIXES[form]))
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)  # the new name is safe before the old one goes
    path.unlink()
    return True


def form_beside(path: Path) -> Compression | None:
    """Return the form in which a crash left the segment beside it; a second would be a double."""
    for form, suffix in SUFFIXES.items():
        if path.with_name(path.name + suffix).exists():
            return form
    return None


def compress(source: int, target: Path, form: Compression, stopped: Callable[[], bool]) -> int:
    """Write a compressed copy, down to the device; return how many bytes it has when unpacked.

    Fewer than the source has when `stopped` says so on the way.
    """
    n_bytes = 0
    with open(create_private(target), "wb") as file:
        with open_packed(file, form) as packed:
            while not stopped() and (piece := os.pread(source, PIECE_BYTES, n_bytes)):
                packed.write(piece)
                n_bytes += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return n_bytes


def open_packed(file: BinaryIO, form: Compression) -> BinaryIO:
    """Return a stream that compresses into a file, with a checksum in it."""
    if form is Compression.GZIP:
        packed = gzip.GzipFile("", "wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0)
        return cast(BinaryIO, packed)
    zstd = zstd_module()
    checked = {zstd.CompressionParameter.checksum_flag: 1}
    return cast(BinaryIO, zstd.ZstdFile(file, "wb", options=checked))


class Packer:
    """The thread that repairs and compresses, one segment after the other."""

    def __init__(self, folder: Path, form: Compression) -> None:
        self.folder = folder
        self.form = form
        self.failures: tuple[type[Exception], ...] = (OSError, MemoryError)
        """After these the plain segment stays."""
        if form is Compression.ZSTD:
            self.failures += (zstd_module().ZstdError,)
        self.jobs: SimpleQueue[Segment | None] = SimpleQueue()
        self.stopping = threading.Event()
        self.ends_at = math.inf
        self.thread = threading.Thread(target=self.run, name="log-packer", daemon=True)

    def start(self) -> None:
        """Begin, with what dead processes left."""
        self.thread.start()

    def put(self, segment: Segment) -> None:
        """Hand over a segment that gets no more lines; its lock is held until it is done."""
        self.jobs.put(segment)

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Wait for the segments that were put, for a while; what dead processes left stays."""
        self.ends_at = time.monotonic() + patience_s
        self.stopping.set()
        self.jobs.put(None)
        self.thread.join()

    def late(self) -> bool:
        """Whether there is no more time for compression."""
        return time.monotonic() >= self.ends_at

    def run(self) -> None:
        """Do the work of the thread."""
        if sys.platform == "linux":  # where a thread has a priority of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self.tidy()
        while (segment := self.jobs.get()) is not None:
            with contextlib.suppress(*self.failures):
                self.finish(segment.path, segment.descriptor, self.late)
            segment.close()

    def tidy(self) -> None:
        """Repair and compress the segments whose processes are gone."""
        with contextlib.suppress(OSError):  # the folder is gone: so is what was in it
            for path in leftovers(self.folder):
                if self.stopping.is_set():
                    return
                self.finish_dead(path)

    def finish_dead(self, path: Path) -> None:
        """Repair and compress a segment, unless another process holds it or it cannot be done."""
        with contextlib.suppress(*self.failures), claimed(path) as descriptor:
            self.finish(path, descriptor, self.stopping.is_set)

    def finish(self, path: Path, descriptor: int, stopped: Callable[[], bool]) -> None:
        """Repair and compress a segment that this process holds; remove it when it is empty."""
        if not is_at(descriptor, path):
            return  # deleted or moved away: somebody else's now
        repair_claimed(path, descriptor)
        if os.fstat(descriptor).st_size == 0:
            path.unlink()
        elif self.form is not Compression.NONE:
            pack(path, descriptor, self.form, stopped)
