"""What a run is warned of before it asks, while completions come in, and at its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from harness_tasks.chat import doubts
from harness_tasks.chat.asking import Job
from harness_tasks.chat.doubts import Asked, Watch
from harness_tasks.chat.endpoint import Offered
from harness_tasks.chat.settings import RequestFields
from harness_tasks.completion import Completion
from tests.fakes import FakeUpstream, chat
from tests.harness_tasks.test_local_chat import ask, instance

SYSTEM = {"role": "system", "content": "You are helpful."}
USER = {"role": "user", "content": "2+2?"}
NOTHING = Offered(names=["m"])


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    logging.getLogger("harness_tasks").propagate = True
    with caplog.at_level(logging.INFO, logger="harness_tasks"):
        yield


def job(task: str = "toy", sample_index: int = 0, messages: Any = None, **sampling: Any) -> Job:
    fields = RequestFields({"temperature": 0.6, **sampling}, [], 1, [], False)
    return Job(task, sample_index, "r", messages or [USER], fields, 7)


def cut(tokens: int = 100) -> Completion:
    return Completion(content="so", finish_reason="length", usage={"completion_tokens": tokens})


def whole(tokens: int = 40) -> Completion:
    return Completion(content="so", finish_reason="stop", usage={"completion_tokens": tokens})


def said_of(*completions: Completion, **sampling: Any) -> list[str]:
    said: list[str] = []
    watch = Watch(said.append)
    for completion in completions:
        watch.note(job(**sampling), completion)
    return said


def test_a_limit_that_is_too_small_is_said_while_completions_come_in() -> None:
    (said,) = said_of(*[whole(90)] * 8, cut(), cut(), max_tokens=100)
    assert said == (
        "toy: 2 of 10 completions so far were cut off at max_tokens=100 (those that finished took "
        "up to 90 tokens) and count as not solved; raise max_tokens, or ask them again afterwards: "
        "distill-eval run --retry-truncated --max-tokens 200 (with lm_eval: "
        "store=FILE,retry_truncated=200)"
    )


def test_it_is_said_again_where_it_has_doubled_and_not_each_time() -> None:
    said = said_of(*[whole()] * 5, *[cut()] * 35, max_tokens=100)
    assert [one.split(" ")[1] for one in said] == ["5", "10", "20"]


@pytest.mark.parametrize(
    "completions",
    [
        [cut()] * 9,  # too few to tell
        [*[whole()] * 20, cut()],  # one alone
        [*[whole()] * 98, cut(), cut()],  # too small a share
        [Completion(error="HTTP 500")] * 40,
    ],
)
def test_what_says_little_is_not_said_yet(completions: list[Completion]) -> None:
    assert said_of(*completions, max_tokens=100) == []


def test_the_last_numbers_of_a_task_are_said_at_its_end() -> None:
    said: list[str] = []
    watch = Watch(said.append)
    for completion in [cut()] * 3:
        watch.note(job("small", max_tokens=64), completion)
        watch.note(job("fine", max_tokens=64), whole())
    watch.at_end()
    assert [one.split(" (")[0].split(" were")[0] for one in said] == ["small: 3 of 3 completions"]
    watch.at_end()
    assert len(said) == 1


def test_the_context_of_the_server_is_a_limit_too() -> None:
    (said,) = said_of(*[cut()] * 10)
    assert "cut off by the server's context" in said
    assert said.endswith("serve the model with a longer context")


def test_completions_that_end_far_below_max_tokens_were_cut_off_by_the_context() -> None:
    """llama.cpp answers up to the end of a slot's context, and says length as at max_tokens."""
    (said,) = said_of(*[cut(799), cut(812)] * 5, max_tokens=32768)
    assert "cut off by the server at up to 812 tokens, before max_tokens=32768" in said
    assert said.endswith("serve the model with a longer context")
    assert "--retry-truncated" not in said
    (said,) = said_of(*[cut(100)] * 9, cut(50), max_tokens=100)
    assert "cut off at max_tokens=100" in said


def test_tasks_are_counted_apart() -> None:
    said: list[str] = []
    watch = Watch(said.append)
    for _ in range(6):
        watch.note(job("a", max_tokens=9), cut())
        watch.note(job("b", max_tokens=9), cut())
    assert said == []


