"""Are seeds, the limit of tokens and the sampling fields of the run honoured?

Owns the checks `seeds`, `length` and `sampling`.

Example, of a server that takes the seed and passes over it:

    seeds: the same seed gave two texts
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness_tasks.chat.doubts import R1
from harness_tasks.chat.reply import Reply, UpstreamError
from harness_tasks.doctor.finding import Context, Finding, passed
from harness_tasks.doctor.probe import (
    FEWEST_TOKENS,
    FREE_TASK,
    LONG_TASK,
    QUESTION,
    SMALL_CAP,
    Server,
    mapping,
    tokens_of,
    whole,
)
from harness_tasks.doctor.reached import asked_of
from harness_tasks.doctor.thinking import thinks
from harness_tasks.sampling import FIELDS

SEEDS = (11, 12, 13)
# No token of a text in words is longer; more characters than this a token were not capped.
CHARS_PER_TOKEN = 24
# Fields that a server takes and does not use. Source: docs/servers.md; Ollama's documentation of
# its OpenAI API, which lists what it reads.
PASSED_OVER: Mapping[str, tuple[str, ...]] = {
    "transformers": ("presence_penalty",),
    "llamacpp": ("repetition_penalty",),
    "ollama": ("top_k", "min_p", "repetition_penalty"),
}
GREEDY_BY_ITSELF = (
    'transformers serve samples only where generation_config.json says "do_sample": true; set it '
    "there"
)


def seeds(context: Context) -> Iterator[Finding]:
    """Ask with one seed twice and with another, at temperature 1."""
    server = asked_of(context)
    one, two = free(server, SEEDS[0]), free(server, SEEDS[1])
    again = free(server, SEEDS[0], anew=True)
    server.repeats = whole(one) == whole(again)
    if whole(one) != whole(again):
        yield unseeded(server, whole(one), whole(again))
    elif whole(one) != whole(two):
        yield passed("seeds", "the same seed gave the same text twice, another seed another text")
    elif whole(free(server, SEEDS[2], temperature=2.0)) != whole(one):
        yield passed(
            "seeds",
            "honoured; the model is so sure of its words that seeds differ at temperature 2 only",
        )
    else:
        yield without_chance(context, server)


def free(server: Server, seed: int, *, temperature: float = 1.0, anew: bool = False) -> Reply:
    """Ask for a text that chance decides."""
    return server.ask(FREE_TASK, anew=anew, seed=seed, temperature=temperature)


def unseeded(server: Server, one: str, again: str) -> Finding:
    """Say that a seed does not repeat, and whether it did so for a while."""
    common = next((i for i, (a, b) in enumerate(zip(one, again, strict=False)) if a != b), 0)
    shared = common / max(1, min(len(one), len(again)))
    begun = f", after {common} equal characters: rounding, not chance" if shared > 0.5 else ""
    fix = "keep the samples: they cannot be asked for again; compare runs with several samples each"
    if server.kind == "transformers":
        fix = "nobody else may ask this server meanwhile, and the run wants num_concurrent=1"
    return Finding(
        "seeds", "warn", f"the same seed gave two texts{begun}",
        "a sample cannot be asked for again, and two runs of one model differ",
        fix,
    )  # fmt: skip


def without_chance(context: Context, server: Server) -> Finding:
    """Say that nothing is left to chance: for k samples that is fatal."""
    wanted = server.fields().sampling.get("temperature")
    fix = GREEDY_BY_ITSELF if server.kind == "transformers" else (
        "look for settings of the server that override temperature, top_k or seed"
    )  # fmt: skip
    return Finding(
        "seeds", "warn" if wanted == 0 else "fail",
        "three seeds gave one text, at temperature 1 and 2: temperature or seed are passed over",
        "k samples of a question would be k copies, and a preset's temperature has no effect",
        fix,
    )  # fmt: skip


def length(context: Context) -> Iterator[Finding]:
    """See whether a completion that was cut off says so."""
    server = asked_of(context)
    cap, reply = SMALL_CAP, server.capped()
    used = tokens_of(reply)
    if reply.finish_reason != "length" and (used is None or used < cap):
        # It may have ended by itself: greedily, one token less cuts it.
        cap = max(1, used - 1) if used else 1
        reply = server.ask_as_told(server.body(LONG_TASK, max_tokens=cap))
        used = tokens_of(reply)
    yield judged(reply, used, cap)
    yield from too_early(server)


def too_early(server: Server) -> Iterator[Finding]:
    """See whether a reply that says it was cut off has fewer tokens than were allowed."""
    for content in (LONG_TASK, QUESTION):
        reply = server.ask(content)
        used, asked, n_chars = tokens_of(reply), server.probe_tokens, len(whole(reply))
        if reply.finish_reason != "length" or used is None or used >= asked:
            continue
        if n_chars > used * CHARS_PER_TOKEN:
            yield Finding(
                "length", "warn", f"the usage counts {used} tokens for {n_chars} characters",
                "lengths in tokens, and what they say about truncation, are wrong",
                "look at what stands between here and the server, or update the server",
            )  # fmt: skip
            return
        yield Finding(
            "length", "fail",
            f"finish_reason 'length' after {used} tokens where {asked} were allowed",
            "a limit of the server's own counts against the model that reasons longer; one that "
            "says so of every answer makes all of them count as cut off",
            "look for a limit in the server's settings (context, n_predict, max_new_tokens)",
        )  # fmt: skip
        return


def judged(reply: Reply, used: int | None, cap: int) -> Finding:
    """Judge a reply to a request whose answer is longer than its limit."""
    said = f"finish_reason {reply.finish_reason!r}"
    spent = f"{'unknown' if used is None else used} tokens at max_tokens={cap}"
    if (used or 0) > cap or len(whole(reply)) > cap * CHARS_PER_TOKEN:
        return Finding(
            "length", "fail",
            f"max_tokens is not honoured: {len(whole(reply))} characters, {spent}",
            "completions run on, and the two arms may be cut at lengths that nobody set",
            "see under which name the server takes the limit (max_completion_tokens?)",
        )  # fmt: skip
    if reply.finish_reason == "length" and used is not None:
        return passed("length", f"{said} after {spent}")
    if reply.finish_reason == "length":
        return Finding(
            "length", "warn", f"{said}, and no usage: tokens are not counted",
            "reasoning is then measured in characters alone",
            "switch usage on in the server, or use one that tells it",
        )  # fmt: skip
    if used is not None and used >= cap:
        return Finding(
            "length", "warn", f"{said} after {spent}",
            "other clients take a completion that was cut off for a finished one",
            "nothing for a run: local-chat counts tokens; do not read the server's finish_reason",
        )  # fmt: skip
    return Finding(
        "length", "fail", f"{said} after {spent}: nothing tells that the completion was cut off",
        "truncated completions would be graded as finished ones, which hides why a score fell",
        "update the server, or use one that tells finish_reason or usage",
    )  # fmt: skip


def sampling(context: Context) -> Iterator[Finding]:
    """Send the run's own sampling, and look at what becomes of it."""
    server = asked_of(context)
    wanted = {k: v for k, v in server.fields().sampling.items() if k in FIELDS}
    wanted.pop("max_tokens", None)
    try:
        server.ask(QUESTION, max_tokens=FEWEST_TOKENS, **wanted)
    except UpstreamError as fault:
        yield not_taken(server, wanted, fault)
        return
    yield passed("sampling", "accepted: " + ", ".join(f"{k}={v}" for k, v in wanted.items()))
    yield from ignored(server, wanted)
    yield from defaults(server, wanted)
    yield from unwise(server, wanted)


