"""What is asked and answered in the benchmark: requests, answers and streams, the same on each run.

Owns every byte that the upstream sends and the load generator expects; both render it for
themselves, so nothing is told between them. Refuses to own sockets and time.

    asked = request("json-4k", variant=3)        # a chat request of some 700 bytes
    WORKLOADS["json-4k"].answer(3).body          # the only body that is right for it

An answer comes in variants, chosen by the request's `seed`: a proxy that mixes up two connections
sends a wrong answer, which a single pre-rendered one would hide.
"""

from __future__ import annotations

import functools
import json
import random
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

N_VARIANTS = 16
CREATED = 1_760_000_000
PROSE = (
    "the a of to and in that is we have so this which first then therefore because each sum "
    "number value follows step equation triangle both sides divide by two remainder prime factor "
    "let us check case again total length angle area train hour distance speed answer equals"
)
QUESTION = (
    "A train leaves the station at 9:40 and travels 210 km at a constant speed. A second train "
    "leaves 25 minutes later from the same station, on a parallel track, and is 14 km/h faster. "
    "At what time does the second train pass the first, and how far from the station are they?"
)
MODEL = re.compile(rb'"model"\s*:\s*"([^"]+)"')
SEED = re.compile(rb'"seed"\s*:\s*(\d+)')
MERGED_BYTES = 16 * 1024


class Answer(NamedTuple):
    """One variant: what goes over the wire, and what the client must end up with."""

    pieces: tuple[bytes, ...]
    """As written, head and chunk framing included; a stream's are its events, unless merged."""
    body: bytes
    text: str
    """The model's words, for peers that render an answer anew."""


@dataclass(frozen=True)
class Workload:
    """One shape of traffic."""

    name: str
    title: str
    n_bytes: int = 0
    """Of an unstreamed answer's body, about."""
    n_chunks: int = 0
    """Events of a stream that carry text; 0 for an unstreamed answer."""
    gap_s: float = 0.0
    """Between two events; 0 sends them as fast as they are taken."""
    merged: bool = False
    """Many events to a write, which leaves a proxy that looks at none of them little to do."""
    concurrencies: tuple[int, ...] = (1, 64)

    @property
    def is_stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.n_chunks > 0

    @functools.cache  # noqa: B019 (there are a handful of workloads, for the whole run)
    def answer(self, variant: int) -> Answer:
        """Return one of the answers, rendered once."""
        return streamed(self, variant) if self.is_stream else unstreamed(self, variant)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("json-4k", "4 KB of JSON", n_bytes=4_000),
        Workload("json-100k", "100 KB of JSON", n_bytes=100_000),
        Workload("burst", "bursts of 400 chunks", n_chunks=400),
        Workload("burst-merged", "400 chunks in writes of 16 KB", n_chunks=400, merged=True),
        Workload("slow", "100 chunks, 20 ms apart", n_chunks=100, gap_s=0.02, concurrencies=(64,)),
    )
}


def request(workload: str, variant: int) -> bytes:
    """Return the request that asks for one variant of a workload's answer, head and body."""
    body = {
        "model": workload,
        "messages": [
            {"role": "system", "content": "Reason step by step, then state the answer."},
            {"role": "user", "content": QUESTION},
        ],
        "temperature": 0.6,
        "max_tokens": 32768,
        "seed": variant,
        "stream": WORKLOADS[workload].is_stream,
    }
    data = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
        "Authorization: Bearer sk-benchmark\r\nUser-Agent: proxy-benchmark\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def answer_to(body: bytes) -> tuple[Workload, Answer] | None:
    """Return what a request body asks for; None when it is no request of ours."""
    model, seed = MODEL.search(body), SEED.search(body)
    if model is None or seed is None or (workload := WORKLOADS.get(model[1].decode())) is None:
        return None
    return workload, workload.answer(int(seed[1]) % N_VARIANTS)


def head(status: str, fields: str) -> bytes:
    """Return an answer's head, with the fields that model servers send."""
    return (
        f"HTTP/1.1 {status}\r\ndate: Thu, 09 Oct 2025 08:53:20 GMT\r\nserver: uvicorn\r\n"
        f"{fields}\r\n\r\n"
    ).encode()


def completion_id(variant: int) -> str:
    """Return an id as servers make them."""
    return f"chatcmpl-{random.Random(variant).randbytes(16).hex()}"


def words(workload: Workload, variant: int) -> list[str]:
    """Return enough words of prose for a workload, another text in each variant."""
    chosen, known = random.Random(f"{workload.name} {variant}"), PROSE.split()
    n_words = workload.n_chunks or workload.n_bytes // 4
    return [
        chosen.choice(known) + (".\n" if number % 17 == 16 else " ") for number in range(n_words)
    ]


def unstreamed(workload: Workload, variant: int) -> Answer:
    """Render an answer that comes in one piece."""
    text = "".join(words(workload, variant))[: workload.n_bytes - 400].strip()
    message: dict[str, Any] = {"role": "assistant", "content": text}
    body = json.dumps(
        {
            "id": completion_id(variant),
            "object": "chat.completion",
            "created": CREATED,
            "model": workload.name,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 96, "completion_tokens": 900, "total_tokens": 996},
        }
    ).encode()
    fields = f"content-length: {len(body)}\r\ncontent-type: application/json"
    return Answer((head("200 OK", fields) + body,), body, text)


def streamed(workload: Workload, variant: int) -> Answer:
    """Render a stream; its last event and [DONE] go with the last text."""
    parts = words(workload, variant)
    events = [event(workload, variant, {"content": part}, None) for part in parts]
    events[0] = event(workload, variant, {"role": "assistant", "content": parts[0]}, None)
    tail = (event(workload, variant, {}, "stop"), b"data: [DONE]\n\n")
    fields = "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked"
    pieces = [framed(data) for data in events]
    pieces[0] = head("200 OK", fields) + pieces[0]
    pieces[-1] += b"".join(framed(data) for data in tail) + b"0\r\n\r\n"
    if workload.merged:
        pieces = merged(pieces)
    return Answer(tuple(pieces), b"".join((*events, *tail)), "".join(parts))


def merged(pieces: list[bytes]) -> list[bytes]:
    """Join pieces into such as are written at once."""
    blocks = [b""]
    for piece in pieces:
        if len(blocks[-1]) >= MERGED_BYTES:
            blocks.append(b"")
        blocks[-1] += piece
    return blocks


def event(workload: Workload, variant: int, delta: dict[str, str], finish: str | None) -> bytes:
    """Return one event of a chat stream, some 200 bytes."""
    chunk = {
        "id": completion_id(variant),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": workload.name,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def framed(data: bytes) -> bytes:
    """Return a piece of a body as one chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def text_of(body: bytes) -> str:
    """Return the model's words in an answer that a peer has rendered anew; "" where it is none."""
    try:
        if not body.startswith(b"data:"):
            return str(json.loads(body)["choices"][0]["message"]["content"])
        lines = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
        if not lines or lines[-1] != b"[DONE]":
            return ""
        choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
