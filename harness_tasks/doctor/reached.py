"""Is the server there, which one is it, does it have the model, and does it answer a request?

Owns the checks `reachable`, `model` and `answers`. What comes after them needs all three to pass.

Example: `reachable: vLLM 0.32.0 at http://127.0.0.1:8000/v1`
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from harness_tasks.chat.endpoint import look_at
from harness_tasks.chat.reply import Reply, UpstreamError, shown
from harness_tasks.doctor.finding import Context, Finding, passed, skipped
from harness_tasks.doctor.probe import QUESTION, Server, mapping, tokens_of, whole

NAMES = {
    "vllm": "vLLM",
    "llamacpp": "llama.cpp",
    "transformers": "transformers serve",
    "sglang": "SGLang",
    "ollama": "Ollama",
    "openrouter": "OpenRouter",
}
WHY_ALIKE = "a sample must not depend on which server gave it"
FIX_ALIKE = "start all servers of --base_url with the same model and options"
FIXES = {
    "connect": "start the server, or correct --base_url",
    "html": "point --base_url to the API: most servers have it below /v1",
    "not openai": "point --base_url to an OpenAI-compatible API, such as http://127.0.0.1:8000/v1",
    "HTTP 401": "put the key into the environment and name its variable with --api-key-env",
    "HTTP 403": "put the key into the environment and name its variable with --api-key-env",
}


def reachable(context: Context) -> Iterator[Finding]:
    """Look at the server and name it."""
    server = asked_of(context)
    try:
        server.look()
    except UpstreamError as fault:
        fix = FIXES.get(fault.kind, "look at the server's log, and try again when it is up")
        yield Finding("reachable", "fail", str(fault), "a run would end before it began", fix)
        return
    identify(server)
    yield passed("reachable", f"{name_of(server)} at {server.base}")
    for replica in context.replicas:
        try:
            replica.look()
        except UpstreamError as fault:
            yield Finding(
                "replicas", "fail", str(fault), "a run would begin without this server",
                "start it, or take it out of --base_url",
            )  # fmt: skip


def asked_of(context: Context) -> Server:
    """Return the server; `walk` lets no check that needs one begin without it."""
    assert context.server is not None
    return context.server


def name_of(server: Server) -> str:
    """Name a server with its version."""
    if server.kind is None:
        return "an OpenAI-compatible server that does not tell which it is"
    name = NAMES.get(server.kind, f"a server that calls itself {server.kind!r}")
    return f"{name} {server.version}" if server.version else name


def identify(server: Server) -> None:
    """Settle kind and version where the list of models does not tell them."""
    if server.kind in ("vllm", "llamacpp", "transformers"):
        return
    if urlsplit(server.base).hostname in ("openrouter.ai", "api.openrouter.ai") or any(
        "top_provider" in mapping(entry) for entry in entries(server)
    ):
        server.kind = "openrouter"
        return
    told = mapping(server.get("/api/version")).get("version")
    if isinstance(told, str):
        server.kind, server.version = "ollama", shown(told)
        return
    if server.kind == "sglang" or sglang_info(server):
        told = sglang_info(server).get("version")
        server.kind, server.version = "sglang", shown(told) if isinstance(told, str) else None


def entries(server: Server) -> list[object]:
    """Return the entries of the list of models."""
    listed = mapping(server.get_from(f"{server.base}/models")).get("data")
    return listed if isinstance(listed, list) else []


def sglang_info(server: Server) -> dict[str, object]:
    """Return what SGLang tells of itself, empty for another server."""
    for path in ("/get_server_info", "/server_info"):
        told = mapping(server.get(path))
        if "max_total_num_tokens" in told or "tp_size" in told or "mem_fraction_static" in told:
            return told
    return {}


def model(context: Context) -> Iterator[Finding]:
    """Settle the model that a run would ask for."""
    server = asked_of(context)
    try:
        server.settle_model()
    except UpstreamError as fault:
        yield Finding(
            "model", "fail", str(fault), "a run would end before it began",
            "name one of the models that the server offers with --model",
        )  # fmt: skip
        return
    names = server.offered.names
    if names is None:
        yield passed("model", f"{shown(server.model)} (the server lists none, and loads by name)")
        return
    others = f", one of {len(names)} served" if len(names) > 1 else ", the only one served"
    base = server.listed().get("parent")
    adapter = f", an adapter on {shown(base)}" if isinstance(base, str) and base else ""
    yield passed("model", f"{shown(server.model)}{others}{adapter}")


def answers(context: Context) -> Iterator[Finding]:
    """Ask once, as a run asks, and see by which name the answer comes."""
    server = asked_of(context)
    try:
        reply = server.warm_up()
    except UpstreamError as fault:
        yield refused(server, fault)
        return
    n_tokens, took = tokens_of(reply), reply.latency_s or 0.0
    told = "" if n_tokens is None else f" ({n_tokens} tokens)"
    yield passed("answers", f"{shown(whole(reply)[:80])!r} after {took:.1f} s{told}")
    if reply.model_served and not same_model(reply.model_served, server.model):
        yield Finding(
            "answers", "warn",
            f"asked for {shown(server.model)}, the answer comes from {shown(reply.model_served)}",
            "the server may take any name and answer with another model",
            "see which model the server loaded; give --model the name that it answers by",
        )  # fmt: skip


def replicas(context: Context) -> Iterator[Finding]:
    """See whether the servers of a --base_url that names several serve the same."""
    server, others = asked_of(context), context.replicas
    if not others:
        yield skipped("replicas", "--base_url names one server")
        return
    try:
        together = tuple(other.transport.endpoint for other in others)
        look_at(dataclasses.replace(server.transport, others=together))
        for other in others:
            other.model, other.probe_tokens = server.model, server.probe_tokens
        replies = [other.ask(QUESTION) for other in others]
    except UpstreamError as fault:
        yield Finding("replicas", "fail", str(fault), WHY_ALIKE, FIX_ALIKE)
        return
    one = server.ask(QUESTION)
    unlike = [pair for pair in zip(others, replies, strict=True) if differ(one, pair[1])]
    for other, reply in unlike:
        prompts = tokens_of(one, "prompt_tokens") != tokens_of(reply, "prompt_tokens")
        yield Finding(
            "replicas", "fail" if prompts else "warn",
            f"{server.base} and {other.base} {'count' if prompts else 'answer'} one question "
            "differently",
            WHY_ALIKE, FIX_ALIKE,
        )  # fmt: skip
    if not unlike:
        yield passed("replicas", f"{1 + len(others)} servers gave the same answer to one question")


def differ(one: Reply, other: Reply) -> bool:
    """Tell whether two replicas made another prompt or another text of one question."""
    counts = tokens_of(one, "prompt_tokens"), tokens_of(other, "prompt_tokens")
    return counts[0] != counts[1] or whole(one) != whole(other)


def same_model(served: str, asked: str) -> bool:
    """Tell whether two names are one model's: a path or a provider before it, a date behind it."""

    def core(name: str) -> str:
        return re.sub(r"@\w+$|:\w+$", "", name.rstrip("/").rsplit("/", 1)[-1]).lower()

    one, other = core(served), core(asked)
    return one.startswith(other) or other.startswith(one)


