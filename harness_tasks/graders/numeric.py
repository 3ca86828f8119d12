r"""The value of a tree that is not rational by its form, and the equality of two trees.

Owns numeric evaluation and the test that two expressions are equal. Refuses to own exact arithmetic
(`exact`) and what an answer means (units, percent, lists: `compare`). Every step is bounded:
magnitudes beyond `2**MAX_LOG2` raise `TooLarge`.

Two expressions with symbols are equal where they agree at seeded points, positive, negative and
whole, to 1e-9 in floating point and to 1e-40 with 60 digits at one of them.
Source: Schwartz (1980), Fast probabilistic algorithms for verification of polynomial identities;
deviation: the points are reals and so the test holds for functions that are no polynomials, with
tolerance in place of exactness.

Example: `equal(parse("(x+1)^2"), parse("x^2+2x+1"))` is True.
"""

from __future__ import annotations

import cmath
import hashlib
import math
import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from harness_tasks.graders.exact import Undefined, base_value, exact
from harness_tasks.graders.nodes import (
    Node,
    TooLarge,
    Unreadable,
    check_budget,
    contains,
    symbols,
    walk,
)

MAX_LOG2 = 2**40
MAX_MP_FACTORIAL = 10**6
DIGITS = 60
MAX_SERIES_STEPS = 3_000
CLOSE = 1e-9
NEAR = 1e-6
CONFIRM = 1e-40
# Noise that stands for zero shrinks by far more than this when the digits are doubled.
SHRINKS = 1e-30


# Numeric values ---------------------------------------------------------------------------


class Field(NamedTuple):
    """One kind of numbers to evaluate in."""

    library: Any  # math, cmath or an mpmath context
    is_complex: bool

    @property
    def high_precision(self) -> bool:
        """Tell whether this is mpmath."""
        return self.library not in (math, cmath)

    def literal(self, value: Fraction) -> Any:
        """Convert a rational number."""
        if self.high_precision:
            return self.library.mpf(value.numerator) / self.library.mpf(value.denominator)
        return float(value)


REAL = Field(math, False)
COMPLEX = Field(cmath, True)


@cache
def precise(is_complex: bool, digits: int = DIGITS) -> Field:
    """Return the field of 60-digit numbers: a context of our own, since mpmath's is global."""
    from mpmath import MPContext

    context = MPContext()
    context.dps = digits
    return Field(context, is_complex)


def evaluate(node: Node, point: Mapping[str, Any], field: Field) -> Any:
    """Evaluate at a point.

    Raises:
        Undefined: no value in this field.
        TooLarge: a magnitude beyond the field.
        Unreadable: a node that has no value.
    """
    kind = node.kind
    if kind == "num" and node.number is not None:
        return field.literal(node.number)
    if kind == "sym":
        return symbol_value(node.text, point, field)
    if kind == "const":
        return constant(node.text, field)
    if kind == "series":
        return series(node, point, field)
    v = [evaluate(arg, point, field) for arg in node.args]
    if kind == "add":
        return sum(v[1:], v[0])
    if kind == "neg":
        return -v[0]
    if kind == "mul":
        return bounded(v[0] * v[1], field)
    if kind == "div" or (kind == "ratio" and len(v) == 2):
        if v[1] == 0:
            raise Undefined("division by zero")
        return bounded(v[0] / v[1], field)
    if kind == "pow":
        return power(v[0], v[1], field)
    if kind == "percent":
        return v[0] / 100
    if kind == "quantity":
        return v[0]
    if kind == "degree":
        return v[0] * constant("pi", field) / 180
    if kind == "fact":
        return gamma(v[0] + 1, field)
    if kind == "call":
        return unknown_function(node.text, v, field)
    if kind == "func":
        return function(node.text, v, field)
    if kind == "base":
        return field.literal(base_value(node))
    raise Unreadable(f"no value: {kind}")


def series(node: Node, point: Mapping[str, Any], field: Field) -> Any:
    """Add or multiply the terms of a series with whole bounds.

    Raises:
        Undefined: a bound that is no whole number.
        Unreadable: more terms than are written out here.
    """
    variable, start, stop, body = node.args
    low, high = (evaluate(bound, point, field) for bound in (start, stop))
    if any(not is_real(b) or b.real != int(b.real) for b in (low, high)):
        raise Undefined("bound of a series")
    n_terms = int(high.real) - int(low.real) + 1
    n_steps = n_terms * sum(1 for _ in walk(body))
    if n_steps > MAX_SERIES_STEPS or contains(body, "series"):
        raise Unreadable(f"a series of {n_steps} steps, or a nested one")
    total = field.literal(Fraction(0 if node.text == "sum" else 1))
    for k in range(int(low.real), int(low.real) + n_terms):
        term = evaluate(body, {**point, variable.text: float(k)}, field)
        total = total + term if node.text == "sum" else bounded(total * term, field)
    return bounded(total, field)


