"""The log cannot be written for a while: refused or passed on, as asked for, never silently."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.faults.child import child_proxy, client_of, records_by_id, saw_all
from tests.proxy.faults.client import Answer, Client, each
from tests.proxy.faults.conftest import ids, until
from tests.proxy.faults.upstream import FaultyUpstream, Seen, Step, field, read_head
from tests.proxy.faults.wire import FRAMED, reply_to, text_of
from tests.proxy.test_cli import Process

WHY = "File too large"


@contextmanager
def no_room(process: Process) -> Iterator[None]:
    """Let every write of a process to a file fail, as on a full disk."""
    pid = process.child.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


async def ask(client: Client, request_id: str) -> Answer:
    return await client.ask(request_id)


async def ask_all(
    process: Process, upstream: FaultyUpstream, first: int, n: int = 200
) -> dict[str, Answer]:
    names = [name.partition("/") for name in ids(n, FRAMED)]
    request_ids = [f"{form}/{first + int(number)}" for form, _, number in names]
    return await each(lambda: client_of(process, upstream), request_ids, ask)


async def page(process: Process, target: str) -> tuple[int, dict[str, Any]]:
    """Return one of the proxy's own pages."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await read_head(reader)
    body = await reader.readexactly(int(field(head, b"content-length")))
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("durability", ["group", "os", "fsync"])
def test_requests_are_refused_until_records_can_be_written(tmp_path: Path, durability: str) -> None:
    async def talk() -> dict[str, Answer]:
        async with child_proxy(tmp_path, "--durability", durability) as (process, upstream):
            before = await ask_all(process, upstream, 0)
            with no_room(process):
                first = await ask_all(process, upstream, 1000)
                n_asked = len(upstream.asked)
                refused = await ask_all(process, upstream, 2000)
                assert len(upstream.asked) == n_asked  # nothing is generated for nobody
                status, health = await page(process, "/healthz")
            assert (status, health["status"]) == (503, f"log cannot be written: {WHY}")
            for answer in refused.values():
                error = json.loads(answer.body)["error"]
                assert (answer.status, error["type"]) == (503, "log_error")
                assert WHY in error["message"]
                assert error["message"].endswith("no request is taken until it can")
            assert not any(saw_all(*pair) for pair in first.items())
            assert {answer.status for answer in first.values() if answer.whole} == {503}
            client = client_of(process, upstream)
            recovered: dict[str, Answer] = {}
            while not any(answer.status == 200 for answer in recovered.values()):
                request_id = f"sized/{3000 + len(recovered)}"
                recovered[request_id] = await client.ask(request_id)
                await asyncio.sleep(0.05)
            await client.close()
            assert len(recovered) < 40  # it tries once a second
            after = await ask_all(process, upstream, 4000)
            assert (await page(process, "/healthz"))[0] == 200
            assert all(saw_all(*pair) for pair in (before | after).items())
            process.child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.child.wait, 20) == 0
            return before | first | refused | recovered | after

    answers = asyncio.run(talk())
    records = records_by_id(tmp_path)
    seen = {request_id for request_id, answer in answers.items() if saw_all(request_id, answer)}
    assert set(records) == seen  # nothing that is whole is missing, nothing else is there
    assert all(records[request_id].content == text_of(request_id) for request_id in seen)


def test_streams_that_run_when_the_log_fails_are_broken_off(tmp_path: Path) -> None:
    def plan(request_id: str) -> list[Step]:
        reply = reply_to(request_id)
        first: list[Step] = [reply.head, reply.wire(reply.parts[0]), Seen(10**9)]
        return [*first, *map(reply.wire, reply.parts[1:]), reply.end]

    async def talk() -> dict[str, Answer]:
        async with child_proxy(tmp_path) as (process, upstream):
            upstream.plan = plan
            seen = upstream.progress.seen
            asked = ids(200, ("sse", "chunked"))
            asking = asyncio.ensure_future(
                each(lambda: client_of(process, upstream), asked, ask, len(asked))
            )
            await until(lambda: sum(n > 0 for n in seen.values()) == len(asked), "all run")
            with no_room(process):
                for request_id in asked:
                    upstream.progress.tell(request_id, 10**9)
                answers = await asking
            return answers

    answers = asyncio.run(talk())
    for request_id, answer in answers.items():
        body = reply_to(request_id).body
        assert (answer.status, answer.whole) == (200, False)
        assert body.startswith(answer.body)
        if request_id.startswith("sse"):
            assert b"[DONE]" not in answer.body
    assert records_by_id(tmp_path) == {}


def test_requests_pass_without_a_record_where_that_was_asked_for(tmp_path: Path) -> None:
    async def talk() -> tuple[dict[str, Answer], dict[str, Answer], str]:
        async with child_proxy(tmp_path, "--on-log-failure", "pass") as (process, upstream):
            kept = await ask_all(process, upstream, 0)
            with no_room(process):
                lost = await ask_all(process, upstream, 1000)
                _, stats = await page(process, "/_distill/stats")
                assert (await page(process, "/healthz"))[0] == 503
            assert stats["log_failures"] == len(lost)
            assert WHY in stats["latest_log_failure"]
            kept |= await ask_all(process, upstream, 2000)
            assert (await page(process, "/_distill/stats"))[1]["log_failures"] == len(lost)
            process.child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.child.wait, 20) == 0
            assert process.child.stderr is not None
            return kept, lost, process.child.stderr.read()

    kept, lost, said = asyncio.run(talk())
    assert all(saw_all(*pair) for pair in (kept | lost).items())
    assert set(records_by_id(tmp_path)) == set(kept)
    assert said.count("cannot be written") == 1
    assert WHY in said
