"""What the record keeps of a request's body, secrets taken out.

Owns how the fields of a request are sorted into model, messages, sampling and the rest. Refuses to
own which names are secret (redact) and the answer (message).

    >>> view = view_request(b'{"model": "m", "messages": [], "seed": 3}', redactor, set())
    >>> view.model, view.sampling
    ('m', {'seed': 3})

A conversation is `messages`, or, for `/v1/responses`, an `input` that is a list; both are kept as
sent, and hashed. A single text (`prompt`, or an `input` that is one) is kept as `prompt` under
extra.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from proxy.redact import Redactor
from proxy.wire_json import conversation_sha256, parse_json

OWN_FIELDS = frozenset({"model", "messages", "prompt", "stream"})


class RequestView(NamedTuple):
    """The parts of a request."""

    model: str | None
    messages: list[Any] | None
    messages_sha256: str | None
    sampling: dict[str, Any]
    stream: bool
    extra: dict[str, Any]


def without_body(extra: dict[str, Any]) -> RequestView:
    """Return the view of a request whose body is not kept, and why."""
    return RequestView(None, None, None, {}, False, extra)


def view_request(body: bytes, redactor: Redactor, secrets: set[str]) -> RequestView:
    """Split a request; `secrets` collects the values of its secret fields.

    Raises:
        ValueError: not a JSON object.
        RecursionError: nested too deep.
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise ValueError("the request is not a JSON object")
    kept = redactor.fields(value, secrets)
    model = kept.get("model")
    extra: dict[str, Any] = {}
    name = "messages" if "messages" in kept or "input" not in kept else "input"
    messages = kept.get(name)
    listed = isinstance(messages, list)
    if "prompt" in kept:
        extra["prompt"] = kept["prompt"]
    if messages is not None and not listed:
        extra["prompt" if name == "input" else "messages"] = messages
    sampling = {key: item for key, item in kept.items() if key not in OWN_FIELDS and key != name}
    return RequestView(
        model=model if isinstance(model, str) else None,
        messages=messages if listed else None,
        # of what was sent: equal conversations stay equal, whatever is taken out of them
        messages_sha256=conversation_sha256(value[name]) if listed else None,
        sampling=sampling,
        stream=kept.get("stream") is True,
        extra=extra,
    )