def symbol_value(name: str, point: Mapping[str, Any], field: Field) -> Any:
    """Look up a symbol; `i` is the imaginary unit."""
    if name == "i":
        if not field.is_complex:
            raise Undefined("i")
        return field.library.mpc(0, 1) if field.high_precision else 1j
    value = point[name]
    return field.literal(Fraction(value)) if field.high_precision else value


def constant(name: str, field: Field) -> Any:
    """Return pi or e."""
    if name not in {"pi", "e"}:
        raise Unreadable(f"constant {name}")
    return +getattr(field.library, name)


def bounded(value: Any, field: Field) -> Any:
    """Refuse magnitudes beyond the field."""
    if field.high_precision:
        if value and field.library.mag(value) > MAX_LOG2:
            raise TooLarge("magnitude")
    elif not cmath.isfinite(value):
        raise TooLarge("magnitude")
    return value


def is_real(value: Any) -> bool:
    """Tell whether a value lies on the real line, within rounding."""
    return bool(abs(value.imag) <= 1e-12 * max(1.0, abs(value)))


def power(base: Any, exponent: Any, field: Field) -> Any:
    """Raise to a power; of a negative base only to whole exponents, unless in the complex field."""
    if base == 0:
        if exponent.real > 0:
            return base * 0
        if exponent == 0:
            return base * 0 + 1
        raise Undefined("division by zero")
    if not field.is_complex and base < 0 and exponent != int(exponent):
        raise Undefined("power of a negative number")
    if field.high_precision:
        context = field.library
        if abs(exponent) * (abs(context.mag(base)) + 1) > MAX_LOG2:
            raise TooLarge("power")
        return bounded(context.power(base, exponent), field)
    try:
        return bounded(base**exponent, field)
    except OverflowError as large:
        raise TooLarge("power") from large


def gamma(value: Any, field: Field) -> Any:
    """Return the gamma function of a real number."""
    value = value.real
    if value > MAX_MP_FACTORIAL or value < -1000:
        raise TooLarge("factorial")
    try:
        return field.library.gamma(value) if field.high_precision else math.gamma(value)
    except ValueError as pole:
        raise Undefined("factorial of a negative number") from pole
    except OverflowError as large:
        raise TooLarge("factorial") from large


def unknown_function(name: str, v: list[Any], field: Field) -> Any:
    """Give an unknown function a value that depends on its name and arguments only."""
    text = name + "".join(f"|{complex(x).real:.6e}|{complex(x).imag:.6e}" for x in v)
    digest = hashlib.sha256(text.encode()).digest()
    return field.literal(Fraction(int.from_bytes(digest[:6]) + 1, 2**48) * 2 + Fraction(1, 2))


def function(name: str, v: list[Any], field: Field) -> Any:
    """Apply a named function."""
    library = field.library
    try:
        if name == "root":
            return root(v[0], v[1], field)
        if name in {"floor", "ceil"}:
            if not is_real(v[0]):
                raise Undefined(name)
            return field.literal(
                Fraction((math.floor if name == "floor" else math.ceil)(v[0].real))
            )
        if name == "abs":
            return abs(v[0])
        if name in {"log", "ln"}:
            return logarithm(name, v, field)
        if name in {"cot", "sec", "csc"}:
            return 1 / getattr(library, {"cot": "tan", "sec": "cos", "csc": "sin"}[name])(v[0])
        if name == "exp":
            return power(constant("e", field), v[0], field)
        if name in {"sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"}:
            if abs(v[0]) > 1e12:
                raise TooLarge("angle")
            if (
                field.high_precision
                and not field.is_complex
                and name in {"asin", "acos"}
                and abs(v[0]) > 1
            ):
                raise Undefined(name)
            return getattr(library, name)(v[0])
        if name in {"max", "min"}:
            return max(v, key=lambda x: x.real) if name == "max" else min(v, key=lambda x: x.real)
        if name == "binom":
            return gamma(v[0] + 1, field) / (gamma(v[1] + 1, field) * gamma(v[0] - v[1] + 1, field))
    except (ZeroDivisionError, ValueError) as outside:
        raise Undefined(name) from outside
    except OverflowError as large:
        raise TooLarge(name) from large
    raise Unreadable(f"function {name}")


def root(value: Any, index: Any, field: Field) -> Any:
    """Take a root; an odd root of a negative number is the real one."""
    if index == 0:
        raise Undefined("root")
    if index == 2 and (field.is_complex or value >= 0):
        return field.library.sqrt(value)
    whole = index.real == int(index.real) and is_real(index)
    if whole and int(index.real) % 2 == 1 and is_real(value) and value.real < 0:
        return -power(-value.real, 1 / index, field)
    return power(value, 1 / index, field)