def refused(server: Server, fault: UpstreamError) -> Finding:
    """Say why the first request failed: where it was refused, which part of it does that."""
    why = "every request of a run would fail like this one"
    fix = FIXES.get(fault.kind, "look at the server's log")
    if fault.status in (400, 404, 415, 422):
        said = culprit(server)
        if said is not None:
            return Finding("answers", "fail", f"{fault}; {said[0]}", why, said[1])
    if fault.kind in ("timeout", "stall"):
        fix = "try again when the model is loaded; look at the server's log and its load"
    return Finding("answers", "fail", str(fault), why, fix)


def culprit(server: Server) -> tuple[str, str] | None:
    """Return what the server does not take, and what helps; None where that is not found."""
    variants: tuple[tuple[dict[str, Any], str, str], ...] = (
        (
            {},
            "without the header x-request-id it answers",
            "use a server that takes any request id: llama-server in place of llama_cpp.server",
        ),
        (
            {"max_tokens": None, "max_completion_tokens": server.probe_tokens},
            "with max_completion_tokens in place of max_tokens it answers",
            'wire_names={"max_tokens": "max_completion_tokens"} in --model_args, as for the run',
        ),
        (
            {"temperature": None},
            "without temperature=0 it answers",
            'wire_names={"temperature": null} in --model_args, as for the run: the model has a '
            "temperature of its own",
        ),
        (
            {"seed": None},
            "without seed it answers",
            'wire_names={"seed": null} in --model_args, as for the run: samples cannot be repeated '
            "then (Mistral calls it random_seed)",
        ),
    )
    for changed, said, fix in variants:
        try:
            server.raw(server.body(QUESTION, **changed))
        except UpstreamError:
            continue
        return said, fix
    return None
