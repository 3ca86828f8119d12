"""Two processes that share the reading of large files, and never outlive the one that reads.

Owns when a second process pays, how it is started and how it ends. Refuses to own what is read
(`lines`, `load`, `exchanges`). A worker is a fresh interpreter that knows nothing of the program
that started it, so a script needs no `if __name__ == "__main__":` and a notebook works; it ends as
soon as its input does, which is when the program ends, however that comes about. Each holds one
task at a time, so that what is read and not yet used stays small.

    work = partial(read_piece, graded=graded)
    for part in each(work, pieces_of(path), size_of(path)):
        print(part.n_lines)
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, TypeVar, cast

PAYS_BYTES = 128 * 1024 * 1024  # below it a second process costs more than it gives
PROCESSES = 2
START = (
    "import sys, pickle; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from analysis.reading.workers import serve; serve()"
)
FORESEEN = (ValueError, OSError, ImportError, RecursionError, MemoryError)

S = TypeVar("S")
T = TypeVar("T")


def each(work: Callable[[S], T], tasks: Sequence[S], n_bytes: int) -> Generator[T, None, None]:
    """Yield what `work` returns for each task, in their order; two processes share large ones.

    `work` is then pickled: a function of a module, or a `partial` of one. Close the generator: what
    the processes have open is theirs until then.

    Raises:
        OSError: a process was ended from outside, as for want of memory.
    """
    if n_bytes < PAYS_BYTES or len(tasks) < 2 or not two_may_run():
        yield from map(work, tasks)
        return
    with ExitStack() as running:
        workers = [running.enter_context(Worker(work)) for _ in range(PROCESSES)]
        for number, task in enumerate(tasks[:PROCESSES]):
            workers[number].give(task)
        for number in range(len(tasks)):
            worker = workers[number % PROCESSES]
            result = worker.take()
            if number + PROCESSES < len(tasks):
                worker.give(tasks[number + PROCESSES])
            yield result


def two_may_run() -> bool:
    """Say whether a second process finds a processor, and can be started at all."""
    return bool(sys.executable) and len(os.sched_getaffinity(0)) > 1


class Worker:
    """One process that does the same work on one task after another."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        command = [sys.executable, "-P", "-c", START]  # -P: no module of the folder one stands in
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.give([str(place) for place in sys.path])
        self.give(work)

    def give(self, value: Any) -> None:
        """Send a value to the process."""
        tasks = cast(BinaryIO, self.process.stdin)
        try:
            pickle.dump(value, tasks)
            tasks.flush()
        except BrokenPipeError as bad:
            raise self.gone() from bad

    def take(self) -> Any:
        """Return what the process made of its task.

        Raises:
            OSError: it has ended.
        """
        try:
            problem, result = pickle.load(cast(BinaryIO, self.process.stdout))
        except (EOFError, pickle.UnpicklingError) as bad:
            raise self.gone() from bad
        if problem is not None:
            raise problem
        return result

    def gone(self) -> OSError:
        """Return the error of a process that ended before its work."""
        return OSError(
            f"a reading process ended early, with exit status {self.process.wait()}: was it "
            "stopped from outside, for want of memory? Free some and run the command again"
        )

    def __enter__(self) -> Worker:
        """Return itself."""
        return self

    def __exit__(self, *problem: object) -> None:
        """End the process at once: what it has not handed over, nobody waits for."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                cast(BinaryIO, stream).close()
            except BrokenPipeError:  # of a task that it did not read to its end
                continue


def serve() -> None:
    """Do the work of a worker until there is no more task; then, or when nobody listens, end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program: it ends its workers
    tasks, results = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints would break the results
    try:
        work = pickle.load(tasks)
        while True:
            pickle.dump(done(work, pickle.load(tasks)), results)
            results.flush()
    except (EOFError, pickle.UnpicklingError, BrokenPipeError):
        os._exit(0)  # without a last flush of `results`, which nobody reads


def done(work: Callable[[Any], Any], task: Any) -> tuple[Exception | None, Any]:
    """Return the result of a task, or the problem with it."""
    try:
        return None, work(task)
    except FORESEEN as problem:
        return problem, None
