"""Tables of what a solved question costs: tokens and seconds, and accuracy at equal budgets.

Owns the replay of a budget over the completions that were written, and the choice of budgets.
Refuses to own the statistics (`stats`). A replay assumes that a lower limit would have changed
nothing before the cut, and that a completion that is cut off solves nothing.

    budget(comparison, TableOptions(budgets=(1024, 4096))).column("candidate")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from analysis.compare import Comparison, share
from analysis.estimate import Estimate, undefined
from analysis.items import ARMS, Item
from analysis.stats.ratios import ratio, ratio_of_ratios
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import (
    Couple,
    by_task,
    generator,
    number_of,
    paired_figures,
    question_means,
    scored,
)
from analysis.tables.table import Cell, Column, Kind, Table

MOST_BUDGETS = 8  # chosen from the data
SMALLEST_BUDGET = 16
NO_TOKENS = (
    "completion tokens are unknown in an arm: give the proxy's log of both runs with --log "
    "(our own records hold them too)"
)
NONE_SOLVED = "no question was solved"
NO_COST = "no graded sample whose cost is known"
UNPAIRED = "no question whose cost is known in both arms"
BUDGET = (
    Column("task", "task"),
    Column("tokens", "tokens", Kind.COUNT),
    Column("n", "n", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("baseline_cut", "baseline cut", Kind.PERCENT),
    Column("candidate_cut", "candidate cut", Kind.PERCENT),
)
COST = (
    Column("task", "task"),
    Column("unit", "unit"),
    Column("baseline_n", "n", Kind.COUNT),
    Column("baseline", "baseline per solved", Kind.NUMBER),
    Column("candidate_n", "n", Kind.COUNT),
    Column("candidate", "candidate per solved", Kind.NUMBER),
    Column("n", "in both", Kind.COUNT),
    Column("ratio", "ratio", Kind.RATIO),
)
UNITS: tuple[tuple[str, Callable[[Item], float | None]], ...] = (
    ("tokens", lambda item: item.completion_tokens),
    ("seconds", lambda item: item.duration_s),
)


def budget(comparison: Comparison, options: TableOptions) -> Table:
    """Return the scores of both arms if each completion had been cut at a budget of tokens.

    Raises:
        ValueError: a budget below 1.
    """
    if bad := [one for one in options.budgets if one < 1]:
        raise ValueError(f"--budget must be at least 1 token, got {bad[0]}; leave it out to choose")
    rows: list[tuple[Cell, ...]] = []
    for task, couples in solvable(comparison).items():
        known = scored(couples, tokens_and_score)
        rng = generator(comparison, task, number_of("budget"))
        budgets = sorted(set(options.budgets)) or chosen(known)
        if known:
            rows += [(task, limit, *budget_cells(known, limit, rng)) for limit in budgets]
    return Table(
        "budget",
        "Accuracy at equal token budgets",
        BUDGET,
        rows,
        foot=(
            "Replayed: a completion of more tokens than the budget would have been cut off and "
            "counts as not solved; a shorter one keeps its score. Score in %, difference in points "
            "(Wilson, Newcombe; question bootstrap for repeated samples), on the samples whose "
            "tokens and scores are known in both arms. Cut: completions over the budget, or cut "
            "off in the run itself (count)."
        ),
        notes=(
            "A lower limit is taken to change nothing of what was written before it, and budgets "
            "above the limit that the arms ran under show that limit. Nothing is adjusted for "
            "several budgets.",
            *left_out(comparison),
        ),
        empty="" if rows else why_empty(comparison),
    )


def solvable(comparison: Comparison) -> dict[str, list[Couple]]:
    """Return the couples of the tasks in which a higher score is a better one."""
    couples = by_task(comparison)
    return {one.task: couples[one.task] for one in comparison.tasks if not one.lower_is_better}


def left_out(comparison: Comparison) -> tuple[str, ...]:
    """Name the tasks in which a score is no solved question."""
    names = [task.task for task in comparison.tasks if task.lower_is_better]
    return (f"Left out, since lower is better: {', '.join(names)}.",) if names else ()


def why_empty(comparison: Comparison) -> str:
    """Say why there is no row."""
    return NO_TOKENS if solvable(comparison) else "in no task a higher score is a better one"


def tokens_and_score(item: Item) -> float | None:
    """Return the score of an item whose tokens are known."""
    return None if item.completion_tokens is None else item.score


def chosen(couples: Sequence[Couple]) -> list[int]:
    """Return the powers of two up to the first that no completion exceeds, 8 at most."""
    sizes = [item.completion_tokens or 0 for couple in couples for item in couple]
    largest = SMALLEST_BUDGET
    while largest < max(sizes, default=0):
        largest *= 2
    halved = [largest >> step for step in range(MOST_BUDGETS)]
    smallest = min(sizes, default=0)
    return sorted(one for one in halved if one >= max(smallest, SMALLEST_BUDGET))


def budget_cells(couples: Sequence[Couple], limit: int, rng: np.random.Generator) -> Iterator[Cell]:
    """Yield the cells of one budget."""
    found = paired_figures(couples, rng, partial(score_within, limit=limit))
    yield from (found.n, found.baseline, found.candidate, found.difference)
    for number in range(len(ARMS)):
        yield share([couple[number] for couple in couples], partial(is_cut, limit=limit))


def exceeds(item: Item, limit: int) -> bool:
    """Say whether a completion has more tokens than the budget."""
    return (item.completion_tokens or 0) > limit


def is_cut(item: Item, limit: int) -> bool:
    """Say whether a completion would be cut off at the budget, or was at its own limit."""
    return exceeds(item, limit) or bool(item.truncated)


def score_within(item: Item, limit: int) -> float | None:
    """Return the score that a completion would have had under the budget."""
    return 0.0 if exceeds(item, limit) else tokens_and_score(item)


def cost(comparison: Comparison, options: TableOptions) -> Table:
    """Return what an arm wrote and waited for each question that it solved."""
    del options
    rows = [
        (task, unit, *cost_cells(couples, of, generator(comparison, task, number_of(unit))))
        for task, couples in solvable(comparison).items()
        for unit, of in UNITS
        if any(of(item) is not None for couple in couples for item in couple)
    ]
    return Table(
        "cost",
        "Cost of a solved question",
        COST,
        rows,
        foot=(
            "All tokens (seconds) of the graded samples, also of wrong answers, over the sum of "
            "their scores; 95% question bootstrap of the ratio, open upwards where a resample "
            "solves nothing. n: questions of known cost. Ratio: candidate / baseline, on the "
            "questions in both."
        ),
        notes=(
            "Seconds depend on the server and its load, not on the model alone.",
            *left_out(comparison),
        ),
        empty="" if rows else why_empty(comparison),
    )


def cost_cells(
    couples: Sequence[Couple], of: Callable[[Item], float | None], rng: np.random.Generator
) -> Iterator[Cell]:
    """Yield the cells of one task and unit."""

    def known(item: Item) -> float | None:
        return None if item.score is None else of(item)

    def solved(item: Item) -> float | None:
        return None if of(item) is None else item.score

    for number in range(len(ARMS)):
        spent = question_means(couples, number, known)
        yield len(spent)
        yield per_solved(spent, question_means(couples, number, solved), rng)
    both = scored(couples, known)
    columns = [question_means(both, number, one) for number in (1, 0) for one in (known, solved)]
    yield len(columns[0])
    yield over(columns, rng)


def per_solved(
    spent: Sequence[float], solved: Sequence[float], rng: np.random.Generator
) -> Estimate:
    """Return the cost of a solved question, undefined where none was solved."""
    if not spent:
        return undefined(NO_COST)
    return ratio(spent, solved, rng) if any(solved) else undefined(NONE_SOLVED)


def over(columns: Sequence[Sequence[float]], rng: np.random.Generator) -> Estimate:
    """Return the candidate's cost over the baseline's: spent and solved of each, in that order."""
    if not columns[0]:
        return undefined(UNPAIRED)
    if not (any(columns[1]) and any(columns[3])):
        return undefined(f"{NONE_SOLVED} in an arm")
    if not any(columns[2]):
        return undefined("the baseline cost nothing")
    return ratio_of_ratios(columns, rng)
