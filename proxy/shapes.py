"""Which requests get a record, and how answers of other shapes are made to look like chat chunks.

Owns the generation endpoints and the shapes of llama.cpp's `/completion` and OpenAI's
`/v1/responses`. Refuses to own merging (message): a reader here turns one JSON value of an answer
into one chunk of chat completions, and chat completions themselves need no reader.

    >>> LlamaReader()({"index": 0, "content": "4", "stop": False})
    {'choices': [{'index': 0, 'finish_reason': None, 'delta': {'content': '4'}}]}

Values of unexpected types pass through to the builder, which leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from proxy.responses import ResponsesReader

LLAMA_OWN = frozenset(
    {"choices", "completion_probabilities", "content", "index", "prompt", "stop", "tokens"}
)
"""What has a place of its own; `prompt` repeats the request's."""


class Reader(Protocol):
    """Turns the values of one answer into chunks; `ended` once the answer says it is whole."""

    ended: bool

    def __call__(self, value: Any) -> Any:
        """Return the chunk that means the same."""
        ...


class LlamaReader:
    """llama.cpp's own completions; answers in OpenAI's form pass as they are."""

    def __init__(self) -> None:
        self.ended = False

    def __call__(self, value: Any) -> Any:
        """Return the chunk that means the same; a list answers a list of prompts."""
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            chunks = [self(item) for item in value]
            choices = [choice for chunk in chunks for choice in choices_of(chunk)]
            return {**chunks[-1], "choices": choices}
        if not isinstance(value, dict) or "choices" in value or "content" not in value:
            return value
        stopped = value.get("stop") is True
        self.ended |= stopped
        cut = value.get("stop_type") == "limit" or value.get("stopped_limit") is True
        choice: dict[str, Any] = {
            "index": value.get("index"),
            "finish_reason": ("length" if cut else "stop") if stopped else None,
            "delta": {"content": value["content"]},
        }
        if value.get("tokens"):
            choice["delta"]["tokens"] = value["tokens"]
        if value.get("completion_probabilities"):
            choice["logprobs"] = {"content": value["completion_probabilities"]}
        kept = {name: item for name, item in value.items() if name not in LLAMA_OWN}
        return {**kept, "choices": [choice]}


def choices_of(chunk: dict[str, Any]) -> list[Any]:
    """Return a chunk's choices, none where it has no list of them."""
    choices = chunk.get("choices")
    return choices if isinstance(choices, list) else []


class Shape(NamedTuple):
    """What an endpoint's answers look like."""

    chat: bool
    """Whether an answer is a turn of a chat."""
    reader: Callable[[], Reader] | None = None
    """None: chunks of chat completions, or of legacy ones, as they are."""
    end_mark: re.Pattern[bytes] | None = None
    """What the end of a stream without `[DONE]` must hold; only then it is parsed at once."""
    one_prompt_only: bool = False
    """Whether the first end is the answer's end for a single prompt only."""


MARK_CHARS = 64
"""Of an end mark, with white space in it."""
DONE_MARK = rb"data: ?\[DONE\]"
LLAMA_MARK = re.compile(rb'"stop"\s{0,16}:\s{0,16}true|' + DONE_MARK)
RESPONSES_MARK = re.compile(
    rb'"response\.(?:completed|incomplete|failed)"|"type"\s{0,16}:\s{0,16}"error"|' + DONE_MARK
)
CHAT = Shape(chat=True)
LLAMA = Shape(chat=False, reader=LlamaReader, end_mark=LLAMA_MARK, one_prompt_only=True)
RESPONSES = Shape(chat=True, reader=ResponsesReader, end_mark=RESPONSES_MARK)
PATHS = (
    (b"/chat/completions", CHAT),
    (b"/completions", LLAMA),  # OpenAI's legacy form, which the reader lets pass, or llama.cpp's
    (b"/completion", LLAMA),
    (b"/responses", RESPONSES),
)


@lru_cache(maxsize=256)
def shape_of(method: str, target: bytes) -> Shape | None:
    """Return the shape of a request's answers; None for a request that gets no record."""
    if method == "POST":
        path = target.partition(b"?")[0].rstrip(b"/")
        for ending, shape in PATHS:
            if path.endswith(ending):
                return shape
    return None


def answers_one_prompt(request: Any) -> bool:
    """Tell whether a request's answer is a single completion, so that its first end is the end."""
    if not isinstance(request, dict) or not isinstance(request.get("prompt"), str):
        return False
    return all(request.get(name) in (None, 1) for name in ("n", "n_cmpl"))
