"""The tree that an answer is parsed into.

Owns the node type and the limits that keep every tree small. Refuses to own parsing and meaning.

Example: `2x` is `Node("mul", (number(2), Node("sym", text="x")))`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

# An answer beyond these is no answer that a question could have; it is refused, not worked on.
MAX_CHARS = 4_000
MAX_TOKENS = 2_000
MAX_DEPTH = 40
MAX_ITEMS = 200


class TooLarge(Exception):
    """A limit of size, depth or magnitude was reached: the answer is beyond what is compared."""


# Processor time of one comparison in front of the slow path. Not wall time, so that a busy machine
# or many threads change no verdict.
BUDGET_S = 0.4
_budget = threading.local()


def start_budget() -> None:
    """Begin the time of one comparison, in this thread."""
    _budget.end = time.thread_time() + BUDGET_S


def check_budget() -> None:
    """Stop a comparison that has used up its time.

    Raises:
        TooLarge: it has.
    """
    if time.thread_time() > getattr(_budget, "end", float("inf")):
        raise TooLarge(f"more than {BUDGET_S} s of work")


class Unreadable(Exception):
    """The text is no mathematics that this grammar knows."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node: `kind` says what it is, `text` its name, operator or delimiters.

    Kinds: num sym inf const add mul div pow neg pm func call fact degree percent quantity ratio
    series base group set list union intersect minus matrix row rel in builder text.
    """

    kind: str
    args: tuple[Node, ...] = ()
    text: str = ""
    number: Fraction | None = None


def number(value: int | Fraction, text: str = "") -> Node:
    """Make a number node; `text` is the literal as written, which shows its decimals."""
    return Node("num", text=text, number=Fraction(value))


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and all below it."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(top.args)


def symbols(node: Node) -> frozenset[str]:
    """Return the names of the free symbols below a node."""
    return frozenset(n.text for n in walk(node) if n.kind == "sym")


def rename(node: Node, names: dict[str, str]) -> Node:
    """Return the node with symbols renamed."""
    if node.kind == "sym":
        return Node("sym", text=names.get(node.text, node.text))
    if not node.args:
        return node
    return Node(node.kind, tuple(rename(a, names) for a in node.args), node.text, node.number)


def replaced(node: Node, name: str, value: Node) -> Node:
    """Return the node with a symbol replaced by a tree."""
    if node.kind == "sym" and node.text == name:
        return value
    if not node.args:
        return node
    args = tuple(replaced(arg, name, value) for arg in node.args)
    return Node(node.kind, args, node.text, node.number)


def contains(node: Node, *kinds: str) -> bool:
    """Tell whether a node of one of the kinds stands anywhere in the tree."""
    return any(n.kind in kinds for n in walk(node))
