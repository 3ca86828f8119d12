"""The command `distill-eval doctor`: its options, its exit codes, and what it never prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness_tasks.cli import main
from harness_tasks.doctor.checks import CHECKS
from harness_tasks.doctor.command import context_of, doctor
from harness_tasks.doctor.finding import Context
from tests.conftest import REPO
from tests.misbehaving import KEY, MisbehavingServer


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def read(*arguments: str) -> Context:
    """Return the context that a command line becomes."""
    params: dict[str, Any] = doctor.make_context("doctor", list(arguments)).params
    return context_of({k: v for k, v in params.items() if k not in ("as_json", "debug")})


FITS = ("--max-tokens", "512", "--preset", "thesis")


def test_a_clean_server_passes_with_exit_code_0() -> None:
    with MisbehavingServer() as server:
        result = called("--base_url", server.url, *FITS)
    assert result.exit_code == 0, result.output
    assert "exit code 0" in result.output


def test_a_warning_is_exit_code_1() -> None:
    with MisbehavingServer(ignores_seed=True) as server:
        assert called("--base_url", server.url, *FITS).exit_code == 1


def test_a_failure_is_exit_code_2_and_all_else_is_checked() -> None:
    with MisbehavingServer(swallows_answer=True) as server:
        result = called("--base_url", server.url, *FITS, "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout)
    assert told["verdict"] == "fail"
    assert {f["check"] for f in told["findings"]} == {check.name for check in CHECKS}


def test_without_a_server_the_machine_is_checked() -> None:
    result = called("--json")
    told = json.loads(result.stdout)
    by_needs = {check.name: check.needs for check in CHECKS}
    for finding in told["findings"]:
        if by_needs[finding["check"]] != "nothing":
            assert (finding["status"], finding["broken"]) == ("skip", False)
    assert any(f["status"] == "pass" for f in told["findings"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repeats", "2", "--metadata", "repeats=3"], "--repeats 2 contradicts repeats 3"),
        (
            ["--data-dir", "a", "--metadata", '{"data_dir": "b"}'],
            "--data-dir a contradicts data_dir b in --metadata",
        ),
        (["--metadata", "sha"], "--metadata takes NAME=VALUE"),
        (["--model", "m"], "model is given without a server; add --base_url"),
        (["--against", "http://h:1"], "against is given without a server"),
        (["--base_url", "ftp://h"], "base_url must look like"),
        (["--base_url", "http://h:1", "--against", "nonsense"], "base_url must look like"),
        (["--base_url", "http://h:1", "--preset", "qwen"], "preset must be one of"),
        (["--base_url", "http://h:1", "--tasks", "distill_mth500"], "distill_math500"),
        (["--base_url", "http://h:1", "--max-tokens", "0"], "max_tokens must be"),
        (["--base_url", "http://h:1", "--model_args", "temprature=1"], "did you mean temperature?"),
        (["--base_url", "http://h:1", "--model_args", "model"], "takes NAME=VALUE"),
        (
            ["--base_url", "http://h:1", "--model", "a", "--model_args", "model=b"],
            "--model a contradicts model=b in --model_args; leave one",
        ),
    ],
)
def test_a_call_that_cannot_be_read_is_one_line_and_exit_code_2(
    arguments: list[str], said: str
) -> None:
    result = called(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_settings_come_from_model_args_and_their_own_options_alike() -> None:
    context = read(
        "--model_args", "base_url=http://h:1,model=8,num_concurrent=3", "--max-tokens", "9"
    )
    assert context.server is not None
    assert (context.server.base, context.server.model) == ("http://h:1/v1", "8")
    assert (context.num_concurrent, context.max_tokens) == (3, 9)
    assert not context.max_tokens_is_default


def test_both_spellings_of_an_option_are_read() -> None:
    one = read("--base-url", "http://h:1", "--num-concurrent", "2", "--system-prompt", "x")
    two = read("--base_url", "http://h:1", "--num_concurrent", "2", "--system_prompt", "x")
    assert one.server is not None
    assert two.server is not None
    assert (one.num_concurrent, one.server.settings.system_prompt) == (2, "x")
    assert (two.num_concurrent, two.server.settings.system_prompt) == (2, "x")


def test_the_longest_limit_of_the_tasks_counts() -> None:
    url = ("--base_url", "http://h:1", "--preset", "qwen3-thinking")
    assert read(*url, "--tasks", "distill_math500").max_tokens == 32_768
    assert read(*url, "--tasks", "distill_math500,distill_aime24").max_tokens == 38_912
    assert read(*url, "--tasks", "distill_aime24", "--max-tokens", "100").max_tokens == 100


def test_the_samples_and_the_data_of_the_run_are_read_as_it_reads_them(tmp_path: Path) -> None:
    own = read("--metadata", json.dumps({"accept_sha256": "ab", "data_dir": str(tmp_path)}))
    assert (own.data_dir, own.metadata["accept_sha256"]) == (str(tmp_path), "ab")
    assert read("--metadata", "repeats=4").n_samples == read("--repeats", "4").n_samples == 4
    assert read("--base_url", "http://h:1", "--preset", "thesis").n_samples == 2
    assert read().n_samples == 1


def test_groups_of_tasks_are_taken_apart() -> None:
    tasks = read("--tasks", "distill_all").tasks
    assert {"distill_math500", "distill_ifeval"} <= set(tasks)
    assert "distill_all" not in tasks


def test_several_addresses_are_a_server_and_its_replicas() -> None:
    context = read("--base_url", "http://a:1|http://b:2/v1", "--num-concurrent", "9")
    assert context.server is not None
    assert context.server.base == "http://a:1/v1"
    assert [replica.base for replica in context.replicas] == ["http://b:2/v1"]
    assert context.at_once == 5


@pytest.mark.parametrize(
    ("arguments", "base", "model"),
    [
        (["--against", "http://b:2"], "http://b:2/v1", ""),
        (["--against-model", "base"], "http://a:1/v1", "base"),
        (["--against", "http://b:2", "--against-model", "base"], "http://b:2/v1", "base"),
    ],
)
def test_the_second_model_is_asked_as_the_first(
    arguments: list[str], base: str, model: str
) -> None:
    context = read("--base_url", "http://a:1", "--model", "m", "--preset", "qwq", *arguments)
    assert context.against is not None
    assert (context.against.base, context.against.model) == (base, model)
    assert context.against.settings.preset == "qwq"


def test_a_key_is_used_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_TEST", KEY)
    with MisbehavingServer(needs_key=True) as server:
        good = called("--base_url", server.url, "--api-key-env", "KEY_OF_TEST", *FITS, "--json")
        monkeypatch.setenv("KEY_OF_TEST", "sk-wrong-one")
        bad = called("--base_url", server.url, "--api-key-env", "KEY_OF_TEST", *FITS, "--json")
    assert good.exit_code == 0, good.output
    assert bad.exit_code == 2
    assert "api-key-env" in bad.output
    assert KEY not in good.output
    assert "sk-wrong-one" not in bad.output


def test_its_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['distill-eval', 'doctor', '--help']\n"
        "from harness_tasks.cli import main\n"
        "import contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & {"torch", "lm_eval", "httpx2", "datasets", "tokenizers"}
