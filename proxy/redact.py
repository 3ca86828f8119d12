"""What never reaches the log: keys, tokens, passwords and cookies.

Owns which names mean a secret, and taking their values out of bodies, queries and raw text.
Headers need no rule: the log holds none of them but x-request-id. Besides, every secret that a
request carries is searched for in its whole record, since servers echo keys in error messages.

Contained: Authorization, cookie and key headers; secret-looking names in queries and JSON bodies
at any depth; echoes of those values of at least 8 characters.
Not contained: a secret that a user writes into a prompt, or that a model writes into an answer.

    >>> redact_fields({"model": "m", "api_key": "sk-123", "max_tokens": 5})
    {'model': 'm', 'api_key': '[redacted]', 'max_tokens': 5}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus

REDACTED = "[redacted]"
MIN_ECHO_CHARS = 8
"""Shorter values ("EMPTY", "none") would be cut out of ordinary text."""
SECRET_NAME = re.compile(
    r"(?:^|_)(?:api_?keys?|secrets?|secret_key|access_key|private_key|passwd|password|passphrase"
    r"|(?:access|auth|refresh|id|session|bearer|hf|api|security|csrf|sas)_?token"
    r"|authorization|bearer|credentials?|cookies?)$"
    r"|^(?:token|key|sig|pwd|pass|auth|apikey|session)$"
)
RAW_FIELD = re.compile(r'"((?:[^"\\]|\\.){1,64})"(\s*:\s*)"(?:[^"\\]|\\.)*"?')


def is_secret(name: object) -> bool:
    """Tell whether a field, header or query name stands for a secret."""
    if not isinstance(name, str):
        return False
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return SECRET_NAME.search(re.sub(r"[-. ]", "_", words)) is not None


def redact_fields(value: Any, found: set[str] | None = None, names_only: bool = False) -> Any:
    """Return a copy with the values of secret-looking fields replaced; `found` collects them.

    Under `properties` (a tool's JSON schema) the names are a user's parameters, so only a plain
    value counts as a secret there (`names_only`).
    """
    if isinstance(value, list):
        return [redact_fields(item, found) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        plain = not isinstance(item, dict | list)
        if item is not None and is_secret(name) and (plain or not names_only):
            kept[name] = REDACTED
            if found is not None:
                found.update(texts_of(item))
        else:
            kept[name] = redact_fields(item, found, names_only=name == "properties")
    return kept


def texts_of(value: Any) -> Iterable[str]:
    """Yield the texts inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_of(item)


def redact_query(query: str, found: set[str] | None = None) -> str:
    """Return a query string with the values of secret-looking names replaced."""
    pairs = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if equals and is_secret(unquote_plus(name)):
            if found is not None:
                found.update((value, unquote_plus(value)))
            value = REDACTED
        pairs.append(f"{name}{equals}{value}")
    return "&".join(pairs)


def redact_raw(text: str) -> str:
    """Return text that may be cut-off JSON with the values of secret-looking fields replaced."""

    def replace(match: re.Match[str]) -> str:
        if not is_secret(match[1]):
            return match[0]
        return f'"{match[1]}"{match[2]}"{REDACTED}"'

    return RAW_FIELD.sub(replace, text)


def secrets_in_headers(headers: Iterable[tuple[bytes, bytes]]) -> set[str]:
    """Return the secret values that a request's headers carry."""
    found: set[str] = set()
    for name, value in headers:
        if not is_secret(name.decode("latin-1")):
            continue
        text = value.decode("latin-1")
        found.add(text)
        found.update(piece.partition("=")[2] for piece in text.split(";"))
        found.add(text.partition(" ")[2])  # the token of "Bearer TOKEN"
    return found


def echoed(line: bytes, secrets: Iterable[str]) -> list[str]:
    """Return the secrets that a record's line holds, the longest first.

    A server that quotes the request's body quotes them JSON-escaped, so that form counts too.
    """
    found = []
    for secret in {form for text in secrets for form in (text, json.dumps(text)[1:-1])}:
        forms = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        if len(secret.strip()) >= MIN_ECHO_CHARS and any(
            form.encode("utf-8", "surrogatepass") in line for form in forms
        ):
            found.append(secret)
    return sorted(found, key=len, reverse=True)


def scrub(value: Any, secrets: list[str]) -> Any:
    """Return a copy with every echo of a secret replaced, in names and values."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, list):
        return [scrub(item, secrets) for item in value]
    if isinstance(value, dict):
        return {scrub(name, secrets): scrub(item, secrets) for name, item in value.items()}
    return value
