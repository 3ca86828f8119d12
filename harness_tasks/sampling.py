"""How a completion is sampled: the fields on the wire, the published presets, one seed per sample.

Owns `SamplingConfig`, `PRESETS` and `seed_for`. Refuses to own which source wins where two set a
field (`local_chat`) and sending (`chat.client`). Standard library only.

Example, the preset of a vendor with one field changed:

    >>> PRESETS["qwq"].changed(max_tokens=8192).to_request()
    {'temperature': 0.6, 'top_p': 0.95, 'top_k': 40, 'max_tokens': 8192}
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

    def changed(self, **fields: Any) -> SamplingConfig:
        """Return a copy with some fields replaced."""
        return dataclasses.replace(self, **fields)

    def to_request(self) -> dict[str, Any]:
        """Return the fields that are set, as the chat completions API names them."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if value is not None
        }


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

# What the vendors publish for their models, and the settings of the two studies this suite follows.
# Source: model cards of DeepSeek-R1, Qwen3 and QwQ-32B.
PRESETS: Mapping[str, SamplingConfig] = {
    "greedy": SamplingConfig(temperature=0.0, max_tokens=DEFAULT_MAX_TOKENS),
    "deepseek-r1": SamplingConfig(temperature=0.6, top_p=0.95, max_tokens=32_768),
    "qwen3-thinking": SamplingConfig(
        temperature=0.6, top_p=0.95, top_k=20, min_p=0.0, max_tokens=32_768
    ),
    "qwen3-instruct": SamplingConfig(
        temperature=0.7, top_p=0.8, top_k=20, presence_penalty=1.5, max_tokens=32_768
    ),
    "qwq": SamplingConfig(temperature=0.6, top_p=0.95, top_k=40, max_tokens=32_768),
    "thesis": SamplingConfig(temperature=0.5, max_tokens=8192),
    "teacher": SamplingConfig(temperature=0.2, max_tokens=8192),
}


def seed_for(task: str, doc_id: int, sample_index: int, seed: int = DEFAULT_SEED) -> int:
    """Return the seed of one sample, in [0, 2**31), equal on every machine, in any order."""
    key = json.dumps([task, doc_id, sample_index, seed]).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big") >> 1
