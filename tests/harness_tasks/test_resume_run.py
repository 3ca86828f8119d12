"""`distill-eval run` killed with -9 and started again: what is asked, and what the files hold."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.reading.folder import find_samples
from harness_tasks import manifest
from harness_tasks.chat.store import rows
from tests.conftest import REPO
from tests.fakes import Answer, FakeUpstream, Received, chat, fault

N_DOCS = 40
K = 2
LIMIT = 100
LARGER = 400


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mark_of(request: Received) -> int:
    """Return a number that only prompt and seed decide, as a sampled completion does."""
    text = json.dumps([request.body["messages"], request.body["seed"]])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def answer(request: Received) -> Answer:
    """Answer by prompt and seed; every fifth completion needs more than LIMIT tokens."""
    mark = mark_of(request)
    if mark % 5 == 0 and request.body["max_tokens"] <= LIMIT:
        return chat("so far", reasoning=f"a long thought {mark}", finish_reason="length")(request)
    return chat(f"\\boxed{{{mark % 9}}}", reasoning=f"thought {mark}")(request)


def started(*argv: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "harness_tasks", "run", *argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def command(server: FakeUpstream, name: str | None, *more: str) -> tuple[str, ...]:
    args = f"base_url={server.url},num_concurrent=4,max_tokens={LIMIT},max_retries=0"
    named = ("--run", name) if name else ()
    return (*named, "--repeats", str(K), "--tasks", "distill_demo", "--model_args", args, *more)


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a run, and return what it said."""
    said, _ = process.communicate(timeout=120)
    return said


def run(*argv: str) -> tuple[int, str]:
    process = started(*argv)
    said = ended(process)
    return process.returncode, said


class Killer:
    """Answers, and kills the process that asks at the n-th request."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.at: int | None = None
        self.n = 0
        self.lock = threading.Lock()

    def __call__(self, request: Received) -> Answer:
        with self.lock:
            self.n += 1
            if self.n == self.at and self.process is not None:
                self.process.kill()
        return answer(request)

    def killed_at(self, n: int, *argv: str) -> None:
        """Run a command until the n-th request from now on."""
        self.n, self.at = 0, n
        self.process = started(*argv)
        ended(self.process)
        assert self.process.returncode == -signal.SIGKILL
        self.at = None


@pytest.fixture
def whole() -> dict[str, Any]:
    """An uninterrupted run, to compare with."""
    with FakeUpstream(answer) as server:
        code, said = run(*command(server, "base"))
    assert code == 0, said
    return contents(Path("runs/base"))


def contents(folder: Path) -> dict[str, Any]:
    """Return a run's samples as they stand on the disk, and what its manifest tells of them."""
    record = manifest.read(folder)
    assert record is not None
    (results,) = record["results"]
    samples = manifest.samples_path(folder / results, "distill_demo").read_bytes()
    told = record["tasks"]["distill_demo"]
    config = json.loads((folder / results).read_text())["config"]
    return {
        "samples": samples,
        "task": {key: value for key, value in told.items() if key != "samples"},
        "sampling": config["sampling"],
        "served": config["model_served"],
        "completions": config["completions"],
    }


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_never_was(
    whole: dict[str, Any],
) -> None:
    Path("runs/base").rename("whole")
    killer = Killer()
    dice = random.Random(7)
    with FakeUpstream(killer) as server:
        argv = command(server, "base")
        for n in (1, dice.randint(10, 20), dice.randint(10, 20)):
            killer.killed_at(n, *argv)
        listed = subprocess.run(
            [sys.executable, "-m", "harness_tasks", "runs", "--json"],
            env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, check=True,
        )  # fmt: skip
        n_there = sum(1 for _ in rows(Path("runs/base/completions.jsonl")))
        n_before = len(server.requests)
        code, said = run(*argv)
        asked = server.requests
    assert code == 0, said
    (row,) = json.loads(listed.stdout)
    assert (row["status"], row["n_done"], row["n_total"]) == ("killed", n_there, N_DOCS * K)
    assert f"{n_there} of {N_DOCS * K} completions are there already" in said
    assert len(asked) - n_before == N_DOCS * K - n_there
    assert contents(Path("runs/base")) == whole
    # What was in flight at a kill is asked again, nothing else.
    twice = [n for n in Counter(r.headers["x-request-id"] for r in asked).values() if n > 1]
    assert len(twice) <= 3 * 4


KILLS = """
import os, pathlib
from harness_tasks.results import math

def results(doc, completions):
    if not pathlib.Path("spared").exists():
        pathlib.Path("spared").touch()
        os.kill(os.getpid(), 9)
    return math(doc, completions)
"""


