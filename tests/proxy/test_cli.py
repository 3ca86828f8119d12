"""The command as its users start it: one process, stopped by signals."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.exchange import Exchange, read_exchanges
from tests.conftest import REPO
from tests.proxy.conftest import (
    CHAT,
    CLOSE,
    DEADLINE_S,
    FakeUpstream,
    Step,
    as_chunk,
    chunked_head,
    completion,
    delta,
    json_answer,
    sse,
    wait_until,
)

ASK = json.dumps({"model": "m", "messages": [], "stream": True})


class Process:
    """`distill-proxy` as a child process."""

    def __init__(self, upstream: str, folder: Path, *more: str) -> None:
        self.folder = folder
        arguments = ["--upstream", upstream, "--listen", "127.0.0.1:0", "--log", str(folder)]
        self.child = subprocess.Popen(
            [sys.executable, "-m", "proxy", *arguments, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPO,
        )
        assert self.child.stdout is not None
        self.line = self.child.stdout.readline()
        self.port = int(self.line.strip().rpartition(":")[2])

    def ask(self) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        client.request("POST", CHAT, ASK)
        return client, client.getresponse()

    def stop(self, name: signal.Signals) -> tuple[int, str, str]:
        self.child.send_signal(name)
        code = self.child.wait(DEADLINE_S)
        assert self.child.stdout is not None
        assert self.child.stderr is not None
        return code, self.child.stdout.read(), self.child.stderr.read()

    def records(self) -> list[Exchange]:
        return list(read_exchanges(self.folder))


@contextmanager
def proxy(upstream: str, folder: Path, *more: str) -> Iterator[Process]:
    process = Process(upstream, folder, *more)
    try:
        yield process
    finally:
        process.child.kill()
        process.child.wait(DEADLINE_S)
        for stream in (process.child.stdout, process.child.stderr):
            assert stream is not None
            stream.close()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_exit_code_0_and_a_summary(
    upstream: FakeUpstream, tmp_path: Path, name: signal.Signals
) -> None:
    upstream.answer = lambda _: [json_answer(completion("4"))]
    with proxy(upstream.url, tmp_path / "a" / "log") as process:
        assert process.line == f"listening on http://127.0.0.1:{process.port}\n"
        client, response = process.ask()
        response.read()
        client.close()
        code, out, err = process.stop(name)
    (path,) = (tmp_path / "a" / "log").iterdir()
    assert (code, err) == (0, "")
    assert out == f"logging to {path}\nstopped; exchanges: 1 complete; log: {path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_quiet_prints_the_address_only(upstream: FakeUpstream, tmp_path: Path) -> None:
    with proxy(upstream.url, tmp_path, "--quiet") as process:
        assert process.stop(signal.SIGTERM) == (0, "", "")


@pytest.mark.parametrize("durability", ["os", "fsync"])
@pytest.mark.parametrize("form", ["content-length", "chunked", "sse"])
def test_kill_9_right_after_the_end_loses_no_record(
    upstream: FakeUpstream, tmp_path: Path, form: str, durability: str
) -> None:
    whole = json_answer(completion("4"))
    hold = threading.Event()  # the stream's [DONE] came, its connection is still open
    steps: dict[str, list[Step]] = {
        "content-length": [whole],
        "chunked": [
            chunked_head("application/json"),
            as_chunk(whole.partition(b"\r\n\r\n")[2]) + as_chunk(b""),
        ],
        "sse": [chunked_head(), as_chunk(sse(delta("4", "stop"))), hold, CLOSE],
    }
    upstream.answer = lambda _: steps[form]
    for number in range(3):
        folder = tmp_path / str(number)
        with proxy(upstream.url, folder, "--durability", durability) as process:
            client, response = process.ask()
            if form == "sse":
                while not response.readline().startswith(b"data: [DONE]"):
                    pass
            else:
                response.read()
            os.kill(process.child.pid, signal.SIGKILL)
            client.close()
            process.child.wait(DEADLINE_S)
            assert [record.content for record in process.records()] == ["4"]
    hold.set()


def test_running_answer_ends_within_the_grace(upstream: FakeUpstream, tmp_path: Path) -> None:
    gate = threading.Event()
    end = as_chunk(sse(delta("b", "stop"))) + as_chunk(b"")
    upstream.answer = lambda _: [chunked_head(), as_chunk(sse(delta("a"), done=False)), gate, end]
    with proxy(upstream.url, tmp_path) as process:
        client, response = process.ask()
        response.read1(65536)
        process.child.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(process.port))
        gate.set()
        assert response.read() == sse(delta("b", "stop"))
        client.close()
        assert process.child.wait(DEADLINE_S) == 0
    assert [record.outcome for record in process.records()] == ["complete"]


def test_answer_beyond_the_grace_is_broken_and_logged_with_what_had_come(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    gate = threading.Event()
    upstream.answer = lambda _: [chunked_head(), as_chunk(sse(delta("a"), done=False)), gate, CLOSE]
    with proxy(upstream.url, tmp_path, "--grace", "0") as process:
        client, response = process.ask()
        response.read1(65536)
        code, _, err = process.stop(signal.SIGTERM)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        client.close()
    gate.set()
    assert (code, err) == (0, "")
    (record,) = process.records()
    assert (record.outcome, record.content) == ("upstream_cut", "a")
    assert "stopped" in (record.error or "")


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
    except OSError:
        return False
    return True


def test_absent_upstream_is_a_warning_and_no_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with proxy(url, tmp_path) as process:
        code, _, err = process.stop(signal.SIGTERM)
    assert code == 0
    assert err.startswith(f"warning: no server at {url} yet")


def test_port_in_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = [
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            address,
            "--log",
            str(tmp_path),
        ]
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert f"--listen {address}: Address already in use" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"--upstream": "127.0.0.1:80"}, "--upstream must be"),
        ({"--listen": "8766"}, "--listen must be"),
        ({"--log": "/dev/null/x"}, "--log '/dev/null/x' cannot be written to"),
        ({"--durability": "best"}, "--durability"),
        ({"--grace": "-1"}, "--grace"),
    ],
)
def test_bad_options_are_named_with_exit_code_2(
    tmp_path: Path, change: dict[str, str], named: str
) -> None:
    options = {
        "--upstream": "http://127.0.0.1:1",
        "--listen": "127.0.0.1:0",
        "--log": str(tmp_path),
    }
    arguments = [word for pair in (options | change).items() for word in pair]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert named in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    arguments = ["--upstream", "x", "--log", str(tmp_path), "--debug"]
    assert isinstance(CliRunner().invoke(main, arguments).exception, ValueError)


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom proxy.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "names = {'torch', 'lm_eval', 'pandas', 'uvicorn', 'httpx2', 'asyncio'}\n"
        "heavy = names & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO, capture_output=True)


def test_every_option_stands_in_the_docs() -> None:
    text = (REPO / "docs" / "proxy.md").read_text()
    options = [option for parameter in main.params for option in parameter.opts]
    assert [option for option in options if option.startswith("--") and option not in text] == []
