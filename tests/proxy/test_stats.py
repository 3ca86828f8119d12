"""The counts: what each is over, what stands when nothing is known, and that they stay small."""

from __future__ import annotations

import json
import timeit
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.exchange import Outcome
from proxy.recorder import Facts
from proxy.stats import (
    MAX_TALLIES,
    OTHER,
    Histogram,
    Ledger,
    health_document,
    stats_document,
)
from tests.conftest import REPO


@dataclass
class Clock:
    now: float = 1000.5

    def __call__(self) -> float:
        return self.now


@dataclass
class Log:
    path: Path = Path("log/exchanges-1.jsonl")
    failure: str | None = None
    n_written: int = 3
    n_bytes: int = 4096
    n_segments: int = 1


@dataclass
class Server:
    route: str | None
    url: str
    in_flight: int = 0
    up: bool | None = None


def facts(**changes: Any) -> Facts:
    plain: dict[str, Any] = {
        "model": "m",
        "route": None,
        "outcome": "complete",
        "truncated": False,
        "has_reasoning": False,
        "completion_tokens": None,
        "n_chunks": 0,
        "ttft_s": None,
        "duration_s": 0.2,
        "malformed_events": 0,
    }
    return Facts(**plain | changes)


def test_of_nothing_counts_are_zero_and_the_rest_is_unknown() -> None:
    snapshot = Ledger().snapshot()
    assert (snapshot["requests"], snapshot["in_flight"], snapshot["log_failures"]) == (0, 0, 0)
    assert snapshot["exchanges"] == dict.fromkeys(Outcome, 0)
    for name in (
        "completion_tokens", "tokens_per_s", "truncated_share", "reasoning_share",
        "latest_log_failure",
    ):  # fmt: skip
        assert snapshot[name] is None
    assert snapshot["models"] == []


def test_requests_are_in_flight_until_their_end() -> None:
    ledger = Ledger()
    ledger.begin()
    ledger.begin()
    ledger.end()
    assert (ledger.n_requests, ledger.in_flight) == (2, 1)


def test_exchanges_are_counted_by_route_model_and_outcome() -> None:
    ledger = Ledger()
    for given in (
        facts(),
        facts(outcome="client_cut"),
        facts(route="r"),
        facts(route="r", malformed_events=2, outcome="malformed"),
        facts(model=None),
    ):
        ledger.record(given)
    rows = {(row["route"], row["model"]): row for row in ledger.snapshot()["models"]}
    assert {key: sum(row["exchanges"].values()) for key, row in rows.items()} == {
        (None, "m"): 2,
        ("r", "m"): 2,
        (None, None): 1,
    }
    assert rows["r", "m"]["malformed_events"] == 2
    assert ledger.outcomes == {"complete": 3, "client_cut": 1, "malformed": 1}


def test_shares_are_of_complete_exchanges() -> None:
    ledger = Ledger()
    ledger.record(facts(truncated=True))
    ledger.record(facts(has_reasoning=True))
    ledger.record(facts(has_reasoning=True))
    ledger.record(facts())
    ledger.record(facts(outcome="upstream_cut", truncated=True, has_reasoning=True))
    snapshot = ledger.snapshot()
    assert (snapshot["truncated_share"], snapshot["reasoning_share"]) == (0.25, 0.5)
    (row,) = snapshot["models"]
    assert (row["truncated"], row["with_reasoning"]) == (1, 2)


def test_tokens_a_second_are_those_of_the_last_minute() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    clock.now += 600
    ledger.record(facts(completion_tokens=6050))
    assert ledger.rate.read() == (100.0, False)  # 60 whole seconds and the half of this one
    clock.now += 59
    ledger.record(facts(completion_tokens=0))
    assert ledger.rate.read() == (100.0, False)
    clock.now += 3
    assert ledger.rate.read() == (0.0, False)  # the minute's one exchange had no tokens
    clock.now += 60
    assert ledger.rate.read() == (None, False)
    assert ledger.snapshot()["completion_tokens"] == 6050


def test_a_young_proxy_divides_by_its_age_and_an_hour_of_silence_leaves_nothing_behind() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    clock.now += 10
    ledger.record(facts(completion_tokens=50))
    assert ledger.rate.read() == (5.0, False)
    clock.now += 3600 - 3600 % 61  # the same slot of the ring
    ledger.record(facts(completion_tokens=60))
    assert ledger.rate.read()[0] == pytest.approx(60 / 60.5)


def test_tokens_that_a_server_did_not_tell_make_the_rate_a_lower_bound() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    ledger.record(facts())
    assert ledger.rate.read() == (None, False)
    ledger.record(facts(completion_tokens=5))
    assert ledger.rate.read() == (5.0, True)
    snapshot = ledger.snapshot()
    assert (snapshot["tokens_per_s"], snapshot["tokens_per_s_is_partial"]) == (5.0, True)


