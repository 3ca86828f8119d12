r"""Grade answers that are one number: GSM8K word problems and AIME integers.

Owns the two rules below. Refuses to own extraction (`extract`) and equivalence (`math_answer`).

- GSM8K: the boxed or stated answer, else the last number of the text; compared as mathematics, so
  that "$1,200.00" is 1200.
- AIME: an integer from 0 to 999; "025" is 25, and an expression equal to it is right too.

Example:
    >>> grade_gsm8k("She earns $18.00 a day.", "18").verdict
    <Verdict.CORRECT: 'correct'>
"""

from __future__ import annotations

from harness_tasks import extract
from harness_tasks.graders import math_answer
from harness_tasks.graders.grade import Grade
from harness_tasks.records import Verdict

AIME_MAX = 999


def grade_gsm8k(answer_text: str, target: str) -> Grade:
    """Grade a word problem; GSM8K's working before `####` may stand in the target."""
    answer = extract.gsm8k_answer(answer_text)
    if answer is None:
        return Grade(Verdict.NO_ANSWER, None, "no boxed or stated answer, and no number")
    return math_answer.equivalent(answer, target.rsplit("####", 1)[-1].strip())


def grade_aime(answer_text: str, target: str) -> Grade:
    """Grade an AIME answer.

    Raises:
        ValueError: the target is no integer from 0 to 999.
    """
    if not (target.strip().isdecimal() and int(target) <= AIME_MAX):
        raise ValueError(f"an AIME target is an integer from 0 to {AIME_MAX}, got {target!r}")
    answer = extract.math_answer(answer_text)
    if answer is None:
        return Grade(Verdict.NO_ANSWER, None, "no boxed or stated answer")
    digits = answer.strip()
    if digits.isdecimal() and len(digits) <= len(str(AIME_MAX)):
        same = int(digits) == int(target)
        return Grade(Verdict.CORRECT if same else Verdict.INCORRECT, answer)
    return math_answer.equivalent(answer, str(int(target)))


def alike_integers(answer: str, other: str) -> bool:
    """Tell whether two answers to an AIME question are the same one: "025" is "25"."""
    if answer.isdecimal() and other.isdecimal():
        return answer.lstrip("0") == other.lstrip("0")
    return math_answer.alike(answer, other)
