"""An OpenAI-compatible server that answers with recorded completions: a tool for demos and tests.

It runs no model. It finds the recorded question in the last user message and sends what a model
once answered, in the wire form asked for. It says so: `owned_by` and `system_fingerprint` name
recordings, and its token counts are estimates (words and punctuation marks, not a tokenizer's).
Sampling fields are accepted and change nothing, but that the sample index (the last part of
`x-request-id`) or else the seed picks among several recordings of one question, around again when
there are fewer recordings than samples.

    python -m proxy.recorded_server --completions demo.jsonl --model demo-base --listen 127.0.0.1:0

A row: {"question": "...", "reasoning": "..." or null, "content": "...", "finish_reason": "stop",
"raw": "the inline text as published" (optional)}.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from proxy.config import parse_listen
from proxy.http1 import REASONS, ResponseHead
from proxy.request import ClientGone, Request
from proxy.server import Handler, Server

MAX_REQUEST_BYTES = 16 * 1024 * 1024
CHUNK_CHARS = 12
"""Some three tokens, and short enough that think tags fall across two chunks."""
FINISH_REASONS = ("stop", "length")
STOP_S = 1.0
FINGERPRINT = "recorded"
OWNER = "recorded-completions"
TOKEN = re.compile(r"\w+|[^\w\s]")


class Form(StrEnum):
    """Where the reasoning stands in an answer."""

    INLINE = "inline"
    REASONING_CONTENT = "reasoning_content"
    REASONING = "reasoning"


class RequestError(Exception):
    """A request that gets an error status; the message is for its sender."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Recording:
    """One recorded completion."""

    question: str
    reasoning: str | None
    content: str
    finish_reason: str
    raw: str | None

    def inline(self) -> str:
        """Return the completion as one text, the reasoning in think tags."""
        if self.raw is not None:
            return self.raw
        if self.reasoning is None:
            return self.content
        if self.finish_reason == "length" and not self.content:
            return f"<think>{self.reasoning}"  # cut off while thinking: the tag never closed
        return f"<think>{self.reasoning}</think>{self.content}"

    def fields(self, form: Form) -> list[tuple[str, str]]:
        """Return the message's text fields in the order in which they are sent."""
        if form is Form.INLINE:
            return [("content", self.inline())]
        reasoning = [] if self.reasoning is None else [(form.value, self.reasoning)]
        return [*reasoning, ("content", self.content)]


@dataclass(frozen=True)
class Library:
    """The recordings of one model and how they are sent."""

    model: str
    form: Form
    by_question: dict[str, list[Recording]]
    """The longest question first."""
    delay_s: float = 0.0
    chunk_chars: int = CHUNK_CHARS

    def find(self, text: str) -> list[Recording]:
        """Return the recordings of the longest question that the text contains.

        Raises:
            RequestError: there is none.
        """
        for question, recordings in self.by_question.items():
            if question in text:
                return recordings
        raise RequestError(
            404,
            f"no recording answers this question: {text[:120]!r}; this server replays "
            f"{len(self.by_question)} recorded questions and runs no model",
        )


def read_recordings(path: Path) -> dict[str, list[Recording]]:
    """Read and check a file of recordings, by question, the longest first.

    Raises:
        ValueError: unreadable file, no rows, or a bad row, named by file and line.
    """
    found: dict[str, list[Recording]] = {}
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    recording = read_row(line, f"{path}:{number}")
                    found.setdefault(recording.question, []).append(recording)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--completions {str(path)!r} cannot be read: {error}") from error
    if not found:
        raise ValueError(f"--completions {str(path)!r} holds no recordings")
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def read_row(line: str, where: str) -> Recording:
    """Check one row.

    Raises:
        ValueError: not a JSON object, or a field that is missing or of a wrong type or value.
    """
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a row must be a JSON object, got {type(row).__name__}")
    for name in ("question", "content"):
        if not isinstance(row.get(name), str):
            raise ValueError(f"{where}: {name} must be a text, got {row.get(name)!r:.60}")
    for name in ("reasoning", "raw"):
        if not isinstance(row.get(name), str | None):
            raise ValueError(f"{where}: {name} must be a text or null, got {row.get(name)!r:.60}")
    if not row["question"].strip():
        raise ValueError(f"{where}: question must not be empty")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: a lone surrogate cannot be sent: {error}") from error
    finish_reason = row.get("finish_reason", "stop")
    if finish_reason not in FINISH_REASONS:
        raise ValueError(
            f"{where}: finish_reason must be {' or '.join(FINISH_REASONS)}, got {finish_reason!r}"
        )
    return Recording(
        row["question"].strip(), row.get("reasoning"), row["content"], finish_reason, row.get("raw")
    )


