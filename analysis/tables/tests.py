"""Who solved what, the tests of it, every interval, and what the sample size could show.

Owns the tables of significance, intervals and equivalence. Refuses to own the estimators (`stats`);
p-values, the difference and its Newcombe interval are those of the `TaskComparison`.

    significance(comparison, TableOptions()).column("p")
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from analysis.compare import Comparison, TaskComparison
from analysis.estimate import NAN, Estimate, undefined
from analysis.stats import cluster, multiplicity, paired, power, proportions
from analysis.stats import equivalence as equivalences
from analysis.stats.proportions import CLOPPER_PEARSON
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import (
    NO_COUPLE,
    Couple,
    by_task,
    generator,
    number_of,
    question_means,
    scored,
)
from analysis.tables.table import Cell, Column, Kind, Table

SIGNIFICANCE = (
    Column("task", "task"),
    Column("both", "both", Kind.COUNT),
    Column("baseline_only", "only baseline", Kind.COUNT),
    Column("candidate_only", "only candidate", Kind.COUNT),
    Column("neither", "neither", Kind.COUNT),
    Column("p", "p", Kind.P),
    Column("exact_p", "exact p", Kind.P),
    Column("mid_p", "mid-p", Kind.P),
    Column("holm_p", "Holm p", Kind.P),
    Column("bh_p", "BH p", Kind.P),
    Column("cohens_h", "h", Kind.EFFECT),
    Column("label", "size"),
)
INTERVALS = (
    Column("task", "task"),
    Column("method", "method"),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("odds_ratio", "odds ratio", Kind.RATIO),
)
EQUIVALENCE = (
    Column("task", "task"),
    Column("n", "n", Kind.COUNT),
    Column("difference", "difference (90%)", Kind.POINTS),
    Column("margin", "margin", Kind.PERCENT),
    Column("p", "TOST p", Kind.P),
    Column("holm_p", "Holm p", Kind.P),
    Column("equivalent", "equivalent", Kind.FLAG),
    Column("not_worse_p", "not worse: p", Kind.P),
    Column("power", "power", Kind.PERCENT),
    Column("detectable", "detectable", Kind.PERCENT),
    Column("needed_n", "needed n", Kind.COUNT),
)


def significance(comparison: Comparison, options: TableOptions) -> Table:
    """Return who solved what, McNemar's test in its forms, and Cohen's h."""
    del options
    rows = [(*solved(task), *p_values(task), *effect(task)) for task in comparison.tasks]
    n_tests = sum(task.test.p == task.test.p for task in comparison.tasks)
    columns, rows = without_adjustments(SIGNIFICANCE, rows, n_tests)
    return Table("significance", "Agreement and test", columns, rows, significance_foot(comparison))


def solved(task: TaskComparison) -> tuple[Cell, ...]:
    """Return how many questions which arm solved, nothing for repeated or part scores."""
    table = task.agreement
    if table is None:
        return (task.task, None, None, None, None)
    return (task.task, table.both, table.baseline_only, table.candidate_only, table.neither)


def p_values(task: TaskComparison) -> tuple[Cell, ...]:
    """Return the p-values of a task."""
    test = task.test
    return (test.p, test.exact_p, test.mid_p, test.holm_p, test.bh_p)


def effect(task: TaskComparison) -> tuple[Cell, ...]:
    """Return Cohen's h and its word."""
    return (task.h, task.h_label or None)


def without_adjustments(
    columns: tuple[Column, ...], rows: Sequence[tuple[Cell, ...]], n_tests: int
) -> tuple[tuple[Column, ...], list[tuple[Cell, ...]]]:
    """Leave out Holm's p of a single test, and Benjamini and Hochberg's of one or two."""
    dropped = {"holm_p"} if n_tests < 2 else set()
    if n_tests <= 2:
        dropped.add("bh_p")
    kept = [number for number, column in enumerate(columns) if column.name not in dropped]
    return (
        tuple(columns[number] for number in kept),
        [tuple(row[number] for number in kept) for row in rows],
    )


def significance_foot(comparison: Comparison) -> str:
    """Say which test each task had."""
    rules: dict[str, list[str]] = {}
    for task in comparison.tasks:
        rules.setdefault(task.test.rule, []).append(task.task)
    used = "; ".join(
        rule if len(rules) == 1 else f"{rule} ({', '.join(tasks)})" for rule, tasks in rules.items()
    )
    foot = f"Questions solved by both, by one alone, by neither. Test: {used}."
    if any(task.agreement is not None for task in comparison.tasks):
        foot += " Exact p and mid-p: McNemar's other forms."
    if len(comparison.tasks) > 1:
        foot += f" Holm and BH (Benjamini-Hochberg): over {len(comparison.tasks)} tasks."
    return foot + " h: Cohen's h of the two scores, candidate - baseline."


