"""What betrays a judge: a liking for a place, for the longer text, or for nothing at all.

Owns the tables of position and length, and the warnings drawn from them. Refuses to own the result
itself (`tables`) and estimators (`analysis.stats`).

    positions(result).column("a_baseline_first")
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from analysis.estimate import Estimate, undefined
from analysis.judge.ballots import MATCHED, Ballot, Said, by_judge, by_majority, repeated
from analysis.judge.replies import ORDERS, arm_of
from analysis.judge.result import STANDING_COLUMNS, Result, shares
from analysis.judge.standing import SIGN_TEST, standing
from analysis.stats.agreement import cohens_kappa, sign_test
from analysis.stats.lengths import AtEqualLength, at_equal_length, nothing
from analysis.stats.multiplicity import holm
from analysis.stats.proportions import proportion
from analysis.tables.table import Cell, Column, Kind, Table

MAJORITY = "majority"
RATIO_NAMES = (
    "less than half",
    "half to nearly equal",
    "equal (matched)",
    "nearly equal to double",
    "more than double",
)


class Position(NamedTuple):
    """How a judge treats the two places of a pair."""

    judge: str
    a_by_order: tuple[Estimate, Estimate]  # share of A among A and B; baseline first, then not
    first: int  # questions that lean to the text shown first
    second: int
    p: float
    orders: Estimate  # kappa of the two orders' verdicts
    differ: int  # pairs in which they differ


def position(ballots: Sequence[Ballot], judge: str) -> Position:
    """Return how a judge treats places, over the pairs that it read in both orders."""
    said = [(one.pair, one.votes[judge].said) for one in ballots]
    read = [(pair, words) for pair, words in said if words is not None]
    by_order = []
    for order in ORDERS:
        named = [own[order] for _, own in read]
        by_order.append(proportion(named.count("A"), named.count("A") + named.count("B")))
    leans: dict[tuple[str, int | str], int] = defaultdict(int)
    for pair, words in read:
        leans[pair.cluster] += words.count("A") - words.count("B")
    first, second = (sum(sign * lean > 0 for lean in leans.values()) for sign in (1, -1))
    arms = [[arm_of(own[order], order) for _, own in read] for order in ORDERS]
    kappa = cohens_kappa(*arms) if read else undefined("no pair was read in both orders")
    return Position(
        judge=judge,
        a_by_order=(by_order[0], by_order[1]),
        first=first,
        second=second,
        p=sign_test(first, second).p,
        orders=kappa,
        differ=sum(one != other for one, other in zip(*arms, strict=True)),
    )


def positions(result: Result) -> Table:
    """Return each judge's liking for the first place; Holm over the judges."""
    found = [position(result.ballots, judge) for judge in result.judges]
    rows: list[tuple[Cell, ...]] = [
        (one.judge, *one.a_by_order, one.first, one.second, one.p, p, one.orders)
        for one, p in zip(found, holm([one.p for one in found]), strict=True)
    ]
    return Table(
        "effort-positions",
        "Position bias of the judges",
        (
            Column("judge", "judge"),
            Column("a_baseline_first", "A % when baseline is A", Kind.PERCENT),
            Column("a_candidate_first", "A % when distilled is A", Kind.PERCENT),
            Column("first", "lean to first", Kind.COUNT),
            Column("second", "lean to second", Kind.COUNT),
            Column("p", "p", Kind.P),
            Column("holm_p", "Holm p", Kind.P),
            Column("orders", "kappa of orders", Kind.EFFECT),
        ),
        rows if result.ballots else [],
        foot="A %: share of A among A and B in one order, Wilson. Without bias the two add up to "
        f"100. Lean: questions, over both orders. p: {SIGN_TEST}; Holm over the judges. Kappa of "
        "orders: Cohen's, of the arms named in the two orders; 0 is chance.",
        empty="" if result.ballots else "no pair was judged",
    )


class Length(NamedTuple):
    """How the verdicts of one voice go with length."""

    voice: str
    longer: Estimate  # share of the preferences that went to the longer text
    matched: list[Said]
    regressed: AtEqualLength


