"""`distill-eval`: what it lists, what it refuses before a model is asked, and whole runs."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness_tasks import catalogue, docs, manifest
from harness_tasks import run as runner
from harness_tasks.cli import main, stop
from harness_tasks.plan import (
    Plan,
    RunOptions,
    check_folder,
    check_task_names,
    in_order,
    make_plan,
)
from tests.conftest import REPO, SHARED, needs_shared
from tests.fakes import FakeUpstream

BENCHMARKS = SHARED / "data" / "benchmarks"
NOT_FOR_HELP = ("lm_eval", "torch", "datasets", "transformers")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def command(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m harness_tasks` in a fresh interpreter and the current folder."""
    return subprocess.run(
        [sys.executable, "-m", "harness_tasks", *argv],
        env=environment(**environ),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1", **more}


def planned(options: RunOptions | None = None, **flags: Any) -> Plan:
    arguments = Namespace(**{"tasks": ["distill_demo"], "model": None, **flags})
    return make_plan(options or RunOptions(run="base"), arguments)


def refusal(options: RunOptions | None = None, **flags: Any) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - each test asserts on the message
        planned(options, **flags)
    return str(refused.value)


# --- the list -----------------------------------------------------------------------------------


def test_tasks_are_listed_with_size_metric_version_and_data() -> None:
    lines = call("tasks").output.splitlines()
    assert lines[0].split() == ["task", "docs", "metric", "version", "data"]
    row = next(line.split() for line in lines if line.startswith("distill_math500 "))
    assert row[1:] == ["500", "score", "1.0", "HuggingFaceH4/MATH-500@6e4ed1a2"]
    assert {line.split()[0] for line in lines[1:]} == set(catalogue.tasks())


def test_tasks_as_json_carry_whole_revisions() -> None:
    rows = {row["task"]: row for row in json.loads(call("tasks", "--json").output)}
    assert rows["distill_gsm8k"]["data"] == docs.SOURCES["gsm8k"].hub
    assert rows["distill_math"]["docs"] == 500 + 60 + 1319
    assert rows["distill_math"]["kind"] == "group"


@needs_shared
def test_tasks_show_the_files_of_a_folder() -> None:
    shown = call("tasks", "--data-dir", str(BENCHMARKS)).output
    assert "aime24.jsonl + aime25.jsonl\n" in shown
    assert f"data folder: {BENCHMARKS}" in shown


def test_tasks_show_what_a_folder_lacks(tmp_path: Path) -> None:
    (tmp_path / "aime24.jsonl").touch()
    listed = call("tasks", "--data-dir", str(tmp_path))
    assert listed.exit_code == 0
    assert "missing: data folder" in listed.output


def test_a_data_folder_that_is_not_there_is_one_line_and_exit_2() -> None:
    listed = call("tasks", "--data-dir", "nowhere")
    assert listed.exit_code == 2
    assert listed.output.startswith("data folder 'nowhere' does not exist; ")
    assert listed.output.count("\n") == 1


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["tasks", "--help"], ["tasks"]])
def test_help_and_the_list_load_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import sys; from harness_tasks.cli import main\n"
        f"try: main({argv})\n"
        "except SystemExit as end: assert not end.code\n"
        f"print([name for name in {NOT_FOR_HELP} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_says_that_lm_evals_flags_pass_through() -> None:
    shown = call("run", "--help").output
    assert "Every flag of `lm_eval run` passes through unchanged" in shown
    for flag in ("--run", "--repeats", "--data-dir", "--preset", "--debug"):
        assert flag in shown
        assert f"`{flag}" in (REPO / "docs" / "tasks.md").read_text(encoding="utf-8")


# --- what a run is about to do ------------------------------------------------------------------


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
    assert plan.arguments.model_args == {"preset": "qwq", "run": "base"}
    assert plan.settings["model_args"] == {"preset": "qwq"}


@pytest.mark.parametrize(
    ("preset", "flags", "message"),
    [
        ("qwqq", {}, "unknown preset 'qwqq' (did you mean qwq?); there are greedy, "),
        ("qwq", {"model": "hf"}, "is a setting of local-chat, not of model 'hf'"),
        ("qwq", {"model_args": {"preset": "greedy"}}, "contradicts preset=greedy"),
    ],
)
def test_a_preset_that_cannot_hold_is_refused(
    preset: str, flags: dict[str, Any], message: str
) -> None:
    assert message in refusal(RunOptions(run="base", preset=preset), **flags)


def test_no_tasks_is_a_mistake_with_a_next_step() -> None:
    assert "`distill-eval tasks` lists ours" in refusal(tasks=None)


