"""What the proxy counted since it started.

Owns the counts of requests and exchanges and the two documents that show them as JSON.
Refuses to own where they are shown (metrics, status, app) and what an exchange is (recorder).

    ledger = Ledger()
    ledger.begin()
    ledger.record(recorder.facts)     # once the record is safe
    ledger.end()
    ledger.snapshot()["exchanges"]    # {'complete': 1, 'upstream_error': 0, ...}

Memory does not grow with time: models have a bound (`other` takes the rest), durations go into
buckets, and the rate of tokens looks back a minute. What is unknown is None, never 0.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from proxy.exchange import Outcome

if TYPE_CHECKING:
    from proxy.recorder import Facts

DURATION_BOUNDS_S = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
    3600.0,
)  # fmt: skip
"""A reasoning model may think for an hour, an error comes within milliseconds."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
MAX_TALLIES = 64
"""Of pairs of route and model. A client may send any name as its model, millions of them too."""
MAX_NAME_CHARS = 200
MAX_TOKENS = 10**9
"""Of one answer. A server may say any number, and no float holds 10**400."""
OTHER = "other"
WINDOW_S = 60


class Replica(Protocol):
    """One server behind the proxy, as it stands now."""

    @property
    def route(self) -> str | None:
        """The route's name; None for --upstream."""

    @property
    def url(self) -> str:
        """Where the server is."""

    @property
    def in_flight(self) -> int:
        """Requests that it has not answered to their end."""

    @property
    def up(self) -> bool | None:
        """Whether the latest attempt to reach it found it; None before the first."""


class LogState(Protocol):
    """What the log tells about itself."""

    @property
    def path(self) -> Path:
        """The segment that is being written."""

    @property
    def failure(self) -> str | None:
        """Why the latest record could not be written; None once one could again."""

    @property
    def n_written(self) -> int:
        """Records of this process that are on the log."""

    @property
    def n_bytes(self) -> int:
        """Bytes of these records, before compression."""

    @property
    def n_segments(self) -> int:
        """Files that this process has begun."""


