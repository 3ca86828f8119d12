r"""Sets of real numbers: intervals, unions, inequalities and conditions in one form.

Owns the reading of a tree as a list of intervals and the comparison of two such lists. Refuses to
own everything else (`compare`). Endpoints may be symbolic.

Example: `x < -2 \text{ or } x > 2` and `(-\infty,-2)\cup(2,\infty)` give the same pieces.
"""

from __future__ import annotations

from typing import NamedTuple

from harness_tasks.graders.exact import Undefined, exact
from harness_tasks.graders.nodes import Node, TooLarge, Unreadable, number, replaced, symbols
from harness_tasks.graders.numeric import REAL, evaluate
from harness_tasks.graders.scalar import same_value

INFINITY = Node("inf")
MINUS_INFINITY = Node("neg", (INFINITY,))
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class Piece(NamedTuple):
    """One interval; a point is closed on both ends."""

    low: Node
    high: Node
    low_closed: bool
    high_closed: bool


class Region(NamedTuple):
    """Pieces, and the variable that they are about where one was named."""

    pieces: tuple[Piece, ...]
    variable: Node | None = None


EVERYTHING = Piece(MINUS_INFINITY, INFINITY, False, False)


def is_region(node: Node) -> bool:
    """Tell whether a tree can only be a set of reals (a pair in brackets may also be a tuple)."""
    if node.kind in {"union", "intersect", "minus", "builder"} or is_difference(node):
        return True
    if node.kind == "const":
        return node.text == "R"
    if node.kind == "in":
        return is_region(node.args[1]) or is_pair(node.args[1])
    if node.kind == "group":
        mixed = node.text in {"[)", "(]"} and len(node.args) == 2
        return mixed or (len(node.args) == 2 and any(is_infinite(a) for a in node.args))
    if node.kind == "rel":
        return any(op in FLIPPED or op == "!=" for op in node.text.split())
    return node.kind == "list" and any(
        is_region(a) for a in node.args if a.kind in {"rel", "in", "group"}
    )


def is_difference(node: Node) -> bool:
    """Tell whether a node is a set minus a set, written with the sign of numbers."""
    return (
        node.kind == "add"
        and len(node.args) == 2
        and node.args[1].kind == "neg"
        and node.args[1].args[0].kind == "set"
        and is_region(node.args[0])
    )


def is_pair(node: Node) -> bool:
    """Tell whether a node is two things in brackets."""
    return node.kind == "group" and len(node.args) == 2


def is_infinite(node: Node) -> bool:
    """Tell whether a node is plus or minus infinity."""
    return node.kind == "inf" or (node.kind in {"neg", "quantity"} and is_infinite(node.args[0]))


def region(node: Node) -> Region | None:
    """Read a tree as a set of reals, None where it is none that this form can hold."""
    if node.kind == "const":
        return (
            Region((EVERYTHING,))
            if node.text == "R"
            else Region(())
            if node.text == "empty"
            else None
        )
    if node.kind == "in":
        inner = region(node.args[1])
        return inner and Region(inner.pieces, node.args[0])
    if node.kind == "group" and len(node.args) == 2 and node.text != "<>":
        low, high = node.args
        return Region((Piece(low, high, node.text[0] == "[", node.text[1] == "]"),))
    if node.kind == "group" and len(node.args) == 1:
        return region(node.args[0])
    if node.kind == "set":
        return Region(tuple(Piece(item, item, True, True) for item in node.args))
    if node.kind == "builder":
        condition = region(node.args[1])
        same_variable = condition and (
            condition.variable in (None, node.args[0]) or node.args[0].kind == "in"
        )
        # What a set-builder calls its elements is not said outside of it.
        return condition._replace(variable=None) if condition and same_variable else None
    if node.kind == "union":
        left, right = region(node.args[0]), region(node.args[1])
        return Region(left.pieces + right.pieces) if left and right else None
    if node.kind == "minus":
        return difference(region(node.args[0]), region(node.args[1]))
    if is_difference(node):
        return difference(region(node.args[0]), region(node.args[1].args[0]))
    if node.kind == "intersect":
        return intersection(region(node.args[0]), region(node.args[1]))
    if node.kind == "rel":
        return from_relation(node)
    if node.kind == "list":
        return from_list(node)
    return None


