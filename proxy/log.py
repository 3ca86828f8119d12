"""The durable log: a folder into which each proxy process writes files of JSON lines of its own.

Owns when a record counts as written, when a segment ends and the next begins, and what happens
when neither works. Refuses to own the files themselves (segments), their compression (packing),
what a record says (exchange, recorder) and reading it back (exchange).

    log = ExchangeLog.create(LogConfig(Path("runs/base")))
    await log.append(to_line(exchange))   # returns once the record is safe, as the policy says
    await log.aclose()
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from proxy.config import Durability, LogConfig
from proxy.packing import Packer
from proxy.segments import Segment, make_folder, sync_folder

BLANK = b"\n"
"""Written to see whether writing works; readers skip it."""
PROBE_S = 1.0
BUSY_LINES = 4
GATHER_S = 0.002
"""How long lines wait for company after a batch of BUSY_LINES or more."""
LONGEST_WAIT_S = 24 * 3600.0
"""Threads and event loops take no endless time; whoever wakes early waits again."""


class Waiter(NamedTuple):
    """A line on its way to the disk, and who waits for it."""

    line: bytes
    future: asyncio.Future[None]


class ExchangeLog:
    """An append-only log for one event loop at a time.

    With durability `os` the event loop writes. Else a thread does: it takes every line that waits,
    writes and syncs them together (`group`) or one by one (`fsync`), and wakes who waited. Only
    that thread then touches the segment. It is called once for each batch, since each hand-over of
    the interpreter between the two threads costs more than a line does.
    """

    def __init__(self, config: LogConfig, segment: Segment) -> None:
        self.config = config
        self.segment = segment
        self.failure: str | None = None
        """Why the latest record could not be written; None once one could again."""
        self.n_written = 0
        self.n_bytes = 0
        """Of the records, before compression."""
        self.n_segments = 1
        self.closed = False
        self.probed_at = -PROBE_S
        self.rotate_after = 0.0
        """Not before this time (monotonic): a rotation has failed."""
        self.timer: asyncio.TimerHandle | None = None
        self.waiting: deque[Waiter] = deque()
        self.calls: SimpleQueue[bool] = SimpleQueue()
        """For the thread: True to write what waits, False to end after that."""
        self.committing = False
        """Whether the thread was called and has not yet told that it is done."""
        self.writer: threading.Thread | None = None
        self.packer = Packer(config.folder, config.compression)

    @classmethod
    def create(cls, config: LogConfig) -> ExchangeLog:
        """Open a new segment in the folder, made where it is missing.

        What dead processes left there is repaired and compressed in the background.

        Raises:
            ValueError: the folder cannot be made or written to.
        """
        synced = config.durability is not Durability.OS
        try:
            make_folder(config.folder, synced)
            segment = Segment.create(config.folder)
            if synced:
                sync_folder(config.folder)
        except OSError as error:
            raise ValueError(
                f"--log {str(config.folder)!r} cannot be written to: {reason(error)}"
            ) from error
        log = cls(config, segment)
        log.packer.start()
        return log

    @property
    def path(self) -> Path:
        """Return the segment that is written now."""
        return self.segment.path

    async def append(self, line: bytes) -> None:
        """Write one line, and return when it is as safe as the policy says.

        Cancelling the wait does not take the line back.

        Raises:
            OSError: it could not be written; the file ends with a whole line nevertheless.
        """
        if self.closed:
            error = OSError(errno.EBADF, "the log is closed")
            self.failure = reason(error)
            raise error
        if self.config.durability is Durability.OS:
            self.write_here(line)
            return
        if self.writer is None or not self.writer.is_alive():
            self.writer = threading.Thread(target=self.run, name="log-writer", daemon=True)
            self.writer.start()
            self.committing = False
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiter(line, future))
        if not self.committing:
            self.committing = True
            self.calls.put(True)
        await future

    def committed(self, n_lines: int) -> None:
        """Call the thread again for what came meanwhile; under load, after a moment for more.

        A sync takes as long for one line as for many, so a busy proxy gives it many.
        """
        if not self.waiting:
            self.committing = False
        elif n_lines < BUSY_LINES:
            self.calls.put(True)
        else:
            asyncio.get_running_loop().call_later(GATHER_S, self.calls.put, True)

    async def usable(self) -> bool:
        """Whether records can be written; after a failure tried at most once a second."""
        if self.failure is None:
            return True
        now = time.monotonic()
        if not self.closed and now - self.probed_at >= PROBE_S:
            self.probed_at = now
            with contextlib.suppress(OSError):
                await self.append(BLANK)
        return self.failure is None

    async def aclose(self) -> None:
        """Finish as close() does, without holding up the event loop."""
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Write what waits, close the last segment, and return when it is compressed.

        Records that come later raise OSError.
        """
        self.closed = True
        if self.writer is not None:
            self.calls.put(False)
            self.writer.join()
            self.writer = None
        if self.packer.thread.is_alive():
            self.packer.put(self.segment)
            self.packer.close()
        self.segment.close()

    def write_here(self, line: bytes) -> None:
        """Write one line from the event loop.

        Raises:
            OSError: it could not be written.
        """
        fresh = self.segment.first_at is None
        self.commit([line])
        self.rotate_when_due()
        if fresh:
            self.arm()

    def arm(self) -> None:
        """Look again when the segment's time is over, also if no record comes until then."""
        if self.timer is not None:
            self.timer.cancel()
        wait_s = self.seconds_left()
        if wait_s is not None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(min(wait_s, LONGEST_WAIT_S), self.tick)

    def tick(self) -> None:
        """End the segment if its time is over, else wait on."""
        self.timer = None
        if not self.closed:
            self.rotate_when_due()
            self.arm()

    def run(self) -> None:
        """Do the work of the writer thread."""
        goes_on = True
        while goes_on:
            wait_s = self.seconds_left()
            try:
                goes_on = self.calls.get(timeout=wait_s and min(wait_s, LONGEST_WAIT_S))
            except Empty:
                self.rotate_when_due()
                continue
            batch = []
            with contextlib.suppress(IndexError):
                while True:  # until popleft() finds nothing: the event loop may still append
                    batch.append(self.waiting.popleft())
            self.commit_batch(batch)

    def commit_batch(self, batch: list[Waiter]) -> None:
        """Write the lines that waited, and say that there is time for more."""
        together = self.config.durability is Durability.GROUP
        groups = [batch] if together and batch else [[waiter] for waiter in batch]
        for waiters in groups:
            self.commit_for(waiters)
            self.rotate_when_due()
        if batch:
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits
                batch[0].future.get_loop().call_soon_threadsafe(self.committed, len(batch))

    def commit_for(self, waiters: list[Waiter]) -> None:
        """Write the lines of all waiters, and wake them with what became of it."""
        failure: OSError | None = OSError(errno.EIO, "the writer of the log broke down")
        try:
            self.commit([waiter.line for waiter in waiters])
            failure = None
        except OSError as error:
            failure = error
        finally:  # whatever breaks, nobody waits for ever
            if failure is not None:
                self.failure = reason(failure)
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits
                waiters[0].future.get_loop().call_soon_threadsafe(wake, waiters, failure)

    def commit(self, lines: list[bytes]) -> None:
        """Write lines, all or none of them.

        Raises:
            OSError: they could not be written.
        """
        try:
            if not self.segment.sound:
                self.begin_segment()
            data = lines[0] if len(lines) == 1 else b"".join(lines)
            self.segment.append(data, sync=self.config.durability is not Durability.OS)
        except OSError as error:
            self.failure = reason(error)
            raise
        except MemoryError as error:
            self.failure = "out of memory"
            raise OSError(errno.ENOMEM, self.failure) from error
        self.failure = None
        if data != BLANK:
            self.n_written += len(lines) - lines.count(BLANK)
            self.n_bytes += len(data)

    def seconds_left(self) -> float | None:
        """Return the time until the segment is too old, at least 0; None while it is empty."""
        if self.segment.first_at is None:
            return None
        ends_at = max(self.segment.first_at + self.config.rotate_s, self.rotate_after)
        return max(0.0, ends_at - time.monotonic())

    def rotate_when_due(self) -> None:
        """End a segment that is large or old enough, and begin the next."""
        if self.segment.first_at is None:
            return
        now = time.monotonic()
        full = self.segment.n_bytes >= self.config.rotate_bytes
        old = now - self.segment.first_at >= self.config.rotate_s
        if (full or old) and now >= self.rotate_after:
            self.rotate_after = now + PROBE_S  # a failure: the old segment serves on
            with contextlib.suppress(OSError):
                self.begin_segment()
                self.rotate_after = 0.0

    def begin_segment(self) -> None:
        """Go on in a new segment, and hand the old one to the packer.

        Raises:
            OSError: there can be no new one; the old one stays.
        """
        segment = Segment.create(self.config.folder)
        if self.config.durability is not Durability.OS:
            try:
                sync_folder(self.config.folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(segment.path)
                segment.close()
                raise
        self.packer.put(self.segment)
        self.segment = segment
        self.n_segments += 1


def wake(waiters: list[Waiter], failure: OSError | None) -> None:
    """Tell every waiter what became of its line; some may have gone."""
    for _, future in waiters:
        if future.done():
            continue
        if failure is None:
            future.set_result(None)
        else:  # each its own, for each adds its own traceback to it
            future.set_exception(OSError(failure.errno, reason(failure)))


def reason(error: OSError) -> str:
    """Return why something failed, without the file's name."""
    return error.strerror or str(error)
