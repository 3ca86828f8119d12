r"""Exact values: what is rational by its form, in fractions of bounded size.

Owns exact arithmetic and its limits: no number above `MAX_BITS` bits is ever built. Refuses to own
values that are not rational (`numeric`).

Example: `exact(parse("2^{10} - 24"))` is 1000; of `\\sqrt{2}` it is None.
"""

from __future__ import annotations

import math
from fractions import Fraction

from harness_tasks.graders.nodes import Node, TooLarge, Unreadable

MAX_BITS = 60_000
MAX_FACTORIAL = 3_000


class Undefined(Exception):
    """No value here: outside the domain, or a division by zero."""


def exact(node: Node) -> Fraction | None:
    """Return the value where the tree is rational by its form, None where it is not.

    Raises:
        TooLarge: a number of more than `MAX_BITS` bits would have to be built.
        Undefined: division by zero, a factorial of a fraction.
    """
    kind = node.kind
    if kind == "num":
        return node.number
    if kind in {"sym", "const", "call", "degree", "inf", "series"}:
        return None
    values = [exact(arg) for arg in node.args]
    if any(value is None for value in values):
        return None
    v = [value for value in values if value is not None]
    if kind == "add":
        return small(sum(v, Fraction(0)))
    if kind == "neg":
        return -v[0]
    if kind == "mul":
        return small(v[0] * v[1])
    if kind == "div" or (kind == "ratio" and len(v) == 2):
        return small(divide(v[0], v[1]))
    if kind == "percent":
        return v[0] / 100
    if kind == "quantity":
        return v[0]
    if kind == "pow":
        return exact_power(v[0], v[1])
    if kind == "fact":
        return Fraction(factorial(v[0]))
    if kind == "func":
        return exact_function(node.text, v)
    if kind == "base":
        return base_value(node)
    return None


def small(value: Fraction) -> Fraction:
    """Pass a number on if it is within the limit."""
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise TooLarge("a number with too many digits")
    return value


def divide(top: Fraction, bottom: Fraction) -> Fraction:
    """Divide exactly."""
    if bottom == 0:
        raise Undefined("division by zero")
    return top / bottom


def exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Raise to a whole power, or take a root that is rational."""
    if exponent.denominator != 1:
        root = exact_root(base, exponent.denominator) if exponent.denominator < 64 else None
        return None if root is None else exact_power(root, Fraction(exponent.numerator))
    if base == 0 and exponent < 0:
        raise Undefined("division by zero")
    if base in (0, 1):
        return base if exponent else Fraction(1)
    if base == -1:
        return Fraction(-1 if exponent % 2 else 1)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * bits > MAX_BITS:
        raise TooLarge("a power with too many digits")
    return base ** int(exponent)


def exact_root(value: Fraction, index: int) -> Fraction | None:
    """Return a rational root, None where it is irrational or of a negative number."""
    if value < 0:
        return None
    parts = []
    for whole in (value.numerator, value.denominator):
        root = math.isqrt(whole) if index == 2 else integer_root(whole, index)
        if root**index != whole:
            return None
        parts.append(root)
    return Fraction(parts[0], parts[1])


def integer_root(value: int, index: int) -> int:
    """Return the whole part of a root by bisection."""
    low, high = 0, 1 << (value.bit_length() // index + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**index <= value else (low, middle - 1)
    return low


def factorial(value: Fraction) -> int:
    """Return n!."""
    if value.denominator != 1 or value < 0:
        raise Undefined("factorial of no natural number")
    if value > MAX_FACTORIAL:
        raise TooLarge("factorial too large")
    return math.factorial(int(value))


def exact_function(name: str, v: list[Fraction]) -> Fraction | None:
    """Apply a function that stays rational."""
    whole = all(value.denominator == 1 for value in v)
    if name == "abs":
        return abs(v[0])
    if name in {"floor", "ceil"}:
        return Fraction(math.floor(v[0]) if name == "floor" else math.ceil(v[0]))
    if name in {"max", "min"}:
        return max(v) if name == "max" else min(v)
    if name in {"gcd", "lcm"} and whole and len(v) < 20:
        return small(Fraction((math.gcd if name == "gcd" else math.lcm)(*map(int, v))))
    if name == "binom" and whole and v[0] >= 0:
        if v[0] > MAX_FACTORIAL:
            raise TooLarge("binomial too large")
        return Fraction(math.comb(int(v[0]), int(v[1])) if v[1] >= 0 else 0)
    if name == "root" and v[1].denominator == 1 and 0 < v[1] < 64:
        odd_negative = v[0] < 0 and v[1] % 2 == 1
        root = exact_root(abs(v[0]) if odd_negative else v[0], int(v[1]))
        return None if root is None else -root if odd_negative else root
    return None


def base_value(node: Node) -> Fraction:
    """Return the value of a numeral with a base."""
    if node.number is None or not (node.text.isascii() and node.text.isalnum()):
        raise Unreadable("a numeral with a base and a fraction")
    try:
        return Fraction(int(node.text, int(node.number)))
    except ValueError as bad:
        raise Undefined(f"{node.text} is no numeral of base {node.number}") from bad
