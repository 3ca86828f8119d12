"""Recorded provider answers through the real proxy: same bytes out, and the record says the same.

What each record should say is read from the fixtures by the few lines here, not by proxy code.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.message import MessageBuilder
from proxy.sse import DONE, SSEParser
from tests.conftest import SHARED, needs_shared
from tests.proxy.conftest import (
    FakeUpstream,
    Gateway,
    as_chunk,
    chunked_head,
    running_proxy,
    whole_answer,
)
from tests.proxy.test_shapes import respond

FOLDER = SHARED / "data" / "outputs" / "api_wire_logs"
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@dataclass(frozen=True)
class Case:
    name: str
    path: str
    body: bytes
    streamed: bool

    @property
    def is_chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON values of a stream, or the one of a whole answer."""
        if not self.streamed:
            return [json.loads(self.body)]
        lines = [line.removeprefix("data:").strip() for line in self.body.decode().split("\n")]
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        choices = [choice for chunk in self.chunks for choice in chunk.get("choices", [])]
        return [choice.get("delta", choice.get("message")) for choice in choices]

    def joined(self, name: str) -> str:
        """A delta field over the stream; of list-typed content its text or thinking parts."""
        texts = []
        for delta in self.deltas:
            value = delta.get("content" if name == "thinking" else name)
            if isinstance(value, list):
                parts = [
                    part for part in value if (part["type"] == "thinking") == (name == "thinking")
                ]
                texts += [
                    part["text"] if name == "content" else part["thinking"][0]["text"]
                    for part in parts
                ]
            elif name != "thinking":
                texts.append(value or "")
        return "".join(texts)

    def last(self, *names: str) -> Any:
        """The last value that is not null of a field, looked for from the choices up."""
        found = None
        for chunk in self.chunks:
            for name in names:
                for holder in (chunk, *chunk.get("choices", [])):
                    found = holder.get(name) or found
        return found


def read(path: Path) -> str:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode()


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []:
        chat = "/v1/chat/completions"
        text = read(path)
        if ".chunks.txt" in path.name:
            lines = [line for line in text.splitlines() if line]
            body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])
            yield Case(path.name, chat, body.encode(), streamed=True)
        elif path.suffix == ".json":
            yield Case(path.name, chat, text.encode(), streamed=False)
        else:
            for number, item in enumerate(yaml.safe_load(text)["interactions"]):
                response = item["response"]
                endpoint = "/" + item["request"]["uri"].split("/", 3)[3]
                whole = response.get("parsed_body")
                body = response["body"]["string"] if whole is None else json.dumps(whole)
                data = body.encode() if isinstance(body, str) else body
                yield Case(f"{path.name}#{number}", endpoint, data, streamed=whole is None)


CASES = list(cases())


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[FakeUpstream]:
    fake = FakeUpstream()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def shared_gateway(
    shared_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    yield from running_proxy(shared_upstream.url, tmp_path_factory.mktemp("log"))


@needs_shared
def test_all_fixtures_are_read() -> None:
    assert len({case.name.partition("#")[0] for case in CASES}) == len(list(FOLDER.iterdir())) == 28


@needs_shared
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_fixture_passes_byte_for_byte_and_its_record_says_what_it_says(
    case: Case, packed: bool, shared_upstream: FakeUpstream, shared_gateway: Gateway
) -> None:
    body = gzip.compress(case.body) if packed else case.body
    extra = "Content-Encoding: gzip\r\n" if packed else ""
    if case.streamed:
        pieces = [as_chunk(body[start : start + 997]) for start in range(0, len(body), 997)]
        steps = [chunked_head(extra=extra), *pieces, as_chunk(b"")]
    else:
        steps = [whole_answer(body, extra=extra)]
    shared_upstream.answer = lambda _: list(steps)
    n_before = len(shared_gateway.records())
    answer = shared_gateway.ask(target=case.path, body={**ASK, "stream": case.streamed})
    records = shared_gateway.records()[n_before:]
    assert answer.body == body
    assert len(records) == (case.is_chat or case.path == "/v1/responses")
    if not case.is_chat:
        return
    record = records[0]
    reasoning = (
        case.joined("reasoning_content") or case.joined("reasoning") or case.joined("thinking")
    )
    assert record.outcome == "complete"
    assert (record.content or "") == case.joined("content")
    assert (record.reasoning or "") == reasoning
    assert record.finish_reason == case.last("finish_reason")
    assert record.usage == case.last("usage")
    assert record.model_served == case.last("model")
    assert bool(record.reasoning_source) == bool(reasoning or "<think>" in case.joined("content"))
    assert bool(record.tool_calls) == any(delta.get("tool_calls") for delta in case.deltas)


@needs_shared
def test_recorded_response_is_read() -> None:
    case = next(case for case in CASES if case.path == "/v1/responses")
    answer = json.loads(case.body)
    thought, said = answer["output"]
    record = respond(answer)
    assert record.outcome == "complete"
    assert record.content == said["content"][0]["text"]
    assert record.reasoning == "".join(part["text"] for part in thought["summary"])
    assert (record.reasoning_state, record.finish_reason) == ("server_split", "stop")
    assert (record.usage, record.model_served) == (answer["usage"], answer["model"])


@needs_shared
def test_streamed_tool_call_is_put_together() -> None:
    case = next(case for case in CASES if case.name == "vercel-ai__deepseek-tool-call.chunks.txt")
    calls = [call for delta in case.deltas for call in delta.get("tool_calls") or []]
    arguments = "".join(call["function"]["arguments"] for call in calls)
    expected = {**calls[0], "function": {**calls[0]["function"], "arguments": arguments}}
    builder = MessageBuilder()
    for chunk in case.chunks:
        builder.add(chunk)
    assert builder.message().extra["tool_calls"] == [expected]
    assert json.loads(arguments)


def rebuilt(pieces: list[bytes]) -> object:
    """The message of a stream that came in these pieces, and whether its end was seen."""
    parser, builder = SSEParser(), MessageBuilder()
    events = [event for piece in pieces for event in parser.feed(piece)]
    for event in [*events, *parser.close()]:
        if event != DONE:
            builder.add(json.loads(event))
    return builder.message(), parser.done


@needs_shared
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.streamed], ids=lambda case: case.name
)
def test_stream_cut_at_every_byte_gives_the_same_message(case: Case, newline: bytes) -> None:
    events = case.body.split(b"\n\n")
    # the first and last events hold every kind of chunk; whole streams would be quadratic
    body = b"\n\n".join([*events[:6], *events[-6:]]).replace(b"\n", newline)
    expected = rebuilt([body])
    for cut in range(len(body)):
        assert rebuilt([body[:cut], body[cut:]]) == expected
    assert rebuilt([body[at : at + 1] for at in range(len(body))]) == expected
