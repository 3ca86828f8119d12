from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from proxy.config import Compression, Durability, LogConfig
from proxy.exchange import find_logs, iter_lines, read_exchanges
from proxy.log import ExchangeLog

CRASHING = str(Path(__file__).with_name("crashing.py"))
SYNCED = (Durability.GROUP, Durability.FSYNC)
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def config(folder: Path, durability: Durability = Durability.GROUP, **options: Any) -> LogConfig:
    return LogConfig(folder, durability, **{"compression": Compression.NONE, **options})


def run(work: Coroutine[Any, Any, None], loop: str = "asyncio") -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(work, 30))


def lines_of(folder: Path) -> list[bytes]:
    return [line for path in find_logs(folder) for _, line in iter_lines(path)]


def crashing(*arguments: object) -> list[str]:
    command = [sys.executable, CRASHING, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def open_below(folder: Path) -> list[str]:
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [name for name in found if name.startswith(str(folder))]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("log-")]
    assert not open_below(tmp_path)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("durability", list(Durability))
def test_log_file_is_private_and_holds_whole_lines(
    tmp_path: Path, durability: Durability, loop: str
) -> None:
    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path / "a" / "b", durability))
        await log.append(b"1\n")
        await asyncio.gather(log.append(b"2\n"), log.append(b"3\n"))
        assert log.path.read_bytes() == b"1\n2\n3\n"
        assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
        assert (log.n_written, log.n_bytes, log.n_segments) == (3, 6, 1)
        await log.aclose()
        await log.aclose()
        with pytest.raises(OSError, match="the log is closed"):
            await log.append(b"4\n")
        assert log.failure == "the log is closed"
        assert not await log.usable()

    run(work(), loop)


def test_log_serves_one_event_loop_after_another(tmp_path: Path) -> None:
    log = ExchangeLog.create(config(tmp_path))
    run(log.append(b"1\n"))
    run(log.append(b"2\n"), "uvloop")
    log.close()
    assert lines_of(tmp_path) == [b"1\n", b"2\n"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_writer_that_breaks_down_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(descriptor: int, data: memoryview) -> int:
        raise RuntimeError

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", bug)
            with pytest.raises(OSError, match="broke down"):
                await log.append(b"1\n")
            assert log.failure == "the writer of the log broke down"
            assert log.writer is not None
            log.writer.join()
        await log.append(b"2\n")
        await log.aclose()

    run(work())
    assert lines_of(tmp_path) == [b"2\n"]


@pytest.mark.parametrize("durability", list(Durability))
def test_lack_of_memory_is_a_failure_of_the_record_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    def refuse(descriptor: int, data: memoryview) -> int:
        raise MemoryError

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, durability))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            with pytest.raises(OSError, match="out of memory"):
                await log.append(b"1\n")
            assert log.failure == "out of memory"
        await log.append(b"2\n")
        await log.aclose()

    run(work())
    assert lines_of(tmp_path) == [b"2\n"]


def test_two_logs_in_one_folder_are_two_files(tmp_path: Path) -> None:
    logs = [ExchangeLog.create(config(tmp_path)) for _ in range(2)]
    assert logs[0].path != logs[1].path
    for log in logs:
        log.close()
    assert list(tmp_path.iterdir()) == []  # no record, no file


@pytest.mark.parametrize("loop", LOOPS)
def test_durability_os_waits_for_nothing(tmp_path: Path, loop: str) -> None:
    log = ExchangeLog.create(config(tmp_path, Durability.OS, rotate_s=float("inf")))

    async def work() -> None:
        with pytest.raises(StopIteration):
            log.append(b"1\n").send(None)
        assert log.writer is None

    run(work(), loop)
    log.close()


@pytest.mark.parametrize(("durability", "n_syncs"), [(Durability.GROUP, 2), (Durability.FSYNC, 65)])
def test_records_that_wait_together_share_a_sync_with_group_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability, n_syncs: int
) -> None:
    syncs: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow_disk(descriptor: int) -> None:
        syncs.append(descriptor)
        begun.set()
        assert go_on.wait(10)

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, durability))
        monkeypatch.setattr(os, "fdatasync", slow_disk)
        first = asyncio.create_task(log.append(b"0\n"))
        await until(begun.is_set)
        others = [asyncio.create_task(log.append(b"%d\n" % n)) for n in range(1, 65)]
        await asyncio.sleep(0)
        assert not first.done()  # the first is on its way to the device
        go_on.set()
        await asyncio.gather(first, *others)
        await log.aclose()

    run(work())
    assert len(syncs) == n_syncs
    assert lines_of(tmp_path) == [b"%d\n" % n for n in range(65)]


