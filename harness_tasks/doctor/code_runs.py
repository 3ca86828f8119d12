"""Is code that a model wrote closed in on this machine: the sandbox, tried with code that attacks.

Owns the finding about the sandbox. Refuses to own the sandbox (`sandbox`) and whether a run is
allowed without one (`isolation_check`).

Example, on a machine with user namespaces:

    pass  sandbox: user namespaces (...); code that tried reached no file and no network
"""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_tasks import catalogue, docs, isolation_check
from harness_tasks.doctor.finding import Check, Context, Finding, skipped

if TYPE_CHECKING:
    from harness_tasks.sandbox import Isolation

NAME = "sandbox"
STRONGER = (
    "allow user namespaces (`sysctl kernel.unprivileged_userns_clone=1`, or start the container "
    "with `--security-opt seccomp=unconfined`), or a kernel with landlock; in a container of its "
    f"own, where harm does not matter, confirm with {isolation_check.CONFIRM_FLAG}"
)
# What an answer could try, without harm: to read a file, to write one, and to reach a server.
ATTACK = """
def attack(path, word, port):
    import os, socket
    reached = []
    try:
        with open(path) as file:
            reached += ["files of this user"] if word in file.read() else []
    except Exception:
        pass
    try:
        with open(path + ".written", "w") as file:
            file.write(word)
    except Exception:
        pass
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        reached.append("the network")
    except Exception:
        pass
    return reached
"""


def closed_in(context: Context) -> Iterator[Finding]:
    """Find which layers hold code here, and whether code that tries gets through."""
    known = catalogue.tasks() if context.tasks else {}
    running = [name for name in context.tasks if docs.runs_code(known[name].source or "")]
    if context.tasks and not running:
        yield skipped(NAME, "none of the tasks runs code")
        return
    try:
        yield judged(isolation_check.isolation(), reached(), running)
    except ValueError as broken:
        yield Finding(
            NAME,
            "fail" if running else "warn",
            str(broken),
            "tasks that run code (HumanEval+, MBPP+, LiveCodeBench) end before a model is asked",
            STRONGER,
        )


def judged(found: Isolation, reached: list[str], running: list[str]) -> Finding:
    """Say what the layers, and what an attack reached, mean for the tasks that run code."""
    layers = "; ".join(found.layers)
    if not found.weak and reached:
        return Finding(
            NAME,
            "fail",
            f"{layers}; yet code that tried reached {' and '.join(reached)}",
            "code that a model wrote would run with your rights",
            "run code tasks in a container of its own, and report this",
        )
    if not found.weak:
        return Finding(NAME, "pass", f"{layers}; code that tried reached no file and no network")
    got = f"; code that tried reached {' and '.join(reached)}" if reached else ""
    confirmed = isolation_check.confirmed()
    refused = f", and {', '.join(running)} would be refused" if running and not confirmed else ""
    return Finding(
        NAME,
        "fail" if refused else "warn",
        f"weak: {layers} ({found.reason or 'no reason given'}){got}{refused}",
        "grading runs code that a model wrote, which could read and change what you can",
        STRONGER,
    )


def reached() -> list[str]:
    """Run code that tries to get out, and return what it reached.

    Raises:
        ValueError: it could not be run.
    """
    from harness_tasks import sandbox

    word = secrets.token_hex(8)
    told: list[Any] = []
    with (
        tempfile.TemporaryDirectory(prefix="distill-eval-doctor-") as folder,
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
    ):
        path = Path(folder, "secret")
        path.write_text(word, encoding="utf-8")
        call = (str(path), word, listener.getsockname()[1])
        try:
            done = sandbox.run_calls(ATTACK, "attack", [call], lambda _, value: keep(told, value))
        except sandbox.SandboxError as broken:
            raise ValueError(f"the sandbox does not run code here: {broken}") from broken
        written = path.with_suffix(".written").exists()
    if done.status is not sandbox.Status.PASSED or not isinstance(told[0], list):
        raise ValueError(f"the sandbox does not run code here: {done.status}, {done.reason}")
    return [*map(str, told[0]), *(["the disk"] if written else [])]


def keep(told: list[Any], value: Any) -> bool:
    """Take note of what the code returned."""
    told.append(value)
    return True


CHECKS = (Check(NAME, closed_in, needs="nothing"),)