def create_handler(library: Library) -> Handler:
    """Return what answers each request from the recordings."""

    async def handle(request: Request) -> None:
        try:
            await answer(library, request)
        except RequestError as error:
            kind = "not_found_error" if error.status == 404 else "invalid_request_error"
            request.refuse(error.status, str(error), kind)
        except ClientGone:
            return

    return handle


async def answer(library: Library, request: Request) -> None:
    """Answer one request.

    Raises:
        RequestError: it is refused.
    """
    path = request.head.target.partition(b"?")[0].decode("latin-1")
    route = (request.head.method, path.rstrip("/"))
    if route == ("GET", "/health"):
        request.answer_json(200, {"status": "ok"})
    elif route == ("GET", "/v1/models"):
        card = {"id": library.model, "object": "model", "created": 0, "owned_by": OWNER}
        request.answer_json(200, {"object": "list", "data": [card]})
    elif route == ("POST", "/v1/chat/completions"):
        await complete(library, request, await read_json(request))
    else:
        raise RequestError(
            404,
            f"no route {request.head.method} {path}; this server has GET /v1/models, "
            "GET /health and POST /v1/chat/completions",
        )


async def read_json(request: Request) -> dict[str, Any]:
    """Return the request's JSON object.

    Raises:
        RequestError: too large, not JSON, not an object.
        ClientGone: it broke off.
    """
    body = b""
    request.invite()
    while piece := await request.read():
        body += piece
        if len(body) > MAX_REQUEST_BYTES:
            raise RequestError(413, f"the request is larger than {MAX_REQUEST_BYTES} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the request is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(400, "the request must be a JSON object")
    return value


async def complete(library: Library, request: Request, asked: dict[str, Any]) -> None:
    """Send the recording that a chat request asks for.

    Raises:
        RequestError: another model, no user message, an unknown question.
    """
    model = asked.get("model", library.model)
    if model != library.model:
        raise RequestError(404, f"model {model!r:.100} is not served; it is {library.model!r}")
    recordings = library.find(last_user_text(asked.get("messages")))
    recording = recordings[sample_index(request, asked) % len(recordings)]
    base = {
        "id": f"recorded-{request_id(request)}",
        "created": int(time.time()),
        "model": library.model,
        "system_fingerprint": FINGERPRINT,
    }
    usage = estimated_usage(asked["messages"], recording)
    if asked.get("stream") is not True:
        message = {"role": "assistant", **dict(recording.fields(library.form))}
        choice = {"index": 0, "message": message, "finish_reason": recording.finish_reason}
        whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        await asyncio.sleep(library.delay_s)
        request.answer_json(200, whole)
        return
    options = asked.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    chunks = stream_chunks(recording, library, usage if with_usage else None)
    await send_stream(request, base, chunks, library.delay_s)


def last_user_text(messages: object) -> str:
    """Return the text of the last user message.

    Raises:
        RequestError: there is none.
    """
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            return "".join(text for text in texts if isinstance(text, str))
    raise RequestError(400, "messages must be a list that holds a user message")


def sample_index(request: Request, asked: dict[str, Any]) -> int:
    """Return which sample is asked for: the request id's last part, else the seed, else 0."""
    tail = request_id(request).rpartition("/")[2]
    if tail.isascii() and tail.isdigit():
        return int(tail[:18])
    seed = asked.get("seed")
    return seed if isinstance(seed, int) else 0


def request_id(request: Request) -> str:
    """Return the request id that the client sent, "" when it sent none."""
    for name, value in request.head.headers:
        if name.lower() == b"x-request-id":
            return value.decode("latin-1")
    return ""


def estimated_usage(messages: list[Any], recording: Recording) -> dict[str, Any]:
    """Return token counts, estimated as words and punctuation marks."""
    texts = [item.get("content") for item in messages if isinstance(item, dict)]
    n_prompt = sum(count_tokens(text) for text in texts if isinstance(text, str))
    n_completion = count_tokens(recording.inline())
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_completion,
        "total_tokens": n_prompt + n_completion,
        "estimated": True,
    }