class Histogram:
    """Seconds, counted in fixed buckets."""

    __slots__ = ("bounds", "counts", "max_s", "sum_s")

    def __init__(self, bounds: tuple[float, ...] = DURATION_BOUNDS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of values up to each bound and above the one before; the last has those above all."""
        self.sum_s = 0.0
        self.max_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum_s += seconds
        if seconds > self.max_s:
            self.max_s = seconds

    def quantile(self, share: float) -> float | None:
        """Return an estimate, linear within the bucket that holds it; None of no values."""
        wanted = share * sum(self.counts)
        if not wanted:
            return None
        below = 0
        for index, count in enumerate(self.counts):
            if count and below + count >= wanted:
                low = self.bounds[index - 1] if index else 0.0
                high = min([*self.bounds[index : index + 1], self.max_s])
                return low + (high - low) * (wanted - below) / count
            below += count
        return self.max_s

    def snapshot(self) -> dict[str, float | None]:
        """Return number, mean, estimated quantiles and maximum; all but the number may be None."""
        n = sum(self.counts)
        found = {name: self.quantile(share) for name, share in QUANTILES.items()}
        row: dict[str, float | None] = {"mean": self.sum_s / n if n else None, **found}
        row["max"] = self.max_s if n else None
        return {"n": n, **{name: round_to(value, 6) for name, value in row.items()}}


class Tally:
    """The exchanges of one model on one route."""

    __slots__ = (
        "completion_tokens", "duration", "malformed_events", "n_chunks", "n_counted",
        "outcomes", "reasoning", "truncated", "ttft",
    )  # fmt: skip

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.truncated = 0
        """Complete exchanges that ended at the token limit."""
        self.reasoning = 0
        """Complete exchanges with reasoning."""
        self.completion_tokens = 0
        self.n_counted = 0
        """Exchanges whose server told the number of completion tokens."""
        self.n_chunks = 0
        self.malformed_events = 0
        self.duration = Histogram()
        self.ttft = Histogram()

    def snapshot(self, route: str | None, model: str | None) -> dict[str, Any]:
        return {
            "route": route,
            "model": model,
            "exchanges": with_zeros(self.outcomes),
            "truncated": self.truncated,
            "with_reasoning": self.reasoning,
            "completion_tokens": self.completion_tokens if self.n_counted else None,
            "malformed_events": self.malformed_events,
            "duration_s": self.duration.snapshot(),
            "ttft_s": self.ttft.snapshot(),
        }


class TokenRate:
    """Completion tokens of the exchanges that ended within the last minute, a second.

    Servers tell tokens at an answer's end only, so the tokens of an hour's answer count in the
    minute in which it ends, and those of running answers not yet. None while no exchange of the
    minute told its tokens; `partial` says that some did and some did not.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.started = clock()
        self.seconds = [-1] * (WINDOW_S + 1)
        self.tokens = [0] * (WINDOW_S + 1)
        self.n_counted = [0] * (WINDOW_S + 1)
        self.n_ended = [0] * (WINDOW_S + 1)

    def add(self, tokens: int | None) -> None:
        second = int(self.clock())
        index = second % (WINDOW_S + 1)
        if self.seconds[index] != second:
            self.seconds[index] = second
            self.tokens[index] = self.n_counted[index] = self.n_ended[index] = 0
        self.n_ended[index] += 1
        if tokens is not None:
            self.tokens[index] += tokens
            self.n_counted[index] += 1

    def read(self) -> tuple[float | None, bool]:
        """Return tokens a second, and whether some exchanges of the minute did not tell theirs."""
        now = self.clock()
        recent = [i for i, second in enumerate(self.seconds) if second >= int(now) - WINDOW_S]
        n_counted = sum(self.n_counted[i] for i in recent)
        if not n_counted:
            return None, False
        span_s = max(1.0, min(WINDOW_S + now % 1, now - self.started))
        n_ended = sum(self.n_ended[i] for i in recent)
        return sum(self.tokens[i] for i in recent) / span_s, n_counted < n_ended


class Ledger:
    """The counts of one proxy process; one event loop writes them, and nothing here waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started = clock()
        self.started_at = datetime.now(UTC)
        self.in_flight = 0
        self.n_requests = 0
        self.n_log_failures = 0
        self.log_failure: str | None = None
        """Why the latest of the records that could not be written was not."""
        self.failure_said = -float(WINDOW_S) + self.started
        self.n_complete = self.n_truncated = self.n_reasoning = 0
        self.tallies: dict[tuple[str | None, str | None], Tally] = {}
        self.rate = TokenRate(clock)
        self.replicas: Sequence[Replica] = ()

    def begin(self) -> None:
        """Count a request that is passed on."""
        self.n_requests += 1
        self.in_flight += 1

    def end(self) -> None:
        """Count the end of a request, whatever it was."""
        self.in_flight -= 1

    def record(self, facts: Facts) -> None:
        """Count an exchange whose record is safe."""
        tally = self.tallies.get((facts.route, facts.model)) or self.new_tally(facts)
        outcome = facts.outcome
        tally.outcomes[outcome] = tally.outcomes.get(outcome, 0) + 1
        tally.duration.add(facts.duration_s)
        if facts.ttft_s is not None:
            tally.ttft.add(facts.ttft_s)
        tokens = facts.completion_tokens
        if tokens is not None and not 0 <= tokens <= MAX_TOKENS:
            tokens = None
        if tokens is not None:
            tally.completion_tokens += tokens
            tally.n_counted += 1
        self.rate.add(tokens)
        tally.n_chunks += facts.n_chunks
        tally.malformed_events += facts.malformed_events
        if outcome == Outcome.COMPLETE:
            self.n_complete += 1
            if facts.truncated:
                tally.truncated += 1
                self.n_truncated += 1
            if facts.has_reasoning:
                tally.reasoning += 1
                self.n_reasoning += 1

    def new_tally(self, facts: Facts) -> Tally:
        """Return where a model is counted that has no row of its own yet."""
        model = facts.model or None  # two rows of one label would make the metrics unreadable
        odd = model is not None and (len(model) > MAX_NAME_CHARS or not model.isprintable())
        key = (facts.route, OTHER if odd or len(self.tallies) >= MAX_TALLIES else model)
        return self.tallies.setdefault(key, Tally())

    def failed(self, reason: str) -> bool:
        """Count a record that could not be written; True where it should be said, once a minute."""
        self.n_log_failures += 1
        self.log_failure = reason
        now = self.clock()
        if now - self.failure_said < WINDOW_S:
            return False
        self.failure_said = now
        return True

    @property
    def outcomes(self) -> dict[str, int]:
        """Exchanges by outcome, those that occurred."""
        total: dict[str, int] = {}
        for tally in self.tallies.values():
            for outcome, count in tally.outcomes.items():
                total[outcome] = total.get(outcome, 0) + count
        return total

    def share(self, count: int) -> float | None:
        """Return a count of complete exchanges as a share of them all; None while there is none."""
        return count / self.n_complete if self.n_complete else None

    def snapshot(self) -> dict[str, Any]:
        """Return the counts for JSON; docs/proxy.md says what each means."""
        tallies = self.tallies.values()
        tokens_per_s, partial = self.rate.read()
        counted = any(tally.n_counted for tally in tallies)
        return {
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "uptime_s": round(self.clock() - self.started, 3),
            "requests": self.n_requests,
            "in_flight": self.in_flight,
            "exchanges": with_zeros(self.outcomes),
            "log_failures": self.n_log_failures,
            "latest_log_failure": self.log_failure,
            "completion_tokens": sum(t.completion_tokens for t in tallies) if counted else None,
            "tokens_per_s": round_to(tokens_per_s, 3),
            "tokens_per_s_is_partial": partial,
            "truncated_share": round_to(self.share(self.n_truncated), 6),
            "reasoning_share": round_to(self.share(self.n_reasoning), 6),
            "malformed_events": sum(tally.malformed_events for tally in tallies),
            "models": [tally.snapshot(*key) for key, tally in self.tallies.items()],
        }


def stats_document(ledger: Ledger, log: LogState) -> dict[str, Any]:
    """Return what /_distill/stats answers."""
    return {**ledger.snapshot(), **places(ledger, log)}


def health_document(ledger: Ledger, log: LogState) -> dict[str, Any]:
    """Return what /healthz answers; its status is 503 while `status` is not "ok"."""
    failure = log.failure
    return {
        "status": "ok" if failure is None else f"log cannot be written: {failure}",
        "in_flight": ledger.in_flight,
        "requests": ledger.n_requests,
        "exchanges": with_zeros(ledger.outcomes),
        "log_failures": ledger.n_log_failures,
        **places(ledger, log),
    }


def places(ledger: Ledger, log: LogState) -> dict[str, Any]:
    """Return the log and the servers as they stand now."""
    return {
        "log": {
            "path": str(log.path),
            "failure": log.failure,
            "records": log.n_written,
            "bytes": log.n_bytes,
            "segments": log.n_segments,
        },
        "upstreams": [
            {
                "route": replica.route,
                "url": replica.url,
                "up": replica.up,
                "in_flight": replica.in_flight,
            }
            for replica in ledger.replicas
        ],
    }


def with_zeros(outcomes: dict[str, int]) -> dict[str, int]:
    """Return a count for every outcome there is."""
    return {outcome.value: outcomes.get(outcome, 0) for outcome in Outcome}


def round_to(value: float | None, digits: int) -> float | None:
    """Return a number with so many digits after the point."""
    return None if value is None else round(value, digits)
