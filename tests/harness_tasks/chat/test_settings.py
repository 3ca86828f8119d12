"""model_args: names, types, refusals; and which source of a sampling field wins."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from harness_tasks.chat.settings import (
    READERS,
    Settings,
    read_settings,
    request_fields,
    request_id_of,
)
from harness_tasks.sampling import FIELDS, PRESETS, WHOLE
from tests.conftest import REPO

URL = {"base_url": "http://127.0.0.1:1"}


def fields_of(model_args: dict[str, Any], generation_kwargs: dict[str, Any]) -> dict[str, Any]:
    return request_fields(read_settings({**URL, **model_args}), generation_kwargs).sampling


def test_values_may_come_as_lm_eval_parses_them() -> None:
    settings = read_settings(
        {
            **URL,
            "model": 123,
            "run": 7,
            "num_concurrent": "16",
            "temperature": "0.6",
            "top_k": 20.0,
            "stream": "False",
            "timeout_s": 30,
            "chat_template_kwargs": '{"enable_thinking": false}',
            "headers": {"x-team": 5},
            "batch_size": 1,
            "device": "cuda",
            "max_batch_size": None,
        }
    )
    assert (settings.model, settings.run, settings.num_concurrent) == ("123", "7", 16)
    assert (settings.temperature, settings.top_k, settings.stream) == (0.6, 20, False)
    assert settings.chat_template_kwargs == {"enable_thinking": False}
    assert settings.headers == {"x-team": "5"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"base_url": None}, "base_url is missing; give the server"),
        ({"modle": "m"}, "unknown model_arg 'modle'; did you mean model"),
        ({"pretrained": "m"}, "unknown model_arg 'pretrained'; here it is model"),
        ({"max_gen_toks": 5}, "here it is max_tokens"),
        ({"zzz": 1}, "unknown model_arg 'zzz'; known are base_url, model, run"),
        ({"preset": "qwen3-think"}, "preset must be one of greedy, .* did you mean qwen3-thinking"),
        ({"temperature": "warm"}, "temperature must be a number, got 'warm'"),
        ({"temperature": -1}, r"sampling.temperature must be >= 0, got -1"),
        ({"max_tokens": 0}, r"sampling.max_tokens must be >= 1, got 0"),
        ({"num_concurrent": 0}, "num_concurrent must be a whole number >= 1, got 0"),
        ({"num_concurrent": 1.5}, "num_concurrent must be a whole number >= 1, got 1.5"),
        ({"timeout_s": 0}, "timeout_s must be a number above 0, got 0"),
        ({"timeout_s": "inf"}, "timeout_s must be a number above 0, got 'inf'"),
        ({"stream": "maybe"}, "stream must be true or false, got 'maybe'"),
        ({"extra_body": "{"}, "extra_body must be a JSON object, got '{'"),
        ({"extra_body": [1]}, r"extra_body must be a JSON object, got \[1\]"),
        ({"extra_body": {"x": float("nan")}}, "extra_body must hold JSON values only"),
        ({"extra_body": {"stop": ["a"]}}, "extra_body must not set 'stop'; .* fire inside"),
        ({"extra_body": {"top_p": 1}}, "extra_body must not set 'top_p'; use the model_arg top_p"),
        ({"extra_body": {"n": 4}}, "extra_body must not set 'n'; use --repeats"),
        ({"headers": {"a b": "c"}}, "a name that no header may have: 'a b'"),
        ({"headers": {"a": "b\r\nx: y"}}, "the value of the header 'a' holds a character"),
        ({"run": "a/b"}, "run must be letters, digits"),
        ({"base_url": "somewhere"}, "base_url must look like"),
    ],
)
def test_a_wrong_model_arg_is_told_in_one_line(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        read_settings({**URL, **args})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "args",
    [
        {"api_key": "sk-secret-1"},
        {"headers": {"Authorization": "Bearer sk-secret-1"}},
        {"api_key_env": "sk-secret-1"},
        {"headers": "{'x': 'sk-secret-1'}", "api_key": "sk-secret-1"},
    ],
)
def test_a_key_in_the_open_is_refused_and_not_repeated(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="environment") as told:
        read_settings({**URL, **args})
    assert "sk-secret" not in str(told.value)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    monkeypatch.setenv("MY_KEY", "sk-two\n")
    assert read_settings(URL).transport().api_key == "sk-one"
    settings = read_settings({**URL, "api_key_env": "MY_KEY"})
    assert settings.transport().api_key == "sk-two"
    assert "sk-" not in repr(settings) + repr(settings.transport())


def test_a_named_variable_must_be_set_and_hold_a_header_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="api_key_env names 'NOT_SET_HERE', which is not set"):
        read_settings({**URL, "api_key_env": "NOT_SET_HERE"}).transport()
    monkeypatch.setenv("ODD_KEY", "sk-ä")
    with pytest.raises(ValueError, match="holds a character that no header may") as told:
        read_settings({**URL, "api_key_env": "ODD_KEY"}).transport()
    assert "sk-" not in str(told.value)


def test_a_run_without_a_name_gets_one_of_its_own() -> None:
    first, second = read_settings(URL).run, read_settings(URL).run
    assert first
    assert first != second


GREEDY = {"temperature": 0.0, "max_tokens": 32768}


@pytest.mark.parametrize(
    ("model_args", "generation_kwargs", "sent"),
    [
        ({}, {}, GREEDY),
        ({"preset": "qwq"}, {}, PRESETS["qwq"].to_request()),
        ({"preset": "thesis"}, {"temperature": 0.3}, {"temperature": 0.3, "max_tokens": 8192}),
        ({"temperature": 0.9}, {"temperature": 0.3}, {**GREEDY, "temperature": 0.9}),
        ({}, {"do_sample": False, "temperature": 0.7}, GREEDY),
        ({}, {"do_sample": True, "temperature": 0.7}, {**GREEDY, "temperature": 0.7}),
        ({}, {"max_gen_toks": 100}, {**GREEDY, "max_tokens": 100}),
        ({}, {"max_new_tokens": "100"}, {**GREEDY, "max_tokens": 100}),
        ({"max_tokens": 9}, {"max_gen_toks": 100}, {**GREEDY, "max_tokens": 9}),
        ({}, {"until": ["\n\n"], "stop": "Q:", "seed": 5}, GREEDY),
        ({}, {"logit_bias": {"1": 2}, "n": 1}, {**GREEDY, "logit_bias": {"1": 2}}),
        (
            {"chat_template_kwargs": {"enable_thinking": False}, "extra_body": {"lora": "a"}},
            {},
            {**GREEDY, "chat_template_kwargs": {"enable_thinking": False}, "lora": "a"},
        ),
    ],
)
def test_the_stronger_source_wins(
    model_args: dict[str, Any], generation_kwargs: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert fields_of(model_args, generation_kwargs) == sent


def test_what_loses_is_named() -> None:
    settings = read_settings({**URL, "preset": "qwq", "top_p": 0.5})
    fields = request_fields(settings, {"temperature": 0.1, "top_p": 0.9, "top_k": 40})
    assert fields.overridden == [
        ("top_p", "the task's generation_kwargs", 0.9, "model_args", 0.5),
        ("temperature", "preset qwq", 0.6, "the task's generation_kwargs", 0.1),
    ]


def test_stop_strings_come_out_apart() -> None:
    fields = request_fields(read_settings(URL), {"until": ["\n\n", ""], "stop": "Q:"})
    assert fields.until == ["\n\n", "Q:"]


def test_several_completions_in_one_request_are_refused() -> None:
    with pytest.raises(ValueError, match="sets n=4; use repeats"):
        fields_of({}, {"n": 4})


def test_a_request_id_fits_a_header() -> None:
    assert request_id_of("base", "distill_math500", 3, 0) == "base/distill_math500/3/0"
    assert request_id_of("base", "a/b ü\n", 3, 0) == "base/a%2Fb%20%C3%BC%0A/3/0"


def test_the_limit_of_a_task_under_a_preset_loses_to_task_and_user() -> None:
    def limit(generation_kwargs: dict[str, Any], **model_args: Any) -> Any:
        settings = read_settings({**URL, "preset": "qwen3-thinking", **model_args})
        return request_fields(settings, generation_kwargs, "distill_aime24").sampling["max_tokens"]

    assert limit({}) == 38_912
    assert limit({"max_gen_toks": 1000}) == 1000
    assert limit({"max_gen_toks": 1000}, max_tokens=2000) == 2000
    settings = read_settings({**URL, "preset": "qwen3-thinking"})
    assert request_fields(settings, {}, "distill_aime24").limit_is_default
    assert request_fields(settings, {}, "distill_math500").sampling["max_tokens"] == 32_768


def test_every_field_of_a_preset_can_be_replaced_alone() -> None:
    new = {name: 1 if name in WHOLE else 0.25 for name in FIELDS}
    for preset, published in PRESETS.items():
        for name, value in new.items():
            told = fields_of({"preset": preset, name: value}, {})
            assert told == {**published.to_request(), name: value}


def test_a_preset_may_limit_the_time_of_a_request() -> None:
    assert read_settings({**URL, "preset": "teacher"}).timeout_s == 360
    assert read_settings({**URL, "preset": "teacher", "timeout_s": 5}).timeout_s == 5
    assert read_settings({**URL, "preset": "thesis"}).timeout_s == Settings.timeout_s


def test_every_model_arg_is_documented_with_its_default() -> None:
    page = (REPO / "docs" / "local_chat.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page.split("## Sampling")[0], re.MULTILINE))
    assert list(rows) == list(READERS) == [field.name for field in dataclasses.fields(Settings)]
    for field in dataclasses.fields(Settings):
        if field.default not in (dataclasses.MISSING, None, ""):
            shown = str(field.default).lower() if field.type == "bool" else f"{field.default}"
            told = rows[field.name].partition(", or ")[0].strip("`").replace(",", "")
            assert told == shown.removesuffix(".0"), field.name
    presets = (REPO / "docs" / "running.md").read_text(encoding="utf-8")
    assert "(running.md#sampling-and-presets)" in page
    for preset in PRESETS:
        assert f"`{preset}`" in presets


def test_a_misspelt_generation_kwarg_is_refused_and_a_servers_own_field_is_passed_on() -> None:
    settings = read_settings({"base_url": "http://127.0.0.1:1", "run": "r"})
    with pytest.raises(ValueError, match="'temprature'; did you mean 'temperature'"):
        request_fields(settings, {"temprature": 0.6})
    assert request_fields(settings, {"min_tokens": 5}).sampling["min_tokens"] == 5
