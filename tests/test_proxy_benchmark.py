"""The benchmark of the proxy: it notices every wrong answer, says who is missing, leaves nothing.

No figure is judged here: how fast something is depends on the machine.
"""

from __future__ import annotations

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO

BENCHMARKS = REPO / "benchmarks"
sys.path.append(str(BENCHMARKS))  # last: benchmarks/proxy.py must not hide the package `proxy`

from proxy_bench import processes  # noqa: E402
from proxy_bench.report import goals, tables  # noqa: E402
from proxy_bench.workloads import WORKLOADS, Answer, answer_to, framed, head  # noqa: E402

Answering = Callable[[Answer], bytes]
LIMIT_S = 120


def rendered(body: bytes, status: str = "200 OK") -> bytes:
    """An answer with a body of one's own, correctly framed."""
    return head(status, f"content-length: {len(body)}") + body


@pytest.fixture
def server() -> Iterator[Callable[[Answering], int]]:
    """Serve what a function makes of the right answer; gives the port."""
    servers = []

    def start(answering: Answering) -> int:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline():
                    length = 0
                    while line.strip():
                        name, _, value = line.partition(b":")
                        length = int(value) if name.lower() == b"content-length" else length
                        line = self.rfile.readline()
                    asked = answer_to(self.rfile.read(length))
                    assert asked is not None
                    self.wfile.write(answering(asked[1]))
                    if answering is cut_off:
                        return

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def load(port: int, workload: str, **job: Any) -> dict[str, Any]:
    """Have the load generator ask for a few answers."""
    job = {"port": port, "pid": os.getpid(), "workload": workload, "concurrency": 2, **job}
    done = subprocess.run(
        [sys.executable, "-m", "proxy_bench.load"],
        cwd=BENCHMARKS,
        input=json.dumps({"n_requests": 6, "limit_s": 30.0, **job}),
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def untouched(right: Answer) -> bytes:
    return b"".join(right.pieces)


def one_byte_other(right: Answer) -> bytes:
    wire = untouched(right)
    return wire[:-300] + bytes([wire[-300] ^ 1]) + wire[-299:]


def of_another_request(right: Answer) -> bytes:
    wrong = [WORKLOADS["json-4k"].answer(variant) for variant in (7, 8)]
    return untouched(wrong[right == wrong[0]])


def shortened(right: Answer) -> bytes:
    return rendered(right.body[:-1])


def cut_off(right: Answer) -> bytes:
    return untouched(right)[:-100]


def refused(right: Answer) -> bytes:
    return rendered(right.body, "503 Service Unavailable")


def garbage(right: Answer) -> bytes:
    return b"what?\r\n\r\n"


def lacking_an_event(right: Answer) -> bytes:
    events = right.body.split(b"\n\n")
    start = head("200 OK", "content-type: text/event-stream\r\ntransfer-encoding: chunked")
    kept = [event + b"\n\n" for event in (*events[:200], *events[201:-1])]
    return start + b"".join(map(framed, kept)) + b"0\r\n\r\n"


@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name != "slow"])
def test_right_answers_are_counted(server: Any, workload: str) -> None:
    figures = load(server(untouched), workload)
    assert (figures["n_requests"], figures["n_errors"]) == (6, 0)
    assert 0 < figures["first_p50_ms"] <= figures["p50_ms"] <= figures["p99_ms"]


@pytest.mark.parametrize(
    ("workload", "answering", "reason"),
    [
        ("json-4k", one_byte_other, "other bytes"),
        ("json-4k", of_another_request, "bytes"),
        ("json-4k", shortened, "bytes instead of"),
        ("json-4k", cut_off, "cut off"),
        ("json-4k", refused, "status 503"),
        ("json-4k", garbage, "no HTTP"),
        ("burst", lacking_an_event, "bytes instead of"),
        ("burst", one_byte_other, "other bytes"),
        ("burst", cut_off, "cut off"),
    ],
)
def test_wrong_answers_are_errors_and_no_figures(
    server: Any, workload: str, answering: Answering, reason: str
) -> None:
    figures = load(server(answering), workload)
    assert figures["n_requests"] == 0
    assert figures["n_errors"] == 6
    assert all(reason in error for error in figures["errors"])
    assert figures["p50_ms"] is None
    assert figures["cpu_us"] is None


def test_no_answer_is_an_error(server: Any) -> None:
    figures = load(server(lambda right: b""), "json-4k", limit_s=0.3)
    assert (figures["n_requests"], figures["n_errors"]) == (0, 2)


def test_a_peer_that_renders_anew_must_keep_the_words(server: Any) -> None:
    def anew(right: Answer) -> bytes:
        return rendered(json.dumps(json.loads(right.body), indent=1).encode())

    def other_words(right: Answer) -> bytes:
        return rendered(right.body.replace(b" the ", b" a ", 1))

    assert load(server(anew), "json-4k")["n_errors"] == 6
    assert load(server(anew), "json-4k", exact=False)["n_requests"] == 6
    assert load(server(other_words), "json-4k", exact=False)["n_errors"] == 6
    assert load(server(lacking_an_event), "burst", exact=False)["n_errors"] == 6


