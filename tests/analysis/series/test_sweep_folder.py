"""The folder of `distill-train sweep`: dev questions choose, held-out questions measure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from analysis.series.runs import Reading
from analysis.series.sweep_folder import is_sweep, read_sweep
from analysis.tables.sweep import sweep
from tests.analysis.runs import our_row, write_run
from tests.analysis.series.making import first, invoke
from training.checkpoints.scores import DEV, HELD_OUT, Row, rows_of, write_csv

TASK = "distill_math500"
STEPS = {100: 0.5, 200: 0.9, 300: 0.7}


def run_of(folder: Path, docs: range, rate: float, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    rows = [our_row(doc, ["correct" if rng.random() < rate else "incorrect"]) for doc in docs]
    return write_run(folder, rows, task=TASK, model=folder.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a finished sweep: 40 questions choose, 60 measure."""
    out = tmp_path / "sweep"
    rows: list[Row] = []
    for step, rate in STEPS.items():
        name = f"step-{step:06d}"
        rows += rows_of(run_of(out / name, range(40), rate, step), DEV, name, step)
    best = run_of(out / "best", range(40, 100), 0.8, 1)
    rows += rows_of(best, HELD_OUT, "step-000200", 200)
    rows += rows_of(run_of(out / "base", range(40, 100), 0.4, 2), HELD_OUT, "base", None)
    write_csv(out / "sweep.csv", rows)
    told = {"settings": {"select_by": TASK}, "chosen": {"step": 200, "equal": []}}
    (out / "sweep.json").write_text(json.dumps(told), encoding="utf-8")
    return out


def test_the_chosen_step_is_measured_on_held_out_questions_and_paired(folder: Path) -> None:
    series = read_sweep(folder, Reading())
    assert is_sweep(folder)
    _, best, worth = sweep(series)
    row = first(best)
    assert (row["step"], row["questions"], row["n"]) == (200, "held out", 60)
    assert row["selected_by"] is False
    assert row["difference"].low > 0
    assert row["p"] < 0.01
    held = first(worth, figure="held-out questions")
    assert held["score"] == row["best"]
    assert first(worth, figure="as measured")["n"] == 40
    assert first(worth, figure="expected on new questions")["n"] == 40
    assert "the held-out row is the one to quote" in worth.notes


def test_a_tables_folder_alone_has_the_scores_and_says_what_is_missing(folder: Path) -> None:
    for name in ("best", "base", "step-000100"):
        shutil.rmtree(folder / name)
    done = invoke("sweep", folder)
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "no run of step-000100: only counts are known" in said
    assert "no run of the chosen step and of the base on held-out questions" in said


def test_the_csv_alone_gives_the_same_choice(folder: Path) -> None:
    done = invoke("sweep", folder / "sweep.csv", "--json", "-")
    assert done.exit_code == 0, done.output
    tables = json.loads(done.output)["tables"]
    (row,) = tables["best-step"]["rows"]
    assert (row["step"], row["questions"]) == (200, "held out")
    assert row["p"] is None
    assert {one["run"]: one["best"] for one in tables["sweep"]["rows"]} == {
        "step-000100": False,
        "step-000200": True,
        "step-000300": False,
    }


def test_a_task_that_the_sweep_has_not_is_refused(folder: Path) -> None:
    done = invoke("sweep", folder, "--select-by", "nothing")
    assert done.exit_code == 2
    assert f"no run has that task; there are {TASK}" in done.stderr
