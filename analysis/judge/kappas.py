"""How far the judges agree with each other: by pairs of judges, and all of them.

Owns the table of kappas. Refuses to own the estimators (`analysis.stats.agreement`).

    kappas(result).column("kappa")
"""

from __future__ import annotations

from itertools import combinations

from analysis.estimate import undefined
from analysis.judge.ballots import by_judge
from analysis.judge.result import Result
from analysis.stats.agreement import cohens_kappa, fleiss_kappa, raw_agreement, unanimous_share
from analysis.tables.table import Cell, Column, Kind, Table

NOBODY = "no pair on which all of them voted"


def kappas(result: Result) -> Table:
    """Return Cohen's kappa of each two judges, then Fleiss' of all."""
    rows = [pair_row(result, one, other) for one, other in combinations(result.judges, 2)]
    if len(result.judges) > 1:
        rows.append(all_row(result))
    return Table(
        "effort-kappa",
        "Agreement of the judges",
        (
            Column("judges", "judges"),
            Column("pairs", "pairs", Kind.COUNT),
            Column("agreement", "agreement %", Kind.PERCENT),
            Column("unanimous", "unanimous %", Kind.PERCENT),
            Column("kappa", "kappa", Kind.EFFECT),
        ),
        rows,
        foot="Pairs on which all judges of the row voted. Agreement: share of equal verdicts "
        "among all twos of judges, bootstrap over pairs. Kappa: Cohen's of two judges, normal "
        "interval; Fleiss' of all, bootstrap over pairs.",
        empty="" if rows else "one judge: there is nobody to agree with",
    )


def pair_row(result: Result, one: str, other: str) -> tuple[Cell, ...]:
    """Return the agreement of two judges."""
    both = ratings(result, (one, other))
    name = f"{one}, {other}"
    if not both:
        nothing = undefined(NOBODY)
        return name, 0, nothing, nothing, nothing
    agreement = raw_agreement(both, result.rng(name))
    kappa = cohens_kappa([own[0] for own in both], [own[1] for own in both])
    return name, len(both), agreement, unanimous_share(both), kappa


def all_row(result: Result) -> tuple[Cell, ...]:
    """Return the agreement of all judges."""
    voters = tuple(judge for judge in result.judges if by_judge(result.ballots, judge))
    name = "all" if len(voters) == len(result.judges) else f"all {len(voters)} that voted"
    found = ratings(result, voters) if len(voters) > 1 else []
    if not found:
        nothing = undefined(NOBODY)
        return name, 0, nothing, nothing, nothing
    agreement = raw_agreement(found, result.rng("agreement"))
    return (
        name,
        len(found),
        agreement,
        unanimous_share(found),
        fleiss_kappa(found, result.rng("kappa")),
    )


def ratings(result: Result, judges: tuple[str, ...]) -> list[list[str]]:
    """Return the verdicts of some judges on the pairs on which all of them voted."""
    votes = [[ballot.votes[judge].verdict for judge in judges] for ballot in result.ballots]
    return [[one for one in own if one is not None] for own in votes if None not in own]
