"""k samples of each question through lm-eval: each asked, graded and counted, none collapsed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table

from harness_tasks import catalogue, manifest
from harness_tasks.catalogue import TASKS_DIR
from harness_tasks.local_chat import LocalChat
from tests.conftest import REPO
from tests.fakes import Answer, FakeUpstream, Received, chat
from tests.harness_tasks.test_tasks import Scripted, evaluate, gold_of

ANSWERS = ("{gold}", "1", "1.0", "{gold}.0")


def manager(*include: Path, **metadata: Any) -> TaskManager:
    paths = [str(TASKS_DIR), *map(str, include)]
    return TaskManager(include_path=paths, include_defaults=False, metadata=metadata)


def answer(prompt: str, n: int) -> str:
    return rf"\boxed{{{ANSWERS[n % 4].format(gold=gold_of(prompt))}}}"


def write_override(folder: Path, **keys: Any) -> Path:
    """Write a user's own YAML over distill_demo."""
    known = catalogue.tasks()["distill_demo"].path
    config = {"include": str(known), "task": "distill_demo", **keys}
    (folder / "mine.yaml").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_metadata_asks_k_samples_and_the_table_has_their_measures() -> None:
    done = evaluate(Scripted(answer), ["distill_demo"], manager(repeats=4), limit=3)
    scores = done["results"]["distill_demo"]
    assert scores["avg@4,none"] == scores["score,none"] == 0.5
    assert scores["pass@4,none"] == 1.0
    assert scores["maj@4,none"] == 0.5  # two right answers and two wrong ones, in two forms each
    assert scores["samples,none"] == 12
    for name in ("avg@4", "pass@4", "maj@4"):
        assert f"|{name} " in make_table(done)
    assert done["configs"]["distill_demo"]["repeats"] == 4
    assert done["higher_is_better"]["distill_demo"]["maj@4"] is True
    for row in done["samples"]["distill_demo"]:
        assert [one["sample_index"] for one in row["samples"]] == [0, 1, 2, 3]
        assert [one["vote"] for one in row["samples"]] == [0, 1, 1, 0]
        assert len(row["resps"][0]) == len(set(row["resps"][0])) == 4
        assert row["metrics"][-1] == "samples"


def test_their_errors_are_over_questions() -> None:
    def by_doc(prompt: str, n: int) -> str:
        return rf"\boxed{{{gold_of(prompt) if len(prompt) % 2 else 'x'}}}"

    done = simple_evaluate(
        Scripted(by_doc), tasks=["distill_demo"], task_manager=manager(repeats=2), limit=8
    )
    assert done is not None
    scores = done["results"]["distill_demo"]
    share = scores["avg@2,none"]
    assert 0 < share < 1
    expected = (share * (1 - share) / 7) ** 0.5
    assert scores["avg@2_stderr,none"] == pytest.approx(expected)
    assert scores["pass@2_stderr,none"] == pytest.approx(expected)


def test_one_sample_has_the_columns_of_old() -> None:
    done = evaluate(Scripted(answer), ["distill_demo"], manager(repeats=1), limit=2)
    assert not [name for name in done["results"]["distill_demo"] if "@" in name]
    assert "vote" not in done["samples"]["distill_demo"][0]["samples"][0]


@pytest.mark.parametrize("name", ["distill_demo_code", "distill_demo_programs"])
def test_programs_have_no_majority(name: str) -> None:
    done = evaluate(Scripted(lambda *_: "I cannot."), [name], manager(repeats=6), limit=1)
    measures = {key for key in done["results"][name] if "@" in key and "stderr" not in key}
    assert measures == {"avg@6,none", "pass@6,none"}


def test_instructions_have_no_majority() -> None:
    task = "distill_demo_instruct"
    done = evaluate(Scripted(lambda *_: "Fine."), [task], manager(repeats=2), limit=1)
    measures = {key for key in done["results"][task] if "@" in key and "stderr" not in key}
    assert measures == {"avg@2,none", "pass@2,none"}


def test_every_task_hears_of_repeats_where_it_loads_its_docs() -> None:
    loaders = {
        catalogue.read_config(info.path)["custom_dataset"]
        for info in catalogue.tasks().values()
        if not info.members
    }
    assert loaders == {"harness_tasks.docs.load", "harness_tasks.coding.lcb_task.load"}


@pytest.mark.parametrize("given", [0, -2, "four", 2.5, True, [2], 1001])
def test_what_is_no_number_of_samples_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="repeats must be a whole number from 1 to 1000, got"):
        manager(repeats=given).load(["distill_demo"])


def test_repeats_of_a_yaml_have_the_measures_too(tmp_path: Path) -> None:
    tasks = manager(write_override(tmp_path, repeats=2))
    scores = evaluate(Scripted(answer), ["distill_demo"], tasks, limit=2)["results"]
    assert scores["distill_demo"]["pass@2,none"] == 1.0


@pytest.mark.parametrize("function", ["take_first", "majority_vote"])
def test_a_filter_that_keeps_one_of_them_is_refused_before_anything_is_asked(
    function: str, tmp_path: Path
) -> None:
    filters = [{"name": "one", "filter": [{"function": function}]}]
    tasks = manager(write_override(tmp_path, filter_list=filters), repeats=4)
    with pytest.raises(ValueError, match=f"asks 4 completions .* its filter {function} keeps"):
        tasks.load(["distill_demo"])


