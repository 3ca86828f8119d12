r"""Equations: what an assignment assigns, and whether two equations say the same.

Owns names (`x =`, `f(n) =`, `(x, y) =`, "Minimum ="), the value of a chain of equalities and the
equivalence of equations. Refuses to own values (`scalar`) and lists (`compare`).

Two equations are the same where their differences of sides are proportional, or where each vanishes
on points of the other: `y = 1/x` is `xy = 1`.

Example: `assigned(parse("S = 2k"))` is the tree of `2k`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from harness_tasks.graders.exact import Undefined
from harness_tasks.graders.nodes import Node, TooLarge, Unreadable, check_budget, rename, symbols
from harness_tasks.graders.numeric import REAL, equal, evaluate
from harness_tasks.graders.scalar import same_value

N_LINES = 6
GRID = 40


def is_equation(node: Node) -> bool:
    """Tell whether a node is a chain of `=` (or a value followed by its approximation)."""
    return node.kind == "rel" and all(op in {"=", "~"} for op in node.text.split())


def is_name(node: Node) -> bool:
    """Tell whether a node only names something: x, x_1, f(n), P(x), (x, y), a label."""
    if node.kind in {"sym", "call", "text"}:
        return True
    if node.kind == "mul" and node.text == "applied":  # P(x), T(10)
        return node.args[0].kind == "sym"
    if node.kind == "mul" and node.text == "beside":  # AB
        return all(is_name(arg) for arg in node.args)
    return node.kind == "group" and bool(node.args) and all(is_name(arg) for arg in node.args)


def oriented(node: Node) -> Node:
    """Turn `5 = x` into `x = 5`."""
    if (
        node.kind == "rel"
        and node.text == "="
        and is_name(node.args[1])
        and not is_name(node.args[0])
    ):
        return Node("rel", (node.args[1], node.args[0]), "=")
    return node


def assigned(node: Node, *, of_target: bool = False) -> Node | None:
    r"""Return what an equation gives as its value, None where it gives none.

    Of a target only a name or a ratio may stand before the value: `a^2 + b = 0` is an equation.

    `x = 5` gives 5, `2 + 2 = 4` gives 4 because it is true, `a + b = 2k` gives 2k, and
    `\frac{1}{\sqrt 2} \approx 0.707` gives the exact side. `x + 2 = 4` and `3 = 4` give nothing.
    """
    node = oriented(node)
    parts = list(node.args)
    ops = node.text.split()
    if "~" in ops and ops.index("~") > 0 - (not is_name(parts[0])):
        cut = ops.index("~")
        if cut > 0 or not is_name(parts[0]):
            parts = parts[: cut + 1]
    head, tail = parts[0], parts[1:]
    if not tail:
        return head
    value = tail[-1]
    described = is_described(head) and not (of_target and head.kind in {"add", "pow"})
    if is_name(head) or described:
        return value if all(agree(part, value) for part in tail[:-1]) else None
    return value if not symbols(head) and all(agree(part, value) for part in parts[:-1]) else None


def is_described(head: Node) -> bool:
    """Tell whether the left side describes a quantity: `a + 5b` does, `2x` and `x + 2` do not.

    With numbers of its own it needs two symbols and no constant term: else it is to be solved.
    """
    if not symbols(head) or head.kind not in {"add", "func", "mul", "ratio", "div", "pow"}:
        return False
    if not any(n.kind == "num" for n in everything(head)):
        return True
    terms = head.args if head.kind == "add" else (head,)
    return len(symbols(head)) > 1 and all(symbols(term) for term in terms)


def everything(node: Node) -> list[Node]:
    """Return all nodes of a tree."""
    found = [node]
    for each in found:
        found.extend(each.args)
    return found


def agree(left: Node, right: Node) -> bool:
    """Tell whether two members of a chain are not known to differ."""
    try:
        if symbols(left) or symbols(right):
            return True
        return same_value(left, right) is not False
    except (Unreadable, TooLarge):
        return True


def bound_names(name: Node) -> list[str]:
    """Return the variables that a left side such as `f(x, y)` or `P(x)` binds."""
    if name.kind == "call":
        return [arg.text for arg in name.args if arg.kind == "sym"]
    if name.kind == "mul" and name.text == "applied" and name.args[1].kind == "sym":
        return [name.args[1].text]
    return []


def same_equation(
    target: Node, answer: Node, same: Callable[[Node, Node], bool | None]
) -> bool | None:
    """Compare two equations; `same` compares what they assign."""
    t, a = oriented(target), oriented(answer)
    if is_name(t.args[0]) and is_name(a.args[0]):
        verdict = same_assignment(t, a, same)
        if verdict is not None:
            return verdict
    if len(t.args) == len(a.args) == 2:
        for x, y in ((0, 1), (1, 0)):
            if same_side(t.args[0], a.args[x]) and same_side(t.args[1], a.args[y]):
                return True
        return same_curve(t, a)
    if len(t.args) == len(a.args):
        return all(same(x, y) for x, y in zip(t.args, a.args, strict=True))
    return False


def same_side(target: Node, answer: Node) -> bool:
    """Compare two sides as values."""
    try:
        return target == answer or equal(target, answer) is True
    except (Unreadable, TooLarge):
        return False


def same_assignment(
    target: Node, answer: Node, same: Callable[[Node, Node], bool | None]
) -> bool | None:
    """Compare two assignments; None where they may still be one curve."""
    t_name, a_name = target.args[0], answer.args[0]
    t_value, a_value = assigned(target), assigned(answer)
    if t_value is None or a_value is None:
        return False
    t_bound, a_bound = bound_names(t_name), bound_names(a_name)
    if len(t_bound) == len(a_bound) and t_bound != a_bound:
        names = dict(zip(a_bound, t_bound, strict=True))
        a_name, a_value = rename(a_name, names), rename(a_value, names)
    if t_name.kind == a_name.kind == "call" and t_name.args != a_name.args:
        return False  # f(n + 1) is not f(n)
    functions = "call" in {t_name.kind, a_name.kind} and {t_name.kind, a_name.kind} <= {
        "call",
        "sym",
    }
    alike = t_name == a_name or "text" in {t_name.kind, a_name.kind} or functions
    alike = alike or str(t_name).lower() == str(a_name).lower()
    if alike:
        return same(t_value, a_value)
    return None


def same_curve(target: Node, answer: Node) -> bool | None:
    """Tell whether two equations have the same solutions, by proportion or by points."""
    names = sorted((symbols(target) | symbols(answer)) - {"i"})
    if not names:
        return False
    first, second = side_difference(target), side_difference(answer)
    try:
        if proportional(first, second, names):
            return True
        forward = vanishes_on(first, second, names)
        backward = vanishes_on(second, first, names)
    except (Unreadable, TooLarge):
        return None
    return forward and backward


def side_difference(node: Node) -> Node:
    """Return left minus right."""
    return Node("add", (node.args[0], Node("neg", (node.args[1],))))


def value_at(node: Node, point: dict[str, float]) -> float | None:
    """Evaluate in floating point, None where undefined."""
    check_budget()
    try:
        return float(evaluate(node, point, REAL))
    except (Undefined, OverflowError):
        return None


def proportional(first: Node, second: Node, names: list[str]) -> bool:
    """Tell whether two expressions have a constant ratio that is not zero."""
    draw = random.Random(20260102)
    ratio: float | None = None
    n_equal = 0
    for _ in range(8):
        point = {name: draw.uniform(-3.0, 3.0) for name in names}
        a, b = value_at(first, point), value_at(second, point)
        if a is None or b is None:
            continue
        if abs(b) < 1e-9 or abs(a) < 1e-9:
            return False
        if ratio is not None and abs(a / b - ratio) > 1e-9 * abs(ratio):
            return False
        ratio = a / b
        n_equal += 1
    return n_equal >= 3


def vanishes_on(first: Node, second: Node, names: list[str]) -> bool:
    """Tell whether `second` is zero wherever `first` is, on zeros found along seeded lines."""
    draw = random.Random(20260103)
    n_zeros = 0
    for line in range(N_LINES):
        start = {name: draw.uniform(-4.0, 4.0) for name in names}
        moved = names[line % len(names)]
        for zero in zeros_along(first, start, moved):
            n_zeros += 1
            value = value_at(second, {**start, moved: zero})
            scale = max(abs(value_at(second, {**start, moved: zero + 0.37}) or 1.0), 1e-3)
            if value is None or abs(value) > 1e-6 * scale:
                return False
    return n_zeros > 0


def zeros_along(node: Node, start: dict[str, float], moved: str) -> list[float]:
    """Find zeros in one variable by sign changes on a grid and bisection."""
    found: list[float] = []
    grid = [-20.03 + 40.06 * step / GRID for step in range(GRID + 1)]
    before: tuple[float, float] | None = None
    for place in grid:
        value = value_at(node, {**start, moved: place})
        if value is not None and before is not None and (value < 0) != (before[1] < 0):
            zero = bisect(node, start, moved, before[0], place, before[1] < 0)
            if zero is not None:
                found.append(zero)
        before = None if value is None else (place, value)
    return found


def bisect(
    node: Node, start: dict[str, float], moved: str, low: float, high: float, negative: bool
) -> float | None:
    """Close in on a sign change; None where it is a pole."""
    width = None
    for _ in range(60):
        middle = (low + high) / 2
        value = value_at(node, {**start, moved: middle})
        if value is None:
            return None
        low, high = (middle, high) if (value < 0) == negative else (low, middle)
        width = abs(value)
    return low if width is not None and width < 1e-6 else None
