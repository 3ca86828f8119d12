r"""Answers in words: names, "even", choice letters, times of day, and sentences with a number.

Owns the comparison of what is no formula. Refuses to own mathematics (`compare`).

Example: `same_words(r"\text{Evelyn}", "evelyn")` is True.
"""

from __future__ import annotations

import re

from harness_tasks.graders.latex import SAME_COMMAND, TEXT_COMMANDS, clean
from harness_tasks.graders.notation import ACCENTS, NUMBER_WORDS
from harness_tasks.graders.units import SCALES

WRAPPER = re.compile(r"\\(?:" + "|".join(TEXT_COMMANDS) + r")(?![A-Za-z])\s*")
TEXT = re.compile(r"\\(?:text|mbox|textrm|mathrm)\s*\{([^{}]*)\}")
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?")
EMPTY_WORDS = frozenset(
    [
        "the",
        "a",
        "an",
        "is",
        "it",
        "its",
        "it's",
        "answer",
        "option",
        "choice",
        "are",
        "be",
        "of",
        "and",
        "will",
        "only",
        "so",
        "thus",
        "that",
        "which",
        "was",
        "this",
        "therefore",
        "function",
        "triangle",
        "number",
        "value",
    ]
)
NEGATIONS = frozenset(
    ["not", "no", "none", "never", "isn't", "doesn't", "cannot", "can't", "without"]
)
CHOICE = re.compile(r"\(?([A-Z])\)?[.:]?")
CHOICE_WITH_CONTENT = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)\s*(?:is|:)?\s*)?(?:\(([A-Za-z])\)|([A-Za-z])(?:\)|\.|:)|([A-Za-z])$)\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
CLOCK = re.compile(
    r"(\d{1,2})(?::(\d\d)(?::00)?(?=\s*(?:[ap]|$))|(?=\s*[ap]\.?\s*m))"
    r"\s*(?:([ap])\.?\s*m\.?)?",
    re.IGNORECASE,
)
NO_SOLUTION = re.compile(
    r"(?:there (?:is|are) )?no (?:real )?(?:such )?(?:solutions?|values?|integers?|numbers?)"
    r"(?: exists?)?|"
    r"empty(?: set)?|does not exist|dne|none exists?|null set",
    re.IGNORECASE,
)
PHRASES = {
    **dict.fromkeys(
        ("infinitely many", "infinite", "infinity", "infinitely many solutions"), r"\infty"
    ),
}
FRACTION_WORDS = {
    f"{count} {name}{plural}": rf"\frac{{{top}}}{{{bottom}}}"
    for top, count in enumerate(("one", "two", "three", "four", "five"), start=1)
    for bottom, name in (
        (2, "half"),
        (3, "third"),
        (4, "fourth"),
        (4, "quarter"),
        (5, "fifth"),
        (6, "sixth"),
    )
    for plural in ("", "s")
}
ORDINAL_WORDS = {
    name: str(value)
    for value, name in enumerate(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
        start=1,
    )
}
REALS = re.compile(
    r"(?:[a-z] (?:is|can be) )?(?:all|any) (?:real (?:numbers?|values?)|reals?)(?: (?:of )?[a-z])?"
)
REALS_EXCEPT = re.compile(
    r"(?:all|any)\s+real(?:s|\s+(?:numbers?|values?))(?:\s+of\s+[a-z])?,?\s+"
    r"(?:except|other\s+than|excluding|besides|but\s+not)(?:\s+for)?"
    r"\s+(?:[a-z]\s*=\s*)?(?P<points>.+)",
    re.IGNORECASE | re.DOTALL,
)
# A number that only counts steps: "Step 3:", "Case 12".
COUNTED = re.compile(
    r"\b(?:steps?|cases?|parts?|problem|question|equation|example|figure|method)\s+#?\d+\b",
    re.IGNORECASE,
)
SUBORDINATE = re.compile(
    r"[,;]?\s+\b(?:if|when|because|since|assuming|after|before|while|given|where|with|than|for|per|by)\b.*",
    re.IGNORECASE | re.DOTALL,
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
CLOSING = re.compile(
    r"(?:=|\bis|\bare|\bwas|\bequals|\bto be)\s*(?:about |approximately |exactly |only )?"
    r"(-?\s?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?)\s*%?(?:\s+[A-Za-z/]+){0,3}\s*[.!]?\s*\Z"
)
UNEQUAL = re.compile(r"\\not(?![a-z])|\\neq?(?![a-z])|!=|\u2260")
LISTED = re.compile(r",|\b(?:and|or)\b")  # a list of things: one of them is not all
DENIED = re.compile(r"\W*not\b", re.IGNORECASE)
SIGN = re.compile(r"\\[A-Za-z]+|[<>=+*/^|!]|(?<![A-Za-z])-(?![A-Za-z])")
BOUND = re.compile(r"\b(?:less|more|fewer|greater|larger|smaller) than\W{0,3}\d", re.IGNORECASE)
EARLIER_RESULT = re.compile(
    r"(?:=|:|\b(?:is|are|was))\s*\$?\s?-?\d[\d,.]*(?<![,.])(?:\s+(?!and\b|or\b)[a-z]+){0,3}\s*"
    r"(?:[,;$]|\band\b|\bor\b)(?=.*(?:=|:|\b(?:is|are|was))\s*\$?\s?-?\d)"
)
WORKED_OUT = re.compile(
    r"[*/+\u00d7\u00f7]|\d\s*-|=>|\b(?:so|thus|therefore|hence|then|giving|gives|total|sum|product)\b"
)
SUPPOSED = re.compile(
    r"\W*(?:if|when|since|as|because|for|with|given|where|after)\b", re.IGNORECASE
)
PARENTHESIS = re.compile(r"\([^()]*\)")
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:/\d+)?(?![\w])")
SENTENCE_WORDS = 3
PROSE_WORDS = 2