def test_repeats_extend_each_task_of_a_group(tmp_path: Path) -> None:
    plan = planned(
        RunOptions(run="base", repeats=4), tasks=["distill_math"], include_path=str(tmp_path)
    )
    runner.write_overrides(plan, 4)
    written = Path("runs/base/tasks")
    assert {path.stem for path in written.iterdir()} == {
        "distill_math500",
        "distill_aime",
        "distill_gsm8k",
    }
    assert plan.arguments.include_path == [str(written.resolve()), str(tmp_path)]


def test_repeats_take_globs_of_our_names() -> None:
    plan = planned(RunOptions(run="base", repeats=2), tasks=["distill_aime2*,distill_demo"])
    assert set(plan.override) == {"distill_aime24", "distill_aime25", "distill_demo"}


def test_repeats_are_refused_for_tasks_that_are_not_ours() -> None:
    message = refusal(RunOptions(run="base", repeats=2), tasks=["distill_demo", "gsm8k"])
    assert "works for tasks of distill-eval only, not for gsm8k" in message


def test_repeats_and_the_users_own_override_are_refused_together(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: x.yaml\ntask: distill_demo\n")
    message = refusal(RunOptions(run="base", repeats=2), include_path=str(tmp_path))
    assert f"{tmp_path / 'mine.yaml'} overrides distill_demo" in message


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


def test_lm_evals_flags_pass_through_in_order_around_ours() -> None:
    before = ["--tasks", "a", "b", "--model_args", "x=1", "y=2", "-M", "hf", "-s"]
    after = ["--limit", "0.5", "--samples", '{"a": [1]}', "--gen_kwargs", "t=-1"]
    argv = [*before, "--repeats", "3", *after, "--run=base"]
    context = main.commands["run"].make_context("run", argv)
    assert context.params["run_name"] == "base"
    assert context.params["repeats"] == 3
    assert context.params["lm_eval_args"] == (*before, *after)


class Parser:
    """Stands for lm-eval's parser: prints to stderr, and refuses or not."""

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses

    def parse_args(self) -> Namespace:
        print("usage: lm-eval [-h] COMMAND ...\nlm-eval: error: unknown flag --x", file=sys.stderr)
        if self.refuses:
            sys.exit(2)
        return Namespace(argv=sys.argv)


def test_what_lm_evals_parser_refuses_is_one_line_with_a_next_step() -> None:
    with pytest.raises(ValueError, match=r"^unknown flag --x; `distill-eval run --help` lists our"):
        runner.parsed(Parser(refuses=True), ["--x"])


def test_what_lm_evals_parser_says_besides_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.parsed(Parser(refuses=False), ["-x"]).argv == ["lm_eval", "run", "-x"]
    assert "unknown flag --x" in capsys.readouterr().err


@pytest.mark.parametrize("repeats", ["0", "-1", "x"])
def test_repeats_below_one_are_refused(repeats: str) -> None:
    assert call("run", "--repeats", repeats, "--tasks", "distill_demo").exit_code == 2


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


def test_remarks_on_our_own_doing_are_dropped_and_others_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner.drop_remarks(Path("runs/base"))
    index = logging.getLogger("lm_eval.tasks._index")
    for folder in (Path("runs/base/tasks").resolve(), "mine"):
        index.warning("Task 'a' from %s/a.yaml overrides existing task from b.yaml", folder)
    logging.getLogger("lm_eval.api.task").warning("a: Custom kwargs can be passed to `--metadata`")
    assert [record.getMessage() for record in caplog.records] == [
        "Task 'a' from mine/a.yaml overrides existing task from b.yaml"
    ]


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


# --- one folder is one arm ----------------------------------------------------------------------


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
    assert check_folder(planned()) is None


def test_results_of_unknown_origin_are_not_mixed_with() -> None:
    Path("runs/base/m").mkdir(parents=True)
    Path("runs/base/m/results_1.json").touch()
    with pytest.raises(ValueError, match=r"holds m/results_1\.json and no manifest"):
        check_folder(planned())


# --- however it ends ----------------------------------------------------------------------------


class Cli:
    """Stands for lm-eval's command line: does one thing when executed."""

    def __init__(self, do: Any) -> None:
        self.do = do

    def execute(self, arguments: Namespace) -> None:
        if isinstance(self.do, BaseException):
            raise self.do
        self.do(arguments)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (ValueError("bad api_key=sk-1"), "failed"),
        (SystemExit(2), "failed"),
        (lambda arguments: None, "failed"),
    ],
    ids=["ctrl-c", "error", "exit", "nothing written"],
)
def test_the_manifest_says_how_a_run_ended(end: Any, status: str) -> None:
    plan = planned()
    record = manifest.started("base", [], plan.settings)
    with pytest.raises(BaseException):  # noqa: B017,PT011 - each kind is raised on
        runner.execute(Cli(end), plan, record)
    read = manifest.read(plan.folder)
    assert read is not None
    assert read["status"] == status
    assert read["finished_at"] is not None
    assert "sk-1" not in json.dumps(read)


