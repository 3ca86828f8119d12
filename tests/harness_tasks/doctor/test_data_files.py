"""The questions of the asked tasks: in a folder, in the hub's cache, on the hub, or nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness_tasks import docs
from harness_tasks.doctor import data_files
from harness_tasks.doctor.finding import Context, Finding
from tests.conftest import REPO, SHARED, needs_shared
from tests.fakes import FakeUpstream, Received, fault, reply_json

BENCHMARKS = SHARED / "data" / "benchmarks"


def found(*tasks: str, data_dir: Path | None = None, **metadata: str) -> list[Finding]:
    folder = str(data_dir) if data_dir else None
    return list(data_files.data_files(Context(tasks=tasks, data_dir=folder, metadata=metadata)))


def in_child(cache: Path, *tasks: str, **environ: str) -> list[dict[str, Any]]:
    """Look for questions in a process whose cache of the hub is a folder of its own."""
    code = (
        "import dataclasses, json, sys\n"
        "from harness_tasks.doctor import data_files\n"
        "from harness_tasks.doctor.finding import Context\n"
        "found = data_files.data_files(Context(tasks=tuple(sys.argv[1:])))\n"
        "print(json.dumps([dataclasses.asdict(finding) for finding in found]))"
    )
    inherited = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    done = subprocess.run(
        [sys.executable, "-c", code, *tasks],
        env={**inherited, "HF_HOME": str(cache), "PYTHONPATH": str(REPO), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def test_without_tasks_there_is_nothing_to_look_for() -> None:
    assert [(f.status, f.broken) for f in found()] == [("skip", False)]


def test_packaged_questions_are_there_whatever_the_folder(tmp_path: Path) -> None:
    (finding,) = found("distill_demo", data_dir=tmp_path)
    assert finding.status == "pass"
    assert "demo (40 questions) of this package" in finding.found


@needs_shared
def test_files_of_a_folder_are_read_and_counted() -> None:
    (finding,) = found("distill_math500", "distill_aime", "distill_gsm8k", data_dir=BENCHMARKS)
    assert finding.status == "pass"
    for part in ("math500 (500", "aime24 (30", "aime25 (30", "gsm8k (1319"):
        assert part in finding.found


@needs_shared
def test_a_changed_question_is_a_failure_and_the_other_files_stand(tmp_path: Path) -> None:
    for name in ("math500.jsonl", "gsm8k_test.jsonl"):
        (tmp_path / name).write_bytes((BENCHMARKS / name).read_bytes())
    text = (tmp_path / "math500.jsonl").read_text(encoding="utf-8")
    (tmp_path / "math500.jsonl").write_text(text.replace("polar", "other", 1), encoding="utf-8")
    bad, good = found("distill_math500", "distill_gsm8k", data_dir=tmp_path)
    assert (bad.status, good.status) == ("fail", "pass")
    assert "differ in text, answer or order" in bad.found
    assert "gsm8k (1319 questions)" in good.found
    own = re.findall(r'"accept_sha256": "(\w+)"', bad.found)[-1]
    (accepted,) = found("distill_math500", data_dir=tmp_path, accept_sha256=own)
    assert accepted.status == "pass"
    assert "the rows that --metadata accepts" in accepted.found


def test_a_folder_without_the_file_says_which_file_it_takes(tmp_path: Path) -> None:
    (finding,) = found("distill_math500", data_dir=tmp_path)
    assert finding.status == "fail"
    assert "math500 takes math500.jsonl" in finding.found


def test_the_folder_of_the_environment_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(docs.DATA_ENV, str(tmp_path / "gone"))
    (finding,) = found("distill_math500")
    assert "does not exist" in finding.found


def test_gigabytes_of_tests_are_found_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "math500.jsonl").write_text("no JSON at all", encoding="utf-8")
    monkeypatch.setattr(data_files, "READ_BYTES", 3)
    (finding,) = found("distill_math500", data_dir=tmp_path)
    assert finding.status == "pass"
    assert "not read here" in finding.found


def test_offline_and_without_a_copy_is_a_failure(tmp_path: Path) -> None:
    (finding,) = in_child(tmp_path, "distill_math500", HF_HUB_OFFLINE="1")
    assert finding["status"] == "fail"
    assert "is not in the hub's cache, and HF_HUB_OFFLINE is set" in finding["found"]
    assert "put math500.jsonl into a folder" in finding["fix"]


def revision(request: Received) -> Any:
    known = "/api/datasets/HuggingFaceH4/MATH-500/revision/" in request.path
    return (lambda _: reply_json({"id": "x"}))(request) if known else fault(401)(request)


def test_a_hub_that_answers_leaves_a_warning_and_one_that_refuses_a_failure(
    tmp_path: Path,
) -> None:
    with FakeUpstream(models=revision) as hub:
        told = in_child(tmp_path, "distill_math500", "distill_gsm8k", HF_ENDPOINT=hub.root)
    by_status = {finding["status"]: finding["found"] for finding in told}
    assert "a run downloads it" in by_status["warn"]
    assert "answers HTTP 401 for it" in by_status["fail"]


def test_no_hub_is_a_failure(tmp_path: Path) -> None:
    with FakeUpstream() as gone:
        pass
    (finding,) = in_child(tmp_path, "distill_math500", HF_ENDPOINT=gone.root)
    assert finding["status"] == "fail"
    assert "cannot be reached" in finding["found"]


def test_large_files_in_the_cache_are_found_by_name(tmp_path: Path) -> None:
    spec = docs.SOURCES["lcb_v5"]
    name = str(spec.hub_id).replace("/", "--")
    snapshot = tmp_path / "hub" / f"datasets--{name}" / "snapshots" / str(spec.revision)
    snapshot.mkdir(parents=True)
    for part in spec.parts[:-1]:
        (snapshot / part).write_text("{}", encoding="utf-8")
    (short,) = in_child(tmp_path, "distill_lcb_v5", HF_HUB_OFFLINE="1")
    (snapshot / spec.parts[-1]).write_text("{}", encoding="utf-8")
    (whole,) = in_child(tmp_path, "distill_lcb_v5", HF_HUB_OFFLINE="1")
    assert (short["status"], whole["status"]) == ("fail", "pass")
