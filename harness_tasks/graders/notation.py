r"""What the notation of answers is made of: tables of names, and the readers of literals.

Owns which commands and words mean what, and the token stream that the parser walks. Refuses to own
the grammar (`parser`).

Example: `numeral("2.50")` is the number 5/2 that remembers its two decimals.
"""

from __future__ import annotations

import re
from fractions import Fraction

from harness_tasks.graders.latex import Token
from harness_tasks.graders.nodes import MAX_DEPTH, Node, TooLarge, Unreadable, number
from harness_tasks.graders.units import SCALES, read_unit

RELATIONS = {
    "=": "=", "==": "=", ":=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=",
    "\\le": "<=", "\\ge": ">=", "\\ne": "!=", "\\approx": "~", "\\equiv": "=", "\\iff": "iff",
    "\\in": "in", "\\notin": "notin", "\\to": "to", "\\subset": "subset", "\\subseteq": "subset",
}  # fmt: skip
SET_OPERATORS = {"\\cup": "union", "\\cap": "intersect", "\\setminus": "minus"}
ACCENTS = frozenset(
    [
        "overline",
        "overrightarrow",
        "overleftrightarrow",
        "vec",
        "hat",
        "widehat",
        "bar",
        "tilde",
        "widetilde",
        "underline",
        "dot",
        "ddot",
        "angle",
        "triangle",
        "measuredangle",
        "overarc",
        "wideparen",
        "mathring",
        "displaylines",
        "ensuremath",
        "boxed",
        "fbox",
        "mathrm",
        "mathbf",
        "text",
        "mbox",
        "textbf",
        "mathit",
        "operatorname",
        "textrm",
        "bm",
        "boldsymbol",
        "mathcal",
        "mathop",
    ]
)
# Commands that stand between factors or behind them, and so begin none.
BETWEEN = frozenset(
    ["times", "cdot", "div", "pm", "mp", "lor", "land", "\\", "not", "mid", "circ", "prime"]
) | {"rfloor", "rceil", "rangle", "choose", "over", "pmod", "mod", "bmod", "implies", "Rightarrow"}
BRACKETS = {"langle": ("rangle", "<>"), "lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil")}
CONSTANTS = {
    "infty": Node("inf"), "emptyset": Node("const", text="empty"), "reals": Node("const", text="R"),
    "set:R": Node("const", text="R"), "set:Z": Node("const", text="Z"),
    "set:N": Node("const", text="N"), "set:Q": Node("const", text="Q"),
    "set:C": Node("const", text="C"), "pi": Node("const", text="pi"),
}  # fmt: skip
OPAQUE = frozenset(
    [
        "forall",
        "exists",
        "dots",
        "prime",
        "hbar",
        "ell",
        "partial",
        "nabla",
        "aleph",
        "Re",
        "Im",
        "top",
        "perp",
        "parallel",
    ]
)
GREEK_NAMES = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "phi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "upsilon",
    ]
)
UNKNOWN_FUNCTIONS = frozenset("fghFGH")
MATRICES = {"pmatrix", "bmatrix", "Bmatrix", "matrix", "array", "smallmatrix", "vmatrix", "Vmatrix"}
JOINERS = {"and", "or", "and/or", "or else"}
CONDITION_WORDS = ("where", "for", "with", "such that", "given")
FILLERS = {
    "usd",
    "eur",
    "inr",
    "rs",
    "rmb",
    "us",
    "only",
    "exactly",
    "either",
    "thus",
    "so",
    "is",
    "hence",
    "answer",
    "about",
    "approximately",
    "roughly",
}
PERCENT_WORDS = {"percent", "pct", "percents"}
DEGREE_WORDS = {"degree", "degrees", "deg"}
ORDINALS = {"st", "nd", "rd", "th"}
NUMBER_WORDS = {
    name: value
    for value, name in enumerate(
        (
            "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
            "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
            "eighteen", "nineteen", "twenty",
        )
    )
}  # fmt: skip

LETTERED_DIGITS = re.compile(r"[0-9A-Z]+")
LETTERED_RADIXES = {str(radix) for radix in range(11, 37)}


