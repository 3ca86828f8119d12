r"""Several quantities in one answer: `2 hours 15 minutes`, "3 red balls, 4 blue balls".

Owns sums of units of one dimension, and the pairing of counts with what they count. Refuses to own
units themselves (`units`) and values (`scalar`).

Example: `2 hours 15 minutes` is one quantity, 135 minutes.
"""

from __future__ import annotations

from itertools import pairwise

from harness_tasks.graders.nodes import Node, number
from harness_tasks.graders.units import read_unit


def compound(items: tuple[Node, ...]) -> Node | None:
    """Add quantities whose units grow smaller, in the smallest one; None where they are a list."""
    if len(items) < 2 or any(item.kind != "quantity" for item in items):
        return None
    units = [read_unit(item.text) for item in items]
    known = [unit for unit in units if unit and unit.dimension]
    if len(known) < len(items) or len({unit.dimension for unit in known}) > 1:
        return None
    if any(a.factor <= b.factor for a, b in pairwise(known)):
        return None
    terms = tuple(
        Node("mul", (number(unit.factor / known[-1].factor), item.args[0]))
        for unit, item in zip(known, items, strict=True)
    )
    return Node("quantity", (Node("add", terms),), items[-1].text)


def counted_alike(
    target: tuple[Node, ...], answer: tuple[Node, ...]
) -> list[tuple[Node, Node]] | None:
    """Pair the counts of the same things; None where the two do not count the same things."""
    for n_words in (99, 1):  # "red balls", else its last word
        keys_t, keys_a = (
            [" ".join(node.text.lower().split()[-n_words:]) for node in side]
            for side in (target, answer)
        )
        if sorted(keys_t) == sorted(keys_a) and len(set(keys_t)) == len(keys_t) > 1:
            return [(t, answer[keys_a.index(key)]) for t, key in zip(target, keys_t, strict=True)]
    return None
