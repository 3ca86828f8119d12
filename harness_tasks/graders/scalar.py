r"""Are two values the same: expressions with percent, degrees, units, bases, ratios and decimals.

Owns the rules for what may stand around a value, and when a rounded decimal is right. Refuses to
own lists, intervals and equations (`compare`) and arithmetic (`numeric`).

Example: `same_value(parse("50\\%"), parse("1/2"))` is True, of `0.67` and `2/3` False.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from harness_tasks.graders.exact import Undefined, exact
from harness_tasks.graders.nodes import Node, TooLarge, contains, number, rename, replaced, symbols
from harness_tasks.graders.numeric import equal, evaluate, precise
from harness_tasks.graders.units import LETTERS, Unit, read_unit

# A rounded irrational needs this many digits (3.14 is not pi), one less where the target itself is
# the rounded one and has no pi, a rounded fraction two.
MIN_DIGITS = 4
MIN_DIGITS_TARGET = 3
MIN_DIGITS_FRACTION = 2
# From five digits on the last one may be cut off instead of rounded.
CUT_TOLERANCE = Fraction(5, 100_000)
# A float printed in full: 499.99999999999994 is 500.
FLOAT_DIGITS = 14
FLOAT_NOISE = Fraction(1, 10**12)
# By convention \\omega is the primitive cube root of unity where nothing else says what it is.
CUBE_ROOT = Node(
    "pow",
    (
        Node("const", text="e"),
        Node(
            "div",
            (
                Node("mul", (Node("sym", text="i"), Node("const", text="pi"))),
                number(Fraction(3, 2)),
            ),
        ),
    ),
)
# Names of whole parameters, as in "x = k\pi".
PARAMETERS = frozenset("klmnjKN")


class Marked(NamedTuple):
    """A value and what is written around it."""

    value: Node
    percent: bool = False
    degree: bool = False
    unit: Unit | None = None


def marked(node: Node) -> Marked:
    """Take percent, degree and unit off a value."""
    if node.kind == "neg":
        inner = marked(node.args[0])
        return inner._replace(value=Node("neg", (inner.value,)))
    if node.kind == "percent":
        return marked(node.args[0])._replace(percent=True)
    if node.kind == "degree":
        return marked(node.args[0])._replace(degree=True)
    if node.kind == "quantity":
        unit = read_unit(node.text)
        return marked(node.args[0])._replace(unit=unit if unit and unit.dimension else None)
    if node.kind == "add" and node.args[-1].kind == "degree" and node.args[0].kind == "degree":
        return Marked(Node("add", tuple(a.args[0] for a in node.args)), degree=True)
    return Marked(node)


def same_value(target: Node, answer: Node) -> bool | None:
    """Compare two values under the rules of the answer's marks; None where nothing could tell."""
    if target == answer:
        return True
    t, a = marked(target), marked(answer)
    if t.unit and a.unit:
        if t.unit.dimension != a.unit.dimension:
            return False
        t = t._replace(
            value=Node("mul", (number(t.unit.factor), t.value)) if t.unit != a.unit else t.value
        )
        a = a._replace(
            value=Node("mul", (number(a.unit.factor), a.value)) if t.unit != a.unit else a.value
        )
    if any(side.unit and side.unit.dimension == "angle" for side in (t, a)):
        if t.degree or a.degree:
            return same_number(in_radians(t), in_radians(a))
    elif t.degree != a.degree:
        return same_angle(t, a)
    if t.percent != a.percent:
        return same_percent(t, a)
    verdict = same_number(t.value, a.value)
    if verdict is False:
        stripped = without_unit_letters(a.value)
        if stripped is not None and not symbols(t.value):
            return same_number(t.value, stripped)
    return verdict


def in_radians(side: Marked) -> Node:
    """Return an angle without its mark."""
    return Node("degree", (side.value,)) if side.degree else side.value


def same_angle(t: Marked, a: Marked) -> bool | None:
    """Compare degrees with a bare value: in radians where that has pi, as degrees elsewhere."""
    bare, angle = (t, a) if a.degree else (a, t)
    value = angle.value
    if any(n.kind == "const" and n.text == "pi" for n in iterate(bare.value)):
        value = Node("degree", (value,))
    pair = (bare.value, value) if a.degree else (value, bare.value)
    return same_number(*pair)


