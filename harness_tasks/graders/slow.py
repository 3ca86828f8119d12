r"""The last resort: math-verify and sympy, in worker processes with a hard limit.

Owns the workers: they are started when first needed, answer one comparison at a time, are killed
with their process group at the limit, and one more than needed is kept loaded. Works from threads
and from worker processes, daemonic and forked ones too (a fork forgets its parent's workers).
Refuses to own the comparison (`slow_worker`) and the rules before it (`math_answer`).

A worker's start-up does not count against a comparison. Running out of time shows nothing equal,
and so the answer is incorrect; a worker that cannot be started, or dies, is a `GraderError`.

Example: `equivalent(r"\frac{1}{2}", r"\int_0^1 x\,dx")` is True, within `LIMIT_S`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness_tasks.graders.grade import GraderError

LIMIT_S = 0.45
START_LIMIT_S = 60.0
MAX_WORKERS = 4
MAX_CHARS = 600
# Only text that is a formula reaches the parser: no quotes, no names with double underscores.
SAFE = re.compile(r"[A-Za-z0-9\s\\{}()\[\]|.,;:+\-*/^_=<>!&%']*")
# What the grammar in front does not read and latex2sympy does.
BEYOND_FRONT = re.compile(
    r"\\(?:int|iint|oint|sum|prod|lim|limsup|liminf|partial|det|begin|bmod|pmod|mod)"
    r"(?![A-Za-z])"
)


class Worker:
    """One worker process and its pipes."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("slow_worker.py")
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.ready = False
        self.rest = b""

    def ask(self, target: str, answer: str) -> bool | None:
        """Compare; None where the limit ran out.

        Raises:
            GraderError: the worker does not start or has died.
        """
        if not self.is_ready(START_LIMIT_S):
            raise GraderError(f"the math-verify worker was not ready in {START_LIMIT_S:.0f} s")
        assert self.process.stdin is not None
        try:
            line = json.dumps({"target": target, "answer": answer}) + "\n"
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except OSError as gone:
            raise GraderError(f"the math-verify worker is gone: {gone}") from gone
        reply = self.read_line(LIMIT_S)
        return None if reply is None else bool(json.loads(reply)["equal"])

    def is_ready(self, limit_s: float = 0.0) -> bool:
        """Tell whether the libraries are loaded, waiting that long for it.

        Raises:
            GraderError: the worker has died.
        """
        if not self.ready:
            self.ready = self.read_line(limit_s) is not None
        return self.ready

    def read_line(self, limit_s: float) -> bytes | None:
        """Read one line within the limit, None where it runs out.

        Raises:
            GraderError: the worker has closed its output.
        """
        assert self.process.stdout is not None
        deadline = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    raise GraderError("the math-verify worker died (is math-verify installed?)")
                self.rest += chunk
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def kill(self) -> None:
        """End the process and all it started, and close its pipes."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.close()

    def close(self) -> None:
        """Close this end of the pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def forget(self) -> None:
        """Let go of a worker that belongs to the process we were forked from."""
        self.close()
        self.process.returncode = 0  # it is not ours to wait for


class Pool:
    """The workers of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.slots = threading.BoundedSemaphore(MAX_WORKERS)
        self.idle: list[Worker] = []
        self.all: list[Worker] = []

    def ask(self, target: str, answer: str) -> bool | None:
        """Compare in a worker of our own; one that failed or ran out of time is thrown away."""
        with self.slots:
            worker = self.take()
            verdict: bool | None = None
            try:
                verdict = worker.ask(target, answer)
            finally:
                if verdict is None:
                    self.drop(worker)
                else:
                    with self.lock:
                        self.idle.append(worker)
            return verdict

    def take(self) -> Worker:
        """Take an idle worker, a loaded one before the others, and keep a spare loading.

        The spare is ready when a comparison runs out of time, so that the next does not wait.
        """
        with self.lock:
            dead = [w for w in self.idle if w.process.poll() is not None]
            self.idle = [w for w in self.idle if w not in dead]
        for worker in dead:  # killed from outside: no fault of this comparison
            self.drop(worker)
        with self.lock:
            ready = next((w for w in self.idle if w.is_ready()), None)
            idle = ready or (self.idle[0] if self.idle else None)
            if idle:
                self.idle.remove(idle)
            needs_spare = not self.idle
        taken = idle or self.start()
        if needs_spare:
            spare = self.start()
            with self.lock:
                self.idle.append(spare)
        return taken

    def start(self) -> Worker:
        """Start a worker; it loads its libraries while we go on."""
        try:
            worker = Worker()
        except OSError as refused:
            raise GraderError(f"cannot start the math-verify worker: {refused}") from refused
        with self.lock:
            self.all.append(worker)
        return worker

    def drop(self, worker: Worker) -> None:
        """Kill a worker and strike it off."""
        worker.kill()
        with self.lock:
            self.all.remove(worker)

    def close(self) -> None:
        """Kill all workers."""
        with self.lock:
            workers, self.all, self.idle = self.all, [], []
        for worker in workers:
            worker.kill()

    def forget(self) -> None:
        """Let go of all workers, in a child that was forked."""
        for worker in self.all:
            worker.forget()


pool = Pool()


def fresh_pool() -> None:
    """Start over in a forked child: the workers, and perhaps the lock, belong to the parent."""
    global pool
    inherited, pool = pool, Pool()
    inherited.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=fresh_pool)


@atexit.register
def close() -> None:
    """End the workers of this process."""
    pool.close()


def worth_trying(answer: str, target: str) -> bool:
    """Tell whether both texts are formulas that the parser may be given, and one needs it."""
    if not (BEYOND_FRONT.search(answer) or BEYOND_FRONT.search(target)):
        return False
    return all(
        0 < len(text.strip()) <= MAX_CHARS and SAFE.fullmatch(text) and "__" not in text
        for text in (answer, target)
    )


def equivalent(answer: str, target: str) -> bool:
    """Compare by math-verify; False where it finds no equality within the limit.

    Raises:
        GraderError: the worker cannot be started, or died.
    """
    return worth_trying(answer, target) and pool.ask(target, answer) is True
