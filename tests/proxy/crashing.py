"""Processes that die in the middle of their work on a log; a script, for it forks.

python crashing.py append FOLDER DURABILITY N_ROUNDS    children that are killed while they write
python crashing.py pack FOLDER FORM                     children that stop at each system call
python crashing.py share FOLDER NAME N_RECORDS          one that is not killed
python crashing.py full FOLDER                          one on a device of 256 KiB, mounted here
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from proxy.config import Compression, Durability, LogConfig
from proxy.exchange import Exchange, read_exchanges, to_line
from proxy.log import ExchangeLog
from proxy.packing import Packer

N_TASKS = 16
STEPS = ("open", "pread", "write", "ftruncate", "fsync", "rename", "unlink")


def line(request_id: str) -> bytes:
    return to_line(Exchange(request_id, "2026-01-02T03:04:05+00:00", "/v1", "u", content="x" * 500))


async def write(config: LogConfig, name: str, n_records: int, confirm: int | None) -> None:
    log = ExchangeLog.create(config)

    async def task(number: int) -> None:
        for index in range(n_records // N_TASKS):
            request_id = f"{name}/{number}/{index}"
            await log.append(line(request_id))
            if confirm is not None:
                os.write(confirm, request_id.encode() + b"\n")

    await asyncio.gather(*map(task, range(N_TASKS)))
    await log.aclose()


def append(folder: str, durability: str, n_rounds: str) -> None:
    """Print the ids of all records whose append had returned."""
    config = LogConfig(Path(folder), Durability(durability), rotate_bytes=20_000)
    for number in range(int(n_rounds)):
        ours, theirs = os.pipe()
        if (child := os.fork()) == 0:
            asyncio.run(write(config, str(number), 1_000_000, theirs))
            os._exit(1)
        os.close(theirs)
        confirmed = [os.read(ours, 65536)]  # it has begun
        dies_at = time.monotonic() + random.random() * 0.06
        while (left_s := dies_at - time.monotonic()) > 0:
            if select.select([ours], [], [], left_s)[0]:
                confirmed.append(os.read(ours, 65536))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while piece := os.read(ours, 65536):
            confirmed.append(piece)
        os.close(ours)
        whole = b"".join(confirmed)
        sys.stdout.write(whole[: whole.rfind(b"\n") + 1].decode())


def pack(folder: str, form: str) -> None:
    """Compress a folder's segments with one step more each time; print how many steps there are."""
    n_steps = 0
    while (child := os.fork()) != 0:
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            print(n_steps)
            return
        n_steps += 1
        ids(folder)
        sys.stdout.flush()  # or the next child has it too
    stop_at(n_steps)
    packer = Packer(Path(folder), Compression(form))
    packer.tidy()
    os._exit(0)


def stop_at(n_steps: int) -> None:
    """End the process before its step of that number."""
    left = [n_steps]

    def counted(real: Any) -> Any:
        def step(*args: Any, **options: Any) -> Any:
            if not left[0]:
                os._exit(9)
            left[0] -= 1
            return real(*args, **options)

        return step

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def ids(folder: str) -> None:
    """Print the ids that a reader finds."""
    print(" ".join(exchange.request_id for exchange in read_exchanges(folder)))


def share(folder: str, name: str, n_records: str) -> None:
    config = LogConfig(Path(folder), Durability.GROUP, rotate_bytes=30_000)
    asyncio.run(write(config, name, int(n_records), None))


def full(folder: str) -> None:
    """Fill a small device, free it, go on; print how many records were confirmed."""
    options = ["-t", "tmpfs", "-o", "size=256k", "none", folder]
    subprocess.run(["mount", *options], check=True)
    ballast = Path(folder, "ballast")
    ballast.write_bytes(bytes(100_000))
    config = LogConfig(Path(folder), compression=Compression.NONE)

    async def fill() -> int:
        log = ExchangeLog.create(config)
        n_confirmed = 0
        while not log.failure:
            results = await asyncio.gather(
                *(log.append(line(f"{n_confirmed}/{n}")) for n in range(9)), return_exceptions=True
            )
            n_confirmed += results.count(None)
        assert log.failure == "No space left on device"
        ballast.unlink()
        assert await log.usable()
        await log.append(line("after"))
        await log.aclose()
        return n_confirmed + 1

    print(asyncio.run(fill()))
    ids(folder)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
