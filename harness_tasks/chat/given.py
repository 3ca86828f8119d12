"""A model as an option of the command line names it: `base_url=...,model=...`, or a YAML mapping.

Owns that form. Refuses to own which names there are (the settings of each command).

Example:
    >>> model_of("--judge", "base_url=http://127.0.0.1:8000/v1,model=8,concurrency=2")
    {'base_url': 'http://127.0.0.1:8000/v1', 'model': '8', 'concurrency': 2}
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

TEXTS = ("base_url", "model", "name", "api_key_env", "preset", "system_prompt", "prompt", "judged")


def model_of(option: str, text: str) -> dict[str, Any]:
    """Read a model: `base_url=...,model=...`, or the same as a YAML mapping in braces.

    Raises:
        ValueError: it is neither.
    """
    import yaml

    if text.lstrip().startswith("{"):
        try:
            given = yaml.safe_load(text)
        except yaml.YAMLError as wrong:
            raise ValueError(f"{option} is not a valid YAML mapping: {text[:80]!r}") from wrong
        if not isinstance(given, dict):
            raise ValueError(f"{option} is no mapping: {text[:80]!r}")
        return given
    read: dict[str, Any] = {}
    for name, value in pairs(option, text.split(",")).items():
        if name in TEXTS:
            read[name] = value  # a model may be called 8 or yes
            continue
        try:
            read[name] = yaml.safe_load(value)
        except yaml.YAMLError as wrong:
            raise ValueError(f"{option}: {name} is not valid YAML") from wrong
    return read


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE texts.

    Raises:
        ValueError: one has no name or no sign; the text may hold a key and is cut short.
    """
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"{option} takes NAME=VALUE, got {text[:40]!r}")
        found[name.strip()] = value.strip()
    return found