@pytest.mark.parametrize("durability", SYNCED)
def test_cancelled_append_still_writes_its_line(tmp_path: Path, durability: Durability) -> None:
    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, durability))
        tasks = [asyncio.create_task(log.append(b"%d\n" % n)) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done[1::2] == [None] * 10
        await log.aclose()

    run(work())
    assert lines_of(tmp_path) == [b"%d\n" % n for n in range(20)]


@pytest.mark.parametrize("durability", list(Durability))
def test_half_written_line_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    real_write, room = os.write, [3, 0]

    def full_disk(descriptor: int, data: memoryview) -> int:
        if bytes(data[:6]) not in (b"second", b"ond\n"):
            return real_write(descriptor, data)
        n_bytes = room.pop(0)
        if not n_bytes:
            raise OSError(errno.ENOSPC, "no space left")
        return real_write(descriptor, data[:n_bytes])

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, durability))
        await log.append(b"whole\n")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full_disk)
            with pytest.raises(OSError, match="no space"):
                await log.append(b"second\n")
        assert (log.path.read_bytes(), log.failure) == (b"whole\n", "no space left")
        await log.append(b"third\n")
        assert (log.path.read_bytes(), log.failure) == (b"whole\nthird\n", None)
        assert (log.n_written, log.n_segments) == (2, 1)
        await log.aclose()

    run(work())


def test_half_a_line_that_cannot_be_taken_back_ends_its_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, room = os.write, [3, 0]

    def bad_disk(descriptor: int, data: memoryview) -> int:
        n_bytes = room.pop(0)
        if not n_bytes:
            raise OSError(errno.EIO, "broken")
        return real_write(descriptor, data[:n_bytes])

    def refuse(descriptor: int, n_bytes: int) -> None:
        raise OSError(errno.EIO, "broken")

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, Durability.OS))
        await log.append(b"first\n")
        first = log.path
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", bad_disk)
            patch.setattr(os, "ftruncate", refuse)
            with pytest.raises(OSError, match="broken"):
                await log.append(b"second\n")
        await log.append(b"third\n")
        assert log.path != first
        await log.aclose()
        assert first.with_name(first.name + ".torn").read_bytes() == b"sec"

    run(work())
    assert lines_of(tmp_path) == [b"first\n", b"third\n"]


@pytest.mark.parametrize("durability", SYNCED)
def test_after_a_failed_sync_the_log_goes_on_in_a_new_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    def broken_device(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, durability))
        await log.append(b"first\n")
        first = log.path
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken_device)
            told = await asyncio.gather(
                *(log.append(b"lost\n") for _ in range(5)), return_exceptions=True
            )
            assert [type(item) for item in told] == [OSError] * 5
            assert log.failure == "Input/output error"
        assert await log.usable()
        assert log.path != first
        await log.append(b"second\n")
        await log.aclose()

    run(work())
    assert [line for line in lines_of(tmp_path) if line.strip()] == [b"first\n", b"second\n"]


@pytest.mark.parametrize("durability", list(Durability))
def test_deleted_file_is_no_silent_gap(tmp_path: Path, durability: Durability) -> None:
    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, durability))
        await log.append(b"1\n")
        log.path.unlink()
        with pytest.raises(FileNotFoundError, match="its file was deleted"):
            await log.append(b"2\n")
        assert log.failure == "its file was deleted"
        assert await log.usable()
        await log.append(b"3\n")
        await log.aclose()

    run(work())
    assert lines_of(tmp_path)[-1] == b"3\n"


@pytest.mark.parametrize("durability", list(Durability))
def test_folder_that_went_is_not_made_again(tmp_path: Path, durability: Durability) -> None:
    """It may be the place of a device that is no longer mounted."""

    async def work() -> None:
        folder = tmp_path / "log"
        log = ExchangeLog.create(config(folder, durability))
        await log.append(b"1\n")
        shutil.rmtree(folder)
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                await log.append(b"2\n")
        assert not await log.usable()
        assert not folder.exists()
        folder.mkdir()
        await log.append(b"3\n")
        await log.aclose()
        assert lines_of(folder) == [b"3\n"]

    run(work())


def test_a_log_that_fails_is_tried_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def full_disk(descriptor: int, data: memoryview) -> int:
        tries.append(time.monotonic())
        raise OSError(errno.ENOSPC, "no space left")

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, Durability.OS))
        assert await log.usable()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full_disk)
            with pytest.raises(OSError, match="no space"):
                await log.append(b"1\n")
            assert not any([await log.usable() for _ in range(100)])
            assert len(tries) == 2
            log.probed_at -= 1
            assert not await log.usable()
            assert len(tries) == 3
        log.probed_at -= 1
        assert await log.usable()
        assert (log.n_written, log.n_bytes) == (0, 0)
        await log.aclose()

    run(work())