def test_greedy_decoding_of_a_model_that_thinks_is_said_with_its_first_reasoning() -> None:
    thinking = Completion(content="4", reasoning="2 and 2", finish_reason="stop")
    assert "repeat themselves without end" in said_of(thinking, temperature=0)[0]
    assert said_of(thinking, temperature=0.6) == []
    assert said_of(whole(), temperature=0) == []


@pytest.mark.parametrize(
    ("preset", "sampling", "warned"),
    [
        ("deepseek-r1", {"temperature": 0}, True),
        ("qwen3-thinking", {"temperature": 0, "chat_template_kwargs": {}}, True),
        ("qwen3-thinking", {"temperature": 0.6}, False),
        (None, {"temperature": 0, "chat_template_kwargs": {"enable_thinking": True}}, True),
        ("qwq", {"temperature": 0, "chat_template_kwargs": {"enable_thinking": False}}, False),
        (None, {"temperature": 0}, False),
        ("greedy", {"temperature": 0}, False),
    ],
)
def test_greedy_decoding_is_said_beforehand_where_thinking_was_asked_for(
    preset: str | None, sampling: dict[str, Any], warned: bool
) -> None:
    said = list(doubts.before([job(**sampling)], Asked("m", NOTHING, preset)))
    assert any("asked to think is sampled at temperature 0" in one for one in said) is warned


@pytest.mark.parametrize(
    ("model", "told", "preset", "warned"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", {}, None, True),
        ("deepseek_r1_0528", {}, None, True),
        ("student", {"root": "/models/DeepSeek-R1-Distill-Llama-8B"}, None, True),
        ("student", {}, "deepseek-r1", True),
        ("student", {"root": "/models/Qwen2.5"}, None, False),
        ("Qwen3-8B", {}, "qwen3-thinking", False),
        ("r1cheese", {}, None, False),
    ],
)
def test_a_system_prompt_on_an_r1_style_model_is_said(
    model: str, told: dict[str, Any], preset: str | None, warned: bool
) -> None:
    asked_for = Asked(model, Offered(names=[model], told={model: told}), preset)
    said = list(doubts.before([job(messages=[SYSTEM, USER])], asked_for))
    assert any("system prompt" in one for one in said) is warned
    assert not list(doubts.before([job()], asked_for))


@pytest.mark.parametrize(
    ("preset", "task", "n", "hint"),
    [
        ("deepseek-r1", "distill_aime24", 1, "have 64 samples of each question, this run 1"),
        ("deepseek-r1", "distill_aime24", 64, None),
        ("deepseek-r1", "distill_math500", 1, None),
        ("thesis", "distill_math500", 1, "have 2 samples of each question, this run 1"),
        ("thesis", "distill_math500", 2, None),
        ("qwq", "distill_lcb_v5", 4, "have 8 samples of each question, this run 4 (--repeats 8"),
        ("greedy", "distill_aime24", 1, None),
        (None, "distill_aime24", 1, None),
    ],
)
def test_the_published_number_of_samples_is_a_hint(
    preset: str | None, task: str, n: int, hint: str | None
) -> None:
    jobs = [job(task, index) for _ in range(3) for index in range(n)]
    said = list(doubts.hints(jobs, Asked("m", NOTHING, preset)))
    assert len(said) == (hint is not None)
    assert hint is None or hint in said[0]


def test_a_run_says_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    asked = [instance(doc_id=number, task="distill_aime24") for number in range(12)]
    script = chat("so", reasoning="hm", finish_reason="length")
    with FakeUpstream(script) as server:
        ask(
            server, *asked, model="fake", preset="deepseek-r1", temperature=0, max_tokens=7,
            system_prompt="Be brief.",
        )  # fmt: skip
    for words in (
        "distill_aime24: the published scores of preset deepseek-r1 have 64 samples",
        "a model that is asked to think is sampled at temperature 0",
        "a system prompt is sent to an R1-style model",
        "10 of 10 completions so far were cut off at max_tokens=7",
        "the model reasons and was sampled at temperature 0",
        "12 of 12 completions were cut off at max_tokens=7",
    ):
        assert caplog.text.count(words) == 1, words
