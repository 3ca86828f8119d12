"""What asking costs: tokens and US dollars, as far as the servers tell.

Owns the reading of `usage`, prices and the running total. Refuses to own when a run stops
(`asking`). What is not told is unknown and counted as such, never 0.

Example: 1,000 prompt and 2,000 completion tokens at $0.5 and $2 a million cost $0.0045.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

# No real request has more; a count above is a server's fault.
MAX_TOKENS = 10**9


class Usage(NamedTuple):
    """The tokens of one request; None where the server did not tell, or told nonsense."""

    prompt_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    server_cost_usd: float | None


def usage_of(said: Mapping[str, Any] | None) -> Usage:
    """Read the `usage` of a reply: OpenAI's fields, and the `cost` that OpenRouter adds."""
    said = said or {}
    details = said.get("completion_tokens_details")
    return Usage(
        prompt_tokens=count(said.get("prompt_tokens")),
        completion_tokens=count(said.get("completion_tokens")),
        reasoning_tokens=count(
            details.get("reasoning_tokens") if isinstance(details, dict) else None
        ),
        server_cost_usd=amount(said.get("cost")),
    )


def count(value: Any) -> int | None:
    """Return a number of tokens, None of what is none."""
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None  # no bool


def amount(value: Any) -> float | None:
    """Return an amount of money, None of what is none."""
    if type(value) not in (int, float):
        return None  # True is no amount
    # Not math.isfinite, which breaks on an integer of 400 digits.
    return float(value) if 0 <= value <= sys.float_info.max else None


def cost_usd(usage: Usage, price_in: float | None, price_out: float | None) -> float | None:
    """Return what a request cost: by the prices given, else as the server tells, else None."""
    if price_in is None or price_out is None:
        return usage.server_cost_usd
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return (usage.prompt_tokens * price_in + usage.completion_tokens * price_out) / 1e6


@dataclass
class Tally:
    """Sums over requests; `n_unknown_*` counts those that told nothing."""

    n_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    n_unknown_tokens: int = 0
    n_told_reasoning: int = 0
    cost_usd: float = 0.0
    n_unknown_cost: int = 0

    def add(self, usage: Usage, cost: float | None) -> None:
        """Count one request."""
        self.n_requests += 1
        self.prompt_tokens += usage.prompt_tokens or 0
        self.completion_tokens += usage.completion_tokens or 0
        self.reasoning_tokens += usage.reasoning_tokens or 0
        self.n_told_reasoning += usage.reasoning_tokens is not None
        self.n_unknown_tokens += usage.prompt_tokens is None or usage.completion_tokens is None
        self.cost_usd += cost or 0.0
        self.n_unknown_cost += cost is None

    def shown(self) -> str:
        """Return the cost in a few words."""
        if self.n_requests and self.n_unknown_cost == self.n_requests:
            return "cost unknown"
        missing = (
            f" + {self.n_unknown_cost} requests of unknown cost" if self.n_unknown_cost else ""
        )
        return f"${self.cost_usd:.4f}{missing}"

    def to_json(self) -> dict[str, Any]:
        """Return the sums; an amount that no request told is None."""
        known_cost = self.n_requests > self.n_unknown_cost
        known_tokens = self.n_requests > self.n_unknown_tokens
        return {
            "n_requests": self.n_requests,
            "prompt_tokens": self.prompt_tokens if known_tokens else None,
            "completion_tokens": self.completion_tokens if known_tokens else None,
            "reasoning_tokens": self.reasoning_tokens if self.n_told_reasoning else None,
            "n_unknown_tokens": self.n_unknown_tokens,
            "cost_usd": round(self.cost_usd, 9) if known_cost else None,
            "n_unknown_cost": self.n_unknown_cost,
        }
