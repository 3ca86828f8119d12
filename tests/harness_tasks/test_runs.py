"""`distill-eval runs`: what the list says of runs in every state, and of folders that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness_tasks import manifest
from harness_tasks.chat.resume import Kept
from harness_tasks.chat.store import Store
from harness_tasks.cli import main
from harness_tasks.run_folder import STORE, held
from tests.harness_tasks.chat.test_resume import ME, job, said
from tests.harness_tasks.chat.test_under_way import asking


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def listed(*argv: str) -> Result:
    return CliRunner().invoke(main, ["runs", *argv])


def as_json(*argv: str) -> list[dict[str, Any]]:
    told = listed(*argv, "--json")
    assert told.exit_code == 0, told.output
    rows: list[dict[str, Any]] = json.loads(told.output)
    return rows


def write(name: str, **more: Any) -> Path:
    folder = Path("runs", name)
    record = manifest.started(name, ["distill-eval", "run", "--tasks", "toy"], {})
    manifest.write(folder, {**record, **more})
    return folder


def entry(n_samples: int, n_errors: int = 0, n_truncated: int = 0) -> dict[str, Any]:
    return {"n_samples": n_samples, "n_errors": n_errors, "n_truncated": n_truncated}


def begun(name: str = "base", **more: Any) -> Path:
    """Leave a run with three answers, one cut off, and a failure, of five requests."""
    folder = write(name, asking=asking(), **more)
    with Store(folder / STORE) as store:
        kept = Kept(store, ME)
        for n in range(2):
            kept.keep(job(n), said())
        kept.keep(job(2), said("cut", "length"))
        kept.fail(job(3), "HTTP 500")
    return folder


def test_a_finished_run_is_counted_from_its_manifest() -> None:
    write(
        "base",
        status="finished",
        tasks={"a": entry(50, 2, 12), "b": entry(10)},
        model={"requested": "m", "served": "org/m", "base_url": "http://h/v1"},
        finished_at="2026-01-31T10:00:00+00:00",
        retried={"errors": {"n_samples": 1}},
    )
    lines = listed().output.splitlines()
    assert lines[0].split() == [
        "run", "status", "tasks", "progress", "errors", "truncated", "model", "when",
    ]  # fmt: skip
    assert lines[1].split() == [
        "base", "finished*", "a,b", "60/60", "2", "20.7", "%", "org/m", "2026-01-31", "10:00",
    ]  # fmt: skip
    assert "asked again" in lines[2]


def test_a_run_whose_process_is_gone_is_killed_and_counted_from_its_store() -> None:
    begun()
    (row,) = as_json()
    assert (row["status"], row["n_done"], row["n_total"]) == ("killed", 4, 5)
    assert (row["n_errors"], row["n_truncated"], row["truncated"]) == (1, 1, 1 / 3)
    assert "to go on where it stopped: distill-eval run --run base" in listed().output


def test_a_run_that_is_held_is_running_and_its_store_can_be_read() -> None:
    folder = begun()
    with held(folder), Store(folder / STORE):
        (row,) = as_json()
    assert (row["status"], row["n_done"]) == ("running", 4)


def test_tasks_that_were_finished_before_are_added() -> None:
    begun(tasks={"other": entry(10, 1, 0)})
    (row,) = as_json()
    assert (row["tasks"], row["n_done"], row["n_total"]) == (["other", "toy"], 14, 15)
    assert row["n_errors"] == 2


def test_a_retry_under_way_is_counted_once() -> None:
    begun(tasks={"toy": entry(5, 0, 1)})
    (row,) = as_json()
    assert (row["n_done"], row["n_total"]) == (4, 5)


def test_a_run_that_has_asked_nothing_shows_no_numbers() -> None:
    write("base", status="interrupted")
    (row,) = as_json()
    assert (row["n_done"], row["truncated"]) == (None, None)
    assert listed().output.splitlines()[1].split()[:6] == ["base", "interrupted", *"----"]


def test_what_failed_says_why_on_one_line() -> None:
    write("base", status="failed", error="all 5 requests failed:\nHTTP 400 \x1b[31mred")
    last = listed().output.splitlines()[-1]
    assert last == "base: all 5 requests failed: HTTP 400 \\x1b[31mred"


@pytest.mark.parametrize(
    "content",
    ["{nonsense", '{"schema": 99}', '{"schema": 1, "run": "x", "tasks": {"a": 5}, "status": 1}'],
)
def test_a_manifest_that_cannot_be_read_does_not_hide_the_others(content: str) -> None:
    write("good", status="finished")
    Path("runs/bad").mkdir()
    Path("runs/bad/manifest.json").write_text(content)
    assert {row["run"]: row["status"] for row in as_json()} == {
        "good": "finished",
        "bad": "unreadable",
    }


def test_folders_of_something_else_are_passed_over() -> None:
    write("good", status="finished")
    Path("runs/adapter").mkdir()
    Path("runs/adapter/manifest.json").write_text('{"schema": 1, "kind": "sft"}')
    assert [row["run"] for row in as_json()] == ["good"]


def test_a_runs_own_folder_and_one_above_may_be_named() -> None:
    write("base", status="finished")
    assert [row["run"] for row in as_json("runs/base")] == ["base"]
    assert [row["run"] for row in as_json(".")] == ["runs/base"]


def test_no_runs_and_no_folder_are_told_apart() -> None:
    missing = listed("nowhere")
    assert (missing.exit_code, missing.output.count("\n")) == (2, 1)
    assert "there is no folder 'nowhere'" in missing.output
    Path("runs").mkdir()
    assert "no runs in runs; `distill-eval run --run NAME" in listed().output
