"""`local-chat` and the proxy against real inference servers; deselected by default.

    make server-transformers server-vllm server-llamacpp
    .venv/bin/python -m pytest -m server

Each server lives in an environment of its own; DISTILL_EVAL_SERVER_PYTHON_VLLM,
DISTILL_EVAL_SERVER_PYTHON_TRANSFORMERS and DISTILL_EVAL_SERVER_PYTHON_LLAMACPP name another Python
than that of these Makefile targets. The model is tiny and random (`tests/tiny_model.py`,
`tests/tiny_gguf.py`), so only the road is tested, not a score.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness_tasks.records import read_jsonl
from proxy.exchange import Exchange, read_exchanges
from tests.conftest import REPO
from tests.end_to_end import report, server

pytestmark = [pytest.mark.server, pytest.mark.slow]

START_S = 240.0
END_S = 30.0
CONTEXT = 1024
TASK = "distill_demo"
N_DOCS = 10
KINDS = ("transformers", "vllm", "llamacpp")
SAMPLED = {"temperature": 0.6, "max_tokens": 48}


@dataclass(frozen=True)
class Running:
    """A server that answers; `model` is the name to ask for."""

    kind: str
    url: str
    model: str
    process: subprocess.Popen[bytes]


def server_python(kind: str) -> Path:
    """Return the Python of a server's environment, or skip."""
    variable = f"DISTILL_EVAL_SERVER_PYTHON_{kind.upper()}"
    path = Path(os.environ.get(variable) or REPO / f".venv-{kind}" / "bin" / "python")
    if not path.exists():
        pytest.skip(
            f"{kind} is not installed: no {path}; run `make server-{kind}` or set {variable}"
        )
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command_of(kind: str, python: Path, model: Path, port: int, *flags: str) -> list[str]:
    """Return the command that serves a model on loopback."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "transformers":
        return [str(python.parent / "transformers"), "serve", *address, "--device", "cpu", *flags]
    if kind == "llamacpp":
        served = ["--model", str(model), "--alias", "tiny", "--ctx-size", str(CONTEXT)]
        return [str(python.parent / "llama-server"), *address, *served, "--parallel", "1", *flags]
    return [
        *[str(python.parent / "vllm"), "serve", str(model), *address, "--enforce-eager"],
        *["--dtype", "float32", "--max-model-len", str(CONTEXT), "--served-model-name", "tiny"],
        *flags,
    ]


@contextmanager
def running(
    kind: str, folder: Path, *flags: str, opens_think: bool = False, never_thinks: bool = False
) -> Iterator[Running]:
    """Make the tiny model and serve it until the block ends."""
    python = server_python(kind)
    model = folder / "tiny"
    environ = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    maker = "tiny_gguf.py" if kind == "llamacpp" else "tiny_model.py"
    make = [str(python), str(REPO / "tests" / maker), str(model)]
    make += ["--opens-think"] if opens_think else []
    make += ["--never-thinks"] if never_thinks else []
    subprocess.run(
        make,
        env=environ,
        check=True,
        capture_output=True,
    )
    port = free_port()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command_of(kind, python, model, port, *flags),
            env=environ,
            stdout=log,
            stderr=log,
            cwd=folder,  # transformers takes a folder below it for the name of a model
            start_new_session=True,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
        yield Running(kind, f"http://127.0.0.1:{port}", model.name, process)
    finally:
        end(process)


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if httpx2.get(url, trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.5)
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """End a server and the processes that it started, which form a group of their own."""
    for sign in (how, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            continue


@dataclass(frozen=True)
class Run:
    """What one `distill-eval run` left behind."""

    folder: Path
    code: int
    stderr: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        (path,) = self.folder.rglob("samples_*.jsonl")
        return list(read_jsonl(path))

    @property
    def texts(self) -> dict[tuple[int, int], str]:
        """Return every completion by (doc_id, sample_index)."""
        return {
            (row["doc_id"], index): text
            for row in self.rows
            for index, text in enumerate(row["resps"][0])
        }

    @property
    def records(self) -> list[dict[str, Any]]:
        return [record for row in self.rows for record in row["samples"]]

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_bytes())
        return manifest


def start(
    url: str, name: str, cwd: Path, flags: tuple[str, ...], **model_args: Any
) -> subprocess.Popen[str]:
    """Start a run of ten questions; its folder is runs/NAME in `cwd`."""
    given = json.dumps({"base_url": url, **model_args})
    fixed = ["--run", name, "--tasks", TASK, "--limit", str(N_DOCS), "--model_args", given]
    return subprocess.Popen(
        [sys.executable, "-m", "harness_tasks", "run", *fixed, *flags],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def evaluate(url: str, name: str, cwd: Path, *flags: str, **model_args: Any) -> Run:
    return finished(start(url, name, cwd, flags, **model_args), cwd / "runs" / name)


def finished(process: subprocess.Popen[str], folder: Path) -> Run:
    _, stderr = process.communicate(timeout=START_S)
    return Run(folder, process.returncode, stderr)


def logged(folder: Path, run: str) -> dict[str, Exchange]:
    """Return the exchanges of a run by request id, each of which must be there once."""
    found = [e for e in read_exchanges(folder) if e.request_id.startswith(f"{run}/")]
    by_id = {exchange.request_id: exchange for exchange in found}
    assert len(by_id) == len(found)
    return by_id


@pytest.fixture(scope="module", params=KINDS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with running(request.param, tmp_path_factory.mktemp(request.param)) as one:
        yield one


@pytest.fixture(scope="module")
def vllm_that_splits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    flags = ("--reasoning-parser", "qwen3")
    with running("vllm", tmp_path_factory.mktemp("split"), *flags, opens_think=True) as one:
        yield one


@pytest.fixture(scope="module")
def llamacpp_that_splits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("llamacpp", tmp_path_factory.mktemp("split"), opens_think=True) as one:
        yield one


def test_two_runs_through_the_proxy_join_their_logs_and_repeat_themselves(
    served: Running, tmp_path: Path
) -> None:
    sampling = {**SAMPLED, "model": served.model, "num_concurrent": 1}
    with server("proxy", "--upstream", served.url, "--log", str(tmp_path / "log")) as url:
        streamed = evaluate(url, "streamed", tmp_path, "--repeats", "2", **sampling)
        whole = evaluate(
            url,
            "whole",
            tmp_path,
            "--repeats",
            "2",
            "--apply_chat_template",
            stream=False,
            **sampling,
        )
    assert (streamed.code, whole.code) == (0, 0), streamed.stderr + whole.stderr
    # Same seeds, same completions; another sample of the same question is another completion.
    assert streamed.texts == whole.texts
    assert all(streamed.texts[doc, 0] != streamed.texts[doc, 1] for doc in range(N_DOCS))
    exchanges = logged(tmp_path / "log", "streamed")
    assert len(exchanges) == 2 * N_DOCS
    for record in streamed.records:
        exchange = exchanges[record["request_id"]]
        usage = exchange.usage or {}
        assert exchange.finish_reason == record["finish_reason"]
        assert usage["completion_tokens"] == record["completion_tokens"] <= SAMPLED["max_tokens"]
        assert (exchange.ttft_s is not None) is bool(exchange.content)  # some end before any text
        assert (exchange.gaps_s is not None) is (exchange.n_chunks > 1)
        # Answers with a stray </think> tell a run that the template opens the tag, so that what was
        # cut off without one is reasoning. A record knows its own answer only.
        assert record["state"] in (exchange.reasoning_state, "unclosed")
    assert "length" in {record["finish_reason"] for record in streamed.records}
    assert {e.content for e in exchanges.values()} == set(streamed.texts.values())
    for exchange in logged(tmp_path / "log", "whole").values():
        assert (exchange.ttft_s, exchange.gaps_s, exchange.n_chunks) == (None, None, 0)
        assert exchange.request_bytes > 0
        assert exchange.response_bytes > len((exchange.content or "").encode())
    manifest = streamed.manifest()
    assert manifest["server"]["kind"] == served.kind
    assert (manifest["server"]["version"] is None) is (served.kind == "transformers")
    assert manifest["sampling"] == SAMPLED


def test_a_report_on_two_runs_finds_every_exchange(served: Running, tmp_path: Path) -> None:
    for name, seed in (("base", 1), ("student", 2)):
        log = tmp_path / "runs" / name / "log"
        with server("proxy", "--upstream", served.url, "--log", str(log)) as url:
            run = evaluate(url, name, tmp_path, model=served.model, seed=seed, **SAMPLED)
        assert run.code == 0, run.stderr
    base, student = tmp_path / "runs" / "base", tmp_path / "runs" / "student"
    (found,) = report(base, student)["tasks"]
    joined = {(row["baseline_logged"], row["candidate_logged"]) for row in found["volume"]}
    assert joined == {(N_DOCS, N_DOCS)}


def test_two_proxies_with_routes_share_a_log_of_many_compressed_segments(
    served: Running, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    routes = {"base": ("elsewhere", "student"), "student": ("elsewhere", served.model)}
    for name, (other, route) in routes.items():
        flags = ("--log", str(log), "--rotate-time", "1s", "--route", f"{other}=http://127.0.0.1:9")
        with server("proxy", *flags, "--route", f"{route}={served.url}") as url:
            # the first is asked by its path, the second by the name of the model
            root = f"{url}/{route}" if name == "base" else url
            run = evaluate(f"{root}/v1", name, tmp_path, model=served.model, **SAMPLED)
            time.sleep(1.1)
            answer_of(root, {"model": served.model, "messages": [], "max_tokens": 1})
        assert run.code == 0, run.stderr
        assert {e.route for e in logged(log, name).values()} == {route}
    assert len(list(log.glob("*.jsonl.zst"))) > 2
    assert not list(log.glob("*.jsonl"))
    arms = [str(tmp_path / "runs" / name) for name in routes]
    command = [sys.executable, "-m", "analysis", "compare", *arms, "--log", str(log)]
    done = subprocess.run([*command, "--json", "-"], capture_output=True, check=True, cwd=REPO)
    (found,) = json.loads(done.stdout)["tasks"]
    joined = {(row["baseline_logged"], row["candidate_logged"]) for row in found["volume"]}
    assert joined == {(N_DOCS, N_DOCS)}


def test_the_proxy_changes_no_byte_of_an_answer(served: Running, tmp_path: Path) -> None:
    body = {"model": served.model, "messages": [{"role": "user", "content": "héllo ☃"}], "seed": 5}
    with server("proxy", "--upstream", served.url, "--log", str(tmp_path)) as url:
        for extra in ({}, {"stream": True}, {"messages": "bad"}, {"model": "no/such"}):
            asked = {**body, **SAMPLED, **extra}
            # asked before, so that a cache holds the prompt both times
            _, straight, through = (answer_of(at, asked) for at in (served.url, served.url, url))
            assert straight == through


def answer_of(url: str, body: dict[str, Any]) -> tuple[int, set[tuple[str, str]], list[Any]]:
    """Return status, headers and body without what differs between any two answers."""
    with httpx2.Client(trust_env=False, timeout=60) as client:
        told = client.post(
            f"{url}/v1/chat/completions", json=body, headers={"x-request-id": "a/b/0/0"}
        )
    events = [line.removeprefix("data: ") for line in told.text.split("\n\n") if line]
    parsed = [json.loads(event) if event.startswith("{") else event for event in events]
    varying = {"date", "connection", "keep-alive"}
    for event in parsed:
        if isinstance(event, dict):
            event.pop("created", None)
            if "a/b/0/0" not in str(event.get("id")):
                event.pop("id", None)
            if event.pop("timings", None):  # llama.cpp's, with figures of any length
                varying.add("content-length")
    headers = {(name, value) for name, value in told.headers.items() if name not in varying}
    return told.status_code, headers, parsed


def test_a_server_that_dies_leaves_error_samples_and_a_finished_run(tmp_path: Path) -> None:
    with (
        running("transformers", tmp_path) as served,
        server("proxy", "--upstream", served.url, "--log", str(tmp_path / "log")) as url,
    ):
        settings = {"model": served.model, "max_tokens": 800, "num_concurrent": 2}
        process = start(url, "cut", tmp_path, (), max_retries=1, **settings)
        while not any((tmp_path / "log").glob("*.jsonl")) or not list(
            read_exchanges(tmp_path / "log")
        ):
            assert process.poll() is None
            time.sleep(0.1)
        end(served.process, signal.SIGKILL)
        run = finished(process, tmp_path / "runs" / "cut")
    assert run.code == 0, run.stderr
    assert "requests failed and are error samples" in run.stderr
    verdicts = [record["verdict"] for record in run.records]
    assert 0 < verdicts.count("grader_error") < N_DOCS


def test_a_wrong_model_name_is_told_with_the_right_one(
    vllm_that_splits: Running, tmp_path: Path
) -> None:
    run = evaluate(vllm_that_splits.url, "wrong", tmp_path, model="tny")
    assert (run.code, "has no model 'tny'; it offers tiny" in run.stderr) == (2, True)


def test_more_tokens_than_the_context_is_the_servers_own_error(
    vllm_that_splits: Running, tmp_path: Path
) -> None:
    run = evaluate(vllm_that_splits.url, "over", tmp_path, max_tokens=4 * CONTEXT)
    assert run.code == 2
    assert f"HTTP 400 from {vllm_that_splits.url}/v1" in run.stderr
    assert str(CONTEXT) in run.stderr


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("splitting", "source"),
    [("vllm_that_splits", "reasoning"), ("llamacpp_that_splits", "reasoning_content")],
)
def test_reasoning_that_is_sent_apart_is_kept(
    request: pytest.FixtureRequest, splitting: str, source: str, tmp_path: Path, stream: bool
) -> None:
    served: Running = request.getfixturevalue(splitting)
    with server("proxy", "--upstream", served.url, "--log", str(tmp_path)) as url:
        run = evaluate(url, "split", tmp_path, temperature=1, max_tokens=300, stream=stream)
    assert run.code == 0, run.stderr
    exchanges = logged(tmp_path, "split")
    assert source in {e.reasoning_source for e in exchanges.values()}
    for row in run.rows:
        exchange = exchanges[row["samples"][0]["request_id"]]
        assert exchange.reasoning_state == row["samples"][0]["state"]
        if exchange.reasoning:
            text = row["resps"][0][0]
            assert text.startswith(f"<think>{exchange.reasoning}")
            assert text.endswith(exchange.content or "")


def test_thinking_switched_off_reaches_the_template(
    vllm_that_splits: Running, tmp_path: Path
) -> None:
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    with server("proxy", "--upstream", vllm_that_splits.url, "--log", str(tmp_path)) as url:
        for name, more in (("on", {}), ("off", off)):
            assert evaluate(url, name, tmp_path, **SAMPLED, **more).code == 0
    on, without = (
        sum((e.usage or {})["prompt_tokens"] for e in logged(tmp_path, name).values())
        for name in ("on", "off")
    )
    assert without > on  # the template writes an empty thought
    assert not any(e.reasoning for e in logged(tmp_path, "off").values())


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run with two checkpoints of an adapter, and the first of them merged."""
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("student")
    made = subprocess.run(
        [sys.executable, "-m", "tests.training.checkpoints.served_run", str(folder)],
        cwd=REPO,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return folder


@contextmanager
def lora_server(student: Path, tmp_path: Path, *flags: str) -> Iterator[str]:
    """Serve base, adapter and merged model with vLLM: two servers, both on loopback."""
    python = server_python("vllm")
    first, second = sorted((student / "run" / "checkpoints").iterdir())
    lora = ["--enable-lora", "--max-lora-rank", "8", "--lora-modules"]
    lora += [f"first={first}", f"second={second}", *flags]
    with vllm_of(python, student / "base", tmp_path / "lora.log", *lora) as url:
        yield url


@contextmanager
def vllm_of(python: Path, model: Path, log: Path, *flags: str) -> Iterator[str]:
    port = free_port()
    environ = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            command_of("vllm", python, model, port, *flags),
            env=environ,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


def greedy(url: str, tmp_path: Path, name: str, model: str) -> dict[tuple[int, int], str]:
    """Return greedy completions through the proxy."""
    with server("proxy", "--upstream", url, "--log", str(tmp_path / name)) as through:
        run = evaluate(through, name, tmp_path, model=model, temperature=0, max_tokens=32)
    assert run.code == 0, run.stderr
    assert len(logged(tmp_path / name, name)) == N_DOCS
    return run.texts


def test_vllm_gives_the_same_greedy_text_for_an_adapter_and_what_it_was_merged_into(
    student: Path, tmp_path: Path
) -> None:
    with lora_server(student, tmp_path) as url:
        first, second, base = (
            greedy(url, tmp_path, name, model)
            for name, model in (("first", "first"), ("second", "second"), ("base", "tiny"))
        )
        stops = {model: stops_at_turn_end(url, model) for model in ("tiny", "first")}
    with vllm_of(server_python("vllm"), student / "merged", tmp_path / "merged.log") as url:
        merged = greedy(url, tmp_path, "merged", "tiny")
        stops["merged"] = stops_at_turn_end(url, "tiny")
    assert first == merged
    assert len({tuple(one.values()) for one in (first, second, base)}) == 3
    # What `serve-hint` warns of: a server stops an adapter where the base's files say.
    assert stops == {"tiny": False, "first": False, "merged": True}


@pytest.mark.parametrize("flag", ["--generation-config", "--tokenizer"])
def test_the_flag_of_serve_hint_makes_vllm_stop_where_the_student_does(
    student: Path, tmp_path: Path, flag: str
) -> None:
    first, _ = sorted((student / "run" / "checkpoints").iterdir())
    with lora_server(student, tmp_path, flag, str(first)) as url:
        assert stops_at_turn_end(url, "first")


def stops_at_turn_end(url: str, model: str) -> bool:
    """Force the end-of-turn token and see whether the server ends the answer there."""
    body = {"model": model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 4}
    forced = {**body, "temperature": 0, "logit_bias": {"258": 100}}
    told = httpx2.post(f"{url}/v1/chat/completions", json=forced, trust_env=False, timeout=60)
    return bool(told.json()["choices"][0]["finish_reason"] == "stop")


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_a_sweep_serves_every_checkpoint_and_ends_its_servers(
    student: Path, tmp_path: Path, kind: str
) -> None:
    python = server_python(kind)
    flags = {"vllm": "--enforce-eager", "transformers": "--device cpu"}[kind]
    fixed = ["--tasks", TASK, "--select-by", TASK, "--out", str(tmp_path / "out"), "--dev", "4"]
    served = ["--server", kind, "--server-program", str(python.parent / kind)]
    more = ["--server-flags", flags, "--model-args", "max_tokens=8"]
    done = subprocess.run(
        [sys.executable, "-m", "training", "sweep", str(student / "run"), *fixed, *served, *more],
        cwd=REPO,
        env={**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
        capture_output=True,
        text=True,
        timeout=5 * START_S,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "sweep.json").read_text())["rows"]
    assert [(row["part"], row["n_docs"]) for row in rows] == [
        ("dev", 4), ("dev", 4), ("held_out", 36), ("held_out", 36)
    ]  # fmt: skip
    assert not any(row["grader_error"] for row in rows)
    for log in (tmp_path / "out").rglob("log"):
        assert {exchange.outcome for exchange in read_exchanges(log)} == {"complete"}
    assert not (tmp_path / "out" / "merged").exists()
    compared = report(tmp_path / "out" / "base", tmp_path / "out" / "best")
    assert compared["tasks"][0]["n_pairs"] == 36
