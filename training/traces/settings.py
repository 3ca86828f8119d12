"""The settings of `distill-train traces`: who is asked, how, and which traces are kept.

Owns names, defaults and checks. Refuses to own reading YAML (`training.settings`) and the fields of
a request (`harness_tasks.chat.settings`), which each `Asked` becomes.

Example, a recipe:

    teachers:
      - {name: r1, base_url: https://openrouter.ai/api/v1, model: deepseek/deepseek-r1,
         api_key_env: OPENROUTER_API_KEY, price_in: 0.5, price_out: 2.15}
    samples: 2
    select: {keep: perfect, per_question: shortest}
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, Literal

from harness_tasks.chat.model import name_of
from harness_tasks.chat.settings import RequestFields, Settings, read_settings, request_fields
from harness_tasks.sampling import DEFAULT_SEED, FIELDS
from training.settings import settings
from training.traces.columns import check_column

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


@settings
class Asked:
    """One model on one endpoint, and what it costs.

    Prices are US dollars per million tokens; without them the cost that the server itself tells
    counts, and where it tells none the cost is unknown. Times in seconds. `prefilled` says that the
    chat template opens the reasoning; None finds out from the completions.
    """

    base_url: str
    model: str | None = None
    name: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    price_in: float | None = None
    price_out: float | None = None
    preset: str = "teacher"
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    concurrency: int = 8
    timeout_s: float = 360.0
    stall_timeout_s: float = 360.0
    max_retries: int = 5
    stream: bool = True
    send_seed: bool = True
    prefilled: bool | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    system_prompt: str | None = None

    def __post_init__(self) -> None:
        """Check what a type cannot say.

        Raises:
            ValueError: a price below 0 or one without the other, a name that is none, or what
                `harness_tasks.chat.settings.read_settings` refuses.
        """
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("price_in and price_out go together: give both or neither")
        for name in ("price_in", "price_out"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must be >= 0 US dollars per million tokens, got {value}")
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ValueError(
                f"name must be letters, digits, '.', '_', ':' and '-', got {self.name!r}"
            )
        self.chat()

    def chat(self) -> Settings:
        """Return the settings of the chat client.

        Raises:
            ValueError: a value out of its range.
        """
        given = {name: getattr(self, name) for name in FIELDS}
        same = (
            "base_url", "model", "api_key_env", "preset", "timeout_s", "stall_timeout_s",
            "max_retries", "stream", "prefilled", "extra_body", "chat_template_kwargs", "headers",
            "system_prompt",
        )  # fmt: skip
        given |= {name: getattr(self, name) for name in same}
        return read_settings({**given, "num_concurrent": self.concurrency, "run": "traces"})

    def request_fields(self) -> RequestFields:
        """Return the sampling as it goes on the wire."""
        return request_fields(self.chat(), {})


@settings
class Judge(Asked):
    """A model that scores traces: correctness 0 or 1, quality of the reasoning 1 to 10."""

    preset: str = "greedy"
    max_tokens: int | None = 4096
    show_target: bool = True
    judged: Literal["correct", "all"] = "correct"
    prompt: str | None = None


@settings
class Checker(Asked):
    """A model that reads a trace and names its faults, which the teacher then repairs."""

    preset: str = "greedy"
    max_tokens: int | None = 4096
    rounds: int = 2
    show_target: bool = False
    prompt: str | None = None
    repair_prompt: str | None = None

    def __post_init__(self) -> None:
        """Check the number of rounds.

        Raises:
            ValueError: below 1.
        """
        if self.rounds < 1:
            raise ValueError(f"checker.rounds must be >= 1, got {self.rounds}")
        super().__post_init__()


@settings
class Student:
    """What the student already solves: files of its answers, or the student itself to be asked.

    A question counts as failed where at most `max_score` (0 to 1) of its graded answers are right.
    """

    samples: list[str] = field(default_factory=list)
    endpoint: Asked | None = None
    n_samples: int = 1
    max_score: float = 0.0

    def __post_init__(self) -> None:
        """Check that there is one source, and the ranges.

        Raises:
            ValueError: neither or both sources, or a number out of range.
        """
        if bool(self.samples) == (self.endpoint is not None):
            raise ValueError("student: give either samples (files) or an endpoint")
        if self.n_samples < 1 or not 0 <= self.max_score < 1:
            raise ValueError(
                "student: n_samples must be >= 1 and max_score in [0, 1), got "
                f"{self.n_samples} and {self.max_score}"
            )


@settings
class Selection:
    """Which traces are kept. Limits of length count reasoning and answer together.

    `keep`: perfect is correct and, where a judge is set, judged 1 with at least `min_quality`;
    correct is by the suite's graders alone; all keeps wrong ones, too.
    """

    keep: Literal["perfect", "correct", "all"] = "perfect"
    per_question: Literal["all", "longest", "shortest", "first"] = "all"
    min_quality: int = 7
    require_reasoning: bool = True
    min_chars: int | None = None
    max_chars: int | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    sample: int | None = None
    strata: list[str] = field(default_factory=lambda: ["source", "level"])
    allocation: Literal["proportional", "equal"] = "proportional"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a number out of range.
        """
        if not 1 <= self.min_quality <= 10:
            raise ValueError(f"select.min_quality must be 1 to 10, got {self.min_quality}")
        if self.sample is not None and self.sample < 1:
            raise ValueError(f"select.sample must be >= 1, got {self.sample}")
        for unit in ("chars", "tokens"):
            low, high = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if (low is not None and low < 0) or (high is not None and high < max(low or 0, 1)):
                raise ValueError(
                    f"select.min_{unit} and max_{unit} must be a range, got {low} and {high}"
                )


