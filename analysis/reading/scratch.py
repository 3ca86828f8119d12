"""A temporary folder that is gone afterwards, whichever way the program ends short of a SIGKILL.

Owns the folder, its removal, and what is said where there is no room. Refuses to own what lies in
it (`logs`).

    scratch = Scratch()
    with scratch.room():
        (scratch.path / "part-0").write_bytes(data)
    scratch.close()
"""

from __future__ import annotations

import errno
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ENDED_BY = (signal.SIGTERM, signal.SIGHUP)  # SIGINT raises KeyboardInterrupt in any case
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ADVICE = "set TMPDIR to a folder with room, some 1 KB for each exchange that samples ask for"


class Scratch:
    """The folder. Until it is closed, a SIGTERM that nobody handles ends the program in order.

    Raises:
        OSError: there is no temporary folder to be written to.
    """

    def __init__(self) -> None:
        try:
            self.folder = tempfile.TemporaryDirectory(prefix="distill-report-")
        except OSError as bad:
            raise OSError(f"no temporary folder for the logs ({bad.strerror}); {ADVICE}") from bad
        self.path = Path(self.folder.name)
        self.before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():  # signals are its own
            for number in ENDED_BY:
                if signal.getsignal(number) is signal.SIG_DFL:
                    self.before[number] = signal.signal(number, end)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Say in one line that the folder is full, whoever finds out.

        Raises:
            OSError: it is, or DuckDB cannot work in it.
        """
        import duckdb

        try:
            yield
        except duckdb.Error as bad:
            problem = str(bad).split("\n")[0]
            raise OSError(f"the logs' database in {self.path}: {problem}; {ADVICE}") from bad
        except OSError as bad:
            if bad.errno not in NO_ROOM:
                raise
            raise OSError(f"no room in {self.path} ({bad.strerror}); {ADVICE}") from bad

    def close(self) -> None:
        """Remove the folder."""
        self.folder.cleanup()
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before.clear()


def end(number: int, frame: FrameType | None) -> None:
    """End the program as a signal would, but through every `finally`."""
    sys.exit(128 + number)
