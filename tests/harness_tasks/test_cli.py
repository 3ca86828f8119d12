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
from harness_tasks.cli import lacking, main, options_of, stop
from harness_tasks.plan import (
    RunOptions,
    check_folder,
)
from harness_tasks.run_folder import Retry
from tests.conftest import REPO, SHARED, needs_shared
from tests.fakes import FakeUpstream
from tests.harness_tasks.test_plan import measured, planned

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


def test_repeats_reach_every_task_as_metadata_and_write_no_file() -> None:
    plan = planned(
        RunOptions(run="base", repeats=4),
        tasks=["distill_math"],
        metadata={"other": 1},
    )
    runner.write_overrides(plan)
    assert plan.arguments.metadata == {"other": 1, "repeats": 4}
    assert not Path("runs/base").exists()


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


def test_a_json_object_among_plain_arguments_is_told_how_to_be_written() -> None:
    given = 'base_url=http://x,extra_body={"token": "abc"}'
    done = call("run", "--tasks", "distill_demo", "--model_args", given)
    assert done.exit_code == 2
    assert 'all of them are one: \'{"base_url": "http://..."' in done.output
    assert "abc" not in done.output


@pytest.mark.parametrize("repeats", ["0", "-1", "x"])
def test_repeats_below_one_are_refused(repeats: str) -> None:
    assert call("run", "--repeats", repeats, "--tasks", "distill_demo").exit_code == 2


def test_remarks_on_our_own_doing_are_dropped_and_others_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner.drop_remarks(Path("runs/base"))
    index = logging.getLogger("lm_eval.tasks._index")
    for folder in (Path("runs/base/tasks").resolve(), "mine"):
        index.warning("Task 'a' from %s/a.yaml overrides existing task from b.yaml", folder)
    logging.getLogger("lm_eval.api.task").warning("a: Custom kwargs can be passed to `--metadata`")
    logging.getLogger("lm_eval.evaluator").warning("pretrained=None appears to be an instruct or\n")
    assert [record.getMessage() for record in caplog.records] == [
        "Task 'a' from mine/a.yaml overrides existing task from b.yaml"
    ]


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


def test_a_start_that_asked_nothing_leaves_a_finished_run_as_it_was() -> None:
    plan = planned()
    plan.before = {**manifest.started("base", [], plan.settings), "status": "finished"}
    record = manifest.started("base", [], plan.settings)
    with pytest.raises(ValueError, match="no larger limit"):
        runner.execute(Cli(ValueError("no larger limit")), plan, record)
    assert manifest.read(plan.folder) == plan.before
    record["asking"] = {"n_requests": {"distill_demo": 4}}
    with pytest.raises(KeyboardInterrupt):
        runner.execute(Cli(KeyboardInterrupt()), plan, record)
    assert (manifest.read(plan.folder) or {})["status"] == "interrupted"


def test_a_full_disk_is_told_with_what_is_kept() -> None:
    plan = planned()
    record = manifest.started("base", [], plan.settings)
    full = OSError(28, "No space left on device", "runs/base/x")
    with pytest.raises(OSError, match=r"No space left.*goes on from there"):
        runner.evaluate(Cli(full), plan, record)
    plan.arguments.model = "hf"
    with pytest.raises(KeyboardInterrupt, match="of model 'hf' are kept when a run ends"):
        runner.evaluate(Cli(KeyboardInterrupt()), plan, record)


def test_the_folder_of_questions_is_named_only_while_the_run_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(docs.DATA_ENV, "before")
    with runner.environment_set(docs.DATA_ENV, "during"):
        assert os.environ[docs.DATA_ENV] == "during"
    assert os.environ[docs.DATA_ENV] == "before"
    with runner.environment_set(docs.DATA_ENV, None):
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
    assert "interrupted: completions of model 'dummy' are kept when a run ends" in said
    assert "so the same command starts anew (runs/base/manifest.json says so)" in said
    assert "Traceback" not in said
    record = manifest.read(Path("runs/base"))
    assert record is not None
    assert record["status"] == "interrupted"


def given(**options: Any) -> dict[str, Any]:
    """Return what click hands to `run`."""
    context = main.commands["run"].make_context("run", [])
    return {**context.params, **options} | {"debug": None}


def bare(**options: Any) -> tuple[RunOptions, tuple[str, ...]]:
    params = given(**options)
    params.pop("debug")
    return options_of(params)


def test_a_named_run_without_arguments_is_the_one_that_was_begun() -> None:
    argv = ["distill-eval", "run", "--repeats", "4", "--tasks", "distill_demo", "--limit", "5"]
    manifest.write(Path("runs/base"), manifest.started("base", argv, {}))
    options, lm_eval_args = bare(run_name="base")
    assert lm_eval_args == ("--tasks", "distill_demo", "--limit", "5")
    assert (options.run, options.repeats, options.recorded) == ("base", 4, True)
    again, _ = bare(run_name="base", truncated=True, max_tokens=9, repeats=8)
    assert again.retry == Retry(truncated=True, max_tokens=9)
    assert again.repeats == 8


def test_without_a_name_and_arguments_there_is_nothing_to_do() -> None:
    assert "no tasks given" in call("run").output
    assert call("run", "--run", "base").output.startswith("there is no run 'base' in runs")


def test_what_a_finished_run_lacks_is_said_with_the_next_step() -> None:
    told = {"n_samples": 40, "n_errors": 2, "n_truncated": 3, "error": "HTTP 500"}
    lines = list(lacking("toy", {**told, "sampling": {"max_tokens": 100}}))
    assert "2 of 40 requests failed and are left out of the score (HTTP 500)" in lines[0]
    assert "3 of 40 completions were cut off; the same command with --retry-t" in lines[1]
    assert "--max-tokens 200" in lines[1]
    in_process = list(lacking("toy", {**told, "sampling": {"max_tokens": 100}}, kept=False))
    assert "; --gen_kwargs max_gen_toks=200 under another --run" in in_process[1]
    (cut,) = lacking("toy", {**told, "n_errors": 0})
    assert cut.endswith("completions were cut off")
    assert list(lacking("toy", {"n_samples": 40, "n_errors": 0, "n_truncated": 0})) == []
