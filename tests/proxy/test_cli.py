"""The command as its users start it: one process, stopped by signals."""

from __future__ import annotations

import http.client
import json
import os
import pty
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import TOKEN_VARIABLE, main
from proxy.config import Address, ProxyConfig, parse_routes
from proxy.exchange import Exchange, read_exchanges
from proxy.session import refuse_loop
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

    def __init__(
        self, upstream: str, folder: Path, *more: str, environ: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        arguments = ["--upstream", upstream, "--listen", "127.0.0.1:0", "--log", str(folder)]
        self.child = subprocess.Popen(
            [sys.executable, "-m", "proxy", *arguments, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPO,
            env={**os.environ, **(environ or {})},
        )
        self.line = self.read_line()
        self.port = int(self.line.strip().rpartition(":")[2])

    def read_line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline()

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
def proxy(
    upstream: str, folder: Path, *more: str, environ: Mapping[str, str] | None = None
) -> Iterator[Process]:
    process = Process(upstream, folder, *more, environ=environ)
    try:
        yield process
    finally:
        process.child.kill()
        process.child.wait(DEADLINE_S)
        for stream in (process.child.stdout, process.child.stderr):
            assert stream is not None
            stream.close()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_it_with_exit_code_0_and_a_summary(
    upstream: FakeUpstream, tmp_path: Path, name: signal.Signals
) -> None:
    upstream.answer = lambda _: [json_answer(completion("4"))]
    folder = tmp_path / "a" / "log"
    with proxy(upstream.url, folder) as process:
        address = f"http://127.0.0.1:{process.port}"
        assert process.line == f"listening on {address}\n"
        (path,) = folder.glob("*.jsonl")
        assert process.read_line() == f"logging to {path}\n"
        assert process.read_line() == f"--model_args base_url={address}/v1,model=NAME\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client, response = process.ask()
        response.read()
        client.close()
        assert process.stop(name) == (
            0,
            f"stopped; exchanges: 1 complete; log: {folder}\n",
            "",
        )
    assert [record.outcome for record in process.records()] == ["complete"]


def test_quiet_prints_the_address_only(upstream: FakeUpstream, tmp_path: Path) -> None:
    with proxy(upstream.url, tmp_path, "--quiet") as process:
        assert process.stop(signal.SIGTERM) == (0, "", "")


@pytest.mark.parametrize("durability", ["os", "group", "fsync"])
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
    assert code == 0
    assert err.startswith("distill-proxy: waiting for 1 running answer(s)")
    (record,) = process.records()
    assert (record.outcome, record.content) == ("upstream_cut", "a")
    assert "stopped" in (record.error or "")


def test_a_second_signal_ends_running_answers(upstream: FakeUpstream, tmp_path: Path) -> None:
    gate = threading.Event()
    upstream.answer = lambda _: [chunked_head(), as_chunk(sse(delta("a"), done=False)), gate, CLOSE]
    with proxy(upstream.url, tmp_path) as process:
        client, response = process.ask()
        response.read1(65536)
        process.child.send_signal(signal.SIGINT)
        wait_until(lambda: not accepts(process.port))
        assert process.stop(signal.SIGINT)[0] == 0
        client.close()
    gate.set()
    assert [record.outcome for record in process.records()] == ["upstream_cut"]


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
    except OSError:
        return False
    return True


def free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("more", [[], ["--quiet"]])
def test_absent_upstream_is_a_warning_and_no_failure(tmp_path: Path, more: list[str]) -> None:
    url = free_url()
    with proxy(url, tmp_path, *more) as process:
        assert process.child.stderr is not None
        warning = process.child.stderr.readline()
        assert warning.startswith(f"warning: no server at {url} yet (Connection refused)")
        client, response = process.ask()
        assert response.status == 502
        client.close()
        code, _, err = process.stop(signal.SIGTERM)
    assert (code, err) == (0, "")


def test_a_reader_of_stdout_that_leaves_stops_nothing(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.answer = lambda _: [json_answer(completion("4"))]
    with proxy(upstream.url, tmp_path) as process:
        assert process.child.stdout is not None
        process.child.stdout.close()
        client, response = process.ask()
        assert response.status == 200
        response.read()
        client.close()
        process.child.send_signal(signal.SIGTERM)
        assert process.child.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_cost_neither_the_log_nor_the_exit_code(
    tmp_path: Path, closed: str
) -> None:
    port = free_url().rpartition(":")[2]
    words = ["--upstream", free_url(), "--listen", f"127.0.0.1:{port}", "--log", str(tmp_path)]
    command = shlex.join([sys.executable, "-m", "proxy", *words])
    with subprocess.Popen(["sh", "-c", f"exec {command} {closed}"], cwd=REPO) as child:
        try:
            wait_until(lambda: accepts(int(port)))
            client = http.client.HTTPConnection("127.0.0.1", int(port), timeout=DEADLINE_S)
            client.request("GET", "/healthz")
            assert client.getresponse().status == 200
            client.close()
            (path,) = tmp_path.glob("*.jsonl")
            folder = Path(f"/proc/{child.pid}/fd")
            if folder.exists():  # on Linux
                assert not any(path.samefile(folder / str(number)) for number in range(3))
            child.terminate()
            assert child.wait(DEADLINE_S) == 0
        finally:
            child.kill()


def test_a_hangup_drains_though_the_terminal_is_gone(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    gate = threading.Event()
    upstream.answer = lambda _: [
        chunked_head(),
        as_chunk(sse(delta("a"), done=False)),
        gate,
        as_chunk(sse(delta("b"))),
        as_chunk(b""),
    ]
    with proxy(upstream.url, tmp_path) as process:
        client, response = process.ask()
        response.read1(65536)
        assert process.child.stderr is not None
        process.child.stderr.close()
        process.child.send_signal(signal.SIGHUP)
        wait_until(lambda: not accepts(process.port))
        gate.set()
        assert response.read().endswith(b"[DONE]\n\n")
        client.close()
        assert process.child.wait(DEADLINE_S) == 0
    assert [record.content for record in process.records()] == ["ab"]


def test_a_route_is_pasted_with_its_path(upstream: FakeUpstream, tmp_path: Path) -> None:
    listed = {"data": [{"id": "org/m"}]}
    upstream.answer = lambda _: [json_answer(listed)]
    with proxy(upstream.url, tmp_path, "--route", f"org/m={upstream.url}") as process:
        address = f"http://127.0.0.1:{process.port}"
        lines = [process.read_line() for _ in range(3)]
        process.stop(signal.SIGTERM)
    assert lines[1:] == [
        f"--model_args base_url={address}/org/m/v1,model=org/m\n",
        f"--model_args base_url={address}/v1,model=org/m\n",
    ]


def test_the_token_may_stand_in_the_environment(upstream: FakeUpstream, tmp_path: Path) -> None:
    upstream.answer = lambda _: [json_answer(completion("4"))]
    with proxy(upstream.url, tmp_path, environ={TOKEN_VARIABLE: "s3cret-token"}) as process:
        client, response = process.ask()
        assert response.status == 401
        client.close()
        client = http.client.HTTPConnection("127.0.0.1", process.port, timeout=DEADLINE_S)
        client.request("POST", CHAT, ASK, {"Authorization": "Bearer s3cret-token"})
        assert client.getresponse().status == 200
        client.close()


def test_a_proxy_for_everyone_is_a_warning_unless_it_asks_for_a_token(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    everywhere = ["--listen", "0.0.0.0:0"]
    with proxy(upstream.url, tmp_path, *everywhere, "--quiet") as process:
        code, _, err = process.stop(signal.SIGTERM)
        assert (code, err.count("\n")) == (0, 1)
        assert err.startswith(f"warning: http://0.0.0.0:{process.port} is open to everyone")
    with proxy(upstream.url, tmp_path, *everywhere, "--token", "t") as process:
        lines = [process.read_line() for _ in range(3)]
        assert process.stop(signal.SIGTERM)[2] == ""
    assert (
        lines[1] == f"reachable as http://{socket.gethostname()}:{process.port} (all addresses)\n"
    )
    assert lines[2].startswith(f"--model_args base_url=http://127.0.0.1:{process.port}/v1,")


@pytest.mark.parametrize("more", [[], ["--quiet"]])
def test_a_terminal_shows_the_status_until_the_end(
    upstream: FakeUpstream, tmp_path: Path, more: list[str]
) -> None:
    outside, inside = pty.openpty()
    command = [sys.executable, "-m", "proxy", "--listen", "127.0.0.1:0", "--log", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--upstream", upstream.url, *more],
        stdout=subprocess.PIPE,
        stderr=inside,
        cwd=REPO,
        env={**os.environ, "TERM": "xterm"},
    ) as child:
        os.close(inside)
        assert child.stdout is not None
        child.stdout.readline()
        if not more:
            assert b"0 requests, 0 in flight, - tokens/s" in os.read(outside, 4096)
        child.terminate()
        rest = b""
        try:
            while piece := os.read(outside, 4096):
                rest += piece
        except OSError:  # how Linux says that nobody holds the other side
            pass
        assert child.wait(DEADLINE_S) == 0
    os.close(outside)
    assert rest.endswith(b"\r\x1b[K") if not more else rest == b""


def invoke(*arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Return the exit code and what was printed: one line, whatever is wrong."""
    result = CliRunner().invoke(main, arguments, env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.output.count("\n") == 1
    return result.exit_code, result.output


def test_port_in_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = invoke(
            "--upstream", "http://127.0.0.1:1", "--listen", address, "--log", str(tmp_path)
        )
    assert code == 2
    assert f"--listen {address}: Address already in use" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"--upstream": "127.0.0.1:80"}, "--upstream must be"),
        ({"--route": "http://127.0.0.1:80"}, "--route must be NAME=URL"),
        ({"--route": "v1=http://127.0.0.1:80"}, "no name may begin with 'v1'"),
        ({"--listen": "8766"}, "--listen must be"),
        ({"--listen": "127.0.0.1:99999"}, "--listen: the port must be"),
        ({"--log": ""}, "--log must be a folder"),
        ({"--log": "/dev/null/x"}, "--log '/dev/null/x' cannot be written to"),
        ({"--durability": "best"}, "--durability"),
        ({"--rotate-size": "5"}, "--rotate-size must be a size such as 256MB"),
        ({"--rotate-size": "5KB"}, "--rotate-size must be 1MB to 1TB"),
        ({"--rotate-time": "soon"}, "--rotate-time must be a time such as 90s"),
        ({"--compress": "rar"}, "--compress"),
        ({"--on-log-failure": "shrug"}, "--on-log-failure"),
        ({"--redact": ""}, "--redact must be the name of a field"),
        ({"--token": ""}, "--token is empty"),
        ({"--token": "two words"}, "--token must be printable ASCII without spaces"),
        ({"--grace": "-1"}, "--grace must be a time"),
        ({"--upstream-timeout": "0"}, "--upstream-timeout must be 0.1 seconds to 366 days"),
    ],
)
def test_bad_options_are_named_with_exit_code_2(
    tmp_path: Path, change: dict[str, str], named: str
) -> None:
    options = {
        "--upstream": "http://127.0.0.1:1",
        "--listen": "127.0.0.1:0",
        "--log": str(tmp_path / "log"),
    }
    code, said = invoke(*[word for pair in (options | change).items() for word in pair])
    assert code == 2
    assert named in said
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("more", [[], ["stats"], ["tail", "-n", "x", "."], ["tail", "missing"]])
def test_a_wrong_command_line_is_one_line(tmp_path: Path, more: list[str]) -> None:
    assert invoke(*more)[0] == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])
def test_a_proxy_is_no_server_of_its_own(host: str, listen: str) -> None:
    """Called by itself: a proxy that did not refuse would not come back."""
    url = f"http://{host}:8766"
    config = ProxyConfig(routes=parse_routes([], [f"a={url}", "b=http://127.0.0.1:8080"]))
    with pytest.raises(ValueError, match=f"{url} is the proxy's own address"):
        refuse_loop(config, Address(listen, 8766))
    refuse_loop(config, Address(listen, 8767))
    refuse_loop(config, Address("192.0.2.1", 8766))


def test_a_server_and_a_log_are_asked_for(tmp_path: Path) -> None:
    code, said = invoke("--log", str(tmp_path))
    assert (code, "give --upstream URL" in said) == (2, True)
    code, said = invoke("--upstream", "http://127.0.0.1:1")
    assert (code, "--log FOLDER is missing" in said) == (2, True)


def test_an_empty_token_in_the_environment_leaves_no_proxy_open(tmp_path: Path) -> None:
    arguments = ["--upstream", "http://127.0.0.1:1", "--log", str(tmp_path)]
    code, said = invoke(*arguments, environ={TOKEN_VARIABLE: ""})
    assert (code, f"{TOKEN_VARIABLE} is empty" in said) == (2, True)


def test_options_of_the_server_do_not_go_with_a_command(tmp_path: Path) -> None:
    code, said = invoke("--quiet", "--log", str(tmp_path), "stats", str(tmp_path))
    assert (code, "--log, --quiet cannot stand before stats" in said) == (2, True)


def test_an_unknown_command_is_named() -> None:
    code, said = invoke("stat")
    assert (code, "'stat'" in said) == (2, True)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    arguments = ["--upstream", "x", "--log", str(tmp_path), "--debug"]
    assert isinstance(CliRunner().invoke(main, arguments).exception, ValueError)


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom proxy.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "names = {'torch', 'lm_eval', 'pandas', 'pyarrow', 'uvloop', 'httptools', 'orjson',"
        " 'brotli', 'prometheus_client', 'asyncio', 'ssl'}\n"
        "heavy = names & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_option_and_command_stands_in_the_docs() -> None:
    pages = [REPO / "docs" / name for name in ("proxy.md", "exchange_log.md")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    own = [option for parameter in main.params for option in parameter.opts]
    assert [option for option in own if f"`{option}" not in texts[0]] == []
    for name, command in main.commands.items():
        assert f"`{name}`" in texts[0]
        options = [
            option
            for parameter in command.params
            for option in parameter.opts
            if option.startswith("--")
        ]
        assert [option for option in options if option not in "".join(texts)] == [], name
