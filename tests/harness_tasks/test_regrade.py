"""`distill-eval grade`: nothing changes where nothing did, and what changed is shown exactly."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness_tasks import docs, manifest, regrade, results, samples_files
from harness_tasks.cli import main
from harness_tasks.completion import Completion
from harness_tasks.records import read_jsonl, write_jsonl
from harness_tasks.results import Metrics
from tests.conftest import REPO, SHARED, needs_shared
from tests.harness_tasks.test_rebuild import HARD
from tests.harness_tasks.test_results import SHAPES

TIME = "2026-11-21T10-00-00.000000"
RECORDED = REPO / "tests" / "recorded_demo"
PUBLISHED = SHARED / "data" / "outputs" / "lm_eval_samples"
COMPLETIONS = [*(shape[0] for shape in SHAPES), *HARD]


def row(doc_id: int, doc: dict[str, Any], completions: list[Any]) -> dict[str, Any]:
    """Return a row as lm-eval writes it of these completions."""
    metrics = results.math(doc, [completions])
    return written_row(doc_id, doc, completions, metrics)


def written_row(
    doc_id: int, doc: dict[str, Any], completions: list[Any], metrics: Metrics
) -> dict[str, Any]:
    texts = [str(one) for one in completions]
    told = {"doc_id": doc_id, "doc": doc, "target": doc.get("answer", ""), "arguments": {}}
    told |= {"resps": [texts], "filtered_resps": [texts], "filter": "none"}
    return {**told, "metrics": list(metrics), **metrics}


def demo_rows() -> list[dict[str, Any]]:
    """Return rows of the demo: every shape of a completion, two samples a doc."""
    known = docs.load_rows("demo")[0]
    pairs = [COMPLETIONS[i : i + 2] for i in range(0, len(COMPLETIONS) - 1, 2)]
    asked = [{**doc, "answer": "42"} for doc in known[: len(pairs)]]
    return [row(i, doc, pair) for i, (doc, pair) in enumerate(zip(asked, pairs, strict=True))]


def write_run(folder: Path, rows: list[dict[str, Any]], task: str = "distill_demo") -> Path:
    """Write a run's folder as lm-eval does, with a manifest, and return its samples file."""
    model = folder / "model"
    model.mkdir(parents=True)
    path = model / f"samples_{task}_{TIME}.jsonl"
    write_jsonl(path, rows)
    told = {"results": {task: {"name": task, "score,none": 0.0}}, "versions": {task: 0.9}}
    told |= {"configs": {task: {"process_results": "old", "repeats": 2}}, "config": {"model": "m"}}
    (model / f"results_{TIME}.json").write_text(json.dumps(told))
    record = manifest.started(folder.name, [], {})
    record["tasks"] = {task: {"version": 0.9, "n_docs": len(rows)}, "distill_gsm8k": {}}
    manifest.write(folder, record)
    return path


def grade(*argv: str | Path) -> Result:
    return CliRunner().invoke(main, ["grade", *map(str, argv)])


def told(*argv: str | Path) -> dict[str, Any]:
    done = grade(*argv, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def edited(rows: list[dict[str, Any]], doc_id: int, **fields: Any) -> list[dict[str, Any]]:
    """Return the rows with fields of the doc's first record changed."""
    changed = json.loads(json.dumps(rows))
    changed[doc_id]["samples"][0] |= fields
    return list(changed)


def test_regrading_an_unchanged_run_changes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "base", demo_rows())
    (file,) = told(tmp_path / "base")["files"]
    assert (file["changed"], file["changes"]) == (0, [])
    assert file["score_before"] == file["score_after"]
    assert file["samples"] == 2 * file["n"]
    assert all(sides["before"] == sides["after"] for sides in file["verdicts"].values())


