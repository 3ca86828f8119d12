"""`distill-eval doctor` against vLLM, llama-server and transformers serve; deselected by default.

    .venv/bin/python -m pytest -m server tests/harness_tasks/doctor

`tests/test_servers.py` tells what must be installed. The models are tiny and random: what is tested
is that each real server is known, and that what it was started wrongly with is found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO
from tests.test_servers import CONTEXT, running, server_python, vllm_of

pytestmark = [pytest.mark.server, pytest.mark.slow]

MINUTE = 60.0
# The tiny context holds these and a prompt; a run's own default would be a warning.
FITS = ("--max-tokens", "64", "--num-concurrent", "4")


@dataclass(frozen=True)
class Told:
    """What the command said: its exit code, and its findings by check."""

    code: int
    verdict: str
    server: dict[str, Any]
    findings: list[dict[str, Any]]

    def of(self, check: str) -> dict[str, Any]:
        """Return what was found first by a check."""
        return next(finding for finding in self.findings if finding["check"] == check)

    def statuses(self) -> dict[str, str]:
        """Return the worst status of each check."""
        worst: dict[str, str] = {}
        for finding in sorted(
            self.findings, key=lambda f: ("skip", "pass", "warn", "fail").index(f["status"])
        ):
            worst[finding["check"]] = finding["status"]
        return worst


def doctor(url: str, *flags: str) -> Told:
    """Run the command, which takes a minute at most."""
    done = subprocess.run(
        [sys.executable, "-m", "harness_tasks", "doctor", "--base_url", url, "--json", *flags],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=MINUTE,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.returncode
    assert not any(finding["broken"] for finding in told["findings"]), told["findings"]
    return Told(done.returncode, told["verdict"], told["server"], told["findings"])


PASSED = ("reachable", "model", "answers", "length", "seeds", "stream", "retries")


def test_a_vllm_that_splits_reasoning_is_known_and_passes(tmp_path: Path) -> None:
    flags = ("--reasoning-parser", "qwen3")
    with running("vllm", tmp_path, *flags, opens_think=True) as served:
        told = doctor(served.url, *FITS, "--preset", "deepseek-r1")
        files = doctor(served.url, *FITS, "--tokenizer", str(tmp_path / "tiny"))
        long = doctor(served.url, "--max-tokens", str(4 * CONTEXT))
        off = json.dumps({"chat_template_kwargs": {"enable_thinking": False}})
        unthinking = doctor(served.url, *FITS, "--model_args", off)
    assert told.server["kind"] == "vllm"
    assert {told.statuses()[check] for check in (*PASSED, "concurrency", "prompt_tokens")} == {
        "pass"
    }
    assert told.of("reasoning")["found"].startswith("apart, in the field reasoning")
    assert told.of("think_tag")["found"].startswith("prefilled")
    assert "as the tokenizer and template of" in files.of("prompt_tokens")["found"]
    assert files.of("prompt_tokens")["status"] == "pass"
    assert (long.code, long.of("context")["status"]) == (2, "fail")
    assert f"{CONTEXT} tokens for prompt and completion" in long.of("context")["found"]
    assert unthinking.of("think_tag")["found"] == "switched off, as the run's settings ask"


def test_a_vllm_whose_parser_takes_a_plain_models_answers_fails(tmp_path: Path) -> None:
    with running("vllm", tmp_path, "--reasoning-parser", "qwen3", never_thinks=True) as served:
        told = doctor(served.url, *FITS)
    assert told.code == 2
    assert told.of("reasoning")["status"] == "fail"
    assert "the model writes no tag" in told.of("reasoning")["found"]


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a base, an adapter that changes it, and one whose weights are all zero."""
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("adapted")
    code = (
        "import pathlib, sys\n"
        "from tests.training.checkpoints import making, served_run\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "base = served_run.base(folder / 'base')\n"
        "making.adapter(folder / 'student', base)\n"
        "making.adapter(folder / 'zero', base, scale=0.0)\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=REPO, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return folder


def test_an_adapter_that_vllm_applies_passes_and_one_without_effect_fails(
    adapted: Path, tmp_path: Path
) -> None:
    lora = ["--enable-lora", "--max-lora-rank", "8", "--lora-modules"]
    lora += [f"{name}={adapted / name}" for name in ("student", "zero")]
    log = tmp_path / "lora.log"
    against = (*FITS, "--against-model", "tiny")
    with vllm_of(server_python("vllm"), adapted / "base", log, *lora) as url:
        student = doctor(url, "--model", "student", *against)
        zero = doctor(url, "--model", "zero", *against, "--against", url)
        same = doctor(url, "--model", "tiny", *against)
        unnamed = doctor(url, *FITS)
    assert student.of("model")["found"] == "student, one of 3 served, an adapter on tiny"
    assert (student.of("lora")["status"], student.of("arms")["status"]) == ("pass", "pass")
    assert zero.of("lora")["status"] == "fail"
    assert "and the same probabilities" in zero.of("lora")["found"]
    assert same.of("arms")["status"] == "fail"
    assert (unnamed.code, unnamed.of("model")["status"]) == (2, "fail")


@contextmanager
def llama(tmp_path: Path, *flags: str, opens_think: bool = False) -> Iterator[str]:
    with running("llamacpp", tmp_path, *flags, opens_think=opens_think) as served:
        yield served.url


def test_a_llama_server_tells_the_context_of_a_slot_and_its_own_sampling(tmp_path: Path) -> None:
    with llama(tmp_path, "--parallel", "4") as url:
        told = doctor(url, "--max-tokens", "512", "--preset", "deepseek-r1")
    assert told.server["kind"] == "llamacpp"
    statuses = told.statuses()
    assert {statuses[check] for check in (*PASSED, "prompt_tokens")} == {"pass"}
    assert (told.of("context")["status"], statuses["slots"]) == ("fail", "warn")
    assert (
        f"{CONTEXT // 4} tokens for prompt and completion (/slots)" in told.of("context")["found"]
    )
    assert "4 slots for 8 requests at once" in told.of("slots")["found"]
    own = [f["found"] for f in told.findings if f["check"] == "sampling" and f["status"] == "warn"]
    assert any("top_k=40" in found for found in own)


def test_a_llama_server_that_switches_thinking_off_is_found(tmp_path: Path) -> None:
    asked = ("--preset", "qwen3-thinking", *FITS)
    (tmp_path / "on").mkdir()
    with llama(tmp_path / "on", opens_think=True) as url:
        on = doctor(url, *asked)
    (tmp_path / "off").mkdir()
    with llama(tmp_path / "off", "--reasoning", "off", opens_think=True) as url:
        off = doctor(url, *asked)
    assert on.of("reasoning")["found"].startswith("apart, in the field reasoning_content")
    assert on.of("think_tag")["status"] == "pass"
    assert off.of("think_tag")["status"] == "fail"
    assert "switched off" in off.of("think_tag")["found"]


def test_transformers_serve_refuses_fields_and_shares_one_generator(tmp_path: Path) -> None:
    with running("transformers", tmp_path) as served:
        told = doctor(served.url, *FITS, "--model", served.model)
        preset = doctor(served.url, *FITS, "--model", served.model, "--preset", "qwen3-thinking")
    assert told.server["kind"] == "transformers"
    assert {told.statuses()[check] for check in PASSED} == {"pass"}
    assert told.statuses()["concurrency"] == "warn"
    assert "all requests of transformers serve share one generator" in " ".join(
        finding["fix"] for finding in told.findings if finding["check"] == "concurrency"
    )
    assert preset.code == 2
    assert "refuses top_k and min_p" in preset.of("sampling")["found"]


def test_a_server_that_went_away_is_told(tmp_path: Path) -> None:
    with llama(tmp_path) as url:
        pass
    told = doctor(url)
    assert (told.code, told.of("reachable")["status"]) == (2, "fail")
    assert "nothing listens" in told.of("reachable")["found"]
    assert {f["status"] for f in told.findings if f["check"] == "seeds"} == {"skip"}
