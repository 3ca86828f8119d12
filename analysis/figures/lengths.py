"""Figures of how long completions are, and of what a token budget buys.

Owns which size is drawn and of which items. Refuses to own layout (`curves`) and the numbers of
a table (`tables`).

    volume(table, comparison)    # a Picture, None where no size is known
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.estimate import Estimate, undefined
from analysis.figures import curves, svg
from analysis.figures.svg import About, Picture, picture
from analysis.items import ARMS, BASELINE, CANDIDATE, Item
from analysis.render import cells
from analysis.tables.table import Cell, Kind, Table

if TYPE_CHECKING:
    from analysis.compare import Comparison

MOST_PANELS = 12
COLOURS = {BASELINE: svg.BASELINE, CANDIDATE: svg.CANDIDATE}
Size = Callable[[Item], float | None]


def size_of(comparison: Comparison) -> tuple[str, Size] | None:
    """Return the size that most completions of both arms have: tokens, else characters."""
    for axis, size in (
        ("completion tokens", lambda item: item.completion_tokens),
        ("characters of reasoning and answer", characters),
    ):
        n_known = sum(size(item) is not None for item in comparison.items)
        if n_known > len(comparison.items) / 2:
            return axis, size
    return None


def characters(item: Item) -> float | None:
    """Return the length of a completion, None where it is not known."""
    if item.reasoning_chars is None or item.answer_chars is None:
        return None
    return item.reasoning_chars + item.answer_chars


def sizes(items: list[Item], arm: str, size: Size) -> list[float]:
    """Return the known sizes of an arm."""
    return [value for item in items if item.arm == arm and (value := size(item)) is not None]


def by_task(comparison: Comparison) -> dict[str, list[Item]]:
    """Return the items of the first tasks that generate text."""
    found: dict[str, list[Item]] = {}
    for item in comparison.items:
        if item.truncated is not None:
            found.setdefault(item.task, []).append(item)
    return dict(list(found.items())[:MOST_PANELS])


def volume(table: Table, comparison: Comparison) -> Picture | None:
    """Draw how long the completions of both arms are."""
    known = size_of(comparison)
    if known is None:
        return None
    axis, size = known
    panels = []
    for task, items in by_task(comparison).items():
        values = {arm: sizes(items, arm, size) for arm in ARMS}
        series = tuple(curves.Series(arm, values[arm], COLOURS[arm]) for arm in ARMS)
        counts = dict.fromkeys(f"{len(values[arm]):,}" for arm in ARMS)
        panels.append(curves.Panel(task, series, n=f"n = {', '.join(counts)}"))
    about = About(
        table.name,
        f"How long completions are, in {axis}",
        f"For each task a rising curve for either arm: the share of completions of at most so many "
        f"{axis}. The table below has the figures.",
        "Share of completions that are at most so long. Orange: baseline. Blue: candidate. The "
        "further right a curve, the more its arm writes; a vertical end is a token limit.",
    )
    return picture(about, lambda width: curves.distributions(panels, axis, width))


def by_correctness(table: Table, comparison: Comparison) -> Picture | None:
    """Draw how long the reasoning of right and wrong completions is, as the table counts it."""
    drawn = {
        task: tuple(curve for arm in ARMS for curve in right_and_wrong(items, arm))
        for task, items in by_task(comparison).items()
    }
    panels = [curves.Panel(task, series) for task, series in drawn.items() if series]
    if not panels:
        return None
    axis = "characters of reasoning"
    about = About(
        table.name,
        f"Reasoning of right and wrong completions, in {axis}",
        f"For each task and arm two rising curves over {axis}, of right and of wrong completions. "
        "The table below has the figures.",
        "Share of completions whose reasoning is at most so long: right ones whole lines, wrong "
        "ones dashed. Orange: baseline. Blue: candidate. An arm that shows no reasoning on a task "
        "has no curve there.",
    )
    return picture(about, lambda width: curves.distributions(panels, axis, width))


def right_and_wrong(items: list[Item], arm: str) -> list[curves.Series]:
    """Return the curves of an arm's right and wrong completions, none where it does not reason."""
    graded = [item for item in items if item.score is not None]
    if not any(sizes(graded, arm, reasoning)):
        return []
    return [
        curves.Series(
            f"{arm}, {'right' if right else 'wrong'}",
            sizes([one for one in graded if (one.score == 1.0) == right], arm, reasoning),
            COLOURS[arm],
            dashed=not right,
        )
        for right in (True, False)
    ]


def reasoning(item: Item) -> float | None:
    """Return the length of a completion's reasoning, None where it is not known."""
    return item.reasoning_chars


def budget(table: Table, comparison: Comparison) -> Picture | None:
    """Draw what both arms solve within so many tokens."""
    del comparison
    points: dict[str, list[tuple[float, Estimate, Estimate]]] = {}
    n_of: dict[str, Cell] = {}
    told = zip(*map(table.column, ("task", "tokens", "n", *ARMS)), strict=True)
    for task, tokens, n, *both in told:
        base, cand = (one if isinstance(one, Estimate) else undefined("") for one in both)
        if isinstance(tokens, int | float) and base.defined and cand.defined:
            points.setdefault(str(task), []).append((tokens, base, cand))
            n_of[str(task)] = n
    panels = [
        curves.Panel(
            task,
            lines=(line(BASELINE, found, 1), line(CANDIDATE, found, 2)),
            n=f"n = {cells.text(n_of[task], Kind.COUNT)}",
        )
        for task, found in list(points.items())[:MOST_PANELS]
        if len(found) > 1
    ]
    if not panels:
        return None
    about = About(
        table.name,
        "Score within a budget of tokens",
        "For each task two lines over the token budget, baseline and candidate, with 95% "
        "intervals. The table below has the figures.",
        "Score if every completion had been stopped at so many tokens, with 95% intervals. Orange: "
        "baseline. Blue: candidate. Where two lines cross, the order of the arms changes.",
    )
    return picture(about, lambda width: curves.lines(panels, "token budget", width))


def line(arm: str, points: list[tuple[float, Estimate, Estimate]], at: int) -> curves.Line:
    """Return one arm's line through its points."""
    scores = [(point[0], point[at]) for point in points]
    known = [(x, one) for x, one in scores if isinstance(one, Estimate)]
    return curves.Line(
        arm,
        x=[x for x, _ in known],
        y=[one.value for _, one in known],
        low=[one.low for _, one in known],
        high=[one.high for _, one in known],
        colour=COLOURS[arm],
    )
