"""Curves, seeds, tiers and recovery: from runs and from CSV files of scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.series.runs import Reading, from_runs, named_runs
from analysis.series.tidy import read_groups, read_series
from analysis.tables.curves import curves
from analysis.tables.recovery import recovery
from analysis.tables.seeds import seeds
from analysis.tables.tiers import tiers
from tests.analysis.series.making import first, invoke, run_of, write_csv
from tests.conftest import SHARED, needs_shared


def golden() -> Any:
    path = SHARED / "golden" / "published.json"
    return json.loads(path.read_text(encoding="utf-8"))


def flags(rate: float, n: int, seed: int) -> list[float]:
    return (np.random.default_rng(seed).random(n) < rate).astype(float).tolist()


def series_of(tmp_path: Path, **runs: list[float]) -> Any:
    paths = {name: run_of(tmp_path / name, {"quiz": values}) for name, values in runs.items()}
    base, *rest = paths.values()
    return from_runs(base, named_runs([str(path) for path in rest]), Reading())


def test_names_and_steps_come_from_folders_or_from_the_argument(tmp_path: Path) -> None:
    for name in ("step-000100", "checkpoint-20", "seed1", "plain", "a=b"):
        (tmp_path / name).mkdir()
    words = [str(tmp_path / name) for name in ("step-000100", "checkpoint-20", "seed1")]
    found = named_runs([*words, f"300={tmp_path}/plain"])
    assert [(run.name, run.step) for run in found] == [
        ("seed1", 1),
        ("checkpoint-20", 20),
        ("step-000100", 100),
        ("300", 300),
    ]
    (there,) = named_runs([str(tmp_path / "a=b")])  # a path that is there is a path
    assert (there.name, there.step) == ("a=b", None)
    with pytest.raises(ValueError, match="two runs are called 'x'"):
        named_runs(["x=one", "x=two"])
    with pytest.raises(ValueError, match="expected NAME=RUN"):
        named_runs(["=one"])
    assert [run.name for run in named_runs(["s1/eval", "s2/eval"])] == ["s1/eval", "s2/eval"]


def test_curves_hold_every_run_and_adjust_over_all(tmp_path: Path) -> None:
    series = series_of(
        tmp_path,
        base=flags(0.3, 80, 1),
        **{f"step-{n}": flags(rate, 80, n) for n, rate in ((100, 0.4), (200, 0.6), (300, 0.9))},
    )
    table, trend = curves(series)
    assert table.column("step") == [None, 100, 200, 300]
    raw, holm = table.column("p")[1:], table.column("holm_p")[1:]
    smallest = min(range(3), key=lambda i: raw[i])
    assert holm[smallest] == pytest.approx(min(1.0, 3 * raw[smallest]))
    row = first(trend)
    assert row["slope"].value == pytest.approx(0.25, abs=0.08)
    assert row["p"] < 0.001
    assert "within questions" in row["method"]


def test_curves_of_scores_with_n_test_the_trend_as_cochran_and_armitage(tmp_path: Path) -> None:
    rows = [("a", 100, "T", 83, 86), ("b", 200, "T", 90, 93), ("c", 300, "T", 129, 136),
            ("d", 400, "T", 70, 82)]  # fmt: skip
    path = write_csv(tmp_path / "a.csv", "run,step,task,correct,n", rows)
    trend = curves(read_series(path))[1]
    # R: prop.trend.test(c(83, 90, 129, 70), c(86, 93, 136, 82))
    assert first(trend)["p"] == pytest.approx(0.004131897, rel=1e-6)


@needs_shared
def test_the_published_seeds_come_out_of_five_runs_of_their_mean(tmp_path: Path) -> None:
    told = golden()["multi_seed"]
    n = 1319
    counts = [913, 915, 916, 917, 918]  # of 1,319 GSM8K questions
    rows = [("base", "GSM8K", 853, n), *((f"seed{i}", "GSM8K", k, n) for i, k in enumerate(counts))]
    series = read_series(write_csv(tmp_path / "a.csv", "run,task,correct,n", rows))
    row = first(seeds(series)[0])
    assert row["runs"] == told["runs"]
    assert round(100 * row["baseline"].value, 2) == told["base"]
    assert round(100 * row["mean"].value, 2) == told["mean"]
    assert round(100 * row["sd"], 2) == pytest.approx(told["sd"], abs=0.03)
    assert round(100 * row["difference"].value, 2) == round(told["mean"] - told["base"], 2)
    assert row["difference"].low > 0
    assert "chance of the questions" in " ".join(seeds(series)[0].notes)


def test_seeds_of_runs_pair_every_question_and_split_the_variance(tmp_path: Path) -> None:
    n = 120
    easy = np.arange(n) < 70
    values = {
        f"seed{i}": (easy ^ (np.random.default_rng(i).random(n) < 0.02)).astype(float).tolist()
        for i in range(4)
    }
    series = series_of(tmp_path, base=(np.arange(n) < 40).astype(float).tolist(), **values)
    table, split = seeds(series)
    row, parts = first(table), first(split)
    assert row["runs"] == 4
    assert "questions and runs" in row["method"]
    assert row["p"] < 0.001
    assert parts["sd_questions"] > 2 * parts["sd_runs"] > 0
    assert 0 < parts["share_runs"] < 0.3
    assert "4 runs" in " ".join(table.notes)


@needs_shared
def test_the_published_tiers_keep_words_and_accuracy(tmp_path: Path) -> None:
    told = golden()["multi_seed"]["length_tiers"]
    rows = [(name, "GSM8K", tier["accuracy"], tier["words"], 1319) for name, tier in told.items()]
    series = read_series(write_csv(tmp_path / "a.csv", "run,task,percent,words,n", rows))
    table, trend = tiers(series)
    for name, tier in told.items():
        row = first(table, tier=name)
        assert row["words"] == tier["words"]
        assert round(100 * row["score"].value, 2) == tier["accuracy"]
    by_words = first(trend, by="log2 of words")
    doublings = math.log2(told["R1"]["words"] / told["R6"]["words"])
    slope = (told["R1"]["accuracy"] - told["R6"]["accuracy"]) / 100 / doublings
    assert by_words["slope"].value == pytest.approx(slope, abs=1e-3)
    assert by_words["p"] < 1e-6


def test_tiers_of_runs_are_compared_with_the_first_and_count_their_words(tmp_path: Path) -> None:
    rates = {"R1": 0.9, "R2": 0.6, "R3": 0.3}
    for number, (name, rate) in enumerate(rates.items()):
        text = "word " * (40 // 2**number)
        run_of(tmp_path / name, {"quiz": flags(rate, 60, number)}, text=text)
    done = invoke("tiers", *(f"{n}={tmp_path / n}" for n in rates), "--json", "-")
    assert done.exit_code == 0, done.output
    table = json.loads(done.output)["tables"]["tiers"]
    assert [row["tier"] for row in table["rows"]] == ["R1", "R2", "R3"]
    assert [row["words"] for row in table["rows"]] == [40.0, 20.0, 10.0]
    assert table["rows"][2]["p"] < 0.001


def test_tiers_of_a_csv_without_a_baseline_are_compared_with_the_first(tmp_path: Path) -> None:
    rows = [("R1", "T", 70, 220, 100), ("R2", "T", 66, 150, 100), ("R6", "T", 42, 31, 100)]
    path = write_csv(tmp_path / "a.csv", "run,task,percent,words,n", rows)
    done = invoke("tiers", path, "--json", "-")
    assert done.exit_code == 0, done.output
    table = json.loads(done.output)["tables"]["tiers"]
    assert [row["tier"] for row in table["rows"]] == ["R1", "R2", "R6"]
    assert [one["heading"] for one in table["columns"] if one["name"] == "difference"] == [
        "against R1"
    ]
    assert table["rows"][0]["difference"] is None
    assert table["rows"][2]["difference"]["value"] == pytest.approx(-0.28)


@needs_shared
def test_the_published_format_training_gains_nothing_but_one_point(tmp_path: Path) -> None:
    told = golden()
    rows = []
    for student, domain, _, math_score, code_score in told["format_sft"]["rows"]:
        sweep = next(
            one
            for one in told["sweeps"]
            if f"-{student}" in one["student"] and one["domain"] == domain
        )
        best = sweep["rows"][str(sweep["best_step"])]
        name = f"{student} {domain}"
        for task, recovered in (("MATH-500", math_score), ("MBPP+", code_score)):
            rows += [
                (name, "base", task, sweep["baseline"][task]),
                (name, "distilled", task, best[task]),
                (name, "recovered", task, recovered),
            ]
    path = write_csv(tmp_path / "a.csv", "series,run,task,percent", rows)
    table = recovery(read_groups(path))
    assert len(table.rows) == 8
    for student, domain, _, math_score, code_score in told["format_sft"]["rows"]:
        for task, score in (("MATH-500", math_score), ("MBPP+", code_score)):
            row = first(table, series=f"{student} {domain}", task=task)
            assert 100 * row["recovered"].value == pytest.approx(score)
            assert row["lost"].value + row["regained"].value == pytest.approx(row["missing"].value)
    row = first(table, series="Base math", task="MBPP+")
    assert row["share"].value == pytest.approx(-0.5)  # of 4 points lost, 2 more went
    assert not first(table, series="Base math", task="MATH-500")["share"].defined


@needs_shared
def test_the_published_thesis_keeps_its_scores_and_counts_questions_once(tmp_path: Path) -> None:
    told = golden()["thesis"]
    rows = [
        (model, task, percent, 2 * n, n)
        for model, *percents in told["scores"]
        for task, percent, n in zip(("GSM8K", "AIME 2024"), percents, (200, 30), strict=True)
    ]
    path = write_csv(tmp_path / "a.csv", "model,task,percent,n,n_docs", rows)
    table = curves(read_series(path, "Qwen2.5-32B-Instruct"))[0]
    scores = {model: percents for model, *percents in told["scores"]}
    for model, percents in scores.items():
        for task, percent in zip(("GSM8K", "AIME 2024"), percents, strict=True):
            row = first(table, run=model, task=task)
            assert 100 * row["score"].value == pytest.approx(percent)
            if model != "Qwen2.5-32B-Instruct":
                base = scores["Qwen2.5-32B-Instruct"][task != "GSM8K"]
                assert 100 * row["difference"].value == pytest.approx(percent - base)
    aime = first(table, run="SFT Claude", task="AIME 2024")["score"]
    assert aime.high > 0.1  # one right answer of 60 shows little of 30 questions


def test_recovery_of_runs_pairs_all_three(tmp_path: Path) -> None:
    n = 100
    base = [1.0] * 80 + [0.0] * 20
    distilled = [1.0] * 40 + [0.0] * 60
    recovered = [1.0] * 70 + [0.0] * 30
    paths = [
        run_of(tmp_path / name, {"quiz": values})
        for name, values in (("base", base), ("distilled", distilled), ("recovered", recovered))
    ]
    done = invoke("recovery", *paths, "--json", "-")
    (row,) = json.loads(done.output)["tables"]["recovery"]["rows"]
    assert row["lost"]["value"] == pytest.approx(-0.4)
    assert row["regained"]["value"] == pytest.approx(0.3)
    assert row["missing"]["value"] == pytest.approx(-0.1)
    assert row["share"]["value"] == pytest.approx(0.75)
    assert row["share"]["low"] < 0.75 < row["share"]["high"]
    assert row["n"] == n
    assert row["lost_holm_p"] == pytest.approx(2 * row["lost_p"])
    refused = invoke("recovery", *paths[:2])
    assert refused.exit_code == 2
    assert "expected BASE DISTILLED RECOVERED" in refused.stderr


def test_runs_of_other_questions_are_refused_by_name(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", {"quiz": flags(0.5, 10, 1)})
    other = run_of(tmp_path / "step-1", {"quiz": flags(0.5, 8, 1)})
    done = invoke("curves", base, other)
    assert done.exit_code == 2
    assert "run step-1:" in done.stderr
    allowed = invoke("curves", base, other, "--allow", "docs")
    assert allowed.exit_code == 0, allowed.stderr


def test_a_folder_that_a_model_was_trained_in_tells_its_confounds(tmp_path: Path) -> None:
    for name, rate in (("r1", "2.0e-05"), ("sonnet", "0.0002")):
        folder = tmp_path / "trained" / name / "checkpoints" / "step-000100"
        folder.mkdir(parents=True)
        config = f"learning_rate: {rate}\nlora:\n  rank: 32\n"
        (folder.parent.parent / "config.yaml").write_text(config, encoding="utf-8")
    runs = {}
    for name in ("base", "r1", "sonnet"):
        runs[name] = run_of(tmp_path / name, {"quiz": flags(0.5, 10, 2)}, model="m")
        results = next(runs[name].rglob("results_*.json"))
        told = json.loads(results.read_text(encoding="utf-8"))
        trained = tmp_path / "trained" / name / "checkpoints" / "step-000100"
        told["config"]["model_args"] = {"pretrained": str(trained)}
        results.write_text(json.dumps(told), encoding="utf-8")
    found = named_runs([str(runs["r1"]), str(runs["sonnet"])])
    notes = from_runs(runs["base"], found, Reading()).notes
    assert "the runs also differ in learning_rate: 2e-05 (r1); 0.0002 (sonnet)" in notes
    assert not any("lora_rank" in note for note in notes)


def test_the_task_that_was_asked_for_is_taken_out_of_a_csv_of_recovery_too(tmp_path: Path) -> None:
    rows = [(run, task, score) for task in "TU"
            for run, score in (("base", 0.8), ("distilled", 0.5), ("recovered", 0.7))]  # fmt: skip
    path = write_csv(tmp_path / "s.csv", "run,task,score", rows)
    done = invoke("recovery", path, "--task", "U", "--json", "-")
    assert [row["task"] for row in json.loads(done.output)["tables"]["recovery"]["rows"]] == ["U"]


def test_what_would_do_nothing_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", "run,task,score", [("base", "T", 0.8), ("a", "T", 0.5)])
    runs = [run_of(tmp_path / name, {"quiz": [1.0, 0.0]}) for name in ("base", "seed-1")]
    for words, why in (
        ((path, "--metric", "acc"), "--metric is for runs"),
        ((path, "--allow", "docs"), "--allow is for runs"),
        ((*runs, "--baseline", "base"), "--baseline is for a CSV"),
        ((path, path), "a CSV of scores stands alone"),
    ):
        done = invoke("seeds", *words)
        assert (done.exit_code, why in done.stderr) == (2, True), done.stderr


def test_a_run_folder_may_be_called_like_a_csv(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, {"quiz": [1.0, 0.0]}) for name in ("base", "seed-1.csv")]
    assert invoke("seeds", *runs).exit_code == 0
    assert "expected a baseline and at least one run" in invoke("seeds", runs[1]).stderr


def test_one_run_has_no_spread(tmp_path: Path) -> None:
    notes = seeds(series_of(tmp_path, base=flags(0.5, 20, 1), seed1=flags(0.5, 20, 2)))[0].notes
    assert any("one run: no spread" in note for note in notes)
    assert not any("three times" in note for note in notes)


def test_a_difference_over_fewer_questions_than_the_means_says_so(tmp_path: Path) -> None:
    values = flags(0.5, 40, 1)
    runs = {"base": values, "seed-1": flags(0.5, 40, 2), "seed-2": flags(0.5, 30, 3)}
    paths = [run_of(tmp_path / name, {"quiz": own}) for name, own in runs.items()]
    how = Reading(allow=("docs",))
    series = from_runs(paths[0], named_runs([str(path) for path in paths[1:]]), how)
    assert "the 30 shared ones" in str(first(seeds(series)[0])["method"])
    same = from_runs(paths[0], named_runs([str(paths[1])] * 1 + [f"seed-9={paths[1]}"]), how)
    assert "shared" not in str(first(seeds(same)[0])["method"])
