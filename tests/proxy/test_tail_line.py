from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from proxy.tail_line import TailLine
from proxy.text import fitted, visible
from tests.proxy.logs import exchange

WORDS = {
    "content": "答案是四十二。" * 30,
    "model_requested": "组织/模型" * 9,
    "finish_reason": "长" * 9,
}


@pytest.mark.parametrize("width", [80, 119, 120, 160])
@pytest.mark.parametrize("fields", [{}, WORDS, {"usage": {"completion_tokens": 10**9}}])
def test_no_line_is_wider_than_the_terminal_and_columns_stay(
    width: int, fields: dict[str, Any]
) -> None:
    layout = TailLine(width)
    line = layout.of(exchange(1, **fields))
    assert cell_len(line) <= width
    assert cell_len(line[: line.index("complete")]) == layout.head.index("outcome")
    assert ("request id" in layout.head) == (width >= 120)


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 40), st.booleans())
def test_a_fitted_text_has_its_width_and_nothing_to_obey(
    text: str, width: int, keep_end: bool
) -> None:
    made = fitted(text, width, keep_end)
    assert cell_len(made) == width
    assert visible(made) == made


@pytest.mark.parametrize(
    ("fields", "begins"),
    [
        ({"content": "\n\n  x = 1"}, "x = 1"),
        ({"content": "", "extra": {"tool_calls": [{"function": {"name": "add"}}]}}, "add"),
        ({"content": None, "error": "the server answered 503"}, "the server answered 503"),
        ({"content": None, "reasoning": "Six sevens"}, "Six sevens"),
        ({"content": None, "extra": {"tool_calls": ["?"]}}, ""),
    ],
)
def test_the_answer_is_what_the_exchange_brought(fields: dict[str, Any], begins: str) -> None:
    layout = TailLine(160)
    made = layout.of(exchange(1, **fields))
    assert made[layout.head.index("answer") :] == begins


def test_the_model_is_shown_without_its_owner() -> None:
    assert " Qwen3-8B " in TailLine(80).of(exchange(1, model_requested="Qwen/Qwen3-8B"))


def test_a_narrow_terminal_shows_the_finish_reason_behind_the_outcome_and_some_of_the_answer() -> (
    None
):
    made = TailLine(80).of(exchange(1, finish_reason="length", content="word " * 9))
    assert " complete length " in made
    assert made.endswith(" word word word word wo…")
