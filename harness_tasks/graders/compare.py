r"""Compare the trees of an answer and a target: lists, tuples, sets, matrices, equations.

Owns which forms of an answer stand for which. Refuses to own values (`scalar`), equations
(`equations`), sets of reals (`regions`) and words (`words`). `None` means that the rules cannot
tell; True and False are meant.

Example: `same(parse("1 \\pm \\sqrt{2}"), parse("1-\\sqrt2, 1+\\sqrt2"))` is True.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from harness_tasks.graders.equations import assigned, is_equation, same_equation
from harness_tasks.graders.names import in_name_order, named_alike, spread, unnamed
from harness_tasks.graders.nodes import MAX_ITEMS, Node, TooLarge, check_budget, contains, symbols
from harness_tasks.graders.numeric import equal
from harness_tasks.graders.quantities import compound, counted_alike
from harness_tasks.graders.regions import is_pair, is_region, region, same_region
from harness_tasks.graders.scalar import same_value

MAX_SIGNS = 5
NUMBER_SETS = frozenset("ZNQRC")


def same(target: Node, answer: Node) -> bool | None:
    """Tell whether an answer is the target; None where these rules cannot tell."""
    check_budget()
    target, answer = plain(target), plain(answer)
    if target == answer:
        return True
    if contains(target, "pm") or contains(answer, "pm"):
        return same_signs(target, answer)
    if is_region(target) or is_region(answer):
        verdict = same_regions(target, answer)
        if verdict is not None:
            return verdict
    if is_equation(target) or is_equation(answer):
        verdict = same_equations(target, answer)
        if verdict is not None:
            return verdict
    if target.kind == "rel" and answer.kind == "rel":
        return same_chain(target, answer)
    if target.kind == "rel" and answer.kind == "list":
        return is_order_of(ascending(target), answer)
    if target.kind in {"list", "set"} or answer.kind in {"list", "set"}:
        return same_collection(target, answer)
    if target.kind == "group" or answer.kind == "group":
        return same_tuple(target, answer)
    if contains(target, "matrix") or contains(answer, "matrix"):
        return same_matrix(target, answer)
    if target.kind in STRUCTURES or answer.kind in STRUCTURES:
        return False if target.kind != answer.kind else None
    return same_value(target, answer)


STRUCTURES = frozenset({"rel", "in", "builder", "union", "minus", "intersect", "inf", "text"})


def plain(node: Node) -> Node:
    r"""Drop what carries no answer: `k \in \mathbb{Z}` beside a family, `x \in` before a set."""
    if node.kind == "list":
        whole = compound(node.args)
        if whole is not None:
            return whole
        kept = [a for a in node.args if not is_domain(a)]
        if kept and len(kept) < len(node.args):
            return plain(kept[0] if len(kept) == 1 else Node("list", tuple(kept), node.text))
    if node.kind == "in" and node.args[1].kind == "set":
        return node.args[1]
    if node.kind == "group" and len(node.args) == 1 and node.text in {"[]", "()"}:
        return plain(node.args[0])
    if node.kind == "quantity" and node.args[0].kind in {
        "group",
        "list",
        "set",
        "rel",
        "matrix",
        "in",
    }:
        return plain(node.args[0])
    if node.kind == "union" and all(plain(arg).kind == "set" for arg in node.args):
        return Node("set", tuple(item for arg in node.args for item in plain(arg).args))
    if node.kind == "set" and len(node.args) == 1 and node.args[0].kind in {"list"}:
        return Node("set", node.args[0].args)
    if node.kind == "neg" and node.args[0].kind == "quantity":
        inner = node.args[0]
        return Node("quantity", (Node("neg", inner.args),), inner.text)
    return node


def is_domain(node: Node) -> bool:
    r"""Tell whether an item only says what a parameter is: `k \in \mathbb{Z}`."""
    return node.kind == "in" and node.args[1].kind == "const" and node.args[1].text in NUMBER_SETS


# Signs ------------------------------------------------------------------------------------


def same_signs(target: Node, answer: Node) -> bool | None:
    r"""Compare with every `\pm` written out: all signs together, or each for itself."""
    verdict: bool | None = False
    for together in (True, False):
        left, right = with_signs(target, together), with_signs(answer, together)
        one = same(left, right)
        if one:
            return True
        verdict = None if one is None else verdict
    return verdict


def with_signs(node: Node, together: bool) -> Node:
    r"""Write a tree with `\pm` as the list of its values.

    Raises:
        TooLarge: more signs than an answer has.
    """
    if not contains(node, "pm"):
        return node
    if node.kind in {"list", "set"}:
        items: list[Node] = []
        for item in node.args:
            variants = with_signs(item, together)
            items.extend(
                variants.args if variants is not item and variants.kind == "list" else (variants,)
            )
        return Node(node.kind, tuple(items), node.text)
    n_signs = count_signs(node)
    if n_signs > MAX_SIGNS:
        raise TooLarge("too many signs")
    choices = (
        [(s,) * n_signs for s in (1, -1)] if together else list(product((1, -1), repeat=n_signs))
    )
    return Node("list", tuple(signed(node, iter(choice)) for choice in choices), "or")


def count_signs(node: Node) -> int:
    """Count the signs of a tree."""
    return (node.kind == "pm") + sum(count_signs(arg) for arg in node.args)


def signed(node: Node, signs: Iterator[int]) -> Node:
    """Write out one choice of signs."""
    if node.kind != "pm":
        return Node(node.kind, tuple(signed(a, signs) for a in node.args), node.text, node.number)
    sign = next(signs) * (1 if node.text == "pm" else -1)
    left, right = signed(node.args[0], signs), signed(node.args[1], signs)
    if left.kind == "num" and left.number == 0:
        return right if sign > 0 else Node("neg", (right,))
    return Node("add", (left, right if sign > 0 else Node("neg", (right,))))


# Sets of reals ----------------------------------------------------------------------------


def same_regions(target: Node, answer: Node) -> bool | None:
    """Compare sets of reals, where both can be read as one."""
    t, a = region(target), region(answer)
    if t is not None and a is not None:
        return same_region(t, a)
    if target.kind == "rel" and answer.kind == "rel":
        return None
    if (t is None) != (a is None) and not (target.kind == "rel" or answer.kind == "rel"):
        readable = target if t is not None else answer
        other = answer if t is not None else target
        if (
            is_region(readable)
            and other.kind not in {"list", "group"}
            and not contains(other, "const")
        ):
            return False
    return None


def same_chain(target: Node, answer: Node) -> bool | None:
    """Compare chains of inequalities member by member, either way round."""
    t, a = ascending(target), ascending(answer)
    if t.text != a.text or len(t.args) != len(a.args):
        if len(t.args) == len(a.args) == 2:
            return same_inequality(t, a)
        return False
    if all(same_value(x, y) for x, y in zip(t.args, a.args, strict=True)):
        return True
    if t.text == "!=" and same_value(t.args[0], a.args[1]) and same_value(t.args[1], a.args[0]):
        return True
    return same_inequality(t, a) if len(t.args) == 2 else False


def is_order_of(chain: Node, names: Node) -> bool:
    """Tell whether a list names the members of `b < a < c` in that order."""
    strict = len(chain.args) > 2 and set(chain.text.split()) == {"<"}
    return strict and all(n.kind == "sym" for n in names.args) and chain.args == names.args


def ascending(node: Node) -> Node:
    """Turn a chain of `>` round."""
    ops = node.text.split()
    if all(op in {">", ">="} for op in ops):
        return Node(
            "rel", tuple(reversed(node.args)), " ".join("<" + op[1:] for op in reversed(ops))
        )
    return node


def same_inequality(target: Node, answer: Node) -> bool | None:
    """Compare `a < b` with `c < d` by the differences of their sides."""
    if target.text != answer.text:
        return False
    t = Node("add", (target.args[1], Node("neg", (target.args[0],))))
    a = Node("add", (answer.args[1], Node("neg", (answer.args[0],))))
    return equal(t, a)


# Equations --------------------------------------------------------------------------------


def same_equations(target: Node, answer: Node) -> bool | None:
    """Compare where at least one side is an equation; None leaves it to the other rules."""
    if is_equation(target) and is_equation(answer):
        return same_equation(target, answer, same)
    equation, other = (target, answer) if is_equation(target) else (answer, target)
    if other.kind in {"list", "set"} and len(other.args) > 1:
        value = assigned(equation)
        if value is None or value.kind not in {"list", "group", "set"}:
            return False
        return same(value, other) if equation is target else same(other, value)
    if other.kind == "rel":
        return False
    value = assigned(equation, of_target=equation is target)
    if value is None:
        return same_graph(equation, other)
    verdict = same(value, other) if equation is target else same(other, value)
    if verdict is False and symbols(other) and other.kind != "sym" and not symbols(value):
        return same_graph(equation, other)  # `xy = 6` gives no value of its own
    return verdict


def same_graph(equation: Node, other: Node) -> bool | None:
    """Compare an equation with an expression in all its symbols but one, which then is that one."""
    missing = symbols(equation) - symbols(other)
    if len(missing) != 1 or not symbols(other) < symbols(equation) or not symbols(other):
        return False
    if contains(other, *STRUCTURES, "list", "set", "group", "matrix"):
        return False
    graph = Node("rel", (Node("sym", text=next(iter(missing))), other), "=")
    return same_equation(equation, graph, same)


# Lists, sets and tuples -------------------------------------------------------------------


def items_of(node: Node) -> tuple[Node, ...]:
    """Return the items of a list or set, without doubles; any other node is its only item."""
    if node.kind in {"list", "set"}:
        return tuple(dict.fromkeys(node.args))
    return (node,)


def same_collection(target: Node, answer: Node) -> bool | None:
    """Compare where one side is a list or a set: in any order, but a tuple keeps its own."""
    if target.kind == "group" or answer.kind == "group":
        ordered = target if target.kind == "group" else answer
        other = answer if ordered is target else target
        interval = ordered.text in {"[)", "(]"} or (is_pair(ordered) and ordered.text == "[]")
        if interval and (ordered is target or other.kind == "set"):
            return False
        if other.text == "or" or (other.kind == "set" and ordered.text != "[]"):
            return False
        if len(ordered.args) == 1 or len(ordered.args) != len(other.args):
            return False
        values = unnamed(in_name_order(other.args))
        return pairwise_same(ordered.args, values, swap=ordered is answer)
    working = last_of_working(answer) if target.kind not in {"list", "set"} else None
    if working is not None:
        return same(target, working)
    if "set" in {target.kind, answer.kind} and {target.kind, answer.kind} & {"const"}:
        return False
    if target.kind == "list" and len(items_of(target)) < len(target.args):
        given = spread(answer.args if answer.kind in {"list", "set"} else (answer,))
        if len(given) != len(target.args):
            return False  # "2, 2" asks for two values: "2" is one
    left, right = named_alike(items_of(target), items_of(answer))
    left, right = expanded(left), expanded(right)
    if all(item.kind == "quantity" for item in (*left, *right)):
        pairs = counted_alike(left, right)
        if pairs is not None:
            return pairwise_same(tuple(t for t, _ in pairs), tuple(a for _, a in pairs))
    return match_items(left, right)


def last_of_working(answer: Node) -> Node | None:
    """Return the last result of a working, `5 * 3 = 15; 15 + 2 = 17`, None for all else."""
    if answer.kind != "list" or not all(map(is_equation, answer.args)):
        return None
    results = [
        None if symbols(step) or contains(step, "text") else assigned(step) for step in answer.args
    ]
    return results[-1] if None not in results else None


def expanded(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Write items that are lists themselves (`x = 1, 2`) out."""
    found: list[Node] = []
    for item in items:
        found.extend(item.args if item.kind == "list" else (item,))
    return tuple(found)


