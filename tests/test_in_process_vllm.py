"""lm-eval's `--model vllm` in its own process, against `vllm serve` of the same model; deselected.

make server-vllm && .venv-vllm/bin/pip install --editable .
.venv/bin/python -m pytest -m server tests/test_in_process_vllm.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO
from tests.test_servers import CONTEXT, N_DOCS, SAMPLED, TASK, Run, running, server_python, start

pytestmark = [pytest.mark.server, pytest.mark.slow]

GRADED = ("verdict", "truncated", "state", "finish_reason", "reasoning_chars", "answer_chars",
          "completion_tokens", "sample_index")  # fmt: skip
FLAGS = ("--repeats", "2")


def in_process(folder: Path, name: str, model: Path, **model_args: Any) -> Run:
    """Run ten questions inside vLLM's own environment."""
    python = server_python("vllm")
    given = {
        "pretrained": str(model),
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": CONTEXT,
        **model_args,
    }
    sampled = f"temperature={SAMPLED['temperature']},max_gen_toks={SAMPLED['max_tokens']}"
    done = subprocess.run(
        [
            *(str(python), "-m", "harness_tasks", "run", "--run", name, "--model", "vllm"),
            *("--model_args", json.dumps(given), "--tasks", TASK, "--limit", str(N_DOCS)),
            *("--apply_chat_template", "--gen_kwargs", sampled, *FLAGS),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(REPO),
            "OMP_NUM_THREADS": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        },
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    if "No module named" in done.stderr:
        pytest.skip(
            f"{python.parent}/pip install --editable {REPO} is missing: {done.stderr[-300:]}"
        )
    return Run(folder / "runs" / name, done.returncode, done.stderr)


def test_samples_and_records_are_those_of_a_served_model(tmp_path: Path) -> None:
    with running("vllm", tmp_path, opens_think=True) as server:
        process = start(server.url, "served", tmp_path, FLAGS, prefilled=True, **SAMPLED)
        _, said = process.communicate(timeout=300)
        served = Run(tmp_path / "runs" / "served", process.returncode, said)
    assert served.code == 0, served.stderr
    model = tmp_path / "tiny"
    own = in_process(tmp_path, "own", model, enable_thinking=True, think_end_token="</think>")
    assert own.code == 0, own.stderr[-3000:]
    assert len(own.texts) == 2 * N_DOCS
    assert own.texts == served.texts
    assert [[r[k] for k in GRADED] for r in own.records] == [
        [r[k] for k in GRADED] for r in served.records
    ]
    assert all(own.texts[doc, 0] != own.texts[doc, 1] for doc in range(N_DOCS))
    assert {record["finish_reason"] for record in own.records} >= {"length"}
    manifest = own.manifest()
    assert manifest["sampling"] == SAMPLED
    assert manifest["server"]["kind"] == "vllm in process"
