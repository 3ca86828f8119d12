"""Where the reasoning comes, and whether a parser takes a plain answer for it.

Owns the checks `reasoning` and `think_tag`. Refuses to own the tags themselves
(`harness_tasks.reasoning`) and what ends the reasoning (`stops`).

Example, a plain model behind `--reasoning-parser`:

    reasoning: the answer '12' arrived as reasoning, with no content
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness_tasks.chat.doubts import R1, THINKING
from harness_tasks.chat.reply import Reply, UpstreamError, shown
from harness_tasks.doctor.finding import Context, Finding, passed
from harness_tasks.doctor.probe import QUESTION, Server, mapping, tokens_of, whole
from harness_tasks.doctor.reached import asked_of
from harness_tasks.doctor.rendered import OPENED, SWITCHED_OFF, begins_with, without_parser
from harness_tasks.reasoning import (
    CLOSED,
    ORPHAN_CLOSE,
    SERVER_SPLIT,
    UNCLOSED,
    Split,
    split,
)

THINKING_NAMES = re.compile(r"qwq|thinking|magistral|gpt-oss|reason", re.IGNORECASE)
# An answer of n characters has at most n tokens and a few that are not shown.
SLACK_TOKENS = 8
SWALLOWS = "the answer then has no content, and the model scores 0 whatever it wrote"
NO_PARSER = (
    "start the server without a reasoning parser (vLLM, SGLang: no --reasoning-parser; llama.cpp: "
    "--reasoning-format none): tags in the content are split here. Where the model does reason, "
    "look for a stop string or an end token that ends it there"
)


def shape(reply: Reply) -> Split:
    """Split a reply as a run does."""
    return split(reply.content, reasoning=reply.reasoning, finish_reason=reply.finish_reason)


def thinks(reply: Reply) -> bool:
    """Tell whether a reply holds reasoning, closed or not."""
    return shape(reply).state in (CLOSED, ORPHAN_CLOSE, UNCLOSED, SERVER_SPLIT) or bool(
        reply.reasoning
    )


def expected_to_think(context: Context, server: Server) -> str:
    """Say why this model should reason, "" where nothing says so."""
    if told_not_to_think(server):
        return ""
    if server.kind == "ollama":
        abilities = mapping(server.post("/api/show", {"model": server.model})).get("capabilities")
        if isinstance(abilities, list) and "thinking" in abilities:
            return "Ollama says that the model thinks"
    if context.preset in THINKING:
        return f"the preset {context.preset} is a reasoning model's"
    names = "\n".join(name.rstrip("/").rsplit("/", 1)[-1] for name in server.names())
    known = R1.search(names) or THINKING_NAMES.search(names)
    return "its name is a reasoning model's" if known else ""


def told_not_to_think(server: Server) -> bool:
    """Tell whether the run's own settings switch the reasoning off."""
    given = {**server.settings.extra_body, **server.settings.chat_template_kwargs}
    off = given.get("reasoning_effort") == "none" or server.settings.preset == "qwen3-instruct"
    return off or any(given.get(name) is False for name in ("enable_thinking", "thinking", "think"))


def reasoning(context: Context) -> Iterator[Finding]:
    """Say in which field the reasoning comes, and whether the answer comes in the content."""
    yield reasoning_of(context, asked_of(context))


def reasoning_of(context: Context, server: Server) -> Finding:
    """Say the same of one server."""
    reply = answer_of(context, server)
    if reply.content.strip():
        return with_content(context, server, reply)
    if reply.reasoning and reply.finish_reason != "length":
        return ended_as_reasoning(server, reply)
    if reply.reasoning:
        return cut_in_reasoning(context, server, reply)
    return nothing(reply)


def answer_of(context: Context, server: Server) -> Reply:
    """Return the answer to QUESTION; a longer one where no tag was seen yet and one is expected."""
    reply = server.ask(QUESTION)
    unseen = reply.finish_reason == "length" and not thinks(reply)
    if unseen and begins_with(server, QUESTION) is None and expected_to_think(context, server):
        return server.ask(QUESTION, max_tokens=server.longer_tokens)
    return reply