def iterate(node: Node) -> list[Node]:
    """Return a node and all below it."""
    found = [node]
    for each in found:
        found.extend(each.args)
    return found


def same_percent(t: Marked, a: Marked) -> bool | None:
    """Compare a percentage with a bare value: 25% is 25 and 0.25, but the bare 0.25 is not 25."""
    as_written = same_number(t.value, a.value)
    if as_written:
        return True
    left = Node("percent", (t.value,)) if t.percent else t.value
    right = Node("percent", (a.value,)) if a.percent else a.value
    return same_number(left, right)


def same_number(target: Node, answer: Node) -> bool | None:
    """Compare two bare values: numerals with a base, ratios, exact and rounded numbers."""
    if "base" in {positive(target).kind, positive(answer).kind}:
        return same_numeral(target, answer)
    if target.kind == "ratio" and answer.kind == "ratio":
        return same_ratio(target, answer)
    if "to" in {side.text for side in (target, answer) if side.kind == "ratio"}:
        return False  # "5 to 6" may be a range: never five sixths
    verdict = equal(target, answer)
    if not verdict and "i" in symbols(target) and symbols(answer) - symbols(target) == {"\\omega"}:
        verdict = equal(target, replaced(answer, "\\omega", CUBE_ROOT))
    if not verdict and has_bare_log(target) + has_bare_log(answer) == 1:
        verdict = equal(to_base_ten(target), to_base_ten(answer)) or verdict
    if verdict is False:
        return rounded(target, answer) or renamed(target, answer)
    return verdict


def has_bare_log(node: Node) -> bool:
    r"""Tell whether `\log` stands without a base: natural in one book, to base ten in another."""
    return any(n.kind == "func" and n.text == "log" and len(n.args) == 1 for n in iterate(node))


def to_base_ten(node: Node) -> Node:
    r"""Give every bare `\log` the base ten."""
    args = tuple(to_base_ten(arg) for arg in node.args)
    if node.kind == "func" and node.text == "log" and len(args) == 1:
        args = (*args, number(10))
    return Node(node.kind, args, node.text, node.number)


def positive(node: Node) -> Node:
    """Return the node without its sign."""
    return node.args[0] if node.kind == "neg" else node


def same_numeral(target: Node, answer: Node) -> bool:
    """Compare numerals: digits and base, where the answer may leave the target's base out.

    A target with a base asked for that base: its value in base ten is another answer. A target
    without one is in base ten, whatever base the answer names.
    """
    if (target.kind == "neg") != (answer.kind == "neg"):
        return False
    t, a = positive(target), positive(answer)
    if t.kind == "base":
        return t.text == a.text and (a.kind == "num" or t.number == a.number)
    return equal(t, a) is True


def same_ratio(target: Node, answer: Node) -> bool | None:
    """Compare ratios up to a common factor; a time may end in :00."""
    t, a = list(target.args), list(answer.args)
    short, long = sorted((t, a), key=len)
    if len(short) >= 2 and len(long) == len(short) + 1 and long[-1].text == "00":
        long.pop()
    if len(t) != len(a):
        return False
    if all(equal(x, y) for x, y in zip(t, a, strict=True)):
        return True
    if any(n.text.startswith("0") for n in (*t, *a)):
        return False  # a time of day
    return all(
        equal(Node("mul", (t[0], y)), Node("mul", (a[0], x)))
        for x, y in zip(t[1:], a[1:], strict=True)
    )


# Decimals ---------------------------------------------------------------------------------


class Decimal(NamedTuple):
    """A literal with a decimal point: its value, decimals and significant digits."""

    value: Fraction
    n_decimals: int
    n_digits: int


def decimal(node: Node) -> Decimal | None:
    """Read a literal decimal, with sign, percent or power of ten; None for all else."""
    if node.kind == "neg":
        inner = decimal(node.args[0])
        return inner and inner._replace(value=-inner.value)
    if node.kind == "percent":
        inner = decimal(node.args[0])
        return inner and Decimal(inner.value / 100, inner.n_decimals + 2, inner.n_digits)
    if node.kind != "num" or "." not in node.text or node.number is None:
        return None
    digits = node.text.partition(".")[2]
    if not digits.isdigit():
        return None
    significant = node.text.replace(".", "").lstrip("0")
    return Decimal(node.number, len(digits), len(significant))


