"""`local-chat` as lm-eval drives it, against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from harness_tasks.chat.reply import UpstreamError
from harness_tasks.completion import Completion
from harness_tasks.local_chat import ChatPrompt, LocalChat
from harness_tasks.sampling import seed_for
from tests.conftest import REPO
from tests.fakes import Answer, FakeUpstream, Received, Script, chat, fault, reply_json, web_page

QUESTIONS = ["one?", "two?", "three?"]


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    names = ("httpx2", "httpcore2")
    levels = [logging.getLogger(name).level for name in names]
    hook = sys.excepthook
    yield
    sys.excepthook = hook
    for name, level in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(level)


def model_of(server: FakeUpstream, **model_args: Any) -> LocalChat:
    return LocalChat(**{"base_url": server.url, "run": "r", "max_retries": 0, **model_args})


def instance(
    prompt: str = "2+2?", doc_id: int = 0, task: str = "toy", **generation_kwargs: Any
) -> Instance:
    return Instance(
        request_type="generate_until",
        doc={},
        arguments=(prompt, generation_kwargs),
        idx=0,
        metadata=(task, doc_id, 1),
    )


def ask(server: FakeUpstream, *requests: Instance, **model_args: Any) -> list[Completion]:
    completions = model_of(server, **model_args).generate_until(list(requests) or [instance()])
    assert all(isinstance(completion, Completion) for completion in completions)
    return completions  # type: ignore[return-value]


def echo(request: Received) -> Answer:
    """Answer with the question, so that a mix-up shows."""
    question = request.body["messages"][-1]["content"]
    return chat(f"answer to {question}", reasoning=f"about {question}")(request)


def test_a_completion_carries_what_the_server_said() -> None:
    with FakeUpstream(chat("4", reasoning="2 and 2", model="fake-v2")) as server:
        (completion,) = ask(server)
    assert completion == "<think>2 and 2</think>4"
    assert (completion.content, completion.reasoning) == ("4", "2 and 2")
    assert completion.reasoning_source == "reasoning_content"
    assert (completion.finish_reason, completion.error) == ("stop", None)
    assert completion.usage == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    assert completion.model_served == "fake-v2"
    assert completion.request_id == "r/toy/0/0"
    assert completion.latency_s is not None
    assert completion.ttft_s is not None


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("form", ["reasoning_content", "reasoning", "inline"])
def test_all_wire_forms_give_the_same_text(form: str, stream: bool) -> None:
    with FakeUpstream(chat("4", reasoning="2 and 2", form=form)) as server:
        (completion,) = ask(server, stream=stream)
    assert completion == "<think>2 and 2</think>4"
    assert completion.reasoning_source == form
    assert (completion.reasoning is None) is (form == "inline")


def test_the_request_is_what_was_asked_for() -> None:
    with FakeUpstream() as server:
        ask(
            server,
            instance(until=["\n\n"], max_gen_toks=100, do_sample=True, temperature=0.5),
            top_k=20,
            system_prompt="Be brief.",
            chat_template_kwargs={"enable_thinking": False},
            headers={"x-team": "a"},
        )
        (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "fake",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "2+2?"},
        ],
        "temperature": 0.5,
        "top_k": 20,
        "max_tokens": 100,
        "chat_template_kwargs": {"enable_thinking": False},
        "seed": seed_for("toy", 0, 0, 1234),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert request.headers["x-request-id"] == "r/toy/0/0"
    assert request.headers["x-team"] == "a"
    assert "authorization" not in request.headers


def test_samples_of_one_doc_have_ids_and_seeds_of_their_own() -> None:
    request = instance(temperature=1.0)
    with FakeUpstream() as server:
        completions = ask(server, request, request, instance(doc_id=1), request, seed=7)
        sent = {r.headers["x-request-id"]: r.body["seed"] for r in server.requests}
    assert [c.sample_index for c in completions] == [0, 1, 0, 2]
    assert sent == {
        "r/toy/0/0": seed_for("toy", 0, 0, 7),
        "r/toy/0/1": seed_for("toy", 0, 1, 7),
        "r/toy/1/0": seed_for("toy", 1, 0, 7),
        "r/toy/0/2": seed_for("toy", 0, 2, 7),
    }


def test_completions_stay_in_order_however_many_are_asked_at_once() -> None:
    def slow_first(request: Received) -> Answer:
        first = request.body["messages"][-1]["content"] == "q0"
        return chat(request.body["messages"][-1]["content"], pause_s=0.1 if first else 0)(request)

    requests = [instance(f"q{i}", doc_id=i) for i in range(40)]
    with FakeUpstream(slow_first) as server:
        completions = ask(server, *requests, num_concurrent=4)
        assert 2 <= server.most_at_once <= 4
    assert completions == [f"q{i}" for i in range(40)]


def test_the_cap_counts_as_length_whatever_the_server_says() -> None:
    with FakeUpstream(chat("cut", finish_reason="stop")) as server:
        assert ask(server, max_tokens=7)[0].finish_reason == "length"
        assert ask(server, max_tokens=8)[0].finish_reason == "stop"


def test_a_default_limit_that_does_not_fit_the_server_is_not_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = {"data": [{"id": "fake", "max_model_len": 12}]}
    with FakeUpstream(models=models) as server:
        (completion,) = ask(server)
        ask(server, max_tokens=100)
        sent = [request.body.get("max_tokens") for request in server.requests]
    assert sent == [None, 100]
    assert "does not fit the server's context of 12 tokens" in caplog.text
    assert completion.finish_reason == "length"  # 5 + 7 tokens fill the context


def test_stop_strings_cut_the_answer_and_never_the_reasoning() -> None:
    with FakeUpstream(chat("\n\n4\n\nQ: next", reasoning="a\n\nb")) as server:
        (completion,) = ask(server, instance(until=["\n\n", "Q:"]))
        assert "stop" not in server.requests[0].body
    assert completion == "<think>a\n\nb</think>\n\n4"


def test_one_failed_request_is_one_error_sample(caplog: pytest.LogCaptureFixture) -> None:
    def second_fails(request: Received) -> Answer:
        question = request.body["messages"][-1]["content"]
        return (fault(500, "boom") if question == "two?" else chat(question))(request)

    requests = [instance(q, doc_id=i) for i, q in enumerate(QUESTIONS)]
    with FakeUpstream(second_fails) as server:
        completions = ask(server, *requests)
    assert completions == ["one?", "", "three?"]
    assert [bool(c.error) for c in completions] == [False, True, False]
    assert completions[1].error == f"HTTP 500 from {server.url}: boom"
    assert completions[1].request_id == "r/toy/1/0"
    assert "1 of 3 requests failed and are error samples" in caplog.text
    assert "1 x HTTP 500" in caplog.text


@pytest.mark.parametrize("script", [fault(401), fault(403), fault(404, "no such"), web_page()])
def test_a_fault_that_every_request_meets_ends_the_run(script: Script) -> None:
    with FakeUpstream(script) as server:
        with pytest.raises(UpstreamError, match=r"HTTP 40|web page"):
            ask(server, *[instance(doc_id=i) for i in range(50)], num_concurrent=2)
        assert len(server.requests) <= 4


def test_eight_first_requests_that_fail_alike_end_the_run() -> None:
    with FakeUpstream(fault(400, "unknown field")) as server:
        with pytest.raises(UpstreamError, match=r"first 8 requests all failed: HTTP 400 .*unknown"):
            ask(server, *[instance(doc_id=i) for i in range(50)], num_concurrent=2)
        assert len(server.requests) <= 20  # each a second time without stream_options


def test_seven_of_them_do_not() -> None:
    with FakeUpstream([*[fault(400)] * 7, chat()]) as server:
        completions = ask(server, *[instance(doc_id=i) for i in range(9)], stream=False)
    assert sum(bool(c.error) for c in completions) == 7


@pytest.mark.parametrize("dead", [lambda _: Answer(reset=True), fault(502, "ConnectError")])
def test_a_dead_server_is_not_waited_for_again_and_again(dead: Script) -> None:
    def dead_soon(request: Received) -> Answer:
        return (chat() if request.headers["x-request-id"] == "r/toy/0/0" else dead)(request)

    requests = [instance(doc_id=i) for i in range(30)]
    with FakeUpstream(dead_soon) as server:
        completions = ask(server, *requests, max_retries=1, num_concurrent=4)
        n_sent = len(server.requests)
    assert sum(bool(c.error) for c in completions) == 29
    assert n_sent < 2 * 29


@pytest.mark.parametrize(("n", "told"), [(1, False), (8, True)])
def test_samples_that_transformers_serve_cannot_repeat_are_warned_of(
    caplog: pytest.LogCaptureFixture, n: int, told: bool
) -> None:
    def api(request: Received) -> Answer:
        if request.path == "/openapi.json":
            return reply_json({"paths": {"/load_model": {}}})
        return fault(500)(request)

    with FakeUpstream(models=api) as server:
        ask(server, model="m", temperature=0.6, num_concurrent=n)
    assert "do_sample" in caplog.text
    assert ("share one random generator" in caplog.text) is told


def test_runs_where_a_loop_is_running() -> None:
    async def notebook(server: FakeUpstream) -> list[Completion]:
        return ask(server)

    with FakeUpstream() as server:
        assert asyncio.run(notebook(server)) == ["ok"]


def test_runs_in_a_thread() -> None:
    found: list[Completion] = []
    with FakeUpstream() as server:
        thread = threading.Thread(target=lambda: found.extend(ask(server)))
        thread.start()
        thread.join()
    assert found == ["ok"]


def test_no_requests_are_no_completions() -> None:
    with FakeUpstream() as server:
        assert model_of(server).generate_until([]) == []


@pytest.mark.parametrize(
    ("script", "model_args", "warning"),
    [
        (chat("", reasoning="r"), {}, "without content, with reasoning only: the server's"),
        (chat(""), {}, "came back without content: look at the server's log"),
        (chat("a", reasoning="r"), {}, "sampled at temperature 0"),
        (chat("<think>r</think>a"), {}, "sampled at temperature 0"),
    ],
)
def test_doubtful_runs_are_called_so(
    script: Script, model_args: dict[str, Any], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeUpstream(script) as server:
        ask(server, instance(), instance(doc_id=1), **model_args)
    assert caplog.text.count(warning) == 1


def test_copies_at_temperature_zero_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    request = instance()
    with FakeUpstream() as server:
        ask(server, request, request, request)
        assert caplog.text.count("several samples of one doc at temperature 0") == 1
        caplog.clear()
        ask(server, request, request, temperature=0.6)
        ask(server, request)
    assert "temperature 0" not in caplog.text


def test_a_conflict_names_both_sides_once(caplog: pytest.LogCaptureFixture) -> None:
    requests = [instance(doc_id=i, temperature=0.3) for i in range(3)]
    with FakeUpstream() as server:
        ask(server, *requests, temperature=0.6)
    said = "toy: model_args sets temperature=0.6 over the 0.3 of the task's generation_kwargs"
    assert caplog.text.count(said) == 1


@pytest.mark.parametrize(("given", "expected"), [(None, True), (False, False), (True, True)])
def test_a_cut_off_text_without_tags_is_reasoning_where_the_template_opened_it(
    given: bool | None, expected: bool
) -> None:
    def prefilled(request: Received) -> Answer:
        question = request.body["messages"][-1]["content"]
        cut = question == "two?"
        text = "so far" if cut else "r</think>a"
        return chat(text, finish_reason="length" if cut else "stop")(request)

    requests = [instance(q, doc_id=i) for i, q in enumerate(QUESTIONS)]
    with FakeUpstream(prefilled) as server:
        completions = ask(server, *requests, prefilled=given)
    assert [c.prefilled for c in completions] == [False, expected, False]


def test_a_stray_closing_tag_does_not_make_the_others_reasoning() -> None:
    answers = [
        chat("a </think> b"),
        chat("done"),
        chat("done"),
        chat("cut", finish_reason="length"),
    ]
    with FakeUpstream(answers) as server:
        requests = [instance(doc_id=i) for i in range(4)]
        completions = ask(server, *requests, num_concurrent=1)
    assert [c.prefilled for c in completions] == [False] * 4


def test_a_plain_model_is_not_taken_for_a_prefilled_one() -> None:
    with FakeUpstream(chat("cut", finish_reason="length")) as server:
        assert ask(server)[0].prefilled is False


def test_the_results_tell_what_was_sent() -> None:
    with FakeUpstream(chat(model="fake-v2"), models=["fake"]) as server:
        model = model_of(server, preset="qwq", stream=False)
        requests = [instance(), instance(task="other", max_gen_toks=5)]
        model.generate_until(requests)
        info = model.get_model_info()
    qwq = {"temperature": 0.6, "top_p": 0.95, "top_k": 40}
    assert info == {
        "model_requested": "fake",
        "model_served": "fake-v2",
        "base_url": server.url,
        "run": "r",
        "server": {"kind": None, "version": None},
        "sampling": qwq,
        "sampling_by_task": {
            "toy": {**qwq, "max_tokens": 32768},
            "other": {**qwq, "max_tokens": 5},
        },
        "base_seed": 1234,
        "system_prompt": None,
        "stream": False,
        "completions": {
            "toy": {"n_samples": 1, "n_errors": 0, "n_truncated": 0, "error": None},
            "other": {"n_samples": 1, "n_errors": 0, "n_truncated": 1, "error": None},
        },
    }
    json.dumps(info)


def test_the_key_reaches_the_server_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-very-secret-1234"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    caplog.set_level(logging.DEBUG)
    with FakeUpstream(fault(400, f"bad key {key}")) as server:
        model = model_of(server)
        (completion,) = model.generate_until([instance()])
        assert server.requests[0].headers["authorization"] == f"Bearer {key}"
        pickled = pickle.dumps(model)
    shown = repr(vars(model)) + str(completion.__dict__) + json.dumps(model.get_model_info())  # type: ignore[attr-defined]
    assert key not in shown + caplog.text
    assert key.encode() not in pickled
    assert pickle.loads(pickled).transport.api_key == key


def test_the_cache_of_lm_eval_is_refused(tmp_path: Path) -> None:
    with FakeUpstream() as server:
        model = model_of(server)
        with pytest.raises(ValueError, match="refuses --use_cache"):
            lm_eval.api.model.CachingLM(model, str(tmp_path / "cache.db"))


def test_likelihoods_are_refused() -> None:
    with FakeUpstream() as server:
        for method in (model_of(server).loglikelihood, model_of(server).loglikelihood_rolling):
            with pytest.raises(ValueError, match=r"can only generate.* unlike toy"):
                method([instance()])


def test_a_begun_answer_is_refused() -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "The answer"}]
    with FakeUpstream() as server, pytest.raises(ValueError, match="gen_prefix"):
        model_of(server).apply_chat_template(turns, add_generation_prompt=False)


def test_messages_keep_their_turns_and_their_system_message() -> None:
    turns = [
        {"role": "system", "content": "Task."},
        {"role": "user", "content": "ü?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3+3?"},
    ]
    with FakeUpstream() as server:
        model = model_of(server, system_prompt="Mine.")
        prompt = model.apply_chat_template(turns)
        assert isinstance(pickle.loads(pickle.dumps(prompt)), ChatPrompt)
        model.generate_until([instance(prompt)])
        sent = server.requests[0].body["messages"]
    assert sent == [{"role": "system", "content": "Mine.\n\nTask."}, *turns[1:]]


def test_odd_text_survives_both_ways() -> None:
    with FakeUpstream(echo) as server:
        (completion,) = ask(server, instance("\ud800\x00\u2028'\"\\"))
        assert server.requests[0].body["messages"][0]["content"] == "\ud800\x00\u2028'\"\\"
    assert completion.content == "answer to \ufffd\x00\u2028'\"\\"
    completion.encode()


def write_task(folder: Path, repeats: int = 1) -> None:
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": q}) + "\n" for q in QUESTIONS))
    (folder / "toy.yaml").write_text(
        "task: toy\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {rows}}}}}\n"
        "test_split: test\noutput_type: generate_until\n"
        "doc_to_text: '{{question}}'\ndoc_to_target: 'ok'\n"
        f"generation_kwargs: {{until: [], max_gen_toks: 64}}\nrepeats: {repeats}\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )


@pytest.mark.filterwarnings("default")  # lm-eval's own
@pytest.mark.parametrize("apply_chat_template", [True, False])
def test_lm_eval_runs_it_with_and_without_chat_template(
    apply_chat_template: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_task(tmp_path, repeats=2)
    with FakeUpstream(echo) as server:
        results = lm_eval.simple_evaluate(
            model=model_of(server, temperature=0.6),
            tasks=["toy"],
            task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
            apply_chat_template=apply_chat_template,
            bootstrap_iters=0,
        )
        sent = [request.body["messages"] for request in server.requests]
    assert results is not None
    assert sorted(m[0]["content"] for m in sent) == sorted(QUESTIONS * 2)
    assert all(len(messages) == 1 and messages[0]["role"] == "user" for messages in sent)
    completions = [sample["resps"][0] for sample in results["samples"]["toy"]]
    assert [[c.sample_index for c in group] for group in completions] == [[0, 1]] * 3
    assert [first for first, _ in completions] == [
        f"<think>about {q}</think>answer to {q}" for q in QUESTIONS
    ]
    assert results["config"]["sampling"] == {"temperature": 0.6, "max_tokens": 64}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("as_text", [True, False])
def test_lm_eval_builds_it_from_model_args(as_text: bool) -> None:
    with FakeUpstream(echo) as server:
        args: Any = {"base_url": server.url, "model": "fake", "run": "base", "top_k": 5}
        if as_text:
            args = ",".join(f"{name}={value}" for name, value in args.items())
        build = LocalChat.create_from_arg_string if as_text else LocalChat.create_from_arg_obj
        config = {"batch_size": 1, "max_batch_size": None, "device": None}
        assert build(args, config).generate_until([instance()]) == [
            "<think>about 2+2?</think>answer to 2+2?"
        ]
        assert server.requests[0].body["top_k"] == 5


RUN_CLI = """
import harness_tasks.plugin
harness_tasks.plugin.autoload()
from lm_eval.__main__ import cli_evaluate
cli_evaluate()
"""


def run_cli(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO), "HF_HOME": str(folder / "hf")}
    environment["DISTILL_EVAL_NO_AUTOLOAD"] = "1"
    return subprocess.run(
        [sys.executable, "-c", RUN_CLI, "--model", "local-chat", "--tasks", "toy", *args],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120,
        check=False,
    )


def test_the_command_line_runs_a_task_and_writes_what_was_sent(tmp_path: Path) -> None:
    write_task(tmp_path)
    script = chat("ok\ud800", finish_reason="stop")
    with FakeUpstream(script) as server:
        args = f"base_url={server.url},model=fake,run=base,temperature=0.6"
        done = run_cli(
            tmp_path,
            *("--model_args", args, "--include_path", str(tmp_path)),
            *("--output_path", str(tmp_path / "out"), "--log_samples"),
        )
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 3
    (results,) = (tmp_path / "out").rglob("results_*.json")
    config = json.loads(results.read_text(encoding="utf-8"))["config"]
    assert config["sampling"] == {"temperature": 0.6, "max_tokens": 64}
    assert (config["model_served"], config["run"]) == ("fake", "base")
    (samples,) = (tmp_path / "out").rglob("samples_toy_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    assert [row["resps"] for row in rows] == [[["ok\ufffd"]]] * 3
    assert "HTTP Request" not in done.stderr  # httpx would log each one


def test_the_command_line_ends_in_one_line(tmp_path: Path) -> None:
    write_task(tmp_path)
    with FakeUpstream() as server:
        args = f"base_url={server.url},model=wrong"
        done = run_cli(tmp_path, "--model_args", args, "--include_path", str(tmp_path))
        url = server.url
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"distill-eval: {url} has no model 'wrong'; it offers fake"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("from harness_tasks.chat.reply import UpstreamError as E; raise E('m', kind='k')", 2),
        ("lc.LocalChat(modle=1)", 2),
        ("raise ValueError('m')", 1),
    ],
)
def test_only_errors_that_explain_themselves_lose_their_traceback(error: str, code: int) -> None:
    program = f"import harness_tasks.local_chat as lc; lc.end_in_one_line(); {error}"
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == code
    assert ("Traceback" in done.stderr) is (code == 1)


def test_models_without_a_list_are_asked_by_name() -> None:
    with FakeUpstream(lambda _: reply_json(answer_of("x")), models=None) as server:
        assert ask(server, model="any") == ["x"]
        assert server.requests[0].body["model"] == "any"


def answer_of(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}
