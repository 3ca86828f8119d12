from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.config import Address
from proxy.recorded_server import Form, Library, create_handler, main, read_recordings
from proxy.serve import address_of, listen
from proxy.server import Server
from tests.conftest import REPO
from tests.proxy.conftest import DEADLINE_S, Gateway, in_loop, running_proxy

ROWS: list[dict[str, Any]] = [
    {"question": "2+2?", "reasoning": "two\u2028é🌟", "content": "4\u2029\x85🌟"},
    {"question": "2+2?", "reasoning": "again", "content": "5"},
    {"question": "What is 2+2?", "reasoning": None, "content": "longer"},
    {"question": "cut", "reasoning": "on and", "content": "", "finish_reason": "length"},
    {"question": "raw", "reasoning": "r", "content": "c", "raw": "<think>\nr\n</think>\n\nc"},
]
RECORDED = "/v1/chat/completions"


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=list(Form))
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Form]]:
    """The server behind the proxy, so that each test sees what the proxy makes of it too."""
    folder = tmp_path_factory.mktemp("recorded")
    library = Library("m", request.param, read_recordings(write(folder, *ROWS)), chunk_chars=3)
    listener = listen(Address("127.0.0.1", 0))
    url = address_of(listener).url
    server = Server(create_handler(library))

    async def start() -> Callable[[], Awaitable[None]]:
        await server.start(listener)
        return server.drain

    with in_loop(start):
        for gateway in running_proxy(url, folder):
            yield gateway, request.param


def ask(gateway: Gateway, question: str, request_id: str = "r/t/0/0", **fields: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": question}], **fields}
    return gateway.ask(target=RECORDED, body=body, headers=(("x-request-id", request_id),))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "row", [ROWS[0], ROWS[2], ROWS[3], ROWS[4]], ids=lambda row: row["question"]
)
def test_recording_comes_back_whole_in_every_form(
    served: tuple[Gateway, Form], row: dict[str, Any], stream: bool
) -> None:
    gateway, form = served
    ask(gateway, f"Question: {row['question']} Answer it.", stream=stream)
    record = gateway.last()
    assert (record.outcome, record.finish_reason) == ("complete", row.get("finish_reason", "stop"))
    if form is not Form.INLINE:
        assert (record.reasoning, record.content) == (row["reasoning"], row["content"])
        assert record.reasoning_source == (form.value if row["reasoning"] else None)
        return
    closing = "</think>" if row["content"] else ""
    inline = row["content"] if row["reasoning"] is None else f"<think>{row['reasoning']}{closing}"
    expected = row.get("raw") or inline + row["content"] * (row["reasoning"] is not None)
    assert (record.content, record.reasoning) == (expected, None)
    assert record.reasoning_source == ("inline" if row["reasoning"] else None)


def test_sample_is_chosen_by_request_id_then_seed(served: tuple[Gateway, Form]) -> None:
    gateway, _ = served

    def content(request_id: str, **fields: Any) -> str:
        ask(gateway, "2+2?", request_id, **fields)
        return str(gateway.last().content)[-1:]

    chosen = [content("r/t/0/0"), content("r/t/0/1"), content("r/t/0/2"), content("x", seed=1)]
    assert chosen == ["🌟", "5", "🌟", "5"]


def test_usage_is_streamed_only_where_asked_for(served: tuple[Gateway, Form]) -> None:
    gateway, _ = served
    ask(gateway, "2+2?", stream=True)
    assert gateway.last().usage is None
    ask(gateway, "2+2?", stream=True, stream_options={"include_usage": True})
    usage = gateway.last().usage
    assert usage is not None
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert usage["estimated"] is True


def test_it_says_that_it_replays(served: tuple[Gateway, Form]) -> None:
    gateway, _ = served
    models = json.loads(gateway.ask(method="GET", target="/v1/models").body)
    assert [(card["id"], card["owned_by"]) for card in models["data"]] == [
        ("m", "recorded-completions")
    ]
    assert json.loads(ask(gateway, "2+2?").body)["system_fingerprint"] == "recorded"
    assert gateway.ask(method="GET", target="/health").status == 200


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"messages": [{"role": "user", "content": "unknown"}]}, 404, "no recording"),
        ({"model": "other"}, 404, "'other' is not served; it is 'm'"),
        ({"messages": []}, 400, "user message"),
        ({"messages": "2+2?"}, 400, "user message"),
    ],
)
def test_requests_without_a_recording_get_a_clear_error(
    served: tuple[Gateway, Form], change: dict[str, Any], status: int, words: str
) -> None:
    gateway, _ = served
    body = {"model": "m", "messages": [{"role": "user", "content": "2+2?"}], **change}
    answer = gateway.ask(target=RECORDED, body=body)
    assert answer.status == status
    assert words in json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [("/v1/embeddings", b"{}", 404), (RECORDED, b"{", 400), (RECORDED, b"[]", 400)],
)
def test_other_requests_get_an_error(
    served: tuple[Gateway, Form], target: str, body: bytes, status: int
) -> None:
    assert served[0].ask(target=target, body=body).status == status


def test_question_in_the_parts_of_the_last_user_message_is_found(
    served: tuple[Gateway, Form],
) -> None:
    messages = [
        {"role": "user", "content": "cut"},
        {"role": "assistant", "content": "raw"},
        {"role": "user", "content": [{"type": "text", "text": "What is 2+2?"}]},
    ]
    answer = served[0].ask(target=RECORDED, body={"model": "m", "messages": messages})
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "longer"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{oops", "not JSON"),
        ([], "JSON object"),
        ({"content": "a"}, "question must be a text, got None"),
        ({"question": " ", "content": "a"}, "question must not be empty"),
        ({"question": "q", "content": None}, "content must be a text"),
        ({"question": "q", "content": "a", "reasoning": 1}, "reasoning must be a text or null"),
        ({"question": "q", "content": "a", "raw": []}, "raw must be a text or null"),
        ({"question": "q", "content": "a", "finish_reason": "eos"}, "stop or length, got 'eos'"),
        ('{"question": "q", "content": "\\ud83d"}', "lone surrogate"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, row: Any, words: str) -> None:
    path = write(tmp_path, ROWS[0], "", row)
    with pytest.raises(ValueError, match=rf"^{path}:3: .*{words}"):
        read_recordings(path)


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_unusable_file_is_named_with_exit_code_2(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(main, ["--completions", str(path), "--model", "m"])
    assert result.exit_code == 2
    assert "--completions" in result.output


def test_every_option_stands_in_the_docs() -> None:
    text = (REPO / "docs" / "proxy.md").read_text()
    options = [option for parameter in main.params for option in parameter.opts]
    assert [option for option in options if option.startswith("--") and option not in text] == []


def test_command_prints_its_address_and_stops_on_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy.recorded_server", "--model", "m", "--completions"]
    with subprocess.Popen(
        [*command, str(write(tmp_path, *ROWS))], stdout=subprocess.PIPE, text=True, cwd=REPO
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("listening on http://127.0.0.1:")
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0
