"""A lock on an open file that ends with its process, however that ends.

Owns the one way to lock: `flock`, which the kernel gives back after a kill -9 too. Refuses to own
what is locked: a store of completions (`chat.store`), the folder of a run (`run`). Standard library
only.

Example: `with open(path, "a+b") as file: lock(file)`
"""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import IO, Any

# A file system without locks (some network ones) is no reason to refuse work.
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class LockedError(Exception):
    """Another process holds the lock."""


def lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed; False where its file system knows no locks.

    Raises:
        LockedError: another process, or another opening of it here, has locked it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        raise LockedError(str(file.name)) from taken
    except OSError as refused:
        if refused.errno not in NO_LOCKS:
            raise
        return False
    return True


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock on a file; False where there is no such file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
