"""The peers: how each proxy is started in front of the upstream, and why one is left out.

Owns commands, configurations and the peers' environment. Refuses to own measuring.

    with PEERS["nginx"](setting) as peer:
        peer.port, peer.process.pid

Each peer has one worker process, no access log, and buffering off where it has a switch for that.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from proxy_bench.processes import (
    NotStartedError,
    first_line,
    free_port,
    last_words,
    started,
    until_it_listens,
)
from proxy_bench.workloads import WORKLOADS

LITELLM = "litellm[proxy]==1.106.2"
BENCHMARKS = Path(__file__).resolve().parent.parent
NGINX_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    upstream model_server {{
        server 127.0.0.1:{upstream_port};
        keepalive 256;
        keepalive_requests 100000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://model_server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


class LeftOutError(Exception):
    """A peer cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Setting:
    """What peers are started with."""

    folder: Path
    upstream_port: int
    upstream_pid: int
    litellm_venv: Path | None = None
    distill_flags: tuple[str, ...] = ()

    @property
    def upstream(self) -> str:
        """The upstream's address."""
        return f"http://127.0.0.1:{self.upstream_port}"

    def subfolder(self, name: str) -> Path:
        """Return a new folder for one peer."""
        folder = self.folder / name
        folder.mkdir()
        return folder


@dataclass(frozen=True)
class Peer:
    """A proxy that runs."""

    name: str
    port: int
    pid: int
    exact: bool = True
    """Its bodies are the upstream's, byte by byte; else it renders answers anew."""
    note: str = ""
    log: Path | None = None
    """The folder of its exchange log."""


Start = Callable[[Setting], AbstractContextManager[Peer]]


@contextlib.contextmanager
def direct(setting: Setting) -> Iterator[Peer]:
    """No proxy: the upstream itself."""
    yield Peer("direct", setting.upstream_port, setting.upstream_pid, note="no proxy")


@contextlib.contextmanager
def nginx(setting: Setting) -> Iterator[Peer]:
    """Nginx with a configuration of its own."""
    binary = shutil.which("nginx")
    if binary is None:
        raise LeftOutError(
            "no `nginx` on PATH (Debian: apt-get install nginx-light; it lies in /usr/sbin)"
        )
    folder, port = setting.subfolder("nginx"), free_port()
    config = folder / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(folder=folder, port=port, upstream_port=setting.upstream_port),
        encoding="utf-8",
    )
    told = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stderr
    command = [binary, "-c", str(config), "-p", str(folder), "-e", str(folder / "start.log")]
    with started(command, folder, "nginx") as process:
        wait(process, port, folder, "nginx", 10)
        yield Peer("nginx", port, process.pid, note=told.strip().rpartition("/")[2])


def distill(name: str, *flags: str) -> Start:
    """Return how to start this project's proxy, as its users do, with some flags more."""

    @contextlib.contextmanager
    def start(setting: Setting) -> Iterator[Peer]:
        folder = setting.subfolder(name)
        # `-m proxy` is what the `distill-proxy` script runs; it need not be on PATH
        command = [
            *(sys.executable, "-m", "proxy", "--upstream", setting.upstream),
            *("--listen", "127.0.0.1:0", "--log", str(folder / "log")),
            *setting.distill_flags,
            *flags,
        ]
        with started(command, folder, name) as process:
            line = first_line(process, folder, name, 30)
            if not line.startswith("listening on http://"):
                raise NotStartedError(f"printed {line!r} first")
            port, note = int(line.rpartition(":")[2]), " ".join((*setting.distill_flags, *flags))
            yield Peer(name, port, process.pid, note=note, log=folder / "log")

    return start


