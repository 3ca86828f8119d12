r"""One file of the log, from its opening to its repair after a crash.

Owns a segment's name, its mode 0600, whole lines in it, and the lock by which others see that its
owner lives. Refuses to own when a segment ends (log), its compression (packing) and its records.

    segment = Segment.create(Path("runs/base"))
    segment.append(b'{"schema":2,...}\n', sync=True)
    repair(Path("runs/base/exchanges-20260102T030405000006Z-4711.jsonl"))   # of a dead process
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from proxy.exchange import MAX_LINE_BYTES, PLAIN_PATTERN

FILE_MODE = 0o600
PIECE_BYTES = 1024 * 1024
NAME_ATTEMPTS = 100


class Segment:
    """A file that only this process writes, locked while its descriptor is open."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.n_bytes = 0
        self.first_at: float | None = None
        """When its first line was written (time.monotonic); None while it is empty."""
        self.sound = True
        """False once nothing more may be added: it was deleted, what a failure left could not be
        taken back, or the device did not keep what it was given."""

    @classmethod
    def create(cls, folder: Path) -> Segment:
        """Open a new file in the folder, named by time and process.

        Raises:
            OSError: it cannot be made.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        for _ in range(NAME_ATTEMPTS):
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
            path = folder / f"exchanges-{now}-{os.getpid()}.jsonl"
            try:
                descriptor = os.open(path, flags, FILE_MODE)
            except FileExistsError:
                continue
            # in between, another proxy may have seen an empty file that nobody holds
            if lock(descriptor) and is_at(descriptor, path):
                return cls(path, descriptor)
            os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "no free name for a segment", str(folder))

    def append(self, data: bytes, sync: bool) -> None:
        """Add whole lines; on a failure take back what there is of them.

        Raises:
            OSError: disk full, file system read-only, quota, file deleted, device broken.
        """
        state = os.fstat(self.descriptor)
        if state.st_nlink == 0:
            self.sound = False  # or each record would be lost
            raise FileNotFoundError(errno.ENOENT, "its file was deleted")
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.descriptor, view) :]
            if sync:
                self.sync()
        except BaseException:
            self.take_back(state.st_size)
            raise
        self.n_bytes = state.st_size + len(data)
        if self.first_at is None:
            self.first_at = time.monotonic()

    def sync(self) -> None:
        """Wait until the device has what was written.

        Raises:
            OSError: it has not. A second try could succeed without it (the system forgets what
            it could not write), so nothing more goes into this file.
        """
        try:
            os.fdatasync(self.descriptor)
        except OSError:
            self.sound = False
            raise

    def take_back(self, n_bytes: int) -> None:
        """Cut the file to the length that it had."""
        try:
            os.ftruncate(self.descriptor, n_bytes)
        except OSError:
            self.sound = False  # the next line would go on where half of one stands

    def close(self) -> None:
        """Close the file, and with it give up the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Repaired(NamedTuple):
    """What was done to the last line of a segment."""

    path: Path
    n_bytes: int
    """Of the line that had no end."""
    torn: Path | None
    """Where they are now; None when they were a whole record, which got its newline."""


def repair(path: Path) -> Repaired | None:
    """Repair the end of a segment whose process is gone; None when nothing was wrong with it.

    A last line without its end was never confirmed to a client. It is cut off and kept beside the
    segment, in `<segment>.torn` (mode 0600). If only its newline is missing, it gets that. The
    rest of the file stays as it is, whatever it holds. A compressed segment is written whole or
    not at all; one that was cut since cannot be repaired.

    Raises:
        BlockingIOError: a living process writes the segment, or another repairs it just now.
        FileNotFoundError: it is gone; mostly another process has just compressed it.
        OSError: it cannot be read or written, or there is no room for `<segment>.torn`.
        ValueError: not a plain segment (`.jsonl`).
    """
    if path.suffix != ".jsonl":
        raise ValueError(f"only a plain segment (.jsonl) can be repaired, got {str(path)!r}")
    with claimed(path) as descriptor:
        return repair_claimed(path, descriptor)


def repair_claimed(path: Path, descriptor: int) -> Repaired | None:
    """Repair a segment that this process holds; see repair()."""
    size = os.fstat(descriptor).st_size
    start = end_of_lines(descriptor, size)
    if start == size:
        return None
    if is_record(descriptor, start, size):
        os.lseek(descriptor, 0, os.SEEK_END)
        os.write(descriptor, b"\n")
        os.fsync(descriptor)
        return Repaired(path, size - start, None)
    torn = path.with_name(path.name + ".torn")
    copy_private(descriptor, start, torn)
    sync_folder(path.parent)  # the bytes are safe there before they go here
    os.ftruncate(descriptor, start)
    os.fsync(descriptor)
    return Repaired(path, size - start, torn)


def end_of_lines(descriptor: int, size: int) -> int:
    """Return the length of a file up to its last newline, read from its end."""
    end = size
    while end > 0:
        start = max(0, end - PIECE_BYTES)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def is_record(descriptor: int, start: int, size: int) -> bool:
    """Whether the rest of the file from `start` is a whole JSON object."""
    if size - start > MAX_LINE_BYTES:
        return False
    try:
        return isinstance(json.loads(os.pread(descriptor, size - start, start)), dict)
    except (ValueError, RecursionError):
        return False


def copy_private(descriptor: int, start: int, target: Path) -> None:
    """Copy a file's rest from `start` into a new file of mode 0600, down to the device."""
    target.unlink(missing_ok=True)  # of a repair that was broken off; never written through a link
    new = create_private(target)
    try:
        while piece := os.pread(descriptor, PIECE_BYTES, start):
            start += os.write(new, piece)
        os.fsync(new)
    finally:
        os.close(new)


def create_private(path: Path) -> int:
    """Open a new file of mode 0600 for writing.

    Raises:
        OSError: it is there already, or cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, FILE_MODE)


def leftovers(folder: Path) -> list[Path]:
    """Return the plain segments of a folder, oldest first, whoever owns them."""
    return sorted(folder.glob(PLAIN_PATTERN))


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[int]:
    """Hold the segment of a dead process, so that no other process works on it.

    Raises:
        BlockingIOError: a living process holds it.
        FileNotFoundError: it is gone.
        OSError: it cannot be opened, or the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_at(descriptor, path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Take a file's lock; False when another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: then nobody can claim the segment either
    return True


def writer_of(path: Path) -> int | None:
    """Return the process that holds a segment, None when nobody does.

    The number is the one in the segment's name, 0 when there is none in it.

    Raises:
        OSError: the segment cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        number = path.name.split(".")[0].rpartition("-")[2]
        return int(number) if number.isascii() and number.isdigit() else 0
    except OSError:
        return None  # no locks here
    finally:
        os.close(descriptor)
    return None


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one with that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def make_folder(folder: Path, sync: bool) -> None:
    """Make a folder and those above it, with `sync` down to the device.

    Raises:
        OSError: it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if sync:
        for place in missing:
            sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's list of names: a file that is synced itself may else be gone from it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