@pytest.mark.slow
def test_a_run_killed_while_it_grades_asks_nothing_again() -> None:
    demo = REPO / "harness_tasks" / "tasks" / "demo" / "_demo.yaml"
    own = Path("own").resolve()
    own.mkdir()
    (own / "kills.yaml").write_text(
        f"include: {demo}\ntask: mine\ndataset_kwargs:\n  source: demo\n"
        "process_results: !function kills.results\n"
    )
    (own / "kills.py").write_text(KILLS)
    with FakeUpstream(answer) as server:
        args = f"base_url={server.url},max_tokens={LIMIT}"
        # Without a name: the same command goes on with the run that it began.
        argv = ("--tasks", "mine", "--model_args", args, "--include_path", str(own))
        assert run(*argv)[0] == -signal.SIGKILL
        assert len(server.requests) == N_DOCS
        code, said = run(*argv)
        assert len(server.requests) == N_DOCS, said
    assert code == 0, said
    assert f"{N_DOCS} of {N_DOCS} completions are there already" in said
    (record,) = map(manifest.read, Path("runs").iterdir())
    assert record is not None
    assert (record["status"], len(record["starts"])) == ("finished", 2)


def failing(marks: Callable[[int], bool]) -> Callable[[Received], Answer]:
    """Refuse some requests for good."""

    def script(request: Received) -> Answer:
        if marks(mark_of(request)):
            return fault(400, "the prompt is too long")(request)
        return answer(request)

    return script


@pytest.mark.slow
def test_what_failed_and_what_was_cut_off_is_asked_again_and_nothing_else() -> None:
    with FakeUpstream(failing(lambda mark: mark % 7 == 0)) as server:
        code, said = run(*command(server, "base"))
        ids = {request.headers["x-request-id"]: mark_of(request) for request in server.requests}
        n_errors = sum(mark % 7 == 0 for mark in ids.values())
        assert code == 0, said
        assert f"{n_errors} of {N_DOCS * K} requests failed" in said
        assert "--retry-errors asks them again" in said

        server.scripts = [answer]
        server.received.clear()
        code, said = run("--run", "base", "--retry-errors")
        assert code == 0, said
        assert sorted(r.headers["x-request-id"] for r in server.requests) == sorted(
            one for one, mark in ids.items() if mark % 7 == 0
        )
        n_cut = sum(mark % 5 == 0 for mark in ids.values())
        assert f"{n_cut} of {N_DOCS * K} completions were cut off" in said

        server.received.clear()
        again = ("--retry-truncated", "--max-tokens", str(LARGER))
        code, said = run(*command(server, "base", *again))
        assert code == 0, said
        cut = sorted(one for one, mark in ids.items() if mark % 5 == 0)
        assert sorted(r.headers["x-request-id"] for r in server.requests) == cut
        assert {r.body["max_tokens"] for r in server.requests} == {LARGER}
        assert all(mark_of(r) == ids[r.headers["x-request-id"]] for r in server.requests)
    record = manifest.read(Path("runs/base"))
    assert record is not None
    entry = record["tasks"]["distill_demo"]
    assert (entry["n_errors"], entry["n_truncated"]) == (0, 0)
    assert entry["sampling"]["max_tokens"] == record["sampling"]["max_tokens"] == LARGER
    truncated = record["retried"]["truncated"]
    assert (truncated["max_tokens"], truncated["was"]) == (LARGER, LIMIT)
    assert truncated["n_samples"] == n_cut
    assert record["retried"]["errors"]["n_samples"] == n_errors
    assert len(entry["retried"]["replaced"]) == 2
    files, notices = find_samples(Path("runs/base"))
    assert [file.path.name for file in files] == [entry["samples"]]
    assert "took the newest" in notices[0]


@pytest.mark.slow
def test_a_run_in_which_everything_failed_says_so_and_the_same_command_mends_it() -> None:
    with FakeUpstream(fault(400, "no such template")) as server:
        argv = ("--run", "base", "--tasks", "distill_demo", "--limit", "5", "--model_args")
        argv = (*argv, f"base_url={server.url},max_retries=0")
        code, said = run(*argv)
        assert code == 1
        assert "run base failed: all 5 requests failed: HTTP 400" in said
        assert "finished" not in said
        record = manifest.read(Path("runs/base"))
        assert record is not None
        assert (record["status"], record["tasks"]["distill_demo"]["n_errors"]) == ("failed", 5)
        server.scripts = [answer_without_limit]
        code, said = run(*argv)
    assert code == 0, said
    record = manifest.read(Path("runs/base"))
    assert record is not None
    assert (record["status"], record["error"]) == ("finished", None)


def answer_without_limit(request: Received) -> Answer:
    return chat("\\boxed{1}")(request)


@pytest.mark.slow
def test_a_run_that_goes_on_is_not_begun_a_second_time() -> None:
    hold, asked = threading.Event(), threading.Event()

    def slow(request: Received) -> Answer:
        asked.set()
        hold.wait(60)
        return answer_without_limit(request)

    with FakeUpstream(slow) as server:
        argv = ("--run", "base", "--tasks", "distill_demo", "--limit", "2", "--model_args")
        argv = (*argv, f"base_url={server.url}")
        first = started(*argv)
        assert asked.wait(60)
        code, said = run(*argv)
        hold.set()
        assert "Traceback" not in ended(first)
    assert code == 2
    assert said.splitlines()[-1].startswith("runs/base is in use by another distill-eval run (pro")
    assert first.returncode == 0
