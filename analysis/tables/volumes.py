"""Tables of size: what each arm wrote, how much more, and whether right answers are shorter.

Owns their columns. Refuses to own how a size was found (`items`) and the means and differences of a
task (`volume`). Every figure stands beside the number of samples, or questions, that it rests on.

    volume(comparison, TableOptions()).column("reasoning")     # [0.0, 812.4]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from analysis.compare import Comparison, share
from analysis.estimate import NAN, Estimate, undefined
from analysis.items import ARMS, BASELINE, Item
from analysis.stats import association, proportions
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import generator, number_of
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.volume import (
    FIGURES,
    UNKNOWN,
    UNPAIRED,
    Size,
    VolumeFigure,
    mean_of,
    median_of,
    question_means,
)

NO_TEXT = "no task of this comparison generates text"
VOLUME = (
    Column("task", "task"),
    Column("arm", "arm"),
    Column("n", "n", Kind.COUNT),
    Column("known", "of known size", Kind.COUNT),
    Column("reasoning", "reasoning chars", Kind.NUMBER),
    Column("reasoning_median", "median", Kind.NUMBER),
    Column("answer", "answer chars", Kind.NUMBER),
    Column("answer_median", "median", Kind.NUMBER),
    Column("reasoning_share", "reasoning of all", Kind.PERCENT),
    Column("with_reasoning", "with reasoning", Kind.PERCENT),
    Column("tokens_known", "with tokens", Kind.COUNT),
    Column("tokens", "tokens", Kind.NUMBER),
    Column("tokens_median", "median", Kind.NUMBER),
    Column("seconds_known", "with time", Kind.COUNT),
    Column("seconds", "seconds", Kind.NUMBER),
    Column("seconds_median", "median", Kind.NUMBER),
)
RATIO = (
    Column("task", "task"),
    Column("figure", "figure"),
    Column("n", "questions", Kind.COUNT),
    Column("baseline", "baseline", Kind.NUMBER),
    Column("candidate", "candidate", Kind.NUMBER),
    Column("difference", "difference", Kind.SIGNED),
    Column("ratio", "ratio", Kind.RATIO),
)
LENGTHS = (
    Column("task", "task"),
    Column("unit", "unit"),
    Column("baseline_n", "n", Kind.COUNT),
    Column("baseline", "baseline", Kind.NUMBER),
    Column("candidate_n", "n", Kind.COUNT),
    Column("candidate", "candidate", Kind.NUMBER),
    Column("candidate_longer", "candidate longer", Kind.PERCENT),
)
BY_CORRECTNESS = (
    Column("task", "task"),
    Column("arm", "arm"),
    Column("right_n", "right", Kind.COUNT),
    Column("right", "chars", Kind.NUMBER),
    Column("right_median", "median", Kind.NUMBER),
    Column("wrong_n", "wrong", Kind.COUNT),
    Column("wrong", "chars", Kind.NUMBER),
    Column("wrong_median", "median", Kind.NUMBER),
    Column("wrong_truncated", "of them truncated", Kind.COUNT),
    Column("correlation", "length and score", Kind.EFFECT),
    Column("p", "p", Kind.P),
)


NAMES = tuple(name for name, _, _ in FIGURES)


class Written(NamedTuple):
    """A task that generates text, with its items and its figures."""

    task: str
    rows: list[Item]
    figures: list[VolumeFigure]


def written(comparison: Comparison) -> list[Written]:
    """Return the tasks that generate text, in the order of the comparison."""
    rows: dict[str, list[Item]] = {}
    for item in comparison.items:
        rows.setdefault(item.task, []).append(item)
    return [Written(one.task, rows[one.task], one.volume) for one in comparison.tasks if one.volume]


def unknown_notes(tasks: Sequence[Written], names: Sequence[str] = NAMES) -> tuple[str, ...]:
    """Say which sizes no file of either arm tells."""
    unknown: dict[tuple[str, ...], list[str]] = {}  # sizes by the tasks that lack them
    for name in names:
        without = tuple(
            task.task
            for task in tasks
            for figure in task.figures
            if figure.name == name and not figure.baseline_known and not figure.candidate_known
        )
        if without:
            unknown.setdefault(without, []).append(name)
    return tuple(
        f"{', '.join(sizes)}: unknown in both arms of {', '.join(without)} (--log may tell)."
        for without, sizes in unknown.items()
    )


def volume(comparison: Comparison, options: TableOptions) -> Table:
    """Return how much each arm wrote, an arm a line, as the published table of volumes has it."""
    del options
    tasks = written(comparison)
    rows = [(task.task, arm, *volume_cells(task, arm)) for task in tasks for arm in ARMS]
    return Table(
        "volume",
        "Reasoning volume",
        VOLUME,
        rows,
        foot=(
            "Mean and median over questions; a question's samples are averaged first. Each figure "
            "rests on the samples counted before it; none is taken for 0 where it is unknown. "
            "Reasoning of all: its share of all characters. Differences and intervals: `ratio`."
        ),
        notes=unknown_notes(tasks),
        empty="" if rows else NO_TEXT,
    )


def volume_cells(task: Written, arm: str) -> Iterator[Cell]:
    """Yield the cells of one arm."""
    rows = [item for item in task.rows if item.arm == arm]
    figures = {figure.name: figure for figure in task.figures}

    def known(name: str) -> int:
        figure = figures[name]
        return figure.baseline_known if arm == BASELINE else figure.candidate_known

    def mean(name: str) -> Estimate:
        figure = figures[name]
        return figure.baseline if arm == BASELINE else figure.candidate

    yield len(rows)
    yield known("reasoning chars")
    for name in ("reasoning chars", "answer chars"):
        yield mean(name)
        yield middle(rows, name)
    yield without_interval(mean("reasoning share"))
    yield share(rows, lambda item: item.has_reasoning)
    for name in ("completion tokens", "seconds"):
        yield known(name)
        yield mean(name)
        yield middle(rows, name)


def middle(rows: Sequence[Item], name: str) -> Estimate:
    """Return the median of one figure in one arm, without its interval."""
    size = next(size for figure, _, size in FIGURES if figure == name)
    return without_interval(median_of(question_means(rows, rows[0].arm, size)))


def without_interval(estimate: Estimate) -> Estimate:
    """Return the value alone, for a table that has no room for intervals."""
    return Estimate(estimate.value, method=estimate.method, reason=estimate.reason)


def ratio(comparison: Comparison, options: TableOptions) -> Table:
    """Return the candidate's sizes over the baseline's, on the questions known in both arms."""
    del options
    tasks = written(comparison)
    rows: list[tuple[Cell, ...]] = []
    for task in tasks:
        for figure in task.figures:
            if figure.unit != "share" and figure.n_shared:
                means = shared_means(task.rows, figure.name)
                found = (figure.difference, figure.ratio)
                rows.append((task.task, figure.name, figure.n_shared, *means, *found))
    return Table(
        "ratio",
        "Ratio of arms",
        RATIO,
        rows,
        foot=(
            "Means over the questions whose size is known in both arms. Difference: candidate - "
            "baseline, 95% question bootstrap. Ratio: of the two means, candidate / baseline, 95% "
            "question bootstrap of the ratio (delta method above 5,000 questions)."
        ),
        notes=unknown_notes(tasks),
        empty="" if rows else UNPAIRED if tasks else NO_TEXT,
    )


def shared_means(rows: Sequence[Item], name: str) -> list[Estimate]:
    """Return both arms' means over the questions whose size is known in both."""
    size = next(size for figure, _, size in FIGURES if figure == name)
    means = [question_means(rows, arm, size) for arm in ARMS]
    shared = means[0].keys() & means[1].keys()
    return [mean_of({doc_id: one[doc_id] for doc_id in one if doc_id in shared}) for one in means]


