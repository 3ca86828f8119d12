"""What a page tells to type, typed: into one shell, on free ports, its servers ended behind it.

Owns how the tests read the commands of a page and run them. Refuses to own which pages, and what
must come out. A command that ends in `&` is a server; the next one waits until it listens.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"127\.0\.0\.1:(\d+)|--port (\d+)")
PATIENCE_S = 900  # some dozen programs, one after the other, on a busy machine
# Ends what the shell started and still runs, by its ids.
END = "trap 'test -z \"$started\" || kill $started 2> killed || true' EXIT"
WAIT = """\
started="$started $!"
until python -c 'import socket; socket.create_connection(("127.0.0.1", {port}), 1)' 2> waited
do kill -0 $! || {{ cat log-{port}; exit 9; }}; sleep 0.2; done"""


def commands_of(text: str) -> list[str]:
    """Return what stands in the shell blocks of a page, a command each, comments left out."""
    lines = re.sub(r"\\\n\s*", " ", "\n".join(BLOCK.findall(text))).splitlines()
    return [re.sub(r" {2,}# .*$", "", line).strip() for line in lines if line.strip()]


def typed(script: str, folder: Path, **environ: str) -> str:
    """Type lines into a shell in a folder and return what they print.

    Ports become free ones, the same port the same one.
    """
    for port in sorted({first or second for first, second in PORT.findall(script)}):
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    lines = [served(line) if line.endswith("&") else line for line in script.splitlines()]
    around = {**os.environ, "HF_HUB_OFFLINE": "1", **environ}
    around["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{around['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join([END, *lines])],
        cwd=folder,
        env=around,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-4000:]
    return done.stdout


def served(line: str) -> str:
    """Return a line that starts a server, with the wait until it listens."""
    listen = re.search(r"(?:--listen 127\.0\.0\.1:|--port )(\d+)", line)
    assert listen, f"a server on no port: {line}"
    command = line.removesuffix("&").rstrip()
    return f"{command} > log-{listen[1]} 2>&1 &\n{WAIT.format(port=listen[1])}"


def replaced(line: str, words: Mapping[str, str]) -> str:
    """Return a line with the words that stand for something of the reader's own."""
    for word, own in words.items():
        line = line.replace(word, own)
    return line


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
