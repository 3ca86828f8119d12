"""Does a completion of max_tokens fit, and do as many requests fit at once as the run sends?

Owns what each server tells of its context and slots, and the checks `context` and `slots`.

Example, of llama-server, which shares `-c` out among its slots:

    context: 8192 tokens for prompt and completion (/props), max_tokens=32768
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_tasks.doctor.finding import Context, Finding, passed, skipped
from harness_tasks.doctor.probe import Server, mapping
from harness_tasks.doctor.reached import asked_of, sglang_info

# What a prompt may have: LiveCodeBench has statements of some thousand tokens.
PROMPT_TOKENS, STATEMENT_TOKENS = 1024, 4096
# What an Ollama without any setting gives a model, unless its version says otherwise.
OLLAMA_DEFAULT = 4096

WHEN_TOO_LONG = {
    "vllm": "vLLM answers HTTP 400 to a max_tokens that does not fit",
    "sglang": "SGLang answers HTTP 400 to a max_tokens that does not fit",
    "llamacpp": "llama.cpp cuts the completion at the end of its context, without an error",
    "ollama": "Ollama cuts prompt and completion to its context, without an error",
}
HOW_TO_ENLARGE = {
    "vllm": "start vLLM with --max-model-len {need}",
    "sglang": "start SGLang with --context-length {need}",
    "llamacpp": "start llama-server with -c {total} (it is shared among {slots} slots)",
    "ollama": "start Ollama with OLLAMA_CONTEXT_LENGTH={need}",
    "transformers": "take a model that was made for {need} tokens",
    "openrouter": "take a provider with {need} tokens",
}


@dataclass(frozen=True)
class Room:
    """The tokens that one request has for prompt and completion, and where that was read."""

    n_tokens: int
    source: str
    most_out: int | None = None  # the longest completion, where the server limits that apart


def room_of(server: Server) -> Room | None:
    """Return what one request has, None where the server does not tell."""
    told = {
        "llamacpp": of_llamacpp,
        "ollama": of_ollama,
        "openrouter": of_openrouter,
        "sglang": of_sglang,
        "transformers": of_folder,
    }.get(server.kind or "")
    if told and (room := told(server)):
        return room
    entry, known = server.listed(), server.offered.max_model_len
    # An adapter has the context of its base, where vLLM tells it.
    window = known.get(server.model) or known.get(str(entry.get("parent")))
    window = window or count(entry.get("max_model_len"))
    return Room(window, "/v1/models") if window else None


def of_llamacpp(server: Server) -> Room | None:
    """Read `/slots`, else `/props`: the context of one slot."""
    slots = server.get("/slots")
    sizes = [count(mapping(slot).get("n_ctx")) for slot in slots] if isinstance(slots, list) else []
    known = [size for size in sizes if size]
    if known:
        return Room(min(known), "/slots")
    size = count(
        mapping(mapping(server.get("/props")).get("default_generation_settings")).get("n_ctx")
    )
    return Room(size, "/props") if size else None


def of_ollama(server: Server) -> Room | None:
    """Read what the loaded model has, else what its settings say, else Ollama's default."""
    for loaded in listing(server.get("/api/ps"), "models"):
        size = count(loaded.get("context_length"))
        if size and server.model in (loaded.get("name"), loaded.get("model")):
            return Room(size, "/api/ps")
    shown = server.post("/api/show", {"model": server.model})
    if shown is None:
        return None
    own = re.search(r"^num_ctx\s+(\d+)", str(shown.get("parameters") or ""), re.MULTILINE)
    return Room(int(own[1]), "/api/show") if own else Room(OLLAMA_DEFAULT, "Ollama's default")


def of_openrouter(server: Server) -> Room | None:
    """Read the list of models."""
    entry = server.listed()
    best = mapping(entry.get("top_provider"))
    size = count(best.get("context_length")) or count(entry.get("context_length"))
    return Room(size, "/models", count(best.get("max_completion_tokens"))) if size else None


def of_sglang(server: Server) -> Room | None:
    """Read the server's settings; what fits at all is smaller on a small machine."""
    told = sglang_info(server)
    sizes = [count(told.get("context_length")), count(server.listed().get("max_model_len"))]
    size = next(filter(None, sizes), None) or count(told.get("max_req_input_len"))
    pool = count(told.get("max_total_num_tokens"))
    return Room(min(filter(None, (size, pool))), "/get_server_info") if size or pool else None


