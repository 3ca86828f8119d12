"""A record's last step: from its fields to a line that holds no secret.

Owns where secrets are looked for in a record, and the words for what could not be read. Refuses to
own what is a secret (redact), the fields (exchange) and how they come about (recorder).

    line = line_of(row, {"sk-12345678"}, redactor)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from proxy.redact import REDACTED, Redactor, echoed, scrub, without_echoes
from proxy.wire_json import to_line

MAX_ERROR_CHARS = 1000
FIXED = frozenset(
    {
        "schema",
        "started_at",
        "upstream",
        "route",
        "messages_sha256",
        "reasoning_source",
        "reasoning_state",
        "gaps_s",
        "outcome",
    }
)
"""Fields that no client and no server has a say in, so that no secret is looked for in them."""
ANSWER_FIELDS = {
    "content": ("content", "text"),
    "error": ("error", "message", "detail"),
    "reasoning": ("reasoning", "reasoning_content", "thinking"),
    "model_served": ("model",),
}
"""Fields of the record and the names of an answer's fields that they come from."""


class Raw(NamedTuple):
    """Makes unreadable bytes a text that may be kept."""

    redactor: Redactor
    secrets: set[str]
    max_chars: int

    def __call__(self, data: bytes) -> str:
        """Return bounded text, secrets taken out before it is cut so that no part of one stays."""
        text = data[: 4 * self.max_chars].decode("utf-8", errors="replace")
        text = self.redactor.raw(text, self.secrets)
        return without_echoes(text, self.secrets)[: self.max_chars]


def error_text(error: object, status: int | None, secrets: set[str]) -> str:
    """Return a server's own words, or its status."""
    words = error.get("message") if isinstance(error, dict) else error
    if not isinstance(words, str) or not words:
        return f"status {status}"
    return " ".join(without_echoes(words, secrets).split())[:MAX_ERROR_CHARS]


def hide_answer(row: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Take the fields that `--redact` names out of an answer, wherever the record has them."""
    if not redactor.names:
        return row
    hidden = {name: redactor.named(row[name]) for name in ("usage", "extra")}
    for name, sources in ANSWER_FIELDS.items():
        if row[name] is not None and any(map(redactor.is_named, sources)):
            hidden[name] = REDACTED
    return row | hidden


def line_of(row: dict[str, Any], secrets: set[str], redactor: Redactor) -> bytes:
    """Return the record's line without secrets; what is nested too deep is left out and named."""
    try:
        return clean_line(hide_answer(row, redactor), secrets)
    except RecursionError:
        dropped = {"log_dropped": "nested too deep"}
        row = {**row, "messages": None, "sampling": {}, "usage": None, "extra": dropped}
        return clean_line(hide_answer(row, redactor), secrets)


def clean_line(row: dict[str, Any], secrets: set[str]) -> bytes:
    """Return the record's line with every echo of a secret replaced."""
    line = to_line(row)
    if secrets and (echoes := echoed(line, secrets)):
        clean = {
            name: value if name in FIXED else scrub(value, echoes) for name, value in row.items()
        }
        line = to_line(clean)
    return line
