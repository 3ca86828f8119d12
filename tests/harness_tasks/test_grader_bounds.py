"""Hostile answers: a verdict for each, in threads and in worker processes, and no process left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness_tasks.graders import math_answer, slow
from harness_tasks.graders.grade import GraderError
from harness_tasks.records import Verdict

HOSTILE = [
    "9^{9^{9^9}}",
    "1" * 10_000,
    "0." + "3" * 10_000,
    "(" * 5_000 + "1" + ")" * 5_000,
    "{" * 500 + "1" + "}" * 500,
    "10^{10^{10}}!",
    "100000!",
    "((((9!)!)!)!)!",
    r"\binom{10^9}{10^8}",
    r"\begin{pmatrix}" + "&".join(["1"] * 3_000) + r"\end{pmatrix}",
    r"\begin{pmatrix}" + r"\\".join(["1&2&3"] * 500) + r"\end{pmatrix}",
    "x" + "^x" * 300,
    "-" * 3_000 + "1",
    r"\frac{" * 200 + "1",
    r"\sqrt{" * 100 + "2" + "}" * 100,
    r"\pm 1" * 300,
    "1," * 3_000,
    ",".join(f"x={i}" for i in range(190)),
    r"\sin(10^{100})",
    "(x+1)^{100000}",
    "1e999999",
    r"\text{" * 1_000,
    "\\" * 3_000,
    "f(" * 200 + "x" + ")" * 200,
    "1=1=" * 500 + "1",
    r"\lfloor 10^{1000}\pi \rfloor",
    "\x00" * 100,
]
TARGETS = ["5", r"\frac{1}{2}", "x^2+1", "(1,2)", "1,2,3", "[0,1]", r"\text{Evelyn}", "x>3"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_hostile_answer_is_incorrect(target: str) -> None:
    for answer in HOSTILE:
        assert math_answer.equivalent(answer, target).verdict is Verdict.INCORRECT, answer[:40]


@pytest.mark.parametrize("answer", HOSTILE[:12])
def test_a_hostile_target_gets_a_verdict(answer: str) -> None:
    assert math_answer.equivalent("5", answer).verdict is Verdict.INCORRECT


def test_threads_grade_at_once() -> None:
    with ThreadPoolExecutor(8) as threads:
        grades = list(threads.map(lambda a: math_answer.equivalent(a, "5"), HOSTILE * 2))
    assert {grade.verdict for grade in grades} == {Verdict.INCORRECT}


INTEGRAL = r"\int_0^1 2x\,dx"
ENDLESS = r"\sum_{n=1}^{10^9} n^n"


def test_the_slow_path_finds_what_the_grammar_cannot_read() -> None:
    assert math_answer.equivalent(INTEGRAL, "1").verdict is Verdict.CORRECT
    assert math_answer.equivalent(INTEGRAL, "2").verdict is Verdict.INCORRECT


def test_the_slow_path_ends_what_does_not_end_and_goes_on() -> None:
    assert math_answer.equivalent(ENDLESS, "5").verdict is Verdict.INCORRECT
    assert math_answer.equivalent(INTEGRAL, "1").verdict is Verdict.CORRECT


def test_the_slow_path_serves_threads() -> None:
    answers = [INTEGRAL, ENDLESS, INTEGRAL, r"\sum_{k=1}^{4} k"]
    with ThreadPoolExecutor(4) as threads:
        grades = list(threads.map(lambda a: math_answer.equivalent(a, "1"), answers))
    assert [g.verdict is Verdict.CORRECT for g in grades] == [True, False, True, False]


def grade_in_child(queue: multiprocessing.Queue[str]) -> None:
    queue.put(math_answer.equivalent(INTEGRAL, "1").verdict.value)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_slow_path_serves_daemonic_processes(method: str) -> None:
    context = multiprocessing.get_context(method)
    queue: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=grade_in_child, args=(queue,), daemon=True)
    child.start()
    assert queue.get(timeout=90) == "correct"
    child.join(timeout=30)
    assert child.exitcode == 0
    queue.close()
    queue.join_thread()


FORK = textwrap.dedent(
    """
    import os, sys
    from harness_tasks.graders import math_answer, slow
    integral = r"\\int_0^1 2x\\,dx"
    assert math_answer.equivalent(integral, "1").verdict == "correct"
    parents = {worker.process.pid for worker in slow.pool.all}
    child = os.fork()
    if child == 0:
        right = math_answer.equivalent(integral, "1").verdict == "correct"
        own = {worker.process.pid for worker in slow.pool.all}
        slow.close()
        os._exit(0 if right and own and not own & parents else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert math_answer.equivalent(integral, "1").verdict == "correct"
    assert {worker.process.pid for worker in slow.pool.all} == parents
    print(status, *parents)
    """
)


def test_a_fork_starts_its_own_workers_and_the_exit_leaves_none() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    status, *workers = run.stdout.split()
    assert status == "0"
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_worker_that_cannot_start_is_a_grader_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "pool", slow.Pool())
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    grade = math_answer.equivalent(INTEGRAL, "1")
    assert grade.verdict is Verdict.GRADER_ERROR
    assert "cannot start" in (grade.reason or "")


def test_a_worker_that_dies_is_a_grader_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "pool", slow.Pool())
    slow.pool.take()
    for worker in slow.pool.all:
        worker.process.kill()
        worker.process.wait()
    spare = slow.pool.idle[0]
    with pytest.raises(GraderError, match="died"):
        spare.ask("1", INTEGRAL)
    slow.pool.close()


def test_only_formulas_reach_the_parser() -> None:
    assert slow.worth_trying(INTEGRAL, "1")
    assert not slow.worth_trying(r"\int __class__", "1")
    assert not slow.worth_trying(r'\int open("x")', "1")
    assert not slow.worth_trying(r"\int " + "x" * 1_000, "1")


def test_importing_the_graders_loads_no_sympy() -> None:
    code = (
        "import sys, harness_tasks.graders;"
        "print(sorted({'sympy', 'math_verify', 'mpmath'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_worker_killed_from_outside_is_replaced() -> None:
    assert math_answer.equivalent(INTEGRAL, "1").verdict is Verdict.CORRECT
    for worker in slow.pool.all:
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
    assert math_answer.equivalent(INTEGRAL, "1").verdict is Verdict.CORRECT


def test_a_long_list_in_another_order_is_compared() -> None:
    items = [rf"\sqrt{{{i}}} + x" for i in range(190)]
    turned = ", ".join(reversed(items))
    assert math_answer.equivalent(turned, ", ".join(items)).verdict is Verdict.CORRECT
    items[7] = "x"
    assert math_answer.equivalent(turned, ", ".join(items)).verdict is Verdict.INCORRECT


@pytest.mark.parametrize("command", [r"\input{/etc/passwd}", "exec('x')", "lambda: 5", "\ud800"])
def test_code_and_broken_text_are_incorrect(command: str) -> None:
    for answer, target in ((command, "5"), ("5", command), (rf"\int {command} dx", "5")):
        assert math_answer.equivalent(answer, target).verdict is Verdict.INCORRECT
