"""Segments end under load, and two proxies share a folder: each exchange is there once."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.config import Compression, Durability
from proxy.exchange import find_logs, read_exchanges
from proxy.log_read import LogReader, find_segments
from tests.proxy.conftest import running_proxy
from tests.proxy.faults.client import Answer, Client, each
from tests.proxy.faults.conftest import Arena, Runner, ids
from tests.proxy.faults.wire import reply_to, text_of

N_EXCHANGES = 400


async def ask(client: Client, request_id: str) -> Answer:
    return await client.ask(request_id)


def check_log(folder: Path, answers: dict[str, Answer]) -> None:
    """See that every reader finds each exchange once, and whole."""
    for request_id, answer in answers.items():
        assert (answer.body, answer.whole) == (reply_to(request_id).body, True)
    contents = [(record.request_id, record.content) for record in read_exchanges(folder)]
    assert sorted(contents) == sorted((found, text_of(found)) for found in answers)
    reader = LogReader(find_segments([folder]))
    assert sorted(record.request_id for record, _ in reader) == sorted(answers)
    assert (reader.n_damaged, reader.torn, reader.unended) == (0, [], [])
    checked = CliRunner().invoke(main, ["verify", str(folder)])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("durability", [Durability.GROUP, Durability.OS])
def test_rotation_under_load(run: Runner, durability: Durability, compression: Compression) -> None:
    async def talk(arena: Arena) -> None:
        answers = await arena.ask_all(ids(N_EXCHANGES))
        assert arena.proxy.log.n_segments > 10
        await arena.records(N_EXCHANGES)
        check_log(arena.proxy.log_folder, answers)

    run(talk, rotate_bytes=8_000, compression=compression, durability=durability)


def test_two_proxies_share_a_folder(run: Runner) -> None:
    async def talk(arena: Arena) -> None:
        folder = arena.proxy.log_folder
        with contextmanager(running_proxy)(arena.upstream.url, folder, rotate_bytes=8_000) as other:
            asked = ids(2 * N_EXCHANGES)
            ours, theirs = await asyncio.gather(
                arena.ask_all(asked[::2]), each(lambda: Client(other.port), asked[1::2], ask)
            )
            check_log(folder, ours | theirs)
        check_log(folder, ours | theirs)
        assert len(find_logs(folder)) > 20

    run(talk, rotate_bytes=8_000)
