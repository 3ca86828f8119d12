"""The benchmark of the client: it notices a wrong reply, takes ratios of the same load, ends clean.

No figure is judged here: how fast something is depends on the machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO

BENCHMARKS = REPO / "benchmarks"
sys.path.append(str(BENCHMARKS))  # last: benchmarks/proxy.py must not hide the package `proxy`

from client_bench import server as bench_server  # noqa: E402


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/client.py", *options],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_every_cell_is_measured_and_every_reply_is_right(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = run("--small", "--cells", "theirs; whole; streamed; streamed, store", "--out", str(out))
    assert done.returncode == 0, done.stderr
    measures = json.loads(out.read_text())
    names = [one["cell"] for one in measures]
    left_out = "left out" in done.stdout
    assert names == ["theirs", "whole", "streamed", "streamed, store"][left_out:]
    assert all(one["n_wrong"] == 0 and one["cpu_s"] > 0 for one in measures)
    # 64 requests, 32 at once, 50 ms each: nobody can be quicker than that
    assert all(one["wall_s"] >= 0.1 for one in measures)


def test_an_unknown_cell_is_refused() -> None:
    done = run("--cells", "theirs; wide")
    assert done.returncode == 2
    assert "got 'wide'" in done.stderr


@pytest.mark.parametrize("stream", [True, False])
def test_the_server_says_to_each_what_was_asked_of_it(stream: bool) -> None:
    asked = {"model": "chunks-3-100", "messages": [{"content": "seven?"}], "stream": stream}
    timed = bench_server.Timed.to(asked)
    assert timed.latency_s == 0.1
    assert len(timed.pieces) == (3 if stream else 1)
    head, _, body = b"".join(timed.pieces).partition(b"\r\n\r\n")
    if stream:
        events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
        text = "".join(json.loads(e)["choices"][0]["delta"]["content"] for e in events)
    else:
        text = json.loads(body)["choices"][0]["message"]["content"]
    assert text == bench_server.text_of("seven?", 3)
    assert text.startswith("seven?")
    assert head.startswith(b"HTTP/1.1 200 OK")
