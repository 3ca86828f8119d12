"""What a reader must know before believing a judge: each warning is one sentence with its numbers.

Owns when a judge is warned of. Refuses to own the figures (`biases`, `tables`).

    alarms(result, models)      # ("judge first-lover prefers the text shown first: ...",)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from analysis.estimate import Estimate
from analysis.judge.ballots import Ballot, Said, by_judge, by_majority
from analysis.judge.biases import Length, Position, length, position
from analysis.judge.families import families
from analysis.judge.kappas import ratings
from analysis.judge.replies import INCONSISTENT, MALFORMED, UNANSWERED
from analysis.judge.result import Result
from analysis.stats.agreement import cohens_kappa
from analysis.stats.multiplicity import holm

ALPHA = 0.05
MALFORMED_LIMIT = 0.05
INCONSISTENT_LIMIT = 0.30  # the published judges contradict themselves in 12.9% of pairs
MATCHED_LIMIT = 0.05
CHANCE_FROM = 20  # pairs below which "no better than chance" says nothing


class Models(NamedTuple):
    """The names of the models: of the judges by their names here, and of both arms.

    `endpoints` says where each judge is asked.
    """

    judges: Mapping[str, str | None]
    baseline: str | None
    candidate: str | None
    endpoints: Mapping[str, str]


def alarms(result: Result, models: Models) -> tuple[str, ...]:
    """Return every warning: what was not judged, then each judge's biases, then kinship."""
    places = [position(result.ballots, judge) for judge in result.judges]
    own = [by_judge(result.ballots, judge) for judge in result.judges]
    found = [length(judge, said) for judge, said in zip(result.judges, own, strict=True)]
    return (
        *of_pairs(result),
        *(text for judge in result.judges for text in of_replies(result.ballots, judge)),
        *of_places(places),
        *of_chance(places, own),
        *of_lengths(found),
        *of_overlap(result),
        *of_agreement(result),
        *of_twins(models),
        *of_kin(models),
    )


def of_pairs(result: Result) -> Iterator[str]:
    """Yield what concerns the pairs, whoever judges."""
    for task, why, n in result.left_out:
        yield f"{task}: {n} pairs were not judged ({why})"
    pairs = [ballot.pair for ballot in result.ballots]
    cut = [sum(pair.baseline.truncated for pair in pairs)]
    cut.append(sum(pair.candidate.truncated for pair in pairs))
    if any(cut):
        yield (
            f"cut-off completions among {len(pairs)} pairs: {cut[0]} of the baseline, {cut[1]} of "
            "the distilled model; their effort is what was written until then"
        )
    speak = [sum(pair.baseline.speaks for pair in pairs)]
    speak.append(sum(pair.candidate.speaks for pair in pairs))
    if any(speak):
        yield (
            f"texts that speak to a judge, or give a verdict: {speak[0]} of the baseline, "
            f"{speak[1]} of the distilled model; the result without them is given beside it "
            "(`speaks` in judgments.jsonl names them)"
        )


def of_replies(ballots: Sequence[Ballot], judge: str) -> Iterator[str]:
    """Yield what a judge failed to say, and how often it contradicts itself."""
    states = [ballot.votes[judge].state for ballot in ballots]
    n = len(states)
    if unanswered := states.count(UNANSWERED):
        yield f"judge {judge}: {unanswered} of {n} pairs have no vote, as a request failed"
    malformed = states.count(MALFORMED)
    if malformed > MALFORMED_LIMIT * n:
        yield f"judge {judge}: {malformed} of {n} pairs have no vote, as a reply had no verdict"
    heard = n - unanswered - malformed
    if heard and (differ := states.count(INCONSISTENT)) > INCONSISTENT_LIMIT * heard:
        yield (
            f"judge {judge} contradicts itself: in {differ / heard:.1%} of {heard} pairs its "
            "verdict depends on the order"
        )


