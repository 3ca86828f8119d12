"""The walk along the checks: what is made, what is not, and what becomes of one that breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness_tasks.chat.reply import UpstreamError
from harness_tasks.doctor.checks import CHECKS, walk
from harness_tasks.doctor.finding import Check, Context, Finding, passed
from harness_tasks.doctor.probe import Server
from tests.harness_tasks.doctor.asked import settings

SERVER = Context(server=Server(settings("http://127.0.0.1:9")))


def fine(_: Context) -> Iterator[Finding]:
    yield passed("fine", "good")


def failing(_: Context) -> Iterator[Finding]:
    yield Finding("failing", "fail", "bad", "why", "fix")


def walked(context: Context, *checks: Check) -> list[tuple[str, str, bool]]:
    found = walk(context, checks, lambda name, at, n: None)
    return [(finding.check, finding.status, finding.broken) for finding in found]


@pytest.mark.parametrize(
    "error", [KeyError("slots"), RecursionError(), UpstreamError("x", kind="x")]
)
def test_a_check_that_breaks_is_a_skip_with_its_cause_and_the_next_is_made(
    error: Exception,
) -> None:
    def breaking(_: Context) -> Iterator[Finding]:
        yield passed("breaking", "a first part")
        raise error

    assert walked(SERVER, Check("breaking", breaking), Check("fine", fine)) == [
        ("breaking", "pass", False), ("breaking", "skip", True), ("fine", "pass", False),
    ]  # fmt: skip


def test_a_cause_of_a_servers_making_is_one_printable_line() -> None:
    def breaking(_: Context) -> Iterator[Finding]:
        raise ValueError("two\nlines \x1b[31m and red")
        yield

    [found] = walk(SERVER, [Check("breaking", breaking)], lambda name, at, n: None)
    assert found.found == "could not be checked: ValueError: two lines \\x1b[31m and red"


def test_ctrl_c_ends_the_walk() -> None:
    def pressed(_: Context) -> Iterator[Finding]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        list(walk(SERVER, [Check("pressed", pressed)], lambda name, at, n: None))


def test_where_the_address_fails_no_more_is_asked_of_the_server_and_the_machine_is_checked() -> (
    None
):
    checks = [
        Check("failing", failing, "address"), Check("a", fine, "address"), Check("b", fine),
        Check("c", fine, "against"), Check("fine", fine, "nothing"),
    ]  # fmt: skip
    assert walked(SERVER, *checks) == [
        ("failing", "fail", False), ("a", "skip", False), ("b", "skip", False),
        ("c", "skip", False), ("fine", "pass", False),
    ]  # fmt: skip


def test_a_failure_further_on_ends_nothing() -> None:
    assert walked(SERVER, Check("failing", failing), Check("fine", fine))[1][1] == "pass"


def test_without_a_server_or_a_second_one_their_checks_say_what_to_give() -> None:
    [found] = walk(Context(), [Check("a", fine)], lambda name, at, n: None)
    assert found.found == "no server to ask: give --base_url"
    [found] = walk(SERVER, [Check("a", fine, "against")], lambda name, at, n: None)
    assert "--against URL" in found.found


def test_each_check_is_announced_before_it_is_made() -> None:
    told: list[tuple[str, int, int]] = []
    list(
        walk(Context(), [Check("a", fine), Check("b", fine, "nothing")], lambda *t: told.append(t))
    )
    assert told == [("b", 2, 2)]


def test_names_of_checks_are_single_and_what_others_need_comes_first() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert names[:2] == ["reachable", "model"]
    assert names.index("answers") < names.index("reasoning")
    assert names.index("arms") < names.index("lora")


def test_a_server_that_hangs_on_the_way_is_not_waited_for_at_every_check() -> None:
    n_tried = []

    def hanging(_: Context) -> Iterator[Finding]:
        n_tried.append(1)
        raise UpstreamError("not finished after timeout_s=120 s", kind="timeout")
        yield

    checks = [*(Check(str(at), hanging) for at in range(5)), Check("fine", fine, "nothing")]
    found = list(walk(SERVER, checks, lambda name, at, n: None))
    assert len(n_tried) == 2
    assert [(f.status, f.broken) for f in found] == [
        ("skip", True), ("skip", True), ("skip", False), ("skip", False), ("skip", False),
        ("pass", False),
    ]  # fmt: skip


def test_a_refusal_is_no_silence() -> None:
    def refusing(_: Context) -> Iterator[Finding]:
        raise UpstreamError("HTTP 400", kind="HTTP 400", status=400)
        yield

    found = walk(SERVER, [Check(str(at), refusing) for at in range(4)], lambda name, at, n: None)
    assert all(finding.broken for finding in found)
