"""A scriptable chat completions server on loopback: real HTTP, real streams, faults on demand.

Example, a server that is busy once and then answers with reasoning sent apart:

    with FakeUpstream([busy(retry_after="0"), chat("4", reasoning="2 + 2")]) as server:
        ...  # ask server.url; server.requests holds what came in
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What to send back: `chunks` one by one, `pause_s` before each, then perhaps a reset."""

    status: int = 200
    content_type: str = "application/json"
    chunks: Iterable[bytes] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    reset: bool = False  # close without the end of the body, as a killed server does


Script = Callable[[Received], Answer]


def reply_json(body: Any, **answer: Any) -> Answer:
    return Answer(chunks=[json.dumps(body).encode()], **answer)


def message(
    content: Any, *, reasoning: str | None = None, form: str = "reasoning_content"
) -> dict[str, Any]:
    """Build an assistant message; `form` inline puts the reasoning into the content."""
    if reasoning is None:
        return {"role": "assistant", "content": content}
    if form == "inline":
        return {"role": "assistant", "content": f"<think>{reasoning}</think>{content}"}
    return {"role": "assistant", "content": content, form: reasoning}


def chat(
    content: Any = "ok",
    *,
    reasoning: str | None = None,
    form: str = "reasoning_content",
    finish_reason: str | None = "stop",
    usage: dict[str, Any] | None = None,
    model: str = "fake",
    **answer: Any,
) -> Script:
    """Answer with one completion, streamed if the request asks for that."""
    said = message(content, reasoning=reasoning, form=form)
    usage = usage or {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}

    def script(request: Received) -> Answer:
        if not request.body.get("stream"):
            choice = {"index": 0, "message": said, "finish_reason": finish_reason}
            return reply_json({"model": model, "choices": [choice], "usage": usage}, **answer)
        deltas = [*deltas_of(said), {}]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices[-1]["finish_reason"] = finish_reason
        events: list[Any] = [{"model": model, "choices": [choice]} for choice in choices]
        if (request.body.get("stream_options") or {}).get("include_usage"):
            events.append({"model": model, "choices": [], "usage": usage})
        return stream(events, **answer)

    return script


def deltas_of(said: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Cut a message into deltas of a few characters, the reasoning before the content."""
    for name, value in sorted(said.items(), key=lambda item: item[0] == "content"):
        if isinstance(value, str) and name != "role":
            for start in range(0, len(value), 3):
                yield {name: value[start : start + 3]}
        else:
            yield {name: value}


def stream(events: Iterable[Any], *, done: bool = True, **answer: Any) -> Answer:
    """Send events as server-sent ones; a `bytes` event goes out as it is."""
    chunks = [
        event if isinstance(event, bytes) else f"data: {json.dumps(event)}\n\n".encode()
        for event in events
    ]
    if done:
        chunks.append(b"data: [DONE]\n\n")
    return Answer(content_type="text/event-stream", chunks=chunks, **answer)


def fault(status: int, text: str = "broken", **headers: str) -> Script:
    """Answer with an error status and the usual JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: reply_json({"error": {"message": text}}, status=status, headers=named)


def busy(retry_after: str) -> Script:
    return fault(429, "too many requests", retry_after=retry_after)


def web_page(status: int = 200) -> Script:
    page = b"<html><body>It works!</body></html>"
    return lambda _: Answer(status=status, content_type="text/html", chunks=[page])


def cut_off(request: Received) -> Answer:
    """Send two chunks of a stream and reset the connection."""
    events = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", "b")]
    return stream(events, done=False, reset=True)


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 256


class FakeUpstream:
    """Serves `/v1/models` and chat completions; use as a context manager.

    `script` is one answer for all requests, or a list that is used up in order, its last entry
    again and again. `models` None makes `/v1/models` a 404; a Script answers it as told.
    """

    def __init__(
        self,
        script: Script | Sequence[Script] = chat(),  # noqa: B008 (a fixed answer, never changed)
        models: Sequence[str] | Mapping[str, Any] | Script | None = ("fake",),
    ) -> None:
        self.scripts = list(script) if isinstance(script, Sequence) else [script]
        self.models = models
        self.received: list[Received] = []
        self.n_at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), handler_for(self))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def requests(self) -> list[Received]:
        """The chat requests so far, in the order in which they came."""
        return [request for request in self.received if request.method == "POST"]

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: Received) -> Answer:
        """Note the request and look up its answer."""
        with self.lock:
            self.received.append(request)
            if request.method == "POST":
                script = self.scripts[0] if len(self.scripts) == 1 else self.scripts.pop(0)
        if request.method == "POST":
            return script(request)
        return self.listing(request)

    def listing(self, request: Received) -> Answer:
        """Answer a GET."""
        if callable(self.models):
            return self.models(request)
        if request.path != "/v1/models" or self.models is None:
            return reply_json({"error": {"message": "not found"}}, status=404)
        if isinstance(self.models, Mapping):
            return reply_json(self.models)
        listed = [{"id": name, "object": "model"} for name in self.models]
        return reply_json({"object": "list", "data": listed})


def handler_for(upstream: FakeUpstream) -> type[BaseHTTPRequestHandler]:
    """Build the request handler of one server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def do_GET(self) -> None:
            self.respond()

        def do_POST(self) -> None:
            self.respond()

        def respond(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            headers = {name.lower(): value for name, value in self.headers.items()}
            with upstream.lock:
                upstream.n_at_once += 1
                upstream.most_at_once = max(upstream.most_at_once, upstream.n_at_once)
            try:
                answer = upstream.answer(Received(self.command, self.path, headers, body))
                with contextlib.suppress(ConnectionError):
                    self.send(answer)
            finally:
                with upstream.lock:
                    upstream.n_at_once -= 1

        def send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("content-type", answer.content_type)
            self.send_header("transfer-encoding", "chunked")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for chunk in answer.chunks:
                time.sleep(answer.pause_s)
                self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                self.wfile.flush()
            if answer.reset:
                # Linger of zero seconds: the client sees a reset, not an orderly end.
                option = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
                self.close_connection = True
                return
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output quiet."""

    return Handler