def test_a_filter_that_keeps_fewer_is_refused_and_one_that_keeps_all_is_not(
    tmp_path: Path,
) -> None:
    filters = [{"name": "k", "filter": [{"function": "take_first_k", "k": 4}]}]
    folder = write_override(tmp_path, filter_list=filters)
    done = evaluate(Scripted(answer), ["distill_demo"], manager(folder, repeats=4), limit=1)
    assert done["results"]["distill_demo"]["pass@4,k"] == 1.0
    with pytest.raises(ValueError, match="take_first_k keeps fewer"):
        manager(folder, repeats=5).load(["distill_demo"])


def test_requests_that_lm_eval_cached_for_one_sample_are_not_taken_for_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm_eval.caching.cache.PATH", str(tmp_path))
    for k in (1, 4):
        lm = Scripted(answer)
        done = evaluate(lm, ["distill_demo"], manager(repeats=k), limit=2, cache_requests=True)
        assert len(lm.prompts) == 2 * k
        assert [len(row["samples"]) for row in done["samples"]["distill_demo"]] == [k, k]
    assert not list(tmp_path.iterdir())


def test_a_cache_of_answers_is_refused_for_several_samples(tmp_path: Path) -> None:
    more = {"limit": 1, "use_cache": str(tmp_path / "answers")}
    with pytest.raises(ValueError, match="--use_cache would answer them all with one"):
        evaluate(Scripted(answer), ["distill_demo"], manager(repeats=2), **more)
    assert evaluate(Scripted(answer), ["distill_demo"], manager(), **more)


RUN_CLI = """
import harness_tasks.plugin
harness_tasks.plugin.autoload()
from lm_eval.__main__ import cli_evaluate
cli_evaluate()
"""


def by_seed(request: Received) -> Answer:
    """Answer with the seed, so that two samples of one seed would be one text."""
    seed = request.body["seed"]
    return chat(rf"\boxed{{{seed}}}", reasoning=f"{seed}")(request)


@pytest.mark.slow
def test_plain_lm_eval_sends_k_seeds_and_keeps_k_rows(tmp_path: Path) -> None:
    with FakeUpstream(by_seed) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-c", RUN_CLI, "run", "--model", "local-chat"),
                *("--tasks", "distill_demo", "--limit", "3", "--metadata", '{"repeats": 5}'),
                *("--model_args", f"base_url={server.url},model=fake,preset=thesis"),
                *("--output_path", "out", "--log_samples"),
            ],
            capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False,
            env={**os.environ, "PYTHONPATH": str(REPO), "DISTILL_EVAL_NO_AUTOLOAD": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seeds = [request.body["seed"] for request in server.requests]
    assert len(seeds) == len(set(seeds)) == 15
    assert "|avg@5 " in done.stdout
    assert "|maj@5 " in done.stdout
    (path,) = (tmp_path / "out").rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [len(row["samples"]) for row in rows] == [5, 5, 5]
    assert len({text for row in rows for text in row["resps"][0]}) == 15


@pytest.mark.slow
def test_a_run_of_k_samples_is_read_whole_by_the_analysis(tmp_path: Path) -> None:
    with FakeUpstream(by_seed) as server:
        for name in ("base", "student"):
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "harness_tasks", "run", "--run", name),
                    *("--tasks", "distill_demo", "--limit", "3", "--repeats", "4"),
                    *("--preset", "qwq", "--model_args", f"base_url={server.url},model=fake"),
                ],
                capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False,
                env={**os.environ, "PYTHONPATH": str(REPO)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        assert len({request.body["seed"] for request in server.requests}) == 12
    record = manifest.read(tmp_path / "runs" / "base")
    assert record is not None
    assert record["tasks"]["distill_demo"]["repeats"] == 4
    assert record["base_seed"] == 1234
    assert record["tasks"]["distill_demo"]["sampling"] == {
        "temperature": 0.6, "top_p": 0.95, "top_k": 40, "max_tokens": 32768,
    }  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-m", "analysis", "repeats", "runs/base", "runs/student", "--json", "-"],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    for measure in ("avg@4", "pass@4", "maj@4"):
        assert measure in told.stdout


def test_a_question_has_its_seed_and_id_also_where_samples_chose_it(tmp_path: Path) -> None:
    sent: dict[str, dict[str, int]] = {}
    chosen: dict[str, dict[str, Any]] = {
        "all": {"limit": 8},
        "some": {"samples": {"distill_demo": [2, 7]}},
    }
    for name, which in chosen.items():
        with FakeUpstream(by_seed) as server:
            args = {"base_url": server.url, "model": "fake", "run": "r", "temperature": 1.0}
            done = simple_evaluate(
                LocalChat(**args), tasks=["distill_demo"], task_manager=manager(repeats=2), **which
            )
            sent[name] = {r.headers["x-request-id"]: r.body["seed"] for r in server.requests}
    assert sorted(sent["some"]) == [f"r/distill_demo/{doc}/{i}" for doc in (2, 7) for i in (0, 1)]
    assert sent["some"].items() <= sent["all"].items()
    assert done is not None
    for row in done["samples"]["distill_demo"]:
        ids = [one["request_id"] for one in row["samples"]]
        assert ids == [f"r/distill_demo/{row['doc_id']}/{i}" for i in (0, 1)]