def whole(item: Item) -> float | None:
    """Return the characters of a whole completion, None where a part is unknown."""
    if item.reasoning_chars is None or item.answer_chars is None:
        return None
    return item.reasoning_chars + item.answer_chars


LENGTH_UNITS: tuple[tuple[str, Size], ...] = (
    ("characters", whole),
    ("tokens", lambda item: item.completion_tokens),
)


def lengths(comparison: Comparison, options: TableOptions) -> Table:
    """Return the median length of whole completions by task, in characters and in tokens."""
    del options
    tasks = written(comparison)
    rows = [
        (task.task, unit, *length_cells(task.rows, size))
        for task in tasks
        for unit, size in LENGTH_UNITS
        if any(size(item) is not None for item in task.rows)
    ]
    return Table(
        "lengths",
        "Response lengths",
        LENGTHS,
        rows,
        foot=(
            "Median over questions of reasoning and answer together, with the exact 95% interval "
            "of order statistics; n: questions of known length. Candidate longer: share of the "
            "questions known in both arms, Wilson."
        ),
        notes=unknown_notes(tasks, ("answer chars", "completion tokens")),
        empty="" if rows else UNKNOWN if tasks else NO_TEXT,
    )


def length_cells(rows: Sequence[Item], size: Size) -> Iterator[Cell]:
    """Yield the median lengths of both arms, and how often the candidate's is the longer."""
    means = [question_means(rows, arm, size) for arm in ARMS]
    for one in means:
        yield len(one)
        yield median_of(one)
    base, cand = means
    shared = [doc_id for doc_id in base if doc_id in cand]
    longer = sum(cand[doc_id] > base[doc_id] for doc_id in shared)
    yield proportions.proportion(longer, len(shared)) if shared else undefined(UNPAIRED)