def count_tokens(text: str) -> int:
    """Count words and punctuation marks."""
    return sum(1 for _ in TOKEN.finditer(text))


def stream_chunks(
    recording: Recording, library: Library, usage: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """Yield what each chunk of a stream adds: role, text pieces, finish_reason, usage if asked."""
    yield {"choices": [choice_of({"role": "assistant", "content": ""})]}
    size = library.chunk_chars
    for name, text in recording.fields(library.form):
        for start in range(0, len(text), size):
            yield {"choices": [choice_of({name: text[start : start + size]})]}
    yield {"choices": [choice_of({}, recording.finish_reason)]}
    if usage is not None:
        yield {"choices": [], "usage": usage}


def choice_of(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """Return a stream's only choice."""
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


async def send_stream(
    request: Request, base: dict[str, Any], chunks: Iterator[dict[str, Any]], delay_s: float
) -> None:
    """Send chunks as server-sent events, one network write each.

    Raises:
        ClientGone: the client stopped reading.
    """
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
    ]
    request.start(ResponseHead(200, REASONS[200], headers))
    for chunk in chunks:
        whole = {**base, "object": "chat.completion.chunk", **chunk}
        request.write(b"data: " + json.dumps(whole, ensure_ascii=False).encode() + b"\n\n")
        await request.drain()
        await asyncio.sleep(delay_s)  # 0 too: other requests get their turn
    request.write(b"data: [DONE]\n\n", last=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--completions",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="JSON lines of recordings.",
)
@click.option("--model", required=True, metavar="NAME", help="The model name to serve them under.")
@click.option(
    "--form",
    type=click.Choice([form.value for form in Form]),
    default=Form.INLINE.value,
    show_default=True,
    help="Where the reasoning goes: think tags in content, or a field of its own.",
)
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT")
@click.option(
    "--delay-ms",
    type=click.FloatRange(0, 60_000),
    default=0.0,
    show_default=True,
    help="Pause after each chunk of a stream, or before an unstreamed answer.",
)
@click.option(
    "--chunk-chars",
    type=click.IntRange(1, 1_000_000),
    default=CHUNK_CHARS,
    show_default=True,
    help="Characters in each chunk of a stream.",
)
def main(
    completions: Path, model: str, form: str, listen: str, delay_ms: float, chunk_chars: int
) -> None:
    """Serve recorded completions as an OpenAI-compatible server, for demos and tests."""
    import uvloop

    from proxy.serve import address_of, serve
    from proxy.serve import listen as open_listener

    try:
        recordings = read_recordings(completions)
        listener = open_listener(parse_listen(listen))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    library = Library(model, Form(form), recordings, delay_ms / 1000, chunk_chars)
    with listener:
        line = f"listening on {address_of(listener).url}"
        server = Server(create_handler(library))
        uvloop.run(serve(server, listener, lambda: print(line, flush=True), STOP_S))


if __name__ == "__main__":
    main(prog_name="recorded-server")
