r"""What two texts are compared by: words and signs, whatever their case, spacing and LaTeX.

Owns the normal form of a question's text. Refuses to own what follows from two texts being alike
(`decontaminate`, training's `dedup`). Standard library only.

Example:
    >>> words(r"Find $\dfrac{1}{2} \, X$.")
    ['find', 'frac', '1', '2', 'x']
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

# A figure's program is not wording, and copies of a question differ in whether they hold it.
FIGURE = ("[asy]", "[/asy]")
ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
# What changes how a formula looks and not what it says; a font's argument stays.
LOOKS = re.compile(
    r"\\(?:[,;:!> ]|(?:q?quad|left|right|displaystyle|textstyle|limits|nolimits|hfill|noindent"
    r"|[bB]igg?[lrm]?|(?:math|text)(?:rm|bf|it|sf|tt|normal|up)|text|mbox|operatorname)"
    r"(?![A-Za-z])|[hv]space\*?\{[^{}]{0,20}\})",
    re.IGNORECASE,
)
SAME: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\\[dtc](?=(?:frac|binom)(?![A-Za-z]))", re.IGNORECASE), r"\\"),
    (re.compile(r"\\([lgn]e)q(?:slant)?(?![A-Za-z])", re.IGNORECASE), r"\\\1"),
    (re.compile(r"\\(?:[lc]?dots|dots[cbmio])(?![A-Za-z])|\.\.\.", re.IGNORECASE), r" dots "),
    (re.compile(r"\u00b0"), " circ "),
    (re.compile(r"[\u2010-\u2015\u2212]"), "-"),
)
SENTENCE_STARTS = re.compile(r"[.?!:;\n)\]]")
SENTENCE_ENDS = re.compile(r"[.?!;\n]")
FORMULA_CLOSES = re.compile(r"\$|\\[\])]")
WORD = re.compile(r"\d+|[^\W\d_]+")
WORD_OR_SIGN = re.compile(r"\d+|[^\W\d_]+|[-+/=<>]")


class Spot(NamedTuple):
    """A word or sign with its place in the cleaned text."""

    text: str
    start: int
    end: int


def cleaned(text: str) -> str:
    """Return the text without figures, links and what only changes how formulas look.

    Commands are known in any case, so that a text in capitals is still the same text.
    """
    text = LOOKS.sub(" ", without_figures(text))
    text = unicodedata.normalize("NFKC", ADDRESS.sub(" ", text) if "://" in text else text)
    for pattern, plain in SAME:
        text = pattern.sub(plain, text)
    return text


def without_figures(text: str) -> str:
    """Return the text without `[asy]...[/asy]`, in time linear in it."""
    small = text.lower() if FIGURE[0][0] in text else ""
    if len(small) != len(text):  # no bracket, or a letter whose small form is longer
        return text
    kept, at = [], 0
    while (start := small.find(FIGURE[0], at)) >= 0:
        end = small.find(FIGURE[1], start)
        if end < 0:
            break
        kept.append(text[at:start])
        at = end + len(FIGURE[1])
    return " ".join([*kept, text[at:]])


def words(text: str) -> list[str]:
    """Return the words and numbers in order, without case; `2x` is two of them."""
    return WORD.findall(cleaned(text).casefold())


def squeezed(text: str) -> str:
    """Return words, numbers and the signs + - / = < > without anything between them."""
    return "".join(WORD_OR_SIGN.findall(cleaned(text).casefold()))


def spots(text: str) -> Iterator[Spot]:
    """Yield what `squeezed` joins, with places in `cleaned(text)`."""
    for found in WORD_OR_SIGN.finditer(cleaned(text)):
        yield Spot(found[0].casefold(), found.start(), found.end())


def plain(text: str) -> str:
    """Return the text in one case and with single spaces: equal ones are one question."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def stands_alone(text: str, part: str) -> bool:
    """Tell whether a squeezed part stands in a text as sentences of its own.

    Without this, `Simplify $x+1$` would be found in `Simplify $x+1-y$`.
    """
    source, found = cleaned(text), list(spots(text))
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    at = 0
    for number, spot in enumerate(found):
        starts[at] = number
        at += len(spot.text)
        ends[at] = number
    joined = "".join(spot.text for spot in found)
    place = joined.find(part)
    while place >= 0:
        first, last = starts.get(place), ends.get(place + len(part))
        if (
            first is not None
            and last is not None
            and starts_sentence(source, found, first)
            and ends_sentence(source, found, last)
        ):
            return True
        place = joined.find(part, place + 1)
    return False


def starts_sentence(source: str, found: list[Spot], first: int) -> bool:
    """Tell whether a sentence begins at a spot: behind a stop, or with a capital word."""
    if not first:
        return True
    here = source[found[first].start : found[first].end]
    gap = source[found[first - 1].end : found[first].start]
    return bool(SENTENCE_STARTS.search(gap)) or (len(here) > 1 and here[0].isupper())


def ends_sentence(source: str, found: list[Spot], last: int) -> bool:
    """Tell whether a sentence ends at a spot: a stop, a capital word, or a formula and prose."""
    if last + 1 == len(found):
        return True
    gap = source[found[last].end : found[last + 1].start]
    following = source[found[last + 1].start : found[last + 1].end]
    if SENTENCE_ENDS.search(gap):
        return True
    prose = len(following) > 1 and following.isalpha()
    return prose and (following[0].isupper() or bool(FORMULA_CLOSES.search(gap)))
