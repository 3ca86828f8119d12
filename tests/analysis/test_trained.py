"""How the models of two arms were trained, where their folders tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.compare import Options, compare
from analysis.reading.load import Choice, read_arm
from analysis.trained import confounds, settings_of
from tests.analysis.runs import foreign_row, write_run

R1, SONNET = "2.0e-05", "0.0002"


def trained(folder: Path, rate: str, text: str = "") -> Path:
    """Write a training run's configuration and return a checkpoint of it."""
    checkpoint = folder / "checkpoints" / "step-000100"
    checkpoint.mkdir(parents=True)
    config = text or f"learning_rate: {rate}\nlora:\n  rank: 32\nseed: 1\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    return checkpoint


def test_settings_are_those_of_the_run_above_a_checkpoint(tmp_path: Path) -> None:
    found = settings_of(["no such model", str(trained(tmp_path / "a", R1))])
    assert found == {"learning_rate": "2e-05", "lora_rank": "32"}


@pytest.mark.parametrize("name", ["", ".", "..", "/", "../..", "owner/model", "\0", "x" * 5000])
def test_names_that_are_no_folder_of_a_run_tell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trained(tmp_path, R1)
    monkeypatch.chdir(tmp_path)
    assert settings_of([name]) == {}


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b\n", "learning_rate: !!python/name:os.system"])
def test_a_damaged_configuration_tells_nothing(tmp_path: Path, text: str) -> None:
    assert settings_of([str(trained(tmp_path / "a", "", text))]) == {}


def test_what_is_alike_is_no_confound(tmp_path: Path) -> None:
    folders = {name: [str(trained(tmp_path / name, R1))] for name in ("a", "b")}
    assert confounds(folders) == []


def test_arms_trained_at_other_rates_are_told_apart(tmp_path: Path) -> None:
    arms = []
    for name, rate in (("r1", R1), ("sonnet", SONNET)):
        run = write_run(tmp_path / "runs" / name, [foreign_row(0, 1.0)], model=name)
        results = next(run.rglob("results_*.json"))
        told = json.loads(results.read_text(encoding="utf-8"))
        told["config"]["model_args"] = {"pretrained": str(trained(tmp_path / name, rate))}
        results.write_text(json.dumps(told), encoding="utf-8")
        arms.append(read_arm(name, run, Choice()))
    comparison = compare(arms[0], arms[1], Options())
    said = "the runs also differ in learning_rate: 2e-05 (baseline); 0.0002 (candidate)"
    assert said in comparison.notices
