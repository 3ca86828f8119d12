from __future__ import annotations

import json
import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.log_stats import MAX_GROUPS, Tally, percentiles
from tests.proxy.logs import exchange


def group(*rows: dict[str, Any], by: str = "model") -> dict[str, Any]:
    tally = Tally(by)
    for number, fields in enumerate(rows):
        tally.add(exchange(number, **fields))
    made = tally.to_json()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    first: dict[str, Any] = made["groups"][0]
    if len(made["groups"]) == 1:
        assert made["all"] == {name: first[name] for name in first if name != "name"}
    return first


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_percentiles_are_nearest_ranks(values: list[float]) -> None:
    found = percentiles(array("d", values))
    for percent in (50, 90, 99):
        # the definition, in its own words: the smallest value with enough values at or below it
        enough = [x for x in values if sum(y <= x for y in values) * 100 >= percent * len(values)]
        assert found[f"p{percent}"] == min(enough)
    assert found["n"] == len(values)


def test_percentiles_of_one_to_a_hundred() -> None:
    found = percentiles(array("d", map(float, range(100, 0, -1))))
    assert found == {"p50": 50, "p90": 90, "p99": 99, "n": 100}


def test_shares_are_of_complete_exchanges() -> None:
    found = group(
        {"finish_reason": "length", "reasoning": "r", "reasoning_state": "server_split"},
        {"reasoning_state": "none"},
        {"outcome": "client_cut", "finish_reason": "length", "reasoning": "r"},
        {"finish_reason": None, "content": None},
    )
    assert found["outcomes"] == {
        "complete": 3, "upstream_error": 0, "upstream_cut": 0, "client_cut": 1, "malformed": 0,
    }  # fmt: skip
    assert (found["truncated"], found["with_reasoning"]) == (0.5, 0.5)
    assert found["reasoning_states"] == {"none": 1, "server_split": 1}


@pytest.mark.parametrize(
    ("content", "state", "expected"),
    [
        ("<think>six</think>42", "closed", 1),
        ("<think>\n\n</think>42", "closed", 0),
        ("six</think>42", "orphan_close", 1),
        ("<think>six", "unclosed", 1),
        ("42", "none", 0),
    ],
)
@pytest.mark.parametrize("schema", [1, 2])
def test_inline_reasoning_counts_where_there_is_some(
    content: str, state: str, expected: int, schema: int
) -> None:
    kept = state if schema == 2 else None
    found = group(
        {"content": content, "reasoning_state": kept, "schema": schema, "messages": []},
    )
    assert found["with_reasoning"] == expected
    assert found["reasoning_states"] == {state: 1}


def test_tokens_a_second_are_of_streams_whose_tokens_are_known() -> None:
    tokens = {"completion_tokens": 100}
    found = group(
        {"stream": True, "usage": tokens, "duration_s": 2.0},
        {"stream": True, "usage": tokens, "duration_s": 3.0},
        {"stream": True, "usage": None, "duration_s": 9.0},
        {"stream": False, "usage": {"output_tokens": 7}, "duration_s": 9.0},
        {"stream": True, "usage": tokens, "duration_s": 9.0, "outcome": "client_cut"},
    )
    assert found["tokens_per_s"] == 40.0
    assert (found["completion_tokens"], found["n_with_usage"]) == (307, 4)
    assert found["reasons"] == {
        "ttft_s": "no complete stream has a first piece",
        "gap_p99_s": "no complete stream has gaps",
    }


def test_hostile_numbers_are_left_out() -> None:
    counts: tuple[Any, ...] = (True, -1, 10**400, "7", [], 1.5)
    for count in counts:
        assert group({"usage": {"completion_tokens": count}})["completion_tokens"] is None
    for value in (math.nan, math.inf, -1.0, 10**400):
        found = group({"ttft_s": value, "duration_s": value, "gaps_s": {"p99": value}})
        assert found["ttft_s"]["n"] == found["duration_s"]["n"] == found["gap_p99_s"]["n"] == 0
    assert group({"reasoning_state": "made up"})["reasoning_states"] == {"other": 1}


def test_groups_are_those_asked_for_and_bounded() -> None:
    fields = {"route": "base", "endpoint": "/e", "model_requested": None, "model_served": "s"}
    assert [group(fields, by=by)["name"] for by in ("model", "route", "endpoint")] == [
        "s", "base", "/e",
    ]  # fmt: skip
    tally = Tally("model")
    for number in range(MAX_GROUPS + 50):
        tally.add(exchange(model_requested=f"model {number}" + "x" * 500))
    made = tally.to_json()
    assert len(made["groups"]) == MAX_GROUPS + 1
    assert made["groups"][0]["name"] == "other"
    assert made["groups"][0]["exchanges"] == 50
    assert made["all"]["exchanges"] == MAX_GROUPS + 50
    assert max(len(row["name"]) for row in made["groups"]) == 200


def test_nothing_is_undefined_and_not_zero() -> None:
    made = Tally("route").to_json()
    assert made["groups"] == []
    assert made["all"]["truncated"] is made["all"]["duration_s"]["p99"] is None
