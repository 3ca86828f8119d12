"""The metrics as a Prometheus server reads them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.metrics import CONTENT_TYPE, render
from proxy.stats import MAX_TALLIES, Ledger
from tests.conftest import REPO
from tests.proxy.test_stats import Log, Server, facts

Labels = frozenset[tuple[str, str]]


def scrape(ledger: Ledger, log: Log | None = None) -> dict[tuple[str, Labels], float]:
    """Return every sample by name and labels; each must be there once."""
    text = render(ledger, log or Log()).decode("utf-8")
    samples = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(dict(samples)) == len(samples)
    return dict(samples)


def value(ledger: Ledger, name: str, log: Log | None = None, **labels: str) -> float:
    return scrape(ledger, log)[f"distill_proxy_{name}", frozenset(labels.items())]


def test_requests_and_exchanges_are_counters() -> None:
    ledger = Ledger()
    ledger.begin()
    ledger.begin()
    ledger.end()
    ledger.record(facts(completion_tokens=7, truncated=True, n_chunks=3))
    ledger.record(facts(route="r", has_reasoning=True))
    ledger.record(facts(outcome="client_cut"))
    assert value(ledger, "requests_total") == 2
    assert value(ledger, "in_flight_requests") == 1
    outcome = {"route": "", "model": "m", "outcome": "client_cut"}
    assert value(ledger, "exchanges_total", **outcome) == 1
    assert value(ledger, "completion_tokens_total", route="", model="m") == 7
    assert value(ledger, "exchanges_with_tokens_total", route="", model="m") == 1
    assert value(ledger, "truncated_total", route="", model="m") == 1
    assert value(ledger, "stream_chunks_total", route="", model="m") == 3
    assert value(ledger, "with_reasoning_total", route="r", model="m") == 1


def test_histograms_add_up_and_end_at_infinity() -> None:
    ledger = Ledger()
    for seconds in (0.01, 0.3, 5000.0):
        ledger.record(facts(duration_s=seconds))
    at = {"route": "", "model": "m"}
    assert value(ledger, "duration_seconds_bucket", le="0.01", **at) == 1
    assert value(ledger, "duration_seconds_bucket", le="0.5", **at) == 2
    assert value(ledger, "duration_seconds_bucket", le="3600.0", **at) == 2
    assert value(ledger, "duration_seconds_bucket", le="+Inf", **at) == 3
    assert value(ledger, "duration_seconds_count", **at) == 3
    assert value(ledger, "duration_seconds_sum", **at) == pytest.approx(5000.31)
    assert value(ledger, "time_to_first_token_seconds_count", **at) == 0


def test_hostile_model_names_stay_labels() -> None:
    names = ['a"} 1', "back\\slash", "{x='y'}", "日本", "# HELP"]
    ledger = Ledger()
    for name in names:
        ledger.record(facts(model=name))
    found = {
        dict(labels)["model"]
        for name, labels in scrape(ledger)
        if name == "distill_proxy_exchanges_total"
    }
    assert found == set(names)


def test_log_and_servers_are_gauges() -> None:
    ledger = Ledger()
    ledger.failed("disk full")
    ledger.replicas = [
        Server("r", "http://a", 2, True),
        Server(None, "http://b", 0, False),
        Server(None, "http://c"),
    ]
    log = Log(failure="disk full", n_bytes=99)
    assert value(ledger, "log_failures_total", log) == 1
    assert value(ledger, "log_bytes_total", log) == 99
    assert value(ledger, "log_records_total", log) == 3
    assert value(ledger, "log_usable", log) == 0
    assert value(ledger, "log_usable", Log()) == 1
    assert value(ledger, "upstream_up", route="r", url="http://a") == 1
    assert value(ledger, "upstream_up", route="", url="http://b") == 0
    assert value(ledger, "upstream_in_flight_requests", route="r", url="http://a") == 2
    unknown = frozenset({"route": "", "url": "http://c"}.items())
    assert ("distill_proxy_upstream_up", unknown) not in scrape(ledger)


def test_a_scrape_stays_bounded_and_holds_our_metrics_only() -> None:
    ledger = Ledger()
    for number in range(2 * MAX_TALLIES):
        ledger.record(facts(model=f"{number:0200}"))
    text = render(ledger, Log())
    assert len(text) < 1_000_000
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    assert all(line.startswith("distill_proxy_") for line in lines)
    assert CONTENT_TYPE.startswith("text/plain; version=")


def test_every_metric_stands_in_the_docs() -> None:
    ledger = Ledger()
    ledger.record(facts())
    ledger.replicas = [Server(None, "http://a", 0, True)]
    text = (REPO / "docs" / "proxy.md").read_text(encoding="utf-8")
    for family in text_string_to_metric_families(render(ledger, Log()).decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}" in text, name
