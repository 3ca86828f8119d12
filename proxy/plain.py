"""The ordinary unstreamed chat answer, read in one go.

Owns telling that an answer is one choice with a message of texts, and its record without the
machinery for pieces. Refuses to own any other answer: it returns None, and message.MessageBuilder,
which reads all of them, says the same of this one (a test compares the two).

    >>> answer = {"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}
    >>> plain_message(answer, size=60, limit=1_000_000).first.content
    '4'
"""

from __future__ import annotations

from typing import Any

from proxy.choice import Choice
from proxy.message import CHOICE_FIELDS, TEXT_FIELDS, TOP_FIELDS, Message

NOT_PLAIN = frozenset({"tool_calls", "function_call"})
NOT_KEPT = TEXT_FIELDS | NOT_PLAIN | {"role", "content_parts"}
ROOM = 256
"""Times an answer's size: the builder counts the whole of it for each field that it keeps."""


def plain_message(answer: object, size: int, limit: int) -> Message | None:
    """Return what the record says of an answer of `size` bytes; None unless it is an ordinary one.

    `limit` is what the builder would keep at most.
    """
    if type(answer) is not dict or size * ROOM > limit or answer.get("error"):
        return None
    choices = answer.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
        return None
    first = plain_choice(choices[0])
    if first is None:
        return None
    choice, texts = first
    usage, model = answer.get("usage"), answer.get("model")
    extra = kept(answer, TOP_FIELDS)
    settled = choice.with_texts(texts)
    extra.update(settled.extra)
    return Message(
        settled,
        usage if isinstance(usage, dict) else None,
        model if isinstance(model, str) else None,
        extra,
    )


def plain_choice(item: dict[str, Any]) -> tuple[Choice, dict[str, str]] | None:
    """Return a choice without its texts, and these; None unless it is an ordinary one."""
    message = item.get("message")
    if type(message) is not dict or "delta" in item or item.get("logprobs") is not None:
        return None
    texts: dict[str, str] = {}
    for name, value in message.items():
        if name in TEXT_FIELDS and value is not None:
            if type(value) is not str:
                return None
            texts[name] = value
        elif name in NOT_PLAIN and value:
            return None
    choice = Choice()
    finish_reason = item.get("finish_reason")
    choice.finish_reason = finish_reason if isinstance(finish_reason, str) else None
    choice.choice_extra = kept(item, CHOICE_FIELDS)
    if not message.keys() <= NOT_KEPT:
        rest = kept(message, NOT_KEPT)
        choice.message_extra = {k: value for k, value in rest.items() if value not in ("", [])}
    return choice, texts


def kept(fields: dict[str, Any], own: frozenset[str]) -> dict[str, Any]:
    """Return the fields that no one here owns."""
    return {name: value for name, value in fields.items() if value is not None and name not in own}