def of_places(places: Sequence[Position]) -> Iterator[str]:
    """Yield the judges that prefer a place, Holm over the judges."""
    for one, p in zip(places, holm([one.p for one in places]), strict=True):
        if p < ALPHA:
            place, count = (
                ("first", one.first) if one.first > one.second else ("second", one.second)
            )
            yield (
                f"judge {one.judge} prefers the text shown {place}: {count} questions lean to it, "
                f"{min(one.first, one.second)} to the other (Holm p {p:.2g})"
            )


def of_chance(places: Sequence[Position], own: Sequence[Sequence[Said]]) -> Iterator[str]:
    """Yield the judges whose two orders agree no better than chance.

    Only where they often differ: kappa is near 0 too for a judge that almost always names one arm,
    whichever order it sees.
    """
    for one, said in zip(places, own, strict=True):
        if one.differ <= INCONSISTENT_LIMIT * len(said) or len(said) < CHANCE_FROM:
            continue
        if one.orders.defined and not one.orders.low > 0:
            yield (
                f"judge {one.judge} cannot be told from chance: the verdicts of the two orders "
                f"agree with kappa {written(one.orders)} over {len(said)} pairs"
            )


def of_lengths(found: Sequence[Length]) -> Iterator[str]:
    """Yield the judges whose preference goes with length."""
    for one in found:
        low, high = one.longer.low, one.longer.high
        if low > 0.5 or high < 0.5:
            which = "longer" if low > 0.5 else "shorter"
            wins = one.longer.value if low > 0.5 else 1 - one.longer.value
            yield (
                f"judge {one.voice} mostly prefers the {which} text ({wins:.1%} of its "
                "preferences): see effort-lengths for what is left of it at equal length"
            )


def of_overlap(result: Result) -> Iterator[str]:
    """Yield that the arms' lengths hardly overlap, so that nothing can take length out."""
    said = by_majority(result.ballots)
    matched = sum(one.matched for one in said)
    if said and matched < MATCHED_LIMIT * len(said):
        yield (
            f"only {matched} of {len(said)} pairs are about equally long: effort can hardly be "
            "told from length here"
        )


def of_agreement(result: Result) -> Iterator[str]:
    """Yield the twos of judges that agree no better than chance."""
    for one, other in combinations(result.judges, 2):
        both = ratings(result, (one, other))
        alike = sum(first == second for first, second in both)
        if len(both) < CHANCE_FROM or alike > (1 - INCONSISTENT_LIMIT) * len(both):
            continue
        kappa = cohens_kappa([own[0] for own in both], [own[1] for own in both])
        if kappa.defined and not kappa.low > 0:
            yield f"judges {one} and {other} agree no better than chance: kappa {written(kappa)}"


def of_twins(models: Models) -> Iterator[str]:
    """Yield the judges that are one model under several names."""
    named: dict[tuple[str, str | None], list[str]] = {}
    for judge, model in models.judges.items():
        named.setdefault((models.endpoints[judge], model), []).append(judge)
    for (endpoint, model), judges in named.items():
        if len(judges) > 1:
            yield (
                f"judges {' and '.join(judges)} are one model ({model or 'the only one'} at "
                f"{endpoint}): they have a vote each, and agreeing with itself is no agreement"
            )


def of_kin(models: Models) -> Iterator[str]:
    """Yield the judges that share a family with an arm."""
    arms = (("baseline", models.baseline), ("distilled model", models.candidate))
    for judge, name in models.judges.items():
        for arm, model in arms:
            for family in sorted(families(f"{judge} {name or ''}") & families(model)):
                yield (
                    f"judge {judge} is of the {family} family, as the name of the {arm} is "
                    f"({model}): judges tend to prefer their own"
                )


def written(kappa: Estimate) -> str:
    """Return an estimate with its interval."""
    return f"{kappa.value:.2f} [{kappa.low:.2f}, {kappa.high:.2f}]"
