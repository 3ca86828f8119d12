"""The counts as Prometheus reads them.

Owns the names, units and labels of the metrics. Refuses to own the counts (stats) and the text
format, which is prometheus_client's.

    render(ledger, log)     # b'# HELP distill_proxy_requests_total ...'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.stats import Histogram, Ledger, LogState, Replica, Tally

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "distill_proxy_"
BY_MODEL = ("route", "model")
BY_SERVER = ("route", "url")


def render(ledger: Ledger, log: LogState) -> bytes:
    """Return all metrics as text; 0.3 ms for each model, 20 ms at most."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LedgerCollector(ledger, log))
    return generate_latest(registry)


class LedgerCollector(Collector):
    """Reads the counts at each scrape, so that counting itself costs nothing."""

    def __init__(self, ledger: Ledger, log: LogState) -> None:
        self.ledger = ledger
        self.log = log

    def collect(self) -> Iterator[Metric]:
        yield from self.of_process()
        yield from self.of_exchanges()
        yield from self.of_log()
        yield from self.of_servers()

    def of_process(self) -> Iterator[Metric]:
        ledger = self.ledger
        yield gauge("start_time_seconds", "When the proxy started.", ledger.started_at.timestamp())
        yield counter("requests", "Requests that were passed on, logged or not.", ledger.n_requests)
        yield gauge("in_flight_requests", "Requests without an end yet.", ledger.in_flight)

    def of_exchanges(self) -> Iterator[Metric]:
        exchanges = CounterMetricFamily(
            f"{PREFIX}exchanges",
            "Logged exchanges by how they ended.",
            labels=[*BY_MODEL, "outcome"],
        )
        for (route, model), tally in self.ledger.tallies.items():
            for outcome, count in tally.outcomes.items():
                exchanges.add_metric([route or "", model or "", outcome], count)
        yield exchanges
        for name, text, count_of in COUNTERS:
            yield self.by_model(name, text, count_of)
        yield self.histogram(
            "duration_seconds",
            "From the request's headers to the answer's last byte.",
            lambda tally: tally.duration,
        )
        yield self.histogram(
            "time_to_first_token_seconds",
            "To the first piece of a streamed answer.",
            lambda tally: tally.ttft,
        )

    def by_model(self, name: str, text: str, count_of: Callable[[Tally], int]) -> Metric:
        family = CounterMetricFamily(PREFIX + name, text, labels=BY_MODEL)
        for (route, model), tally in self.ledger.tallies.items():
            family.add_metric([route or "", model or ""], count_of(tally))
        return family

    def histogram(self, name: str, text: str, of: Callable[[Tally], Histogram]) -> Metric:
        family = HistogramMetricFamily(PREFIX + name, text, labels=BY_MODEL)
        for (route, model), tally in self.ledger.tallies.items():
            histogram = of(tally)
            family.add_metric([route or "", model or ""], buckets(histogram), histogram.sum_s)
        return family

    def of_log(self) -> Iterator[Metric]:
        log = self.log
        failures = self.ledger.n_log_failures
        yield counter("log_failures", "Records that could not be written.", failures)
        yield counter("log_records", "Records written.", log.n_written)
        yield counter("log_bytes", "Bytes of records, before compression.", log.n_bytes)
        yield counter("log_segments", "Files of the log that were begun.", log.n_segments)
        yield gauge(
            "log_usable", "1 while records can be written, else 0.", int(log.failure is None)
        )

    def of_servers(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            f"{PREFIX}upstream_up",
            "1 if the latest attempt to reach the server did, 0 if not; absent before the first.",
            labels=BY_SERVER,
        )
        in_flight = GaugeMetricFamily(
            f"{PREFIX}upstream_in_flight_requests",
            "Requests that the server has not answered to their end.",
            labels=BY_SERVER,
        )
        for replica in self.ledger.replicas:
            if replica.up is not None:
                up.add_metric(names_of(replica), int(replica.up))
            in_flight.add_metric(names_of(replica), replica.in_flight)
        yield from (up, in_flight)


COUNTERS: tuple[tuple[str, str, Callable[[Tally], int]], ...] = (
    (
        "completion_tokens",
        "Completion tokens, of the exchanges whose server told them.",
        lambda tally: tally.completion_tokens,
    ),
    (
        "exchanges_with_tokens",
        "Exchanges whose server told the completion tokens.",
        lambda tally: tally.n_counted,
    ),
    (
        "truncated",
        "Complete exchanges that ended at the token limit.",
        lambda tally: tally.truncated,
    ),
    ("with_reasoning", "Complete exchanges with reasoning.", lambda tally: tally.reasoning),
    (
        "stream_chunks",
        "Stream events that carried a piece of an answer.",
        lambda tally: tally.n_chunks,
    ),
    (
        "malformed_events",
        "Pieces of answers that were not what the endpoint promises.",
        lambda tally: tally.malformed_events,
    ),
)


def counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def names_of(replica: Replica) -> list[str]:
    return [replica.route or "", replica.url]


def buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return counts up to each bound, as Prometheus adds them up."""
    rows: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        rows.append((bound, total))
    return rows
