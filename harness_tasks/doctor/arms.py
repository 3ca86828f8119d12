"""Two models that are to be compared: is one really the adapted one, and are they asked alike?

Owns the checks `arms` and `lora`, made where `--against` names the base.

Example, of an adapter that the server never applied:

    lora: the two models gave the same text to 4 of 4 questions, and the same probabilities
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

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
from harness_tasks.doctor.rendered import prompt_of
from harness_tasks.doctor.room import room_for, room_of
from harness_tasks.doctor.thinking import reasoning_of
from harness_tasks.reasoning import UNCLOSED, split

QUESTIONS = (
    QUESTION,
    LONG_TASK,
    "Solve step by step: a train goes 60 km in 45 minutes. What is its speed in km/h?",
    "Write a Python function that returns the n-th Fibonacci number.",
)
# So many more questions must tell the models apart than were noise; then no more are asked.
ENOUGH = 2
N_LIKELY = 5
SHOWN_CHARS = 60
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
        other.warm_up()
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
    # Texts are compared: both arms have one limit.
    server.probe_tokens = other.probe_tokens = min(server.probe_tokens, other.probe_tokens)
    found = [*of_the_second(context), *unlike_servers(server, other), *prompts(server, other)]
    if not any(finding.status != "pass" for finding in found):
        yield passed("arms", f"{shown(server.model)} and {shown(other.model)} are asked alike")
    yield from found


def of_the_second(context: Context) -> Iterator[Finding]:
    """Yield what would spoil the second arm alone: its context, a parser that takes its answers."""
    server, other = asked_of(context), other_of(context)
    found = [reasoning_of(context, other)]
    # A plain base beside a student that reasons is no fault.
    found = [finding for finding in found if finding.status == "fail"]
    if room_of(server) != room_of(other):
        found.append(room_for(context, other))
    for finding in found:
        if finding.status in ("warn", "fail"):
            said = f"{shown(other.model)}: {finding.found}"
            yield dataclasses.replace(finding, check="arms", found=said)


def unlike_servers(server: Server, other: Server) -> Iterator[Finding]:
    """Yield what differs between two servers and is no business of the model's."""
    sources = [arm.ask(QUESTION).reasoning_source for arm in (server, other)]
    names = [name_of(server), name_of(other)]
    for what, one, two in (("server", *names), ("reasoning field", *sources)):
        # A plain base has no reasoning to be sent in any field.
        if one != two and None not in (one, two):
            yield Finding(
                "arms", "warn", f"{what}: {one} against {two}",
                "a difference between the arms is then not the model's alone",
                "serve both arms alike: server, version and flags",
            )  # fmt: skip


def prompts(server: Server, other: Server) -> Iterator[Finding]:
    """Hold the prompts of one question against each other, or their lengths where none is shown."""
    one, two = prompt_of(server, QUESTION), prompt_of(other, QUESTION)
    if one is None or two is None:
        counts = [tokens_of(arm.ask(QUESTION), "prompt_tokens") for arm in (server, other)]
        if None not in counts and counts[0] != counts[1]:
            yield own_templates(f"one question has {counts[0]} prompt tokens against {counts[1]}")
    elif opens_think(one, two) or opens_think(two, one):
        opener = shown((server if len(one) > len(two) else other).model)
        yield passed(
            "arms", f"one prompt, behind which the template of {opener} opens the think tag"
        )
    elif one != two:
        at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), 0)
        texts = [shown(text[at:][:SHOWN_CHARS]) for text in (one, two)]
        yield own_templates(f"the prompts differ: {texts[0]!r} against {texts[1]!r}")


def opens_think(longer: str, shorter: str) -> bool:
    """Tell whether a prompt is another one with an open think tag behind it."""
    rest = split(longer.removeprefix(shorter), finish_reason="length")
    return longer.startswith(shorter) and rest.state == UNCLOSED and not rest.reasoning.strip()


def own_templates(found: str) -> Finding:
    return Finding(
        "arms", "warn", found,
        "right where each model has a template of its own (a base beside an R1-style student), "
        "then a part of what is compared; else the difference is not the model's alone",
        "each model gets the template that it was trained on: where both were trained on one, "
        "serve both with it (vLLM --chat-template, llama-server --chat-template-file)",
    )  # fmt: skip


def lora(context: Context) -> Iterator[Finding]:
    """Ask both models the same questions greedily: their texts, or at least likelihoods, differ."""
    server, other = asked_of(context), other_of(context)
    if (server.base, server.model) == (other.base, other.model):
        return
    told_apart = by_texts(server, other)
    if told_apart is not None:
        yield told_apart
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


def by_texts(server: Server, other: Server) -> Finding | None:
    """Say whether texts differ by more than each model does from itself; None where none differ."""
    n_asked = n_unlike = n_apart = n_noisy = 0
    for question in QUESTIONS:
        n_asked += 1
        one, two = whole(server.ask(question)), whole(other.ask(question))
        if one == two:
            continue
        again = [whole(arm.ask(question, anew=True)) for arm in (server, other)]
        n_unlike += 1
        n_noisy += again != [one, two]
        n_apart += not {one, again[0]} & {two, again[1]}
        if n_apart - n_noisy >= ENOUGH:
            break
    if not n_unlike:
        return None
    found = f"the two models differ on {n_unlike} of {n_asked} questions"
    if n_apart > n_noisy:
        return passed("lora", found)
    return Finding(
        "lora", "warn", f"{found}; asked twice, one model differs from itself on {n_noisy}",
        "what looks like an adapter may be the noise of the server",
        "let nothing else ask the server meanwhile; llama-server: extra_body="
        '{"cache_prompt": false} in --model_args',
    )  # fmt: skip


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
