"""The prompt as the server's template writes it, its tokens, and the text before any parser.

Owns the paths by which vLLM, llama.cpp and SGLang show these. Refuses to own what they mean (the
checks). Each is None where a server shows nothing of the kind.

Example, of a template that opens the reasoning itself: `prompt_of(server, "hi")` ends in
`<|im_start|>assistant`, a new line, `<think>` and a new line.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from harness_tasks.chat.reply import ReplyBuilder, UpstreamError
from harness_tasks.doctor.probe import Server, mapping, whole
from harness_tasks.reasoning import CLOSED, UNCLOSED, split

OPENED, SWITCHED_OFF, PLAIN = "opened", "switched off", "plain"


class Rendered(NamedTuple):
    """A prompt in tokens: their number and the first few as text."""

    n_tokens: int
    first: list[str]


def of_request(server: Server, content: str) -> dict[str, Any]:
    """Return what decides the prompt: the messages, and what the template is given."""
    body = server.body(content)
    names = ("messages", "chat_template_kwargs", "chat_template")
    return {name: body[name] for name in names if name in body}


def prompt_of(server: Server, content: str) -> str | None:
    """Return the prompt that a question becomes."""
    asked = of_request(server, content)
    if server.kind == "llamacpp":
        text = mapping(server.post("/apply-template", asked)).get("prompt")
    elif server.kind in ("vllm", "sglang"):
        named = {"model": server.model}
        tokens = mapping(server.post("/tokenize", {**named, **asked})).get("tokens")
        if not isinstance(tokens, list):
            return None
        text = mapping(server.post("/detokenize", {**named, "tokens": tokens})).get("prompt")
    else:
        return None
    return text if isinstance(text, str) else None


def begins_with(server: Server, content: str) -> str | None:
    """Say how the template begins the answer: `opened`, `switched off` or `plain`."""
    prompt = prompt_of(server, content)
    if prompt is None or content not in prompt:
        return None
    behind = split(prompt.rpartition(content)[2], finish_reason="length")
    if behind.state == UNCLOSED and not behind.reasoning:
        return OPENED
    if behind.state == CLOSED and not behind.reasoning:
        return SWITCHED_OFF
    return PLAIN


def tokens_of_prompt(server: Server, content: str) -> Rendered | None:
    """Return the tokens of the prompt that a question becomes, as the server counts them."""
    asked = of_request(server, content)
    if server.kind == "llamacpp":
        text = mapping(server.post("/apply-template", asked)).get("prompt")
        if not isinstance(text, str):
            return None
        body = {"content": text, "add_special": True, "with_pieces": True, "parse_special": True}
        tokens = mapping(server.post("/tokenize", body)).get("tokens")
        found = tokens if isinstance(tokens, list) else []
        pieces = [str(mapping(token).get("piece", "")) for token in found]
        return Rendered(len(pieces), pieces[:3]) if pieces else None
    if server.kind != "vllm":
        return None
    body = {"model": server.model, "return_token_strs": True, **asked}
    told = mapping(server.post("/tokenize", body))
    tokens, texts = told.get("tokens"), told.get("token_strs")
    if not isinstance(tokens, list):
        return None
    named = texts if isinstance(texts, list) else tokens
    return Rendered(len(tokens), [str(token) for token in named[:3]])


def without_parser(server: Server, content: str) -> str | None:
    """Return how the model's own text begins, before any reasoning parser saw it."""
    if server.kind == "sglang":
        return asked_raw(server, content, separate_reasoning=False)
    if server.kind == "llamacpp":
        return asked_raw(server, content, reasoning_format="none")
    prompt = prompt_of(server, content)
    if server.kind != "vllm" or prompt is None:
        return None
    body = {
        "model": server.model, "prompt": prompt, "max_tokens": server.probe_tokens,
        "temperature": 0.0, "skip_special_tokens": False, "add_special_tokens": False,
    }  # fmt: skip
    choices = mapping(server.post("/v1/completions", body)).get("choices")
    first = mapping(choices[0]) if isinstance(choices, list) and choices else {}
    text = first.get("text")
    return text if isinstance(text, str) else None


def asked_raw(server: Server, content: str, **fields: Any) -> str | None:
    """Return what a request with a field of the server's own brings."""
    built = ReplyBuilder()
    try:
        built.add(server.raw(server.body(content, **fields)))
    except UpstreamError:
        return None
    return whole(built.reply())
