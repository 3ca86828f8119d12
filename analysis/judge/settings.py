"""A judge as the command line names it: an endpoint, a model, its sampling and its price.

Owns which settings a judge has and their defaults. Refuses to own how a request travels
(`harness_tasks.chat.settings`, whose settings a judge takes too) and what is asked (`words`).

    read_judge("base_url=https://openrouter.ai/api/v1,model=openai/gpt-5.2,api_key_env=KEY")
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness_tasks.chat.given import model_of
from harness_tasks.chat.model import name_of
from harness_tasks.chat.settings import (
    READERS,
    RequestFields,
    Settings,
    read_bool,
    read_int,
    read_settings,
    request_fields,
)

OPTION = "--judge"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
PRICES = ("price_in", "price_out")
MAX_TOKENS = 8192  # room for a judge that reasons before it answers
CONCURRENCY = 8
SERVERS_OWN = "default"  # temperature=default leaves it to the server, as some models demand
# What a judge has beside the settings of `local-chat`, and which of those mean nothing here.
OWN = ("name", "concurrency", "send_seed", *PRICES)
NOT_HERE = ("run", "num_concurrent", "seed", "system_prompt", "prefilled")
OTHER_LIMIT = "max_completion_tokens"  # what some servers want in place of max_tokens


@dataclass(frozen=True)
class Judge:
    """One judge model. Prices are US dollars per million tokens, both or neither."""

    settings: Settings
    fields: RequestFields
    name: str
    price_in: float | None = None
    price_out: float | None = None
    send_seed: bool = True

    @property
    def model(self) -> str | None:
        """The model's name, None for the only one that the server offers."""
        return self.settings.model

    @property
    def concurrency(self) -> int:
        """How many requests may be under way at once."""
        return self.settings.num_concurrent

    @property
    def stream(self) -> bool:
        """Whether replies are streamed."""
        return self.settings.stream

    def chat(self) -> Settings:
        """Return the settings of the chat client."""
        return self.settings

    def request_fields(self) -> RequestFields:
        """Return the sampling as it goes on the wire."""
        return self.fields

    def to_json(self) -> dict[str, Any]:
        """Return what a report says of the judge; there is no key in it."""
        return {
            "name": self.name,
            "model": self.model,
            "endpoint": self.settings.transport().endpoint.base,
            "sampling": self.fields.sampling,
            "send_seed": self.send_seed,
            "price_in": self.price_in,
            "price_out": self.price_out,
        }


def read_judges(texts: Sequence[str]) -> list[Judge]:
    """Read every judge.

    Raises:
        ValueError: none, two of one name, or one that cannot be read.
    """
    if not texts:
        raise ValueError(
            "no judge: give --judge base_url=...,model=..., once for each model that is to judge"
        )
    judges = [read_judge(text) for text in texts]
    names = [judge.name for judge in judges]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise ValueError(f"two judges are called {double!r}: give each a name=... of its own")
    return judges


def read_judge(text: str) -> Judge:
    """Read one judge: `base_url=...,model=...`, or the same as a YAML mapping in braces.

    Raises:
        ValueError: it is neither, or a setting is unknown or out of range.
    """
    given = model_of(OPTION, text)
    try:
        return judge_of(given)
    except ValueError as bad:
        raise ValueError(f"{OPTION}: {bad}") from bad


def judge_of(given: dict[str, Any]) -> Judge:
    """Build a judge from its settings.

    Raises:
        ValueError: a setting that is unknown or out of range.
    """
    given = {name: value for name, value in given.items() if value is not None}
    refused = next((name for name in given if name in NOT_HERE), None)
    if refused is not None:
        known = ", ".join(name for name in (*OWN, *READERS) if name not in NOT_HERE)
        raise ValueError(f"{refused} is no setting of a judge; it has {known}")
    prices = {name: price(name, given.pop(name)) for name in PRICES if name in given}
    if len(prices) == 1:
        raise ValueError("price_in and price_out go together: give both or neither")
    send_seed = read_bool("send_seed", given.pop("send_seed", True))
    name = given.pop("name", None)
    if name is not None and not NAME.fullmatch(str(name)):
        raise ValueError(f"name must be letters, digits, '.', '_', ':' and '-', got {name!r}")
    room = read_int(1)("concurrency", given.pop("concurrency", CONCURRENCY))
    free = given.get("temperature") == SERVERS_OWN
    if free:
        del given["temperature"]
    if "preset" not in given:
        given = {"preset": "greedy", "max_tokens": MAX_TOKENS, **given}
    settings = read_settings({"num_concurrent": room, **given, "run": "judge"})
    fields = request_fields(settings, {})
    if free:
        fields.sampling.pop("temperature", None)
    if OTHER_LIMIT in fields.sampling:
        fields.sampling.pop("max_tokens", None)
    settings.transport()  # the key must be there before anything is read
    judge = Judge(settings, fields, str(name or ""), send_seed=send_seed, **prices)
    return judge if name else Judge(settings, fields, name_of(judge), send_seed=send_seed, **prices)


def price(name: str, value: Any) -> float:
    """Return a price.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError(f"{name} must be >= 0 US dollars per million tokens, got {value!r}")
    return float(value)
