r"""The names in an answer: `x = 1, y = 2`, `(a, b) = (1, 2)`, "Maximum = 2".

Owns taking names off values, and the order that names give to a tuple. Refuses to own what the
values are worth (`compare`).

Example: `y = 3, x = -4` is the tuple `(-4, 3)`, since x stands before y.
"""

from __future__ import annotations

from harness_tasks.graders.equations import assigned, is_equation, is_name, oriented
from harness_tasks.graders.nodes import Node


def named_alike(
    left: tuple[Node, ...], right: tuple[Node, ...]
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Take the names off both sides where one side has none, and write `(a, b) = (1, 2)` out."""
    left, right = spread(left), spread(right)
    if all(map(is_assignment, left)) != all(map(is_assignment, right)) or any(
        map(is_assignment, left)
    ) != any(map(is_assignment, right)):
        return unnamed(left), unnamed(right)
    first = {oriented(item).args[0] for item in (*left, *right) if is_assignment(item)}
    if any(name.kind == "text" for name in first):
        return unnamed(left), unnamed(right)
    return left, right


def spread(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Write one assignment of a tuple as assignments."""
    if len(items) != 1 or not is_assignment(items[0]):
        return items
    names, values = oriented(items[0]).args[0], assigned(items[0])
    if names.kind != "group" or values is None or values.kind != "group":
        return items
    if len(names.args) != len(values.args):
        return items
    return tuple(Node("rel", pair, "=") for pair in zip(names.args, values.args, strict=True))


def is_assignment(node: Node) -> bool:
    """Tell whether an item is `name = value`."""
    return is_equation(node) and is_name(oriented(node).args[0])


def unnamed(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Take the names off assignments; any other item stays."""
    values = (assigned(item) if is_assignment(item) else item for item in items)
    return tuple(
        value if value is not None else item for value, item in zip(values, items, strict=True)
    )


def in_name_order(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Order assignments of consecutive letters (`y = 3, x = -4`) as a tuple of them is ordered."""
    if not all(map(is_assignment, items)):
        return items
    letters = [oriented(item).args[0].text for item in items]
    places = sorted(ord(letter) if len(letter) == 1 else 0 for letter in letters)
    if places != list(range(places[0], places[0] + len(places))):
        return items
    return tuple(item for _, item in sorted(zip(letters, items, strict=True), key=lambda p: p[0]))


def tuple_size(separators: list[str], items: list[Node]) -> int:
    """Tell how many assignments make one tuple in `x=2, y=5 or x=5, y=2`; 0 where none do."""
    if not items or not all(map(is_assignment, items)):
        return 0
    size = separators.index("or") + 1 if "or" in separators else 0
    if size < 2 or len(items) % size:
        return 0
    regular = all((sep == "or") == ((i + 1) % size == 0) for i, sep in enumerate(separators))
    names = [oriented(item).args[0] for item in items]
    first = set(names[:size])
    alike = all(set(names[i : i + size]) == first for i in range(0, len(names), size))
    return size if regular and alike and len(first) == size else 0
