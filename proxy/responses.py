"""Answers of OpenAI's `/v1/responses` as chunks of chat completions.

Owns that translation, streamed and not. Refuses to own merging the chunks (message).

    >>> ResponsesReader()({"type": "response.output_text.delta", "delta": "4"})
    {'choices': [{'index': 0, 'delta': {'content': '4'}, 'logprobs': None}]}

What becomes of an answer: the text of all message items is the content, that of reasoning items the
reasoning (their summary where there is no text, beside it where there is), function calls are
tool_calls with `call_id` as id, items of other types are kept whole under `output_items`. Texts are
joined as they come, without anything between. All other fields of the response (status, ids, the
settings in force) are kept as they are. Left out: ids of items, `encrypted_content`.

finish_reason: `tool_calls` or `stop` for status completed, `length` for max_output_tokens, else the
reason or the status itself; the status stays in the record besides.
"""

from __future__ import annotations

from typing import Any

DELTAS = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning_summary",
}
PARTS = {
    "output_text": "content",
    "text": "content",
    "refusal": "refusal",
    "reasoning_text": "reasoning",
    "summary_text": "reasoning_summary",
}
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
BEGINNING = frozenset({"response.created", "response.in_progress", "response.queued"})
RUNNING = frozenset({"in_progress", "queued"})
LENGTH_REASONS = frozenset({"max_output_tokens", "max_tokens"})


class ResponsesReader:
    """Reads the events of one stream, or one whole answer."""

    def __init__(self) -> None:
        self.ended = False
        self.streamed: set[str] = set()
        """Fields whose text came in deltas; the last event repeats it."""
        self.calls: set[int] = set()
        """Items that are function calls which came before the last event."""
        self.argued: set[int] = set()
        """Those whose arguments came."""

    def __call__(self, value: Any) -> Any:
        """Return the chunk that means the same; {} for an event that adds nothing."""
        if not isinstance(value, dict):
            return value
        kind = value.get("type")
        if not isinstance(kind, str):
            return self.whole(value) if isinstance(value.get("output"), list) else value
        if kind in DELTAS:
            return self.text(DELTAS[kind], value)
        if kind in TERMINAL:
            response = value.get("response")
            return self.whole(response) if isinstance(response, dict) else response
        if kind == "error":
            self.ended = True
            return {"error": {name: item for name, item in value.items() if name != "type"}}
        return self.other_event(kind, value)

    def other_event(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """Return the chunk of an event that is neither text nor the end."""
        if kind in BEGINNING:
            response = value.get("response")
            names = ("id", "model", "status")
            if isinstance(response, dict):
                return {name: response.get(name) for name in names}
            return {}
        if kind == "response.output_item.added":
            item = value.get("item")
            if isinstance(item, dict) and item.get("type") == "function_call":
                return delta_chunk({"tool_calls": [self.call(item, value.get("output_index"))]})
        elif kind == "response.function_call_arguments.delta":
            return self.arguments(value, value.get("delta"))
        elif (
            kind == "response.function_call_arguments.done"
            and position(value.get("output_index")) not in self.argued
        ):
            return self.arguments(value, value.get("arguments"))
        return {}

    def text(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        """Return the chunk of a text's piece."""
        self.streamed.add(name)
        logprobs = value.get("logprobs")
        return delta_chunk({name: value.get("delta")}, {"content": logprobs} if logprobs else None)

    def call(self, item: dict[str, Any], index: Any) -> dict[str, Any]:
        """Return a function call as chat completions have it."""
        at = position(index)
        self.calls.add(at)
        if item.get("arguments"):
            self.argued.add(at)
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        return {"index": at, "id": item.get("call_id"), "type": "function", "function": function}

    def arguments(self, value: dict[str, Any], piece: Any) -> dict[str, Any]:
        """Return the chunk of a piece of a function call's arguments."""
        at = position(value.get("output_index"))
        self.argued.add(at)
        self.calls.add(at)
        return delta_chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})

    def whole(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a whole response as one chunk, without what has been streamed before."""
        self.ended = True
        output = response.get("output")
        texts: dict[str, list[str]] = {}
        delta: dict[str, Any] = {"tool_calls": [], "output_items": [], "annotations": []}
        logprobs: list[Any] = []
        for at, item in enumerate(output if isinstance(output, list) else []):
            kind = item.get("type") if isinstance(item, dict) else None
            if kind in ("message", "reasoning"):
                for part in parts_of(item):
                    self.take_part(part, texts, delta["annotations"], logprobs)
            elif kind != "function_call":
                delta["output_items"].append(item)
            elif at not in self.calls:
                delta["tool_calls"].append(self.call(item, at))
        delta |= {name: "".join(found) for name, found in texts.items()}
        kept = {name: item for name, item in response.items() if name not in ("output", "choices")}
        choice = {
            "index": 0,
            "finish_reason": finish_reason(response, bool(self.calls)),
            "delta": delta,
            "logprobs": {"content": logprobs} if logprobs else None,
        }
        return {**kept, "choices": [choice]}

    def take_part(
        self,
        part: dict[str, Any],
        texts: dict[str, list[str]],
        annotations: list[Any],
        logprobs: list[Any],
    ) -> None:
        """Sort a part of an item into its field."""
        kind = part.get("type")
        name = PARTS.get(kind) if isinstance(kind, str) else None
        if isinstance(part.get("annotations"), list):
            annotations += part["annotations"]
        if name is None or name in self.streamed:
            return
        text = part.get(kind) if kind == "refusal" else part.get("text")
        if isinstance(text, str):
            texts.setdefault(name, []).append(text)
        if isinstance(part.get("logprobs"), list):
            logprobs += part["logprobs"]


def position(index: Any) -> int:
    """Return an index that may be anything."""
    return index if isinstance(index, int) else 0


def parts_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of an item's summary and content."""
    lists = [item.get("summary"), item.get("content")]
    return [
        part
        for parts in lists
        if isinstance(parts, list)
        for part in parts
        if isinstance(part, dict)
    ]


def delta_chunk(delta: dict[str, Any], logprobs: Any = None) -> dict[str, Any]:
    """Return a chunk of one choice."""
    return {"choices": [{"index": 0, "delta": delta, "logprobs": logprobs}]}


def finish_reason(response: dict[str, Any], called: bool) -> str | None:
    """Return why a response stopped, in the words of chat completions."""
    status = response.get("status")
    if not isinstance(status, str) or status in RUNNING:
        return None
    if status == "completed":
        return "tool_calls" if called else "stop"
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if not isinstance(reason, str):
        return status
    return "length" if reason in LENGTH_REASONS else reason
