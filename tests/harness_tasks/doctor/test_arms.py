"""Whether an adapter is applied: by texts, else by probabilities, and not by noise."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from harness_tasks.doctor.arms import arms, likelihoods, lora
from harness_tasks.doctor.finding import Context, Finding
from tests.fakes import Answer, FakeUpstream, Received, chat, reply_json
from tests.harness_tasks.doctor.asked import context_of, found_by, server_of, statuses
from tests.misbehaving import OPENER, THINKER, MisbehavingServer

TWO = ("base", "student")
HOSTED = {"image": "openrouter"}


def with_probabilities(told: Callable[[str], Any]) -> Callable[[Received], Answer]:
    """Answer every question with one text, and with first-token probabilities by model."""

    def script(request: Received) -> Answer:
        if not request.body.get("logprobs"):
            return chat("always this")(request)
        tops = told(request.body["model"])
        choice = {
            "index": 0, "finish_reason": "length",
            "message": {"role": "assistant", "content": "a"},
            "logprobs": {"content": [{"token": "a", "top_logprobs": tops}]},
        }  # fmt: skip
        return reply_json({"model": request.body["model"], "choices": [choice]})

    return script


def two_on(fake: FakeUpstream, one: str = "student", two: str = "base") -> Context:
    context = context_of(fake, model=one)
    return dataclasses.replace(context, against=server_of(fake.url, model=two))


def tops(value: float) -> list[dict[str, Any]]:
    return [{"token": "a", "logprob": value}, {"token": "b", "logprob": -9.0}]


def test_equal_texts_and_equal_probabilities_are_one_model() -> None:
    with FakeUpstream(with_probabilities(lambda model: tops(-0.1)), models=TWO) as fake:
        [found] = found_by(lora, two_on(fake))
    assert found.status == "fail"
    assert "and the same probabilities" in found.found
    assert "--enable-lora" in found.fix


def test_an_adapter_that_changes_no_text_shows_in_the_probabilities() -> None:
    told = {"base": tops(-0.1), "student": tops(-0.2)}
    with FakeUpstream(with_probabilities(told.__getitem__), models=TWO) as fake:
        [found] = found_by(lora, two_on(fake))
    assert found.status == "warn"
    assert "changes next to nothing" in found.why


def test_probabilities_that_differ_from_themselves_prove_nothing() -> None:
    noise = itertools.count()
    with FakeUpstream(
        with_probabilities(lambda model: tops(-0.1 - next(noise) / 100)), models=TWO
    ) as fake:
        assert statuses(found_by(lora, two_on(fake))) == ["fail"]


@pytest.mark.parametrize(
    "told", [None, [], "x", [{"token": "a"}], [{"token": "a", "logprob": "NaN"}], [None, 3]]
)
def test_a_server_without_probabilities_is_judged_by_texts_alone(told: Any) -> None:
    with FakeUpstream(with_probabilities(lambda model: told), models=TWO) as fake:
        context = two_on(fake)
        assert likelihoods(context.server) is None  # type: ignore[arg-type]
        [found] = found_by(lora, context)
    assert found.status == "fail"
    assert "probabilities" not in found.found


def test_texts_that_differ_as_much_as_one_models_own_are_noise() -> None:
    turn = itertools.count()
    with FakeUpstream(lambda r: chat(f"text {next(turn)}")(r), models=TWO) as fake:
        [found] = found_by(lora, two_on(fake))
    assert found.status == "warn"
    assert "noise" in found.why


def test_an_adapter_that_is_applied_passes() -> None:
    with MisbehavingServer(adapters={"student": "tuned"}) as fake:
        [found] = found_by(lora, two_on(fake))
    assert found.status == "pass"
    # Two questions that tell the models apart are enough: no more are asked.
    assert found.found == "the two models differ on 2 of 3 questions"


def test_a_model_is_not_held_against_itself() -> None:
    with MisbehavingServer() as fake:
        context = two_on(fake, "base", "base")
        assert statuses(found_by(arms, context)) == ["fail"]
        assert found_by(lora, context) == []


@pytest.mark.parametrize(
    ("traits", "what"),
    [
        ({"context": 2048}, "student: 2048 tokens for prompt and completion"),
        ({"image": "sglang"}, "server: vLLM 0.32.0 against SGLang 0.5.3"),
        ({"adds_system_prompt": True}, "the prompts differ: "),
    ],
)
def test_arms_that_are_asked_in_two_ways_are_told(traits: dict[str, Any], what: str) -> None:
    with MisbehavingServer() as one, MisbehavingServer(names=("student",), **traits) as two:
        context = dataclasses.replace(context_of(one), against=server_of(two.url))
        found = found_by(arms, context)
    assert set(statuses(found)) == {"warn"}
    assert any(what in finding.found for finding in found)


def test_arms_that_are_asked_alike_pass() -> None:
    with MisbehavingServer() as one, MisbehavingServer(names=("student",)) as two:
        context = dataclasses.replace(context_of(one), against=server_of(two.url))
        assert statuses(found_by(arms, context)) == ["pass"]


def on_two_servers(one: dict[str, Any], two: dict[str, Any], **given: Any) -> list[Finding]:
    with MisbehavingServer(**one) as first, MisbehavingServer(names=("other",), **two) as second:
        other = server_of(second.url)
        return found_by(arms, dataclasses.replace(context_of(first, **given), against=other))


def test_a_template_that_only_opens_the_think_tag_is_told_and_no_doubt() -> None:
    for one, two in ((OPENER, THINKER), (THINKER, OPENER)):
        found = on_two_servers({"model": one}, {"model": two})
        assert statuses(found) == ["pass", "pass"]
        assert "opens the think tag" in found[1].found


def test_other_prompts_are_a_warning_that_knows_of_templates_of_their_own() -> None:
    [shown] = on_two_servers({}, {"adds_system_prompt": True})
    [counted] = on_two_servers(HOSTED, {**HOSTED, "adds_system_prompt": True})
    assert (shown.status, counted.status) == ("warn", "warn")
    assert "prompt tokens against" in counted.found
    assert "a base beside an R1-style student" in shown.why


def test_what_spoils_the_second_arm_alone_is_found() -> None:
    swallowed = on_two_servers({"model": THINKER}, {"swallows_answer": True})
    assert [(f.status, f.found) for f in swallowed] == [
        ("fail", "other: '12' arrived as reasoning, with no content")
    ]
    small = on_two_servers({}, {"context": 512}, max_tokens=600, max_tokens_is_default=False)
    assert [f.status for f in small] == ["fail"]
    assert small[0].found.startswith("other: 512 tokens for prompt and completion")


def test_arms_of_unlike_speed_are_asked_for_texts_of_one_length() -> None:
    with MisbehavingServer(adapters={"student": "x"}, ignores_adapter=True) as fake:
        context = two_on(fake)
        assert context.against is not None
        context.against.probe_tokens = 16
        found_by(arms, context)
        assert statuses(found_by(lora, context)) == ["fail"]


def test_a_second_server_that_is_gone_fails() -> None:
    with MisbehavingServer() as one:
        with MisbehavingServer(names=("student",)) as two:
            other = server_of(two.url)
        found = found_by(arms, dataclasses.replace(context_of(one), against=other))
    assert statuses(found) == ["fail"]
    assert "does not answer" in found[0].found
