"""Coroutines side by side in a long run that Ctrl-C and SIGTERM may end at any time.

Owns that all of them end together. Refuses to own what they do. Standard library only.

Example: `with cancelled_by_signals(): await all_or_none([worker() for _ in range(8)])`
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


async def all_or_none(coroutines: Sequence[Any]) -> None:
    """Run coroutines side by side; where one raises, the others are cancelled first.

    Raises:
        Exception: what one of them raised.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM cancel the task that runs here, in the main thread alone."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)
    if task is None:
        yield
        return
    try:
        for number in signals:
            loop.add_signal_handler(number, task.cancel)
    except (ValueError, RuntimeError, NotImplementedError):  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