def length(voice: str, said: Sequence[Said]) -> Length:
    """Return how a set of verdicts goes with length."""
    told = [one.longer_won for one in said if one.longer_won is not None]
    decided = [one for one in said if one.won is not None]
    regressed = nothing("no pair with a preference")
    if decided:
        regressed = at_equal_length(
            [one.log2_ratio for one in decided],
            [bool(one.won) for one in decided],
            [one.pair.cluster for one in decided] if repeated(decided) else None,
        )
    return Length(
        voice, proportion(sum(told), len(told)), [one for one in said if one.matched], regressed
    )


def voices(result: Result) -> list[tuple[str, list[Said]]]:
    """Return the verdicts of the majority and of each judge."""
    own = [(judge, by_judge(result.ballots, judge)) for judge in result.judges]
    return [(MAJORITY, by_majority(result.ballots)), *own]


def lengths(result: Result) -> Table:
    """Return the result among texts of equal length, and by regression; Holm over the voices."""
    found = [length(voice, said) for voice, said in voices(result)]
    matched = [standing(one.matched, result.seeds(f"matched {one.voice}")) for one in found]
    rows: list[tuple[Cell, ...]] = [
        (
            one.voice,
            one.longer,
            *shares(own),
            own.p,
            p,
            one.regressed.win_rate,
            one.regressed.slope,
            one.regressed.p,
        )
        for one, own, p in zip(found, matched, holm([own.p for own in matched]), strict=True)
    ]
    pairs, *others = STANDING_COLUMNS
    return Table(
        "effort-lengths",
        "Reasoning effort with length taken out",
        (
            Column("voice", "judge"),
            Column("longer", "longer wins %", Kind.PERCENT),
            Column("matched_pairs", "matched pairs", pairs.kind),
            *(Column(f"matched_{one.name}", one.heading, one.kind) for one in others),
            Column("p", "p", Kind.P),
            Column("holm_p", "Holm p", Kind.P),
            Column("regressed", "distilled % at equal length", Kind.PERCENT),
            Column("slope", "log odds per doubling", Kind.EFFECT),
            Column("slope_p", "p of length", Kind.P),
        ),
        rows if result.ballots else [],
        foot="Longer wins: of the pairs with a preference. Matched: lengths as shown to the judge "
        f"differ by less than {MATCHED:.0%} of the longer. p: {SIGN_TEST} over the matched pairs; "
        "Holm over the rows. At equal length: chance that distilled is preferred where one is, by "
        "logistic regression on log2 of the ratio of lengths, Wald.",
        notes=tuple(
            f"{one.voice}: no result at equal length by regression: {one.regressed.win_rate.reason}"
            for one in found
            if one.regressed.win_rate.reason
        ),
        empty="" if result.ballots else "no pair was judged",
    )


def ratios(result: Result) -> Table:
    """Return the majority's verdicts by how long the distilled text is beside the baseline's."""
    said = by_majority(result.ballots)
    rows: list[tuple[Cell, ...]] = []
    for at, name in enumerate(RATIO_NAMES):
        own = [one for one in said if bin_of(one) == at]
        if own:
            found = standing(own, result.seeds(name))
            rows.append((name, *shares(found), found.difference))
    return Table(
        "effort-length-bins",
        "Reasoning effort by ratio of lengths",
        (
            Column("ratio", "length of distilled over baseline"),
            *STANDING_COLUMNS,
            Column("difference", "difference", Kind.POINTS),
        ),
        rows,
        foot="Majority of the judges. A preference that only follows length changes sides in the "
        "middle of this table; effort that is shown does not.",
        empty="" if rows else "no pair has a verdict",
    )


def bin_of(said: Said) -> int:
    """Return the place of a pair among `RATIO_NAMES`; equal is what counts as matched."""
    if said.matched:
        return 2
    log2_ratio = said.log2_ratio
    if log2_ratio < 0:
        return 0 if log2_ratio < -1 else 1
    return 4 if log2_ratio > 1 else 3
