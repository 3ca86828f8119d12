"""Two models that are to be compared: is one really the adapted one, and are they asked alike?

Owns the checks `arms` and `lora`, made where `--against` names the base.

Example, of an adapter that the server never applied:

    lora: the two models gave the same text to 4 of 4 questions, and the same probabilities
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from harness_tasks.chat.reply import UpstreamError, shown
from harness_tasks.doctor.finding import Context, Finding, passed
from harness_tasks.doctor.probe import (
    LONG_TASK,
    QUESTION,
    Server,
    mapping,
    tokens_of,
    whole,
)
from harness_tasks.doctor.reached import asked_of, identify, name_of
from harness_tasks.doctor.rendered import begins_with
from harness_tasks.doctor.room import room_of

QUESTIONS = (
    QUESTION,
    LONG_TASK,
    "Solve step by step: a train goes 60 km in 45 minutes. What is its speed in km/h?",
    "Write a Python function that returns the n-th Fibonacci number.",
)
N_LIKELY = 5
# Probabilities differ where they do so by more than a model's differ from its own.
NOISE_FACTOR, LEAST = 3.0, 1e-6
NO_ADAPTER = (
    "name the adapter, not the base, with --model (vLLM: --enable-lora --lora-modules NAME=FOLDER; "
    "llama-server: --lora FILE), or serve the merged model"
)


def other_of(context: Context) -> Server:
    """Return the second model; `walk` makes no check that needs it without."""
    assert context.against is not None
    return context.against


def arms(context: Context) -> Iterator[Finding]:
    """Look at the second model, and hold the two against each other."""
    server, other = asked_of(context), other_of(context)
    try:
        other.look()
        identify(other)
        other.settle_model()
        other.ask(QUESTION)
        other.hurry()
    except UpstreamError as fault:
        yield Finding(
            "arms", "fail", f"the second model does not answer: {fault}",
            "the other arm of the comparison could not run", "start it, or correct --against",
        )  # fmt: skip
        return
    if (server.base, server.model) == (other.base, other.model):
        yield Finding(
            "arms", "fail", f"both arms are {shown(server.model)} at {server.base}",
            "a model compared with itself shows noise alone", NO_ADAPTER,
        )  # fmt: skip
        return
    unlike = list(differing(server, other))
    if not unlike:
        yield passed("arms", f"{shown(server.model)} and {shown(other.model)} are asked alike")
    for what, one, two in unlike:
        yield Finding(
            "arms", "warn",
            f"{what}: {one} against {two}",
            "a difference between the arms is then not the model's alone",
            "serve both arms alike (server, version, flags); a template that is each model's own "
            "belongs into the report",
        )  # fmt: skip


def differing(server: Server, other: Server) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between two servers and is no business of the model's."""
    replies = server.ask(QUESTION), other.ask(QUESTION)
    prompts = [tokens_of(reply, "prompt_tokens") for reply in replies]
    rooms = [room_of(arm) for arm in (server, other)]
    pairs = {
        "server": (name_of(server), name_of(other)),
        "prompt tokens of one question": tuple(prompts),
        "chat template": (template_hash(server), template_hash(other)),
        "think tag in the template": (begins_with(server, QUESTION), begins_with(other, QUESTION)),
        "context": tuple(room and room.n_tokens for room in rooms),
        "reasoning field": tuple(reply.reasoning_source for reply in replies),
    }
    for what, (one, two) in pairs.items():
        # A plain base has no reasoning to be sent in any field.
        if one != two and None not in (one, two):
            yield what, one, two


def template_hash(server: Server) -> str | None:
    """Return a short hash of the chat template, None where the server does not show it."""
    if server.kind == "llamacpp":
        text = mapping(server.get("/props")).get("chat_template")
    elif server.kind == "ollama":
        text = mapping(server.post("/api/show", {"model": server.model})).get("template")
    else:
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:12] if isinstance(text, str) else None


def lora(context: Context) -> Iterator[Finding]:
    """Ask both models the same questions greedily: their texts, or at least likelihoods, differ."""
    server, other = asked_of(context), other_of(context)
    if (server.base, server.model) == (other.base, other.model):
        return
    n_unlike = sum(whole(server.ask(q)) != whole(other.ask(q)) for q in QUESTIONS)
    if n_unlike:
        yield unlike_texts(server, other, n_unlike)
        return
    same = f"the two models gave the same text to {len(QUESTIONS)} of {len(QUESTIONS)} questions"
    told = probabilities_differ(server, other)
    if told:
        yield Finding(
            "lora", "warn", f"{same}; their probabilities differ",
            "the adapter is applied and changes next to nothing here",
            "look at the training's loss and at the adapter's scale (lora_alpha / r)",
        )  # fmt: skip
        return
    yield Finding(
        "lora", "fail", same if told is None else f"{same}, and the same probabilities",
        "the adapter is not applied: the comparison would find no difference", NO_ADAPTER,
    )  # fmt: skip


def unlike_texts(server: Server, other: Server, n_unlike: int) -> Finding:
    """Judge texts that differ: by more than each model does from itself?"""
    found = f"the two models differ on {n_unlike} of {len(QUESTIONS)} questions"
    texts = [[twice(arm, question) for question in QUESTIONS] for arm in (server, other)]
    n_noisy = sum(len(one) > 1 or len(two) > 1 for one, two in zip(*texts, strict=True))
    n_apart = sum(not one & two for one, two in zip(*texts, strict=True))
    if n_apart > n_noisy:
        return passed("lora", found)
    return Finding(
        "lora", "warn", f"{found}; asked twice, one model differs from itself on {n_noisy}",
        "what looks like an adapter may be the noise of the server",
        "let nothing else ask the server meanwhile; llama-server: extra_body="
        '{"cache_prompt": false} in --model_args',
    )  # fmt: skip


def twice(server: Server, question: str) -> set[str]:
    """Return what a model says to a question, now and before."""
    before = whole(server.ask(question))
    return {before, whole(server.ask(question, anew=True))}


def probabilities_differ(server: Server, other: Server) -> bool | None:
    """Tell whether first tokens have other probabilities, beyond noise; None where not told."""
    told = [likelihoods(arm) for arm in (server, other, server, other)]
    one, two, one_again, two_again = told
    if not (one and two and one_again and two_again):
        return None
    noise = max(apart(one, one_again), apart(two, two_again))
    return min(apart(one, two), apart(one_again, two_again)) > NOISE_FACTOR * noise + LEAST


def apart(one: dict[str, float], two: dict[str, float]) -> float:
    """Return the largest difference of a log probability that both tell."""
    return max((abs(one[t] - two[t]) for t in one.keys() & two.keys()), default=math.inf)


def likelihoods(server: Server) -> dict[str, float] | None:
    """Return the likeliest first tokens with their log probabilities, None where none are told."""
    body = server.body(QUESTION, max_tokens=1, logprobs=True, top_logprobs=N_LIKELY)
    try:
        choices = server.raw(body).get("choices")
    except UpstreamError:
        return None
    first = mapping(choices[0]) if isinstance(choices, list) and choices else {}
    content = mapping(first.get("logprobs")).get("content")
    tops = (
        mapping(content[0]).get("top_logprobs") if isinstance(content, list) and content else None
    )
    found = {
        str(mapping(top).get("token")): float(mapping(top)["logprob"])
        for top in (tops if isinstance(tops, list) else [])
        if isinstance(mapping(top).get("logprob"), int | float)
        and math.isfinite(mapping(top)["logprob"])
    }
    return found or None
