"""The time limits of many exchanges at once, kept by one timer.

Owns when an exchange has taken too long in all, and when its stream has stalled. Refuses to own
what happens then (`chat.client`). No lm_eval.

A timer for each request, moved by each token, would cost more than reading the token. Here a token
only leaves its time in the reader, and the one timer, due when the first limit may be reached,
looks at all readers and sets itself anew.

Example, an exchange within its limits:

    with watch.over(reader, timeout_s=7200.0, stall_s=600.0):
        await wire.send("POST", url, content, request_id, reader)
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from harness_tasks.chat.reading import ReplyReader
from harness_tasks.chat.reply import UpstreamError


class Watch:
    """Watches the exchanges of one client."""

    def __init__(self) -> None:
        self.watched: set[Watched] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.due = float("inf")

    def over(self, reader: ReplyReader, timeout_s: float, stall_s: float | None) -> Watched:
        """Return a context in which an exchange is watched; `stall_s` is None for a whole reply."""
        return Watched(self, reader, timeout_s, stall_s)

    def arm(self, due: float) -> None:
        """Look again at a time, unless that is planned for an earlier one."""
        if due >= self.due:
            return
        if self.timer is not None:
            self.timer.cancel()
        self.due = due
        self.timer = asyncio.get_running_loop().call_at(due, self.look)

    def look(self) -> None:
        """End what has taken too long, and look again when the next limit may be reached."""
        self.timer, self.due = None, float("inf")
        now = asyncio.get_running_loop().time()
        for watched in self.watched:
            if watched.expired is None:
                watched.look(now)
        dues = [watched.due() for watched in self.watched if watched.expired is None]
        if dues:
            self.arm(min(dues))

    def close(self) -> None:
        """Stop the timer."""
        if self.timer is not None:
            self.timer.cancel()


class Watched:
    """One exchange while it is under way; ended by cancelling its task, as asyncio.timeout does."""

    __slots__ = (
        "ends_at",
        "expired",
        "n_cancels",
        "reader",
        "stall_s",
        "task",
        "timeout_s",
        "watch",
    )

    def __init__(
        self, watch: Watch, reader: ReplyReader, timeout_s: float, stall_s: float | None
    ) -> None:
        self.watch = watch
        self.reader = reader
        self.timeout_s = timeout_s
        self.stall_s = stall_s
        self.ends_at = reader.started + timeout_s
        self.expired: UpstreamError | None = None

    def due(self) -> float:
        """Return when a limit may be reached."""
        if self.stall_s is None:
            return self.ends_at
        return min(self.ends_at, self.reader.token_at + self.stall_s)

    def look(self, now: float) -> None:
        """End the exchange if a limit is reached, or what came shows a fault."""
        try:
            due = self.due()
        except UpstreamError as fault:
            self.expire(fault)
            return
        if now >= self.ends_at:
            words = f"not finished after timeout_s={self.timeout_s:g} s"
            self.expire(UpstreamError(words, kind="timeout"))
        elif now >= due:
            words = f"no token came for stall_timeout_s={self.stall_s:g} s"
            self.expire(UpstreamError(words, kind="stall", retry=True))

    def expire(self, fault: UpstreamError) -> None:
        """End the exchange."""
        self.expired = fault
        self.task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a request is made in a task"
        self.task = task
        self.n_cancels = task.cancelling()
        self.watch.watched.add(self)
        self.watch.arm(self.due())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the watch.

        Raises:
            UpstreamError: a limit was reached.
        """
        self.watch.watched.discard(self)
        if self.expired is None:
            return
        # Only our own cancellation is taken back: somebody else's goes on.
        if self.task.uncancel() <= self.n_cancels and kind is asyncio.CancelledError:
            raise self.expired from error