def with_content(context: Context, server: Server, reply: Reply) -> Finding:
    """Describe a reply that has content."""
    if reply.reasoning:
        return passed(
            "reasoning", f"apart, in the field {reply.reasoning_source}; the answer in content"
        )
    if thinks(reply):
        return passed("reasoning", "in the content, between tags, which are split here")
    lost = lost_reasoning(server, reply)
    if lost:
        return lost
    if reply.finish_reason == "length" and begins_with(server, QUESTION) == OPENED:
        told = f"begun by the template; longer than {server.probe_tokens} tokens here"
        return passed("reasoning", f"in the content, {told}")
    expected = expected_to_think(context, server)
    if not expected:
        return passed("reasoning", "none: the model answers at once")
    if reply.finish_reason == "length" and begins_with(server, QUESTION) is None:
        return Finding(
            "reasoning", "warn", f"no tag within {server.longer_tokens} tokens, and {expected}",
            "the template may open the tag, unseen, or the reasoning is switched off or lost",
            "look at one whole answer; prefilled=true in --model_args where only </think> is in it",
        )  # fmt: skip
    return Finding(
        "reasoning", "warn", f"none, and {expected}",
        "a reasoning model whose reasoning is switched off, or lost on the way, scores lower",
        "see think_tag below; compare the template with the model card's",
    )  # fmt: skip


