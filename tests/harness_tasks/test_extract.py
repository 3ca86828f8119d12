"""Where an answer stands in answer_text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_tasks import extract

BOXES = [
    (r"\boxed{5}", "5"),
    (r"\boxed {5}", "5"),
    (r"\fbox{5}", "5"),
    (r"$\boxed 5$.", "5"),
    (r"\boxed{1} then \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\left\{ x \mid x > 0 \right\}}", r"\left\{ x \mid x > 0 \right\}"),
    (r"\boxed{a \\ {b}}", r"a \\ {b}"),
    (r"$\boxed{1}$ and $\boxed{2}$", "1, 2"),
    (r"\boxed{1}, \boxed{2}", "1, 2"),
    (r"\boxed{1} \text{ or } \boxed{2}", "1, 2"),
    (r"\boxed{3} \boxed{4}", "4"),
    (r"\boxed{x = \boxed{3}}", r"x = \boxed{3}"),
    (r"} } \boxed{5} { {", "5"),
    (r"\boxed{5", None),
    (r"\boxed{4} no: \boxed{5", None),
    (r"\boxed{4} no: \boxed{\frac{5}{6}", None),
    (r"\boxed{}", None),
    (r"\boxedtwo{5}", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "answer"), BOXES)
def test_boxed(text: str, answer: str | None) -> None:
    assert extract.boxed(text) == answer


STATED = [
    ("The final answer is 42.", "42"),
    ("The final answer is $42$. I hope it is correct.", "42"),
    ("**Final Answer:** 42", "42"),
    ("**Final Answer**\n\n$42$", "42"),
    (
        "Final Answer: The final answer is $(0, 1)$. I hope it is correct. <|im_start|>user",
        "(0, 1)",
    ),
    ("So the answer is **42**.", "42"),
    ("Answer: 3.5 cm", "3.5 cm"),
    ("The answer to the question is 42.", "42"),
    ("The answer is 42, not 41.", "42"),
    ("The answer is:\n\\[\n x = 2\n\\]", "x = 2"),
    ("<answer>42</answer>", "42"),
    ("#### 42", "42"),
    ("so #### 42", "42"),
    ("The correct option is (B).", "(B)"),
    ("Our answer is correct, and so the total is 18.", "18"),
    ("Hence $x > 5$.", "x > 5"),
    ("Thus we get $\\frac{3}{4}$ of it.", "\\frac{3}{4}"),
    ("It costs $30 for five people.", "30"),
    ("B", "B"),
    ("I cannot solve this.", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "answer"), STATED)
def test_math_answer_without_a_box(text: str, answer: str | None) -> None:
    assert extract.math_answer(text) == answer


def test_a_later_final_answer_goes_before_an_earlier_box() -> None:
    text = r"Step 1 gives \boxed{255}. Final Answer: The final answer is $10,455$."
    assert extract.math_answer(text) == "10,455"


def test_an_open_box_is_no_answer_whatever_stands_before() -> None:
    assert extract.math_answer(r"The answer is 5. So \boxed{5") is None


NUMBERS = [
    ("She pays $1,200.50.", "1200.50"),
    ("It is -3.", "-3"),
    ("a total of 18.00 dollars", "18.00"),
    ("first 3, then 4 apples.", "4"),
    ("1/2 of the cake", "1/2"),
    ("#### 1,000", "1,000"),
    ("about 2,74 $", "2.74"),
    ("The answer is 7. Then some 8.", "7"),
    (r"\boxed{12 \text{ eggs}}", r"12 \text{ eggs}"),
    (r"12 \boxed{1", None),
    ("none at all", None),
]


@pytest.mark.parametrize(("text", "answer"), NUMBERS)
def test_gsm8k_answer(text: str, answer: str | None) -> None:
    assert extract.gsm8k_answer(text) == answer


@given(st.text(alphabet="\\{}$ boxed123,.#andthe answer is", max_size=200))
def test_extraction_is_total(text: str) -> None:
    for answer in (extract.math_answer(text), extract.gsm8k_answer(text)):
        assert answer is None or answer.strip() or answer == ""


@given(st.text(alphabet="abc123+-=(),. ", min_size=1, max_size=50).filter(str.strip))
def test_a_complete_box_is_found_in_any_text_without_braces(content: str) -> None:
    assert extract.boxed(f"x = {content} so \\boxed{{{content}}}.") == content.strip()


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{",
        "{",
        "}",
        "\\boxed{1}",
        "\\boxed{1} and ",
        "$",
        "\\",
        "the answer is ",
        "<answer>",
    ],
)
def test_megabytes_of_one_piece_are_read_in_linear_time(piece: str) -> None:
    text = piece * (2_000_000 // len(piece))
    extract.math_answer(text)
    extract.gsm8k_answer(text)


@pytest.mark.parametrize(
    "text", ["so 2x = 1.\n\nx^2 + y^2 < x^2 + (1/2", "The sum is 3 +", "Then x = 4 and y ="]
)
def test_a_text_that_stops_midway_states_nothing(text: str) -> None:
    assert extract.math_answer(text) is None


def test_a_choice_of_something_in_an_earlier_clause_is_no_stated_choice() -> None:
    text = "Each divisor is a choice of exponents, so this product is the number of divisors."
    assert extract.math_answer(text) is None
