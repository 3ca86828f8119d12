r"""From answer_text (the text after the reasoning) to the answer that it states.

Owns where an answer stands: the last complete `\boxed{}`, "the final answer is", tags, `####`,
and what is taken when none of these is there. Refuses to own splitting off the reasoning
(`reasoning`) and what an answer is worth (`graders`). Standard library only, linear in the text.

Example:
    >>> math_answer(r"First \boxed{\frac{1}{3}}. No: it is \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
"""

from __future__ import annotations

import re
from typing import NamedTuple

# No published answer is near this long; a longer "answer" is a runaway completion.
MAX_ANSWER_CHARS = 20_000
# Phrases and last numbers are looked for near the end only, where an answer stands.
TAIL_CHARS = 20_000
MAX_JOINED_BOXES = 50

BOX_OR_BRACE = re.compile(
    r"\\\\?(?P<box>boxed|fbox|framebox)(?![A-Za-z])\s*(?P<open>\{?)|\\.|(?P<brace>[{}])", re.DOTALL
)
BARE_BOX = re.compile(r"[^\s$]+")
# What may stand between two boxes that together are one answer: `\boxed{1} \text{ and } \boxed{2}`.
JOINT = re.compile(
    r"[\s$]*(?:\\[()\[\]])?[\s$]*(?:\\q?quad|\\[,;: ]|[\s$])*"
    r"(?:,|;|\\text\s*\{\s*(?:and|or|,)\s*\}|\band\b|\bor\b)\s*(?:and\b|or\b)?"
    r"(?:\\q?quad|\\[,;: ]|[\s$])*(?:\\[()\[\]])?[\s$]*"
)
SPECIAL_TOKEN = re.compile(r"<\|[^<>|]{1,40}\|>.*\Z|</s>.*\Z", re.DOTALL)
ANSWER_TAG = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL | re.IGNORECASE)
# GSM8K's own form closes the text; a "#### Step 1" above is a heading.
HASHES = re.compile(r"####(?!#)[ \t]*(\S[^\n]{0,200}?)\s*\Z")
FINAL_HEADING = re.compile(r"^\W*final answer\W*\n\s*", re.MULTILINE | re.IGNORECASE)
PHRASE = re.compile(
    r"(?:\b(?:final|correct|right|best|required|desired|numerical)\s+)*\b(?P<noun>answers?|solutions?|result|option|choice)\b"
    r"(?:\s+(?:to|of|for)\b[^.:=\n,;]{0,80}?)?"
    r"[\s*_`]*(?:\bis\b|\bare\b|\bwill\s+be\b|\bwould\s+be\b|\bmust\s+be\b|\bshould\s+be\b|:|=|\bequals?\b)"
    r"(?:\s+(?:thus|therefore|then|hence|simply|just|indeed|now|equal\s+to|given\s+by|as\s+follows|option|choice))*"
    r"[\s*_`]*:?[\s*_`]*",
    re.IGNORECASE,
)
# Behind a phrase that does not say "final", at most this much may follow.
WEAK_PHRASE_CHARS = 400
JUDGEMENT = re.compile(
    r"(?:indeed |also |therefore |probably |likely )?"
    r"(?:correct|right|wrong|incorrect|valid|consistent|reasonable|plausible|clear|confirmed|verified"
    r"|unique|the same|not|in|as|that|found|obtained|given|asked|required|supposed|going)\b",
    re.IGNORECASE,
)
FINAL_PHRASE = re.compile(r"\bfinal answer\s*(?:is\b|:)", re.IGNORECASE)
CLAUSE_END = re.compile(r"(?:[.!?](?=\s|$|\*)|\n)")
DISPLAY = re.compile(
    r"\s*(?:\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$([^$\n]+)\$(?=\W*(?:$|\n)))", re.DOTALL
)
MATH = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$([^$\n]{1,400})\$", re.DOTALL)
PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}[ ,.]+[A-Za-z]{2,}")
UNFINISHED = ("+", "-", "*", "/", "=", "<", ">", "^", "_", "\\", "(", ",")
# A last line that breaks off at one of these words states nothing.
DANGLING = re.compile(
    r"(?:\S+\s+){3,}(?:and|or|then|the|an|of|to|so|with|is|are|was|for|by|that|which|but|if|from|let"
    r"|because|since|into|than)"
)
# What the text says that its answer is not.
DENIED = re.compile(r"\b(?:answers?|solutions?|result)\s+(?:is|are)\s+(?:\w+ly\s+)?not\b[^.\n]*")
NOT_OTHERWISE = re.compile(
    r",?\s+(?:and\s+)?(?:not|rather than|instead of)\s.*\Z"
    r"|\$?\s*,?\s+as (?:required|desired|needed|expected|claimed|wanted)\b.*\Z",
    re.DOTALL,
)
EMOJI = re.compile("[\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]")
NUMBER = re.compile(
    r"(?<![\w.])(?:[-\u2212+]\s?)?(?:\\?[$€£¥]\s?)?(?:[-\u2212]\s?)?"
    r"(?:\d{1,3}(?:(?:,|\{,\}|,?\\!,?)\d{3})+(?!\d)(?:\.\d+)?|\d+,\d\d(?![\d,])|\d+(?:\.\d+)?|\.\d+)"
    r"(?:\s?/\s?\d+(?:\.\d+)?(?![\w/]))?"
)


