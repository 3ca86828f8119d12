"""How a template begins the answer, and what stands in a prompt, by each server's own words."""

from __future__ import annotations

from typing import Any

import pytest

from harness_tasks.doctor.probe import QUESTION
from harness_tasks.doctor.prompts import added_words
from harness_tasks.doctor.rendered import (
    OPENED,
    PLAIN,
    SWITCHED_OFF,
    begins_with,
    prompt_of,
    tokens_of_prompt,
    without_parser,
)
from tests.fakes import FakeUpstream, Received, reply_json
from tests.harness_tasks.doctor.asked import context_of, found_by, server_of, statuses
from tests.misbehaving import OPENER, THINKER, MisbehavingServer

LLAMA = {"data": [{"id": "m", "owned_by": "llamacpp"}]}


def rendering(template: str) -> FakeUpstream:
    """Return a llama-server whose template is this text around the question."""

    def told(request: Received) -> Any:
        if request.path == "/v1/models":
            return reply_json(LLAMA)
        if request.path == "/apply-template":
            return reply_json({"prompt": template.replace("Q", QUESTION)})
        return reply_json({"error": "none"}, status=404)

    return FakeUpstream(told, models=told)


@pytest.mark.parametrize(
    ("template", "begins"),
    [
        ("<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n", PLAIN),
        ("<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n", OPENED),
        ("<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
         SWITCHED_OFF),
        ("<｜begin▁of▁sentence｜><｜User｜>Q<｜Assistant｜><think>\n", OPENED),
        ("<s>[INST] Q [/INST]", PLAIN),
        ("<s>[INST]Q[/INST][THINK]", OPENED),
        ("<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n", PLAIN),
        ("USER: say <think> never. Q ASSISTANT:", PLAIN),
        ("no question here", None),
    ],
)  # fmt: skip
def test_how_a_template_begins_the_answer(template: str, begins: str | None) -> None:
    with rendering(template) as fake:
        assert begins_with(server_of(fake.url), QUESTION) == begins


@pytest.mark.parametrize("image", ["vllm", "sglang", "llamacpp"])
def test_three_kinds_of_server_show_the_prompt(image: str) -> None:
    with MisbehavingServer(image=image, model=OPENER) as fake:
        server = server_of(fake.url, system_prompt="Be brief.")
        prompt = prompt_of(server, QUESTION)
        assert prompt is not None
        assert "Be brief." in prompt
        assert begins_with(server, QUESTION) == OPENED


@pytest.mark.parametrize("image", ["vllm", "llamacpp"])
def test_their_tokens_are_those_of_the_reply(image: str) -> None:
    with MisbehavingServer(image=image) as fake:
        server = server_of(fake.url)
        tokens = tokens_of_prompt(server, QUESTION)
        assert tokens is not None
        assert tokens.n_tokens == server.ask(QUESTION).usage["prompt_tokens"]
        assert tokens.first[0] == "<s>"


@pytest.mark.parametrize("image", ["transformers", "ollama", "openrouter"])
def test_the_others_show_nothing(image: str) -> None:
    with MisbehavingServer(image=image) as fake:
        server = server_of(fake.url, model="base")
        assert prompt_of(server, QUESTION) is None
        assert tokens_of_prompt(server, QUESTION) is None
        assert without_parser(server, QUESTION) is None
        assert begins_with(server, QUESTION) is None


@pytest.mark.parametrize("image", ["vllm", "sglang", "llamacpp"])
def test_a_text_without_a_parser_has_its_tags(image: str) -> None:
    with MisbehavingServer(image=image, model=THINKER) as fake:
        server = server_of(fake.url)
        assert server.ask(QUESTION).reasoning
        assert (without_parser(server, QUESTION) or "").startswith("<think>")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("<|im_start|>system\nYou are wise.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n",
         "You are wise."),
        ("<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 1 May\n\n<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nQ", "Today Date: 1 May"),
        ("<|im_start|>user\nQ<|im_end|>\n", None),
        ("<s>[INST] Q [/INST]", None),
    ],
)  # fmt: skip
def test_words_that_a_template_adds_are_shown(template: str, words: str | None) -> None:
    with rendering(template) as fake:
        context = context_of(fake)
        found = found_by(lambda c: added_words(c, server_of(fake.url)), context)
        assert [words in finding.found for finding in found if words] == [True] * bool(words)
        assert statuses(found) == ["pass"] * bool(words)
        thinking = context_of(fake, preset="deepseek-r1")
        found = found_by(lambda c: added_words(c, server_of(fake.url)), thinking)
        assert statuses(found) == ["warn"] * bool(words)
