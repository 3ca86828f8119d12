"""Sweeps: the choice, its bias, and the published ones through the reader of CSV files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.series.choice import choose
from analysis.series.runs import Reading, from_runs, named_runs
from analysis.series.tidy import read_series
from analysis.tables.sweep import sweep
from tests.analysis.series.making import first, invoke, run_of, write_csv
from tests.conftest import SHARED, needs_shared

GOLDEN = SHARED / "golden" / "published.json"


def sweep_csv(path: Path, told: dict[str, Any]) -> Path:
    """Write one published sweep as a user would."""
    rows: list[tuple[object, ...]] = [
        ("base", None, task, percent) for task, percent in told["baseline"].items()
    ]
    for step, scores in told["rows"].items():
        rows += [(f"step-{step}", step, task, percent) for task, percent in scores.items()]
    return write_csv(path, "run,step,task,percent", rows)


@needs_shared
@pytest.mark.parametrize("number", range(8))
def test_a_published_sweep_has_its_best_step_and_its_deltas(tmp_path: Path, number: int) -> None:
    told = json.loads(GOLDEN.read_text(encoding="utf-8"))["sweeps"][number]
    series = read_series(sweep_csv(tmp_path / "scores.csv", told))
    _, best, _ = sweep(series, told["select_by"])
    assert set(best.column("step")) == {told["best_step"]}
    found = {
        task: round(100 * difference.value, 1)  # type: ignore[union-attr]
        for task, difference in zip(best.column("task"), best.column("difference"), strict=True)
    }
    assert found == told["delta_at_best"]


def test_of_equal_scores_the_earliest_step_is_taken_whatever_the_order(tmp_path: Path) -> None:
    rows = [("s300", 300, "T", 0.74), ("s100", 100, "T", 0.69), ("s200", 200, "T", 0.74)]
    series = read_series(write_csv(tmp_path / "s.csv", "run,step,task,score", rows))
    choice = choose(series, "T")
    assert (choice.best.run, choice.equal) == ("s200", ("s300",))
    assert "earliest" in " ".join(sweep(series, "T")[2].notes)


def test_without_items_what_cannot_be_known_is_undefined_with_a_reason(tmp_path: Path) -> None:
    rows = [("base", None, "T", 80, 100), ("a", 100, "T", 85, 100), ("b", 200, "T", 90, 100)]
    series = read_series(write_csv(tmp_path / "s.csv", "run,step,task,percent,n", rows))
    _, best, worth = sweep(series, "T")
    row = first(best)
    assert row["best"].low == pytest.approx(0.8256, abs=1e-4)  # Wilson of 90 in 100, from R
    assert row["difference"].value == pytest.approx(0.1)
    assert "no paired interval" in row["difference"].reason
    assert np.isnan(row["p"])
    expected = first(worth, figure="expected on new questions")
    assert not expected["score"].defined
    assert 0 < expected["optimism"].value < 0.1


def runs_of(tmp_path: Path, seed: int, n: int, rates: list[float]) -> list[Path]:
    rng = np.random.default_rng(seed)
    paths = [run_of(tmp_path / "base", {"quiz": (rng.random(n) < 0.5).astype(float).tolist()})]
    for number, rate in enumerate(rates, start=1):
        values = (rng.random(n) < rate).astype(float).tolist()
        paths.append(run_of(tmp_path / f"step-{number * 100:06d}", {"quiz": values}))
    return paths


def test_runs_are_paired_with_the_baseline_question_by_question(tmp_path: Path) -> None:
    base, *steps = runs_of(tmp_path, 1, 60, [0.5, 0.9, 0.6])
    series = from_runs(base, named_runs([str(step) for step in steps]), Reading())
    assert [score.step for score in series.scores] == [100, 200, 300]
    grid, best, worth = sweep(series)
    row = first(best, task="quiz")
    assert row["step"] == 200
    assert row["difference"].low < row["difference"].value < row["difference"].high
    assert row["p"] < 0.001
    assert row["holm_p"] == row["p"]
    assert sum(share for share in grid.column("picked") if share is not None) == pytest.approx(1)
    expected = first(worth, figure="expected on new questions")
    measured = first(worth, figure="as measured")
    assert expected["n"] == 60
    assert expected["score"].value + expected["optimism"].value == pytest.approx(
        measured["score"].value
    )


def test_equally_good_steps_are_said_to_be_so(tmp_path: Path) -> None:
    base, *steps = runs_of(tmp_path, 5, 50, [0.5] * 6)
    series = from_runs(base, named_runs([str(step) for step in steps]), Reading())
    worth = sweep(series)[2]
    expected = first(worth, figure="expected on new questions")
    measured = first(worth, figure="as measured")
    assert expected["optimism"].value > 0.03
    assert abs(expected["score"].value - 0.5) < abs(measured["score"].value - 0.5)
    assert "winner's curse" in " ".join(worth.notes)


def test_a_step_whose_grader_failed_is_not_chosen(tmp_path: Path) -> None:
    rows = [("a", 100, "T", 50, 40, 0), ("b", 200, "T", 50, 45, 4)]
    series = read_series(
        write_csv(tmp_path / "s.csv", "run,step,task,n,correct,grader_error", rows)
    )
    grid = sweep(series, "T")[0]
    assert first(grid, best=True)["run"] == "a"
    assert "b: 4 of 50 completions could not be graded" in " ".join(grid.notes)


def test_the_command_writes_the_tables_and_names_a_missing_step(tmp_path: Path) -> None:
    base, *steps = runs_of(tmp_path, 3, 20, [0.2, 0.8])
    done = invoke("sweep", base, *steps, "--select-by", "quiz", "--csv", tmp_path / "tables")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        "sweep.csv",
        "best-step.csv",
        "choice.csv",
    }
    assert "winner's curse" in " ".join(done.output.split())
    steps[1].rename(tmp_path / "last")
    refused = invoke("sweep", base, steps[0], tmp_path / "last")
    assert refused.exit_code == 2
    assert "name it: STEP=RUN" in refused.stderr
    named = invoke("sweep", base, steps[0], f"200={tmp_path / 'last'}")
    assert named.exit_code == 0, named.stderr


@needs_shared
def test_the_command_takes_one_of_several_series(tmp_path: Path) -> None:
    sweeps = json.loads(GOLDEN.read_text(encoding="utf-8"))["sweeps"]
    rows = [
        (str(number), run, step, task, percent)
        for number, told in enumerate(sweeps)
        for step, scores in (("", told["baseline"]), *told["rows"].items())
        for run in [f"step-{step}" if step else "base"]
        for task, percent in scores.items()
    ]
    path = write_csv(tmp_path / "all.csv", "series,run,step,task,percent", rows)
    for number, told in enumerate(sweeps):
        done = invoke("sweep", path, "--series", number, "--select-by", told["select_by"],
                      "--json", "-")  # fmt: skip
        assert done.exit_code == 0, done.output
        grid = json.loads(done.output)["tables"]["sweep"]["rows"]
        assert [row["step"] for row in grid if row["best"]] == [told["best_step"]]
    assert "8 series" in invoke("sweep", path).stderr


def test_hostile_names_reach_neither_terminal_nor_files_as_commands(tmp_path: Path) -> None:
    task, run = "\x1b[31mt|[bold]&_%", "\x07<script>"
    rows = [(run, 1, task, 0.5, "\x1b[2J"), ("other", 2, task, 0.6, "b")]
    path = write_csv(tmp_path / "a.csv", "run,step,task,score,note", rows)
    for form in ([], ["--markdown", "-"], ["--latex", "-"]):
        done = invoke("sweep", path, *form)
        assert done.exit_code == 0, done.output
        assert not {"\x1b", "\x07"} & set(done.output)
        assert "x1b" in done.output
    broken = invoke("sweep", path, "--select-by", "\x1b[2J")
    assert broken.exit_code == 2
    assert "\x1b" not in broken.stderr


def test_a_run_alone_is_refused_in_one_line(tmp_path: Path) -> None:
    done = invoke("sweep", run_of(tmp_path / "base", {"quiz": [1.0]}))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "one CSV of scores" in done.stderr


def test_two_runs_of_one_step_are_no_sweep(tmp_path: Path) -> None:
    rows = [("a", 100, "T", 0.7), ("b", 100, "T", 0.8)]
    series = read_series(write_csv(tmp_path / "s.csv", "run,step,task,score", rows))
    with pytest.raises(ValueError, match="runs 'a' and 'b' are both of step 100"):
        choose(series, "T")


def test_one_step_has_no_winner_to_curse(tmp_path: Path) -> None:
    rows = [("base", None, "T", 0.7, 100), ("a", 100, "T", 0.8, 100)]
    series = read_series(write_csv(tmp_path / "s.csv", "run,step,task,score,n", rows))
    _, best, worth = sweep(series, "T")
    assert worth.notes == ("one step: nothing was chosen",)
    assert not any("too good" in note for note in best.notes)
