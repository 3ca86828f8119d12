r"""What hosted APIs do in their own way: OpenRouter, OpenAI, DeepSeek, Gemini, Groq, Mistral.

Owns the forms in which they name models and contexts, report faults inside a good answer, say how
long to wait, and which names they have for fields. Refuses to own the general form of a reply
(`chat.reply`) and of a fault (`chat.endpoint`). Standard library only.

Example, OpenAI's o-series:

    >>> renamed({"max_tokens": 9, "seed": 1}, {"max_tokens": "max_completion_tokens", "seed": None})
    {'max_completion_tokens': 9}
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

# vLLM; OpenRouter and Together; Groq; Mistral.
CONTEXT_NAMES = ("max_model_len", "context_length", "context_window", "max_context_length")
# A completion that ended so was broken off by the provider (OpenRouter, DeepSeek).
FAULTY_ENDS = ("error", "insufficient_system_resource")
# HTTP 429 that no waiting mends.
NO_CREDIT = re.compile(
    r"insufficient_quota|exceeded your current quota|billing|insufficient balance"
)
# HTTP 403 of one question and not of the key (OpenRouter).
FLAGGED = re.compile(r"flagged|moderation", re.IGNORECASE)
REFUSED = re.compile(
    r"unsupported|not supported|not support|unrecognized|unknown|extra_forbidden|extra inputs|"
    r"not permitted|unexpected|invalid parameter|not allowed",
    re.IGNORECASE,
)
TOO_MANY = re.compile(
    r"max_(?:completion_)?tokens\b.*(?:less than|at most|exceed|maximum|too large|greater)",
    re.IGNORECASE,
)
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d{1,9})?)s"')
EPOCH_S, EPOCH_MS = 1e9, 1e12


def context_of(listed: Mapping[str, Any]) -> int | None:
    """Return the context of a listed model in tokens, None where it is not told."""
    told = (listed.get(name) for name in CONTEXT_NAMES)
    return next((n for n in told if isinstance(n, int) and not isinstance(n, bool) and n > 0), None)


def is_listed(asked: str | None, names: Sequence[str]) -> bool:
    """Tell whether a hosted API takes a name that it lists in another form.

    Gemini lists `models/NAME`; OpenRouter takes NAME:nitro, :free, ... of each NAME.
    """
    if not asked:
        return False
    return f"models/{asked}" in names or ("/" in asked and asked.rpartition(":")[0] in names)


def fault_of(choice: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the error that a choice holds in place of an answer, None where it has none."""
    error = choice.get("error")
    if isinstance(error, dict) and error:
        return error
    if choice.get("finish_reason") in FAULTY_ENDS:
        return {"message": f"the provider broke the completion off: {choice['finish_reason']}"}
    return None


def details_of(message: Mapping[str, Any]) -> str:
    """Return the reasoning of OpenRouter's `reasoning_details`; what is encrypted is no text."""
    details = message.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    texts = [part.get("text", part.get("summary")) for part in details if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def wait_of(headers: Mapping[str, str], body: bytes = b"") -> float | None:
    """Return the seconds until a rate limit is reset, as far as anything but Retry-After tells."""
    in_ms = seconds_of(headers.get("retry-after-ms"), 0.001)
    if in_ms is not None:
        return in_ms
    reset = seconds_of(headers.get("x-ratelimit-reset"), 1.0)
    if reset is not None:
        at = reset / 1000 if reset > EPOCH_MS else reset
        return max(0.0, at - time.time()) if at > EPOCH_S else reset
    for kind in ("tokens", "requests"):
        spent = headers.get(f"x-ratelimit-remaining-{kind}", "0").strip() == "0"
        wait = duration_of(headers.get(f"x-ratelimit-reset-{kind}"))
        if spent and wait is not None:
            return wait
    delay = RETRY_DELAY.search(body)
    return float(delay[1]) if delay else None


def seconds_of(value: str | None, unit_s: float) -> float | None:
    """Read a plain number, None where it is none."""
    if not value or not re.fullmatch(r"\d{1,15}(\.\d{1,9})?", value.strip()):
        return None
    return float(value) * unit_s


def duration_of(value: str | None) -> float | None:
    """Read `1m30s`, `120ms` or a number of seconds, None where it is neither."""
    text = (value or "").strip()[:40]
    if text and "".join("".join(part) for part in DURATION.findall(text)) == text:
        return sum(float(n) * SECONDS[unit] for n, unit in DURATION.findall(text))
    return seconds_of(text, 1.0)


def advice(status: int, said: str, fields: Sequence[str]) -> str:
    """Return what to set where a hosted API refuses a field, empty where that is not the matter."""
    if status == 402 or (status == 429 and NO_CREDIT.search(said)):
        return " (the account lacks credit, perhaps only for this max_tokens)"
    if status not in (400, 422):
        return ""
    if "max_completion_tokens" in said and REFUSED.search(said):
        return ' (add wire_names={"max_tokens": "max_completion_tokens"} to model_args)'
    if TOO_MANY.search(said):
        return " (set a smaller max_tokens in model_args)"
    if REFUSED.search(said):
        for name in (*fields, "seed", "stream_options"):
            if re.search(rf"\b{name}\b", said):
                return f' (add wire_names={{"{name}": null}} to model_args, which leaves it out)'
    return ""


def renamed(body: dict[str, Any], names: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a request with its fields under the API's own names; None leaves a field out."""
    if not names:
        return body
    kept = {name: value for name, value in body.items() if names.get(name, name) is not None}
    return {str(names.get(name, name)): value for name, value in kept.items()}
