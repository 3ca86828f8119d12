"""The context of one request by each server's own words, against the run's max_tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness_tasks.doctor.room import context_length, room_of, slots
from tests.fakes import FakeUpstream, Received, reply_json
from tests.harness_tasks.doctor.asked import context_of, found_by, server_of, statuses
from tests.misbehaving import MisbehavingServer

SOURCES = {
    "vllm": "/v1/models",
    "sglang": "/get_server_info",
    "llamacpp": "/slots",
    "ollama": "/api/ps",
    "openrouter": "/models",
}


@pytest.mark.parametrize("image", SOURCES)
def test_each_server_is_asked_in_its_own_way(image: str) -> None:
    with MisbehavingServer(image=image, context=4321) as fake:
        room = room_of(server_of(fake.url, model="base"))
    assert room is not None
    assert (room.n_tokens, room.source) == (4321, SOURCES[image])


def test_a_local_folder_tells_what_its_model_was_made_for(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    with MisbehavingServer(image="transformers") as fake:
        room = room_of(server_of(fake.url, model=str(tmp_path)))
        assert room_of(server_of(fake.url, model="org/name")) is None
    assert room is not None
    assert room.n_tokens == 2048


def telling(paths: dict[str, Any]) -> FakeUpstream:
    """Return a server that answers these paths, GET or POST."""

    def told(request: Received) -> Any:
        if request.path in paths:
            return reply_json(paths[request.path])
        return reply_json({"error": "none"}, status=404)

    return FakeUpstream(told, models=told)


LLAMA = {"data": [{"id": "m", "owned_by": "llamacpp"}]}


def test_llama_server_without_slots_tells_by_its_props() -> None:
    props = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 2}
    with telling({"/v1/models": LLAMA, "/props": props}) as fake:
        room = room_of(server_of(fake.url))
        assert room is not None
        assert (room.n_tokens, room.source) == (512, "/props")


def test_the_smallest_slot_counts() -> None:
    paths = {"/v1/models": LLAMA, "/slots": [{"n_ctx": 900}, {"n_ctx": 512}, {"n_ctx": "x"}, 3]}
    with telling(paths) as fake:
        room = room_of(server_of(fake.url))
        assert room is not None
        assert room.n_tokens == 512


@pytest.mark.parametrize(
    ("shown", "n_tokens"), [("num_ctx    2048\nstop x", 2048), ("temperature 1", 4096), (7, 4096)]
)
def test_an_ollama_that_has_not_loaded_the_model_tells_by_its_settings(
    shown: Any, n_tokens: int
) -> None:
    paths = {
        "/v1/models": {"data": [{"id": "m", "owned_by": "library"}]},
        "/api/version": {"version": "0.12"},
        "/api/show": {"parameters": shown},
    }
    with telling(paths) as fake:
        room = room_of(server_of(fake.url))
        assert room is not None
        assert room.n_tokens == n_tokens


@pytest.mark.parametrize("nonsense", [-1, 0, True, "8192", None, 2.5])
def test_nonsense_is_no_context(nonsense: Any) -> None:
    paths = {"/v1/models": LLAMA, "/props": {"default_generation_settings": {"n_ctx": nonsense}}}
    with telling(paths) as fake:
        context = context_of(fake)
        assert room_of(context.server) is None  # type: ignore[arg-type]
        assert statuses(found_by(context_length, context)) == ["skip"]


@pytest.mark.parametrize(
    ("max_tokens", "default", "status"),
    [
        (8192, False, "fail"),
        (9000, False, "fail"),
        (8000, False, "warn"),
        (7000, False, "pass"),
        (32768, True, "warn"),
        (7000, True, "pass"),
    ],
)
def test_a_limit_that_does_not_fit_fails_where_someone_set_it(
    max_tokens: int, default: bool, status: str
) -> None:
    with MisbehavingServer(context=8192) as fake:
        context = context_of(fake, max_tokens=max_tokens, max_tokens_is_default=default)
        [found] = found_by(context_length, context)
    assert found.status == status


def test_long_statements_need_more_room() -> None:
    with MisbehavingServer(context=8192) as fake:
        [found] = found_by(
            context_length,
            context_of(
                fake, max_tokens=6000, max_tokens_is_default=False, tasks=("distill_lcb_v6",)
            ),
        )
    assert found.status == "warn"
    assert "--max-model-len 10096" in found.fix


def test_the_advice_counts_what_llama_server_shares_out() -> None:
    with MisbehavingServer(image="llamacpp", context=1024, slots=4) as fake:
        [found] = found_by(
            context_length, context_of(fake, max_tokens=1024, max_tokens_is_default=False)
        )
    assert found.status == "fail"
    assert "-c 8192 (it is shared among 4 slots)" in found.fix


def test_a_provider_that_writes_less_is_told() -> None:
    entry = {"id": "m", "context_length": 90000}
    paths = {
        "/v1/models": {"data": [{**entry, "top_provider": {"max_completion_tokens": 4096}}]},
    }
    with telling(paths) as fake:
        [found] = found_by(
            context_length, context_of(fake, max_tokens=8192, max_tokens_is_default=False)
        )
    assert (found.status, "at most 4096 tokens" in found.found) == ("fail", True)


@pytest.mark.parametrize(
    ("n", "at_once", "status"), [(4, 8, "warn"), (8, 8, "pass"), (9, 8, "pass")]
)
def test_slots_are_held_against_the_requests_at_once(n: int, at_once: int, status: str) -> None:
    with MisbehavingServer(image="llamacpp", slots=n) as fake:
        assert statuses(found_by(slots, context_of(fake, num_concurrent=at_once))) == [status]


def test_other_servers_have_no_slots() -> None:
    with MisbehavingServer() as fake:
        assert statuses(found_by(slots, context_of(fake))) == ["skip"]