def rounded(target: Node, answer: Node) -> bool:
    """Tell whether one side is the other, rounded well enough to show it.

    Only one side may be a decimal, and the other must have no finite decimal form of its own.
    """
    t, a = decimal(target), decimal(answer)
    if (t is None) == (a is None):
        return both_floats(t, a)
    short, full = (t, answer) if t else (a, target)
    if short is None or symbols(full) - {"i"}:
        return False
    value = exact_value(full)
    if value is None:
        return False
    irrational = safe_exact(full) is None
    if short.n_digits >= FLOAT_DIGITS and abs(short.value - value) <= FLOAT_NOISE * abs(value):
        return True
    if not irrational and terminates(value):
        return False
    has_pi = any(n.kind == "const" and n.text == "pi" for n in iterate(full))
    needed = MIN_DIGITS if a or has_pi else MIN_DIGITS_TARGET if irrational else MIN_DIGITS_FRACTION
    if short.n_digits < needed or short.n_decimals < MIN_DIGITS_FRACTION:
        return False
    if abs(short.value - value) * 2 * 10**short.n_decimals <= 1:
        return True
    return short.n_digits > MIN_DIGITS and abs(short.value - value) <= CUT_TOLERANCE * abs(value)


def both_floats(t: Decimal | None, a: Decimal | None) -> bool:
    """Compare two decimals one of which is a float printed in full."""
    if t is None or a is None or max(t.n_digits, a.n_digits) < FLOAT_DIGITS:
        return False
    return abs(t.value - a.value) <= FLOAT_NOISE * abs(t.value)


def safe_exact(node: Node) -> Fraction | None:
    """Return the rational value, None where there is none."""
    try:
        return exact(node)
    except (Undefined, TooLarge):
        return None


def exact_value(node: Node) -> Fraction | None:
    """Return a value as a fraction: itself, or its first 40 digits where it is irrational."""
    value = safe_exact(node)
    if value is not None:
        return value
    try:
        digits = evaluate(node, {}, precise(is_complex=False))
    except (Undefined, TooLarge, OverflowError):
        return None
    if not 1e-30 < abs(digits) < 1e30:
        return None
    return Fraction(int(digits * 10**40), 10**40)


def terminates(value: Fraction) -> bool:
    """Tell whether a fraction has a finite decimal form of reasonable length."""
    bottom = value.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1


# Names ------------------------------------------------------------------------------------


def renamed(target: Node, answer: Node) -> bool:
    r"""Tell whether the sides differ only in the name of one free parameter.

    `k\pi` and `n\pi` are one family, and a capital may stand for a small letter; x is not y.
    """
    names_t, names_a = symbols(target), symbols(answer)
    only_t, only_a = names_t - names_a, names_a - names_t
    if len(only_t) != 1 or len(only_a) != 1 or "sym" in {target.kind, answer.kind}:
        return False
    old, new = next(iter(only_a)), next(iter(only_t))
    if old.lower() != new.lower() and not ({old, new} <= PARAMETERS and has_period(target)):
        return False
    return equal(target, rename(answer, {old: new})) is True


def has_period(node: Node) -> bool:
    """Tell whether pi or degrees stand in an expression, as in a family of angles."""
    return contains(node, "degree") or any(
        n.kind == "const" and n.text == "pi" for n in iterate(node)
    )


def without_unit_letters(node: Node) -> Node | None:
    """Return a number without unit letters behind it (`10m`, `6 m/s`), None without any."""
    value = node
    if value.kind == "div" and is_unit_letter(value.args[1]):
        value = value.args[0]
    if value.kind != "mul" or value.text != "beside" or not is_unit_letter(value.args[1]):
        return None
    value = value.args[0]
    return value if not symbols(value) else None


def is_unit_letter(node: Node) -> bool:
    """Tell whether a node is a one-letter unit, perhaps with a power."""
    if node.kind == "pow":
        return is_unit_letter(node.args[0])
    if node.kind == "div":  # 25 \frac{m}{s}
        return all(map(is_unit_letter, node.args))
    return node.kind == "sym" and bool(re.fullmatch("[A-Za-z]", node.text)) and node.text in LETTERS
