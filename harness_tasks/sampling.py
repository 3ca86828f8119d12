"""How a completion is sampled: the fields on the wire, the published presets, one seed per sample.

Owns `SamplingConfig`, `PRESETS` and `seed_for`. Refuses to own which source wins where two set a
field (`chat.settings`) and sending (`chat.client`). Standard library only.

Example, the preset of a vendor with one field changed:

    >>> PRESETS["qwq"].changed(max_tokens=8192).to_request()
    {'temperature': 0.6, 'top_p': 0.95, 'top_k': 40, 'max_tokens': 8192}
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

DEFAULT_SEED = 1234
DEFAULT_MAX_TOKENS = 32_768


@dataclass(frozen=True)
class SamplingConfig:
    """The sampling fields of one request; None leaves a field to the server.

    Raises:
        ValueError: a field outside its range; the message names it.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None  # -1 and 0 switch it off, by server
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            whole = name in WHOLE
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise ValueError(f"sampling.{name} must be {kind}, got {value!r}")
            if not low <= value <= high:
                limit = f"between {low:g} and {high:g}" if math.isfinite(high) else f">= {low:g}"
                raise ValueError(f"sampling.{name} must be {limit}, got {value!r}")

    def changed(self, **fields: Any) -> Self:
        """Return a copy with some fields replaced."""
        return dataclasses.replace(self, **fields)

    def to_request(self) -> dict[str, Any]:
        """Return the fields that are set, as the chat completions API names them."""
        return {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}


WHOLE = ("top_k", "max_tokens")
RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, math.inf),
    "top_p": (0, 1),
    "top_k": (-1, math.inf),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (0, math.inf),
    "max_tokens": (1, math.inf),
}
FIELDS = tuple(RANGES)


@dataclass(frozen=True)
class Preset(SamplingConfig):
    """Published sampling, and what its publisher does beside it.

    `task_max_tokens` and `k` are by family of tasks (`family_of`); in `k` the family ANY stands for
    every task. `k` is shown and not applied, but for that of ANY, which is a part of the sampling.
    """

    source: str = ""
    task_max_tokens: Mapping[str, int] = field(default_factory=dict)
    k: Mapping[str, int] = field(default_factory=dict)
    timeout_s: float | None = None
    note: str = ""

    def for_task(self, task: str) -> Preset:
        """Return the preset as it is for one task, which may have a max_tokens of its own."""
        family = family_of(task)
        return self.changed(max_tokens=self.task_max_tokens.get(family, self.max_tokens))

    def k_of(self, task: str) -> int | None:
        """Return how many samples of a question of this task are published, None where none is."""
        return self.k.get(family_of(task), self.k.get(ANY))


ANY = "any"
FAMILIES: Mapping[str, str] = {  # how the names of a family's tasks begin, after any prefix
    "aime": "AIME",
    "gpqa": "GPQA",
    "ifeval": "IFEval",
    "lcb": "LiveCodeBench",
    "livecodebench": "LiveCodeBench",
}
FAMILY = re.compile(rf"(?:^|[_/-])({'|'.join(FAMILIES)})", re.IGNORECASE)


def family_of(task: str) -> str:
    """Return the family of tasks that a preset may treat in its own way, else ANY.

    >>> family_of("distill_aime24"), family_of("distill_math500")
    ('AIME', 'any')
    """
    found = FAMILY.search(task)
    return FAMILIES[found[1].lower()] if found else ANY


# What the vendors publish for their models, and the settings of the two studies this suite follows.
PRESETS: Mapping[str, Preset] = {
    "greedy": Preset(
        temperature=0.0,
        max_tokens=DEFAULT_MAX_TOKENS,
        k={ANY: 1},
        source="this suite's default",
        note="not for a model that thinks: it would repeat itself without end",
    ),
    "deepseek-r1": Preset(
        temperature=0.6,
        top_p=0.95,
        max_tokens=32_768,
        k={"AIME": 64},
        source="https://huggingface.co/deepseek-ai/DeepSeek-R1 and arXiv:2501.12948",
        note="no system prompt; the prompt asks to reason step by step and for a boxed answer",
    ),
    "qwen3-thinking": Preset(
        temperature=0.6,
        top_p=0.95,
        top_k=20,
        min_p=0.0,
        max_tokens=32_768,
        task_max_tokens={"AIME": 38_912},
        k={"AIME": 64, "GPQA": 10},
        source="https://huggingface.co/Qwen/Qwen3-32B and arXiv:2505.09388",
        note="never greedy; presence_penalty 0 to 2 against loops",
    ),
    "qwen3-instruct": Preset(
        temperature=0.7,
        top_p=0.8,
        top_k=20,
        presence_penalty=1.5,
        max_tokens=32_768,
        source="https://huggingface.co/Qwen/Qwen3-32B (thinking switched off)",
        note='for chat_template_kwargs={"enable_thinking": false}',
    ),
    "qwq": Preset(
        temperature=0.6,
        top_p=0.95,
        top_k=40,
        max_tokens=32_768,
        k={"AIME": 64, "LiveCodeBench": 8, "IFEval": 1},
        source="https://huggingface.co/Qwen/QwQ-32B",
        note="no repetition penalty",
    ),
    "thesis": Preset(
        temperature=0.5,
        max_tokens=8192,
        k={ANY: 2},
        source="one of the two studies that this suite follows",
        note="two samples of each question, mean accuracy",
    ),
    "teacher": Preset(
        temperature=0.2,
        max_tokens=8192,
        k={ANY: 1},
        timeout_s=360.0,
        source="one of the two studies that this suite follows: its trace generation",
        note="a request has 360 s",
    ),
}


def k_within(preset: Any) -> int:
    """Return the number of samples of each question that is a part of a preset; 1 without one."""
    return PRESETS[preset].k.get(ANY, 1) if preset in PRESETS else 1


def seed_for(task: str, doc_id: int, sample_index: int, seed: int = DEFAULT_SEED) -> int:
    """Return the seed of one sample, in [0, 2**31), equal on every machine, in any order."""
    key = json.dumps([task, doc_id, sample_index, seed]).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big") >> 1
