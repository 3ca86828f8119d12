"""Which server answers, by which name, and whether several are replicas."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from harness_tasks.doctor.finding import Context
from harness_tasks.doctor.probe import Server
from harness_tasks.doctor.reached import answers, reachable, replicas, same_model
from tests.harness_tasks.doctor.asked import context_of, found_by, server_of, settings, statuses
from tests.misbehaving import MisbehavingServer
from tests.simulated_model import SimulatedModel


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        ("base", "base"),
        ("/models/Qwen3-8B@main", "/models/Qwen3-8B"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("deepseek-r1-0528", "deepseek/deepseek-r1"),
        ("gpt-x-2025-01-01", "openai/gpt-x:free"),
        ("qwen3:8b", "qwen3:8b"),
    ],
)
def test_names_of_one_model(served: str, asked: str) -> None:
    assert same_model(served, asked)


@pytest.mark.parametrize(("served", "asked"), [("student", "base"), ("Qwen3-8B", "Qwen3-4B")])
def test_names_of_two_models(served: str, asked: str) -> None:
    assert not same_model(served, asked)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_where_nothing_listens_the_fix_is_to_start_it() -> None:
    server = Server(settings(f"http://127.0.0.1:{free_port()}", max_retries=0))
    [found] = found_by(reachable, Context(server=server))
    assert found.status == "fail"
    assert found.fix == "start the server, or correct --base_url"


def of_two(one: MisbehavingServer, two: MisbehavingServer) -> Context:
    context = context_of(one)
    return dataclasses.replace(context, replicas=(server_of(two.url),))


def test_two_servers_of_one_model_are_replicas() -> None:
    with MisbehavingServer() as one, MisbehavingServer() as two:
        context = of_two(one, two)
        assert statuses(found_by(replicas, context)) == ["pass"]
        assert len(one.asked) == len(two.asked) == 1


def test_one_server_has_no_replicas() -> None:
    with MisbehavingServer() as one:
        assert statuses(found_by(replicas, context_of(one))) == ["skip"]


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (MisbehavingServer(context=1024), "fail"),
        (MisbehavingServer(image="llamacpp"), "fail"),
        (MisbehavingServer(names=("student",)), "fail"),
        (MisbehavingServer(adds_system_prompt=True), "fail"),
        (MisbehavingServer(model=SimulatedModel(weights="other", knows_sums=False)), "warn"),
    ],
    ids=["context", "kind", "model", "prompt", "weights"],
)
def test_servers_that_differ_are_no_replicas(other: MisbehavingServer, status: str) -> None:
    with MisbehavingServer() as one, other as two:
        found = found_by(replicas, of_two(one, two))
    assert statuses(found) == [status]
    assert "start all servers" in found[0].fix


def test_a_replica_that_is_gone_is_told_by_its_address() -> None:
    gone = Server(settings(f"http://127.0.0.1:{free_port()}", max_retries=0))
    with MisbehavingServer() as one:
        context = dataclasses.replace(context_of(one), replicas=(gone,))
        found = found_by(reachable, context)
    assert [(f.check, f.status) for f in found] == [("reachable", "pass"), ("replicas", "fail")]
    assert gone.base in found[1].found


def test_after_the_first_answer_it_waits_less_long() -> None:
    with MisbehavingServer() as one:
        context = context_of(one)
        server = context.server
        assert server is not None
        before = server.transport.timeout_s
        assert statuses(found_by(answers, context)) == ["pass"]
        assert server.transport.timeout_s < before