def from_list(node: Node) -> Region | None:
    """Join conditions: "or" is a union, "and" and a comma an intersection.

    Conditions that no number meets together were meant one by one: `x < 0, x > 5`.
    """
    parts = [region(item) for item in node.args]
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part]
    variables = {part.variable for part in known if part.variable is not None}
    if len(variables) > 1:
        return None
    variable = next(iter(variables), None)
    pure_intervals = all(item.kind in {"group", "union"} for item in node.args)
    if node.text == "or" or pure_intervals:
        return Region(tuple(piece for part in known for piece in part.pieces), variable)
    joined: Region | None = known[0]
    for part in known[1:]:
        joined = intersection(joined, part)
    if joined and not joined.pieces and node.text == ",":
        return Region(tuple(piece for part in known for piece in part.pieces), variable)
    return joined and Region(joined.pieces, variable)


def from_relation(node: Node) -> Region | None:
    r"""Read `a < x <= b`, `x > a`, `|x| < a`, `x \\ne a` or `x = a`."""
    ops = node.text.split()
    parts = node.args
    if len(ops) == 1 and ops[0] in {"=", "!="}:
        if parts[0].kind not in {"sym", "call"}:
            return None
        point = Piece(parts[1], parts[1], True, True)
        if ops[0] == "=":
            return Region((point,), parts[0])
        return Region(outside(point), parts[0])
    if any(op not in FLIPPED for op in ops):
        return None
    if ops[0][0] == ">":
        ops, parts = [FLIPPED[op] for op in reversed(ops)], tuple(reversed(parts))
    if any(op[0] != "<" for op in ops):
        return None
    if len(parts) == 3 and symbols(parts[1]) | called(parts[1]):
        piece = Piece(parts[0], parts[2], ops[0] == "<=", ops[1] == "<=")
        return solved(parts[1], (piece,))
    if len(parts) != 2:
        return None
    closed = ops[0] == "<="
    left_free = bool(symbols(parts[0]) | called(parts[0]))
    right_free = bool(symbols(parts[1]) | called(parts[1]))
    if left_free and (not right_free or parts[0].kind == "sym"):
        return solved(parts[0], (Piece(MINUS_INFINITY, parts[1], False, closed),))
    if right_free and (not left_free or parts[1].kind == "sym"):
        return solved(parts[1], (Piece(parts[0], INFINITY, closed, False),))
    return None


def called(node: Node) -> frozenset[str]:
    """Return the names of unknown functions applied at the top of a node."""
    return frozenset({node.text}) if node.kind == "call" else frozenset()


def solved(middle: Node, pieces: tuple[Piece, ...]) -> Region | None:
    """Turn bounds of an expression into bounds of its variable: itself, |x|, or linear in it."""
    if middle.kind in {"sym", "call"}:
        return Region(pieces, middle)
    if middle.kind == "func" and middle.text == "abs" and len(pieces) == 1:
        bound = pieces[0]
        if is_infinite(bound.low):
            inner = Piece(
                Node("neg", (bound.high,)), bound.high, bound.high_closed, bound.high_closed
            )
            return solved(middle.args[0], (inner,))
        if is_infinite(bound.high):
            lower = Piece(MINUS_INFINITY, Node("neg", (bound.low,)), False, bound.low_closed)
            return solved(middle.args[0], (lower, bound))
        return None
    names = sorted(symbols(middle))
    if len(names) != 1:
        return None
    return linear(middle, names[0], pieces)


def linear(middle: Node, name: str, pieces: tuple[Piece, ...]) -> Region | None:
    """Solve bounds of `a x + b` for x."""
    values = [exact(replaced(middle, name, number(x))) for x in (0, 1, 2)]
    if any(value is None for value in values):
        return None
    zero, one, two = (value for value in values if value is not None)
    slope = one - zero
    if slope == 0 or two - one != slope:
        return None
    found: list[Piece] = []
    for piece in pieces:
        ends = [
            end
            if is_infinite(end)
            else Node("div", (Node("add", (end, number(-zero))), number(slope)))
            for end in (piece.low, piece.high)
        ]
        if slope < 0:
            ends = [
                Node("neg", (e,))
                if is_infinite(e) and e.kind == "inf"
                else e.args[0]
                if is_infinite(e)
                else e
                for e in ends
            ]
            found.append(Piece(ends[1], ends[0], piece.high_closed, piece.low_closed))
        else:
            found.append(Piece(ends[0], ends[1], piece.low_closed, piece.high_closed))
    return Region(tuple(found), Node("sym", text=name))


def outside(piece: Piece) -> tuple[Piece, ...]:
    """Return everything but a point or an interval."""
    return (
        Piece(MINUS_INFINITY, piece.low, False, not piece.low_closed),
        Piece(piece.high, INFINITY, not piece.high_closed, False),
    )


