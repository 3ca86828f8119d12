"""What a log tells in numbers: outcomes, truncation, reasoning, tokens and times of each group.

Owns these numbers and their definitions. Refuses to own reading (log_read) and layout (log_cli).

    table = Tally("model")
    for exchange, n_bytes in log: table.add(exchange)
    table.to_json()["groups"][0]["ttft_s"]["p50"]

Definitions. A percentile is the nearest rank: the smallest value that at least so many percent of
the values do not exceed; it is exact, and always a value that occurred. Shares, times and rates are
of complete exchanges; shares lie in [0, 1]. `gap_p99_s` is about the 99th percentile of each
stream's own gaps, as its record has it: the records do not hold every gap. An undefined number is
None, and `reasons` says why.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

from harness_tasks import reasoning as think
from proxy.choice import INLINE_STATES
from proxy.exchange import Exchange, Outcome

OTHERS = "other"
MAX_GROUPS = 1000
"""Names beyond this many share one group: a client may send a new model's name each time."""
MAX_NAME_CHARS = 200
PERCENTILES = (50, 90, 99)
NO_COMPLETE = "no complete exchange"
STATES = (*INLINE_STATES, think.SERVER_SPLIT, think.NONE, think.EMPTY)
LENGTH = "length"


class Group:
    """The running figures of one group: 24 bytes for each exchange, and nothing else that grows."""

    def __init__(self) -> None:
        self.n = 0
        self.outcomes: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.n_ended = self.n_truncated = 0
        self.n_answers = self.n_reasoning = 0
        self.n_usage = self.completion_tokens = 0
        self.stream_tokens = 0
        self.stream_s = 0.0
        self.request_bytes = self.response_bytes = 0
        self.ttft_s = array("d")
        self.gap_p99_s = array("d")
        self.duration_s = array("d")

    def add(self, exchange: Exchange) -> None:
        """Count one exchange."""
        self.n += 1
        self.outcomes[exchange.outcome] += 1
        self.request_bytes += exchange.request_bytes
        self.response_bytes += exchange.response_bytes
        tokens = completion_tokens(exchange)
        if tokens is not None:
            self.n_usage += 1
            self.completion_tokens += tokens
        if exchange.outcome != Outcome.COMPLETE:
            return
        if exchange.finish_reason is not None:
            self.n_ended += 1
            self.n_truncated += exchange.finish_reason == LENGTH
        if exchange.content is not None or exchange.reasoning is not None:
            self.n_answers += 1
            self.n_reasoning += has_reasoning(exchange)
        state = state_of(exchange)
        if state is not None:
            self.states[state if state in STATES else OTHERS] += 1
        self.add_times(exchange, tokens)

    def add_times(self, exchange: Exchange, tokens: int | None) -> None:
        """Count the times of a complete exchange."""
        duration_s = seconds(exchange.duration_s)
        keep(self.duration_s, duration_s)
        keep(self.ttft_s, seconds(exchange.ttft_s))
        keep(self.gap_p99_s, seconds((exchange.gaps_s or {}).get("p99")))
        if exchange.stream and tokens is not None and duration_s:
            self.stream_tokens += tokens
            self.stream_s += duration_s

    def merge(self, other: Group) -> None:
        """Add what another group counted."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            mine += value  # an array and a Counter grow in place
            setattr(self, name, mine)

    def to_json(self) -> dict[str, Any]:
        """Return the figures; what is undefined is None and has its reason."""
        made: dict[str, Any] = {"exchanges": self.n}
        reasons: dict[str, str] = {}

        def put(name: str, value: float | None, reason: str) -> None:
            made[name] = value
            if value is None:
                reasons[name] = reason

        n_complete = self.outcomes[Outcome.COMPLETE]
        made["outcomes"] = {item.value: self.outcomes[item] for item in Outcome}
        no_complete = None if n_complete else NO_COMPLETE
        put(
            "truncated",
            share(self.n_truncated, self.n_ended),
            no_complete or "no complete exchange has a finish_reason",
        )
        put(
            "with_reasoning",
            share(self.n_reasoning, self.n_answers),
            no_complete or "no complete exchange has a text",
        )
        made["reasoning_states"] = dict(sorted(self.states.items()))
        put(
            "completion_tokens",
            self.completion_tokens if self.n_usage else None,
            "no exchange has usage.completion_tokens",
        )
        made["n_with_usage"] = self.n_usage
        put(
            "tokens_per_s",
            self.stream_tokens / self.stream_s if self.stream_s else None,
            no_complete or "no complete stream has usage.completion_tokens",
        )
        for name, reason in (
            ("ttft_s", "no complete stream has a first piece"),
            ("gap_p99_s", "no complete stream has gaps"),
            ("duration_s", "no duration"),
        ):
            found = percentiles(getattr(self, name))
            made[name] = found
            if not found["n"]:
                reasons[name] = no_complete or reason
        made["request_bytes"], made["response_bytes"] = self.request_bytes, self.response_bytes
        return made | {"reasons": reasons}


class Tally:
    """Groups by the name of their model, route or endpoint."""

    def __init__(self, by: str) -> None:
        self.by = by
        self.groups: dict[str | None, Group] = {}

    def add(self, exchange: Exchange) -> None:
        """Count an exchange in its group."""
        name = self.name_of(exchange)
        if name not in self.groups and len(self.groups) >= MAX_GROUPS:
            name = OTHERS
        self.groups.setdefault(name, Group()).add(exchange)

    def name_of(self, exchange: Exchange) -> str | None:
        """Return what the exchange is grouped by; the model is the one that was asked for."""
        if self.by == "model":
            name = exchange.model_requested or exchange.model_served
        else:
            name = exchange.route if self.by == "route" else exchange.endpoint
        return None if name is None else name[:MAX_NAME_CHARS]

    def to_json(self) -> dict[str, Any]:
        """Return all groups, most exchanges first, and all of them together."""
        ordered = sorted(self.groups.items(), key=lambda item: (-item[1].n, item[0] or ""))
        whole = Group()
        rows = []
        for name, group in ordered:
            rows.append({"name": name} | group.to_json())
            whole.merge(group)
        return {"by": self.by, "groups": rows, "all": whole.to_json()}


def completion_tokens(exchange: Exchange) -> int | None:
    """Return what the server says it generated, None where that can be no count."""
    usage = exchange.usage or {}
    value = usage.get("completion_tokens", usage.get("output_tokens"))  # as /v1/responses calls it
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if usable else None


def has_reasoning(exchange: Exchange) -> bool:
    """Whether the answer holds reasoning that is more than white space or empty tags."""
    if exchange.reasoning is not None and exchange.reasoning.strip():
        return True
    if state_of(exchange) not in INLINE_STATES:
        return False
    # Qwen3 sends <think>\n\n</think> when it was told not to think: closed, and no reasoning
    return bool(split(exchange).reasoning)


def state_of(exchange: Exchange) -> str | None:
    """Return the splitter's name of the answer's shape; schema 1 did not have it."""
    if exchange.schema == 1 and exchange.messages is not None and exchange.content is not None:
        return split(exchange).state
    return exchange.reasoning_state


def split(exchange: Exchange) -> think.Split:
    """Return the answer in two parts."""
    return think.split(
        exchange.content, reasoning=exchange.reasoning, finish_reason=exchange.finish_reason
    )


def seconds(value: object) -> float | None:
    """Return a duration, None for what can be none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def keep(values: array[float], value: float | None) -> None:
    """Append a value that there is."""
    if value is not None:
        values.append(value)


def share(count: int, n: int) -> float | None:
    """Return count / n, None of nothing."""
    return count / n if n else None


def percentiles(values: array[float]) -> dict[str, Any]:
    """Return the nearest-rank percentiles and how many values they are of; sorts the values."""
    import numpy as np

    n = len(values)
    if n:
        np.frombuffer(values).sort()  # in place: sorted() would make a list of objects
    at = {
        f"p{percent}": values[-(-n * percent // 100) - 1] if n else None for percent in PERCENTILES
    }
    return at | {"n": n}


def state_names(groups: Iterable[dict[str, Any]]) -> list[str]:
    """Return the reasoning states that occur, the most frequent first."""
    total: Counter[str] = Counter()
    for group in groups:
        total.update(group["reasoning_states"])
    return [name for name, _ in total.most_common()]
