"""Room for connections: each takes a file descriptor, and a shell allows 1,024 of them.

Owns the limit of this process. Refuses to own who needs them. Standard library only.

Example: `make_room(512)` before as many requests are under way at once.
"""

from __future__ import annotations

import os
import sys

from harness_tasks.explained import explained

SPARE = 64  # what else is opened meanwhile: the store, results, data files


def make_room(n_connections: int) -> None:
    """Raise the limit of open files where it is too low for so many connections.

    Raises:
        ValueError: the system does not allow as many.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n_open() + n_connections + SPARE
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        fits = max(hard - n_open() - SPARE, 1)
        raise explained(
            ValueError(
                f"num_concurrent={n_connections} needs some {wanted} open files, and the system "
                f"allows this process {hard}; set num_concurrent to at most {fits}, or raise the "
                "limit (`ulimit -Hn`, or LimitNOFILE of the service)"
            )
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def n_open() -> int:
    """Return how many descriptors are open."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return SPARE
