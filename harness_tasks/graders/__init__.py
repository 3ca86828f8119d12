r"""Graders: from answer_text and a target to a verdict.

Owns `Grade`, what a grader returns, `GRADERS`, the grader of each kind of task, and `ALIKE`, which
of its answers are the same one. Refuses to own
the split of reasoning from answer (`reasoning`): a grader is given answer_text and never sees the
reasoning. Importing this package loads neither sympy nor math-verify.

Example:
    >>> GRADERS["math"](r"Hence $x$ is $\boxed{\frac12}$.", "0.5").verdict
    <Verdict.CORRECT: 'correct'>
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from harness_tasks.graders import choice, math_answer, number
from harness_tasks.graders.grade import Grade, GraderError

Grader = Callable[[str, str], Grade]

GRADERS: dict[str, Grader] = {
    "math": math_answer.grade,
    "gsm8k": number.grade_gsm8k,
    "aime": number.grade_aime,
    "choice": choice.grade,
}
# Which answers of one doc's samples are the same one, where they vote (`repeats`).
ALIKE: dict[str, Callable[[str, str], bool]] = {
    "math": math_answer.alike,
    "gsm8k": math_answer.alike,
    "aime": number.alike_integers,
    "choice": operator.eq,  # the letters, in alphabetical order
}

__all__ = ["ALIKE", "GRADERS", "Grade", "Grader", "GraderError"]
