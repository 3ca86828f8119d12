"""A run beside published scores: the shipped file and one of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.series.published import read_published
from tests.analysis.series.making import invoke, run_of, write_csv

NAME = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"


def rows_of(*arguments: str | Path) -> list[dict[str, Any]]:
    done = invoke("published", *arguments, "--json", "-")
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(done.output)["tables"]["published"]["rows"]
    return rows


def run_named(folder: Path, task: str, values: list[float]) -> Path:
    """Write a run by the model that the shipped file knows."""
    run = run_of(folder, {task: values}, model="m")
    results = next(run.rglob("results_*.json"))
    told = json.loads(results.read_text(encoding="utf-8"))
    told["config"]["model_args"] = {"pretrained": NAME}
    results.write_text(json.dumps(told), encoding="utf-8")
    return run


def test_every_shipped_score_is_a_share_with_model_task_and_source() -> None:
    found = read_published()
    assert len(found) > 15
    for one in found:
        assert 0 < one.score < 1
        assert one.model
        assert one.source
        assert one.of_task(one.task.split("|")[0].replace("*", "_v5"))
    assert {one.score for one in found if one.model == "QwQ-32B"} == {0.795, 0.695, 0.634, 0.839}


def test_the_same_model_comes_first_and_is_tested(tmp_path: Path) -> None:
    run = run_named(tmp_path / "run", "distill_aime24", [1.0] * 10 + [0.0] * 20)
    rows = rows_of(run)
    assert len(rows) == 7
    assert rows[0]["model"] == "DeepSeek-R1-Distill-Qwen-7B"
    assert [row["same_model"] for row in rows] == [True] + [False] * 6
    assert rows[0]["difference"]["value"] == pytest.approx(10 / 30 - 0.555)
    assert rows[0]["difference"]["high"] < 0
    # R: binom.test(10, 30, 0.555)$p.value
    assert rows[0]["p"] == pytest.approx(0.01665232686)


def test_a_file_of_the_users_own_comes_before_and_models_are_chosen_by_name(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path / "run", {"my_task": [1.0, 0.0, 1.0]})
    own = write_csv(
        tmp_path / "own.csv",
        "model,task,score,metric,n,source",
        [("mine", "my_*", 0.5, "acc", 100, "here"), ("theirs", "my_*", 0.7, "acc", None, "there")],
    )
    assert [row["model"] for row in rows_of(run, "--scores", own)] == ["mine", "theirs"]
    assert [row["model"] for row in rows_of(run, "--scores", own, "--model", "THEIRS")] == [
        "theirs"
    ]
    done = invoke("published", run)
    assert done.exit_code == 0
    assert "--scores FILE.csv" in " ".join(done.output.split())


def test_a_score_without_a_model_is_refused_with_its_line(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {"my_task": [1.0, 0.0]})
    own = write_csv(tmp_path / "own.csv", "model,task,percent", [("", "my_task", 50)])
    done = invoke("published", run, "--scores", own)
    assert done.exit_code == 2
    assert "own.csv:2: model and task must not be empty" in done.stderr


def test_a_model_that_nobody_published_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {"distill_math500": [1.0, 0.0]})
    done = invoke("published", run, "--model", "no-such")
    assert done.exit_code == 2
    assert "--model 'no-such': no published model's name holds that" in done.stderr
    assert "there are DeepSeek-R1-Distill-Qwen-1.5B, " in done.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "and it is not there"),
        ("model,task,percent\n", "no row with a score"),
        ("model,task,percent\nm,t,0.5\n", "shares go into a column `score`"),
    ],
)
def test_a_file_without_a_score_to_use_is_refused(
    tmp_path: Path, text: str | None, why: str
) -> None:
    own = tmp_path / "own.csv"
    if text is not None:
        own.write_text(text, encoding="utf-8")
    done = invoke("published", run_of(tmp_path / "run", {"t": [1.0]}), "--scores", own)
    assert done.exit_code == 2
    assert why in done.stderr
    assert "own.csv" in done.stderr