class Boxes(NamedTuple):
    """The outermost complete boxes of a text in order, and whether one stays open behind them."""

    complete: list[tuple[int, int, str]]  # (start, end, content)
    open_after: bool


def find_boxes(text: str) -> Boxes:
    r"""Find every `\boxed{...}`, `\fbox{...}` and `\boxed 5`, with balanced braces, in one pass."""
    complete: list[tuple[int, int, str]] = []
    stack: list[tuple[int, int] | None] = []  # None for a plain brace, (start, body) for a box
    bare_end = 0
    for token in BOX_OR_BRACE.finditer(text):
        if token.start() < bare_end:
            continue
        if token["box"] and token["open"]:
            stack.append((token.start(), token.end()))
        elif token["box"]:
            bare = BARE_BOX.match(text, token.end())
            if bare:
                bare_end = bare.end()
                complete.append((token.start(), bare_end, bare[0].rstrip(".,;:)")))
        elif token["brace"] == "{":
            stack.append(None)
        elif token["brace"] == "}" and stack:
            opened = stack.pop()
            if opened:
                start, body = opened
                while complete and complete[-1][0] > start:  # a box inside this one
                    complete.pop()
                complete.append((start, token.end(), text[body : token.start()]))
    last_open = max((entry[0] for entry in stack if entry), default=-1)
    return Boxes(complete, last_open > (complete[-1][0] if complete else -1))


def boxed(text: str) -> str | None:
    r"""Return the content of the last complete box, None without one or with a later open one.

    Boxes joined by "and", "or" or a comma are one answer: `\boxed{1} and \boxed{2}` gives `1, 2`.
    An open box after a complete one means that the model was still answering: nothing is taken.
    """
    boxes = find_boxes(text)
    if not boxes.complete or boxes.open_after:
        return None
    group = [boxes.complete[-1]]
    for earlier in boxes.complete[-2 : -MAX_JOINED_BOXES - 1 : -1]:
        gap = text[earlier[1] : group[-1][0]]
        if len(gap) > 80 or not JOINT.fullmatch(gap):
            break
        group.append(earlier)
    contents = list(dict.fromkeys(content.strip() for _, _, content in reversed(group)))
    answer = ", ".join(contents)
    return answer if answer and len(answer) <= MAX_ANSWER_CHARS else None


def math_answer(answer_text: str) -> str | None:
    r"""Return the final answer of a mathematical solution, None where it states none.

    In this order: the last complete box; nothing where a box stays open; `<answer>` tags; `####`;
    "the final answer is"; the last formula or number, unless the text stops in the middle of one.
    """
    boxes = find_boxes(answer_text)
    if boxes.complete or boxes.open_after:
        return closing_statement(answer_text, boxes) or boxed(answer_text)
    tail = SPECIAL_TOKEN.sub("", answer_text[-TAIL_CHARS:]).strip()
    return stated_answer(tail) or (
        None if stops_midway(tail) else last_formula(DENIED.sub("", tail).strip())
    )


def gsm8k_answer(answer_text: str) -> str | None:
    """Return the final answer of a word problem: box, tag, `####`, phrase, else the last number."""
    boxes = find_boxes(answer_text)
    if boxes.complete or boxes.open_after:
        return closing_statement(answer_text, boxes) or boxed(answer_text)
    tail = SPECIAL_TOKEN.sub("", answer_text[-TAIL_CHARS:]).strip()
    stated = stated_answer(tail)
    if stated and any(ch.isdigit() for ch in stated):
        return stated
    return last_number(tail)