def logarithm(name: str, v: list[Any], field: Field) -> Any:
    """Take a logarithm: to its base, to 10 for `log` with none, natural for `ln`."""
    if v[0] == 0 or (not field.is_complex and v[0] < 0):
        raise Undefined(name)
    natural = field.library.log(v[0])
    if name == "ln" or len(v) < 2:
        return natural
    return natural / field.library.log(v[1])


# Equality ---------------------------------------------------------------------------------


def points(names: frozenset[str]) -> Iterator[dict[str, float]]:
    """Yield seeded points: positive, of any sign, and whole."""
    ordered = sorted(names - {"i"})
    draw = random.Random(20260101)
    for low, high, n_points in ((0.3, 2.7, 3), (-3.1, 3.1, 4)):
        for _ in range(n_points):
            yield {name: draw.uniform(low, high) for name in ordered}
    for _ in range(4):
        yield {name: float(draw.randint(2, 12)) for name in ordered}


def equal(left: Node, right: Node) -> bool | None:
    """Tell whether two expressions are equal; None where no point could tell.

    Raises:
        TooLarge: both are beyond what is compared.
        Unreadable: one of them has no value.
    """
    if left == right:
        return True
    try:
        values = exact(left), exact(right)
        if values[0] is not None and values[1] is not None:
            return values[0] == values[1]
    except TooLarge:
        if contains(left, "add") or contains(right, "add"):
            raise  # 60 digits do not show what was added
    except Undefined:
        return False
    names = symbols(left) | symbols(right)
    fields = (True,) if "i" in names else (False, True)
    for is_complex in fields:
        verdict = equal_in(left, right, names, is_complex)
        if verdict is not None:
            return verdict
    return None


def equal_in(left: Node, right: Node, names: frozenset[str], is_complex: bool) -> bool | None:
    """Compare in one field: False at the first point that differs; None without enough points."""
    free = names - {"i"}
    agreed: dict[str, float] | None = None
    n_agreed = 0
    rough = COMPLEX if is_complex else REAL
    for point in points(free) if free else [{}]:
        a, b = rough_value(left, point, rough), rough_value(right, point, rough)
        if a == "large" or b == "large":
            verdict = large_values(left, right, point, is_complex) if not free else None
            if verdict is not None or not free:
                return verdict
            continue
        if a is None or b is None:
            continue
        if not close(a, b, NEAR):
            return False
        if free and not close(a, b, CLOSE) and not confirmed(left, right, point, is_complex):
            return False
        n_agreed += 1
        agreed = point
    if agreed is None or (free and n_agreed < 2):
        return None
    return confirmed(left, right, agreed, is_complex)


def rough_value(node: Node, point: dict[str, float], field: Field) -> Any:
    """Return a value in floating point, None where undefined, "large" beyond its range."""
    check_budget()
    try:
        value = evaluate(node, point, field)
        return value if cmath.isfinite(value) else "large"
    except Undefined:
        return None
    except (TooLarge, OverflowError):
        return "large"


def close(a: Any, b: Any, tolerance: float) -> bool:
    """Compare relative to the larger; what is tiny beside 1 is left to the confirmation."""
    scale = max(abs(a), abs(b))
    return bool(abs(a - b) <= tolerance * scale or scale <= 1e-8)


def confirmed(left: Node, right: Node, point: dict[str, float], is_complex: bool) -> bool | None:
    """Compare with 60 digits; what is all but zero is zero where it shrinks with more digits."""
    field = precise(is_complex)
    try:
        a, b = evaluate(left, point, field), evaluate(right, point, field)
        if near(a, b) or max(abs(a), abs(b)) >= CONFIRM:
            return near(a, b)
        finer = precise(is_complex, 2 * DIGITS)
        a2, b2 = evaluate(left, point, finer), evaluate(right, point, finer)
    except (Undefined, TooLarge, OverflowError):
        return None
    return bool(max(abs(a2), abs(b2)) <= SHRINKS * max(abs(a), abs(b)))


def near(a: Any, b: Any) -> bool:
    """Compare 60-digit values."""
    return bool(abs(a - b) <= CONFIRM * max(abs(a), abs(b)))


def large_values(left: Node, right: Node, point: dict[str, float], is_complex: bool) -> bool | None:
    """Compare values beyond floating point; one that is beyond everything equals no other.

    Raises:
        TooLarge: both are.
    """
    field = precise(is_complex)
    sizes: list[Any] = []
    for node in (left, right):
        try:
            sizes.append(evaluate(node, point, field))
        except (TooLarge, OverflowError):
            sizes.append(None)
        except Undefined:
            return None
    if sizes[0] is None and sizes[1] is None:
        raise TooLarge("both sides are beyond what is compared")
    if sizes[0] is None or sizes[1] is None:
        return False
    return near(sizes[0], sizes[1])
