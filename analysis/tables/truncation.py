"""What completions that were cut off may hide: bounds of the scores, and where each sample went.

Owns the bounds and the transition table. Refuses to own what counts as cut off (`items`) and the
estimators (`stats`).

    bounds(comparison, TableOptions()).column("difference")
    transitions(comparison, TableOptions()).column("truncated")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from analysis.compare import Comparison, score_of
from analysis.items import BASELINE, Item
from analysis.render.cells import text
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import (
    Couple,
    PairedFigures,
    Score,
    by_task,
    generator,
    number_of,
    paired_figures,
)
from analysis.tables.table import Cell, Column, Kind, Table
from harness_tasks.records import Verdict

BOUNDS = (
    Column("task", "task"),
    Column("case", "cut-off samples"),
    Column("n", "n", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("p", "p", Kind.P),
)
AS_REPORTED = "as reported"
COMPLETED, ANSWERED = "left out in both", "left out if unanswered"
ALL_WRONG, ALL_RIGHT = "all wrong", "all right"
WORST, BEST = "right / wrong: worst case", "wrong / right: best case"
RIGHT, PARTLY, WRONG = "right", "partly right", "wrong"
TRUNCATED, NO_ANSWER, NOT_GRADED = "truncated", "no answer", "not graded"
OUTCOMES = (RIGHT, PARTLY, WRONG, TRUNCATED, NO_ANSWER, NOT_GRADED)
ALWAYS = (RIGHT, WRONG, TRUNCATED)
NO_TEXT = "no task here generates text, so nothing can be cut off"


def bounds(comparison: Comparison, options: TableOptions) -> Table:
    """Return the scores and their difference under every reading of what was cut off."""
    del options
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    whole: list[str] = []  # tasks of which no completion was cut off
    for task, couples in by_task(comparison).items():
        if all(item.truncated is None for couple in couples for item in couple):
            continue
        cut = sum(bool(item.truncated) for couple in couples for item in couple)
        made = dict(figures_of_cases(comparison, task, couples, cut > 0))
        for case, one in made.items():
            scores = (one.baseline, one.candidate, one.difference)
            rows.append((task, case, one.n, *scores, one.p))
        if cut:
            notes.append(f"{task}: {said(made)}")
        else:
            whole.append(task)
    if whole:
        notes.append(f"{', '.join(whole)}: nothing was cut off in either arm.")
    return Table(
        "truncation",
        "Truncation bounds",
        BOUNDS,
        rows,
        foot=(
            "Completions that were cut off, counted as named (baseline / candidate). Left out if "
            "unanswered: pairs in which an arm was cut off, or ended, without an answer text. "
            "Wilson and Newcombe 95%, p: McNemar; several samples or part scores: question "
            "bootstrap and sign-flip permutation. Unadjusted."
        ),
        notes=tuple(notes),
        empty="" if rows else NO_TEXT,
    )


def figures_of_cases(
    comparison: Comparison, task: str, couples: list[Couple], any_cut: bool
) -> Iterator[tuple[str, PairedFigures]]:
    """Yield each case with its figures; the first alone where nothing was cut off."""
    rng = generator(comparison, task, number_of("truncation"))
    yield AS_REPORTED, paired_figures(couples, rng)
    if not any_cut:
        return
    for case, kept in ((COMPLETED, completed), (ANSWERED, answered)):
        yield case, paired_figures([one for one in couples if all(map(kept, one))], rng)
    lower = any(one.task == task and one.lower_is_better for one in comparison.tasks)
    right, wrong = (0.0, 1.0) if lower else (1.0, 0.0)
    for case, values in (
        (ALL_WRONG, (wrong, wrong)),
        (ALL_RIGHT, (right, right)),
        (WORST, (right, wrong)),
        (BEST, (wrong, right)),
    ):
        yield case, paired_figures(couples, rng, counted_as(*values))


def completed(item: Item) -> bool:
    """Say whether a completion was not cut off."""
    return not item.truncated


def answered(item: Item) -> bool:
    """Say whether a completion holds an answer text, cut off or not."""
    unanswered = item.verdict in (Verdict.TRUNCATED, Verdict.NO_ANSWER) or bool(item.no_answer)
    return not (unanswered or item.empty or item.answer_chars == 0)


def counted_as(baseline: float, candidate: float) -> Score:
    """Return the score in which what was cut off counts as given for its arm."""

    def score(item: Item) -> float | None:
        if item.score is None or not item.truncated:
            return score_of(item)
        return baseline if item.arm == BASELINE else candidate

    return score


def said(made: dict[str, PairedFigures]) -> str:
    """Say between which values the difference lies, whatever the cut-off samples hide."""
    ends = sorted(made[case].difference.value for case in (WORST, BEST))
    low, high = (text(one, Kind.POINTS) for one in ends)
    return (
        f"whatever the cut-off samples would have been: the difference is {low} to {high} points, "
        "give or take the intervals of these two cases."
    )


def transitions(comparison: Comparison, options: TableOptions) -> Table:
    """Return how many samples went from which outcome in the baseline to which in the candidate."""
    del options
    counts = {
        task: Counter((outcome(base), outcome(cand)) for base, cand in couples)
        for task, couples in by_task(comparison).items()
    }
    seen = {one for found in counts.values() for pair in found for one in pair}
    shown = [one for one in OUTCOMES if one in ALWAYS or one in seen]
    rows: list[tuple[Cell, ...]] = [
        (task, base, *(found[base, cand] for cand in shown), total(found, base))
        for task, found in counts.items()
        for base in shown
    ]
    columns = (
        Column("task", "task"),
        Column("baseline", "baseline"),
        *(Column(one.replace(" ", "_"), one, Kind.COUNT) for one in shown),
        Column("total", "total", Kind.COUNT),
    )
    return Table(
        "transitions",
        "Transitions",
        columns,
        rows,
        foot=(
            "Paired samples: a line is the outcome in the baseline, a column the outcome in the "
            "candidate. Right goes first: a completion that was cut off and right is right."
        ),
    )


def outcome(item: Item) -> str:
    """Return what became of a sample."""
    if item.score is None:
        return NOT_GRADED
    if item.score == 1.0:
        return RIGHT
    if item.truncated:
        return TRUNCATED
    if item.no_answer:
        return NO_ANSWER
    return PARTLY if item.score else WRONG


def total(found: Counter[tuple[str, str]], base: str) -> int:
    """Return how many samples had an outcome in the baseline."""
    return sum(count for (one, _), count in found.items() if one == base)