def height(node: Node) -> float | None:
    """Return the place of an endpoint on the line, None where it is symbolic."""
    if is_infinite(node):
        return float("-inf") if node.kind == "neg" else float("inf")
    if symbols(node):
        return None
    try:
        return float(evaluate(node, {}, REAL))
    except (Undefined, TooLarge, Unreadable, OverflowError):
        return None


def difference(whole: Region | None, removed: Region | None) -> Region | None:
    """Take points and intervals out of a set."""
    if whole is None or removed is None:
        return None
    joined: Region | None = whole
    for piece in removed.pieces:
        joined = intersection(joined, Region(outside(piece)))
    return joined


def intersection(left: Region | None, right: Region | None) -> Region | None:
    """Intersect two sets; symbolic endpoints only where an infinite one leaves no choice."""
    if left is None or right is None:
        return None
    found: list[Piece] = []
    for a in left.pieces:
        for b in right.pieces:
            low = later(a.low, a.low_closed, b.low, b.low_closed, 1)
            high = later(a.high, a.high_closed, b.high, b.high_closed, -1)
            if low is None or high is None:
                return None
            bottom, top = height(low[0]), height(high[0])
            known = bottom is not None and top is not None
            if known and is_empty(bottom or 0.0, top or 0.0, low[1] and high[1]):
                continue
            found.append(Piece(low[0], high[0], low[1], high[1]))
    return Region(tuple(found), left.variable or right.variable)


def is_empty(bottom: float, top: float, closed: bool) -> bool:
    """Tell whether nothing lies between two ends."""
    return bottom > top or (bottom == top and not closed)


def later(a: Node, a_closed: bool, b: Node, b_closed: bool, sign: int) -> tuple[Node, bool] | None:
    """Return the tighter of two ends; `sign` is 1 for lower ends and -1 for upper ones."""
    x, y = height(a), height(b)
    weakest = float("-inf") * sign
    if x == weakest:
        return b, b_closed
    if y == weakest:
        return a, a_closed
    if x is None or y is None:
        return (a, a_closed and b_closed) if a == b else None
    if x == y:
        return a, a_closed and b_closed
    return (a, a_closed) if (x - y) * sign > 0 else (b, b_closed)


def tidy(pieces: tuple[Piece, ...]) -> list[Piece]:
    """Sort numeric pieces and join those that overlap or touch; leave symbolic ones as they are."""
    ends = [(height(p.low), height(p.high)) for p in pieces]
    if any(low is None or high is None for low, high in ends):
        return list(dict.fromkeys(pieces))
    order = sorted(range(len(pieces)), key=lambda i: (ends[i], not pieces[i].low_closed))
    joined: list[Piece] = []
    for i in order:
        piece = pieces[i]
        last = joined[-1] if joined else None
        if last is not None:
            gap = (height(piece.low) or 0.0) - (height(last.high) or 0.0)
            if gap < 0 or (gap == 0 and (piece.low_closed or last.high_closed)):
                if (height(piece.high) or 0.0) > (height(last.high) or 0.0):
                    joined[-1] = last._replace(high=piece.high, high_closed=piece.high_closed)
                elif height(piece.high) == height(last.high):
                    joined[-1] = last._replace(high_closed=last.high_closed or piece.high_closed)
                continue
        joined.append(piece)
    return joined


def same_region(target: Region, answer: Region) -> bool | None:
    """Compare two sets of reals; two variables named differently make different conditions."""
    names = [r.variable for r in (target, answer) if r.variable and r.variable.kind == "sym"]
    if len(names) == 2 and names[0].text.lower() != names[1].text.lower():
        return False
    t, a = tidy(target.pieces), tidy(answer.pieces)
    if len(t) != len(a):
        return False
    unused = list(a)
    for piece in t:
        match = next((other for other in unused if same_piece(piece, other)), None)
        if match is None:
            return False
        unused.remove(match)
    return True


def same_piece(target: Piece, answer: Piece) -> bool:
    """Compare two intervals, ends and brackets; at infinity the bracket says nothing."""
    for t, t_closed, a, a_closed in (
        (target.low, target.low_closed, answer.low, answer.low_closed),
        (target.high, target.high_closed, answer.high, answer.high_closed),
    ):
        if is_infinite(t) or is_infinite(a):
            if height(t) != height(a):
                return False
        elif t_closed != a_closed or not same_value(t, a):
            return False
    return True


__all__ = ["Piece", "Region", "is_pair", "is_region", "region", "same_region"]
