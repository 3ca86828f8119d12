"""kill -9 at any moment under load: what a client saw whole is in the log, once."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.exchange import read_exchanges
from tests.proxy.faults.child import (
    ask_until_gone,
    child_proxy,
    client_of,
    endless_ids,
    records_by_id,
    saw_all,
)
from tests.proxy.faults.wire import text_of

N_ROUNDS = 4
PER_ROUND = 100_000


@pytest.mark.parametrize("durability", ["group", "os"])
def test_what_a_client_saw_whole_survives_kill_9(tmp_path: Path, durability: str) -> None:
    async def one_round(number: int) -> set[str]:
        async with child_proxy(tmp_path, "--durability", durability) as (process, upstream):
            asking = asyncio.ensure_future(ask_until_gone(process, upstream, number * PER_ROUND))
            await asyncio.sleep(0.3 + 0.3 * random.random())
            process.child.send_signal(signal.SIGKILL)
            answers = await asking
        return {request_id for request_id, answer in answers.items() if saw_all(request_id, answer)}

    async def rounds() -> set[str]:
        seen: set[str] = set()
        for number in range(N_ROUNDS):
            seen |= await one_round(number)
        return seen

    seen = asyncio.run(rounds())
    assert len(seen) > 100 * N_ROUNDS
    records = records_by_id(tmp_path)
    assert seen <= set(records)
    assert all(records[request_id].content == text_of(request_id) for request_id in seen)
    check_torn_line_is_repaired(tmp_path, set(records))


def check_torn_line_is_repaired(folder: Path, before: set[str]) -> None:
    """Tear the last line as a power cut would, and start once more."""
    path = max(folder.glob("exchanges-*"), key=lambda path: path.stat().st_size)
    dead = path.with_name("exchanges-20200101T000000000000Z-1.jsonl")
    dead.write_bytes(b'{"schema": 2, "request_')

    async def once_more() -> None:
        async with child_proxy(folder) as (process, upstream):
            client = client_of(process, upstream)
            assert (await client.ask(next(endless_ids()) + "000000000")).whole
            await client.close()
            while dead.exists() and dead.stat().st_size:
                await asyncio.sleep(0.01)
            process.child.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.child.wait)

    asyncio.run(once_more())
    reader = read_exchanges(folder)
    assert len({record.request_id for record in reader} - before) == 1
    assert reader.n_torn == 0
    checked = CliRunner().invoke(main, ["verify", str(folder)])
    assert checked.exit_code == 0, checked.output
