"""Disk, file descriptors and versions: what is found on a machine that lacks them."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness_tasks import plugin
from harness_tasks.doctor import machine
from harness_tasks.doctor.finding import Context, Finding
from harness_tasks.doctor.machine import bytes_of_run, disk_space, versions
from tests.conftest import REPO

MATH = Context(tasks=("distill_math500",), max_tokens=32_768)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def one(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def with_free(n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> Finding:
    usage = SimpleNamespace(free=n_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    return one(disk_space(MATH))


def test_what_a_run_may_write_grows_with_questions_and_tokens() -> None:
    assert bytes_of_run(MATH) == 500 * 32_768 * machine.BYTES_PER_TOKEN
    assert bytes_of_run(replace(MATH, n_samples=16)) == 16 * bytes_of_run(MATH)
    assert bytes_of_run(Context()) == machine.LEAST_BYTES


@pytest.mark.parametrize(("share", "status"), [(1.1, "pass"), (0.5, "warn"), (0.2, "fail")])
def test_a_disk_is_judged_by_what_the_run_may_write(
    share: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = with_free(int(share * bytes_of_run(MATH)), monkeypatch)
    assert finding.status == status
    assert "0.3 GB" in finding.found


def test_a_real_full_disk_is_a_failure(tmp_path: Path) -> None:
    """Where namespaces are allowed, a file system of 64 KB is mounted over the folder of runs."""
    code = (
        "from harness_tasks.doctor.finding import Context\n"
        "from harness_tasks.doctor.machine import disk_space\n"
        "for finding in disk_space(Context()): print(finding.status, finding.found)"
    )
    small = f"mount -t tmpfs -o size=64k none {tmp_path} && cd {tmp_path} && {sys.executable} -B -"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small],
        input=code,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.stdout.startswith("fail 0.0 GB free"), done.stderr


def test_a_folder_that_takes_no_file_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    if os.geteuid() == 0:  # whom no permission stops, but the kernel's own folder does
        runs = Path("/proc/self")
    else:
        runs.chmod(0o500)
    monkeypatch.setattr(machine.plan, "RUNS_DIR", runs)
    finding = one(disk_space(MATH))
    assert finding.status == "fail"
    assert f"nothing can be written below {runs.absolute()}" in finding.found


def test_the_disk_of_the_nearest_folder_is_looked_at_and_nothing_is_left_there(
    tmp_path: Path,
) -> None:
    assert f"below {tmp_path}," in one(disk_space(MATH)).found
    assert list(tmp_path.iterdir()) == []


def under_limits(soft: int, hard: int, num_concurrent: int) -> str:
    """Look in a process of its own, whose limits are these."""
    code = (
        "import resource, sys\n"
        "from harness_tasks.doctor.finding import Context\n"
        "from harness_tasks.doctor.machine import file_descriptors\n"
        "soft, hard, n = map(int, sys.argv[1:])\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "for finding in file_descriptors(Context(num_concurrent=n)):\n"
        "    print(finding.status, finding.found)"
    )
    argv = [sys.executable, "-c", code, str(soft), str(hard), str(num_concurrent)]
    environ = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("soft", "hard", "found"),
    [
        (1024, 1024, "pass num_concurrent=512 has room (1024 may be open at once)"),
        (256, 1024, "pass num_concurrent=512 has room ("),  # a run raises its limit, too
        (256, 256, "fail num_concurrent=512 needs some "),
    ],
)
def test_descriptors_are_judged_by_requests_at_once(soft: int, hard: int, found: str) -> None:
    assert under_limits(soft, hard, 512).startswith(found)


def test_this_environment_meets_what_the_suite_needs() -> None:
    assert [finding.status for finding in versions(Context())] == ["pass"]


def test_a_release_outside_the_bounds_and_one_that_is_missing_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = importlib.metadata.version

    def version(name: str) -> str:
        if name.startswith("antlr4"):  # what another tool's pin does to the parser of LaTeX
            return "4.9.3"
        if name == "sympy":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    finding = next(versions(Context()))
    assert finding.status == "fail"
    assert "antlr4-python3-runtime 4.9.3 is installed, latex2sympy2" in finding.found
    assert "sympy is not installed, distill-eval needs sympy" in finding.found


def test_an_lm_eval_that_was_never_tried_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LM_EVAL_TRIED", ("0.4.10",))
    assert [(f.status, "was not tried with" in f.found) for f in versions(Context())] == [
        ("warn", True)
    ]


def test_a_missing_hook_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = (plugin.AUTOLOAD_FINDER, "LmEvalFinder")
    kept: list[Any] = [f for f in sys.meta_path if type(f).__name__ not in ours]
    monkeypatch.setattr(sys, "meta_path", kept)
    found = [f for f in versions(Context()) if f.status == "warn"]
    assert "plain `lm_eval` finds neither local-chat nor our tasks" in found[0].found