@settings
class Prompts:
    """What the teacher is asked; `{question}` stands for the question. None is the suite's own.

    `math` also serves gsm8k and aime; `stdio`, `calls` and `asserts` are the three kinds of tests.
    """

    system_prompt: str | None = None
    math: str | None = None
    choice: str | None = None
    stdio: str | None = None
    calls: str | None = None
    asserts: str | None = None

    def __post_init__(self) -> None:
        """Check that each template holds the question.

        Raises:
            ValueError: one does not.
        """
        for name in ("math", "choice", "stdio", "calls", "asserts"):
            template = getattr(self, name)
            if template is not None and "{question}" not in template:
                raise ValueError(f"prompts.{name} must hold {{question}}, got {template[:60]!r}")


@settings
class TracesSettings:
    """Everything that `distill-train traces` is told."""

    teachers: list[Asked] = field(default_factory=list)
    samples: int = 1
    seed: int = DEFAULT_SEED
    prompts: Prompts = Prompts()
    judge: Judge | None = None
    checker: Checker | None = None
    student: Student | None = None
    select: Selection = Selection()
    max_cost_usd: float | None = None
    limit: int | None = None
    tokenizer: str | None = None
    max_length: int | None = None
    topics: list[str] = field(default_factory=lambda: ["source", "level", "meta.subject"])
    decontaminate: bool = True
    ngram: int | None = None
    embedding_model: str | None = None
    data_dir: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    grader: str | None = None

    def __post_init__(self) -> None:
        """Check what concerns several settings.

        Raises:
            ValueError: a number out of range, two teachers of one name, or a length in tokens
                without a tokenizer.
        """
        for name in ("samples", "limit", "max_length", "ngram"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if self.max_cost_usd is not None and self.max_cost_usd <= 0:
            raise ValueError(f"max_cost_usd must be > 0, got {self.max_cost_usd}")
        names = [name_of(teacher) for teacher in self.teachers]
        double = next((name for name in names if names.count(name) > 1), None)
        if double:
            raise ValueError(f"two teachers are called {double!r}: give each a name of its own")
        for name in self.topics:
            check_column(name, "topics")
        for name in self.select.strata:
            check_column(name, "select.strata")
        if (self.select.min_tokens or self.select.max_tokens) and not self.tokenizer:
            raise ValueError("select.min_tokens and max_tokens need tokenizer")
        if self.max_length is not None and not self.tokenizer:
            raise ValueError("max_length counts tokens and needs tokenizer")
