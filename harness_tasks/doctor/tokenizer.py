"""The tokens that a prompt should have, by the model's own tokenizer and chat template.

Owns the reading of tokenizer.json, of the template and the rendering of one. Refuses to own what a
server made of the same messages (`prompts`). Needs the package `tokenizers`, loaded on use.

Example: `count_tokens("models/base", [{"role": "user", "content": "hi"}], {})` is 9.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from harness_tasks.doctor.probe import mapping

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json")
NO_PACKAGE = "--tokenizer needs the package tokenizers: pip install tokenizers"


class Counted(NamedTuple):
    """A prompt by its tokenizer; `bos` is the begin token that the template or tokenizer writes."""

    n_tokens: int
    bos: str


def count_tokens(
    where: str, messages: Sequence[Mapping[str, Any]], template_kwargs: Mapping[str, Any]
) -> Counted:
    """Count the tokens that messages become.

    Raises:
        ValueError: no such tokenizer, or none with a chat template.
        ImportError: the package that reads tokenizers is missing.
    """
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as absent:
        raise ImportError(NO_PACKAGE) from absent
    folder = folder_of(where)
    config = read_json(folder / "tokenizer_config.json")
    text = rendered(template_of(folder, config), messages, config, template_kwargs)
    # The template writes the begin token where there is one: a second one would be the fault.
    encoded = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(
        text, add_special_tokens=False
    )
    return Counted(len(encoded.ids), token_text(config.get("bos_token")))


def folder_of(where: str) -> Path:
    """Return the folder with the tokenizer's files: given, or fetched from the hub.

    Raises:
        ValueError: neither a folder nor a name of the hub that can be fetched.
    """
    path = Path(where).expanduser()
    folder = path.parent if path.name == FILES[0] else path
    if (folder / FILES[0]).is_file():
        return folder
    if folder.exists() or where.count("/") != 1 or where.startswith((".", "/", "~")):
        raise ValueError(
            f"--tokenizer {where!r} has no tokenizer.json; give the model's folder or hub name"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(where, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as missing:
        cause = str(missing).strip().split("\n", 1)[0]
        raise ValueError(
            f"--tokenizer {where!r} is no folder here and cannot be fetched: {cause}"
        ) from missing


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty where the file is not there or is none."""
    try:
        return mapping(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def template_of(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the chat template: a file of its own, else the tokenizer's.

    Raises:
        ValueError: there is none.
    """
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    found = config.get("chat_template") or read_json(folder / FILES[3]).get("chat_template")
    if isinstance(found, list):
        named = {mapping(entry).get("name"): mapping(entry).get("template") for entry in found}
        found = named.get("default")
    if not isinstance(found, str):
        raise ValueError(f"--tokenizer {str(folder)!r} has no chat template")
    return found


def rendered(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    template_kwargs: Mapping[str, Any],
) -> str:
    """Render messages, as transformers does: white space, names and filters are its.

    Raises:
        ValueError: the template cannot be read, or refuses the messages.
    """
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = as_json
    environment.globals |= {"raise_exception": refuse, "strftime_now": now_as}
    special = {
        name: token_text(config.get(name)) for name in ("bos_token", "eos_token", "pad_token")
    }
    try:
        return environment.from_string(template).render(
            messages=messages, add_generation_prompt=True, tools=None, documents=None,
            **{**{k: v for k, v in special.items() if v}, **template_kwargs},
        )  # fmt: skip
    except (TemplateError, TypeError, AttributeError) as wrong:
        raise ValueError(f"the chat template of --tokenizer does not render: {wrong}") from wrong


def as_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def refuse(message: str) -> NoReturn:
    """Raise what a template says of messages that it does not take."""
    from jinja2 import TemplateError

    raise TemplateError(message)


def now_as(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)


def token_text(token: Any) -> str:
    """Return the text of a special token, which may be written as an object."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else ""