def intervals(comparison: Comparison, options: TableOptions) -> Table:
    """Return every interval of the scores, their difference and the odds, a method a line.

    Raises:
        ValueError: a tag is asked for that no doc has.
    """
    rows: list[tuple[Cell, ...]] = []
    tags = {tag for item in comparison.items for tag in item.tags} if options.by else set()
    if lacking := [tag for tag in options.by if tag not in tags]:
        have = ", ".join(sorted(tags)) or "no groups at all"
        raise ValueError(f"no doc tells its {', '.join(lacking)}; the docs have {have} (--by)")
    for task, couples in by_task(comparison).items():
        graded = scored(couples)
        figures = next(one for one in comparison.tasks if one.task == task)
        if not graded:
            rows.append((task, "none", *[undefined(NO_COUPLE)] * 3, None))
            continue
        if figures.agreement is not None:
            rows += single_intervals(task, figures.agreement, figures)
        else:
            rng = generator(comparison, task, number_of("intervals"))
            rows += repeated_intervals(task, graded, figures, rng)
        rows += (clustered(task, graded, tag) for tag in options.by)
    return Table(
        "intervals",
        "Intervals",
        INTERVALS,
        rows,
        foot=(
            "95%, over the questions graded in both arms; scores in %, difference in points. Odds "
            "ratio: questions that only the candidate solved over those that only the baseline "
            "did. Clustered by a tag (--by): Student's t with standard errors that let the "
            "questions of one group be alike, as those on one passage are."
        ),
    )


def clustered(task: str, graded: list[Couple], tag: str) -> tuple[Cell, ...]:
    """Return the intervals that let the questions of one group be alike, "" for single ones.

    A question without the tag is a group of its own.
    """
    groups = {base.doc_id: base.tags.get(tag) or ("alone", base.doc_id) for base, _ in graded}
    base, cand = (question_means(graded, arm) for arm in (0, 1))
    differences = [b - a for a, b in zip(base, cand, strict=True)]
    clusters = list(groups.values() if tag else groups)
    score, gain = (0.0, 1.0), (-1.0, 1.0)
    found = [
        cluster.clustered_mean(one, clusters, bounds=bounds)
        for one, bounds in ((base, score), (cand, score), (differences, gain))
    ]
    return (task, f"t, clustered by {tag or 'question'}", *found, None)


def single_intervals(
    task: str, table: paired.PairedTable, figures: TaskComparison
) -> Iterator[tuple[Cell, ...]]:
    """Yield the intervals of single samples."""
    right = table.both + table.baseline_only, table.both + table.candidate_only
    differences = [1.0] * table.candidate_only + [-1.0] * table.baseline_only
    differences += [0.0] * (table.both + table.neither)
    wilson = [proportions.proportion(k, table.n) for k in right]
    yield (task, "Wilson; Newcombe's of the difference", *wilson, figures.difference, None)
    exact = [proportions.proportion(k, table.n, method=CLOPPER_PEARSON) for k in right]
    odds = paired.odds_ratio(table)
    yield (task, "Clopper-Pearson; exact of the odds", *exact, None, odds)
    yield (task, "Tango's score interval", None, None, paired.tango_difference(table), None)
    normal = paired.wald_difference(differences)
    yield (task, "normal, paired", None, None, normal, None)


def repeated_intervals(
    task: str, graded: list[Couple], figures: TaskComparison, rng: np.random.Generator
) -> Iterator[tuple[Cell, ...]]:
    """Yield the intervals of repeated or part scores."""
    base, cand = (question_means(graded, arm) for arm in (0, 1))
    boot = [cluster.bootstrap_mean(means, rng) for means in (base, cand)]
    yield (task, "question bootstrap", *boot, figures.difference, None)
    yield clustered(task, graded, "")