def match_items(left: tuple[Node, ...], right: tuple[Node, ...]) -> bool | None:
    """Match two lists item by item in any order; equal items count once."""
    if len(left) > MAX_ITEMS or len(right) > MAX_ITEMS:
        raise TooLarge("too many items")
    written_right, written_left = set(right), set(left)
    unmatched = [item for item in left if item not in written_right]
    unused = [other for other in right if other not in written_left]
    unknown = False
    for item in unmatched:
        verdicts = [(same(item, other), other) for other in right]
        hits = [other for verdict, other in verdicts if verdict]
        if not hits:
            unknown = unknown or any(verdict is None for verdict, _ in verdicts)
            if not unknown:
                return False
            continue
        unused = [other for other in unused if other not in hits]
    known_left = [item for item in left if item in written_right]
    unused = [other for other in unused if not any(same(item, other) for item in known_left)]
    if unused:
        return None if unknown else False
    return None if unknown else True


def pairwise_same(
    left: tuple[Node, ...], right: tuple[Node, ...], *, swap: bool = False
) -> bool | None:
    """Compare item by item in order."""
    if len(left) != len(right):
        return False
    verdicts = [same(y, x) if swap else same(x, y) for x, y in zip(left, right, strict=True)]
    return False if False in verdicts else None if None in verdicts else True


