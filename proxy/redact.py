"""What never reaches the log: keys, tokens, passwords and cookies.

Owns which names mean a secret, and taking their values out of bodies, queries and raw text.
Headers are not logged but for x-request-id. Besides, every secret that a request carries, in its
headers too, is searched for in its whole record, since servers echo keys in error messages.

Contained: Authorization, cookie and key headers; secret-looking names, and the names of `--redact`,
in queries and JSON bodies at any depth; echoes of those values of at least 8 characters.
Of answers, only the names of `--redact` are taken out: logprobs have a field called `token`.
Not contained: a secret that a user writes into a prompt, or that a model writes into an answer;
fields inside a text that is JSON itself, such as the arguments of a tool call.

    >>> Redactor().fields({"model": "m", "api_key": "sk-123", "max_tokens": 5})
    {'model': 'm', 'api_key': '[redacted]', 'max_tokens': 5}
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_plus

REDACTED = "[redacted]"
MIN_ECHO_CHARS = 8
"""Shorter values ("EMPTY", "none") would be cut out of ordinary text."""
SECRET_NAME = re.compile(
    r"(?:^|_)(?:secrets?|passwd|password|passphrase|jwt|connection_string"
    r"|(?:api|secret|access|private|signing|encryption|subscription|master|account|service|openai"
    r"|anthropic|azure|google|gemini|openrouter|groq|mistral|hf|wandb)_?keys?"
    r"|(?:access|auth|refresh|id|session|bearer|hf|api|security|csrf|xsrf|sas|user|bot|private"
    r"|github|gitlab|oauth|client|vault|wandb)_?token"
    r"|authorization|bearer|credentials?|cookies?)$"
    r"|^(?:token|key|sig|pwd|pass|auth|apikey|session|pat)$"
)
SECRET_PARAMETER = re.compile(
    r"(?:keys?|secrets?|credentials?|token|signature|sig|password|jwt|auth)$|^code$|^cookie2$"
)
"""Of a header or in a query, where no name of sampling stands: `code` is a key of Azure's."""
NO_SECRET_PARAMETER = frozenset({"idempotency_key", "sec_websocket_key"})
RAW_NAME = re.compile(r'"((?:[^"\\]|\\.){1,64})"\s*:\s*')
RAW_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s,"{}\[\]]*')
RAW_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]')
RAW_FIELD = re.compile(
    r"""(?<![\w.-])([\w.-]{1,64})(\\*['"]?\s*:\s*)"""
    r"""('(?:[^'\\\n]|\\.)*'?|"(?:[^"\\\n]|\\.)*"?|[^\s,{}\[\]'"][^\n,{}\[\]]*)"""
)
"""Of what is nearly JSON (Python's repr, YAML) or a copied header."""
RAW_PART = re.compile(r'\b(name="([^"\r\n]{1,64})"\r?\n\r?\n)([^\r\n]+)')
"""Of a form (`multipart/form-data`)."""
RAW_PAIR = re.compile(r"(^|[&?;\s])([\w.%-]{1,64})=([^&\s]+)", re.ASCII)
"""Of a form (`application/x-www-form-urlencoded`), which no endpoint takes but clients send."""
CONTAINERS = (dict, list)
MAX_MEMO_CHARS = 64
MAX_MEMO_NAMES = 4096
MAX_CACHED_CHARS = 1024


