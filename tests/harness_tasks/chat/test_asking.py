"""A run's requests under way: many at once, all of them, in order; and its end by Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from harness_tasks.chat.asking import Asker, Job, run_to_end
from harness_tasks.chat.endpoint import Endpoint, Offered, Transport
from harness_tasks.chat.settings import RequestFields
from harness_tasks.completion import Completion
from tests.conftest import REPO
from tests.fakes import Answer, FakeUpstream, Received, chat

FIELDS = RequestFields({"max_tokens": 9}, [], 0, [], True)


def job(number: int) -> Job:
    messages = [{"role": "user", "content": f"question {number}"}]
    return Job("task", 0, f"r/task/{number}/0", messages, FIELDS, number, number)


def asked(server: FakeUpstream, n: int, n_at_once: int) -> list[Completion]:
    transport = Transport(Endpoint.of(server.url), num_concurrent=n_at_once, max_retries=0)
    asker = Asker("fake", transport, Offered(names=["fake"]))
    return run_to_end(asker.ask_all([job(i) for i in range(n)], True))


def echo(request: Received) -> Answer:
    return chat(f"to {request.body['messages'][0]['content']}")(request)


def test_requests_start_in_the_order_of_the_run_and_none_waits_for_a_slow_one() -> None:
    release = threading.Event()

    def first_is_slow(request: Received) -> Answer:
        if request.body["seed"] == 0:
            assert release.wait(30), "the others never came"
        elif len(server.requests) == 40:
            release.set()  # all others were asked while the first one was under way
        return echo(request)

    with FakeUpstream(first_is_slow) as server:
        completions = asked(server, 40, 2)
        order = [r.body["seed"] for r in server.requests]
    assert [str(c) for c in completions] == [f"to question {i}" for i in range(40)]
    assert order[2:] == list(range(2, 40))


def test_as_many_are_under_way_as_asked_for_and_no_more() -> None:
    everybody = threading.Barrier(64, timeout=30)

    def together(request: Received) -> Answer:
        everybody.wait()
        return echo(request)

    with FakeUpstream(together) as server:
        completions = asked(server, 128, 64)
        assert server.most_at_once == 64
    assert [c.error for c in completions] == [None] * 128


INTERRUPTED = """
import sys
from harness_tasks.chat.asking import Asker, Job, run_to_end
from harness_tasks.chat.endpoint import Endpoint, Offered, Transport
from harness_tasks.chat.settings import RequestFields
import asyncio

def work():
    transport = Transport(Endpoint.of(sys.argv[1]), num_concurrent=8)
    fields = RequestFields({}, [], 0, [], True)
    messages = [{"role": "user", "content": "q"}]
    jobs = [Job("t", 0, str(i), messages, fields, i, i) for i in range(99)]
    run_to_end(Asker("fake", transport, Offered(names=["fake"])).ask_all(jobs, True))

async def cell():
    work()

try:
    asyncio.run(cell()) if sys.argv[2] == "notebook" else work()
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""


@pytest.mark.parametrize("where", ["script", "notebook"])
def test_ctrl_c_ends_a_run_that_waits_for_its_server(where: str) -> None:
    release = threading.Event()

    def hang(request: Received) -> Answer:
        release.wait(60)
        return echo(request)

    with FakeUpstream(hang) as server:
        command = [sys.executable, "-c", INTERRUPTED, server.url, where]
        with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as child:
            try:
                while len(server.requests) < 8:
                    assert child.poll() is None, "it ended before it was interrupted"
                    threading.Event().wait(0.02)
                os.kill(child.pid, signal.SIGINT)
                said, _ = child.communicate(timeout=30)
            finally:
                release.set()
                child.kill()
    assert (said, child.returncode) == ("interrupted\n", 130)


def test_a_run_inside_a_running_loop_gives_its_completions() -> None:
    async def cell(server: FakeUpstream) -> list[Completion]:
        return asked(server, 3, 2)

    with FakeUpstream(echo) as server:
        completions = asyncio.run(cell(server))
    assert [str(c) for c in completions] == [f"to question {i}" for i in range(3)]