@pytest.mark.parametrize("tokens", [-1, 10**400])
def test_a_number_of_tokens_that_cannot_be_is_none(tokens: int) -> None:
    ledger = Ledger()
    ledger.record(facts(completion_tokens=tokens))
    assert ledger.snapshot()["completion_tokens"] is None
    assert ledger.rate.read() == (None, False)


@pytest.mark.parametrize("odd", ["x" * 201, "a\nb", "\ud800", "\x1b[2J"])
def test_a_name_that_is_no_name_counts_as_other(odd: str) -> None:
    ledger = Ledger()
    ledger.record(facts(model=odd))
    ledger.record(facts(model=odd))
    assert list(ledger.tallies) == [(None, OTHER)]
    assert ledger.outcomes == {"complete": 2}


def test_an_empty_name_is_no_name() -> None:
    ledger = Ledger()
    ledger.record(facts(model=""))
    ledger.record(facts(model=None))
    assert list(ledger.tallies) == [(None, None)]


def test_millions_of_model_names_need_no_more_memory_than_some_dozens() -> None:
    ledger = Ledger()
    for number in range(10 * MAX_TALLIES):
        ledger.record(facts(model=f"m{number}"))
    assert len(ledger.tallies) == MAX_TALLIES + 1
    assert ledger.outcomes == {"complete": 10 * MAX_TALLIES}
    ledger.record(facts(model="m0"))
    assert ledger.tallies[None, "m0"].outcomes == {"complete": 2}


def test_quantiles_are_estimated_within_their_bucket_and_never_above_the_maximum() -> None:
    histogram = Histogram((1.0, 2.0))
    assert histogram.quantile(0.5) is None
    unknown = dict.fromkeys(("mean", "p50", "p90", "p99", "max"))
    assert histogram.snapshot() == {"n": 0, **unknown}
    for value in (0.5, 1.0, 1.5, 1.6):
        histogram.add(value)
    assert histogram.counts == [2, 2, 0]  # a bound belongs to the bucket below it
    assert histogram.quantile(0.5) == 1.0
    assert histogram.quantile(0.75) == pytest.approx(1.3)
    assert histogram.quantile(1.0) == 1.6
    histogram.add(50.0)
    assert histogram.counts == [2, 2, 1]
    assert histogram.quantile(1.0) == 50.0
    assert histogram.snapshot()["mean"] == pytest.approx(10.92)


def test_counting_an_exchange_takes_microseconds() -> None:
    """Measured 1.2 us; the ceiling only catches work that grows with what was counted before."""
    ledger = Ledger()
    for number in range(MAX_TALLIES - 1):
        ledger.record(facts(model=f"m{number}"))
    one = facts(completion_tokens=5, ttft_s=0.1)
    seconds = min(timeit.repeat(lambda: ledger.record(one), number=1000, repeat=5))
    assert seconds / 1000 < 20e-6


def test_documents_tell_log_and_servers() -> None:
    ledger = Ledger()
    ledger.replicas = [Server("r", "http://a", 2, True), Server(None, "http://b")]
    log = Log()
    health = json.loads(json.dumps(health_document(ledger, log)))
    assert health["status"] == "ok"
    assert health["upstreams"] == [
        {"route": "r", "url": "http://a", "up": True, "in_flight": 2},
        {"route": None, "url": "http://b", "up": None, "in_flight": 0},
    ]
    assert health["log"] == {
        "path": "log/exchanges-1.jsonl",
        "failure": None,
        "records": 3,
        "bytes": 4096,
        "segments": 1,
    }
    log.failure = "No space left on device"
    ledger.failed("No space left on device")
    health = health_document(ledger, log)
    assert health["status"] == "log cannot be written: No space left on device"
    assert stats_document(ledger, log)["latest_log_failure"] == "No space left on device"
    assert health["log_failures"] == 1


def names_in(value: Any) -> set[str]:
    """Return the names of fields at any depth."""
    if isinstance(value, dict):
        return set(value) | {name for item in value.values() for name in names_in(item)}
    if isinstance(value, list):
        return {name for item in value for name in names_in(item)}
    return set()


def test_every_field_of_the_documents_stands_in_the_docs() -> None:
    ledger = Ledger()
    ledger.record(facts())
    ledger.replicas = [Server("r", "http://a")]
    text = (REPO / "docs" / "proxy.md").read_text(encoding="utf-8")
    for document in (stats_document(ledger, Log()), health_document(ledger, Log())):
        assert {name for name in names_in(document) if f"`{name}`" not in text} == set()
