"""Joining samples with the proxy's log: what really went over the wire for each of them.

Owns the index of logged exchanges and the choice of one for a sample: by request id, else by the
hash of the messages together with the text that came back. Refuses to own the log's format
(`proxy.exchange`). A log of many gigabytes is read once and line by line; of each exchange the
index keeps sizes and hashes, not the texts.

    index = ExchangeIndex.read([Path("runs/base-log")])
    wire = index.find(Wanted(("base/distill_math500/0/0",), None, "...", ("my-model",)), Taken())
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from analysis.reading.signs import Signs, signs_of
from harness_tasks.reasoning import split
from proxy.exchange import Exchange, Outcome, find_logs, read_exchanges

OPEN_TAG, CLOSE_TAG = "<think>", "</think>"
LENGTH = "length"
LARGEST_COUNT = 2**53  # beyond it a float is no longer exact; no completion is so long
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Volume:
    """How much one completion reasoned and answered."""

    reasoning_chars: int
    reasoning_words: int
    answer_chars: int
    answer_words: int


@dataclass(frozen=True, slots=True)
class Wire:
    """What the log says of one exchange, in the sizes that a report needs."""

    request_id: str
    messages_key: str
    text_keys: tuple[str, ...]
    models: tuple[str, ...]
    truncated: bool
    completion_tokens: int | None
    volume: Volume
    sampling: dict[str, Any]
    finish_reason: str | None
    prompt_tokens: int | None
    duration_s: float
    ttft_s: float | None
    signs: Signs


class Wanted(NamedTuple):
    """What is known of a sample whose exchange is looked for."""

    request_ids: tuple[str, ...]
    messages_key: str | None
    text: str | None
    models: tuple[str, ...]  # every name of the model, () where the files do not tell

    def may_be(self, wire: Wire) -> bool:
        """Say whether the exchange is one of the sample's model, as far as both tell."""
        return not self.models or not wire.models or bool({*self.models} & {*wire.models})


@dataclass(frozen=True)
class Taken:
    """Exchanges that are some sample's own, so that no other sample is given them by their text."""

    request_ids: set[str] = field(default_factory=set)
    wires: set[int] = field(default_factory=set)  # id() of those that were found by text

    def holds(self, wire: Wire) -> bool:
        """Say whether the exchange is taken."""
        return id(wire) in self.wires or wire.request_id in self.request_ids


@dataclass(frozen=True)
class ExchangeIndex:
    """The exchanges of the given logs, by request id and by messages."""

    by_request: dict[str, list[Wire]] = field(default_factory=lambda: defaultdict(list))
    by_messages: dict[str, list[Wire]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, logs: Iterable[Path]) -> ExchangeIndex:
        """Read the logs: folders of `exchanges-*.jsonl[.gz]`, such files, or patterns.

        Raises:
            ValueError: no log there, or a damaged one.
        """
        index = cls()
        files = dict.fromkeys(file.resolve() for log in logs for file in find_logs(log))
        if not files:
            return index
        reader = read_exchanges(files)
        try:
            for exchange in reader:
                index.add(exchange)
        except (EOFError, OSError, zlib.error) as bad:
            raise ValueError(f"damaged exchange log after record {reader.n_read}: {bad}") from bad
        for path in reader.torn:
            if path.suffix != ".jsonl":  # of a packed log nobody knows how much is gone
                raise ValueError(f"damaged exchange log {path}: it is cut off")
        index.counts["torn"] = reader.n_torn
        return index

    def add(self, exchange: Exchange) -> None:
        """Take one exchange into the index; one without a whole reply is only counted."""
        if exchange.outcome != Outcome.COMPLETE:
            self.counts["incomplete"] += 1
            return
        wire = describe(exchange)
        self.counts["complete"] += 1
        self.by_request[wire.request_id].append(wire)
        if wire.messages_key:
            self.by_messages[wire.messages_key].append(wire)

    def find(self, wanted: Wanted, taken: Taken) -> Wire | None:
        """Return the exchange of a sample, or None.

        A request id decides; where several requests had one id (a retry, a second run), the text
        does, and of equal texts the last. Without an id, messages and text must both be equal, and
        an exchange serves one sample only: those in `taken` are passed over, and the one returned
        joins them. An exchange of another model is never taken.
        """
        key = text_key(wanted.text) if wanted.text is not None else None
        for request_id in wanted.request_ids:
            wires = self.by_request.get(request_id, [])
            own = [wire for wire in wires if wanted.may_be(wire)]
            self.counts["other model"] += bool(wires and not own)
            if own:
                chosen = max(reversed(own), key=lambda wire: key in wire.text_keys)
                self.counts["other text"] += key is not None and key not in chosen.text_keys
                return chosen
        if wanted.messages_key is None or key is None:
            return None
        equal = [
            wire
            for wire in self.by_messages.get(wanted.messages_key, ())
            if key in wire.text_keys and not taken.holds(wire) and wanted.may_be(wire)
        ]
        if not wanted.models and len({wire.models for wire in equal}) > 1:
            self.counts["ambiguous"] += 1
            return None
        if not equal:
            return None
        taken.wires.add(id(equal[0]))
        return equal[0]


def describe(exchange: Exchange) -> Wire:
    """Return what the index keeps of an exchange."""
    content, reasoning = exchange.content or "", exchange.reasoning
    tokens = count_of((exchange.usage or {}).get("completion_tokens"))
    limits = [count_of(exchange.sampling.get(name)) for name in TOKEN_LIMITS]
    limit = next((one for one in limits if one is not None), None)
    at_limit = tokens is not None and limit is not None and tokens >= limit
    parts = split(content, reasoning=reasoning, finish_reason=exchange.finish_reason)
    return Wire(
        request_id=exchange.request_id,
        messages_key=exchange.messages_sha256 or "",
        text_keys=tuple(text_key(one) for one in texts_of(content, reasoning)),
        models=tuple(filter(None, (exchange.model_served, exchange.model_requested))),
        truncated=exchange.finish_reason == LENGTH or at_limit or parts.state == "unclosed",
        completion_tokens=tokens,
        volume=measure(parts.reasoning, parts.answer_text),
        sampling=exchange.sampling,
        finish_reason=exchange.finish_reason,
        prompt_tokens=count_of((exchange.usage or {}).get("prompt_tokens")),
        duration_s=exchange.duration_s,
        ttft_s=exchange.ttft_s,
        signs=signs_of(parts.reasoning, parts.answer_text),
    )


def count_of(value: Any) -> int | None:
    """Return a count that a client or server gave, None where it is none."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < LARGEST_COUNT else None


def texts_of(content: str, reasoning: str | None) -> list[str]:
    """Return the forms in which a client may have kept a reply: content alone, or with its tags."""
    if not reasoning:
        return [content]
    return [
        content,
        f"{OPEN_TAG}{reasoning}{CLOSE_TAG}{content}",
        *([] if content else [f"{OPEN_TAG}{reasoning}"]),
    ]


def text_key(text: str) -> str:
    """Return a short key of a completion, blind to blanks around it."""
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()


def measure(reasoning: str, answer_text: str) -> Volume:
    """Return the sizes of the two parts of a completion.

    Blanks around a part do not count, so that one completion has one size in every wire form; words
    are runs of non-blanks.
    """
    return Volume(
        reasoning_chars=len(reasoning.strip()),
        reasoning_words=len(reasoning.split()),
        answer_chars=len(answer_text.strip()),
        answer_words=len(answer_text.split()),
    )