def by_correctness(comparison: Comparison, options: TableOptions) -> Table:
    """Return the reasoning length of right and of wrong completions, an arm a line."""
    del options
    tasks = written(comparison)
    rows = [
        (task.task, arm, *correctness_cells(comparison, task, arm))
        for task in tasks
        for arm in ARMS
    ]
    return Table(
        "length-correctness",
        "Reasoning length and correctness",
        BY_CORRECTNESS,
        rows,
        foot=(
            "Reasoning characters of the graded completions of known size: mean and median. Right: "
            "a score of 1; wrong: any lower one. Length and score: Spearman's correlation over "
            "questions; interval: Fisher's z; p: permutation (Student's t above 5,000 questions)."
        ),
        notes=(
            "Hard questions make reasoning long and answers wrong, and what was cut off is long "
            "and wrong by the limit: this shows an association, not that length harms.",
        ),
        empty="" if rows else NO_TEXT,
    )


def correctness_cells(comparison: Comparison, task: Written, arm: str) -> Iterator[Cell]:
    """Yield the cells of one arm."""
    rows = [
        item
        for item in task.rows
        if item.arm == arm and item.score is not None and item.reasoning_chars is not None
    ]
    right = [item for item in rows if item.score == 1.0]
    wrong = [item for item in rows if item.score != 1.0]
    for group in (right, wrong):
        sizes: dict[int | str, float] = {
            number: float(item.reasoning_chars or 0) for number, item in enumerate(group)
        }
        yield len(group)
        yield mean_of(sizes)
        yield without_interval(median_of(sizes))
    yield sum(bool(item.truncated) for item in wrong)
    yield from correlation_cells(comparison, task.task, rows, arm)


def correlation_cells(
    comparison: Comparison, task: str, rows: Sequence[Item], arm: str
) -> Iterator[Cell]:
    """Yield Spearman's correlation of a question's mean length and mean score, and its p."""
    length = question_means(rows, arm, lambda item: item.reasoning_chars)
    score = question_means(rows, arm, lambda item: item.score)
    rng = generator(comparison, task, number_of(f"length-correctness {arm}"))
    if not length:
        yield from (undefined(UNKNOWN), NAN)
        return
    found = association.spearman(list(length.values()), list(score.values()), rng)
    yield from (found.rho, found.p)