def same_tuple(target: Node, answer: Node) -> bool | None:
    """Compare tuples (or intervals with two ends): same brackets, same items in order."""
    if target.kind == "group" and answer.kind == "group":
        if (
            target.text != answer.text
            and is_pair(target)
            and {target.text, answer.text} != {"()", "<>"}
        ):
            return False
        return pairwise_same(target.args, answer.args)
    group, other = (target, answer) if target.kind == "group" else (answer, target)
    if is_pair(group) and "[" in group.text:
        return False  # an interval
    if other.kind == "matrix" and (len(other.args) == 1 or len(other.args[0].args) == 1):
        cells = tuple(cell for row in other.args for cell in row.args)
        return pairwise_same(group.args, cells, swap=group is answer)
    if other.kind in {"mul", "add", "div"} and contains(other, "group", "matrix"):
        return None
    return False


# Matrices ---------------------------------------------------------------------------------


def same_matrix(target: Node, answer: Node) -> bool | None:
    """Compare matrices cell by cell, after multiplying factors in."""
    t, a = cells_of(target), cells_of(answer)
    if t is None or a is None:
        if contains(target, "matrix") and contains(answer, "matrix"):
            kinds = target.kind == "matrix", answer.kind == "matrix"
            determinants = "func" in {target.kind, answer.kind}
            return False if determinants and any(kinds) else None
        return False
    if [len(row) for row in t] != [len(row) for row in a]:
        return False
    return pairwise_same(tuple(c for row in t for c in row), tuple(c for row in a for c in row))