def test_a_failed_request_stays_a_grader_error_with_its_reason(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", demo_rows())
    grade(path, "--output", tmp_path / "out")
    copied = (tmp_path / "out" / "model" / path.name).read_text(encoding="utf-8")
    assert copied == path.read_text(encoding="utf-8")
    assert "request failed: HTTP 500 after 3 tries" in copied


def test_an_edited_verdict_is_the_one_change_that_is_shown(tmp_path: Path) -> None:
    rows = demo_rows()
    before = rows[0]["samples"][0]
    assert before["verdict"] == "correct"
    path = write_run(tmp_path / "base", edited(rows, 0, verdict="incorrect", answer="41"))
    done = grade(path)
    shown = done.stdout.splitlines()
    assert shown[0].split() == [
        "task",
        "docs",
        "samples",
        "before",
        "%",
        "after",
        "%",
        "changed",
        "file",
    ]
    assert shown[1].split()[5] == "1"
    assert "incorrect -> correct" in shown[-1]
    assert "41 -> 42" in shown[-1]
    assert "demo/01" in shown[-1]
    (change,) = told(path)["files"][0]["changes"]
    assert (change["doc_id"], change["sample_index"], change["id"]) == (0, 0, "demo/01")
    assert (change["before"]["verdict"], change["after"]["verdict"]) == ("incorrect", "correct")


def test_changes_are_capped_with_a_note(tmp_path: Path) -> None:
    rows = demo_rows()
    for doc_id in range(5):
        rows = edited(rows, doc_id, answer="another")
    path = write_run(tmp_path / "base", rows)
    assert "... and 3 more (--show N, or --json)" in grade(path, "--show", "2").stdout
    assert "more" not in grade(path, "--show", "5").stdout
    assert grade(path, "--show", "0").stdout.count("\n") == 2


def test_records_without_details_are_read_and_are_no_change(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", demo_rows())
    assert "details" not in path.read_text(encoding="utf-8")
    assert told(path)["files"][0]["changed"] == 0


def test_details_that_changed_are_a_change(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", edited(demo_rows(), 3, details={"base": "pass"}))
    (change,) = told(path)["files"][0]["changes"]
    assert change["doc_id"] == 3


def test_rows_without_verdicts_are_graded_for_the_first_time(tmp_path: Path) -> None:
    """As `--predict_only` leaves them."""
    rows = [
        {key: value for key, value in one.items() if key not in (*one["metrics"], "metrics")}
        for one in demo_rows()
    ]
    path = write_run(tmp_path / "base", rows)
    (file,) = told(path)["files"]
    assert file["score_before"] is None
    assert file["score_after"] is not None
    assert grade(path).stdout.splitlines()[1].split()[3:6:2] == ["-", "-"]


def test_a_gzip_file_is_read_and_its_copy_written(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", demo_rows())
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert grade(packed, "--output", tmp_path / "out").exit_code == 0
    copy = tmp_path / "out" / "model" / packed.name
    assert gzip.decompress(copy.read_bytes()) == gzip.decompress(packed.read_bytes())


def test_without_output_nothing_is_written(tmp_path: Path) -> None:
    write_run(tmp_path / "base", demo_rows())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert grade(tmp_path / "base", "--breakdown").exit_code == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_copy_tells_the_new_figures_versions_and_origin(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", edited(demo_rows(), 0, verdict="incorrect"))
    done = grade(tmp_path / "base", "--output", tmp_path / "out")
    assert f"wrote {tmp_path / 'out' / 'model' / path.name}" in done.stdout
    copied = json.loads((tmp_path / "out" / "model" / f"results_{TIME}.json").read_text())
    assert copied["versions"] == {"distill_demo": 1.0}
    assert copied["results"]["distill_demo"]["sample_len"] == len(demo_rows())
    assert copied["results"]["distill_demo"]["samples,none"] == 2 * len(demo_rows())
    assert 0 < copied["results"]["distill_demo"]["maj@2,none"] < 1
    assert 0 < copied["results"]["distill_demo"]["pass@2_stderr,none"] < 1
    assert copied["configs"]["distill_demo"]["repeats"] == 2
    assert copied["configs"]["distill_demo"]["process_results"].startswith("def math(")
    assert copied["regraded"]["from"] == [str(path.resolve())]
    record = manifest.read(tmp_path / "out")
    assert record is not None
    assert record["status"] == "regraded"
    assert record["tasks"] == {"distill_demo": {"version": 1.0, "n_docs": len(demo_rows())}}


def test_the_figures_of_a_copy_are_those_of_lm_eval(tmp_path: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from harness_tasks.catalogue import TASKS_DIR
    from tests.harness_tasks.test_tasks import Scripted

    lm = Scripted(
        lambda prompt, _: rf"\boxed{{{len(prompt) % 7}}}" if len(prompt) % 5 else "<think>"
    )
    manager = TaskManager(include_path=str(TASKS_DIR), include_defaults=False)
    done = simple_evaluate(lm, tasks=["distill_demo"], task_manager=manager, bootstrap_iters=99)
    path = write_run(tmp_path / "base", done["samples"]["distill_demo"])
    grade(path, "--output", tmp_path / "out")
    copied = json.loads((tmp_path / "out" / "model" / f"results_{TIME}.json").read_text())
    ours, theirs = copied["results"]["distill_demo"], done["results"]["distill_demo"]
    for name, value in theirs.items():
        if name.endswith(",none"):
            assert ours[name] == (pytest.approx(value) if value != "N/A" else value), name


def test_two_runs_are_copied_side_by_side(tmp_path: Path) -> None:
    for name in ("base", "student"):
        write_run(tmp_path / name, demo_rows())
    assert (
        grade(tmp_path / "base", tmp_path / "student", "--output", tmp_path / "out").exit_code == 0
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["base", "student"]


def test_a_regraded_run_can_be_compared_with_another(tmp_path: Path) -> None:
    for name in ("base", "student"):
        write_run(tmp_path / name, demo_rows())
        grade(tmp_path / name, "--output", tmp_path / "out" / name)
    report = [sys.executable, "-m", "analysis", "compare", "out/base", "out/student"]
    done = subprocess.run(
        report, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "distill_demo" in done.stdout


def test_of_reruns_the_newest_is_graded(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", demo_rows())
    older = path.with_name(path.name.replace("2026", "2025"))
    older.write_bytes(path.read_bytes())
    found = told(tmp_path / "base")
    assert [file["path"] for file in found["files"]] == [str(path)]
    assert found["notes"] == [f"left out: {older} is older than {path.name}"]


def test_many_rows_are_graded_in_processes_and_stay_in_order(tmp_path: Path) -> None:
    known = docs.load_rows("demo")[0]
    rows = [row(i, known[i % 40], [rf"\boxed{{{i % 50}}}"]) for i in range(400)]
    path = write_run(tmp_path / "base", edited(rows, 333, answer="another"))
    done = subprocess.run(
        [sys.executable, "-m", "harness_tasks", "grade", str(path), "--output", "out", "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (change,) = json.loads(done.stdout)["files"][0]["changes"]
    assert change["doc_id"] == 333
    copy = tmp_path / "out" / "model" / path.name
    assert [json.loads(line)["doc_id"] for line in copy.read_text().splitlines()] == list(
        range(400)
    )


def test_scores_by_subject_and_level(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", demo_rows())
    shown = grade(path, "--breakdown").stdout
    assert "subject  Arithmetic" in shown
    assert "level    1" in shown
    by = {(one["by"], one["value"]) for one in told(path)["files"][0]["breakdown"]}
    assert ("subject", "Arithmetic") in by


def demo_run(folder: Path, task: str, arm: str = "student") -> Path:
    """Write a run of the demo's recorded answers to one task, and return its samples file."""
    grader = regrade.grader_of(task)
    known = {answer["question"]: answer for answer in read_jsonl(RECORDED / f"{arm}.jsonl")}
    process = regrade.resolved(grader.process)
    rows = []
    for doc_id, doc in enumerate(docs.take(grader.source, None)):
        answer = known[doc["question"].strip()]
        fields = {key: answer[key] for key in ("content", "reasoning", "finish_reason")}
        completions = [Completion(**fields)]
        rows.append(written_row(doc_id, doc, completions, process(doc, [completions])))
    return write_run(folder, rows, task)


CODE_AND_INSTRUCTIONS = ("distill_demo_code", "distill_demo_programs", "distill_demo_instruct")


@pytest.mark.parametrize("task", CODE_AND_INSTRUCTIONS)
@pytest.mark.parametrize("arm", ["base", "student"])
def test_code_and_instructions_regrade_to_the_same(task: str, arm: str, tmp_path: Path) -> None:
    path = demo_run(tmp_path / arm, task, arm)
    assert grade(path, "--output", tmp_path / "out").exit_code == 0
    copy = tmp_path / "out" / "model" / path.name
    assert copy.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


def test_instructions_are_broken_down_by_category_and_id(tmp_path: Path) -> None:
    path = demo_run(tmp_path / "base", "distill_demo_instruct", "base")
    (file,) = told(path)["files"]
    scores = {(one["by"], one["value"]): one for one in file["breakdown"]}
    json_format = "detectable_format:json_format"
    assert scores["instruction", json_format]["score_after"] == 0.0
    assert scores["instruction, loose", json_format]["score_after"] == 1.0
    assert scores["category", "detectable_format"]["n"] == 3
    assert scores["category", "detectable_format"]["score_before"] == pytest.approx(2 / 3)


def test_a_flag_of_one_instruction_that_changed_is_shown(tmp_path: Path) -> None:
    path = demo_run(tmp_path / "base", "distill_demo_instruct", "base")
    rows = list(read_jsonl(path))
    rows[1]["samples"][0]["details"]["instructions"][0]["loose"] = False
    write_jsonl(path, rows)
    (file,) = told(path)["files"]
    assert [change["id"] for change in file["changes"]] == ["demo/instruct-02"]
    changed = [(one["by"], one["value"]) for one in file["breakdown"] if one["changed"]]
    assert changed == [
        ("category, loose", "detectable_format"),
        ("instruction, loose", "detectable_format:json_format"),
    ]
    assert "details changed" in grade(path).stdout or "not followed" in grade(path).stdout


def test_code_is_broken_down_by_difficulty_and_platform(tmp_path: Path) -> None:
    path = demo_run(tmp_path / "base", "distill_demo_programs", "base")
    scores = {
        (one["by"], one["value"]): one["score_after"] for one in told(path)["files"][0]["breakdown"]
    }
    assert scores == {
        ("difficulty", "easy"): 0.5, ("difficulty", "medium"): 0.5, ("platform", "demo"): 0.5,
    }  # fmt: skip


def test_another_question_under_the_same_id_is_refused(tmp_path: Path) -> None:
    path = demo_run(tmp_path / "base", "distill_demo_programs")
    rows = list(read_jsonl(path))
    rows[2]["doc"]["question"] += " Mind the gap."
    write_jsonl(path, rows)
    done = grade(path)
    assert done.exit_code == 2
    assert (
        "row 3 (doc 2): question of demo/program-03 differs from the demo_programs" in done.stderr
    )


def test_an_unknown_question_is_refused(tmp_path: Path) -> None:
    path = demo_run(tmp_path / "base", "distill_demo_programs")
    path.write_text(path.read_text().replace("demo/program-01", "demo/program-99"))
    done = grade(path)
    assert done.exit_code == 2
    assert "id 'demo/program-99' is not in the demo_programs data" in done.stderr


def test_other_tests_than_those_of_the_run_are_refused(tmp_path: Path) -> None:
    path = demo_run(tmp_path / "base", "distill_demo_programs")
    record = manifest.read(tmp_path / "base")
    assert record is not None
    task = {"dataset": {"sha256": "0" * 64, "selection": None}}
    manifest.write(tmp_path / "base", {**record, "tasks": {"distill_demo_programs": task}})
    done = grade(path)
    assert done.exit_code == 2
    assert "the run's demo_programs rows have sha256 000" in done.stderr
    assert "those loaded from package" in done.stderr


@needs_shared
def test_a_window_is_held_to_the_rows_and_tests_of_the_run(tmp_path: Path) -> None:
    data, source = str(SHARED / "data" / "benchmarks"), "lcb_v6_public"
    task = f"distill_{source}"
    run = asdict(docs.load_rows(source, data, metadata={"lcb_start": "2025-01"})[1])
    path = write_run(tmp_path / "base", [], task)
    record = manifest.read(tmp_path / "base")
    assert record is not None

    def load(dataset: dict[str, Any]) -> None:
        manifest.write(tmp_path / "base", {**record, "tasks": {task: {"dataset": dataset}}})
        regrade.load_data(samples_files.described(path), source, data)

    load(run)
    with pytest.raises(ValueError, match="and tests 000, those loaded from"):
        load({**run, "selection": {**run["selection"], "tests_sha256": "000"}})


def test_data_that_is_missing_is_one_line_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / f"samples_distill_humanevalplus_{TIME}.jsonl"
    path.write_text(json.dumps({**GOOD, "doc": {"id": "HumanEval/0"}}) + "\n")
    docs.WHOLE.pop("humanevalplus", None)
    done = grade(path, "--data-dir", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "nowhere' does not exist; humanevalplus takes" in done.stderr
    assert done.stderr.count("\n") == 1


GOOD = {"doc_id": 0, "doc": {"id": "a", "answer": "1"}, "resps": [["x"]]}
RECORD = {
    "schema": 1, "sample_index": 0, "verdict": "correct", "answer": None, "truncated": False,
    "state": "none", "finish_reason": None, "reasoning_chars": 0, "answer_chars": 1,
}  # fmt: skip
BAD = [
    ("{", "not valid JSON"),
    ("[]", "expected a JSON object, got list"),
    ("{}", "lacks 'doc_id'"),
    (json.dumps({**GOOD, "doc": 3}), "doc must be a JSON object, got int"),
    (json.dumps({**GOOD, "resps": [[[-1.5, False]]]}), "resps must be [[text, ...]]"),
    (json.dumps({**GOOD, "doc": {"id": "a"}}), "its doc cannot be graded (KeyError: 'answer')"),
    (json.dumps({**GOOD, "samples": [{}]}), "sample record has schema None"),
    (json.dumps({**GOOD, "samples": [RECORD, RECORD]}), "2 records for 1 completions"),
    (json.dumps({**GOOD, "samples": [{**RECORD, "reason": 3}]}), "reason must be text or null"),
    ("", "no rows"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[message for _, message in BAD])
def test_a_damaged_file_is_one_line_and_exit_2(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / f"samples_distill_demo_{TIME}.jsonl"
    path.write_text(line + "\n")
    done = grade(path)
    assert done.exit_code == 2
    assert message in done.stderr
    assert str(path) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_gzip_is_one_line_and_exit_2(tmp_path: Path) -> None:
    path = tmp_path / f"samples_distill_demo_{TIME}.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode() + b"\n")[:-12])
    done = grade(path)
    assert done.exit_code == 2
    assert "damaged gzip" in done.stderr


def test_a_damaged_file_is_found_before_any_is_graded(tmp_path: Path) -> None:
    write_run(tmp_path / "base", demo_rows())
    bad = write_run(tmp_path / "student", demo_rows())
    bad.write_text(bad.read_text() + "{")
    done = grade(tmp_path / "base", tmp_path / "student", "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["nowhere", "empty", "base/notes.txt"])
def test_what_is_no_samples_file_is_one_line_and_exit_2(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "base", demo_rows())
    (tmp_path / "base" / "notes.txt").touch()
    done = grade(tmp_path / name)
    assert done.exit_code == 2
    assert "expected samples_<task>_<time>.jsonl[.gz]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_files_of_other_tasks_are_left_out_with_one_line_each(tmp_path: Path) -> None:
    path = write_run(tmp_path / "base", demo_rows())
    other = path.with_name(f"samples_gsm8k_{TIME}.jsonl")
    other.write_text("{}\n")
    found = told(tmp_path / "base")
    assert [file["task"] for file in found["files"]] == ["distill_demo"]
    assert found["notes"] == [
        f"left out: {other}: task 'gsm8k' is none of distill-eval, so there is no grader of ours "
        "for it; `distill-eval tasks` lists those that can be regraded"
    ]


@needs_shared
def test_published_samples_of_lm_evals_own_tasks_get_the_clear_line() -> None:
    for folder in PUBLISHED.iterdir():
        done = grade(folder)
        assert done.exit_code == 2
        assert "is none of distill-eval" in done.stderr
        assert done.stderr.count("\n") == 1


def test_output_never_overwrites_and_never_joins_a_run(tmp_path: Path) -> None:
    write_run(tmp_path / "base", demo_rows())
    inside = grade(tmp_path / "base", "--output", tmp_path / "base" / "again")
    assert inside.exit_code == 2
    assert "name a folder outside" in inside.stderr
    assert grade(tmp_path / "base", "--output", tmp_path / "out").exit_code == 0
    again = grade(tmp_path / "base", "--output", tmp_path / "out")
    assert again.exit_code == 2
    assert "exists; name another folder with --output" in again.stderr


def test_a_lone_file_may_be_copied_below_its_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "base", demo_rows())
    path = tmp_path / run.name
    path.write_bytes(run.read_bytes())
    assert grade(path, "--output", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again" / path.name).is_file()
    assert json.loads((tmp_path / "again" / f"results_{TIME}.json").read_text())["results"]


def test_two_runs_of_one_name_are_not_made_one(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_run(tmp_path / folder / "base", demo_rows())
    done = grade(tmp_path / "a/base", tmp_path / "b/base", "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert "two runs named 'base'" in done.stderr


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    known = docs.load_rows("demo")[0]
    one = row(0, known[0], [r"\boxed{1}"])
    path = write_run(tmp_path / "base", [{**one, "doc_id": i} for i in range(60_000)])
    process = subprocess.Popen(
        [sys.executable, "-m", "harness_tasks", "grade", str(path), "--output", "out"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)},
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    with process:
        while not list((tmp_path).glob("out/model/.samples*")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted: nothing was changed"
    assert "Traceback" not in said
    assert not list((tmp_path / "out").rglob("*.jsonl"))
