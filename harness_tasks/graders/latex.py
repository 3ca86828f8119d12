r"""From the text of an answer to tokens.

Owns the clean-up of LaTeX, Unicode and plain notation, and the lexer. Refuses to own grammar
(`parser`). Linear in the text; nothing is ever evaluated.

Example: `tokens(r"\dfrac12 cm")` gives the tokens `\frac`, `1`, `2` and the word `cm`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from harness_tasks.graders.nodes import MAX_TOKENS, TooLarge, Unreadable
from harness_tasks.graders.units import is_unit, read_unit

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ⁽⁾", "0123456789+-ni()")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ₍₎", "0123456789+-n()")
UNIT_FRACTION = re.compile(
    r"\\[dt]?frac\s*\{\s*\\(?:text|mathrm)\s*\{\s*([a-z]+)\s*\}\s*\}"
    r"\s*\{\s*\\(?:text|mathrm)\s*\{\s*([a-z]+)\s*\}\s*\}"
)
SUPER_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ⁽⁾]+")
SUB_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ₍₎]+")
SCRIPT_FRACTION = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹]+)[\u2044/]([₀₁₂₃₄₅₆₇₈₉]+)")
VULGAR = re.compile("[¼-¾⅐-⅞]")
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta",
    "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi",
    "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ϕ": "phi", "χ": "chi",
    "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda",
    "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
UNICODE = {
    **{letter: f"\\{name} " for letter, name in GREEK.items()},
    "−": "-", "–": "-", "—": "-", "‐": "-", "﹣": "-", "×": "\\times ", "÷": "\\div ",
    "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "∗": "*", "∞": "\\infty ", "≤": "\\le ",
    "≥": "\\ge ", "⩽": "\\le ", "⩾": "\\ge ", "≠": "\\ne ", "≈": "\\approx ", "±": "\\pm ",
    "∓": "\\mp ", "√": "\\sqrt ", "°": "^\\circ ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ",
    "∉": "\\notin ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}",
    "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "′": "'", "’": "'", "‘": "'",
    "″": "''", "“": "", "”": "", '"': "", "…": "\\ldots ", "⋯": "\\ldots ", "∠": "\\angle ",
    "⟨": "\\langle ", "⟩": "\\rangle ", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ",
    "⌉": "\\rceil ", "∖": "\\setminus ", "¢": "\\text{cents}", "→": "\\to ", "∨": "\\lor ",
    "∧": "\\land ", "∛": "\\sqrt[3]", "≡": "\\equiv ", "∣": "\\mid ",
    "∀": "\\forall ", "∃": "\\exists ", "△": "\\triangle ",
    "\u2044": "/", "\u200e": "", "\u200f": "",
    "\u200b": "", "\u200c": "", "\ufeff": "", "\u2061": "", "\u2062": "",
}  # fmt: skip
# Commands that only change how the rest looks.
LOOKS = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits"
    r"|mathstrut|strut|hfill|noindent|bf|rm|it|sf|tt|em|boldmath|phantom\{[^{}]*\})(?![A-Za-z])\.?"
)
SPACES = re.compile(r"(\\\\)|\\(?:[,;:> ]|q?quad|hspace\*?\{[^{}]*\}|enspace|thinspace)|~|\s")
ROW_SPACE = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:mm|cm|pt|em|ex|in|px)\s*\]")
# Currency signs, and Markdown around the whole.
DECORATION = re.compile(
    r"[£€¥₹]|^\s*(?:\*\*|__|`)+|(?:\*\*|__|`)+\s*$|^\s*\\(?:approx|sim)(?![A-Za-z])"
    r"|\\(?:text|mathrm|textbf|mbox)\s*\{\s*$"  # cut off after the answer
    r"|(?<=[})\]])\s*\.\s*(?=[)\]}])"  # `\sqrt{2}.]`
)
COLOUR = re.compile(r"\\(?:text)?color\s*\{[^{}]*\}")
HTML_SCRIPT = re.compile(r"<(sup|sub)>([^<>]*)</\1>")
CIRCLED = re.compile("[\u2460-\u2473]")
# A backslash that some JSON writer took for an escape: form feed + "rac" was \\frac.
BROKEN_ESCAPES = {
    "\f": "\\f",
    "\t": "\\t",
    "\b": "\\b",
    "\a": "\\a",
    "\v": "\\v",
    "\r": "\\r",
    "\n": "\\n",
}
BROKEN_ESCAPE = re.compile(
    r"[\x0c\x08\x07\x0b](?=[a-z])|\t(?=extcirc|(?:ext|imes|an|heta|o|frac)(?![b-hj-z]))|\r(?=ight|ho)|\n(?=eq(?![a-z]))"
)
# A command escaped once too often.
DOUBLED = re.compile(
    r"\\\\(?=(?:d?frac|sqrt|pi|sin|cos|tan|log|ln|cdot|times|text|left|right|infty)(?![a-z]))"
)
# Digits grouped in a way that no list is written.
SURE_THOUSANDS = re.compile(
    r"(?<=\d)(?:\{,\}\s?|,\s?\\!\s?|\\!,|\{,\\!\}|\\!|\\,(?=\d{3}(?!\d)))(?=\d{3})"
)
SPACED_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d.])")
THOUSANDS = re.compile(r"(?<![\d.,^_])[1-9]\d{0,2}(?:,\d{3})+(?![\d,]|\s*,\s*\d)")
# Intervals whose open ends are written with a bracket turned round: `]0, 1[`, `[2, 3[`.
OPEN_HIGH = re.compile(r"([\[\]][^\[\]]*[,;][^\[\]]*)\[(?=\s*(?:$|\\cup|\\cap|[.,$}]))")
OPEN_LOW = re.compile(r"(^\s*|(?:\\cup|\\cap|\\in|\\setminus|=)\s*)\]([^\[\]]*[,;])")
ELLIPSIS = re.compile(r",\s*\.{2,}")
LONE_BACKSLASH = re.compile(r"(?<!\\)\\\s*\Z")
TEXT_COMMANDS = (
    "text", "mbox", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "textup",
    "hbox", "emph", "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "operatorname", "bm",
    "boldsymbol", "mathcal", "mathscr", "rm", "mathbb", "mathfrak", "pmb", "bold",
)  # fmt: skip
SAME_COMMAND = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom",
    "leq": "le", "leqslant": "le", "leqq": "le", "geq": "ge", "geqslant": "ge", "geqq": "ge",
    "neq": "ne", "lt": "<", "gt": ">", "infin": "infty", "varnothing": "emptyset", "ldots": "dots",
    "cdots": "dots", "dotsc": "dots", "dotsb": "dots", "vdots": "dots", "ddots": "dots",
    "cupdot": "cup", "sqcup": "cup", "bigcup": "cup", "bigcap": "cap", "ast": "*", "bullet": "cdot",
    "degree": "circ", "textcirc": "circ", "textdegree": "circ",
    "degrees": "circ", "lbrace": "{", "rbrace": "}", "lvert": "|", "rvert": "|",
    "vert": "|", "lbrack": "[", "rbrack": "]", "varepsilon": "epsilon", "vartheta": "theta",
    "varphi": "phi", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "lg": "log",
    "operatorname*": "operatorname", "vee": "lor", "wedge": "land", "backslash": "setminus",
    "simeq": "approx", "doteq": "approx", "sim": "approx", "thickapprox": "approx",
    "approxeq": "approx", "colon": ":", "colone": ":", "Vert": "|", "lparen": "(", "rparen": ")",
    "mspace": "hspace", "exponentialE": "e", "imaginaryI": "i", "R": "reals", "Real": "reals",
}  # fmt: skip
FUNCTIONS = (
    "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "log", "ln", "exp", "max", "min", "gcd", "lcm", "arg", "Re", "Im", "det", "abs",
)  # fmt: skip
WORD_COMMANDS = {
    **{name: name for name in (*FUNCTIONS, "sqrt", "pi", "theta", "alpha", "beta", "omega")},
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "cbrt": "cbrt", "infinity": "infty",
    "inf": "infty", "oo": "infty", "infty": "infty", "union": "cup", "lambda": "lambda",
    "frac": "frac", "binom": "binom", "floor": "floor", "ceil": "ceil", "gamma": "gamma",
    "phi": "phi", "mu": "mu", "sigma": "sigma", "delta": "delta", "epsilon": "epsilon",
}  # fmt: skip
SHORT_WORDS = frozenset(
    [
        "is",
        "of",
        "to",
        "be",
        "so",
        "no",
        "we",
        "if",
        "on",
        "at",
        "by",
        "as",
        "an",
        "it",
        "in",
        "am",
        "pm",
        "or",
        "th",
        "st",
        "nd",
        "rd",
    ]
)
THREE_LETTER_WORDS = frozenset(
    [
        "and",
        "the",
        "for",
        "per",
        "not",
        "all",
        "any",
        "odd",
        "one",
        "two",
        "six",
        "ten",
        "yes",
        "non",
        "day",
        "pct",
        "red",
        "sum",
        "are",
        "was",
        "has",
        "his",
        "her",
        "old",
        "new",
        "men",
        "can",
        "may",
        "but",
        "who",
        "out",
        "set",
        "deg",
        "mod",
    ]
)
GLUED_FUNCTION = re.compile(r"(sin|cos|tan|cot|sec|csc|log|ln)([a-z])")

LEXER = re.compile(
    r"""(?P<space>\s+)
    |(?P<repeating>\d*\.\d*\\(?:overline|bar|dot)\s*(?:\{\d+\}|\d))
    |(?P<number>^\d+[eE]\d(?=\s*$)|\d+\.\d+[eE][-+]?\d{1,3}(?![\d.])|\d+[eE][-+]?\d{2,3}(?![\d.])
        |\d+(?:\.\d+)?\.(?!\d)(?=\s*(?:$|[)\]},;]))|\d+(?:\.\d+)?|\.\d+)
    |\\(?P<command>[A-Za-z]+\*?|[{}|%$&#_\\])
    |(?P<letters>[A-Za-z]+)
    |(?P<op><=|>=|!=|==|\*\*|:=|[-+*/^_=<>(){}\[\]|,;:!%&'.?])
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """One token: `kind` is number, repeating, word, symbol, command or op."""

    kind: str
    text: str
    spaced: bool  # white space stands before it


def clean(answer: str) -> str:
    """Rewrite Unicode and typography; what the mathematics says is left alone."""
    answer = BROKEN_ESCAPE.sub(lambda m: BROKEN_ESCAPES[m[0]], answer)
    answer = SCRIPT_FRACTION.sub(
        lambda m: rf"\frac{{{m[1].translate(SUPERSCRIPTS)}}}{{{m[2].translate(SUBSCRIPTS)}}}",
        answer,
    )
    answer = SUPER_RUN.sub(lambda m: "^{" + m[0].translate(SUPERSCRIPTS) + "}", answer)
    answer = SUB_RUN.sub(lambda m: "_{" + m[0].translate(SUBSCRIPTS) + "}", answer)
    answer = VULGAR.sub(lambda m: vulgar_fraction(m[0]), answer)
    answer = "".join(UNICODE.get(ch, ch) for ch in answer)
    answer = HTML_SCRIPT.sub(lambda m: ("^{" if m[1] == "sup" else "_{") + m[2] + "}", answer)
    answer = CIRCLED.sub(lambda m: f" {unicodedata.numeric(m[0]):.0f},", answer)
    answer = COLOUR.sub("", answer)
    if "\\begin" not in answer:
        answer = DOUBLED.sub("\\\\", answer)
    answer = unicodedata.normalize("NFKC", answer).replace("−", "-")
    answer = ROW_SPACE.sub(r"\\\\ ", answer)
    answer = re.sub(
        r"\\[()]|\\\[(?!\d*\.?\d*(?:pt|em|ex|mm|cm)\])|\\\]|\$\$?", _math_delimiter, answer
    )
    answer = DECORATION.sub(" ", UNIT_FRACTION.sub(r"\\text{\1/\2}", answer))
    answer = LOOKS.sub(" ", answer)
    answer = SURE_THOUSANDS.sub("", answer)
    answer = OPEN_LOW.sub(r"\1(\2", OPEN_HIGH.sub(r"\1)", answer.replace("\\!", "")))
    answer = LONE_BACKSLASH.sub(" ", ELLIPSIS.sub(r", \\ldots ", answer))
    # "= 5" is what was worked out.
    return SPACES.sub(lambda m: m[1] or " ", answer).strip().lstrip("=").strip()


def _math_delimiter(match: re.Match[str]) -> str:
    """Drop math delimiters and dollar signs: currency carries no value."""
    return " "


def vulgar_fraction(letter: str) -> str:
    """Write a one-character fraction in LaTeX."""
    top, bottom = unicodedata.normalize("NFKC", letter).split("\u2044")
    return f"\\frac{{{top}}}{{{bottom}}}"


def join_thousands(text: str) -> str:
    """Join `1,234` and `1 234` outside brackets, where a comma is no separator of a tuple."""
    text = SPACED_THOUSANDS.sub(lambda m: m[0].replace(" ", ""), text)
    depth, starts = 0, []
    for ch in text:
        starts.append(depth)
        depth += (ch in "([{") - (ch in ")]}")
    return THOUSANDS.sub(lambda m: m[0].replace(",", "") if starts[m.start()] <= 0 else m[0], text)


def tokens(text: str) -> list[Token]:
    """Split cleaned text into tokens.

    Raises:
        Unreadable: a character that stands in no formula.
        TooLarge: more tokens than an answer can have.
    """
    found: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        match = LEXER.match(text, position)
        if not match:
            raise Unreadable(f"character {text[position]!r}")
        position = match.end()
        kind = match.lastgroup or ""
        if kind == "space":
            spaced = True
            continue
        if kind == "command":
            position = command_token(text, match, found, spaced)
        elif kind == "letters":
            found.extend(letter_tokens(match[0], spaced))
        else:
            found.append(Token(kind, match[0], spaced))
        if len(found) > MAX_TOKENS:
            raise TooLarge(f"more than {MAX_TOKENS} symbols")
        spaced = False
    return found


def command_token(text: str, match: re.Match[str], found: list[Token], spaced: bool) -> int:
    """Append the token of a LaTeX command and return where the text goes on."""
    name = match["command"]
    end = match.end()
    if name in TEXT_COMMANDS:
        return text_token(text, end, name, found, spaced)
    if name in {"begin", "end"}:
        environment = re.compile(r"\s*\{([A-Za-z]+)\*?\}(?:\{[lcr|@{} ]*\})?").match(text, end)
        if not environment:
            raise Unreadable(f"\\{name} without a name")
        if environment[1] not in {"align", "aligned", "equation", "gather", "gathered", "math"}:
            found.append(Token("command", f"{name}:{environment[1]}", spaced))
        return environment.end()
    name = SAME_COMMAND.get(name, name)
    if name in {"{", "}"}:
        found.append(Token("op", "\\" + name, spaced))
    elif name in {"%", "<", ">", "|", "[", "]", "*", ":", "&", "_", "(", ")"}:
        found.append(Token("op", name, spaced))
    elif name in {"hspace", "label", "tag", "hline"}:
        return end
    elif name != "$":
        found.append(Token("command", name, spaced))
    return end


def text_token(text: str, end: int, name: str, found: list[Token], spaced: bool) -> int:
    r"""Read `\text{...}` and its relatives: words, or the letters and signs that stand in it."""
    body = re.compile(r"\s*(?:\{([^{}]*)\}|(\w))").match(text, end)
    if not body:
        return end  # nested braces: the content is read as a plain group
    content = (body[1] if body[1] is not None else body[2]).strip()
    if name == "mathbb":
        found.append(Token("command", f"set:{content}", spaced))
    elif re.match(r"\d", content) and len(content) < len(text):
        found.extend(tokens(content))  # \text{6 cm}
    elif is_unit_text(content, found):
        found.append(Token("word", content, spaced))
    elif re.fullmatch(r"[A-Za-z]", content) or not re.search(r"[A-Za-z]{2}", content):
        found.extend(tokens(content))  # \mathrm{e}, \mathbf{12}, \text{(C)}
    elif content in WORD_COMMANDS:
        found.append(Token("command", WORD_COMMANDS[content], spaced))
    elif (
        re.fullmatch(r"[A-Za-z]{2,3}", content)
        and name.startswith("math")
        and not is_unit(content)
        and content not in SHORT_WORDS
    ):
        found.extend(Token("symbol", ch, False) for ch in content)
    else:
        found.extend(word_tokens(content, spaced))
    return body.end()


def is_unit_text(content: str, found: list[Token]) -> bool:
    r"""Tell whether a text such as "m" or "m/s" is the unit of the number before it."""
    if not found or (found[-1].text not in {"}", ")"} and found[-1].kind != "number"):
        return False
    return (
        bool(re.fullmatch(r"[A-Za-z]+(?:/[A-Za-z]+)?", content)) and read_unit(content) is not None
    )


def word_tokens(content: str, spaced: bool) -> list[Token]:
    """Set a leading or closing "and" or "or" of a text apart: it joins two answers."""
    head = re.match(r"(and|or)\b[\s,]*(?=\S)", content)
    if head:
        return [Token("word", head[1], spaced), *word_tokens(content[head.end() :], spaced)]
    tail = re.search(r"(?<=\S)[\s,]+(and|or)$", content)
    if tail:
        return [Token("word", content[: tail.start()], spaced), Token("word", tail[1], True)]
    return [Token("word", content, spaced)]


def letter_tokens(run: str, spaced: bool) -> list[Token]:
    """Tell function names, words and units from products of one-letter symbols."""
    lower = run.lower()
    if len(run) == 1:
        return [Token("symbol", run, spaced)]
    if run in WORD_COMMANDS or lower in {"infinity", "pi", "sqrt", "infty"}:
        return [Token("command", WORD_COMMANDS.get(run) or WORD_COMMANDS[lower], spaced)]
    glued = GLUED_FUNCTION.fullmatch(run)
    if glued:
        return [Token("command", glued[1], spaced), Token("symbol", glued[2], False)]
    if (lower in SHORT_WORDS and not run.isupper()) or is_unit(run) or looks_like_word(run):
        return [Token("word", run, spaced)]
    return [Token("symbol", ch, spaced and i == 0) for i, ch in enumerate(run)]


def looks_like_word(run: str) -> bool:
    """Tell a word from a product of symbols: "odd" and "Amy" are words, xyz and ABC are not."""
    if len(run) < 3 or run.isupper():
        return False
    if len(run) == 3:
        return run.lower() in THREE_LETTER_WORDS or (run[0].isupper() and run[1:].islower())
    return list(run) != sorted(set(run))
