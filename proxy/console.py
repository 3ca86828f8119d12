"""Lines for whoever started the proxy, which goes on when nobody reads them.

Owns writing to stdout and stderr while serving. Refuses to own what is said.

    say("listening on http://127.0.0.1:8766")
    warn("no server at http://127.0.0.1:8080 yet")
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

STDOUT, STDERR = 1, 2
GONE = (errno.EPIPE, errno.EIO, errno.EBADF)


def say(text: str) -> None:
    """Print a line on stdout."""
    put(text, sys.stdout, STDOUT)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    put(f"warning: {text}", sys.stderr, STDERR)


def note(text: str) -> None:
    """Print what happens to the proxy on stderr."""
    put(f"distill-proxy: {text}", sys.stderr, STDERR)


def put(text: str, stream: TextIO, descriptor: int) -> None:
    """Print a line; a reader that went away (`| head -1`, a closed terminal) stops nothing."""
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if error.errno not in GONE:
            return  # a file on a full disk, which may have room again
        # what is left in the buffer must go somewhere, or the interpreter fails at its end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
