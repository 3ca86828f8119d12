"""The tasks of LiveCodeBench as lm-eval runs them, from the prompt to the table and samples."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table

from harness_tasks import catalogue, docs
from harness_tasks.catalogue import TASKS_DIR
from harness_tasks.coding import lcb_results
from harness_tasks.coding.lcb_docs import FILES, PARTS
from harness_tasks.coding.lcb_prompt import prompt
from harness_tasks.records import read_jsonl, write_jsonl
from tests.conftest import SHARED, needs_shared
from tests.harness_tasks.test_tasks import Scripted

BENCHMARKS = SHARED / "data" / "benchmarks"
COMMON = (
    "score_completed", "truncated", "no_answer", "grader_error",
    "has_reasoning", "reasoning_chars", "answer_chars",
)  # fmt: skip
GROUPS = tuple(
    f"score_{name}" for name in ("easy", "medium", "hard", "leetcode", "atcoder", "codeforces")
)
TASKS = {
    "distill_lcb": ("lcb_v6", 1055),
    "distill_lcb_v5": ("lcb_v5", 880),
    "distill_lcb_v6": ("lcb_v6", 1055),
    "distill_lcb_v5_public": ("lcb_v5_public", 880),
    "distill_lcb_v6_public": ("lcb_v6_public", 1055),
}
# Right for 1873_A, the first problem of the release; wrong for the others.
RIGHT = "```python\nfor _ in range(int(input())):\n    s = input()\n    print(%s)\n```"
SWAPS = RIGHT % "'NO' if s in ('bca', 'cab') else 'YES'"

pytestmark = needs_shared


@pytest.fixture
def shared_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(docs.DATA_ENV, str(BENCHMARKS))


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in the official form; the private tests repeat the public ones."""
    folder = tmp_path_factory.mktemp("official")
    rows = list(read_jsonl(BENCHMARKS / "livecodebench_v6_public.jsonl.gz"))
    for part, name in zip(PARTS, FILES, strict=True):
        write_jsonl(
            folder / name,
            (
                {**row, "private_test_cases": row["public_test_cases"]}
                for row in rows
                if row["release_part"] == part
            ),
        )
    return folder


def manager(*include: Path, **metadata: Any) -> TaskManager:
    paths = [str(TASKS_DIR), *map(str, include)]
    return TaskManager(include_path=paths, include_defaults=False, metadata=metadata)


def evaluate(lm: LM, task: str, tasks: TaskManager, **more: Any) -> dict[str, Any]:
    done: dict[str, Any] = simple_evaluate(
        lm, tasks=[task], task_manager=tasks, bootstrap_iters=0, **more
    )
    return done


@pytest.mark.parametrize("name", TASKS)
def test_every_task_asks_its_problems_with_the_official_prompt(name: str, official: Path) -> None:
    source, n_docs = TASKS[name]
    task = manager(data_dir=str(official)).load([name])["tasks"][name]
    assert len(task.eval_docs) == n_docs == catalogue.tasks()[name].n_docs
    for doc in task.eval_docs:
        assert task.doc_to_text(doc) == prompt(doc)
        assert doc["source"] == source
    assert task.config.num_fewshot == 0
    assert task.config.gen_prefix is None
    assert task.config.description == ""
    assert task.config.generation_kwargs == {"until": []}
    public = name.endswith("_public")
    own = () if public else ("pass_at_1",)
    assert tuple(task.aggregation()) == ("score", *own, *COMMON, *GROUPS, "samples")
    assert catalogue.tasks()[name].metric == "score"


def test_the_table_names_release_window_and_n(official: Path, tmp_path: Path) -> None:
    known = catalogue.tasks()["distill_lcb_v5"].path
    text = f"include: {json.dumps(str(known))}\ntask: distill_lcb_v5\nrepeats: 3\n"
    (tmp_path / "distill_lcb_v5.yaml").write_text(text, encoding="utf-8")
    tasks = manager(tmp_path, data_dir=str(official), lcb_start="2023-08-21", lcb_end="2023-08-21")
    lm = Scripted(lambda _, n: SWAPS if n == 1 else "no code")
    done = evaluate(lm, "distill_lcb_v5", tasks, limit=1)
    name = "distill_lcb_v5 (release v5, 2023-08-21..2023-08-21, n=3)"
    assert done["results"]["distill_lcb_v5"]["alias"] == name
    assert name in make_table(done)
    assert done["configs"]["distill_lcb_v5"]["task_alias"] == name
    scores = done["results"]["distill_lcb_v5"]
    assert scores["score,none"] == scores["pass_at_1,none"] == pytest.approx(1 / 3)
    assert scores["score_easy,none"] == scores["score_codeforces,none"] == pytest.approx(1 / 3)
    assert scores["score_hard,none"] != scores["score_hard,none"]  # undefined is NaN
    (row,) = done["samples"]["distill_lcb_v5"]
    assert [sample["verdict"] for sample in row["samples"]] == ["no_answer", "correct", "no_answer"]
    assert row["doc"]["id"] == "1873_A"