def test_late_chunks_are_seen() -> None:
    """The upstream sends on time; a stream from elsewhere that begins late is late throughout."""
    upstream = subprocess.Popen(
        [sys.executable, "-m", "proxy_bench.upstream"], cwd=BENCHMARKS, stdout=subprocess.PIPE
    )
    with upstream:
        assert upstream.stdout
        port = json.loads(upstream.stdout.readline())["port"]
        figures = load(port, "slow", n_requests=0)
        upstream.terminate()
    assert (figures["n_requests"], figures["n_errors"]) == (2, 0)
    assert figures["p50_ms"] >= 99 * 20
    assert figures["delay_p50_ms"] > 0


def benchmark(*arguments: str) -> list[str]:
    return [sys.executable, str(BENCHMARKS / "proxy.py"), *arguments]


def alive(pids: set[int]) -> set[int]:
    """Those that still run; an ended one that nobody has asked for is no longer running."""
    return {pid for pid in pids if (fields := processes.stat_fields(pid)) and fields[0] != "Z"}


def test_small_run_is_right_and_leaves_nothing(tmp_path: Path) -> None:
    folder, out = tmp_path / "logs", tmp_path / "results.json"
    folder.mkdir()
    peers = "direct,nginx,distill,litellm"
    done = subprocess.run(
        benchmark("--small", "--peers", peers, "--folder", str(folder), "--out", str(out)),
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(out.read_text())
    assert list(results["peers"]) == ["direct", "distill"]
    assert "nginx: left out, no `nginx` on PATH" in done.stdout
    assert "litellm: left out, no --litellm-venv" in done.stdout
    measures = results["measures"]
    assert {(m["peer"], m["workload"]) for m in measures} == {
        (peer, name)
        for peer in results["peers"]
        for name in ("json-4k", "json-100k", "burst", "slow")
    }
    assert all(measure["n_requests"] > 0 and measure["n_errors"] == 0 for measure in measures)
    assert results["logs"] == {"distill": True}
    assert not alive({measure["pid"] for measure in measures})
    assert not list(folder.iterdir())


def test_a_stopped_run_leaves_nothing(tmp_path: Path) -> None:
    command = benchmark("--peers", "direct,distill", "--folder", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while not process.stdout.readline().startswith("distill:"):
            assert process.poll() is None
        children = set(processes.tree(process.pid)) - {process.pid}
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 143
    assert len(children) >= 3  # upstream, load generator, proxy
    assert not alive(children)
    assert not list(tmp_path.iterdir())


def measured(peer: str, turn: int, **figures: Any) -> dict[str, Any]:
    """One measure as the load generator gives it."""
    usual = {
        "workload": "json-4k",
        "concurrency": 64,
        "n_requests": 10,
        "n_errors": 0,
        "requests_per_s": 100.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "cpu_us": 50.0,
        "rss_after_bytes": 1 << 20,
    }
    return {**usual, "peer": peer, "round": turn, **figures}


def test_goals_are_medians_of_ratios_within_rounds() -> None:
    measures = [
        measured("nginx", 0, requests_per_s=100.0, cpu_us=10.0),
        measured("nginx", 1, requests_per_s=1000.0, cpu_us=10.0),
        measured("nginx", 2, requests_per_s=10.0, cpu_us=10.0),
        measured("distill", 0, requests_per_s=60.0, cpu_us=29.0),
        measured("distill", 1, requests_per_s=300.0, cpu_us=31.0),
        measured("distill", 2, requests_per_s=9.0, cpu_us=40.0),
    ]
    speed, cpu, against_litellm = goals(measures, "distill")
    assert (speed.value, speed.held) == (0.6, True)
    assert against_litellm.held is None
    assert against_litellm.line().startswith("not measured")
    assert (cpu.value, cpu.held) == (3.1, False)
    assert "NOT HELD" in cpu.line()


def test_a_wrong_answer_holds_no_goal() -> None:
    measures = [measured("nginx", 0), measured("distill", 0, n_errors=1)]
    assert [goal.held for goal in goals(measures, "distill")] == [False, False, None]


def test_added_time_and_slow_streams_are_held_against_direct() -> None:
    alone = {"concurrency": 1}
    slow = {"workload": "slow", "p99_ms": 2000.0}
    measures = [
        measured("direct", 0, p50_ms=0.1, **alone),
        measured("distill", 0, p50_ms=0.4, **alone),
        measured("direct", 0, **slow),
        measured("distill", 0, **{**slow, "p99_ms": 2050.0}),
    ]
    found = {goal.text: goal for goal in goals(measures, "distill") if goal.value is not None}
    added, later = found.values()
    assert (round(added.value or 0, 6), added.unit, added.held) == (0.3, " ms", True)
    assert (round(later.value or 0, 6), later.unit, later.held) == (2.5, " %", False)


def test_undefined_figures_are_dashes_in_the_table() -> None:
    nothing = dict.fromkeys(("requests_per_s", "p50_ms", "p99_ms", "cpu_us"))
    row = list(tables([measured("distill", 0, n_requests=0, n_errors=3, **nothing)]))[-1]
    assert row.split() == ["distill", "-", "-", "-", "-", "-", "-", "1", "0", "3"]


def test_unknown_names_are_refused() -> None:
    done = subprocess.run(
        benchmark("--peers", "direct,apache"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'apache'" in done.stderr