def unwrapped(text: str) -> str:
    r"""Take `\\text{}`, commands and braces off."""
    return re.sub(r"\\[A-Za-z]+|[{}\\]", " ", WRAPPER.sub(" ", clean(text))).strip()


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, articles and fillers left out."""
    found = WORD.findall(unwrapped(text).lower().replace("-", " "))
    return [word for word in found if word not in EMPTY_WORDS] or found


def is_prose(text: str) -> bool:
    """Tell whether a text is a sentence: words of three letters and more."""
    return len([w for w in WORD.findall(unwrapped(text).lower()) if is_word(w)]) >= PROSE_WORDS


def is_word(word: str) -> bool:
    """Tell a word from a product of two letters."""
    return word.isalpha() and (len(word) > 2 or word in {"he", "we", "it", "is", "so"})


def choice_letter(target: str) -> str | None:
    """Return the letter where the target is one capital letter, as in multiple choice."""
    match = CHOICE.fullmatch(unwrapped(target))
    return match[1] if match else None


def same_choice(letter: str, answer: str) -> bool:
    """Compare a choice letter: "(C)", "C.", "c", "Option C" and "(C) 12" are C; "A, C" is not."""
    text = unwrapped(answer).strip(" *$.")
    match = CHOICE_WITH_CONTENT.fullmatch(text)
    if not match:
        return False
    chosen = match[1] or match[2] or match[3]
    rest = match[4] or ""
    return chosen.upper() == letter and not re.match(r"[=+\-*/^_<>,]|(?:and|or)\b", rest.strip())


def same_letters(target: str, answer: str) -> bool:
    """Compare several choice letters: "A, B, D" is "ABD"."""
    t, a = (re.sub(r"[\s,;()]|\band\b", "", unwrapped(x)) for x in (target, answer))
    if len(t) < 2 or not re.fullmatch("[A-Z]+", t) or signs_of(answer):
        return False
    return sorted(t) == sorted(a)


def same_clock(target: str, answer: str) -> bool | None:
    """Compare times of day; None where one side is none."""
    whole = re.fullmatch(r"\d{1,2}", target.strip())
    if whole and (clock := CLOCK.fullmatch(unwrapped(answer).rstrip())) and clock[2] == "00":
        return int(clock[1]) == int(whole[0])
    t, a = CLOCK.fullmatch(unwrapped(target).rstrip()), CLOCK.fullmatch(unwrapped(answer).rstrip())
    if not t or not a:
        return None
    if int(t[1]) != int(a[1]) or (t[2] or "00") != (a[2] or "00"):
        return False
    return not (t[3] and a[3]) or t[3].lower() == a[3].lower()


def standard_words(text: str) -> str | None:
    """Return the mathematics of a set phrase, None for any other text."""
    words = " ".join(unwrapped(text).lower().split()).strip(" .")
    excepted = REALS_EXCEPT.fullmatch(TEXT.sub(r"\1", text).strip(" ."))
    if excepted:
        points = re.sub(r"\b(?:and|or)\b", ",", excepted["points"])
        return rf"\mathbb{{R}}\setminus\{{{points}\}}"
    if REALS.fullmatch(words):
        return r"\mathbb{R}"
    return (
        PHRASES.get(words)
        or FRACTION_WORDS.get(words.replace("-", " "))
        or ORDINAL_WORDS.get(words)
    )


def is_no_solution(text: str) -> bool:
    """Tell whether a text says that there is no solution."""
    return bool(NO_SOLUTION.fullmatch(unwrapped(text).strip(" .")))


def same_words(target: str, answer: str) -> bool:
    """Compare names and descriptions word by word.

    Fillers do not count ("even" is "an even function"). Where the target is a sentence, an answer
    of one or two of its own words is taken; a negation on one side only is never overlooked.
    """
    t, a = words_of(target), words_of(answer)
    if not t or not a:
        return False
    if is_negated(target) != is_negated(answer):
        return False
    if not any(len(word) > 1 and word.isalpha() for word in t):
        return False  # numbers alone are no words: ">4" is not "4"
    if t == a:
        return numbers_of(target) == numbers_of(answer) and signs_of(target) == signs_of(answer)
    if signs_of(answer) or LISTED.search(unwrapped(target)):
        return False
    if len(t) >= SENTENCE_WORDS and len(a) <= 2:
        return all(word in t and len(word) > 2 and word.isalpha() for word in a) and is_prose(
            target
        )
    return False


def is_negated(text: str) -> bool:
    """Tell whether a negation stands in a text."""
    return bool(NEGATIONS & set(words_of(text)))


def signs_of(text: str) -> list[str]:
    """Return the mathematics between the words in order: relations, operators and commands."""
    found = [sign.strip("\\") for sign in SIGN.findall(clean(text))]
    without_value = ACCENTS.union(TEXT_COMMANDS)
    return [SAME_COMMAND.get(sign, sign) for sign in found if sign not in without_value]


def states_two_results(text: str) -> bool:
    """Tell whether the last sentence states two results side by side and works neither out."""
    sentence = SENTENCE_END.split(text.strip())[-1]
    earlier = EARLIER_RESULT.search(sentence)
    if not earlier or SUPPOSED.match(sentence):
        return False
    return not WORKED_OUT.search(sentence, earlier.end())


def closing_number(text: str) -> str | None:
    """Return the number that ends a text as a result: "... = 52 units.", "... is $3$"."""
    before = text[: text.rfind("=") + 1]
    enclosed = any(before.count(a) > before.count(b) for a, b in ("{}", "()", "[]"))
    if enclosed or UNEQUAL.search(text) or DENIED.match(unwrapped(text)):
        return None
    if states_two_results(unwrapped(text)):
        return None
    match = CLOSING.search(unwrapped(text).replace("*", " "))
    return re.sub("[, ]", "", match[1]) if match else None


def sentence_number(text: str) -> str | None:
    """Return the number that a text states: its closing result, else its last sentence's only one.

    "The oven is set to 500 degrees if the recipe says 520" states 500; a sentence with two numbers
    in its main clause states none, since neither the first nor the last need be the answer.
    """
    closing = closing_number(text)
    if closing is not None:
        return closing
    text = [part for part in SENTENCE_END.split(text.strip()) if part.strip()][-1]
    if NEGATIONS & set(WORD.findall(text.lower())) or BOUND.search(text):
        return None
    plain = COUNTED.sub(" ", PARENTHESIS.sub(" ", unwrapped(text)))
    for candidate in (plain, SUBORDINATE.sub("", plain)):
        numbers = NUMBER.findall(candidate)
        if len(numbers) == 1:
            return str(numbers[0]).replace(",", "")
        spelled = [w for w in WORD.findall(candidate.lower()) if w in NUMBER_WORDS]
        if (
            not numbers
            and len(spelled) == 1
            and not SCALES.keys() & set(WORD.findall(candidate.lower()))
        ):
            return str(NUMBER_WORDS[spelled[0]])
    return None


def numbers_of(text: str) -> list[str]:
    """Return all numbers of a text in order."""
    return [number.replace(",", "") for number in NUMBER.findall(unwrapped(text))]