@pytest.mark.parametrize("durability", [Durability.OS, Durability.GROUP])
def test_full_disk_tells_every_record_that_is_not_in_the_log(
    tmp_path: Path, durability: Durability
) -> None:
    """The limit on a file's size stands in for the disk: the write that meets it is cut short."""

    async def work() -> None:
        log = ExchangeLog.create(config(tmp_path, durability))
        confirmed: list[bytes] = []
        errors: set[int | None] = set()

        async def task(number: int) -> None:
            for index in range(100):
                line = b"%d/%d %s\n" % (number, index, b"x" * 150)
                try:
                    await log.append(line)
                except OSError as error:
                    errors.add(error.errno)
                    return
                confirmed.append(line)

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            await asyncio.gather(*map(task, range(16)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (log.failure, errors) == ("File too large", {errno.EFBIG})
        assert 100 < len(confirmed) < 1600
        assert Counter(lines_of(tmp_path)) == Counter(confirmed)
        assert await log.usable()
        await log.append(b"after\n")
        await log.aclose()
        assert lines_of(tmp_path)[-1] == b"after\n"

    run(work())


def test_full_device_is_refused_and_used_again_when_there_is_room(tmp_path: Path) -> None:
    own_mounts = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, "true"]).returncode:
        pytest.skip("no mounts of one's own here")
    command = [*own_mounts, sys.executable, CRASHING, "full", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    n_confirmed, ids = done.stdout.splitlines()
    assert int(n_confirmed) > 100
    assert len(set(ids.split())) == len(ids.split()) == int(n_confirmed)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("durability", "n_each"), [(Durability.OS, 60), (Durability.GROUP, 60), (Durability.FSYNC, 8)]
)
def test_rotation_under_load_keeps_each_record_once(
    tmp_path: Path, durability: Durability, n_each: int, loop: str
) -> None:
    async def work() -> None:
        log = ExchangeLog.create(
            config(tmp_path, durability, rotate_bytes=50_000, compression=Compression.ZSTD)
        )

        async def task(number: int) -> None:
            for index in range(n_each):
                await log.append(b"%d/%d %s\n" % (number, index, b"x" * random.randrange(1000)))
                if index % 7 == 0:
                    await asyncio.sleep(0)

        await asyncio.gather(*map(task, range(64)))
        assert log.n_segments > 3
        assert log.n_written == 64 * n_each
        await log.aclose()

    run(work(), loop)
    assert {path.suffix for path in tmp_path.iterdir()} == {".zst"}
    assert Counter(line.split(b" ")[0] for line in lines_of(tmp_path)) == Counter(
        b"%d/%d" % (number, index) for number in range(64) for index in range(n_each)
    )


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("durability", list(Durability))
def test_idle_segment_is_closed_when_its_time_is_over(
    tmp_path: Path, durability: Durability, loop: str
) -> None:
    async def work() -> None:
        log = ExchangeLog.create(
            config(tmp_path, durability, rotate_s=0.02, compression=Compression.GZIP)
        )
        for n_segments in (2, 3):
            await log.append(b"1\n")
            if durability is Durability.OS:
                log.tick()  # a timer that is too early
            await until(lambda n=n_segments: log.n_segments >= n)  # type: ignore[misc]
        await asyncio.sleep(0.1)
        assert log.n_segments == 3  # the empty one stays
        await until(lambda: len(list(tmp_path.glob("*.gz"))) == 2)
        await log.aclose()

    run(work(), loop)
    assert lines_of(tmp_path) == [b"1\n", b"1\n"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("durability", list(Durability))
def test_where_no_new_segment_can_be_made_the_old_one_serves_on(
    tmp_path: Path, durability: Durability
) -> None:
    async def work() -> None:
        folder = tmp_path / "log"
        log = ExchangeLog.create(config(folder, durability, rotate_bytes=4))
        folder.rename(tmp_path / "moved")
        await log.append(b"first\n")
        await log.append(b"second\n")
        assert (log.n_segments, log.failure) == (1, None)
        (tmp_path / "moved").rename(folder)
        log.rotate_after = 0.0
        await log.append(b"third\n")
        await until(lambda: log.n_segments == 2)
        await log.aclose()

    run(work())
    assert lines_of(tmp_path / "log") == [b"first\n", b"second\n", b"third\n"]


@pytest.mark.parametrize("durability", [Durability.OS, Durability.GROUP])
def test_what_was_confirmed_survives_kill_9_at_any_moment(
    tmp_path: Path, durability: Durability
) -> None:
    confirmed = crashing("append", tmp_path, durability, 30)
    assert len(confirmed) > 1000
    found = [exchange.request_id for exchange in read_exchanges(tmp_path)]
    assert len(found) == len(set(found))
    assert set(confirmed) <= set(found)

    async def next_start() -> None:
        log = ExchangeLog.create(LogConfig(tmp_path))
        await until(lambda: list(tmp_path.glob("*.jsonl")) == [log.path])
        await log.aclose()

    run(next_start())
    assert not list(tmp_path.glob(".*"))
    reader = read_exchanges(tmp_path)
    assert sorted(exchange.request_id for exchange in reader) == sorted(found)
    assert reader.n_torn == 0


def test_processes_share_a_folder(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    commands = [[sys.executable, CRASHING, "share", str(tmp_path), name, "640"] for name in names]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    found = [exchange.request_id for exchange in read_exchanges(tmp_path)]
    assert len(found) == len(set(found)) == 3 * 640
    assert {path.suffix for path in tmp_path.iterdir()} == {".zst"}


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--log .*/file/x' cannot be written to"):
        ExchangeLog.create(config(tmp_path / "file" / "x"))