def test_six_samples_have_the_published_pass_at_5(official: Path) -> None:
    day = {"lcb_start": "2023-08-21", "lcb_end": "2023-08-21"}
    lm = Scripted(lambda _, n: SWAPS if n == 1 else "no code")
    tasks = manager(data_dir=str(official), repeats=6, **day)
    scores = evaluate(lm, "distill_lcb_v5", tasks, limit=1)["results"]["distill_lcb_v5"]
    assert scores["alias"].endswith("n=6)")
    assert scores["pass@5,none"] == pytest.approx(5 / 6)
    assert scores["pass@6,none"] == 1.0
    assert scores["avg@6,none"] == scores["pass_at_1,none"] == pytest.approx(1 / 6)
    assert "maj@6,none" not in scores


@pytest.mark.usefixtures("shared_data")
def test_public_tests_are_loudly_named_and_no_pass_at_1(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("harness_tasks").propagate = True
    done = evaluate(Scripted(lambda *_: SWAPS), "distill_lcb_v6_public", manager(), limit=2)
    scores = done["results"]["distill_lcb_v6_public"]
    name = (
        "distill_lcb_v6_public (PUBLIC TESTS ONLY, not LiveCodeBench; release v6, all dates, n=1)"
    )
    assert scores["alias"] == name
    assert not any(key.startswith("pass") for key in scores)
    assert any("must not be reported" in record.message for record in caplog.records)
    assert scores["score,none"] == scores["score_easy,none"] == 0.5


@pytest.mark.usefixtures("shared_data")
def test_a_sample_tells_what_failed() -> None:
    done = evaluate(Scripted(lambda *_: SWAPS), "distill_lcb_v6_public", manager(), limit=2)
    right, wrong = (row["samples"][0] for row in done["samples"]["distill_lcb_v6_public"])
    assert right["details"] == {
        "n_tests": 1, "n_passed": 1, "first_failure": None,
        "difficulty": "easy", "platform": "codeforces",
    }  # fmt: skip
    assert right["answer"].startswith("for _ in range")
    assert (wrong["verdict"], wrong["details"]["n_passed"]) == ("incorrect", 0)
    assert wrong["details"]["first_failure"]["test"] == 1
    assert wrong["reason"].startswith("test 1 of 1: ")


@pytest.mark.usefixtures("shared_data")
def test_a_problem_without_tests_is_a_grader_error_and_flags_reach_the_details() -> None:
    rows = docs.load_rows("lcb_v6_public", str(BENCHMARKS))[0]
    ids = [row["id"] for row in rows]
    chosen = [ids.index("abc311_c"), ids.index("abc350_c")]
    lm = Scripted(lambda *_: "```python\nprint(1)\n```")
    done = evaluate(
        lm, "distill_lcb_v6_public", manager(), samples={"distill_lcb_v6_public": chosen}
    )
    first, second = (row["samples"][0] for row in done["samples"]["distill_lcb_v6_public"])
    assert first["details"]["multiple_answers"] is True
    assert second["verdict"] == "grader_error"
    assert "abc350_c has no tests here" in second["reason"]
    assert done["results"]["distill_lcb_v6_public"]["grader_error,none"] == 0.5


@pytest.mark.usefixtures("shared_data")
def test_answers_are_graded_once_and_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    graded = []
    grade = lcb_results.grade
    monkeypatch.setattr(lcb_results.AHEAD, "known", {})
    monkeypatch.setattr(
        lcb_results, "grade", lambda doc, text: graded.append(doc["id"]) or grade(doc, text)
    )
    evaluate(Scripted(lambda *_: SWAPS), "distill_lcb_v6_public", manager(), limit=3)
    assert len(graded) == len(set(graded)) == 3


@pytest.mark.usefixtures("shared_data")
def test_code_in_the_reasoning_is_not_graded_and_a_cut_off_answer_is_truncated() -> None:
    answers = [f"<think>{SWAPS}</think>no", f"<think>r</think>{SWAPS[:-3]}", f"<think>{SWAPS}"]
    for answer, verdict in zip(answers, ["no_answer", "no_answer", "truncated"], strict=True):
        done = evaluate(
            Scripted(lambda *_, text=answer: text), "distill_lcb_v6_public", manager(), limit=1
        )
        (row,) = done["samples"]["distill_lcb_v6_public"]
        assert row["samples"][0]["verdict"] == verdict
        assert ("details" in row["samples"][0]) is (verdict != "truncated")


@pytest.mark.usefixtures("shared_data")
def test_a_wrong_window_ends_before_the_model_is_asked() -> None:
    with pytest.raises(ValueError, match="lcb_start is 2024, expected a month"):
        manager(lcb_start=2024).load(["distill_lcb_v6_public"])
    with pytest.raises(ValueError, match="no problem in the window 2030-01"):
        manager(lcb_start="2030-01").load(["distill_lcb_v6_public"])
