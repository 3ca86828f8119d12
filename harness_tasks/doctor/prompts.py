"""Does the server make of messages the prompt that the model was trained on?

Owns the check `prompt_tokens`: the count of a reply's usage against the server's own tokenizer, and
against the model's files where they are at hand.

Example, of a template that writes the begin token and a tokenizer that adds another:

    prompt_tokens: the prompt begins with two begin tokens, '<s>' '<s>'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness_tasks.chat.reply import UpstreamError, shown
from harness_tasks.doctor.finding import Context, Finding, passed, skipped
from harness_tasks.doctor.probe import QUESTION, Server, tokens_of
from harness_tasks.doctor.reached import asked_of
from harness_tasks.doctor.rendered import Rendered, of_request, prompt_of, tokens_of_prompt
from harness_tasks.doctor.room import room_of
from harness_tasks.doctor.thinking import expected_to_think
from harness_tasks.doctor.tokenizer import Counted, count_tokens

# Words of one token each in most vocabularies, and at most five bytes with their blank.
SHORT_WORDS = ("one", "two", "six", "ten", "red", "sun", "map", "ice")
MANY_WORDS, FEW_WORDS = 300, 16
BYTES_A_WORD = 8
# What stands before a message beside words: marks, and the names of roles.
MARKS = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,30}\]")
ROLE = re.compile(r"(system|user|human|assistant):?", re.IGNORECASE)
FEWEST_CHARS = 8
BEGIN = re.compile(r"<s>|<bos>|<\|(begin_of_text|startoftext)\|>|<｜begin▁of▁sentence｜>|\[CLS\]")
WHY_TWO = "the model never saw two begin tokens in training: all its scores shift a little"
FIX_TWO = (
    "take the begin token out of the chat template, or let the tokenizer add none "
    "(add_bos_token false; llama.cpp: tokenizer.ggml.add_bos_token)"
)
WHY_OTHER = (
    "another chat template than the model's own, or another tokenizer, shifts all its scores"
)


def prompt_tokens(context: Context) -> Iterator[Finding]:
    """Count one prompt in every way that is at hand."""
    server = asked_of(context)
    told = tokens_of(server.ask(QUESTION), "prompt_tokens")
    if told is not None:
        yield from shortened(server, told)
    yield from added_words(context, server)
    by_server = tokens_of_prompt(server, QUESTION)
    where = context.tokenizer or own_folder(server)
    if told is None:
        yield skipped("prompt_tokens", "the server counts no prompt tokens")
        return
    if by_server is None and where is None:
        yield skipped(
            "prompt_tokens",
            f"{told} tokens, held against nothing: the server shows no tokens; give --tokenizer",
        )
        return
    doubt = None
    if by_server is not None:
        doubt = by_its_own(told, by_server)
    if where is not None and doubt is None:
        yield by_files(server, told, where, asked=context.tokenizer is not None)
    elif doubt is not None:
        yield doubt
    elif by_server is not None:
        first = " ".join(repr(shown(token)) for token in by_server.first)
        yield passed(
            "prompt_tokens", f"{told}, as the server's tokenizer counts; it begins {first}"
        )


def shortened(server: Server, told: int) -> Iterator[Finding]:
    """See whether a longer prompt arrives whole: a word has at least one token."""
    room = room_of(server)
    n_words = min(MANY_WORDS, (room.n_tokens - told) // BYTES_A_WORD) if room else MANY_WORDS
    if n_words < FEW_WORDS:
        return
    words = " ".join(SHORT_WORDS[at % len(SHORT_WORDS)] for at in range(n_words))
    try:
        reply = server.ask(f"{words}\n{QUESTION}", max_tokens=1)
    except UpstreamError as fault:
        if fault.status != 400:  # refused, as too long: then nothing was shortened
            raise
        return
    counted = tokens_of(reply, "prompt_tokens")
    if counted is not None and counted - told < n_words * 0.9:
        yield Finding(
            "prompt_tokens", "fail",
            f"{n_words} words more make {counted - told} tokens more: the server shortens prompts",
            "the model does not see the whole question, and no error says so",
            "give the server a longer context (Ollama: OLLAMA_CONTEXT_LENGTH), or switch off what "
            "shortens prompts",
        )  # fmt: skip


def added_words(context: Context, server: Server) -> Iterator[Finding]:
    """Show what the template says before the messages, where the server shows the prompt."""
    if server.settings.system_prompt:
        return
    before = (prompt_of(server, QUESTION) or "").partition(QUESTION)[0]
    lines = (line.strip() for line in MARKS.sub("\n", before).splitlines())
    said = " ".join(line for line in lines if line and not ROLE.fullmatch(line))
    if len(said) < FEWEST_CHARS:
        return
    found = f"the template puts words of its own first: {shown(said)!r}"
    if not expected_to_think(context, server):
        yield passed("prompt_tokens", found)
        return
    yield Finding(
        "prompt_tokens", "warn", found,
        "a system prompt lowers the scores of some reasoning models, and their makers advise none",
        "compare with the template of the model card; the same for both arms",
    )  # fmt: skip


def own_folder(server: Server) -> str | None:
    """Return the folder that the server loaded the model from, where it lies on this machine.

    A relative one is left out: it is the server's, and here it may be another.
    """
    told = {"vllm": server.listed().get("root"), "transformers": server.model}
    name = told.get(server.kind or "")
    if not isinstance(name, str) or not Path(name).is_absolute():
        return None
    return name if (Path(name) / "tokenizer.json").is_file() else None


def by_its_own(told: int, counted: Rendered) -> Finding | None:
    """Hold the count of a reply against the server's own tokenizer; None where they agree."""
    one, two, *_ = [*counted.first, "", ""]
    if one == two and BEGIN.fullmatch(one):
        twice = f"the prompt begins with two begin tokens, {one!r} {two!r}"
        return Finding("prompt_tokens", "fail", twice, WHY_TWO, FIX_TWO)
    if told == counted.n_tokens:
        return None
    return Finding(
        "prompt_tokens", "warn",
        f"the reply counts {told} tokens, the server's tokenizer {counted.n_tokens}",
        WHY_OTHER,
        "look at the rendered prompt in the server's log; one more may be a second begin token",
    )  # fmt: skip


def by_files(server: Server, told: int, where: str, *, asked: bool) -> Finding:
    """Hold the count of a reply against the model's own files."""
    request: dict[str, Any] = of_request(server, QUESTION)
    try:
        counted = count_tokens(where, request["messages"], request.get("chat_template_kwargs", {}))
    except (ValueError, ImportError, OSError) as unread:
        return skipped("prompt_tokens", f"{told} tokens; {unread}", broken=asked)
    return against_files(told, counted, where)


def against_files(told: int, counted: Counted, where: str) -> Finding:
    """Judge the two counts."""
    if told == counted.n_tokens:
        return passed("prompt_tokens", f"{told}, as the tokenizer and template of {where} count")
    if told == counted.n_tokens + 1:
        return Finding(
            "prompt_tokens", "fail",
            f"the server counts {told} tokens, the model's template {counted.n_tokens}: one too "
            f"many{f', most often {counted.bos!r} twice' if counted.bos else ''}",
            WHY_TWO, FIX_TWO,
        )  # fmt: skip
    return Finding(
        "prompt_tokens", "fail",
        f"the server counts {told} tokens, tokenizer and template of {where} {counted.n_tokens}",
        WHY_OTHER,
        "give the server the model's own template (vLLM --chat-template, llama-server "
        "--chat-template-file), or the right --tokenizer",
    )  # fmt: skip