class Redactor:
    """Knows secrets by the names of their fields: the usual ones, and `names` besides.

    Names are remembered, at most 4,096 of each kind, since every request brings the same.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset(plain_name(name) for name in names)
        self.harmless: set[str | bytes] = set()
        self.harmful: set[str | bytes] = set()

    def is_named(self, name: object) -> bool:
        """Tell whether a field is one of `names`: in any case, `-` and `_` being the same."""
        return isinstance(name, str) and plain_name(name) in self.names

    def is_secret(self, name: object) -> bool:
        """Tell whether a field, header or query name stands for a secret."""
        if not isinstance(name, str) or name in self.harmless:
            return False
        if name in self.harmful:
            return True
        secret = looks_secret(name) or self.is_named(name)
        self.remember(name, secret)
        return secret

    def is_secret_parameter(self, name: str) -> bool:
        """Tell whether a header, or a part of a query, stands for a secret."""
        plain = plain_name(name)
        loose = SECRET_PARAMETER.search(plain) and plain not in NO_SECRET_PARAMETER
        return bool(loose) or self.is_secret(name)

    def remember(self, name: str | bytes, secret: bool) -> None:
        """Note whether a name is one of a secret."""
        memo = self.harmful if secret else self.harmless
        if len(name) <= MAX_MEMO_CHARS and len(memo) < MAX_MEMO_NAMES:
            memo.add(name)

    def holds_secret(self, value: Any) -> bool:
        """Tell whether any field at any depth has a secret's name."""
        if isinstance(value, dict):
            if not value.keys() <= self.harmless and any(map(self.is_secret, value)):
                return True
            value = value.values()
        for item in value:  # noqa: SIM110 (any() and a generator take twice as long)
            if isinstance(item, CONTAINERS) and self.holds_secret(item):
                return True
        return False

    def fields(self, value: Any, found: set[str] | None = None) -> Any:
        """Return the value, in a copy without the values of secret fields where it has some.

        `found` collects the secrets.
        """
        if isinstance(value, CONTAINERS) and self.holds_secret(value):
            return self.replaced(value, found)
        return value

    def replaced(self, value: Any, found: set[str] | None, names_only: bool = False) -> Any:
        """Return a copy with the values of secret fields replaced.

        Under `properties` (a tool's JSON schema) the names are a user's parameters, so only a plain
        value counts as a secret there (`names_only`).
        """
        if isinstance(value, list):
            return [self.replaced(item, found) for item in value]
        if not isinstance(value, dict):
            return value
        kept = {}
        for name, item in value.items():
            plain = not isinstance(item, dict | list)
            if item is not None and self.is_secret(name) and (plain or not names_only):
                kept[name] = REDACTED
                if found is not None:
                    found.update(texts_of(item))
            else:
                kept[name] = self.replaced(item, found, names_only=name == "properties")
        return kept

    def named(self, value: Any) -> Any:
        """Return a copy without the values of the fields in `names`, at any depth."""
        if isinstance(value, list):
            return [self.named(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            name: REDACTED if item is not None and self.is_named(name) else self.named(item)
            for name, item in value.items()
        }

    def query(self, query: str, found: set[str] | None = None) -> str:
        """Return a query string with the values of secret names replaced."""
        pairs = []
        for pair in re.split("([&;])", query):
            name, equals, value = pair.partition("=")
            if equals and self.is_secret_parameter(unquote_plus(name)):
                if found is not None:
                    found.update((value, unquote_plus(value)))
                value = REDACTED
            pairs.append(f"{name}{equals}{value}")
        return "".join(pairs)

    def raw(self, text: str, found: set[str] | None = None) -> str:
        """Return text that may be cut-off JSON, or nearly JSON, or a form, without secrets."""

        def replace_field(match: re.Match[str]) -> str:
            value = match[3].strip("'\"\\\r")
            if value in ("", "null", REDACTED) or not self.is_secret(match[1]):
                return match[0]
            if found is not None:
                found.update((value, value.rpartition(" ")[2]))  # of "Bearer TOKEN"
            return f"{match[1]}{match[2]}{REDACTED}"

        def replace_part(match: re.Match[str]) -> str:
            if not self.is_secret(match[2]):
                return match[0]
            if found is not None:
                found.add(match[3])
            return f"{match[1]}{REDACTED}"

        def replace_pair(match: re.Match[str]) -> str:
            if not self.is_secret(unquote_plus(match[2])):
                return match[0]
            if found is not None:
                found.update((match[3], unquote_plus(match[3])))
            return f"{match[1]}{match[2]}={REDACTED}"

        text = RAW_FIELD.sub(replace_field, self.raw_json(text, found))
        return RAW_PAIR.sub(replace_pair, RAW_PART.sub(replace_part, text))

    def raw_json(self, text: str, found: set[str] | None) -> str:
        """Return text that may be cut-off JSON with the values of secret fields replaced."""
        kept, at = [], 0
        for match in RAW_NAME.finditer(text):
            start = match.end()
            if match.start() < at or not self.is_secret(match[1]):
                continue
            end = end_of_raw_value(text, start)
            value = text[start:end]
            if value in ("", "null"):
                continue
            if found is not None:
                found.add(value.strip('"'))
            kept += [text[at:start], f'"{REDACTED}"']
            at = end
        return "".join((*kept, text[at:]))

    def in_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> set[str]:
        """Return the secret values that a request's headers carry."""
        found: set[str] = set()
        for name, value in headers:
            if name in self.harmless:
                continue
            if name not in self.harmful:
                secret = self.is_secret_parameter(name.decode("latin-1"))
                self.remember(name, secret)
                if not secret:
                    continue
            if len(value) <= MAX_CACHED_CHARS:
                found |= cached_header_secrets(value)
            else:
                found |= header_secrets(value)
        return found


def header_secrets(value: bytes) -> frozenset[str]:
    """Return what is secret in the value of a secret header."""
    text = value.decode("latin-1")
    scheme, _, rest = text.partition(" ")
    token = rest.strip()  # of "Bearer TOKEN"
    if len(token) >= MIN_ECHO_CHARS and " " not in token and ";" not in text:
        return frozenset({token, *(basic_secrets(token) if scheme.lower() == "basic" else ())})
    pieces = {piece.partition("=")[2].strip('"') for piece in re.split("[;,]", text)}
    return frozenset({text, token, *pieces} - {""})


def basic_secrets(token: str) -> set[str]:
    """Return what a token of the scheme Basic says: name and password, and the password."""
    try:
        pair = base64.b64decode(token).decode("utf-8")
    except ValueError:
        return set()
    return {pair, pair.partition(":")[2]}


cached_header_secrets = lru_cache(maxsize=256)(header_secrets)


def looks_secret(name: str) -> bool:
    """Tell whether a name means a secret, read as camelCase or in any case (headers come so)."""
    camel = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    forms = {re.sub(r"[-. ]", "_", words) for words in (camel, name.lower())}
    return any(SECRET_NAME.search(form) for form in forms)


def end_of_raw_value(text: str, start: int) -> int:
    """Return where a JSON value that may be cut off ends."""
    if text[start : start + 1] not in ("{", "["):
        scalar = RAW_SCALAR.match(text, start)
        return scalar.end() if scalar else start
    depth = 0
    for match in RAW_BRACKET.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(text)


def plain_name(name: str) -> str:
    """Return a name as `--redact` compares it."""
    return name.lower().replace("-", "_")


@lru_cache(maxsize=16)
def redactor_for(names: frozenset[str]) -> Redactor:
    """Return the redactor of these further names, the same one each time."""
    return Redactor(names)


def texts_of(value: Any) -> Iterable[str]:
    """Yield the texts inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_of(item)


def echo_forms(secret: str) -> tuple[tuple[str, tuple[bytes, ...]], ...]:
    """Return the forms in which a secret may be echoed, each with how a line may spell it.

    A server that quotes the request's body quotes it JSON-escaped, and its URL percent-encoded, so
    these forms count too.
    """
    found = []
    encoded = quote(secret, safe="", errors="surrogatepass")
    for text in {secret, json.dumps(secret)[1:-1], encoded}:
        if len(text.strip()) >= MIN_ECHO_CHARS:
            spellings = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
            found.append((text, tuple(form.encode("utf-8", "surrogatepass") for form in spellings)))
    return tuple(found)


cached_echo_forms = lru_cache(maxsize=256)(echo_forms)


def echoed(line: bytes, secrets: Iterable[str]) -> list[str]:
    """Return the secrets that a record's line holds, the longest first."""
    found = set()
    for secret in secrets:
        forms = cached_echo_forms if len(secret) <= MAX_CACHED_CHARS else echo_forms
        for text, spellings in forms(secret):
            for spelling in spellings:
                if spelling in line:
                    found.add(text)
    return sorted(found, key=len, reverse=True)


def without_echoes(text: str, secrets: Iterable[str]) -> str:
    """Return a text with every echo of a secret replaced."""
    forms = {form for secret in secrets for form, _ in echo_forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, REDACTED)
    return text


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