def of_folder(server: Server) -> Room | None:
    """Read the model's own folder, where it lies on this machine."""
    try:
        text = (Path(server.model) / "config.json").read_text(encoding="utf-8")
        size = count(mapping(json.loads(text)).get("max_position_embeddings"))
    except (OSError, ValueError):
        return None
    return Room(size, "config.json of the model") if size else None


def count(value: Any) -> int | None:
    """Return a number of tokens, None of what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def listing(body: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects of a list in an object."""
    found = mapping(body).get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def context_length(context: Context) -> Iterator[Finding]:
    """Hold the context of a request against max_tokens."""
    yield room_for(context, asked_of(context))


def room_for(context: Context, server: Server) -> Finding:
    """Hold the context that a request has on one server against max_tokens."""
    room, limit = room_of(server), context.max_tokens
    if room is None:
        return skipped("context", "the server does not tell how long its context is")
    found = f"{room.n_tokens} tokens for prompt and completion ({room.source}), max_tokens={limit}"
    prompt = STATEMENT_TOKENS if any("lcb" in task for task in context.tasks) else PROMPT_TOKENS
    fix = how_to_enlarge(server, limit + prompt)
    if room.most_out and room.most_out < limit:
        return Finding(
            "context", "warn" if context.max_tokens_is_default else "fail",
            f"the provider writes at most {room.most_out} tokens, max_tokens={limit}",
            "longer completions are cut off, or the request is refused",
            f"--max-tokens {room.most_out}, for both arms, or another provider",
        )  # fmt: skip
    if limit >= room.n_tokens:
        return too_small(server, context, found, fix)
    if limit + prompt > room.n_tokens:
        return Finding(
            "context", "warn", found,
            f"a prompt of more than {room.n_tokens - limit} tokens leaves less than max_tokens, or "
            "is refused",
            fix,
        )  # fmt: skip
    return passed("context", found)


def too_small(server: Server, context: Context, found: str, fix: str) -> Finding:
    """Say what happens to a completion that does not fit."""
    happens = WHEN_TOO_LONG.get(server.kind or "", "completions are cut off, or refused")
    if context.max_tokens_is_default:
        happens = (
            "completions are cut off where the context ends, which counts against the model that "
            "reasons longer"
        )
    return Finding(
        "context", "warn" if context.max_tokens_is_default else "fail", found, happens, fix
    )


def how_to_enlarge(server: Server, need: int) -> str:
    """Say what would make room for a prompt and its completion."""
    slots = n_slots(server) or 1
    made_for = count(mapping(server.listed().get("meta")).get("n_ctx_train"))
    if server.kind == "llamacpp" and made_for and made_for < need:
        return (
            "lower --max-tokens for both arms, so that it fits with its prompt: the model was made "
            f"for {made_for} tokens, and llama-server gives no request more"
        )
    how = HOW_TO_ENLARGE.get(server.kind or "", "give the server a context of {need} tokens")
    return (
        how.format(need=need, total=need * slots, slots=slots)
        + ", or lower --max-tokens for both arms"
    )


def n_slots(server: Server) -> int | None:
    """Return how many requests the server works on at once, None where it does not tell."""
    if server.kind != "llamacpp":
        return None
    slots = server.get("/slots")
    told = count(mapping(server.get("/props")).get("total_slots"))
    return told or (len(slots) if isinstance(slots, list) and slots else None)


def slots(context: Context) -> Iterator[Finding]:
    """Hold the slots of llama.cpp against the requests at once."""
    server, wanted = asked_of(context), context.at_once
    n = n_slots(server)
    if n is None:
        yield skipped("slots", "only llama.cpp tells how many requests it works on at once")
    elif n < wanted:
        yield Finding(
            "slots", "warn", f"{n} slots for {wanted} requests at once",
            "the others wait, and a long wait counts as a stall",
            f"--num-concurrent {n}, or start llama-server with --parallel {wanted} and -c {wanted} "
            "times the context of one request",
        )  # fmt: skip
    else:
        yield passed(
            "slots",
            f"{n} slots for {wanted} requests at once; started without --parallel they share one "
            "context, which the server does not tell",
        )