def test_the_folder_of_questions_is_named_only_while_the_run_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(docs.DATA_ENV, "before")
    with runner.data_folder("during"):
        assert os.environ[docs.DATA_ENV] == "during"
    assert os.environ[docs.DATA_ENV] == "before"
    with runner.data_folder(None):
        assert os.environ[docs.DATA_ENV] == "before"


def test_a_failure_is_one_line_and_its_exit_code_tells_whose_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for code, start in ((2, "no such"), (1, "the run failed: OSError: no such")):
        with pytest.raises(SystemExit) as ended:
            stop(OSError("no such\nfile"), debug=False, code=code)
        assert ended.value.code == code
        said = capsys.readouterr().err
        assert said.startswith(start)
        assert said.count("\n") == 1


def test_debug_shows_where_it_failed() -> None:
    with pytest.raises(OSError, match="no such"):
        stop(OSError("no such"), debug=True, code=1)


# --- whole runs ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whole_run_leaves_samples_and_manifest_and_says_where() -> None:
    done = command(
        "run", "--run", "base", "--model", "dummy", "--tasks", "distill_demo", "--repeats", "3",
        "--limit", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = manifest.read(Path("runs/base"))
    assert record is not None
    assert record["status"] == "finished"
    task = record["tasks"]["distill_demo"]
    assert (task["n_docs"], task["repeats"], task["dataset"]["origin"]) == (2, 3, "package")
    assert record["argv"][:6] == ["distill-eval", "run", "--run", "base", "--repeats", "3"]
    results = Path("runs/base", record["results"][0])
    samples = manifest.samples_path(results, "distill_demo")
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    assert [len(row["samples"]) for row in rows] == [3, 3]
    assert "overrides existing task" not in done.stderr
    assert str(results) in done.stdout
    assert "distill-report compare runs/base runs/NAME" in done.stdout
    again = command("run", "--run", "base", "--model", "dummy", "--tasks", "distill_demo")
    assert again.returncode == 2
    assert "Traceback" not in again.stderr


@pytest.mark.slow
def test_an_unknown_task_is_one_line_with_close_names() -> None:
    done = command("run", "--run", "x", "--model", "dummy", "--tasks", "gsm8kk")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("there is no task 'gsm8kk' (did you mean ")
    assert "Traceback" not in done.stderr


def test_the_model_that_the_server_offers_is_noted_before_lm_eval_starts() -> None:
    with FakeUpstream([]) as server:
        plan = planned(model_args={"base_url": server.url})
        runner.name_model(plan)
    assert plan.arguments.model_args["model"] == plan.settings["model_args"]["model"] == "fake"


def test_another_model_behind_the_same_address_is_another_arm() -> None:
    with FakeUpstream([]) as server:
        before = planned(model_args={"base_url": server.url})
        before.settings["model_args"]["model"] = "another"
        measured(before, "distill_demo")
        later = planned(tasks=["distill_aime"], model_args={"base_url": server.url})
        runner.name_model(later)
    with pytest.raises(ValueError, match=r"model_args\.model 'another', not 'fake'"):
        check_folder(later)


def test_a_server_that_is_not_there_is_said_before_lm_eval_starts() -> None:
    started = call(
        "run",
        "--run",
        "x",
        "--tasks",
        "distill_demo",
        "--model_args",
        "base_url=http://127.0.0.1:1",
    )
    assert started.exit_code == 2
    assert started.output.startswith("nothing listens at http://127.0.0.1:1/v1 ")
    assert not Path("runs").exists()


def test_a_file_in_the_place_of_the_folder_is_one_line_and_exit_2() -> None:
    Path("runs").mkdir()
    Path("runs/base").touch()
    started = call("run", "--run", "base", "--tasks", "distill_demo", "--model", "dummy")
    assert started.exit_code == 2
    assert "cannot write into the run's folder 'runs/base': " in started.output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_say_what_is_on_disk(number: int, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "slow.yaml").write_text(
        "task: slow\ncustom_dataset: !function slow.load\ntest_split: test\n"
        "doc_to_text: x\ndoc_to_target: x\n"
    )
    (own / "slow.py").write_text(
        "import time\ndef load(**_):\n    print('loading', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "harness_tasks", "run", "--run", "base", "--model", "dummy"),
            *("--tasks", "slow", "--include_path", str(own)),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        assert process.stdout is not None
        assert "loading" in process.stdout.readline()
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted: lm-eval writes samples when a run ends" in said
    assert "Traceback" not in said
    record = manifest.read(Path("runs/base"))
    assert record is not None
    assert record["status"] == "interrupted"
