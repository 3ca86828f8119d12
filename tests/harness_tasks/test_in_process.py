"""lm-eval's own `hf` and `vllm` on our tasks: the verdicts of `local-chat` on the same texts."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from harness_tasks.completion import Completion
from harness_tasks.in_process import engines
from harness_tasks.in_process.asks import Ask, asks_of
from harness_tasks.in_process.attach import attach
from harness_tasks.local_chat import LocalChat
from harness_tasks.plugin import TASKS_DIR
from harness_tasks.reasoning import opens_reasoning
from harness_tasks.sampling import seed_for
from tests.conftest import REPO, SHARED, needs_shared
from tests.fakes import Answer, FakeUpstream, Received, chat

torch = pytest.importorskip("torch", reason="models in this process need it")
pytest.importorskip("transformers", reason="models in this process need it")

from lm_eval.models.huggingface import HFLM  # noqa: E402 (it needs what was just asked for)

from tests.training import tiny  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # torch and transformers warn of each other

LIMIT = 400
QUESTION = re.compile(r"<\|im_start\|>user\n(.*)<\|im_end\|>\n<\|im_start\|>assistant\n", re.DOTALL)
OPENS_THINK = tiny.TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
FAMILIES = ("distill_demo", "distill_demo_code", "distill_demo_programs", "distill_demo_instruct")
PUBLISHED = ("distill_math500", "distill_aime24", "distill_aime25", "distill_aime_2022_2024",
             "distill_gsm8k", "distill_humanevalplus", "distill_mbppplus", "distill_lcb_v6_public",
             "distill_ifeval", "distill_math500_r3")  # fmt: skip
GRADED = ("verdict", "answer", "truncated", "state", "finish_reason", "reasoning_chars",
          "answer_chars", "reason", "details")  # fmt: skip
Say = Callable[[str], tuple[str, str]]  # question -> completion, finish_reason


def hf(folder: Path, **arguments: Any) -> Any:
    attach(HFLM, engines.HF())
    return HFLM(pretrained=str(folder), device="cpu", dtype="float32", **arguments)


@pytest.fixture(scope="module")
def shared_model() -> Any:
    return hf(tiny.folder(), batch_size=4)


@pytest.fixture
def model(shared_model: Any) -> Iterator[Any]:
    """Lend the module's model, and take off what a test hung onto it."""
    before = dict(vars(shared_model))
    yield shared_model
    vars(shared_model).clear()
    vars(shared_model).update(before)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    words = tiny.tokenizer(OPENS_THINK)
    return hf(tiny.save(tmp_path_factory.mktemp("thinker"), words=words))


def instance(prompt: str, doc_id: int = 0, task: str = "distill_x", **kwargs: Any) -> Instance:
    return Instance(
        request_type="generate_until",
        doc={},
        arguments=(prompt, kwargs),
        idx=0,
        metadata=(task, doc_id, 1),
    )


def ask(model: Any, *requests: Instance) -> list[Completion]:
    completions: list[Completion] = model.generate_until(list(requests))
    return completions


def play(model: Any, say: Say) -> list[dict[str, Any]]:
    """Let the model write what `say` says to each question; returns the calls that come in."""
    calls: list[dict[str, Any]] = []

    def generate(context: Any, max_length: int, **fields: Any) -> Any:
        calls.append(fields)
        rows = []
        for row in context.tolist():
            question = QUESTION.search(model.tokenizer.decode(row))
            text, _ = say(question[1] if question else "")
            written = model.tokenizer.encode(text, add_special_tokens=False)
            end = [model.tokenizer.eos_token_id]
            padding = [model.tokenizer.pad_token_id] * max_length
            rows.append((row + written + end + padding)[:max_length])
        return torch.tensor(rows)

    model._model_generate = generate  # the fixture takes it off again
    return calls


def evaluate(model: Any, task: str, **call: Any) -> Any:
    import lm_eval

    results = lm_eval.simple_evaluate(
        model=model,
        tasks=[task],
        task_manager=TaskManager(
            include_path=str(TASKS_DIR), include_defaults=False, metadata=call.pop("metadata", None)
        ),
        **{"apply_chat_template": True, "bootstrap_iters": 0, **call},
    )
    assert results is not None
    return results


def records_of(results: Any, task: str) -> list[dict[str, Any]]:
    rows = sorted(results["samples"][task], key=lambda row: row["doc_id"])
    return [record for row in rows for record in row["samples"]]