def closing_statement(text: str, boxes: Boxes) -> str | None:
    """Return a formula or number that stands behind the last box as "the final answer is ..."."""
    if boxes.open_after or not boxes.complete:
        return None
    rest = SPECIAL_TOKEN.sub("", text[boxes.complete[-1][1] :][-TAIL_CHARS:])
    final = list(FINAL_PHRASE.finditer(rest))
    if not final:
        return None
    answer = stated_answer(rest[final[-1].start() :])
    return (
        answer
        if answer and (any(ch.isdigit() for ch in answer) or MATH.search(rest[final[-1].start() :]))
        else None
    )


def stated_answer(text: str) -> str | None:
    """Return what the text calls its answer (tags, `####`, phrases); the last mention wins."""
    tags = ANSWER_TAG.findall(text)
    if tags:
        return cleaned(tags[-1])
    hashes = HASHES.search(text)
    if hashes:
        return cleaned(hashes[1])
    text = FINAL_HEADING.sub("Final answer: ", text)
    for phrase in reversed(list(PHRASE.finditer(text))):
        rest = text[phrase.end() :]
        if len(rest) > WEAK_PHRASE_CHARS and "final" not in phrase[0].lower():
            return None  # said on the way: what follows is still being worked on
        display = DISPLAY.match(rest)
        if display:
            return cleaned(next(group for group in display.groups() if group is not None))
        end = CLAUSE_END.search(rest.lstrip("\n"))
        clause = rest.lstrip("\n")[: end.start()] if end else rest
        answer = cleaned(clause)
        if answer and JUDGEMENT.match(answer):
            continue  # "so our answer is correct"
        if answer and (
            not phrase["noun"].lower().startswith(("solution", "result")) or MATH.search(clause)
        ):
            return answer
    return None


def cleaned(clause: str) -> str | None:
    """Strip markdown, math delimiters, a closing full stop and "not 12" from a stated answer."""
    clause = clause.strip().strip("*_`").strip()
    clause = EMOJI.sub("", NOT_OTHERWISE.sub("", clause))
    clause = re.sub(r"\*\*|\\[()\[\]]", " ", clause)
    if clause.count("$") % 2 == 0:
        clause = clause.replace("$", " ")
    clause = clause.strip().rstrip(".,;:").strip()
    return clause if clause and len(clause) <= MAX_ANSWER_CHARS else None


def stops_midway(text: str) -> bool:
    """Tell whether the last line breaks off inside an expression: then nothing was answered yet.

    `... = x^2 + (1/2` would otherwise state one half.
    """
    line = re.sub(r"\*\*|__|`", "", text[text.rfind("\n") + 1 :])
    opened = sum(line.count(bracket) for bracket in "([{")
    closed = sum(line.count(bracket) for bracket in ")]}")
    return opened > closed or line.endswith(UNFINISHED) or bool(DANGLING.fullmatch(line))


def last_formula(text: str) -> str | None:
    """Return the whole of a very short text, else its last formula or number."""
    if text and len(text) <= 60 and len(text.split()) <= 3 and not text.endswith(":"):
        return cleaned(text)  # the whole reply is the answer: "B", "x = 5"
    formulas = [m for m in MATH.finditer(text) if not PROSE.search(m[0])]
    number = last_number_match(text)
    if formulas and (number is None or number.end() <= formulas[-1].end()):
        return cleaned(next(group for group in formulas[-1].groups() if group is not None))
    return cleaned_number(number[0]) if number else None


def last_number_match(text: str) -> re.Match[str] | None:
    """Find the last number of a text."""
    last = None
    for last in NUMBER.finditer(text):  # noqa: B007 (the last one is what is wanted)
        pass
    return last


def last_number(text: str) -> str | None:
    """Return the last number of a text, None where there is none."""
    number = last_number_match(text)
    return cleaned_number(number[0]) if number else None


def cleaned_number(number: str) -> str:
    r"""Write a number without currency sign, separators and spaces: `-$1,200.50` is `-1200.50`."""
    number = re.sub(r"(?<=\d),(?=\d\d$)", ".", number.replace("\u2212", "-"))  # 2,74
    return re.sub(r"[$€£¥\s,{}+]|\\[!$]?", "", number)
