from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from analysis.reading import workers
from analysis.reading.workers import Worker, each
from tests.conftest import REPO

HEAVY = ("numpy", "pandas", "duckdb", "scipy", "click", "rich", "sympy", "pyarrow", "lm_eval")
UNGUARDED = """
import sys
from analysis.reading import workers
print("once")
print(list(workers.each(abs, [-1, -2, -3], workers.PAYS_BYTES)))
"""
KILLED = """
import os, signal, time
from analysis.reading.workers import Worker
worker = Worker(time.sleep)
worker.give(0)
worker.take()
print(worker.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def processes(task: object) -> tuple[int, object]:
    return os.getpid(), task


def heavy_modules(_: object) -> list[str]:
    return [name for name in HEAVY if name in sys.modules]


def ends(_: object) -> None:
    os._exit(3)


def run(code: str, folder: Path) -> str:
    command = [sys.executable, "-c", code]
    paths = {"PYTHONPATH": str(REPO)}
    env = {**os.environ, **paths}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    return done.stdout


def test_large_files_are_shared_by_two_processes_in_the_order_of_the_tasks() -> None:
    found = list(each(processes, range(7), workers.PAYS_BYTES))
    assert [task for _, task in found] == list(range(7))
    assert len({pid for pid, _ in found} - {os.getpid()}) == 2


def test_small_files_and_single_tasks_are_read_here() -> None:
    for tasks, n_bytes in ((range(7), workers.PAYS_BYTES - 1), (range(1), workers.PAYS_BYTES)):
        assert {pid for pid, _ in each(processes, tasks, n_bytes)} == {os.getpid()}


def test_on_one_processor_all_is_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert {pid for pid, _ in each(processes, range(7), workers.PAYS_BYTES)} == {os.getpid()}


def test_a_worker_loads_nothing_heavy() -> None:
    assert list(each(heavy_modules, range(2), workers.PAYS_BYTES)) == [[], []]


def test_a_problem_with_a_task_is_raised_as_it_was() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(each(int, ["1", "x"], workers.PAYS_BYTES))


def test_a_process_that_ends_early_is_told_in_one_line() -> None:
    with pytest.raises(OSError, match="exit status 3: was it stopped") as problem:
        list(each(ends, range(9), workers.PAYS_BYTES))
    assert "\n" not in str(problem.value)


def test_whoever_stops_in_the_middle_leaves_no_process() -> None:
    with closing(each(processes, range(50), workers.PAYS_BYTES)) as found:
        pids = {next(found)[0], next(found)[0]}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED, encoding="utf-8")
    code = "import runpy; runpy.run_path('script.py', run_name='__main__')"
    assert run(code, tmp_path) == "once\n[1, 2, 3]\n"


def test_a_worker_loads_no_module_of_the_folder_one_stands_in(tmp_path: Path) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit(9)", encoding="utf-8")
    code = f"import sys; sys.path.remove('')\n{UNGUARDED}"
    assert run(code, tmp_path) == "once\n[1, 2, 3]\n"


def test_a_worker_ends_with_a_program_that_was_killed(tmp_path: Path) -> None:
    pid = int(run(KILLED, tmp_path))
    end = time.monotonic() + 30
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Say whether a process still runs: one that ended and that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1][1] != "Z"
    except OSError:
        return False


def test_ctrl_c_is_left_to_the_program() -> None:
    with Worker(processes) as worker:
        worker.give(1)
        worker.take()
        worker.process.send_signal(signal.SIGINT)
        worker.give(2)
        assert worker.take()[1] == 2