def lost_reasoning(server: Server, reply: Reply) -> Finding | None:
    """Say that the model reasons and the reply does not show it, None where nothing tells so."""
    n_tokens, n_bytes = tokens_of(reply) or 0, len(reply.content.encode())
    # A token is a byte at least, but for the marks of turns.
    if n_tokens > n_bytes + max(SLACK_TOKENS, n_tokens // 4):
        return hidden(f"{n_tokens} tokens for {len(reply.content)} characters of answer")
    own = without_parser(server, QUESTION)
    # An empty think block is the template's, and no reasoning.
    if own is None or not split(own).reasoning:
        return None
    return Finding(
        "reasoning", "fail",
        f"the tags are taken away; the content begins {shown(reply.content[:60])!r}",
        "reasoning and answer cannot be told apart, and drafts in the reasoning are graded",
        'let the server send them: extra_body={"skip_special_tokens": false} in --model_args, or a '
        "reasoning parser",
    )  # fmt: skip


def hidden(found: str) -> Finding:
    """Say that reasoning is paid for and not sent."""
    return Finding(
        "reasoning", "warn", f"hidden: {found}",
        "how much the model reasons is known in tokens alone, and what it reasons not at all",
        "a setting in extra_body of --model_args that shows the reasoning, or no reasoning parser",
    )  # fmt: skip


def swallowed(found: str) -> Finding:
    """Say that a parser took the answer for reasoning."""
    return Finding("reasoning", "fail", found, SWALLOWS, NO_PARSER)


def writes_tags(server: Server) -> bool | None:
    """Tell whether model or template writes a think tag, None where the server does not show it."""
    begins, own = begins_with(server, QUESTION), without_parser(server, QUESTION)
    if own is None or begins is None:
        return None
    return begins == OPENED or split(own, finish_reason="length").state in (CLOSED, UNCLOSED)


def ended_as_reasoning(server: Server, reply: Reply) -> Finding:
    """Tell a plain answer that a parser took from reasoning that ended without an answer."""
    said = shown((reply.reasoning or "")[-80:])
    if not writes_tags(server):
        return swallowed(f"{said!r} arrived as reasoning, with no content")
    return Finding(
        "reasoning", "fail", f"the model's reasoning ends without an answer: {said!r}",
        "an answer that is never written scores 0 whatever the model knows",
        "look for stop strings in the server's settings and the model's generation_config.json, "
        "and whether its end token is right",
    )  # fmt: skip


def cut_in_reasoning(context: Context, server: Server, reply: Reply) -> Finding:
    """Tell a model that reasons on from a parser that takes all for reasoning."""
    begun = f"apart, in the field {reply.reasoning_source}"
    tags = writes_tags(server)
    if tags is not None:
        if tags:
            return passed("reasoning", f"{begun}; longer than {server.probe_tokens} tokens here")
        own = without_parser(server, QUESTION) or ""
        return swallowed(
            f"the model writes no tag (its text begins {shown(own[:60])!r}), and all of it arrives "
            f"in the field {reply.reasoning_source}"
        )
    longer = server.ask(QUESTION, max_tokens=server.longer_tokens)
    if longer.content.strip():
        return passed("reasoning", f"{begun}; the answer in content")
    if longer.finish_reason != "length":
        return swallowed(f"{shown(whole(longer)[-80:])!r} arrived as reasoning, with no content")
    if expected_to_think(context, server):
        return passed("reasoning", f"{begun}; longer than {server.longer_tokens} tokens here")
    return Finding(
        "reasoning", "warn", f"{begun}; no content within {server.longer_tokens} tokens",
        f"the model reasons long, or a parser takes all for reasoning; {SWALLOWS}",
        "look at one whole answer, or start the server without a reasoning parser",
    )  # fmt: skip


def nothing(reply: Reply) -> Finding:
    """Describe a reply without any text."""
    details = mapping(reply.usage.get("completion_tokens_details"))
    n_hidden = details.get("reasoning_tokens")
    if isinstance(n_hidden, int) and n_hidden > 0:
        return hidden(f"{n_hidden} tokens of reasoning are counted and not sent")
    n_tokens = tokens_of(reply)
    counted = (
        "" if n_tokens is None else f" ({n_tokens} tokens, finish_reason {reply.finish_reason})"
    )
    return Finding(
        "reasoning", "fail", f"an answer without content and without reasoning{counted}",
        "empty answers score 0 whatever the model knows",
        "look at the server's log and chat template; a parser may drop the reasoning",
    )  # fmt: skip


def think_tag(context: Context) -> Iterator[Finding]:
    """Say whether the think tag is written by the model, by the template, or switched off."""
    server = asked_of(context)
    reply, begins = answer_of(context, server), begins_with(server, QUESTION)
    found = shape(reply)
    if begins == SWITCHED_OFF or (found.state == CLOSED and not found.reasoning):
        yield switched_off(context, server)
    elif begins == OPENED or found.state == ORPHAN_CLOSE:
        yield passed("think_tag", prefilled(server, reply))
    elif reply.reasoning:
        yield passed("think_tag", "taken away by the server, which sends the reasoning apart")
    elif thinks(reply):
        yield passed("think_tag", "visible: the model writes it")
    else:
        told = "" if begins else ", as far as one answer shows"
        yield passed("think_tag", f"none: neither the template nor the model writes one{told}")
    if server.settings.chat_template_kwargs:
        yield from template_kwargs(server)


def prefilled(server: Server, reply: Reply) -> str:
    """Say that the template opens the tag, and what that asks of a run."""
    said = "prefilled: the template opens it"
    if reply.reasoning:
        return f"{said}, and the server sends the reasoning apart"
    if server.settings.prefilled:
        return f"{said}, as prefilled=true says"
    return f"{said}; where most completions are cut off, give prefilled=true in --model_args"


def switched_off(context: Context, server: Server) -> Finding:
    """Judge a think block that is closed before it begins."""
    if told_not_to_think(server):
        return passed("think_tag", "switched off, as the run's settings ask")
    return Finding(
        "think_tag", "fail" if expected_to_think(context, server) else "warn",
        "switched off: the answer begins behind an empty think block",
        "the model is asked not to reason, which no one asked for here",
        'give chat_template_kwargs={"enable_thinking": true} in --model_args, for both arms '
        "(llama-server also: --reasoning on)",
    )  # fmt: skip


def template_kwargs(server: Server) -> Iterator[Finding]:
    """See whether chat_template_kwargs change the prompt."""
    given = dict(server.settings.chat_template_kwargs)
    try:
        without = server.ask(QUESTION, chat_template_kwargs=None)
    except UpstreamError:
        return
    counts = [tokens_of(r, "prompt_tokens") for r in (server.ask(QUESTION), without)]
    if (
        None not in counts
        and counts[0] == counts[1]
        and whole(without) == whole(server.ask(QUESTION))
    ):
        yield Finding(
            "think_tag", "warn", f"chat_template_kwargs={given} changes neither prompt nor answer",
            "the server or its template passes over it, or it is the default",
            "look at the names in the model's chat template",
        )  # fmt: skip
