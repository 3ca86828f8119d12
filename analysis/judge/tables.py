"""The result of judging as tables: over all, by benchmark, by who was right, and by judge.

Owns which figures a report of effort shows, and their families of tests. Refuses to own how a set
of verdicts is estimated (`standing`), what betrays a judge (`biases`) and layout (`render`).

    effort(result).column("candidate")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analysis.estimate import Estimate, undefined
from analysis.judge.ballots import (
    Ballot,
    Said,
    by_judge,
    by_majority,
    mean_agreement,
    unanimity,
)
from analysis.judge.pairs import BUCKETS
from analysis.judge.replies import INCONSISTENT, MALFORMED, UNANSWERED
from analysis.judge.result import STANDING_COLUMNS, TEST_COLUMNS, Result, shares
from analysis.judge.standing import SIGN_TEST, standing
from analysis.stats.multiplicity import holm
from analysis.stats.proportions import proportion
from analysis.tables.table import Cell, Column, Kind, Table

DISTILLED = "distilled is the candidate arm"
SHARES = "Shares of pairs: Wilson, or a bootstrap over questions where some have several samples"


def effort(result: Result) -> Table:
    """Return the published table: who shows more reasoning effort, and how far judges agree."""
    said = by_majority(result.ballots)
    rows = [effort_row(result, result.comparison, result.ballots)] if said else []
    quiet = [one for one in result.ballots if not one.pair.speaks]
    if rows and len(quiet) < len(result.ballots):
        rows.append(effort_row(result, "without texts that speak to a judge", quiet))
    return Table(
        "effort",
        "Reasoning effort: majority of the judges",
        (
            Column("comparison", "comparison"),
            *STANDING_COLUMNS,
            Column("agreement", "mean judge agreement", Kind.RATIO),
            Column("unanimous", "unanimous %", Kind.PERCENT),
            Column("difference", "difference", Kind.POINTS),
            Column("p", "p", Kind.P),
        ),
        rows,
        foot=f"{DISTILLED}. {SHARES}. Difference: distilled minus baseline. p: {SIGN_TEST}. "
        "Agreement: mean share of the judges who gave a pair's most frequent verdict. What differs "
        "between the two orders counts as similar.",
        notes=result.notes,
        empty="" if rows else "no judge gave a verdict on any pair",
    )


def effort_row(result: Result, name: str, ballots: Sequence[Ballot]) -> tuple[Cell, ...]:
    """Return a row of the published table."""
    one = standing(by_majority(ballots), result.seeds(name))
    agreement = mean_agreement(ballots, result.rng(name))
    return name, *shares(one), agreement, unanimity(ballots), one.difference, one.p


def benchmarks(result: Result) -> Table:
    """Return the majority's verdicts by benchmark, Holm over the benchmarks."""
    said = by_majority(result.ballots)
    tasks = list(dict.fromkeys(one.pair.task for one in said))
    sets = [(task, [one for one in said if one.pair.task == task]) for task in tasks]
    return Table(
        "effort-benchmarks",
        "Reasoning effort by benchmark",
        (Column("task", "task"), *STANDING_COLUMNS, *TEST_COLUMNS),
        tested(result, sets),
        foot=f"Majority of the judges. p: {SIGN_TEST}; Holm over the benchmarks.",
        empty="" if sets else "no pair has a verdict",
    )


def buckets(result: Result) -> Table:
    """Return the majority's verdicts by which arm solved the sample, Holm over the buckets."""
    said = by_majority(result.ballots)
    sets = [(name, [one for one in said if one.pair.bucket == name]) for name in BUCKETS]
    return Table(
        "effort-buckets",
        "Reasoning effort by correctness",
        (Column("bucket", "correctness"), *STANDING_COLUMNS, *TEST_COLUMNS),
        tested(result, [(name, own) for name, own in sets if own]),
        foot=f"Majority of the judges. p: {SIGN_TEST}; Holm over the buckets.",
        empty="" if said else "no pair has a verdict",
    )


def tested(result: Result, sets: Iterable[tuple[str, Sequence[Said]]]) -> list[tuple[Cell, ...]]:
    """Return a row for each named set of verdicts, the tests adjusted over all of them."""
    made = [(name, standing(said, result.seeds(name))) for name, said in sets]
    adjusted = holm([one.p for _, one in made])
    return [
        (name, *shares(one), one.difference, one.p, p)
        for (name, one), p in zip(made, adjusted, strict=True)
    ]


def judges(result: Result) -> Table:
    """Return each judge's own verdicts, and how often it gave none; Holm over the judges."""
    sets = [(name, by_judge(result.ballots, name)) for name in result.judges]
    rows: list[tuple[Cell, ...]] = []
    for (_, *cells), (name, said) in zip(tested(result, sets), sets, strict=True):
        states = [ballot.votes[name].state for ballot in result.ballots]
        flips = sum(ballot.votes[name].flipped for ballot in result.ballots)
        rows.append(
            (
                name,
                *cells,
                states.count(MALFORMED),
                states.count(UNANSWERED),
                portion(states.count(INCONSISTENT), len(said)),
                portion(flips, len(said)),
            )
        )
    return Table(
        "effort-judges",
        "Reasoning effort by judge",
        (
            Column("judge", "judge"),
            *STANDING_COLUMNS,
            *TEST_COLUMNS,
            Column("malformed", "malformed", Kind.COUNT),
            Column("unanswered", "unanswered", Kind.COUNT),
            Column("inconsistent", "inconsistent %", Kind.PERCENT),
            Column("flipped", "flipped %", Kind.PERCENT),
        ),
        rows,
        foot=f"p: {SIGN_TEST}; Holm over the judges. Malformed, unanswered: pairs in which a reply "
        "of either order was so; they have no vote. Inconsistent: the two orders differ, which "
        "counts as similar; flipped: the same place, A or B, in both.",
        empty="" if result.ballots else "no pair was judged",
    )


def portion(count: int, n: int) -> Estimate:
    """Return a share with its interval; undefined where the judge gave no verdict."""
    return proportion(count, n) if n else undefined("this judge gave no verdict")
