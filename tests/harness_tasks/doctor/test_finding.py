"""What findings must say, and what they mean together."""

from __future__ import annotations

import pytest

from harness_tasks.doctor.finding import Context, Finding, Status, passed, skipped, verdict
from harness_tasks.doctor.probe import Server
from tests.harness_tasks.doctor.asked import settings


def of(status: Status, *, broken: bool = False) -> Finding:
    return Finding("x", status, "found", "why", "fix", broken)


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ([of("pass"), of("skip")], "pass"),
        ([of("pass"), of("warn")], "warn"),
        ([of("warn"), of("fail"), of("pass")], "fail"),
        ([of("pass"), of("skip", broken=True)], "warn"),
        ([of("fail"), of("skip", broken=True)], "fail"),
        ([of("skip")], "warn"),
        ([], "warn"),
    ],
)
def test_the_verdict_is_the_worst_and_never_better_than_what_was_looked_at(
    findings: list[Finding], told: str
) -> None:
    assert verdict(findings) == told


@pytest.mark.parametrize("status", ["warn", "fail"])
def test_a_doubt_must_say_why_it_matters_and_what_mends_it(status: Status) -> None:
    with pytest.raises(ValueError, match="must say why it matters and what mends it"):
        Finding("seeds", status, "the same seed gave two texts", "why")


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="status must be one of pass, warn, fail, skip"):
        Finding("seeds", "ok", "x")  # type: ignore[arg-type]


def test_a_pass_and_a_skip_need_no_more_than_what_was_found() -> None:
    assert passed("a", "x").status == "pass"
    assert (skipped("a", "x").broken, skipped("a", "x", broken=True).broken) == (False, True)


def test_requests_at_once_are_shared_out_among_replicas() -> None:
    replica = Server(settings("http://127.0.0.1:9"))
    assert Context(num_concurrent=8).at_once == 8
    assert Context(server=replica, replicas=(replica, replica), num_concurrent=8).at_once == 3
