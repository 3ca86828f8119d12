"""The folder of a run: the lock, what may be retried, and what an earlier start left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness_tasks import manifest, run_folder
from harness_tasks.locking import is_locked
from harness_tasks.run_folder import Retry, carried_on, check_folder, held, unfinished, with_store
from tests.conftest import REPO

BASE = Path("runs/base")
ARGV = ["distill-eval", "run", "--tasks", "toy", "--model_args", "base_url=http://h"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(folder: Path = BASE, **more: Any) -> None:
    manifest.write(folder, {**manifest.started(folder.name, ARGV, {"a": 1}), **more})


def finished(**entry: Any) -> None:
    write(status="finished", tasks={"toy": {"n_samples": 5, "n_errors": 0, **entry}})


def refusal(retry: Retry = run_folder.NOTHING, *tasks: str) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - each test asserts on the message
        check_folder(BASE, {"a": 1}, tasks or ["toy"], retry)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("retry", "message"),
    [
        (Retry(truncated=True), "--retry-truncated needs --max-tokens N"),
        (Retry(max_tokens=5), "--max-tokens goes with --retry-truncated"),
        (Retry(errors=True, max_tokens=5), "--max-tokens goes with --retry-truncated"),
    ],
)
def test_options_of_a_retry_that_do_not_fit_are_refused(retry: Retry, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        retry.checked()


def test_the_store_lies_in_the_folder_and_no_other_is_taken() -> None:
    given = with_store("local-chat", {"x": 1}, BASE, Retry(truncated=True, max_tokens=9))
    assert given == {"x": 1, "store": "runs/base/completions.jsonl", "retry_truncated": 9}
    for name in ("store", "retry_truncated"):
        with pytest.raises(ValueError, match=f"{name}= in --model_args: "):
            with_store("local-chat", {name: 1}, BASE, run_folder.NOTHING)


def test_other_models_have_no_store_and_no_retry() -> None:
    assert with_store("hf", {"pretrained": "x"}, BASE, run_folder.NOTHING) == {"pretrained": "x"}
    with pytest.raises(ValueError, match="--retry-errors works with model local-chat only"):
        with_store("hf", {}, BASE, Retry(errors=True))


def test_a_finished_task_is_refused_and_its_failures_have_a_next_step() -> None:
    finished()
    assert "already holds toy" in refusal()
    assert "--retry-errors" not in refusal()
    finished(n_errors=2)
    assert "--retry-errors asks its 2 failed requests again" in refusal()


def test_a_task_whose_requests_all_failed_is_not_done() -> None:
    write(status="failed", tasks={"toy": {"n_samples": 5, "n_errors": 5}})
    previous = check_folder(BASE, {"a": 1}, ["toy"], run_folder.NOTHING)
    assert previous is not None


def test_what_has_not_finished_cannot_be_retried() -> None:
    assert "has not finished toy, so there is nothing to retry" in refusal(Retry(errors=True))
    write(status="running")
    assert "has not finished toy, so there is nothing to retry" in refusal(Retry(errors=True))
    finished()
    assert "has not finished more, so" in refusal(Retry(errors=True), "toy", "more")


def test_a_retry_under_other_settings_is_refused() -> None:
    finished()
    with pytest.raises(ValueError, match="holds a run with a 1, not 2"):
        check_folder(BASE, {"a": 2}, ["toy"], Retry(errors=True))


def test_a_retry_that_was_broken_off_is_named() -> None:
    entry = {"n_samples": 5, "n_errors": 0}
    write(status="running", tasks={"toy": entry}, retrying="--retry-truncated --max-tokens 9")
    assert "goes on with --retry-truncated --max-tokens 9" in refusal()


def test_errors_of_a_task_with_a_larger_limit_are_asked_with_that_limit() -> None:
    larger = {"retried": {"truncated": {"max_tokens": 9}}}
    previous = {"tasks": {"toy": larger, "more": {}}}
    again = Retry(errors=True)
    assert carried_on(previous, ["toy"], again).max_tokens == 9
    assert carried_on(previous, ["more"], again) == again
    assert carried_on(None, ["toy"], again) == again
    tasks = {
        name: {"n_samples": 1, "n_errors": 0, **one} for name, one in previous["tasks"].items()
    }
    write(status="finished", tasks=tasks)
    assert "toy was retried with a larger max_tokens" in refusal(again, "toy", "more")


def test_a_folder_is_held_by_one_process_and_freed_when_that_is_killed() -> None:
    code = (
        "import sys, pathlib; from harness_tasks.run_folder import held\n"
        "with held(pathlib.Path('runs/base')): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPO)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        refused = pytest.raises(ValueError, match="runs/base is in use by another distill-eval run")
        with refused, held(BASE):
            pass
        assert is_locked(BASE / run_folder.LOCK)
        holder.kill()
    with held(BASE):
        pass
    assert not is_locked(BASE / run_folder.LOCK)


def test_a_command_without_a_name_finds_the_run_that_it_began() -> None:
    assert unfinished(ARGV) is None
    write(Path("runs/one"), status="finished")
    write(Path("runs/two"), status="interrupted", created_at="2026-01-01")
    write(Path("runs/three"), status="running", created_at="2026-01-02")
    write(Path("runs/other"), status="interrupted", argv=[*ARGV, "--limit", "5"])
    Path("runs/damaged").mkdir()
    Path("runs/damaged/manifest.json").write_text("{")
    assert unfinished(ARGV) == "three"
    with held(Path("runs/three")):
        assert unfinished(ARGV) == "two"


def test_what_was_being_written_at_a_kill_is_renamed_and_the_rest_stays() -> None:
    model = BASE / "m"
    model.mkdir(parents=True)
    names = [
        f"{kind}_2026-01-0{day}T00-00-00.{end}"
        for day in (1, 2)
        for kind, end in (("results", "json"), ("samples_toy", "jsonl"))
    ]
    for name in names:
        (model / name).touch()
    previous = {"status": "running", "results": [f"m/{names[0]}"]}
    run_folder.put_aside_unfinished(BASE, previous)
    assert sorted(path.name for path in model.iterdir()) == sorted(
        [*names[:2], *(f"{name}.unfinished" for name in names[2:])]
    )


def test_the_command_of_a_run_comes_from_its_manifest() -> None:
    retry = ["--retry-errors", "--retry-truncated", "--max-tokens", "9"]
    write()
    assert run_folder.command_of("base") == ARGV[2:]
    write(argv=[*ARGV, *retry], status="finished", retrying=None)
    assert run_folder.command_of("base") == ARGV[2:]
    write(argv=ARGV, status="running", retrying=" ".join(retry))
    assert run_folder.command_of("base") == [*ARGV[2:], *retry]
    with pytest.raises(ValueError, match="there is no run 'basse' in runs to go on with"):
        run_folder.command_of("basse")
    write(argv=["distill-eval", "run", "--model_args", "token=***"])
    with pytest.raises(ValueError, match="give the whole command again"):
        run_folder.command_of("base")


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        (Retry(errors=True), "no request failed, so there is nothing to ask again"),
        (Retry(truncated=True, max_tokens=900), "no completion was cut off, so there is nothing"),
        (Retry(True, True, 900), "no request failed and no completion was cut off, so there is"),
    ],
)
def test_a_retry_that_would_ask_nothing_is_refused(retry: Retry, said: str) -> None:
    finished(n_truncated=0)
    assert said in refusal(retry)
    finished(n_errors=1, n_truncated=2)
    assert check_folder(BASE, {"a": 1}, ["toy"], retry) is not None


def test_a_second_retry_asks_with_no_smaller_limit_than_the_first() -> None:
    finished(n_truncated=1, retried={"truncated": {"max_tokens": 400, "was": 100}})
    smaller = Retry(truncated=True, max_tokens=399)
    assert "--max-tokens 399 is less than the 400 that the last retry" in refusal(smaller)
    again = Retry(truncated=True, max_tokens=400)
    assert check_folder(BASE, {"a": 1}, ["toy"], again) is not None


def test_a_damaged_manifest_has_a_next_step() -> None:
    finished()
    (BASE / manifest.FILE_NAME).write_text("{")
    assert "move that file away and give the whole command again" in refusal()


def test_a_manifest_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / manifest.FILE_NAME).mkdir()
    with pytest.raises(OSError, match=r"manifest\.json"):
        manifest.write(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == [manifest.FILE_NAME]
