"""Processes of the benchmark: started, measured from /proc, ended by their ids.

Owns pids and what Linux tells of them. Refuses to own what is run.

    with started(["nginx", ...], folder) as process:
        cpu_s(process.pid), rss_bytes(process.pid)      # of the process and all below it
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
END_S = 10.0


class NotStartedError(Exception):
    """A peer could not be started; the message says why."""


def stat_fields(pid: int) -> list[str] | None:
    """Return /proc/PID/stat after the command's name, or None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat_fields(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, ()))
    return found


def cpu_s(pid: int) -> float:
    """Return the user and system seconds of a process tree so far."""
    stats = [fields for fields in map(stat_fields, tree(pid)) if fields]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS_PER_S


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process tree; pages that are shared count for each."""
    return sum(int(fields[21]) * PAGE_BYTES for fields in map(stat_fields, tree(pid)) if fields)


def free_port() -> int:
    """Return a port of loopback that the system has just called free, for peers that take no 0."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def started(
    command: Sequence[str],
    folder: Path,
    name: str,
    env: dict[str, str] | None = None,
    talks: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a folder; end it and its children at the end.

    What it prints goes to NAME.out and NAME.log there; one that `talks` has pipes and our stderr.
    It gets a session of its own: Ctrl-C reaches the benchmark alone, which then ends the rest.
    """
    with open(folder / f"{name}.out", "w") as out, open(folder / f"{name}.log", "w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else out,
            stderr=None if talks else log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, then make it and what it left behind end."""
    pids = tree(process.pid) if process.poll() is None else []
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    for pid in pids:
        # a child that another process has taken over is no longer below ours, its session still is
        if (fields := stat_fields(pid)) and int(fields[3]) == process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def first_line(process: subprocess.Popen[str], folder: Path, name: str, limit_s: float) -> str:
    """Wait for what a process prints first, and return it.

    Raises:
        NotStartedError: it ended, or was silent until the limit.
    """
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        line, newline, _ = (folder / f"{name}.out").read_text(errors="replace").partition("\n")
        if newline:
            return line
        time.sleep(0.02)
    raise NotStartedError(f"did not start: {last_words(folder, name)}")


def until_it_listens(process: subprocess.Popen[str], port: int, limit_s: float) -> None:
    """Wait until a port takes connections.

    Raises:
        NotStartedError: the process ended, or the limit ran out.
    """
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotStartedError(f"ended with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise NotStartedError(f"did not listen within {limit_s:.0f} s")


def last_words(folder: Path, name: str) -> str:
    """Return the last line of a process's stderr."""
    with contextlib.suppress(OSError):
        lines = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    return "no message"
