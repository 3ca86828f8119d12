"""What `--judge` takes, and which family a model's name tells of."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.judge.families import families
from analysis.judge.settings import read_judge, read_judges

URL = "base_url=http://127.0.0.1:1/v1"


def test_a_judge_is_greedy_with_room_to_think() -> None:
    judge = read_judge(f"{URL},model=org/Judge-1")
    assert (judge.name, judge.model, judge.concurrency) == ("Judge-1", "org/Judge-1", 8)
    assert judge.fields.sampling == {"temperature": 0.0, "max_tokens": 8192}


def test_what_is_set_wins_and_numbers_of_prices_are_read() -> None:
    text = (
        f"{URL},model=m,name=x,temperature=1,max_tokens=100,price_in=1.5,price_out=4,concurrency=2"
    )
    judge = read_judge(text)
    assert judge.fields.sampling == {"temperature": 1.0, "max_tokens": 100}
    assert (judge.name, judge.price_in, judge.price_out, judge.concurrency) == ("x", 1.5, 4.0, 2)


def test_a_model_that_takes_neither_temperature_nor_max_tokens_can_be_asked() -> None:
    judge = read_judge(
        '{base_url: "http://127.0.0.1:1/v1", model: m, temperature: default, '
        "extra_body: {max_completion_tokens: 4000, reasoning_effort: low}}"
    )
    assert judge.fields.sampling == {"max_completion_tokens": 4000, "reasoning_effort": "low"}


def test_a_preset_brings_its_own_limit() -> None:
    assert read_judge(f"{URL},model=m,preset=qwq").fields.sampling["max_tokens"] == 32_768


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "--judge takes NAME=VALUE"),
        ("{a: [", "--judge is not a valid YAML mapping"),
        (f"{URL},name=a b", "name must be letters"),
        (f"{URL},price_in=-1,price_out=1", "price_in must be >= 0"),
        (f"{URL},price_in=1", "price_in and price_out go together"),
        (f"{URL},concurrency=0", "concurrency must be a whole number >= 1"),
        (f"{URL},temperature=hot", "temperature"),
        (f"{URL},api_key_env=NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        (f"{URL},temprature=0", "temprature"),
        (f"{URL},system_prompt=Be harsh", "system_prompt is no setting of a judge; it has name,"),
        (f"{URL},seed=3", "seed is no setting of a judge"),
        (f"{URL},num_concurrent=3", "num_concurrent is no setting of a judge"),
    ],
)
def test_a_mistake_names_the_option(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^--judge") as told:
        read_judge(text)
    assert message in str(told.value)


def test_two_judges_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two judges are called 'm'"):
        read_judges([f"{URL},model=a/m", f"{URL},model=b/m"])
    assert len(read_judges([f"{URL},model=a/m", f"{URL},model=b/m,name=n"])) == 2


def test_the_docs_name_every_setting_of_a_judge() -> None:
    page = (Path(__file__).parents[3] / "docs" / "judge.md").read_text(encoding="utf-8")
    for name in ("base_url", "model", "name", "api_key_env", "price_in", "price_out", "temperature",
                 "max_tokens", "preset", "concurrency", "send_seed", "extra_body", "timeout_s",
                 "stall_timeout_s", "max_retries", "headers", "stream"):  # fmt: skip
        assert f"`{name}`" in page, name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("openai/gpt-5.2", {"OpenAI"}),
        ("o3-mini", {"OpenAI"}),
        ("anthropic/claude-sonnet-4.5", {"Claude"}),
        ("google/gemma-3-12b-it", {"Gemini and Gemma"}),
        ("Qwen/QwQ-32B", {"Qwen"}),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", {"DeepSeek", "Qwen"}),
        ("Qwen2.5-7B-Instruct", {"Qwen"}),
        ("meta-llama/Llama-3.1-8B", {"Llama"}),
        ("microsoft/phi-4", {"Phi"}),
        ("philosophy-model", set()),
        ("my-student", set()),
        (None, set()),
    ],
)
def test_families_are_read_off_names(name: str | None, found: set[str]) -> None:
    assert families(name) == found