def cells_of(node: Node) -> list[list[Node]] | None:
    """Return the cells of a matrix, of a multiple of one, or of a sum; None for all else."""
    if node.kind == "matrix":
        return [list(row.args) for row in node.args]
    if node.kind == "func" and node.text == "binom":  # also a column of two
        return [[arg] for arg in node.args]
    if node.kind == "neg":
        inner = cells_of(node.args[0])
        return inner and [[Node("neg", (c,)) for c in row] for row in inner]
    if node.kind in {"mul", "div"}:
        left, right = cells_of(node.args[0]), cells_of(node.args[1])
        if left is not None and right is None and not contains(node.args[1], "matrix"):
            return [[Node(node.kind, (c, node.args[1])) for c in row] for row in left]
        if (
            right is not None
            and left is None
            and node.kind == "mul"
            and not contains(node.args[0], "matrix")
        ):
            return [[Node("mul", (node.args[0], c)) for c in row] for row in right]
        return None
    if node.kind == "add":
        terms = [cells_of(arg) for arg in node.args]
        shapes = {tuple(len(row) for row in term) if term else None for term in terms}
        if None in shapes or len(shapes) != 1:
            return None
        known = [term for term in terms if term]
        return [
            [Node("add", tuple(term[i][j] for term in known)) for j in range(len(known[0][0]))]
            for i in range(len(known[0]))
        ]
    return None
