r"""Units of measure, currencies and the nouns that stand after a number.

Owns the table of units and the reading of a unit's text. Refuses to own comparison.
A unit is compared only where both sides have one that the table knows: "10 cm" is "10", and
"3 hours" is "180 minutes", but "180 minutes" is not "3".

Example: `read_unit("square feet").dimension` is "length^2".
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """A known unit: how many base units it is, and of which dimension."""

    factor: Fraction
    dimension: str


F = Fraction
# name variants -> (factor, dimension). Source of the factors: international definitions (SI, 1959
# yard and pound).
TABLE: dict[str, tuple[Fraction, str]] = {}
for names, factor, dimension in (
    ("mm millimeter millimetre", F(1, 1000), "length"),
    ("cm centimeter centimetre", F(1, 100), "length"),
    ("dm decimeter decimetre", F(1, 10), "length"),
    ("meter metre", F(1), "length"),
    ("km kilometer kilometre", F(1000), "length"),
    ("inch inches", F(254, 10000), "length"),
    ("ft foot feet", F(3048, 10000), "length"),
    ("yd yard", F(9144, 10000), "length"),
    ("mi mile", F(1609344, 1000), "length"),
    ("ms millisecond", F(1, 1000), "time"),
    ("sec second", F(1), "time"),
    ("min mins minute", F(60), "time"),
    ("hr hrs hour", F(3600), "time"),
    ("day", F(86400), "time"),
    ("week wk", F(604800), "time"),
    ("month", F(1), "month"),
    ("year yr", F(12), "month"),
    ("mg milligram", F(1, 1000), "mass"),
    ("gram gm", F(1), "mass"),
    ("kg kilogram", F(1000), "mass"),
    ("ton tonne", F(1000000), "mass"),
    ("oz ounce", F(28349523125, 1000000000), "mass"),
    ("lb lbs pound", F(45359237, 100000), "mass"),
    ("ml mL milliliter millilitre", F(1, 1000), "volume"),
    ("liter litre", F(1), "volume"),
    ("gallon gal", F(3785411784, 1000000000), "volume"),
    ("quart", F(946352946, 1000000000), "volume"),
    ("pint", F(473176473, 1000000000), "volume"),
    ("cup", F(2365882365, 10000000000), "volume"),
    ("cent", F(1, 100), "money"),
    ("dollar usd buck", F(1), "money"),
    ("euro eur", F(1), "euro"),
    ("yuan rmb cny", F(1), "yuan"),
    ("yen jpy", F(1), "yen"),
    ("rupee inr", F(1), "rupee"),
    ("mph", F(1609344, 3600000), "length/time"),
    ("kph kmph", F(1000, 3600), "length/time"),
    ("hz hertz", F(1), "frequency"),
    ("joule", F(1), "energy"),
    ("watt", F(1), "power"),
    ("volt", F(1), "voltage"),
    ("rad radian", F(1), "angle"),
    ("unit", F(1), "unit"),
):
    TABLE.update(dict.fromkeys(names.split(), (factor, dimension)))

POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
# "in" is a preposition everywhere but behind a number.
AMBIGUOUS = {
    "in": "inch",
    "m": "meter",
    "s": "second",
    "h": "hour",
    "g": "gram",
    "l": "liter",
    "hrs.": "hour",
}
# One letter behind a plain number that may be a unit: "10m" for a target of 10.
LETTERS = frozenset("mgshLlVWNJ")


def lookup(word: str) -> tuple[Fraction, str] | None:
    """Find a unit by name, singular or plural."""
    word = word.strip(".")
    for name in (word, word.lower(), AMBIGUOUS.get(word, "")):
        if name in TABLE:
            return TABLE[name]
    lower = word.lower()
    if lower.endswith("s") and lower[:-1] in TABLE and len(lower) > 3:
        return TABLE[lower[:-1]]
    return None


def is_unit(word: str) -> bool:
    """Tell whether letters behind a number can be the name of a unit (two letters at least)."""
    return len(word) > 1 and (lookup(word) is not None or word.lower() in POWERS)


def read_unit(text: str) -> Unit | None:
    """Read a unit such as "cm^2", "square feet", "miles per hour", "m/s"; None where unknown."""
    text = re.sub(r"\bper\b", "/", text.replace("\\", " "))
    parts = text.split("/")
    if len(parts) > 2:
        return None
    top = product(parts[0])
    if len(parts) == 1 or top is None:
        return top
    bottom = product(parts[1])
    if bottom is None:
        return None
    if top.dimension == bottom.dimension:
        return None
    return Unit(top.factor / bottom.factor, f"{top.dimension}/{bottom.dimension}")


def product(text: str) -> Unit | None:
    """Read one unit with its power."""
    words = re.findall(r"[A-Za-z.]+|\d+", text)
    power = 1
    unit: tuple[Fraction, str] | None = None
    for word in words:
        if word.lower() in POWERS:
            power = POWERS[word.lower()]
        elif word.isdigit():
            power = int(word) if len(word) == 1 else 99
        elif unit is None and lookup(word):
            unit = lookup(word)
        else:
            return None
    if unit is None or not 1 <= power <= 3:
        return None
    if unit[1] == "unit":
        return Unit(Fraction(1), "")
    return Unit(unit[0] ** power, unit[1] if power == 1 else f"{unit[1]}^{power}")
