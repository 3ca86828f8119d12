"""What the tests of the doctor share: settings, a context, and what a walk found.

Example: `found_by(flow.stream, server)` makes one check on a misbehaving server.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from harness_tasks.chat.settings import Settings, read_settings
from harness_tasks.doctor.finding import Context, Finding
from harness_tasks.doctor.probe import Server
from harness_tasks.doctor.reached import identify
from tests.fakes import FakeUpstream


def settings(url: str, **given: Any) -> Settings:
    """Return settings that wait for no retry longer than a moment."""
    return read_settings({"base_url": url, **given})


def server_of(url: str, **given: Any) -> Server:
    """Return a server that was looked at, its retries soon."""
    server = Server(settings(url, **given))
    server.transport = dataclasses.replace(server.transport, backoff_s=0.001)
    server.look()
    identify(server)
    server.settle_model()
    return server


def context_of(upstream: FakeUpstream, **given: Any) -> Context:
    """Return a context around a fake; names of Context go there, all others are settings."""
    fields = {field.name for field in dataclasses.fields(Context)}
    own = {name: value for name, value in given.items() if name in fields}
    rest = {name: value for name, value in given.items() if name not in fields}
    if "preset" in own:
        rest["preset"] = own["preset"]
    url = getattr(upstream, "url")  # noqa: B009 - a fake may have a path of its own
    return Context(server=server_of(url, **rest), **own)


def found_by(look: Callable[[Context], Iterable[Finding]], context: Context) -> list[Finding]:
    return list(look(context))


def statuses(findings: Iterable[Finding]) -> list[str]:
    return [finding.status for finding in findings]