def equivalence(comparison: Comparison, options: TableOptions) -> Table:
    """Return whether each difference was shown to be within the margin, and what could be shown.

    Raises:
        ValueError: a margin outside (0, 1).
    """
    couples = by_task(comparison)
    found = [shown_within(task, couples[task.task], options.margin) for task in comparison.tasks]
    holm = multiplicity.holm([NAN if one is None else one.p for one in found])
    rows = [
        nothing_row(task, options.margin)
        if one is None
        else equivalence_row(task, one, p, power_at(task, couples[task.task], options.margin))
        for task, one, p in zip(comparison.tasks, found, holm, strict=True)
    ]
    n_tests = sum(one is not None and one.p == one.p for one in found)
    columns, rows = without_adjustments(EQUIVALENCE, rows, n_tests)
    methods = "; ".join(dict.fromkeys(one.method for one in found if one is not None))
    turned = any(task.lower_is_better for task in comparison.tasks)
    return Table(
        "equivalence",
        "Equivalence and power",
        columns,
        rows,
        foot=(
            f"{methods or 'No test'}: equivalent where the difference is shown to lie within the "
            "margin either way, not worse where a loss of the margin is excluded (5%, 90% "
            "interval). Choose the margin (--margin) before you see the data. Detectable: smallest "
            "difference shown with 80% power by this n; power: that of showing a difference of the "
            "margin (McNemar's exact test; several samples or part scores: z); needed n: questions "
            "that show the difference found with 80% power. Both p are of one-sided tests"
            + (", the second one unadjusted. " if n_tests > 1 else ". ")
            + (f"Equivalent: by Holm's p, over {n_tests} tasks. " if n_tests > 1 else "")
            + ("Where lower is better the difference is turned round." if turned else "")
        ).strip(),
    )


def shown_within(
    task: TaskComparison, couples: list[Couple], margin: float
) -> equivalences.Equivalence | None:
    """Return the two one-sided tests of a task, None where no question was graded in both arms."""
    graded = scored(couples)
    if not graded:
        return None
    sign = -1.0 if task.lower_is_better else 1.0
    if task.agreement is not None:
        both, b, c, neither = task.agreement
        turned = paired.PairedTable(both, c, b, neither) if sign < 0 else task.agreement
        return equivalences.tost_paired(turned, margin)
    base, cand = (question_means(graded, arm) for arm in (0, 1))
    differences = [sign * (b - a) for a, b in zip(base, cand, strict=True)]
    return equivalences.tost_means(differences, margin)


def power_at(task: TaskComparison, couples: list[Couple], margin: float) -> Estimate:
    """Return the chance that these questions show a true difference of the margin.

    The discordance is the observed one, or the margin where that is larger.
    """
    if task.agreement is None:
        base, cand = (question_means(scored(couples), arm) for arm in (0, 1))
        return cluster.power_of_mean([b - a for a, b in zip(base, cand, strict=True)], margin)
    n = task.agreement.n
    if n > power.LARGEST_EXACT_N:
        return undefined(f"not computed above {power.LARGEST_EXACT_N:,} questions")
    discordance = max(task.agreement.n_discordant / n, margin)
    return Estimate(power.exact_power(margin, discordance, n), method="McNemar exact")


def nothing_row(task: TaskComparison, margin: float) -> tuple[Cell, ...]:
    """Return the row of a task of which no question was graded in both arms."""
    nothing = undefined(NO_COUPLE)
    return (task.task, 0, nothing, margin, NAN, NAN, None, NAN, nothing, nothing, nothing)


def equivalence_row(
    task: TaskComparison,
    found: equivalences.Equivalence,
    holm_p: float,
    power_at_margin: Estimate,
) -> tuple[Cell, ...]:
    """Return the row of a task."""
    value = -task.difference.value if task.lower_is_better else task.difference.value
    difference = Estimate(value, found.low90, found.high90, found.method, found.reason)
    equivalent = None if holm_p != holm_p else holm_p < paired.ALPHA
    needed = needed_n(task)
    tested = (found.p, holm_p, equivalent, found.p_noninferior)
    shows = (power_at_margin, task.detectable, needed)
    return (task.task, task.n_pairs, difference, found.margin, *tested, *shows)


def needed_n(task: TaskComparison) -> Estimate:
    """Return how many questions would show the difference that was found, with 80% power.

    Repeated or part scores: n (detectable / difference)^2, which is (z_0.975 + z_0.8)^2 times the
    variance of the question differences over the squared difference; rounded up, and at least 6.
    Source: Connor 1987 through `stats.power`; Miller 2024, arXiv:2411.00640, section 5.
    """
    if task.agreement is not None:
        discordance = task.agreement.n_discordant / task.agreement.n
        return power.needed_n(task.difference.value, discordance)
    if not task.detectable.defined or task.difference.value == 0.0:
        return undefined("no difference whose size a number of questions could show")
    times = (task.detectable.value / task.difference.value) ** 2
    n = max(math.ceil(task.n_pairs * times - 1e-9), power.FEWEST)
    return Estimate(float(n), method=task.detectable.method)