@contextlib.contextmanager
def starlette(setting: Setting) -> Iterator[Peer]:
    """Run the plain Starlette + httpx proxy, in LiteLLM's environment where there is one."""
    python = python_of(setting.litellm_venv)
    if python is None:
        missing = [name for name in ("starlette", "uvicorn") if not importlib.util.find_spec(name)]
        if missing:
            raise LeftOutError(f"no {' and '.join(missing)} here, and no --litellm-venv")
    folder, port = setting.subfolder("starlette"), free_port()
    script = str(BENCHMARKS / "proxy_bench" / "starlette_peer.py")
    command = [str(python or sys.executable), script, setting.upstream, str(port)]
    with started(command, folder, "starlette") as process:
        wait(process, port, folder, "starlette", 30)
        note = versions(python, "starlette", "httpx") if python else versions(None, "starlette")
        yield Peer("starlette", port, process.pid, note=note)


@contextlib.contextmanager
def litellm(setting: Setting) -> Iterator[Peer]:
    """LiteLLM's proxy from an environment of its own; it reaches nothing but the upstream."""
    venv = setting.litellm_venv
    if venv is None:
        raise LeftOutError("no --litellm-venv FOLDER (made there when it is not there yet)")
    make_environment(venv)
    folder, port = setting.subfolder("litellm"), free_port()
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": f"{setting.upstream}/v1",
                "api_key": "sk-benchmark",
            },
        }
        for name in WORKLOADS
    ]
    config = folder / "config.json"  # JSON is YAML
    # without a key it does less for each request, and by default refuses to start
    general = {"dangerously_permit_weak_or_unset_master_key": True}
    config.write_text(json.dumps({"model_list": models, "general_settings": general}))
    command = [
        *(str(venv / "bin" / "litellm"), "--config", str(config), "--telemetry", "False"),
        *("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
    ]
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches prices from the network
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
        "HOME": str(folder),
    }
    with started(command, folder, "litellm", env) as process:
        wait(process, port, folder, "litellm", 180)
        note = versions(python_of(venv), "litellm")
        yield Peer("litellm", port, process.pid, exact=False, note=note)


def n_logged(log: Path) -> int:
    """Return how many whole answers this project's log holds, as its own reader counts them."""
    command = [sys.executable, "-m", "proxy", "stats", "--json", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=log)
    return int(json.loads(done.stdout)["all"]["outcomes"]["complete"])


PEERS: dict[str, Start] = {
    "direct": direct,
    "nginx": nginx,
    "distill": distill("distill"),
    "distill-os": distill("distill-os", "--durability", "os"),
    "distill-fsync": distill("distill-fsync", "--durability", "fsync"),
    "starlette": starlette,
    "litellm": litellm,
}


def wait(
    process: subprocess.Popen[str], port: int, folder: Path, name: str, limit_s: float
) -> None:
    """Wait until a peer takes connections; say its last words when it does not."""
    try:
        until_it_listens(process, port, limit_s)
    except NotStartedError as error:
        raise NotStartedError(f"{error}: {last_words(folder, name)}") from error


def python_of(venv: Path | None) -> Path | None:
    """Return the interpreter of an environment, None where there is none."""
    python = venv / "bin" / "python" if venv else None
    return python if python and python.exists() else None


def versions(python: Path | None, *packages: str) -> str:
    """Return the versions of packages in an environment."""
    code = (
        "import sys, importlib.metadata as m; have = {d.name.lower(): d.version for d in "
        "m.distributions()}; print(', '.join(f'{n} {have[n]}' for n in sys.argv[1:] if n in have))"
    )
    command = [str(python or sys.executable), "-c", code, *packages]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def make_environment(venv: Path) -> None:
    """Install LiteLLM in an environment of its own, unless it is there.

    Raises:
        LeftOutError: it cannot be installed.
    """
    if (venv / "bin" / "litellm").exists():
        return
    print(f"installing {LITELLM} in {venv} ...", flush=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", LITELLM]
    for command in ([sys.executable, "-m", "venv", str(venv)], pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise LeftOutError(f"{LITELLM} was not installed: {lines[-1] if lines else 'failed'}")
