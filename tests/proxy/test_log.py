from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path

import pytest

from proxy.config import Durability
from proxy.log import ExchangeLog


@pytest.mark.parametrize("durability", list(Durability))
def test_log_file_is_private_and_holds_whole_lines(tmp_path: Path, durability: Durability) -> None:
    log = ExchangeLog.create(tmp_path / "a" / "b", durability)
    asyncio.run(log.append(b"1\n"))
    asyncio.run(log.append(b"2\n"))
    assert log.path.read_bytes() == b"1\n2\n"
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    log.close()
    log.close()
    with pytest.raises(OSError, match=r"(?i)bad file descriptor"):
        asyncio.run(log.append(b"3\n"))
    assert log.failure is not None


def test_two_logs_in_one_folder_are_two_files(tmp_path: Path) -> None:
    logs = [ExchangeLog.create(tmp_path, Durability.OS) for _ in range(2)]
    assert logs[0].path != logs[1].path
    for log in logs:
        log.close()


def test_half_written_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ExchangeLog.create(tmp_path, Durability.OS)
    asyncio.run(log.append(b"whole\n"))
    real_write, room = os.write, [3, 0]

    def full_disk(descriptor: int, data: memoryview) -> int:
        n_bytes = room.pop(0)
        if not n_bytes:
            raise OSError(errno.ENOSPC, "no space left")
        return real_write(descriptor, data[:n_bytes])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk)
        with pytest.raises(OSError, match="no space"):
            asyncio.run(log.append(b"second\n"))
    assert (log.path.read_bytes(), log.failure) == (b"whole\n", "no space left")
    asyncio.run(log.append(b"third\n"))
    assert (log.path.read_bytes(), log.failure) == (b"whole\nthird\n", None)
    log.close()


def test_deleted_file_is_no_silent_gap(tmp_path: Path) -> None:
    log = ExchangeLog.create(tmp_path, Durability.OS)
    log.path.unlink()
    with pytest.raises(FileNotFoundError, match="it was deleted"):
        asyncio.run(log.append(b"1\n"))
    assert log.failure == "it was deleted"
    log.close()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--log .*/file/x' cannot be written to"):
        ExchangeLog.create(tmp_path / "file" / "x", Durability.OS)
