r"""Grade a mathematical answer: extraction, then equivalence with the target.

Owns the order of the rules: the cheap ones first, sympy and math-verify last and only for what the
grammar here cannot read. Refuses to own the rules themselves (`compare`, `scalar`, `words`, ...).
Bounded in time and memory in every thread and process: see `slow`.

Example:
    >>> grade(r"Hence $x$ is $\boxed{\frac12}$.", "0.5")
    Grade(verdict=<Verdict.CORRECT: 'correct'>, answer='\\frac12', reason=None)
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

from harness_tasks import extract
from harness_tasks.graders import slow, words
from harness_tasks.graders.compare import same
from harness_tasks.graders.grade import Grade, GraderError
from harness_tasks.graders.latex import clean
from harness_tasks.graders.nodes import Node, TooLarge, Unreadable, start_budget
from harness_tasks.graders.parser import parse
from harness_tasks.records import Verdict

# Asides that repeat the answer in other words: "(about 18.9 cards)", "(or 3.5)".
ASIDE = re.compile(
    r"\s*(?:\\text\s*\{\s*)?\(\s*(?:about|approximately|approx\.?|roughly|i\.e\.,?|nearest|rounded|where)\b.*\Z",
    re.DOTALL | re.IGNORECASE,
)
DECIMAL_COMMA = re.compile(r"(-?(?:0|\d+)),(\d{1,2}|(?<=0,)\d+)")
# In "(1,000, 2)" the comma without a space groups digits.
TIGHT_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d)")
MAX_COMPARED_CHARS = 200_000
# A dollar sign is a unit where the other side counts in cents; "$5$" is no amount.
DOLLARS = re.compile(r"(?:\\\$|(?<!\$)\$(?!\s*[\d.,]+\s*\$))\s*(\d[\d,]*(?:\.\d+)?|\.\d+)")
CENTS = re.compile(r"\bcents?\b|¢")


def grade(answer_text: str, target: str) -> Grade:
    """Grade the answer that answer_text states against the target."""
    answer = extract.math_answer(answer_text)
    if answer is None:
        return Grade(Verdict.NO_ANSWER, None, "no complete boxed or stated answer")
    return equivalent(answer, target)


def equivalent(answer: str, target: str) -> Grade:
    """Compare an extracted answer with the target; `grader_error` where the tool broke."""
    try:
        right, reason = decide(answer, target)
    except GraderError as broken:
        return Grade(Verdict.GRADER_ERROR, answer, str(broken))
    return Grade(Verdict.CORRECT if right else Verdict.INCORRECT, answer, reason)


def alike(answer: str, other: str) -> bool:
    """Tell whether two answers are the same one, by the rules here without math-verify.

    Many pairs are compared where k samples of one doc vote, and each has to be quick.
    """
    return decide(answer, other, last_resort=lambda one, two: False)[0]


def decide(
    answer: str, target: str, last_resort: Callable[[str, str], bool] = slow.equivalent
) -> tuple[bool, str | None]:
    """Tell whether the answer is right, and why not where that needs saying.

    Raises:
        GraderError: the slow path broke.
    """
    if compact(answer) == compact(target):
        return bool(compact(answer)), None
    if len(answer) > MAX_COMPARED_CHARS:
        return False, "the answer is too long to be compared"
    if bool(CENTS.search(answer)) != bool(CENTS.search(target)):
        answer, target = (
            text if CENTS.search(text) else DOLLARS.sub(r"\1\\text{ dollars}", text)
            for text in (answer, target)
        )
    quick = in_words_first(answer, target)
    if quick is not None:
        return quick, None
    try:
        verdict = in_mathematics(answer, target)
    except (TooLarge, RecursionError) as large:
        return False, f"the answer is too large to be compared: {large}"
    except Unreadable as unreadable:
        if in_words(answer, target):
            return True, None
        number = words.closing_number(answer) if "=" in answer else None
        if number is not None and not words.is_prose(target):
            return by_number(number, target), None
        if (
            words.is_prose(answer)
            or words.is_prose(target)
            or not slow.worth_trying(answer, target)
        ):
            return False, f"not read as mathematics: {unreadable}"
        return last_resort(answer, target), "compared by math-verify"
    if verdict is None:
        return last_resort(answer, target), "compared by math-verify"
    if not verdict and words.is_prose(answer) and not words.is_prose(target):
        number = words.closing_number(answer)
        return number is not None and by_number(number, target), None
    return verdict, None


def compact(text: str) -> str:
    """Return a text without what never matters."""
    text = re.sub(r"(?<=\w)\s+(?=\d)", "~", text.strip())  # "1 1/2" is not "11/2"
    return re.sub(r"\s+|\\(?:left|right|displaystyle)(?![A-Za-z])|\\[,;!]|\$|\.$", "", text)


def in_words_first(answer: str, target: str) -> bool | None:
    """Decide what must not be read as mathematics: choice letters and times of day."""
    letter = words.choice_letter(target)
    if letter is not None:
        if words.same_choice(letter, answer):
            return True
        alone = words.choice_letter(answer)
        return False if alone is not None and alone != letter else None
    if words.same_letters(target, answer):
        return True
    return words.same_clock(target, answer)


def in_mathematics(answer: str, target: str) -> bool | None:
    """Compare under every reading of the two texts: any that agrees is enough.

    Raises:
        Unreadable: one side has no reading.
        TooLarge: the answer is beyond what is compared.
    """
    start_budget()
    targets, answers = readings(target), readings(answer)
    verdicts: list[bool | None] = []
    for t in targets:
        for a in answers:
            verdicts.append(same(t, a))
            if verdicts[-1]:
                return True
    for one, other in ((answer, target), (target, answer)):
        comma = DECIMAL_COMMA.fullmatch(compact(one))
        if comma and "." in other:  # 1000,99 is a decimal where the other side is one
            return same(parse(f"{comma[1]}.{comma[2]}"), parse(other))
    return None if None in verdicts else False


def readings(text: str) -> list[Node]:
    """Parse a text; one with a comma between digits may be a number or a list.

    Raises:
        Unreadable: there is no reading.
    """
    text = ASIDE.sub("", text) or text
    text = words.standard_words(text) or text
    if words.is_no_solution(text):
        return [Node("const", text="empty")]
    found = [parse(text)]
    if "," in text and TIGHT_THOUSANDS.search(text) and re.search(r"\d,\s|\\,", text):
        found.append(parse(TIGHT_THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)))
    if re.search(r"\d,\d{3}(?!\d)", text) and not re.search(r"\d,0\d", text):
        with contextlib.suppress(Unreadable):
            found.append(parse(text, thousands=False))
    return found


def in_words(answer: str, target: str) -> bool:
    """Compare as words, or by the one number that a sentence states."""
    if words.same_words(target, answer):
        return True
    if words.is_prose(answer) and not words.is_prose(target):
        number = words.sentence_number(answer)
        return number is not None and by_number(number, target)
    if words.is_prose(target):
        numbers = words.numbers_of(target)
        same_numbers = bool(numbers) and numbers == words.numbers_of(answer)
        if words.signs_of(answer) not in ([], words.signs_of(target)):
            return False
        if words.is_negated(target) != words.is_negated(answer):
            return False
        return same_numbers and set(words.words_of(answer)) <= set(words.words_of(target))
    return False


def by_number(number: str, target: str) -> bool:
    """Compare the number of a sentence with the target."""
    try:
        return in_mathematics(number, target) is True
    except (Unreadable, TooLarge):
        return False


__all__ = ["alike", "clean", "decide", "equivalent", "grade"]
