"""SIGTERM under load: running answers end whole, or are cut where that is asked for."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from tests.proxy.faults.child import (
    ask_until_gone,
    child_proxy,
    client_of,
    records_by_id,
    saw_all,
)
from tests.proxy.faults.client import Answer, Client, each
from tests.proxy.faults.conftest import ids, until
from tests.proxy.faults.upstream import CLOSE, HOLD, FaultyUpstream, Step
from tests.proxy.faults.wire import form_of, reply_to, text_of, words_of
from tests.proxy.test_cli import Process

N_RUNNING = 200


def slow_answer(request_id: str) -> list[Step]:
    reply = reply_to(request_id)
    steps: list[Step] = [reply.head]
    for part in reply.parts:
        steps += [reply.wire(part), 0.02]
    ends = [CLOSE] if form_of(request_id) == "sse_close" else []
    return [*steps, *([reply.end] if reply.end else []), *ends]


def unending_answer(request_id: str) -> list[Step]:
    reply = reply_to(request_id)
    return [reply.head, reply.wire(reply.parts[0]), HOLD]


def test_running_answers_end_whole(tmp_path: Path) -> None:
    async def talk() -> tuple[int, dict[str, Answer | None]]:
        async with child_proxy(tmp_path) as (process, upstream):
            upstream.plan = slow_answer
            asking = asyncio.ensure_future(ask_until_gone(process, upstream, n_clients=100))
            await until(lambda: len(upstream.asked) > 2 * N_RUNNING, "it is under load")
            process.child.send_signal(signal.SIGTERM)
            answers = await asking
            return await asyncio.to_thread(process.child.wait, 20), answers

    code, answers = asyncio.run(talk())
    assert code == 0
    assert None in answers.values()  # no connection came about any more
    records = records_by_id(tmp_path)
    begun = {i: answer for i, answer in answers.items() if answer is not None and answer.status}
    assert len(begun) > N_RUNNING
    for request_id, answer in begun.items():
        assert saw_all(request_id, answer)
        assert answer.whole
        assert (records[request_id].outcome, records[request_id].content) == (
            "complete",
            text_of(request_id),
        )
    assert set(records) == set(begun)


@pytest.mark.parametrize("how", ["a second signal", "the end of the grace"])
def test_answers_that_do_not_end_are_cut(tmp_path: Path, how: str) -> None:
    grace = [] if how == "a second signal" else ["--grace", "0.5"]

    async def stop(process: Process, upstream: FaultyUpstream) -> None:
        n_begun = sum(seen > 0 for seen in upstream.progress.seen.values())
        while n_begun < N_RUNNING:
            await asyncio.sleep(0.01)
            n_begun = sum(seen > 0 for seen in upstream.progress.seen.values())
        process.child.send_signal(signal.SIGTERM)
        if not grace:
            await asyncio.sleep(0.3)
            process.child.send_signal(signal.SIGTERM)

    async def ask(client: Client, request_id: str) -> Answer:
        return await client.ask(request_id)

    async def talk() -> tuple[int, dict[str, Answer], float]:
        async with child_proxy(tmp_path, *grace) as (process, upstream):
            upstream.plan = unending_answer
            stopping = asyncio.ensure_future(stop(process, upstream))
            answers = await each(
                lambda: client_of(process, upstream), ids(N_RUNNING), ask, N_RUNNING
            )
            await stopping
            began = time.monotonic()
            code = await asyncio.to_thread(process.child.wait, 20)
            await until(lambda: not upstream.writers, "the server sees its client leave")
            return code, answers, time.monotonic() - began

    code, answers, ended_s = asyncio.run(talk())
    assert (code, ended_s < 5) == (0, True)
    records = records_by_id(tmp_path)
    assert set(records) == set(answers)
    for request_id, answer in answers.items():
        reply, record = reply_to(request_id), records[request_id]
        assert (answer.status, answer.body, answer.whole) == (200, reply.parts[0], False)
        assert record.outcome == "upstream_cut"
        assert "stopped" in (record.error or "")
        assert record.content == (words_of(request_id)[0] if reply.streamed else None)
