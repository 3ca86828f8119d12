"""The durable log: one file of JSON lines for each proxy process.

Owns the file (name, mode 0600, whole lines) and when a record counts as written.
Refuses to own what a record says (exchange, recorder) and reading it back (exchange).

    log = ExchangeLog.create(Path("runs/base"), Durability.OS)
    await log.append(to_line(exchange))   # returns once the record is safe, as the policy says
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from datetime import UTC, datetime
from pathlib import Path

from proxy.config import Durability

FILE_MODE = 0o600


class ExchangeLog:
    """An append-only file that only this process writes."""

    def __init__(self, path: Path, descriptor: int, durability: Durability) -> None:
        self.path = path
        self.descriptor = descriptor
        self.durability = durability
        self.failure: str | None = None
        """Why the latest record could not be written; None once one could again."""

    @classmethod
    def create(cls, folder: Path, durability: Durability) -> ExchangeLog:
        """Open a new file in the folder, made where it is missing.

        Raises:
            ValueError: the folder cannot be made or written to.
        """
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        path = folder / f"exchanges-{now}-{os.getpid()}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags, FILE_MODE)
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"--log {str(folder)!r} cannot be written to: {reason}") from error
        if durability is Durability.FSYNC:
            sync_folder(folder)
        return cls(path, descriptor, durability)

    async def append(self, line: bytes) -> None:
        """Write one line, and return when it is as safe as the policy says.

        Raises:
            OSError: it could not be written; the file ends with a whole line nevertheless.
        """
        try:
            self.write(line)
            if self.durability is Durability.FSYNC:
                await asyncio.to_thread(os.fsync, self.descriptor)
        except OSError as error:
            self.failure = error.strerror or str(error)
            raise
        self.failure = None

    def write(self, line: bytes) -> None:
        """Hand the line to the operating system; on a failure take back the part that was written.

        Raises:
            OSError: disk full, file system read-only, quota, file deleted.
        """
        state = os.fstat(self.descriptor)
        if state.st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "it was deleted")  # or each record would be lost
        start = state.st_size
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self.descriptor, view) :]
        except OSError:
            with contextlib.suppress(OSError):  # the first failure is the one to tell
                os.ftruncate(self.descriptor, start)
            raise

    def close(self) -> None:
        """Close the file; records that come later raise OSError."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def sync_folder(folder: Path) -> None:
    """Sync a folder's list of names: a file that is synced itself may else be gone from it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
