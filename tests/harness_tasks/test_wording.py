"""The words that texts are compared by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_tasks.wording import plain, squeezed, stands_alone, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"$\dfrac{1}{2}$", r"\(\frac 1 2\)"),
        (r"$\left( x \right)$", "(x)"),
        (r"$x\leq 3$", r"$x \le 3$"),
        (r"$a,\ldots,b$", r"$a, \cdots , b$"),
        (r"$a\,+\;b$", "a+b"),
        (r"$\mathrm{km}$", "km"),
        ("9 \u2212 3", "9 - 3"),
        ("45\u00b0", r"45^\circ"),
        ("Find it [asy] draw((0,0)--(1,1)); [/asy] now", "Find it now"),
        ("See https://example.org/a?b=c then add", "see then add"),
        ("\uff21\uff22 x", "ab X"),
    ],
)
def test_looks_do_not_count(one: str, other: str) -> None:
    assert squeezed(one) == squeezed(other)


@pytest.mark.parametrize(("one", "other"), [("x+1", "x-1"), ("a<b", "a>b"), ("1/2", "12")])
def test_signs_count(one: str, other: str) -> None:
    assert squeezed(one) != squeezed(other)


def test_numbers_and_letters_are_words_apart() -> None:
    assert words("Find 2x, 3y!") == ["find", "2", "x", "3", "y"]


def test_plain_keeps_signs_and_joins_spaces() -> None:
    assert plain("  What\n IS\t$x-1$? ") == "what is $x-1$?"


@given(st.text(max_size=200))
def test_any_text_stands_alone_in_itself_and_upper_case_changes_no_word(text: str) -> None:
    assert stands_alone(text, squeezed(text)) or not squeezed(text)
    assert squeezed(text) == squeezed(" ".join(text.split()))
