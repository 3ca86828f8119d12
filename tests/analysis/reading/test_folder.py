from __future__ import annotations

from pathlib import Path

import pytest

from analysis.reading.folder import find_samples
from tests.analysis.runs import foreign_row, write_run

LATER = "2026-02-01T10-00-00.000000"


def test_the_newest_rerun_is_taken_and_said(tmp_path: Path) -> None:
    write_run(tmp_path, [foreign_row(0, 0.0)])
    write_run(tmp_path, [foreign_row(0, 1.0)], time=LATER)
    files, notices = find_samples(tmp_path)
    assert [file.time for file in files] == [LATER]
    assert "2 samples files of quiz; took the newest" in notices[0]


def test_a_rerun_brings_its_own_results(tmp_path: Path) -> None:
    write_run(tmp_path, [foreign_row(0, 0.0)], config={"limit": 1})
    write_run(tmp_path, [foreign_row(0, 1.0)], time=LATER, config={"limit": 2})
    assert find_samples(tmp_path)[0][0].config["limit"] == 2


def test_a_time_with_colons_is_a_time_too(tmp_path: Path) -> None:
    time = "2024-03-01T10:00:00.123456"
    write_run(tmp_path, [foreign_row(0, 0.0)], time=time, config={"limit": 1})
    (file,) = find_samples(tmp_path)[0]
    assert (file.task, file.time, file.config["limit"]) == ("quiz", time, 1)


def test_two_models_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    write_run(tmp_path, [foreign_row(0, 0.0)], model="one")
    write_run(tmp_path, [foreign_row(0, 0.0)], model="two", task="other")
    with pytest.raises(ValueError, match=r"samples of 2 models: 'one' .* and 'two'"):
        find_samples(tmp_path)


def test_reruns_that_no_time_tells_apart_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [foreign_row(0, 0.0)])
    write_run(tmp_path / "b", [foreign_row(0, 0.0)])
    with pytest.raises(ValueError, match="no time in the name tells apart"):
        find_samples(tmp_path)


def test_a_task_name_may_hold_underscores_and_digits(tmp_path: Path) -> None:
    write_run(tmp_path, [foreign_row(0, 0.0)], task="distill_aime_2022_2024")
    assert find_samples(tmp_path)[0][0].task == "distill_aime_2022_2024"


def test_a_samples_file_is_an_arm_with_the_results_beside_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, [foreign_row(0, 0.0)])
    files, _ = find_samples(next(run.rglob("samples_*")))
    assert (files[0].task, files[0].model) == ("quiz", "some-model")


def test_an_empty_folder_says_what_was_expected_and_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no samples file; expected samples_.*--log_samples"):
        find_samples(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such run folder.*nowhere"):
        find_samples(tmp_path / "nowhere")


def test_a_task_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    write_run(tmp_path, [foreign_row(0, 0.0)])
    with pytest.raises(ValueError, match="no samples of task 'quizz'; did you mean 'quiz'"):
        find_samples(tmp_path, ["quizz"])
    with pytest.raises(ValueError, match="no samples of task 'riddle'; it holds: quiz"):
        find_samples(tmp_path, ["riddle"])


def test_a_broken_results_file_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, [foreign_row(0, 0.0)])
    next(run.rglob("results_*")).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"results_.*not valid JSON"):
        find_samples(run)


def test_model_arguments_are_read_in_both_of_their_forms(tmp_path: Path) -> None:
    text = "pretrained=org/m,load_in_4bit=True,temperature=0.6"
    write_run(tmp_path, [foreign_row(0, 0.0)], config={"model_args": text})
    args = find_samples(tmp_path)[0][0].model_args
    assert args == {"pretrained": "org/m", "load_in_4bit": True, "temperature": 0.6}


def test_tasks_in_folders_of_their_own_are_one_arm_where_no_model_is_told(tmp_path: Path) -> None:
    for task in ("one", "two"):
        write_run(tmp_path / task, [foreign_row(0, 0.0)], task=task, config={"model_args": {}})
    assert [file.task for file in find_samples(tmp_path)[0]] == ["one", "two"]


def test_a_file_of_another_name_is_pointed_at(tmp_path: Path) -> None:
    other = tmp_path / "pretrained__x_quiz.jsonl"
    other.write_text("{}\n")
    with pytest.raises(ValueError, match=rf"can itself be the arm: '{other}'"):
        find_samples(tmp_path)