class Stream:
    """The tokens of one answer and the place in them."""

    def __init__(self, stream: list[Token]) -> None:
        self.stream = stream
        self.at = 0
        self.depth = 0
        self.n_series = 0
        self.bars = 0  # open `|...|`, in which a bar closes
        self.closers: list[str] = []

    def peek(self, ahead: int = 0) -> str:
        """Return the text of a coming token: commands with a backslash, words in angle brackets."""
        at = self.at + ahead
        if at >= len(self.stream):
            return ""
        token = self.stream[at]
        if token.kind == "command":
            return "\\" + token.text
        return f"<{token.text}>" if token.kind == "word" else token.text

    def kind(self, ahead: int = 0) -> str:
        """Return the kind of a coming token, empty at the end."""
        at = self.at + ahead
        return self.stream[at].kind if at < len(self.stream) else ""

    def next(self) -> Token:
        """Take the next token."""
        if self.at >= len(self.stream):
            raise Unreadable("ends too early")
        self.at += 1
        return self.stream[self.at - 1]

    def expect(self, text: str) -> None:
        """Take a closing token; at the end of the text a missing one is forgiven."""
        if self.at >= len(self.stream):
            return
        if self.peek() != text:
            raise Unreadable(f"expected {text!r}, got {self.peek()!r}")
        self.at += 1

    def lettered_numeral(self) -> Node | None:
        """Take a numeral whose digits go on with letters, `3B7_{12}`; its first token was taken."""
        end = self.at
        while (
            end < len(self.stream)
            and not self.stream[end].spaced
            and LETTERED_DIGITS.fullmatch(self.stream[end].text)
        ):
            end += 1
        digits = "".join(token.text for token in self.stream[self.at - 1 : end])
        braced = self.peek(end - self.at + 1) == "{"
        radix = self.peek(end - self.at + 1 + braced)
        if self.peek(end - self.at) != "_" or radix not in LETTERED_RADIXES:
            return None
        if not LETTERED_DIGITS.fullmatch(digits) or digits.isdigit() or digits.isalpha():
            return None
        self.at = end + 2 + braced
        if braced:
            self.expect("}")
        return Node("base", text=digits, number=Fraction(int(radix)))

    def enter(self) -> None:
        """Count one level of nesting."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"nested deeper than {MAX_DEPTH}")


def sum_of(terms: list[Node]) -> Node:
    """Add terms; a single one is itself."""
    return terms[0] if len(terms) == 1 else Node("add", tuple(terms))


def is_whole(node: Node) -> bool:
    """Tell whether a node is a literal whole number."""
    return node.kind == "num" and node.text.isdigit()


def numeral(text: str) -> Node:
    """Read a literal number exactly.

    Raises:
        TooLarge: an exponent that makes it absurd.
    """
    text = text.rstrip(".")
    mantissa, _, exponent = text.lower().partition("e")
    return number(
        Fraction(mantissa if mantissa[0] != "." else "0" + mantissa)
        * Fraction(10) ** int(exponent or 0),
        text,
    )


def repeating(text: str) -> Node:
    r"""Read `0.1\overline{6}` as the fraction that it is."""
    match = re.fullmatch(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?(\d+)\}?", text)
    if not match:
        raise Unreadable(text)
    whole, fixed, period = match.groups()
    scale = 10 ** len(fixed)
    tail = Fraction(int(period), (10 ** len(period) - 1) * scale)
    return number(Fraction(int((whole or "0") + fixed), scale) + tail)


def bracketed(opener: str, closer: str, inner: Node | None) -> Node:
    """Say what a bracket is: a bracketed value, a tuple, an interval or a set."""
    items = (
        ()
        if inner is None
        else inner.args
        if inner.kind == "list" and inner.text == ","
        else (inner,)
    )
    if opener == "\\{" or (opener == "{" and len(items) != 1):
        if inner is None:
            return Node("const", text="empty")
        return inner if inner.kind == "builder" else Node("set", items)
    if opener == "{" and inner is not None:
        return inner
    rows = {(item.kind, item.text, len(item.args)) for item in items}
    if len(items) > 1 and opener + closer == "[]" and len(rows) == 1 and items[0].text == "[]":
        return Node("matrix", tuple(Node("row", item.args) for item in items))
    if len(items) == 1 and opener == "(" and closer == ")":
        return items[0]
    return Node("group", items, opener + closer)


def annotated(node: Node, words: list[str]) -> Node:
    """Attach the unit or noun behind a value."""
    text = " ".join(words).strip()
    first = words[0].split()[0] if words[0].split() else ""
    if node.kind == "sym" and node.text in {"A", "I"} and read_unit(text) is None:
        raise Unreadable("a sentence")  # A stopped clock ...
    base = re.fullmatch(r"\(?\s*(?:in\s+)?base\s*(\w+)?\s*\)?", text)
    if base and node.kind == "num" and base[1]:
        radix = NUMBER_WORDS.get(base[1], int(base[1]) if base[1].isdigit() else 0)
        if 2 <= radix <= 36:
            return Node("base", text=node.text, number=Fraction(radix))
    if first in PERCENT_WORDS:
        return Node("percent", (node,))
    if first in DEGREE_WORDS and len(text.split()) == 1:
        return Node("degree", (node,))
    if first in SCALES:
        rest = text[len(first) :].strip()
        scaled = Node("mul", (node, number(SCALES[first])))
        return Node("quantity", (scaled,), rest) if rest else scaled
    return Node("quantity", (node,), text)
