"""The whole road as the tests walk it: recorded answers, proxy, lm_eval in a subprocess, report."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness_tasks.reasoning import split
from harness_tasks.records import read_jsonl, write_jsonl
from tests.conftest import REPO, SHARED
from tests.harness_tasks.ifeval.published import ifeval_docs, responses

BENCHMARKS = SHARED / "data" / "benchmarks"
READY = "listening on "
PATIENCE_S = 60
# Pieces of a stream: small enough to fall between tags, large enough for 3,600 answers a test run.
CHUNK_CHARS = "61"

# task -> benchmark, baseline, candidate: models whose completions were published
PAIRS = {
    "distill_math500": (
        "math500",
        "skythought__gemma-2-27b-it",
        "skythought__Sky-T1-math-correct-5K-27B",
    ),
    "distill_gsm8k": (
        "gsm8k",
        "reasoninggym__Qwen2.5-3B-Instruct",
        "reasoninggym__Qwen-2.5-3B-rlft",
    ),
    "distill_ifeval": (
        "ifeval",
        "gpt-4o-2024-08-06",
        "Qwen__Qwen2.5-7B-Instruct-GPTQ-Int4",
    ),
}


def published(benchmark: str, name: str) -> list[dict[str, Any]]:
    """Return the published rows of one model on one benchmark, in doc order."""
    if benchmark == "ifeval":
        return published_ifeval(name)
    path = SHARED / "data" / "outputs" / benchmark / f"{name}.jsonl.gz"
    return sorted(read_jsonl(path), key=lambda row: int(row["idx"]))


def published_ifeval(name: str) -> list[dict[str, Any]]:
    """Return IFEval's prompts with the published responses, in the form of the others.

    The publisher asked doc 339 for one placeholder, where IFEval wants three.
    """
    return [
        {"question": doc["question"], "code": [response]}
        for doc, response in zip(ifeval_docs(), responses(name), strict=True)
    ]


def record(rows: list[dict[str, Any]], path: Path) -> Path:
    """Write published completions as the recorded server reads them.

    The files do not tell finish_reason: a thought that was never closed was cut off.
    """
    recorded = []
    for row in rows:
        raw = row["code"][0]
        parts = split(raw)
        recorded.append(
            {
                "question": row["question"],
                "reasoning": parts.reasoning or None,
                "content": parts.answer_text,
                "finish_reason": "length" if parts.state == "unclosed" else "stop",
                "raw": raw,
            }
        )
    write_jsonl(path, recorded)
    return path


@contextmanager
def server(*argv: str) -> Iterator[str]:
    """Run one of our servers until the block ends, and yield the URL that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", *argv, "--listen", "127.0.0.1:0"],
        cwd=REPO,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith(READY):
                yield line.removeprefix(READY).split()[0]
                break
        else:
            raise AssertionError(f"{argv[0]} ended without {READY!r}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.wait(timeout=PATIENCE_S)
        process.stdout.close()


def evaluate(
    completions: Path, task: str, out: Path, *, form: str = "inline", stream: bool = True
) -> Path:
    """Serve recorded completions, put the proxy in front, and run `lm_eval`; return its folder."""
    name = completions.stem
    recorded = ["proxy.recorded_server", "--completions", str(completions), "--model", name]
    with (
        server(*recorded, "--form", form, "--chunk-chars", CHUNK_CHARS) as upstream,
        server("proxy", "--upstream", upstream, "--log", str(out / "log")) as url,
    ):
        lm_eval(
            "--model_args",
            f"base_url={url}/v1,model={name},run={name},stream={stream},num_concurrent=16",
            "--tasks",
            task,
            "--output_path",
            str(out),
            cwd=out,
        )
    return out


def walk(task: str, out: Path) -> tuple[Path, Path]:
    """Evaluate both arms of a published pair; return their run folders, base and student."""
    benchmark, *names = PAIRS[task]
    arms = (out / "base", out / "student")
    for name, arm in zip(names, arms, strict=True):
        arm.mkdir(parents=True)
        evaluate(record(published(benchmark, name), arm / f"{arm.name}.jsonl"), task, arm)
    return arms


def lm_eval(*argv: str, cwd: Path) -> None:
    """Run the installed `lm_eval` with local-chat in a folder that holds nothing of ours."""
    command = [sys.executable, "-m", "lm_eval", "--model", "local-chat", "--log_samples", *argv]
    environ = {
        **os.environ,
        "DISTILL_EVAL_DATA": str(BENCHMARKS),
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "default",
    }
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


def samples(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the graded record of each doc, from the samples file that lm-eval wrote."""
    (path,) = folder.rglob("samples_*.jsonl")
    return {row["doc_id"]: row["samples"][0] for row in read_jsonl(path)}


def report(baseline: Path, candidate: Path, *options: str) -> dict[str, Any]:
    """Return what `distill-report compare --json -` says of two runs."""
    command = [sys.executable, "-m", "analysis", "compare", str(baseline), str(candidate)]
    logs = [f"--log={folder / 'log'}" for folder in (baseline, candidate)]
    done = subprocess.run(
        [*command, *logs, "--json", "-", *options],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def gunzipped(path: Path) -> str:
    """Return the text of a gz file."""
    return gzip.decompress(path.read_bytes()).decode()