def written(model: Any) -> Say:
    """Return texts of every shape: thought, not thought, right, wrong, empty, open and cut off."""
    lines = (TASKS_DIR / "demo" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    gold = {row["problem"]: row["answer"] for row in map(json.loads, lines)}

    def say(question: str) -> tuple[str, str]:
        answer = next((gold[problem] for problem in gold if problem in question), "7")
        code = "```python\ndef f(x):\n    return x\n```"
        shapes = [
            f"<think>so {answer}, or rather</think>It is \\boxed{{{answer}}}. {code}",
            f"so\n</think>\n\nIt is \\boxed{{{answer}}}.\n{code}",
            f"\\boxed{{{answer}}} {code}",
            "<think>hm</think>\\boxed{-1} `</think>` stays. Water, often.",
            "no answer here",
            "",
            "<think>it never ends",
        ]
        number = sum(map(ord, question)) % (len(shapes) + 2)
        if number < len(shapes):
            return shapes[number], "stop"
        text = ("<think>and on", f"It is \\boxed{{{answer}}}, and")[number - len(shapes)]
        used = len(model.tokenizer.encode(text, add_special_tokens=False))
        return text + "x" * (LIMIT - used), "length"

    return say


def both_ways(model: Any, task: str, **call: Any) -> tuple[list[Any], list[Any]]:
    """Return the records of the same texts from the model in this process and from a server."""
    say = written(model)
    play(model, say)

    def script(request: Received) -> Answer:
        text, finish_reason = say(request.body["messages"][-1]["content"])
        return chat(text, finish_reason=finish_reason)(request)

    with FakeUpstream(script) as server:
        served = LocalChat(base_url=server.url, max_tokens=LIMIT, temperature=0.5)
        expected = records_of(evaluate(served, task, **call), task)
    sampled = {"max_gen_toks": LIMIT, "temperature": 0.5}
    return records_of(evaluate(model, task, gen_kwargs=sampled, **call), task), expected


@pytest.mark.parametrize("task", FAMILIES)
def test_the_same_texts_get_the_same_verdicts_as_from_a_server(model: Any, task: str) -> None:
    got, expected = both_ways(model, task)
    assert [[r.get(k) for k in GRADED] for r in got] == [
        [r.get(k) for k in GRADED] for r in expected
    ]
    assert len({record["verdict"] for record in got}) > 1
    if task == "distill_demo":
        assert {r["verdict"] for r in got} == {"correct", "incorrect", "no_answer", "truncated"}


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("task", PUBLISHED)
def test_published_questions_get_the_same_verdicts_as_from_a_server(model: Any, task: str) -> None:
    model._max_length = 100_000  # what it writes is played, and LiveCodeBench's prompts are long
    folder = {"data_dir": str(SHARED / "data" / "benchmarks")}
    got, expected = both_ways(model, task, metadata=folder, limit=5)
    assert [[r.get(k) for k in GRADED] for r in got] == [
        [r.get(k) for k in GRADED] for r in expected
    ]
    assert len(got) == 5


def test_a_completion_that_was_cut_off_is_seen(model: Any) -> None:
    prompts = [instance(f"question {i}", i, temperature=1.0, max_gen_toks=12) for i in range(12)]
    for completion in ask(model, *prompts):
        n_tokens = completion.usage["completion_tokens"]
        assert completion.finish_reason in ("stop", "length")
        assert (completion.finish_reason == "length") == (n_tokens == 12 or n_tokens > 12)


def test_an_end_token_ends_a_completion_and_padding_is_no_text(model: Any) -> None:
    play(model, lambda _: ("4", "stop"))
    (completion,) = ask(model, instance("2+2?", max_gen_toks=9))
    assert (completion, completion.finish_reason) == ("4", "stop")
    assert completion.usage["completion_tokens"] == 2
    assert completion.usage["prompt_tokens"] == len("2+2?")


def test_a_limit_that_nobody_set_is_what_the_context_leaves(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    play(model, lambda _: ("x" * 300, "stop"))
    with caplog.at_level(logging.WARNING):
        (completion,) = ask(model, instance("p" * 100))
    assert completion == "x" * 300  # lm-eval alone would have cut it at 256
    assert model.get_model_info()["sampling"]["max_tokens"] == tiny.CONTEXT_TOKENS - 100
    assert "max_gen_toks is 1948, not 32768" in caplog.text


@pytest.mark.parametrize(
    ("prompt", "kwargs", "said"),
    [
        ("p" * 100, {"max_gen_toks": 2000}, "give --gen_kwargs max_gen_toks=1948 or less"),
        ("p" * 2048, {}, "its longest prompt has 2048 tokens"),
        ("p", {"preset": "r1"}, "preset=r1 is none of greedy, deepseek-r1"),
        ("p", {"preset": "qwen3-instruct"}, "model hf has no presence_penalty"),
        ("p", {"temperature": -1}, "sampling.temperature must be >= 0"),
        ("p", {"seed": "x"}, "seed must be a whole number"),
        ("p", {"n": 4}, "use repeats"),
    ],
)
def test_what_cannot_be_asked_ends_in_one_line_before_anything_is_made(
    model: Any, monkeypatch: pytest.MonkeyPatch, prompt: str, kwargs: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    calls = play(model, lambda _: ("", "stop"))
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        ask(model, instance(prompt, **kwargs))
    assert getattr(caught.value, "explained", False)
    assert "\n" not in str(caught.value)
    assert calls == []


def test_think_end_token_takes_no_reasoning_away(model: Any) -> None:
    play(model, lambda _: ("<think>2 and 2</think>4", "stop"))
    model.think_end_token = "</think>"
    assert ask(model, instance("2+2?", max_gen_toks=60)) == ["<think>2 and 2</think>4"]
    assert model.think_end_token == "</think>"


def test_k_samples_differ_and_repeat(model: Any) -> None:
    sampled = {"temperature": 1.0, "max_gen_toks": 16}
    requests = [instance(f"question {i}", i, **sampled) for i in (0, 1, 2) for _ in range(3)]
    first, again = ask(model, *requests), ask(model, *requests)
    assert first == again
    assert [c.sample_index for c in first] == [0, 1, 2] * 3
    for start in (0, 3, 6):
        assert len(set(first[start : start + 3])) == 3
    other = [instance(f"question {i}", i, seed=7, **sampled) for i in (0, 1, 2) for _ in range(3)]
    assert ask(model, *other) != first


def test_a_sample_by_itself_repeats_whatever_else_is_asked(thinker: Any) -> None:
    sampled = {"temperature": 1.0, "max_gen_toks": 16}
    requests = [instance("q" * (i + 1), i, **sampled) for i in range(4)]
    assert ask(thinker, *requests)[2:3] == ask(thinker, requests[2])  # its batch_size is 1


def test_sampling_reaches_the_model_and_nothing_else_does(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = play(model, lambda _: ("4", "stop"))
    ask(model, instance("a", preset="qwq", top_k=30))
    ask(model, instance("b", preset="thesis"))
    ask(model, instance("c", until=["Q:"]))
    sampled = [{k: v for k, v in call.items() if k not in ("attention_mask",)} for call in calls]
    stop = ["<|im_end|>"]
    neutral = {"repetition_penalty": 1.0, "do_sample": True, "stop": stop}
    assert sampled == [
        {**neutral, "temperature": 0.6, "top_p": 0.95, "top_k": 30},
        {**neutral, "temperature": 0.5, "top_p": 1.0, "top_k": 0},
        {"repetition_penalty": 1.0, "do_sample": False, "temperature": 0.0, "stop": stop},
    ]


def test_stop_strings_of_a_task_cut_the_answer_and_not_the_reasoning(model: Any) -> None:
    play(model, lambda _: ("<think>Q: what?</think>4 Q: more", "stop"))
    assert ask(model, instance("2+2?", until=["Q:"])) == ["<think>Q: what?</think>4 "]


def test_a_preset_has_its_own_limit_for_a_task() -> None:
    requests = [
        instance("p", task=task, preset="qwen3-thinking")
        for task in ("distill_aime24", "distill_math500")
    ]
    limits = [made.sampling["max_tokens"] for made in asks_of(requests, engines.VLLM())]
    assert limits == [38_912, 32_768]


def test_tasks_of_others_go_to_lm_eval_as_they_came(model: Any) -> None:
    play(model, lambda _: ("<think>r</think>" + "4" * 300, "stop"))
    model.think_end_token = "</think>"
    ours, theirs = instance("a"), instance("b", task="toy", until=["Q:"])
    first, second, third = model.generate_until([theirs, ours, theirs])
    assert isinstance(second, Completion)
    assert second == "<think>r</think>" + "4" * 300
    assert first == third
    assert type(first) is str
    assert len(first) < 256
    assert "<think>" not in first


def test_a_cache_is_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    model.cache_hook = SimpleNamespace(dbdict={})
    with pytest.raises(ValueError, match="refuse --use_cache"):
        ask(model, instance("2+2?"))


def test_reasoning_that_the_template_opened_and_the_limit_cut_is_no_answer(thinker: Any) -> None:
    results = evaluate(
        thinker, "distill_demo", gen_kwargs={"max_gen_toks": 5, "temperature": 1.0}, limit=6
    )
    for record in records_of(results, "distill_demo"):
        if record["finish_reason"] == "length" and record["state"] != "orphan_close":
            assert (record["state"], record["answer_chars"]) == ("unclosed", 0)
            assert (record["verdict"], record["truncated"]) == ("truncated", True)


def test_special_tokens_that_mark_reasoning_are_kept() -> None:
    words = tiny.tokenizer(special=(*tiny.QWEN, "[THINK]", "[/THINK]"))
    lm = SimpleNamespace(
        tok_decode=lambda tokens, skip_special_tokens=True: words.decode(
            tokens, skip_special_tokens=skip_special_tokens
        )
    )
    marked = words.encode("[THINK]r[/THINK]a", add_special_tokens=False)
    assert engines.text_of(lm, marked) == "[THINK]r[/THINK]a"
    assert engines.text_of(lm, words.encode("a<|im_start|>b", add_special_tokens=False)) == "ab"


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<｜Assistant｜><think>", True),
        ("[INST]q[/INST][THINK]", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("write <think> and </think>.<|im_end|>\n<|im_start|>assistant\n", False),
        ("What does <think> mean?", False),
        ("", False),
    ],
)
def test_a_prompt_that_opens_the_reasoning_is_known(prompt: str, opened: bool) -> None:
    assert opens_reasoning(prompt) is opened


@pytest.mark.parametrize("templated", [True, False])
def test_prompts_without_the_chat_template_are_told(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, templated: bool
) -> None:
    play(model, lambda _: ("\\boxed{4}", "stop"))
    with caplog.at_level(logging.WARNING):
        evaluate(model, "distill_demo", limit=2, apply_chat_template=templated)
    assert ("without its chat template" in caplog.text) is not templated


@pytest.mark.parametrize(
    ("temperature", "text", "said"),
    [
        (0.0, "<think>r</think>4", "the model reasons and was sampled at temperature 0"),
        (0.0, "4", "several samples of one doc at temperature 0 are copies"),
        (0.7, "<think>r</think>4", ""),
    ],
)
def test_doubtful_sampling_is_told(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    temperature: float, text: str, said: str,
) -> None:  # fmt: skip
    play(model, lambda _: (text, "stop"))
    request = instance(
        "<|im_end|>\n<|im_start|>assistant\n", temperature=temperature, max_gen_toks=50
    )
    with caplog.at_level(logging.WARNING):
        ask(model, request, request)
    assert said in caplog.text if said else not caplog.records


class FakeVLLM:
    """What the engine uses of lm-eval's VLLM."""

    def __init__(self, batch_size: Any = 1) -> None:
        self.batch_size = batch_size
        self.max_gen_toks = 256
        self.max_length = 2048
        self.eot_token_id = 0
        self.enable_thinking: bool | None = True
        self.think_end_token: str | None = "</think>"
        self.cache_hook = SimpleNamespace(dbdict=None)
        self.tokenizer = SimpleNamespace(chat_template=None, decode=lambda _: "<eos>")
        self.calls: list[Any] = []
        config = SimpleNamespace(max_num_batched_tokens=10)
        self.model = SimpleNamespace(
            llm_engine=SimpleNamespace(vllm_config=SimpleNamespace(scheduler_config=config))
        )

    def tok_encode(self, prompts: list[str]) -> list[list[int]]:
        return [list(map(ord, prompt)) for prompt in prompts]

    def _model_generate(self, requests: Any, generate: bool, sampling_params: Any) -> Any:
        self.calls.append((requests, sampling_params, self.batch_size, self.think_end_token))
        return [
            SimpleNamespace(
                prompt_token_ids=tokens,
                outputs=[
                    SimpleNamespace(
                        text="<think>" + "".join(map(chr, tokens)),
                        finish_reason="length",
                        token_ids=[1, 2, 3],
                    )
                ],
            )
            for tokens in requests
        ]

    def generate_until(self, requests: Any) -> list[str]:
        raise AssertionError("this is lm-eval's own")


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeVLLM]]:
    """Put a stand-in for the package vllm in place; the argument says whether it has a CPU only."""

    def build(is_cpu: bool = False) -> FakeVLLM:
        platform = SimpleNamespace(is_cpu=lambda: is_cpu)
        module = SimpleNamespace(SamplingParams=lambda **fields: fields)
        monkeypatch.setitem(sys.modules, "vllm", module)
        monkeypatch.setitem(
            sys.modules, "vllm.platforms", SimpleNamespace(current_platform=platform)
        )
        made: Any = type("VLLM", (FakeVLLM,), {})
        attach(made, engines.VLLM())
        model: FakeVLLM = made()
        return model

    return build


def test_vllm_gets_all_samples_at_once_each_with_its_seed(
    fake_vllm: Callable[..., FakeVLLM],
) -> None:
    model = fake_vllm()
    sampled = {"preset": "qwen3-thinking", "max_gen_toks": 3}
    requests = [instance(prompt, i, **sampled) for i, prompt in enumerate(("a", "bb"))]
    done = ask(model, requests[0], requests[0], requests[1])
    ((prompts, params, batch_size, think_end_token),) = model.calls
    assert [len(tokens) for tokens in prompts] == [2, 1, 1]
    seeds = [seed_for("distill_x", doc, k) for doc, k in ((1, 0), (0, 0), (0, 1))]
    assert [fields["seed"] for fields in params] == seeds
    assert all(
        (fields["temperature"], fields["top_k"], fields["max_tokens"]) == (0.6, 20, 3)
        and fields["stop"] == ["<eos>"]
        for fields in params
    )
    assert (batch_size, think_end_token) == ("auto", None)
    assert (model.batch_size, model.think_end_token) == (1, "</think>")
    assert done == ["<think>a", "<think>a", "<think>bb"]
    assert [c.sample_index for c in done] == [0, 1, 0]
    assert done[0].finish_reason == "length"
    assert done[2].usage == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    info: Any = model.get_model_info()  # type: ignore[attr-defined]
    assert info["sampling"]["max_tokens"] == 3
    assert (info["base_seed"], info["seeded"]) == (1234, "sample")


def test_vllm_on_a_cpu_gets_no_more_prompt_tokens_than_it_reads_at_once(
    fake_vllm: Callable[..., FakeVLLM],
) -> None:
    model = fake_vllm(is_cpu=True)
    prompts = ["a" * 4, "b" * 4, "c" * 4, "d" * 12, "e" * 2]
    done = ask(model, *(instance(prompt, i) for i, prompt in enumerate(prompts)))
    assert [[len(tokens) for tokens in call[0]] for call in model.calls] == [[12], [4, 4], [4, 2]]
    assert done == [f"<think>{prompt}" for prompt in prompts]


def test_vllm_takes_the_limit_of_its_own_arguments(fake_vllm: Callable[..., FakeVLLM]) -> None:
    model = fake_vllm()
    model.max_gen_toks = 700
    ask(model, instance("a"), instance("b", 1, max_gen_toks=50, task="distill_y"))
    assert sorted(call[1][0]["max_tokens"] for call in model.calls) == [50, 700]


def test_an_enable_thinking_that_nobody_settled_is_told(
    fake_vllm: Callable[..., FakeVLLM], caplog: pytest.LogCaptureFixture
) -> None:
    model: Any = fake_vllm()
    model.tokenizer.apply_chat_template = lambda *_, **__: "distill-eval asks:"
    model.apply_chat_template = lambda _: "distill-eval asks:<think></think>"
    ask(model, instance("q:"))
    assert "enable_thinking=None" not in caplog.text
    model.enable_thinking = None
    ask(model, instance("q:"))
    assert "enable_thinking=None" in caplog.text


def test_every_ask_has_the_seed_of_its_sample() -> None:
    requests = [instance("p", doc_id=3, seed=5)] * 2
    made: list[Ask] = asks_of(requests, engines.HF())
    assert [one.seed for one in made] == [seed_for("distill_x", 3, k, 5) for k in (0, 1)]


def test_the_command_runs_hf_with_a_preset_and_says_what_was_sampled(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPO), "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness_tasks", "run", "--run", "base", "--model", "hf"),
            *("--model_args", f"pretrained={tiny.folder()}", "--device", "cpu"),
            *("--tasks", "distill_demo", "--apply_chat_template", "--limit", "3"),
            *("--preset", "deepseek-r1", "--repeats", "2", "--gen_kwargs", "max_gen_toks=24"),
        ],
        capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "runs/base/manifest.json").read_text(encoding="utf-8"))
    sampling = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 24}
    assert manifest["sampling"] == manifest["tasks"]["distill_demo"]["sampling"] == sampling
    assert manifest["server"]["kind"] == "hf in process"
    assert manifest["model"]["requested"] == str(tiny.folder())
    (path,) = (tmp_path / "runs/base").rglob("samples_*.jsonl")
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert [record["sample_index"] for record in row["samples"]] == [0, 1]
        assert len(set(row["resps"][0])) == 2
        for record in row["samples"]:
            assert record["truncated"] is (record["finish_reason"] == "length")
