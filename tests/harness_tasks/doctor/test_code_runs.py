"""The sandbox, as the doctor finds it: strong, weak, or not there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness_tasks import isolation_check, sandbox
from harness_tasks.doctor import code_runs
from harness_tasks.doctor.code_runs import closed_in, judged
from harness_tasks.doctor.finding import Context, Finding
from harness_tasks.sandboxed.outcomes import Isolation
from tests.conftest import REPO

WEAK = Isolation(("resource limits",), True, "user namespaces are switched off")
STRONG = Isolation(("user namespaces (files, network, processes, users)",), False, None)
CODE = Context(tasks=("distill_demo", "distill_humanevalplus"))


@pytest.fixture(autouse=True)
def unconfirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["distill-eval"])


def only(context: Context) -> Finding:
    (finding,) = closed_in(context)
    return finding


def test_where_this_machine_contains_code_an_attack_reaches_nothing() -> None:
    if sandbox.isolation().weak:
        pytest.skip("this machine isolates code weakly")
    finding = only(CODE)
    assert finding.status == "pass"
    assert finding.found.endswith("code that tried reached no file and no network")


def test_without_layers_the_attack_gets_out_and_the_run_is_refused() -> None:
    code = (
        "from harness_tasks.doctor.code_runs import closed_in\n"
        "from harness_tasks.doctor.finding import Context\n"
        "for tasks in ((), ('distill_humanevalplus',)):\n"
        "    print(*[f'{f.status} {f.found}' for f in closed_in(Context(tasks=tasks))])"
    )
    environ = {**os.environ, "DISTILL_EVAL_SANDBOX": "none", "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    general, asked = done.stdout.splitlines()
    assert general.startswith("warn weak: ")
    assert "reached files of this user and the network and the disk" in general
    assert asked.startswith("fail weak: ")
    assert "distill_humanevalplus would be refused" in asked


def test_tasks_that_run_no_code_need_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "isolation", lambda: pytest.fail("it was started"))
    assert only(Context(tasks=("distill_math500",))).status == "skip"


@pytest.mark.parametrize(("tasks", "status"), [(CODE.tasks, "fail"), ((), "warn")])
def test_a_sandbox_that_does_not_start_ends_code_tasks(
    tasks: tuple[str, ...], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Isolation:
        raise sandbox.SandboxError("no fork server")

    monkeypatch.setattr(sandbox, "isolation", broken)
    finding = only(Context(tasks=tasks))
    assert (finding.status, "no fork server" in finding.found) == (status, True)


def test_a_sandbox_that_runs_nothing_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_runs, "ATTACK", "raise MemoryError")
    finding = only(CODE)
    assert finding.status == "fail"
    assert "does not run code here" in finding.found


def test_a_confirmed_weak_isolation_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(isolation_check.CONFIRM_ENV, "1")
    finding = judged(WEAK, ["the network"], ["distill_humanevalplus"])
    assert finding.status == "warn"
    assert "user namespaces are switched off" in finding.found


def test_layers_that_are_there_and_do_not_hold_are_a_failure() -> None:
    assert judged(STRONG, ["the network"], []).status == "fail"
