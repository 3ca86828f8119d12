"""Every way in which a server misbehaves is found by its check, and a clean server passes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from harness_tasks.chat.settings import read_settings
from harness_tasks.cli import main
from harness_tasks.doctor import probe
from harness_tasks.doctor.checks import CHECKS, walk
from harness_tasks.doctor.command import context_of, doctor
from harness_tasks.doctor.finding import Finding
from tests.fakes import Answer, FakeUpstream
from tests.misbehaving import KEY, OPENER, THINKER, MisbehavingServer, Traits
from tests.server_images import IMAGES
from tests.simulated_model import SimulatedModel

OF_SERVERS = [check for check in CHECKS if check.needs != "nothing"]
# llama-server samples with filters of its own unless they are switched off.
NEUTRAL = {"llamacpp": {"model_args": json.dumps({"top_k": 0, "min_p": 0})}}
R1 = {"preset": "deepseek-r1"}
CHATTERER = SimulatedModel(knows_sums=False, n_answer=400)


def looked(traits: Mapping[str, Any], **options: Any) -> Iterator[Finding]:
    """Yield what the checks of servers find at a server with these traits."""
    with MisbehavingServer(**traits) as server:
        given = {**NEUTRAL.get(server.traits.image, {}), "base_url": server.url, **options}
        argv = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        params = doctor.make_context("doctor", argv).params
        context = context_of({k: v for k, v in params.items() if k not in ("as_json", "debug")})
        yield from walk(context, OF_SERVERS, lambda *_: None)


def findings(traits: Mapping[str, Any], **options: Any) -> list[Finding]:
    return list(looked(traits, **options))


def doubts(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.check, f.status, f.found) for f in found if f.broken or f.status in ("warn", "fail")]


CLEAN = {
    "plain": {},
    "thinks": {"model": THINKER},
    "thinks, tags in the content": {"model": THINKER, "parser": False},
    "prefilled": {"model": OPENER},
    "prefilled, tags in the content": {"model": OPENER, "parser": False},
    "thinks long": {"model": replace(THINKER, n_reasoning=300)},
    "prefilled and long": {"model": replace(OPENER, n_reasoning=300)},
    "long, tags in the content": {"model": replace(THINKER, n_reasoning=300), "parser": False},
}
# The three ways to see a prompt, or none, meet all models; the other images those that differ most.
ALL_KINDS = ("vllm", "llamacpp", "ollama")
FEW_KINDS = ("plain", "thinks", "prefilled, tags in the content")


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (image, kind)
        for image in IMAGES
        for kind in CLEAN
        if image in ALL_KINDS or kind in FEW_KINDS
    ],
)
def test_a_clean_server_of_any_kind_passes(image: str, kind: str) -> None:
    preset = {} if kind == "plain" else R1
    named = {"model": "base"} if IMAGES[image].lists_cache else {}
    found = findings({"image": image, **CLEAN[kind]}, **preset, **named)
    assert doubts(found) == []
    assert {"reasoning", "think_tag", "length", "seeds", "stream", "concurrency"} <= {
        finding.check for finding in found if finding.status == "pass"
    }


@pytest.mark.parametrize("image", ["vllm", "sglang", "llamacpp"])
def test_reasoning_that_the_template_begins_and_that_is_cut_off_is_known_for_what_it_is(
    image: str,
) -> None:
    model = replace(OPENER, n_reasoning=300)
    found = findings({"image": image, "model": model, "parser": False}, **R1)
    assert doubts(found) == []
    assert "begun by the template" in next(f.found for f in found if f.check == "reasoning")


def test_reasoning_behind_a_prompt_that_is_not_shown_is_waited_for() -> None:
    model = replace(OPENER, n_reasoning=300)
    found = findings({"image": "ollama", "model": model, "parser": False}, **R1)
    assert doubts(found) == []
    by_check = {finding.check: finding.found for finding in found}
    assert by_check["reasoning"] == "in the content, between tags, which are split here"
    assert by_check["think_tag"].startswith("prefilled: the template opens it")


NAMES = {
    "vllm": "vLLM 0.32.0",
    "sglang": "SGLang 0.5.3",
    "llamacpp": "llama.cpp b6500-abcdef",
    "transformers": "transformers serve",
    "ollama": "Ollama 0.12.3",
    "openrouter": "OpenRouter",
}


@pytest.mark.parametrize("image", IMAGES)
def test_the_kind_of_the_server_is_told(image: str) -> None:
    first, *_ = findings({"image": image}, model="base")
    assert (first.check, first.status) == ("reachable", "pass")
    assert first.found.startswith(f"{NAMES[image]} at http://127.0.0.1:")


class Case(NamedTuple):
    """One misbehaviour: what is found of it, and by which check."""

    traits: dict[str, Any]
    options: dict[str, Any]
    check: str
    status: str
    found: str


CASES = {
    "a web page": Case({"web_page": True}, {}, "reachable", "fail", "web page"),
    "no list of models": Case({"lists_nothing": True}, {}, "model", "fail", "does not list"),
    "a key is wanted": Case({"needs_key": True}, {}, "reachable", "fail", "it wants a key"),
    "a key is wanted at the first request": Case(
        {"needs_key": True, "image": "openrouter"}, {}, "answers", "fail", "it wants a key"
    ),
    "several models": Case({"names": ("base", "student")}, {}, "model", "fail", "base, student"),
    "another name": Case({}, {"model": "bsae"}, "model", "fail", "has no model 'bsae'"),
    "x-request-id is refused": Case(
        {"refuses_request_id": True, "image": "llamacpp"}, {}, "answers", "fail",
        "without the header x-request-id it answers",
    ),
    "another model answers": Case({"renames_model": True}, {}, "answers", "warn", "another/model"),
    "errors": Case({"errors": (500,) * 9}, {}, "answers", "fail", "HTTP 500"),
    "errors in good replies": Case(
        {"errors": (200,) * 9}, {}, "answers", "fail", "the engine is dead"
    ),
    "half of a reply": Case({"not_json": True}, {}, "answers", "fail", "not valid JSON"),
    "small context": Case(
        {"context": 4096}, {"max-tokens": 8192}, "context", "fail", "4096 tokens"
    ),
    "small context, max_tokens not set": Case(
        {"context": 4096}, {}, "context", "warn", "4096 tokens"
    ),
    "no room for the prompt": Case(
        {"context": 33_000}, {"max-tokens": 32_768}, "context", "warn", "33000 tokens"
    ),
    "context shared out among slots": Case(
        {"context": 4096, "image": "llamacpp"}, {"max-tokens": 8192}, "context", "fail", "/slots"
    ),
    "the small context of Ollama": Case(
        {"context": 4096, "image": "ollama"}, {"max-tokens": 8192}, "context", "fail", "/api/ps"
    ),
    "few slots": Case(
        {"slots": 2, "image": "llamacpp"}, {}, "slots", "warn", "2 slots for 8 requests"
    ),
    "a parser swallows the answer": Case(
        {"swallows_answer": True}, {}, "reasoning", "fail", "'12' arrived as reasoning"
    ),
    "a parser swallows a long answer": Case(
        {"swallows_answer": True, "model": CHATTERER}, {}, "reasoning", "fail",
        "the model writes no tag",
    ),
    "a hosted parser swallows a long answer": Case(
        {"swallows_answer": True, "model": CHATTERER, "image": "openrouter"}, {}, "reasoning",
        "fail", "arrived as reasoning",
    ),
    "reasoning is dropped": Case(
        {"drops_reasoning": True, "model": THINKER}, {}, "reasoning", "warn", "hidden"
    ),
    "tags are taken away": Case(
        {"strips_tags": True, "model": THINKER}, {}, "reasoning", "fail", "tags are taken away"
    ),
    "tags that the template opened are taken away": Case(
        {"strips_tags": True, "model": OPENER}, {}, "reasoning", "fail", "tags are taken away"
    ),
    "thinking is switched off": Case(
        {"bypasses_thinking": True, "model": THINKER}, R1, "think_tag", "fail", "switched off"
    ),
    "thinking is switched off, unseen": Case(
        {"bypasses_thinking": True, "model": THINKER, "image": "ollama"}, R1, "reasoning", "warn",
        "Ollama says that the model thinks",
    ),
    "only whole replies are split": Case(
        {"splits_whole_only": True, "model": THINKER}, R1, "stream", "fail", "content, reasoning"
    ),
    "seeds are passed over": Case(
        {"ignores_seed": True}, {}, "seeds", "warn", "the same seed gave two texts"
    ),
    "one seed for all": Case({"one_seed": True}, R1, "seeds", "fail", "three seeds gave one text"),
    "temperature is passed over": Case(
        {"ignores_temperature": True}, R1, "seeds", "fail", "three seeds gave one text"
    ),
    "one generator for all": Case(
        {"seeds_alone_only": True, "image": "transformers"}, {"model": "base"}, "concurrency",
        "warn", "gave another text than alone",
    ),
    "stop at the cap": Case({"says_stop": True}, {}, "length", "warn", "finish_reason 'stop'"),
    "stop at the cap, uncounted": Case(
        {"says_stop": True, "no_usage": True}, {}, "length", "fail", "nothing tells"
    ),
    "length of every answer": Case(
        {"says_length": True}, {}, "length", "fail", "finish_reason 'length' after 46 tokens"
    ),
    "a usage of zeros": Case({"zero_usage": True}, {}, "length", "warn", "no usage"),
    "the cap is passed over": Case({"ignores_cap": True}, {}, "length", "fail", "not honoured"),
    "a lower cap": Case({"caps_at": 20}, {}, "length", "fail", "after 20 tokens where 64"),
    "no finish_reason": Case({"no_finish_reason": True}, {}, "length", "warn", "None"),
    "no usage": Case({"no_usage": True}, {}, "length", "warn", "no usage"),
    "two begin tokens": Case(
        {"bos_twice": True}, {}, "prompt_tokens", "fail", "two begin tokens"
    ),
    "two begin tokens in llama.cpp": Case(
        {"bos_twice": True, "image": "llamacpp"}, {}, "prompt_tokens", "fail", "two begin tokens"
    ),
    "prompts are cut": Case(
        {"keeps_prompt_tokens": 10}, {}, "prompt_tokens", "fail", "shortens prompts"
    ),
    "prompts are cut, unseen": Case(
        {"keeps_prompt_tokens": 10, "image": "ollama"}, {}, "prompt_tokens", "fail",
        "shortens prompts",
    ),
    "a stream loses text": Case({"stream_loses_text": True}, {}, "stream", "fail", "content"),
    "streams break off": Case(
        {"stream_breaks_off": True}, {}, "answers", "fail", "closed inside its answer"
    ),
    "no streams": Case({"stream_ignored": True}, {}, "stream", "warn", "sends a whole reply"),
    "one at a time": Case(
        {"one_at_a_time": True, "pause_s": 0.15}, {}, "concurrency", "warn", "requests at once took"
    ),
    "too many at once": Case(
        {"at_once": 2, "pause_s": 0.2}, {}, "concurrency", "fail", "HTTP 503"
    ),
    "answers are mixed up": Case(
        {"mixes_up": True}, {}, "concurrency", "fail", "each other's answers"
    ),
    "a second request ends the first": Case(
        {"interrupts": True}, {}, "concurrency", "fail", "requests at once failed"
    ),
    "the adapter is not applied": Case(
        {"adapters": {"student": "x"}, "ignores_adapter": True},
        {"model": "student", "against-model": "base"}, "lora", "fail", "the same text to 4 of 4",
    ),
    "a stop string of llama.cpp's own": Case(
        {"own_stop": "Therefore", "image": "llamacpp"}, {}, "stop_strings", "fail", "'Therefore'"
    ),
    "a stop string of Ollama's own": Case(
        {"own_stop": "Therefore", "image": "ollama"}, {}, "stop_strings", "fail", "'Therefore'"
    ),
    "a hidden stop string that ends the reasoning": Case(
        {"own_stop": " ", "model": THINKER, "parser": False}, R1, "stop_strings", "warn",
        "ended inside its reasoning",
    ),
    "a hidden stop string behind a parser": Case(
        {"own_stop": " ", "model": THINKER}, R1, "reasoning", "fail", "ends without an answer"
    ),
    "fields are refused": Case(
        {"image": "transformers"}, {"model": "base", "preset": "qwen3-thinking"}, "sampling",
        "fail", "refuses top_k and min_p",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_misbehaviour_is_found(name: str) -> None:
    case = CASES[name]
    found = []
    for finding in looked(case.traits, **case.options):  # no further than to what is looked for
        found.append(finding)
        hit = (finding.check, finding.status) == (case.check, case.status)
        if hit and case.found in finding.found:
            return
    pytest.fail(f"{case.check} does not {case.status}: {doubts(found)}")


def test_no_misbehaviour_of_the_fake_goes_untested() -> None:
    switches = {f.name for f in fields(Traits) if f.default in (False, None, ())}
    in_tests_of_their_own = {"adds_system_prompt", "endless"}
    assert switches - in_tests_of_their_own <= {
        name for case in CASES.values() for name in case.traits
    }


def test_words_that_the_template_adds_are_shown() -> None:
    found = findings({"adds_system_prompt": True})
    assert doubts(found) == []
    told = [finding.found for finding in found if finding.check == "prompt_tokens"]
    assert any("'You are a helpful assistant.'" in text for text in told)


def test_an_adapter_that_is_applied_passes() -> None:
    found = findings({"adapters": {"student": "x"}}, model="student", **{"against-model": "base"})
    assert doubts(found) == []
    by_check = {finding.check: finding for finding in found}
    assert by_check["model"].found == "student, one of 2 served, an adapter on base"
    assert by_check["lora"].found == "the two models differ on 2 of 3 questions"


def test_a_server_that_is_busy_for_a_moment_is_a_warning() -> None:
    doubted = doubts(findings({"errors": (503,)}))
    assert [(check, status) for check, status, _ in doubted] == [("retries", "warn")]


@pytest.mark.parametrize("image", ["vllm", "llamacpp"])
def test_what_a_server_tells_without_end_is_as_if_it_told_nothing(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MAX_TOLD_BYTES", 1 << 20)
    found = findings({"image": image, "endless": True})
    assert doubts(found) == []
    assert {f.check for f in found if f.status == "skip"} >= {"prompt_tokens", "slots"}


def test_what_a_server_tells_bit_by_bit_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "GET_TIMEOUT_S", 0.2)
    drops = Answer(chunks=itertools.repeat(b" "), pause_s=0.05)
    with FakeUpstream(models=lambda _: drops) as server:
        told = probe.Server(read_settings({"base_url": server.url})).get("/props")
    assert told is None


def test_after_a_failure_to_answer_nothing_more_is_asked() -> None:
    found = findings({"not_json": True})
    rest = found[[f.check for f in found].index("answers") + 1 :]
    assert rest
    assert {(f.status, f.broken) for f in rest} == {("skip", False)}


def called(*argv: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["doctor", *argv])
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("traits", "code", "verdict"),
    [
        ({}, 0, "pass"),
        ({"renames_model": True}, 1, "warn"),
        ({"swallows_answer": True}, 2, "fail"),
    ],
)
def test_the_exit_code_and_json_say_what_it_comes_to(
    traits: dict[str, Any], code: int, verdict: str
) -> None:
    with MisbehavingServer(**traits) as server:
        exit_code, text = called("--base_url", server.url, "--json")
        shown_code, shown = called("--base_url", server.url)
    told = json.loads(text)
    assert (exit_code, told["exit_code"], told["verdict"]) == (code, code, verdict)
    assert told["server"] == {
        "base_url": server.url, "model": "base", "kind": "vllm", "version": "0.32.0"
    }  # fmt: skip
    assert {check.name for check in CHECKS} == {f["check"] for f in told["findings"]}
    assert shown_code == code
    assert shown.rstrip().endswith(f"exit code {code}")


def test_a_key_reaches_the_server_and_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)
    with MisbehavingServer(needs_key=True, renames_model=True) as server:
        argv = ("--base_url", server.url, "--api-key-env", "FAKE_KEY")
        outputs = [called(*argv), called(*argv, "--json")]
    assert [code for code, _ in outputs] == [1, 1]
    assert not any(KEY in text for _, text in outputs)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_names_of_a_hostile_server_do_not_reach_the_terminal(flags: tuple[str, ...]) -> None:
    with MisbehavingServer(names=("a\x1b[2J\x9b31m\u202e",), image="llamacpp") as server:
        _, text = called("--base_url", server.url, *flags)
    assert "\\x1b[2J" in text
    assert all(ch.isprintable() or ch == "\n" for ch in text)