def not_taken(server: Server, wanted: Mapping[str, Any], fault: UpstreamError) -> Finding:
    """Name the fields that the server refuses."""
    refused = [name for name in wanted if not accepts(server, {name: wanted[name]})]
    named = " and ".join(refused) or "the run's sampling"
    return Finding(
        "sampling", "fail", f"the server refuses {named}: {fault}",
        "every request of the run would fail",
        "use a preset without it, or a server that takes it (docs/servers.md tells which)",
    )  # fmt: skip


def accepts(server: Server, fields: Mapping[str, Any]) -> bool:
    """Tell whether a request with these fields is answered."""
    try:
        server.ask(QUESTION, max_tokens=FEWEST_TOKENS, **{"temperature": None, **fields})
    except UpstreamError:
        return False
    return True


def ignored(server: Server, wanted: Mapping[str, Any]) -> Iterator[Finding]:
    """Name the fields that this kind of server is known to pass over."""
    names = [name for name in PASSED_OVER.get(server.kind or "", ()) if name in wanted]
    if names:
        yield Finding(
            "sampling", "warn",
            f"this kind of server takes {' and '.join(names)} and does not use it",
            "the run's manifest would name a sampling that was not applied",
            "set it where the server reads it, or use a server that honours it",
        )  # fmt: skip


def defaults(server: Server, wanted: Mapping[str, Any]) -> Iterator[Finding]:
    """Name what llama.cpp samples with where the request leaves a field out."""
    if server.kind != "llamacpp" or wanted.get("temperature") == 0:
        return
    told = mapping(mapping(server.get("/props")).get("default_generation_settings"))
    params = mapping(told.get("params"))
    neutral = {"top_k": (0, -1), "top_p": (1,), "min_p": (0,)}
    applied = [
        f"{name}={params[name]:g}"
        for name, off in neutral.items()
        if name not in wanted
        and isinstance(params.get(name), int | float)
        and params[name] not in off
    ]
    if applied:
        yield Finding(
            "sampling", "warn", f"the server adds its own {', '.join(applied)}",
            "the same settings sample differently on another server",
            "set these fields yourself (top_k=0, top_p=1, min_p=0 switch them off), for both arms",
        )  # fmt: skip


def unwise(server: Server, wanted: Mapping[str, Any]) -> Iterator[Finding]:
    """Name settings that reasoning models are known to suffer from."""
    reply = server.ask(QUESTION)
    # Reasoning that ended without an answer may be a plain answer that a parser took.
    taken = not reply.content.strip() and reply.finish_reason != "length"
    if wanted.get("temperature") == 0 and thinks(reply) and not taken:
        yield Finding(
            "sampling", "warn", "temperature 0 on a model that reasons",
            "reasoning models repeat themselves without end when decoded greedily",
            "use its preset (--preset deepseek-r1, qwen3-thinking or qwq)",
        )  # fmt: skip
    if server.settings.system_prompt and R1.search("\n".join(server.names())):
        yield Finding(
            "sampling", "warn", "a system prompt on a model of the DeepSeek-R1 kind",
            "its makers advise against any: it scores lower with one",
            "leave out --system-prompt",
        )  # fmt: skip
