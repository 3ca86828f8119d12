"""What a run is planned from: names, folders, presets, repeats, samples, and what is refused."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from harness_tasks import catalogue, manifest
from harness_tasks.plan import (
    Plan,
    RunOptions,
    check_folder,
    check_task_names,
    in_order,
    make_plan,
)
from tests.conftest import SHARED

BENCHMARKS = SHARED / "data" / "benchmarks"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(options: RunOptions | None = None, **flags: Any) -> Plan:
    arguments = Namespace(**{"tasks": ["distill_demo"], "model": None, **flags})
    return make_plan(options or RunOptions(run="base"), arguments)


def refusal(options: RunOptions | None = None, **flags: Any) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - each test asserts on the message
        planned(options, **flags)
    return str(refused.value)


def test_a_run_asks_local_chat_and_logs_into_its_own_folder() -> None:
    plan = planned(model_args={"base_url": "http://127.0.0.1:1/v1", "model": "org/m"})
    assert plan.arguments.model == "local-chat"
    assert plan.arguments.model_args["run"] == "base"
    assert plan.arguments.output_path == str(Path("runs/base"))
    assert plan.arguments.log_samples is True


def test_other_models_get_no_argument_that_they_do_not_know() -> None:
    plan = planned(model="hf", model_args={"pretrained": "gpt2"})
    assert plan.arguments.model_args == {"pretrained": "gpt2"}


def test_a_run_without_a_name_gets_one_from_the_model() -> None:
    name = planned(RunOptions(), model_args={"model": "Qwen/Qwen3-8B Q4"}).name
    assert name.startswith("Qwen3-8B-Q4-2")


def test_two_runs_without_a_name_get_two_folders() -> None:
    first = planned(RunOptions(), model_args={"model": "m"}).folder
    first.mkdir(parents=True)
    assert planned(RunOptions(), model_args={"model": "m"}).folder != first


def test_run_in_the_model_arguments_names_the_run_too() -> None:
    assert planned(RunOptions(), model_args={"run": "base"}).folder == Path("runs/base")
    assert "contradicts run=other" in refusal(model_args={"run": "other"})


def test_an_output_path_is_the_run_folder() -> None:
    plan = planned(RunOptions(), output_path="elsewhere/student")
    assert (plan.name, plan.folder) == ("student", Path("elsewhere/student"))
    assert "takes no --run beside it" in refusal(output_path="elsewhere/student")
    assert "no .json file" in refusal(RunOptions(), output_path="out.json")


@pytest.mark.parametrize("name", ["runs/base", "../x", "", " ", "a b", ".hidden", "x" * 101])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    if name:
        assert f"run name {name!r} is not usable" in refusal(RunOptions(run=name))


def test_flags_come_before_the_config_file_and_model_arguments_are_merged(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("tasks: [distill_demo]\nmodel: hf\nmodel_args: pretrained=gpt2\n")
    plan = planned(config=str(config), tasks=None)
    assert plan.tasks == ["distill_demo"]
    assert plan.arguments.model == "hf"
    assert plan.arguments.model_args == {"pretrained": "gpt2"}


def test_a_preset_becomes_an_argument_of_the_model() -> None:
    plan = planned(RunOptions(run="base", preset="qwq"))
    assert plan.arguments.model_args == {
        "preset": "qwq",
        "run": "base",
        "store": "runs/base/completions.jsonl",
    }
    assert plan.settings["model_args"] == {"preset": "qwq"}


@pytest.mark.parametrize("model", ["hf", "vllm"])
def test_a_preset_of_a_model_in_this_process_goes_into_its_gen_kwargs(model: str) -> None:
    options = RunOptions(run="base", preset="qwq")
    plan = planned(options, model=model, gen_kwargs={"top_k": 30})
    assert plan.arguments.gen_kwargs == {"top_k": 30, "preset": "qwq"}
    assert plan.settings["gen_kwargs"] == {"top_k": 30, "preset": "qwq"}
    assert "preset" not in plan.arguments.model_args


@pytest.mark.parametrize(
    ("preset", "flags", "message"),
    [
        ("qwqq", {}, "unknown preset 'qwqq' (did you mean qwq?); there are greedy, "),
        (
            "qwq",
            {"model": "dummy"},
            "is a setting of local-chat, hf and vllm, not of model 'dummy'",
        ),
        ("qwq", {"model_args": {"preset": "greedy"}}, "contradicts preset=greedy"),
        (
            "qwq",
            {"model": "hf", "gen_kwargs": {"preset": "greedy"}},
            "contradicts preset=greedy in --gen_kwargs",
        ),
    ],
)
def test_a_preset_that_cannot_hold_is_refused(
    preset: str, flags: dict[str, Any], message: str
) -> None:
    assert message in refusal(RunOptions(run="base", preset=preset), **flags)


def test_no_tasks_is_a_mistake_with_a_next_step() -> None:
    assert "`distill-eval tasks` lists ours" in refusal(tasks=None)


def test_repeats_take_globs_of_our_names() -> None:
    plan = planned(RunOptions(run="base", repeats=2), tasks=["distill_aime2*,distill_demo"])
    assert plan.arguments.metadata == {"repeats": 2}
    assert plan.settings["repeats"] == 2


def test_repeats_in_the_metadata_are_those_of_the_run() -> None:
    assert planned(metadata={"repeats": 3}).settings["repeats"] == 3
    assert planned(RunOptions(run="x", repeats=3), metadata={"repeats": "3"}).settings == (
        planned(RunOptions(run="x", repeats=3)).settings
    )
    both = refusal(RunOptions(run="base", repeats=2), metadata={"repeats": 3})
    assert "--repeats 2 contradicts repeats 3 in --metadata" in both


def test_the_two_samples_of_the_thesis_preset_are_asked_unless_another_number_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logging.getLogger("harness_tasks").propagate = True
    assert planned(RunOptions(run="a", preset="thesis")).arguments.metadata == {"repeats": 2}
    assert "preset thesis asks 2 samples of each question" in caplog.text
    assert planned(model_args={"preset": "thesis"}).settings["repeats"] == 2
    assert planned(RunOptions(run="a", preset="thesis", repeats=1)).settings["repeats"] == 1
    others = planned(RunOptions(run="a", preset="thesis"), tasks=["distill_demo", "gsm8k"])
    assert others.settings["repeats"] is None
    assert planned(RunOptions(run="a", preset="deepseek-r1")).settings["repeats"] is None


@pytest.mark.parametrize("given", [0, -1, "many", True, 1.5, 1001])
def test_repeats_that_cannot_be_are_refused(given: Any) -> None:
    assert f"from 1 to 1000, got {given!r}" in refusal(metadata={"repeats": given})


def test_repeats_are_refused_for_tasks_that_are_not_ours() -> None:
    message = refusal(RunOptions(run="base", repeats=2), tasks=["distill_demo", "gsm8k"])
    assert "works for tasks of distill-eval only, not for gsm8k" in message


def test_repeats_and_the_users_own_override_are_refused_together(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: x.yaml\ntask: distill_demo\n")
    message = refusal(RunOptions(run="base", repeats=2), include_path=str(tmp_path))
    assert f"{tmp_path / 'mine.yaml'} overrides distill_demo" in message


@pytest.mark.parametrize("name", ["distill_demo", "mine"])
def test_a_task_of_the_user_that_is_built_on_ours_takes_repeats(tmp_path: Path, name: str) -> None:
    path = catalogue.tasks()["distill_demo"].path
    (tmp_path / "mine.yaml").write_text(f"include: {path}\ntask: {name}\nnum_fewshot: 0\n")
    options = RunOptions(run="base", repeats=2)
    plan = planned(options, tasks=[name], include_path=str(tmp_path))
    assert plan.arguments.metadata == {"repeats": 2}


def test_a_data_folder_is_checked_before_anything_starts(tmp_path: Path) -> None:
    message = refusal(RunOptions(run="base", data_dir=str(tmp_path)), tasks=["distill_math"])
    assert "holds no file for" in message
    (tmp_path / "math500.jsonl").write_text("{}\n")
    message = refusal(RunOptions(run="base", data_dir=str(tmp_path)), tasks=["distill_math500"])
    assert "row 1: no column 'problem'" in message
    both = refusal(RunOptions(run="base", data_dir=str(tmp_path)), metadata={"data_dir": "x"})
    assert "contradicts data_dir x in --metadata" in both


def test_a_misspelt_task_of_ours_is_refused_at_once_with_close_names() -> None:
    meant = r"no task 'distill_mth500' \(did you mean distill_math500"
    for argv in (["--tasks", "distill_demo", "distill_mth500"], ["-t", "x,distill_mth500"]):
        with pytest.raises(ValueError, match=meant):
            check_task_names(argv)
    check_task_names(["--tasks=distill_demo,distill_*", "--output_path", "distill_out"])
    check_task_names(["--tasks", "distill_mine", "--include_path", "mine"])


def test_unsorted_sample_indices_are_put_in_order_and_said() -> None:
    ordered, notes = in_order({"a": [5, 2, 5], "b": [1, 2]})
    assert ordered == {"a": [2, 5], "b": [1, 2]}
    assert notes == ["--samples of a put into ascending order"]
    assert in_order(None) == (None, [])


@pytest.mark.parametrize("limit", [0.0, -3.0])
def test_a_limit_that_leaves_no_question_is_refused(limit: float) -> None:
    assert f"--limit must be above 0, got {limit:g}: a number" in refusal(limit=limit)


def test_a_folder_of_tasks_that_is_not_there_is_refused() -> None:
    assert "--include_path 'nowhere' is no folder" in refusal(include_path="nowhere")


def test_a_config_file_that_is_not_there_is_named() -> None:
    assert refusal(config="nowhere.yaml").startswith("--config 'nowhere.yaml' cannot be read: ")


def test_samples_may_stand_in_a_file() -> None:
    Path("s.json").write_text('{"distill_demo": [1, 0]}')
    assert planned(samples="s.json").arguments.samples == {"distill_demo": [0, 1]}


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ("nowhere.json", "--samples 'nowhere.json' is neither a file nor a JSON object"),
        (
            {"distill_dmo": [1]},
            "names 'distill_dmo', which is not asked (did you mean distill_demo?",
        ),
        ({"distill_demo": [40]}, "names question 40; its questions are 0 to 39"),
        ({"distill_demo": [-1]}, "names question -1; its questions are 0 to 39"),
        (
            {"distill_demo": 3},
            "--samples of distill_demo is 3, expected a list of question numbers",
        ),
        ({"distill_demo": ["3"]}, "is ['3'], expected a list"),
        ({"distill_demo": [True]}, "is [True], expected a list"),
    ],
)
def test_samples_that_are_not_there_are_refused(samples: Any, message: str) -> None:
    assert message in refusal(samples=samples)


def test_a_damaged_samples_file_is_named() -> None:
    Path("s.json").write_text('{"distill_demo": [1')
    assert "--samples s.json: not valid JSON" in refusal(samples="s.json")


def test_samples_of_others_are_left_to_lm_eval() -> None:
    plan = planned(tasks=["arc_easy"], samples={"arc_easy": [7, 7]})
    assert plan.arguments.samples == {"arc_easy": [7]}


def measured(plan: Plan, *tasks: str, status: str = "finished") -> None:
    """Leave the manifest of a run that measured these tasks."""
    record = manifest.started(plan.name, [], plan.settings)
    done: dict[str, Any] = {task: {} for task in tasks}
    manifest.write(plan.folder, {**record, "tasks": done, "status": status})


def test_other_tasks_may_be_added_under_the_same_settings() -> None:
    measured(planned(gen_kwargs={"temperature": 0.6}), "distill_demo")
    later = planned(
        tasks=["distill_aime"],
        gen_kwargs={"temperature": 0.6},
        model_args={"num_concurrent": 8, "headers": {"X-Mine": "b"}},
    )
    previous = check_folder(later)
    assert previous is not None
    assert "distill_demo" in previous["tasks"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"model_args": {"temperature": 1.0}}, "model_args.temperature 0.6, not 1.0"),
        ({"limit": 5.0}, "limit None, not 5.0"),
        ({"model": "hf"}, "model 'local-chat', not 'hf'"),
        ({"system_instruction": "Be brief."}, "system_instruction None, not 'Be brief.'"),
    ],
)
def test_other_settings_are_refused_by_name(flags: dict[str, Any], named: str) -> None:
    plain = {"model_args": {"temperature": 0.6}}
    measured(planned(**plain), "distill_demo")
    with pytest.raises(ValueError, match="one folder is one arm") as refused:
        check_folder(planned(**{**plain, **flags, "tasks": ["distill_aime"]}))
    assert f"runs/base holds a run with {named}" in str(refused.value)


def test_a_task_that_is_done_is_refused() -> None:
    measured(planned(), "distill_aime")
    with pytest.raises(ValueError, match="already holds distill_aime"):
        check_folder(planned(tasks=["distill_math"]))


def test_a_run_that_measured_nothing_may_be_started_again_with_other_settings() -> None:
    measured(planned(limit=5.0), status="failed")
    previous = check_folder(planned())
    assert previous is not None
    assert previous["tasks"] == {}


def test_results_of_unknown_origin_are_not_mixed_with() -> None:
    Path("runs/base/m").mkdir(parents=True)
    Path("runs/base/m/results_1.json").touch()
    with pytest.raises(ValueError, match=r"holds m/results_1\.json and no manifest"):
        check_folder(planned())
