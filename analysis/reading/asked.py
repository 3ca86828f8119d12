"""What a row of lm-eval's samples file says was asked, and the texts that came back.

Owns the forms of `arguments` and `resps` across lm-eval 0.4. Refuses to own what an answer is worth
(`question`). lm-eval writes the requests of a row in one of these forms:

    {"gen_args_0": {"arg_0": "a prompt", "arg_1": {"until": []}}}     each argument maybe a 1-list
    [["a prompt", {"until": []}]]                                     older releases
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from proxy.exchange import messages_sha256

LONGEST = 200  # characters of a value of generation that are kept; of the rest its hash


def completions(row: dict[str, Any]) -> list[str]:
    """Return the generated texts of a row; none for a task scored by log-likelihood.

    The requests tell which it is: newer lm-eval writes log-likelihoods as text too.
    """
    if any(isinstance(one, str) for arguments in argument_lists(row) for one in arguments[1:]):
        return []
    resps = row["resps"]
    first = resps[0] if isinstance(resps, list) and resps else []
    texts = first if isinstance(first, list) else [first]
    return list(texts) if all(isinstance(text, str) for text in texts) else []


def argument_lists(row: dict[str, Any]) -> list[list[Any]]:
    """Return the arguments of a row's requests, whichever way lm-eval wrote them."""
    arguments = row.get("arguments")
    if isinstance(arguments, dict):
        groups = list(arguments.values())
    else:
        groups = arguments if isinstance(arguments, list) else []
    lists = [list(one.values()) if isinstance(one, dict) else one for one in groups]
    return [one if isinstance(one, list) else [one] for one in lists]


def generation_arguments(row: dict[str, Any]) -> Iterator[str]:
    """Yield the generation arguments of a row's requests as JSON, a long value cut (`short`)."""
    for arguments in argument_lists(row):
        for one in arguments[1:]:
            if isinstance(one, dict):
                told = {name: short(value) for name, value in one.items()}
                yield json.dumps(told, sort_keys=True)


def prompt_of(row: dict[str, Any]) -> tuple[str, str, str | None]:
    """Return the prompt to show, its key, and the messages_sha256 of a single chat request.

    A chat prompt is keyed by its messages, so that `[{"role": ...}]` and the same text in one user
    message are one prompt, as they are on the wire.
    """
    parts = [[unwrap(one) for one in arguments] for arguments in argument_lists(row)]
    if not parts:
        return "", "", None
    generates = len(parts) == 1 and not any(isinstance(one, str) for one in parts[0][1:])
    if generates and parts[0] and isinstance(parts[0][0], str):
        key = messages_sha256(as_messages(parts[0][0]))
        return parts[0][0], key, key
    texts = [str(one) for arguments in parts for one in arguments if not isinstance(one, dict)]
    return texts[0] if texts else "", digest("\x1f".join(texts)), None


def unwrap(value: Any) -> Any:
    """Return what a list of one holds: lm-eval writes a chat prompt so; messages become text."""
    if are_messages(value):
        return json.dumps(value, ensure_ascii=False)
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def as_messages(prompt: str) -> list[dict[str, Any]]:
    """Return the chat messages that a prompt becomes: its own, or one of the user's."""
    if prompt.startswith("["):
        try:
            messages = json.loads(prompt)
        except (ValueError, RecursionError):
            messages = None
        if are_messages(messages):
            return list(messages)
    return [{"role": "user", "content": prompt}]


def are_messages(value: Any) -> bool:
    """Say whether a value is a list of chat messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "role" in one for one in value)
    )


def digest(text: str) -> str:
    """Return a short key of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def short(value: Any) -> Any:
    """Return a value, or where its JSON is long a text that is equal where the value is."""
    try:
        text = json.dumps(value, sort_keys=True)
    except RecursionError:
        return "nested too deeply"
    return value if len(text) <= LONGEST else f"{text[:LONGEST]}... sha256 {digest(text)}"
