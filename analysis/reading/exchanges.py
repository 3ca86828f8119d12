"""An exchange of the log in sizes and keys, and the reading of log files for those that may count.

Owns what is kept of an exchange. Refuses to own the log's format (`proxy.exchange`) and which
sample an exchange belongs to (`joining`). A log of any size is read once, a line at a time and by
two processes where it is large; an exchange that no sample can have asked for is counted and
dropped, and of the others sizes and hashes are written to a part file, not the texts.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from analysis.reading.asked import LONGEST, digest, short
from analysis.reading.lines import Piece, Row, rows_of
from analysis.reading.measure import count_of, measure, text_key
from analysis.reading.quality import FOREIGN, INCOMPLETE, TORN, Damage
from analysis.reading.signs import signs_of
from analysis.text import visible
from harness_tasks.reasoning import split
from proxy.exchange import Exchange, Outcome

OPEN_TAG, CLOSE_TAG = "<think>", "</think>"
LENGTH = "length"
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
NOT_SAMPLING = frozenset(("seed", "stream", "stream_options", "user", "n"))
MOST_FIELDS = 200  # sampling fields that are kept one by one
FILE_BYTES = 2**44  # more than a log file has: file number and byte make one number

COLUMNS = {
    "n": "BIGINT",  # file number * FILE_BYTES + byte: the order of the log
    "request": "VARCHAR",  # this and the next three are hashes
    "messages": "VARCHAR",
    "texts": "VARCHAR[]",
    "models": "VARCHAR[]",
    "truncated": "BOOLEAN",
    "completion_tokens": "BIGINT",
    "prompt_tokens": "BIGINT",
    "reasoning_chars": "BIGINT",
    "reasoning_words": "BIGINT",
    "answer_chars": "BIGINT",
    "answer_words": "BIGINT",
    "finish_reason": "VARCHAR",
    "duration_s": "DOUBLE",
    "ttft_s": "DOUBLE",
    "looped": "BOOLEAN",
    "behaviours": "INTEGER[]",
    "sampling": "VARCHAR",  # JSON
}
"""What is kept of an exchange, with DuckDB's types."""


class LogPiece(NamedTuple):
    """A piece of a log, the number of its file, and the part file that its exchanges go to."""

    piece: Piece
    file: int
    part: Path


@dataclass
class LogPart:
    """What a piece of a log held beside the exchanges that it wrote to its part file."""

    damage: Damage = field(default_factory=Damage)
    counts: Counter[str] = field(default_factory=Counter)
    schemas: Counter[int] = field(default_factory=Counter)
    n_lines: int = 0


def read_log_piece(task: LogPiece, wanted: Collection[int]) -> LogPart:
    """Read a piece of a log; `wanted` are the marks of what samples may ask for."""
    found = LogPart()
    with task.part.open("wb") as out:
        for row in rows_of(task.piece):
            found.n_lines = row.line
            exchange = usable(row, found)
            if exchange is None:
                continue
            found.schemas[exchange.schema] += 1
            if exchange.outcome != Outcome.COMPLETE:
                found.counts[INCOMPLETE] += 1
                continue
            found.counts["complete"] += 1
            keys = (exchange.request_id, exchange.messages_sha256 or "")
            if any(mark(key) in wanted for key in keys):
                out.write(orjson.dumps(described(exchange, task.file * FILE_BYTES + row.at)))
                out.write(b"\n")
    return found


def usable(row: Row, found: LogPart) -> Exchange | None:
    """Return a line's exchange; count it where it is none."""
    fault = row.fault
    if row.value is not None:
        try:
            return Exchange.from_json(row.value)
        except ValueError as bad:
            found.damage.add(FOREIGN, row.line, str(bad))
    elif fault is not None:
        found.damage.add(fault.kind, row.line, fault.text)
        found.counts[TORN] += fault.kind == TORN
    return None


def mark(key: str) -> int:
    """Return a small number for a key: unequal ones mean unequal keys, and that is all."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass"))


def described(exchange: Exchange, n: int) -> dict[str, Any]:
    """Return what is kept of an exchange, by the names of COLUMNS."""
    content, reasoning = exchange.content or "", exchange.reasoning
    usage = exchange.usage or {}
    tokens = count_of(usage.get("completion_tokens"))
    limits = [count_of(exchange.sampling.get(name)) for name in TOKEN_LIMITS]
    limit = next((one for one in limits if one is not None), None)
    at_limit = tokens is not None and limit is not None and tokens >= limit
    parts = split(content, reasoning=reasoning, finish_reason=exchange.finish_reason)
    volume = measure(parts.reasoning, parts.answer_text)
    signs = signs_of(parts.reasoning, parts.answer_text)
    return {
        "n": n,
        "request": digest(exchange.request_id),
        "messages": exchange.messages_sha256 and visible(exchange.messages_sha256[:LONGEST]),
        "texts": [text_key(one) for one in texts_of(content, reasoning)],
        "models": [
            digest(name) for name in (exchange.model_served, exchange.model_requested) if name
        ],
        "truncated": exchange.finish_reason == LENGTH or at_limit or parts.state == "unclosed",
        "completion_tokens": tokens,
        "prompt_tokens": count_of(usage.get("prompt_tokens")),
        "reasoning_chars": volume.reasoning_chars,
        "reasoning_words": volume.reasoning_words,
        "answer_chars": volume.answer_chars,
        "answer_words": volume.answer_words,
        "finish_reason": exchange.finish_reason and visible(exchange.finish_reason[:LONGEST]),
        "duration_s": seconds_of(exchange.duration_s),
        "ttft_s": seconds_of(exchange.ttft_s),
        "looped": signs.looped,
        "behaviours": list(signs.counts),
        "sampling": sampling_text(exchange.sampling),
    }


def texts_of(content: str, reasoning: str | None) -> list[str]:
    """Return the forms in which a client may have kept a reply: content alone, or with its tags."""
    if not reasoning:
        return [content]
    return [
        content,
        f"{OPEN_TAG}{reasoning}{CLOSE_TAG}{content}",
        *([] if content else [f"{OPEN_TAG}{reasoning}"]),
    ]


def seconds_of(value: float | None) -> float | None:
    """Return a time that the log gives, None where it is none."""
    return float(value) if value is not None and 0 <= value < math.inf and value < 1e12 else None


def sampling_text(sampling: dict[str, Any]) -> str:
    """Return the sampling as JSON in which a long value is its beginning and its hash."""
    told = {name[:LONGEST]: one for name, one in sampling.items() if name not in NOT_SAMPLING}
    if len(told) > MOST_FIELDS:
        return json.dumps({"sampling": short(told)})
    return json.dumps({name: short(value) for name, value in told.items()})
